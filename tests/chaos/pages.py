"""Browsers' sockets on ``/ws/feed/``: what livermore/static/livermore/js/socket.js and state.js do, and what slow and absent readers do.

Each keeps the list that its page would show in the end, and takes note of whatever a reader was promised and did not get.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

SILENCE = 15.0
ACKNOWLEDGE_EVERY, MANY_FRAMES = 2.0, 64
HELLO_EVERY = 5.0
MOST_RESUMED, NEWEST = 500, 100
"""A page further behind than that gets a fresh list, of so many."""
KINDS = ("fast", "slow", "mute", "away")
"""Reads at once; takes its time over each frame; reads its first list, and then nothing until the end; goes away now and then, and comes
back with what it has."""

_decode = msgspec.json.decode

Position = dict[str, Any]
Market = tuple[str, str]
"""(exchange, symbol)"""


@dataclass
class Shown:
    """What the page knows: ``alerts`` by exchange and uid, as far as ``positions`` without a gap.

    ``since``: by exchange, the first number of a list that was begun anew; what is older it is not owed.
    """

    alerts: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    heard: dict[str, Position] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[Market, dict[str, Any]] = field(default_factory=dict)

    def behind(self) -> bool:
        """Whether the server has spoken of alerts that are not here."""
        return any(self._ahead(heard, self.positions.get(exchange_id)) for exchange_id, heard in self.heard.items())

    @staticmethod
    def _ahead(theirs: Position, ours: Position | None) -> bool:
        if ours is None:
            return bool(theirs["id"] > 0)
        return bool(theirs["epoch"] != ours["epoch"] or theirs["id"] > ours["id"])

    def numbers(self, exchange_id: str) -> list[int]:
        return sorted(alert["id"] for alert in self.alerts.get(exchange_id, {}).values())

    # Messages

    def take(self, message: dict[str, Any]) -> None:
        if (method := getattr(self, f"_on_{message['type']}", None)) is not None:
            method(message)

    def _on_snapshot(self, message: dict[str, Any]) -> None:
        for exchange_id, resumed in message["resumed"].items():
            if not resumed:
                self.alerts[exchange_id] = {}
                self.since[exchange_id] = min(
                    (alert["id"] for alert in message["alerts"] if alert["source_exchange_id"] == exchange_id), default=1
                )
        for alert in message["alerts"]:
            self.alerts.setdefault(alert["source_exchange_id"], {})[alert["uid"]] = alert
        self.positions, self.heard = dict(message["top"]), dict(message["top"])
        self.cards = {card["exchange_id"]: card for card in message["exchanges"]}
        self.rows = {(row["exchange_id"], row["symbol"]): row for row in message["symbols"]}

    def _on_alert(self, message: dict[str, Any]) -> None:
        self._numbered(message)
        known = self.alerts.setdefault(message["source_exchange_id"], {})
        if message["uid"] not in known or message["revised"]:
            known[message["uid"]] = message

    def _on_withheld(self, message: dict[str, Any]) -> None:
        self._numbered(message)

    def _numbered(self, message: dict[str, Any]) -> None:
        exchange_id, position = message["source_exchange_id"], {"epoch": message["epoch"], "id": message["id"]}
        ours = self.positions.get(exchange_id)
        follows = position["id"] == 1 if ours is None else position == {"epoch": ours["epoch"], "id": ours["id"] + 1}
        if follows:
            self.positions[exchange_id] = position
        if exchange_id not in self.heard or self._ahead(position, self.heard[exchange_id]):
            self.heard[exchange_id] = position

    def _on_positions(self, message: dict[str, Any]) -> None:
        self.heard.update(message["top"])
        for exchange_id, state in message["states"].items():
            if exchange_id in self.cards:
                self.cards[exchange_id] = {**self.cards[exchange_id], "state": state}

    def _on_exchange(self, message: dict[str, Any]) -> None:
        self.cards[message["exchange_id"]] = message

    def _on_symbols(self, message: dict[str, Any]) -> None:
        for market in [market for market in self.rows if market[0] == message["exchange_id"]]:
            del self.rows[market]
        self.rows.update({(row["exchange_id"], row["symbol"]): row for row in message["symbols"]})

    def _on_lifecycle(self, message: dict[str, Any]) -> None:
        if "symbol" in message:
            if row := self.rows.get((message["exchange_id"], message["symbol"])):
                row["state"] = message["state"]
        elif (card := self.cards.get(message["exchange_id"])) and message.get("state"):
            card["state"] = message["state"]

    def _on_candle(self, message: dict[str, Any]) -> None:
        if row := self.rows.get((message["exchange_id"], message["symbol"])):
            known = row["readings"].get(message["timeframe"])
            if known is None or message["indicator"]["t"] >= known["t"]:
                row["readings"][message["timeframe"]] = message["indicator"]


class Page:
    """One reader. ``run`` lasts until it is cancelled; ``read_on`` makes every kind a fast one, for the end of a run.

    ``broken``: promises that were broken. ``codes``: how its sockets were closed. ``leaks``: canaries that were in a frame.
    """

    def __init__(self, url: str, origin: str, cookie: str, kind: str, seed: int, canaries: Sequence[str] = ()) -> None:
        self.url, self.origin, self.cookie, self.kind = url, origin, cookie, kind
        self.shown = Shown()
        self.broken: list[str] = []
        self.codes: list[int] = []
        self.leaks: set[str] = set()
        self.sockets = self.snapshots = 0
        self._canaries = [canary.encode() for canary in canaries]
        self._rng = random.Random(f"page {kind} {seed}")
        self._reading_on = asyncio.Event()
        self._live = False
        self._heard = self._acknowledged_at = self._hello_at = 0.0
        self._frame = self._acknowledged = 0
        self._asked: dict[str, Position] = {}
        self._newest: dict[str, int] = {}

    @property
    def live(self) -> bool:
        """Whether the page says so itself: it has a snapshot of this socket, and heard of the server lately."""
        return self._live and time.monotonic() - self._heard < SILENCE

    def read_on(self) -> None:
        self._reading_on.set()

    async def run(self) -> None:
        attempt = 0
        while True:
            try:
                async with connect(
                    self.url,
                    origin=self.origin,
                    additional_headers={"Cookie": self.cookie},
                    max_size=None,
                    compression=None,
                    ping_interval=None,
                    open_timeout=10,
                    close_timeout=0.2,
                ) as socket:
                    self.sockets += 1
                    attempt = 0
                    await self._use(socket)
            except (OSError, TimeoutError, WebSocketException) as error:
                self._note(error)
            self._live = False
            attempt += 1
            await asyncio.sleep(self._rng.uniform(0.5, min(4.0, 2.0**attempt)))

    def _note(self, error: Exception) -> None:
        if isinstance(error, InvalidHandshake) and getattr(getattr(error, "response", None), "status_code", 0) in (400, 401, 403):
            self.broken.append(f"{self.kind}: the handshake was refused: {error}")
        received = getattr(error, "rcvd", None)
        if received is not None:
            self.codes.append(received.code)

    async def _use(self, socket: ClientConnection) -> None:
        self._frame = self._acknowledged = 0
        self._heard, self._hello_at = time.monotonic(), 0.0
        await self._hello(socket)
        leave_at = time.monotonic() + self._rng.uniform(2.0, 7.0) if self.kind == "away" else None
        while True:
            if self.kind == "mute" and self._live and not self._reading_on.is_set():
                socket.transport.pause_reading()
                await self._reading_on.wait()
                socket.transport.abort()
                return
            if leave_at is not None and time.monotonic() > leave_at and not self._reading_on.is_set():
                socket.transport.abort()
                self._live = False
                await asyncio.sleep(self._rng.uniform(0.5, 5.0))
                return
            with suppress(TimeoutError):
                self._receive(_text(await asyncio.wait_for(socket.recv(), 1.0)))
            if time.monotonic() - self._heard > SILENCE:
                return
            await self._acknowledge(socket)
            if not self._live or self.shown.behind() or self._resync:
                await self._hello(socket)
            if self.kind == "slow" and not self._reading_on.is_set():
                await asyncio.sleep(self._rng.uniform(0.0, 0.6))

    _resync = False

    async def _hello(self, socket: ClientConnection) -> None:
        now = time.monotonic()
        if now - self._hello_at < HELLO_EVERY:
            return
        self._hello_at, self._resync = now, False
        self._asked = dict(self.shown.positions)
        await socket.send(json.dumps({"type": "hello", "v": 1, "resume": self._asked}))

    async def _acknowledge(self, socket: ClientConnection) -> None:
        now = time.monotonic()
        many = self._frame - self._acknowledged >= MANY_FRAMES
        if self._frame > self._acknowledged and (many or now - self._acknowledged_at > ACKNOWLEDGE_EVERY):
            self._acknowledged, self._acknowledged_at = self._frame, now
            await socket.send(json.dumps({"type": "ack", "n": self._frame}))

    # What comes

    def _receive(self, text: bytes) -> None:
        self._heard = time.monotonic()
        self.leaks.update(canary.decode() for canary in self._canaries if canary in text)
        frame = _decode(text)
        if frame["n"] != self._frame + 1:
            self.broken.append(f"{self.kind}: frame {frame['n']} came after frame {self._frame}")
        self._frame = frame["n"]
        for message in frame["m"]:
            self._check(message)
            self.shown.take(message)
            if message["type"] == "snapshot":
                self._live = True
                self.snapshots += 1
            self._resync |= bool(message.get("resync"))

    def _check(self, message: dict[str, Any]) -> None:
        """Whether that keeps what was promised: lists are continued where they can be, and alerts come in order."""
        if message["type"] == "snapshot":
            for exchange_id, resumed in message["resumed"].items():
                have, now = self._asked.get(exchange_id), message["top"].get(exchange_id)
                if not resumed and have and now and now["id"] <= have["id"] + MOST_RESUMED:
                    self.broken.append(f"{self.kind}: {exchange_id} was not continued from {have} to {now}")
                fresh = sum(alert["source_exchange_id"] == exchange_id for alert in message["alerts"])
                if not resumed and now and fresh < min(NEWEST, now["id"]):
                    self.broken.append(f"{self.kind}: {exchange_id} began anew with {fresh} alerts of {now['id']}")
        elif message["type"] == "alert" and message["uid"] not in self.shown.alerts.get(message["source_exchange_id"], {}):
            exchange_id, number = message["source_exchange_id"], message["id"]
            if number < self._newest.get(exchange_id, 0):
                self.broken.append(f"{self.kind}: {exchange_id} {number} came after {self._newest[exchange_id]}")
            self._newest[exchange_id] = max(number, self._newest.get(exchange_id, 0))


def _text(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data
