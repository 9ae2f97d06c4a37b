"""A running connector: what it follows, what it waits for, and what it says meanwhile."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from alerts.models import Alert, AlertRule
from exchanges.events import TIMEFRAMES, Alive
from exchanges.models import Exchange
from exchanges.sandbox.venues import BINANCE, COINBASE
from livermore import keys
from livermore.db import db
from market_data.models import Checkpoint
from symbols import services, wants
from symbols.models import Policy, Symbol, UserSymbol
from symbols.wants import Verdict
from tests.people import person
from tests.recorded import heard, listening
from tests.simulated import BINANCE_ID, COINBASE_ID, STEP, World, simulated, spelled, truth, until

pytestmark = pytest.mark.django_db(transaction=True)


async def states(world: World, exchange_id: str) -> dict[str, tuple[str, str]]:
    """symbol -> (state, reason) as Redis has it."""
    fields = await world.redis.hgetall(keys.exchange_states(exchange_id))
    values = {symbol.decode(): json.loads(value) for symbol, value in fields.items()}
    return {symbol: (value["state"], value["reason"]) for symbol, value in values.items()}


async def wait_for(world: World, exchange_id: str, symbol: str, state: str) -> str:
    """The reason, once the symbol is in that state."""

    async def reached() -> str | None:
        found = (await states(world, exchange_id)).get(symbol, ("", ""))
        return f"{found[1]} " if found[0] == state else None

    return (await until(reached, f"{symbol} {state}")).strip()


@partial(sync_to_async, thread_sensitive=False)  # as from another process: the connector needs the thread of the database itself
def set_policy(exchange_id: str, symbol: str, policy: Policy) -> tuple[int, str]:
    try:
        row = Symbol.objects.get(exchange_id=exchange_id, symbol=symbol)
        return services.symbols_set_policy(ids=[row.pk], policy=policy, by="a test")
    finally:
        connection.close()


@partial(sync_to_async, thread_sensitive=False)
def add_symbols(user: User, exchange_id: str, *lines: str) -> list[Verdict]:
    try:
        return wants.symbols_add(user=user, exchange=Exchange.objects.get(pk=exchange_id), lines=lines)
    finally:
        connection.close()


@partial(sync_to_async, thread_sensitive=False)
def remove_symbols(user: User) -> list[str]:
    try:
        return wants.symbols_remove(user=user, ids=UserSymbol.objects.filter(user=user).values_list("symbol_id", flat=True))
    finally:
        connection.close()


# The pool


@pytest.mark.parametrize("venue", [COINBASE, BINANCE])
async def test_what_people_decide_about_symbols_reaches_it_on_the_same_connection(redis_url: str, venue: Any) -> None:
    bitcoin, chainlink = spelled(venue, "BTC"), spelled(venue, "LINK")
    async with simulated([venue]) as world:
        await world.host(venue.id)
        assert bitcoin in await world.symbols(venue.id)
        assert chainlink not in await world.symbols(venue.id)

        assert await set_policy(venue.id, bitcoin, Policy.EXCLUDED) == (1, f"{venue.id}: 3 symbols, 0 new, 1 gone")
        assert await set_policy(venue.id, chainlink, Policy.PINNED) == (1, f"{venue.id}: 4 symbols, 1 new, 0 gone")
        await world.settled()
        await world.advance()
        async with listening(world) as listener:
            await world.advance()
            await until(lambda: (venue.id, chainlink, "5m") in listener.closes, "a close of the pinned symbol")

        assert (venue.id, bitcoin, "5m") not in listener.closes
        assert bitcoin not in await states(world, venue.id)
        assert await world.redis.keys(f"*:{venue.id}:{bitcoin}*") == []
        assert await world.redis.zcard(keys.candles(venue.id, chainlink, "5m")) == 402
        assert world.sandbox.counters[venue.id]["connects"] == 1


async def test_what_a_user_adds_is_followed_at_once_and_stands_under_the_users_keys(redis_url: str) -> None:
    chainlink = spelled(BINANCE, "LINK")
    user = await db(person)("mike", group="trader")

    async def held() -> dict[str, int]:
        """How many candles stand where."""
        names = {"shared": keys.candles(BINANCE_ID, chainlink, "5m"), "own": keys.user_candles(user.pk, BINANCE_ID, chainlink, "5m")}
        return {place: await world.redis.zcard(name) for place, name in names.items()}

    async def reaches(places: dict[str, int]) -> None:
        await until(lambda: is_held(places), f"{places} candles")

    async def is_held(places: dict[str, int]) -> bool:
        return await held() == places

    async with simulated([BINANCE]) as world:
        await world.host(BINANCE_ID)
        (verdict,) = await add_symbols(user, BINANCE_ID, "LINK")
        assert (verdict.code, verdict.symbol) == ("added", chainlink)
        daily = keys.user_candles(user.pk, BINANCE_ID, chainlink, "1d")
        await until(lambda: world.redis.exists(daily), "its history")
        await reaches({"shared": 0, "own": 400})
        assert 0 < await world.redis.ttl(daily) <= 86_400

        await world.advance()
        await reaches({"shared": 0, "own": 401})
        assert await set_policy(BINANCE_ID, chainlink, Policy.PINNED) == (1, f"{BINANCE_ID}: 5 symbols, 0 new, 0 gone")
        await reaches({"shared": 401, "own": 0})
        await world.advance()
        await reaches({"shared": 402, "own": 0})
        assert await world.redis.ttl(keys.candles(BINANCE_ID, chainlink, "1d")) == -1

        await set_policy(BINANCE_ID, chainlink, Policy.AUTO)
        await world.advance()
        await reaches({"shared": 0, "own": 403})
        assert await remove_symbols(user) == [chainlink]
        await reaches({"shared": 0, "own": 0})
        assert await world.redis.keys(f"*{BINANCE_ID}:{chainlink}*") == []
        assert world.sandbox.counters[BINANCE_ID]["connects"] == 1


async def test_a_symbol_that_leaves_while_its_candles_wait_for_the_database_leaves_nothing_behind(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        connector = world.connectors[BINANCE_ID]
        await db(rename)(Checkpoint._meta.db_table, "elsewhere")
        world.clock.advance(STEP)
        await until(lambda: "the database did not take a batch" in connector.status.error, "word of the database")
        await db(Symbol.objects.filter(symbol="BTCUSDT").update)(policy=Policy.EXCLUDED)
        assert await connector.reload() == "3 symbols, 0 new, 1 gone"

        await db(rename)("elsewhere", Checkpoint._meta.db_table)
        await world.settled()
        await world.advance()
        assert await world.redis.keys(f"*:{BINANCE_ID}:BTCUSDT*") == []


async def test_a_symbol_that_comes_back_goes_on_from_its_checkpoint(redis_url: str) -> None:
    async with simulated([COINBASE]) as world:
        await world.host(COINBASE_ID)
        await world.advance()
        await set_policy(COINBASE_ID, "BTC-USD", Policy.EXCLUDED)
        for _ in range(3):
            await world.advance()
        left_at = (await world.checkpoints(COINBASE_ID))["BTC-USD", "5m"]
        await set_policy(COINBASE_ID, "BTC-USD", Policy.AUTO)
        await world.settled()

        assert world.last_closed() - left_at == 3 * STEP
        value = (await world.indicators(COINBASE_ID))["BTC-USD", "5m"]
        assert value is not None
        assert (value["t"], value["span"]) == (world.last_closed(), 404), "400 candles of the warm-up, and 4 that closed since"


async def test_a_larger_top_n_and_other_rules_reach_it_by_a_reload(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        connector = world.connectors[BINANCE_ID]
        await db(Exchange.objects.filter(pk=BINANCE_ID).update)(top_n=6)
        await db(AlertRule.objects.update)(levels=[1, 2, 3, 5, 7], version=9)

        assert await connector.reload() == "6 symbols, 2 new, 0 gone"
        assert len(await world.symbols(BINANCE_ID)) == 6
        for _ in range(4):
            await world.advance()
        labels = {(alert.rule_version, alert.trigger_label) for alert in await world.alerts(BINANCE_ID) if "level" in alert.trigger_label}
        assert labels
        assert labels <= {(9, f"level_{sign}{level}") for sign in ("", "-") for level in (1, 2, 3, 5, 7)}


async def test_a_resync_finds_what_the_exchange_lists_now(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        await db(Symbol.objects.filter(exchange_id=BINANCE_ID, symbol="BTCUSDT").update)(tradable=False, tier=None)
        connector = world.connectors[BINANCE_ID]
        assert "1 gone" in await connector.reload()

        assert await connector.resync() == "4 symbols, 1 new, 0 gone"
        await world.settled()


async def test_a_backfill_brings_back_candles_that_somebody_deleted(redis_url: str) -> None:
    async with simulated([COINBASE]) as world:
        await world.start(COINBASE_ID)
        name = keys.candles(COINBASE_ID, "ETH-USD", "1h")
        await world.redis.delete(name)

        assert await world.connectors[COINBASE_ID].backfill() == "filling 4 symbols in again"

        async def back() -> bool:
            return int(await world.redis.zcard(name)) == 400

        await until(back, "400 candles")
        rows = [json.loads(row) for row in await world.redis.zrange(name, 0, -1)]
        assert rows == truth(world.sandbox, COINBASE_ID, "ETH-USD", "1h", int(rows[0][0]), int(rows[0][0]) + 400 * 3_600_000)


async def test_a_candle_that_was_committed_but_never_written_is_there_after_a_restart(redis_url: str) -> None:
    """A process may die between the database and Redis: the checkpoint is past the candle then, and nothing is missed."""
    async with simulated([COINBASE]) as world:
        await world.start(COINBASE_ID)
        for _ in range(4):
            await world.advance()
        await world.crash()
        for timeframe in ("5m", "15m"):
            last = world.last_closed(timeframe)
            for name in (keys.candles, keys.readings):
                await world.redis.zremrangebyscore(name(COINBASE_ID, "ETH-USD", timeframe), last, last)
        await world.start(COINBASE_ID)

        async def whole() -> bool:
            rows = await world.candles(COINBASE_ID)
            return all(found[-1][0] - found[0][0] == (len(found) - 1) * TIMEFRAMES[name] for (_, name), found in rows.items()) and {
                found[-1][0] for (_, name), found in rows.items() if name == "15m"
            } == {world.last_closed("15m")}

        await until(whole, "every candle in Redis")
        assert [row[0] for row in await readings_of(world, "5m")] == [row[0] for row in (await world.candles(COINBASE_ID))["ETH-USD", "5m"]]


async def test_a_redis_that_took_no_writes_for_a_while_has_no_hole_in_its_candles(redis_url: str) -> None:
    """It kept what it had, so it has candles enough; those that closed meanwhile are what it lacks."""
    async with simulated([COINBASE]) as world:
        await world.start(COINBASE_ID)
        await world.redis.config_set("maxmemory", 1)
        for _ in range(3):
            world.clock.advance(STEP)
            await world.evaluated()
        await until(lambda: world.connectors[COINBASE_ID]._committer._redis_away, "word that Redis takes no writes")
        await world.redis.config_set("maxmemory", 0)
        await world.settled()
        await world.advance()

        async def whole() -> bool:
            rows, steps = await world.candles(COINBASE_ID), await readings_of(world, "5m")
            opened = [at for at, *_ in steps]
            return all(found[-1][0] - found[0][0] == (len(found) - 1) * TIMEFRAMES[name] for (_, name), found in rows.items()) and opened[
                -150:
            ] == [world.last_closed() - at * STEP for at in reversed(range(150))]

        await until(whole, "every candle and reading in Redis", world.nudge)


async def readings_of(world: Any, timeframe: str) -> list[list[Any]]:
    return [json.loads(row) for row in await world.redis.zrange(keys.readings(COINBASE_ID, "ETH-USD", timeframe), 0, -1)]


async def test_lost_readings_are_worked_out_again_and_those_that_are_there_stay(redis_url: str) -> None:
    async with simulated([COINBASE]) as world:
        await world.start(COINBASE_ID)
        for _ in range(4):
            await world.advance()
        before = await readings_of(world, "5m")
        assert len(before) == 404
        await world.redis.zremrangebyrank(keys.readings(COINBASE_ID, "ETH-USD", "5m"), 0, -3)
        await world.connectors[COINBASE_ID].backfill()

        async def back() -> bool:
            return len(await readings_of(world, "5m")) == 151

        await until(back, "readings from the 250th of 400 candles on")
        after = await readings_of(world, "5m")
        assert [row[0] for row in after] == [row[0] for row in before[-151:]]
        assert after[-2:] == before[-2:]
        value = (await world.indicators(COINBASE_ID))["ETH-USD", "5m"]
        assert value is not None
        assert after[-1] == [value[name] for name in ("t", "macdv", "signal", "histogram", "stage")]


# What it waits for


async def test_a_symbol_without_its_close_is_stale_then_a_gap_and_fires_nothing_meanwhile(redis_url: str) -> None:
    async with simulated([COINBASE]) as world:
        await world.start(COINBASE_ID)
        before = (await world.checkpoints(COINBASE_ID))["ETH-USD", "5m"]
        assert await wait_for(world, COINBASE_ID, "ETH-USD", "live") == ""
        fault = world.sandbox.faults.set("rest-behind", symbol="ETH-USD", candles=3)

        await shown(world, "ETH-USD", before + STEP)
        world.clock.advance(before + 2 * STEP + 40_000 - world.clock.now())
        reason = await wait_for(world, COINBASE_ID, "ETH-USD", "stale")
        assert reason.startswith("no final candle for ")
        assert await wait_for(world, COINBASE_ID, "BTC-USD", "live") == ""
        world.clock.advance(STEP)
        assert await wait_for(world, COINBASE_ID, "ETH-USD", "gap") == "2 candles are being fetched"
        assert (await world.checkpoints(COINBASE_ID))["ETH-USD", "5m"] == before
        assert [alert for alert in await world.alerts(COINBASE_ID) if alert.symbol == "ETH-USD"] == []

        world.sandbox.faults.clear(id=fault.id)
        await world.settled()
        assert await wait_for(world, COINBASE_ID, "ETH-USD", "live") == ""


@pytest.mark.parametrize("venue", [COINBASE, BINANCE])
async def test_an_exchange_that_lets_connect_again_and_stays_silent_is_not_live(redis_url: str, venue: Any) -> None:
    """Its clock is that of its data, and stands: nothing would be overdue by it until the next deadline."""
    symbol = spelled(venue, "ETH")
    async with simulated([venue]) as world:
        await world.start(venue.id)
        await world.advance()
        await wait_for(world, venue.id, symbol, "live")
        silence = world.sandbox.faults.set("silence")
        world.sandbox.faults.set("disconnect", code=1012)

        assert await wait_for(world, venue.id, symbol, "stale") == "connected again, but no data yet"
        assert world.connectors[venue.id].status.connection_state == "connected"
        world.sandbox.faults.clear(id=silence.id)
        await until(lambda: is_live(world, venue.id, symbol), f"{symbol} live", world.nudge)


@pytest.mark.parametrize(("venue", "channel"), [(COINBASE, "candles"), (BINANCE, "ticker")])
async def test_a_stream_that_goes_mute_while_the_others_go_on_is_told_and_subscribed_to_anew(
    redis_url: str, venue: Any, channel: str
) -> None:
    symbol = spelled(venue, "ETH")
    async with simulated([venue]) as world:
        await world.start(venue.id)
        counters = world.connectors[venue.id].counters
        await world.advance()
        await wait_for(world, venue.id, symbol, "live")
        world.sandbox.faults.set("lost-subscription", symbol=symbol, channel=channel)
        dead = world.sandbox.faults.set("dead", symbol=symbol, channel=channel)

        for _ in range(2):  # whatever it still showed of the first
            await world.advance()
        world.clock.advance(STEP - world.clock.now() % STEP + 30_500)
        reason = await wait_for(world, venue.id, symbol, "stale")
        assert reason == f"{channel}: it did not show what traded; subscribing anew"
        await until(lambda: is_the_only_one(world, venue.id, symbol), "the others are live")

        world.sandbox.faults.clear(id=dead.id)
        await until(lambda: is_live(world, venue.id, symbol), f"{symbol} live", world.nudge)
        assert counters["mute_streams"] >= 1
        assert world.sandbox.counters[venue.id]["connects"] == 1


async def test_a_stream_that_lags_behind_a_fast_clock_is_not_mute(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds that the exchange's clock allows a stream are none of ours where a simulated market runs many times as fast."""
    symbol = spelled(COINBASE, "ETH")
    async with simulated([COINBASE]) as world:
        await world.start(COINBASE_ID)
        connector = world.connectors[COINBASE_ID]
        await world.advance()
        await wait_for(world, COINBASE_ID, symbol, "live")
        world.sandbox.faults.set("late", symbol=symbol, channel="candles", seconds=0.3)
        renewed: list[Any] = []
        renew = connector._engine.renew
        monkeypatch.setattr(connector._engine, "renew", lambda streams: (renewed.extend(streams), renew(streams))[1])

        end = world.clock.now() // STEP * STEP + STEP
        world.clock.advance(end + 30_500 - world.clock.now())
        await until(lambda: connector._looked_at == end and symbol not in connector._unlooked, "it looked at the streams")
        assert symbol not in {stream.symbol for stream in renewed}


async def is_the_only_one(world: World, exchange_id: str, symbol: str) -> bool:
    """Whether it is not live, and all others are."""
    return [name for name, (state, _) in (await states(world, exchange_id)).items() if state != "live"] == [symbol]


async def is_live(world: World, exchange_id: str, symbol: str) -> bool:
    return (await states(world, exchange_id)).get(symbol, ("", ""))[0] == "live"


async def shown(world: World, symbol: str, open_time: int) -> None:
    """Let the market run until the stream has shown a trade in that candle: what was never seen may be an interval without any."""
    book = world.connectors[COINBASE_ID].watched[symbol].book
    while open_time not in book.traded:
        assert world.clock.now() < open_time + STEP, "a whole interval without a frame"
        world.clock.advance(5_000)
        await asyncio.sleep(0.02)


async def test_a_database_that_refuses_is_waited_for_and_nothing_is_published_meanwhile(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, listening(world) as listener:
        await world.start(BINANCE_ID)
        for _ in range(2):
            await world.advance()
        table = Checkpoint._meta.db_table
        await until(lambda: heard(world, listener), "word of every close so far")
        said = len(listener.heard)
        await db(rename)(table, "elsewhere")
        try:
            world.clock.advance(STEP)
            status = world.connectors[BINANCE_ID].status
            await until(lambda: "the database did not take a batch" in status.error, "word of the database")
            world.clock.advance(STEP)
            assert [one.channel for one in listener.heard[said:] if ":candle:" in one.channel or ":alerts" in one.channel] == []
        finally:
            await db(rename)("elsewhere", table)
        await world.settled()
        assert {at for (_, timeframe), at in (await world.checkpoints(BINANCE_ID)).items() if timeframe == "5m"} == {world.last_closed()}


async def test_a_database_that_refuses_while_alerts_are_published_is_waited_for(redis_url: str) -> None:
    """The connector goes on meanwhile; what could not be marked as published waits, and is in the stream once."""
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        async with refusing_updates(Alert._meta.db_table):
            while not await world.alerts(BINANCE_ID):
                world.clock.advance(STEP)
                await world.evaluated()
            await until(lambda: world.connectors[BINANCE_ID]._committer._redis_away, "word that publishing failed")
            assert await world.unpublished(BINANCE_ID)
        await world.settled()
        assert [name for name, _ in await world.stream(BINANCE_ID)] == [f"{alert.number}-0" for alert in await world.alerts(BINANCE_ID)]


@contextlib.asynccontextmanager
async def refusing_updates(table: str) -> AsyncIterator[None]:
    """A database that takes no change of the rows of a table, new ones only."""
    if connection.vendor == "postgresql":
        make = (
            "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE 'no room'; END $$ LANGUAGE plpgsql",
            f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} EXECUTE FUNCTION refuse()",
        )
        undo = (f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse()")
    else:
        make = (f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'no room'); END",)
        undo = ("DROP TRIGGER refuse",)
    await db(execute)(*make)
    try:
        yield
    finally:
        await db(execute)(*undo)


async def test_nothing_looks_live_while_what_has_closed_cannot_be_stored(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livermore.runtime.STORED_WITHIN", 0.5)
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        await wait_for(world, BINANCE_ID, "BTCUSDT", "live")
        await db(rename)(Checkpoint._meta.db_table, "elsewhere")
        world.clock.advance(STEP)
        assert "to be stored" in await wait_for(world, BINANCE_ID, "BTCUSDT", "stale")
        assert world.connectors[BINANCE_ID].status.state == "stale"

        await db(rename)("elsewhere", Checkpoint._meta.db_table)
        await world.settled()
        assert await wait_for(world, BINANCE_ID, "BTCUSDT", "live") == ""


async def test_trouble_with_the_database_that_is_over_is_no_longer_shown(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        status = world.connectors[BINANCE_ID].status
        await db(rename)(Checkpoint._meta.db_table, "elsewhere")
        world.clock.advance(STEP)
        await until(lambda: "the database did not take a batch" in status.error, "word of the database")

        await db(rename)("elsewhere", Checkpoint._meta.db_table)
        await world.settled()
        assert status.error == ""


def rename(table: str, to: str) -> None:
    execute(f"ALTER TABLE {table} RENAME TO {to}")


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


async def test_an_exchange_that_refuses_is_asked_again_and_its_reason_told(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        world.sandbox.faults.set("rest-status", status=451)
        connector = await world.connector(BINANCE_ID)
        world.running[BINANCE_ID] = asyncio.create_task(connector.run())

        word = await connector.first_word
        assert word.startswith("starting, but not connected yet: HTTP 451: Binance does not serve this country; in the US use binance-us.")
        assert " Next attempt in " in word
        assert connector.status.connection_state == "disconnected"
        assert connector.status.retry_at is not None
        assert world.sandbox.counters[BINANCE_ID]["rest_requests"] == 1
        world.sandbox.faults.clear()
        await world.settled()
        assert (connector.status.connection_state, connector.status.retry_at, connector.status.error) == ("connected", None, "")


async def test_the_status_tells_that_all_is_well(redis_url: str) -> None:
    async with simulated([COINBASE]) as world:
        await world.host(COINBASE_ID)

        async def live() -> dict[str, str]:
            fields = await world.redis.hgetall(keys.exchange_status(COINBASE_ID))
            status = {name.decode(): value.decode() for name, value in fields.items()}
            return status if status["state"] == "live" else {}

        status = await until(live, "a live exchange")
        assert (status["connection_state"], status["symbols"], status["error"], status["warmup"]) == ("connected", "4", "", "")
        assert 0 <= time.time() * 1000 - int(status["last_heartbeat"]) < 5_000
        assert 0 < await world.redis.ttl(keys.exchange_status(COINBASE_ID)) <= 45
        assert await states(world, COINBASE_ID) == {f"{coin}-USD": ("live", "") for coin in ("BTC", "ETH", "SOL", "XRP")}


async def test_its_figures_are_in_the_status_and_count_what_went_wrong(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        connector = await world.connector(BINANCE_ID)
        world.running[BINANCE_ID] = asyncio.create_task(connector.run())
        await world.settled()
        # Frames are counted when a heartbeat is written: the first may come before they do.
        figures = await until(lambda: connector.status.figures.get("frames") and connector.status.figures, "figures")
        assert len(figures["oldest"]) == 8, "two streams a symbol"
        assert {channel for _, channel, _ in figures["oldest"]} == {"candles", "ticker"}
        assert figures["rest_limit"] == 540_000
        assert 0 < figures["rest_used"] == 540_000 - figures["rest_left"]
        assert abs(figures["clock_offset_ms"] - (world.clock.now() - time.time() * 1000)) < 60_000
        assert "reconnects" not in connector.counters

        world.sandbox.faults.set("disconnect", code=1012)
        await until(lambda: connector.counters["reconnects"] == 1, "the connection after the cut", world.nudge)
        world.sandbox.faults.set("silence", channel="candles", duration=1)
        await world.advance(3 * STEP)
        await until(lambda: connector.status.counters.get("gaps_repaired"), "candles that the stream had not brought", world.nudge)


async def test_why_an_exchange_is_not_live_is_told(redis_url: str) -> None:
    told: list[tuple[str, str]] = []
    async with simulated([BINANCE]) as world:
        connector = await world.connector(BINANCE_ID)
        connector.status.set_state("offline")  # as its host does before a start
        connector._note = lambda event, reason: told.append((event, reason))
        world.running[BINANCE_ID] = asyncio.create_task(connector.run())
        await world.settled()
        await until(lambda: ("live", "") in told, "a live exchange")
        assert list(dict.fromkeys(event for event, _ in told)) == ["connecting", "connected", "warming", "live"]
        (warming,) = [reason for event, reason in told if event == "warming"]
        assert ": history is being fetched" in warming

        world.sandbox.faults.set("disconnect", code=1012, reason="maintenance")
        await until(lambda: told[-1][0] == "live" and len(told) > 5, "a live exchange again", world.nudge)
        reason = "closed by the exchange: 1012 maintenance"
        assert ("disconnected", reason) in told
        assert ("offline", reason) in told


async def test_one_frame_with_a_wrong_time_does_not_move_the_clock_and_a_step_is_followed_either_way(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        connector = await world.connector(BINANCE_ID)
        connector.clock = now = world.clock.now()
        day = TIMEFRAMES["1d"]
        for told, clock in [(now + day, now), (now - day, now), (now + 1_000, now + 1_000), (0, now + 1_000), (now, now + 1_000)]:
            connector.on_event(Alive(told))
            assert connector.clock == clock
        for told, believed in [(now + day, now + 1_000), (now + 5_000, now + day)]:
            for _ in range(4):
                connector.on_event(Alive(told))
            assert connector.clock == believed
            connector.on_event(Alive(told))
            assert connector.clock == told
        assert connector.counters["clock_steps"] == 2


# Revisions and prices


async def test_a_revised_candle_is_stored_and_its_alerts_are_marked_and_stay(redis_url: str) -> None:
    async with simulated([COINBASE], top_n=8) as world:
        await world.start(COINBASE_ID)
        for _ in range(5):
            fault = world.sandbox.faults.set("rest-revise")
            await world.advance()
            world.sandbox.faults.clear(id=fault.id)
            await world.advance()
        counters = world.connectors[COINBASE_ID].counters
        await until(lambda: counters["revised"] >= 30, "revisions")
        await world.advance()
        alerts = [alert for alert in await world.alerts(COINBASE_ID) if alert.timeframe == "5m"]
        changed = {alert.number for alert in alerts if alert.price != await true_close(world, alert.symbol, alert.candle_time)}

        assert changed
        assert changed <= {alert.number for alert in alerts if alert.revised}
        for (symbol, timeframe), rows in (await world.candles(COINBASE_ID)).items():
            if timeframe == "5m":
                assert rows == truth(world.sandbox, COINBASE_ID, symbol, "5m", int(rows[0][0]), world.last_closed() + STEP)


async def true_close(world: World, symbol: str, open_time: int) -> float:
    return truth(world.sandbox, COINBASE_ID, symbol, "5m", open_time, open_time + STEP)[0][4]


async def test_a_price_is_put_out_at_most_four_times_a_second(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        async with listening(world) as listener:
            began = time.monotonic()
            for _ in range(200):
                world.clock.advance(1_000)
                await asyncio.sleep(0.002)
            name = keys.channel_ticker(BINANCE_ID, "BTCUSDT")
            await until(lambda: any(one.channel == name for one in listener.heard), "a price")
            prices = [one.message for one in listener.heard if one.channel == name]
            took = time.monotonic() - began

        assert 1 <= len(prices) <= took * 4 + 1
        assert set(prices[-1]) == {
            "type", "exchange_id", "symbol", "t", "price", "received", "volume_24h", "quote_volume_24h", "change_24h", "bid", "ask",
        }  # fmt: skip
        assert 0 < await world.redis.ttl(keys.ticker(BINANCE_ID, "BTCUSDT")) <= 60


@pytest.mark.parametrize("venue", [BINANCE, COINBASE], ids=lambda venue: venue.id)
async def test_it_listens_before_the_history_is_fetched(redis_url: str, venue: Any) -> None:
    """So that no candle can close between the two."""
    async with simulated([venue]) as world:
        connector = await world.connector(venue.id)
        slow = world.sandbox.faults.set("rest-slow", seconds=0.5)
        world.running[venue.id] = asyncio.create_task(connector.run())
        await until(lambda: any(link.wanted for link in connector._engine.links), "a subscription", world.nudge)
        await until(lambda: connector._engine.heard, "the first frames", world.nudge)
        assert not any(watched.loaded for watched in connector.watched.values()), "by then no history can have come"
        world.sandbox.faults.clear(id=slow.id)
        await world.settled()


async def test_filling_redis_in_again_takes_few_connections_however_many_symbols_there_are(redis_url: str) -> None:
    async with simulated([BINANCE], top_n=20) as world:
        before = (await world.redis.info("clients"))["connected_clients"]
        await world.start(BINANCE_ID)
        await world.redis.flushall()

        world.connectors[BINANCE_ID].redis_lost()
        await until(lambda: all_filled(world, BINANCE_ID), "candles of every symbol", world.nudge, patience=90)
        assert (await world.redis.info("clients"))["connected_clients"] <= before + 12, "one for each symbol that is filled in, and no more"


async def all_filled(world: World, exchange_id: str) -> bool:
    return all(len(rows) > 50 for (_, timeframe), rows in (await world.candles(exchange_id)).items() if timeframe == "5m")
