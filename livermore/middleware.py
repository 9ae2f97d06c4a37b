"""Content-Security-Policy: strict on our own pages, wider only where a library writes the page. And how long each view takes."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from livermore import measures

HEADER = "Content-Security-Policy"

_OWN: Mapping[str, str] = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "object-src": "'none'",
}


def _policy(**changes: str) -> str:
    directives = {**_OWN, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return "; ".join(f"{name} {value}" for name, value in directives.items())


OWN_PAGES = _policy()
# Lightweight Charts brings one style element, for the logo of its makers, which its licence asks to keep: that text and no other.
CHARTS = _policy(style_src="'self' 'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='")
# Unfold's pages carry inline scripts and styles, and its Alpine evaluates attributes.
ADMIN = _policy(script_src="'self' 'unsafe-inline' 'unsafe-eval'", style_src="'self' 'unsafe-inline'")
# Swagger UI writes style attributes; its start script is served on its own.
API_DOCS = _policy(style_src="'self' 'unsafe-inline'")


def policy_for(path: str) -> str:
    """The policy of a page, by its path."""
    if path.startswith("/admin/"):
        return ADMIN
    if path.startswith("/api/docs/"):
        return API_DOCS
    if path.startswith("/symbols/"):
        return CHARTS
    return OWN_PAGES


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Adds the header to every answer that does not bring its own."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault(HEADER, policy_for(request.path_info))
        return response


METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@sync_and_async_middleware
def timed(get_response: Any) -> Callable[[HttpRequest], Any]:
    """Counts each request by the name of its view: outermost, so that what the others need is in it."""
    if iscoroutinefunction(get_response):

        async def in_the_loop(request: HttpRequest) -> HttpResponseBase:
            began = time.perf_counter()
            answer: Awaitable[HttpResponseBase] = get_response(request)
            response = await answer
            _count(request, response, time.perf_counter() - began)
            return response

        return in_the_loop

    def in_a_thread(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response: HttpResponseBase = get_response(request)
        _count(request, response, time.perf_counter() - began)
        return response

    return in_a_thread


def _count(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """No label holds anything that a client makes up: a view is one of the URLconf, or "(none)" for static files and what is not there."""
    found = request.resolver_match
    view = (found.view_name if found is not None else "") or "(none)"
    method = request.method if request.method in METHODS else "(other)"
    name = (view, str(method), f"{response.status_code // 100}xx")
    timings = measures.requests.get(name)
    if timings is None:
        timings = measures.requests.setdefault(name, measures.SharedTimings(measures.SLOW))
    timings.add(seconds)
