"""Writes to symbols: what the exchange lists, and what people decide. The connector follows without a restart."""

import logging
from collections.abc import Sequence

from django.db import transaction

from exchanges import control
from exchanges.events import SymbolInfo
from exchanges.models import Exchange
from symbols import tiers
from symbols.models import Policy, Symbol

log = logging.getLogger(__name__)

_LISTED = ["base", "quote", "tradable", "status", "price", "price_increment", "volume_24h", "quote_volume_24h", "change_24h", "alias_of"]


@transaction.atomic
def symbols_update(*, exchange: Exchange, infos: Sequence[SymbolInfo]) -> list[Symbol]:
    """Store what the exchange lists and choose Tier 1 anew; returns Tier 1, best rank first.

    A symbol the exchange no longer lists stays, as not tradable: its alerts still name it.
    """
    markets = tiers.ranked(infos)
    ranks = {info.symbol: rank for info, rank in markets}
    listed = [
        Symbol(
            exchange=exchange,
            symbol=info.symbol,
            rank=ranks[info.symbol],
            **{name: getattr(info, name) for name in _LISTED},
        )
        for info in infos
    ]
    Symbol.objects.bulk_create(
        listed,
        update_conflicts=True,
        unique_fields=["exchange", "symbol"],
        update_fields=[*_LISTED, "rank", "updated_at"],
        batch_size=500,
    )
    Symbol.objects.filter(exchange=exchange).exclude(symbol__in=list(ranks)).update(
        tradable=False, status="not listed", rank=None, tier=None
    )
    return _choose(exchange, markets)


def symbols_choose(*, exchange: Exchange) -> list[Symbol]:
    """Choose Tier 1 anew from what is stored, after N or a policy changed; returns it, best rank first."""
    with transaction.atomic():
        return _choose(exchange, [tiers.Ranked(_info(row), row.rank) for row in Symbol.objects.filter(exchange=exchange)])


def _info(row: Symbol) -> SymbolInfo:
    return SymbolInfo(row.symbol, row.base, row.quote, row.tradable, row.status)


def _choose(exchange: Exchange, markets: Sequence[tiers.Ranked]) -> list[Symbol]:
    rows = Symbol.objects.filter(exchange=exchange)
    members = frozenset(rows.filter(tier=1).values_list("symbol", flat=True))
    policies = dict(rows.exclude(policy=Policy.AUTO).values_list("symbol", "policy"))
    chosen = tiers.tier_one(markets, exchange.top_n, members=members, policies=policies)
    rows.filter(tier=1).exclude(symbol__in=chosen).update(tier=None)
    rows.filter(symbol__in=chosen).exclude(tier=1).update(tier=1)
    order = {symbol: place for place, symbol in enumerate(chosen)}
    return sorted(rows.filter(tier=1), key=lambda row: order[row.symbol])


def symbols_set_policy(*, ids: Sequence[int], policy: str, by: str) -> tuple[int, str]:
    """Decide about symbols, and tell the running connectors. Returns how many rows changed, and what the connectors answered."""
    rows = Symbol.objects.filter(pk__in=ids).exclude(policy=policy)
    exchange_ids = sorted(set(rows.values_list("exchange_id", flat=True)))
    changed = rows.update(policy=Policy(policy))
    for exchange in Exchange.objects.filter(pk__in=exchange_ids):
        symbols_choose(exchange=exchange)
    answers = [f"{exchange_id}: {control.request_sync(exchange_id, 'reload', by=by).message}" for exchange_id in exchange_ids]
    log.info("%s set %d symbols to %s", by or "somebody", changed, policy)
    return changed, "; ".join(answers)
