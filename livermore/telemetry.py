"""/metrics, /healthz and /readyz of a process that serves no pages: the connector's and delivery's own, where METRICS_PORT asks for them.

Served by the loop that does the work, so that an answer says that it runs.
"""

import asyncio
import hmac
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError

from livermore import measures, readiness
from livermore.configuration import is_loopback
from livermore.db import db
from livermore.readiness import Part

if TYPE_CHECKING:
    from livermore.hosting import Host

FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via"}
NEEDS_TOKEN = "This needs METRICS_TOKEN as a bearer token: docs/operations.md."  # nosec B105  # no password
PATIENCE = 4.0
"""Seconds in which database and Redis have to answer."""
JSON = "application/json"

Text = Callable[[], bytes]
Parts = Callable[[], dict[str, Part]]


def may_read(authorization: str, address: str, *, forwarded: bool) -> bool:
    """Whether /metrics is for whoever asks: with METRICS_TOKEN from anywhere, and with METRICS_LOOPBACK for programs of this machine.

    Behind a proxy on this machine everybody comes from loopback: whatever bears the mark of one (``forwarded``) is not local.
    """
    scheme, _, token = authorization.partition(" ")
    wanted = settings.METRICS_TOKEN
    if wanted and scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), wanted.encode()):
        return True
    return bool(settings.METRICS_LOOPBACK) and not forwarded and is_loopback(address)


@asynccontextmanager
async def serving(port: int, text: Text, parts: Parts = dict) -> AsyncIterator[int]:
    """Serve on METRICS_HOST for as long as this lasts; gives the port. Nothing where ``port`` is 0. Raises CommandError if it is taken.

    ``text``: what /metrics says. ``parts``: what /readyz looks at besides database and Redis.
    """
    if not port:
        yield 0
        return
    from livermore.inloop import InLoop  # it weighs something, and is off by default

    with bound(settings.METRICS_HOST, port) as listening:
        server = InLoop(_Application(text, parts))
        task = asyncio.create_task(server.serve([listening]), name="metrics")
        try:
            await server.ready.wait()
            measures.lag.watch()
            yield listening.getsockname()[1]
        finally:
            server.end()
            await task


def leases(hosts: Collection["Host"]) -> dict[str, Part]:
    """For /readyz: whether each exchange is held by this process, or this process stands by for who holds it."""
    words = {"holds": "held by this process", "stands by": "another process holds it, and this one stands by"}
    found = {f"lease {host.id}": Part(bool(host.role), words.get(host.role, "not known yet: Redis has not said")) for host in hosts}
    return found or {"leases": Part(False, "it has not begun yet")}


def bound(host: str, port: int) -> socket.socket:
    """A listening address. Raises CommandError that says what to do."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(64)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            f"Metrics cannot be served on {host}:{port} ({reason}): give each process a port of its own with --metrics-port, "
            "or 0 for none, and correct METRICS_HOST if that is no address of this machine."
        ) from None
    listening.setblocking(False)
    return listening


class _Application:
    """ASGI, three paths."""

    def __init__(self, text: Text, parts: Parts) -> None:
        self._text, self._parts = text, parts
        self._looking = asyncio.Lock()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        status, kind, body = await self._answer(scope)
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: dict[str, Any]) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        if scope["path"] not in {"/metrics", "/healthz", "/readyz"}:
            return _json(404, {"detail": "Here are /metrics, /healthz and /readyz."})
        if scope["method"] not in {"GET", "HEAD"}:
            return _json(405, {"detail": "Only GET is answered."})
        match scope["path"]:
            case "/metrics":
                if not _lets(scope):
                    return _json(403, {"detail": NEEDS_TOKEN})
                from livermore.exposition import CONTENT_TYPE

                return 200, CONTENT_TYPE, self._text()
            case "/healthz":
                return _json(200, {"ok": True})
            case _:
                return _json(*readiness.answer({**await self._outside(), **self._parts()}))

    async def _outside(self) -> dict[str, Part]:
        """One look at a time, however many ask: what hangs is not asked a second time."""
        try:
            async with asyncio.timeout(PATIENCE), self._looking:
                return await db(readiness.parts)()
        except TimeoutError:
            return dict.fromkeys(("database", "migrations", "redis"), Part(False, f"not known: nothing answered within {PATIENCE:.0f} s"))


def _lets(scope: dict[str, Any]) -> bool:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client") or ("", 0)
    return may_read(headers.get("authorization", ""), client[0], forwarded=not FORWARDED.isdisjoint(headers))


def _json(status: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return status, JSON, json.dumps(body).encode()
