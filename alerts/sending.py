"""The one way out: a message to one channel, through Apprise or Web Push, and what really became of it.

``send`` blocks, so it belongs into a thread. Apprise answers with a boolean alone; what the other end said is observed on its way in: the
status, a ``Retry-After``, and the sentence of an error. Nothing secret is in an ``Outcome``.
"""

import json
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import apprise
import requests
from apprise.common import OverflowMode
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from alerts import channels, webpush
from alerts.delivery_services import Outcome, Push
from alerts.guard import Guard, guarded
from alerts.messages import Message, push_payload
from alerts.models import Kind
from livermore.outbound import Forbidden, Reach

LARGEST_ANSWER = 65_536
LONGEST_WAIT = 3_600.0
"""Seconds of a Retry-After that are believed."""
SECONDS = 45.0
"""For one message, with everything. A claim lasts for longer."""


class _Answer(NamedTuple):
    host: str
    status: int
    retry_after: float | None
    said: str


class _Observed:
    """What was heard from the other end while one message was sent."""

    def __init__(self, tls: bool) -> None:
        self.tls = tls
        self.answers: list[_Answer] = []
        self.failure: Exception | None = None
        self.lines: list[str] = []


_observed: ContextVar[_Observed | None] = ContextVar("observed", default=None)


def send(kind: str, url: str, message: Message, *, site: str, reach: Reach, push: Push | None = None) -> Outcome:
    """Send a message now. ``site``: where our pages are, for the link. Never raises."""
    channels.load()
    _listen()
    seen = _Observed(reach.tls)
    guard = Guard(reach, seconds=SECONDS)
    token = _observed.set(seen)
    ok, failure = False, None
    try:
        with guarded(guard):
            ok = _push(url, message, push) if kind == Kind.PUSH else _notify(url, message, site)
    except Exception as error:  # a plugin may raise anything at all
        failure = error
    finally:
        _observed.reset(token)
    if ok and guard.refused is None:
        return Outcome(True)
    outcome = _why(guard, seen, failure)
    return outcome._replace(error=scrubbed(outcome.error, _address(kind, url))[:300])


def _address(kind: str, url: str) -> str:
    """What a channel's URL leads to: of a browser it is the whole subscription."""
    try:
        return str(json.loads(url)["endpoint"]) if kind == Kind.PUSH else url
    except (ValueError, TypeError, KeyError):
        return url


def _notify(url: str, message: Message, site: str) -> bool:
    plugin = channels.plugin(url)
    plugin.overflow_mode = OverflowMode.TRUNCATE  # one message is one message
    body = f"{message.body}\n{site}{message.path}" if site else message.body
    return bool(plugin.notify(body=body, title=message.title, body_format=apprise.NotifyFormat.TEXT))


def _push(url: str, message: Message, push: Push | None) -> bool:
    if push is None:
        raise channels.BadChannel("This channel is a browser's: nothing else is sent there.")
    to = webpush.Subscription(**json.loads(url))
    payload = push_payload(message, tag=push.tag, silent=push.silent, at=push.at)
    headers, body = webpush.request(to, payload, private=push.private, subject=push.subject, ttl=push.ttl)
    answer = requests.post(to.endpoint, data=body, headers=headers, timeout=(10, 15), allow_redirects=False)
    return answer.status_code in {200, 201, 202, 204}


# What became of it


def _why(guard: Guard, seen: _Observed, failure: Exception | None) -> Outcome:
    if guard.refused is not None:
        return Outcome(False, str(guard.refused))
    if seen.answers and seen.answers[-1].status >= 300:
        return _of_answer(seen.answers[-1])
    failed = seen.failure or failure
    if failed is not None:
        return _of_exception(failed)
    if seen.answers and not seen.lines:
        return Outcome(False, f"{seen.answers[-1].host} took it, but answered something unexpected")
    return _of_lines(seen.lines)


def _of_answer(answer: _Answer) -> Outcome:
    said = f": {answer.said}" if answer.said else ""
    again = answer.status in {408, 425, 429} or answer.status >= 500
    words = "too many messages" if answer.status == 429 else f"answered {answer.status}"
    return Outcome(False, f"{answer.host} {words}{said}", again, answer.retry_after if again else None, answer.status in {404, 410})


def _of_exception(error: Exception) -> Outcome:
    if isinstance(error, channels.BadChannel):
        return Outcome(False, str(error))
    if isinstance(error, Forbidden):
        return Outcome(False, str(error))
    text = str(error)
    named = re.search(r"host='([^']+)'", text)
    host = named[1] if named else "the other end"
    for sign, words in _FAILURES:
        if sign in text:
            return Outcome(False, f"{host} {words}", True)
    if isinstance(error, TimeoutError | requests.Timeout):
        return Outcome(False, f"{host} did not answer in time", True)
    if isinstance(error, OSError | HTTPError):
        return Outcome(False, f"{host} could not be reached", True)
    return Outcome(False, f"it could not be sent ({type(error).__name__})")


_FAILURES = (
    ("NameResolution", "is not a name that can be found"),
    ("getaddrinfo", "is not a name that can be found"),
    ("refused", "refused the connection"),
    ("CERTIFICATE_VERIFY_FAILED", "has no certificate that can be trusted"),
    ("timed out", "did not answer in time"),
    ("SSL", "does not speak TLS there"),
)


def _of_lines(lines: list[str]) -> Outcome:
    """Of what a plugin logged: for mail, which has no HTTP answer. A code of the 500s is the server's last word (RFC 5321)."""
    for text in reversed(lines):
        if found := re.search(r"\b([45]\d\d)\b[,: ]+(?:b?['\"])?([^'\"]{0,160})", text):
            return Outcome(False, f"the mail server answered {found[1]}: {_plain(found[2])}", found[1].startswith("4"))
        for sign, words in _FAILURES:
            if sign in text:
                return Outcome(False, f"the mail server {words}", True)
    return Outcome(False, _plain(lines[0]) if lines else "it was not taken, and no reason was given", True)


def scrubbed(text: str, url: str) -> str:
    """``text`` without anything of ``url`` but its host."""
    host = _host(url)
    words = {part for part in re.split(r"[/:@?&=#+,;\"{}\s]+", f"{url} {unquote(url)}") if len(part) >= 5 and part.lower() != host}
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "…")
    return text


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _plain(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


# Observing


class _Listener(logging.Handler):
    """Takes what plugins log while something is sent, and nothing else. It goes nowhere else: URLs are in it."""

    def emit(self, record: logging.LogRecord) -> None:
        seen = _observed.get()
        if seen is not None and len(seen.lines) < 50 and (record.levelno >= logging.WARNING or "xception" in str(record.msg)):
            seen.lines.append(record.getMessage())


_listener = _Listener()


def _listen() -> None:
    """Before each message: whoever configures logging anew takes handlers away."""
    log = logging.getLogger("apprise")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_listener)


_unobserved = HTTPAdapter.send


def _observing(self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
    """``HTTPAdapter.send``, through which every plugin's request goes: notes the answer, and reads no more of it than is wanted."""
    seen = _observed.get()
    if seen is None:
        return _unobserved(self, request, *args, **kwargs)
    try:
        if seen.tls and not str(request.url).startswith("https:"):
            raise Forbidden("the address is not encrypted: use https")
        response = _unobserved(self, request, *args, **{**kwargs, "stream": True})
    except Exception as error:
        seen.failure = error
        raise
    try:
        response._content = response.raw.read(LARGEST_ANSWER, decode_content=True) or b""
    except (HTTPError, OSError):
        response._content = b""  # its status has come: that is the answer
    response._content_consumed = True  # type: ignore[attr-defined]
    response.close()
    seen.failure = None
    answer = _Answer(_host(request.url or ""), response.status_code, *_read(response))
    seen.answers.append(answer)
    if answer.status == 429:
        raise requests.RequestException("too many requests")  # some plugins would sleep, here, for as long as they are told to
    return response


HTTPAdapter.send = _observing  # type: ignore[method-assign]  # the plugins call requests.post: there is nowhere to pass an adapter


def _read(response: requests.Response) -> tuple[float | None, str]:
    """(seconds to wait, the sentence of an error) of an answer."""
    if response.status_code < 400:
        return None, ""
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    wait = _seconds(response.headers.get("Retry-After", ""))
    said = ""
    if isinstance(body, Mapping):
        parameters = body.get("parameters")
        for value in (body.get("retry_after"), parameters.get("retry_after") if isinstance(parameters, Mapping) else None):
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                wait = max(wait or 0.0, float(value))
        said = next((body[name] for name in ("description", "message", "error", "detail", "reason") if isinstance(body.get(name), str)), "")
    return None if wait is None else min(wait, LONGEST_WAIT), _plain(said)


def _seconds(text: str) -> float | None:
    """Of a Retry-After: seconds, or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
