"""Market caps of the simulated coins, in the shape of CoinGecko's public ``/coins/markets``. Pure.

As there: one page at a time, largest first, tickers in lower case, and ``null`` for a coin whose supply nobody knows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from exchanges.sandbox.coins import Coin
from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.market import Market
from exchanges.sandbox.protocol import Answer, encode, parameter

PATH = "coins/markets"
MOST_A_PAGE = 250
UNKNOWN = frozenset({"RLC"})
"""Coins without a known supply."""


def answer(path: str, query: Mapping[str, list[str]], market: Market, now: int) -> Answer:
    """The answer to GET /coins/markets."""
    if path.strip("/") != PATH:
        return Answer(404, encode({"error": "coin not found"}))
    if parameter(query, "vs_currency").lower() != "usd":
        return Answer(422, encode({"error": "Missing parameter vs_currency"}))
    size = min(MOST_A_PAGE, _positive(parameter(query, "per_page"), 100))
    start = (_positive(parameter(query, "page"), 1) - 1) * size
    return Answer(200, encode(_rows(market, now)[start : start + size]))


def _positive(text: str, standard: int) -> int:
    return int(text) if text.isdecimal() and 0 < int(text) < 10_000 else standard


def _rows(market: Market, now: int) -> Sequence[dict[str, Any]]:
    rows = [_row(coin, price) for coin, price in _coins(market, now).values()]
    rows.sort(key=lambda row: -(row["market_cap"] or 0))
    return [{**row, "market_cap_rank": rank if row["market_cap"] else None} for rank, row in enumerate(rows, 1)]


def _coins(market: Market, now: int) -> dict[str, tuple[Coin, float]]:
    """Each coin with its price in dollars."""
    found: dict[str, tuple[Coin, float]] = {}
    for listing in market.listings.values():
        if listing.alias_of or listing.against is not None or listing.coin.code in found or not listing.trading(now):
            continue
        found[listing.coin.code] = (listing.coin, market.last_price(listing, now) / 10**listing.decimals)
    return found


def _row(coin: Coin, price: float) -> dict[str, Any]:
    # A year's volume buys the supply a few times over; how often differs from coin to coin.
    supply = coin.volume / coin.price * (40 + hashed("supply", coin.code) % 400)
    return {
        "id": coin.name.lower().replace(" ", "-"),
        "symbol": coin.code.lower(),
        "name": coin.name,
        "current_price": price,
        "market_cap": None if coin.code in UNKNOWN else round(supply * price),
        "circulating_supply": None if coin.code in UNKNOWN else round(supply),
    }
