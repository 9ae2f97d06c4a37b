"""``runexchange`` and ``exchangectl``: what they print, how they end, and what they say when something is missing."""

import asyncio
import contextlib
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connection

from exchanges.models import Exchange, KeyState, Preferences, UserExchange
from exchanges.sandbox.venues import BINANCE
from livermore import bus, keys
from livermore.db import db
from symbols.services import symbols_choose
from tests.hosting import hosted, say_status
from tests.people import person
from tests.simulated import BINANCE_ID, PATIENCE, simulated, until
from tests.symbols.wanting import add, exchange, hold, listing

PROJECT = Path(__file__).resolve().parents[2]
ENDS_WITHIN = 15.0  # 3 s are wanted; how fast a busy machine is decides no test


class Program:
    """A manage.py command as a process of its own; ``output`` is what it has printed so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.output = ""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while text := await self.process.stdout.read(65_536):
            self.output += text.decode()

    async def prints(self, pattern: str) -> str:
        """The first match, once it is there."""
        found = await until(lambda: re.search(pattern, self.output) or self.process.returncode is not None, f"{pattern} in {self.output}")
        assert found is not True, f"it ended with {self.process.returncode}: {self.output}"
        return str(found[0])

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            await self._reader
            return await self.process.wait()

    async def interrupted(self, by: signal.Signals = signal.SIGINT) -> float:
        """Seconds until it has ended, well."""
        began = time.monotonic()
        self.process.send_signal(by)
        assert await self.ended() == 0, self.output
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def program(environment: dict[str, str], *words: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "manage.py", *words, cwd=PROJECT, env=environment, stdout=PIPE, stderr=STDOUT
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@partial(sync_to_async, thread_sensitive=False)  # as a process of its own would: it may wait for an answer
def exchangectl(*words: str) -> str:
    try:
        return printed("exchangectl", *words)
    finally:
        connection.close()


def printed(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


# Errors that say what to do


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ("runexchange", "binnance"),
        ("runexchange", "binance", "--autostart", "binnance"),
        ("exchangectl", "start", "binnance"),
        ("exchangectl", "status", "coinbase", "binnance"),
    ],
)
def test_an_unknown_exchange_is_an_error_that_lists_the_known_ones(redis_url: str, words: tuple[str, ...]) -> None:
    known = ", ".join(Exchange.objects.values_list("pk", flat=True))
    with pytest.raises(CommandError) as error:
        call_command(*words)

    assert str(error.value) == f"Unknown exchange: binnance. Known: {known}."
    assert {"binance", "coinbase", "binance-us"} <= set(known.split(", "))


@pytest.mark.django_db
def test_a_command_without_an_exchange_asks_for_one(redis_url: str) -> None:
    with pytest.raises(CommandError, match=r"^Name what to stop: .*coinbase.*\.$"):
        call_command("exchangectl", "stop")


@pytest.mark.django_db
def test_without_an_active_exchange_there_is_nothing_to_host(redis_url: str) -> None:
    Exchange.objects.update(active=False)

    with pytest.raises(CommandError, match="There is no active exchange: switch one on in the admin"):
        call_command("runexchange")


@pytest.mark.django_db
def test_an_unknown_action_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(CommandError, match=r"invalid choice: 'explode' \(choose from 'status', 'start', 'stop', 'restart', "):
        call_command("exchangectl", "explode", "binance")


async def test_a_process_ends_with_an_error_and_without_a_traceback(process_environment: dict[str, str], redis_url: str) -> None:
    async with program(process_environment, "runexchange", "binnance") as one:
        assert await one.ended() == 1

    assert "CommandError: Unknown exchange: binnance. Known: " in one.output
    assert "Traceback" not in one.output


async def test_a_database_without_tables_says_what_to_do(process_environment: dict[str, str], redis_url: str, tmp_path: Path) -> None:
    empty = {**process_environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}
    async with program(empty, "exchangectl", "status") as one:
        assert await one.ended() == 1

    assert "The database cannot be read: no such table: exchanges_exchange. Run `python manage.py migrate`" in one.output
    assert "Traceback" not in one.output


# exchangectl


@pytest.mark.django_db
def test_the_status_is_a_line_an_exchange(redis_url: str) -> None:
    bus.sync().mset({keys.exchange_lease("coinbase"): "{}", keys.exchange_lease("binance"): "{}"})
    say_status("coinbase", state="live", symbols=50, pid=77, host="here", last_heartbeat=int(time.time() * 1000) - 4_000)
    say_status("binance", state="offline", pid=78, host="there", error="HTTP 451", last_heartbeat=int(time.time() * 1000))
    lines = printed("exchangectl", "status", "coinbase", "binance", "binance-us").splitlines()

    assert re.fullmatch(r"coinbase {12} live {8}50 symbols, heartbeat [45] s ago, process 77 on here", lines[0])
    assert re.fullmatch(r"binance {13} offline {6}0 symbols, heartbeat [01] s ago, process 78 on there {2}HTTP 451", lines[1])
    assert lines[2:] == ["binance-us           no process hosts it"]


@pytest.mark.django_db(transaction=True)
def test_it_prints_what_the_host_answers(redis_url: str) -> None:
    bus.sync().mset({keys.exchange_lease("coinbase"): "{}", keys.exchange_lease("binance"): "{}"})
    with hosted("coinbase", "binance") as said:
        assert printed("exchangectl", "restart", "coinbase", "binance") == "coinbase: restart done\nbinance: restart done\n"

    assert [(exchange_id, action) for exchange_id, action, _ in said] == [("coinbase", "restart"), ("binance", "restart")]
    assert all(by.endswith(" (exchangectl)") for _, _, by in said)


@pytest.mark.django_db(transaction=True)
def test_it_fails_when_one_of_them_did_not_work(redis_url: str) -> None:
    bus.sync().set(keys.exchange_lease("coinbase"), "{}")
    out = StringIO()
    with hosted("coinbase"), pytest.raises(CommandError, match="Not everything worked; the lines above say why"):
        call_command("exchangectl", "start", "coinbase", "binance", stdout=out)

    assert out.getvalue().splitlines() == [
        "coinbase: start done",
        "binance: no process hosts binance: start one with `python manage.py runexchange binance`",
    ]


# runexchange


async def test_it_hosts_idle_does_as_it_is_told_and_ends_at_once(process_environment: dict[str, str], redis_url: str) -> None:
    async with simulated([BINANCE]) as world, program(process_environment, "runexchange", BINANCE_ID) as one:
        await one.prints(rf"Hosting {BINANCE_ID}\. Ctrl-C ends it\.")
        await one.prints("All idle: start one with `python manage.py exchangectl start EXCHANGE`")
        await until(lambda: world.redis.exists(f"livermore:group:{keys.group_control(BINANCE_ID)}"), "somebody who takes commands")

        async def idle() -> bool:
            return " idle " in await exchangectl("status", BINANCE_ID)

        await until(idle, "its status")
        assert await exchangectl("start", BINANCE_ID) == f"{BINANCE_ID}: started\n"
        assert await exchangectl("start", BINANCE_ID) == f"{BINANCE_ID}: already running\n"
        await one.prints(f"{BINANCE_ID}: warm-up 100 %")

        async def live() -> bool:
            return " live " in await exchangectl("status", BINANCE_ID)

        await until(live, "a live exchange")
        assert await exchangectl("stop", BINANCE_ID) == f"{BINANCE_ID}: stopped\n"
        assert await exchangectl("start", BINANCE_ID) == f"{BINANCE_ID}: started\n"
        assert await one.interrupted() < ENDS_WITHIN
        assert one.output.endswith("Stopped.\n")
        assert "Traceback" not in one.output
        assert await exchangectl("status", BINANCE_ID) == f"{BINANCE_ID:<20} no process hosts it\n"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
async def test_without_internet_it_says_so_and_when_it_tries_again(
    process_environment: dict[str, str], redis_url: str, by: signal.Signals
) -> None:
    # .invalid is never resolved (RFC 2606): what a machine without internet says of any name.
    nowhere = {"rest_url": "https://api.binance.invalid", "websocket_url": "wss://stream.binance.invalid:9443"}
    await db(Exchange.objects.filter(pk="binance").update)(**nowhere)
    allowed = {**process_environment, "EXCHANGE_HOSTS": "binance=api.binance.invalid,binance=stream.binance.invalid"}
    async with program(allowed, "runexchange", "binance", "--autostart", "binance") as one:
        said = await one.prints(r"binance: not connected: .*")
        reason = r"the host name cannot be resolved \(is this machine online\?\)"
        assert re.fullmatch(rf"binance: not connected: {reason}\. Next attempt in [1-9]\d* s\.", said)
        assert await one.interrupted(by) < ENDS_WITHIN

    assert "Traceback" not in one.output


async def test_an_exchange_that_cuts_every_connection_is_not_stormed(process_environment: dict[str, str], redis_url: str) -> None:
    connects: list[float] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connects.append(time.monotonic())
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    here = {"rest_url": f"http://127.0.0.1:{port}/x", "websocket_url": f"ws://127.0.0.1:{port}/x"}
    await db(Exchange.objects.filter(pk=BINANCE_ID).update)(**here)
    async with server, program(process_environment, "runexchange", BINANCE_ID, "--autostart", BINANCE_ID) as one:
        await until(lambda: len(connects) >= 4, "a fourth attempt")
        assert await one.interrupted() < ENDS_WITHIN

    assert len(connects) <= connects[-1] - connects[0] + 1, "never within a second of the last one"
    assert len(re.findall(r"Next attempt in \d+ s", one.output)) in {len(connects), len(connects) - 1}


# For a system user


def hosts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Do not host; note what would be hosted."""
    seen: list[list[str]] = []

    async def note(exchanges: list[Exchange], *others: Any) -> None:
        seen.append([exchange.pk for exchange in exchanges])
        *_, say = others
        say()

    monkeypatch.setattr("livermore.entry._until_signalled", note)
    return seen


@pytest.mark.django_db
def test_an_unknown_user_is_an_error_that_names_who_may(redis_url: str) -> None:
    person("kim", group="operator")
    person("root", superuser=True)
    person("tom", group="trader")
    with pytest.raises(CommandError) as error:
        call_command("runexchange", "--user", "mike")

    assert str(error.value) == (
        "There is no user 'mike'. Name one who may start exchanges (kim, root), or add one: in the admin under Users, with the role "
        "operator, or with `python manage.py createsuperuser`. The name comes from --user, else from LIVERMORE_SYSTEM_USER."
    )


@pytest.mark.django_db
def test_where_nobody_may_start_exchanges_the_error_says_so(redis_url: str) -> None:
    person("tom", group="trader")
    with pytest.raises(
        CommandError, match=r"^There is no user 'mike'\. Name one who may start exchanges \(there is none yet\), or add one: "
    ):
        call_command("runexchange", "--user", "mike")


@pytest.mark.django_db
def test_a_user_who_is_not_active_is_an_error(redis_url: str) -> None:
    user = person("kim", group="operator")
    user.is_active = False
    user.save()
    with pytest.raises(CommandError) as error:
        call_command("runexchange", "--user", "kim")

    assert str(error.value) == "kim is not active: tick “Active” on that user's page in the admin, or name another with --user."


@pytest.mark.django_db
@pytest.mark.parametrize("group", ["", "viewer", "trader"])
def test_a_user_without_the_right_is_an_error(redis_url: str, group: str) -> None:
    person("tom", group=group)
    with pytest.raises(CommandError) as error:
        call_command("runexchange", "--user", "tom")

    assert str(error.value) == "tom may not start exchanges: give that user the role operator, or name another with --user."


@pytest.mark.django_db
def test_for_a_user_it_hosts_what_the_user_watches_and_says_what_is_loaded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hosts(monkeypatch)
    kim = person("kim", group="operator")
    Preferences.objects.create(user=kim, minimum_position_value=25)
    UserExchange.objects.create(user=kim, exchange_id="kraken", watch=False)
    UserExchange.objects.create(user=kim, exchange_id="coinbase", api_key="k", api_secret="canary", key_state=KeyState.WORKS)
    listing()
    add(kim, "DOGE-USD", "BTC-USD")
    hold(kim, "SOL", 100.0)
    hold(kim, "PEPE", 24_999.0)
    symbols_choose(exchange=exchange())
    watched = ["binance", "binance-us", "coinbase", "binance-sandbox", "coinbase-sandbox", "kraken-sandbox"]
    out = printed("runexchange", "--user", "kim")

    assert seen == [watched]
    assert out.splitlines() == [
        "For kim: 2 added symbols, 1 positions from $25 up, 1 keys.",
        f"Hosting {', '.join(watched)}. Ctrl-C ends it.",
        "All idle: start one with `python manage.py exchangectl start EXCHANGE`, in the admin or on the page.",
        "Stopped.",
    ]


@pytest.mark.django_db
def test_what_is_named_is_hosted_for_a_user_whatever_the_user_watches(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hosts(monkeypatch)
    kim = person("kim", group="operator")
    UserExchange.objects.create(user=kim, exchange_id="kraken", watch=False)
    listing()
    add(kim, "DOGE-USD")
    out = printed("runexchange", "kraken", "--user", "kim", "--autostart", "binance")

    assert [sorted(exchanges) for exchanges in seen] == [["binance", "kraken"]]
    assert out.startswith("For kim: 0 added symbols, 0 positions from $10 up, 0 keys.\n"), "of what is hosted"


@pytest.mark.django_db
def test_without_a_user_it_hosts_everything(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hosts(monkeypatch)
    out = printed("runexchange")

    assert seen == [list(Exchange.objects.values_list("pk", flat=True))]
    assert "For " not in out


async def test_the_environment_names_the_user_and_the_command_line_another(process_environment: dict[str, str], redis_url: str) -> None:
    environment = {**process_environment, "LIVERMORE_SYSTEM_USER": "nobody-of-the-environment"}
    async with program(environment, "runexchange", BINANCE_ID) as one:
        assert await one.ended() == 1
    async with program(environment, "runexchange", BINANCE_ID, "--user", "nobody-at-all") as other:
        assert await other.ended() == 1

    assert "CommandError: There is no user 'nobody-of-the-environment'. " in one.output
    assert "CommandError: There is no user 'nobody-at-all'. " in other.output
    assert "Traceback" not in one.output + other.output


async def test_a_user_that_may_is_hosted_for_without_a_browser(process_environment: dict[str, str], redis_url: str) -> None:
    await db(person)("kim", group="operator")
    environment = {**process_environment, "LIVERMORE_SYSTEM_USER": "kim"}
    async with program(environment, "runexchange", BINANCE_ID) as one:
        await one.prints(rf"For kim: 0 added symbols, 0 positions from \$10 up, 0 keys\.\s+Hosting {BINANCE_ID}\.")
        assert await one.interrupted() < ENDS_WITHIN
