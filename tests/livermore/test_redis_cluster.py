"""Three real nodes of a Redis Cluster: everything that one Redis does for us, and what only several nodes can do to us."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.layers import channel_layers
from django_redis.cache import RedisCache
from redis.asyncio import Redis

from exchanges import control, status
from exchanges.control import Answer
from exchanges.sandbox.venues import BINANCE
from livermore import bus, cluster, embedded, keys, redisurl
from livermore.bus import FAILURES
from livermore.embedded import RedisUnavailableError
from livermore.witness import Witness
from market_data.store import read_series
from tests.rediscluster import RedisCluster
from tests.simulated import BINANCE_ID, World, simulated, truth, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Nodes that forget everything when they are killed."""
    with RedisCluster(tmp_path_factory.mktemp("cluster"), keeps=False) as made:
        yield made


@pytest.fixture
def url(nodes: RedisCluster, settings: Any) -> Iterator[str]:
    """The settings as a process has them whose REDIS_URL names the cluster; it is empty."""
    for port in nodes.ports:
        with nodes.node(port) as node:
            node.flushall()
    settings.REDIS_URL = nodes.url
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [cluster.any_node(nodes.url)], "prefix": "livermore"},
        }
    }
    channel_layers.backends.clear()
    yield nodes.url
    channel_layers.backends.clear()
    cluster.shared(nodes.url).close()
    cluster.shared.cache_clear()


@pytest.fixture
async def client(url: str) -> AsyncIterator[Redis]:
    made = bus.connect()
    yield made
    await made.aclose()


# The client


async def test_the_commands_of_one_redis_work_on_keys_of_every_node(client: Redis) -> None:
    names = [f"key:{number}" for number in range(50)]
    async with client.pipeline(transaction=False) as pipe:
        for number, name in enumerate(names):
            pipe.set(name, number)
            pipe.expire(name, 100)
        assert await pipe.execute() == [True, True] * 50
    assert await client.mget(names) == await client.mget(*names) == [str(number).encode() for number in range(50)]
    assert await client.exists(*names[:7]) == 7
    assert {name async for name in client.scan_iter(match="key:*")} == {name.encode() for name in names}
    assert await client.delete(*names[:10]) == 10
    async with client.pipeline(transaction=False) as pipe:
        pipe.unlink(names[10], names[11])
        pipe.delete(names[12])
        pipe.get(names[13])
        assert len(pipe) == 4
        assert await pipe.execute() == [1, 1, 1, b"13"]
    with pytest.raises(ValueError, match="transaction"):
        client.pipeline(transaction=True)


async def test_what_is_published_arrives_in_order_after_what_was_written(client: Redis) -> None:
    listening = bus.listening()
    pubsub = listening.pubsub()
    await pubsub.psubscribe("channel:*")
    await pubsub.get_message(timeout=5)
    async with client.pipeline(transaction=False) as pipe:
        for number in range(30):
            pipe.publish(f"channel:{number % 7}", str(number))
            pipe.set(f"value:{number}", number)
        answers = await pipe.execute()
    assert answers[1::2] == [True] * 30
    heard = [await pubsub.get_message(timeout=5) for _ in range(30)]
    assert [int(message["data"]) for message in heard] == list(range(30))
    await client.publish("channel:alone", "last")
    assert (await pubsub.get_message(timeout=5))["data"] == b"last"
    await pubsub.aclose()
    await listening.aclose()


async def test_an_error_of_one_command_is_told_for_it_alone(client: Redis) -> None:
    await client.set("text", "words")
    async with client.pipeline(transaction=False) as pipe:
        pipe.zadd("text", {"a": 1})
        pipe.set("other", 1)
        answers = await pipe.execute(raise_on_error=False)
    assert isinstance(answers[0], FAILURES)
    assert answers[1] is True


def test_views_and_the_cache_read_and_write(url: str, settings: Any) -> None:
    one = bus.sync()
    one.set("a", 1)
    one.set("b", 2)
    assert one.mget(["a", "b", "none"]) == [b"1", b"2", None]
    one.publish("channel:a", "x")
    pipe = one.pipeline(transaction=False)
    pipe.get("a")
    pipe.exists("b")
    assert pipe.execute() == [b"1", 1]
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "livermore.cluster.CacheConnections"
    cache = RedisCache(url, {"OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}})
    cache.set("throttle", [1.5, 2.5], 60)
    assert cache.get("throttle") == [1.5, 2.5]
    assert cache.get("nothing") is None
    cache.delete("throttle")
    assert cache.get("throttle") is None


def test_an_address_that_leads_nowhere_is_said_without_the_password(nodes: RedisCluster) -> None:
    embedded.check(nodes.url)
    wrong = nodes.url.replace("a-cluster%27s", "a-canary")
    with pytest.raises(RedisUnavailableError, match="refuses our name or password") as refused:
        embedded.check(wrong)
    assert "a-canary" not in str(refused.value)
    with pytest.raises(RedisUnavailableError, match=r"127\.0\.0\.1:1 does not answer \(connection refused\)"):
        embedded.check("redis+cluster://:a-canary@127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "nodes", "login", "tls"),
    [
        ("redis+cluster://h1,h2:7000", (("h1", 6379), ("h2", 7000)), (None, None), False),
        ("rediss+cluster://me:p%40ss@[::1]:7001/0", (("::1", 7001),), ("me", "p@ss"), True),
        ("redis+cluster://:only@h1:1 , h2:2", (("h1", 1), ("h2", 2)), (None, "only"), False),
    ],
)
def test_the_address_of_a_cluster_is_taken_apart(text: str, nodes: object, login: object, tls: bool) -> None:
    found = redisurl.address(text)
    assert (found.nodes, (found.username, found.password), found.tls) == (nodes, login, tls)
    assert redisurl.password(text) == (found.password or "")


# The whole of a connector on it


async def test_the_main_job_runs_on_it(url: str) -> None:
    async with simulated([BINANCE], top_n=6) as world:
        await world.host(BINANCE_ID)
        for _ in range(4):
            await world.advance()
        await world.live(BINANCE_ID)
        alerts = await world.alerts(BINANCE_ID)
        assert [name for name, _ in await world.stream(BINANCE_ID)] == [f"{alert.number}-0" for alert in alerts]
        assert len(alerts) > 3
        series = await world.candles(BINANCE_ID)
        for (symbol, timeframe), rows in series.items():
            true = truth(world.sandbox, BINANCE_ID, symbol, timeframe, rows[0][0], world.last_closed(timeframe) + 1)
            assert [row[:5] for row in rows] == [row[:5] for row in true]
        symbol = next(iter(series))[0]
        stored = await asyncio.to_thread(read_series, BINANCE_ID, symbol, "5m")
        assert stored.candles == series[symbol, "5m"][-400:]
        assert await control.request(BINANCE_ID, "start", timeout=10) == Answer(True, "already running")
        assert (await control.request(BINANCE_ID, "reload", timeout=10)).ok
        assert (await asyncio.to_thread(status.read_all, [BINANCE_ID]))[BINANCE_ID]["state"] == "live"
        spread = {world.redis.keyslot(keys.candles(BINANCE_ID, *name)) % 3 for name in series}  # type: ignore[attr-defined]
        assert spread == {0, 1, 2}


async def test_a_node_that_comes_back_without_its_memory_is_noticed_and_filled(url: str, nodes: RedisCluster) -> None:
    """The lease may stand on another node: it is no sign."""
    async with simulated([BINANCE], top_n=4) as world:
        await world.host(BINANCE_ID)
        for _ in range(3):
            await world.advance()
        lease = keys.exchange_lease(BINANCE_ID)
        of_the_lease = holder(world, lease)
        victim = next(port for port in nodes.ports if port != of_the_lease)
        lost = [name for name in await world.candles(BINANCE_ID) if holder(world, keys.candles(BINANCE_ID, *name)) == victim]
        assert lost, "some candles stood on it"

        nodes.kill(victim)
        nodes.start(victim)
        await until(lambda: filled(world), "candles of every series", world.nudge, patience=90)
        await world.advance()
        await world.live(BINANCE_ID)
        assert [alert["id"] for _, alert in await world.stream(BINANCE_ID)] == [alert.number for alert in await world.alerts(BINANCE_ID)]


def holder(world: World, name: str) -> int:
    """The port of the node that has a key."""
    return int(world.redis.get_node_from_key(name).port)  # type: ignore[attr-defined]


async def filled(world: World) -> bool:
    try:
        return all(len(rows) > 50 for (_, timeframe), rows in (await world.candles(BINANCE_ID)).items() if timeframe in {"5m", "1h"})
    except FAILURES:
        return False  # the others refuse while one is away


async def test_a_witness_stands_on_every_node_and_tells_of_one_that_forgot(client: Redis, nodes: RedisCluster) -> None:
    await client.ping()
    witness = Witness(client, lambda number: keys.exchange_witness("binance", "1/1", number))
    assert [await witness.lost() for _ in range(2)] == [False, False]
    for port in nodes.ports:
        with nodes.node(port) as node:
            assert len(node.keys("exchange:witness:*")) == 1
            node.flushall()
        assert [await witness.lost() for _ in range(2)] == [True, False]


async def test_a_relay_hears_all_through_one_node_and_finds_another_when_that_is_gone(client: Redis, nodes: RedisCluster) -> None:
    heard: list[str] = []

    class Listening:
        def deliver(self, channel: str, data: bytes) -> None:
            heard.append(json.loads(data))

        def link_changed(self, up: bool) -> None:
            heard.append("up" if up else "down")

    relay, listener = bus.Relay(), Listening()
    assert await relay.subscribe(listener, ["channel:alerts:*"])
    await client.publish("channel:alerts:a", json.dumps("first"))
    await until(lambda: heard == ["first"], "what was published")
    assert relay._pubsub is not None
    port = relay._pubsub.connection.port  # type: ignore[union-attr]
    nodes.kill(port)
    await until(lambda: heard[-2:] == ["down", "up"], "another node")
    survivor = next(other for other in nodes.ports if other != port)
    with nodes.node(survivor) as node:
        node.publish("channel:alerts:b", json.dumps("second"))
    await until(lambda: heard[-1] == "second", "what was published through another")
    await relay.close()
    nodes.start(port)
    await until(lambda: whole(nodes), "the cluster to be whole again", patience=60)


def whole(nodes: RedisCluster) -> bool:
    for port in nodes.ports:
        with nodes.node(port) as node:
            if not nodes.is_whole(node):
                return False
    return True
