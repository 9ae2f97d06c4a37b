"""The client of Redis that a process shares among all its tasks."""

import asyncio
import time
from contextlib import aclosing

from livermore import bus


async def test_a_slow_redis_does_not_pile_up_connections(redis_url: str) -> None:
    """Whoever comes while all are taken waits for one, and gets it."""
    async with aclosing(bus.connect()) as client, aclosing(bus.connect()) as other:
        waiting = [asyncio.create_task(client.blpop("nothing", timeout=0.3)) for _ in range(3 * bus.MOST_CONNECTIONS)]
        await asyncio.sleep(0.2)
        assert (await other.info("clients"))["blocked_clients"] == bus.MOST_CONNECTIONS
        assert await asyncio.gather(*waiting) == [None] * len(waiting)


class Watch:
    """Notes how long the relay is without Redis, each time."""

    def __init__(self) -> None:
        self.lost_at = 0.0
        self.away: asyncio.Queue[float] = asyncio.Queue()

    def deliver(self, channel: str, data: bytes) -> None:
        """Nothing is published here."""

    def link_changed(self, up: bool) -> None:
        if up:
            self.away.put_nowait(time.monotonic() - self.lost_at)
        else:
            self.lost_at = time.monotonic()


async def test_a_subscription_that_stood_is_asked_for_again_at_once_however_often_it_was_lost(redis_url: str) -> None:
    """Waits grow while Redis stays away, not with every loss in the life of a process."""
    relay, watch = bus.Relay(), Watch()
    async with aclosing(bus.connect()) as client:
        try:
            assert await relay.subscribe(watch, ["channel:of-nobody"])
            away = []
            for _ in range(6):
                await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                away.append(await asyncio.wait_for(watch.away.get(), 10.0))
        finally:
            await relay.close()
    assert min(away[-2:]) < 0.25, away
