"""Commands to the process that hosts an exchange, over the real channel layer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from channels.layers import channel_layers, get_channel_layer

from exchanges import control
from exchanges.control import Answer, Command, Handler, request
from livermore import bus, keys
from tests.conftest import Valkey
from tests.hosting import say_status
from tests.simulated import until


@pytest.fixture(autouse=True)
async def _layer_of_this_loop(redis_url: str) -> AsyncIterator[None]:
    channel_layers.backends.clear()
    yield
    await get_channel_layer().close_pools()
    channel_layers.backends.clear()


def say_hosted(exchange_id: str) -> None:
    """What a process that hosts an exchange leaves in Redis."""
    say_status(exchange_id)
    bus.sync().set(keys.exchange_lease(exchange_id), "{}", ex=60)


class Said:
    """A handler that keeps what it was told."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        self.commands: list[tuple[str, str, str]] = []

    async def __call__(self, command: Command) -> Answer | None:
        self.commands.append((command.exchange_id, command.action, command.by))
        return self.answer


@contextlib.asynccontextmanager
async def serving(*handlers: Handler, exchange_id: str = "kraken") -> AsyncIterator[None]:
    """Processes that host an exchange, one for each handler, ready for commands."""
    say_hosted(exchange_id)
    tasks = [asyncio.create_task(control.serve([exchange_id], handler)) for handler in handlers]
    try:
        await joined(exchange_id, len(handlers))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def joined(exchange_id: str, members: int) -> None:
    group = f"livermore:group:{keys.group_control(exchange_id)}"
    await until(lambda: bus.sync().zcard(group) >= members, "hosts that take commands")


@pytest.mark.parametrize("message", ["started", "already running", "refused: HTTP 451, use binance-us"])
async def test_the_answer_is_what_the_host_says(message: str) -> None:
    said = Said(Answer(message != "refused: HTTP 451, use binance-us", message))
    async with serving(said):
        answer = await request("kraken", "start", by="anna")

    assert answer == said.answer
    assert said.commands == [("kraken", "start", "anna")]


async def test_it_says_that_no_process_hosts_the_exchange() -> None:
    assert await request("kraken", "start") == Answer(
        False, "no process hosts kraken: start one with `python manage.py runexchange kraken`"
    )


async def test_it_refuses_an_unknown_action_and_lists_the_known_ones() -> None:
    said = Said(Answer(True, "done"))
    async with serving(said):
        answer = await request("kraken", "explode")

    assert answer == Answer(False, "unknown action 'explode'; known: start, stop, restart, resync, backfill, reload, positions")
    assert said.commands == []


async def test_a_host_that_says_nothing_is_not_waited_for_for_ever() -> None:
    async with serving(Said(None)):
        assert await request("kraken", "start", timeout=0.3) == Answer(False, "kraken did not answer within 0 s")


async def test_a_standby_leaves_the_answer_to_the_one_that_holds_the_exchange() -> None:
    standby, holder = Said(None), Said(Answer(True, "started"))
    async with serving(standby, holder):
        assert await request("kraken", "start") == Answer(True, "started")

    assert standby.commands == holder.commands == [("kraken", "start", "")]


async def test_a_command_for_another_exchange_does_not_arrive() -> None:
    said = Said(Answer(True, "done"))
    async with serving(said):
        say_hosted("binance")
        assert not (await request("binance", "start", timeout=0.2)).ok

    assert said.commands == []


async def test_a_handler_that_fails_is_an_answer_too() -> None:
    async def broken(command: Command) -> Answer:
        raise ValueError("the row is gone")

    async with serving(broken):
        assert await request("kraken", "resync") == Answer(False, "resync failed: ValueError: the row is gone")


async def test_a_command_nobody_waits_for_any_more_is_not_carried_out() -> None:
    said = Said(Answer(True, "done"))
    command = {"type": "command", "exchange_id": "kraken", "action": "stop", "by": "", "user_id": None, "reply_to": "nobody"}
    async with serving(said):
        late = {**command, "sent": time.time() - 13, "valid": 12}
        await get_channel_layer().group_send(keys.group_control("kraken"), late)
        await request("kraken", "start")

    assert said.commands == [("kraken", "start", "")]


async def test_many_commands_at_once_get_each_its_own_answer() -> None:
    async def slow(command: Command) -> Answer:
        await asyncio.sleep(0.05 if command.action == "start" else 0.01)
        return Answer(True, f"{command.action} for {command.by}")

    async with serving(slow):
        names = [(action, f"user {number}") for number in range(10) for action in ("start", "stop")]
        answers = await asyncio.gather(*(request("kraken", action, by=by) for action, by in names))

    assert answers == [Answer(True, f"{action} for {by}") for action, by in names]


async def test_whose_positions_are_meant_travels_with_the_command() -> None:
    heard: list[Command] = []

    async def listen(command: Command) -> Answer:
        heard.append(command)
        return Answer(True, "positions read")

    async with serving(listen):
        assert await request("kraken", "positions", by="kaia", user_id=7) == Answer(True, "positions read")
        assert await request("kraken", "positions", by="the clock") == Answer(True, "positions read")

    assert heard == [Command("kraken", "positions", "kaia", 7), Command("kraken", "positions", "the clock", None)]


async def test_a_host_that_heard_nothing_for_six_seconds_still_answers() -> None:
    """redis-py 8 cuts a connection that is idle for 5 s, unless told otherwise."""
    said = Said(Answer(True, "started"))
    async with serving(said):
        waiting = asyncio.create_task(get_channel_layer().receive("somebody"))
        await asyncio.sleep(6.2)
        assert not waiting.done(), waiting.exception()
        await get_channel_layer().send("somebody", {"type": "hello"})
        assert await waiting == {"type": "hello"}
        assert await request("kraken", "start") == Answer(True, "started")


async def test_a_host_answers_again_after_redis_was_away(valkey: Valkey) -> None:
    said = Said(Answer(True, "started"))
    async with serving(said):
        valkey.kill()
        gone = await request("kraken", "start")
        assert not gone.ok
        assert gone.message.startswith("Redis cannot be reached, so the command was not sent (")

        valkey.start()
        say_hosted("kraken")
        await joined("kraken", 1)
        assert await request("kraken", "start") == Answer(True, "started")
    assert said.commands == [("kraken", "start", "")]


def test_code_that_is_not_asynchronous_gets_the_answer_too(redis_url: str) -> None:
    assert control.request_sync("kraken", "stop") == Answer(
        False, "no process hosts kraken: start one with `python manage.py runexchange kraken`"
    )
