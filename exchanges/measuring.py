"""How well a connector is doing, in figures, worked out once a second from counts that are kept anyway.

Nothing here is called for a frame: engine and REST client count, this compares.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from exchanges.engine import Engine
from exchanges.rest import RestClient

EVERY = 1.0
WORST_STREAMS = 10
_RATE_OVER = 10
"""Looks over which a rate is taken: a second alone says little of a quiet market."""
_OFFSET_OVER = 10


class Measuring:
    """``look`` gives the figures by their names in the status hash, or None while the last ones are younger than a second."""

    def __init__(self, engine: Engine, rest: RestClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._rest, self._clock = engine, rest, clock
        self._due = 0.0
        self._frames: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER + 1)
        self._offsets: deque[int] = deque(maxlen=_OFFSET_OVER)

    def look(self, times: Iterable[tuple[int, int]]) -> dict[str, Any] | None:
        """``times``: (exchange's time, ours at the receipt) of events that came of late, milliseconds; 0 where an event carries none."""
        now = self._clock()
        if now < self._due:
            return None
        self._due = now + EVERY
        return {**self._feed(now), **self._budget(), "clock_offset_ms": self._offset(times)}

    def _feed(self, now: float) -> dict[str, Any]:
        frames = self._engine.frames
        self._frames.append((now, frames))
        then, before = self._frames[0]
        silences = [(seconds, stream) for link in self._engine.links for stream, seconds in link.silences()]
        latencies = [link.latency for link in self._engine.links if link.latency is not None]
        return {
            "frames": frames,
            "messages_per_s": round((frames - before) / (now - then), 1) if now > then else None,
            "oldest": [
                [stream.symbol, str(stream.channel), int(seconds * 1000)]
                for seconds, stream in sorted(silences, reverse=True)[:WORST_STREAMS]
            ],
            "websocket_ms": round(max(latencies) * 1000, 1) if latencies else None,
        }

    def _budget(self) -> dict[str, Any]:
        """What has been spent of a minute's allowance. It is that of the host: another row of the same host draws on it too."""
        latency, limiter = self._rest.latency_ms, self._rest.limiter
        figures: dict[str, Any] = {"rest_ms": None if latency is None else round(latency, 1)}
        if limiter is None:
            return figures
        used = limiter.spent_lately
        return {
            **figures,
            "rest_used": int(used),
            "rest_limit": int(limiter.per_minute),
            "rest_left": int(max(0.0, limiter.per_minute - used)),
            "rest_held_s": round(limiter.held_for, 1),
            "rest_waiting": limiter.waiting,
        }

    def _offset(self, times: Iterable[tuple[int, int]]) -> int | None:
        """The exchange's clock minus ours. An event is late by its way here, so the least late one of the last seconds is nearest."""
        offsets = [theirs - ours for theirs, ours in times if theirs]
        if offsets:
            self._offsets.append(max(offsets))
        return max(self._offsets, default=self._rest.clock_offset_ms)
