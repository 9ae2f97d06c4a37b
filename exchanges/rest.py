"""The only module that speaks HTTP to an exchange: inside its rate limits, with every refusal a reason."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx

from exchanges.adapters import Adapter
from exchanges.adapters.wire import BadAnswer, BadKey
from exchanges.events import TIMEFRAMES, Balance, Candle, Credentials, Limits, Request, RestRefusal, SymbolInfo
from exchanges.pacing import Backoff, WeightLimiter, seconds_to_wait
from exchanges.reasons import why
from exchanges.recorder import Recorder
from exchanges.recording import kept
from livermore.outbound import Forbidden, Reach
from livermore.transport import transport

T = TypeVar("T")

log = logging.getLogger(__name__)

URGENT, NORMAL, BACKGROUND = 0, 1, 2
"""Priorities: a read-back that would fire; other closes; warm-up and refill."""

SHARE = 0.9
"""Of the published budget we spend: other programs of this address may use the exchange too."""
_MOST_ATTEMPTS = 5
_MOST_PAGES = 40
_DEFAULT_HOLD = {"rate_limited": 5.0, "banned": 120.0}
_HIDDEN = 12
"""A word of our headers with so many letters is no ordinary word."""


class RestError(Exception):
    """The exchange did not answer as wanted; ``refusal`` says why, and whether asking again can help."""

    def __init__(self, refusal: RestRefusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class _Signing(NamedTuple):
    """How a request is signed anew for each attempt, and whose key its answers must not bring back to us."""

    request: Callable[[], Request]
    credentials: Credentials


_limiters: dict[str, WeightLimiter] = {}


def limiter_for(rest_url: str, limits: Limits) -> WeightLimiter:
    """The limiter of a host: rows that share a host and a process share its budget."""
    parts = urlsplit(rest_url)
    key = f"{parts.netloc}{parts.path}" if parts.hostname in {"127.0.0.1", "localhost", "::1"} else parts.netloc
    limiter, per_minute = _limiters.get(key), limits.rest_weight_per_minute * SHARE
    if limiter is None or (limiter.per_minute, limiter.burst) != (per_minute, limits.rest_burst):
        held = limiter.held_for if limiter else 0.0
        limiter = _limiters[key] = WeightLimiter(per_minute, limits.rest_burst)
        limiter.hold(held)
    return limiter


class RestClient:
    """Asks one exchange. Use as ``async with RestClient(adapter, rest_url, limits, reach=exchange.reach) as rest``.

    ``recorder``: takes down what it hears.
    """

    def __init__(
        self,
        adapter: Adapter,
        rest_url: str,
        limits: Limits,
        *,
        reach: Reach,
        timeout: float = 10.0,
        recorder: Recorder | None = None,
    ) -> None:
        self._adapter = adapter
        self._recorder = recorder
        self._url = rest_url.rstrip("/")
        self._reach = reach
        self._timeout = timeout
        self._limits = limits
        self._client: httpx.AsyncClient | None = None
        self.limiter: WeightLimiter | None = None
        self._clock: tuple[int, float] | None = None
        self.latency_ms: float | None = None
        self.clock_offset_ms: int | None = None
        """The exchange's clock minus ours when it last told its time, give or take half the time the answer took."""
        self.requests = 0
        self.refusals = 0

    async def __aenter__(self) -> "RestClient":
        # The limiter and the connections belong to the running loop, so they are made here.
        self.limiter = limiter_for(self._url, self._limits)
        self._client = httpx.AsyncClient(
            timeout=self._timeout,
            transport=transport(self._reach, httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=60)),
            headers={"User-Agent": "livermore"},
            follow_redirects=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def server_time(self, *, attempts: int = _MOST_ATTEMPTS) -> int:
        """The exchange's clock, ms UTC."""
        return await self._time(URGENT, attempts)

    async def symbols(self, *, attempts: int = _MOST_ATTEMPTS) -> list[SymbolInfo]:
        """Every market the exchange lists, with its 24 h volume."""
        bodies = [await self._get(request, NORMAL, attempts) for request in self._adapter.symbol_requests()]
        return self._read(lambda: self._adapter.parse_symbols(bodies))

    async def candles(self, symbol: str, timeframe: str, start: int, end: int, priority: int = NORMAL) -> list[Candle]:
        """Candles that open in [start, end), ascending, without the intervals the exchange leaves out."""
        if self._recorder is not None:
            self._recorder.asked(symbol, timeframe, start, end)
        requests = self._adapter.candles_requests(symbol, timeframe, start, end)
        bodies = [await self._get(request, priority) for request in requests]
        rows = self._read(lambda: self._adapter.parse_candles(bodies, symbol, timeframe))
        step = TIMEFRAMES[timeframe]
        unique = {row.open_time: row for row in rows if start <= row.open_time < end and row.open_time % step == 0}
        return [unique[open_time] for open_time in sorted(unique)]

    async def balances(self, credentials: Credentials, *, attempts: int = _MOST_ATTEMPTS) -> list[Balance]:
        """What the owner of a read-only key holds: a row an asset, by name, the sum of all its accounts."""
        sums: dict[str, float] = {}
        cursor = ""
        for _ in range(_MOST_PAGES):
            page, cursor = await self._balances_page(credentials, cursor, attempts)
            for balance in page:
                sums[balance.asset] = sums.get(balance.asset, 0.0) + balance.quantity
            if not cursor:
                return [Balance(asset, float(f"{sums[asset]:.15g}")) for asset in sorted(sums)]  # 0.1 + 0.2 is 0.3 to its owner
        raise RestError(RestRefusal("bad_answer", f"the accounts do not end after {_MOST_PAGES} pages", final=True))

    async def _balances_page(self, credentials: Credentials, cursor: str, attempts: int) -> tuple[list[Balance], str]:
        signing = _Signing(lambda: self._signed(credentials, cursor), credentials)
        if self._clock is None:
            await self._read_clock(attempts)
        try:
            body = await self._get(signing.request(), BACKGROUND, attempts, signing)
        except RestError as error:
            if not error.refusal.clock:
                raise
            await self._read_clock(attempts)
            body = await self._get(signing.request(), BACKGROUND, attempts, signing)
        return self._read(lambda: self._adapter.parse_balances(body))

    async def _read_clock(self, attempts: int) -> None:
        self._clock = await self._time(BACKGROUND, attempts), time.monotonic()

    async def _time(self, priority: int, attempts: int) -> int:
        body = await self._get(self._adapter.time_request(), priority, attempts)
        ours = time.time_ns() / 1e6 - (self.latency_ms or 0.0) / 2  # about when the exchange read its clock
        told = self._read(lambda: self._adapter.parse_time(body))
        self.clock_offset_ms = round(told - ours)
        return told

    def _signed(self, credentials: Credentials, cursor: str) -> Request:
        assert self._clock is not None
        told, at = self._clock
        now = told + int((time.monotonic() - at) * 1000)
        try:
            return self._adapter.balance_request(credentials, self._url, now, _nonce(), cursor)
        except BadKey as error:
            raise RestError(RestRefusal("bad_key", str(error), final=True)) from None

    async def _get(self, request: Request, priority: int, attempts: int = _MOST_ATTEMPTS, signing: _Signing | None = None) -> bytes:
        """The body of a 200, asked for again while asking again can help, each time signed anew. Raises RestError."""
        backoff = Backoff(0.5, 15.0)
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(request, priority, signing)
            except RestError as error:
                if error.refusal.final or attempt == attempts or error.refusal.kind == "blocked":
                    raise
                if error.refusal.kind not in _DEFAULT_HOLD:  # a held limiter waits, and says so, for everybody
                    log.info("%s%s: %s; attempt %d of %d", self._url, request.path, error, attempt, attempts)
                    await self._wait(backoff.next(0.1))
        raise AssertionError("unreachable")

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _once(self, request: Request, priority: int, signing: _Signing | None) -> bytes:
        assert self._client is not None, "use it as a context manager"
        assert self.limiter is not None
        await self.limiter.take(request.weight, priority)
        if signing is not None:  # only now: a signature is good for seconds, and the limiter may make us wait longer
            request = signing.request()
        self.requests += 1
        started = time.monotonic()
        try:
            self._reach.check_url(self._url)
            response = await self._client.request(
                request.method,
                self._url + request.path,
                params=dict(request.params),
                headers=dict(request.headers),
                content=request.body or None,
            )
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            Forbidden,
        ) as error:  # its frames hold our headers: they are not for a traceback where those tell a key
            if self._recorder is not None and signing is None:
                self._recorder.answered(request, 0, {}, why(error).encode())
            raise RestError(RestRefusal("unavailable", why(error))) from (None if signing is not None else error)
        self.latency_ms = (time.monotonic() - started) * 1000
        body = _without_key(response.content, request, signing.credentials) if signing is not None else response.content
        if self._recorder is not None and signing is None:  # what a user's key brings is nobody else's
            self._recorder.answered(request, response.status_code, kept(response.headers), body)
        return self._taken(response.status_code, response.headers, body)

    def _taken(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        """The body of a 200. Raises RestError for anything else, and keeps everybody waiting where the exchange asks for it."""
        if status == 200:
            return body
        self.refusals += 1
        refusal = self._adapter.refusal(status, headers, body)
        if refusal.kind in _DEFAULT_HOLD:
            self._hold(refusal)
        raise RestError(refusal)

    def _hold(self, refusal: RestRefusal) -> None:
        assert self.limiter is not None
        seconds = seconds_to_wait(refusal) or _DEFAULT_HOLD[refusal.kind]
        if self.limiter.held_for < seconds - 1.0:
            log.warning("%s: %s; asking nothing for %.0f s", self._url, refusal.reason, seconds)
        self.limiter.hold(seconds)

    def _read(self, parse: Callable[[], T]) -> T:
        try:
            return parse()
        except BadAnswer as error:
            if error.refusal is not None:
                if error.refusal.kind in _DEFAULT_HOLD:
                    self._hold(error.refusal)
                raise RestError(error.refusal) from error
            raise RestError(RestRefusal("bad_answer", f"an answer that cannot be read: {error}")) from error


_last_nonce = 0


def _nonce() -> str:
    """A whole number above all before it, also those of other processes: unique, as every exchange asks, and rising, as Kraken does."""
    global _last_nonce
    _last_nonce = max(_last_nonce + 1, time.time_ns())
    return str(_last_nonce)


def _without_key(body: bytes, request: Request, credentials: Credentials) -> bytes:
    """An answer that does not repeat our key or what our headers said: its text goes into reasons, and those into logs."""
    words = [word for _, value in request.headers for word in value.split()]
    for word in (*words, credentials.key.strip()):
        if len(word) >= _HIDDEN:
            body = body.replace(word.encode(), b"(hidden)")
    return body
