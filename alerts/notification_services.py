"""What users set about notifications: channels, when to be left alone, what they have seen. Every write; open pages follow."""

import time
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from alerts import channels
from alerts.channels import BadChannel, digest_of
from alerts.delivery_services import SUBSCRIPTION_ENDED
from alerts.models import ENDED, Alert, AlertRule, Kind, NotificationChannel, NotificationSettings, RepeatPolicy, Silence
from alerts.policy import Repeat
from alerts.webpush import Subscription
from exchanges.services import account_changed

MOST_CHANNELS = 20
"""Of one user."""
LONGEST_SNOOZE = 7 * 24 * 60
"""Minutes."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def channel_add(*, user: User, kind: str, address: str, name: str = "", **changes: Any) -> NotificationChannel:
    """Store a channel, its address encrypted. Raises BadChannel, or ValidationError by field, that say what to do."""
    url, service = channels.address_of(kind, address)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if NotificationChannel.objects.filter(user=user).count() >= MOST_CHANNELS:
            raise BadChannel(f"{MOST_CHANNELS} channels are the most: remove one first.")
        row = NotificationChannel(user=user, kind=kind, name=name.strip() or service, service=service, created_at=now_ms())
        row.url = url  # type: ignore[assignment]  # the field takes text
        return _save(row, digest_of(url), changes)


def browser_add(*, user: User, subscription: Subscription, name: str, replaces: str = "") -> NotificationChannel:
    """Store a browser's push subscription, or the one that it has in place of ``replaces``. Raises BadChannel.

    A browser has one, whoever is logged in there: it is the last one's who asked for it.
    """
    digest = digest_of(subscription.endpoint)
    browsers = NotificationChannel.objects.filter(kind=Kind.PUSH)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        browsers.filter(digest=digest).exclude(user=user).delete()
        browsers.filter(user=user, digest__startswith=ENDED, name=name).delete()
        known = [digest, digest_of(replaces)] if replaces else [digest]
        found = list(browsers.filter(user=user, digest__in=known).defer("url"))
        row = found[0] if found else NotificationChannel(user=user, kind=Kind.PUSH, name=name, created_at=now_ms())
        for other in found[1:]:
            other.delete()
        if row.pk is None and NotificationChannel.objects.filter(user=user).count() >= MOST_CHANNELS:
            raise BadChannel(f"{MOST_CHANNELS} channels are the most: remove one first.")
        row.url = subscription.text()  # type: ignore[assignment]  # the field takes text
        row.service = f"push service {subscription.host}"[:80]
        row.last_error, row.last_error_at, row.hold_until = "", None, 0
        return _save(row, digest, {"enabled": True})


def channel_change(*, channel: NotificationChannel, address: str = "", **changes: Any) -> NotificationChannel:
    """Change some fields of a channel, or where it leads. Raises as ``channel_add`` does, and then changes nothing."""
    if channel.ended and changes.get("enabled"):
        raise BadChannel(SUBSCRIPTION_ENDED)
    digest = channel.digest
    if address:
        url, channel.service = channels.address_of(channel.kind, address)
        channel.url = url  # type: ignore[assignment]  # the field takes text
        channel.last_error, channel.last_error_at, channel.hold_until = "", None, 0
        digest = digest_of(url)
    return _save(channel, digest, changes)


def _save(row: NotificationChannel, digest: str, changes: dict[str, Any]) -> NotificationChannel:
    row.digest = digest
    for name, value in changes.items():
        setattr(row, name, value)
    row.clean_fields(exclude={field.name for field in row._meta.fields} - {"kind", "name", "timeframes"})
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise BadChannel("You have that channel already: change or test that one.") from None
    return row


def settings_of(user: User) -> NotificationSettings:
    """What the user set, or what stands for a user who set nothing (not saved)."""
    return NotificationSettings.objects.filter(user=user).first() or NotificationSettings(user=user)


def settings_set(*, user: User, **changes: Any) -> NotificationSettings:
    """Set some of the fields. Raises ValidationError by field, and then changes nothing."""
    with transaction.atomic():
        row = NotificationSettings.objects.select_for_update().filter(user=user).first() or NotificationSettings(user=user)
        for name, value in changes.items():
            setattr(row, name, value)
        if (row.quiet_from is None) != (row.quiet_to is None):
            raise ValidationError({"quiet_to": "Quiet hours need a beginning and an end, or neither."})
        row.full_clean(exclude=["user"])
        row.save()
    account_changed(user.pk)
    return row


def repeats_of(user: User) -> list[tuple[AlertRule, Repeat]]:
    """Each enabled rule, and how often its alerts are told to the user."""
    chosen = dict(RepeatPolicy.objects.filter(user=user).values_list("rule_id", "repeat"))
    return [(rule, Repeat(chosen.get(rule.pk, Repeat.STAGE))) for rule in AlertRule.objects.filter(enabled=True)]


def repeat_set(*, user: User, rule: AlertRule, repeat: Repeat) -> None:
    RepeatPolicy.objects.update_or_create(user=user, rule=rule, defaults={"repeat": repeat.value})


def acknowledge(*, user: User, alert: Alert) -> Silence:
    """The user has seen this: the series stays quiet until its stage changes."""
    return _silence(user, alert, "ack", alert.timeframe, {"stage": alert.stage, "candle_time": alert.candle_time, "until": None})


def snooze(*, user: User, alert: Alert, minutes: int, whole_symbol: bool = True) -> Silence:
    """Tell nothing of the symbol of an alert, or of its series alone, for a while."""
    until = now_ms() + minutes * 60_000
    return _silence(user, alert, "snooze", "" if whole_symbol else alert.timeframe, {"until": until})


def _silence(user: User, alert: Alert, kind: str, timeframe: str, values: dict[str, Any]) -> Silence:
    series = {"exchange_id": alert.exchange_id, "symbol": alert.symbol, "timeframe": timeframe}
    row, _ = Silence.objects.update_or_create(user=user, kind=kind, **series, defaults={**values, "created_at": now_ms()})
    account_changed(user.pk)
    return row


def silence_end(*, silence: Silence) -> None:
    silence.delete()
    account_changed(silence.user_id)


def channels_of(user: User) -> Any:
    """Without their addresses."""
    return NotificationChannel.objects.filter(user=user).defer("url")


KINDS = [choice for choice in Kind.choices if choice[0] != Kind.PUSH]
"""Those whose address a person types."""
