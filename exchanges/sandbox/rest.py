"""The HTTP side of the sandbox: every venue's REST below its name, and ``/control`` for tests and people. A small ASGI application.

``/control/faults``: GET lists them, POST or PUT a JSON object (``name`` and its settings) sets one, DELETE clears all, DELETE with
``?name=`` or ``?id=`` some. ``/control/clock``: GET tells the time, POST ``{"advance": ms}`` moves a clock that stands still.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from exchanges.sandbox import coingecko
from exchanges.sandbox.clock import Clock, ManualClock
from exchanges.sandbox.connection import passable
from exchanges.sandbox.faults import KINDS, Faults
from exchanges.sandbox.mangling import swapped
from exchanges.sandbox.market import Market
from exchanges.sandbox.protocol import Answer, Desk, Sent, encode
from livermore.configuration import is_loopback

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
LARGEST_BODY = 65_536


class Application:
    """ASGI. ``counters`` are the venues' own; requests and refusals are counted there."""

    def __init__(
        self, desks: Mapping[str, Desk], market: Market, clock: Clock, faults: Faults, counters: Mapping[str, Counter[str]]
    ) -> None:
        self._desks, self._market, self._clock, self._faults, self._counters = desks, market, clock, faults, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        head, _, rest = scope["path"].lstrip("/").partition("/")
        if head == "control":
            answer = self._control(rest, scope, await _body(receive))
        elif head == "coingecko":
            query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            answer = coingecko.answer(rest, query, self._market, self._clock.now())
        elif head in self._desks:
            answer = await self._exchange(head, f"/{rest}", scope, await _body(receive))
        else:
            answer = _told(404, f"unknown path; served here: /control, /coingecko, {', '.join('/' + name for name in self._desks)}")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer.body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _exchange(self, venue: str, path: str, scope: Scope, body: bytes) -> Answer:
        desk, counters = self._desks[venue], self._counters[venue]
        counters["rest_requests"] += 1
        if scope["method"] != "GET" and not (scope["method"] == "POST" and path.startswith("/0/private/")):  # Kraken's way to ask
            return _told(405, "only GET is served here: the sandbox tells prices and balances, and takes no orders")
        await passable(self._faults, venue)
        if slow := self._faults.hit("rest-slow", venue):
            await asyncio.sleep(slow.number("seconds"))
        if fault := self._faults.hit("rest-status", venue):
            answer = desk.failure(int(fault.number("status")), int(fault.number("retry_after")), self._clock.now())
        else:
            client = scope["client"][0] if scope.get("client") else ""
            names = self._names(venue)
            sent = Sent(_headers(scope), scope["query_string"].decode("latin-1"), scope["method"], body)
            query = {
                name: [swapped(value, names) for value in values] for name, values in parse_qs(sent.query, keep_blank_values=True).items()
            }
            answer = desk.answer(swapped(path, names), query, self._clock.now(), time.monotonic(), client, sent)
            if names:
                answer = answer._replace(body=swapped(answer.body.decode(), names).encode())
        if answer.status >= 400:
            counters[f"rest_{answer.status}"] += 1
        if self._faults.hit("rest-corrupt", venue):
            return answer._replace(body=answer.body[: len(answer.body) // 2])
        return answer

    def _names(self, venue: str) -> list[tuple[str, str]]:
        return [(fault.text("symbol"), fault.text("to")) for fault in self._faults.lasting("rename", venue)]

    def _control(self, path: str, scope: Scope, body: bytes) -> Answer:
        headers = _headers(scope)
        # A page in a browser must not reach this: neither by a foreign host name that points here, nor by a form.
        if not is_loopback(urlsplit(f"//{headers.get('host', '')}").hostname or "") or "origin" in headers:
            return _told(403, "control is for programs on this machine")
        try:
            return self._controlled(scope["method"], path, scope["query_string"].decode("latin-1"), body)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            return _told(400, str(error))

    def _controlled(self, method: str, path: str, query: str, body: bytes) -> Answer:
        match method, path.strip("/"):
            case "GET", "":
                return Answer(200, encode({"venues": list(self._desks), "counters": self._counters, **self._time()}))
            case "GET", "faults":
                known = {name: {"does": kind.does, "arguments": kind.arguments} for name, kind in KINDS.items()}
                return Answer(200, encode({"faults": [fault.described() for fault in self._faults.active()], "known": known}))
            case "POST" | "PUT", "faults":
                settings = _object(body)
                return Answer(200, encode(self._faults.set(str(settings.pop("name", "")), **settings).described()))
            case "DELETE", "faults":
                chosen = parse_qs(query)
                number = int(chosen["id"][0]) if "id" in chosen else None
                return Answer(200, encode({"cleared": self._faults.clear(chosen.get("name", [None])[0], id=number)}))
            case "GET", "clock":
                return Answer(200, encode(self._time()))
            case "POST" | "PUT", "clock":
                return self._advance(_object(body))
        return _told(404, "unknown path; known: /control, /control/faults, /control/clock")

    def _advance(self, settings: dict[str, Any]) -> Answer:
        if not isinstance(self._clock, ManualClock):
            return _told(409, "this clock runs by itself")
        step = settings.get("advance")
        if not isinstance(step, int) or isinstance(step, bool):
            raise ValueError('write {"advance": milliseconds}')
        self._clock.advance(step)
        return Answer(200, encode(self._time()))

    def _time(self) -> dict[str, Any]:
        return {"now": self._clock.now(), "speed": self._clock.speed}


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _told(status: int, message: str) -> Answer:
    return Answer(status, encode({"error": message}))


def _object(body: bytes) -> dict[str, Any]:
    settings = msgspec.json.decode(body)
    if not isinstance(settings, dict):
        raise ValueError("send a JSON object")
    return settings


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > LARGEST_BODY:
            return body[: LARGEST_BODY + 1]
