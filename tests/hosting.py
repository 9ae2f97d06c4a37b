"""A process that hosts exchanges, as far as admin and API can tell: a status in Redis, and somebody who answers commands."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from channels_redis.core import RedisChannelLayer
from django.conf import settings

from exchanges import control
from livermore import bus, keys


def say_status(exchange_id: str, **values: object) -> None:
    """Write a status hash, and hold the lease, as a connector does."""
    fields = {"state": "idle", "connection_state": "idle", "last_heartbeat": 1_790_000_000_000, "symbols": 0, "error": "", **values}
    bus.sync().set(keys.exchange_lease(exchange_id), "{}")
    bus.sync().hset(
        keys.exchange_status(exchange_id), mapping={name: "" if value is None else str(value) for name, value in fields.items()}
    )


@contextmanager
def hosted(*exchange_ids: str, ok: bool = True) -> Iterator[list[tuple[str, str, str]]]:
    """Host exchanges on the real control plane; yields the (exchange_id, action, by) that arrived."""
    said: list[tuple[str, str, str]] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_answer(exchange_ids, ok, said, ready))
    thread = threading.Thread(target=_run, args=(loop, task))
    thread.start()
    try:
        assert ready.wait(10), "the host did not join its groups"
        for exchange_id in exchange_ids:
            say_status(exchange_id)
        yield said
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


async def _answer(exchange_ids: tuple[str, ...], ok: bool, said: list[tuple[str, str, str]], ready: threading.Event) -> None:
    # A layer of its own, as another process has: one layer cannot receive on two event loops.
    layer = RedisChannelLayer(**settings.CHANNEL_LAYERS["default"]["CONFIG"])

    async def handle(command: control.Command) -> control.Answer:
        said.append((command.exchange_id, command.action, command.by))
        return control.Answer(ok, f"{command.action} done" if ok else f"{command.action} refused")

    try:
        channel = await layer.new_channel()
        for exchange_id in exchange_ids:
            await layer.group_add(keys.group_control(exchange_id), channel)
        ready.set()
        while True:
            await control._carry_out(layer, await layer.receive(channel), handle)
    finally:
        await layer.close_pools()
