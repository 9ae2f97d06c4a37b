import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest

from exchanges.adapters import binance
from exchanges.rest import RestClient, RestError, limiter_for
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
    return RestClient(binance, url, LIMITS, timeout=2.0)


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
