"""The same coin on other exchanges: which markets there are, what they cost now, and what is known of the pair."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from alerts.crossexchange import CollisionGuard, Identity, Price, Quotes, quotes
from alerts.models import Alert
from alerts.payloads import Elsewhere, LeadLag
from exchanges.models import Exchange
from livermore import bus, keys
from livermore.db import db
from symbols.models import Symbol
from symbols.tiers import USD_GROUP, spread_bps

REFRESH = 30.0
"""Seconds for which the list of markets is taken as it is."""
UNLISTED_REFRESH = 2.0
"""The same, while what an exchange lists is not known yet."""


class Market(NamedTuple):
    """A market in which a coin is watched on an exchange. ``symbol`` "": what that exchange lists is not known yet."""

    coin_id: int
    exchange_id: str
    symbol: str
    quote: str
    trade_url: str


def read_markets(coin_id: int | None = None) -> dict[int, list[Market]]:
    """coin id -> its markets in dollars, one an exchange: the one of the best rank. Aliases and what is not traded are left out.

    ``coin_id``: of that coin alone.
    """
    rows = Symbol.objects.filter(exchange__active=True, tradable=True, alias_of="", quote__in=USD_GROUP, coin__isnull=False)
    if coin_id is not None:
        rows = rows.filter(coin=coin_id)
    found: dict[tuple[int, str], Symbol] = {}
    for row in rows.select_related("exchange").order_by("rank", "symbol"):
        best = found.get((row.coin_id, row.exchange_id))
        if best is None or (best.rank is None and row.rank is not None):
            found[row.coin_id, row.exchange_id] = row
    markets: dict[int, list[Market]] = {}
    for row in found.values():
        markets.setdefault(row.coin_id, []).append(Market(row.coin_id, row.exchange_id, row.symbol, row.quote, row.trade_url))
    return {coin_id: sorted(rows, key=lambda one: one.exchange_id) for coin_id, rows in markets.items()}


def pair_name(coin_id: int, one: str, other: str) -> str:
    """The field of a pair in ``keys.crossing_pairs``: the exchange ids in order."""
    first, second = sorted((one, other))
    return f"{coin_id}|{first}|{second}"


def ticker_price(value: bytes | None) -> tuple[dict[str, Any], Price]:
    """A ticker as it stands in Redis, and its price with the time it was received."""
    ticker: dict[str, Any] = {} if value is None else bus.decode(value)
    return ticker, Price(ticker.get("price"), ticker.get("received", 0))


class Beside:
    """Fills in what an alert says of other exchanges."""

    def __init__(self, redis: Redis, exchange_id: str) -> None:
        self._redis, self._exchange_id = redis, exchange_id
        self._markets: dict[str, list[Market]] = {}
        self._unlisted: list[Market] = []
        self._read_at = -REFRESH

    async def fill(self, alerts: Sequence[Alert]) -> None:
        """Note on each alert the same coin elsewhere, with the prices of this moment. Raises what Redis and the database raise."""
        await self._look(alerts)
        for alert in alerts:
            alert.elsewhere = [beside(alert.price, market, None, None, 0) for market in self._unlisted]
        wanted = [(alert, market) for alert in alerts for market in self._markets.get(alert.symbol, [])]
        if not wanted:
            return
        names = [keys.ticker(market.exchange_id, market.symbol) for _, market in wanted]
        pairs = [pair_name(market.coin_id, self._exchange_id, market.exchange_id) for _, market in wanted]
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(name)
            pipe.hmget(keys.crossing_pairs(), pairs)
            *tickers, known = await pipe.execute()
        now = time.time_ns() // 1_000_000
        for (alert, market), ticker, pair in zip(wanted, tickers, known, strict=True):
            comparable = quotes(alert.quote, market.quote) is not Quotes.OTHER
            alert.elsewhere.append(beside(alert.price if comparable else None, market, ticker, pair, now))

    async def _look(self, alerts: Sequence[Alert]) -> None:
        known = all(alert.symbol in self._markets for alert in alerts)  # else one is watched since the last look
        if known and time.monotonic() - self._read_at < (UNLISTED_REFRESH if self._unlisted else REFRESH):
            return
        self._markets, self._unlisted = await db(_others)(self._exchange_id)
        self._read_at = time.monotonic()


def _others(exchange_id: str) -> tuple[dict[str, list[Market]], list[Market]]:
    """symbol of this exchange -> the markets of its coin on other exchanges; and the other ones whose symbols are not known yet."""
    markets = read_markets()
    simulated = Exchange.objects.get(pk=exchange_id).is_sandbox
    unlisted = Exchange.objects.filter(active=True, is_sandbox=simulated, symbols=None).exclude(pk=exchange_id)
    rows = Symbol.objects.filter(exchange_id=exchange_id, tier__isnull=False).values_list("symbol", "coin_id")
    others = {symbol: [one for one in markets.get(coin_id or 0, []) if one.exchange_id != exchange_id] for symbol, coin_id in rows}
    return others, [Market(0, name, "", "", "") for name in unlisted.values_list("pk", flat=True)]


def beside(price: float | None, market: Market, ticker: bytes | None, pair: bytes | None, now: int) -> Elsewhere:
    """What is known of a coin on another exchange, against ``price`` here at ``now``; None: in a quote that does not compare."""
    said, there = ticker_price(ticker)
    known: dict[str, Any] = {} if pair is None else bus.decode(pair)
    identity: Any = known.get("identity", Identity.UNKNOWN)
    if price is None and identity == Identity.SAME:
        identity = Identity.UNKNOWN
    elif identity == Identity.UNKNOWN:  # nobody compares them yet: as at a first sight
        identity = CollisionGuard().compare(now, Price(price, now), there).value
    fresh = there.fresh(now)
    same = fresh and identity == Identity.SAME
    lead: LeadLag | None = known.get("lead")
    return {
        "exchange_id": market.exchange_id,
        "symbol": market.symbol,
        "quote": market.quote,
        "identity": identity,
        "price": there.value if fresh and identity != Identity.DIFFERENT else None,
        "received": there.at if fresh else None,
        "spread_bps": ((there.value or 0.0) / price - 1) * 10_000 if same and price is not None else None,
        "book_spread_bps": spread_bps(said.get("bid"), said.get("ask")) if same else None,
        "trade_url": market.trade_url,
        "lead": lead if same else None,
    }
