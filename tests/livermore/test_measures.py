"""What a process counts of itself: buckets, publication times, the lag of a loop, requests and queries."""

import asyncio
import threading
import time

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from livermore import measures
from livermore.measures import Commits, Lag, Published, SharedTimings, Timings
from tests.simulated import until


@pytest.mark.parametrize(("value", "bucket"), [(-1.0, 0), (0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (2.1, 2), (1e9, 2)])
def test_a_value_falls_into_the_first_bucket_that_holds_it(value: float, bucket: int) -> None:
    timings = Timings((1.0, 2.0))
    timings.add(value)
    assert timings.counts == [int(at == bucket) for at in range(3)]
    assert (timings.count, timings.sum) == (1, max(0.0, value))


async def test_what_is_awaited_is_timed_and_given_back_and_what_fails_is_not_counted() -> None:
    async def work(error: Exception | None = None) -> str:
        await asyncio.sleep(0.002)
        if error is not None:
            raise error
        return "done"

    timings = Timings()
    assert await timings.of(work()) == "done"
    with pytest.raises(ValueError, match="no"):
        await timings.of(work(ValueError("no")))
    assert timings.count == 1
    assert timings.sum >= 0.002


def test_threads_lose_no_count() -> None:
    timings = SharedTimings((1.0,))
    threads = [threading.Thread(target=lambda: [timings.add(0.5) for _ in range(5_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (timings.counts, timings.sum) == ([20_000, 0], 10_000.0)


def test_a_batch_is_counted_whole() -> None:
    commits = Commits()
    commits.committed(closes=4, evaluated=6, alerts=1)
    commits.committed(closes=0, evaluated=1, alerts=0)
    assert (commits.closes, commits.evaluated, commits.alerts) == (4, 7, 1)
    assert (commits.sizes.count, commits.sizes.sum) == (2, 4)


@pytest.mark.parametrize(
    ("message", "at"),
    [
        (b'{"type":"alert","published_at":1772402415000,"x":1}', 1_772_402_415_000),
        (b'{"published_at": 1772402415000}', 1_772_402_415_000),
        (b'{"published_at":null}', 0),
        (b'{"published_at":', 0),
        (b'{"type":"candle"}', 0),
        (b"", 0),
    ],
)
def test_when_a_message_was_published_is_read_out_of_it(message: bytes, at: int) -> None:
    published = Published()
    assert published.at(message) == at
    assert published.at(message) == at
    assert published.at(b'{"published_at":7}') == 7, "another message is looked at anew"


async def test_a_loop_that_is_held_up_shows_by_how_much() -> None:
    lag = Lag()
    lag.EVERY = 0.05  # type: ignore[misc]
    lag.watch()
    lag.watch()
    await asyncio.sleep(0.01)
    time.sleep(0.2)  # noqa: ASYNC251  (it is to hold the loop up)
    await until(lambda: lag.timings.count, "a look at the loop")
    assert lag.timings.count == 1, "asked for twice, it looks once"
    assert lag.timings.sum >= 0.1


# Requests and queries


def counted(view: str, method: str, status: str) -> int:
    timings = measures.requests.get((view, method, status))
    return timings.count if timings else 0


@pytest.mark.django_db
async def test_requests_are_counted_by_view_in_a_thread_and_in_a_loop() -> None:
    before = counted("healthz", "GET", "2xx")
    await asyncio.to_thread(Client().get, "/healthz")
    await AsyncClient().get("/healthz")
    assert counted("healthz", "GET", "2xx") == before + 2


@pytest.mark.django_db
def test_no_label_is_made_up_by_a_client() -> None:
    client = Client()
    client.get("/nothing/c4nary/")
    client.get("/static/c4nary.css")
    client.generic("C4NARY", "/healthz")
    client.get("/symbols/c4nary/c4nary/")
    labels = {label for name in measures.requests for label in name}
    assert [label for label in labels if "c4nary" in label.lower()] == []
    assert counted("(none)", "GET", "4xx") >= 2
    assert counted("healthz", "(other)", "2xx") >= 1


@pytest.mark.django_db(transaction=True)
def test_each_statement_is_timed_once_also_on_a_connection_made_anew() -> None:
    from django.db import connection

    for _ in range(2):
        User.objects.exists()  # whatever a new connection asks for itself is not ours to count
        before = measures.queries.count
        User.objects.exists()
        assert measures.queries.count == before + 1
        connection.close()
