"""For how much of a time an exchange was live. Pure: what was noted in, a share out."""

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
