"""One bar into MACD-V, against the loop around it and against other libraries' indicators."""

import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from benchmarks.bars import Bars, wandering
from benchmarks.peer import Peers
from benchmarks.rivals import Field, Rival, gather
from benchmarks.rows import Row, at_most, at_most_times, compared, single, times_better
from benchmarks.timing import Effort, Slice, compare
from market_data.macdv import Macdv

TITLE = "The indicator"
_WHAT = "MACD-V, one closed candle"
_ALIKE = 1e-9
"""How far a peer's value and signal may be from ours after 2,000 bars, when every seed is forgotten."""


def _apart(found: dict[str, Any]) -> float:
    """How far a peer's value and signal are from ours after 2,000 bars."""
    indicator = Macdv()
    for bar in wandering(2000):
        indicator.update(*bar)
    ours = {"macdv": indicator.macdv or 0.0, "signal": indicator.signal or 0.0}
    return max(abs(value - float(found[name])) for name, value in ours.items())


def _differs(found: dict[str, Any]) -> str:
    apart = _apart(found)
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
        _exactness(field),
        compared("MACD-V, a look at the forming candle", "µs", found["peek"], "empty loop", found["loop"]),
    ]


def _exactness(field: Field) -> Row:
    """TA-Lib over the whole history is the reference of the number itself."""
    what, against, goal = "MACD-V and its signal after 2,000 bars: apart", "TA-Lib over all of them", at_most(_ALIKE)
    if (peer := field.peers.get("TA-Lib over 200 bars")) is None:
        return single(what, "", [], against, goal=goal, note=field.absent["TA-Lib over 200 bars"])
    return single(what, "", [_apart(peer.check)], against, goal=goal)


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
