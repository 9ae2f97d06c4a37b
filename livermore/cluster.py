"""Redis Cluster behind the face of one Redis: what spans slots is split, and everything is published through one node.

No call of ours names two keys that have to be in one slot: keys spread over all nodes. Channels are no keys: a cluster carries what any
node is told to every other. Everybody publishes through the same one, so that all messages have one order, and listens at any that
answers. livermore/redisurl.py says how a cluster is named.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, cast

import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection
from django.conf import settings
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff, NoBackoff
from redis.cluster import ClusterNode as SyncClusterNode
from redis.retry import Retry
from redis.typing import EncodableT

from livermore.redisurl import address

ATTEMPTS = 3
PAUSE = 0.05
"""Seconds between the attempts of one call: a slot that has just moved is found at the second."""
_CHANNELS = "channel"
"""Everything is published through the node that would have this key."""
MOST_CONNECTIONS = 200
"""Of one client to one node."""


class _AnyNode:
    """A connection to the first of several nodes that takes one, a random one first."""

    nodes: tuple[tuple[str, int], ...]

    async def _connect(self) -> None:
        refused: Exception = ConnectionError("no node of the cluster is named")
        for node in random.sample(self.nodes, len(self.nodes)):  # nosec B311  # spreads load, no secret
            self.host, self.port = node
            try:
                await super()._connect()  # type: ignore[misc]
            except (OSError, TimeoutError, redis.RedisError) as error:
                refused = error
            else:
                return
        raise refused


class AnyNode(_AnyNode, redis.asyncio.Connection):
    def __init__(self, *, nodes: tuple[tuple[str, int], ...], **options: Any) -> None:
        super().__init__(**options)
        self.nodes = nodes


class AnyNodeOverTls(_AnyNode, redis.asyncio.SSLConnection):
    def __init__(self, *, nodes: tuple[tuple[str, int], ...], **options: Any) -> None:
        super().__init__(**options)
        self.nodes = nodes


def any_node(url: str) -> dict[str, Any]:
    """What a pool of asynchronous connections has to be told to keep to one node that answers; also a host of the channel layer."""
    where = address(url)
    return {
        "connection_class": AnyNodeOverTls if where.tls else AnyNode,
        "nodes": where.nodes,
        "socket_timeout": None,
        "socket_connect_timeout": 5.0,
        **where.login,
    }


def one_node(url: str) -> redis.asyncio.Redis:
    """A client of one node, whichever answers: for subscribing."""
    return redis.asyncio.Redis.from_pool(redis.asyncio.ConnectionPool(**any_node(url), retry=AsyncRetry(NoBackoff(), 0)))


class _Pipeline(ClusterPipeline):
    """Commands go to the nodes of their keys, all at once; what is published goes out after them, in order."""

    __slots__ = ("_published", "_queued")

    def __init__(self, client: Cluster) -> None:
        super().__init__(client)
        self._queued: list[tuple[str, EncodableT] | None] = []

    def execute_command(self, *args: Any, **options: Any) -> _Pipeline:
        self._queued.append(None)
        super().execute_command(*args, **options)
        return self

    def publish(self, channel: Any, message: Any, **_: Any) -> _Pipeline:  # type: ignore[override]  # the commands of a pipeline are not awaited
        self._queued.append((channel, message))
        return self

    def unlink(self, *names: Any) -> _Pipeline:  # type: ignore[override]  # redis-py's own has to be awaited
        for name in names:
            self.execute_command("UNLINK", name)
        return self

    def delete(self, *names: Any) -> _Pipeline:  # type: ignore[override]
        for name in names:
            self.execute_command("DEL", name)
        return self

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        queued, self._queued = self._queued, []
        answers = iter(await super().execute(raise_on_error, allow_redirections) if None in queued else [])
        published = iter(await self._publish([message for message in queued if message is not None]))
        return [next(answers) if message is None else next(published) for message in queued]

    async def _publish(self, messages: list[tuple[str, EncodableT]]) -> list[Any]:
        if not messages:
            return []
        async with cast(Cluster, self.cluster_client).publisher().pipeline(transaction=False) as pipe:
            for channel, message in messages:
                pipe.publish(channel, message)
            return await pipe.execute()

    def __len__(self) -> int:
        return len(self._queued)


class Cluster(redis.asyncio.RedisCluster):
    """What ``redis.asyncio.Redis`` does for us, over a cluster."""

    def __init__(self, url: str) -> None:
        where = self._where = address(url)
        self._publisher: redis.asyncio.Redis | None = None
        super().__init__(
            startup_nodes=[ClusterNode(*node) for node in where.nodes],
            dynamic_startup_nodes=False,  # the names we were given may be the only ones that lead there
            retry=AsyncRetry(ConstantBackoff(PAUSE), ATTEMPTS),
            max_connections=MOST_CONNECTIONS,
            socket_timeout=None,
            socket_connect_timeout=5.0,
            ssl=where.tls,
            **where.login,
        )

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> _Pipeline:
        if transaction:
            raise ValueError("a cluster has no transaction over several keys")
        return _Pipeline(self)  # type: ignore[abstract]  # an attribute that redis-py declares, and its own pipeline lacks as well

    def publisher(self) -> redis.asyncio.Redis:
        """The node through which every process publishes: on their ways through several, messages of two could overtake one another."""
        node = self.get_node_from_key(_CHANNELS)
        if node is None:
            raise redis.RedisClusterException("no node of the cluster is known yet")
        held = self._publisher
        if held is None or (node.host, node.port) != tuple(held.connection_pool.connection_kwargs[name] for name in ("host", "port")):
            held = self._publisher = self._client_of(node)
        return held

    def _client_of(self, node: ClusterNode) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_pool(
            redis.asyncio.BlockingConnectionPool(
                connection_class=redis.asyncio.SSLConnection if self._where.tls else redis.asyncio.Connection,
                host=node.host,
                port=node.port,
                max_connections=8,
                timeout=5.0,
                socket_timeout=None,
                socket_connect_timeout=5.0,
                retry=AsyncRetry(NoBackoff(), 1),
                **self._where.login,
            )
        )

    async def publish(self, channel: str, message: EncodableT, **options: Any) -> int:  # type: ignore[override]
        await self.initialize()
        return int(await self.publisher().publish(channel, message, **options))

    async def mget(self, names: Iterable[str], *more: str) -> list[Any]:  # type: ignore[override]
        return list(await self.mget_nonatomic([*([names] if isinstance(names, str) else names), *more]))

    async def aclose(self) -> None:
        if self._publisher is not None:
            await self._publisher.aclose()
        await super().aclose()


def connect(url: str) -> redis.asyncio.Redis:
    """An asynchronous client; it looks for the nodes at its first command. Close it with ``aclose``."""
    return cast(redis.asyncio.Redis, Cluster(url))  # the commands that we use are those of one Redis


class SyncCluster(redis.RedisCluster):
    """What ``redis.Redis`` does for us, over a cluster."""

    def mget(self, names: Iterable[str], *more: str) -> list[Any]:  # type: ignore[override]
        return list(self.mget_nonatomic([*([names] if isinstance(names, str) else names), *more]))

    def publish(self, channel: str, message: EncodableT, **options: Any) -> int:  # type: ignore[override]
        return int(self.execute_command("PUBLISH", channel, message, target_nodes=self.get_node_from_key(_CHANNELS), **options))

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        return super().pipeline(transaction or None, shard_hint)


def sync(url: str, *, timeout: float = 5.0, connect_timeout: float = 2.0) -> redis.Redis:
    """A synchronous client, which looks for the nodes at once. Raises what Redis raises."""
    where = address(url)
    return cast(
        redis.Redis,
        SyncCluster(
            startup_nodes=[SyncClusterNode(*node) for node in where.nodes],
            dynamic_startup_nodes=False,
            retry=Retry(ConstantBackoff(PAUSE), ATTEMPTS),
            socket_timeout=timeout,
            socket_connect_timeout=connect_timeout,
            ssl=where.tls,
            **where.login,
        ),
    )


@cache
def shared(url: str) -> redis.Redis:
    """The synchronous client of this process, once a cluster has answered."""
    return sync(url)


class CacheConnections:
    """django-redis' way to a cluster (DJANGO_REDIS_CONNECTION_FACTORY); it makes no pools: the client has its own."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def connect(self, url: str) -> redis.Redis:
        """``url`` is what django-redis made of the address: it takes the commas in it for several servers."""
        return shared(settings.REDIS_URL)

    def disconnect(self, connection: redis.Redis) -> None:
        """It is the process's: others go on using it."""


def covering(names: Callable[[int], str], client: redis.asyncio.Redis, most: int = 4096) -> list[str]:
    """Of ``names(0)``, ``names(1)``, …, as many as it takes for each primary to hold one; none where Redis is no cluster."""
    if not isinstance(client, Cluster):
        return []
    found: dict[str, str] = {}
    wanted = {node.name for node in client.get_primaries()}
    for number in range(most):
        node = client.get_node_from_key(names(number))
        if node is not None:
            found.setdefault(node.name, names(number))
        if found.keys() >= wanted:
            break
    return list(found.values())
