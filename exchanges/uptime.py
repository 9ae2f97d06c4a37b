"""For how much of a time an exchange was live. Pure: what was noted in, a share out."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """A state of an exchange, from ``at``. It was last known to hold at ``seen``: a process that dies says nothing. Milliseconds."""

    at: int
    seen: int
    live: bool


class Uptime(NamedTuple):
    """``share`` is 0 to 1, over what is known of the window: from ``since`` on. None where nothing is."""

    share: float | None
    since: int | None


def uptime(spans: Iterable[Span], start: int, end: int) -> Uptime:
    """How much of [start, end) was live. Each span ends where the next begins, or where it was last seen; what no span covers is down."""
    ordered = sorted(spans, key=lambda span: span.at)
    if not ordered or ordered[0].at >= end:
        return Uptime(None, None)
    since = max(start, ordered[0].at)
    ends = [following.at for following in ordered[1:]] + [end]
    live = sum(_overlap(span.at, min(span.seen, until), since, end) for span, until in zip(ordered, ends, strict=True) if span.live)
    return Uptime(live / (end - since), since)


def _overlap(at: int, until: int, start: int, end: int) -> int:
    return max(0, min(until, end) - max(at, start))


class Timeline:
    """The spans of an exchange, in order, for who asks again and again: an answer takes as long after a month as after a day."""

    def __init__(self) -> None:
        self._at, self._end, self._live = array("q"), array("q"), array("b")
        self._before = array("q")
        """How long it was live in all spans before, milliseconds."""

    def __len__(self) -> int:
        return len(self._at)

    def add(self, span: Span) -> None:
        """The next one, which ends the last. Raises ValueError for one from before it."""
        before = 0
        if self._at:
            if span.at < self._at[-1]:
                raise ValueError("the spans of a timeline come in order")
            self._end[-1] = max(self._at[-1], min(self._end[-1], span.at))
            before = self._before[-1] + (self._end[-1] - self._at[-1] if self._live[-1] else 0)
        for column, value in ((self._at, span.at), (self._end, span.seen), (self._live, span.live), (self._before, before)):
            column.append(value)

    def hold(self, seen: int) -> None:
        """The last one holds until then, at least."""
        if self._end:
            self._end[-1] = max(self._end[-1], seen)

    def uptime(self, start: int, end: int, *, seen: int = 0) -> Uptime:
        """As ``uptime`` has it of the same spans, the last of which holds until ``seen`` at least."""
        if not self._at or self._at[0] >= end:
            return Uptime(None, None)
        since = max(start, self._at[0])
        return Uptime((self._live_until(end, seen) - self._live_until(since, seen)) / (end - since), since)

    def _live_until(self, time: int, seen: int) -> int:
        place = bisect_right(self._at, time) - 1
        if not self._live[place]:
            return self._before[place]
        held = max(self._end[place], seen) if place == len(self._at) - 1 else self._end[place]
        return self._before[place] + max(0, min(time, held) - self._at[place])
