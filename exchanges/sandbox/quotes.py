"""From the hidden paths to what each venue quotes: whole increments, day by day. Pure; keeps what was asked for last."""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import TypeVar

from exchanges.sandbox.hashing import share
from exchanges.sandbox.listings import Listing
from exchanges.sandbox.paths import BAR, BARS, DayPath, Paths

HOUR = 3_600_000
_PER_HOUR = HOUR // BAR
_KNOT = 24
"""Bars between two points of a venue's basis."""

K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """A bounded cache: the least recently used entry goes first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def remembered(self, key: K, make: Callable[[], V]) -> V:
        value = self.get(key)
        if value is None:
            value = self[key] = make()
            if len(self) > self.size:
                self.popitem(last=False)
        else:
            self.move_to_end(key)
        return value


@dataclass(slots=True)
class Columns:
    """Bars of one day side by side, by column: quick to build, to slice and to sum.

    Volume counts in lots. Turnover counts lots times the sum of the four prices of a 5-minute bar, that is in quarters.
    """

    opens: Sequence[int]
    highs: Sequence[int]
    lows: Sequence[int]
    closes: Sequence[int]
    lots: Sequence[int]
    turnovers: Sequence[int]
    trades: Sequence[int]


class Quotes:
    """The days of all listings: as 288 bars, or as 24 hours."""

    def __init__(self, seed: int, listings: Iterable[Listing]) -> None:
        self.seed = seed
        self.paths = Paths(seed)
        self._kin: dict[tuple[str, str, int], list[Listing]] = {}
        for listing in listings:
            self._kin.setdefault(_kin(listing), []).append(listing)
        many = sum(map(len, self._kin.values()))
        self._jitter = [share(seed, "jitter", at) - share(seed, "jitter", -at - 1) for at in range(997)] * 2
        self._bars: Recent[tuple[tuple[str, str], int], Columns] = Recent(max(96, 4 * many))
        self._hours: Recent[tuple[tuple[str, str], int], Columns] = Recent(max(20_000, 60 * many))

    def bars(self, listing: Listing, day: int) -> Columns:
        """288 bars of a day."""
        return self._bars.remembered((listing.key, day), lambda: self._quoted(listing, day, self._path(listing, day)))

    def hours(self, listing: Listing, day: int) -> Columns:
        """24 hours of a day. Made for all markets of a coin at once, since the path they share is the larger part of the work."""
        hours = self._hours.get((listing.key, day))
        if hours is None:
            path = self._path(listing, day)
            for other in self._kin[_kin(listing)]:
                self._hours.pop((other.key, day), None)
                self._hours.remembered((other.key, day), lambda other=other: _by_hour(self._quoted(other, day, path)))  # type: ignore[misc]
            hours = self._hours[listing.key, day]
        return hours

    def _path(self, listing: Listing, day: int) -> DayPath:
        days, late = divmod(listing.lag_ms // BAR, BARS)
        path = self.paths.day(listing.coin, day - days, listing.against)
        return path.after(self.paths.day(listing.coin, day - days - 1, listing.against), late) if late else path

    def _quoted(self, listing: Listing, day: int, path: DayPath) -> Columns:
        scale = self._scale(listing, day)
        opens, highs, lows, closes = (
            [int(price * unit + 0.5) or 1 for price, unit in zip(column, scale, strict=True)]
            for column in (path.opens, path.highs, path.lows, path.closes)
        )
        if listing.coin.busy < 1:
            _flatten_idle(opens, highs, lows, closes, path.lots)
            trades = [4 + lots % 5 if lots else 0 for lots in path.lots]
        else:
            trades = [12 + lots % 9 for lots in path.lots]
        typical = map(add, map(add, opens, highs), map(add, lows, closes))
        turnovers = [lots * prices for lots, prices in zip(path.lots, typical, strict=True)]
        return _packed(opens, highs, lows, closes, path.lots, turnovers, trades)

    def _scale(self, listing: Listing, day: int) -> list[float]:
        """Increments per dollar of the hidden price, bar by bar: the venue's basis."""
        unit = 10.0**listing.decimals
        if not listing.swing_bps:
            return [unit * (1 + listing.basis_bps * 1e-4)] * BARS
        knots = [
            listing.basis_bps + listing.swing_bps * (2 * share(self.seed, "basis", *listing.key, day * (BARS // _KNOT) + knot) - 1)
            for knot in range(BARS // _KNOT + 1)
        ]
        offset = (day * BARS + sum(listing.symbol.encode()) * 31) % 997
        noise = iter(self._jitter[offset : offset + BARS])
        return [
            unit * (1 + 1e-4 * (before + (after - before) * step / _KNOT + next(noise)))
            for before, after in pairwise(knots)
            for step in range(_KNOT)
        ]


def _kin(listing: Listing) -> tuple[str, str, int]:
    """Listings with equal kin follow the same hidden bars."""
    return listing.coin.code, listing.against.code if listing.against else "", listing.lag_ms // BAR


def _flatten_idle(opens: list[int], highs: list[int], lows: list[int], closes: list[int], lots: Sequence[int]) -> None:
    """Bars without a trade stand at the last close, and the next trade happens there: then a sum over them equals a sum over trades."""
    idle = False
    for at, traded in enumerate(lots):
        if not traded:
            opens[at] = highs[at] = lows[at] = closes[at] = closes[at - 1] if at else opens[at]
        elif idle:
            opens[at] = closes[at - 1]
            highs[at] = max(highs[at], opens[at])
            lows[at] = min(lows[at], opens[at])
        idle = not traded


def _by_hour(day: Columns) -> Columns:
    starts = range(0, BARS, _PER_HOUR)
    return _packed(
        day.opens[::_PER_HOUR],
        [max(day.highs[at : at + _PER_HOUR]) for at in starts],
        [min(day.lows[at : at + _PER_HOUR]) for at in starts],
        day.closes[_PER_HOUR - 1 :: _PER_HOUR],
        *([sum(column[at : at + _PER_HOUR]) for at in starts] for column in (day.lots, day.turnovers, day.trades)),
    )


def _packed(*columns: Sequence[int]) -> Columns:
    """Eight bytes a number: lists of whole numbers take five times as much."""
    return Columns(*(array("q", column) for column in columns))
