"""The process that delivers, over a real Redis, real HTTP, and its own kill -9."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alerts import delivery
from alerts.deciding import exchanges_behind
from alerts.delivery import Worker
from alerts.models import Delivery, NotificationChannel, NotificationSettings
from alerts.notification_api import delivering
from alerts.publishing import Publisher
from alerts.services import Naming, now_ms
from livermore import bus, keys
from livermore.db import db
from tests.alerts.drafts import begin, commit, draft
from tests.alerts.notifying import delivery as owed
from tests.alerts.notifying import reader
from tests.alerts.receivers import Web, web
from tests.conftest import Valkey

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20.0
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _receivers_are_here(settings: Any, process_environment: dict[str, str]) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    process_environment["LIVERMORE_TEST_NETWORKS"] = "127.0.0.0/8"


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "GATHER", 0.1)
    monkeypatch.setattr(delivery, "OUTBOX_POLL", 0.1)
    monkeypatch.setattr(delivery, "AWAY", 0.2)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    await db(begin)("coinbase", "binance")
    client = bus.connect()
    yield client
    await client.aclose()


@asynccontextmanager
async def working(redis: Redis) -> AsyncIterator[None]:
    task = asyncio.create_task(Worker(redis).run())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> Any:
    async with asyncio.timeout(patience):
        while not (value := await true()):  # noqa: ASYNC110  (what it waits for is another's)
            await asyncio.sleep(0.05)
    return value


async def stored(at: int = 0, symbol: str = "BTC-USD", publish: Redis | None = None) -> None:
    """An alert in the database, and on its channels where a Redis is given."""
    alerts = await db(lambda: commit(draft(at, symbol=symbol)))()
    if publish is not None:
        publisher = Publisher(publish, "coinbase", "e")
        publisher.add(alerts)
        await publisher.flush()


async def states() -> list[str]:
    return await db(lambda: list(Delivery.objects.order_by("pk").values_list("state", flat=True)))()


@pytest.mark.usefixtures("_quick")
async def test_an_alert_is_on_its_way_within_a_moment_of_being_published(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "POLL", 60.0)  # only the word on the channel can wake it
    with web() as receiver:
        channel = await db(lambda: reader(url=receiver.url()))()
        async with working(redis):
            await until(lambda: redis.exists(keys.delivery_beat()))
            await until(db(lambda: NotificationChannel.objects.exists()))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await stored(publish=redis)
            await until(lambda: asyncio.sleep(0, receiver.requests))
            assert time.monotonic() - began < 5
            await until(db(lambda: Delivery.objects.filter(state="sent").exists()))
            figures = await until(lambda: redis.hgetall(keys.delivery_figures()))
            assert figures[b"sent|webhook"] == b"1"
            assert await asyncio.to_thread(delivering)
    assert receiver.bodies[0]["title"] == "▲ BTC-USD 5m crossed above +150"
    await db(channel.refresh_from_db)()
    assert channel.last_sent_at


@pytest.mark.usefixtures("_quick")
async def test_what_nobody_published_is_found_in_the_database(redis: Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while Redis is away: it is a wake-up, and nothing else."""
    monkeypatch.setattr(delivery, "POLL", 0.3)
    with web() as receiver:
        await db(lambda: reader(url=receiver.url()))()
        async with working(redis):
            await until(lambda: redis.exists(keys.delivery_beat()))
            valkey.kill()
            await stored()
            await until(lambda: asyncio.sleep(0, receiver.requests))
            valkey.start()
            await stored(1, "ETH-USD")
            await until(lambda: asyncio.sleep(0, len(receiver.requests) == 2))


@pytest.mark.usefixtures("_quick")
async def test_an_open_page_hears_of_it_on_the_channel_of_its_user(redis: Redis) -> None:
    channel = await db(lambda: reader(enabled=False))()
    await db(lambda: NotificationSettings.objects.create(user=channel.user, pages=True))()
    async with bus.following([keys.channel_user_alerts(channel.user_id)]) as heard, working(redis):
        await until(lambda: redis.exists(keys.delivery_beat()))
        await stored(publish=redis)
        async with asyncio.timeout(PATIENCE):
            _, message = await anext(heard)
    assert (message["type"], message["title"], message["silent"]) == ("notify", "▲ BTC-USD 5m crossed above +150", False)
    assert await states() == []


@pytest.mark.usefixtures("_quick")
async def test_a_slow_channel_keeps_nobody_else_waiting(redis: Redis) -> None:
    with web() as slow, web() as quick:
        slow.delay = 3.0
        for number, receiver in enumerate((slow, quick)):
            to = await db(lambda n=number, r=receiver: reader(f"user-{n}", url=r.url()))()
            for key in "abc":
                await db(lambda t=to, k=key: owed(t, k, created_at=now_ms(), expires_at=10**15))()
        async with working(redis):
            await until(lambda: asyncio.sleep(0, len(quick.requests) == 3), 2.5)
        assert len(slow.requests) == 1, "one message a channel at a time"


@pytest.mark.usefixtures("_quick")
async def test_it_is_tried_again_until_it_is_taken(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.delivery_services.FIRST_WAIT", 100)
    with web() as receiver:
        receiver.answers = [(503, {}, b""), (429, {"Retry-After": "1"}, b""), (200, {}, b"")]
        await db(lambda: owed(reader(url=receiver.url()), created_at=now_ms(), expires_at=10**15))()
        began = time.monotonic()
        async with working(redis):
            await until(db(lambda: Delivery.objects.filter(state="sent", attempts=3).exists()))
            await asyncio.sleep(0.5)
        assert time.monotonic() - began > 1.2, "it waited as it was told to"
        assert len(receiver.requests) == 3


# A process of its own


@contextmanager
def process(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    one = subprocess.Popen([sys.executable, "manage.py", "rundelivery"], cwd=PROJECT, env=environment)
    try:
        yield one
    finally:
        if one.poll() is None:
            one.terminate()
            assert one.wait(20) == 0, "it ends in order"
        one.wait(10)


def kill(one: subprocess.Popen[bytes]) -> None:
    """kill -9, and gone."""
    one.kill()
    one.wait(10)


def wait_for(true: Callable[[], Any], patience: float = PATIENCE) -> Any:
    deadline = time.monotonic() + patience
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return value


def test_a_kill_between_the_sending_and_its_mark_sends_it_again_and_loses_nothing(
    redis_url: str, process_environment: dict[str, str]
) -> None:
    """The contract: at least once. The claim of the dead holds until it lapses, here by hand."""
    begin("coinbase")
    exchanges_behind()
    with web() as receiver:
        to = reader(url=receiver.url())
        receiver.delay = 30.0  # it has taken the message, and its answer is on the way
        commit(draft())
        with process(process_environment) as one:
            wait_for(lambda: receiver.requests)
            kill(one)
        receiver.delay = 0.0
        row = Delivery.objects.get(channel=to)
        assert (row.state, row.attempts, row.sent_at) == ("sending", 1, None)
        with process(process_environment):
            wait_for(lambda: bus.sync().exists(keys.delivery_beat()))
            time.sleep(1.0)
            assert len(receiver.requests) == 1, "a claim is respected"
            Delivery.objects.update(claimed_until=1)
            wait_for(lambda: Delivery.objects.filter(state="sent").exists())
        assert len(receiver.requests) == 2
        assert {json.dumps(body, sort_keys=True) for body in receiver.bodies} == {json.dumps(receiver.bodies[0], sort_keys=True)}


def more_than(receiver: Web, seen: int) -> bool:
    return len(receiver.requests) > seen


def test_kills_at_any_moment_lose_no_message(redis_url: str, process_environment: dict[str, str]) -> None:
    begin("coinbase")
    exchanges_behind()
    with web() as receiver:
        to = reader(url=receiver.url())
        NotificationSettings.objects.create(user=to.user, group_from=100)
        names = [f"C{number}-USD" for number in range(4)]
        for at, name in enumerate(names):
            commit(draft(0, symbol=name), naming={name: Naming(name, "USD")})
            if at % 2 == 1:
                with process(process_environment) as one:
                    wait_for(partial(more_than, receiver, len(receiver.requests)))
                    kill(one)
                Delivery.objects.filter(state="sending").update(claimed_until=1)
        with process(process_environment):
            wait_for(lambda: Delivery.objects.filter(state="sent").count() == len(names), 40)
        told = [body["title"].split()[1] for body in receiver.bodies]
        assert set(told) == set(names)
        assert len(told) <= len(names) + 2, "a kill repeats the one that was on its way, and no other"
