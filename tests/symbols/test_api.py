"""/api/symbols/, and the candles of a symbol."""

import json
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User

from exchanges.models import Exchange
from livermore import bus, keys
from symbols.models import Coin, Position, Symbol, UserSymbol
from tests import seeds
from tests.hosting import hosted
from tests.people import browser, client_of, person
from tests.seeds import KNOWN

LIST = "/api/symbols/"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


def market(symbol: str, exchange_id: str = "coinbase", **more: object) -> Symbol:
    base, quote = symbol.split("-")
    return Symbol.objects.create(exchange_id=exchange_id, symbol=symbol, base=base, quote=quote, **more)


def overflow(symbol: str, owner: User, **more: object) -> Symbol:
    """A symbol of Tier 2 that its keeper has added."""
    row = market(symbol, tier=2, keeper=owner, **more)
    UserSymbol.objects.create(user=owner, symbol=row)
    return row


def symbols_of(answer) -> list[str]:
    return [row["symbol"] for row in answer.json()["results"]]


def patch(client, row: Symbol, body: object):
    return client.patch(f"{LIST}{row.pk}/", json.dumps(body), content_type="application/json")


def test_it_shows_a_symbol_whole():
    row = market(
        "BTC-USD",
        price=64210.5,
        volume_24h=2.5,
        quote_volume_24h=160_526.25,
        dollar_volume_24h=160_526.25,
        change_24h=-1.5,
        spread_bps=60.0,
        rank=1,
        tier=1,
        price_increment="0.01",
        coin=Coin.objects.create(code="BTC", rank=2, volume_24h=9e6, market_cap=1.3e12),
    )
    answer = browser("viewer").get(f"{LIST}{row.pk}/").json()
    assert answer.pop("updated_at").endswith("Z")
    assert answer == {
        "id": row.pk,
        "exchange_id": "coinbase",
        "symbol": "BTC-USD",
        "base": "BTC",
        "quote": "USD",
        "tradable": True,
        "status": "",
        "price": 64210.5,
        "price_increment": "0.01",
        "volume_24h": 2.5,
        "quote_volume_24h": 160_526.25,
        "dollar_volume_24h": 160_526.25,
        "change_24h": -1.5,
        "spread_bps": 60.0,
        "liquidity": "D",
        "coin_volume_24h": 9e6,
        "coin_rank": 2,
        "market_cap": 1.3e12,
        "alias_of": "",
        "rank": 1,
        "tier": 1,
        "added": False,
        "held": False,
        "policy": "auto",
        "live": False,
    }


def test_what_is_not_known_of_a_symbol_is_null():
    row = market("BTC-USD")
    answer = browser("viewer").get(f"{LIST}{row.pk}/").json()
    names = ["price", "dollar_volume_24h", "spread_bps", "liquidity", "coin_volume_24h", "coin_rank", "market_cap", "rank", "tier"]
    assert {name: answer[name] for name in names} == dict.fromkeys(names)


def test_live_figures_stand_before_the_listed_ones():
    row = market("BTC-USD", tier=1, price=1.0, volume_24h=2.0, quote_volume_24h=3.0, change_24h=4.0, spread_bps=5.0)
    ticker = {"t": 5, "price": 101.0, "received": 7, "volume_24h": 12.0, "change_24h": -1.0, "bid": 99.0, "ask": 101.0}
    bus.sync().set(keys.ticker("coinbase", "BTC-USD"), json.dumps(ticker))
    answer = browser("viewer").get(f"{LIST}{row.pk}/").json()
    names = ("live", "price", "volume_24h", "quote_volume_24h", "change_24h", "spread_bps")
    assert [answer[name] for name in names] == [True, 101.0, 12.0, 3.0, -1.0, 200.0]


def test_without_redis_the_listed_figures_are_shown(valkey):
    row = market("BTC-USD", tier=1, price=1.0)
    client = browser("viewer")
    valkey.kill()
    assert [client.get(f"{LIST}{row.pk}/").json()[name] for name in ("price", "live")] == [1.0, False]


def test_tier_two_is_shown_to_who_wants_it_only():
    mike, kaia = person("mike", group="trader"), person("kaia", group="trader")
    row = overflow("DOGE-USD", mike, price=0.25)
    market("BTC-USD", tier=1)
    bus.sync().set(keys.ticker("coinbase", "DOGE-USD"), json.dumps({"t": 5, "price": 0.5, "received": 7}))
    shown = {}
    for user in (mike, kaia):
        client = client_of(user)
        one = client.get(f"{LIST}{row.pk}/").json()
        figures = [one[name] for name in ("tier", "added", "held", "price", "live")]
        shown[user] = [figures, *(symbols_of(client.get(f"{LIST}?{query}")) for query in ("tier=2", "mine=true", "mine=false"))]
    assert shown == {
        mike: [[2, True, False, 0.5, True], ["DOGE-USD"], ["DOGE-USD"], ["BTC-USD"]],
        kaia: [[None, False, False, 0.25, False], [], [], ["BTC-USD", "DOGE-USD"]],
    }


def test_what_is_held_is_mine_and_dust_is_not():
    mike = person("mike", group="trader")
    for symbol, value in (("DOGE-USD", 10.0), ("SHIB-USD", 9.99)):
        row = market(symbol, tier=2, keeper=mike)
        Position.objects.create(user=mike, exchange_id="coinbase", asset=row.base, quantity=1.0, symbol=row, value=value)
    answer = client_of(mike).get(f"{LIST}?mine=true")
    assert [(one["symbol"], one["held"], one["added"]) for one in answer.json()["results"]] == [("DOGE-USD", True, False)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["ETH-USD", "BTC-USD", "SOL-USD", "DOGE-USD"]),
        ("?exchange=coinbase", ["BTC-USD", "SOL-USD", "DOGE-USD"]),
        ("?tier=1", ["ETH-USD", "BTC-USD"]),
        ("?tier=2", []),
        ("?tier=3", []),
        ("?base=SOL", ["SOL-USD"]),
        ("?tradable=false", ["DOGE-USD"]),
        ("?policy=pinned", ["SOL-USD"]),
        ("?search=btc", ["BTC-USD"]),
        ("?search=o", ["SOL-USD", "DOGE-USD"]),
        ("?exchange=coinbase&ordering=price", ["DOGE-USD", "BTC-USD", "SOL-USD"]),
        ("?exchange=coinbase&ordering=-price", ["BTC-USD", "DOGE-USD", "SOL-USD"]),
        ("?exchange=coinbase&page_size=1&page=2", ["SOL-USD"]),
    ],
)
def test_the_list_can_be_filtered_searched_and_ordered_with_unknown_values_last(query, expected):
    market("DOGE-USD", price=0.1, tradable=False)
    market("SOL-USD", rank=2, policy="pinned")
    market("BTC-USD", rank=1, tier=1, price=64210.5)
    market("ETH-USD", "binance-sandbox", rank=1, tier=1)
    assert symbols_of(browser("viewer").get(LIST + query)) == expected


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        (
            "?exchange=mtgox",
            "exchange",
            f"unknown exchange 'mtgox'; known: {KNOWN}",
        ),
        (
            "?exchange=a%00",
            "exchange",
            f"unknown exchange 'a\\x00'; known: {KNOWN}",
        ),
        ("?tier=x", "tier", "Enter a number."),
        ("?policy=maybe", "policy", "Select a valid choice. maybe is not one of the available choices."),
        ("?base=%00", "base", "Null characters are not allowed."),
    ],
)
def test_a_filter_with_a_wrong_value_is_an_error(query, field, expected):
    answer = browser("viewer").get(LIST + query)
    assert (answer.status_code, answer.json()) == (400, {field: [expected]})


@pytest.mark.parametrize("key", ["0", "999999999999999999", "9" * 40, "x"])
def test_a_symbol_that_is_not_there_is_a_404(key):
    answer = browser("viewer").get(f"{LIST}{key}/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")


def test_the_list_needs_the_same_queries_for_500_symbols(django_assert_num_queries):
    client = browser("viewer")
    for number in range(500):
        market(f"A{number}-USD", rank=number)
    with django_assert_num_queries(6):  # session, user, the user's rights, those of the groups, count, rows
        answer = client.get(f"{LIST}?page_size=1000")
    assert len(answer.json()["results"]) == 500


# What people decide


@pytest.mark.parametrize(("who", "status"), [("anonymous", 403), ("viewer", 403), ("trader", 403), ("operator", 200), ("superuser", 200)])
def test_who_may_decide(who, status):
    row = market("BTC-USD")
    assert patch(browser(who), row, {"policy": "pinned"}).status_code == status
    row.refresh_from_db()
    assert row.policy == ("pinned" if status == 200 else "auto")


def test_a_decision_is_answered_with_what_the_connector_said():
    row = market("BTC-USD", rank=1)
    with hosted("coinbase") as commands:
        answer = patch(browser("operator"), row, {"policy": "pinned"})
    assert commands == [("coinbase", "reload", "operator")]
    assert (answer.json()["policy"], answer.json()["tier"], answer.json()["message"]) == ("pinned", 1, "coinbase: reload done")


def test_a_decision_that_changes_nothing_disturbs_nobody():
    row = market("BTC-USD")
    with hosted("coinbase") as commands:
        answer = patch(browser("operator"), row, {"policy": "auto"})
    assert (answer.json()["policy"], answer.json()["message"], commands) == ("auto", "", [])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"policy": "maybe"}, {"policy": ['Unknown policy "maybe"; known: auto, pinned, excluded.']}),
        ({}, {"policy": ["Say which policy; known: auto, pinned, excluded."]}),
        ({"tier": 1}, {"policy": ["Say which policy; known: auto, pinned, excluded."]}),
    ],
)
def test_a_wrong_decision_is_an_error(body, expected):
    answer = patch(browser("operator"), market("BTC-USD"), body)
    assert (answer.status_code, answer.json()) == (400, expected)


def test_what_the_exchange_writes_cannot_be_written():
    row = market("BTC-USD", price=1.0)
    patch(browser("superuser"), row, {"policy": "pinned", "price": 2.0, "symbol": "X"})
    row.refresh_from_db()
    assert (row.price, row.symbol) == (1.0, "BTC-USD")


@pytest.mark.parametrize("method", ["put", "post", "delete"])
def test_symbols_come_from_the_exchange_only(method):
    row = market("BTC-USD")
    assert getattr(browser("superuser"), method)(f"{LIST}{row.pk}/").status_code == 405


# Candles

CANDLE = [1_790_000_100_000, 1.0, 2.0, 0.5, 1.5, 10.0, 0]
READING = {
    "t": 1_790_000_100_000,
    "close": 1.5,
    "macdv": 12.5,
    "signal": None,
    "histogram": None,
    "atr": 1.0,
    "stage": "rebounding",
    "seeded": False,
    "observed": 30,
    "span": 30,
    "reason": "",
}


def candles_url(symbol: str, query: str = "", exchange_id: str = "coinbase") -> str:
    return f"/api/exchanges/{exchange_id}/symbols/{symbol}/candles/{query}"


def store(symbol: str, timeframe: str = "5m", candles: tuple[list[float], ...] = (CANDLE,)) -> None:
    redis = bus.sync()
    for candle in candles:
        redis.zadd(keys.candles("coinbase", symbol, timeframe), {json.dumps(candle): candle[0]})
    redis.set(keys.indicator("coinbase", symbol, timeframe), json.dumps(READING))


def test_candles_come_with_their_indicator_and_the_state_of_the_symbol():
    market("BTC-USD")
    store("BTC-USD")
    bus.sync().hset(keys.exchange_states("coinbase"), "BTC-USD", json.dumps({"state": "live", "reason": "", "since": 1}))
    assert browser("viewer").get(candles_url("BTC-USD")).json() == {
        "exchange_id": "coinbase",
        "symbol": "BTC-USD",
        "timeframe": "5m",
        "state": "live",
        "reason": "",
        "candles": [CANDLE],
        "indicator": READING,
    }


def put_readings(symbol: str, *rows: list[object]) -> None:
    for row in rows:
        bus.sync().zadd(keys.readings("coinbase", symbol, "5m"), {json.dumps(row): row[0]})


def test_readings_come_with_the_candles_when_asked_for_and_end_with_the_indicator():
    market("BTC-USD")
    t = READING["t"]
    store("BTC-USD", candles=tuple([t - back * 300_000, *CANDLE[1:]] for back in (2, 1, 0)))
    put_readings("BTC-USD", *([t - back * 300_000, -9.5, None, None, "unknown"] for back in (3, 2, 1)))
    client = browser("viewer")
    answer = client.get(candles_url("BTC-USD", "?indicator=series")).json()
    last = [t, READING["macdv"], READING["signal"], READING["histogram"], READING["stage"]]
    assert answer["readings"] == [*([t - back * 300_000, -9.5, None, None, "unknown"] for back in (2, 1)), last]
    assert "readings" not in client.get(candles_url("BTC-USD")).json()


def test_a_series_without_an_indicator_has_the_readings_that_are_there():
    market("BTC-USD")
    assert browser("viewer").get(candles_url("BTC-USD", "?indicator=series")).json()["readings"] == []


def test_candles_that_nobody_keeps_current_do_not_look_live():
    market("BTC-USD")
    store("BTC-USD")
    answer = browser("viewer").get(candles_url("BTC-USD")).json()
    assert (answer["state"], answer["reason"]) == ("offline", "no process follows this symbol")


def test_a_symbol_without_candles_has_none():
    market("BTC-USD")
    answer = browser("viewer").get(candles_url("BTC-USD", "?timeframe=4h")).json()
    assert (answer["timeframe"], answer["candles"], answer["indicator"]) == ("4h", [], None)


def test_candles_of_tier_two_are_for_who_wants_them_whoever_keeps_them():
    mike, kaia, eve = (person(name, group="trader") for name in ("mike", "kaia", "eve"))
    row = overflow("DOGE-USD", mike)
    UserSymbol.objects.create(user=kaia, symbol=row)
    redis = bus.sync()
    redis.zadd(keys.user_candles(mike.pk, "coinbase", "DOGE-USD", "5m"), {json.dumps(CANDLE): CANDLE[0]})
    redis.set(keys.user_indicator(mike.pk, "coinbase", "DOGE-USD", "5m"), json.dumps(READING))
    redis.hset(keys.exchange_states("coinbase"), "DOGE-USD", json.dumps({"state": "live", "reason": "", "since": 1}))

    whole = {"exchange_id": "coinbase", "symbol": "DOGE-USD", "timeframe": "5m"}
    theirs = {**whole, "state": "live", "reason": "", "candles": [CANDLE], "indicator": READING}
    nothing = {**whole, "state": "offline", "reason": "no process follows this symbol", "candles": [], "indicator": None}
    answers = [client_of(user).get(candles_url("DOGE-USD")).json() for user in (mike, kaia, eve)]
    assert answers == [theirs, theirs, nothing]


def test_a_limit_gives_the_newest_candles_oldest_first():
    market("BTC-USD")
    rows = tuple([CANDLE[0] + number * 300_000, *CANDLE[1:]] for number in range(5))
    store("BTC-USD", candles=rows)
    assert browser("viewer").get(candles_url("BTC-USD", "?limit=2")).json()["candles"] == [*rows[-2:]]


@pytest.mark.parametrize(("symbol", "path"), [("BTC/USD", "BTC/USD"), ("BTC/USD", "BTC%2FUSD"), ("tDOGE:USD", "tDOGE:USD")])
def test_a_symbol_is_spelled_as_the_exchange_spells_it(symbol, path):
    Symbol.objects.create(exchange_id="coinbase", symbol=symbol, base="BTC", quote="USD")
    store(symbol)
    answer = browser("viewer").get(candles_url(path)).json()
    assert (answer["symbol"], answer["candles"]) == (symbol, [CANDLE])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?timeframe=1m", {"timeframe": ['Unknown timeframe "1m"; known: 5m, 15m, 1h, 4h, 1d.']}),
        ("?limit=0", {"limit": ["Ensure this value is greater than or equal to 1."]}),
        ("?limit=1001", {"limit": ["Ensure this value is less than or equal to 1000."]}),
        ("?limit=many", {"limit": ["A valid integer is required."]}),
        ("?indicator=all", {"indicator": ['Unknown indicator "all"; known: last, series.']}),
    ],
)
def test_a_wrong_question_is_an_error(query, expected):
    market("BTC-USD")
    answer = browser("viewer").get(candles_url("BTC-USD", query))
    assert (answer.status_code, answer.json()) == (400, expected)


@pytest.mark.parametrize("symbol", ["ETH-USD", "BTC-USD:5m", "a%00b", "../BTC-USD"])
def test_a_symbol_the_exchange_does_not_list_is_a_404_that_says_where_to_look(symbol):
    market("BTC-USD")
    market("ETH-USD", "binance")
    answer = browser("viewer").get(candles_url(symbol))
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith("/api/symbols/?exchange=coinbase has its symbols, in its own spelling.")


def test_an_unknown_exchange_has_no_candles():
    answer = browser("viewer").get(candles_url("BTC-USD", exchange_id="mtgox"))
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("unknown exchange 'mtgox'; known: ")


def test_without_redis_there_are_no_candles_and_the_answer_says_so(valkey):
    market("BTC-USD")
    client = browser("viewer")
    valkey.kill()
    answer = client.get(candles_url("BTC-USD"))
    assert (answer.status_code, answer.json()) == (503, {"detail": "Redis does not answer; try again in a moment."})


def test_candles_need_few_queries(django_assert_num_queries):
    market("BTC-USD")
    client = browser("viewer")
    with django_assert_num_queries(6):  # session, user, the user's rights, those of the groups, exchanges, symbol
        client.get(candles_url("BTC-USD"))


def test_it_says_when_each_exchange_last_told_its_symbols():
    old = market("BTC-USD")
    Symbol.objects.filter(pk=old.pk).update(updated_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    Symbol.objects.filter(pk=market("ETH-USD").pk).update(updated_at=datetime(2026, 3, 1, 15, tzinfo=UTC))
    Symbol.objects.filter(pk=market("BTC-EUR", "kraken").pk).update(updated_at=datetime(2026, 3, 2, tzinfo=UTC))
    answer = browser("viewer").get(f"{LIST}listings/")
    assert answer.json() == [
        {"exchange_id": "coinbase", "listed_at": "2026-03-01T15:00:00Z"},
        {"exchange_id": "kraken", "listed_at": "2026-03-02T00:00:00Z"},
    ]


def test_a_decision_is_no_listing():
    row = market("BTC-USD")
    before = browser("operator").get(f"{LIST}listings/").json()
    assert patch(client_of(User.objects.get(username="operator")), row, {"policy": "pinned"}).status_code == 200
    assert client_of(User.objects.get(username="operator")).get(f"{LIST}listings/").json() == before


def test_an_exchange_that_is_switched_off_has_no_listing():
    market("BTC-USD")
    Exchange.objects.filter(pk="coinbase").update(active=False)
    assert browser("viewer").get(f"{LIST}listings/").json() == []
