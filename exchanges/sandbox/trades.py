"""The single trades inside a bar, drawn so that they add up to it exactly. Pure."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from exchanges.sandbox.hashing import generator
from exchanges.sandbox.listings import Bar, Listing, shift
from exchanges.sandbox.paths import BAR


class Trades(NamedTuple):
    """The trades of one bar: times (ms) and prices, and per trade the high, the low and the lots of the bar so far.

    ``typical`` is the sum of the bar's four prices: its turnover is volume times a quarter of it.
    """

    times: list[int]
    prices: list[int]
    highs: list[int]
    lows: list[int]
    lots: list[int]
    typical: int


def trades_of(bar: Bar, listing: Listing, seed: int, room: int) -> Trades:
    """The trades of a bar. ``room`` (ms) is the longest lag of any venue within a bar.

    Venues draw the same shape at the same moments of the hidden path, so that a follower trades the same ups and downs ``lag_ms`` later;
    the last ``room`` ms of a leader's bar are therefore quiet.
    """
    if not bar.trades:
        return Trades([], [], [], [], [], 0)
    late = shift(listing.lag_ms)
    hidden = bar.open_time - (listing.lag_ms - late)
    random = generator(seed, "trades", listing.coin.code, listing.against.code if listing.against else "", hidden).random
    span = (BAR - room) / bar.trades
    times = [bar.open_time + late + int((at + random()) * span) for at in range(bar.trades)]
    lots = _split(bar.volume // listing.lot, bar.trades, random)
    prices = _prices(bar, random)
    highs, lows = list(prices), list(prices)
    for at in range(1, bar.trades):
        highs[at] = max(highs[at], highs[at - 1])
        lows[at] = min(lows[at], lows[at - 1])
    return Trades(times, prices, highs, lows, lots, bar.open + bar.high + bar.low + bar.close)


def _prices(bar: Bar, random: Callable[[], float]) -> list[int]:
    """A path from open to close that touches high and low, one price a trade (at least four)."""
    count = bar.trades
    first = 1 + int(random() * (count - 2) / 2)
    second = first + 1 + int(random() * (count - 2 - first))
    rising = (bar.close >= bar.open) == (random() < 0.8)
    anchors = [(0, bar.open), (first, bar.low if rising else bar.high), (second, bar.high if rising else bar.low), (count - 1, bar.close)]
    reach = 0.3 * (bar.high - bar.low)
    prices: list[int] = []
    for (start, before), (stop, after) in pairwise(anchors):
        slope = (after - before) / (stop - start)
        for at in range(start, stop):
            drawn = int(before + slope * (at - start) + reach * (random() - 0.5) + 0.5)
            prices.append(before if at == start else min(bar.high, max(bar.low, drawn)))
    prices.append(bar.close)
    return prices


def _split(lots: int, count: int, random: Callable[[], float]) -> list[int]:
    """Running sums of ``count`` trades of at least one lot each that add up to ``lots``."""
    weights = [random() ** 2 + 0.02 for _ in range(count)]
    scale = (lots - count) / sum(weights)
    running, total = [], 0.0
    for at, weight in enumerate(weights, 1):
        total += weight * scale
        running.append(at + int(total))
    running[-1] = lots
    return running
