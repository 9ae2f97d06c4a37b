"""A wandering price as bars, the same in every process. Stdlib only: the peers' own environment reads this module too."""

import random

Bars = list[tuple[float, float, float]]
"""(high, low, close) of each bar."""


def wandering(count: int, *, seed: int = 7) -> Bars:
    draw = random.Random(seed)
    close, bars = 65_000.0, []
    for _ in range(count):
        before, close = close, close * (1 + draw.gauss(0, 0.002))
        high = max(before, close) * (1 + abs(draw.gauss(0, 0.0005)))
        low = min(before, close) * (1 - abs(draw.gauss(0, 0.0005)))
        bars.append((round(high, 2), round(low, 2), round(close, 2)))
    return bars
