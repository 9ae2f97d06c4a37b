"""Which symbols are watched, and for whom: the top N by 24 h quote volume for everybody, and what users hold or added. Pure."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
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
    dollar_volume: float | None = None


class Place(NamedTuple):
    """For whom a symbol is watched.

    ``keeper``: the user under whose overflow keys its candles stand, None for Tier 1, whose keys are everybody's. ``owners``: the users
    who want it, where it is not in Tier 1. ``shared``: whether its alerts go to everybody who watches the exchange.
    """

    keeper: int | None = None
    owners: frozenset[int] = frozenset()
    shared: bool = True


SHARED = Place()
"""Tier 1."""


class Holding(NamedTuple):
    """What a user has of an asset. ``by_hand``: the user says so, so that it counts whatever it is worth."""

    user_id: int
    asset: str
    quantity: float
    minimum: float
    by_hand: bool = False


class Valued(NamedTuple):
    """A holding with the market it is watched on and its worth in dollars, each None where there is none; ``counts``: it is watched."""

    holding: Holding
    symbol: str | None
    value: float | None
    counts: bool


def ranked(infos: Iterable[SymbolInfo]) -> list[Ranked]:
    """Every market with its rank, 1 for the largest 24 h quote volume in dollars."""
    infos = list(infos)
    rates = dollar_rates(infos)
    volumes = {info.symbol: volume for info in infos if (volume := _dollar_volume(info, rates)) is not None}
    order = sorted(volumes, key=lambda symbol: (-volumes[symbol], symbol))
    ranks = {symbol: rank for rank, symbol in enumerate(order, 1)}
    return [Ranked(info, ranks.get(info.symbol), volumes.get(info.symbol)) for info in infos]


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
    for info, rank, _ in markets:
        policy = policies.get(info.symbol)
        if policy == EXCLUDED or not info.tradable:
            continue
        limit = top_n * HYSTERESIS if info.symbol in members else top_n
        if policy == PINNED or (rank is not None and rank <= limit):
            chosen.append((rank or 10**9, info.symbol))
    return [symbol for _, symbol in sorted(chosen)]


def overflow(
    wanted: Mapping[str, Collection[int]], shared: Collection[str], keepers: Mapping[str, int | None], silent: Collection[int]
) -> dict[str, Place]:
    """The places of the symbols that users want and Tier 1 does not have.

    ``wanted``: users by symbol, each symbol one that can be traded; ``keepers``: who keeps it now, and goes on as long as that user wants
    it, so that nothing has to be moved; ``silent``: users who share no signals of this exchange.
    """
    places = {}
    for symbol, users in wanted.items():
        if users and symbol not in shared:
            keeper = keepers.get(symbol)
            owners = frozenset(users)
            places[symbol] = Place(keeper if keeper in owners else min(owners), owners, shared=not owners <= frozenset(silent))
    return places


def best_markets(markets: Iterable[Ranked]) -> dict[str, SymbolInfo]:
    """The market of each base asset on which it is watched: against dollars, one that trades before one that does not, by rank."""
    best: dict[str, tuple[tuple[bool, int, str], SymbolInfo]] = {}
    for info, rank, _ in markets:
        if info.alias_of or info.quote not in USD_GROUP or info.base in USD_GROUP:
            continue
        order = (not info.tradable, rank or 10**9, info.symbol)
        if info.base not in best or order < best[info.base][0]:
            best[info.base] = (order, info)
    return {base: info for base, (_, info) in best.items()}


def valued(holdings: Iterable[Holding], best: Mapping[str, SymbolInfo]) -> list[Valued]:
    """What each holding is worth and where it is watched. Dollars, and what is worth less than the user's minimum, do not count."""
    found = []
    for holding in holdings:
        info = best.get(holding.asset)
        if info is None:
            found.append(Valued(holding, None, holding.quantity if holding.asset in USD_GROUP else None, counts=False))
            continue
        value = None if info.price is None else holding.quantity * info.price
        counts = holding.by_hand or value is None or value >= holding.minimum
        found.append(Valued(holding, info.symbol, value, counts))
    return found


GRADES = (("A", 50e6, 5.0), ("B", 10e6, 15.0), ("C", 1e6, 50.0), ("D", 100e3, 150.0))
"""Grade, the least dollars traded in 24 h, and the widest spread (bps) it allows."""


def liquidity(dollar_volume: float | None, spread_bps: float | None) -> str | None:
    """A (deep) to E (thin), by the worse of volume and spread; by volume alone where no spread is known, None where no volume is."""
    if dollar_volume is None:
        return None
    for grade, least, widest in GRADES:
        if dollar_volume >= least and (spread_bps is None or spread_bps <= widest):
            return grade
    return "E"


def spread_bps(bid: float | None, ask: float | None) -> float | None:
    """The spread in basis points of the middle; None where a side is missing, or they cross."""
    if not bid or not ask or bid <= 0 or ask < bid:
        return None
    return (ask - bid) / ((ask + bid) / 2) * 10_000


def plain(text: str) -> str:
    """A spelling without case and separators: ``doge-usd``, ``DOGE/USD`` and ``DOGEUSD`` are one."""
    return "".join(letter for letter in text.upper() if letter.isalnum())


def find(text: str, markets: Collection[Ranked]) -> SymbolInfo | None:
    """The market a person means by ``text``: its spelling, its spelling but for case and separators, or the base asset alone."""
    wanted = plain(text)
    alike = [market.info for market in markets if plain(market.info.symbol) == wanted]
    for info in alike:
        if info.symbol == text:
            return info
    return alike[0] if alike else best_markets(market for market in markets if plain(market.info.base) == wanted).get(wanted)


def nearest(text: str, markets: Collection[Ranked], most: int = 3) -> list[str]:
    """The spellings that come nearest to what was typed, of markets that can be traded, the larger ones first."""
    names: dict[str, str] = {}
    for info in [market.info for market in sorted(markets, key=lambda market: market.rank or 10**9)]:
        if info.tradable and not info.alias_of:
            names.setdefault(plain(info.symbol), info.symbol)
            names.setdefault(plain(info.base), info.symbol)
    wanted = plain(text)
    begins = sorted((name for name in names if wanted and name.startswith(wanted)), key=len)
    close = [*begins, *get_close_matches(wanted, list(names), n=most * 3, cutoff=0.6)]
    return list(dict.fromkeys(names[name] for name in close))[:most]
