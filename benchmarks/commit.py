"""From the last frame of a close to the last alert on its channel: database, Redis and publishing, every symbol closing at once.

The connector is a process of its own for each database (benchmarks.committing); this one listens, as a web process would.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from redis.asyncio import Redis

from benchmarks.frames import names
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, compared, single
from benchmarks.surroundings import EXCHANGE_ID, child, postgres_url
from benchmarks.timing import Effort
from livermore import bus, keys

TITLE = "Commit: every symbol closes at once"
_PATIENCE = 120.0


class Moment(NamedTuple):
    """What a close came to. ``seconds`` from its last frame to its last alert; ``bare``: the same rows, written and nothing else."""

    seconds: float
    alerts: int
    bare: float


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    rows = [_row("SQLite", effort, await _moments(effort))]
    if not postgres_url():
        return [
            *rows,
            single(_what("PostgreSQL", effort), "s", [], _AGAINST, goal=at_most(1), note="not measured: DATABASE_URL names no PostgreSQL"),
        ]
    async with _postgres_database(postgres_url()) as url:
        return [*rows, _row("PostgreSQL", effort, await _moments(effort, DATABASE_URL=url))]


_AGAINST = "the same rows by executemany"


def _what(database: str, effort: Effort) -> str:
    return f"{effort.together:,} symbols on {database}: last frame → last alert"


def _row(database: str, effort: Effort, moments: list[Moment]) -> Row:
    seconds, bare = [moment.seconds for moment in moments], [moment.bare for moment in moments]
    alerts = sum(moment.alerts for moment in moments) // len(moments)
    note = f"{alerts:,} alerts a close; the slowest of {len(moments)} closes in a row took {max(seconds):.2f} s"
    return compared(_what(database, effort), "s", seconds, _AGAINST, bare, goal=at_most(1), note=note)


async def _moments(effort: Effort, **environment: str) -> list[Moment]:
    async with (
        child("-m", "benchmarks.committing", str(effort.together), talks=True, **environment) as connector,
        aclosing(bus.connect()) as redis,
    ):
        assert connector.stdin
        assert connector.stdout
        await _line(connector.stdout)  # it is ready
        found = []
        for _ in range(effort.commits):
            listening = asyncio.create_task(_listen(redis, names(effort.together)[-1], began := asyncio.Event()))
            async with asyncio.timeout(_PATIENCE):
                await began.wait()
            connector.stdin.write(b"\n")
            said = await _line(connector.stdout)
            async with asyncio.timeout(_PATIENCE):
                last, alerts = await listening
            connector.stdin.write(b"\n")
            bare = (await _line(connector.stdout))["bare"]
            found.append(Moment(max(0.0, last - said["last_frame"]), alerts, bare))
        return found


async def _line(stream: asyncio.StreamReader) -> dict[str, float]:
    async with asyncio.timeout(_PATIENCE):
        line = await stream.readline()
    if not line:
        raise RuntimeError("the connector of the benchmark ended; what it said is above")
    values: dict[str, float] = json.loads(line)
    return values


async def _listen(redis: Redis, last_symbol: str, began: asyncio.Event) -> tuple[float, int]:
    """When the last alert came, and how many did. The close of the last symbol is told after all of them."""
    last, alerts = 0.0, 0
    end = keys.channel_candle_close(EXCHANGE_ID, last_symbol, "5m").encode()
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.channel_alerts(EXCHANGE_ID), end)
        async for message in pubsub.listen():
            if message["type"] == "subscribe":
                began.set()
            elif message["channel"] == end:
                return last, alerts
            else:
                last, alerts = time.monotonic(), alerts + 1
    raise RuntimeError("the subscription ended")


@asynccontextmanager
async def _postgres_database(url: str) -> AsyncIterator[str]:
    """A database of its own on that server, dropped afterwards. The one the URL names is not touched."""
    name = f"livermore_bench_{uuid4().hex[:8]}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            await connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))
