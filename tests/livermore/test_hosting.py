"""A process that hosts exchanges: commands and their answers, the lease, the standby, and coming back by itself."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest
from django.db import connection
from django.db.models import Model

from alerts.models import AlertRule, ExchangeSequence
from exchanges import control
from exchanges.control import Answer, Command
from exchanges.lease import Lease
from exchanges.models import Exchange, ExchangeEvent
from exchanges.sandbox.venues import BINANCE, COINBASE
from livermore import keys
from livermore.db import db
from livermore.hosting import Host, host
from tests.people import person
from tests.simulated import BINANCE_ID, COINBASE_ID, World, simulated, until

pytestmark = pytest.mark.django_db(transaction=True)


async def status(world: World, exchange_id: str = BINANCE_ID) -> dict[str, str]:
    fields = await world.redis.hgetall(keys.exchange_status(exchange_id))
    return {name.decode(): value.decode() for name, value in fields.items()}


async def ask(action: str, exchange_id: str = BINANCE_ID) -> Answer:
    return await control.request(exchange_id, action, by="a test", timeout=10)


@contextlib.asynccontextmanager
async def idle(world: World, *exchange_ids: str) -> AsyncIterator[asyncio.Task[None]]:
    """A process that hosts exchanges, told to start none, and ready for commands."""
    exchanges = await db(lambda: list(Exchange.objects.filter(pk__in=exchange_ids)))()
    task = asyncio.create_task(host(exchanges, frozenset()))
    try:
        for exchange_id in exchange_ids:
            await until(lambda: status(world, exchange_id), f"the status of {exchange_id}")  # noqa: B023  (awaited at once)
            group = f"livermore:group:{keys.group_control(exchange_id)}"
            await until(lambda: world.redis.exists(group), "somebody who takes commands")  # noqa: B023
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def hosted(world: World, exchange: Exchange, *, autostart: bool = True) -> Host:
    return Host(exchange, world.redis, autostart=autostart, show=lambda status: None, revive=lambda: None)


@contextlib.asynccontextmanager
async def away(*models: type[Model]) -> AsyncIterator[None]:
    """A database that cannot answer for these."""
    names = [model._meta.db_table for model in models]
    for name in names:
        await db(rename)(name, f"{name}_away")
    try:
        yield
    finally:
        for name in names:
            await db(rename)(f"{name}_away", name)


def rename(table: str, to: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# Commands


async def test_it_is_idle_until_told_to_start(redis_url: str) -> None:
    async with simulated([COINBASE, BINANCE]) as world, idle(world, BINANCE_ID, COINBASE_ID):
        for exchange_id in (BINANCE_ID, COINBASE_ID):
            found = await status(world, exchange_id)
            assert (found["state"], found["connection_state"], found["symbols"]) == ("idle", "idle", "0")
            assert world.sandbox.counters[exchange_id] == {}, "no socket, no request"


async def test_it_answers_what_really_happened(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID):
        assert await ask("stop") == Answer(True, "already stopped")
        assert await ask("reload") == Answer(True, "idle: it will follow at its next start")
        assert await ask("start") == Answer(True, "started")
        assert await ask("start") == Answer(True, "already running")
        assert await ask("reload") == Answer(True, "4 symbols, 0 new, 0 gone")
        assert await ask("restart") == Answer(True, "restarted")
        assert world.sandbox.counters[BINANCE_ID]["connects"] == 2
        assert await ask("stop") == Answer(True, "stopped")
        found = await status(world)
        assert (found["state"], found["connection_state"], found["symbols"], found["error"]) == ("idle", "idle", "0", "")
        await until(lambda: world.sandbox.counters[BINANCE_ID]["open"] == 0, "the end of the connection")


async def test_an_idle_one_asks_the_exchange_without_a_socket(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID):
        assert await ask("resync") == Answer(True, "4 symbols chosen; it will follow them at its next start")
        assert len(await world.symbols(BINANCE_ID)) == 4
        assert "connects" not in world.sandbox.counters[BINANCE_ID]


@pytest.mark.parametrize("action", ["", "start"])
async def test_without_a_key_there_are_no_positions_to_read(redis_url: str, action: str) -> None:
    user = await db(person)("mike", group="trader")
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID):
        if action:
            await ask(action)
        assert await ask("positions") == Answer(True, "positions of 0 users read, 0 keys failed")
        answer = await control.request(BINANCE_ID, "positions", by="mike", user_id=user.pk, timeout=10)
        assert answer == Answer(True, "no key is stored for Binance Sandbox: add one in the settings")


async def test_a_start_that_is_refused_says_why(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID):
        world.sandbox.faults.set("rest-status", status=451)

        answer = await ask("start")
        assert not answer.ok
        reason = "HTTP 451: Binance does not serve this country; in the US use binance-us"
        assert answer.message.startswith(f"starting, but not connected yet: {reason}. Next attempt in ")


async def test_a_command_that_needs_the_exchange_says_when_it_does_not_answer(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID):
        await ask("start")
        world.sandbox.faults.set("rest-status", status=403)

        answer = await ask("resync")
        assert not answer.ok
        assert answer.message.startswith("the exchange did not answer: HTTP 403")


async def test_it_ends_at_once_and_leaves_no_trace_of_a_process(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID) as task:
        await ask("start")
        async with asyncio.timeout(3):
            await end(task)

        assert await status(world) == {}
        assert await world.redis.exists(keys.exchange_lease(BINANCE_ID)) == 0
        assert await ask("start") == Answer(
            False, f"no process hosts {BINANCE_ID}: start one with `python manage.py runexchange {BINANCE_ID}`"
        )


async def test_what_happens_is_kept_with_its_reasons(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID) as task:
        await ask("start")
        await world.live(BINANCE_ID)
        await ask("stop")
        await end(task)

        def kept() -> list[tuple[str, str]]:
            return list(ExchangeEvent.objects.filter(exchange=BINANCE_ID).order_by("at", "pk").values_list("event", "reason"))

        found = [(event, reason) for event, reason in await db(kept)() if event != "warming"]
        assert found == [
            ("idle", f"hosted by process {os.getpid()} on {socket.gethostname()}"),
            ("offline", "starting"),
            ("connecting", ""),
            ("connected", ""),
            ("live", ""),
            ("idle", "stopped"),
            ("offline", "its process ended"),
        ]
        rows = await db(lambda: list(ExchangeEvent.objects.filter(event="live").values_list("at", "seen")))()
        (idle_again,) = await db(lambda: list(ExchangeEvent.objects.filter(reason="stopped").values_list("at", flat=True)))()
        assert [seen for _, seen in rows] == [idle_again], "live until it was stopped"


async def test_a_process_that_took_over_goes_on_with_the_record(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        first, second = hosted(world, exchange), hosted(world, exchange, autostart=False)
        running = asyncio.create_task(first.run())
        await world.live(BINANCE_ID)
        await world.redis.set(keys.exchange_lease(BINANCE_ID), second._lease._mine)
        waiting = asyncio.create_task(second.run())
        await until(lambda: first.connector is None, "the first one to step back")
        await end(running)
        await end(waiting)

        events = await db(lambda: list(ExchangeEvent.objects.order_by("at", "pk").values_list("event", flat=True)))()
        assert [event for event in events if event != "warming"] == ["offline", "connecting", "connected", "live", "idle", "offline"]


# The lease


async def test_a_second_process_waits_and_answers_nothing_until_the_first_is_gone(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        first, second = hosted(world, exchange), hosted(world, exchange)
        world.running[BINANCE_ID] = asyncio.create_task(first.run())
        await world.settled()
        waiting = asyncio.create_task(second.run())
        for _ in range(3):
            await world.advance()
        assert await second.handle(Command(BINANCE_ID, "start", "a test")) is None
        assert await second.handle(Command(BINANCE_ID, "stop", "a test")) is None
        assert second.connector is None
        assert await first.handle(Command(BINANCE_ID, "start", "a test")) == Answer(True, "already running")
        before = [alert.uid for alert in await world.alerts(BINANCE_ID)]

        await end(world.running[BINANCE_ID])
        world.running[BINANCE_ID] = waiting
        await until(lambda: second.connector, "the second to take over")
        for _ in range(3):
            await world.advance()
        assert await second.handle(Command(BINANCE_ID, "start", "a test")) == Answer(True, "already running")
        after = await world.alerts(BINANCE_ID)
        assert [alert.uid for alert in after][: len(before)] == before
        assert len({alert.uid for alert in after}) == len(after)
        assert world.sandbox.counters[BINANCE_ID]["connects"] == 2


async def test_a_process_that_lost_its_lease_steps_back_and_takes_it_again_when_it_is_free(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        first, other = hosted(world, exchange), Lease(world.redis, BINANCE_ID)
        world.running[BINANCE_ID] = asyncio.create_task(first.run())
        await world.settled()

        async def stolen() -> bool:
            await world.redis.delete(keys.exchange_lease(BINANCE_ID))  # its owner was frozen for too long
            return await other.acquire()

        await until(stolen, "another owner of the lease")
        async with asyncio.timeout(10):
            while first.connector is not None:  # noqa: ASYNC110  (every turn of the loop counts)
                await asyncio.sleep(0)
        assert await first.handle(Command(BINANCE_ID, "start", "a test")) is None, "not even while it is stepping back"
        await until(lambda: world.sandbox.counters[BINANCE_ID]["open"] == 0, "the end of its connection")
        assert (await status(world))["state"] != "idle", "the status belongs to whoever holds the lease"

        await other.release()
        await until(lambda: first.connector, "the first to take over again")
        await world.advance()


async def test_a_redis_that_forgot_the_lease_is_told_again_without_a_reconnect(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.host(BINANCE_ID)
        await world.redis.flushall()
        await world.settled()

        assert await world.redis.exists(keys.exchange_lease(BINANCE_ID)) == 1
        assert world.sandbox.counters[BINANCE_ID]["connects"] == 1


async def test_a_redis_that_forgot_everything_has_the_alerts_again_before_there_is_another(redis_url: str) -> None:
    async with simulated([BINANCE], pinned=("RLC", "BAND", "TAO", "FET")) as world:
        await world.host(BINANCE_ID)
        for _ in range(4):
            await world.advance()
        alerts = await world.alerts(BINANCE_ID)
        assert alerts
        before = {one["epoch"] for _, one in await world.stream(BINANCE_ID)}
        await world.redis.flushall()
        await world.settled()

        stream = await until(lambda: world.stream(BINANCE_ID), "the stream")
        assert [(int(name.removesuffix("-0")), one["uid"]) for name, one in stream] == [(alert.number, alert.uid) for alert in alerts]
        assert not before & {one["epoch"] for _, one in stream}


async def test_a_lease_belongs_to_one(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        one, other = Lease(world.redis, BINANCE_ID), Lease(world.redis, BINANCE_ID)
        assert await one.holder() == ""

        assert [await one.acquire(), await other.acquire(), await one.acquire(), await one.renew()] == [True, False, True, True]
        assert 4_000 < await world.redis.pttl(keys.exchange_lease(BINANCE_ID)) <= 5_000
        assert (await other.holder()).startswith("process ")
        await other.release()
        assert not await other.renew()
        assert await one.renew(), "only the owner gives it up"
        await one.release()
        assert await other.acquire()
        assert not await one.renew()


async def test_what_somebody_wrote_into_the_lease_is_an_unknown_process(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        for value in ("", "7", "[]", "not json"):
            await world.redis.set(keys.exchange_lease(BINANCE_ID), value)
            assert await Lease(world.redis, BINANCE_ID).holder() == "an unknown process"


# By itself


async def test_a_connector_that_fell_over_starts_again(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        levels = (await db(AlertRule.objects.get)()).levels
        await db(AlertRule.objects.update)(levels=["nonsense"])
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        one = hosted(world, exchange)
        world.running[BINANCE_ID] = asyncio.create_task(one.run())
        await until(lambda: "the connector fell over" in one.status.error, "word of it")

        await db(AlertRule.objects.update)(levels=levels)
        await world.settled()
        assert (one.status.connection_state, one.status.error) == ("connected", "")


async def test_a_database_that_is_away_at_a_start_is_waited_for(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        one = hosted(world, exchange)
        async with away(ExchangeSequence):
            world.running[BINANCE_ID] = asyncio.create_task(one.run())
            await until(lambda: "it starts when the database answers" in one.status.error, "word of the database")
        await world.settled()
        assert (one.status.connection_state, one.status.error) == ("connected", "")


async def test_a_connector_that_fell_over_for_want_of_the_database_comes_back_with_it(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the database is still away when it is to start again."""
    async with simulated([BINANCE]) as world:
        exchange = await db(Exchange.objects.get)(pk=BINANCE_ID)
        one = hosted(world, exchange)
        async with away(AlertRule):
            world.running[BINANCE_ID] = asyncio.create_task(one.run())
            await until(lambda: "the connector starts again when the database answers" in one.status.error, "word of the database")
            async with away(ExchangeSequence):
                await asyncio.sleep(1.5)  # by then it has tried
        await world.settled()
        assert (one.status.connection_state, one.status.error) == ("connected", "")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_command_says_when_the_database_does_not_answer(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, idle(world, BINANCE_ID):
        async with away(ExchangeSequence):
            answer = await ask("start")
        assert not answer.ok
        assert answer.message.startswith("the database did not answer: ")
        assert await ask("start") == Answer(True, "started")
