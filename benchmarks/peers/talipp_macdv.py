"""talipp: incremental indicators in Python. It has no MACD-V; its EMA and ATR make one, one update a bar each."""

import time
from itertools import cycle, islice
from typing import Any

from talipp.indicators import ATR, EMA
from talipp.ohlcv import OHLCV

from benchmarks.bars import Bars, wandering

PACKAGES = ("talipp",)


class Macdv:
    """``value`` and ``signal`` after the last bar."""

    def __init__(self) -> None:
        self.fast, self.slow, self.atr, self.signals = EMA(12), EMA(26), ATR(26), EMA(9)
        self.value: float | None = None
        self.signal: float | None = None

    def update(self, high: float, low: float, close: float) -> None:
        self.fast.add(close)
        self.slow.add(close)
        self.atr.add(OHLCV(close, high, low, close, 1.0, None))
        if self.atr[-1] is not None:
            self.value = (self.fast[-1] - self.slow[-1]) / self.atr[-1] * 100.0
            self.signals.add(self.value)
            self.signal = self.signals[-1]


def slices() -> dict[str, Any]:
    return {"update": _updates}


def _updates(times: int) -> float:
    indicator = Macdv()
    _feed(indicator, wandering(60))
    bars = list(islice(cycle(wandering(1000)), times))
    began = time.thread_time()
    for high, low, close in bars:
        indicator.update(high, low, close)
    return time.thread_time() - began


def _feed(indicator: Macdv, bars: Bars) -> Macdv:
    for bar in bars:
        indicator.update(*bar)
    return indicator


def check() -> dict[str, Any]:
    indicator = _feed(Macdv(), wandering(2000))
    return {"macdv": indicator.value, "signal": indicator.signal}
