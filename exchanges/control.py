"""Commands to the process that hosts an exchange, and its answers: the control plane, over the channel layer.

Admin, page, API and ``exchangectl`` all call ``request`` (or ``request_sync``); ``runexchange`` answers through ``serve``. An answer says
what really happened. Both expire when nobody is there.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from exchanges import status
from exchanges.shards import Shard
from livermore import keys
from livermore.bus import FAILURES

log = logging.getLogger(__name__)

ACTIONS = ("start", "stop", "restart", "resync", "backfill", "reload", "positions")
"""What a process that hosts an exchange can be told.

``reload``: read the database's settings and symbols again; ``positions``: read what users hold, with their own keys.
"""
TIMEOUT = 12.0


class Answer(NamedTuple):
    """What happened. ``shard``: of which part of the exchange, where it is divided."""

    ok: bool
    message: str
    shard: str = ""


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
    """Ask all shards of the exchange; the answer is what they say together."""
    layer = get_channel_layer()
    exchange_id, reply_to = command.exchange_id, await layer.new_channel()
    shards = await status.divided_into(exchange_id)
    message = {"type": "command", **command._asdict(), "reply_to": reply_to, "sent": time.time(), "id": uuid.uuid4().hex, "valid": valid}
    await layer.group_send(keys.group_control(exchange_id), message)
    answers: dict[str, Answer] = {}
    try:
        async with asyncio.timeout(valid):
            while len(answers) < shards:
                said = await layer.receive(reply_to)
                answers[str(said["shard"])] = Answer(bool(said["ok"]), str(said["message"]), str(said["shard"]))
    except TimeoutError:
        pass
    else:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):  # a layer gives a channel up when somebody stops waiting at it
                await layer.receive(reply_to)
    return _together(exchange_id, answers, shards, valid)


def _together(exchange_id: str, answers: dict[str, Answer], shards: int, waited: float) -> Answer:
    """One answer out of those of all shards."""
    if not answers:
        return Answer(False, f"{exchange_id} did not answer within {waited:.0f} s")
    if shards == 1:
        return next(iter(answers.values()))
    said = {f"shard {name}": answer for name, answer in sorted(answers.items())}
    for shard in Shard(1, shards).all:
        said.setdefault(f"shard {shard}", Answer(False, f"did not answer within {waited:.0f} s"))
    ok, messages = all(answer.ok for answer in said.values()), {answer.message for answer in said.values()}
    if len(messages) == 1:
        return Answer(ok, f"{messages.pop()} ({shards} shards)")
    return Answer(ok, "; ".join(f"{name}: {answer.message}" for name, answer in said.items()))


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
            receiving: asyncio.Task[dict[str, Any]] | None = None
            try:
                while True:
                    if time.monotonic() - joined > 5.0:
                        # A Redis that lost its memory has lost the groups too.
                        for exchange_id in exchange_ids:
                            await layer.group_add(keys.group_control(exchange_id), channel)
                        joined, away = time.monotonic(), False
                    if receiving is None:
                        receiving = asyncio.create_task(layer.receive(channel))
                    await asyncio.wait([receiving], timeout=5.0)  # not given up in between: a layer would close the channel
                    if not receiving.done():
                        continue
                    message, receiving = receiving.result(), None
                    task = asyncio.create_task(_carry_out(layer, message, handle))
                    running.add(task)
                    task.add_done_callback(running.discard)
            finally:
                if receiving is not None:
                    receiving.cancel()
                    await asyncio.gather(receiving, return_exceptions=True)
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
        await layer.send(message["reply_to"], {"type": "answer", **answer._asdict()})
