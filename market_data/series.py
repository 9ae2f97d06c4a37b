"""One series: a symbol's candles of one timeframe, with its indicator, advanced one closed candle at a time. Pure."""

import json
from typing import Any, NamedTuple

from exchanges.events import TIMEFRAMES
from market_data.candles import Bar, Longer
from market_data.macdv import Macdv, Reading

WARM_BARS = 250
"""Candles before an alert may fire: the seed of the ATR has then faded to 0.015 %."""
YOUNG_BARS = 60
"""The documented minimum, for a listing whose whole life is shorter."""
HISTORY_BARS = 400
"""Candles fetched for a warm-up."""
CATCH_UP_BARS = 3000
"""Missed candles that are still fetched and evaluated after an outage (5m: ten days); a series further behind starts afresh."""


class Advance(NamedTuple):
    """What one closed candle did to a series. ``warm``: whether an alert may fire on it; ``bars`` and ``observed``: taken by then."""

    series: "Series"
    bar: Bar
    previous: Reading | None
    current: Reading
    warm: bool
    bars: int = 0
    observed: int = 0


class Series:
    """``last_open`` is the newest candle taken, ``whole_life`` that nothing of the market's history is missing before the first.

    ``last``: the newest candle itself, where it is known. ``parts``: of the 5m series, what sums it into the longer ones: its checkpoint
    holds both, as they stand at one moment.
    """

    __slots__ = ("_reading", "indicator", "last", "last_close", "last_open", "parts", "step", "symbol", "timeframe", "whole_life")

    def __init__(self, symbol: str, timeframe: str) -> None:
        self.symbol, self.timeframe, self.step = symbol, timeframe, TIMEFRAMES[timeframe]
        self.indicator = Macdv()
        self._reading: Reading | None = None
        self.last_open: int | None = None
        self.last_close: float | None = None
        self.last: Bar | None = None
        self.parts: Longer | None = None
        self.whole_life = False

    def advance(self, bar: Bar) -> Advance:
        """Take the next closed candle. Raises ValueError for one that is not the next: a gap must be repaired first."""
        if self.last_open is not None and bar.open_time != self.last_open + self.step:
            raise ValueError(f"{self.symbol} {self.timeframe}: {bar.open_time} does not follow {self.last_open}")
        indicator, previous = self.indicator, self._reading
        indicator.update(bar.high, bar.low, bar.close, bar.synthetic)
        self.last, self.last_open, self.last_close = bar, bar.open_time, bar.close
        self._reading = current = indicator.reading
        return Advance(self, bar, previous, current, self.warm, indicator.bars, indicator.observed)

    @property
    def warm(self) -> bool:
        """Whether an alert may fire on it."""
        bars = self.indicator.bars
        return bars >= WARM_BARS or (self.whole_life and bars >= YOUNG_BARS)

    @property
    def kept(self) -> int:
        """How many candles a store that lost nothing has at least."""
        return min(HISTORY_BARS, self.indicator.bars)

    @property
    def reason(self) -> str:
        """Why the reading is missing or not to be relied on; empty when all is well."""
        if not self.warm:
            return f"warming: {self.indicator.bars} of {YOUNG_BARS if self.whole_life else WARM_BARS} candles"
        if self.indicator.atr is None or self.indicator.observed < self.indicator.span / 2:
            return "low trading activity"
        return "" if self.indicator.atr else "no price movement"

    def state(self) -> str:
        """Everything needed to go on, as text that loses nothing."""
        state: list[Any] = [self.last_close, self.whole_life, self.indicator.state()]
        if self.last is not None and self.parts is not None:
            state += [self.last, self.parts.state()]
        return json.dumps(state, separators=(",", ":"))

    def restore(self, open_time: int, state: str) -> None:
        """Go on from ``state``. Raises ValueError where it cannot be read."""
        try:
            self.last_close, self.whole_life, indicator, *more = json.loads(state)
            self.indicator.restore(indicator)
            if more and self.parts is not None:
                last, parts = more
                self.last = Bar(*last)
                self.parts.restore(parts)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.symbol} {self.timeframe}: the checkpoint cannot be read ({error})") from None
        self.last_open, self._reading = open_time, self.indicator.reading

    def reset(self) -> None:
        """Forget everything, before a history that does not join what was known."""
        self.indicator = Macdv()
        self.last = self.last_open = self.last_close = self._reading = None
        self.whole_life = False
        if self.parts is not None:
            self.parts.whole = {}
