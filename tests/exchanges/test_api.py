"""/api/exchanges/ and its commands."""

import json

import pytest

from exchanges.models import Exchange
from exchanges.seeds import ROWS
from tests import seeds
from tests.hosting import hosted, say_status
from tests.people import browser
from tests.seeds import KNOWN

LIST = "/api/exchanges/"
ACTIONS = "start, stop, restart, resync, backfill, reload, positions"
OFFLINE = {
    "state": "offline",
    "since": None,
    "connection_state": "offline",
    "connected_at": None,
    "last_heartbeat": None,
    "symbols": 0,
    "warmup": None,
    "error": "",
    "error_at": None,
    "retry_at": None,
    "host": "",
    "pid": None,
}


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


def command(client, exchange_id: str, body: object):
    return client.post(f"{LIST}{exchange_id}/commands/", body, content_type="application/json")


def test_it_shows_an_exchange_whole():
    say_status("coinbase", state="warming", since=5, connection_state="connected", connected_at=4, symbols=50, warmup=0.25, host="h", pid=7)
    assert browser("viewer").get(f"{LIST}coinbase/").json() == {
        "id": "coinbase",
        "name": "Coinbase Advanced Trade",
        "simulated": False,
        "adapter": "coinbase",
        "websocket_url": "wss://advanced-trade-ws.coinbase.com",
        "rest_url": "https://api.coinbase.com",
        "limits": {
            "messages_per_second": 8.0,
            "connects_per_5min": 60,
            "streams_per_connection": 400,
            "rest_weight_per_minute": 600,
            "rest_burst": 10,
            "max_connection_age": 0,
        },
        "maker_fee": "0.006000",
        "taker_fee": "0.012000",
        "geo_restrictions": {},
        "timeframes": ["5m", "15m", "1h", "4h", "1d"],
        "trade_url_template": "https://www.coinbase.com/advanced-trade/spot/{base}-{quote}",
        "top_n": 50,
        "status": {
            **OFFLINE,
            "state": "warming",
            "since": 5,
            "connection_state": "connected",
            "connected_at": 4,
            "last_heartbeat": 1_790_000_000_000,
            "symbols": 50,
            "warmup": 0.25,
            "host": "h",
            "pid": 7,
        },
    }


def test_an_exchange_without_a_process_is_offline():
    assert browser("viewer").get(f"{LIST}binance/").json()["status"] == OFFLINE


def test_without_redis_the_state_is_unknown_and_the_rest_is_there(valkey):
    client = browser("viewer")
    valkey.kill()
    answer = client.get(f"{LIST}coinbase/")
    assert answer.status_code == 200
    assert answer.json()["status"] == {
        **OFFLINE,
        "state": "unknown",
        "connection_state": "unknown",
        "error": "Redis does not answer, so the live state is not known.",
    }


def test_it_lists_active_exchanges_real_ones_first():
    Exchange.objects.filter(pk="binance-us").update(active=False)
    answer = browser("viewer").get(LIST).json()
    assert [row["id"] for row in answer["results"]] == [
        "binance",
        "coinbase",
        "kraken",
        "binance-sandbox",
        "coinbase-sandbox",
        "kraken-sandbox",
    ]
    assert [row["simulated"] for row in answer["results"]] == [False, False, False, True, True, True]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?adapter=coinbase", ["coinbase", "coinbase-sandbox"]),
        ("?simulated=true", ["binance-sandbox", "coinbase-sandbox", "kraken-sandbox"]),
        ("?ordering=-id&page_size=2", ["kraken-sandbox", "kraken"]),
        ("?ordering=-id&page_size=2&page=3", ["binance-us", "binance-sandbox"]),
    ],
)
def test_the_list_can_be_filtered_ordered_and_paged(query, expected):
    assert [row["id"] for row in browser("viewer").get(LIST + query).json()["results"]] == expected


def test_a_filter_with_an_unknown_value_is_an_error():
    answer = browser("viewer").get(f"{LIST}?adapter=mtgox")
    assert (answer.status_code, answer.json()) == (
        400,
        {"adapter": ["Select a valid choice. mtgox is not one of the available choices."]},
    )


def test_a_page_that_is_not_there_is_a_404():
    answer = browser("viewer").get(f"{LIST}?page=999999999999999999999")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Invalid page."})


def test_a_row_whose_adapter_is_gone_is_still_shown():
    Exchange.objects.filter(pk="coinbase").update(adapter="gone")
    assert browser("viewer").get(f"{LIST}coinbase/").json()["limits"] == {"messages_per_second": 8}


@pytest.mark.parametrize("exchange_id", ["mtgox", "Coinbase", "a%00b", "a:b", "%F0%9F%98%80", "x" * 500])
def test_an_unknown_exchange_is_a_404_that_lists_the_known_ones(exchange_id):
    answer = browser("viewer").get(f"{LIST}{exchange_id}/")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("unknown exchange ")
    assert answer.json()["detail"].endswith(f"; known: {KNOWN}")


def test_the_list_needs_the_same_queries_for_more_exchanges(django_assert_num_queries):
    client = browser("viewer")
    for number in range(5):
        Exchange.objects.create(id=f"e{number}", name=f"E{number}", adapter="coinbase", websocket_url="wss://x", rest_url="https://x")
    with django_assert_num_queries(6):  # session, user, the user's rights, those of the groups, count, rows
        assert client.get(LIST).json()["count"] == len(ROWS) + 5


# Commands


@pytest.mark.parametrize(("who", "status"), [("anonymous", 403), ("viewer", 403), ("trader", 403), ("operator", 200), ("superuser", 200)])
def test_who_may_command(who, status):
    client = browser(who)
    with hosted("coinbase") as commands:
        answer = command(client, "coinbase", {"action": "stop"})
    assert answer.status_code == status
    assert commands == ([("coinbase", "stop", who)] if status == 200 else [])


def test_a_viewer_is_told_which_right_is_missing():
    assert command(browser("viewer"), "mtgox", {"action": "start"}).json() == {
        "detail": "This needs the permission exchanges.control_exchange: an administrator gives it with a role."
    }


@pytest.mark.parametrize("ok", [True, False])
def test_a_command_is_answered_with_what_happened(ok):
    with hosted("coinbase", ok=ok):
        answer = command(browser("operator"), "coinbase", {"action": "backfill"})
    assert (answer.status_code, answer.json()) == (200, {"ok": ok, "message": "backfill done" if ok else "backfill refused"})


def test_a_command_nobody_hosts_says_how_to_host_it():
    assert command(browser("operator"), "coinbase", {"action": "start"}).json() == {
        "ok": False,
        "message": "no process hosts coinbase: start one with `python manage.py runexchange coinbase`",
    }


def test_a_command_for_an_unknown_exchange_lists_the_known_ones():
    answer = command(browser("operator"), "mtgox", {"action": "start"})
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("unknown exchange 'mtgox'; known: binance, ")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"action": "explode"}, {"action": [f'Unknown action "explode"; known: {ACTIONS}.']}),
        ({}, {"action": [f"Say which action; known: {ACTIONS}."]}),
        ({"action": None}, {"action": [f"Say which action; known: {ACTIONS}."]}),
        ({"action": ""}, {"action": [f'Unknown action ""; known: {ACTIONS}.']}),
        ({"action": {"start": 1}}, {"action": [f"Unknown action \"{{'start': 1}}\"; known: {ACTIONS}."]}),
        (["start"], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
    ],
)
def test_an_unknown_action_lists_the_known_ones(body, expected):
    answer = command(browser("operator"), "coinbase", json.dumps(body))
    assert (answer.status_code, answer.json()) == (400, expected)


@pytest.mark.parametrize("body", ["{", "[" * 100_000, "nul", b"\xff\xfe"])
def test_a_body_that_is_no_json_is_the_clients_mistake(body):
    answer = command(browser("operator"), "coinbase", body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"detail"}


def test_a_form_is_not_a_command():
    answer = browser("operator").post(f"{LIST}coinbase/commands/", {"action": "start"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (415, "application/json")


def test_a_command_without_a_csrf_token_is_refused():
    client = browser("operator")
    client.handler.enforce_csrf_checks = True
    with hosted("coinbase") as commands:
        answer = command(client, "coinbase", {"action": "start"})
    assert (answer.status_code, commands) == (403, [])
