"""The browser's socket: authenticate, subscribe, snapshot, relay, close. What it says is in alerts/payloads.py."""

import asyncio
import logging
import time
from importlib import import_module
from typing import Any

import msgspec
from channels.auth import get_user
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from alerts import snapshot
from alerts.feedhub import hub
from alerts.outbox import Outbox, Overflow
from alerts.snapshot import Viewer
from livermore import bus, keys
from livermore.db import db

log = logging.getLogger(__name__)

LOG_IN_AGAIN, FORBIDDEN, BAD_MESSAGE, TOO_SLOW = 4401, 4403, 4400, 4008
RIGHT = "alerts.view_alert"
"""What a user needs to hear the feed: every role has it."""
LARGEST_MESSAGE = 16_384
CHECK_EVERY = 30.0
"""Seconds between two looks at the session behind an open socket."""
SLOW_FOR = 30.0
"""Seconds a page may stay behind before its socket is closed."""


class Position(msgspec.Struct):
    epoch: str
    id: int


class Said(msgspec.Struct):
    """What a page may say: ``hello`` with what it has, or ``ack`` of a frame."""

    type: str
    v: int = 1
    resume: dict[str, Position] = {}
    n: int = 0


_decode = msgspec.json.Decoder(Said).decode
_HELLO_AGAIN = msgspec.json.encode({"type": "positions", "at": 0, "top": {}, "states": {}, "resync": True})


class FeedConsumer(AsyncWebsocketConsumer):
    """One page. It needs no channel layer: it listens through the relay of this process."""

    channel_layer_alias = None

    async def connect(self) -> None:
        self.outbox = Outbox()
        self.viewer = Viewer(0, ())
        self._owed = asyncio.Event()
        self._greeting = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(LOG_IN_AGAIN)  # after accept, so that the page can tell "log in" from "server down"
            return
        if not await db(user.has_perm)(RIGHT):
            await self.close(FORBIDDEN)
            return
        self.viewer = Viewer(user.pk, ())
        self._flusher = asyncio.create_task(self._flush())
        self._checker = asyncio.create_task(self._check_forever())

    async def _check_forever(self) -> None:
        """Look again whether this session may still listen, and to what: an open socket outlives a log-out."""
        while True:
            await asyncio.sleep(CHECK_EVERY)
            user = await self._current_user()
            if not user.is_authenticated:
                await self.close(LOG_IN_AGAIN)
                return
            if not await db(user.has_perm)(RIGHT):
                await self.close(FORBIDDEN)
                return
            viewer, _ = await db(snapshot.read_viewer)(user.pk)
            if viewer != self.viewer:
                self._ask_for_hello()

    async def _current_user(self) -> Any:
        """Who the session belongs to now, as the database has it."""
        store = import_module(settings.SESSION_ENGINE).SessionStore(self.scope["session"].session_key)
        return await get_user({"session": store})

    async def disconnect(self, code: int) -> None:
        hub().leave(self)
        await bus.relay().unsubscribe(self)
        for task in (self._flusher, self._checker):
            if task is not None:
                task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            if text_data is None or len(text_data) > LARGEST_MESSAGE:
                raise ValueError("a text message of at most 16 kB is wanted")
            said = _decode(text_data)
        except (ValueError, RecursionError) as error:
            log.info("a page said something unreadable: %s", error)
            await self.close(BAD_MESSAGE)
            return
        if self._flusher is None:
            return
        match said.type:
            case "hello" if said.v == snapshot.VERSION:
                await self._hello({name: {"epoch": have.epoch, "id": have.id} for name, have in said.resume.items()})
            case "ack":
                self.outbox.acknowledge(said.n)
                self._owed.set()
            case _:
                await self.close(BAD_MESSAGE)

    async def _hello(self, resume: snapshot.Resume) -> None:
        """Subscribe first, read the snapshot second; what comes in between is held and follows it."""
        async with self._greeting:
            self.outbox.held = True
            viewer, account = await db(snapshot.read_viewer)(self.viewer.user_id)
            if viewer[1:3] != self.viewer[1:3]:  # exchanges, or moves
                await bus.relay().unsubscribe(self)
            self.viewer = viewer
            await bus.relay().subscribe(self, _patterns(viewer))
            hub().join(self)
            message = await hub().snapshot(viewer, resume)
            self.outbox.put_first(message)
            self.outbox.put_first(msgspec.json.encode(account))
            self.outbox.held = False
            self._owed.set()

    def deliver(self, channel: str, data: bytes) -> None:
        """Take a message of the relay."""
        try:
            kind, *names = keys.parse_channel(channel)
        except ValueError:
            return
        if kind in {"ticker", "candle"}:
            if self._sees((names[0], names[1])):
                self.outbox.put_latest((kind, *names), data)
                self._owed.set()
        elif kind == "account":
            self._ask_for_hello()
        elif kind == "lifecycle" and b'"symbol:state"' in data and not self._sees((names[0], msgspec.json.decode(data)["symbol"])):
            pass
        else:
            if kind == "lifecycle" and b'"symbols:changed"' in data:
                hub().rows_changed(names[0])
            self.send_soon(data)

    def _ask_for_hello(self) -> None:
        """What this user may see, or set, has changed: the page says hello again, with what it has, and gets the rest."""
        self.send_soon(_HELLO_AGAIN, "positions")

    def _sees(self, market: snapshot.Market) -> bool:
        """Whether a market is everybody's, or this user's own: what others hold or added is not told."""
        return market in self.viewer.own or market not in hub().overflow

    def send_soon(self, data: bytes, key: object = None) -> None:
        """Owe the page a message; with a ``key`` only the latest of it."""
        try:
            if key is None:
                self.outbox.put(data)
            else:
                self.outbox.put_latest(key, data)
        except Overflow:
            self._give_up()
        self._owed.set()

    def link_changed(self, up: bool) -> None:
        hub().link_changed(up)

    def _give_up(self) -> None:
        if self._flusher is not None and not self._flusher.done():
            self._flusher.cancel()
            self._closing = asyncio.create_task(self.close(TOO_SLOW))

    async def _flush(self) -> None:
        """Send everything owed as one frame a turn."""
        slow_since: float | None = None
        while True:
            if slow_since is None:
                await self._owed.wait()
            else:
                await asyncio.sleep(1.0)
            self._owed.clear()
            frame = self.outbox.frame()
            if frame is not None:
                await self.send(text_data=frame.decode())
            if not self.outbox.blocked:
                slow_since = None
            elif slow_since is None:
                slow_since = time.monotonic()
            elif time.monotonic() - slow_since > SLOW_FOR:
                await self.close(TOO_SLOW)
                return


def _patterns(viewer: Viewer) -> list[str]:
    """What a page hears: its exchanges, and its user's own channels, which follow from the session and from nothing the page says."""
    patterns = [keys.channel_user_alerts(viewer.user_id), keys.channel_user_account(viewer.user_id)]
    for exchange_id in viewer.exchange_ids:
        patterns += [
            keys.channel_alerts(exchange_id),
            keys.channel_lifecycle(exchange_id),
            keys.channel_ticker(exchange_id, "*"),
            keys.channel_candle_close(exchange_id, "*", "*"),
        ]
        if viewer.moves_for and viewer.moves_for != exchange_id:
            patterns.append(keys.channel_moves(exchange_id, viewer.moves_for))
    return patterns
