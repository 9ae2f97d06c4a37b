"""What users want watched: symbols they added, and positions they hold (SYM-02, SYM-03). Each write says what became of it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from exchanges import control
from exchanges.events import Balance
from exchanges.models import Exchange, KeyState, Preferences, UserExchange
from exchanges.services import account_changed
from exchanges.status import now_ms
from symbols import tiers
from symbols.models import Policy, Position, Symbol, Tier, UserSymbol
from symbols.services import MINIMUM_POSITION_VALUE, listed, pool_changed
from symbols.tiers import USD_GROUP, Ranked

MOST_ADDED = 300
"""Symbols a user may add on one exchange."""
MOST_LINES = 500
"""Lines of one bulk paste."""
LONGEST_SPELLING = 80
LISTING_AGE = 600.0
"""Seconds for which the stored list of an exchange's symbols is taken for the exchange's own word."""


# What is whose


class Own(NamedTuple):
    """A symbol that a user holds or added. ``quantity`` and ``value`` (dollars) of what is held, None where nothing is."""

    row: Symbol
    added: bool
    quantity: float | None
    value: float | None


def counting(user_id: int) -> QuerySet[Position]:
    """The positions of a user that are watched: not dust, and not dollars."""
    minimum = Preferences.objects.filter(user_id=user_id).values("minimum_position_value")
    least = Coalesce(Subquery(minimum), MINIMUM_POSITION_VALUE)
    worth = Q(by_hand=True) | Q(value=None) | Q(value__gte=least)
    return Position.objects.filter(worth, user_id=user_id, symbol__isnull=False)


def own_symbols(*, user_id: int) -> list[Own]:
    """What a user holds or added, on every exchange the user watches."""
    away = UserExchange.objects.filter(user_id=user_id, watch=False).values("exchange_id")
    added = {row.symbol_id for row in UserSymbol.objects.filter(user_id=user_id)}
    held: dict[int | None, list[Position]] = defaultdict(list)
    for position in counting(user_id):
        held[position.symbol_id].append(position)
    rows = Symbol.objects.filter(pk__in=added | {pk for pk in held if pk}).exclude(exchange_id__in=away).order_by("exchange_id", "symbol")
    return [
        Own(
            row,
            row.pk in added,
            sum(position.quantity for position in held[row.pk]) if row.pk in held else None,
            sum(position.value or 0.0 for position in held[row.pk]) if row.pk in held else None,
        )
        for row in rows
    ]


def keeper_for(*, user_id: int, row: Symbol) -> int | None:
    """Under whose overflow keys this user reads the symbol (DATA-04); None where only the shared keys are the user's to read."""
    if row.tier != Tier.OVERFLOW:
        return None
    wants = UserSymbol.objects.filter(user_id=user_id, symbol=row).exists() or counting(user_id).filter(symbol=row).exists()
    return row.keeper_id if wants else None


# Adding and removing


class Verdict(NamedTuple):
    """What became of one thing a user typed. ``code``: added, there, shared, unknown, halted, excluded, full or empty."""

    text: str
    code: str
    message: str
    symbol: str = ""

    @property
    def ok(self) -> bool:
        return self.code in {"added", "there", "shared"}


def symbols_add(*, user: User, exchange: Exchange, lines: Sequence[str]) -> list[Verdict]:
    """Add symbols for a user, a line each; the running connector follows at once.

    They are checked against the exchange's own list, which is asked for again where ours is old.
    """
    trouble = _refresh(exchange, by=user.get_username())
    markets, rows = listed(exchange)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # one at a time: the limit holds
        before = frozenset(UserSymbol.objects.filter(user=user, symbol__exchange=exchange).values_list("symbol_id", flat=True))
        have = set(before)
        verdicts = [_judge(line, markets, rows, have, trouble) for line in lines]
        new = have - before
        UserSymbol.objects.bulk_create([UserSymbol(user=user, symbol_id=pk) for pk in sorted(new)], ignore_conflicts=True)
    if new:
        _follow(user, [exchange.pk])
    if UserExchange.objects.filter(user=user, exchange=exchange, watch=False).exists():
        unseen = f" You do not watch {exchange.name}: it shows once you do, in the settings."
        verdicts = [verdict._replace(message=verdict.message + unseen) if verdict.ok else verdict for verdict in verdicts]
    return verdicts


def _judge(line: str, markets: Sequence[Ranked], rows: dict[str, Symbol], have: set[int], trouble: str) -> Verdict:
    """What becomes of a line. ``have``: what is on the list; what the line adds is put there."""
    text = line.strip()[: LONGEST_SPELLING + 1]
    if not text or len(text) > LONGEST_SPELLING:
        return Verdict(line[:LONGEST_SPELLING], "empty", "Write a symbol, e.g. DOGE or DOGE-USD.")
    info = tiers.find(text, markets)
    if info is None:
        return Verdict(text, "unknown", _unknown(text, markets, trouble))
    shows = info.alias_of if info.alias_of in rows else info.symbol
    row = rows[shows]
    named = (
        shows if shows == text else f"{text} is listed as {shows}" if shows == info.symbol else f"{info.symbol} shows the book of {shows}"
    )
    if not row.tradable:
        return Verdict(text, "halted", f"{named}; the exchange does not trade it now ({row.status or 'halted'}).", shows)
    if row.policy == Policy.EXCLUDED:
        return Verdict(text, "excluded", f"{named}; an operator has excluded it here.", shows)
    if row.pk in have:
        return Verdict(text, "there", f"{named}: in your list already.", shows)
    if len(have) >= MOST_ADDED:
        return Verdict(text, "full", f"{named}; your list is full with {MOST_ADDED}: remove some first.", shows)
    have.add(row.pk)
    if row.tier == Tier.SHARED:
        return Verdict(text, "shared", f"{named}: in Tier 1 already, so it is watched for everybody; it stays yours if it leaves.", shows)
    return Verdict(text, "added", f"{named}: added.", shows)


def _unknown(text: str, markets: Sequence[Ranked], trouble: str) -> str:
    if not markets:
        return f"The symbols of this exchange are not known yet: {trouble or 'it has not been asked'}."
    near = tiers.nearest(text, markets)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return f"Not listed here.{hint}{f' (Its list could not be asked for again: {trouble}.)' if trouble else ''}"


def _refresh(exchange: Exchange, *, by: str) -> str:
    """Have the exchange's list asked for again if ours is old. Returns why that was not possible, or ""."""
    newest = Symbol.objects.filter(exchange=exchange).aggregate(at=Max("updated_at"))["at"]
    if newest is not None and (timezone.now() - newest).total_seconds() < LISTING_AGE:
        return ""
    answer = control.request_sync(exchange.pk, "resync", by=by)
    return "" if answer.ok else answer.message


def symbols_remove(*, user: User, ids: Iterable[int]) -> list[str]:
    """Take symbols (by pk) off a user's list; what the user holds of them stays watched. Returns which were there."""
    rows = UserSymbol.objects.filter(user=user, symbol_id__in=list(ids)).select_related("symbol")
    gone = [(row.symbol.symbol, row.symbol.exchange_id) for row in rows]
    rows.delete()
    if gone:
        _follow(user, sorted({exchange_id for _, exchange_id in gone}))
    return [symbol for symbol, _ in gone]


def _follow(user: User, exchange_ids: Iterable[str]) -> None:
    pool_changed(exchange_ids=exchange_ids, by=user.get_username())
    account_changed(user.pk)


# Positions


class UnknownAsset(ValueError):
    """The exchange lists no market of it; the message names the nearest."""


def position_enter(*, user: User, exchange: Exchange, asset: str, quantity: float) -> Position:
    """Note by hand what a user holds; an asset that is noted already gets the new quantity. Raises UnknownAsset."""
    trouble = _refresh(exchange, by=user.get_username())
    markets, _ = listed(exchange)
    code = tiers.plain(asset)
    best = {tiers.plain(base): info for base, info in tiers.best_markets(markets).items()}
    if code not in best:
        raise UnknownAsset(_unknown(asset.strip()[:LONGEST_SPELLING], markets, trouble))
    row, _ = Position.objects.update_or_create(
        user=user, exchange=exchange, asset=best[code].base, by_hand=True, defaults={"quantity": quantity}
    )
    _follow(user, [exchange.pk])
    row.refresh_from_db()
    return row


def position_remove(*, user: User, pk: int) -> bool:
    """Forget a position entered by hand. Whether it was there; what was read with a key goes when it is no longer held."""
    row = Position.objects.filter(user=user, pk=pk, by_hand=True).first()
    if row is None:
        return False
    row.delete()
    _follow(user, [row.exchange_id])
    return True


def positions_store(*, user_id: int, exchange: Exchange, balances: Sequence[Balance]) -> None:
    """Replace what was read before with what a user's key shows now. Dollars stay out: they have no market to watch."""
    held = {balance.asset: balance.quantity for balance in balances if balance.asset not in USD_GROUP and balance.quantity > 0}
    with transaction.atomic():
        read = Position.objects.filter(user_id=user_id, exchange=exchange, by_hand=False)
        read.exclude(asset__in=list(held)).delete()
        Position.objects.bulk_create(
            [Position(user_id=user_id, exchange=exchange, asset=asset[:40], quantity=quantity) for asset, quantity in held.items()],
            update_conflicts=True,
            unique_fields=["user", "exchange", "asset", "by_hand"],
            update_fields=["quantity", "updated_at"],
            batch_size=500,
        )
        key_checked(user_id=user_id, exchange=exchange, error="")


def key_checked(*, user_id: int, exchange: Exchange, error: str) -> None:
    """Note whether a user's key works; ``error`` says why not, and the fix."""
    state = KeyState.FAILED if error else KeyState.WORKS
    UserExchange.objects.filter(user_id=user_id, exchange=exchange).update(key_state=state, key_error=error[:300], key_checked_at=now_ms())


def positions_sync(*, user: User, exchange: Exchange) -> control.Answer:
    """Have a user's positions read now, by the process that hosts the exchange."""
    answer = control.request_sync(exchange.pk, "positions", by=user.get_username(), user_id=user.pk)
    account_changed(user.pk)
    return answer
