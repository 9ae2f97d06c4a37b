"""What one socket is owed: alerts never dropped, prices conflated, everything of one turn in one frame. Pure.

The server's ``send`` never waits for a slow browser, so the page acknowledges the frames it has, and what is out is counted here.
Messages are JSON as bytes, encoded once for all sockets.
"""

from collections.abc import Hashable

MOST_QUEUED = 256
"""Messages that may not be conflated and wait; beyond that the socket does not keep up and is closed (4008), to resume."""
MOST_OUT = 256
"""Frames sent and not acknowledged; beyond that nothing more is sent until the page has caught up."""
MOST_BYTES_OUT = 768 * 1024
"""The same, of their bytes: what a page that has fallen asleep can cost its server."""


class Overflow(Exception):
    """The socket does not keep up."""


def note_oldest(oldest: dict[str, int], kind: str, published_at: int) -> None:
    """Keep the earlier time; 0 says nothing."""
    if published_at and not 0 < oldest.get(kind, 0) <= published_at:
        oldest[kind] = published_at


class Turn:
    """What one turn of the event loop brought to many sockets, put together once for all of them. Once given out, it stays as it is."""

    def __init__(self) -> None:
        self.queue: list[bytes] = []
        self.latest: dict[Hashable, bytes] = {}
        self.oldest: dict[str, int] = {}
        self.replaced = 0
        """Messages for which a newer one came in the same turn."""
        self._body: bytes | None = None

    def put_latest(self, key: Hashable, message: bytes) -> None:
        """A message that replaces an older one of its key."""
        self.replaced += key in self.latest
        self.latest[key] = message

    @property
    def body(self) -> bytes:
        """All messages, with commas between them."""
        if self._body is None:
            self._body = b",".join((*self.queue, *self.latest.values()))
        return self._body


class Outbox:
    """What is owed: messages of its own, or, as long as there are none, a turn as it is."""

    def __init__(self) -> None:
        self._turn: Turn | None = None
        self._queue: list[bytes] = []  # as the others here no deque, which takes 760 bytes when it is empty
        self._latest: dict[Hashable, bytes] = {}
        self._sent = 0
        self._acknowledged = 0
        self.held = True
        self.conflated = 0
        """Messages that were replaced by a newer one before they were sent."""
        self._oldest: dict[str, int] = {}
        self.carried: dict[str, int] = {}
        """Of the last frame, by kind: when the oldest message in it was published, ms UTC, as far as that was noted."""
        self._out: list[tuple[int, int]] = []
        self._sizes: list[int] = []
        self._bytes_out = 0

    def take(self, turn: Turn) -> None:
        """Everything of a turn. Raises Overflow: not for how much it is, but where as much waits already."""
        if not self.waiting:
            self._turn = turn
        else:
            self._spread()
            if self._queue and len(self._queue) + len(turn.queue) > MOST_QUEUED:
                raise Overflow
            self._queue.extend(turn.queue)
            self._put_all_latest(turn)
        self.conflated += turn.replaced
        for kind, published_at in turn.oldest.items():
            self.note(kind, published_at)

    def _spread(self) -> None:
        """Something joins a turn, which is others' as well."""
        if self._turn is not None:
            turn, self._turn = self._turn, None
            self._queue.extend(turn.queue)
            self._put_all_latest(turn)

    def _put_all_latest(self, turn: Turn) -> None:
        before = len(self._latest)
        self._latest.update(turn.latest)
        self.conflated += before + len(turn.latest) - len(self._latest)

    def put(self, message: bytes) -> None:
        """A message that must arrive, in order. Raises Overflow."""
        self._spread()
        if len(self._queue) >= MOST_QUEUED:
            raise Overflow
        self._queue.append(message)

    def put_latest(self, key: Hashable, message: bytes) -> None:
        """A message that replaces an older one of its key."""
        self._spread()
        if self._latest.pop(key, None) is not None:
            self.conflated += 1
        self._latest[key] = message

    def note(self, kind: str, published_at: int) -> None:
        """Something of this kind that was just put was published at (ms UTC; 0: it does not say)."""
        note_oldest(self._oldest, kind, published_at)

    def put_first(self, message: bytes) -> None:
        """A snapshot: before everything that came while it was read."""
        self._spread()
        self._queue.insert(0, message)

    def acknowledge(self, frame: int) -> list[int]:
        """The page has every frame up to this one. Returns when the oldest noted message of each was published, ms UTC."""
        fresh = max(0, min(frame, self._sent) - self._acknowledged)
        self._acknowledged += fresh
        self._bytes_out -= sum(self._sizes[:fresh])
        del self._sizes[:fresh]
        arrived = [published_at for number, published_at in self._out if number <= self._acknowledged]
        del self._out[: len(arrived)]
        return arrived

    @property
    def blocked(self) -> bool:
        """Whether the page has to catch up before more is sent."""
        return self.out >= MOST_OUT or self._bytes_out >= MOST_BYTES_OUT

    @property
    def depth(self) -> int:
        """Messages that wait."""
        turn = self._turn
        return len(self._queue) + len(self._latest) + (len(turn.queue) + len(turn.latest) if turn is not None else 0)

    @property
    def out(self) -> int:
        """Frames sent and not acknowledged."""
        return self._sent - self._acknowledged

    @property
    def waiting(self) -> bool:
        return bool(self._queue or self._latest or self._turn)

    def frame(self) -> bytes | None:
        """Everything owed as one frame, ``{"n":…,"m":[…]}``; None while there is nothing, it is held back, or the page has to catch up."""
        if self.held or self.blocked or not self.waiting:
            return None
        self._sent += 1
        if self._turn is not None:
            body, self._turn = self._turn.body, None
        else:
            body = b",".join((*self._queue, *self._latest.values()))
            self._queue.clear()
            self._latest.clear()
        self.carried, self._oldest = self._oldest, {}
        if self.carried:
            self._out.append((self._sent, min(self.carried.values())))
        frame = b'{"n":%d,"m":[%b]}' % (self._sent, body)
        self._sizes.append(len(frame))
        self._bytes_out += len(frame)
        return frame
