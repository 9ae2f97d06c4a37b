"""nautilus_trader: incremental indicators in Cython. It has no MACD-V; its EMA and ATR make one, one update a bar each."""

import time
from itertools import cycle, islice
from typing import Any

from nautilus_trader.indicators import AverageTrueRange, ExponentialMovingAverage, MovingAverageType

from benchmarks.bars import wandering

PACKAGES = ("nautilus-trader",)


class Macdv:
    """``value`` and ``signal`` after the last bar. An EMA of theirs begins with the first value instead of a mean."""

    def __init__(self) -> None:
        self.fast, self.slow, self.signals = ExponentialMovingAverage(12), ExponentialMovingAverage(26), ExponentialMovingAverage(9)
        self.atr = AverageTrueRange(26, MovingAverageType.WILDER)
        self.value = self.signal = 0.0

    def update(self, high: float, low: float, close: float) -> None:
        self.fast.update_raw(close)
        self.slow.update_raw(close)
        self.atr.update_raw(high, low, close)
        self.value = (self.fast.value - self.slow.value) / self.atr.value * 100.0
        self.signals.update_raw(self.value)
        self.signal = self.signals.value


def slices() -> dict[str, Any]:
    return {"update": _updates}


def _updates(times: int) -> float:
    indicator = Macdv()
    bars = list(islice(cycle(wandering(1000)), times))
    began = time.thread_time()
    for high, low, close in bars:
        indicator.update(high, low, close)
    return time.thread_time() - began


def check() -> dict[str, Any]:
    indicator = Macdv()
    for bar in wandering(2000):
        indicator.update(*bar)
    return {"macdv": indicator.value, "signal": indicator.signal}
