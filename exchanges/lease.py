"""One connector per exchange: a lease in Redis that only its owner can renew or give up."""

import json
import os
import socket
import time
import uuid

from redis.asyncio import Redis

from livermore import keys

TTL = 10.0
"""Seconds after which the lease of a dead process is free."""

_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"


class Lease:
    """The right to run the connector of one exchange."""

    def __init__(self, redis: Redis, exchange_id: str = "", *, key: str = "") -> None:
        """``key``: of another right than that of an exchange."""
        self._redis = redis
        self._key = key or keys.exchange_lease(exchange_id)
        self._mine = json.dumps(
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
            return f"process {held['pid']} on {held['host']}"
        except (ValueError, KeyError, TypeError):
            return "an unknown process"
