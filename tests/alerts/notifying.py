"""Users who want to be told of alerts, for tests of who is told and what is sent."""

from typing import Any

from django.contrib.auth.models import User

from alerts.channels import digest_of
from alerts.models import Delivery, Kind, NotificationChannel
from tests.people import person

ALL = ["5m", "15m", "1h", "4h", "1d"]


def channel(user: User, url: str = "json://127.0.0.1:1/", kind: str = Kind.WEBHOOK, **changes: Any) -> NotificationChannel:
    values = {"name": "mine", "service": "JSON at 127.0.0.1", "timeframes": ALL, "created_at": 0, "digest": digest_of(url), **changes}
    return NotificationChannel.objects.create(user=user, kind=kind, url=url, **values)


def reader(name: str = "kaia", **changes: Any) -> NotificationChannel:
    """The channel of a new user who may see alerts."""
    return channel(person(name, group="viewer"), **changes)


def delivery(to: NotificationChannel, key: str = "k", **changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "about": "alert",
        "title": "a title",
        "body": "a body",
        "path": "/alerts/1/",
        "closed_at": 1_000,
        "created_at": 1_000,
        "due_at": 1_000,
        "expires_at": 10_000_000,
        **changes,
    }
    return Delivery.objects.create(channel=to, key=key, **values)
