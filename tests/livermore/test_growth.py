"""Lists do not grow slower with the tables behind them: a pinned number of queries each, and none that reads all alerts."""

import json
import re
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks import list_requests, year
from benchmarks.list_requests import Asked
from benchmarks.year import Growth
from exchanges import health
from tests import seeds
from tests.people import client_of, person

PINNED = Path(__file__).with_name("queries.json")
FEW = Growth(alerts=20, symbols=2, events=90, deliveries=3, users=2)
MORE = Growth(alerts=40, symbols=4, events=360, deliveries=40, users=20)
CONSTANT = 2
"""Queries that an empty list does without: of rows that there are, and of what belongs to them."""


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()
    health.forget()


def clients(filled: year.Filled) -> dict[bool, Client]:
    filled.user.is_staff = True
    filled.user.save()
    return {False: client_of(filled.user), True: client_of(person("root", superuser=True))}


def asked(filled: year.Filled) -> dict[str, list[str]]:
    """The SQL that each request takes, warm."""
    browsers, found = clients(filled), {}
    for one in list_requests.requests():
        if not one.deep:
            found[one.name] = sql_of(browsers[one.superuser], one)
    return found


def sql_of(client: Client, one: Asked) -> list[str]:
    answer = client.get(one.path)
    assert answer.status_code == 200, (one, answer.status_code)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get(one.path)
    return [query["sql"] for query in queries]


def counts(growth: Growth) -> dict[str, int]:
    """How many queries each takes. What was filled is taken back."""
    with transaction.atomic():
        found = {name: len(queries) for name, queries in asked(year.fill(growth)).items()}
        transaction.set_rollback(True)
    health.forget()
    return found


def test_every_list_takes_its_pinned_number_of_queries_for_few_rows_and_for_more(request: pytest.FixtureRequest):
    few, more = counts(FEW), counts(MORE)
    assert {name: (few[name], more[name]) for name in few if more[name] > few[name] + CONSTANT} == {}
    if request.config.getoption("--write-queries"):
        PINNED.write_text(json.dumps(more, indent=1, sort_keys=True) + "\n")
    assert more == json.loads(PINNED.read_text())


def whole_reads(sql: str) -> list[str]:
    """The steps of a plan that read the whole table of alerts, past every index."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            steps = [str(row[3]) for row in cursor.fetchall()]
            return [step for step in steps if re.match(r"SCAN alerts_alert(?! USING)", step)]
        # A few thousand rows are read faster than an index: what is asked is whether there is one to use.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        return [row[0] for row in cursor.fetchall() if "Seq Scan on alerts_alert " in row[0]]


def test_no_list_of_alerts_reads_the_whole_table():
    browsers = clients(year.fill(Growth(alerts=4_000, symbols=20, events=90, deliveries=30, users=5, base=1_000)))
    lists = [one for one in list_requests.requests() if one.name.startswith(("/api/alerts/?", "/admin/alerts/alert/")) and not one.deep]
    assert len(lists) > 30
    found = {}
    for one in lists:
        reads = [sql for sql in sql_of(browsers[one.superuser], one) if 'FROM "alerts_alert"' in sql and sql.startswith(("SELECT", "WITH"))]
        if not re.search(r"[?&](?!ordering|page_size|o=)\w+=", one.name):
            # All match, or nearly: it stops after a bounded number of rows, wherever it reads them.
            reads = [sql for sql in reads if not sql.startswith("SELECT COUNT")]
        if whole := [step for sql in reads for step in whole_reads(sql)]:
            found[one.name] = whole
    assert found == {}


@pytest.mark.parametrize(
    "query", ["", "?exchange={exchange}", "?symbol={symbol}", "?timeframe=1d", "?trigger_label=level_-150", "?ordering=candle_time"]
)
def test_the_newest_alerts_come_in_the_order_of_an_index(query: str):
    """Without the counts of ANALYZE too: SQLite has none until somebody runs it."""
    filled = year.fill(Growth(alerts=1_000, symbols=4, events=90, deliveries=30, users=3))
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL sorts a thousand rows rather than follow an index, and is right")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sqlite_stat1")
        browsers = clients(filled)
        (one,) = [one for one in list_requests.requests() if one.name == f"/api/alerts/{query}"] or [
            Asked(query, f"/api/alerts/{query}", False, False)
        ]
        keys = [sql for sql in sql_of(browsers[False], one) if re.match(r'SELECT "alerts_alert"."id" AS "pk" FROM .* ORDER BY', sql)]
        assert len(keys) == 1
        cursor.execute(f"EXPLAIN QUERY PLAN {keys[0]}")
        steps = [str(row[3]) for row in cursor.fetchall()]
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps
    assert any("USING COVERING INDEX alert_" in step for step in steps), steps
