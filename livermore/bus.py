"""Redis: the clients, and the relay that every socket of a web process listens through.

One raw subscription per process serves all its sockets: the channel layer's groups lose messages under load, and group names may hold no
colon (docs/decisions/raw-redis-channels.md).
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import islice
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import hiredis
import msgspec
import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from livermore import cluster
from livermore.follow import Follower
from livermore.redisurl import is_cluster

log = logging.getLogger(__name__)

encode = msgspec.json.encode
decode = msgspec.json.decode

FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a Redis call may raise when Redis is away."""

_OPTIONS: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": 5.0}
"""redis-py 8 otherwise cuts a connection that is idle for 5 s."""


MOST_CONNECTIONS = 24
"""Of one client: while Redis is slow, whoever comes waits for one, and no descriptors pile up."""


def connect() -> redis.asyncio.Redis:
    """An asynchronous client of its own pool; close it with ``aclose``. Fails at once, so that the caller can say so."""
    if is_cluster(settings.REDIS_URL):
        return cluster.connect(settings.REDIS_URL)
    retry = redis.asyncio.retry.Retry(NoBackoff(), 1)
    options = {**_OPTIONS, "retry": retry, "max_connections": MOST_CONNECTIONS, "timeout": 5.0}
    return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool.from_url(settings.REDIS_URL, **options))


@cache
def _sync_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)


def sync() -> redis.Redis:
    """The synchronous client, for views and commands. Raises what Redis raises: a cluster is asked for its nodes at the first use."""
    if is_cluster(settings.REDIS_URL):
        return cluster.shared(settings.REDIS_URL)
    return _sync_client(settings.REDIS_URL)


Call = tuple[Sequence[str], Sequence[str | int | bytes]]
"""Keys and arguments of a call of a Lua script."""


def runs_scripts(client: redis.asyncio.Redis) -> bool:
    """Whether one call of a script may name keys at will: not in a cluster, whose nodes hold some of them each."""
    return not isinstance(client, redis.asyncio.RedisCluster)


async def run_script(client: redis.asyncio.Redis, script: str, calls: Iterable[Call]) -> None:
    """Call a Lua script again and again, in order, each call prepared while the server works on the one before. Raises what Redis raises.

    Packed by hiredis in C: redis-py's own packing in Python took two thirds of a call that carries fifty closed candles. The text goes
    along each time, which costs the server 5 µs: a digest that it does not know would be noticed only when more calls are on their way.
    """
    packed = (hiredis.pack_command(("EVAL", script, len(names), *names, *values)) for names, values in calls)  # type: ignore[arg-type]
    unanswered = deque(islice(packed, 1))
    if not unanswered:
        return
    pool = client.connection_pool
    connection = await pool.get_connection()

    async def send_all() -> None:
        for call in unanswered:  # the first; or all of them again, where the connection was lost
            await connection.send_packed_command(call)
        for call in packed:
            unanswered.append(call)
            await connection.send_packed_command(call)
            await answers(1)
        await answers(0)

    async def answers(left: int) -> None:
        while len(unanswered) > left:
            await connection.read_response()
            unanswered.popleft()

    async def give_up(error: Exception) -> None:
        await connection.disconnect()

    try:
        await connection.retry.call_with_retry(send_all, give_up)
    finally:
        if unanswered:
            await connection.disconnect(nowait=True)  # or the answers would be taken for those of somebody else's commands
        await pool.release(connection)


def listening() -> redis.asyncio.Redis:
    """A client to subscribe with; of one node, where Redis is a cluster."""
    if is_cluster(settings.REDIS_URL):
        return cluster.one_node(settings.REDIS_URL)
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, **_OPTIONS, retry=redis.asyncio.retry.Retry(NoBackoff(), 0))


class Listener(Protocol):
    """Somebody behind the relay. Both methods return at once."""

    def deliver(self, channel: str, data: bytes) -> None:
        """A message of a subscribed channel."""

    def link_changed(self, up: bool) -> None:
        """The subscription was lost (what comes meanwhile is missed), or is back (read again what was missed)."""


class Relay:
    """One Redis subscription for many listeners. It reconnects by itself, and says so to each of them."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._pubsub: redis.asyncio.client.PubSub | None = None
        self._task: asyncio.Task[None] | None = None
        self._confirmed: set[str] = set()
        self._confirmation = asyncio.Event()
        self.up = False
        self._lost = False

    async def subscribe(self, listener: Listener, patterns: Iterable[str]) -> bool:
        """Deliver channels that match ``patterns`` (as PSUBSCRIBE reads them). True once Redis confirmed it; False while it is away."""
        wanted = set(patterns)
        fresh = wanted - self._listeners.keys()
        for pattern in wanted:
            self._listeners.setdefault(pattern, {})[listener] = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="relay")
        elif fresh and self._pubsub is not None:
            try:
                await self._pubsub.psubscribe(*fresh)
            except FAILURES:
                return False
        try:
            async with asyncio.timeout(2.0):
                while not wanted <= self._confirmed:
                    await self._confirmation.wait()
        except TimeoutError:
            return False
        return self.up

    async def unsubscribe(self, listener: Listener, patterns: Iterable[str] | None = None) -> None:
        """Deliver ``patterns`` no more, and nothing at all where they are not named."""
        empty = []
        for pattern in list(self._listeners) if patterns is None else patterns:
            listeners = self._listeners.get(pattern, {})
            if listener not in listeners:
                continue
            del listeners[listener]
            if not listeners:
                del self._listeners[pattern]
                self._confirmed.discard(pattern)
                empty.append(pattern)
        if empty and self._pubsub is not None:
            try:
                await self._pubsub.punsubscribe(*empty)
            except FAILURES:
                log.debug("the subscription was lost before it could be given up")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        wait = 0.1
        while True:
            try:
                await self._listen()
            except FAILURES as error:
                log.warning("the Redis subscription was lost: %s", error)
            except Exception:
                log.exception("the relay stumbled")
            wait = 0.1 if self.up else min(0.5, wait * 2)
            self._say(up=False)
            self._lost = True  # also when it was away from the beginning: a snapshot may have been read without it
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # nosec B311  # for timing and statistics, not for secrecy

    async def _listen(self) -> None:
        client = listening()
        pubsub = client.pubsub()
        try:
            asked = {"channel:none", *self._listeners}
            await pubsub.psubscribe(*asked)  # in one command: once the first is confirmed, all stand
            while missing := self._listeners.keys() - asked:  # somebody may come while we ask
                await pubsub.psubscribe(*missing)
                asked |= missing
            self._pubsub = pubsub
            heard = time.monotonic()
            while True:
                message = await pubsub.get_message(timeout=5.0)
                now = time.monotonic()
                if message is not None:
                    heard = now
                    self._take(message)
                elif now - heard > 12.0:
                    raise TimeoutError("Redis does not answer")
                else:
                    await pubsub.ping()
        finally:
            self._pubsub = None
            await pubsub.aclose()
            await client.aclose()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "pmessage":
            channel = message["channel"].decode()
            for listener in list(self._listeners.get(message["pattern"].decode(), ())):
                try:
                    listener.deliver(channel, message["data"])
                except Exception:  # the others hear on
                    log.exception("a listener stumbled over a message of %s", channel)
        elif message["type"] == "psubscribe":
            self._confirm(message["channel"].decode())
        elif message["type"] == "punsubscribe":
            self._confirmed.discard(message["channel"].decode())

    def _confirm(self, pattern: str) -> None:
        self._confirmed.add(pattern)
        self._confirmation.set()
        self._confirmation = asyncio.Event()
        self._say(up=True)

    def _say(self, *, up: bool) -> None:
        if self.up == up:
            return
        self.up = up
        if not up:
            self._confirmed.clear()
        if up and not self._lost:
            return  # the first time: nobody has missed anything
        self._lost = not up
        for listener in {listener for listeners in self._listeners.values() for listener in listeners}:
            listener.link_changed(up)


_relays: WeakKeyDictionary[asyncio.AbstractEventLoop, Relay] = WeakKeyDictionary()


def relay() -> Relay:
    """The relay of this process (of this event loop)."""
    loop = asyncio.get_running_loop()
    if loop not in _relays:
        _relays[loop] = Relay()
    return _relays[loop]


@asynccontextmanager
async def following(patterns: Collection[str], most: int = 1024) -> AsyncIterator[Follower]:
    """Hear what others publish: ``async for channel, message in messages``, through the relay of this process.

    ``patterns`` as PSUBSCRIBE reads them, spelled by ``livermore.keys``; raises ValueError where one lies within another. A message is the
    decoded JSON object. Prices are conflated per channel; of anything else ``most`` may wait. Where something was missed, because Redis was
    away or the reader did not keep up, ``("", {"type": "missed", "at": …, "reason": …})`` comes before what follows: read again what you
    rely on. Redis need not be there at the start.
    """
    follower = Follower(patterns, most)
    try:
        await relay().subscribe(follower, patterns)
        yield follower
    finally:
        await relay().unsubscribe(follower)
