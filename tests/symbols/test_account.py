"""What users set, and that pages and connectors follow at once."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection

from exchanges.control import Answer
from exchanges.models import KeyState, Preferences, UserExchange
from symbols import account, wants
from symbols.models import Position
from symbols.services import symbols_choose
from tests import seeds
from tests.hosting import hosted
from tests.people import person
from tests.symbols.wanting import add, exchange, hold, listing, symbol_of, woken

DEFAULTS = {
    "region": "",
    "time_zone": "",
    "timeframes": ["5m", "15m", "1h", "4h", "1d"],
    "minimum_position_value": 10,
    "show_moves": True,
    "theme": "dark",
    "palette": "standard",
}
NO_PROCESS = "no process hosts coinbase: start one with `python manage.py runexchange coinbase`"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def mike() -> User:
    return person("mike", group="trader")


def preferences(user: User) -> dict[str, Any]:
    row = account.preferences_of(user)
    return {name: getattr(row, name) for name in DEFAULTS}


def use(user: User, exchange_id: str = "coinbase") -> dict[str, Any]:
    return UserExchange.objects.filter(user=user, exchange_id=exchange_id).values("watch", "is_default", "share_overflow").get()


# Preferences


def test_who_set_nothing_has_the_defaults_and_no_row(mike: User) -> None:
    assert preferences(mike) == DEFAULTS
    assert Preferences.objects.count() == 0


def test_what_is_set_changes_and_the_rest_stays(mike: User) -> None:
    with woken(mike) as said:
        account.preferences_set(user=mike, region="DE", theme="light")
    assert (preferences(mike), said) == ({**DEFAULTS, "region": "DE", "theme": "light"}, [b"{}"])

    account.preferences_set(user=mike, time_zone="Europe/Berlin", timeframes=["1h"], palette="colour-blind")
    assert preferences(mike) == {
        **DEFAULTS,
        "region": "DE",
        "theme": "light",
        "time_zone": "Europe/Berlin",
        "timeframes": ["1h"],
        "palette": "colour-blind",
    }
    assert preferences(person("kaia")) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("region", "us", "Write a two-letter country code in capitals, e.g. US."),
        ("region", "USA", "Write a two-letter country code in capitals, e.g. US."),
        ("time_zone", "Berlin", "'Berlin' is not a time zone: use a name such as Europe/Berlin or America/New_York."),
        ("time_zone", "../../etc/passwd", "'../../etc/passwd' is not a time zone: use a name such as Europe/Berlin or America/New_York."),
        ("timeframes", [], "This field cannot be blank."),
        ("timeframes", ["1m"], "Choose at least one of 5m, 15m, 1h, 4h, 1d."),
        ("timeframes", ["5m", "5m"], "A timeframe stands there twice."),
        ("minimum_position_value", -1, "Ensure this value is greater than or equal to 0."),
        ("theme", "pink", "Value 'pink' is not a valid choice."),
        ("palette", "pink", "Value 'pink' is not a valid choice."),
    ],
)
def test_a_wrong_value_says_so_and_changes_nothing(mike: User, name: str, value: object, said: str) -> None:
    account.preferences_set(user=mike, region="DE")
    with woken(mike) as heard, pytest.raises(ValidationError) as error:
        account.preferences_set(user=mike, **{"theme": "light", name: value})

    assert error.value.message_dict[name][0] == said
    assert (preferences(mike), heard) == ({**DEFAULTS, "region": "DE"}, [])


def test_another_minimum_is_another_pool_where_something_is_held(mike: User) -> None:
    listing()
    hold(mike, "DOGE", 20.0)
    with hosted("coinbase", "binance") as commands:
        account.preferences_set(user=mike, minimum_position_value=5.0)
        assert (commands, symbol_of("DOGE-USD").tier) == ([("coinbase", "reload", "mike")], 2)
        account.preferences_set(user=mike, minimum_position_value=5.0, theme="light")
        assert len(commands) == 1, "only another minimum disturbs a connector"
        account.preferences_set(user=mike, minimum_position_value=5.01)
    assert (len(commands), symbol_of("DOGE-USD").tier) == (2, None)


# Exchanges


def test_what_is_set_of_an_exchange_changes_and_the_rest_stays(mike: User) -> None:
    assert list(account.exchanges_of(mike)) == []
    with woken(mike) as said:
        account.exchange_set(user=mike, exchange=exchange(), own=True)
        account.exchange_set(user=mike, exchange=exchange(), share=False)
        account.exchange_set(user=mike, exchange=exchange(), watch=False)

    assert use(mike) == {"watch": False, "is_default": True, "share_overflow": False}
    assert said == [b"{}"] * 3


def test_one_buys_at_one_exchange(mike: User) -> None:
    kaia = person("kaia")
    for user in (mike, kaia):
        account.exchange_set(user=user, exchange=exchange("coinbase"), own=True)
    account.exchange_set(user=mike, exchange=exchange("binance"), own=True)

    assert (use(mike)["is_default"], use(mike, "binance")["is_default"], use(kaia)["is_default"]) == (False, True, True)
    account.exchange_set(user=mike, exchange=exchange("binance"), own=False)
    assert not UserExchange.objects.filter(user=mike, is_default=True).exists()


def test_what_a_user_no_longer_watches_leaves_the_pool_and_comes_back(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    hold(mike, "SOL", 100.0)
    symbols_choose(exchange=exchange())
    with hosted("coinbase") as commands:
        account.exchange_set(user=mike, exchange=exchange(), watch=False)
        assert [symbol_of(name).tier for name in ("DOGE-USD", "SOL-USD")] == [None, None]
        account.exchange_set(user=mike, exchange=exchange(), watch=True)

    assert [symbol_of(name).tier for name in ("DOGE-USD", "SOL-USD")] == [2, 2]
    assert commands == [("coinbase", "reload", "mike")] * 2


@pytest.mark.parametrize(("wants_something", "change", "disturbed"), [(True, "share", 1), (True, "own", 0), (False, "share", 0)])
def test_a_connector_is_told_only_what_concerns_it(mike: User, wants_something: bool, change: str, disturbed: int) -> None:
    listing()
    if wants_something:
        add(mike, "DOGE-USD")
    with hosted("coinbase") as commands:
        account.exchange_set(user=mike, exchange=exchange(), **{change: True})

    assert commands == [("coinbase", "reload", "mike")] * disturbed


def test_an_exchange_that_is_switched_off_is_not_among_ones_own(mike: User) -> None:
    account.exchange_set(user=mike, exchange=exchange("binance"), own=True)
    one = exchange("binance")
    one.active = False
    one.save()

    assert list(account.exchanges_of(mike)) == []


# Keys


def key(user: User) -> tuple[str, str, str, str, str]:
    row = UserExchange.objects.get(user=user, exchange_id="coinbase")
    return row.api_key, row.api_secret, row.api_passphrase, row.key_state, row.key_error


def raw(user: User) -> str:
    """The whole row as the database has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM exchanges_userexchange WHERE user_id = %s", [user.pk])
        return str(cursor.fetchall())


def test_a_key_is_stored_encrypted_and_tried_at_once(mike: User) -> None:
    with hosted("coinbase") as commands, woken(mike) as said:
        answer = account.key_store(user=mike, exchange=exchange(), key=" canary-key\n", secret="canary-secret ", passphrase=" canary-words")

    assert answer == Answer(True, "positions done")
    assert key(mike) == ("canary-key", "canary-secret", "canary-words", "unchecked", "")
    assert "canary" not in raw(mike)
    assert (commands, said) == ([("coinbase", "positions", "mike")], [b"{}"])


def test_a_key_that_nobody_can_try_waits(mike: User) -> None:
    assert account.key_store(user=mike, exchange=exchange(), key="k", secret="s") == Answer(False, NO_PROCESS)
    assert key(mike) == ("k", "s", "", "unchecked", "")


def test_a_new_key_forgets_what_became_of_the_old_one(mike: User) -> None:
    account.key_store(user=mike, exchange=exchange(), key="old", secret="s")
    wants.key_checked(user_id=mike.pk, exchange=exchange(), error="HTTP 401")
    assert key(mike)[3:] == ("failed", "HTTP 401")

    account.key_store(user=mike, exchange=exchange(), key="new", secret="s")
    assert key(mike) == ("new", "s", "", "unchecked", "")
    assert UserExchange.objects.get(user=mike).key_checked_at is None


def test_a_key_keeps_what_was_set_of_the_exchange(mike: User) -> None:
    account.exchange_set(user=mike, exchange=exchange(), own=True, share=False)
    account.key_store(user=mike, exchange=exchange(), key="k", secret="s")

    assert use(mike) == {"watch": True, "is_default": True, "share_overflow": False}


def test_a_forgotten_key_takes_along_what_was_read_with_it(mike: User) -> None:
    listing()
    account.key_store(user=mike, exchange=exchange(), key="canary", secret="s")
    hold(mike, "DOGE", 1_000.0)
    noted = hold(mike, "SOL", 1.0, by_hand=True)
    elsewhere = hold(mike, "SOL", 1.0, exchange_id="binance")
    symbols_choose(exchange=exchange())
    with hosted("coinbase") as commands, woken(mike) as said:
        assert account.key_clear(user=mike, exchange=exchange()) is True

    assert key(mike) == ("", "", "", KeyState.NONE, "")
    assert set(Position.objects.all()) == {noted, elsewhere}
    assert [symbol_of(name).tier for name in ("DOGE-USD", "SOL-USD")] == [None, 2]
    assert (commands, said) == ([("coinbase", "reload", "mike")], [b"{}"])


def test_without_a_key_there_is_none_to_forget(mike: User) -> None:
    account.exchange_set(user=mike, exchange=exchange(), own=True)
    with hosted("coinbase") as commands, woken(mike) as said:
        assert [account.key_clear(user=mike, exchange=exchange(name)) for name in ("coinbase", "binance")] == [False, False]

    assert (commands, said) == ([], [])
