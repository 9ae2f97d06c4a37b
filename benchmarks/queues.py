"""A small simulation of discrete events: jobs that wait for servers, first come, first served. Pure."""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence

Then = Callable[[], object] | None


class Simulation:
    """Runs what is due, in order of time, and of its planning where times are equal. ``now`` in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def at(self, time: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._due, (time, next(self._order), action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    def run(self) -> None:
        """Until nothing is due any more."""
        while self._due:
            self.now, _, action = heapq.heappop(self._due)
            action()


class Station:
    """So many servers behind one queue."""

    def __init__(self, simulation: Simulation, servers: int) -> None:
        self._simulation = simulation
        self._free = servers
        self._queue: deque[tuple[float, Then]] = deque()

    def serve(self, seconds: float, then: Then) -> None:
        """A job of so many seconds comes now; ``then`` is called when it is done."""
        self._queue.append((seconds, then))
        self._begin()

    def _begin(self) -> None:
        while self._free and self._queue:
            seconds, then = self._queue.popleft()
            self._free -= 1
            self._simulation.after(seconds, lambda then=then: self._done(then))  # type: ignore[misc]

    def _done(self, then: Then) -> None:
        self._free += 1
        if then is not None:
            then()
        self._begin()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of them that so many percent do not exceed. Raises ValueError where there is none."""
    if not values:
        raise ValueError("of nothing there is no percentile")
    return sorted(values)[max(0, math.ceil(len(values) * share / 100) - 1)]
