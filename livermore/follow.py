"""What a process hears of another's channels, kept until it is read: prices conflated, the rest bounded.

``livermore.bus.following`` fills it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Collection
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from livermore import keys

log = logging.getLogger(__name__)

Message = dict[str, Any]
_decode = msgspec.json.Decoder(Message).decode


class Follower(AsyncIterator[tuple[str, Message]]):
    """A queue of (channel, message). It stands behind the relay, as a listener."""

    def __init__(self, patterns: Collection[str], most: int) -> None:
        for one in patterns:
            if within := next((other for other in patterns if other != one and fnmatchcase(one, other)), None):
                raise ValueError(f"{one} lies within {within}: each of its messages would come twice")
        self._most = most
        self._queue: deque[tuple[str, bytes]] = deque()
        self._prices: dict[str, bytes] = {}
        self._missed: Message | None = None
        self._some = asyncio.Event()

    def deliver(self, channel: str, data: bytes) -> None:
        """Take a message of the relay."""
        if _is_price(channel):
            self._prices.pop(channel, None)
            self._prices[channel] = data
            if len(self._prices) > self._most:
                del self._prices[next(iter(self._prices))]
                self._miss("more prices wait than this reader keeps")
        else:
            self._queue.append((channel, data))
            if len(self._queue) > self._most:
                self._queue.popleft()
                self._miss("this reader does not keep up")
        self._some.set()

    def link_changed(self, up: bool) -> None:
        if up:
            self._miss("Redis was away")
            self._some.set()

    def _miss(self, reason: str) -> None:
        self._missed = {"type": "missed", "at": time.time_ns() // 1_000_000, "reason": reason}

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> tuple[str, Message]:
        while True:
            if (missed := self._missed) is not None:
                self._missed = None
                return "", missed
            if self._queue:
                channel, data = self._queue.popleft()
            elif self._prices:
                channel = next(iter(self._prices))
                data = self._prices.pop(channel)
            else:
                self._some.clear()
                await self._some.wait()
                continue
            try:
                return channel, _decode(data)
            except ValueError as error:
                log.warning("%s: a message that is no JSON object was left out: %s", channel, error)


def _is_price(channel: str) -> bool:
    try:
        return keys.parse_channel(channel)[0] == "ticker"
    except ValueError:
        return False
