"""Writes to symbols: what the exchange lists, what people decide, and what users want watched. The connector follows without a restart."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, Sum
from simple_history.utils import bulk_update_with_history

from exchanges import control
from exchanges.events import SymbolInfo
from exchanges.models import Exchange, UserExchange
from symbols import tiers
from symbols.models import Coin, Policy, PoolChange, Position, Symbol, Tier, UserSymbol
from symbols.tiers import SHARED, Holding, Place, Ranked

log = logging.getLogger(__name__)

_LISTED = ["base", "quote", "tradable", "status", "price", "price_increment", "volume_24h", "quote_volume_24h", "change_24h", "alias_of"]
_MEASURED = ["rank", "dollar_volume_24h", "spread_bps"]
MINIMUM_POSITION_VALUE = 10.0
"""Dollars, for a user who has set nothing."""


class Member(NamedTuple):
    """A watched symbol, and for whom."""

    row: Symbol
    place: Place


@transaction.atomic
def symbols_update(*, exchange: Exchange, infos: Sequence[SymbolInfo]) -> list[Member]:
    """Store what the exchange lists and choose the pool anew; returns it, Tier 1 first, best rank first.

    A symbol the exchange no longer lists stays, as not tradable: its alerts still name it.
    """
    _one_at_a_time(exchange)
    markets = tiers.ranked(infos)
    listed = [
        Symbol(
            exchange=exchange,
            symbol=info.symbol,
            rank=rank,
            dollar_volume_24h=volume,
            spread_bps=tiers.spread_bps(info.bid, info.ask),
            **{name: getattr(info, name) for name in _LISTED},
        )
        for info, rank, volume in markets
    ]
    Symbol.objects.bulk_create(
        listed,
        update_conflicts=True,
        unique_fields=["exchange", "symbol"],
        update_fields=[*_LISTED, *_MEASURED, "updated_at"],
        batch_size=500,
    )
    names = {info.symbol for info in infos}
    unlisted = Symbol.objects.filter(exchange=exchange).exclude(symbol__in=names)
    unlisted.update(tradable=False, status="not listed", rank=None, dollar_volume_24h=None, spread_bps=None)
    _name_coins(exchange)
    coins_update(simulated=exchange.is_sandbox)
    return _choose(exchange)


def symbols_choose(*, exchange: Exchange) -> list[Member]:
    """Choose the pool anew from what is stored, after N, a policy or what users want changed; returns it, Tier 1 first."""
    with transaction.atomic():
        _one_at_a_time(exchange)
        return _choose(exchange)


def _one_at_a_time(exchange: Exchange) -> None:
    """Several shards of an exchange may come with the same at once: the second finds it done."""
    Exchange.objects.select_for_update().filter(pk=exchange.pk).first()


def _name_coins(exchange: Exchange) -> None:
    """Give each symbol its coin, by its base asset, unless a person has."""
    unnamed = list(Symbol.objects.filter(exchange=exchange, coin=None, coin_fixed=False))
    if not unnamed:
        return
    codes = {row.base for row in unnamed}
    Coin.objects.bulk_create([Coin(code=code, simulated=exchange.is_sandbox) for code in sorted(codes)], ignore_conflicts=True)
    coins = {coin.code: coin for coin in Coin.objects.filter(simulated=exchange.is_sandbox, code__in=codes)}
    for row in unnamed:
        row.coin = coins[row.base]
    Symbol.objects.bulk_update(unnamed, ["coin"], batch_size=500)


def coins_update(*, simulated: bool) -> None:
    """Sum the volume of each coin over the active exchanges, and rank the coins by it (DIFF-03)."""
    counted = Q(symbols__exchange__active=True, symbols__exchange__is_sandbox=simulated)
    total = Sum("symbols__dollar_volume_24h", filter=counted)
    coins = list(Coin.objects.filter(simulated=simulated).annotate(total=total).order_by("code"))
    known = sorted((coin for coin in coins if coin.total is not None), key=lambda coin: -coin.total)
    ranks = {coin.pk: rank for rank, coin in enumerate(known, 1)}
    changed = [coin for coin in coins if (coin.volume_24h, coin.rank) != (coin.total, ranks.get(coin.pk))]
    for coin in changed:
        coin.volume_24h, coin.rank = coin.total, ranks.get(coin.pk)
    Coin.objects.bulk_update(changed, ["volume_24h", "rank"], batch_size=500)


def _choose(exchange: Exchange) -> list[Member]:
    """Tier 1 by volume, Tier 2 by what users want of the rest; notes who came, moved and left."""
    Exchange.objects.select_for_update().get(pk=exchange.pk)  # one chooser at a time: page, admin and connector all do
    markets, rows = listed(exchange)
    policies = {row.symbol: row.policy for row in rows.values() if row.policy != Policy.AUTO}
    members = frozenset(row.symbol for row in rows.values() if row.tier == Tier.SHARED)
    shared = tiers.tier_one(markets, exchange.top_n, members=members, policies=policies)
    wanted = {
        symbol: users
        for symbol, users in _wanted(exchange, markets, rows).items()
        if rows[symbol].tradable and rows[symbol].policy != Policy.EXCLUDED
    }
    keepers = {row.symbol: row.keeper_id for row in rows.values() if row.tier == Tier.OVERFLOW}
    places = tiers.overflow(wanted, frozenset(shared), keepers, _silent(exchange))
    _note(exchange, rows, dict.fromkeys(shared, SHARED) | places)
    return [Member(rows[symbol], SHARED) for symbol in shared] + [Member(rows[symbol], places[symbol]) for symbol in sorted(places)]


def listed(exchange: Exchange) -> tuple[list[Ranked], dict[str, Symbol]]:
    """The markets of an exchange as they are stored, and their rows by symbol."""
    rows = {row.symbol: row for row in Symbol.objects.filter(exchange=exchange)}
    return [Ranked(_info(row), row.rank, row.dollar_volume_24h) for row in rows.values()], rows


def _info(row: Symbol) -> SymbolInfo:
    return SymbolInfo(row.symbol, row.base, row.quote, row.tradable, row.status, row.price, alias_of=row.alias_of)


def _wanted(exchange: Exchange, markets: Sequence[Ranked], rows: Mapping[str, Symbol]) -> dict[str, set[int]]:
    """The users who want each symbol: who added it, or hold enough of it, and watch the exchange."""
    away = UserExchange.objects.filter(exchange=exchange, watch=False).values("user_id")
    wanted: dict[str, set[int]] = defaultdict(set)
    added = UserSymbol.objects.filter(symbol__exchange=exchange, user__is_active=True).exclude(user_id__in=away)
    for symbol, user_id in added.values_list("symbol__symbol", "user_id"):
        wanted[symbol].add(user_id)
    held = Position.objects.filter(exchange=exchange, user__is_active=True).exclude(user_id__in=away).select_related("user__preferences")
    for symbol, user_id in _value(list(held), markets, rows):
        wanted[symbol].add(user_id)
    return wanted


def _value(positions: Sequence[Position], markets: Sequence[Ranked], rows: Mapping[str, Symbol]) -> Iterable[tuple[str, int]]:
    """Note what each position is worth and where it is watched; (symbol, user id) of those that count."""
    if not positions:
        return []
    holdings = [Holding(row.user_id, row.asset, row.quantity, minimum_of(row), row.by_hand) for row in positions]
    found = tiers.valued(holdings, tiers.best_markets(markets))
    changed = []
    for row, one in zip(positions, found, strict=True):
        symbol_id = rows[one.symbol].pk if one.symbol else None
        if (row.symbol_id, row.value) != (symbol_id, one.value):
            row.symbol_id, row.value = symbol_id, one.value
            changed.append(row)
    Position.objects.bulk_update(changed, ["symbol", "value"], batch_size=500)
    return [(one.symbol, one.holding.user_id) for one in found if one.counts and one.symbol]


def minimum_of(position: Position) -> float:
    """Below how many dollars the user calls a holding dust."""
    preferences = getattr(position.user, "preferences", None)
    return MINIMUM_POSITION_VALUE if preferences is None else preferences.minimum_position_value


def _silent(exchange: Exchange) -> set[int]:
    """The users who share no signals of this exchange."""
    return set(UserExchange.objects.filter(exchange=exchange, share_overflow=False).values_list("user_id", flat=True))


def _note(exchange: Exchange, rows: Mapping[str, Symbol], places: Mapping[str, Place]) -> None:
    """Store who is in the pool, with a line for each that came, moved or left."""
    changed, record = [], []
    for symbol, row in rows.items():
        place = places.get(symbol)
        after = None if place is None else 1 if place == SHARED else 2
        keeper = None if place is None else place.keeper
        if (row.tier, row.keeper_id) == (after, keeper):
            continue
        if row.tier != after:
            reason = _reason(row, after, place, exchange.top_n)
            record.append(PoolChange(exchange=exchange, symbol=symbol, before=row.tier, after=after, reason=reason[:120]))
        row.tier, row.keeper_id = after, keeper
        changed.append(row)
    Symbol.objects.bulk_update(changed, ["tier", "keeper"], batch_size=500)
    PoolChange.objects.bulk_create(record, batch_size=500)


def _reason(row: Symbol, after: int | None, place: Place | None, top_n: int) -> str:
    """Why a symbol came, moved or left, in words."""
    if not row.tradable:
        return f"it is not traded: {row.status or 'halted'}"
    if row.policy == Policy.EXCLUDED:
        return "excluded by hand"
    if after == Tier.SHARED:
        return "pinned" if row.policy == Policy.PINNED else f"number {row.rank} by 24 h volume"
    left = f"number {row.rank} by 24 h volume, of {top_n}" if row.rank else "no 24 h volume"
    if place is None:
        return left if row.tier == Tier.SHARED else "nobody wants it any more"
    wanted = f"wanted by {len(place.owners)} user{'s' if len(place.owners) > 1 else ''}"
    return f"{left}; {wanted}" if row.tier == Tier.SHARED else wanted


def symbols_set_policy(*, ids: Sequence[int], policy: str, by: str) -> tuple[int, str]:
    """Decide about symbols, and tell the running connectors. Returns how many rows changed, and what the connectors answered."""
    rows = Symbol.objects.filter(pk__in=ids).exclude(policy=policy)
    exchange_ids = sorted(set(rows.values_list("exchange_id", flat=True)))
    decided = list(rows)
    for row in decided:
        row.policy = Policy(policy)
    changed = _decide(decided, ["policy"])
    answer = pool_changed(exchange_ids=exchange_ids, by=by)
    log.info("%s set %d symbols to %s", by or "somebody", changed, policy)
    return changed, answer


def _decide(rows: list[Symbol], fields: list[str]) -> int:
    """Write what a person decided about symbols, with its line in the audit trail."""
    if not rows:
        return 0
    changed: int = bulk_update_with_history(rows, Symbol, fields, batch_size=500)
    return changed


OTHER_WORLD = "The markets of a simulated exchange are of simulated coins, those of a real one of real coins."


def symbol_set_coin(*, symbol: Symbol, coin: Coin | None, by: str) -> None:
    """Say which coin a symbol is a market of, where its name misleads (DIFF-01); None: its base asset's again.

    Raises ValidationError for a coin of the other world: a simulated market is never compared with a real one.
    """
    if coin is not None and coin.simulated != symbol.exchange.is_sandbox:
        raise ValidationError({"coin": OTHER_WORLD})
    with transaction.atomic():
        symbol.coin, symbol.coin_fixed = coin, coin is not None
        _decide([symbol], ["coin", "coin_fixed"])
        _name_coins(symbol.exchange)
        coins_update(simulated=symbol.exchange.is_sandbox)
    log.info("%s set the coin of %s on %s to %s", by or "somebody", symbol.symbol, symbol.exchange_id, coin or "that of its base asset")


def pool_changed(*, exchange_ids: Iterable[str], by: str) -> str:
    """Choose the pools of these exchanges anew and tell the running connectors. Returns what they answered."""
    answers = []
    for exchange in Exchange.objects.filter(pk__in=list(exchange_ids)).order_by("pk"):
        symbols_choose(exchange=exchange)
        answers.append(f"{exchange.pk}: {control.request_sync(exchange.pk, 'reload', by=by).message}")
    return "; ".join(answers)
