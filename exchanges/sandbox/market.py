"""The simulated market: a function of (seed, venue, symbol, time), and nothing else. Pure.

All prices and volumes are whole numbers of the listing's own increments, so that sums are exact: a closed 5-minute candle is the aggregate
of its trades, a longer candle the aggregate of its 5-minute candles (first open, highest high, lowest low, last close, summed volume).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from exchanges.events import TIMEFRAMES, Candle
from exchanges.sandbox.listings import Bar, Listing, shift
from exchanges.sandbox.paths import BAR, DAY
from exchanges.sandbox.quotes import HOUR, Quotes, Recent
from exchanges.sandbox.trades import Trades, trades_of

STEPS = frozenset(minutes * 60_000 for minutes in (5, 15, 30, 60, 120, 240, 360, 480, 720, 1440))
"""Lengths of a candle, in ms."""


class Statistics(NamedTuple):
    """The last 24 hours of a market, in increments like ``Bar``."""

    open: int
    high: int
    low: int
    last: int
    volume: int
    turnover: int
    trades: int
    since: int


class Market:
    """Every candle and trade of the given listings, for any moment, past or future, in any order of asking."""

    def __init__(self, seed: int, listings: Iterable[Listing]) -> None:
        self.seed = seed
        self.listings: dict[tuple[str, str], Listing] = {listing.key: listing for listing in listings}
        self._room = max((shift(listing.lag_ms) for listing in self.listings.values()), default=0)
        self._quotes = Quotes(seed, [listing for listing in self.listings.values() if not listing.alias_of])
        many = len(self.listings)
        self._trades: Recent[tuple[tuple[str, str], int], Trades] = Recent(max(64, 3 * many))
        self._statistics: dict[tuple[str, str], tuple[int, Statistics]] = {}
        self._years: dict[tuple[str, str], tuple[int, int, int]] = {}

    def listing(self, venue: str, symbol: str) -> Listing:
        """The listing whose trades a symbol shows: its own, or the one it is an alias of. Raises LookupError."""
        listing = self.listings.get((venue, symbol))
        if listing is None:
            raise LookupError(f"{venue} lists no {symbol!r}")
        return self.listing(venue, listing.alias_of) if listing.alias_of else listing

    def candles(self, venue: str, symbol: str, timeframe: str, start: int, end: int, *, idle: bool = False) -> list[Candle]:
        """The true final candles that open in [start, end), oldest first, whether they have closed yet or not: the oracle of tests.

        Intervals without a trade are left out, or with ``idle`` shown flat with volume 0 (as Binance does).
        """
        listing = self.listing(venue, symbol)
        price, size = 10**listing.decimals, 10**listing.size_decimals
        return [
            Candle(symbol, timeframe, b.open_time, b.open / price, b.high / price, b.low / price, b.close / price, b.volume / size, True)
            for b in self.bars(listing, TIMEFRAMES[timeframe], start, end)
            if idle or b.trades
        ]

    def bars(self, listing: Listing, step: int, start: int, end: int) -> list[Bar]:
        """Final bars of ``step`` ms that open in [start, end) within the listing's life, idle ones included, oldest first."""
        if step not in STEPS:
            raise ValueError(f"no candles of {step} ms")
        start = max(start, listing.listed)
        start += -start % step
        end = end if listing.ends is None else min(end, listing.ends)
        rows: list[Bar] = []
        while start < end:
            midnight = start - start % DAY
            past = min(end, midnight + DAY)
            rows += self._day_bars(listing, midnight, (start - midnight) // step, (past - midnight - 1) // step + 1, step)
            start = past
        return rows

    def _day_bars(self, listing: Listing, midnight: int, first: int, past: int, step: int) -> Iterator[Bar]:
        """The bars first .. past - 1 of a day."""
        day, lot = midnight // DAY, listing.lot
        columns, size = (self._quotes.bars(listing, day), step // BAR) if step < HOUR else (self._quotes.hours(listing, day), step // HOUR)
        for row in range(first, past):
            at, to = row * size, (row + 1) * size
            yield Bar(
                midnight + row * step,
                columns.opens[at],
                max(columns.highs[at:to]),
                min(columns.lows[at:to]),
                columns.closes[to - 1],
                lot * sum(columns.lots[at:to]),
                lot * sum(columns.turnovers[at:to]),
                sum(columns.trades[at:to]),
            )

    def trades(self, listing: Listing, open_time: int) -> Trades:
        """The trades of the 5-minute bar that opens then; none outside the listing's life."""
        return self._trades.remembered((listing.key, open_time), lambda: self._make_trades(listing, open_time))

    def _make_trades(self, listing: Listing, open_time: int) -> Trades:
        if not listing.trading(open_time):
            return Trades([], [], [], [], [], 0)
        return trades_of(self.bars(listing, BAR, open_time, open_time + BAR)[0], listing, self.seed, self._room)

    def forming(self, listing: Listing, step: int, now: int) -> Bar | None:
        """What the trades up to ``now`` have made of the bar of ``step`` ms around it; None before its first trade."""
        open_time = now - now % step
        parts = [bar for bar in self.bars(listing, BAR, open_time, now - now % BAR) if bar.trades] if step > BAR else []
        live = self._live(listing, now)
        if live is not None:
            parts.append(live)
        return _summed(parts)._replace(open_time=open_time) if parts else None

    def _live(self, listing: Listing, now: int) -> Bar | None:
        bar = now - now % BAR
        trades = self.trades(listing, bar)
        at = bisect_right(trades.times, now) - 1
        if at < 0:
            return None
        volume = listing.lot * trades.lots[at]
        return Bar(bar, trades.prices[0], trades.highs[at], trades.lows[at], trades.prices[at], volume, volume * trades.typical, at + 1)

    def next_trade(self, listing: Listing, now: int) -> int:
        """When the first trade after ``now`` happens. Looks ahead one hour, and answers the end of it where none does."""
        bar = now - now % BAR
        for open_time in range(bar, bar + HOUR, BAR):
            times = self.trades(listing, open_time).times
            at = bisect_right(times, now)
            if at < len(times):
                return times[at]
        return bar + HOUR

    def last_price(self, listing: Listing, now: int) -> int:
        """The price of the last trade at or before ``now``."""
        now = now if listing.ends is None else min(now, listing.ends - 1)
        live = self._live(listing, now)
        if live is not None:
            return live.close
        before = max(listing.listed, now - now % BAR - BAR)
        return self.bars(listing, BAR, before, before + BAR)[0].close

    def statistics(self, listing: Listing, now: int) -> Statistics:
        """The 24 hours up to ``now``: 287 closed bars and the forming one."""
        bar = now - now % BAR
        cached = self._statistics.get(listing.key)
        if cached is None or cached[0] != bar:
            cached = self._statistics[listing.key] = (bar, self._closed_statistics(listing, bar))
        closed, live = cached[1], self._live(listing, now)
        if live is None:
            return closed
        return Statistics(
            closed.open if closed.trades else live.open,
            max(closed.high, live.high) if closed.trades else live.high,
            min(closed.low, live.low) if closed.trades else live.low,
            live.close,
            closed.volume + live.volume,
            closed.turnover + live.turnover,
            closed.trades + live.trades,
            closed.since,
        )

    def _closed_statistics(self, listing: Listing, bar: int) -> Statistics:
        bars = self.bars(listing, BAR, bar - DAY + BAR, bar)
        traded = [row for row in bars if row.trades]
        if not traded:
            price = self.last_price(listing, bar)
            return Statistics(price, price, price, price, 0, 0, 0, bar - DAY + BAR)
        day = _summed(traded)
        return Statistics(day.open, day.high, day.low, day.close, day.volume, day.turnover, day.trades, bars[0].open_time)

    def year_range(self, listing: Listing, now: int) -> tuple[int, int]:
        """Low and high of 52 weeks, in increments: of weekly prices of the hidden path, and of the last 24 hours."""
        today = now // DAY
        cached = self._years.get(listing.key)
        if cached is None or cached[0] != today:
            prices = [self._quotes.paths.start_price(listing.coin, day, listing.against) for day in range(today - 364, today, 7)]
            unit = 10**listing.decimals
            cached = self._years[listing.key] = (today, max(1, int(min(prices) * unit)), int(max(prices) * unit) + 1)
        recent = self.statistics(listing, now)
        return min(cached[1], recent.low), max(cached[2], recent.high)


def _summed(bars: list[Bar]) -> Bar:
    return Bar(
        bars[0].open_time,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(bar.volume for bar in bars),
        sum(bar.turnover for bar in bars),
        sum(bar.trades for bar in bars),
    )
