"""The page of a symbol: its chart, its indicator, its alerts. What moves on it arrives over /ws/feed/."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, UserExchange
from symbols.models import Policy, Symbol, Tier
from symbols.tiers import USD_GROUP, plain
from symbols.wants import own_symbols

NEAR = 8
"""How many near spellings a wrong address is answered with."""


@permission_required("symbols.view_symbol", raise_exception=True)
def symbol_page(request: HttpRequest, exchange_id: str, symbol: str) -> HttpResponse:
    """The frame of the page, and what stands still on it: names, links, the same coin elsewhere."""
    row = None
    # PostgreSQL refuses a NUL in a text; no symbol has one.
    if "\0" not in exchange_id + symbol:
        rows = Symbol.objects.filter(exchange=exchange_id, exchange__active=True, symbol=symbol)
        row = rows.select_related("exchange", "coin").first()
    if row is None:
        return _unknown(request, exchange_id, symbol)
    exchange = row.exchange
    context = {
        "row": row,
        "exchange": exchange,
        "timeframes": [name for name in TIMEFRAMES if name in exchange.timeframes],
        "trade_url": row.trade_url,
        "elsewhere": _elsewhere(row, request.user.pk),
        "followed": not UserExchange.objects.filter(user=request.user.pk, exchange=exchange, watch=False).exists(),
        "excluded": row.policy == Policy.EXCLUDED,
    }
    return render(request, "market_data/symbol.html", context)


def _elsewhere(row: Symbol, user_id: int) -> list[Symbol]:
    """The same coin on other exchanges, in a quote that compares; those that are watched for this user first (``shown``)."""
    quotes = USD_GROUP if row.quote in USD_GROUP else {row.quote}
    found = Symbol.objects.filter(base=row.base, quote__in=quotes, exchange__active=True, tradable=True, alias_of="")
    others = list(found.exclude(exchange=row.exchange_id).select_related("exchange"))
    own = {one.row.pk for one in own_symbols(user_id=user_id)}
    for other in others:
        other.shown = other.tier == Tier.SHARED or (other.tier == Tier.OVERFLOW and other.pk in own)  # type: ignore[attr-defined]
    simulated = row.exchange.is_sandbox
    return sorted(others, key=lambda other: (not other.shown, other.exchange.is_sandbox != simulated, other.exchange.name))


def _unknown(request: HttpRequest, exchange_id: str, symbol: str) -> HttpResponse:
    exchange = Exchange.objects.filter(pk=exchange_id, active=True).first() if "\0" not in exchange_id else None
    context: dict[str, Any] = {"exchange": exchange, "exchange_id": exchange_id, "symbol": symbol, "near": _near(exchange, symbol)}
    return render(request, "market_data/symbol_unknown.html", context, status=404)


def _near(exchange: Exchange | None, symbol: str) -> list[Symbol]:
    """Symbols that may have been meant: spelled otherwise, of the same coin, or alike; of any exchange where that one is unknown."""
    rows = Symbol.objects.filter(exchange__active=True).select_related("exchange").order_by("rank", "symbol")
    rows = rows.only("symbol", "base", "exchange__name", "exchange__is_sandbox")
    if exchange is not None:
        rows = rows.filter(exchange=exchange)
    wanted = plain(symbol)
    names: dict[str, list[Symbol]] = {}
    for row in rows:
        names.setdefault(plain(row.symbol), []).append(row)
    close = [wanted] if wanted in names else []
    close += _of_base(names, wanted)
    close = close or get_close_matches(wanted, names, n=NEAR, cutoff=0.7)
    return [row for name in dict.fromkeys(close) for row in names[name]][:NEAR]


def _of_base(names: dict[str, list[Symbol]], wanted: str) -> Iterable[str]:
    """Names of markets of the coin that is asked for, by itself ("BTC") or in another quote ("BTC-EUR")."""
    return [name for name, rows in names.items() if any(len(row.base) > 1 and wanted.startswith(row.base.upper()) for row in rows)][:NEAR]
