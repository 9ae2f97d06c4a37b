"""The hidden prices all venues follow: day by day, 288 five-minute bars a day, each computable without what came before. Pure.

A day's first and last price come from a random walk that is cut in halves down a binary tree (any day costs ten hashes), so it can be asked
for any day and never wanders off for good. The 288 bars between are drawn with regimes (calm, trend, burst) and bent so that the day ends
where the tree says. A coin is the common market factor times its beta, plus a path of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log

from exchanges.sandbox.coins import Coin
from exchanges.sandbox.hashing import generator, hashed

DAY = 86_400_000
BAR = 300_000
BARS = DAY // BAR
LOTS = 600
"""Lots an ordinary bar trades. Every trade is at least one lot, so that none has size 0."""

_TREE = 512
"""Days under one binary tree."""
_MARKET_VOLATILITY = 6.0
_BASIS_POINT = 1e-4
_DAY_SPREAD = 15.0
"""Standard deviation of a day's move, in those of a 5-minute bar."""


@dataclass(frozen=True, slots=True)
class DayPath:
    """One coin's day: 288 bars of dollars, and the lots traded in each; 0 lots is a bar without any trade."""

    opens: Sequence[float]
    highs: Sequence[float]
    lows: Sequence[float]
    closes: Sequence[float]
    lots: Sequence[int]

    def after(self, before: "DayPath", late: int) -> "DayPath":
        """The day as a follower sees it that is ``late`` bars behind: the end of the day before, then this one."""
        mine = (self.opens, self.highs, self.lows, self.closes, self.lots)
        theirs = (before.opens, before.highs, before.lows, before.closes, before.lots)
        return DayPath(*([*old[-late:], *new[:-late]] for old, new in zip(theirs, mine, strict=True)))  # type: ignore[arg-type]


class Paths:
    """Paths of all coins for one seed. Keeps the market factor of the days asked for last."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._factor: dict[int, list[float]] = {}

    def day(self, coin: Coin, day: int, against: Coin | None = None) -> DayPath:
        """The bars of a coin on a day (days since 1970), in dollars or in the other coin. Costs about 0.2 ms."""
        random = generator(self.seed, coin.code, day).random
        steps, heat = _regimes(random)
        prices = self._prices(coin, day, steps)
        if against is not None:
            other, _ = _regimes(generator(self.seed, against.code, day).random)
            prices = [price / unit for price, unit in zip(prices, self._prices(against, day, other), strict=True)]
        traded = [1] * BARS if coin.busy >= 1 else _hold_idle(prices, coin.busy, random)
        opens, closes = prices[:BARS], prices[1:]
        wick = 0.9 * coin.volatility * _BASIS_POINT
        highs = [(o if o > c else c) * (1 + wick * h * random() * random()) for o, c, h in zip(opens, closes, heat, strict=True)]
        lows = [(o if o < c else c) * (1 - wick * h * random() * random()) for o, c, h in zip(opens, closes, heat, strict=True)]
        lots = [
            t * (24 + int(LOTS * (0.25 + random()) * (0.5 * h + (s if s > 0 else -s)))) for t, h, s in zip(traded, heat, steps, strict=True)
        ]
        return DayPath(opens, highs, lows, closes, lots)

    def start_price(self, coin: Coin, day: int, against: Coin | None = None) -> float:
        """The price at the start of a day."""
        own = self.level(coin.code, day, coin.volatility * _BASIS_POINT * _DAY_SPREAD)
        market = self.level("market", day, _MARKET_VOLATILITY * _BASIS_POINT * _DAY_SPREAD)
        price = coin.price * exp(own + coin.beta * market)
        return price / self.start_price(against, day) if against else price

    def _prices(self, coin: Coin, day: int, steps: Sequence[float]) -> list[float]:
        """289 prices: the start of the day, and the end of each bar."""
        own = self._bridged(coin.code, day, coin.volatility * _BASIS_POINT, steps)
        base, beta = log(coin.price), coin.beta
        return [exp(base + beta * market + mine) for market, mine in zip(self._market(day), own, strict=True)]

    def level(self, name: str, day: int, spread: float) -> float:
        """Logarithm of the price at the start of a day, relative to the base price; ``spread`` is the deviation of a day's move."""
        block, at = divmod(day, _TREE)
        low, high = 0, _TREE
        left, right = self._root(name, block), self._root(name, block + 1)
        while at != low:
            middle = (low + high) // 2
            value = (left + right) / 2 + spread * ((high - low) / 4) ** 0.5 * self._normal(name, block, low, high)
            if at < middle:
                high, right = middle, value
            else:
                low, left = middle, value
        return left

    def _root(self, name: str, block: int) -> float:
        return 0.12 * self._normal(name, block, 0, 0)

    def _normal(self, *words: int | str) -> float:
        """Roughly normal with deviation 1: the sum of four slices of one hash."""
        bits = hashed(self.seed, "level", *words)
        total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        return (total / 65_536 - 2.0) * 3**0.5

    def _bridged(self, name: str, day: int, unit: float, steps: Sequence[float]) -> list[float]:
        """289 logarithms from the start of the day to its end, moving by the steps and ending where the next day starts."""
        spread = unit * _DAY_SPREAD
        start, end = self.level(name, day, spread), self.level(name, day + 1, spread)
        pull = (end - start - unit * sum(steps)) / BARS
        path = list(accumulate((unit * step + pull for step in steps), initial=start))
        path[BARS] = end
        return path

    def _market(self, day: int) -> list[float]:
        path = self._factor.get(day)
        if path is None:
            steps, _ = _regimes(generator(self.seed, "market", day).random)
            path = self._bridged("market", day, _MARKET_VOLATILITY * _BASIS_POINT, steps)
            if len(self._factor) >= 512:
                del self._factor[next(iter(self._factor))]
            self._factor[day] = path
        return path


def _hold_idle(closes: list[float], busy: float, random: Callable[[], float]) -> list[int]:
    """Hold the price through bars without a trade; 1 for each bar that trades. The day's first and last bar always do."""
    traded = [1 if random() < busy else 0 for _ in range(BARS)]
    traded[0] = traded[-1] = 1
    for bar, trades in enumerate(traded):
        if not trades:
            closes[bar + 1] = closes[bar]
    return traded


# (running share of segments, shortest, longest, drift, volatility); drift and volatility in units of the coin's own volatility.
_REGIMES = (
    (0.52, 18, 60, 0.0, 0.75),
    (0.92, 10, 28, 0.32, 0.8),
    (1.0, 3, 9, 0.9, 2.0),
)


def _regimes(random: Callable[[], float]) -> tuple[list[float], list[float]]:
    """288 steps in units of a coin's volatility, and how hot the regime of each is."""
    steps: list[float] = []
    heat: list[float] = []
    while len(steps) < BARS:
        pick = random()
        _, shortest, longest, drift, vol = next(regime for regime in _REGIMES if pick < regime[0])
        length = shortest + int((longest - shortest) * random())
        slope = drift * (0.6 + 0.8 * random()) * (1 if random() < 0.5 else -1)
        steps += [slope + 2 * vol * (random() + random() + random() - 1.5) for _ in range(length)]
        heat += [vol] * length
    del steps[BARS:], heat[BARS:]
    return steps, heat
