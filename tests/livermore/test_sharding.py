"""One exchange over two connectors: every symbol is watched once, alerts keep one order, and what a shard leaves the others take up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from alerts import services
from exchanges import control, status
from exchanges.control import Answer
from exchanges.health import exchange_healths
from exchanges.lease import Lease, ShardLease
from exchanges.models import Exchange, ExchangeEvent
from exchanges.sandbox.venues import BINANCE
from exchanges.shards import WHOLE, Shard
from livermore import keys
from livermore.db import db
from livermore.hosting import Host
from tests.simulated import BINANCE_ID, World, simulated, truth, until

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = Shard(1, 2), Shard(2, 2)
SYMBOLS = 8


@asynccontextmanager
async def in_two(world: World) -> AsyncIterator[dict[Shard, asyncio.Task[None]]]:
    """Both shards of an exchange, running and warm."""
    tasks = {shard: await world.hosting(BINANCE_ID, shard=shard) for shard in (ONE, TWO)}
    world.running[BINANCE_ID] = tasks[ONE]
    try:
        await world.settled()
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def said(world: World) -> dict[str, str]:
    fields = await world.redis.hgetall(keys.exchange_status(BINANCE_ID))
    return {name.decode(): value.decode() for name, value in fields.items()}


async def states(world: World) -> dict[str, str]:
    held = await world.redis.hgetall(keys.exchange_states(BINANCE_ID))
    return {name.decode(): json.loads(value)["state"] for name, value in held.items()}


async def test_two_connectors_are_one_exchange(redis_url: str) -> None:
    async with simulated([BINANCE], top_n=SYMBOLS) as world, in_two(world) as tasks:
        symbols = await world.symbols(BINANCE_ID)
        assert {shard.holds(symbol) for symbol in symbols for shard in (ONE,)} == {True, False}, "both have something to do"
        for _ in range(6):
            await world.advance()
        await until(lambda: all_live(world, symbols), "every symbol live", world.nudge)

        found = await said(world)
        assert (found["state"], found["shards"], found["symbols"], found["error"]) == ("live", "2", str(SYMBOLS), "")
        alerts = await world.alerts(BINANCE_ID)
        assert {ONE.holds(alert.symbol) for alert in alerts} == {True, False}, "alerts of both"
        assert [alert.number for alert in alerts] == list(range(1, len(alerts) + 1))
        assert [name for name, _ in await world.stream(BINANCE_ID)] == [f"{alert.number}-0" for alert in alerts]
        for (symbol, timeframe), rows in (await world.candles(BINANCE_ID)).items():
            true = truth(world.sandbox, BINANCE_ID, symbol, timeframe, rows[0][0], world.last_closed(timeframe) + 1)
            assert [row[:5] for row in rows] == [row[:5] for row in true]

        assert await control.request(BINANCE_ID, "start", timeout=10) == Answer(True, "already running (2 shards)")
        four = await control.request(BINANCE_ID, "reload", timeout=10)
        assert four.ok
        assert all(word in four.message for word in ("shard 1/2: ", "shard 2/2: ", "0 new, 0 gone"))
        (health,) = await db(exchange_healths)(await db(lambda: list(Exchange.objects.filter(pk=BINANCE_ID)))())
        assert health["process"]["host"].startswith("2 of 2 shards: ")
        assert health["uptime_24h"] is not None

        tasks[TWO].cancel()  # an operator ends one of them
        await asyncio.gather(tasks[TWO], return_exceptions=True)
        theirs = sorted(symbol for symbol in symbols if TWO.holds(symbol))
        await until(lambda: offline(world), "what nobody watches", world.nudge)
        assert await offline(world) == theirs
        await until(lambda: is_stale(world), "that it is not whole", world.nudge)
        assert (await said(world))["error"] == "no process runs shard 2/2: its symbols are not watched"
        answer = await control.request(BINANCE_ID, "reload", timeout=2)
        assert not answer.ok
        assert "shard 2/2: did not answer within 2 s" in answer.message

        world.clock.advance(3 * 300_000)
        tasks[TWO] = await world.hosting(BINANCE_ID, shard=TWO)
        await world.settled()
        await until(lambda: all_live(world, symbols), "every symbol live again", world.nudge)
        alerts = await world.alerts(BINANCE_ID)
        assert len({alert.uid for alert in alerts}) == len(alerts) == (await world.stream(BINANCE_ID))[-1][1]["id"]
        events = await db(lambda: list(ExchangeEvent.objects.order_by("at", "pk").values_list("event", "reason")))()
        assert ("stale", "no process runs shard 2/2: its symbols are not watched") in events
        assert any(event == "connected" and reason == "shard 2/2" for event, reason in events)


async def all_live(world: World, symbols: list[str]) -> bool:
    found = await states(world)
    return found.keys() == set(symbols) and set(found.values()) == {"live"} and (await said(world))["state"] == "live"


async def offline(world: World) -> list[str]:
    return sorted(symbol for symbol, state in (await states(world)).items() if state == "offline")


async def is_stale(world: World) -> bool:
    return (await said(world))["state"] == "stale"


async def test_a_redis_that_lost_its_memory_is_filled_by_both(redis_url: str) -> None:
    async with simulated([BINANCE], top_n=SYMBOLS) as world, in_two(world):
        for _ in range(6):
            await world.advance()
        before = [alert["id"] for _, alert in await world.stream(BINANCE_ID)]
        assert len(before) > 3
        await world.redis.flushall()
        await until(lambda: filled(world), "candles of every symbol", world.nudge, patience=60)
        await world.advance()
        alerts = await world.alerts(BINANCE_ID)
        assert [alert["id"] for _, alert in await world.stream(BINANCE_ID)] == [alert.number for alert in alerts]
        assert (await world.redis.get(keys.alert_epoch(BINANCE_ID))).decode() == await db(services.sequence_epoch)(exchange_id=BINANCE_ID)


async def filled(world: World) -> bool:
    return all(len(rows) > 50 for (_, timeframe), rows in (await world.candles(BINANCE_ID)).items() if timeframe == "5m")


# The leases


async def test_a_division_excludes_the_undivided_and_any_other(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        one, two = (ShardLease(world.redis, BINANCE_ID, shard) for shard in (ONE, TWO))
        again, other, whole = (
            ShardLease(world.redis, BINANCE_ID, ONE),
            ShardLease(world.redis, BINANCE_ID, Shard(1, 3)),
            Lease(world.redis, BINANCE_ID),
        )
        assert [await one.acquire(), await two.acquire(), await again.acquire()] == [True, True, False]
        assert [await other.acquire(), await whole.acquire()] == [False, False]
        assert await whole.holder() == await other.holder() == "a division into 2 shards"
        assert (await again.holder()).startswith("process ")
        assert await world.redis.exists(keys.shard_lease(BINANCE_ID, "1/3")) == 0, "given back"

        await one.release()
        assert await two.renew()
        assert await status.divided_into(BINANCE_ID) == 2
        await two.release()
        assert await world.redis.exists(keys.exchange_lease(BINANCE_ID)) == 0, "the last one ends the division"
        assert await whole.acquire()
        assert not await one.acquire()
        assert await status.divided_into(BINANCE_ID) == 1


async def test_a_standby_of_a_shard_takes_it_over(redis_url: str) -> None:
    async with simulated([BINANCE], top_n=SYMBOLS) as world, in_two(world) as tasks:
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        standby = Host(exchange, world.redis, autostart=True, show=lambda status: None, revive=lambda: None, shard=TWO)
        waiting = asyncio.create_task(standby.run())
        await world.advance()
        assert standby.connector is None
        tasks[TWO].cancel()
        await asyncio.gather(tasks[TWO], return_exceptions=True)
        tasks[TWO] = waiting
        await until(lambda: standby.connector, "the standby to take over")
        await world.advance()


# Fences and order


def test_each_shard_has_a_fence_of_its_own_and_another_division_ends_all(db: None) -> None:
    first, _ = services.sequence_take_over(exchange_id="binance", shard=ONE)
    second, _ = services.sequence_take_over(exchange_id="binance", shard=TWO)
    commit = {"exchange_id": "binance", "checkpoints": [], "drafts": [], "naming": {}}
    services.closes_commit(**commit, fence=first, shard=ONE)
    services.closes_commit(**commit, fence=second, shard=TWO)
    for fence, shard in ((first, TWO), (second, ONE), (first, WHOLE)):
        with pytest.raises(services.Fenced):
            services.closes_commit(**commit, fence=fence, shard=shard)

    newer, _ = services.sequence_take_over(exchange_id="binance", shard=ONE)
    with pytest.raises(services.Fenced):
        services.closes_commit(**commit, fence=first, shard=ONE)
    services.closes_commit(**commit, fence=second, shard=TWO)

    whole, _ = services.sequence_take_over(exchange_id="binance")
    for fence, shard in ((newer, ONE), (second, TWO)):
        with pytest.raises(services.Fenced):
            services.closes_commit(**commit, fence=fence, shard=shard)
    services.closes_commit(**commit, fence=whole)
