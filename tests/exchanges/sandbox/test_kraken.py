"""The simulated Kraken, as its real clients meet it."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from exchanges.sandbox.kraken import Session
from exchanges.sandbox.kraken_rest import Desk, pair_key
from exchanges.sandbox.venues import KNOWN
from tests.exchanges.sandbox.conftest import BAR, KRAKEN, START, Bench, Client, exchange, serving
from tests.exchanges.sandbox.test_recordings import FIXTURES, _form, _recorded

VENUE = KNOWN[KRAKEN]
SESSIONS = FIXTURES / "kraken/ws_v2_misc"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving(venues=[VENUE]) as running:
        yield running


async def subscribed(bench: Bench, channel: str, *symbols: str, **more: Any) -> Client:
    client = await bench.connect(KRAKEN, "/v2")
    await client.send({"method": "subscribe", "params": {"channel": channel, "symbol": list(symbols), **more}, "req_id": 7})
    return client


async def asked(bench: Bench, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await bench.http.get(f"{bench.sandbox.rest_url(KRAKEN)}/0/public/{path}", params=parameters)
    assert answer.status_code == 200
    return answer.json()


async def test_a_status_comes_first_with_a_number_beyond_63_bits(bench: Bench) -> None:
    client = await bench.connect(KRAKEN)
    (status,) = await client.until(lambda frame: True)
    assert status["channel"] == "status"
    assert status["data"][0]["connection_id"] >= 2**63


async def test_each_symbol_has_its_ack_and_then_its_snapshot(bench: Bench) -> None:
    client = await subscribed(bench, "ohlc", "BTC/USD", "RLC/USD", interval=5)
    frames = [await client.receive() for _ in range(5)]
    assert [frame.get("method", frame.get("channel")) for frame in frames] == ["status", "subscribe", "ohlc", "subscribe", "ohlc"]
    assert [frames[at]["result"]["symbol"] for at in (1, 3)] == ["BTC/USD", "RLC/USD"]
    assert frames[1]["req_id"] == 7
    busy, thin = frames[2]["data"], frames[4]["data"]
    assert len(busy) == 720
    assert len({row["interval_begin"] for row in thin}) == len(thin) < 720, "idle intervals are left out"
    assert busy[-1]["interval_begin"] == "2026-02-25T13:00:00.000000000Z"


@pytest.mark.parametrize("symbol", ["XBT/USD", "XDG/USD", "BTCUSD", "btc/usd", "NOPE/USD"])
async def test_other_spellings_are_refused_one_by_one_and_the_socket_goes_on(bench: Bench, symbol: str) -> None:
    client = await subscribed(bench, "ohlc", symbol, "ETH/USD", interval=5)
    _, refusal, ack = [await client.receive() for _ in range(3)]
    assert (refusal["success"], refusal["symbol"], refusal["error"]) == (False, symbol, f"Currency pair not supported {symbol}")
    assert ack["success"] is True


async def test_what_was_refused_says_subscribe_whatever_was_asked(bench: Bench) -> None:
    client = await bench.connect(KRAKEN)
    for message in ({"method": "unsubscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 5}}, {"method": "dance"}, 5):
        await client.send(message)
    answers = [frame for frame in [await client.receive() for _ in range(4)] if "channel" not in frame]
    assert [(answer["method"], answer["success"]) for answer in answers] == [("subscribe", False)] * 3


async def test_updates_show_the_forming_candle_only_and_never_a_close(bench: Bench) -> None:
    client = await subscribed(bench, "ohlc", "BTC/USD", interval=5, snapshot=False)
    await client.until(lambda frame: "method" in frame)
    for _ in range(6 * 10):
        bench.clock.advance(10_000)
        await client.until(lambda frame: frame["channel"] in ("ohlc", "heartbeat"))
    rows = [row for frame in client.frames if frame.get("channel") == "ohlc" for row in frame["data"]]
    begins = [row["interval_begin"] for row in rows]
    assert begins == sorted(begins)
    assert len(set(begins)) == 3
    volumes = [row["volume"] for row in rows if row["interval_begin"] == begins[0]]
    assert volumes == sorted(volumes)


def test_a_heartbeat_comes_only_after_a_subscription_and_only_into_silence() -> None:
    session = Session(exchange(VENUE), "/v2", {}, START)
    session.advance(START)
    assert session.advance(START + 5_000) == []
    assert session.next_due is None
    session.receive('{"method":"subscribe","params":{"channel":"ticker","symbol":["EOS/USD"]}}', START + 5_000, 0.0)
    assert session.next_due == START + 6_000
    beats = [frame.message for second in range(6, 10) for frame in session.advance(START + second * 1_000)]
    assert beats == [{"channel": "heartbeat"}] * 4


async def test_a_ping_is_answered_with_its_number(bench: Bench) -> None:
    client = await bench.connect(KRAKEN)
    await client.send({"method": "ping", "req_id": 5})
    (pong,) = [frame for frame in [await client.receive() for _ in range(2)] if "method" in frame]
    assert (pong["method"], pong["req_id"]) == ("pong", 5)


async def test_listings_have_the_old_names_in_rest(bench: Bench) -> None:
    pairs = (await asked(bench, "AssetPairs"))["result"]
    assert (pairs["XXBTZUSD"]["wsname"], pairs["XXBTZUSD"]["altname"]) == ("XBT/USD", "XBTUSD")
    assert (pairs["XDGUSD"]["wsname"], pairs["SOLUSD"]["wsname"], pairs["XBTUSDT"]["wsname"]) == ("XDG/USD", "SOL/USD", "XBT/USDT")
    assert {pair["status"] for pair in pairs.values()} == {"online", "cancel_only", "post_only"}
    tickers = (await asked(bench, "Ticker"))["result"]
    assert list(tickers) == list(pairs)


@pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "BTC/USD"])
async def test_rows_come_under_the_name_that_was_asked_for_with_the_forming_one_last(bench: Bench, name: str) -> None:
    result = (await asked(bench, "OHLC", pair=name, interval=5))["result"]
    rows = result[name]
    assert len(rows) == 720
    assert rows[-1][0] * 1000 == START - START % BAR
    assert result["last"] * 1000 == START - START % BAR - BAR
    since = (await asked(bench, "OHLC", pair=name, interval=5, since=rows[-3][0]))["result"][name]
    assert since == rows[-2:]


async def test_idle_intervals_are_filled_in(bench: Bench) -> None:
    rows = (await asked(bench, "OHLC", pair="RLC/USD", interval=5))["result"]["RLC/USD"]
    idle = [row for row in rows if row[7] == 0]
    assert len(rows) == 720
    assert idle
    assert all(row[1] == row[2] == row[3] == row[4] and (row[5], row[6]) == ("0.0", "0.00000000") for row in idle)


@pytest.mark.parametrize(
    ("path", "parameters", "error"),
    [
        ("OHLC", {"pair": "XBT/USD", "interval": 5}, "EQuery:Unknown asset pair"),
        ("OHLC", {"pair": "XBTUSD", "interval": 7}, "EGeneral:Invalid arguments"),
        ("OHLC", {"pair": "XBTUSD", "interval": 5, "since": "x"}, "EGeneral:Invalid arguments"),
        ("Nothing", {}, "EGeneral:Unknown method"),
    ],
)
async def test_refusals_come_in_a_200(bench: Bench, path: str, parameters: dict[str, Any], error: str) -> None:
    assert await asked(bench, path, **parameters) == {"error": [error]}


def test_too_many_requests_are_refused_in_a_200() -> None:
    desk = Desk(exchange(replace(VENUE, rest_limit=1)))
    answers = [json.loads(desk.answer("/0/public/Time", {}, START, 0.0, "here").body) for _ in range(16)]
    assert [answer["error"] for answer in answers] == [[]] * 15 + [["EAPI:Rate limit exceeded"]]
    assert json.loads(desk.answer("/0/public/Time", {}, START, 1.0, "here").body)["error"] == []


def test_only_pairs_of_two_of_the_oldest_assets_have_the_long_key() -> None:
    keys = {row.symbol: pair_key(row) for row in exchange(VENUE).listings.values()}
    assert [keys[symbol] for symbol in ("ETH/USD", "ETH/USDT", "ADA/USD", "DOGE/USD")] == ["XETHZUSD", "ETHUSDT", "ADAUSD", "XDGUSD"]


@pytest.mark.parametrize(
    ("name", "channel"), [("live_2026-10-06_ohlc_session.jsonl", "ohlc"), ("live_2026-09-24_ticker_session.jsonl", "ticker")]
)
async def test_frames_have_the_form_of_recorded_ones(bench: Bench, name: str, channel: str) -> None:
    recorded = [json.loads(line) for line in _recorded(SESSIONS / name).splitlines()]
    client = await subscribed(bench, channel, "BTC/USD", "NOPE/USD", **({"interval": 5} if channel == "ohlc" else {}))
    await client.until(lambda frame: frame.get("success") is False)
    bench.clock.advance(30_000)
    await client.until(lambda frame: frame.get("type") == "update" and frame["channel"] == channel)
    for theirs in recorded:
        if theirs.get("channel") not in ("status", "heartbeat"):
            ours = next(frame for frame in client.frames if kind(frame) == kind(theirs))
            ours.pop("req_id", None)  # theirs asked without a number
            assert spelled(ours) == spelled(theirs)
            assert list(ours) == list(theirs)


def kind(frame: dict[str, Any]) -> tuple[Any, ...]:
    return frame.get("channel"), frame.get("type"), frame.get("success")


def spelled(frame: dict[str, Any]) -> str:
    """The form of a frame; whole and broken numbers are one kind in JSON, and digits of a fraction may be more or fewer."""
    return json.dumps(_form(frame)).replace('"int"', '"float"').replace(".0Z", "Z")
