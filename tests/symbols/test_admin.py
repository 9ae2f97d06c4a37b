"""Symbols in the admin."""

import html
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages

from symbols.models import Coin, Symbol
from symbols.services import OTHER_WORLD, symbol_set_coin
from tests import seeds
from tests.hosting import hosted
from tests.people import browser

LIST = "/admin/symbols/symbol/"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def btc() -> Symbol:
    return Symbol.objects.create(
        exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", rank=1, tier=1, quote_volume_24h=1_234_567.0
    )


@pytest.fixture
def eth() -> Symbol:
    return Symbol.objects.create(exchange_id="binance-sandbox", symbol="ETHUSDT", base="ETH", quote="USDT", policy="pinned", tradable=False)


def listed(html: str) -> list[str]:
    return re.findall(r"/symbols/symbol/(\d+)/change/", html)


def said(response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


@pytest.mark.parametrize(("who", "status"), [("anonymous", 302), ("viewer", 200), ("trader", 200), ("operator", 200), ("superuser", 200)])
def test_who_sees_the_list(who, status):
    assert browser(who).get(LIST).status_code == status


@pytest.mark.parametrize("who", ["viewer", "operator", "superuser"])
def test_nobody_adds_a_symbol(who):
    assert browser(who).get(f"{LIST}add/").status_code == 403


def test_the_list_says_what_matters(btc, eth):
    html = browser("viewer").get(LIST).text
    assert 'title="1,234,567.00 USD">1.2 M USD' in html
    assert "Binance Sandbox" in html
    assert "SIMULATED" in html


def test_a_symbol_leads_to_its_chart(btc):
    client = browser("viewer")
    for page in (LIST, f"{LIST}{btc.pk}/change/"):
        assert 'href="/symbols/coinbase/BTC-USD/"' in client.get(page).text


def test_unranked_symbols_come_last(btc):
    alias = Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USDC", base="BTC", quote="USDC")
    assert listed(browser("viewer").get(LIST).text) == [str(btc.pk), str(alias.pk)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=eth", ["eth"]),
        ("?exchange__id__exact=coinbase", ["btc"]),
        ("?tier__exact=1", ["btc"]),
        ("?policy__exact=pinned", ["eth"]),
        ("?tradable__exact=0", ["eth"]),
        ("?q=nothing", []),
    ],
)
def test_the_list_can_be_searched_and_filtered(btc, eth, query, expected):
    known = {"btc": str(btc.pk), "eth": str(eth.pk)}
    assert listed(browser("viewer").get(LIST + query).text) == [known[name] for name in expected]


def test_the_list_needs_the_same_queries_for_more_symbols(django_assert_num_queries):
    client = browser("superuser")
    client.get(LIST)
    for number in range(60):
        Symbol.objects.create(exchange_id="coinbase", symbol=f"A{number}-USD", base=f"A{number}", quote="USD")
    with django_assert_num_queries(6):
        client.get(LIST)


@pytest.mark.parametrize(("action", "policy"), [("always", "pinned"), ("never", "excluded"), ("by_volume", "auto")])
def test_an_action_decides_about_the_selected_symbols(btc, eth, action, policy):
    Symbol.objects.filter(pk=btc.pk).update(policy="excluded" if policy != "excluded" else "auto")
    with hosted("coinbase") as commands:
        browser("operator").post(LIST, {"action": action, "_selected_action": [btc.pk]})
    btc.refresh_from_db()
    eth.refresh_from_db()
    assert (btc.policy, eth.policy) == (policy, "pinned")
    assert commands == [("coinbase", "reload", "operator")]
    assert LogEntry.objects.values_list("object_id", flat=True).get() == str(btc.pk)


def test_an_action_tells_what_the_connectors_answered(btc, eth):
    with hosted("coinbase"):
        response = browser("operator").post(LIST, {"action": "never", "_selected_action": [btc.pk, eth.pk]})
    assert said(response) == [
        "2 now watched: never. binance-sandbox: no process hosts binance-sandbox: start one with "
        "`python manage.py runexchange binance-sandbox`; coinbase: reload done"
    ]


def test_an_action_that_changes_nothing_says_so(eth):
    response = browser("operator").post(LIST, {"action": "always", "_selected_action": [eth.pk]})
    assert said(response) == ["Nothing changed: watched “always” already."]
    assert LogEntry.objects.count() == 0


def test_an_action_needs_the_right_to_change_symbols(btc):
    browser("trader").post(LIST, {"action": "never", "_selected_action": [btc.pk]})
    btc.refresh_from_db()
    assert btc.policy == "auto"


def test_the_form_changes_the_policy_only_and_after_its_transaction(btc, django_capture_on_commit_callbacks):
    client = browser("operator")
    with hosted("coinbase") as commands, django_capture_on_commit_callbacks(execute=True):
        response = client.post(f"{LIST}{btc.pk}/change/", {"policy": "excluded", "symbol": "X", "tier": "", "price": "5"})
        assert commands == []
    assert response.status_code == 302
    assert commands == [("coinbase", "reload", "operator")]
    btc.refresh_from_db()
    assert (btc.policy, btc.symbol, btc.price) == ("excluded", "BTC-USD", None)


def test_a_form_that_changes_nothing_disturbs_nobody(btc, django_capture_on_commit_callbacks):
    with hosted("coinbase") as commands, django_capture_on_commit_callbacks(execute=True):
        browser("operator").post(f"{LIST}{btc.pk}/change/", {"policy": "auto"})
    assert commands == []


def test_an_unknown_policy_is_an_error_of_the_form(btc):
    response = browser("operator").post(f"{LIST}{btc.pk}/change/", {"policy": "maybe"})
    assert "Select a valid choice. maybe is not one of the available choices." in response.text


# The coin


def coin_of(symbol: Symbol) -> tuple[str | None, bool]:
    symbol.refresh_from_db()
    return symbol.coin and symbol.coin.code, symbol.coin_fixed


@pytest.mark.parametrize(("code", "simulated", "status", "found"), [("XBT", False, 302, ("XBT", True)), ("XBT", True, 200, (None, False))])
def test_which_coin_a_symbol_is_can_be_said_by_hand(btc, code, simulated, status, found):
    coin = Coin.objects.create(code=code, simulated=simulated)
    client = browser("superuser")
    url = f"{LIST}{btc.pk}/change/"
    answer = client.post(url, {"policy": "auto", "coin": coin.pk})
    assert answer.status_code == status
    assert (OTHER_WORLD in html.unescape(answer.text)) == (status == 200)
    assert coin_of(btc) == found


def test_without_a_coin_it_is_that_of_the_base_asset_again(btc):
    symbol_set_coin(symbol=btc, coin=Coin.objects.create(code="XBT", simulated=False), by="mike")
    assert browser("superuser").post(f"{LIST}{btc.pk}/change/", {"policy": "auto", "coin": ""}).status_code == 302
    assert coin_of(btc) == ("BTC", False)
