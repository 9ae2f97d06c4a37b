"""Each fault switch as a real client sees it."""

import asyncio
import contextlib
import json

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from exchanges.sandbox.faults import Fault
from exchanges.sandbox.protocol import shortest
from tests.exchanges.sandbox.conftest import BAR, BINANCE, COINBASE, GRACE, START, Bench, Client, is_ack

TICKERS = ("btcusdt@ticker", "ethusdt@ticker")


async def _nothing_more(client: Client) -> bool:
    """Whether the socket is up and nothing waits on it. A ping is answered after all that was sent before it."""
    async with asyncio.timeout(GRACE):
        await (await client.socket.ping())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            client.frames.append(await client.socket.recv())
            return False
    return True


async def _struck(fault: Fault, times: int = 1) -> None:
    async with asyncio.timeout(GRACE):
        while fault.struck < times:  # noqa: ASYNC110  (the switches are plain objects: nothing tells of a strike)
            await asyncio.sleep(0.001)


async def _ticks(bench: Bench, client: Client, count: int) -> list[int]:
    """Event times of so many tickers, one a second."""
    times = []
    for _ in range(count):
        bench.clock.advance(1_000)
        times.append((await client.receive())["data"]["E"])
    return times


async def test_silence_keeps_the_socket_up_and_sends_nothing_until_it_heals(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    await _ticks(bench, client, 2)
    bench.faults.set("silence", venue=BINANCE)
    for _ in range(5):
        bench.clock.advance(1_000)
        await asyncio.sleep(0)
    assert await _nothing_more(client)
    bench.faults.clear()
    assert len(await _ticks(bench, client, 2)) == 2


async def test_silence_of_one_venue_leaves_the_other_alone(bench: Bench) -> None:
    bench.faults.set("silence", venue=BINANCE)
    client = await bench.coinbase(("ticker", ["BTC-USD"]))
    assert is_ack((await client.until(is_ack))[-1])


async def test_a_mute_connection_never_says_anything_and_later_ones_do(bench: Bench) -> None:
    bench.faults.set("mute", venue=COINBASE, count=1)
    mute = await bench.coinbase(("ticker", ["BTC-USD"]))
    assert await _nothing_more(mute)
    bench.faults.clear()
    bench.clock.advance(60_000)
    assert await _nothing_more(mute)
    talking = await bench.coinbase(("ticker", ["BTC-USD"]))
    assert len(await talking.until(is_ack)) == 2


async def test_ack_then_silence_acknowledges_and_sends_no_data(bench: Bench) -> None:
    bench.faults.set("ack-then-silence", venue=COINBASE)
    client = await bench.coinbase(("ticker", ["BTC-USD"]), ("candles", ["BTC-USD"]), ("heartbeats", []))
    assert [is_ack(await client.receive()) for _ in range(3)] == [True] * 3
    bench.clock.advance(60_000)
    assert await _nothing_more(client)


async def test_data_can_come_without_acknowledgement(bench: Bench) -> None:
    bench.faults.set("no-ack", venue=COINBASE)
    client = await bench.coinbase(("ticker", ["BTC-USD"]))
    assert (await client.receive())["channel"] == "ticker"
    assert await _nothing_more(client)


async def test_one_symbol_can_be_dead_while_the_others_go_on_without_a_jump_in_the_numbers(bench: Bench) -> None:
    bench.faults.set("dead", venue=COINBASE, symbol="BTC-USD")
    client = await bench.beating(("ticker", ["BTC-USD", "ETH-USD"]), ("candles", ["BTC-USD", "ETH-USD"]))
    await bench.seconds(client, 60)
    text = json.dumps([frame for frame in client.frames if not is_ack(frame)])
    assert '"ETH-USD"' in text
    assert '"BTC-USD"' not in text
    assert [frame["sequence_num"] for frame in client.frames] == list(range(len(client.frames)))


async def test_one_channel_can_be_dead_while_heartbeats_go_on(bench: Bench) -> None:
    bench.faults.set("dead", venue=COINBASE, channel="candles")
    client = await bench.beating(("ticker", ["BTC-USD"]), ("candles", ["BTC-USD"]))
    await bench.seconds(client, 60)
    assert {frame["channel"] for frame in client.frames} == {"ticker", "heartbeats", "subscriptions"}


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000])
async def test_open_connections_are_closed_with_the_code_and_new_ones_are_welcome(bench: Bench, code: int) -> None:
    clients = [await bench.binance(*TICKERS), await bench.binance(*TICKERS)]
    bench.faults.set("disconnect", venue=BINANCE, code=code, reason="maintenance")
    assert [await client.closed() for client in clients] == [(code, "maintenance")] * 2
    again = await bench.binance("btcusdt@ticker")
    assert len(await _ticks(bench, again, 2)) == 2


async def test_the_line_can_be_cut_without_a_closing_handshake(bench: Bench) -> None:
    client = await bench.binance(*TICKERS)
    bench.faults.set("disconnect", venue=BINANCE, code=1006)
    assert (await client.closed())[0] == 1006


@pytest.mark.parametrize(
    ("venue", "status", "retry_after", "word"),
    [
        (BINANCE, 451, 0, b"restricted location"),
        (BINANCE, 429, 7, b"code"),
        (COINBASE, 403, 0, b"Forbidden"),
        (COINBASE, 503, 0, b"unavailable"),
    ],
)
async def test_the_handshake_can_be_refused_with_a_status(bench: Bench, venue: str, status: int, retry_after: int, word: bytes) -> None:
    bench.faults.set("refuse", venue=venue, status=status, retry_after=retry_after, count=1)
    path = "/stream" if venue == BINANCE else ""
    with pytest.raises(InvalidStatus) as refused:
        await bench.connect(venue, path)
    response = refused.value.response
    assert (response.status_code, response.headers.get("Retry-After")) == (status, str(retry_after) if retry_after else None)
    assert word in response.body
    await bench.connect(venue, path)


async def test_connections_can_be_accepted_and_closed(bench: Bench) -> None:
    bench.faults.set("accept-then-close", venue=COINBASE, count=2)
    for _ in range(2):
        client = await bench.connect(COINBASE)
        assert (await client.closed())[0] == 1000
    staying = await bench.coinbase(("ticker", ["BTC-USD"]))
    assert len(await staying.until(is_ack)) == 2


async def test_frames_can_come_twice(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    bench.faults.set("duplicate", venue=BINANCE, count=1)
    bench.clock.advance(1_000)
    first, second = await client.receive(), await client.receive()
    assert first == second


async def test_frames_can_change_places(bench: Bench) -> None:
    client = await bench.coinbase(("heartbeats", []))
    await client.until(is_ack)
    fault = bench.faults.set("reorder", venue=COINBASE, count=1)
    bench.clock.advance(1_000)
    await _struck(fault)
    bench.clock.advance(1_000)
    assert [(await client.receive())["sequence_num"] for _ in range(2)] == [2, 1]
    bench.clock.advance(1_000)
    assert (await client.receive())["sequence_num"] == 3


async def test_frames_can_be_lost_and_the_numbers_show_it(bench: Bench) -> None:
    client = await bench.coinbase(("heartbeats", []))
    await client.until(is_ack)
    fault = bench.faults.set("gap", venue=COINBASE, count=2)
    for lost in (1, 2):
        bench.clock.advance(1_000)
        await _struck(fault, lost)
    bench.clock.advance(1_000)
    assert (await client.receive())["sequence_num"] == 3


async def test_numbers_can_start_again(bench: Bench) -> None:
    client = await bench.coinbase(("heartbeats", []))
    await client.until(is_ack)
    await _struck(bench.faults.set("sequence-reset", venue=COINBASE))
    bench.clock.advance(1_000)
    assert (await client.receive())["sequence_num"] == 0


async def test_a_truncated_frame_is_followed_by_whole_ones(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    bench.faults.set("corrupt", venue=BINANCE, count=1)
    bench.clock.advance(1_000)
    text = await client.socket.recv()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert len(await _ticks(bench, client, 2)) == 2


async def test_a_frame_that_is_not_utf8_reaches_the_client(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    bench.faults.set("corrupt", venue=BINANCE, count=1, form="utf8")
    bench.clock.advance(1_000)
    frame = await client.socket.recv(decode=False)
    assert b"\xff\xfe" in frame
    bench.faults.set("corrupt", venue=BINANCE, count=1, form="utf8")
    bench.clock.advance(1_000)
    with pytest.raises(ConnectionClosed):
        await client.socket.recv()


async def test_frames_can_come_late(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    bench.faults.set("late", venue=BINANCE, seconds=0.3, count=1)
    bench.clock.advance(1_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.socket.recv()
    assert (await client.receive())["data"]["E"] <= START + 1_000


async def test_binance_announces_its_shutdown_and_closes_then(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker")
    bench.faults.set("shutdown", venue=BINANCE, seconds=0.05)
    assert await client.receive() == {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": START}}
    assert (await client.closed())[0] == 1001


async def test_the_exchanges_clock_can_be_wrong_while_its_market_is_not(bench: Bench) -> None:
    bench.faults.set("clock-skew", ms=90_000)
    assert (await bench.get(BINANCE, "/time")).json() == {"serverTime": START + 90_000}
    assert (await bench.get(COINBASE, "/time")).json()["epochMillis"] == str(START + 90_000)
    client = await bench.binance("btcusdt@kline_5m")
    bench.clock.advance(2_000)
    data = (await client.receive())["data"]
    assert START + 90_000 <= data["E"] <= START + 92_000
    assert data["k"]["t"] == START - START % BAR


@pytest.mark.parametrize(
    ("venue", "status", "retry_after", "word"),
    [
        (BINANCE, 429, 9, "Too many requests"),
        (BINANCE, 429, 0, "Too many requests"),
        (BINANCE, 418, 60, f"IP banned until {START + 60_000}."),
        (BINANCE, 451, 0, "restricted location"),
        (BINANCE, 503, 0, "unknown error"),
        (COINBASE, 429, 0, "RESOURCE_EXHAUSTED"),
        (COINBASE, 403, 0, "Forbidden"),
        (COINBASE, 500, 0, "INTERNAL"),
    ],
)
async def test_rest_can_answer_with_an_error_status(bench: Bench, venue: str, status: int, retry_after: int, word: str) -> None:
    bench.faults.set("rest-status", venue=venue, status=status, retry_after=retry_after, count=1)
    answer = await bench.get(venue, "/time")
    assert answer.status_code == status
    assert word in answer.text
    assert answer.headers.get("retry-after", "0") == str(retry_after + 1 if status == 418 else retry_after)
    assert (await bench.get(venue, "/time")).status_code == 200


async def test_rest_can_be_slow(bench: Bench) -> None:
    bench.faults.set("rest-slow", seconds=30, count=1)
    with pytest.raises(httpx.ReadTimeout):
        await bench.http.get(bench.sandbox.rest_url(BINANCE) + "/api/v3/time", timeout=0.1)
    assert (await bench.get(BINANCE, "/time")).status_code == 200


async def test_rest_bodies_can_be_cut(bench: Bench) -> None:
    whole = (await bench.get(BINANCE, "/time")).content
    bench.faults.set("rest-corrupt", count=1)
    assert (await bench.get(BINANCE, "/time")).content == whole[: len(whole) // 2]


async def test_rest_can_be_a_candle_behind(bench: Bench) -> None:
    coinbase = {"granularity": "FIVE_MINUTE", "start": START // 1000 - 3_000, "end": START // 1000}
    whole = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **coinbase)).json()["candles"]
    klines = (await bench.get(BINANCE, "/klines", symbol="BTCUSDT", interval="5m", limit=5)).json()
    bench.faults.set("rest-behind", symbol="BTC-USD")
    bench.faults.set("rest-behind", symbol="BTCUSDT", candles=2)
    assert (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **coinbase)).json()["candles"] == whole[1:]
    assert (await bench.get(BINANCE, "/klines", symbol="BTCUSDT", interval="5m", limit=5)).json() == klines[:2]


async def test_rest_can_give_a_candle_that_is_revised_later(bench: Bench) -> None:
    window = {"granularity": "FIVE_MINUTE", "start": START // 1000 - 3_000, "end": START // 1000}
    bench.faults.set("rest-revise", venue=COINBASE)
    early = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **window)).json()["candles"]
    bench.faults.clear()
    final = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **window)).json()["candles"]
    listing = bench.market.listing(COINBASE, "BTC-USD")
    unfinished = bench.market.forming(listing, BAR, START - START % BAR - 100_000)
    assert unfinished is not None
    assert early[1:] == final[1:]
    assert (early[0]["volume"], early[0]["close"]) == (shortest(unfinished.volume, 8), shortest(unfinished.close, 2))
    assert float(early[0]["volume"]) < float(final[0]["volume"])


async def test_a_fault_that_was_set_for_later_begins_by_itself(bench: Bench) -> None:
    client = await bench.binance(*TICKERS)
    bench.faults.set("disconnect", venue=BINANCE, code=1012, after=0.05)
    assert (await client.closed())[0] == 1012
