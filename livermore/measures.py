"""What a process counts of itself: plain integers, cheap enough for the way of a price. livermore/exposition.py tells Prometheus.

One thread counts and any may read. What several threads count (requests, queries) is a ``SharedTimings``.
"""

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Awaitable, Sequence
from threading import Lock
from typing import TypeVar

T = TypeVar("T")

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: from a Redis round trip to a commit that waited for the database."""
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: what a person waits for."""
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class Timings:
    """How often a value fell into each bucket, and their sum. ``add`` takes about a microsecond."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = FAST) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """``value`` in the unit of the bounds; a clock that was set back gives 0."""
        value = max(0.0, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    async def of(self, work: Awaitable[T]) -> T:
        """Await something, and add how long that took. What fails is not counted."""
        began = time.perf_counter()
        result = await work
        self.add(time.perf_counter() - began)
        return result

    @property
    def count(self) -> int:
        return sum(self.counts)


class SharedTimings(Timings):
    """The same, added to by several threads."""

    __slots__ = ("_lock",)

    def __init__(self, bounds: Sequence[float] = FAST) -> None:
        super().__init__(bounds)
        self._lock = Lock()

    def add(self, value: float) -> None:
        with self._lock:
            super().add(value)


class Commits:
    """Of the batches of one exchange (or shard), from the start of its connector on.

    ``database`` is over when the database has taken a batch, however often it was asked; ``redis`` writes candles and readings; ``alerts``
    puts alerts out and marks them; ``closes`` announces the candles.
    """

    def __init__(self) -> None:
        self.steps = {name: Timings() for name in ("database", "redis", "alerts", "closes")}
        self.sizes = Timings(SIZES)
        self.closes = self.evaluated = self.alerts = 0

    def committed(self, closes: int, evaluated: int, alerts: int) -> None:
        """A batch is in the database: so many candles that are announced, series that moved on, and alerts that are new."""
        self.sizes.add(closes)
        self.closes += closes
        self.evaluated += evaluated
        self.alerts += alerts


class Feed:
    """Of the sockets of a web process."""

    def __init__(self) -> None:
        self.opened = self.frames = self.conflated = self.too_slow = self.resumes = 0
        self.snapshot = Timings(SLOW)
        self.sent = {kind: Timings(SLOW) for kind in ("alert", "candle")}
        self.acknowledged = Timings(SLOW)


class Lag:
    """How late an event loop is with what is due: a handle that schedules itself again, no task and no thread."""

    EVERY = 0.5

    def __init__(self) -> None:
        self.timings = Timings()
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self) -> None:
        """Watch the running loop, from now to its end. Asked for again, it does nothing."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.call_later(self.EVERY, self._look, loop, loop.time() + self.EVERY)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if loop is self._loop:
            now = loop.time()
            self.timings.add(now - due)
            loop.call_later(self.EVERY, self._look, loop, now + self.EVERY)


feed = Feed()
lag = Lag()
queries = SharedTimings()
requests: dict[tuple[str, str, str], SharedTimings] = {}
"""(view, method, class of the status) -> seconds."""


class Published:
    """When a message was published, by its bytes. The relay gives the same object to every socket: it is looked for once."""

    def __init__(self) -> None:
        self._data: bytes = b""
        self._at = 0

    def at(self, data: bytes) -> int:
        """Milliseconds UTC; 0 where the message does not say."""
        if data is not self._data:
            self._data, self._at = data, _published_at(data)
        return self._at


def _published_at(data: bytes) -> int:
    """The number behind the field, without decoding what may be kilobytes."""
    found = _FIELD.search(data)
    return int(found[1]) if found is not None else 0


_FIELD = re.compile(rb'"published_at":\s*(\d{1,15})')

published = Published()
