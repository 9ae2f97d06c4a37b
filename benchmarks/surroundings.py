"""A Livermore of its own for a run: a temporary directory with SQLite and an embedded Redis, nothing of the developer's .env.

Whatever a benchmark starts inherits the environment set here, and so works on the same database and the same Redis.
"""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

HOME = Path(__file__).resolve().parents[1]
RUNTIME = HOME / ".venv" / "bin" / "python"
"""What people run: without the tools of tests, which some libraries import where they find them. `make run` makes it."""
DAPHNE = ("-m", "daphne", "-b", "127.0.0.1")
UVICORN = ("-m", "uvicorn", "--host", "127.0.0.1", "--no-server-header", "--log-level", "warning")
START_SECONDS, STOP_SECONDS = 120.0, 10.0
"""Patience for a machine that is busy with other things."""
EXCHANGE_ID = "binance-sandbox"
"""A seeded row that the benchmarks borrow; it is never connected to."""

_environment: dict[str, str] = {}


@contextmanager
def surroundings(database_url: str = "") -> Iterator[str]:
    """Set the environment for everything that follows in this process, and load Django; once a process. Yields Redis' name and version.

    ``database_url``: an empty database to work in, in the place of SQLite.
    """
    directory = Path(tempfile.mkdtemp(prefix="livermore-bench-"))
    from cryptography.fernet import Fernet

    _environment.update(
        DJANGO_SETTINGS_MODULE="livermore.settings",
        LIVERMORE_DEMO="true",
        DEBUG="false",
        SECRET_KEY=secrets.token_urlsafe(50),
        SECRET_KEY_FALLBACKS="",
        FIELD_KEYS=Fernet.generate_key().decode(),
        ALLOWED_HOSTS="127.0.0.1,localhost",
        LIVERMORE_DATA_DIR=str(directory),
        DATABASE_URL=database_url or f"sqlite:///{directory / 'livermore.sqlite3'}",
        REDIS_URL="",
        LOG_LEVEL="WARNING",
    )
    os.environ.update(_environment)
    import django
    from django.core.management import call_command

    django.setup()
    from livermore import bus, embedded

    try:
        with embedded.ensure(directory):
            call_command("migrate", interactive=False, verbosity=0)
            server = bus.sync().info("server")
            yield f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {server['redis_version']}"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def environment(**changes: str) -> dict[str, str]:
    """For a program of this run."""
    return {**os.environ, **_environment, **changes}


class ChildFailed(Exception):
    """A program ended that should not have. The text says how, and how its log ends."""


@asynccontextmanager
async def child(
    *words: str, talks: bool = False, python: str = sys.executable, **changes: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program in the project's directory, ended with the block, or with us. ``changes`` to its environment.

    What it prints goes to a log, unless it ``talks`` to us: then somebody has to read it, or it stops when the pipe is full.
    """
    lifeline, held = os.pipe()
    log = Path(_environment["LIVERMORE_DATA_DIR"]) / "log" / "benchmark-children.log"
    try:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                python,
                *("-m", "livermore.child", str(lifeline), *words),
                cwd=HOME,
                env=environment(**changes),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if talks else output,
                stderr=output,
                pass_fds=(lifeline,),
                start_new_session=True,
            )
        try:
            yield process
        except Exception as error:
            if process.returncode is None:
                raise
            said = log.read_text(errors="replace").strip()[-1000:]
            raise ChildFailed(f"{' '.join(words)} ended with {process.returncode}: {error}\n{said}") from error
        finally:
            await _end(process)
    finally:
        os.close(lifeline)
        os.close(held)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def listening(port: int) -> None:
    """Wait until somebody listens there. Raises TimeoutError."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def session_cookie(name: str = "bench") -> str:
    """Of a user who may hear the feed, logged in."""
    from django.contrib.auth.models import Group, User
    from django.test import Client

    user, _ = User.objects.get_or_create(username=name)
    user.groups.add(Group.objects.get(name="viewer"))
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}"


def resident_mb(pid: int) -> float:
    """Resident memory of a process, as ps tells it on Linux and macOS."""
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor so far: to 10 ms from /proc, elsewhere as ps tells it."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        user, system = stat.read_text().rpartition(") ")[2].split()[11:13]
        return (int(user) + int(system)) / float(os.sysconf("SC_CLK_TCK"))
    done = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True)
    seconds = 0.0
    for part in done.stdout.strip().replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def postgres_url() -> str:
    """The database server to measure besides SQLite: DATABASE_URL as it was given, if it names PostgreSQL, else empty."""
    given = _given.get("DATABASE_URL", "")
    return given if urlsplit(given).scheme in {"postgres", "postgresql"} else ""


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """A database of its own on that PostgreSQL, dropped afterwards. The one the URL names is not touched."""
    import psycopg

    name = f"livermore_bench_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


_given = dict(os.environ)
