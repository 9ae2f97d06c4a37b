"""What is noted of an exchange: only changes, in order, behind the feed's back, and past a database that is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from django.db import OperationalError

from exchanges import journal as journals
from exchanges.journal import Journal
from exchanges.models import Exchange, ExchangeEvent
from exchanges.services import EVENTS_KEPT, events_record
from exchanges.status import now_ms
from livermore.db import db
from tests.simulated import until

pytestmark = pytest.mark.django_db(transaction=True)


def stored(exchange_id: str = "coinbase") -> list[tuple[str, str]]:
    """(event, reason), in order."""
    return list(ExchangeEvent.objects.filter(exchange=exchange_id).order_by("at", "pk").values_list("event", "reason"))


@contextlib.asynccontextmanager
async def writing(journal: Journal) -> AsyncIterator[None]:
    writer = asyncio.create_task(journal.run())
    try:
        yield
    finally:
        await journal.close(writer)


async def wrote(*notes: tuple[str, str]) -> list[tuple[str, str]]:
    """What is stored of these notes."""
    journal = Journal("coinbase")
    async with writing(journal):
        for event, reason in notes:
            journal.note(event, reason)
    return await db(stored)()


async def test_it_writes_what_happened_in_order() -> None:
    notes = [("offline", "starting"), ("connecting", ""), ("connected", ""), ("warming", "history is being fetched"), ("live", "")]
    assert await wrote(*notes) == notes


async def test_the_same_again_is_no_change() -> None:
    assert await wrote(("live", ""), ("live", "again"), ("connected", ""), ("connected", "")) == [("live", ""), ("connected", "")]


async def test_attempts_that_fail_alike_are_noted_once() -> None:
    refused, unknown = ("disconnected", "connection refused"), ("disconnected", "the host name cannot be resolved")
    found = await wrote(("connecting", ""), refused, ("connecting", ""), refused, ("connecting", ""), unknown, ("connecting", ""), refused)
    assert found == [("connecting", ""), refused, unknown, refused]


async def test_after_a_stop_an_attempt_is_news_again() -> None:
    refused = ("disconnected", "connection refused")
    found = await wrote(refused, ("idle", "stopped"), ("offline", "starting"), ("connecting", ""), refused)
    assert found == [refused, ("idle", "stopped"), ("offline", "starting"), ("connecting", ""), refused]


async def test_a_state_is_known_to_hold_until_the_next_and_the_last_one_until_its_mark() -> None:
    clock = [0.0]
    journal = Journal("coinbase", clock=lambda: clock[0])

    def rows() -> list[tuple[str, int, int]]:
        return list(ExchangeEvent.objects.order_by("at", "pk").values_list("event", "at", "seen"))

    async with writing(journal):
        journal.note("warming")
        await until(lambda: db(rows)(), "the first row")
        await asyncio.sleep(0.02)
        journal.note("live")
        journal.note("connected")
        (_, _, seen), (_, at, unmarked), _ = await until(lambda: db(lambda: len(found := rows()) == 3 and found)(), "all rows")
        assert (seen, unmarked) == (at, at)

        await asyncio.sleep(0.02)
        journal.beat()
        marked = await until(lambda: db(lambda: rows()[1][2] > at and rows()[1][2])(), "the mark")
        journal.beat()
        clock[0] = journals.BEAT
        await asyncio.sleep(0.02)
        journal.beat()
        await until(lambda: db(lambda: rows()[1][2] > marked)(), "the mark a minute later")
    assert await db(ExchangeEvent.objects.count)() == 3


async def test_it_waits_for_a_database_that_is_away_and_writes_all_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journals, "RETRY", 0.01)
    refusals = iter([OperationalError("away")] * 3)

    def away_at_first(**words: object) -> int | None:
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return events_record(**words)  # type: ignore[arg-type]

    monkeypatch.setattr(journals, "events_record", away_at_first)
    journal = Journal("coinbase")
    async with writing(journal):
        journal.note("offline", "starting")
        await until(lambda: "away" in caplog.text, "the warning")
        journal.note("live")
        await until(lambda: db(lambda: len(stored()) == 2)(), "both rows")
    assert await db(stored)() == [("offline", "starting"), ("live", "")]
    assert caplog.text.count("is kept until the database answers") == 1, "said once"


async def test_a_database_that_stays_away_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**words: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(journals, "events_record", away)
    monkeypatch.setattr(journals, "CLOSING", 0.05)
    journal = Journal("coinbase")
    async with asyncio.timeout(2), writing(journal):
        for number in range(journals.MOST_KEPT + 50):
            journal.note("disconnected", f"reason {number}")
    assert len(journal._noted) <= journals.MOST_KEPT
    assert await db(stored)() == []


async def test_an_exchange_whose_row_is_gone_ends_nothing() -> None:
    journal = Journal("coinbase")
    async with writing(journal):
        journal.note("live")
        await until(lambda: db(lambda: stored() != [])(), "the row")
        await db(lambda: Exchange.objects.filter(pk="coinbase").delete())()
        journal.note("offline", "stopped")
    assert await db(stored)() == []


def test_what_is_older_than_thirty_days_goes_but_not_a_state_that_has_held_for_longer() -> None:
    now = now_ms()
    old = now - EVENTS_KEPT - 60_000
    ExchangeEvent.objects.create(exchange_id="coinbase", at=old - 1, event="connected", seen=old - 1)
    holding = ExchangeEvent.objects.create(exchange_id="coinbase", at=old, event="live", seen=now)
    elsewhere = ExchangeEvent.objects.create(exchange_id="binance", at=old, event="live", seen=old)

    assert events_record(exchange_id="coinbase", noted=[], row=holding.pk, seen=now + 1) == holding.pk
    assert set(ExchangeEvent.objects.values_list("pk", "seen")) == {(holding.pk, now + 1), (elsewhere.pk, old)}
