"""What may be typed into an exchange row."""

import json

import pytest
from django.core.exceptions import ValidationError

from exchanges import validators
from exchanges.adapters import coinbase


def message(validator, value) -> str:
    """The first error for a value; empty where it is accepted."""
    try:
        validator(value)
    except ValidationError as error:
        return error.messages[0]
    return ""


@pytest.mark.parametrize("slug", ["coinbase", "binance-us", "1inch", "a"])
def test_it_accepts_a_slug(slug):
    assert message(validators.exchange_slug, slug) == ""


@pytest.mark.parametrize("slug", ["", "Coinbase", "binance_us", "-a", "a-", "a--b", "a:b", "a b", "coinbase\n", "ä", "a/b", "*"])
def test_it_refuses_a_slug_that_would_break_a_key(slug):
    assert message(validators.exchange_slug, slug) == "Use lower-case letters, digits and single dashes, e.g. binance-us."


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://stream.binance.com:9443", ""),
        ("ws://127.0.0.1:8791/coinbase-sandbox", ""),
        ("https://stream.binance.com", "Start with wss:// or ws:// and a host name."),
        ("wss://", "Start with wss:// or ws:// and a host name."),
        ("stream.binance.com", "Start with wss:// or ws:// and a host name."),
        ("javascript:alert(1)", "Start with wss:// or ws:// and a host name."),
        ("wss://user:secret@stream.binance.com", "Leave user names and passwords out of the URL."),
        ("wss://@stream.binance.com", "Leave user names and passwords out of the URL."),
        ("wss://stream.binance.com#x", "The URL holds a character that does not belong there."),
        ("wss://stream.binance.com/a b", "The URL holds a character that does not belong there."),
        ("wss://stream.binance.com\\@evil.example", "Leave user names and passwords out of the URL."),
        ("wss://stream.binance.com\\x", "The URL holds a character that does not belong there."),
        ("wss://stream.binance.com/\r\nHost: evil.example", "The URL holds a character that does not belong there."),
        ("wss://stream.binance.com:port", "Not a URL: Port could not be cast to integer value as 'port'."),
        ("wss://[::1", "Not a URL: Invalid IPv6 URL."),
    ],
)
def test_it_reads_a_websocket_url(url, expected):
    assert message(validators.websocket_url, url) == expected


def test_it_refuses_a_rest_url_with_a_query():
    assert message(validators.rest_url, "https://api.coinbase.com/?a=") == (
        "Leave the question mark and what follows out: requests add their own."
    )


@pytest.mark.parametrize(
    ("websocket", "rest", "is_sandbox", "expected"),
    [
        ("wss://advanced-trade-ws.coinbase.com", "https://api.coinbase.com", False, {}),
        ("wss://ADVANCED-trade-ws.coinbase.com", "https://api.coinbase.com", False, {}),
        ("ws://127.0.0.1:8791/x", "http://localhost:8792/x", True, {}),
        ("ws://[::1]:8791/x", "http://127.0.0.2/x", True, {}),
        (
            "ws://advanced-trade-ws.coinbase.com",
            "http://api.coinbase.com",
            False,
            {
                "websocket_url": "Use wss://: only a simulated exchange may go without TLS.",
                "rest_url": "Use https://: only a simulated exchange may go without TLS.",
            },
        ),
        (
            "ws://169.254.169.254/",
            "http://0.0.0.0/",
            True,
            {
                "websocket_url": "A simulated exchange is served from this machine: use 127.0.0.1.",
                "rest_url": "A simulated exchange is served from this machine: use 127.0.0.1.",
            },
        ),
        ("wss://[::1", "https://", False, {}),  # the fields' own validators refuse these
    ],
)
def test_it_lets_urls_point_only_where_they_may(websocket, rest, is_sandbox, expected):
    assert validators.exchange_urls("coinbase", websocket, rest, is_sandbox=is_sandbox) == expected


TRICKS = [
    "wss://127.0.0.1",
    "wss://localhost",
    "wss://[::1]",
    "wss://169.254.169.254",
    "wss://2130706433",
    "wss://0x7f000001",
    "wss://api.coinbase.com.evil.example",
    "wss://evil.example/api.coinbase.com",
    "wss://evil.example?api.coinbase.com",
    "wss://api.coinbase.com.",
    "wss://api-coinbase.com",
    "wss://xn--pi-coinbase-6yb.com",
    "wss://\uff41\uff50\uff49.coinbase.com.evil",
    "wss://stream.binance.com",
]


@pytest.mark.parametrize("url", TRICKS)
def test_it_refuses_a_host_that_is_not_the_adapters(url):
    found = validators.exchange_urls("coinbase", url, "https://api.coinbase.com", is_sandbox=False)
    assert list(found) == ["websocket_url"]
    assert found["websocket_url"].endswith("is not a host of this adapter; known: advanced-trade-ws.coinbase.com, api.coinbase.com.")


def test_it_names_the_known_adapters_for_an_unknown_one():
    found = validators.exchange_urls("mtgox", "wss://a.example", "https://a.example", is_sandbox=False)
    assert found["adapter"].startswith("unknown adapter 'mtgox'; known: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, ""),
        ({"messages_per_second": 0.5, "rest_weight_per_minute": 6000}, ""),
        ({"max_connection_age": 0}, ""),
        ([], 'Write a JSON object, e.g. {"messages_per_second": 5}.'),
        ({"message_per_second": 5}, "Unknown limit 'message_per_second'; known: messages_per_second, "),
        ({"rest_burst": -1}, "rest_burst must be a number from 0 to 10,000,000."),
        ({"rest_burst": "5"}, "rest_burst must be a number from 0 to 10,000,000."),
        ({"rest_burst": True}, "rest_burst must be a number from 0 to 10,000,000."),
        ({"messages_per_second": float("nan")}, "messages_per_second must be a number from 0 to 10,000,000."),
        ({"messages_per_second": float("inf")}, "messages_per_second must be a number from 0 to 10,000,000."),
        ({"connects_per_5min": 0}, "connects_per_5min may not be 0: nothing could be sent."),
        ({"connects_per_5min": 0.5}, "connects_per_5min must be a whole number."),
    ],
)
def test_it_reads_limits(value, expected):
    found = message(validators.limits, value)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_overrides_keep_the_type_of_each_limit():
    merged = validators.merged_limits(coinbase.limits, json.loads('{"messages_per_second": 4, "rest_burst": 7.0, "gone": 1}'))
    assert (merged.messages_per_second, merged.rest_burst) == (4.0, 7)
    assert type(merged.rest_burst) is int
    assert merged.connects_per_5min == coinbase.limits.connects_per_5min


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, ""),
        ({"deny": ["US"], "note": "HTTP 451"}, ""),
        ({"allow": ["US"]}, ""),
        ({"allow": ["US"], "deny": ["CN"]}, "Give either allow or deny, not both."),
        ({"deny": "US"}, "deny is a list of two-letter country codes in capitals, e.g. US."),
        ({"deny": ["us"]}, "deny is a list of two-letter country codes in capitals, e.g. US."),
        ({"deny": [["US"]]}, "deny is a list of two-letter country codes in capitals, e.g. US."),
        ({"note": 1}, "note is a sentence."),
        ({"block": []}, 'Write {"deny": ["US"]} or {"allow": ["US"]}, with an optional "note".'),
        ([], 'Write {"deny": ["US"]} or {"allow": ["US"]}, with an optional "note".'),
    ],
)
def test_it_reads_geo_restrictions(value, expected):
    assert message(validators.geo_restrictions, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["5m"], ""),
        (["1d", "5m"], ""),
        (["1h"], "5m has to be there: the others are summed from it."),
        (["5m", "1m"], "Choose at least one of 5m, 15m, 1h, 4h, 1d."),
        (["5m", ["1h"]], "Choose at least one of 5m, 15m, 1h, 4h, 1d."),
        ([], "Choose at least one of 5m, 15m, 1h, 4h, 1d."),
        ("5m", "Choose at least one of 5m, 15m, 1h, 4h, 1d."),
        (["5m", "5m"], "A timeframe stands there twice."),
    ],
)
def test_it_reads_timeframes(value, expected):
    assert message(validators.timeframes, value) == expected


@pytest.mark.parametrize(
    "template",
    [
        "https://www.coinbase.com/advanced-trade/spot/{base}-{quote}",
        "https://www.binance.us/spot-trade/{base_lower}_{quote_lower}",
        "https://www.binance.com/en/trade/{symbol}?type=spot",
    ],
)
def test_it_accepts_a_trade_page(template):
    assert message(validators.trade_url_template, template) == ""
    names = ("base", "quote", "symbol", "base_lower", "quote_lower", "symbol_lower")
    assert "{" not in template.format(**dict.fromkeys(names, "x"))


@pytest.mark.parametrize(
    "template",
    [
        "https://a.example/{base}}/x",
        "https://a.example/{{base}",
        "https://a.example/}x",
        "https://a.example/{}",
        "https://a.example/{0}",
        "https://a.example/{base!r}",
        "https://a.example/{base.__class__}",
        "https://a.example/{bases}",
    ],
)
def test_it_refuses_a_placeholder_that_cannot_be_filled_in(template):
    assert message(validators.trade_url_template, template).startswith("Use only {base}, {base_lower}, ")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("http://a.example/{base}", "Start with https:// and a host name."),
        ("javascript:alert('{base}')", "Start with https:// and a host name."),
        ("https://[", "Not a URL: Invalid IPv6 URL."),
        ("https://{base}.example/", "The host of the trade page is fixed: use placeholders after it."),
        ("https://user@a.example/{base}", "Leave user names and passwords out of the URL."),
    ],
)
def test_it_refuses_a_trade_page_that_is_not_one(template, expected):
    assert message(validators.trade_url_template, template) == expected
