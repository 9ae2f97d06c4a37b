"""The proxy between real servers and their real clients: each fault does to them what it says, and nothing stays of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from urllib.parse import urlsplit

import psycopg
import pytest
import redis.asyncio as redis
from django.db import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.proxy import FAULTS, Proxy, Step, schedule


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(urlsplit(redis_url).path, seed=7) as running:
        yield running


@asynccontextmanager
async def client(proxy: Proxy, patience: float | None = None) -> AsyncIterator[redis.Redis]:
    """A client that says at once what went wrong."""
    url = f"redis://{proxy.host}:{proxy.port}"
    async with redis.Redis.from_url(url, socket_timeout=patience, retry=Retry(NoBackoff(), 0), single_connection_client=True) as opened:
        await opened.ping()
        yield opened


async def seconds_of_a_ping(opened: redis.Redis) -> float:
    began = time.monotonic()
    await opened.ping()
    return time.monotonic() - began


async def test_it_passes_on_what_is_said_both_ways(proxy: Proxy):
    async with client(proxy) as opened:
        value = bytes(range(256)) * 4_000
        await opened.set("big", value)
        assert await opened.get("big") == value
        assert (proxy.accepted, proxy.open) == (1, 1)
        assert min(proxy.passed.values()) > len(value)


async def test_latency_holds_back_each_way_and_keeps_the_order(proxy: Proxy):
    async with client(proxy) as opened:
        proxy.set("latency", seconds=0.1, jitter=0.05)
        assert 0.2 <= await seconds_of_a_ping(opened) < 1.0
        assert [int(answer) for answer in await asyncio.gather(*(opened.incr("n") for _ in range(5)))] == [1, 2, 3, 4, 5]
        proxy.clear()
        assert await seconds_of_a_ping(opened) < 0.1


async def test_a_slow_line_takes_as_long_as_its_rate_says(proxy: Proxy):
    async with client(proxy) as opened:
        await opened.set("text", "x" * 10_000)
        proxy.set("slow", rate=20_000)
        began = time.monotonic()
        assert len(await opened.get("text")) == 10_000
        assert 0.4 <= time.monotonic() - began < 2.0


async def test_a_black_hole_lets_nothing_through_and_gives_it_back_when_it_heals(proxy: Proxy):
    async with client(proxy) as opened:
        proxy.set("black-hole")
        asked = asyncio.ensure_future(opened.ping())
        await asyncio.sleep(0.2)
        assert not asked.done()
        proxy.clear("black-hole")
        assert await asyncio.wait_for(asked, 2)


async def test_without_the_way_back_a_request_is_carried_out_and_its_answer_lost(proxy: Proxy, redis_url: str):
    async with client(proxy, patience=0.2) as opened:
        proxy.set("black-hole", direction="down")
        with pytest.raises(redis.TimeoutError):
            await opened.set("done", "yes")
        async with redis.Redis.from_url(redis_url) as beside:
            assert await beside.get("done") == b"yes"


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_open_connections_end_and_new_ones_work(proxy: Proxy, fault: str):
    async with client(proxy) as opened:
        proxy.set(fault)
        with pytest.raises((redis.ConnectionError, ConnectionResetError)):
            await opened.ping()
    async with client(proxy) as again:
        assert await again.ping()
    assert proxy.accepted == 2


async def test_a_line_can_be_cut_in_the_middle_of_an_answer(proxy: Proxy):
    async with client(proxy) as opened:
        await opened.set("text", "x" * 1_000)
        before = proxy.passed["down"]
        proxy.set("cut", after=400)
        with pytest.raises(redis.ConnectionError):
            await opened.get("text")
        assert proxy.passed["down"] - before == 400


async def test_refused_connections_fail_at_once_and_open_ones_go_on(proxy: Proxy):
    async with client(proxy) as opened:
        proxy.set("refuse")
        with pytest.raises((redis.ConnectionError, ConnectionResetError)):
            async with client(proxy):
                pass
        assert await opened.ping()


async def test_a_server_that_is_gone_looks_like_one():
    async with Proxy("/nowhere/valkey.sock") as nobody:
        with pytest.raises((redis.ConnectionError, ConnectionResetError)):
            async with client(nobody):
                pass


def test_one_seed_is_one_schedule():
    steps = schedule(7, 600)
    assert steps == schedule(7, 600)
    assert steps != schedule(8, 600)
    assert {step.fault for step in steps} == set(FAULTS)
    assert all(before.at + before.seconds < after.at for before, after in pairwise(steps))


async def test_a_schedule_is_played_and_leaves_nothing_behind(proxy: Proxy):
    async with client(proxy) as opened:
        playing = asyncio.create_task(proxy.play([Step(0.0, "latency", 0.5, {"seconds": 0.1, "jitter": 0.0}), Step(0.6, "cut", 0.0)]))
        await asyncio.sleep(0.05)
        assert await seconds_of_a_ping(opened) >= 0.2
        await playing
        with pytest.raises(redis.ConnectionError):
            await opened.ping()
    async with client(proxy) as again:
        assert await seconds_of_a_ping(again) < 0.1


def test_what_is_not_known_is_refused_in_words():
    proxy = Proxy("127.0.0.1", 1)
    with pytest.raises(ValueError, match="unknown fault 'fire'; known: latency"):
        proxy.set("fire")
    with pytest.raises(ValueError, match="slow has no speed; it has: rate"):
        proxy.set("slow", speed=1)


@pytest.mark.postgres
@pytest.mark.django_db
async def test_postgresql_behind_it_is_late_cut_and_back():
    settings = connection.settings_dict
    async with Proxy(settings["HOST"] or "127.0.0.1", int(settings["PORT"] or 5432), seed=7) as proxy:
        address = {"host": proxy.host, "port": proxy.port, "user": settings["USER"], "password": settings["PASSWORD"], "dbname": "postgres"}
        opened = await psycopg.AsyncConnection.connect(**address, autocommit=True)
        proxy.set("latency", seconds=0.1, jitter=0.0)
        began = time.monotonic()
        assert await (await opened.execute("SELECT 1")).fetchone() == (1,)
        assert time.monotonic() - began >= 0.2
        proxy.clear()
        proxy.set("reset")
        with pytest.raises(psycopg.OperationalError):
            await opened.execute("SELECT 1")
        await opened.close()
        again = await psycopg.AsyncConnection.connect(**address, autocommit=True)
        assert await (await again.execute("SELECT 2")).fetchone() == (2,)
        await again.close()
