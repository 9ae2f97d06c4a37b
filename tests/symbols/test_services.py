"""Who is in the pool, for whom, and why; and the coins over all exchanges."""

import pytest
from django.contrib.auth.models import User

from exchanges.models import Exchange, Preferences, UserExchange
from symbols.models import Coin, PoolChange, Position, Symbol, UserSymbol
from symbols.services import coins_update, pool_changed, symbols_choose, symbols_set_policy
from symbols.tiers import SHARED, Place
from tests import seeds
from tests.hosting import hosted
from tests.people import person
from tests.symbols.wanting import BTC, DOGE, ETH, LISTED, PEPE, SOL, add, exchange, hold, info, listing, symbol_of

TIER_ONE = {"BTC-USD": SHARED, "ETH-USD": SHARED}


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def mike() -> User:
    return person("mike", group="trader")


@pytest.fixture
def kaia(mike: User) -> User:
    return person("kaia", group="trader")


def for_(*users: User, keeper: User | None = None, shared: bool = True) -> Place:
    """The place of a symbol that these users want; the first one keeps it unless another does."""
    return Place((keeper or users[0]).pk, frozenset(user.pk for user in users), shared)


def chosen() -> dict[str, Place]:
    return {member.row.symbol: member.place for member in symbols_choose(exchange=exchange())}


def stored() -> dict[str, tuple[int | None, int | None]]:
    """symbol -> (tier, keeper) of what is watched."""
    rows = Symbol.objects.filter(exchange_id="coinbase").exclude(tier=None)
    return {row.symbol: (row.tier, row.keeper_id) for row in rows}


def changes() -> list[tuple[str, int | None, int | None, str]]:
    """The record, oldest first."""
    return list(PoolChange.objects.order_by("pk").values_list("symbol", "before", "after", "reason"))


# Who wants what


def test_without_users_it_is_the_top_n() -> None:
    assert list(listing().items()) == list(TIER_ONE.items())
    assert stored() == {"BTC-USD": (1, None), "ETH-USD": (1, None)}


def test_what_a_user_added_is_watched_for_that_user(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")

    assert chosen() == {**TIER_ONE, "DOGE-USD": for_(mike)}
    assert stored() == {"BTC-USD": (1, None), "ETH-USD": (1, None), "DOGE-USD": (2, mike.pk)}


def test_what_is_in_tier_one_is_everybodys_whoever_wants_it(mike: User) -> None:
    listing()
    add(mike, "BTC-USD")
    hold(mike, "ETH", 2.0)

    assert chosen() == TIER_ONE


def test_two_users_who_want_the_same_share_one_series(mike: User, kaia: User) -> None:
    listing()
    add(kaia, "DOGE-USD", "SOL-USD")
    add(mike, "DOGE-USD")
    hold(mike, "DOGE", 1_000.0)

    assert chosen() == {**TIER_ONE, "DOGE-USD": for_(mike, kaia), "SOL-USD": for_(kaia)}


def test_the_keeper_stays_for_as_long_as_that_user_wants_it(mike: User, kaia: User) -> None:
    listing()
    add(kaia, "DOGE-USD")
    assert chosen()["DOGE-USD"] == for_(kaia)
    add(mike, "DOGE-USD")
    assert chosen()["DOGE-USD"] == for_(mike, kaia, keeper=kaia)

    UserSymbol.objects.filter(user=kaia).delete()
    assert chosen()["DOGE-USD"] == for_(mike)
    assert changes()[-1] == ("DOGE-USD", None, 2, "wanted by 1 user"), "another keeper is no change of the pool"


def test_a_keeper_whose_account_is_deleted_leaves_the_symbol_to_the_next(mike: User, kaia: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    add(kaia, "DOGE-USD")
    chosen()
    mike.delete()

    assert chosen() == {**TIER_ONE, "DOGE-USD": for_(kaia)}
    assert stored()["DOGE-USD"] == (2, kaia.pk)


def test_who_is_inactive_or_does_not_watch_the_exchange_wants_nothing_of_it(mike: User, kaia: User) -> None:
    listing()
    for user in (mike, kaia):
        add(user, "DOGE-USD")
        hold(user, "SOL", 100.0)
    User.objects.filter(pk=mike.pk).update(is_active=False)
    UserExchange.objects.create(user=kaia, exchange_id="coinbase", watch=False)

    assert chosen() == TIER_ONE
    UserExchange.objects.update(watch=True)
    assert chosen() == {**TIER_ONE, "DOGE-USD": for_(kaia), "SOL-USD": for_(kaia)}


def test_what_is_wanted_on_one_exchange_is_not_watched_on_another(mike: User) -> None:
    listing()
    listing(exchange_id="binance")
    add(mike, "DOGE-USD")

    assert {member.row.symbol for member in symbols_choose(exchange=exchange("binance"))} == set(TIER_ONE)


# Positions


@pytest.mark.parametrize(
    ("quantity", "minimum", "by_hand", "watched"),
    [
        (40.0, None, False, True),  # $10 exactly
        (39.0, None, False, False),  # dust
        (39.0, None, True, True),  # who writes it down wants it
        (39.0, 5.0, False, True),
        (40.0, 50.0, False, False),
        (1e-9, 0.0, False, True),
    ],
)
def test_dust_is_not_watched(mike: User, quantity: float, minimum: float | None, by_hand: bool, watched: bool) -> None:
    listing()
    if minimum is not None:
        Preferences.objects.create(user=mike, minimum_position_value=minimum)
    position = hold(mike, "DOGE", quantity, by_hand=by_hand)

    assert chosen() == ({**TIER_ONE, "DOGE-USD": for_(mike)} if watched else TIER_ONE)
    position.refresh_from_db()
    assert (position.symbol, position.value) == (symbol_of("DOGE-USD"), quantity * 0.25)


def test_a_position_without_a_price_counts(mike: User) -> None:
    listing(*LISTED, info("NEW-USD", price=None))
    position = hold(mike, "NEW", 0.001)

    assert chosen() == {**TIER_ONE, "NEW-USD": for_(mike)}
    position.refresh_from_db()
    assert position.value is None


def test_dollars_are_worth_what_they_are_and_not_watched(mike: User) -> None:
    listing(*LISTED, info("USDC-USDT", 50.0), info("USDT-USD", 400.0))
    positions = [hold(mike, asset, 5_000.0, by_hand=by_hand) for asset, by_hand in (("USDT", False), ("USDC", True), ("USD", False))]

    assert chosen() == TIER_ONE
    for position in positions:
        position.refresh_from_db()
        assert (position.symbol, position.value) == (None, 5_000.0)


def test_an_asset_without_a_market_against_dollars_is_not_watched(mike: User) -> None:
    listing(*LISTED, info("OMG-BTC", None, 0.5))
    positions = [hold(mike, asset, 5.0) for asset in ("OMG", "STAKED")]

    assert chosen() == TIER_ONE
    for position in positions:
        position.refresh_from_db()
        assert (position.symbol, position.value) == (None, None)


def test_an_asset_is_watched_on_its_largest_market_against_dollars(mike: User) -> None:
    listing(*LISTED, info("SOL-USDT", 750.0, 19.0), info("SOL-BTC", 700.0, 0.1), info("SOL-USDC", 9_999.0, alias_of="SOL-USD"), top_n=1)
    position = hold(mike, "SOL", 3.0)

    assert chosen()["SOL-USDT"] == for_(mike)
    position.refresh_from_db()
    assert (position.symbol, position.value) == (symbol_of("SOL-USDT"), 57.0)


def test_a_value_follows_the_price(mike: User) -> None:
    listing()
    position = hold(mike, "DOGE", 30.0)
    assert chosen() == TIER_ONE

    assert listing(BTC, ETH, SOL, info("DOGE-USD", 600.0, 0.5)) == {**TIER_ONE, "DOGE-USD": for_(mike)}
    position.refresh_from_db()
    assert position.value == 15.0


# Who shares


def test_what_only_silent_users_want_is_not_shared(mike: User, kaia: User) -> None:
    listing()
    for user in (mike, kaia):
        UserExchange.objects.create(user=user, exchange_id="coinbase", share_overflow=False)
        add(user, "DOGE-USD")
    assert chosen() == {**TIER_ONE, "DOGE-USD": for_(mike, kaia, shared=False)}

    UserExchange.objects.filter(user=kaia).update(share_overflow=True)
    assert chosen() == {**TIER_ONE, "DOGE-USD": for_(mike, kaia)}


def test_silence_is_meant_for_one_exchange(mike: User) -> None:
    listing()
    UserExchange.objects.create(user=mike, exchange_id="binance", share_overflow=False)
    add(mike, "DOGE-USD")

    assert chosen()["DOGE-USD"] == for_(mike)


# The record


def test_each_that_comes_moves_or_leaves_has_a_line_that_says_why(mike: User, kaia: User) -> None:
    listing()
    assert changes() == [("BTC-USD", None, 1, "number 1 by 24 h volume"), ("ETH-USD", None, 1, "number 2 by 24 h volume")]
    PoolChange.objects.all().delete()

    add(mike, "ETH-USD", "DOGE-USD")
    add(kaia, "DOGE-USD")
    chosen()
    assert changes() == [("DOGE-USD", None, 2, "wanted by 2 users")]

    listing(BTC, info("SOL-USD", 850.0), ETH, DOGE, PEPE)
    assert changes()[1:] == [
        ("SOL-USD", None, 1, "number 2 by 24 h volume"),
        ("ETH-USD", 1, 2, "number 3 by 24 h volume, of 2; wanted by 1 user"),
    ]
    listing(BTC, ETH, SOL, DOGE, PEPE)
    assert changes()[3:] == [("ETH-USD", 2, 1, "number 2 by 24 h volume"), ("SOL-USD", 1, None, "number 3 by 24 h volume, of 2")]

    UserSymbol.objects.all().delete()
    chosen()
    assert changes()[5:] == [("DOGE-USD", 2, None, "nobody wants it any more")]


def test_what_stays_has_no_line(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    chosen()
    before = changes()
    chosen()
    listing()

    assert changes() == before


@pytest.mark.parametrize(("status", "reason"), [("cancel_only", "it is not traded: cancel_only"), ("", "it is not traded: halted")])
def test_what_is_halted_leaves_whoever_wants_it(mike: User, status: str, reason: str) -> None:
    listing()
    add(mike, "DOGE-USD")
    hold(mike, "DOGE", 1_000.0)
    chosen()
    halted = [info(one.symbol, one.quote_volume_24h, one.price, tradable=False, status=status) for one in (ETH, DOGE)]
    PoolChange.objects.all().delete()

    assert listing(BTC, SOL, PEPE, *halted) == {"BTC-USD": SHARED, "SOL-USD": SHARED}
    assert sorted(changes()) == [
        ("DOGE-USD", 2, None, reason),
        ("ETH-USD", 1, None, reason),
        ("SOL-USD", None, 1, "number 2 by 24 h volume"),
    ]
    assert listing() == {**TIER_ONE, "DOGE-USD": for_(mike)}, "it comes back when it is traded again"


def test_what_is_no_longer_listed_leaves_and_stays_as_a_row(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    chosen()

    assert listing(BTC, ETH, SOL, PEPE) == TIER_ONE
    assert changes()[-1] == ("DOGE-USD", 2, None, "it is not traded: not listed")
    row = symbol_of("DOGE-USD")
    assert (row.tradable, row.status) == (False, "not listed")
    assert (row.rank, row.dollar_volume_24h, row.tier, row.keeper) == (None, None, None, None)


def test_what_an_operator_excludes_is_watched_for_nobody(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    chosen()
    symbols_set_policy(ids=[symbol_of("DOGE-USD").pk, symbol_of("ETH-USD").pk], policy="excluded", by="kim")

    assert stored() == {"BTC-USD": (1, None)}
    assert changes()[-2:] == [("ETH-USD", 1, None, "excluded by hand"), ("DOGE-USD", 2, None, "excluded by hand")]


def test_what_an_operator_pins_is_everybodys(mike: User) -> None:
    listing()
    add(mike, "DOGE-USD")
    chosen()
    symbols_set_policy(ids=[symbol_of("DOGE-USD").pk], policy="pinned", by="kim")

    assert stored() == {"BTC-USD": (1, None), "ETH-USD": (1, None), "DOGE-USD": (1, None)}
    assert changes()[-1] == ("DOGE-USD", 2, 1, "pinned")


@pytest.mark.django_db(transaction=True)
def test_the_running_connectors_are_told_and_their_answers_come_back(mike: User) -> None:
    listing()
    listing(exchange_id="kraken")
    add(mike, "DOGE-USD")
    with hosted("coinbase", "kraken") as commands:
        assert pool_changed(exchange_ids=["kraken", "coinbase"], by="mike") == "coinbase: reload done; kraken: reload done"

    assert commands == [("coinbase", "reload", "mike"), ("kraken", "reload", "mike")]
    assert stored()["DOGE-USD"] == (2, mike.pk), "it is stored before they are told"


# What a listing says


def test_a_listing_stores_volume_in_dollars_spread_and_coin() -> None:
    listing(info("ETH-BTC", 2.0, 0.05, bid=0.04995, ask=0.05005), BTC)
    row = symbol_of("ETH-BTC")

    assert (row.dollar_volume_24h, row.spread_bps, str(row.coin)) == (120_000.0, pytest.approx(20.0), "ETH")


def test_a_coin_that_a_person_chose_stays() -> None:
    listing()
    wrapped = Coin.objects.get(code="BTC")
    Symbol.objects.filter(symbol="ETH-USD").update(coin=wrapped)
    Symbol.objects.filter(symbol="SOL-USD").update(coin=None, coin_fixed=True)
    listing()

    assert [symbol_of(name).coin for name in ("ETH-USD", "SOL-USD")] == [wrapped, None]


# Coins


def coins(*, simulated: bool = False) -> dict[str, tuple[float | None, int | None]]:
    return {coin.code: (coin.volume_24h, coin.rank) for coin in Coin.objects.filter(simulated=simulated)}


def test_a_coin_has_the_volume_of_all_exchanges_and_a_rank_by_it() -> None:
    listing(BTC, ETH, info("NEW-USD"))
    listing(info("BTC-USDT", 100.0), info("ETH-USDT", 300.0), info("ETH-USDC", 50.0), exchange_id="binance")

    assert coins() == {"ETH": (1_150.0, 1), "BTC": (1_000.0, 2), "NEW": (None, None)}


def test_aliases_and_inactive_exchanges_do_not_count() -> None:
    listing(BTC, ETH, info("BTC-USDC", 900.0, alias_of="BTC-USD"))
    listing(info("ETH-USDT", 500.0), exchange_id="binance")
    Exchange.objects.filter(pk="binance").update(active=False)
    coins_update(simulated=False)

    assert coins() == {"BTC": (900.0, 1), "ETH": (800.0, 2)}


def test_simulated_coins_are_others_than_real_ones() -> None:
    listing(BTC)
    listing(info("BTC-USD", 5.0), ETH, exchange_id="coinbase-sandbox")

    assert (coins(), coins(simulated=True)) == ({"BTC": (900.0, 1)}, {"ETH": (800.0, 1), "BTC": (5.0, 2)})


def test_a_coin_that_nobody_trades_any_more_loses_its_rank() -> None:
    listing()
    listing(ETH)

    assert {code: rank for code, (_, rank) in coins().items()} == {"ETH": 1, "BTC": None, "SOL": None, "DOGE": None, "PEPE": None}


def test_choosing_needs_the_same_queries_for_more_users(django_assert_max_num_queries) -> None:
    listing()
    for number in range(30):
        user = person(f"user {number}", group="trader")
        add(user, "DOGE-USD")
        hold(user, "SOL", 100.0)
    with django_assert_max_num_queries(14):
        members = symbols_choose(exchange=exchange())

    assert {member.row.symbol: len(member.place.owners) for member in members[2:]} == {"DOGE-USD": 30, "SOL-USD": 30}
    assert Position.objects.filter(value=2_000.0).count() == 30
