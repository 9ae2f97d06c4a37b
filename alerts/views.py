"""The pages a person opens."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@permission_required("alerts.view_alert", raise_exception=True)
def dashboard(request: HttpRequest) -> HttpResponse:
    """The frame of the live page; everything in it arrives over /ws/feed/ (alerts/payloads.py)."""
    return render(request, "alerts/dashboard.html")


@permission_required("symbols.view_symbol", raise_exception=True)
def prices(request: HttpRequest) -> HttpResponse:
    """The frame of the price board: one row a coin, one column an exchange; what moves arrives over /ws/feed/."""
    return render(request, "alerts/prices.html")
