"""Coinbase as a client meets it on the wire: websocket and REST."""

import re
from dataclasses import replace
from typing import Any

import pytest

from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.coinbase import Desk, Session
from exchanges.sandbox.coinbase_rest import GRANULARITIES
from exchanges.sandbox.protocol import shortest
from exchanges.sandbox.venues import COINBASE as VENUE
from tests.exchanges.sandbox.conftest import BAR, COINBASE, START, Bench, exchange, is_ack, serving

DAY = 86_400_000


def _updates(frames: list[Any], product: str) -> list[tuple[str, dict[str, str]]]:
    """(timestamp, candle) of each update of a product."""
    return [
        (frame["timestamp"], event["candles"][0])
        for frame in frames
        if frame.get("channel") == "candles"
        for event in frame["events"]
        if event["type"] == "update" and event["candles"][0]["product_id"] == product
    ]


async def test_data_comes_before_the_acknowledgement_which_lists_the_whole_current_set(bench: Bench) -> None:
    client = await bench.coinbase(("candles", ["BTC-USD", "ETH-USD"]), ("ticker", ["BTC-USD"]), ("heartbeats", []))
    first = await client.until(is_ack)
    assert [frame["channel"] for frame in first] == ["candles", "candles", "subscriptions"]
    assert {key: sorted(ids) for key, ids in first[-1]["events"][0]["subscriptions"].items()} == {"candles": ["BTC-USD", "ETH-USD"]}
    second = await client.until(is_ack)
    assert [frame["channel"] for frame in second] == ["ticker", "subscriptions"]
    (third,) = await client.until(is_ack)
    whole = third["events"][0]["subscriptions"]
    assert list(whole) == ["candles", "heartbeats", "ticker"]
    assert whole["heartbeats"] == ["heartbeats"]
    assert [frame["sequence_num"] for frame in client.frames] == list(range(6))


async def test_an_unknown_product_is_left_out_of_the_acknowledgement_without_a_word(bench: Bench) -> None:
    client = await bench.coinbase(("candles", ["NOPE-USD", "BTC-USD"]))
    frames = await client.until(is_ack)
    assert frames[-1]["events"] == [{"subscriptions": {"candles": ["BTC-USD"]}}]
    assert len(frames) == 2


async def test_an_unknown_channel_is_answered_authentication_failure_and_the_connection_goes_on(bench: Bench) -> None:
    client = await bench.coinbase(("level3", ["BTC-USD"]), ("ticker", ["BTC-USD"]))
    assert await client.receive() == {"type": "error", "message": "authentication failure"}
    assert (await client.receive())["sequence_num"] == 0


async def test_a_broken_message_is_answered_with_an_error(bench: Bench) -> None:
    client = await bench.connect(COINBASE)
    await client.send("{")
    assert await client.receive() == {"type": "error", "message": "failed to parse message"}
    await client.send({"type": "shout", "channel": "ticker"})
    assert await client.receive() == {"type": "error", "message": "unknown message type"}


def test_more_than_eight_messages_a_second_are_refused() -> None:
    session = Session(exchange(VENUE), "", {}, START)
    message = '{"type":"subscribe","channel":"heartbeats"}'
    answers = [session.receive(message, START, at / 100)[0] for at in range(9)]
    assert [answer.message.get("message") for answer in answers] == [None] * 8 + ["rate limit exceeded"]
    assert session.receive(message, START, 1.5)[0].channel == "ack"


async def test_the_snapshot_holds_a_hundred_candles_with_holes_and_the_forming_one_last() -> None:
    async with serving(stale_ms=0) as bench:
        client = await bench.coinbase(("candles", ["BTC-USD"]), ("candles", ["ETH-USD"]))
        snapshots = [
            frame["events"][0] for frame in await client.until(is_ack) + await client.until(is_ack) if frame["channel"] == "candles"
        ]
        holes = {}
        for snapshot in snapshots:
            assert snapshot["type"] == "snapshot"
            starts = [int(row["start"]) for row in snapshot["candles"]]
            assert len(starts) == 100
            assert starts == sorted(set(starts))
            assert starts[-1] * 1000 == START - START % BAR
            holes[snapshot["candles"][0]["product_id"]] = (starts[-1] - starts[0]) // 300 + 1 - 100
        assert 30 < holes["BTC-USD"] < 80
        assert 0 < holes["ETH-USD"] < 6


async def test_every_snapshot_row_but_the_last_is_a_true_candle(bench: Bench) -> None:
    client = await bench.coinbase(("candles", ["ETH-USD"]))
    (snapshot, _) = await client.until(is_ack)
    rows = snapshot["events"][0]["candles"]
    truth = {candle.open_time: candle for candle in bench.market.candles(COINBASE, "ETH-USD", "5m", START - DAY, START - START % BAR)}
    for row in rows[:-1]:
        candle = truth[int(row["start"]) * 1000]
        told = tuple(float(row[name]) for name in ("open", "high", "low", "close", "volume"))
        assert told == (candle.open, candle.high, candle.low, candle.close, candle.volume)


async def test_updates_show_the_forming_candle_as_it_was_some_seconds_ago(bench: Bench) -> None:
    client = await bench.beating(("candles", ["BTC-USD"]))
    await bench.seconds(client, 300)
    updates = _updates(client.frames, "BTC-USD")
    listing = bench.market.listing(COINBASE, "BTC-USD")
    assert len(updates) > 10
    seen = set()
    for timestamp, row in updates:
        moment = START + int(float(timestamp[17:-1]) * 1000) - 1_000 + (int(timestamp[14:16]) - 1) * 60_000
        states = {
            lag: bench.market.forming(listing, BAR, moment - lag) for lag in range(0, 20_000, 100) if (moment - lag) // BAR == moment // BAR
        }
        lags = [
            lag
            for lag, bar in states.items()
            if bar is not None and row["close"] == shortest(bar.close, 2) and row["volume"] == shortest(bar.volume, 8)
        ]
        assert lags
        assert int(row["start"]) * 1000 == moment - moment % BAR
        seen.add(min(lags) > 0)
    assert seen == {True, False}


async def test_the_last_update_of_a_candle_can_miss_trades_and_a_closed_candle_is_never_sent_again(bench: Bench) -> None:
    products = ["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "ADA-USD", "DOGE-USD"]
    client = await bench.beating(("candles", products))
    await bench.seconds(client, 600)
    missed = 0
    for product in products:
        rows = [row for _, row in _updates(client.frames, product)]
        starts = [int(row["start"]) for row in rows]
        assert starts == sorted(starts)
        closing = START - START % BAR + BAR
        last = [row for row in rows if int(row["start"]) * 1000 == closing][-1]
        (truth,) = bench.market.candles(COINBASE, product, "5m", closing, closing + BAR)
        missed += float(last["volume"]) < truth.volume
    assert missed >= 2


async def test_a_jump_over_many_candles_sends_none_of_the_closed_ones(bench: Bench) -> None:
    client = await bench.beating(("candles", ["BTC-USD"]))
    bench.clock.advance(50 * BAR)
    await client.until(lambda frame: frame["channel"] == "heartbeats")
    assert {int(row["start"]) * 1000 for _, row in _updates(client.frames, "BTC-USD")} <= {bench.clock.now() - bench.clock.now() % BAR}


async def test_an_idle_product_sends_no_candle_update() -> None:
    async with serving(stale_ms=0) as bench:
        listing = bench.market.listing(COINBASE, "RLC-USD")
        open_time = next(
            bar.open_time for bar in bench.market.bars(listing, BAR, START, START + DAY) if bar.trades == 0 and bar.open_time > START
        )
        bench.clock.advance(open_time - START)
        client = await bench.beating(("candles", ["RLC-USD"]))
        await bench.seconds(client, 290)
        assert _updates(client.frames, "RLC-USD") == []


async def test_heartbeats_carry_the_market_time_and_a_whole_number(bench: Bench) -> None:
    client = await bench.coinbase(("heartbeats", []))
    await client.until(is_ack)
    bench.clock.advance(1_000)
    beat = await client.receive()
    event = beat["events"][0]
    assert (beat["channel"], list(beat)) == ("heartbeats", ["channel", "timestamp", "sequence_num", "events"])
    assert beat["timestamp"].startswith("2026-02-25T13:01:01.25")
    assert re.fullmatch(r"2026-02-25 13:01:01\.25\d* \+0000 UTC m=\+41000\.25\d*", event["current_time"])
    assert event["heartbeat_counter"] == 41_000


async def test_the_ticker_follows_the_trades(bench: Bench) -> None:
    client = await bench.coinbase(("ticker", ["BTC-USD"]))
    snapshot, _ = await client.until(is_ack)
    assert snapshot["events"][0]["type"] == "snapshot"
    listing = bench.market.listing(COINBASE, "BTC-USD")
    moment = bench.market.next_trade(listing, START)
    bench.clock.advance(moment - START)
    row = (await client.receive())["events"][0]["tickers"][0]
    day = bench.market.statistics(listing, moment)
    assert (row["price"], row["volume_24_h"]) == (shortest(day.last, 2), shortest(day.volume, 8))
    assert float(row["best_ask"]) - float(row["best_bid"]) == pytest.approx(0.01)
    assert row["price"] in (row["best_bid"], row["best_ask"])


async def test_the_batched_ticker_comes_every_five_seconds_without_best_prices(bench: Bench) -> None:
    client = await bench.coinbase(("ticker_batch", ["ETH-USD"]))
    await client.until(is_ack)
    bench.clock.advance(5_000)
    frame = await client.receive()
    assert frame["channel"] == "ticker_batch"
    assert "best_bid" not in frame["events"][0]["tickers"][0]


async def test_a_usdc_product_shows_the_usd_book_under_its_name(bench: Bench) -> None:
    client = await bench.coinbase(("ticker", ["BTC-USDC"]))
    snapshot, ack = await client.until(is_ack)
    assert snapshot["events"][0]["tickers"][0]["product_id"] == "BTC-USD"
    assert ack["events"] == [{"subscriptions": {"ticker": ["BTC-USDC"]}}]


async def test_a_halted_product_is_acknowledged_and_stays_silent(bench: Bench) -> None:
    client = await bench.coinbase(("ticker", ["MKR-USD"]))
    assert [frame["channel"] for frame in await client.until(is_ack)] == ["subscriptions"]
    bench.clock.advance(60_000)
    await client.send({"type": "unsubscribe", "channel": "ticker"})
    assert (await client.receive())["events"] == [{"subscriptions": {}}]


async def test_unsubscribing_ends_some_products_or_the_whole_channel(bench: Bench) -> None:
    client = await bench.coinbase(("ticker", ["BTC-USD", "ETH-USD", "SOL-USD"]))
    await client.until(is_ack)
    await client.send({"type": "unsubscribe", "channel": "ticker", "product_ids": ["BTC-USD"]})
    ack = await client.receive()
    assert sorted(ack["events"][0]["subscriptions"]["ticker"]) == ["ETH-USD", "SOL-USD"]
    bench.clock.advance(60_000)
    await client.send({"type": "unsubscribe", "channel": "ticker"})
    *updates, last = await client.until(is_ack)
    assert {frame["events"][0]["tickers"][0]["product_id"] for frame in updates} == {"ETH-USD", "SOL-USD"}
    assert last["events"] == [{"subscriptions": {}}]


async def test_a_connection_that_does_not_subscribe_within_five_seconds_is_closed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanges.sandbox.coinbase.Session.deadline", 0.05)
    client = await bench.connect(COINBASE)
    assert await client.closed() == (1008, "no subscription within 5 seconds")


async def test_rest_tells_the_market_time_as_strings(bench: Bench) -> None:
    answer = await bench.get(COINBASE, "/time")
    assert answer.json() == {"iso": "2026-02-25T13:01:01Z", "epochSeconds": "1772024461", "epochMillis": "1772024461000"}


@pytest.mark.parametrize("granularity", GRANULARITIES)
async def test_rest_candles_are_the_true_closed_ones_newest_first(bench: Bench, granularity: str) -> None:
    step = GRANULARITIES[granularity]
    start = START - START % step - 50 * step
    answer = await bench.get(COINBASE, "/market/products/ETH-USD/candles", start=start // 1000, end=START // 1000, granularity=granularity)
    listing = bench.market.listing(COINBASE, "ETH-USD")
    truth = bench.market.bars(listing, step, start, START - START % step)
    assert len(truth) == 50
    assert answer.json()["candles"] == [
        {
            "start": str(bar.open_time // 1000),
            "low": shortest(bar.low, 2),
            "high": shortest(bar.high, 2),
            "open": shortest(bar.open, 2),
            "close": shortest(bar.close, 2),
            "volume": shortest(bar.volume, 8),
        }
        for bar in reversed(truth)
    ]


async def test_rest_has_a_candle_the_moment_it_closed_and_never_the_forming_one(bench: Bench) -> None:
    window = {"start": START // 1000 - 600, "end": START // 1000 + 600, "granularity": "FIVE_MINUTE"}
    before = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **window)).json()["candles"]
    bench.clock.advance(BAR - START % BAR - 1)
    just_before = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **window)).json()["candles"]
    bench.clock.advance(1)
    after = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **window)).json()["candles"]
    assert before == just_before == after[1:]
    assert int(after[0]["start"]) * 1000 == START - START % BAR


async def test_rest_leaves_out_intervals_without_a_trade(bench: Bench) -> None:
    window = {"start": START // 1000 - 86_400, "end": START // 1000 - 1, "granularity": "FIVE_MINUTE", "limit": 350}
    rows = (await bench.get(COINBASE, "/market/products/RLC-USD/candles", **window)).json()["candles"]
    truth = bench.market.candles(COINBASE, "RLC-USD", "5m", START - DAY, START - START % BAR)
    assert [int(row["start"]) * 1000 for row in rows] == [candle.open_time for candle in reversed(truth)]
    assert len(rows) < 200


async def test_rest_without_a_range_gives_the_newest_and_one_less_than_the_limit(bench: Bench) -> None:
    rows = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", granularity="FIVE_MINUTE", limit=20)).json()["candles"]
    assert len(rows) == 19
    assert int(rows[0]["start"]) * 1000 == START - START % BAR - BAR


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"granularity": "FOUR_HOUR"}, "granularity argument is invalid"),
        ({"granularity": "ONE_MINUTE"}, "granularity argument is invalid"),
        ({}, "granularity argument is invalid"),
        ({"granularity": "FIVE_MINUTE", "limit": 351}, "number of candles requested should be less than 350"),
        ({"granularity": "FIVE_MINUTE", "start": 1_772_000_100, "end": 1_772_000_100 + 350 * 300}, "should be less than 350"),
        ({"granularity": "FIVE_MINUTE", "start": "yesterday"}, "start argument is invalid"),
        ({"granularity": "FIVE_MINUTE", "start": 20, "end": 10}, "start must be before end"),
    ],
)
async def test_rest_refuses_what_it_cannot_serve(bench: Bench, parameters: dict[str, Any], message: str) -> None:
    answer = await bench.get(COINBASE, "/market/products/BTC-USD/candles", **parameters)
    assert answer.status_code == 400
    assert answer.json()["error"] == "INVALID_ARGUMENT"
    assert message in answer.json()["message"]


async def test_rest_serves_350_candles_at_once(bench: Bench) -> None:
    window = {"granularity": "FIVE_MINUTE", "start": 1_771_900_200, "end": 1_771_900_200 + 349 * 300}
    rows = (await bench.get(COINBASE, "/market/products/BTC-USD/candles", **window)).json()["candles"]
    assert len(rows) == 350


@pytest.mark.parametrize("path", ["/market/products/NOPE-USD", "/market/products/NOPE-USD/candles", "/market/products/NOPE-USD/ticker"])
async def test_rest_says_that_it_does_not_know_a_product(bench: Bench, path: str) -> None:
    answer = await bench.get(COINBASE, path, granularity="FIVE_MINUTE")
    assert answer.status_code == 404
    assert answer.json()["message"] == "Product NOPE-USD not supported"


async def test_the_products_list_aliases_and_markets_that_are_not_traded(bench: Bench) -> None:
    listed = (await bench.get(COINBASE, "/market/products", product_type="SPOT")).json()
    products = {product["product_id"]: product for product in listed["products"]}
    assert listed["num_products"] == len(products) == 24 * 2 + 2
    assert products["BTC-USD"]["alias_to"] == ["BTC-USDC"]
    assert products["BTC-USDC"]["alias"] == "BTC-USD"
    assert products["BTC-USDC"]["approximate_quote_24h_volume"] == products["BTC-USD"]["approximate_quote_24h_volume"]
    told = [(products[name]["status"], products[name]["trading_disabled"], products[name]["volume_24h"]) for name in ("EOS-USD", "MKR-USD")]
    assert told == [("delisted", True, ""), ("online", True, "")]
    assert (products["BTC-USD"]["status"], products["BTC-USD"]["trading_disabled"]) == ("online", False)


async def test_the_volumes_of_a_product_are_those_of_its_candles(bench: Bench) -> None:
    product = (await bench.get(COINBASE, "/market/products/SOL-USD")).json()
    day = bench.market.statistics(bench.market.listing(COINBASE, "SOL-USD"), START)
    assert product["volume_24h"] == shortest(day.volume, 8)
    quote = float(product["approximate_quote_24h_volume"])
    assert day.low / 100 < quote / float(product["volume_24h"]) < day.high / 100


def test_more_than_ten_requests_a_second_are_refused() -> None:
    desk = Desk(exchange(VENUE))
    answers = [desk.answer("/api/v3/brokerage/time", {}, START, 0.0, "here") for _ in range(13)]
    assert [answer.status for answer in answers] == [200] * 12 + [429]
    assert dict(answers[0].headers)["x-ratelimit-limit"] == "10"
    assert dict(answers[-1].headers)["x-ratelimit-remaining"] == "0"
    assert b"RESOURCE_EXHAUSTED" in answers[-1].body
    assert desk.answer("/api/v3/brokerage/time", {}, START, 0.0, "elsewhere").status == 200
    assert desk.answer("/api/v3/brokerage/time", {}, START, 0.1, "here").status == 200


def test_the_request_limit_can_be_lifted() -> None:
    desk = Desk(exchange(replace(VENUE, rest_limit=0)))
    assert {desk.answer("/api/v3/brokerage/time", {}, START, 0.0, "here").status for _ in range(1_000)} == {200}


async def test_a_fast_market_still_sends_at_least_two_heartbeats_a_real_second() -> None:
    async with serving(clock=ManualClock(START, speed=1000)) as bench:
        client = await bench.coinbase(("heartbeats", []))
        await client.until(is_ack)
        times = []
        for _ in range(8):
            bench.clock.advance(250_000)
            times.append((await client.receive())["events"][0]["current_time"][11:19])
        assert times[:3] == ["13:02:03", "13:06:13", "13:10:23"]
