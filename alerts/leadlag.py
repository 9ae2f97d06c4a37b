"""Which of two exchanges moves first with a coin, by how much, and how sure that is. Pure.

The estimator is that of M. Hoffmann, M. Rosenbaum, N. Yoshida: "Estimation of the lead-lag parameter from non-synchronous data",
Bernoulli 19(2), 2013, 426-461: the lag at which the covariation of T. Hayashi and N. Yoshida ("On covariance estimation of
non-synchronously observed diffusion processes", Bernoulli 11(2), 2005, 359-379) of one price with the other, shifted, is largest.
Two things are ours: the lag is the middle of the peak, and the interval comes from a bootstrap over blocks of a few minutes.
Every tick counts at its own time; nothing is put on a common grid, which would pull the lag towards zero.

A lag is positive where *a* leads: b shows at ``t + lag`` what a showed at ``t``. All times are milliseconds.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log, sqrt
from random import Random
from statistics import fmean, median, quantiles
from typing import NamedTuple

LONGEST_LAG = 60_000
"""No lag beyond this is looked for: by then the move is on everybody's chart."""

RESOLUTION = 100
"""The finest step of the scan. A lag whose interval reaches within it of zero is no lag: clocks and networks are no better."""

SPACING = 1_000
"""Ticks of one side closer together than this are thinned: a busy market costs no more than a quiet one, and no peak is narrower than
a step of the scan."""

GAP = 60_000
"""A side that was silent for longer has no known return over that time: an outage, not a move."""

FEWEST_BLOCKS = 6
"""Fewer give no interval worth the name."""

FEWEST_EVENTS = 8
"""Price changes either side needs for a block to count."""

SIGNIFICANCE = 4.5
"""How many standard errors the best lag must stand above nothing. The best of some 100 independent lags of noise passes once in 3,000."""

SHOULDER = 0.7
"""The share of a curve's top above which it counts as its peak."""

RESAMPLES = 200


class LeadLag(NamedTuple):
    """Who leads: ``leader`` is "a", "b", or "" for nobody, which is also the answer where there is too little to tell.

    ``median_ms``, ``low_ms``, ``high_ms``: median and 95 % interval of the lag over resampled blocks; None where there is too little.
    ``events``: price changes of the quieter side that went into it. ``contrast``: the correlation at the best lag, 1 for a perfect copy.
    """

    leader: str = ""
    median_ms: int | None = None
    low_ms: int | None = None
    high_ms: int | None = None
    events: int = 0
    contrast: float | None = None


class Offset(NamedTuple):
    """How an exchange's clock reads against ours: exchange time - receive time, in ms, so a delay on the way makes it more negative.

    ``median_ms`` contains the usual delay. ``best_ms``, the 95th percentile, comes from the fastest messages and is nearer to the clocks'
    own difference. ``spread_ms``: 1.4826 times the median absolute deviation. None without samples.
    """

    median_ms: float | None = None
    best_ms: float | None = None
    spread_ms: float | None = None
    samples: int = 0


class Lead(NamedTuple):
    """The lag by the exchanges' clocks and by ours, and what those clocks read beside ours. Nothing is subtracted from anything.

    By receive time, the lag is what a user here can see; by exchange time, it is what happened, if their clocks agree.
    """

    by_exchange: LeadLag
    by_receive: LeadLag
    offset_a: Offset
    offset_b: Offset

    @property
    def leader(self) -> str:
        """The leader on which both clocks agree, else nobody."""
        return self.by_receive.leader if self.by_receive.leader == self.by_exchange.leader else ""


class Increment(NamedTuple):
    """The log return of one price over (start, end]."""

    start: int
    end: int
    change: float


class Block(NamedTuple):
    """What one stretch of time says: the correlation at each of LAGS, and the price changes of the quieter side."""

    curve: tuple[float, ...]
    events: int


def _lags() -> tuple[int, ...]:
    """The lags to scan: every 100 ms up to 2 s, then 5 % apart, and never more than SPACING, up to the longest; the same ahead and behind.

    The scan is fine where a lag is short and coarse where it is long. One scan, because a block's ticks can be let go after it; a second,
    finer one around the best lag would need the ticks of hours.
    """
    ahead = [*range(RESOLUTION, 2_001, RESOLUTION)]
    while ahead[-1] < LONGEST_LAG:
        ahead.append(min(LONGEST_LAG, ahead[-1] + min(SPACING, ahead[-1] // 20)))
    return (*(-lag for lag in reversed(ahead)), 0, *ahead)


LAGS = _lags()


class Path:
    """One side's price as log returns added up since the start: ``times`` in ms, ascending, and ``logs``."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.logs: list[float] = []
        self._price = 0.0

    def add(self, time: int, price: float) -> None:
        """A tick. One that is older than the last kept, or hardly newer, is thinned out."""
        if not self.times:
            self._append(time, 0.0, price)
        elif time - self.times[-1] >= SPACING:
            known = time - self.times[-1] <= GAP
            self._append(time, self.logs[-1] + (log(price / self._price) if known else 0.0), price)

    def _append(self, time: int, level: float, price: float) -> None:
        self.times.append(time)
        self.logs.append(level)
        self._price = price

    def forget(self, before: int) -> None:
        """Drop what is older, but keep the last tick at or before that moment: the return after it starts there."""
        past = bisect_right(self.times, before) - 1
        if past > 0:
            del self.times[:past], self.logs[:past]

    def increments(self, start: int, end: int) -> list[Increment]:
        """The returns other than 0 that end in (start, end]."""
        first, last = max(1, bisect_right(self.times, start)), bisect_right(self.times, end)
        ticks = zip(self.times[first - 1 : last], self.logs[first - 1 : last], strict=True)
        return [Increment(s, t, after - before) for (s, before), (t, after) in pairwise(ticks) if after != before]


def covariation(increments: Sequence[Increment], times: Sequence[int], logs: Sequence[float], lag: int) -> float:
    """The Hayashi-Yoshida covariation of some increments with the path (times, logs) as it was ``lag`` ms later.

    The sum of dX(I) dY(J) over all I, J where I overlaps J shifted back by the lag. The J that overlap one I = (s, t] follow each other, so
    their returns telescope: from the last tick at or before s + lag to the first at or after t + lag. One merge, O(n + m). Before its first
    and after its last tick, a path stands still.
    """
    if not increments or not times:
        return 0.0
    last = len(times) - 1
    before = after = max(0, bisect_right(times, increments[0].start + lag) - 1)
    total = 0.0
    for start, end, change in increments:
        start += lag
        end += lag
        while before < last and times[before + 1] <= start:
            before += 1
        while after < last and times[after] < end:
            after += 1
        total += change * (logs[after] - logs[before])
    return total


class LagScan:
    """Lead and lag by one clock, over the last ``blocks`` blocks of ``block_ms``. Feed ticks, settle when idle, estimate when asked.

    Memory is bounded: ticks are kept for about a block, and a block is kept as its curve over LAGS.
    """

    def __init__(self, block_ms: int = 300_000, blocks: int = 24) -> None:
        self.block_ms = block_ms
        self.blocks: deque[Block] = deque(maxlen=blocks)
        self._a, self._b = Path(), Path()
        self._start: int | None = None
        self._latest = 0

    def tick(self, side: str, time: int, price: float) -> None:
        """A price of side "a" or "b". If nobody settles, a block overdue by another block is settled here."""
        (self._a if side == "a" else self._b).add(time, price)
        if self._start is None:
            self._start = time
        self._latest = max(self._latest, time)
        while self._due(self.block_ms):
            self.settle()

    def _due(self, grace: int = 0) -> bool:
        return self._start is not None and self._latest > self._start + self.block_ms + LONGEST_LAG + GAP + grace

    def settle(self) -> bool:
        """Scan one block of which every tick is here; whether there was one. This is the work: 10 to 30 ms."""
        if self._start is None or not self._due():
            return False
        start, end = self._start, self._start + self.block_ms
        block = _block(self._a.increments(start, end), self._b.increments(start, end), self._b)
        if block is not None:
            self.blocks.append(block)
        self._start = end
        self._a.forget(end - LONGEST_LAG)
        self._b.forget(end - LONGEST_LAG)
        return True

    def estimate(self, seed: int) -> LeadLag:
        """Who leads by now. The same ticks and seed give the same answer."""
        while self.settle():
            pass
        return estimate(list(self.blocks), seed)


def _block(a: Sequence[Increment], b: Sequence[Increment], path: Path) -> Block | None:
    """The correlation curve of a block; None where a side hardly moved.

    Each block is scaled by its own variances, so that one wild five minutes do not outvote an hour.
    """
    events = min(len(a), len(b))
    if events < FEWEST_EVENTS:
        return None
    scale = 1 / sqrt(sum(x.change**2 for x in a) * sum(x.change**2 for x in b))
    return Block(tuple([scale * covariation(a, path.times, path.logs, lag) for lag in LAGS]), events)


def estimate(blocks: Sequence[Block], seed: int) -> LeadLag:
    """The best lag of the mean curve, with an interval by bootstrap: blocks drawn with replacement, and the best lag of each drawing.

    Nobody leads where the best lag does not stand out of the noise, or its interval comes within RESOLUTION of zero.
    """
    events = sum(block.events for block in blocks)
    if len(blocks) < FEWEST_BLOCKS:
        return LeadLag(events=events)
    curves = [block.curve for block in blocks]
    contrast = max(_sum(curves)) / len(curves)
    low, middle, high = _interval(curves, Random(seed))  # nosec B311  # for timing and statistics, not for secrecy
    leader = _side(low, high) if contrast > SIGNIFICANCE * _noise(curves) else ""
    return LeadLag(leader, middle, low, high, events, round(contrast, 4))


def _sum(curves: Sequence[Sequence[float]]) -> list[float]:
    return [*map(sum, zip(*curves, strict=True))]


def _noise(curves: Sequence[Sequence[float]]) -> float:
    """The standard error of a mean curve's value, pooled over the lags: one lag's own is too rough with few blocks."""
    count = len(curves)
    variances = [(sum(x * x for x in values) - sum(values) ** 2 / count) / (count - 1) for values in zip(*curves, strict=True)]
    return sqrt(fmean(variances) / count)


def _best(curve: Sequence[float]) -> float:
    """The lag of the peak: the middle of what stands above SHOULDER of the highest value, around it.

    The paper takes the highest point itself. Where prices trend from tick to tick the top is a plateau as wide as ticks are apart, and its
    highest point is chance; the middle between its flanks is not. The highest, not the largest in size: one coin does not mirror itself.
    """
    top = max(curve)
    at = curve.index(top)
    if top <= 0:
        return LAGS[at]
    return (_flank(curve, at, -1, SHOULDER * top) + _flank(curve, at, 1, SHOULDER * top)) / 2


def _flank(curve: Sequence[float], at: int, step: int, level: float) -> float:
    """Where the curve falls through a level on its way from ``at``, on a straight line between two lags; or the end of the scan."""
    end = len(LAGS) - 1 if step > 0 else 0
    while at != end and curve[at + step] >= level:
        at += step
    if at == end:
        return LAGS[at]
    return LAGS[at] + (LAGS[at + step] - LAGS[at]) * (curve[at] - level) / (curve[at] - curve[at + step])


def _interval(curves: Sequence[Sequence[float]], random: Random) -> tuple[int, int, int]:
    """The 2.5 %, 50 % and 97.5 % points of the best lag over resampled blocks.

    One block less is drawn than there are, without which a bootstrap of few is too narrow (J. N. K. Rao, C. F. J. Wu, "Resampling
    inference with complex survey data", JASA 83, 1988, 231-241).

    Between two lags of the scan the curve is a guess, so the interval reaches half a step further.
    """
    drawn = sorted(_best(_sum(random.choices(curves, k=len(curves) - 1))) for _ in range(RESAMPLES))  # nosec B311  # for timing and statistics, not for secrecy
    edge = round(0.025 * RESAMPLES)
    low, high = drawn[edge], drawn[-1 - edge]
    return round(low - _half_step(low)), round(median(drawn)), round(high + _half_step(high))


def _half_step(lag: float) -> float:
    """Half the distance between the lags of the scan around this one."""
    above = min(max(bisect_right(LAGS, lag), 1), len(LAGS) - 1)
    return (LAGS[above] - LAGS[above - 1]) / 2


def _side(low: int, high: int) -> str:
    if low > RESOLUTION:
        return "a"
    return "b" if high < -RESOLUTION else ""


def clock_offset(samples: Iterable[float]) -> Offset:
    """A robust reading of a clock from samples of exchange time - receive time in ms: medians, which a few wrong stamps do not move."""
    values = list(samples)
    if not values:
        return Offset()
    middle = median(values)
    best = quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else middle
    return Offset(middle, best, 1.4826 * median(abs(value - middle) for value in values), len(values))


class LeadTracker:
    """Lead and lag of one coin on two exchanges, by both clocks, with the clocks' readings. Memory is bounded."""

    def __init__(self, block_ms: int = 300_000, blocks: int = 24, samples: int = 500) -> None:
        self._by_exchange, self._by_receive = LagScan(block_ms, blocks), LagScan(block_ms, blocks)
        self._offsets: dict[str, deque[int]] = {"a": deque(maxlen=samples), "b": deque(maxlen=samples)}

    def tick(self, side: str, exchange_ms: int, receive_ms: int, price: float) -> None:
        """A price of side "a" or "b". ``exchange_ms`` is 0 where the message carried no time: then it counts by receive time only."""
        self._by_receive.tick(side, receive_ms, price)
        if exchange_ms:
            self._by_exchange.tick(side, exchange_ms, price)
            self._offsets[side].append(exchange_ms - receive_ms)

    def settle(self) -> bool:
        """Scan one finished block of either clock; whether there was one. To be called when idle, or in a thread."""
        return self._by_receive.settle() or self._by_exchange.settle()

    def lead(self, seed: int) -> Lead:
        """Who leads by now, as far as the last hours tell."""
        return Lead(
            self._by_exchange.estimate(seed),
            self._by_receive.estimate(seed),
            clock_offset(self._offsets["a"]),
            clock_offset(self._offsets["b"]),
        )
