"""TA-Lib: indicators in C over whole arrays. A new bar means computing the array again, which is what programs built on it do."""

import time
from typing import Any

import numpy as np
import talib

from benchmarks.bars import wandering

PACKAGES = ("TA-Lib", "numpy")


def macdv(high: Any, low: Any, close: Any) -> tuple[Any, Any]:
    """MACD-V and its signal, as arrays."""
    value = (talib.EMA(close, 12) - talib.EMA(close, 26)) / talib.ATR(high, low, close, 26) * 100.0
    return value, talib.EMA(value, 9)


def _arrays(count: int) -> list[Any]:
    return [np.array(column) for column in zip(*wandering(count), strict=True)]


def slices() -> dict[str, Any]:
    return {"200 bars": _recompute}


def _recompute(times: int) -> float:
    high, low, close = _arrays(200)
    began = time.thread_time()
    for _ in range(times):
        macdv(high, low, close)
    return time.thread_time() - began


def check() -> dict[str, Any]:
    value, signal = macdv(*_arrays(2000))
    return {"macdv": float(value[-1]), "signal": float(signal[-1])}
