"""The pages "Symbols" and "Settings" as the server writes them; in a browser: tests/test_pages_browser.py."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exchanges.models import Preferences, UserExchange
from tests import seeds
from tests.people import client_of, person


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def mike() -> User:
    return person("mike", group="trader")


@pytest.fixture
def client(mike: User) -> Client:
    return client_of(mike)


def test_a_secret_never_comes_back_and_the_key_stays(client: Client):
    sent = {
        "section": "key",
        "exchange": "coinbase",
        "key-coinbase-key": "x" * 2_001,
        "key-coinbase-secret": "hush-1",
        "key-coinbase-passphrase": "hush-2",
    }
    answer = client.post("/settings/", sent)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "x" * 2_001 in page
    assert "hush" not in page
    assert "Nothing was stored." in page
    assert not UserExchange.objects.exclude(api_key="").exists()


def test_what_was_typed_stays_on_an_error(client: Client):
    answer = client.post(
        "/settings/", {"section": "preferences", "region": "USA", "minimum_position_value": "77", "theme": "light", "palette": "standard"}
    )
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="USA"' in page
    assert 'value="77"' in page
    assert "Choose at least one timeframe." in page
    assert not Preferences.objects.exists()


def test_who_buys_nowhere_sees_so(client: Client, mike: User):
    nowhere = 'aria-label="I buy on none of them" checked'
    assert nowhere in client.get("/settings/").content.decode()
    UserExchange.objects.create(user=mike, exchange_id="kraken", is_default=True)
    assert nowhere not in client.get("/settings/").content.decode()


def test_the_symbols_page_begins_with_the_own_exchange(client: Client, mike: User):
    assert 'data-own=""' in client.get("/symbols/").content.decode()
    UserExchange.objects.create(user=mike, exchange_id="kraken", is_default=True)
    assert 'data-own="kraken"' in client.get("/symbols/").content.decode()


@pytest.mark.parametrize(("group", "may"), [("viewer", "no no no"), ("trader", "yes no no"), ("operator", "yes yes yes")])
def test_the_symbols_page_offers_what_a_role_may(group: str, may: str):
    page = client_of(person("somebody", group=group)).get("/symbols/").content.decode()
    add, decide, control = may.split()
    assert f'data-may-add="{add}" data-may-decide="{decide}" data-may-control="{control}"' in page
    assert ('id="paste"' in page) == (add == "yes")
    assert ('id="relist"' in page) == (control == "yes")


# The fee of one's own


def sent(**fees: str) -> dict[str, str]:
    watched = {f"{exchange_id}-watch": "on" for exchange_id in ("binance", "coinbase")}
    return {"section": "exchanges", "own": "binance", **watched, **{f"{name}-fee": fee for name, fee in fees.items()}}


def test_a_fee_in_per_cent_is_stored_as_a_share_and_taken_back(mike: User, client: Client):
    assert 'placeholder="0.1"' in client.get("/settings/").text, "the published fee"
    assert client.post("/settings/", sent(binance="0.075")).status_code == 302
    assert UserExchange.objects.get(user=mike, exchange_id="binance").taker_fee == Decimal("0.00075")
    assert 'value="0.075"' in client.get("/settings/").text

    assert client.post("/settings/", sent(binance="")).status_code == 302
    assert UserExchange.objects.get(user=mike, exchange_id="binance").taker_fee is None


def test_a_fee_of_nothing_is_a_fee(mike: User, client: Client):
    client.post("/settings/", sent(binance="0"))
    assert UserExchange.objects.get(user=mike, exchange_id="binance").taker_fee == 0
    assert 'value="0"' in client.get("/settings/").text


@pytest.mark.parametrize(
    ("fee", "said"), [("101", "less than or equal to 100"), ("-1", "greater than or equal to 0"), ("a lot", "per cent")]
)
def test_a_wrong_fee_says_so_keeps_what_was_typed_and_changes_nothing(mike: User, client: Client, fee: str, said: str):
    answer = client.post("/settings/", sent(coinbase=fee))
    assert answer.status_code == 400
    assert said in answer.text
    assert f'value="{fee}"' in answer.text
    assert 'name="own" value="binance" aria-label="I buy on Binance" checked' in answer.text
    assert not UserExchange.objects.filter(user=mike).exists()


def test_moves_elsewhere_can_be_switched_off(mike: User, client: Client):
    client.post(
        "/settings/",
        {"section": "preferences", "minimum_position_value": "10", "timeframes": ["1h"], "theme": "dark", "palette": "standard"},
    )
    assert Preferences.objects.get(user=mike).show_moves is False
