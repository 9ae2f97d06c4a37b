import asyncio
import contextlib
import json
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import httpx
import pytest

from exchanges.adapters import adapter_for, binance, coinbase, kraken
from exchanges.events import Balance, Credentials, Limits, RestRefusal
from exchanges.rest import RestClient, RestError, limiter_for
from exchanges.sandbox.accounts import KINDS, demo_credentials
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import KNOWN
from livermore.outbound import LOOPBACK, PUBLIC
from tests.exchanges.sandbox.conftest import BINANCE, COINBASE, Bench, serving
from tests.exchanges.scripted import LIMITS, OPEN

Answer = tuple[int, dict[str, str], bytes]
ROW = [OPEN, "10", "12", "9", "11", "1", OPEN + 299_999]


@contextlib.asynccontextmanager
async def host(answer: Callable[[int], Answer]) -> AsyncIterator[tuple[str, list[str]]]:
    """A small HTTP server: ``answer`` gets the number of the request. Yields its URL and the request lines it got."""
    lines: list[str] = []
    open_connections: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                lines.append(line.decode().split()[1])
                status, headers, body = answer(len(lines))
                head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": str(len(body))}.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        open_connections.discard(asyncio.current_task())

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(asyncio.current_task())
        await serve(reader, writer)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines
    finally:
        server.close()
        await asyncio.gather(*(task for task in open_connections if task is not None))


def always(status: int, body: object, headers: dict[str, str] | None = None) -> Callable[[int], Answer]:
    return lambda number: (status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def client(url: str) -> RestClient:
    return RestClient(binance, url, LIMITS, reach=LOOPBACK, timeout=2.0)


async def test_it_asks_for_candles_and_leaves_out_what_was_not_asked_for():
    forming = [OPEN + 300_000, *ROW[1:]]
    async with host(always(200, [ROW, forming])) as (url, lines), client(url) as rest:
        candles = await rest.candles("BTCUSDT", "5m", OPEN, OPEN + 300_000)
    assert [candle.open_time for candle in candles] == [OPEN]
    assert lines == [f"/api/v3/klines?symbol=BTCUSDT&interval=5m&startTime={OPEN}&endTime={OPEN + 299_999}&limit=1000"]


async def test_the_weight_of_a_request_is_spent():
    async with host(always(200, {"serverTime": OPEN})) as (url, _), client(url) as rest:
        assert await rest.server_time() == OPEN
        assert rest.limiter is not None
        assert rest.limiter.spent == 1


async def test_the_exchanges_clock_is_compared_with_ours():
    ahead = time.time_ns() // 1_000_000 + 90_000
    async with host(always(200, {"serverTime": ahead})) as (url, _), client(url) as rest:
        assert rest.clock_offset_ms is None
        await rest.server_time()
        assert rest.clock_offset_ms is not None
        assert rest.latency_ms is not None
        assert 80_000 < rest.clock_offset_ms <= 90_000


async def test_a_server_that_stumbles_is_asked_again():
    async with (
        host(lambda number: (503, {}, b"") if number < 3 else (200, {}, b'{"serverTime":1786309500000}')) as (url, lines),
        client(url) as rest,
    ):
        assert await rest.server_time() == OPEN
        assert len(lines) == 3


async def test_retry_after_is_obeyed_by_everybody():
    def busy_once(number: int) -> Answer:
        return (429, {"Retry-After": "1"}, b"{}") if number == 1 else (200, {}, b'{"serverTime":1786309500000}')

    loop = asyncio.get_running_loop()
    async with host(busy_once) as (url, lines), client(url) as rest:
        started = loop.time()
        first = asyncio.create_task(rest.server_time())
        while not rest.refusals:  # noqa: ASYNC110  (the client has no event for it)
            await asyncio.sleep(0.01)
        await asyncio.gather(first, rest.server_time())
        assert loop.time() - started >= 0.95
        assert len(lines) == 3


async def test_a_hold_outlives_the_client_that_met_it():
    async with host(always(418, {}, {"Retry-After": "600"})) as (url, _):
        async with client(url) as rest:
            with pytest.raises(RestError, match="HTTP 418"):
                await rest.server_time(attempts=1)
        assert limiter_for(url, LIMITS).held_for > 590


async def test_a_wrong_question_is_not_repeated():
    async with host(always(400, {"code": -1121, "msg": "Invalid symbol."})) as (url, lines), client(url) as rest:
        with pytest.raises(RestError, match="Invalid symbol") as error:
            await rest.candles("NOSUCH", "5m", OPEN, OPEN + 300_000)
        assert error.value.refusal.final
        assert len(lines) == 1


async def test_a_refusal_by_country_is_not_repeated_and_names_the_way_out():
    async with host(always(451, b"<html>")) as (url, lines), client(url) as rest:
        with pytest.raises(RestError, match="use binance-us"):
            await rest.symbols()
        assert len(lines) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{", b'{"serverTime":"soon"}', b'{"serverTime":5}', b"\xff"])
async def test_an_answer_that_cannot_be_read_is_a_reason(body: bytes):
    async with host(always(200, body)) as (url, _), client(url) as rest:
        with pytest.raises(RestError, match="cannot be read"):
            await rest.server_time()


async def test_a_host_that_is_not_there_is_a_reason():
    async with host(always(200, {})) as (url, _):
        pass
    async with client(url) as rest:
        with pytest.raises(RestError, match="connection refused"):
            await rest.server_time(attempts=1)


async def test_a_redirect_is_not_followed():
    async with host(always(302, b"", {"Location": "http://127.0.0.1:1/"})) as (url, lines), client(url) as rest:
        with pytest.raises(RestError, match="HTTP 302"):
            await rest.server_time(attempts=1)
        assert len(lines) == 1


# Balances, asked of the sandbox


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving() as running:
        yield running


def asking(sandbox: Sandbox, venue: str) -> RestClient:
    return RestClient(adapter_for(KNOWN[venue].protocol), sandbox.rest_url(venue), LIMITS, reach=LOOPBACK, timeout=5.0)


async def refused(rest: RestClient, credentials: Credentials) -> RestRefusal:
    """Why the exchange does not tell the balances. Public data must not suffer from it."""
    assert rest.limiter is not None
    with pytest.raises(RestError) as caught:
        await rest.balances(credentials)
    if caught.value.refusal.kind == "bad_key":
        assert rest.limiter.held_for == 0
        assert await rest.server_time(attempts=1)
    return caught.value.refusal


EACH_KIND = [(venue, kind) for venue in KNOWN for kind in KINDS[KNOWN[venue].protocol]]
EACH_VENUE = [COINBASE, BINANCE]


@pytest.mark.parametrize(("venue", "kind"), EACH_KIND)
async def test_a_key_of_each_kind_reads_its_balances(venue: str, kind: str):
    async with serving(venues=[KNOWN[venue]]) as bench, asking(bench.sandbox, venue) as rest:
        credentials = bench.sandbox.accounts(venue).open("ann", {"BTC": 0.3, "ETH": 2, "DOGE": 0}, kind, locked={"BTC": 0.1})
        assert await rest.balances(credentials) == [Balance("BTC", 0.3), Balance("ETH", 2.0)]
        assert await rest.balances(credentials) == [Balance("BTC", 0.3), Balance("ETH", 2.0)]
        assert rest.requests == 3, "the clock is asked for once"
        assert "BAND" in {balance.asset for balance in await rest.balances(demo_credentials(venue))}


@pytest.mark.parametrize("venue", EACH_VENUE)
async def test_a_key_that_is_not_accepted_is_not_tried_on_and_does_not_hold_up_public_data(bench: Bench, venue: str):
    accounts = bench.sandbox.accounts(venue)
    ann, bob, blind = (accounts.open(name, {"BTC": 1}, scopes=scopes) for name, scopes in (("ann", "v"), ("bob", ["view"]), ("blind", "")))
    accounts.revoke("bob")
    async with asking(bench.sandbox, venue) as rest:
        asked = [Credentials(bob.key, ann.secret), bob, blind]
        refusals = [await refused(rest, credentials) for credentials in asked]
    assert [(refusal.kind, refusal.final) for refusal in refusals] == [("bad_key", True)] * 3
    assert ("View" if venue == COINBASE else "Enable Reading") in refusals[2].reason


async def test_a_wrong_secret_says_that_the_secret_is_wrong(bench: Bench):
    ann, bob = (bench.sandbox.accounts(BINANCE).open(name, {}) for name in ("ann", "bob"))
    async with asking(bench.sandbox, BINANCE) as rest:
        assert "the secret does not belong to this key" in (await refused(rest, Credentials(ann.key, bob.secret))).reason


@pytest.mark.parametrize("venue", EACH_VENUE)
async def test_a_key_that_cannot_sign_is_a_bad_key_and_is_not_sent(bench: Bench, venue: str):
    async with asking(bench.sandbox, venue) as rest:
        refusal = await refused(rest, Credentials("two words", "canary"))
    assert (refusal.kind, refusal.final) == ("bad_key", True)
    assert "paste the key" in refusal.reason
    assert bench.sandbox.counters[venue]["rest_requests"] == 2, "the clock, before and after"


@pytest.mark.parametrize("ms", [-600_000, 600_000])
@pytest.mark.parametrize("venue", EACH_VENUE)
async def test_the_clock_that_counts_is_the_exchanges(bench: Bench, venue: str, ms: int):
    credentials = bench.sandbox.accounts(venue).open("ann", {"BTC": 1})
    async with asking(bench.sandbox, venue) as rest:
        assert await rest.balances(credentials) == [Balance("BTC", 1.0)]
        bench.faults.set("clock-skew", venue=venue, ms=ms)
        assert await rest.balances(credentials) == [Balance("BTC", 1.0)]
        assert (rest.requests, rest.refusals) == (5, 1), "refused once, then the clock was read again"


@pytest.mark.parametrize("speed", [60, 1000])
async def test_balances_are_read_where_the_market_runs_fast(speed: int):
    async with Sandbox(speed=speed) as sandbox:
        for venue in EACH_VENUE:
            async with asking(sandbox, venue) as rest:
                assert len(await rest.balances(demo_credentials(venue))) == 6


async def test_accounts_come_in_pages_and_are_summed(bench: Bench):
    held = {f"C{number:03}": number + 1.5 for number in range(600)}
    credentials = bench.sandbox.accounts(COINBASE).open("ann", held)
    async with asking(bench.sandbox, COINBASE) as rest:
        assert await rest.balances(credentials) == [Balance(asset, quantity) for asset, quantity in held.items()]
        assert rest.requests == 1 + 3


async def test_rate_limits_of_signed_requests_are_obeyed_and_each_attempt_is_signed_anew(bench: Bench):
    credentials = bench.sandbox.accounts(COINBASE).open("ann", {"BTC": 1})
    async with asking(bench.sandbox, COINBASE) as rest:
        await rest.server_time()
        bench.faults.set("rest-status", venue=COINBASE, status=429, retry_after=1, count=1)
        assert await rest.balances(credentials) == [Balance("BTC", 1.0)]
        bench.faults.set("rest-corrupt", venue=COINBASE, count=1)
        assert (await refused(rest, credentials)).kind == "bad_answer"
        bench.faults.set("rest-status", venue=COINBASE, status=503, count=1)
        assert await rest.balances(credentials) == [Balance("BTC", 1.0)]
        assert rest.refusals == 2


async def test_a_venue_over_its_limit_is_left_alone():
    async with serving(venues=[replace(KNOWN[BINANCE], rest_limit=30)]) as bench, asking(bench.sandbox, BINANCE) as rest:
        credentials = bench.sandbox.accounts(BINANCE).open("ann", {"BTC": 1})
        await rest.balances(credentials)
        with pytest.raises(RestError, match="HTTP 429"):
            await rest.balances(credentials, attempts=1)
        assert rest.limiter is not None
        assert rest.limiter.held_for > 0


# Balances, asked of a host that does as a test tells it


def told(number: int) -> Answer:
    """Binance's clock, and a refusal for the clock whatever is asked then."""
    return (200, {}, json.dumps({"serverTime": OPEN}).encode()) if number in (1, 3) else (400, {}, b'{"code":-1021,"msg":"outside"}')


async def test_the_clock_is_read_again_once():
    async with host(told) as (url, lines), client(url) as rest:
        refusal = await refused_for(rest, Credentials("k" * 64, "s" * 64))
    assert refusal.kind == "bad_key"
    assert "set the clock of this machine" in refusal.reason
    assert [line.partition("?")[0] for line in lines] == ["/api/v3/time", "/api/v3/account"] * 2


async def refused_for(rest: RestClient, credentials: Credentials) -> RestRefusal:
    with pytest.raises(RestError) as caught:
        await rest.balances(credentials)
    return caught.value.refusal


async def test_several_accounts_of_one_asset_are_one_balance_and_pages_that_never_end_are_an_error():
    def page(value: str) -> dict[str, object]:
        return {"currency": "BTC", "available_balance": {"value": value}}

    body = {"epochMillis": str(OPEN), "accounts": [page("0.1"), page("0.2")], "has_next": False, "cursor": "next"}
    credentials = Credentials("reader", demo_credentials(COINBASE).secret)
    async with host(always(200, body)) as (url, _), RestClient(coinbase, url, LIMITS, reach=LOOPBACK) as rest:
        assert await rest.balances(credentials) == [Balance("BTC", 0.3)]
    async with host(always(200, {**body, "has_next": True})) as (url, lines), RestClient(coinbase, url, LIMITS, reach=LOOPBACK) as rest:
        assert "after 40 pages" in (await refused_for(rest, credentials)).reason
        assert len(lines) == 41


async def test_kraken_is_asked_with_a_post_and_a_rising_nonce_and_refuses_in_a_200():
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"error": [], "result": {"unixtime": OPEN // 1000}})
        bodies.append(request.content)
        fine = {"error": [], "result": {"XXBT": "0.5", "XBT.M": "0.25"}}
        return httpx.Response(200, json=fine if len(bodies) < 3 else {"error": ["EAPI:Invalid signature"]})

    async with RestClient(kraken, "https://api.kraken.test", LIMITS, reach=PUBLIC) as rest:
        rest._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        credentials = Credentials("reader", "c2VjcmV0")
        assert [await rest.balances(credentials) for _ in range(2)] == [[Balance("BTC", 0.75)]] * 2
        assert (await refused_for(rest, credentials)).kind == "bad_key"
        assert rest.limiter is not None
        assert rest.limiter.held_for == 0
    nonces = [int(body.removeprefix(b"nonce=")) for body in bodies]
    assert nonces == sorted(set(nonces))


CANARY_LIMITS = Limits(messages_per_second=1, connects_per_5min=1, streams_per_connection=1, rest_weight_per_minute=60_000, rest_burst=500)


@pytest.mark.parametrize("venue", EACH_VENUE)
async def test_nothing_of_a_key_gets_into_logs_or_reasons(bench: Bench, venue: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "exchanges", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    accounts = bench.sandbox.accounts(venue)
    ann, bob = (accounts.open(name, {"BTC": 1}) for name in ("canary-ann", "canary-bob"))
    reasons: list[str] = []
    async with asking(bench.sandbox, venue) as rest:
        await rest.balances(ann)
        bench.faults.set("rest-status", venue=venue, status=503, count=1)
        await rest.balances(ann)
        for wrong in (Credentials(ann.key, bob.secret), Credentials(ann.key, ann.secret[:-5]), Credentials(ann.key + "é", ann.secret)):
            reasons.append(repr(await refused(rest, wrong)))
        bench.faults.set("rest-corrupt", venue=venue, count=1)
        reasons.append(repr(await refused(rest, ann)))
    async with RestClient(adapter_for(KNOWN[venue].protocol), "http://127.0.0.1:9", CANARY_LIMITS, reach=LOOPBACK) as rest:
        rest._clock = OPEN, 0.0
        with pytest.raises(RestError) as caught:
            await rest.balances(ann, attempts=2)
        reasons += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    said = caplog.text + "".join(reasons)
    assert "HTTP Request" in said, "httpx was heard"
    secrets = {part for owner in (ann, bob) for part in (owner.key, owner.secret, owner.secret[:20])}
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize("protocol", ["coinbase", "binance", "kraken"])
async def test_an_answer_that_repeats_our_headers_does_not_give_them_away(protocol: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    sent: list[str] = []

    def echo(request: httpx.Request) -> httpx.Response:
        if not request.url.path.lower().endswith("balance") and "account" not in request.url.path:
            now = {"error": [], "result": {"unixtime": OPEN // 1000}, "serverTime": OPEN, "epochMillis": OPEN}
            return httpx.Response(200, json=now)
        words = [value for name, value in request.headers.items() if name in ("authorization", "x-mbx-apikey", "api-key", "api-sign")]
        sent.extend(word for value in words for word in value.split() if len(word) > 10)
        text = " ".join([*words, "planted-canary-key"])
        return httpx.Response(400, json={"error": [text] if protocol == "kraken" else text, "msg": text, "message": text, "code": 1})

    secret = demo_credentials(COINBASE).secret
    async with RestClient(adapter_for(protocol), f"https://{protocol}.test", CANARY_LIMITS, reach=PUBLIC) as rest:
        rest._client = httpx.AsyncClient(transport=httpx.MockTransport(echo))
        with pytest.raises(RestError) as caught:
            await rest.balances(Credentials("planted-canary-key", secret))
    said = caplog.text + str(caught.value)
    assert "(hidden)" in said
    assert sent
    assert [word for word in [*sent, "canary", secret] if word[:30] in said] == []
