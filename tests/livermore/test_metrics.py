"""/metrics: for nobody by default, and what it says to whom it may."""

import asyncio
import json

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from exchanges.models import Exchange
from exchanges.status import now_ms
from livermore import bus, keys
from livermore.db import db
from tests import documented, seeds
from tests.alerts.notifying import delivery, reader
from tests.exchanges.test_health import FIGURES, happened
from tests.hosting import say_status
from tests.people import browser, client_of, person

TOKEN = "t0ken-" * 8


@pytest.fixture
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def _token(settings):
    settings.METRICS_TOKEN = TOKEN


def scrape(**request: object) -> dict[str, float]:
    """Sample with its labels -> value."""
    answer = Client().get("/metrics", **request)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in answer.headers["Cache-Control"]
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def with_token(token: str = TOKEN) -> dict[str, object]:
    return {"headers": {"authorization": f"Bearer {token}"}, "REMOTE_ADDR": "10.0.0.9"}


# Who may


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("who", ["anonymous", "viewer", "superuser"])
def test_by_default_nobody_may_not_even_from_this_machine(who):
    answer = browser(who).get("/metrics")
    assert (answer.status_code, answer.json()) == (403, {"detail": "This needs METRICS_TOKEN as a bearer token: docs/operations.md."})


@pytest.mark.usefixtures("_world", "_token")
@pytest.mark.parametrize(
    "sent", ["", TOKEN, "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer t\u00f6ken"]
)
def test_only_the_token_itself_opens_it(sent):
    assert Client().get("/metrics", headers={"authorization": sent}).status_code == 403
    assert Client().get("/metrics", query_params={"token": TOKEN}).status_code == 403


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("sent", ["Bearer", "Bearer "])
def test_without_a_token_of_ours_an_empty_one_opens_nothing(sent):
    assert Client().get("/metrics", headers={"authorization": sent}).status_code == 403


@pytest.mark.usefixtures("_world", "_token")
def test_the_token_opens_it_from_anywhere():
    assert "livermore_feed_sockets" in scrape(**with_token())
    assert Client().post("/metrics", **with_token()).status_code == 405


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize(
    ("request_from", "may"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, True),
        ({"REMOTE_ADDR": "::1"}, True),
        ({"REMOTE_ADDR": "10.0.0.9"}, False),
        ({"REMOTE_ADDR": ""}, False),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}, False),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"}, False),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=203.0.113.5"}, False),
        ({"REMOTE_ADDR": "10.0.0.9", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
    ],
)
def test_this_machine_may_where_it_is_let_and_no_proxy_stands_between(settings, request_from, may):
    settings.METRICS_LOOPBACK = True
    assert Client().get("/metrics", **request_from).status_code == (200 if may else 403)


# What it says


@pytest.mark.usefixtures("_world", "_token")
def test_it_serves_what_the_page_about_metrics_lists():
    Client().get("/login/")
    Client().get("/healthz")
    say_status("coinbase", state="live", rejected=3, **{**FIGURES, "oldest": json.dumps([["BTC-USD", "ticker", 2_500]])})
    text = Client().get("/metrics", **with_token()).text
    tables = documented.documented()
    listed = tables["web"] | tables["every"]
    assert documented.served(text) == {(row.name, row.kind, row.meaning) for row in listed}
    assert documented.labels(text) <= documented.series(listed).items()


def test_names_follow_the_conventions_of_prometheus():
    for row in set().union(*documented.documented().values()):
        if row.name.startswith("livermore_"):
            assert row.name.endswith("_total") == (row.kind == "counter"), row.name
            assert not row.name.endswith(("_bucket", "_sum", "_count", "_ms", "_milliseconds", "_minutes")), row.name
            assert row.kind != "histogram" or row.name.endswith(("_seconds", "_closes")), row.name


@pytest.mark.usefixtures("_world", "_token")
def test_it_says_how_each_exchange_does():
    oldest = json.dumps([["BTC-USD", "ticker", 2_500]])
    say_status("coinbase", state="live", symbols=50, rejected=3, reconnects=2, **{**FIGURES, "oldest": oldest})
    happened("coinbase", 12, "offline", until=6)
    happened("coinbase", 6, "live", until=0)
    found = scrape(**with_token())
    assert {name.split()[-1]: value for name, value in found.items() if name.startswith("livermore_exchange_state coinbase ")} == {
        **dict.fromkeys(["gap", "halted", "idle", "offline", "stale", "unknown", "warming"], 0.0),
        "live": 1.0,
    }
    told = {name.split()[0]: value for name, value in found.items() if name.endswith(" coinbase")}
    assert round(told.pop("livermore_exchange_uptime_24h_ratio"), 3) == 0.5
    assert round(told.pop("livermore_exchange_uptime_7d_ratio"), 3) == 0.5
    assert told == {
        "livermore_exchange_messages_per_second": 17.5,
        "livermore_exchange_symbols": 50,
        "livermore_exchange_rest_weight_used": 12,
        "livermore_exchange_rest_weight_left": 528,
        "livermore_exchange_rest_weight_limit": 540,
        "livermore_exchange_rest_held_seconds": 1.5,
        "livermore_exchange_rest_waiting_requests": 2,
        "livermore_exchange_rest_latency_seconds": pytest.approx(0.0801),
        "livermore_exchange_websocket_latency_seconds": pytest.approx(0.021),
        "livermore_exchange_clock_offset_seconds": pytest.approx(-0.035),
        "livermore_exchange_heartbeat_timestamp_seconds": 1_790_000_000,
        "livermore_exchange_oldest_stream_seconds": 2.5,
        "livermore_exchange_frames_total": 1200,
        "livermore_exchange_rejected_frames_total": 3,
        "livermore_exchange_reconnects_total": 2,
        **dict.fromkeys(
            [
                "livermore_exchange_lost_frames_total",
                "livermore_exchange_refused_requests_total",
                "livermore_exchange_revised_candles_total",
                "livermore_exchange_gaps_repaired_total",
            ],
            0,
        ),
    }


@pytest.mark.usefixtures("_world", "_token")
def test_of_an_exchange_without_a_process_it_says_the_state_only():
    found = scrape(**with_token())
    assert [name for name, value in found.items() if " kraken " in name and value] == ["livermore_exchange_state kraken offline"]


@pytest.mark.usefixtures("_token")
def test_without_redis_the_states_are_unknown(db, valkey):
    seeds.restore()
    valkey.kill()
    assert scrape(**with_token())["livermore_exchange_state coinbase unknown"] == 1.0


@pytest.mark.usefixtures("_world", "_token")
def test_it_reads_the_exchanges_once(django_assert_num_queries):
    Exchange.objects.filter(pk="kraken").update(active=False)
    with django_assert_num_queries(3):  # exchanges, states, the outbox
        assert "livermore_exchange_state kraken offline" not in scrape(**with_token())


@pytest.mark.usefixtures("_world", "_token")
def test_it_says_how_long_messages_take_and_what_waits(redis_url):
    to = reader()
    now = now_ms()
    for key, due_at, state in (("a", now - 9_500, "waiting"), ("b", now + 60_000, "waiting"), ("c", 1, "sent")):
        delivery(to, key, due_at=due_at, state=state)
    figures = {"sent|discord": 3, "retried|discord": 2, "dwell|discord|2.5": 2, "dwell|discord|+Inf": 1, "dwell_sum|discord": 4003.25}
    bus.sync().hset(keys.delivery_figures(), mapping=figures)
    found = scrape(**with_token())
    assert found["livermore_deliveries_total discord sent"] == 3
    assert found["livermore_deliveries_total discord retried"] == 2
    assert found["livermore_deliveries_total discord failed"] == 0
    buckets = [found[f"livermore_delivery_dwell_seconds_bucket discord {bound}"] for bound in ("1", "2.5", "3600", "+Inf")]
    assert buckets == [0, 2, 2, 3]
    assert found["livermore_delivery_dwell_seconds_sum discord"] == 4003.25
    assert found["livermore_deliveries_waiting"] == 1
    assert 9 < found["livermore_deliveries_oldest_seconds"] < 60


@pytest.mark.django_db(transaction=True)
async def test_it_counts_the_pages_of_this_process_and_what_they_are_owed(redis_url, settings):
    settings.METRICS_TOKEN = TOKEN
    from livermore.asgi import application

    await db(seeds.restore)()
    client = await db(client_of)(await db(person)("mike", group="viewer"))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())]
    page = WebsocketCommunicator(application, "/ws/feed/", headers=headers)
    await page.connect()
    await page.send_json_to({"type": "hello", "v": 1, "resume": {}})
    await page.receive_output(timeout=5)
    await asyncio.sleep(0.05)
    found = await asyncio.to_thread(scrape_and_close)
    assert found["livermore_feed_sockets"] == 1
    assert found["livermore_feed_unacknowledged_frames"] >= 1
    assert found["livermore_feed_queued_messages"] >= found["livermore_feed_longest_queue_messages"]
    await page.disconnect()


def scrape_and_close() -> dict[str, float]:
    from django.db import connection

    try:
        return scrape(**with_token())
    finally:
        connection.close()


def test_the_token_is_not_among_the_settings_of_a_fresh_clone():
    assert settings.METRICS_TOKEN == ""
    assert settings.METRICS_LOOPBACK is False
