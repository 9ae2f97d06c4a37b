"""MACD-V, incremental: one candle in, one reading out, the same number wherever it is shown. Pure.

The formulas are Alex Spiroglou's ("MACD-V: Volatility Normalised Momentum", 2022): MACD-V = (EMA12 - EMA26) / ATR26 * 100, with an EMA9
of it as signal. EMAs are seeded with the mean of their first n values, the ATR is Wilder's. Nothing is defined before its seed is
complete, and a zero ATR leaves the value undefined: None, never 0.

A candle that was filled in for lack of trades (``synthetic``) moves the EMAs, but not the ATR: else the ATR decays towards zero and MACD-V
explodes.
"""

from typing import NamedTuple

FAST, SLOW, ATR, SIGNAL, SCALE = 12, 26, 26, 9, 100.0
_FAST, _SLOW, _SIGNAL = 2 / (FAST + 1), 2 / (SLOW + 1), 2 / (SIGNAL + 1)

LEVEL, QUIET_LEVEL, QUIET_BARS = 150.0, 50.0, 20
_ATR, _KEPT, _QUIET_FROM = float(ATR), float(ATR - 1), -QUIET_LEVEL
"""As floats, and ready: whole numbers would be turned into these at every candle, for 8 % of its time."""

UNKNOWN = "unknown"
STAGES = ("overbought", "rallying", "rebounding", "retracing", "reversing", "oversold", "ranging")
BULLISH, BEARISH = {"oversold", "rebounding", "rallying"}, {"overbought", "retracing", "reversing"}
WEIGHTS = {"5m": 2, "15m": 3, "1h": 4, "4h": 5, "1d": 6}


class Reading(NamedTuple):
    """An indicator's values after a closed candle; None while undefined. ``stage`` is one of STAGES or "unknown"."""

    macdv: float | None
    signal: float | None
    histogram: float | None
    atr: float | None
    stage: str


class Macdv:
    """The state behind one series. ``update`` takes candles in order; ``state`` and ``restore`` carry it over a restart, bit for bit."""

    __slots__ = (
        "atr", "atr_seed", "bars", "fast", "fast_seed", "first_observed", "histogram", "last_observed", "macdv", "observed",
        "previous_close", "quiet", "signal", "signal_count", "signal_seed", "slow", "slow_seed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bars = 0
        self.observed = 0
        self.first_observed = -1
        self.last_observed = -1
        self.quiet = 0
        self.signal_count = 0
        self.fast_seed = self.slow_seed = self.atr_seed = self.signal_seed = 0.0
        self.fast: float | None = None
        self.slow: float | None = None
        self.atr: float | None = None
        self.signal: float | None = None
        self.macdv: float | None = None
        self.histogram: float | None = None
        self.previous_close: float | None = None

    def update(self, high: float, low: float, close: float, synthetic: bool = False) -> None:
        """Advance by one closed candle."""
        fast, slow, atr = self.fast, self.slow, self.atr  # all five names at once make a tuple: 5 % of the time
        signal, previous = self.signal, self.previous_close
        if fast is None or slow is None or signal is None or not atr or previous is None:
            self._update_unseeded(high, low, close, synthetic)
            return
        # The same as below, in one piece, for a series whose seeds are complete: nearly every candle, in 55 % of the time.
        bars = self.bars
        if not synthetic:
            spread = (high if high > previous else previous) - (low if low < previous else previous)
            self.atr = atr = (atr * _KEPT + spread) / _ATR
            self.observed += 1
            self.last_observed = bars
        self.bars = bars + 1
        self.fast = fast = fast + _FAST * (close - fast)
        self.slow = slow = slow + _SLOW * (close - slow)
        self.previous_close = close
        self.macdv = value = (fast - slow) / atr * SCALE
        self.quiet = self.quiet + 1 if _QUIET_FROM <= value <= QUIET_LEVEL else 0
        self.signal = signal = signal + _SIGNAL * (value - signal)
        self.histogram = value - signal

    def _update_unseeded(self, high: float, low: float, close: float, synthetic: bool) -> None:
        if not synthetic:
            self._true_range(high, low)
        self.bars += 1
        self._averages(close)
        self.previous_close = close
        if self.slow is None or self.fast is None or not self.atr:
            self.macdv = self.histogram = None
            self.quiet = 0
            return
        self.macdv = value = (self.fast - self.slow) / self.atr * SCALE
        self.quiet = self.quiet + 1 if -QUIET_LEVEL <= value <= QUIET_LEVEL else 0
        if self.signal is not None:
            self.signal += _SIGNAL * (value - self.signal)
        else:
            self._seed_signal(value)
        self.histogram = None if self.signal is None else value - self.signal

    def _true_range(self, high: float, low: float) -> None:
        previous = self.previous_close
        spread = high - low if previous is None else max(high, previous) - min(low, previous)
        if self.observed == 0:
            self.first_observed = self.bars
        self.observed += 1
        self.last_observed = self.bars
        if self.atr is not None:
            self.atr = (self.atr * (ATR - 1) + spread) / ATR
            return
        self.atr_seed += spread
        if self.observed == ATR:
            self.atr = self.atr_seed / ATR

    def _averages(self, close: float) -> None:
        if self.slow is not None and self.fast is not None:
            self.fast += _FAST * (close - self.fast)
            self.slow += _SLOW * (close - self.slow)
            return
        self.slow_seed += close
        if self.fast is not None:
            self.fast += _FAST * (close - self.fast)
        else:
            self.fast_seed += close
            if self.bars == FAST:
                self.fast = self.fast_seed / FAST
        if self.bars == SLOW:
            self.slow = self.slow_seed / SLOW

    def _seed_signal(self, value: float) -> None:
        self.signal_count += 1
        self.signal_seed += value
        if self.signal_count == SIGNAL:
            self.signal = self.signal_seed / SIGNAL

    def peek(self, high: float, low: float, close: float) -> Reading:
        """The reading if the next candle closed like this. Changes nothing."""
        copy = Macdv()
        copy.restore(self.state())
        copy.update(high, low, close)
        return copy.reading

    @property
    def reading(self) -> Reading:
        return Reading(self.macdv, self.signal, self.histogram, self.atr, self.stage)

    @property
    def stage(self) -> str:
        """The published range rules; every defined value has exactly one stage."""
        return stage(self.macdv, self.signal, self.quiet)

    @property
    def span(self) -> int:
        """Candles from the first to the last observed one."""
        return self.last_observed - self.first_observed + 1 if self.observed else 0

    def state(self) -> list[float | int | None]:
        """Everything needed to go on, as JSON can carry it without loss."""
        return [getattr(self, name) for name in self.__slots__]

    def restore(self, state: list[float | int | None]) -> None:
        """Continue from ``state``. Raises ValueError for a list of another length."""
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)


def stage(macdv: float | None, signal: float | None, quiet: int = 0) -> str:
    """The stage of a value against its signal; a tie counts as below. ``quiet``: closed candles in a row within ±50."""
    if macdv is None:
        return UNKNOWN
    if macdv < -LEVEL:
        return "oversold"
    if signal is None:
        return UNKNOWN
    above = macdv > signal
    if above and macdv >= LEVEL:
        return "overbought"
    if above and macdv >= QUIET_LEVEL:
        return "rallying"
    if not above and macdv < -QUIET_LEVEL:
        return "reversing"
    if quiet >= QUIET_BARS:
        return "ranging"
    return "rebounding" if above else "retracing"


def bias(stages: dict[str, str]) -> str:
    """bullish, bearish or neutral, over the stages of the timeframes, the longer ones weighing more."""
    bull = sum(WEIGHTS[timeframe] for timeframe, name in stages.items() if name in BULLISH)
    bear = sum(WEIGHTS[timeframe] for timeframe, name in stages.items() if name in BEARISH)
    if bull > 1.5 * bear:
        return "bullish"
    return "bearish" if bear > 1.5 * bull else "neutral"
