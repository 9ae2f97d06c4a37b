"""Every list page and every read of the API, with a year of alerts behind it: the view, its queries and its template, in this process.

Each database is a program of its own (``python -m benchmarks.lists URL …``): Django knows one.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.commit import _postgres_database
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, compared, single
from benchmarks.surroundings import child, environment, postgres_url
from benchmarks.timing import Effort

TITLE = "Lists over a year of alerts"
AGAINST = "SELECT … LIMIT 50 by primary key, the same driver"
ALERTS = {"tiny": 2_000, "default": 200_000, "full": 1_000_000}
GOAL = 100
_PATIENCE = 900.0
_FEW = 8
"""Of a quick run, which only sees that it works: one list in so many."""


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    rows = await _of("SQLite", effort, f"sqlite:///{environment()['LIVERMORE_DATA_DIR']}/growth.sqlite3")
    if not postgres_url():
        note = "not measured: DATABASE_URL names no PostgreSQL"
        return [*rows, single("every list on PostgreSQL", "ms", [], AGAINST, goal=at_most(GOAL), note=note)]
    async with _postgres_database(postgres_url()) as url:
        return [*rows, *await _of("PostgreSQL", effort, url)]


async def _of(database: str, effort: Effort, url: str) -> list[Row]:
    words = ("-m", "benchmarks.lists", str(ALERTS[effort.name]), str(effort.slices))
    async with child(*words, talks=True, DATABASE_URL=url) as process, asyncio.timeout(_PATIENCE):
        assert process.stdout
        found = [json.loads(line) async for line in process.stdout]
        if await process.wait():
            raise RuntimeError("the program that measures ended; what it said is above")
    return [_row(database, one) for one in found]


def _row(database: str, one: dict[str, Any]) -> Row:
    p95 = 1e3 * statistics.quantiles(one["ours"], n=20, method="inclusive")[-1]
    note = f"{one['queries']} queries; p95 {p95:.0f} ms"
    return compared(f"{database}: {one['name']}", "ms", one["ours"], AGAINST, one["bare"], goal=at_most(GOAL), note=note)


def main(alerts: int, rounds: int) -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.cache import cache
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from benchmarks import list_requests, year

    call_command("migrate", interactive=False, verbosity=0)
    small = alerts < 10_000
    growth = year.A_YEAR._replace(alerts=alerts, **({"events": 900, "deliveries": 300, "symbols": 12} if small else {}))
    filled = year.fill(growth)
    connection.close()
    User.objects.filter(pk=filled.user.pk).update(is_staff=True)
    root = User.objects.create_superuser("root")
    clients = {False: Client(SERVER_NAME="localhost"), True: Client(SERVER_NAME="localhost")}
    clients[False].force_login(User.objects.get(pk=filled.user.pk))
    clients[True].force_login(root)
    for one in list_requests.requests()[:: _FEW if small else 1]:
        if one.deep and small:
            continue
        cache.clear()  # what limits a user's requests a minute counts there
        client = clients[one.superuser]
        _get(client, one.path)
        with CaptureQueriesContext(connection) as captured:
            _get(client, one.path)
        queries = len(captured)  # the next request begins its log anew
        # SQLite works in this very thread; with a server the clock has to be asked.
        clock = time.thread_time if connection.vendor == "sqlite" else time.perf_counter
        ours, bare = [], []
        for _ in range(rounds):
            ours.append(_took(clock, lambda path=one.path, client=client: _get(client, path)))
            bare.append(_took(clock, _bare))
        print(json.dumps({"name": one.name, "ours": ours, "bare": bare, "queries": queries}), flush=True)


def _get(client: Any, path: str) -> None:
    answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}")


def _took(clock: Callable[[], float], do: Callable[[], object]) -> float:
    began = clock()
    do()
    return clock() - began


def _bare() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, uid, symbol, price FROM alerts_alert ORDER BY id DESC LIMIT 50")
        cursor.fetchall()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
