"""The pages "Symbols" and "Settings" as the server writes them; in a browser: tests/test_pages_browser.py."""

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
