"""Content-Security-Policy: strict on our own pages, wider only where a library writes the page."""

from collections.abc import Mapping

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

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
