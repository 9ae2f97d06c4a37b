"""The receipt of an alert: what it was decided from, as it was then, and when each step of its way was done. Pure.

``record`` is stored with the alert, in the same transaction; ``receipt`` joins to it what came later.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from alerts.evaluation import Draft
from alerts.explain import number, signed
from alerts.rules import Rule
from market_data.macdv import Reading
from market_data.series import WARM_BARS, YOUNG_BARS

VERSION = 1


class RuleThen(TypedDict):
    """A rule as it was evaluated. ``cooldown`` in milliseconds; buffers are shares of |MACD-V|."""

    id: int
    version: int
    name: str
    levels: list[float]
    timeframes: list[str]
    reversal_level: float
    oversold_buffer: float
    overbought_buffer: float
    cooldown: int


class ReadingThen(TypedDict):
    macdv: float | None
    signal: float | None
    histogram: float | None
    atr: float | None
    stage: str


class CandleThen(TypedDict):
    """``closed_by``: flag, read-back, quiet or history; "" where it was not noted."""

    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    synthetic: bool
    closed_by: str


class WarmUp(TypedDict):
    """How many candles the indicator had taken, how many of them traded, and how many an alert needs."""

    bars: int
    observed: int
    needed: int
    whole_life: bool


class Connector(TypedDict):
    host: str
    pid: int
    fence: int


class Times(TypedDict):
    """Milliseconds UTC. ``exchange``: of its frame, or of the candle's end; the others by the connector's clock."""

    exchange: int | None
    received: int | None
    evaluated: int | None


class Record(TypedDict):
    """``feed_age``: milliseconds since the last frame of the symbol, at the evaluation."""

    v: int
    rule: RuleThen
    previous: ReadingThen
    current: ReadingThen
    candle: CandleThen
    warm_up: WarmUp
    feed_age: int | None
    connector: Connector
    times: Times


class Step(TypedDict):
    """``after``: milliseconds since the last step that has a time."""

    name: str
    at: int | None
    after: NotRequired[int | None]


def record(draft: Draft, connector: Connector) -> Record:
    """What is kept of a draft."""
    advance, origin = draft.advance, draft.origin
    series, bar = advance.series, advance.bar
    assert advance.previous is not None
    return {
        "v": VERSION,
        "rule": _rule(draft.rule),
        "previous": _reading(advance.previous),
        "current": _reading(advance.current),
        "candle": {
            "open_time": bar.open_time,
            "close_time": bar.open_time + series.step,
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
            "synthetic": bar.synthetic,
            "closed_by": origin.closed_by,
        },
        "warm_up": {
            "bars": advance.bars,
            "observed": advance.observed,
            "needed": YOUNG_BARS if series.whole_life else WARM_BARS,
            "whole_life": series.whole_life,
        },
        "feed_age": origin.feed_age,
        "connector": connector,
        "times": {"exchange": origin.exchange, "received": origin.received, "evaluated": origin.evaluated},
    }


def _rule(rule: Rule) -> RuleThen:
    return {
        "id": rule.id,
        "version": rule.version,
        "name": rule.name,
        "levels": list(rule.levels),
        "timeframes": sorted(rule.timeframes),
        "reversal_level": rule.reversal_level,
        "oversold_buffer": rule.oversold_buffer,
        "overbought_buffer": rule.overbought_buffer,
        "cooldown": rule.cooldown,
    }


def _reading(reading: Reading) -> ReadingThen:
    return {
        "macdv": reading.macdv,
        "signal": reading.signal,
        "histogram": reading.histogram,
        "atr": reading.atr,
        "stage": reading.stage,
    }


def steps(times: Mapping[str, int | None], committed: int | None, published: int | None) -> list[Step]:
    """The way of the alert, step by step, each with how long it took."""
    found: list[Step] = []
    last: int | None = None
    for name, at in (
        *((name, times.get(name)) for name in ("exchange", "received", "evaluated")),
        ("committed", committed),
        ("published", published),
    ):
        found.append({"name": name, "at": at, "after": None if at is None or last is None else at - last})
        last = last if at is None else at
    return found


def because(label: str, kept: Mapping[str, Any]) -> str:
    """Why it fired, in a sentence."""
    was, now, rule = kept["previous"]["macdv"], kept["current"]["macdv"], kept["rule"]
    kind, _, rest = label.partition("_")
    if kind == "level":
        level = float(rest)
        return f"MACD-V went from {number(was, 2)} to {number(now, 2)}, {'below' if level < 0 else 'above'} {signed(level)}."
    side = -1 if rest == "oversold" else 1
    share = rule[f"{rest}_buffer"]
    bound = signed(side * rule["reversal_level"])
    bar = f"{number(-side * share * abs(now), 2)} ({100 * share:g} % of |MACD-V|)"
    return (
        f"MACD-V was {number(was, 2)} and then {number(now, 2)}, both {'below' if side < 0 else 'above'} {bound}, "
        f"and its histogram of {number(kept['current']['histogram'], 2)} was {'above' if side < 0 else 'below'} {bar}."
    )
