"""What one socket is owed: alerts never dropped, prices conflated, everything of one turn in one frame. Pure.

The server's ``send`` never waits for a slow browser, so the page acknowledges the frames it has, and what is out is counted here.
"""

from collections import deque
from collections.abc import Hashable

MOST_QUEUED = 256
"""Messages that may not be conflated and wait; beyond that the socket does not keep up and is closed (4008), to resume."""
MOST_OUT = 256
"""Frames sent and not acknowledged; beyond that nothing more is sent until the page has caught up."""


class Overflow(Exception):
    """The socket does not keep up."""


class Outbox:
    """Messages are JSON as bytes, encoded once for all sockets."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._latest: dict[Hashable, bytes] = {}
        self._sent = 0
        self._acknowledged = 0
        self.held = True
        self.conflated = 0
        """Messages that were replaced by a newer one before they were sent."""
        self._oldest: dict[str, int] = {}
        self.carried: dict[str, int] = {}
        """Of the last frame, by kind: when the oldest message in it was published, ms UTC, as far as that was noted."""
        self._out: deque[tuple[int, int]] = deque()

    def put(self, message: bytes) -> None:
        """A message that must arrive, in order. Raises Overflow."""
        if len(self._queue) >= MOST_QUEUED:
            raise Overflow
        self._queue.append(message)

    def put_latest(self, key: Hashable, message: bytes) -> None:
        """A message that replaces an older one of its key."""
        if self._latest.pop(key, None) is not None:
            self.conflated += 1
        self._latest[key] = message

    def note(self, kind: str, published_at: int) -> None:
        """Something of this kind that was just put was published at (ms UTC; 0: it does not say)."""
        if published_at and not 0 < self._oldest.get(kind, 0) <= published_at:
            self._oldest[kind] = published_at

    def put_first(self, message: bytes) -> None:
        """A snapshot: before everything that came while it was read."""
        self._queue.appendleft(message)

    def acknowledge(self, frame: int) -> list[int]:
        """The page has every frame up to this one. Returns when the oldest noted message of each was published, ms UTC."""
        self._acknowledged = max(self._acknowledged, min(frame, self._sent))
        arrived = []
        while self._out and self._out[0][0] <= self._acknowledged:
            arrived.append(self._out.popleft()[1])
        return arrived

    @property
    def blocked(self) -> bool:
        """Whether the page has to catch up before more is sent."""
        return self.out >= MOST_OUT

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return len(self._queue) + len(self._latest)

    @property
    def out(self) -> int:
        """Frames sent and not acknowledged."""
        return self._sent - self._acknowledged

    @property
    def waiting(self) -> bool:
        return bool(self._queue or self._latest)

    def frame(self) -> bytes | None:
        """Everything owed as one frame, ``{"n":…,"m":[…]}``; None while there is nothing, it is held back, or the page has to catch up."""
        if self.held or self.blocked or not self.waiting:
            return None
        self._sent += 1
        body = b",".join((*self._queue, *self._latest.values()))
        self._queue.clear()
        self._latest.clear()
        self.carried, self._oldest = self._oldest, {}
        if self.carried:
            self._out.append((self._sent, min(self.carried.values())))
        return b'{"n":%d,"m":[%b]}' % (self._sent, body)
