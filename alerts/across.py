"""Reads of what is known over several exchanges, for pages and API."""

from typing import Any

from alerts.crossexchange import MAX_AGE, Venue, basis_bps, rank_venues
from alerts.elsewhere import read_markets, ticker_price
from exchanges import status
from exchanges.models import Exchange
from exchanges.services import exchange_statuses, taker_fees
from livermore import bus, keys
from symbols.models import Coin, Symbol

DOLLAR_COINS = ("USDT", "USDC")


def read_pairs() -> list[dict[str, Any]]:
    """Every pair that is compared now. Raises what Redis raises."""
    found: dict[Any, Any] = bus.sync().hgetall(keys.crossing_pairs())
    coins = Coin.objects.in_bulk([int(name.split(b"|")[0]) for name in found])
    pairs = []
    for name, value in found.items():
        coin_id, first, second = name.decode().split("|")
        coin = coins.get(int(coin_id))
        if coin is not None:
            known = {"coin": coin.code, "simulated": coin.simulated, "first_id": first, "second_id": second}
            pairs.append({**known, **bus.decode(value)})
    return sorted(pairs, key=lambda pair: (pair["simulated"], pair["coin"], pair["first_id"], pair["second_id"]))


def read_basis() -> list[dict[str, Any]]:
    """What each dollar coin costs in dollars, where an exchange lists it against them; live where it is watched, else as listed."""
    rows = Symbol.objects.filter(base__in=DOLLAR_COINS, quote="USD", exchange__active=True, tradable=True, alias_of="")
    listed = list(rows.order_by("base", "exchange_id"))
    values: list[Any] = bus.sync().mget([keys.ticker(row.exchange_id, row.symbol) for row in listed]) if listed else []
    found = []
    for row, value in zip(listed, values, strict=True):
        _, price = ticker_price(value)
        basis = basis_bps(price.value if price.fresh(status.now_ms()) else row.price)
        if basis is not None:
            found.append({"quote": row.base, "exchange_id": row.exchange_id, "symbol": row.symbol, "basis_bps": basis})
    return found


def venues(*, coin: Coin, region: str, user_id: int) -> list[dict[str, Any]]:
    """Where to act on a coin, best first: every active exchange of its world, with the reason in words."""
    exchanges = {row.pk: row for row in Exchange.objects.filter(active=True, is_sandbox=coin.simulated)}
    markets = {market.exchange_id: market for market in read_markets(coin.pk).get(coin.pk, [])}
    states = exchange_statuses(list(exchanges))
    fees = taker_fees(user_id=user_id, exchanges=exchanges.values())
    asked = [
        Venue(
            pk,
            markets[pk].symbol if pk in markets else "",
            row.geo_restrictions,
            fees[pk],
            _number(states[pk].get("rest_ms")),
            _number(states[pk].get("websocket_ms")),
        )
        for pk, row in exchanges.items()
    ]
    measured = {venue.exchange_id: venue for venue in asked}
    prices = _prices([(pk, market.symbol) for pk, market in markets.items()])
    return [
        {
            "exchange_id": ranked.exchange_id,
            "name": exchanges[ranked.exchange_id].name,
            "place": ranked.place,
            "reason": ranked.reason,
            "symbol": measured[ranked.exchange_id].symbol,
            "price": prices.get(ranked.exchange_id),
            "taker_fee": fees[ranked.exchange_id],
            "rest_ms": measured[ranked.exchange_id].rest_ms,
            "websocket_ms": measured[ranked.exchange_id].websocket_ms,
            "trade_url": markets[ranked.exchange_id].trade_url if ranked.exchange_id in markets else "",
        }
        for ranked in rank_venues(coin.code, region, asked)
    ]


def _number(value: Any) -> float | None:
    try:
        return None if value in (None, "") else float(value)
    except ValueError:
        return None


def _prices(markets: list[tuple[str, str]]) -> dict[str, float | None]:
    """exchange id -> the current price there, None where it is stale; nothing where Redis is away."""
    if not markets:
        return {}
    try:
        values: list[Any] = bus.sync().mget([keys.ticker(*market) for market in markets])
    except bus.FAILURES:
        return {}
    now = status.now_ms()
    prices = {exchange_id: ticker_price(value)[1] for (exchange_id, _), value in zip(markets, values, strict=True)}
    return {exchange_id: price.value if price.fresh(now, MAX_AGE) else None for exchange_id, price in prices.items()}
