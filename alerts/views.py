"""The pages a person opens."""

import json

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from alerts.models import Alert
from alerts.snapshot import decimals
from exchanges.models import Exchange
from symbols.models import Symbol


@permission_required("alerts.view_alert", raise_exception=True)
def dashboard(request: HttpRequest) -> HttpResponse:
    """The frame of the live page; everything in it arrives over /ws/feed/ (alerts/payloads.py)."""
    return render(request, "alerts/dashboard.html")


@permission_required("symbols.view_symbol", raise_exception=True)
def prices(request: HttpRequest) -> HttpResponse:
    """The frame of the price board: one row a coin, one column an exchange; what moves arrives over /ws/feed/."""
    return render(request, "alerts/prices.html")


@permission_required("alerts.view_alert", raise_exception=True)
def alert_page(request: HttpRequest, uid: str) -> HttpResponse:
    """The frame of one alert with its receipt, both out of the API. 404 for one that this user may not see."""
    alert = Alert.objects.visible_to(request.user.pk).select_related("exchange").by_uid(uid)
    if alert is None:
        raise Http404("There is no such alert.")
    listed = Symbol.objects.filter(exchange=alert.exchange_id, symbol=alert.symbol).first()
    context = {
        "alert": alert,
        "exchange": alert.exchange,
        "decimals": decimals(listed.price_increment, listed.price) if listed else None,
        "names": json.dumps(dict(Exchange.objects.values_list("pk", "name"))),
    }
    return render(request, "alerts/alert.html", context)
