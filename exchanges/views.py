"""The page that shows how every exchange does."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@permission_required("exchanges.view_exchange", raise_exception=True)
def exchanges(request: HttpRequest) -> HttpResponse:
    """The frame of the page; what is in it comes from /api/exchanges/health/."""
    return render(request, "exchanges/exchanges.html")
