"""Exchange and UserExchange rows, and the rows that migrations bring."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import IntegrityError, connection, transaction

from alerts.models import AlertRule
from exchanges.models import Exchange, UserExchange
from exchanges.seeds import ROWS
from tests import seeds

SEEDED = sorted(ROWS)


@pytest.fixture(autouse=True)
def _seeded(db):
    seeds.restore()


@pytest.fixture
def mike() -> User:
    return User.objects.create_user("mike")


def messages_of(error: pytest.ExceptionInfo[ValidationError]) -> dict[str, list[str]]:
    return error.value.message_dict


def test_the_seeded_exchanges_are_those_whose_adapter_exists():
    assert sorted(Exchange.objects.values_list("pk", flat=True)) == SEEDED


@pytest.mark.parametrize("slug", SEEDED)
def test_each_seeded_row_passes_its_own_validation(slug):
    Exchange.objects.get(pk=slug).full_clean()


def test_the_seeded_figures_are_the_published_ones():
    row = Exchange.objects.filter(pk="binance").values().get()
    assert row == {
        "id": "binance",
        "name": "Binance",
        "adapter": "binance",
        "websocket_url": "wss://stream.binance.com:9443",
        "rest_url": "https://api.binance.com",
        "limits": {"rest_weight_per_minute": 6000, "connects_per_5min": 300, "messages_per_second": 5, "streams_per_connection": 1024},
        "maker_fee": Decimal("0.001"),
        "taker_fee": Decimal("0.001"),
        "geo_restrictions": {"deny": ["US"], "note": "HTTP 451 from the US: use binance-us"},
        "timeframes": ["5m", "15m", "1h", "4h", "1d"],
        "trade_url_template": "https://www.binance.com/en/trade/{base}_{quote}?type=spot",
        "top_n": 50,
        "active": True,
        "is_sandbox": False,
    }


def test_the_fees_and_limits_of_the_other_seeded_rows():
    rows = Exchange.objects.exclude(pk="binance").values_list("pk", "maker_fee", "taker_fee", "limits", "top_n")
    simulated = {"rest_weight_per_minute": 60_000, "rest_burst": 1000}
    assert sorted(rows) == [
        ("binance-sandbox", Decimal("0.001"), Decimal("0.001"), simulated, 20),
        ("binance-us", Decimal("0.001"), Decimal("0.001"), {"rest_weight_per_minute": 1200}, 50),
        ("coinbase", Decimal("0.006"), Decimal("0.012"), {"messages_per_second": 8}, 50),
        ("coinbase-sandbox", Decimal("0.006"), Decimal("0.012"), simulated, 20),
        ("kraken", Decimal("0.0025"), Decimal("0.004"), {"rest_weight_per_minute": 60, "rest_burst": 1}, 50),
        ("kraken-sandbox", Decimal("0.0025"), Decimal("0.004"), simulated, 20),
    ]


def test_seeding_again_keeps_what_a_person_changed():
    Exchange.objects.filter(pk="coinbase").update(name="Our Coinbase", top_n=10)
    Group.objects.get(name="viewer").permissions.clear()
    AlertRule.objects.update(cooldown=60)
    seeds.restore()
    assert Exchange.objects.filter(pk="coinbase").values_list("name", "top_n").get() == ("Our Coinbase", 10)
    assert Group.objects.get(name="viewer").permissions.count() == 0
    assert AlertRule.objects.values_list("name", "cooldown").get() == ("Default", 60)


@pytest.mark.parametrize(
    ("group", "may", "may_not"),
    [
        ("viewer", "exchanges.view_exchange", "exchanges.add_userexchange"),
        ("trader", "exchanges.add_userexchange", "exchanges.control_exchange"),
        ("operator", "exchanges.control_exchange", "exchanges.change_exchange"),
        ("operator", "symbols.change_symbol", "alerts.change_alertrule"),
        ("administrator", "alerts.change_alertrule", "alerts.change_alert"),
        ("administrator", "auth.change_user", "auth.change_group"),
    ],
)
def test_a_group_may_what_its_name_says(mike, group, may, may_not):
    mike.groups.add(Group.objects.get(name=group))
    assert (mike.has_perm(may), mike.has_perm(may_not)) == (True, False)


def test_an_emptied_json_field_is_an_empty_object():
    row = Exchange.objects.get(pk="binance")
    row.limits, row.geo_restrictions = None, []
    row.full_clean()
    row.save()
    assert Exchange.objects.filter(pk="binance").values_list("limits", "geo_restrictions").get() == ({}, {})


def test_the_urls_of_a_row_are_checked_as_a_whole():
    row = Exchange.objects.get(pk="coinbase-sandbox")
    row.is_sandbox = False
    with pytest.raises(ValidationError) as error:
        row.full_clean()
    assert messages_of(error) == {
        "websocket_url": ["Use wss://: only a simulated exchange may go without TLS."],
        "rest_url": ["Use https://: only a simulated exchange may go without TLS."],
    }


def test_an_unknown_adapter_is_an_error_and_never_a_default():
    with pytest.raises(LookupError, match=r"unknown adapter 'mtgox'; known: "):
        _ = Exchange(adapter="mtgox").protocol


def test_credentials_are_not_readable_in_the_database(mike):
    UserExchange.objects.create(user=mike, exchange_id="coinbase", api_key="canary-key", api_secret="canary-secret")
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key, api_secret, api_passphrase FROM exchanges_userexchange")
        stored = cursor.fetchone()
    assert [value[:3] for value in stored] == ["f1:", "f1:", ""]
    assert "canary" not in "".join(stored)
    row = UserExchange.objects.get()
    assert (row.api_key, row.api_secret, row.has_credentials) == ("canary-key", "canary-secret", True)


def test_a_lost_key_is_an_error_that_says_what_to_do(mike, settings):
    UserExchange.objects.create(user=mike, exchange_id="coinbase", api_key="canary-key")
    settings.FIELD_KEYS = ["b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItb3Q="]
    with pytest.raises(ImproperlyConfigured, match="add the old key at its end"):
        UserExchange.objects.get()


def test_a_user_has_one_row_an_exchange(mike):
    UserExchange.objects.create(user=mike, exchange_id="coinbase")
    with pytest.raises(ValidationError) as error:
        UserExchange(user=mike, exchange_id="coinbase").full_clean()
    assert messages_of(error) == {"__all__": ["This user has a row for this exchange already: change that one."]}


def test_a_user_has_at_most_one_own_exchange(mike):
    UserExchange.objects.create(user=mike, exchange_id="coinbase", is_default=True)
    second = UserExchange(user=mike, exchange_id="binance", is_default=True)
    with pytest.raises(ValidationError) as error:
        second.full_clean()
    assert messages_of(error) == {"__all__": ["This user has another own exchange: untick it there first."]}
    with pytest.raises(IntegrityError), transaction.atomic():
        second.save()


def test_two_users_may_have_the_same_own_exchange(mike):
    kaia = User.objects.create_user("kaia")
    for user in (mike, kaia):
        row = UserExchange(user=user, exchange_id="coinbase", is_default=True)
        row.full_clean()
        row.save()
    assert UserExchange.objects.filter(is_default=True).count() == 2
