"""What the processes weigh when nothing happens, and how long the pages take to be there, against processes that do nothing."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, compared
from benchmarks.surroundings import DAPHNE, RUNTIME, START_SECONDS, child, free_port, resident_mb
from benchmarks.timing import Effort
from exchanges import status
from exchanges.models import Exchange
from livermore.db import db

TITLE = "Footprint"
_PYTHON = str(RUNTIME) if RUNTIME.exists() else sys.executable
_NOTE = "" if RUNTIME.exists() else "with the tools of tests beside it: `make run` makes the environment without them"


class Web(NamedTuple):
    """A web process after its first page."""

    seconds: float
    megabytes: float


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    connectors, idle, ours, hello = [], [], [], []
    for _ in range(effort.starts):
        connectors.append(await _connector_mb(effort.settle))
        idle.append(await _idle_mb(effort.settle))
        ours.append(await _web("livermore.asgi:application", "/login/", effort.settle))
        hello.append(await _web("benchmarks.textbook:application", "/", effort.settle))
    least = "hello, world on daphne, the same applications"
    return [
        compared(
            "runexchange, idle: memory", "MB", connectors, "django.setup(), the same applications", idle, goal=at_most(90), note=_NOTE
        ),
        compared(
            "web process: memory",
            "MB",
            [one.megabytes for one in ours],
            least,
            [one.megabytes for one in hello],
            goal=at_most(120),
            note=_NOTE,
        ),
        compared(
            "web process: start → first byte of a page",
            "s",
            [one.seconds for one in ours],
            least,
            [one.seconds for one in hello],
            goal=at_most(3),
            note=_NOTE,
        ),
    ]


async def _connector_mb(settle: float) -> float:
    """Of a process that hosts every active exchange and runs none."""
    names = await db(lambda: list(Exchange.objects.filter(active=True).values_list("pk", flat=True)))()
    async with child("manage.py", "runexchange", python=_PYTHON) as process, asyncio.timeout(START_SECONDS):
        while {one.get("pid") for one in (await db(status.read_all)(names)).values()} != {process.pid}:  # noqa: ASYNC110  (another process sets it)
            await asyncio.sleep(0.1)
        await asyncio.sleep(settle)
        return resident_mb(process.pid)


async def _idle_mb(settle: float) -> float:
    async with child("-m", "benchmarks.idle", talks=True, python=_PYTHON) as process, asyncio.timeout(START_SECONDS):
        assert process.stdout
        await process.stdout.readline()
        await asyncio.sleep(settle)
        return resident_mb(process.pid)


async def _web(application: str, path: str, settle: float) -> Web:
    port = free_port()
    began = time.monotonic()
    async with child(*DAPHNE, "-p", str(port), application, python=_PYTHON) as process, asyncio.timeout(START_SECONDS):
        async with _connection(port) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            first = await reader.read(12)
            seconds = time.monotonic() - began
            if first + await reader.read(64) and not first.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{application} answered {first!r} for {path}")
        await asyncio.sleep(settle)
        return Web(seconds, resident_mb(process.pid))


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """As soon as somebody listens."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            await asyncio.sleep(0.005)
    try:
        yield reader, writer
    finally:
        writer.close()
