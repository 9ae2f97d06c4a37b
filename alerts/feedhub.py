"""What all sockets of a web process share: one reader of cards and positions, and snapshots read once for many."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec
from django.db import Error as DatabaseError
from redis.asyncio import Redis

from alerts import snapshot
from alerts.audience import Audience, Heard
from alerts.outbox import Outbox
from alerts.payloads import ExchangeCard
from alerts.snapshot import Market, Viewer
from exchanges import status as statuses
from livermore import bus
from livermore.bus import FAILURES
from livermore.db import db
from symbols.models import Tier

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at the cards."""
POSITIONS_EVERY = 5
"""Looks between two positions messages."""


class Socket(Protocol):
    viewer: Viewer
    greeted: bool
    """Whether it is a page, which said hello: others get nothing of the hub's own."""
    outbox: Outbox

    def send_soon(self, data: bytes, key: object = None) -> None: ...


class FeedHub:
    """Serves the sockets of one process."""

    def __init__(self) -> None:
        self._sockets: set[Socket] = set()
        self._audiences: dict[Heard, Audience] = {}
        self._redis: Redis = bus.connect()
        self._task: asyncio.Task[None] | None = None
        self._cards: dict[str, ExchangeCard] = {}
        self._changed: set[str] = set()
        self._reads: dict[tuple[Any, ...], asyncio.Future[bytes]] = {}
        self._resync = False
        self._back = asyncio.Event()
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self.shared: frozenset[Market] = frozenset()
        """The markets that are watched for everybody. What is in none of our lists yet is told to nobody."""

    def join(self, socket: Socket) -> None:
        self._sockets.add(socket)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="feed hub")

    def audience(self, viewer: Viewer) -> Audience:
        """That of the pages which hear what this viewer does. Who joins it has it subscribed."""
        heard = Heard.by(viewer)
        if heard not in self._audiences:
            self._audiences[heard] = Audience(heard, self)
        return self._audiences[heard]

    async def left(self, audience: Audience) -> None:
        """A page has left it; without any it hears nothing more."""
        if not audience.members and self._audiences.get(audience.heard) is audience:
            del self._audiences[audience.heard]
            await bus.relay().unsubscribe(audience, audience.heard.patterns)

    async def look_at_tiers(self) -> None:
        """For a socket that begins to listen: whose markets are whose. Many that come at once share a look."""
        async with self._looking:
            if monotonic() - self._looked_at >= INTERVAL:
                self.shared = await db(snapshot.shared_markets)()
                self._looked_at = monotonic()

    @property
    def open_pages(self) -> int:
        """How many there are, greeted or not."""
        return len(self._sockets)

    @property
    def _pages(self) -> list[Socket]:
        return [socket for socket in self._sockets if socket.greeted]

    def leave(self, socket: Socket) -> None:
        self._sockets.discard(socket)

    def backlogs(self) -> list[tuple[int, int]]:
        """(messages that wait, frames sent and not acknowledged) of each socket."""
        return [(socket.outbox.depth, socket.outbox.out) for socket in list(self._sockets)]

    async def close(self) -> None:
        """Give Redis up, when the process ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    def link_changed(self, up: bool) -> None:
        """The relay lost Redis, or has it back: then messages were missed, and every page asks again for what it lacks."""
        self._resync |= up
        if up:
            self._back.set()  # pages show everything as offline: do not let them wait for the next look
        if self._task is not None and not up:
            self._say_positions({}, {exchange_id: "offline" for socket in self._pages for exchange_id in socket.viewer.exchange_ids})

    async def snapshot(self, viewer: Viewer, resume: snapshot.Resume) -> bytes:
        """A snapshot as JSON. One that begins now and resumes nothing is shared by all who may see the same and ask before it begins."""
        await self.look_at_tiers()
        if resume:
            return msgspec.json.encode(await snapshot.read_snapshot(self._redis, viewer, resume))
        same = (viewer.exchange_ids, viewer.scope)
        waiting = self._reads.get(same)
        if waiting is None:
            waiting = self._reads[same] = asyncio.ensure_future(self._read(same, viewer))
        return await asyncio.shield(waiting)

    async def _read(self, same: tuple[Any, ...], viewer: Viewer) -> bytes:
        await asyncio.sleep(0)
        del self._reads[same]  # from here on it may be too old for a socket that comes
        return msgspec.json.encode(await snapshot.read_snapshot(self._redis, viewer, {}))

    async def _run(self) -> None:
        looks = 0
        while self._sockets:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._back.wait(), INTERVAL)
            self._back.clear()
            looks += 1
            try:
                await self._look(full=looks % POSITIONS_EVERY == 0)
            except DatabaseError as error:
                log.warning("the database does not answer: %s", error)
            except Exception:
                log.exception("the feed hub stumbled")
        self._cards.clear()

    async def _look(self, *, full: bool) -> None:
        exchange_ids = sorted({exchange_id for socket in self._pages for exchange_id in socket.viewer.exchange_ids})
        if full or self._changed:
            self._looked_at = float("-inf")
            await self.look_at_tiers()
        cards = await snapshot.read_cards(self._redis, exchange_ids)
        for card in cards:
            before = self._cards.get(card["exchange_id"])
            if full or _without_beat(before) != _without_beat(card):
                self._send(card["exchange_id"], {"type": "exchange", **card}, key=("exchange", card["exchange_id"]))
            if before is not None and (before["warmup"], before["state"]) != (card["warmup"], card["state"]):
                # Once more at the next look: a state may be out before the candles behind it are.
                self._changed.add(card["exchange_id"])
                await self._send_rows(card)
            elif card["exchange_id"] in self._changed:
                self._changed.discard(card["exchange_id"])
                await self._send_rows(card)
        self._changed.intersection_update(exchange_ids)
        self._cards = {card["exchange_id"]: card for card in cards}
        if full or self._resync:
            top = await snapshot.read_positions(exchange_ids)
            self._say_positions(top, {card["exchange_id"]: card["state"] for card in cards}, resync=self._resync)
            self._resync = False

    def rows_changed(self, exchange_id: str) -> None:
        """The pool of an exchange changed: its rows are due at the next look."""
        self._changed.add(exchange_id)

    async def _send_rows(self, card: ExchangeCard) -> None:
        with suppress(*FAILURES):
            exchange_id = card["exchange_id"]
            listening = [socket for socket in self._pages if exchange_id in socket.viewer.exchange_ids]
            rows = await snapshot.read_rows(self._redis, [card], {market for socket in listening for market in socket.viewer.own})
            encoded: dict[frozenset[Market], bytes] = {}
            for socket in listening:
                own = frozenset(market for market in socket.viewer.own if market[0] == exchange_id)
                if own not in encoded:
                    shown = [row for row in rows if row["tier"] == Tier.SHARED or (exchange_id, row["symbol"]) in own]
                    encoded[own] = msgspec.json.encode({"type": "symbols", "exchange_id": exchange_id, "symbols": shown})
                socket.send_soon(encoded[own], ("symbols", exchange_id))

    def _send(self, exchange_id: str, message: dict[str, Any], key: object) -> None:
        data = msgspec.json.encode(message)
        for socket in self._pages:
            if exchange_id in socket.viewer.exchange_ids:
                socket.send_soon(data, key)

    def _say_positions(self, top: dict[str, Any], states: dict[str, str], *, resync: bool = False) -> None:
        """To each set of exchanges its own, encoded once."""
        encoded: dict[tuple[str, ...], bytes] = {}
        for socket in self._pages:
            names = socket.viewer.exchange_ids
            if names not in encoded:
                encoded[names] = msgspec.json.encode(_positions(names, top, states, resync))
            socket.send_soon(encoded[names], "positions")


def _positions(names: Sequence[str], top: dict[str, Any], states: dict[str, str], resync: bool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "type": "positions",
        "at": statuses.now_ms(),
        "top": {name: top[name] for name in names if name in top},
        "states": {name: states[name] for name in names if name in states},
    }
    return {**message, "resync": True} if resync else message


def _without_beat(card: ExchangeCard | None) -> dict[str, Any] | None:
    return None if card is None else {name: value for name, value in card.items() if name != "last_heartbeat"}


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, FeedHub] = WeakKeyDictionary()


def hub() -> FeedHub:
    """The hub of this process (of this event loop)."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = FeedHub()
    return _hubs[loop]


def backlogs() -> list[tuple[int, int]]:
    """Those of every socket of this process. May be asked from any thread."""
    return [backlog for one in list(_hubs.values()) for backlog in one.backlogs()]
