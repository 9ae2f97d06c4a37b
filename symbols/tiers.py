"""Which symbols everybody shares: the top N by 24 h quote volume, aliases left out. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exchanges.events import SymbolInfo

USD_GROUP = frozenset({"USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI", "PYUSD", "USDP", "USD1", "USDE", "RLUSD"})
"""Quotes that count as dollars when volumes are compared. Prices are never converted between them."""

HYSTERESIS = 1.2
"""In at rank N, out below 1.2 N: else the pool flaps at its border."""

PINNED, EXCLUDED = "pinned", "excluded"


class Ranked(NamedTuple):
    """A market with its place by volume; ``rank`` is None where no dollar volume is known, for aliases, and for dollar-dollar pairs."""

    info: SymbolInfo
    rank: int | None


def ranked(infos: Iterable[SymbolInfo]) -> list[Ranked]:
    """Every market with its rank, 1 for the largest 24 h quote volume in dollars."""
    infos = list(infos)
    rates = dollar_rates(infos)
    volumes = {info.symbol: volume for info in infos if (volume := _dollar_volume(info, rates)) is not None}
    order = sorted(volumes, key=lambda symbol: (-volumes[symbol], symbol))
    ranks = {symbol: rank for rank, symbol in enumerate(order, 1)}
    return [Ranked(info, ranks.get(info.symbol)) for info in infos]


def _dollar_volume(info: SymbolInfo, rates: Mapping[str, float]) -> float | None:
    if info.alias_of or not info.tradable or (info.base in USD_GROUP and info.quote in USD_GROUP):
        return None
    rate = rates.get(info.quote)
    return info.quote_volume_24h * rate if info.quote_volume_24h and rate is not None else None


def dollar_rates(infos: Iterable[SymbolInfo]) -> dict[str, float]:
    """Dollars per unit of each quote asset, from the exchange's own prices, direct or inverse."""
    rates = dict.fromkeys(USD_GROUP, 1.0)
    for info in infos:
        if info.price and info.tradable:
            if info.quote in USD_GROUP:
                rates.setdefault(info.base, info.price)
            elif info.base in USD_GROUP:
                rates.setdefault(info.quote, 1 / info.price)
    return rates


def tier_one(markets: Iterable[Ranked], top_n: int, *, members: frozenset[str], policies: Mapping[str, str]) -> list[str]:
    """The symbols of Tier 1, best rank first, pinned ones without a rank last.

    ``members``: who is in it now, and stays down to rank 1.2 N. ``policies``: what people decided, by symbol. A market that cannot be
    traded is out, whatever was decided.
    """
    chosen: list[tuple[int, str]] = []
    for info, rank in markets:
        policy = policies.get(info.symbol)
        if policy == EXCLUDED or not info.tradable:
            continue
        limit = top_n * HYSTERESIS if info.symbol in members else top_n
        if policy == PINNED or (rank is not None and rank <= limit):
            chosen.append((rank or 10**9, info.symbol))
    return [symbol for _, symbol in sorted(chosen)]
