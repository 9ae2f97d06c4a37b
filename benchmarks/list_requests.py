"""What is asked of a database that has grown: every list of the pages, the admin and the API, with the filters that a list offers."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from django.contrib import admin
from django.urls import reverse

from alerts.models import Alert
from benchmarks.year import DAY


class Asked(NamedTuple):
    """A request, and whose: a viewer's, or a superuser's. ``deep``: a page that only a grown database has. ``name``: the path, unfilled."""

    name: str
    path: str
    superuser: bool
    deep: bool


_PAGES = (
    "",
    "symbols/",
    "prices/",
    "exchanges/",
    "settings/",
    "password/",
    "symbols/{exchange}/{symbol}/",
    "alerts/{uid}/",
)
_ENDPOINTS = (
    "",
    "exchanges/",
    "exchanges/{exchange}/",
    "exchanges/health/",
    "exchanges/{exchange}/health/",
    "exchanges/{exchange}/events/",
    "exchanges/{exchange}/events/?page=50",
    "symbols/",
    "symbols/?page_size=500&ordering=-market_cap",
    "symbols/?search=c1",
    "symbols/?exchange={exchange}&tier=1",
    "symbols/?mine=true",
    "symbols/?mine=false&page=5",
    "symbols/?min_volume=1000000&ordering=-change_24h",
    "symbols/listings/",
    "across/",
    "coins/C1/venues/",
    "exchanges/{exchange}/symbols/{symbol}/candles/",
    "exchanges/{exchange}/symbols/{symbol}/why/",
    "alerts/{uid}/",
    "alerts/{uid}/receipt/",
    "my/symbols/",
    "my/positions/",
    "my/exchanges/",
    "my/settings/",
    "my/channels/",
    "my/browsers/",
    "my/browsers/key/",
    "my/deliveries/",
    "my/deliveries/?page=15",
    "my/silences/",
    "my/notifications/",
)
ALERTS = (
    "",
    "?page=100",
    "?page_size=500",
    "?ordering=triggered_at",
    "?ordering=candle_time",
    "?ordering=-candle_time",
    "?ordering=number",
    "?exchange={exchange}",
    "?exchange={exchange}&ordering=candle_time",
    "?exchange={exchange}&ordering=number&since=1",
    "?symbol={symbol}",
    "?symbol=NOTHING-USD",
    "?exchange={exchange}&symbol={symbol}&timeframe=5m",
    "?timeframe=5m",
    "?timeframe=1d",
    "?trigger_label=level_150",
    "?trigger_label=level_-400",
    "?exchange={exchange}&timeframe=4h&trigger_label=level_-300",
    "?exchange={exchange}&timeframe=1h&direction=up",
    "?direction=down",
    "?delayed=true",
    "?revised=true",
    "?revised=true&timeframe=1d",
    "?candle_from={week_ago}&candle_to={last}",
    "?candle_to={early}",
    "?candle_from={early}&candle_to={later}&direction=up",
)
ADMIN_ALERTS = (
    "?p=99",
    "?q=c1",
    "?q=c17-usd",
    "?q=usd",
    "?q=nothing",
    "?q={uid}",
    "?o=-0",
    "?exchange__id__exact={exchange}",
    "?timeframe=1d",
    "?trigger_label=level_-400",
    "?delayed__exact=1",
    "?revised__exact=1",
    "?exchange__id__exact={exchange}&timeframe=1h&trigger_label=level_200",
)
_ADMIN = (
    "exchanges/exchangeevent/?q=growth+3",
    "exchanges/exchangeevent/?event__exact=gap",
    "exchanges/exchangeevent/?exchange__id__exact={exchange}",
    "exchanges/exchangeevent/?p=99",
    "alerts/delivery/?state=failed",
    "alerts/delivery/?about=alert",
    "alerts/delivery/?channel__kind=webhook",
    "alerts/delivery/?p=99",
    "alerts/alert/{pk}/change/",
)


def requests() -> list[Asked]:
    """All of them, of the database as it is."""
    alert = Alert.objects.filter(shared=True).latest("triggered_at")
    last = alert.candle_time
    words = {
        "exchange": alert.exchange_id,
        "symbol": quote(alert.symbol),
        "uid": quote(alert.uid),
        "pk": alert.pk,
        "last": last,
        "week_ago": last - 7 * DAY,
        "early": last - 300 * DAY,
        "later": last - 299 * DAY,
    }
    return [
        Asked(name, name.format_map(words).rstrip("#"), name.startswith("/admin/") and not name.endswith("#"), _is_deep(name))
        for name in _names()
    ]


def _is_deep(name: str) -> bool:
    return "?page=" in name or "&page=" in name or "?p=" in name


def _names() -> Iterator[str]:
    yield from (f"/{name}" for name in _PAGES)
    yield from (f"/api/{name}" for name in _ENDPOINTS)
    yield from (f"/api/alerts/{name}" for name in ALERTS)
    yield reverse("admin:index")
    for model in sorted(admin.site._registry, key=lambda model: model._meta.label):
        yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    yield from (f"/admin/alerts/alert/{name}" for name in ADMIN_ALERTS)
    yield from (f"/admin/{name}" for name in _ADMIN)
    yield "/admin/alerts/alert/#"  # as a viewer sees it: what is not shared is left out
