"""What Livermore ought to say, worked out a second time: from candles to MACD-V, stages, longer candles and alerts.

Written from the published rules alone; it imports nothing of the applications, so that a mistake of theirs is not repeated here. Every
number is recomputed from the whole history. A candle is ``[open_time, open, high, low, close, volume, synthetic]``, times in ms UTC;
``synthetic`` says that nothing traded and the candle was filled in.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

STEPS = {"5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}
WEIGHTS = {"5m": 2, "15m": 3, "1h": 4, "4h": 5, "1d": 6}
BULLISH = ("oversold", "rebounding", "rallying")
BEARISH = ("overbought", "retracing", "reversing")

Candle = Sequence[float]
Line = list[float | None]


@dataclass(frozen=True)
class Value:
    """The indicator after a closed candle; None while undefined."""

    t: int
    close: float
    macdv: float | None
    signal: float | None
    histogram: float | None
    atr: float | None
    stage: str
    observed: int
    span: int


@dataclass(frozen=True)
class Rule:
    """Buffers are shares of |MACD-V|, ``cooldown`` is in ms."""

    levels: Sequence[float] = (150, 200, 250, 300, 350, 400)
    reversal: float = 150.0
    oversold_buffer: float = 0.05
    overbought_buffer: float = 0.03
    cooldown: int = 300_000
    timeframes: Sequence[str] = tuple(STEPS)


@dataclass(frozen=True)
class Alert:
    """An alert that is due. ``stages``: timeframe -> (MACD-V, stage) of its last closed candle at that moment."""

    timeframe: str
    label: str
    direction: str
    candle_time: int
    price: float
    value: float
    histogram: float | None
    stage: str
    bias: str
    stages: Mapping[str, tuple[float | None, str]]


def ema(values: Sequence[float], n: int) -> Line:
    """Exponential average with alpha 2/(n+1), seeded with the mean of the first n; None before."""
    if len(values) < n:
        return [None] * len(values)
    line: Line = [None] * (n - 1) + [fsum(values[:n]) / n]
    alpha = 2 / (n + 1)
    for value in values[n:]:
        line.append(alpha * value + (1 - alpha) * line[-1])  # type: ignore[operator]
    return line


def true_ranges(candles: Sequence[Candle]) -> list[float]:
    """Of the candles in which something traded; the very first has no previous close."""
    ranges = []
    for at, (_, _, high, low, _, _, synthetic) in enumerate(candles):
        if not synthetic:
            before = candles[at - 1][4] if at else None
            ranges.append(high - low if before is None else max(high - low, abs(high - before), abs(low - before)))
    return ranges


def wilder(ranges: Sequence[float], n: int = 26) -> Line:
    """Wilder's average, seeded with the mean of the first n; None before."""
    if len(ranges) < n:
        return [None] * len(ranges)
    line: Line = [None] * (n - 1) + [fsum(ranges[:n]) / n]
    for value in ranges[n:]:
        line.append((line[-1] * (n - 1) + value) / n)  # type: ignore[operator]
    return line


def atr(candles: Sequence[Candle]) -> Line:
    """The average true range after each candle: carried through candles in which nothing traded."""
    observed = iter(wilder(true_ranges(candles)))
    line: Line = []
    for candle in candles:
        line.append((line[-1] if line else None) if candle[6] else next(observed))
    return line


def macdv(candles: Sequence[Candle]) -> list[Value]:
    """The indicator after each candle."""
    closes = [candle[4] for candle in candles]
    ranges = atr(candles)
    values: Line = [
        (fast - slow) / spread * 100 if fast is not None and slow is not None and spread else None
        for fast, slow, spread in zip(ema(closes, 12), ema(closes, 26), ranges, strict=True)
    ]
    defined = [at for at, value in enumerate(values) if value is not None]
    signals: Line = [None] * len(candles)
    for at, signal in zip(defined, ema([value for value in values if value is not None], 9), strict=True):
        signals[at] = signal
    result = []
    traded = [at for at, candle in enumerate(candles) if not candle[6]]
    for at, candle in enumerate(candles):
        value, signal = values[at], signals[at]
        seen = traded[: bisect_right(traded, at)]
        result.append(
            Value(
                t=int(candle[0]),
                close=candle[4],
                macdv=value,
                signal=signal if signal is not None else last(signals[:at]),
                histogram=None if value is None or signal is None else value - signal,
                atr=ranges[at],
                stage=stage(values[: at + 1], signal),
                observed=len(seen),
                span=seen[-1] - seen[0] + 1 if seen else 0,
            )
        )
    return result


def last(line: Line) -> float | None:
    return next((value for value in reversed(line) if value is not None), None)


def stage(values: Line, signal: float | None) -> str:
    """The published range of the last value."""
    value = values[-1]
    if value is None:
        return "unknown"
    if value < -150:
        return "oversold"
    if signal is None:
        return "unknown"
    recent = values[-20:]
    if value > signal:
        name = "overbought" if value >= 150 else "rallying" if value >= 50 else "rebounding"
    else:
        name = "retracing" if value >= -50 else "reversing"
    flat = len(recent) == 20 and all(one is not None and -50 <= one <= 50 for one in recent)
    return "ranging" if flat and name in ("rebounding", "retracing") else name


def bias(stages: Iterable[tuple[str, str]]) -> str:
    """Of (timeframe, stage) pairs, the longer ones weighing more."""
    pairs = list(stages)
    bull = sum(WEIGHTS[timeframe] for timeframe, name in pairs if name in BULLISH)
    bear = sum(WEIGHTS[timeframe] for timeframe, name in pairs if name in BEARISH)
    return "bullish" if bull > 1.5 * bear else "bearish" if bear > 1.5 * bull else "neutral"


def filled(candles: Iterable[Candle], step: int, until: int) -> list[Candle]:
    """Candles with the intervals in which nothing traded filled in, also after the last one, up to those that open before ``until``."""
    known = {int(candle[0]): candle for candle in candles if candle[0] < until}
    rows: list[Candle] = []
    for open_time in range(min(known), until, step):
        if open_time in known:
            rows.append(known[open_time])
        else:
            close = rows[-1][4]
            rows.append([open_time, close, close, close, close, 0.0, 1])
    return rows


def longer(candles: Sequence[Candle], step: int) -> list[Candle]:
    """5m candles summed; only those candles whose parts are all there."""
    groups: dict[int, list[Candle]] = {}
    for candle in candles:
        groups.setdefault(int(candle[0]) // step * step, []).append(candle)
    return [
        [
            open_time,
            parts[0][1],
            max(part[2] for part in parts),
            min(part[3] for part in parts),
            parts[-1][4],
            fsum(part[5] for part in parts),
            int(all(part[6] for part in parts)),
        ]
        for open_time, parts in sorted(groups.items())
        if len(parts) == step // STEPS["5m"]
    ]


def alerts(history: Mapping[str, Sequence[Candle]], since: int, rule: Rule, young: Iterable[str] = ()) -> list[Alert]:
    """All alerts of one symbol on candles that close after ``since``, by close time, shorter timeframes first.

    ``history``: the candles of every timeframe. ``young``: the timeframes whose history holds the whole life of the market.
    """
    values = {timeframe: macdv(candles) for timeframe, candles in history.items()}
    due: list[tuple[int, int, Alert]] = []
    for timeframe in history:
        if timeframe not in rule.timeframes:
            continue
        least = 60 if timeframe in young else 250
        for value, label, direction in signals(values[timeframe], STEPS[timeframe], since, rule, least):
            close_time = value.t + STEPS[timeframe]
            stages = stages_at(values, close_time)
            due.append((close_time, STEPS[timeframe], alert(timeframe, value, label, direction, stages)))
    return [one for _, _, one in sorted(due, key=lambda entry: entry[:2])]


def alert(timeframe: str, value: Value, label: str, direction: str, stages: Mapping[str, tuple[float | None, str]]) -> Alert:
    assert value.macdv is not None
    names = bias((name, stage) for name, (_, stage) in stages.items())
    return Alert(timeframe, label, direction, value.t, value.close, value.macdv, value.histogram, value.stage, names, stages)


def stages_at(values: Mapping[str, Sequence[Value]], moment: int) -> dict[str, tuple[float | None, str]]:
    """What every timeframe showed when the candles that close at ``moment`` had closed."""
    stages = {}
    for timeframe, line in values.items():
        closed = bisect_right([value.t + STEPS[timeframe] for value in line], moment)
        if closed:
            stages[timeframe] = (line[closed - 1].macdv, line[closed - 1].stage)
    return stages


def signals(values: Sequence[Value], step: int, since: int, rule: Rule, least: int) -> list[tuple[Value, str, str]]:
    """(value, label, direction) of every signal of one series on candles that close after ``since``, from the ``least``-th candle on."""
    fired: list[tuple[Value, str, str]] = []
    armed = {"reversal_oversold": True, "reversal_overbought": True}
    cooled: dict[str, int] = {}

    def fire(value: Value, label: str, direction: str) -> bool:
        close_time = value.t + step
        if close_time - cooled.get(label, -(10**15)) < rule.cooldown:
            return False
        cooled[label] = close_time
        fired.append((value, label, direction))
        return True

    for at in range(1, len(values)):
        before, value = values[at - 1].macdv, values[at]
        if value.t + step <= since or at + 1 < least or before is None or value.macdv is None:
            continue
        crossed = level(before, value.macdv, rule.levels)
        if crossed and fire(value, *crossed):
            armed = dict.fromkeys(armed, True)
        turned = reversal(before, value, rule)
        if turned and armed[turned[0]] and fire(value, *turned):
            armed[turned[0]] = False
        if abs(value.macdv) <= rule.reversal:
            armed = dict.fromkeys(armed, True)
    return fired


def level(before: float, now: float, levels: Sequence[float]) -> tuple[str, str] | None:
    """The deepest level that was crossed outward."""
    for distance in sorted(levels, reverse=True):
        if now < -distance <= before:
            return f"level_-{distance:g}", "down"
        if now > distance >= before:
            return f"level_{distance:g}", "up"
    return None


def reversal(before: float, value: Value, rule: Rule) -> tuple[str, str] | None:
    """Whether the value turns back from beyond the reversal level."""
    now, histogram = value.macdv, value.histogram
    if now is None or histogram is None:
        return None
    if before < -rule.reversal and now < -rule.reversal and histogram > rule.oversold_buffer * abs(now):
        return "reversal_oversold", "up"
    if before > rule.reversal and now > rule.reversal and histogram < -rule.overbought_buffer * abs(now):
        return "reversal_overbought", "down"
    return None
