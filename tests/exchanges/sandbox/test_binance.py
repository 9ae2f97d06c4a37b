"""Binance as a client meets it on the wire: websocket and REST."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from exchanges.sandbox.binance import Desk, Session
from exchanges.sandbox.binance_rest import INTERVALS, kline_row
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.protocol import Close, decimal
from exchanges.sandbox.venues import BINANCE as VENUE
from exchanges.sandbox.venues import BINANCE_US
from tests.exchanges.sandbox.conftest import BAR, BINANCE, GRACE, START, Bench, exchange, is_kline, serving

DAY = 86_400_000
OPEN = START - START % BAR


async def test_the_acknowledgement_checks_the_syntax_only_and_an_unknown_symbol_stays_silent(bench: Bench) -> None:
    client = await bench.binance("nopeusdt@kline_5m", "BTCUSDT@kline_5m", "eosusdt@ticker", "btcusdt@trade", "btcusdt@ticker")
    for _ in range(3):
        bench.clock.advance(1_000)
        assert (await client.receive())["stream"] == "btcusdt@ticker"


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (
            {"method": "SUBSCRIBE", "params": ["btcusdt@kline_7m"], "id": 4},
            {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 4},
        ),
        ({"method": "SUBSCRIBE", "params": [], "id": 5}, {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 5}),
        ({"method": "DANCE", "params": [], "id": 6}, {"error": {"code": 2, "msg": "Invalid request: unknown variant `DANCE`"}, "id": 6}),
        (
            {"method": "SUBSCRIBE", "params": ["btcusdt@ticker"], "id": "x"},
            {"error": {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}},
        ),
    ],
)
async def test_wrong_syntax_is_answered_with_an_error_and_the_end_of_the_connection(
    bench: Bench, message: dict[str, Any], answer: dict[str, Any]
) -> None:
    client = await bench.connect(BINANCE, "/stream")
    await client.send(message)
    assert (await client.closed())[0] == 1008
    assert client.frames == [answer]


async def test_text_that_is_no_json_is_answered_with_an_error_and_the_end_of_the_connection(bench: Bench) -> None:
    client = await bench.connect(BINANCE, "/ws")
    await client.send("{")
    assert (await client.closed())[0] == 1008
    assert client.frames[0]["error"]["code"] == 2


async def test_nothing_is_sent_on_subscribing_and_klines_follow_every_two_seconds(bench: Bench) -> None:
    client = await bench.binance("btcusdt@kline_5m")
    bench.clock.advance(60_000 - 1)
    last = await client.receive()
    for _ in range(4):
        bench.clock.advance(2_000)
        frame = await client.receive()
        assert frame["data"]["E"] - last["data"]["E"] == 2_000
        last = frame
    assert last["data"]["E"] <= bench.clock.now()


async def test_a_kline_holds_the_trades_up_to_its_event_time(bench: Bench) -> None:
    client = await bench.binance("ethusdt@kline_5m")
    bench.clock.advance(100_000)
    frame = await client.receive()
    listing = bench.market.listing(BINANCE, "ETHUSDT")
    bar = bench.market.forming(listing, BAR, frame["data"]["E"])
    assert bar is not None
    kline = frame["data"]["k"]
    row = kline_row(bar, listing, BAR)
    assert [kline[name] for name in "tohlcvTqnVQB"] == row
    assert frame["stream"] == "ethusdt@kline_5m"
    assert (frame["data"]["s"], kline["s"], kline["i"], kline["x"]) == ("ETHUSDT", "ETHUSDT", "5m", False)
    assert kline["L"] - kline["f"] + 1 == kline["n"] == bar.trades


async def test_a_closed_kline_comes_once_per_interval_shortly_after_its_end_and_is_the_true_candle(bench: Bench) -> None:
    client = await bench.binance("btcusdt@kline_5m")
    for _ in range(12 * 30):
        bench.clock.advance(10_000)
    await client.until(lambda frame: frame["data"]["k"]["t"] == OPEN + 12 * BAR)
    closed = [frame["data"] for frame in client.frames if frame.get("data", {}).get("k", {}).get("x")]
    assert [frame["k"]["t"] for frame in closed] == [OPEN + at * BAR for at in range(12)]
    truth = bench.market.candles(BINANCE, "BTCUSDT", "5m", OPEN, OPEN + 12 * BAR)
    for frame, candle in zip(closed, truth, strict=True):
        told = tuple(float(frame["k"][name]) for name in "ohlcv")
        assert told == (candle.open, candle.high, candle.low, candle.close, candle.volume)
        assert 70 <= frame["E"] - (frame["k"]["t"] + BAR) <= 430
    times = [frame["data"]["k"]["t"] for frame in client.frames if "data" in frame]
    assert times == sorted(times)


async def test_a_jump_over_many_intervals_still_sends_every_close_once_and_in_order(bench: Bench) -> None:
    client = await bench.binance("btcusdt@kline_5m", "solusdt@kline_5m")
    bench.clock.advance(200 * BAR)
    bench.clock.advance(10_000)
    expected = [OPEN + at * BAR for at in range(200)]
    seen: dict[str, list[int]] = {"BTCUSDT": [], "SOLUSDT": []}
    while any(len(opens) < 200 for opens in seen.values()):
        data = (await client.receive())["data"]
        if data["k"]["x"]:
            seen[data["s"]].append(data["k"]["t"])
    assert seen == {"BTCUSDT": expected, "SOLUSDT": expected}


async def test_an_interval_without_a_trade_closes_flat_with_no_trade_ids(bench: Bench) -> None:
    listing = bench.market.listing(BINANCE, "RLCUSDT")
    idle = next(bar for bar in bench.market.bars(listing, BAR, OPEN + BAR, OPEN + DAY) if bar.trades == 0)
    client = await bench.binance("rlcusdt@kline_5m")
    bench.clock.advance(idle.open_time + BAR + 3_000 - START)
    (*_, frame) = await client.until(lambda frame: frame["data"]["k"]["t"] == idle.open_time)
    kline = frame["data"]["k"]
    assert [kline[name] for name in "ohlc"] == [decimal(idle.close * 10**4, 8)] * 4
    assert (kline["n"], kline["f"], kline["L"], kline["v"], kline["q"], kline["x"]) == (0, -1, -1, "0.00000000", "0.00000000", True)
    assert 1_400 <= frame["data"]["E"] - (idle.open_time + BAR) <= 2_400


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BANDUSDT"])
def test_the_times_of_a_stream_never_go_back_and_no_interval_opens_before_the_last_one_closed(symbol: str) -> None:
    session = Session(exchange(VENUE), f"/ws/{symbol.lower()}@kline_5m", {}, START)
    frames = [frame.message["data"] for second in range(1_300) for frame in session.advance(START + second * 1_000)]
    assert len(frames) > 500
    assert [frame["E"] for frame in frames] == sorted(frame["E"] for frame in frames)
    for before, after in pairwise(frames):
        assert after["k"]["t"] == before["k"]["t"] + (BAR if before["k"]["x"] else 0)


async def test_longer_klines_are_served_too(bench: Bench) -> None:
    client = await bench.binance("btcusdt@kline_1h")
    bench.clock.advance(3_600_000)
    (*_, frame) = await client.until(is_kline("BTCUSDT", closed=True))
    open_time = START - START % 3_600_000
    (candle,) = bench.market.candles(BINANCE, "BTCUSDT", "1h", open_time, open_time + 1)
    assert (frame["data"]["k"]["t"], float(frame["data"]["k"]["v"])) == (open_time, candle.volume)


async def test_the_ticker_comes_once_a_second_with_both_volumes(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker", "btcusdt@miniTicker", "!miniTicker@arr")
    frames = {}
    for _ in range(6):
        bench.clock.advance(500)
    while len(frames) < 3:
        frame = await client.receive()
        frames[frame["stream"]] = frame["data"]
    full = frames["btcusdt@ticker"]
    day = bench.market.statistics(bench.market.listing(BINANCE, "BTCUSDT"), full["E"])
    assert (full["e"], full["c"], full["v"]) == ("24hrTicker", decimal(day.last * 10**6, 8), decimal(day.volume * 10**3, 8))
    assert day.low / 100 < float(full["q"]) / float(full["v"]) < day.high / 100
    assert float(full["P"]) == pytest.approx((day.last - day.open) / day.open * 100, abs=0.0005)
    assert frames["btcusdt@miniTicker"]["e"] == "24hrMiniTicker"
    assert len(frames["!miniTicker@arr"]) == 24 + 6


async def test_the_ws_path_sends_plain_frames_and_the_stream_path_wraps_them(bench: Bench) -> None:
    plain = await bench.connect(BINANCE, "/ws/btcusdt@ticker/ethusdt@ticker")
    wrapped = await bench.connect(BINANCE, "/stream?streams=btcusdt@ticker/ethusdt@ticker")
    for client in (plain, wrapped):
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert await client.receive() == {"result": ["btcusdt@ticker", "ethusdt@ticker"], "id": 3}
    bench.clock.advance(1_000)
    assert {(await plain.receive())["e"] for _ in range(2)} == {"24hrTicker"}
    assert {(await wrapped.receive())["stream"] for _ in range(2)} == {"btcusdt@ticker", "ethusdt@ticker"}


async def test_a_connection_can_be_told_to_wrap_its_frames(bench: Bench) -> None:
    client = await bench.connect(BINANCE, "/ws/btcusdt@ticker")
    await client.send({"method": "SET_PROPERTY", "params": ["combined", True], "id": 5})
    assert await client.receive() == {"result": None, "id": 5}
    bench.clock.advance(1_000)
    assert (await client.receive())["stream"] == "btcusdt@ticker"


async def test_unsubscribing_ends_a_stream(bench: Bench) -> None:
    client = await bench.binance("btcusdt@ticker", "ethusdt@ticker")
    await client.send({"method": "UNSUBSCRIBE", "params": ["btcusdt@ticker"], "id": 2})
    assert await client.receive() == {"result": None, "id": 2}
    for _ in range(3):
        bench.clock.advance(1_000)
        assert (await client.receive())["stream"] == "ethusdt@ticker"


@pytest.mark.parametrize("path", ["", "/", "/wss", "/ws/btcusdt@kline_7m", "/stream/btcusdt@ticker", "/stream?streams=nonsense"])
async def test_other_paths_are_refused(bench: Bench, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await bench.connect(BINANCE, path)
    assert refused.value.response.status_code == 404


def test_more_than_five_messages_a_second_end_the_connection() -> None:
    session = Session(exchange(VENUE), "/stream", {}, START)
    message = '{"method":"SUBSCRIBE","params":["btcusdt@ticker"],"id":1}'
    answers = [session.receive(message, START, at / 10) for at in range(6)]
    assert answers[-1] == [Close(1008, "Too many requests")]
    assert [answer[0].message for answer in answers[:5]] == [{"result": None, "id": 1}] * 5


def test_more_than_1024_streams_end_the_connection() -> None:
    session = Session(exchange(VENUE), "/stream", {}, START)
    for at in range(4):
        names = ",".join(f'"s{at * 256 + number}usdt@ticker"' for number in range(256))
        assert session.receive(f'{{"method":"SUBSCRIBE","params":[{names}],"id":{at}}}', START, at * 2.0)[0].message["result"] is None
    assert session.receive('{"method":"SUBSCRIBE","params":["s0usdt@ticker"],"id":8}', START, 20.0)[0].message["result"] is None
    assert session.receive('{"method":"SUBSCRIBE","params":["btcusdt@ticker"],"id":9}', START, 30.0) == [Close(1008, "Too many streams")]


async def test_the_server_pings_and_drops_a_client_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanges.sandbox.connection._PONG_SECONDS", 0.05)
    async with serving(venues=[replace(VENUE, ping_seconds=0.02)]) as bench:
        url = urlsplit(bench.sandbox.websocket_url(BINANCE))
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
        head = f"GET {url.path}/ws HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n\r\n"
        writer.write(head.encode())
        assert b" 101 " in await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(GRACE):
            frames = await reader.read()
        writer.close()
        ping, close = frames[:2], frames[-16:]
        assert ping == b"\x89\x04"
        assert close == b"\x88\x0e\x03\xf0Pong timeout"


async def test_rest_tells_the_market_time(bench: Bench) -> None:
    assert (await bench.get(BINANCE, "/time")).json() == {"serverTime": START}
    assert (await bench.get(BINANCE, "/ping")).json() == {}


@pytest.mark.parametrize("interval", INTERVALS)
async def test_rest_klines_are_the_true_ones_oldest_first_with_the_forming_one(bench: Bench, interval: str) -> None:
    step = INTERVALS[interval]
    forming_open = START - START % step
    answer = await bench.get(BINANCE, "/klines", symbol="ETHUSDT", interval=interval, startTime=forming_open - 30 * step, endTime=START)
    listing = bench.market.listing(BINANCE, "ETHUSDT")
    forming = bench.market.forming(listing, step, START)
    assert forming is not None
    bars = [*bench.market.bars(listing, step, forming_open - 30 * step, forming_open), forming]
    assert answer.json() == [kline_row(bar, listing, step) for bar in bars]
    assert len(bars) == 31


async def test_rest_klines_default_to_the_newest_500(bench: Bench) -> None:
    rows = (await bench.get(BINANCE, "/klines", symbol="BTCUSDT", interval="5m")).json()
    assert [row[0] for row in rows] == [OPEN - at * BAR for at in range(499, -1, -1)]


async def test_rest_klines_from_a_start_are_at_most_1000(bench: Bench) -> None:
    start = OPEN - 1_500 * BAR
    rows = (await bench.get(BINANCE, "/klines", symbol="BTCUSDT", interval="5m", startTime=start, limit=5_000)).json()
    assert [row[0] for row in rows] == [start + at * BAR for at in range(1_000)]
    rows = (await bench.get(BINANCE, "/klines", symbol="BTCUSDT", interval="5m", startTime=0, limit=2)).json()
    assert rows[0][0] == bench.market.listing(BINANCE, "BTCUSDT").listed


async def test_rest_shows_intervals_without_a_trade_flat(bench: Bench) -> None:
    rows = (await bench.get(BINANCE, "/klines", symbol="RLCUSDT", interval="5m", limit=288)).json()
    truth = bench.market.candles(BINANCE, "RLCUSDT", "5m", OPEN - 287 * BAR, OPEN, idle=True)
    assert [(row[0], float(row[4]), float(row[5])) for row in rows[:-1]] == [(c.open_time, c.close, c.volume) for c in truth]
    flat = [row for row in rows if row[8] == 0]
    assert len(flat) > 50
    assert all(row[1] == row[2] == row[3] == row[4] and row[5] == "0.00000000" for row in flat)


@pytest.mark.parametrize(
    ("parameters", "code", "message"),
    [
        ({"symbol": "NOPE", "interval": "5m"}, -1121, "Invalid symbol."),
        ({"symbol": "BTCUSDT", "interval": "7m"}, -1120, "Invalid interval."),
        ({"interval": "5m"}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        (
            {"symbol": "BTCUSDT", "interval": "5m", "limit": "x"},
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
    ],
)
async def test_rest_refuses_what_it_cannot_serve(bench: Bench, parameters: dict[str, str], code: int, message: str) -> None:
    answer = await bench.get(BINANCE, "/klines", **parameters)
    assert (answer.status_code, answer.json()) == (400, {"code": code, "msg": message})


async def test_the_symbols_are_quoted_in_several_currencies_and_one_is_halted(bench: Bench) -> None:
    info = (await bench.get(BINANCE, "/exchangeInfo")).json()
    symbols = {row["symbol"]: row for row in info["symbols"]}
    assert {row["quoteAsset"] for row in symbols.values()} == {"USDT", "USDC", "BTC"}
    assert {name for name, row in symbols.items() if row["status"] == "BREAK"} == {"EOSUSDT"}
    assert symbols["BTCUSDT"]["filters"][0]["tickSize"] == "0.01000000"
    assert info["rateLimits"][0]["limit"] == 6_000
    assert (await bench.get(BINANCE, "/exchangeInfo", symbol="ETHBTC")).json()["symbols"] == [symbols["ETHBTC"]]


async def test_the_day_ticker_comes_for_one_some_or_all_symbols(bench: Bench) -> None:
    one = (await bench.get(BINANCE, "/ticker/24hr", symbol="BTCUSDT")).json()
    some = (await bench.get(BINANCE, "/ticker/24hr", symbols='["BTCUSDT","ETHUSDT"]')).json()
    whole = (await bench.get(BINANCE, "/ticker/24hr")).json()
    assert [row["symbol"] for row in some] == ["BTCUSDT", "ETHUSDT"]
    assert one == some[0] == whole[0]
    assert len(whole) == 24 + 3 + 3 + 1
    day = bench.market.statistics(bench.market.listing(BINANCE, "BTCUSDT"), START)
    assert (one["lastPrice"], one["count"], one["closeTime"]) == (decimal(day.last * 10**6, 8), day.trades, START)
    assert (await bench.get(BINANCE, "/ticker/24hr", symbols="BTCUSDT")).json()["code"] == -1100


async def test_a_pair_of_two_coins_is_priced_as_their_ratio(bench: Bench) -> None:
    window = ("1d", START - 20 * DAY, START)
    rows = [bench.market.candles(BINANCE, symbol, *window) for symbol in ("ETHBTC", "ETHUSDT", "BTCUSDT")]
    for pair, ether, bitcoin in zip(*rows, strict=True):
        assert pair.close == pytest.approx(ether.close / bitcoin.close, rel=0.004)


def test_weights_are_counted_a_minute_and_excess_is_refused_and_then_banned() -> None:
    desk = Desk(exchange(replace(VENUE, rest_limit=100)))

    def ask(real: float) -> Any:
        return desk.answer("/api/v3/exchangeInfo", {}, START, real, "here")

    assert [dict(ask(30.0).headers)["x-mbx-used-weight-1m"] for _ in range(5)] == ["20", "40", "60", "80", "100"]
    refused = ask(30.0)
    assert (refused.status, dict(refused.headers)["retry-after"]) == (429, "31")
    answers = [ask(31.0) for _ in range(10)]
    assert [answer.status for answer in answers] == [429] * 9 + [418]
    assert f"IP banned until {START + 120_000}." in answers[-1].body.decode()
    assert ask(150.9).status == 418
    assert ask(151.1).status == 200


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/api/v3/time", {}, "1"),
        ("/api/v3/klines", {"symbol": ["BTCUSDT"], "interval": ["5m"]}, "2"),
        ("/api/v3/ticker/24hr", {}, "80"),
        ("/api/v3/ticker/24hr", {"symbol": ["BTCUSDT"]}, "2"),
        ("/api/v3/ticker/24hr", {"symbols": ['["BTCUSDT"]']}, "2"),
        ("/api/v3/ticker/24hr", {"symbols": [str([f"S{at}" for at in range(21)]).replace("'", '"')]}, "40"),
    ],
)
def test_requests_weigh_what_the_documentation_says(path: str, query: dict[str, list[str]], weight: str) -> None:
    answer = Desk(exchange(VENUE)).answer(path, query, START, 0.0, "here")
    assert dict(answer.headers)["x-mbx-used-weight-1m"] == weight


async def test_binance_us_is_a_venue_of_the_same_protocol_with_its_own_limit() -> None:
    async with serving(venues=[BINANCE_US]) as bench:
        info = await bench.http.get(bench.sandbox.rest_url("binance-us-sandbox") + "/api/v3/exchangeInfo")
        assert info.json()["rateLimits"][0]["limit"] == 1_200


@pytest.mark.parametrize(("speed", "seconds"), [(60, 600), (1000, 10_000)])
def test_a_fast_market_sends_a_stream_two_to_four_times_a_real_second_besides_its_closes(speed: int, seconds: int) -> None:
    session = Session(exchange(VENUE, speed), "/ws/btcusdt@kline_5m/btcusdt@ticker", {}, START)
    frames = [frame for second in range(0, seconds, speed // 20) for frame in session.advance(START + second * 1_000)]
    klines = [frame.message["data"]["k"] for frame in frames if frame.channel == "candles"]
    closes = [kline["t"] for kline in klines if kline["x"]]
    assert closes == list(range(OPEN, START + seconds * 1_000 - BAR, BAR))
    real_seconds = seconds / speed
    assert 2 * real_seconds <= len(klines) - len(closes) <= 4 * real_seconds
    assert 3 * real_seconds <= len(frames) - len(klines) <= 4 * real_seconds


async def test_at_a_thousand_times_real_speed_every_close_still_comes() -> None:
    async with serving(clock=ManualClock(START, speed=1000)) as bench:
        client = await bench.binance("btcusdt@kline_5m", "rlcusdt@kline_5m")
        for _ in range(60):
            bench.clock.advance(50_000)
        closes: dict[str, list[int]] = {"BTCUSDT": [], "RLCUSDT": []}
        while min(map(len, closes.values())) < 10:
            data = (await client.receive())["data"]
            if data["k"]["x"]:
                closes[data["s"]].append(data["k"]["t"])
        expected = [OPEN + at * BAR for at in range(10)]
        assert {symbol: opens[:10] for symbol, opens in closes.items()} == {"BTCUSDT": expected, "RLCUSDT": expected}
