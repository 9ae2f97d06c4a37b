"""Candles, indicators and prices as everybody reads them in Redis: the bytes of the contract."""

import json
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from redis.asyncio import Redis

from exchanges.events import TIMEFRAMES, Ticker
from livermore import bus
from market_data import store
from market_data.candles import STEP, Bar
from market_data.macdv import Reading
from market_data.series import Series
from market_data.store import Close, Keys, Stored
from tests import oracle

T0 = 1_772_402_400_000
KEY = "candles:coinbase:BTC-USD:5m"
INDICATOR = "indicator:coinbase:BTC-USD:5m:macdv"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = bus.connect()
    yield client
    await client.aclose()


def bar(at: int, close: float = 100.5, *, synthetic: bool = False) -> Bar:
    return Bar(T0 + at * STEP, 100.0, 102.25, 99.0, close, 0.0 if synthetic else 12.5, synthetic)


def walked(count: int) -> tuple[Series, list[Bar]]:
    """A series that has taken ``count`` candles."""
    series = Series("BTC-USD", "5m")
    bars = [bar(at, 100 + at % 7 / 4, synthetic=at % 11 == 3) for at in range(count)]
    for one in bars:
        series.advance(one)
    return series, bars


def close_of(series: Series, last: Bar) -> Close:
    return Close(series.symbol, series.timeframe, last, store.indicator_value(series, series.indicator.reading))


async def members(redis: Redis) -> list[tuple[bytes, float]]:
    return list(await redis.zrange(KEY, 0, -1, withscores=True))


async def test_a_candle_is_stored_in_the_bytes_of_the_contract(redis: Redis) -> None:
    series, bars = walked(4)
    await store.write_history(redis, "coinbase", series, bars[2:])

    assert await members(redis) == [
        (b"[1772403000000,100.0,102.25,99.0,100.5,12.5,0]", 1_772_403_000_000.0),
        (b"[1772403300000,100.0,102.25,99.0,100.75,0.0,1]", 1_772_403_300_000.0),
    ]


async def test_an_indicator_is_stored_with_the_fields_of_the_contract(redis: Redis) -> None:
    series, bars = walked(300)
    await store.write_history(redis, "coinbase", series, bars)
    value = oracle.macdv([[*one[:6], int(one.synthetic)] for one in bars])[-1]

    assert json.loads(await redis.get(INDICATOR)) == {
        "t": T0 + 299 * STEP,
        "close": bars[-1].close,
        "macdv": pytest.approx(value.macdv, abs=1e-9),
        "signal": pytest.approx(value.signal, abs=1e-9),
        "histogram": pytest.approx(value.histogram, abs=1e-9),
        "atr": pytest.approx(value.atr, abs=1e-9),
        "stage": value.stage,
        "seeded": True,
        "observed": 273,
        "span": 300,
        "reason": "",
    }


READINGS = "readings:coinbase:BTC-USD:5m"


def with_readings(count: int) -> tuple[Series, list[Bar], dict[int, Reading]]:
    """A series that has taken ``count`` candles, and what it said after each."""
    series = Series("BTC-USD", "5m")
    bars = [bar(at, 100 + at % 7 / 4) for at in range(count)]
    return series, bars, {one.open_time: series.advance(one).current for one in bars}


async def readings_of(redis: Redis) -> list[list[Any]]:
    return [json.loads(member) for member in await redis.zrange(READINGS, 0, -1)]


async def test_readings_are_stored_beside_the_candles_and_the_last_is_the_indicator(redis: Redis) -> None:
    series, bars, readings = with_readings(60)
    await store.write_history(redis, "coinbase", series, bars[:59], readings={one: readings[one] for one in list(readings)[:59]})
    await store.write_closes(redis, "coinbase", [close_of(series, bars[59])])

    rows = await readings_of(redis)
    assert rows == [[at, *reading[:3], reading.stage] for at, reading in readings.items()]
    assert rows[0] == [T0, None, None, None, "unknown"]
    indicator = json.loads(await redis.get(INDICATOR))
    assert rows[-1] == [indicator[name] for name in ("t", "macdv", "signal", "histogram", "stage")]
    assert store.read_series("coinbase", "BTC-USD", "5m", limit=2).readings == rows[-2:]


async def test_the_newest_thousand_readings_are_kept(redis: Redis) -> None:
    series, bars, readings = with_readings(1_010)
    await store.write_history(redis, "coinbase", series, bars, readings=readings)
    assert [row[0] for row in await readings_of(redis)] == [one.open_time for one in bars[10:]]


async def test_a_reading_between_those_that_are_written_stays(redis: Redis) -> None:
    series, bars, readings = with_readings(40)
    exact = {bars[35].open_time: Reading(1.0, 2.0, -1.0, 3.0, "retracing")}
    await store.write_history(redis, "coinbase", series, [], readings=exact)
    await store.write_history(redis, "coinbase", series, bars, readings={at: one for at, one in readings.items() if at not in exact})

    assert await store.held_readings(redis, "coinbase", "BTC-USD", "5m") == set(readings)
    assert (await readings_of(redis))[35] == [bars[35].open_time, 1.0, 2.0, -1.0, "retracing"]


async def test_a_revised_candle_keeps_the_reading_that_was_evaluated(redis: Redis) -> None:
    series, bars, readings = with_readings(40)
    await store.write_history(redis, "coinbase", series, bars, readings=readings)
    before = await readings_of(redis)
    await store.write_history(redis, "coinbase", series, [bar(38, 101.75)])
    assert await readings_of(redis) == before


async def test_an_indicator_without_a_value_says_why(redis: Redis) -> None:
    series, bars = walked(20)
    await store.write_history(redis, "coinbase", series, bars)

    found = json.loads(await redis.get(INDICATOR))
    assert (found["macdv"], found["signal"], found["histogram"], found["atr"]) == (None, None, None, None)
    assert (found["stage"], found["seeded"], found["reason"]) == ("unknown", False, "warming: 20 of 250 candles")


async def test_the_newest_thousand_candles_are_kept(redis: Redis) -> None:
    series, bars = walked(1_205)
    await store.write_history(redis, "coinbase", series, bars[:1_200])
    assert [score for _, score in await members(redis)] == [T0 + at * STEP for at in range(200, 1_200)]

    await store.write_closes(redis, "coinbase", [close_of(series, one) for one in bars[1_200:]])
    assert [score for _, score in await members(redis)] == [T0 + at * STEP for at in range(205, 1_205)]


async def test_a_candle_that_is_written_again_replaces_the_old_one(redis: Redis) -> None:
    series, bars = walked(5)
    await store.write_history(redis, "coinbase", series, bars)
    await store.write_closes(redis, "coinbase", [close_of(series, bar(4, 101.75))])
    await store.write_history(redis, "coinbase", series, [bar(1, 99.5), bar(2)])

    rows = [json.loads(member) for member, _ in await members(redis)]
    assert [(row[0], row[4]) for row in rows] == [
        (T0 + at * STEP, close) for at, close in enumerate([bars[0].close, 99.5, 100.5, bars[3].close, 101.75])
    ]


async def test_older_candles_stay_when_a_shorter_history_is_written(redis: Redis) -> None:
    series, bars = walked(30)
    await store.write_history(redis, "coinbase", series, bars[:20])
    await store.write_history(redis, "coinbase", series, bars[10:])

    assert [json.loads(member)[0] for member, _ in await members(redis)] == [one.open_time for one in bars]
    assert await store.count_candles(redis, "coinbase", "BTC-USD", "5m") == 30


async def test_a_history_without_candles_writes_the_indicator_only(redis: Redis) -> None:
    series, _ = walked(3)
    await store.write_history(redis, "coinbase", series, [])

    assert await redis.keys("*") == [INDICATOR.encode()]


async def test_a_close_is_published_with_the_candle_and_the_indicator_that_stand_in_redis(redis: Redis) -> None:
    series, bars = walked(300)
    messages = redis.pubsub()
    await messages.psubscribe("channel:*")
    await messages.get_message(timeout=2)
    closes = [close_of(series, bars[-1])]
    await store.write_closes(redis, "coinbase", closes)
    assert await messages.get_message(timeout=0.05) is None, "writing is not publishing"
    await store.publish_closes(redis, "coinbase", closes)

    message = await messages.get_message(timeout=2)
    await messages.aclose()
    assert message["channel"] == b"channel:exchange:coinbase:candle:close:BTC-USD:5m"
    said = json.loads(message["data"])
    assert 0 <= time.time() * 1000 - said.pop("published_at") < 60_000
    assert said == {
        "type": "candle",
        "exchange_id": "coinbase",
        "symbol": "BTC-USD",
        "timeframe": "5m",
        "candle": json.loads((await redis.zrange(KEY, -1, -1))[0]),
        "indicator": json.loads(await redis.get(INDICATOR)),
    }


@pytest.mark.parametrize("keepers", [{}, {"BTC-USD": 7}])
async def test_written_and_published_at_once_is_the_same_as_one_after_the_other(redis: Redis, keepers: dict[str, int | None]) -> None:
    series, bars = walked(300)
    closes = [close_of(series, bar) for bar in bars[-120:]]  # more than one call takes

    async def heard(work: Awaitable[None]) -> list[dict[str, Any]]:
        messages = redis.pubsub()
        await messages.psubscribe("channel:*")
        await messages.get_message(timeout=2)
        await work
        found = [json.loads((await messages.get_message(timeout=2))["data"]) for _ in closes]
        await messages.aclose()
        return [{name: value for name, value in one.items() if name != "published_at"} for one in found]

    async def held() -> dict[str, Any]:
        return {name.decode(): await redis.dump(name) for name in sorted(await redis.keys("*"))}

    async def apart() -> None:
        await store.write_closes(redis, "coinbase", closes, keepers)
        await store.publish_closes(redis, "coinbase", closes)

    told, written = await heard(apart()), await held()
    await redis.flushall()
    assert await heard(store.put_closes(redis, "coinbase", closes, keepers)) == told
    assert await held() == written
    assert len(written) == 3


async def test_many_closes_at_once_are_all_written(redis: Redis) -> None:
    closes = []
    for number in range(450):
        series = Series(f"S{number}-USD", "5m")
        series.advance(bar(0))
        closes.append(close_of(series, bar(0)))
    await store.write_closes(redis, "coinbase", closes)

    assert len(await redis.keys("candles:coinbase:*:5m")) == len(await redis.keys("indicator:coinbase:*:5m:macdv")) == 450


async def test_a_price_is_stored_for_a_minute_with_what_is_known_of_it(redis: Redis) -> None:
    messages = redis.pubsub()
    await messages.psubscribe("channel:*")
    await messages.get_message(timeout=2)
    full = Ticker("BTC-USD", 101.5, T0, 12.0, 1218.0, -1.25, 101.4, 101.6)
    await store.write_tickers(redis, "coinbase", [(full, T0 + 7), (Ticker("ETH-USD", 7.5), T0 + 8)])

    value = {"t": T0, "price": 101.5, "received": T0 + 7, "volume_24h": 12.0, "quote_volume_24h": 1218.0, "change_24h": -1.25}
    value |= {"bid": 101.4, "ask": 101.6}
    assert json.loads(await redis.get("ticker:coinbase:BTC-USD")) == value
    assert json.loads(await redis.get("ticker:coinbase:ETH-USD")) == {"t": 0, "price": 7.5, "received": T0 + 8}
    assert 0 < await redis.ttl("ticker:coinbase:BTC-USD") <= 60
    said = [await messages.get_message(timeout=2) for _ in range(2)]
    await messages.aclose()
    assert [(one["channel"].decode(), json.loads(one["data"])) for one in said] == [
        ("channel:exchange:coinbase:ticker:BTC-USD", {"type": "ticker", "exchange_id": "coinbase", "symbol": "BTC-USD", **value}),
        (
            "channel:exchange:coinbase:ticker:ETH-USD",
            {"type": "ticker", "exchange_id": "coinbase", "symbol": "ETH-USD", "t": 0, "price": 7.5, "received": T0 + 8},
        ),
    ]


async def test_what_nobody_follows_any_more_goes_and_the_rest_stays(redis: Redis) -> None:
    for symbol in ("BTC-USD", "ETH-USD"):
        for timeframe in TIMEFRAMES:
            series = Series(symbol, timeframe)
            series.advance(bar(0))
            await store.write_history(
                redis, "coinbase", series, [bar(0)], readings={T0: series.indicator.reading} if symbol == "BTC-USD" else None
            )
        await store.write_tickers(redis, "coinbase", [(Ticker(symbol, 1.0), T0)])
    await store.forget(redis, "coinbase", "BTC-USD")

    assert await redis.keys("*BTC-USD*") == []
    assert len(await redis.keys("*ETH-USD*")) == 11
    assert await redis.keys("readings:*") == []


# Reading


async def written(redis: Redis, name: str, candles: list[Any]) -> None:
    await redis.zadd(name, {bus.encode(candle): candle[0] for candle in candles})


async def test_the_newest_candles_are_read_oldest_first(redis: Redis) -> None:
    series, bars = walked(500)
    await store.write_history(redis, "coinbase", series, bars)

    last = json.loads(await redis.get(INDICATOR))
    assert [row[0] for row in store.read_series("coinbase", "BTC-USD", "5m").candles] == [one.open_time for one in bars[100:]]
    assert store.read_series("coinbase", "BTC-USD", "5m", limit=2) == Stored([store.candle_value(one) for one in bars[-2:]], last, [])
    assert store.read_series("coinbase", "BTC-USD", "1h") == Stored([], None, [])


OWN = [T0, 1.0, 1.0, 1.0, 1.0, 1.0, 0]


async def test_a_user_reads_the_shared_candles_first_and_their_own_where_there_are_none(redis: Redis) -> None:
    series, bars = walked(3)
    await store.write_history(redis, "coinbase", series, bars)
    for symbol in ("BTC-USD", "XYZ-USD"):
        await written(redis, f"usercandles:7:coinbase:{symbol}:5m", [OWN])
        await redis.set(f"userindicator:7:coinbase:{symbol}:5m:macdv", '{"t":5}')
        await redis.zadd(f"userreadings:7:coinbase:{symbol}:5m", {'[5,1.0,null,null,"unknown"]': 5})

    shared = Stored([store.candle_value(one) for one in bars], json.loads(await redis.get(INDICATOR)), [])
    assert [store.read_series("coinbase", "BTC-USD", "5m", keeper=keeper) for keeper in (7, 8, None)] == [shared, shared, shared]
    assert store.read_series("coinbase", "XYZ-USD", "5m", keeper=7) == Stored([OWN], {"t": 5}, [[5, 1.0, None, None, "unknown"]])
    assert store.read_series("coinbase", "XYZ-USD", "5m", keeper=8) == Stored([], None, [])
    assert store.read_series("coinbase", "XYZ-USD", "5m") == Stored([], None, [])


async def test_candles_and_indicator_of_one_answer_stand_in_one_place(redis: Redis) -> None:
    """Half of a series that is being moved is not filled up with the other half."""
    await redis.set(INDICATOR, '{"t":9}')
    await written(redis, "usercandles:7:coinbase:BTC-USD:5m", [OWN])
    await redis.set("userindicator:7:coinbase:BTC-USD:5m:macdv", '{"t":5}')

    assert store.read_series("coinbase", "BTC-USD", "5m", keeper=7) == Stored([], {"t": 9}, [])


# Tier 2


def at_both(timeframe: str = "5m", symbol: str = "BTC-USD") -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """The keys of a series: everybody's, and those of user 7."""
    name = f"coinbase:{symbol}:{timeframe}"
    return (
        (f"candles:{name}", f"indicator:{name}:macdv", f"readings:{name}"),
        (f"usercandles:7:{name}", f"userindicator:7:{name}:macdv", f"userreadings:7:{name}"),
    )


ALL_SHARED = sorted(name for timeframe in TIMEFRAMES for name in at_both(timeframe)[0])
ALL_OWN = sorted(name for timeframe in TIMEFRAMES for name in at_both(timeframe)[1])


async def names(redis: Redis) -> list[str]:
    return sorted(name.decode() for name in await redis.keys("*"))


async def ttls(redis: Redis, wanted: list[str]) -> set[int]:
    return {await redis.ttl(name) for name in wanted}


async def fill(redis: Redis, keeper: int | None, symbol: str = "BTC-USD", *, exchange_id: str = "coinbase") -> None:
    """A history of all timeframes."""
    for timeframe in TIMEFRAMES:
        series = Series(symbol, timeframe)
        series.advance(bar(0))
        await store.write_history(redis, exchange_id, series, [bar(0)], readings={T0: series.indicator.reading}, keeper=keeper)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_a_series_stands_under_everybodys_keys_or_under_its_keepers(timeframe: str) -> None:
    places = [store.keys_of("coinbase", "BTC-USD", timeframe, keeper) for keeper in (None, 7)]
    assert places == [Keys(*one) for one in at_both(timeframe)]


async def test_what_is_kept_for_a_user_lasts_a_day_and_what_is_everybodys_for_ever(redis: Redis) -> None:
    await fill(redis, 7)
    await fill(redis, None, "ETH-USD")

    assert await names(redis) == sorted([*ALL_OWN, *(name for one in TIMEFRAMES for name in at_both(one, "ETH-USD")[0])])
    assert await ttls(redis, ALL_OWN) <= {86_399, 86_400}
    assert await ttls(redis, [name for one in TIMEFRAMES for name in at_both(one, "ETH-USD")[0]]) == {-1}


@pytest.mark.parametrize(("timeframe", "at"), [("5m", 0), ("5m", 10), ("1h", 11), ("1d", 0)])
async def test_a_close_renews_its_own_series(redis: Redis, timeframe: str, at: int) -> None:
    await fill(redis, 7)
    for name in ALL_OWN:
        await redis.expire(name, 1_000)
    series = Series("BTC-USD", timeframe)
    series.advance(bar(at))
    await store.write_closes(redis, "coinbase", [close_of(series, bar(at))], {"BTC-USD": 7})

    renewed = at_both(timeframe)[1]
    assert await ttls(redis, [*renewed]) <= {86_399, 86_400}
    assert await ttls(redis, [name for name in ALL_OWN if name not in renewed]) <= {999, 1_000}


async def test_a_close_that_ends_an_hour_renews_all_timeframes(redis: Redis) -> None:
    """A daily candle is written once a day: its key would be gone just before the next one."""
    await fill(redis, 7)
    for name in ALL_OWN:
        await redis.expire(name, 1_000)
    series, bars = walked(12)
    await store.write_closes(redis, "coinbase", [close_of(series, bars[11])], {"BTC-USD": 7})

    assert await ttls(redis, ALL_OWN) <= {86_399, 86_400}


async def test_the_first_close_of_a_series_lasts_a_day_too(redis: Redis) -> None:
    series, bars = walked(1)
    await store.write_closes(redis, "coinbase", [close_of(series, bars[0])], {"BTC-USD": 7})

    assert await names(redis) == sorted(at_both()[1])
    assert await ttls(redis, [*at_both()[1]]) <= {86_399, 86_400}


async def test_closes_go_where_each_symbol_is_kept(redis: Redis) -> None:
    closes = []
    for symbol in ("BTC-USD", "ETH-USD"):
        series = Series(symbol, "5m")
        series.advance(bar(0))
        closes.append(close_of(series, bar(0)))
    await store.write_closes(redis, "coinbase", closes, {"BTC-USD": 7, "ETH-USD": None})

    assert await names(redis) == sorted([*at_both()[1], *at_both(symbol="ETH-USD")[0]])


async def test_a_close_of_tier_two_is_published_as_any_other(redis: Redis) -> None:
    messages = redis.pubsub()
    await messages.psubscribe("channel:*")
    await messages.get_message(timeout=2)
    series, bars = walked(3)
    closes = [close_of(series, bars[-1])]
    await store.write_closes(redis, "coinbase", closes, {"BTC-USD": 7})
    await store.publish_closes(redis, "coinbase", closes)

    message = await messages.get_message(timeout=2)
    await messages.aclose()
    assert message["channel"] == b"channel:exchange:coinbase:candle:close:BTC-USD:5m"
    assert "7" not in set(json.loads(message["data"])) | {message["channel"].decode().split(":")[1]}
    assert json.loads(message["data"])["candle"] == store.candle_value(bars[-1])


@pytest.mark.parametrize(("old", "new"), [(None, 7), (7, None)])
async def test_a_symbol_takes_its_series_along_when_its_place_changes(redis: Redis, old: int | None, new: int | None) -> None:
    await fill(redis, old)
    await fill(redis, None, "ETH-USD")
    before = {timeframe: store.read_series("coinbase", "BTC-USD", timeframe, keeper=7) for timeframe in TIMEFRAMES}
    await store.move(redis, "coinbase", "BTC-USD", old=old, new=new)

    there = ALL_SHARED if new is None else ALL_OWN
    assert [name for name in await names(redis) if "BTC-USD" in name] == there
    assert await ttls(redis, there) <= ({-1} if new is None else {86_399, 86_400})
    assert {timeframe: store.read_series("coinbase", "BTC-USD", timeframe, keeper=7) for timeframe in TIMEFRAMES} == before
    assert all(one.candles == [store.candle_value(bar(0))] and one.indicator is not None for one in before.values())
    assert len(await redis.keys("*ETH-USD*")) == 15


async def test_a_symbol_goes_from_one_keeper_to_another(redis: Redis) -> None:
    await fill(redis, 8)
    await store.move(redis, "coinbase", "BTC-USD", old=8, new=7)

    assert await names(redis) == ALL_OWN


@pytest.mark.parametrize(("old", "new"), [(None, 7), (7, None)])
async def test_what_is_newer_at_the_target_stays(redis: Redis, old: int | None, new: int | None) -> None:
    series, bars = walked(4)
    source, target = at_both() if old is None else reversed(at_both())
    await store.write_history(redis, "coinbase", series, bars, keeper=old)
    revised = bar(3, 101.75)
    await store.write_closes(redis, "coinbase", [close_of(series, revised)], {"BTC-USD": new})
    await redis.set(target[1], '{"t":9}')
    await store.move(redis, "coinbase", "BTC-USD", old=old, new=new)

    assert [json.loads(one) for one in await redis.zrange(target[0], 0, -1)] == [store.candle_value(one) for one in [*bars[:3], revised]]
    assert await redis.get(target[1]) == b'{"t":9}'
    assert await redis.exists(*source) == 0


async def test_moving_what_is_not_there_leaves_what_is(redis: Redis) -> None:
    await fill(redis, 7)
    await store.move(redis, "coinbase", "BTC-USD", old=None, new=7)

    assert await names(redis) == ALL_OWN


async def test_a_symbol_that_leaves_takes_only_its_own_place_away(redis: Redis) -> None:
    await fill(redis, 7)
    await fill(redis, 8)
    await store.write_tickers(redis, "coinbase", [(Ticker("BTC-USD", 1.0), T0)])
    await store.forget(redis, "coinbase", "BTC-USD", 8)

    assert await names(redis) == ALL_OWN


async def test_the_sweep_removes_what_nobody_keeps_and_nothing_else(redis: Redis) -> None:
    await fill(redis, None)
    await fill(redis, 7, "DOGE-USD")
    await fill(redis, None, exchange_id="coinbase-sandbox")
    await store.write_tickers(redis, "coinbase", [(Ticker("BTC-USD", 1.0), T0)])
    await redis.set("exchange:lease:coinbase", "{}")
    kept = await names(redis)
    await fill(redis, 7)  # moved to Tier 1 while Redis was away
    await fill(redis, 8, "DOGE-USD")  # another keeper's
    await fill(redis, None, "DOGE-USD")  # left Tier 1
    await fill(redis, None, "GONE-USD")
    await fill(redis, 9, "GONE-USD")

    keepers = {"BTC-USD": None, "DOGE-USD": 7}
    assert await store.sweep(redis, "coinbase", keepers) == 75
    assert await names(redis) == kept
    assert await store.sweep(redis, "coinbase", keepers) == 0


async def test_the_candles_of_a_keeper_are_counted_where_they_stand(redis: Redis) -> None:
    series, bars = walked(5)
    await store.write_history(redis, "coinbase", series, bars, keeper=7)

    assert [await store.count_candles(redis, "coinbase", "BTC-USD", "5m", keeper) for keeper in (7, 8, None)] == [5, 0, 0]
