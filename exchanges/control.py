"""Commands to the process that hosts an exchange, and its answers: the control plane, over the channel layer.

Admin, page, API and ``exchangectl`` all call ``request`` (or ``request_sync``); ``runexchange`` answers through ``serve``. An answer says
what really happened. Both expire when nobody is there.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from exchanges import status
from livermore import keys
from livermore.bus import FAILURES

log = logging.getLogger(__name__)

ACTIONS = ("start", "stop", "restart", "resync", "backfill", "reload", "positions")
"""What a process that hosts an exchange can be told.

``reload``: read the database's settings and symbols again; ``positions``: read what users hold, with their own keys.
"""
TIMEOUT = 12.0


class Answer(NamedTuple):
    """What happened."""

    ok: bool
    message: str


class Command(NamedTuple):
    """What is asked of the process that hosts an exchange. ``by``: whose wish, in words; ``user_id``: whose positions, None for all."""

    exchange_id: str
    action: str
    by: str = ""
    user_id: int | None = None


Handler = Callable[[Command], Awaitable[Answer | None]]
"""What happened; None where another process will answer."""


async def request(
    exchange_id: str,
    action: str,
    *,
    by: str = "",
    user_id: int | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  (it travels with the command)
) -> Answer:
    """Tell the process that hosts an exchange to do something, and wait for what it says."""
    if action not in ACTIONS:
        return Answer(False, f"unknown action {action!r}; known: {', '.join(ACTIONS)}")
    try:
        if not await status.is_hosted(exchange_id):
            return Answer(False, f"no process hosts {exchange_id}: start one with `python manage.py runexchange {exchange_id}`")
        return await _ask(Command(exchange_id, action, by, user_id), timeout)
    except FAILURES as error:
        return Answer(False, f"Redis cannot be reached, so the command was not sent ({error})")


async def _ask(command: Command, valid: float) -> Answer:
    layer = get_channel_layer()
    exchange_id, reply_to = command.exchange_id, await layer.new_channel()
    message = {"type": "command", **command._asdict(), "reply_to": reply_to, "sent": time.time(), "id": uuid.uuid4().hex, "valid": valid}
    await layer.group_send(keys.group_control(exchange_id), message)
    try:
        async with asyncio.timeout(valid):
            answer = await layer.receive(reply_to)
    except TimeoutError:
        return Answer(False, f"{exchange_id} did not answer within {valid:.0f} s")
    return Answer(bool(answer["ok"]), str(answer["message"]))


def request_sync(exchange_id: str, action: str, *, by: str = "", user_id: int | None = None, timeout: float = TIMEOUT) -> Answer:
    """``request`` for code that is not asynchronous."""
    return async_to_sync(request)(exchange_id, action, by=by, user_id=user_id, timeout=timeout)


async def serve(exchange_ids: list[str], handle: Handler) -> None:
    """Answer commands for these exchanges until cancelled; lasts through a Redis restart."""
    running: set[asyncio.Task[None]] = set()
    away = False
    while True:
        try:
            layer = get_channel_layer()
            channel = await layer.new_channel()
            joined = 0.0
            while True:
                if time.monotonic() - joined > 5.0:
                    # A Redis that lost its memory has lost the groups too.
                    for exchange_id in exchange_ids:
                        await layer.group_add(keys.group_control(exchange_id), channel)
                    joined, away = time.monotonic(), False
                try:
                    async with asyncio.timeout(5.0):
                        message = await layer.receive(channel)
                except TimeoutError:
                    continue
                task = asyncio.create_task(_carry_out(layer, message, handle))
                running.add(task)
                task.add_done_callback(running.discard)
        except FAILURES as error:
            if not away:
                log.warning("commands do not arrive while Redis is away: %s", error)
            away = True
            await asyncio.sleep(0.5)


async def _carry_out(layer: Any, message: dict[str, Any], handle: Handler) -> None:
    if time.time() - float(message["sent"]) > float(message["valid"]):
        return  # nobody waits for the answer any more
    command = Command(*(message[name] for name in Command._fields))
    try:
        answer = await handle(command)
    except Exception as error:
        log.exception("%s %s failed", command.action, command.exchange_id)
        answer = Answer(False, f"{command.action} failed: {type(error).__name__}: {error}")
    if answer is not None:
        await layer.send(message["reply_to"], {"type": "answer", "ok": answer.ok, "message": answer.message})
