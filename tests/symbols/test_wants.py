"""What users add and hold: each line gets a verdict, and what is wanted is watched at once."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from exchanges.control import Answer
from exchanges.events import Balance
from exchanges.models import KeyState, Preferences, UserExchange
from livermore import keys
from symbols import wants
from symbols.models import Position, Symbol, UserSymbol
from symbols.services import symbols_choose
from symbols.wants import Own, UnknownAsset, Verdict
from tests import seeds
from tests.hosting import hosted
from tests.people import person
from tests.symbols.wanting import BTC, ETH, LISTED, add, exchange, hold, info, listing, symbol_of, woken

NO_PROCESS = "no process hosts coinbase: start one with `python manage.py runexchange coinbase`"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def mike() -> User:
    return person("mike", group="trader")


def added(user: User, *lines: str) -> list[Verdict]:
    return wants.symbols_add(user=user, exchange=exchange(), lines=lines)


def messages(user: User, *lines: str) -> list[tuple[str, str]]:
    return [(verdict.code, verdict.message) for verdict in added(user, *lines)]


def of(user: User) -> list[str]:
    """What is on the user's list."""
    return sorted(UserSymbol.objects.filter(user=user).values_list("symbol__symbol", flat=True))


# Verdicts


@pytest.mark.parametrize("text", ["DOGE-USD", "DOGE", "doge", " doge-usd ", "DOGE/USD", "DOGEUSD", "doge_usd"])
def test_a_symbol_is_found_however_it_is_spelled(mike: User, text: str) -> None:
    listing()
    said = "DOGE-USD: added." if text == "DOGE-USD" else f"{text.strip()} is listed as DOGE-USD: added."

    assert added(mike, text) == [Verdict(text.strip(), "added", said, "DOGE-USD")]
    assert of(mike) == ["DOGE-USD"]
    assert symbol_of("DOGE-USD").tier == 2


def test_what_is_added_already_is_there(mike: User) -> None:
    listing()
    assert [verdict.code for verdict in added(mike, "DOGE", "doge-usd")] == ["added", "there"]
    assert added(mike, "DOGE") == [Verdict("DOGE", "there", "DOGE is listed as DOGE-USD: in your list already.", "DOGE-USD")]
    assert of(mike) == ["DOGE-USD"]


def test_what_is_added_on_an_exchange_one_does_not_watch_says_when_it_will_show(mike: User) -> None:
    listing()
    UserExchange.objects.update_or_create(user=mike, exchange_id="coinbase", defaults={"watch": False})
    said = "You do not watch Coinbase Advanced Trade: it shows once you do, in the settings."
    assert messages(mike, "DOGE-USD", "BTC-USD", "XYZZY") == [
        ("added", f"DOGE-USD: added. {said}"),
        ("shared", f"BTC-USD: in Tier 1 already, so it is watched for everybody; it stays yours if it leaves. {said}"),
        ("unknown", "Not listed here."),
    ]


def test_what_everybody_sees_is_added_too_and_says_so(mike: User) -> None:
    listing()
    said = "BTC-USD: in Tier 1 already, so it is watched for everybody; it stays yours if it leaves."
    assert added(mike, "BTC-USD") == [Verdict("BTC-USD", "shared", said, "BTC-USD")]

    listing(*[one for one in LISTED if one is not BTC], info("BTC-USD", 1.0, 60_000.0))
    assert (of(mike), symbol_of("BTC-USD").tier) == (["BTC-USD"], 2)


@pytest.mark.parametrize(
    ("text", "near"),
    [("DOG", "DOGE-USD"), ("DOGGE", "DOGE-USD"), ("DOGE-EUR", "DOGE-USD"), ("PEPE2", "PEPE-USD"), ("BT", "BTC-USD")],
)
def test_what_is_not_listed_gets_the_nearest_names(mike: User, text: str, near: str) -> None:
    listing()
    assert added(mike, text) == [Verdict(text, "unknown", f"Not listed here. Nearest: {near}.")]
    assert of(mike) == []


@pytest.mark.parametrize("text", ["XYZZY", "???", "💎", "'; DROP TABLE symbols; --", "\0"])
def test_what_is_like_nothing_is_not_listed(mike: User, text: str) -> None:
    listing()
    assert messages(mike, text) == [("unknown", "Not listed here.")]


def test_several_names_come_the_larger_ones_first(mike: User) -> None:
    listing(*LISTED, info("SOLV-USD", 5.0), info("SOLAR-USD", 6.0))
    assert messages(mike, "SO") == [("unknown", "Not listed here. Nearest: SOL-USD, SOLV-USD, SOLAR-USD.")]


def test_an_alias_leads_to_the_symbol_whose_book_it_shows(mike: User) -> None:
    listing(*LISTED, info("DOGE-USDC", 600.0, alias_of="DOGE-USD"))
    said = "DOGE-USDC shows the book of DOGE-USD: added."
    assert added(mike, "DOGE-USDC") == [Verdict("DOGE-USDC", "added", said, "DOGE-USD")]
    assert of(mike) == ["DOGE-USD"]


@pytest.mark.parametrize(("status", "word"), [("cancel_only", "cancel_only"), ("", "halted")])
def test_what_is_not_traded_is_not_added(mike: User, status: str, word: str) -> None:
    listing(BTC, ETH, info("DOGE-USD", 600.0, tradable=False, status=status))
    said = f"DOGE is listed as DOGE-USD; the exchange does not trade it now ({word})."
    assert added(mike, "DOGE") == [Verdict("DOGE", "halted", said, "DOGE-USD")]
    assert of(mike) == []


def test_what_an_operator_excluded_is_not_added(mike: User) -> None:
    listing()
    Symbol.objects.filter(symbol="DOGE-USD").update(policy="excluded")
    assert added(mike, "DOGE-USD") == [Verdict("DOGE-USD", "excluded", "DOGE-USD; an operator has excluded it here.", "DOGE-USD")]
    assert of(mike) == []


def test_a_list_has_a_limit(mike: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wants, "MOST_ADDED", 2)
    listing()
    full = "SOL is listed as SOL-USD; your list is full with 2: remove some first."
    assert [(verdict.code, verdict.message) for verdict in added(mike, "DOGE-USD", "PEPE-USD", "SOL", "DOGE-USD")] == [
        ("added", "DOGE-USD: added."),
        ("added", "PEPE-USD: added."),
        ("full", full),
        ("there", "DOGE-USD: in your list already."),
    ]
    assert of(mike) == ["DOGE-USD", "PEPE-USD"]

    wants.symbols_remove(user=mike, ids=[symbol_of("PEPE-USD").pk])
    assert [verdict.code for verdict in added(mike, "SOL")] == ["added"]


@pytest.mark.parametrize("text", ["", "   ", "\t", "X" * 81])
def test_a_line_without_a_symbol_says_what_to_write(mike: User, text: str) -> None:
    listing()
    assert added(mike, text) == [Verdict(text[:80], "empty", "Write a symbol, e.g. DOGE or DOGE-USD.")]


def test_a_bulk_paste_gets_a_verdict_a_line_and_disturbs_the_connector_once(mike: User) -> None:
    listing()
    with hosted("coinbase") as commands, woken(mike) as said:
        verdicts = added(mike, "DOGE", "", "dgoe", "BTC-USD", "DOGE-USD", "PEPE-USD")

    assert [(verdict.text, verdict.code, verdict.ok) for verdict in verdicts] == [
        ("DOGE", "added", True),
        ("", "empty", False),
        ("dgoe", "unknown", False),
        ("BTC-USD", "shared", True),
        ("DOGE-USD", "there", True),
        ("PEPE-USD", "added", True),
    ]
    assert of(mike) == ["BTC-USD", "DOGE-USD", "PEPE-USD"]
    assert (commands, said) == ([("coinbase", "reload", "mike")], [b"{}"])


def test_a_paste_that_adds_nothing_disturbs_nobody(mike: User) -> None:
    listing()
    added(mike, "DOGE")
    with hosted("coinbase") as commands, woken(mike) as said:
        added(mike, "DOGE", "nothing", "")

    assert (commands, said) == ([], [])


def test_what_one_user_adds_is_not_on_the_list_of_another(mike: User) -> None:
    listing()
    kaia = person("kaia", group="trader")
    assert [verdict.code for verdict in added(mike, "DOGE")] == [verdict.code for verdict in added(kaia, "DOGE")] == ["added"]
    assert (of(mike), of(kaia)) == (["DOGE-USD"], ["DOGE-USD"])


def test_without_redis_it_is_added_all_the_same(mike: User, valkey) -> None:
    listing()
    valkey.kill()
    assert [verdict.code for verdict in added(mike, "DOGE")] == ["added"]
    assert (of(mike), symbol_of("DOGE-USD").tier) == (["DOGE-USD"], 2)


# The exchange's own list


def grown_old() -> None:
    Symbol.objects.update(updated_at=timezone.now() - timedelta(seconds=601))


def test_an_old_list_is_asked_for_again_first(mike: User) -> None:
    listing()
    with hosted("coinbase") as commands:
        added(mike, "XYZZY")
        grown_old()
        added(mike, "XYZZY")

    assert commands == [("coinbase", "resync", "mike")]


def test_an_old_list_that_cannot_be_asked_for_again_says_so_where_it_matters(mike: User) -> None:
    listing()
    grown_old()
    unknown = f"Not listed here. Nearest: DOGE-USD. (Its list could not be asked for again: {NO_PROCESS}.)"
    assert messages(mike, "DOG", "DOGE-USD") == [("unknown", unknown), ("added", "DOGE-USD: added.")]


def test_an_exchange_that_was_never_asked_says_why(mike: User) -> None:
    assert messages(mike, "DOGE") == [("unknown", f"The symbols of this exchange are not known yet: {NO_PROCESS}.")]
    with hosted("coinbase"):
        assert messages(mike, "DOGE") == [("unknown", "The symbols of this exchange are not known yet: it has not been asked.")]


# Removing


def test_what_is_removed_leaves_list_and_pool(mike: User) -> None:
    listing()
    added(mike, "DOGE", "PEPE")
    with hosted("coinbase") as commands, woken(mike) as said:
        assert wants.symbols_remove(user=mike, ids=[symbol_of("DOGE-USD").pk]) == ["DOGE-USD"]

    assert (of(mike), symbol_of("DOGE-USD").tier) == (["PEPE-USD"], None)
    assert (commands, said) == ([("coinbase", "reload", "mike")], [b"{}"])


def test_what_is_held_stays_watched_when_it_is_removed(mike: User) -> None:
    listing()
    hold(mike, "DOGE", 1_000.0)
    added(mike, "DOGE")
    wants.symbols_remove(user=mike, ids=[symbol_of("DOGE-USD").pk])

    assert (of(mike), symbol_of("DOGE-USD").tier) == ([], 2)


def test_nobody_removes_what_another_added(mike: User) -> None:
    listing()
    added(mike, "DOGE")
    kaia = person("kaia", group="trader")
    with hosted("coinbase") as commands, woken(kaia) as said:
        assert wants.symbols_remove(user=kaia, ids=[symbol_of("DOGE-USD").pk, 999]) == []

    assert (of(mike), commands, said) == (["DOGE-USD"], [], [])


# Positions by hand


def test_a_position_is_noted_by_hand_whatever_it_is_worth(mike: User) -> None:
    listing()
    with hosted("coinbase") as commands, woken(mike) as said:
        row = wants.position_enter(user=mike, exchange=exchange(), asset=" doge ", quantity=2.0)

    assert (row.asset, row.quantity, row.by_hand, row.symbol, row.value) == ("DOGE", 2.0, True, symbol_of("DOGE-USD"), 0.5)
    assert symbol_of("DOGE-USD").tier == 2
    assert (commands, said) == ([("coinbase", "reload", "mike")], [b"{}"])


def test_the_same_asset_again_changes_its_quantity(mike: User) -> None:
    listing()
    read = hold(mike, "DOGE", 7.0)
    first = wants.position_enter(user=mike, exchange=exchange(), asset="DOGE", quantity=2.0)
    second = wants.position_enter(user=mike, exchange=exchange(), asset="doge", quantity=3.0)

    assert first.pk == second.pk
    assert sorted(Position.objects.values_list("pk", "quantity")) == sorted([(read.pk, 7.0), (first.pk, 3.0)])


@pytest.mark.parametrize(
    ("asset", "said"),
    [("DOG", "Not listed here. Nearest: DOGE-USD."), ("XYZZY", "Not listed here."), ("", "Not listed here.")],
)
def test_an_asset_that_is_not_listed_is_refused_with_the_nearest(mike: User, asset: str, said: str) -> None:
    listing()
    with pytest.raises(UnknownAsset) as error:
        wants.position_enter(user=mike, exchange=exchange(), asset=asset, quantity=2.0)

    assert str(error.value) == said
    assert Position.objects.count() == 0


def test_only_ones_own_and_what_was_entered_by_hand_is_removed(mike: User) -> None:
    listing()
    kaia = person("kaia", group="trader")
    read, own = hold(mike, "SOL", 7.0), wants.position_enter(user=mike, exchange=exchange(), asset="DOGE", quantity=2.0)
    assert [wants.position_remove(user=user, pk=pk) for user, pk in ((kaia, own.pk), (mike, read.pk), (mike, 999))] == [False] * 3
    assert Position.objects.count() == 2

    assert wants.position_remove(user=mike, pk=own.pk) is True
    assert (list(Position.objects.all()), symbol_of("DOGE-USD").tier) == ([read], None)


# Positions that were read with a key


def with_key(user: User, **more: object) -> UserExchange:
    return UserExchange.objects.create(user=user, exchange_id="coinbase", api_key="k", api_secret="s", **more)


def read(user: User, *balances: Balance) -> dict[str, float]:
    """Have a key show these; returns what of it is stored."""
    wants.positions_store(user_id=user.pk, exchange=exchange(), balances=balances)
    return was_read(user)


def was_read(user: User) -> dict[str, float]:
    rows = Position.objects.filter(user=user, exchange_id="coinbase", by_hand=False)
    return dict(rows.values_list("asset", "quantity"))


def test_what_a_key_shows_replaces_what_it_showed_before(mike: User) -> None:
    listing()
    kaia = person("kaia", group="trader")
    others, noted = hold(kaia, "DOGE", 1.0), hold(mike, "DOGE", 5.0, by_hand=True)
    elsewhere = hold(mike, "DOGE", 6.0, exchange_id="binance")

    assert read(mike, Balance("DOGE", 100.0), Balance("SOL", 2.0)) == {"DOGE": 100.0, "SOL": 2.0}
    assert read(mike, Balance("SOL", 3.0), Balance("PEPE", 1.0)) == {"SOL": 3.0, "PEPE": 1.0}
    assert read(mike) == {}
    assert set(Position.objects.all()) == {others, noted, elsewhere}


def test_dollars_and_nothing_at_all_are_not_positions(mike: User) -> None:
    listing()
    assert read(mike, Balance("USD", 900.0), Balance("USDC", 800.0), Balance("DOGE", 0.0), Balance("SOL", 1.0)) == {"SOL": 1.0}


def test_a_row_keeps_its_number_when_it_is_read_again(mike: User) -> None:
    listing()
    read(mike, Balance("SOL", 1.0))
    before = Position.objects.get().pk
    read(mike, Balance("SOL", 2.0))

    assert Position.objects.values_list("pk", "quantity").get() == (before, 2.0)


def test_a_key_that_could_read_works_and_one_that_could_not_says_why(mike: User) -> None:
    listing()
    row = with_key(mike, key_state=KeyState.UNCHECKED)
    other = with_key(person("kaia"), key_state=KeyState.UNCHECKED)

    def state() -> tuple[str, str, bool]:
        row.refresh_from_db()
        return row.key_state, row.key_error, row.key_checked_at is not None

    assert state() == ("unchecked", "", False)
    wants.key_checked(user_id=mike.pk, exchange=exchange(), error="HTTP 401: make a new key" + "!" * 400)
    assert state() == ("failed", ("HTTP 401: make a new key" + "!" * 400)[:300], True)
    read(mike, Balance("SOL", 1.0))
    assert state() == ("works", "", True)
    wants.key_checked(user_id=mike.pk, exchange=exchange(), error="gone")
    assert (state()[:2], was_read(mike)) == (("failed", "gone"), {"SOL": 1.0}), "what was read stays"
    other.refresh_from_db()
    assert (other.key_state, other.key_checked_at) == ("unchecked", None)


def test_a_sync_goes_to_the_process_that_hosts_the_exchange(mike: User) -> None:
    with hosted("coinbase") as commands, woken(mike) as said:
        assert wants.positions_sync(user=mike, exchange=exchange()) == Answer(True, "positions done")
    assert (commands, said) == ([("coinbase", "positions", "mike")], [b"{}"])


def test_a_sync_that_nobody_can_do_says_how(mike: User) -> None:
    assert wants.positions_sync(user=mike, exchange=exchange("binance")) == Answer(
        False, "no process hosts binance: start one with `python manage.py runexchange binance`"
    )


# What is whose


def test_what_is_ones_own_is_what_one_holds_or_added(mike: User) -> None:
    listing()
    add(mike, "BTC-USD", "PEPE-USD")
    hold(mike, "DOGE", 100.0)
    hold(mike, "DOGE", 20.0, by_hand=True)
    hold(mike, "BTC", 0.5)
    hold(mike, "SOL", 0.1)
    add(person("kaia"), "SOL-USD")
    symbols_choose(exchange=exchange())

    assert wants.own_symbols(user_id=mike.pk) == [
        Own(symbol_of("BTC-USD"), True, 0.5, 30_000.0),
        Own(symbol_of("DOGE-USD"), False, 120.0, 30.0),
        Own(symbol_of("PEPE-USD"), True, None, None),
    ]


def test_nothing_is_ones_own_on_an_exchange_one_does_not_watch(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    UserExchange.objects.create(user=mike, exchange_id="coinbase", watch=False)

    assert wants.own_symbols(user_id=mike.pk) == []


def test_dust_is_not_ones_own_until_one_calls_it_otherwise(mike: User) -> None:
    listing()
    hold(mike, "DOGE", 8.0)
    symbols_choose(exchange=exchange())
    assert wants.own_symbols(user_id=mike.pk) == []

    Preferences.objects.create(user=mike, minimum_position_value=2.0)
    assert wants.own_symbols(user_id=mike.pk) == [Own(symbol_of("DOGE-USD"), False, 8.0, 2.0)]


def test_who_wants_a_symbol_reads_it_under_its_keepers_keys(mike: User) -> None:
    listing()
    kaia, eve = person("kaia", group="trader"), person("eve", group="trader")
    add(mike, "DOGE-USD", "BTC-USD")
    hold(kaia, "DOGE", 1_000.0)
    symbols_choose(exchange=exchange())

    keepers = [wants.keeper_for(user_id=user.pk, row=symbol_of("DOGE-USD")) for user in (mike, kaia, eve)]
    assert keepers == [mike.pk, mike.pk, None]
    assert [wants.keeper_for(user_id=mike.pk, row=symbol_of(name)) for name in ("BTC-USD", "PEPE-USD")] == [None, None]
    assert keys.user_candles(mike.pk, "coinbase", "DOGE-USD", "5m") == f"usercandles:{mike.pk}:coinbase:DOGE-USD:5m"


def test_a_users_own_is_read_with_few_queries(mike: User, django_assert_num_queries) -> None:
    listing()
    add(mike, *(one.symbol for one in LISTED))
    hold(mike, "DOGE", 1_000.0)
    symbols_choose(exchange=exchange())
    with django_assert_num_queries(3):  # added, held, symbols
        assert len(wants.own_symbols(user_id=mike.pk)) == len(LISTED)
