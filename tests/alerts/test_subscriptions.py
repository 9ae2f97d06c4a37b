"""What may be asked for, and what it matches."""

import gc
import json
import tracemalloc

import pytest

from alerts.subscriptions import (
    KINDS,
    MOST_PATTERNS,
    Address,
    Allowance,
    Refused,
    Request,
    Subscriptions,
    delivered,
    id_of,
    name,
    parse,
    read,
)
from livermore import keys
from tests.alerts import hostile

WATCHED = ("binance", "coinbase")


def asked(*channels: str, **parts: object) -> Subscriptions:
    """The set of a socket that asked for these."""
    found = Subscriptions()
    found.add(read(json.dumps({"type": "subscribe", "channels": channels, **parts})), WATCHED)
    return found


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("channel:alerts:coinbase", Address("alerts", "coinbase")),
        ("channel:exchange:coinbase:alerts:BTC-USD", Address("alerts", "coinbase", "BTC-USD")),
        ("channel:exchange:binance-us:alerts:*", Address("alerts", "binance-us", "*")),
        ("channel:exchange:kraken:ticker:BTC/USD", Address("ticker", "kraken", "BTC/USD")),
        ("channel:exchange:bitfinex:ticker:tDOGE:USD", Address("ticker", "bitfinex", "tDOGE:USD")),
        ("channel:exchange:binance:ticker:币安人生USDT", Address("ticker", "binance", "币安人生USDT")),
        ("channel:exchange:coinbase:candle:close:BTC-USD:1h", Address("candle", "coinbase", "BTC-USD", "1h")),
        ("channel:exchange:coinbase:candle:close:BTC-USD:*", Address("candle", "coinbase", "BTC-USD", "*")),
        ("channel:exchange:coinbase:candle:close:*:1d", Address("candle", "coinbase", "*", "1d")),
        ("channel:exchange:bitfinex:candle:close:tDOGE:USD:5m", Address("candle", "bitfinex", "tDOGE:USD", "5m")),
        ("channel:exchange:coinbase:candle:close:*:*", Address("candle", "coinbase", "*", "*")),
        ("channel:exchange:coinbase:lifecycle", Address("lifecycle", "coinbase")),
        ("channel:exchange:coinbase:moves:binance-us", Address("moves", "coinbase", "binance-us")),
        ("channel:exchange:coinbase:moves:*", Address("moves", "coinbase", "*")),
        ("channel:exchange:coinbase:*", Address("every", "coinbase")),
    ],
)
def test_a_channel_of_an_exchange_is_understood_and_spelled_the_same(channel: str, address: Address):
    assert parse(channel) == address
    assert name(address) == channel


def test_all_closes_of_an_exchange_have_a_short_name():
    assert name(parse("channel:exchange:coinbase:candle:close:*")) == "channel:exchange:coinbase:candle:close:*:*"


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("channel:user:1:alerts", "follows from the login; say hello"),
        ("channel:user:*", "follows from the login"),
        ("channel:*", "no channel of an exchange"),
        ("channel:alerts:*", "name one exchange where '*' stands"),
        ("channel:exchange:*:alerts:*", "name one exchange where '*' stands"),
        ("channel:exchange:coin*:ticker:*", "name one exchange"),
        ("channel:exchange:Coinbase:ticker:*", "name one exchange"),
        ("channel:exchange:coinbase\n:ticker:*", "name one exchange"),
        ("channel:exchange::ticker:*", "name one exchange"),
        ("channel:exchange:coinbase", "no channel of an exchange"),
        ("channel:exchange:coinbase:ticker", "no channel of an exchange"),
        ("channel:exchange:coinbase:ticker:", "'' is no symbol"),
        ("channel:exchange:coinbase:ticker::", "':' is no symbol"),
        ("channel:exchange:coinbase:ticker:BTC*", "not for a part of one"),
        ("channel:exchange:coinbase:ticker:*:USD", "not for a part of one"),
        ("channel:exchange:coinbase:ticker:BTC USD", "is no symbol"),
        ("channel:exchange:coinbase:ticker:BTC\x00", "is no symbol"),
        ("channel:exchange:coinbase:ticker:[AB]", "is no symbol"),
        ("channel:exchange:coinbase:ticker:B?C", "is no symbol"),
        ("channel:exchange:coinbase:alerts:\u202eBTC", "is no symbol"),
        ("channel:exchange:coinbase:ticker:" + "B" * 81, "is no symbol"),
        ("channel:exchange:coinbase:candle:close:BTC-USD", "no channel of an exchange"),
        ("channel:exchange:coinbase:candle:close:BTC-USD:2h", "'2h' is no timeframe; use one of 5m 15m 1h 4h 1d"),
        ("channel:exchange:coinbase:lifecycle:*", "no channel of an exchange"),
        ("channel:exchange:coinbase:moves:bin*", "name one exchange"),
        ("channel:exchange:coinbase:moves:binance:BTC", "no channel of an exchange"),
        ("exchange:lease:coinbase", "no channel of an exchange"),
        ("*", "no channel of an exchange"),
        ("", "no channel of an exchange"),
        ("x" * 201, "longer than 200"),
    ],
)
def test_all_else_is_refused_in_words(channel: str, reason: str):
    with pytest.raises(Refused, match=reason.replace("*", r"\*")) as refused:
        parse(channel)
    assert str(refused.value).isprintable()


CANDLE = keys.channel_candle_close("coinbase", "BTC-USD", "5m")
TICKER = keys.channel_ticker("coinbase", "BTC-USD")
ALERT = keys.channel_symbol_alerts("coinbase", "BTC-USD")
ALERTS = keys.channel_alerts("coinbase")
LIFECYCLE = keys.channel_lifecycle("coinbase")
MOVES = keys.channel_moves("coinbase", "binance")
EVERYTHING = (CANDLE, TICKER, ALERT, ALERTS, LIFECYCLE, MOVES)


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("channel:exchange:coinbase:*", {CANDLE, TICKER, ALERT, LIFECYCLE, MOVES}),
        (MOVES, {MOVES}),
        ("channel:exchange:coinbase:moves:*", {MOVES}),
        ("channel:exchange:coinbase:moves:coinbase", set()),
        ("channel:exchange:coinbase:candle:close:*", {CANDLE}),
        ("channel:exchange:coinbase:candle:close:BTC-USD:*", {CANDLE}),
        ("channel:exchange:coinbase:candle:close:*:5m", {CANDLE}),
        (CANDLE, {CANDLE}),
        ("channel:exchange:coinbase:candle:close:BTC-USD:1h", set()),
        ("channel:exchange:coinbase:candle:close:ETH-USD:*", set()),
        ("channel:exchange:coinbase:ticker:*", {TICKER}),
        (TICKER, {TICKER}),
        ("channel:exchange:coinbase:ticker:ETH-USD", set()),
        ("channel:exchange:coinbase:alerts:*", {ALERT}),
        (ALERT, {ALERT}),
        (ALERTS, {ALERTS}),
        (LIFECYCLE, {LIFECYCLE}),
        ("channel:exchange:binance:*", set()),
    ],
)
def test_a_pattern_hears_what_it_names(pattern: str, heard: set[str]):
    found = asked(pattern)
    assert {channel for channel in EVERYTHING if found.wants(delivered(channel))} == heard


def test_an_alert_is_heard_once_by_who_asked_for_it_twice():
    found = asked(ALERTS, "channel:exchange:coinbase:*", ALERT)
    assert [channel for channel in (ALERTS, ALERT) if found.wants(delivered(channel))] == [ALERTS]
    assert found.wants_alert("coinbase", "ETH-USD")


def test_nothing_of_a_user_is_ever_heard():
    found = asked("channel:exchange:coinbase:*", "channel:alerts:coinbase")
    assert not found.wants(delivered("channel:user:coinbase:alerts"))
    assert not found.wants(delivered("channel:user:coinbase:account"))


def test_parts_name_what_channels_do():
    assert asked(
        exchange="coinbase", symbols=["BTC-USD", "tDOGE:USD"], timeframes=["1h"], kinds=["alerts", "ticker", "candle"]
    ).channels == [
        "channel:exchange:coinbase:alerts:BTC-USD",
        "channel:exchange:coinbase:alerts:tDOGE:USD",
        "channel:exchange:coinbase:ticker:BTC-USD",
        "channel:exchange:coinbase:ticker:tDOGE:USD",
        "channel:exchange:coinbase:candle:close:BTC-USD:1h",
        "channel:exchange:coinbase:candle:close:tDOGE:USD:1h",
    ]
    assert asked(exchange="binance").channels == [
        "channel:exchange:binance:alerts:*",
        "channel:exchange:binance:ticker:*",
        "channel:exchange:binance:candle:close:*:*",
        "channel:exchange:binance:lifecycle",
    ]
    assert asked(exchange="binance", kinds=["moves"]).channels == ["channel:exchange:binance:moves:*"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"channels": 5}, "Expected `array`"),
        ({"channels": [5]}, "Expected `str`"),
        ({"channel": "x"}, "unknown field `channel`"),
        ({"id": -1}, "Expected `int` >= 0"),
        ({"v": 2}, "say version 1"),
        ({"symbols": ["BTC-USD"]}, "name it in exchange"),
        ({"exchange": "coinbase:ticker"}, "name one exchange"),
        ({"exchange": "coinbase", "symbols": ["BTC*"]}, "not for a part of one"),
        ({"exchange": "coinbase", "timeframes": ["x:1h"]}, "is no timeframe"),
        ({"exchange": "coinbase", "kinds": ["user"]}, "'user' is no kind: use some of alerts, ticker, candle, lifecycle"),
        ({"exchange": "coinbase", "symbols": ["A"] * 300}, "too much at once"),
        ({"channels": ["x"] * 2000}, "too much at once"),
        ({"channels": ["channel:exchange:coinbase:moves:kraken"]}, "'kraken' is not among the exchanges you watch: binance, coinbase"),
        ({"channels": ["channel:alerts:kraken"]}, "'kraken' is not among the exchanges you watch: binance, coinbase"),
        ({"channels": [f"channel:exchange:coinbase:ticker:S{at}" for at in range(201)]}, "202 patterns are more than the 200"),
    ],
)
def test_a_request_that_is_refused_changes_nothing(request_: dict[str, object], reason: str):
    found = asked(TICKER)
    with pytest.raises(Refused, match=reason):
        found.add(read(json.dumps({"type": "subscribe", **request_})), WATCHED)
    assert found.channels == [TICKER]


def test_what_is_removed_is_gone_and_the_rest_stays():
    found = asked(TICKER, MOVES, "channel:exchange:coinbase:*", "channel:exchange:binance:lifecycle")
    found.remove(Request("unsubscribe", channels=(TICKER, ALERTS)))
    assert found.channels == [MOVES, "channel:exchange:coinbase:*", "channel:exchange:binance:lifecycle"]
    assert found.keep(["binance"]) is True
    assert found.keep(["binance"]) is False
    assert found.channels == ["channel:exchange:binance:lifecycle"]


def test_redis_is_asked_for_whole_kinds_that_do_not_overlap():
    symbols = (f"S{at}" for at in range(150))
    found = asked(*(keys.channel_ticker("coinbase", symbol) for symbol in symbols), "channel:exchange:coinbase:*", ALERTS)
    assert found.redis_patterns() == {
        "channel:alerts:coinbase",
        "channel:exchange:coinbase:alerts:*",
        "channel:exchange:coinbase:candle:close:*:*",
        "channel:exchange:coinbase:lifecycle",
        "channel:exchange:coinbase:moves:*",
        "channel:exchange:coinbase:ticker:*",
    }


@pytest.mark.parametrize(
    ("text", "found"), [('{"id":7,"x":[]}', 7), ('{"id":true}', None), ('{"id":"7"}', None), ("{", None), ("[" * 9999, None)]
)
def test_the_id_of_what_cannot_be_read_is_found_where_it_can_be(text: str, found: int | None):
    assert id_of(text) == found


def test_a_second_allows_its_burst_and_no_more():
    allowance = Allowance(20)
    assert [allowance.take(100.0) for _ in range(21)] == [True] * 20 + [False]
    assert [allowance.take(100.125) for _ in range(3)] == [True, True, False]


def test_ten_thousand_hostile_requests_reach_nothing_and_leave_nothing_behind():
    found, refused = Subscriptions(), []
    mine = _patterns_of("coinbase")
    try:
        for number, text in enumerate(hostile.requests(7, 10_000)):
            if (reason := _carry_out(text, found)) and number > 9_900:
                refused.append(reason)
            if number % 50 == 0:
                assert len(found.channels) <= MOST_PATTERNS
                assert found.redis_patterns() <= mine
                assert not any(found.wants(delivered(channel)) for channel in FOREIGN)
            if number == 7_900:
                gc.collect()
                tracemalloc.start()  # what is taken from here on, and kept: it costs as much as all the rest
            if number == 9_900:
                gc.collect()
                kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 20 < len(refused) < 90
    assert all(len(reason) < 500 and reason.isascii() for reason in refused)
    assert kept < 150_000, "bytes"
    assert {parse(channel).kind for channel in found.channels} <= {*KINDS, "every"}


def _carry_out(text: str, found: Subscriptions) -> str:
    """Why it was refused, or nothing."""
    try:
        request = read(text)
        found.add(request, ["coinbase"]) if request.type == "subscribe" else found.remove(request)
    except Refused as refused:
        return str(refused)
    return ""


FOREIGN = (
    "channel:user:1:alerts", "channel:user:coinbase:alerts", "channel:user:1:account", "channel:alerts:binance",
    "channel:exchange:binance:alerts:BTCUSDT", "channel:exchange:binance:ticker:BTCUSDT", "channel:exchange:binance:lifecycle",
)  # fmt: skip


def _patterns_of(exchange_id: str) -> set[str]:
    return asked(f"channel:exchange:{exchange_id}:*", f"channel:alerts:{exchange_id}").redis_patterns()
