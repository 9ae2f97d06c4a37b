"""The client of Redis that a process shares among all its tasks."""

import asyncio
from contextlib import aclosing

from livermore import bus


async def test_a_slow_redis_does_not_pile_up_connections(redis_url: str) -> None:
    """Whoever comes while all are taken waits for one, and gets it."""
    async with aclosing(bus.connect()) as client, aclosing(bus.connect()) as other:
        waiting = [asyncio.create_task(client.blpop("nothing", timeout=0.3)) for _ in range(3 * bus.MOST_CONNECTIONS)]
        await asyncio.sleep(0.2)
        assert (await other.info("clients"))["blocked_clients"] == bus.MOST_CONNECTIONS
        assert await asyncio.gather(*waiting) == [None] * len(waiting)
