"""Alternating slices: contenders take turns within one run, so that a machine that changes its speed changes it for all of them.

What does no I/O is timed in seconds of the processor, so that whatever else runs on the machine counts less; the rest by the clock.
"""

import gc
import inspect
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

Slice = Callable[[int], "float | Awaitable[float]"]
"""Does an operation so many times; the seconds that took."""

_MOST = 10_000_000


class Spread(NamedTuple):
    """A median and the quartiles around it."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        known = sorted(values)
        if len(known) < 2:
            return cls(known[0], known[0], known[0])
        low, middle, high = statistics.quantiles(known, n=4, method="inclusive")
        return cls(low, middle, high)


class Effort(NamedTuple):
    """How much is measured. ``slices`` of ``seconds`` each, of every contender; the other figures are the sizes of what is done."""

    name: str
    slices: int
    seconds: float
    symbols: int
    growth: tuple[int, ...]
    """Numbers of symbols, from the fewest to the most."""
    closes: tuple[int, ...]
    together: int
    """Symbols that close at one moment."""
    commits: int
    sockets: tuple[int, ...]
    paced: int
    alerts: int
    """Alerts that are followed from a close to the pages, at least."""
    starts: int
    settle: float
    """Seconds that a process has before it is weighed."""
    screens: int
    """How many of the pages are looked at."""
    latency: tuple[int, ...]
    """Numbers of sockets at which deliveries are timed."""


TINY = Effort(
    "tiny",
    slices=2,
    seconds=0.002,
    symbols=2,
    growth=(2, 4),
    closes=(3,),
    together=5,
    commits=2,
    sockets=(3,),
    paced=3,
    alerts=3,
    starts=1,
    settle=0.1,
    screens=1,
    latency=(1,),
)
DEFAULT = Effort(
    "default",
    slices=15,
    seconds=0.05,
    symbols=50,
    growth=(50, 200, 500, 1000, 2000),
    closes=(50, 500),
    together=1000,
    commits=12,
    sockets=(100, 1000),
    paced=50,
    alerts=500,
    starts=3,
    settle=1.0,
    screens=2,
    latency=(1, 100, 500),
)
FULL = DEFAULT._replace(name="full", slices=31, commits=24, paced=150, starts=7, latency=(1, 100, 500, 1000))


def repeat(operation: Callable[[], object]) -> Slice:
    """A slice out of an operation."""

    def run(times: int) -> float:
        rounds = range(times)
        began = time.thread_time()
        for _ in rounds:
            operation()
        return time.thread_time() - began

    return run


def over(operation: Callable[[bytes], object], frames: Sequence[bytes]) -> Slice:
    """A slice that goes through frames again and again; what is counted is a frame."""

    def run(times: int) -> float:
        whole, rest = divmod(times, len(frames))
        first = frames[:rest]
        began = time.thread_time()
        for _ in range(whole):
            for frame in frames:
                operation(frame)
        for frame in first:
            operation(frame)
        return time.thread_time() - began

    return run


async def compare(contenders: dict[str, Slice], effort: Effort) -> dict[str, list[float]]:
    """Seconds an operation, by contender, round by round: the same place in two lists is the same moment of the machine."""
    sizes = {name: await _size(run, effort.seconds) for name, run in contenders.items()}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(effort.slices):
        for name in order:
            gc.collect()
            found[name].append(await _took(contenders[name], sizes[name]) / sizes[name])
        order.append(order.pop(0))  # nobody always follows the same one
    return found


async def _size(run: Slice, seconds: float) -> int:
    """How many operations fill a slice. Also warms the contender up."""
    times = 1
    while (took := await _took(run, times)) < seconds / 4 and times < _MOST:
        times *= 2 if took > seconds / 50 else 8
    return max(1, round(times * seconds / max(took, 1e-9)))


async def _took(run: Slice, times: int) -> float:
    took = run(times)
    return await took if inspect.isawaitable(took) else took
