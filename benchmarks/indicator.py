"""One bar into MACD-V, against the loop around it and against other libraries' indicators."""

import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from benchmarks.bars import Bars, wandering
from benchmarks.peer import Peers
from benchmarks.rivals import Rival, gather
from benchmarks.rows import Row, at_most_times, compared, times_better
from benchmarks.timing import Effort, Slice, compare
from market_data.macdv import Macdv

TITLE = "The indicator"
_WHAT = "MACD-V, one closed candle"
_ALIKE = 1e-9
"""How far a peer's value and signal may be from ours after 2,000 bars, when every seed is forgotten."""


def _differs(found: dict[str, Any]) -> str:
    indicator = Macdv()
    for bar in wandering(2000):
        indicator.update(*bar)
    ours = {"macdv": indicator.macdv or 0.0, "signal": indicator.signal or 0.0}
    apart = max(abs(value - found[name]) for name, value in ours.items())
    return "" if apart <= _ALIKE else f"after 2,000 bars it is {apart:g} away from ours"


_RIVALS = (
    Rival("nautilus (Cython)", "nautilus_macdv", "nautilus", "update", at_most_times(1.3), _differs),
    Rival("talipp", "talipp_macdv", "talipp", "update", times_better(10), _differs),
    Rival("TA-Lib over 200 bars", "talib_macdv", "TA-Lib", "200 bars", times_better(20), _differs),
)


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    field = await gather(_RIVALS, peers)
    slices = {"ours": _bars(_update), "loop": _bars(_nothing), "peek": _bars(_peek), **field.slices}
    found = await compare(slices, effort)
    return [
        compared(_WHAT, "µs", found["ours"], "empty loop", found["loop"]),
        *field.rows(_WHAT, "µs", found),
        compared("MACD-V, a look at the forming candle", "µs", found["peek"], "empty loop", found["loop"]),
    ]


def _bars(feed: Callable[[Macdv, Bars], None]) -> Slice:
    def run(times: int) -> float:
        indicator = Macdv()
        _update(indicator, wandering(300))
        bars = list(islice(cycle(wandering(1000)), times))
        began = time.thread_time()
        feed(indicator, bars)
        return time.thread_time() - began

    return run


def _update(indicator: Macdv, bars: Bars) -> None:
    for high, low, close in bars:
        indicator.update(high, low, close)


def _peek(indicator: Macdv, bars: Bars) -> None:
    for high, low, close in bars:
        indicator.peek(high, low, close)


def _nothing(indicator: Macdv, bars: Bars) -> None:
    for _high, _low, _close in bars:
        pass
