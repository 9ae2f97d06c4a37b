"""/api/exchanges/health/ and what happened: figures, uptimes, holders of leases, and nothing that is not meant to be seen."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from exchanges.health import forget
from exchanges.models import Exchange, ExchangeEvent
from exchanges.seeds import ROWS
from exchanges.status import Status, now_ms, read
from livermore import bus, keys
from tests import seeds
from tests.hosting import say_status
from tests.people import browser, client_of, person

LIST = "/api/exchanges/health/"
HOUR = 3_600_000
FIGURES = {
    "frames": 1200,
    "messages_per_s": 17.5,
    "oldest": [["BTC-USD", "ticker", 250]],
    "rest_used": 12,
    "rest_left": 528,
    "rest_limit": 540,
    "rest_held_s": 1.5,
    "rest_waiting": 2,
    "rest_ms": 80.1,
    "websocket_ms": 21.0,
    "clock_offset_ms": -35,
}


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()
    forget()


def happened(exchange_id: str, hours_ago: float, event: str, until: float | None = None, reason: str = "") -> ExchangeEvent:
    """An event so long ago, known to hold until so many hours ago."""
    now = now_ms()
    seen = now - int((hours_ago if until is None else until) * HOUR)
    return ExchangeEvent.objects.create(exchange_id=exchange_id, at=now - int(hours_ago * HOUR), event=event, seen=seen, reason=reason)


def health(exchange_id: str) -> dict[str, Any]:
    known = User.objects.filter(username="viewer").first() or person("viewer", group="viewer")
    answer = client_of(known).get(f"/api/exchanges/{exchange_id}/health/")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_a_connector_measures_comes_back_from_redis_as_it_was():
    status = Status("coinbase")
    status.figures, status.counters = FIGURES, {"rejected": 3, "gaps_repaired": 1}
    fields = {name.encode(): text.encode() for name, text in status.fields().items()}
    found = read(fields, lease=1)
    assert {name: found[name] for name in FIGURES} == FIGURES
    assert (found["rejected"], found["gaps_repaired"]) == (3, 1)


def test_without_a_connector_the_figures_are_empty():
    fields = {name.encode(): text.encode() for name, text in Status("coinbase").fields().items()}
    found = read(fields, lease=1)
    assert {name: found[name] for name in FIGURES} == {**dict.fromkeys(FIGURES), "oldest": []}


def test_it_shows_an_exchange_whole():
    say_status(
        "coinbase", state="live", since=5, symbols=50, host="h", pid=7, rejected=3, **{**FIGURES, "oldest": json.dumps(FIGURES["oldest"])}
    )
    bus.sync().set(keys.exchange_lease("coinbase"), json.dumps({"host": "h", "pid": 7, "token": "canary", "since": 4}))
    found = health("coinbase")
    at = found.pop("at")
    assert abs(at - now_ms()) < 60_000
    assert found == {
        "id": "coinbase",
        "name": "Coinbase Advanced Trade",
        "simulated": False,
        "state": "live",
        "since": 5,
        "connection_state": "idle",
        "connected_at": None,
        "last_heartbeat": 1_790_000_000_000,
        "symbols": 50,
        "warmup": None,
        "error": "",
        "error_at": None,
        "retry_at": None,
        "host": "h",
        "pid": 7,
        "process": {"host": "h", "pid": 7, "since": 4},
        "uptime_24h": None,
        "uptime_7d": None,
        "known_since": None,
        **FIGURES,
        "oldest": [{"symbol": "BTC-USD", "channel": "ticker", "age_ms": 250}],
        "reconnects": 0,
        "gaps_repaired": 0,
        "rejected": 3,
        "lost": 0,
        "revised": 0,
        "refused": 0,
        "maker_fee": "0.006000",
        "taker_fee": "0.012000",
        "geo_restrictions": {},
        "timeframes": ["5m", "15m", "1h", "4h", "1d"],
    }


def test_an_exchange_without_a_process_has_no_figures_but_its_past():
    happened("coinbase", 200, "live", until=12)
    found = health("coinbase")
    assert (found["state"], found["process"], found["frames"], found["rest_left"]) == ("offline", None, 0, None)
    assert (round(found["uptime_24h"], 3), round(found["uptime_7d"], 3)) == (0.5, round(1 - 12 / 168, 3))


def test_without_redis_the_past_is_there(valkey):
    happened("coinbase", 30, "live", until=0)
    client = browser("viewer")
    valkey.kill()
    found = client.get("/api/exchanges/coinbase/health/").json()
    assert (found["state"], found["error"]) == ("unknown", "Redis does not answer, so the live state is not known.")
    assert round(found["uptime_24h"], 3) == 1.0


def test_a_live_exchange_is_up_until_its_heartbeat_and_not_only_until_its_last_mark():
    happened("coinbase", 12, "live", until=6)
    say_status("coinbase", state="live", last_heartbeat=now_ms())
    assert round(health("coinbase")["uptime_24h"], 3) == 1.0
    say_status("coinbase", state="stale", last_heartbeat=now_ms())
    assert round(health("coinbase")["uptime_24h"], 3) == 0.5, "not the state that the mark is about"


def test_the_state_from_before_the_window_counts_and_events_of_the_connection_do_not():
    happened("coinbase", 24 * 10, "offline", reason="its process ended")
    found = health("coinbase")
    assert (found["uptime_24h"], found["uptime_7d"]) == (0.0, 0.0)
    happened("binance", 24 * 10, "live", until=0)
    happened("binance", 3, "disconnected")
    assert round(health("binance")["uptime_7d"], 3) == 1.0


def test_the_list_has_every_active_exchange():
    Exchange.objects.filter(pk="binance-us").update(active=False)
    rows = browser("viewer").get(LIST).json()["results"]
    assert [row["id"] for row in rows] == ["binance", "coinbase", "kraken", "binance-sandbox", "coinbase-sandbox", "kraken-sandbox"]
    assert [row["simulated"] for row in rows] == [False, False, False, True, True, True]


def test_the_list_needs_the_same_queries_for_more_exchanges_and_a_longer_past(django_assert_num_queries):
    client = browser("viewer")
    for number in range(5):
        Exchange.objects.create(id=f"e{number}", name=f"E{number}", adapter="coinbase", websocket_url="wss://x", rest_url="https://x")
        for hours in range(10):
            happened(f"e{number}", hours, "live" if hours % 2 else "offline")
    with django_assert_num_queries(7):  # session, user, rights (2), count, rows, states
        assert client.get(LIST).json()["count"] == len(ROWS) + 5


def test_one_needs_no_more(django_assert_num_queries):
    client = browser("viewer")
    with django_assert_num_queries(6):  # session, user, rights (2), known ones, states
        client.get("/api/exchanges/coinbase/health/")


def test_no_exchange_may_be_called_as_the_list_is():
    exchange = Exchange(id="health", name="H", adapter="coinbase", websocket_url="wss://x", rest_url="https://x")
    with pytest.raises(Exception, match="Choose another one"):
        exchange.clean()


@pytest.mark.parametrize("url", ["/api/exchanges/mtgox/health/", "/api/exchanges/mtgox/events/"])
def test_an_unknown_exchange_is_a_404_that_lists_the_known_ones(url):
    answer = browser("viewer").get(url)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("unknown exchange 'mtgox'; known: ")


# Events


def test_what_happened_comes_newest_first_and_paged():
    first = happened("coinbase", 50, "live")
    second = happened("coinbase", 2, "offline", reason="its process ended")
    happened("binance", 1, "live")
    answer = browser("viewer").get("/api/exchanges/coinbase/events/?page_size=1").json()
    assert (answer["count"], answer["next"]) == (2, "http://testserver/api/exchanges/coinbase/events/?page=2&page_size=1")
    assert answer["results"] == [{"id": second.pk, "at": second.at, "event": "offline", "reason": "its process ended", "seen": second.seen}]
    older = browser("trader").get(answer["next"]).json()
    assert [row["id"] for row in older["results"]] == [first.pk]


def test_what_happened_can_be_asked_for_from_a_time_on():
    happened("coinbase", 50, "live")
    late = happened("coinbase", 2, "offline")
    client = browser("viewer")
    assert [row["id"] for row in client.get(f"/api/exchanges/coinbase/events/?from={late.at}").json()["results"]] == [late.pk]
    assert client.get(f"/api/exchanges/coinbase/events/?from={late.at + 1}").json()["results"] == []


@pytest.mark.parametrize("value", ["yesterday", "-1", "1e400", "9" * 30])
def test_a_time_that_is_none_is_refused(value):
    answer = browser("viewer").get("/api/exchanges/coinbase/events/", {"from": value})
    assert (answer.status_code, list(answer.json())) == (400, ["from"])


def test_what_happened_needs_the_same_queries_for_more_of_it(django_assert_num_queries):
    client = browser("viewer")
    for hours in range(20):
        happened("coinbase", hours, "live")
    with django_assert_num_queries(7):  # session, user, rights (2), known exchanges, count, rows
        client.get("/api/exchanges/coinbase/events/")
