"""What users set: how they are shown things, which exchanges they watch, where they buy, and their read-only keys (AUTH-03).

Every write reaches the running connectors and the user's open pages at once.
"""

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from exchanges import control
from exchanges.models import Exchange, Preferences, UserExchange
from exchanges.services import account_changed
from symbols.models import Position, UserSymbol
from symbols.services import pool_changed
from symbols.wants import positions_sync


def preferences_of(user: User) -> Preferences:
    """What the user set, or what stands for a user who set nothing (not saved)."""
    return Preferences.objects.filter(user=user).first() or Preferences(user=user)


def preferences_set(*, user: User, **changes: Any) -> Preferences:
    """Set some of the fields of ``Preferences``. Raises ValidationError by field, and then changes nothing."""
    with transaction.atomic():
        row = Preferences.objects.select_for_update().filter(user=user).first() or Preferences(user=user)
        minimum = row.minimum_position_value
        for name, value in changes.items():
            setattr(row, name, value)
        row.full_clean(exclude=["user"])
        row.save()
    if row.minimum_position_value != minimum:
        held_at = Position.objects.filter(user=user).values_list("exchange_id", flat=True).distinct()
        pool_changed(exchange_ids=sorted(held_at), by=user.get_username())
    account_changed(user.pk)
    return row


def exchanges_of(user: User) -> QuerySet[UserExchange]:
    """The user's rows; an exchange without one is watched, and has no key."""
    return UserExchange.objects.filter(user=user, exchange__active=True).defer("api_key", "api_secret", "api_passphrase")


PUBLISHED = Decimal(-1)
"""In place of a fee of one's own: the exchange's published one."""


def exchange_set(
    *,
    user: User,
    exchange: Exchange,
    watch: bool | None = None,
    own: bool | None = None,
    share: bool | None = None,
    taker_fee: Decimal | None = None,
) -> None:
    """Set whether a user watches an exchange, buys there and at what fee, and shares signals of it; None leaves a value as it is."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if own:
            UserExchange.objects.filter(user=user, is_default=True).exclude(exchange=exchange).update(is_default=False)
        changes = {"watch": watch, "is_default": own, "share_overflow": share}
        given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        if taker_fee is not None:
            given["taker_fee"] = None if taker_fee == PUBLISHED else taker_fee
        UserExchange.objects.update_or_create(user=user, exchange=exchange, defaults=given)
    wanted = (
        UserSymbol.objects.filter(user=user, symbol__exchange=exchange).exists()
        or Position.objects.filter(user=user, exchange=exchange).exists()
    )
    if wanted and (watch is not None or share is not None):
        pool_changed(exchange_ids=[exchange.pk], by=user.get_username())
    account_changed(user.pk)


def key_store(*, user: User, exchange: Exchange, key: str, secret: str, passphrase: str = "") -> control.Answer:
    """Store a read-only key, encrypted, and try it at once. Says what the exchange made of it, or why it has to wait."""
    row, _ = UserExchange.objects.get_or_create(user=user, exchange=exchange)
    row.api_key, row.api_secret, row.api_passphrase = key.strip(), secret.strip(), passphrase.strip()
    row.key_stored(there=True)
    row.save(update_fields=["api_key", "api_secret", "api_passphrase", "key_state", "key_error", "key_checked_at"])
    answer = positions_sync(user=user, exchange=exchange)
    failed = exchanges_of(user).filter(exchange=exchange).exclude(key_error="").first()
    return control.Answer(False, failed.key_error) if failed is not None else answer


def key_clear(*, user: User, exchange: Exchange) -> bool:
    """Forget a key, and what was read with it. Whether there was one."""
    row = UserExchange.objects.filter(user=user, exchange=exchange).exclude(api_key="").first()
    if row is None:
        return False
    with transaction.atomic():
        row.api_key = row.api_secret = row.api_passphrase = ""  # nosec B105  # no password
        row.key_stored(there=False)
        row.save(update_fields=["api_key", "api_secret", "api_passphrase", "key_state", "key_error", "key_checked_at"])
        Position.objects.filter(user=user, exchange=exchange, by_hand=False).delete()
    pool_changed(exchange_ids=[exchange.pk], by=user.get_username())
    account_changed(user.pk)
    return True
