"""The metrics, liveness and readiness of the processes that serve no pages, asked over a real socket while they work."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from django.core.management import CommandError
from prometheus_client.parser import text_string_to_metric_families

from exchanges.lease import Lease
from exchanges.models import Exchange
from exchanges.sandbox.venues import BINANCE
from livermore import connector_metrics, exposition, telemetry
from livermore.db import db
from livermore.hosting import Host, host
from tests import documented
from tests.livermore.test_commands import program
from tests.simulated import BINANCE_ID, STEP, World, simulated, until

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "t0ken-" * 8
OPENS: Mapping[str, str] = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def served(hosts: list[Host]) -> AsyncIterator[httpx.AsyncClient]:
    """As ``runexchange --metrics-port`` does it."""
    text = lambda: exposition.text(lambda: connector_metrics.collect(hosts))  # noqa: E731
    async with (
        telemetry.serving(free_port(), text, lambda: telemetry.leases(hosts)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def hosting(*, autostart: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    exchanges = await db(lambda: list(Exchange.objects.filter(pk=BINANCE_ID)))()
    hosts: list[Host] = []
    async with served(hosts) as client:
        task = asyncio.create_task(host(exchanges, frozenset({BINANCE_ID} if autostart else ()), watch=hosts.extend))
        try:
            yield client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def scrape(client: httpx.AsyncClient) -> dict[str, float]:
    """Sample with its label values -> value."""
    answer = await client.get("/metrics", headers=OPENS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, exposition.CONTENT_TYPE)
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def of_binance(found: dict[str, float], name: str) -> float:
    return found[f"livermore_connector_{name} {BINANCE_ID}"]


# The connector


async def test_a_connector_says_what_it_does(redis_url: str) -> None:
    async with simulated([BINANCE]) as world, hosting() as client:
        await warm(world, client)
        before = await scrape(client)
        world.clock.advance(STEP)

        async def closed() -> bool:
            now = await scrape(client)
            done = {
                step: now[f"livermore_connector_commit_step_seconds_count {BINANCE_ID} {step}"] for step in ("database", "redis", "closes")
            }
            out = done["database"] == done["redis"] and (done["closes"] or not of_binance(now, "alerts_total"))
            return bool(out) and of_binance(now, "closes_total") >= of_binance(before, "closes_total") + 4

        await until(closed, "the closes of four symbols", world.nudge)
        found = await scrape(client)
        for name, value in (("lease_held", 1), ("running", 1), ("connected", 1), ("symbols", 4), ("warmup_ratio", 1)):
            assert of_binance(found, name) == value, name
        assert of_binance(found, "frames_total") > of_binance(before, "frames_total") > 0
        assert of_binance(found, "evaluated_series_total") >= of_binance(before, "evaluated_series_total") + 4
        assert of_binance(found, "rest_requests_total") > 0
        assert of_binance(found, "rest_weight_left") + of_binance(found, "rest_weight_used") == of_binance(found, "rest_weight_limit")
        alerts = len(await world.alerts(BINANCE_ID))
        assert of_binance(found, "alerts_total") == alerts
        for step in ("database", "redis", *(("alerts", "closes") if alerts else ())):  # without an alert, one call does the rest
            count = found[f"livermore_connector_commit_step_seconds_count {BINANCE_ID} {step}"]
            assert 0 < count <= of_binance(found, "commit_batch_closes_count"), step
            assert found[f"livermore_connector_commit_step_seconds_sum {BINANCE_ID} {step}"] > 0
        assert of_binance(found, "commit_batch_closes_sum") == of_binance(found, "closes_total")
        for queue in connector_metrics.QUEUES:
            assert found[f"livermore_connector_queue_length {BINANCE_ID} {queue}"] >= 0
        assert found["livermore_database_query_seconds_count"] > before["livermore_database_query_seconds_count"]
        assert found["process_resident_memory_bytes"] > 10_000_000


async def warm(world: World, client: httpx.AsyncClient) -> None:
    """Until the connector has taken in everything there is, and its event loop was looked at."""

    async def is_warm() -> bool:
        found = await scrape(client)
        wanted = {f"livermore_connector_{name} {BINANCE_ID}" for name in ("warmup_ratio", "connected", "frames_total", "rest_weight_used")}
        return all(found.get(name) for name in {*wanted, "livermore_event_loop_lag_seconds_count"})

    await until(is_warm, "the warm-up", world.nudge)


async def test_an_idle_one_and_a_standby_say_so(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        async with hosting(autostart=False) as client:
            await until(lambda: ready(client), "readiness")
            found = await scrape(client)
            assert (of_binance(found, "lease_held"), of_binance(found, "running")) == (1, 0)
            assert [name for name in found if name.startswith("livermore_connector_frames")] == []
        other = Lease(world.redis, BINANCE_ID)
        assert await until(other.acquire, "the lease")
        async with hosting() as client:
            await until(lambda: ready(client), "readiness of a standby")
            assert of_binance(await scrape(client), "lease_held") == 0
            body = (await client.get("/readyz")).json()
            assert body[f"lease {BINANCE_ID}"] == {"ok": True, "reason": "another process holds it, and this one stands by"}


async def ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def test_it_is_ready_when_each_part_is_and_says_which_is_not(redis_url: str, valkey: Any) -> None:
    async with simulated([BINANCE]), hosting(autostart=False) as client:
        await until(lambda: ready(client), "readiness")
        held = {"ok": True, "reason": "held by this process"}
        answers = {"ok": True, "reason": "it answers"}
        migrations = {"ok": True, "reason": "all are applied"}
        body = (await client.get("/readyz")).json()
        assert body == {"ok": True, "database": answers, "migrations": migrations, "redis": answers, f"lease {BINANCE_ID}": held}
        valkey.kill()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["redis"] == {"ok": False, "reason": "it does not answer (ConnectionError)"}
        assert (await client.get("/healthz")).json() == {"ok": True}
        assert of_binance(await scrape(client), "lease_held") in {0, 1}, "metrics need no Redis"


async def test_before_redis_has_said_whose_it_is_it_is_not_ready(redis_url: str) -> None:
    async with served([]) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["leases"]) == (503, {"ok": False, "reason": "it has not begun yet"})


# Who may


async def test_metrics_are_for_the_token_and_health_for_everybody(redis_url: str, settings: Any) -> None:
    async with served([]) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": f"Basic {TOKEN}"}):
            answer = await client.get("/metrics", headers=headers)
            assert (answer.status_code, answer.json()) == (403, {"detail": telemetry.NEEDS_TOKEN})
        assert (await client.get("/metrics", headers=OPENS)).status_code == 200
        assert (await client.get("/metrics", params={"token": TOKEN})).status_code == 403
        settings.METRICS_LOOPBACK = True
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.5"})).status_code == 403
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json(), answer.headers["cache-control"]) == (200, {"ok": True}, "no-store")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/metrics", 405), ("POST", "/readyz", 405), ("GET", "/", 404), ("GET", "/metrics/", 404), ("HEAD", "/healthz", 200)],
)
async def test_nothing_else_is_there(redis_url: str, method: str, path: str, status: int) -> None:
    async with served([]) as client:
        answer = await client.request(method, path, headers=OPENS)
        assert answer.status_code == status
        assert "server" not in answer.headers


async def test_a_port_that_is_taken_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CommandError, match=rf"Metrics cannot be served on 127\.0\.0\.1:{port} \(Address already in use\).*--metrics-port"
        ):
            async with telemetry.serving(port, lambda: b""):
                pass


async def test_it_is_off_by_default() -> None:
    async with telemetry.serving(0, lambda: b"") as port:
        assert port == 0


# The programs


@pytest.mark.parametrize("words", [("runexchange", BINANCE_ID), ("rundelivery",)], ids=lambda words: words[0])
async def test_the_programs_serve_theirs_until_they_end(
    redis_url: str, process_environment: dict[str, str], words: tuple[str, ...]
) -> None:
    port = free_port()
    environment = {**process_environment, "LIVERMORE_TEST_METRICS_TOKEN": TOKEN}
    async with (
        simulated([BINANCE]),
        program(environment, *words, "--metrics-port", str(port)) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):

        async def is_ready() -> bool:
            assert running.process.returncode is None, running.output
            with contextlib.suppress(httpx.TransportError):
                return await ready(client)
            return False

        await until(is_ready, f"readiness of {words}")
        found = await scrape(client)
        assert "process_start_time_seconds" in found
        assert f"livermore_connector_lease_held {BINANCE_ID}" in found or "livermore_delivery_sending" in found
        tables = documented.documented()
        of_its_own = tables["connector" if words[0] == "runexchange" else "delivery"]
        text = (await client.get("/metrics", headers=OPENS)).text
        assert documented.served(text) == {(row.name, row.kind, row.meaning) for row in of_its_own | tables["every"]}
        assert documented.labels(text) <= documented.series(of_its_own | tables["every"]).items()
        await running.interrupted()
        with pytest.raises(httpx.TransportError):
            await client.get("/healthz")
        assert "Traceback" not in running.output, json.dumps(running.output)
