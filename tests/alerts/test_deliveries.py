"""The outbox: claimed once, tried again with patience, and never a second time after a yes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from alerts import delivery_services
from alerts.delivery_services import (
    CLAIM,
    LONGEST_WAIT,
    MOST_ATTEMPTS,
    SUBSCRIPTION_ENDED,
    Outcome,
    deliveries_claim,
    deliveries_sweep,
    delivery_finish,
    delivery_test,
    push_private_key,
    wait_after,
)
from alerts.messages import of_test
from alerts.models import Delivery, Kind, PushKey
from tests.alerts.notifying import channel, delivery, reader

pytestmark = pytest.mark.django_db
NOW = 2_000


def claimed(now: int = NOW, most: int = 10, busy: tuple[int, ...] = ()) -> list[int]:
    return [job.pk for job in deliveries_claim(now=now, most=most, busy=busy)]


def test_what_is_due_is_claimed_once_with_all_it_needs():
    row = delivery(reader())
    (job,) = deliveries_claim(now=NOW, most=10)
    assert (job.pk, job.kind, job.url, tuple(job.message)) == (
        row.pk,
        "webhook",
        "json://127.0.0.1:1/",
        ("a title", "a body", "/alerts/1/"),
    )
    assert claimed() == []
    row.refresh_from_db()
    assert (row.state, row.attempts, row.claimed_until) == ("sending", 1, NOW + CLAIM)


def test_one_message_a_channel_at_a_time_oldest_first():
    one, other = reader(), reader("mike")
    first, _, third = delivery(one, "a"), delivery(one, "b", due_at=1_500), delivery(other, "a", due_at=1_600)
    assert claimed() == [first.pk, third.pk]
    assert claimed(busy=(one.pk, other.pk)) == []


def test_the_claim_of_a_worker_that_was_killed_lapses():
    row = delivery(reader())
    (dead,) = deliveries_claim(now=NOW, most=1)
    assert claimed(NOW + CLAIM) == []
    (job,) = deliveries_claim(now=NOW + CLAIM + 1, most=1)
    assert (job.pk, job.attempts) == (row.pk, 2)
    assert delivery_finish(job=dead, outcome=Outcome(True), now=NOW) == "lost", "it is another's by now"
    assert delivery_finish(job=job, outcome=Outcome(True), now=NOW) == "sent"


@pytest.mark.parametrize("changes", [{"due_at": NOW + 1}, {"state": "sent"}, {"state": "failed"}, {"state": "expired"}])
def test_what_is_not_due_waits(changes):
    delivery(reader(), **changes)
    assert claimed() == []


def test_nothing_goes_to_a_channel_that_is_off_holds_or_belongs_to_nobody_any_more():
    delivery(reader("a", enabled=False))
    delivery(reader("b", hold_until=NOW + 1))
    left = reader("c")
    delivery(left)
    left.user.is_active = False
    left.user.save()
    assert claimed() == []


def test_what_came_too_late_is_not_sent():
    row = delivery(reader(), expires_at=NOW - 1)
    assert claimed() == []
    row.refresh_from_db()
    assert row.state == "expired"


def test_after_a_yes_it_is_done():
    row = delivery(reader(last_error="before", last_error_at=1))
    (job,) = deliveries_claim(now=NOW, most=1)
    assert delivery_finish(job=job, outcome=Outcome(True), now=NOW + 5) == "sent"
    row.refresh_from_db()
    row.channel.refresh_from_db()
    assert (row.state, row.sent_at, row.channel.last_sent_at, row.channel.last_error) == ("sent", NOW + 5, NOW + 5, "")
    assert claimed(NOW + 10 * CLAIM) == []


def test_what_may_help_later_is_tried_again_and_the_channel_waits_with_it():
    row = delivery(reader())
    delivery(row.channel, "next")
    (job,) = deliveries_claim(now=NOW, most=1)
    assert delivery_finish(job=job, outcome=Outcome(False, "busy", True, 30.0), now=NOW) == "retried"
    row.refresh_from_db()
    assert (row.state, row.last_error, row.due_at) == ("waiting", "busy", NOW + 30_250)
    assert claimed(NOW + 30_249) == []
    assert claimed(NOW + 30_250) == [Delivery.objects.get(key="next").pk], "the channel is free again"
    row.channel.refresh_from_db()
    assert row.channel.last_error == "busy"


def test_a_no_is_final():
    row = delivery(reader())
    (job,) = deliveries_claim(now=NOW, most=1)
    assert delivery_finish(job=job, outcome=Outcome(False, "answered 404", gone=True), now=NOW) == "failed"
    row.refresh_from_db()
    row.channel.refresh_from_db()
    assert (row.state, row.channel.last_error, row.channel.last_error_at) == ("failed", "answered 404", NOW)


def test_it_is_not_tried_for_ever():
    row = delivery(reader())
    now, said = NOW, []
    for _ in range(MOST_ATTEMPTS):
        now += LONGEST_WAIT + 1
        Delivery.objects.update(expires_at=now + 1)
        (job,) = deliveries_claim(now=now, most=1)
        said.append(delivery_finish(job=job, outcome=Outcome(False, "away", True), now=now))
    assert said == ["retried"] * (MOST_ATTEMPTS - 1) + ["failed"]
    row.refresh_from_db()
    assert row.state == "failed"


def test_waits_grow_with_jitter_and_obey_the_other_end():
    assert [wait_after(attempt, None, lambda: 1.0) for attempt in range(1, 5)] == [2_000, 4_000, 8_000, 16_000]
    assert wait_after(30, None, lambda: 1.0) == LONGEST_WAIT
    assert wait_after(1, None, lambda: 0.0) == 1_000
    assert wait_after(1, 60.0) == 60_250
    assert len({wait_after(5, None) for _ in range(20)}) > 10


def test_a_test_message_is_tried_once_at_once():
    off = reader(enabled=False, hold_until=NOW * 10)
    row = delivery_test(channel=off, message=of_test("mine"), now=NOW)
    (job,) = deliveries_claim(now=NOW, most=1)
    assert delivery_finish(job=job, outcome=Outcome(False, "busy", True, 3.0), now=NOW) == "failed"
    row.refresh_from_db()
    assert (row.state, row.last_error) == ("failed", "busy")


def test_a_browser_that_has_unsubscribed_loses_its_address_and_says_so():
    gone = reader(kind=Kind.PUSH)
    delivery(gone)
    (job,) = deliveries_claim(now=NOW, most=1)
    assert job.push is not None
    assert job.push.tag == "k"
    delivery_finish(job=job, outcome=Outcome(False, "answered 410", gone=True), now=NOW)
    gone.refresh_from_db()
    assert (gone.url, gone.enabled, gone.ended) == ("", False, True)
    assert gone.last_error == SUBSCRIPTION_ENDED


def test_what_is_old_is_forgotten():
    to = reader()
    delivery(to, "old", created_at=0)
    kept = delivery(to, "new", created_at=delivery_services.KEPT)
    deliveries_sweep(now=delivery_services.KEPT + 1)
    assert list(Delivery.objects.values_list("pk", flat=True)) == [kept.pk]


def test_the_address_is_encrypted_in_the_database():
    reader(url="json://127.0.0.1/canary")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM alerts_notificationchannel")
        assert "canary" not in json.dumps(cursor.fetchall(), default=str)


def test_the_key_pair_is_made_once():
    first = push_private_key()
    assert first.startswith("-----BEGIN PRIVATE KEY-----")
    assert push_private_key() == first
    assert PushKey.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_several_workers_share_the_work_and_none_is_done_twice():
    """Over real connections, on SQLite and PostgreSQL alike."""
    user = reader().user
    to = [channel(user, f"json://127.0.0.1:1/{number}") for number in range(30)]
    for one in to:
        delivery(one, "a")
    together = threading.Barrier(4)

    def work(_: int) -> list[int]:
        try:
            together.wait(10)
            found: list[int] = []
            while mine := deliveries_claim(now=NOW, most=3):
                found += [job.pk for job in mine]
                for job in mine:
                    delivery_finish(job=job, outcome=Outcome(True), now=NOW)
            return found
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(work, range(4)))
    assert sorted(pk for share in shares for pk in share) == sorted(Delivery.objects.values_list("pk", flat=True))
    assert not Delivery.objects.exclude(state="sent").exists()
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
