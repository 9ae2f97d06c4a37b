"""One connector per exchange, or per shard of one: a lease in Redis that only its owner can renew or give up."""

import json
import os
import socket
import time
import uuid

from redis.asyncio import Redis

from exchanges.shards import Shard
from livermore import keys

TTL = 5.0
"""Seconds after which the lease of a dead process is free. It is renewed once a second."""

_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"


class Lease:
    """The right to run the connector of one exchange."""

    def __init__(self, redis: Redis, exchange_id: str = "", *, key: str = "", value: str = "") -> None:
        """``key``: of another right than that of an exchange. ``value``: who comes with the same shares it; nobody, where it is empty."""
        self._redis = redis
        self._key = key or keys.exchange_lease(exchange_id)
        self._mine = value or json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex, "since": time.time_ns() // 1_000_000}
        )

    async def acquire(self) -> bool:
        """Take the lease if it is free, or keep it if it is ours."""
        if await self._redis.set(self._key, self._mine, nx=True, px=int(TTL * 1000)):
            return True
        return await self.renew()

    async def renew(self) -> bool:
        """Keep the lease. False when it is no longer ours."""
        return bool(await self._redis.eval(_RENEW, 1, self._key, self._mine, int(TTL * 1000)))

    async def release(self) -> None:
        """Give the lease up, if it is still ours."""
        await self._redis.eval(_RELEASE, 1, self._key, self._mine)

    async def holder(self) -> str:
        """Who holds it, in words; empty when nobody does."""
        value = await self._redis.get(self._key)
        if value is None:
            return ""
        try:
            held = json.loads(value)
            if "shards" in held:
                return f"a division into {held['shards']} shards"
            return f"process {held['pid']} on {held['host']}"
        except (ValueError, KeyError, TypeError):
            return "an unknown process"


class ShardLease:
    """The right to run one shard: its own lease, and a share in that of the exchange, which says into how many it is divided.

    So neither an undivided connector nor another division can run beside it.
    """

    def __init__(self, redis: Redis, exchange_id: str, shard: Shard) -> None:
        self._redis, self._exchange_id, self._shard = redis, exchange_id, shard
        self._own = Lease(redis, key=keys.shard_lease(exchange_id, str(shard)))
        self._division = Lease(redis, exchange_id, value=json.dumps({"shards": shard.of}))

    async def acquire(self) -> bool:
        if not await self._own.acquire():
            return False
        if await self._division.acquire():
            return True
        await self._own.release()
        return False

    async def renew(self) -> bool:
        return await self._own.renew() and await self._division.acquire()

    async def release(self) -> None:
        """Give it up; the last one ends the division too."""
        await self._own.release()
        if not any([await self._redis.exists(keys.shard_lease(self._exchange_id, str(other))) for other in self._shard.all]):
            await self._division.release()

    async def holder(self) -> str:
        return await self._own.holder() or await self._division.holder()


def lease_of(redis: Redis, exchange_id: str, shard: Shard) -> Lease | ShardLease:
    return Lease(redis, exchange_id) if shard.whole else ShardLease(redis, exchange_id, shard)
