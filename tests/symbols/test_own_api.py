"""/api/my/…: what the logged-in user set, added and holds."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exchanges.models import UserExchange
from livermore import bus, keys
from symbols import wants
from symbols.models import Position, UserSymbol
from tests import seeds
from tests.hosting import hosted
from tests.people import browser, client_of, person
from tests.seeds import KNOWN
from tests.symbols.wanting import add, exchange, hold, listing, symbol_of

SYMBOLS, POSITIONS, EXCHANGES, SETTINGS = (f"/api/my/{name}/" for name in ("symbols", "positions", "exchanges", "settings"))
NO_PROCESS = "no process hosts coinbase: start one with `python manage.py runexchange coinbase`"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()
    listing()


@pytest.fixture
def mike() -> User:
    return person("mike", group="trader")


@pytest.fixture
def client(mike: User) -> Client:
    return client_of(mike)


def send(client: Client, method: str, url: str, body: object = None) -> tuple[int, Any]:
    answer = client.generic(method.upper(), url, json.dumps(body), content_type="application/json")
    return answer.status_code, answer.json()


# Who may


@pytest.mark.parametrize(
    ("method", "url", "rights"),
    [
        ("get", SYMBOLS, {"viewer", "trader", "operator", "administrator", "superuser"}),
        ("post", SYMBOLS, {"trader", "operator", "administrator", "superuser"}),
        ("delete", f"{SYMBOLS}1/", {"trader", "operator", "administrator", "superuser"}),
        ("get", POSITIONS, {"viewer", "trader", "operator", "administrator", "superuser"}),
        ("post", POSITIONS, {"trader", "operator", "administrator", "superuser"}),
        ("delete", f"{POSITIONS}1/", {"trader", "operator", "administrator", "superuser"}),
        ("post", f"{POSITIONS}sync/", {"trader", "operator", "administrator", "superuser"}),
        ("get", EXCHANGES, {"viewer", "trader", "operator", "administrator", "superuser"}),
        ("patch", f"{EXCHANGES}coinbase/", {"viewer", "trader", "operator", "administrator", "superuser"}),
        ("get", SETTINGS, {"viewer", "trader", "operator", "administrator", "superuser"}),
        ("patch", SETTINGS, {"viewer", "trader", "operator", "administrator", "superuser"}),
    ],
)
def test_who_may_do_what(method: str, url: str, rights: set[str]) -> None:
    able = set()
    for who in ("anonymous", "viewer", "trader", "operator", "administrator", "superuser"):
        status, _ = send(browser(who), method, url, {})
        able |= {who} if status != 403 else set()
    assert able == rights
    assert send(client_of(person("nobody")), method, url, {})[0] == 403, "without a role"


def test_a_change_without_a_csrf_token_is_refused(client: Client) -> None:
    client.handler.enforce_csrf_checks = True
    assert send(client, "post", SYMBOLS, {"exchange": "coinbase", "lines": ["DOGE"]})[0] == 403
    assert UserSymbol.objects.count() == 0


# Symbols


def test_symbols_are_added_line_by_line_each_with_its_verdict(client: Client) -> None:
    assert send(client, "post", SYMBOLS, {"exchange": "coinbase", "lines": ["DOGE-USD", "dog", ""]}) == (
        200,
        {
            "verdicts": [
                {"text": "DOGE-USD", "ok": True, "code": "added", "symbol": "DOGE-USD", "message": "DOGE-USD: added."},
                {"text": "dog", "ok": False, "code": "unknown", "symbol": "", "message": "Not listed here. Nearest: DOGE-USD."},
                {"text": "", "ok": False, "code": "empty", "symbol": "", "message": "Write a symbol, e.g. DOGE or DOGE-USD."},
            ]
        },
    )
    assert UserSymbol.objects.values_list("user__username", "symbol__symbol").get() == ("mike", "DOGE-USD")


def test_ones_own_symbols_come_with_their_figures(mike: User, client: Client) -> None:
    add(mike, "DOGE-USD")
    hold(mike, "SOL", 3.0, by_hand=True)
    hold(person("kaia"), "PEPE", 1e9)
    wants.symbols_add(user=mike, exchange=exchange(), lines=["BTC"])
    bus.sync().set(keys.ticker("coinbase", "DOGE-USD"), json.dumps({"t": 5, "price": 0.5, "received": 7}))
    rows = client.get(SYMBOLS).json()

    names = ("symbol", "tier", "added", "held", "price", "live")
    assert [[row["symbol"][name] for name in names] for row in rows] == [
        ["BTC-USD", 1, True, False, 60_000.0, False],
        ["DOGE-USD", 2, True, False, 0.5, True],
        ["SOL-USD", 2, False, True, 20.0, False],
    ]
    assert [(row["added"], row["quantity"], row["value"]) for row in rows] == [(True, None, None), (True, None, None), (False, 3.0, 60.0)]
    assert set(rows[0]) == {"symbol", "added", "quantity", "value"}


def test_a_symbol_is_taken_off_the_list(mike: User, client: Client) -> None:
    add(mike, "DOGE-USD")
    url = f"{SYMBOLS}{symbol_of('DOGE-USD').pk}/"
    with hosted("coinbase") as commands:
        assert send(client, "delete", url) == (200, {"removed": ["DOGE-USD"], "message": "DOGE-USD: removed from your list."})
    assert commands == [("coinbase", "reload", "mike")]
    assert send(client, "delete", url) == (404, {"detail": "That symbol is not among those you added."})


def test_nobody_removes_what_another_added(mike: User) -> None:
    add(mike, "DOGE-USD")
    status, _ = send(client_of(person("kaia", group="trader")), "delete", f"{SYMBOLS}{symbol_of('DOGE-USD').pk}/")
    assert (status, UserSymbol.objects.count()) == (404, 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"lines": ["DOGE"]}, {"exchange": ["This field is required."]}),
        ({"exchange": "coinbase"}, {"lines": ["This field is required."]}),
        ({"exchange": "mtgox", "lines": ["DOGE"]}, {"exchange": [f"unknown exchange 'mtgox'; known: {KNOWN}"]}),
        ({"exchange": "coinbase", "lines": []}, {"lines": ["Write at least one symbol."]}),
        ({"exchange": "coinbase", "lines": ["DOGE"] * 501}, {"lines": ["At most 500 lines at once."]}),
        ({"exchange": "coinbase", "lines": "DOGE"}, {"lines": ['Expected a list of items but got type "str".']}),
        ({"exchange": "coinbase", "lines": ["a\0b"]}, {"lines": {"0": ["Null characters are not allowed."]}}),
        (["DOGE"], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
    ],
)
def test_a_wrong_list_is_an_error_and_adds_nothing(client: Client, body: object, expected: dict[str, Any]) -> None:
    assert send(client, "post", SYMBOLS, body) == (400, expected)
    assert UserSymbol.objects.count() == 0


def test_the_list_needs_the_same_queries_for_more_symbols(mike: User, client: Client, django_assert_num_queries) -> None:
    add(mike, "BTC-USD", "ETH-USD", "SOL-USD", "DOGE-USD", "PEPE-USD")
    hold(mike, "SOL", 3.0)
    with django_assert_num_queries(8):  # session, user, the user's rights, those of the groups, added, held, symbols, figures
        assert len(client.get(SYMBOLS).json()) == 5


# Positions


def test_a_position_is_entered_by_hand(mike: User, client: Client) -> None:
    with hosted("coinbase") as commands:
        status, row = send(client, "post", POSITIONS, {"exchange": "coinbase", "asset": "doge", "quantity": 4})
    assert row.pop("updated_at").endswith("Z")
    expected = {
        "id": Position.objects.get(user=mike).pk,
        "exchange_id": "coinbase",
        "asset": "DOGE",
        "quantity": 4.0,
        "by_hand": True,
        "symbol": "DOGE-USD",
        "value": 1.0,
        "watched": True,
    }
    assert (status, row, commands) == (201, expected, [("coinbase", "reload", "mike")])
    (listed,) = client.get(POSITIONS).json()
    assert {name: listed[name] for name in expected} == expected


def test_ones_own_positions_are_shown_the_most_valuable_first_dust_and_dollars_too(mike: User, client: Client) -> None:
    for asset, quantity in (("DOGE", 4.0), ("SOL", 3.0), ("USDT", 50.0), ("STAKED", 1.0)):
        hold(mike, asset, quantity)
    hold(person("kaia"), "BTC", 1.0)
    wants.symbols_add(user=mike, exchange=exchange(), lines=["PEPE"])

    assert [(row["asset"], row["symbol"], row["value"], row["watched"]) for row in client.get(POSITIONS).json()] == [
        ("SOL", "SOL-USD", 60.0, True),
        ("USDT", "", 50.0, False),
        ("DOGE", "DOGE-USD", 1.0, False),
        ("STAKED", "", None, False),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"asset": "DOG"}, {"asset": ["Not listed here. Nearest: DOGE-USD."]}),
        ({"asset": ""}, {"asset": ["This field may not be blank."]}),
        ({"quantity": 0}, {"quantity": ["Ensure this value is greater than or equal to 1e-18."]}),
        ({"quantity": -4}, {"quantity": ["Ensure this value is greater than or equal to 1e-18."]}),
        ({"quantity": "many"}, {"quantity": ["A valid number is required."]}),
        ({"exchange": "mtgox"}, {"exchange": [f"unknown exchange 'mtgox'; known: {KNOWN}"]}),
    ],
)
def test_a_wrong_position_is_an_error_and_is_not_noted(client: Client, change: dict[str, Any], expected: dict[str, Any]) -> None:
    assert send(client, "post", POSITIONS, {"exchange": "coinbase", "asset": "DOGE", "quantity": 1, **change}) == (400, expected)
    assert Position.objects.count() == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_a_quantity_that_is_no_number_is_refused(client: Client, number: str) -> None:
    body = f'{{"exchange": "coinbase", "asset": "DOGE", "quantity": {number}}}'
    assert client.post(POSITIONS, body, content_type="application/json").status_code == 400
    assert Position.objects.count() == 0


def test_only_ones_own_and_what_was_entered_by_hand_is_removed(mike: User, client: Client) -> None:
    noted, was_read = hold(mike, "DOGE", 4.0, by_hand=True), hold(mike, "SOL", 3.0)
    kaias = hold(person("kaia"), "SOL", 3.0, by_hand=True)
    missing = (404, {"detail": "There is no position of yours with that number that was entered by hand."})
    assert send(client, "delete", f"{POSITIONS}{noted.pk}/") == (200, {"ok": True, "message": "Removed."})
    assert [send(client, "delete", f"{POSITIONS}{pk}/") for pk in (noted.pk, was_read.pk, kaias.pk)] == [missing] * 3
    assert set(Position.objects.all()) == {was_read, kaias}


@pytest.mark.parametrize(("ok", "said"), [(True, "positions done"), (False, "positions refused")])
def test_positions_are_read_when_asked(client: Client, ok: bool, said: str) -> None:
    with hosted("coinbase", ok=ok) as commands:
        assert send(client, "post", f"{POSITIONS}sync/", {"exchange": "coinbase"}) == (200, {"ok": ok, "message": said})
    assert commands == [("coinbase", "positions", "mike")]


def test_positions_that_nobody_can_read_say_why(mike: User, client: Client) -> None:
    assert send(client, "post", f"{POSITIONS}sync/", {"exchange": "coinbase"}) == (200, {"ok": False, "message": NO_PROCESS})


def test_a_key_that_failed_is_no_success_whatever_the_host_says(mike: User, client: Client) -> None:
    UserExchange.objects.create(user=mike, exchange_id="coinbase", key_error="HTTP 401", key_state="failed")
    with hosted("coinbase"):
        assert send(client, "post", f"{POSITIONS}sync/", {"exchange": "coinbase"})[1]["ok"] is False


# Exchanges


def own_exchange(exchange_id: str, **changes: object) -> dict[str, Any]:
    default = {
        "watch": True,
        "own": False,
        "share": True,
        "taker_fee": None,
        "published_taker_fee": str(exchange(exchange_id).taker_fee),
        "key_state": "none",
        "key_error": "",
        "key_checked_at": None,
    }
    return {"exchange_id": exchange_id, **default, **changes}


def test_every_active_exchange_is_there_with_what_one_set(mike: User, client: Client) -> None:
    more = {"api_key": "canary-key", "api_secret": "canary-secret", "key_state": "failed", "key_error": "HTTP 401", "key_checked_at": 5}
    UserExchange.objects.create(user=mike, exchange_id="coinbase", is_default=True, share_overflow=False, **more)
    UserExchange.objects.create(user=person("kaia"), exchange_id="binance", watch=False)
    one = exchange("binance-us")
    one.active = False
    one.save()
    answer = client.get(EXCHANGES)

    assert answer.json() == [
        own_exchange("binance"),
        own_exchange("coinbase", own=True, share=False, key_state="failed", key_error="HTTP 401", key_checked_at=5),
        own_exchange("kraken"),
        own_exchange("binance-sandbox"),
        own_exchange("coinbase-sandbox"),
        own_exchange("kraken-sandbox"),
    ]
    assert "canary" not in answer.text


def test_what_is_set_of_an_exchange_is_answered_whole(client: Client) -> None:
    assert send(client, "patch", f"{EXCHANGES}binance/", {"own": True, "share": False}) == (
        200,
        own_exchange("binance", own=True, share=False),
    )
    assert send(client, "patch", f"{EXCHANGES}coinbase/", {"own": True, "watch": False}) == (
        200,
        own_exchange("coinbase", own=True, watch=False),
    )
    assert client.get(EXCHANGES).json()[0] == own_exchange("binance", share=False)


def test_a_fee_of_ones_own_is_set_kept_and_taken_back(client: Client) -> None:
    url = f"{EXCHANGES}binance/"
    assert send(client, "patch", url, {"taker_fee": "0.000750"}) == (200, own_exchange("binance", taker_fee="0.000750"))
    assert send(client, "patch", url, {"share": False})[1]["taker_fee"] == "0.000750", "what is not named stays"
    assert send(client, "patch", url, {"taker_fee": None})[1]["taker_fee"] is None


@pytest.mark.parametrize(
    ("fee", "said"),
    [
        ("-0.1", "Ensure this value is greater than or equal to 0."),
        ("1.1", "Ensure this value is less than or equal to 1."),
        ("much", "A valid number is required."),
    ],
)
def test_a_wrong_fee_is_an_error(client: Client, fee: str, said: str) -> None:
    assert send(client, "patch", f"{EXCHANGES}binance/", {"taker_fee": fee}) == (400, {"taker_fee": [said]})


def test_a_key_is_not_stored_over_the_api(mike: User, client: Client) -> None:
    send(client, "patch", f"{EXCHANGES}binance/", {"own": True, "api_key": "k", "api_secret": "s", "key_state": "works"})
    row = UserExchange.objects.get(user=mike)
    assert (row.is_default, row.api_key, row.api_secret, row.key_state) == (True, "", "", "none")


@pytest.mark.parametrize(
    ("url", "body", "status", "expected"),
    [
        (f"{EXCHANGES}binance/", {"watch": "maybe"}, 400, {"watch": ["Must be a valid boolean."]}),
        (f"{EXCHANGES}mtgox/", {"watch": True}, 404, {"detail": f"unknown exchange 'mtgox'; known: {KNOWN}"}),
    ],
)
def test_a_wrong_change_of_an_exchange_is_an_error(client: Client, url: str, body: object, status: int, expected: object) -> None:
    assert send(client, "patch", url, body) == (status, expected)
    assert UserExchange.objects.count() == 0


# Settings

DEFAULTS = {
    "region": "",
    "time_zone": "",
    "timeframes": ["5m", "15m", "1h", "4h", "1d"],
    "minimum_position_value": 10.0,
    "show_moves": True,
    "theme": "dark",
    "palette": "standard",
}


def test_settings_begin_with_the_defaults_and_change_one_by_one(client: Client) -> None:
    assert client.get(SETTINGS).json() == DEFAULTS
    changed = {**DEFAULTS, "region": "DE", "timeframes": ["1h", "4h"]}
    assert send(client, "patch", SETTINGS, {"region": "DE", "timeframes": ["1h", "4h"]}) == (200, changed)
    assert send(client, "patch", SETTINGS, {"theme": "auto"}) == (200, {**changed, "theme": "auto"})
    assert client.get(SETTINGS).json() == {**changed, "theme": "auto"}
    assert client_of(person("kaia", group="viewer")).get(SETTINGS).json() == DEFAULTS


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"region": "us"}, {"region": ["Write a two-letter country code in capitals, e.g. US."]}),
        (
            {"time_zone": "Berlin"},
            {"time_zone": ["'Berlin' is not a time zone: use a name such as Europe/Berlin or America/New_York."]},
        ),
        ({"timeframes": ["1m"]}, {"timeframes": {"0": ['"1m" is not a valid choice.']}}),
        ({"timeframes": []}, {"timeframes": ["Ensure this field has at least 1 elements."]}),
        ({"timeframes": ["5m", "5m"]}, {"timeframes": ["A timeframe stands there twice."]}),
        ({"minimum_position_value": -1}, {"minimum_position_value": ["Ensure this value is greater than or equal to 0."]}),
        ({"theme": "pink"}, {"theme": ['"pink" is not a valid choice.']}),
        ({"palette": None}, {"palette": ["This field may not be null."]}),
        ([], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
    ],
)
def test_a_wrong_setting_is_an_error_and_changes_nothing(client: Client, body: object, expected: object) -> None:
    assert send(client, "patch", SETTINGS, body) == (400, expected)
    assert client.get(SETTINGS).json() == DEFAULTS
