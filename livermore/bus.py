"""Redis: the clients, and the relay that every socket of a web process listens through.

One raw subscription per process serves all its sockets: the channel layer's groups lose messages under load, and group names may hold no
colon (docs/decisions/raw-redis-channels.md).
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec
import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

encode = msgspec.json.encode
decode = msgspec.json.decode

FAILURES = (RedisError, OSError, TimeoutError)
"""What a Redis call may raise when Redis is away."""

_OPTIONS: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": 5.0}
"""redis-py 8 otherwise cuts a connection that is idle for 5 s."""


def connect() -> redis.asyncio.Redis:
    """An asynchronous client of its own pool; close it with ``aclose``. Fails at once, so that the caller can say so."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, **_OPTIONS, retry=redis.asyncio.retry.Retry(NoBackoff(), 1))


@cache
def _sync_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)


def sync() -> redis.Redis:
    """The synchronous client, for views and commands."""
    return _sync_client(settings.REDIS_URL)


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
        self._ready = asyncio.Event()
        self.up = False
        self._lost = False

    async def subscribe(self, listener: Listener, patterns: Iterable[str]) -> bool:
        """Deliver channels that match ``patterns`` (as PSUBSCRIBE reads them). True once Redis confirmed it; False while it is away."""
        fresh = []
        for pattern in patterns:
            if pattern not in self._listeners:
                fresh.append(pattern)
            self._listeners.setdefault(pattern, {})[listener] = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="relay")
        elif fresh and self._pubsub is not None and self.up:
            try:
                await self._pubsub.psubscribe(*fresh)
            except FAILURES:
                return False
        try:
            async with asyncio.timeout(2.0):
                await self._ready.wait()
        except TimeoutError:
            return False
        return self.up

    async def unsubscribe(self, listener: Listener) -> None:
        """Forget a listener."""
        empty = []
        for pattern, listeners in list(self._listeners.items()):
            listeners.pop(listener, None)
            if not listeners:
                del self._listeners[pattern]
                empty.append(pattern)
        if empty and self._pubsub is not None and self.up:
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
            self._say(up=False)
            self._lost = True  # also when it was away from the beginning: a snapshot may have been read without it
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(1.0, wait * 2) if not self.up else 0.1

    async def _listen(self) -> None:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, **_OPTIONS, retry=redis.asyncio.retry.Retry(NoBackoff(), 0))
        pubsub = client.pubsub()
        try:
            await pubsub.psubscribe(*self._listeners or ["channel:none"])
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
                listener.deliver(channel, message["data"])
        elif message["type"] == "psubscribe" and not self.up:
            self._say(up=True)

    def _say(self, *, up: bool) -> None:
        if self.up == up:
            return
        self.up = up
        if up:
            self._ready.set()
        else:
            self._ready.clear()
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
