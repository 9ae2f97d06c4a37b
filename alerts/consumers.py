"""A client's socket: authenticate, subscribe, snapshot, relay, close. What is said on it is in alerts/payloads.py.

A page says ``hello``, and hears all its user may. Any client may ``subscribe`` to channels instead, or besides, and hears those.
"""

import asyncio
import contextlib
import logging
import random
import time
from importlib import import_module
from typing import Any

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import Error as DatabaseError
from django.http import HttpRequest

from alerts import snapshot, subscriptions
from alerts.audience import Audience, Heard
from alerts.feedhub import hub
from alerts.outbox import Outbox, Overflow, Turn
from alerts.payloads import MissedMessage, MoveMessage, RefusedMessage, SubscribedMessage
from alerts.snapshot import Viewer
from alerts.subscriptions import Address, Allowance, Refused, Subscriptions
from exchanges import tokens
from exchanges.services import SESSION_DOUBTED
from exchanges.status import now_ms
from livermore import bus, keys, logs, measures
from livermore.db import db

log = logging.getLogger(__name__)

LOG_IN_AGAIN, FORBIDDEN, BAD_MESSAGE, TOO_SLOW = 4401, 4403, 4400, 4008
TRY_LATER = 4503
"""The database does not answer."""
OUR_FAULT = 4500
"""Sending failed. Not 1011: daphne sends none of the codes below 3000 but 1000."""
RIGHT = "alerts.view_alert"
"""What a user needs to hear the feed: every role has it."""
LARGEST_MESSAGE = 16_384
CHECK_EVERY = 30.0
"""Seconds between two looks at the session behind an open socket, and at what it may."""
FOLLOW_EVERY = 300.0
"""Seconds after which what a user follows is read again although nobody said that it changed: three quarters of such a look."""
SLOW_FOR = 30.0
"""Seconds a page may stay behind before its socket is closed."""
READ_AGAIN = 1.0
"""Seconds for which an exchange that is not among a user's stays so: it is not looked up for every message that names it."""


class Position(msgspec.Struct):
    epoch: str
    id: int


class Said(msgspec.Struct):
    """``hello`` of a page with what it has, ``ack`` of a frame; or a request, which is read anew."""

    type: str
    v: int = 1
    resume: dict[str, Position] = {}
    n: int = 0
    snapshot: bool = True


class Kind(msgspec.Struct):
    type: str


class Alert(msgspec.Struct):
    """What of an alert decides who hears it."""

    type: str
    source_exchange_id: str = ""
    symbol: str = ""
    shared: bool = False


_decode_kind = msgspec.json.Decoder(Kind).decode
_decode = msgspec.json.Decoder(Said).decode
_decode_alert = msgspec.json.Decoder(Alert).decode
_HELLO_AGAIN = msgspec.json.encode({"type": "positions", "at": 0, "top": {}, "states": {}, "resync": True})


class FeedConsumer(AsyncWebsocketConsumer):
    """One client. It needs no channel layer: it listens through the relay of this process."""

    channel_layer_alias = None

    async def dispatch(self, message: dict[str, Any]) -> None:
        try:
            await super().dispatch(message)
        except DatabaseError as error:
            # An exception would end the consumer without `disconnect`, and the hub and the relay would serve it for ever.
            log.warning("a socket is closed, since the database does not answer: %s", error)
            await self.close(TRY_LATER)

    async def connect(self) -> None:
        self.outbox = Outbox()
        self.viewer = Viewer(0, ())
        self.greeted = False
        self.subscriptions = Subscriptions()
        self._allowance = Allowance(subscriptions.MESSAGES_PER_SECOND)
        self._heard: set[str] = set()
        self._audience: Audience | None = None
        self._read_at = float("-inf")
        self._refresher: asyncio.Task[None] | None = None
        self._owed = asyncio.Event()
        self._doubted = asyncio.Event()
        self._greeting = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        await self.accept()
        measures.feed.opened += 1
        measures.lag.watch()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(LOG_IN_AGAIN)  # after accept, so that the page can tell "log in" from "server down"
            return
        # Not of the user at hand: what it may is kept with it, as long as the socket is open.
        if (code := await db(self._reason_to_close)()) is not None:
            await self.close(code)
            return
        logs.about(user=user.pk)
        self.viewer = Viewer(user.pk, ())
        self._heard = {keys.channel_user_account(user.pk)}
        self._flusher = asyncio.create_task(self._flush())
        self._checker = asyncio.create_task(self._check_forever())

    async def _check_forever(self) -> None:
        """Look again whether this session may still listen: an open socket outlives a log-out.

        At once where the user's own channel says that it may have ended, and every CHECK_EVERY in any case. What it may hear is told when
        that changes; what nobody told is found after FOLLOW_EVERY.
        """
        await bus.relay().subscribe(self, {keys.channel_user_account(self.viewer.user_id)})
        # A restart brings a thousand pages back in one second: from then on all would be looked at in the same one of every thirty.
        patience = CHECK_EVERY * random.random()  # nosec B311  # spreads load, no secret
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._doubted.wait()
            patience = CHECK_EVERY
            doubted = self._doubted.is_set()
            self._doubted.clear()
            try:
                code = await db(self._reason_to_close)()
                if code is None and (doubted or time.monotonic() - self._read_at >= FOLLOW_EVERY):
                    await self._refresh()
            except DatabaseError as error:
                log.warning("a session could not be looked at: %s", error)
                code = TRY_LATER  # who may listen is not known: whoever may comes back
            if code is not None:
                await self._end(code)
                return

    def _reason_to_close(self) -> int | None:
        user = self._current_user()
        if not user.is_authenticated:
            return LOG_IN_AGAIN
        return None if user.has_perm(RIGHT) else FORBIDDEN

    async def _end(self, code: int) -> None:
        """Close, and send nothing that is still owed: it is no longer for whoever listens."""
        if self._flusher is not None:
            self._flusher.cancel()
        await self.close(code)

    async def _refresh(self) -> None:
        """What this user may see has changed, or may have: what is asked for beyond it ends, and a page says hello again."""
        async with self._greeting:
            before = self.viewer
            await self._read_viewer()
            if self.viewer == before or not (self.greeted or self.subscriptions):
                return
            if self.subscriptions.keep(self.viewer.exchange_ids):
                self.send_soon(self._subscribed(None))
            await self._listen()
            if self.greeted:
                self._ask_for_hello()

    async def _read_viewer(self) -> bytes:
        """Returns the user's account message, encoded."""
        self.viewer, account = await db(snapshot.read_viewer)(self.viewer.user_id)
        self._read_at = time.monotonic()
        return msgspec.json.encode(account)

    async def _listen(self) -> None:
        """Have the relay deliver what is wanted now, and no more; it is confirmed by then, or Redis is away."""
        wanted = self.subscriptions.redis_patterns()
        # A page that asks for nothing more hears what the others hear, and with them.
        audience = hub().audience(self.viewer) if self.greeted and not wanted else None
        if self.greeted and audience is None:
            wanted |= Heard.by(self.viewer).patterns
        # A user's own channels follow from the session, and from nothing a client says.
        if wanted or audience:
            wanted.add(keys.channel_user_alerts(self.viewer.user_id))
        wanted.add(keys.channel_user_account(self.viewer.user_id))
        gone, self._heard = self._heard - wanted, wanted
        left, self._audience = self._audience, audience
        if left is not None and left is not audience:
            left.leave(self)
        if audience is not None:
            audience.join(self)
        await bus.relay().unsubscribe(self, gone)
        await bus.relay().subscribe(self, wanted)
        if audience is not None:
            await bus.relay().subscribe(audience, audience.heard.patterns)
        if left is not None and left is not audience:
            await hub().left(left)
        hub().join(self)

    def take(self, turn: Turn) -> None:
        """Take what is for every page that hears the same."""
        try:
            self.outbox.take(turn)
        except Overflow:
            self._give_up()
        self._owed.set()

    def _current_user(self) -> Any:
        """Who the session, or the token, belongs to now, as the database has it."""
        if (token := self.scope.get("token")) is not None:
            return tokens.holder(token)
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(self.scope["session"].session_key)
        return get_user(request)

    async def disconnect(self, code: int) -> None:
        for task in (self._flusher, self._checker, self._refresher):
            if task is not None:
                task.cancel()  # first: none of them may subscribe again
        hub().leave(self)
        if self._audience is not None:
            self._audience.leave(self)
            await hub().left(self._audience)
        await bus.relay().unsubscribe(self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            if text_data is None or len(text_data) > LARGEST_MESSAGE:
                raise ValueError("a text message of at most 16 kB is wanted")
            kind = _decode_kind(text_data).type
            said = None if kind in {"subscribe", "unsubscribe"} else _decode(text_data)
        except (ValueError, RecursionError) as error:
            log.info("a client said something unreadable: %s", error)
            await self.close(BAD_MESSAGE)
            return
        if self._flusher is None or self._flusher.done():
            return
        if said is not None and said.type == "ack":
            for published_at in self.outbox.acknowledge(said.n):
                measures.feed.acknowledged.add((now_ms() - published_at) / 1000)
            self._owed.set()
        elif not self._allowance.take(time.monotonic()):
            await self._stop_asking(text_data)
        elif said is None:
            await self._answer(text_data)
        elif said.type == "hello" and said.v == snapshot.VERSION:
            resume: snapshot.Resume = {name: {"epoch": have.epoch, "id": have.id} for name, have in said.resume.items()}
            await self._hello(resume, wanted=said.snapshot)
        else:
            await self.close(BAD_MESSAGE)

    async def _hello(self, resume: snapshot.Resume, *, wanted: bool) -> None:
        """Subscribe first, read the snapshot second; what comes in between is held and follows it."""
        async with self._greeting:
            self.outbox.held = True
            account = await self._read_viewer()
            self.greeted = True
            if self.subscriptions.keep(self.viewer.exchange_ids):
                self.send_soon(self._subscribed(None))
            await self._listen()
            if wanted:
                measures.feed.resumes += bool(resume)
                self.outbox.put_first(await measures.feed.snapshot.of(hub().snapshot(self.viewer, resume)))
            else:
                await hub().look_at_tiers()
            self.outbox.put_first(account)
            self.outbox.held = False
            self._owed.set()

    async def _answer(self, text: str) -> None:
        """Carry a request out, whole or not at all."""
        try:
            request = subscriptions.read(text)
            async with self._greeting:
                if request.type == "subscribe":
                    await self._subscribe(request)
                else:
                    self.subscriptions.remove(request)
                await self._listen()
            self.send_soon(self._subscribed(request.id))
        except Refused as refused:
            self.send_soon(_refused(text, str(refused)))
        self.outbox.held = False

    async def _subscribe(self, request: subscriptions.Request) -> None:
        if not (self.greeted or self.subscriptions):
            await hub().look_at_tiers()  # from now on the hub does
        try:
            self.subscriptions.add(request, self.viewer.exchange_ids)
        except Refused:
            if time.monotonic() - self._read_at < READ_AGAIN:
                raise
            await self._read_viewer()
            self.subscriptions.add(request, self.viewer.exchange_ids)

    def _subscribed(self, request_id: int | None) -> bytes:
        message: SubscribedMessage = {"type": "subscribed", "id": request_id, "channels": self.subscriptions.channels}
        return msgspec.json.encode(message)

    async def _stop_asking(self, text: str) -> None:
        """Somebody asks faster than it could read the answers."""
        self.send_soon(_refused(text, f"more than {subscriptions.MESSAGES_PER_SECOND} messages a second: put several channels into one"))
        if self._flusher is not None:
            self._flusher.cancel()
        frame = self.outbox.frame()
        if frame is not None:
            await self.send(text_data=frame.decode())
        await self.close(TOO_SLOW)

    def deliver(self, channel: str, data: bytes) -> None:
        """Take a message of the relay."""
        try:
            address = subscriptions.delivered(channel)
        except ValueError:
            return
        kind, exchange_id, symbol, _ = address
        if kind == "account":
            self._own_changed(data)
        elif kind == "user":
            self._take_own(data)
        elif kind in {"ticker", "candle"}:
            if self._wants(address) and self._sees((exchange_id, symbol)):
                self.outbox.put_latest(address, data)
                if kind == "candle":
                    self.outbox.note(kind, measures.published.at(data))
                self._owed.set()
        elif kind == "lifecycle":
            self._take_lifecycle(address, data)
        elif kind == "moves":
            self._take_move(address, data)
        elif self._wants(address):
            self.outbox.note("alert", measures.published.at(data))
            self.send_soon(data)

    def _wants(self, address: Address) -> bool:
        """A page hears all of the exchanges its user watches, alerts of them from the channel of the whole exchange."""
        if self.greeted and address.exchange_id in self.viewer.exchange_ids:
            return address.kind != "alerts" or not address.symbol
        return self.subscriptions.wants(address)

    def _take_lifecycle(self, address: Address, data: bytes) -> None:
        if b'"symbols:changed"' in data:
            hub().rows_changed(address.exchange_id)
        if not self._wants(address):
            return
        if b'"symbol:state"' not in data or self._sees((address.exchange_id, msgspec.json.decode(data)["symbol"])):
            self.send_soon(data)

    def _take_move(self, address: Address, data: bytes) -> None:
        """Of the coins that move those whose markets this user may see, on both exchanges; on a page, seen from where the user buys."""
        other_id = address.symbol
        asked_for = self.subscriptions.wants(address) and other_id in self.viewer.exchange_ids
        if not asked_for and not (self.greeted and other_id == self.viewer.moves_for and address.exchange_id in self.viewer.exchange_ids):
            return
        move: MoveMessage = msgspec.json.decode(data)
        markets = list(zip(move["coins"], move["symbols"], move["other_symbols"], strict=True))
        seen = [one for one in markets if self._sees((address.exchange_id, one[1])) and self._sees((other_id, one[2]))]
        if len(seen) == len(markets):
            self.send_soon(data)
        elif seen:
            coins, symbols, other_symbols = (list(column) for column in zip(*seen, strict=True))
            self.send_soon(msgspec.json.encode({**move, "coins": coins, "symbols": symbols, "other_symbols": other_symbols}))

    def _take_own(self, data: bytes) -> None:
        """What is for this user alone. Without a hello only alerts that are asked for, and that do not come to everybody as well."""
        if not self.greeted:
            alert = _decode_alert(data)
            if alert.type != "alert" or alert.shared or not self.subscriptions.wants_alert(alert.source_exchange_id, alert.symbol):
                return
        self.outbox.note("alert", measures.published.at(data))
        self.send_soon(data)

    def _own_changed(self, data: bytes) -> None:
        if data == SESSION_DOUBTED:
            self._doubted.set()
            return
        if self.greeted:
            self._ask_for_hello()
        if self.subscriptions and (self._refresher is None or self._refresher.done()):
            self._refresher = asyncio.create_task(self._follow_own())

    async def _follow_own(self) -> None:
        try:
            await self._refresh()
        except DatabaseError as error:
            log.warning("what a user may hear could not be read again: %s", error)
            await self.close(TRY_LATER)

    def _ask_for_hello(self) -> None:
        """What this user may see, or set, has changed: the page says hello again, with what it has, and gets the rest."""
        self.send_soon(_HELLO_AGAIN, "positions")

    def _sees(self, market: snapshot.Market) -> bool:
        """Whether a market is everybody's, or this user's own: what others hold or added is not told."""
        return market in self.viewer.own or market in hub().shared

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
        if up and not self.greeted and self.subscriptions:
            message: MissedMessage = {"type": "missed", "at": now_ms(), "reason": "the server had lost Redis"}
            self.send_soon(msgspec.json.encode(message))

    def _give_up(self) -> None:
        # Once: what a cancelled task still has to come is more of what is too much.
        if self._closing is None and self._flusher is not None and not self._flusher.done():
            measures.feed.too_slow += 1
            self._flusher.cancel()
            self._closing = asyncio.create_task(self.close(TOO_SLOW))

    async def _flush(self) -> None:
        """Send what is owed for as long as that works. A socket that takes nothing any more is closed: the page resumes on another."""
        try:
            await self._send_what_is_owed()
        except Exception as error:
            gone = isinstance(error, OSError)  # how a server says that the client has left: no fault of ours
            level = logging.INFO if gone else logging.ERROR
            log.log(level, "a frame could not be sent (%s); the socket of user %d is closed", error, self.viewer.user_id, exc_info=not gone)
            with contextlib.suppress(Exception):  # the same fault may stand in its way
                await self.close(OUR_FAULT)

    async def _send_what_is_owed(self) -> None:
        """Everything owed as one frame a turn."""
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
                self._count_sent()
            if not self.outbox.blocked:
                slow_since = None
            elif slow_since is None:
                slow_since = time.monotonic()
            elif time.monotonic() - slow_since > SLOW_FOR:
                measures.feed.too_slow += 1
                await self.close(TOO_SLOW)
                return

    def _count_sent(self) -> None:
        """Of a frame that is on its way: once for all that it carries, since frames, not messages, are the cost."""
        feed, outbox = measures.feed, self.outbox
        feed.frames += 1
        feed.conflated += outbox.conflated
        outbox.conflated = 0
        for kind, published_at in outbox.carried.items():
            feed.sent[kind].add((now_ms() - published_at) / 1000)


def _refused(text: str, reason: str) -> bytes:
    message: RefusedMessage = {"type": "refused", "id": subscriptions.id_of(text), "reason": reason}
    return msgspec.json.encode(message)
