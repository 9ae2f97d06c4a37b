"""The pages a person opens."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def dashboard(request: HttpRequest) -> HttpResponse:
    """The frame of the live page; everything in it arrives over /ws/feed/ (alerts/payloads.py)."""
    return render(request, "alerts/dashboard.html")
