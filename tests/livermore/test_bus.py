"""The client of Redis that a process shares among all its tasks."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from livermore import bus


async def test_a_slow_redis_does_not_pile_up_connections(redis_url: str) -> None:
    """Whoever comes while all are taken waits for one, and gets it."""
    async with aclosing(bus.connect()) as client, aclosing(bus.connect()) as other:
        waiting = [asyncio.create_task(client.blpop("nothing", timeout=0.3)) for _ in range(3 * bus.MOST_CONNECTIONS)]
        await asyncio.sleep(0.2)
        assert (await other.info("clients"))["blocked_clients"] == bus.MOST_CONNECTIONS
        assert await asyncio.gather(*waiting) == [None] * len(waiting)


_PUSH = "redis.call('RPUSH', KEYS[1], ARGV[1])"


async def test_calls_of_a_script_are_all_made_in_order(redis_url: str) -> None:
    async with aclosing(bus.connect()) as client:
        await bus.run_script(client, _PUSH, ((["list"], [number]) for number in range(20)))
        assert await client.lrange("list", 0, -1) == [str(number).encode() for number in range(20)]


async def test_calls_whose_connection_is_lost_are_made_over_another(redis_url: str) -> None:
    """What was on its way may be done twice, as every command that is tried again; nothing is left out."""

    def calls() -> Iterator[bus.Call]:
        for number in range(20):
            if number == 10:
                bus.sync().execute_command("CLIENT", "KILL", "TYPE", "normal")
            yield ["list"], [number]

    async with aclosing(bus.connect()) as client:
        await bus.run_script(client, _PUSH, calls())
        done = [int(one) for one in await client.lrange("list", 0, -1)]
    assert set(done) == set(range(20))
    assert done[-10:] == list(range(10, 20))


async def test_a_call_that_fails_leaves_no_answers_to_others(redis_url: str) -> None:
    script = "return ARGV[1] == '1' and redis.error_reply('no') or ARGV[1]"
    async with aclosing(bus.connect()) as client:
        with pytest.raises(ResponseError):
            await bus.run_script(client, script, (([], [number]) for number in range(5)))
        assert await client.echo("mine") == b"mine"


async def test_no_calls_need_no_redis() -> None:
    async with aclosing(Redis(unix_socket_path="/nowhere")) as client:
        await bus.run_script(client, _PUSH, [])


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
