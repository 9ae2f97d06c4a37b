import base64
import json
from collections import Counter
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges.adapters import coinbase, wire
from exchanges.events import Alive, Balance, Candle, Channel, Credentials, Refused, Rejected, Sequence, Stream, Subscribed, Ticker
from tests.recordings import received, recording

AT = "2026-08-09T21:05:48.228971266Z"
AT_MS = 1_786_309_548_228


def frame(channel: str, *events: dict[str, Any], number: int = 3, **more: Any) -> str:
    return json.dumps({"channel": channel, "timestamp": AT, "sequence_num": number, "events": list(events), **more})


def row(start: int = 1_786_309_500, **changes: str) -> dict[str, str]:
    values = {"start": str(start), "high": "12", "low": "9", "open": "10", "close": "11", "volume": "1.5", "product_id": "BTC-USD"}
    return {**values, **changes}


def test_a_candle_update_is_never_closed():
    events = coinbase.parse(frame("candles", {"type": "update", "candles": [row()]}))
    assert events == [Sequence(3), Candle("BTC-USD", "5m", 1_786_309_500_000, 10.0, 12.0, 9.0, 11.0, 1.5, False, AT_MS, False)]


def test_a_snapshot_is_marked_so_that_its_holes_are_nobodys_history():
    events = coinbase.parse(frame("candles", {"type": "snapshot", "candles": [row(1_786_308_600), row()]}))
    assert [(event.open_time, event.snapshot) for event in events[1:]] == [(1_786_308_600_000, True), (1_786_309_500_000, True)]


def test_a_ticker_has_the_base_volume_and_no_quote_volume():
    ticker = {"type": "ticker", "product_id": "BTC-USD", "price": "65086.18", "volume_24_h": "2867.5", "price_percent_chg_24_h": "-0.5",
              "best_bid": "65086.17", "best_ask": ""}  # fmt: skip
    assert coinbase.parse(frame("ticker", {"type": "update", "tickers": [ticker]})) == [
        Sequence(3),
        Ticker("BTC-USD", 65086.18, AT_MS, 2867.5, None, -0.5, 65086.17, None),
    ]


def test_an_ack_lists_the_whole_current_set():
    events = coinbase.parse(frame("subscriptions", {"subscriptions": {"candles": ["ETH-USD", "BTC-USD"], "heartbeats": ["heartbeats"]}}))
    assert events[1] == Subscribed((Stream(Channel.CANDLES, "ETH-USD"), Stream(Channel.CANDLES, "BTC-USD")), whole=True)


def test_a_heartbeat_carries_the_exchanges_clock():
    beat = {"current_time": "2026-08-09 21:05:48.2 +0000 UTC m=+41715.26", "heartbeat_counter": 41715}
    assert coinbase.parse(frame("heartbeats", beat)) == [Sequence(3), Alive(AT_MS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-08-09T21:05:48.000999Z", 1_786_309_548_000),
        ("2026-08-09T21:05:48.999999Z", 1_786_309_548_999),
        ("2026-08-09T23:05:48.123+02:00", 1_786_309_548_123),
        ("2009-01-01T00:00:00Z", wire.EARLIEST),
        ("2008-12-31T23:59:59.999999Z", 0),
        ("2099-12-31T23:59:59.999999Z", wire.LATEST - 1),
        ("2100-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.5Z", 0),
        ("0001-01-01T00:00:00Z", 0),
    ],
)
def test_the_exchanges_clock_is_read_in_whole_milliseconds_of_this_age(text: str, expected: int):
    assert coinbase.parse(frame("heartbeats", {}, timestamp=text)) == [Sequence(3), Alive(expected)]


@pytest.mark.parametrize("figure", ["nan", "inf", "-inf", "1e400", "", "none"])
@pytest.mark.parametrize("name", ["volume_24_h", "price_percent_chg_24_h", "best_bid", "best_ask"])
def test_a_figure_of_a_ticker_that_is_no_number_is_absent_and_the_rest_stays(name: str, figure: str):
    figures = {"volume_24_h": "1e308", "price_percent_chg_24_h": "-0.5", "best_bid": "1e308", "best_ask": "11.1"}
    ticker = {"product_id": "BTC-USD", "price": "11", **figures, name: figure}
    (_, event) = coinbase.parse(frame("ticker", {"tickers": [ticker]}))
    told = {name: float(text) for name, text in figures.items()} | {name: None}
    assert event == Ticker(
        "BTC-USD", 11.0, AT_MS, told["volume_24_h"], None, told["price_percent_chg_24_h"], told["best_bid"], told["best_ask"]
    )


def test_an_error_frame_has_no_channel():
    (event,) = coinbase.parse('{"type":"error","message":"authentication failure"}')
    assert event == Refused("authentication failure (Coinbase says so to an unknown channel too)", "error")


def test_the_older_envelope_with_a_client_id_is_read_too():
    assert len(coinbase.parse(frame("candles", {"type": "update", "candles": [row()]}, client_id=""))) == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"high": "8"}, {"low": "11.5"}, {"open": "nan"}, {"close": "-1"}, {"volume": "-0.1"}, {"volume": "inf"},
        {"high": "1e400"}, {"start": "1786309501"}, {"start": "0"}, {"low": "0"},
    ],
    ids=str,
)  # fmt: skip
def test_a_candle_that_cannot_be_is_rejected(bad: dict[str, str]):
    kinds = [type(event) for event in coinbase.parse(frame("candles", {"type": "update", "candles": [row(**bad)]}))]
    assert kinds in ([Sequence, Rejected], [Rejected])


@pytest.mark.parametrize(
    "bad", ["", "[]", "null", "{", '{"channel":1}', "\x00", '{"channel":"candles","timestamp":"yesterday"}', "[" * 5000]
)
def test_what_cannot_be_read_is_rejected_not_raised(bad: str):
    (event,) = coinbase.parse(bad)
    assert isinstance(event, Rejected | Refused)
    assert isinstance(coinbase.parse(b"\xff\xfe" + bad.encode())[0], Rejected)


def test_one_channel_and_a_bounded_number_of_products_a_message():
    streams = [Stream(channel, f"S{number}-USD") for number in range(60) for channel in Channel]
    messages = coinbase.subscribe(streams, 1)
    assert [(json.loads(text)["channel"], len(asked)) for text, asked in messages] == [
        ("candles", 50), ("candles", 10), ("ticker", 50), ("ticker", 10),
    ]  # fmt: skip
    assert {stream for _, asked in messages for stream in asked} == set(streams)


def test_a_candle_request_spans_at_most_three_hundred_rows_and_names_its_last_second():
    start = 1_786_309_200_000
    first, second = coinbase.candles_requests("BTC-USD", "5m", start, start + 400 * 300_000)
    assert dict(first.params) == {"start": "1786309200", "end": str(1786309200 + 300 * 300 - 1), "granularity": "FIVE_MINUTE"}
    assert dict(second.params)["end"] == str(1786309200 + 400 * 300 - 1)


def test_rows_come_newest_first_and_leave_ascending():
    body = json.dumps({"candles": [row(1_786_309_800), row(1_786_309_500)]}).encode()
    assert [candle.open_time for candle in coinbase.parse_candles([body], "BTC-USD", "5m")] == [1_786_309_500_000, 1_786_309_800_000]


def test_four_hours_are_summed_from_two():
    body = json.dumps({"candles": [row(1_786_305_600 + 7200, high="15", close="14"), row(1_786_305_600, low="8")]}).encode()
    (candle,) = coinbase.parse_candles([body], "BTC-USD", "4h")
    assert (candle.open_time, candle.open, candle.high, candle.low, candle.close, candle.volume) == (1_786_305_600_000, 10, 15, 8, 14, 3)


def test_a_body_that_is_something_else_says_what_it_is():
    with pytest.raises(wire.BadAnswer, match="<html>"):
        coinbase.parse_candles([b"<html>"], "BTC-USD", "5m")


def test_a_usdc_product_is_an_alias_and_a_restricted_one_cannot_be_traded():
    products = [
        {"product_id": "BTC-USD", "base_currency_id": "BTC", "quote_currency_id": "USD", "status": "online", "alias": "",
         "approximate_quote_24h_volume": "186637571.25", "price": "65086.18", "price_increment": "0.01"},
        {"product_id": "BTC-USDC", "base_currency_id": "BTC", "quote_currency_id": "USDC", "status": "online", "alias": "BTC-USD"},
        {"product_id": "OLD-USD", "base_currency_id": "OLD", "quote_currency_id": "USD", "status": "delisted", "price": ""},
        {"product_id": "NEW-USD", "base_currency_id": "NEW", "quote_currency_id": "USD", "status": "online", "trading_disabled": True},
    ]  # fmt: skip
    infos = coinbase.parse_symbols([json.dumps({"products": products}).encode()])
    assert [(info.symbol, info.alias_of, info.tradable, info.quote_volume_24h) for info in infos] == [
        ("BTC-USD", "", True, 186637571.25), ("BTC-USDC", "BTC-USD", True, None),
        ("OLD-USD", "", False, None), ("NEW-USD", "", False, None),
    ]  # fmt: skip


@pytest.mark.parametrize("status", [418, 429, 503])
def test_retry_after_is_obeyed_whatever_the_status(status: int) -> None:
    """Where it is not, 120 s without candles follow a 418."""
    assert coinbase.refusal(status, {"retry-after": "1"}, b"{}").retry_after == 1.0


def test_a_refusal_says_when_to_come_back():
    refusal = coinbase.refusal(429, {"retry-after": "3"}, b'{"error":"rate_limit","message":"too many"}')
    assert (refusal.kind, refusal.retry_after, refusal.reason) == ("rate_limited", 3.0, "HTTP 429: rate_limit too many")


def test_the_recorded_session_is_read_without_loss():
    counts: Counter[str] = Counter()
    order: list[str] = []
    for data in received("coinbase/cryptofeed_v3/COINBASE.no_l2.jsonl"):
        for event in coinbase.parse(data):
            counts[type(event).__name__] += 1
            order.append(type(event).__name__)
    assert counts == {"Sequence": 255, "Candle": 204, "Ticker": 160, "Alive": 84, "Subscribed": 5}
    acks = [place for place, name in enumerate(order) if name == "Subscribed"]
    assert order.index("Candle") < acks[1], "data precedes the ack"


def test_the_recorded_snapshot_has_holes_even_on_the_busiest_market():
    opened = [
        event.open_time
        for data in received("coinbase/cryptofeed_v3/COINBASE.no_l2.jsonl")
        for event in coinbase.parse(data)
        if isinstance(event, Candle) and event.snapshot and event.symbol == "BTC-USD"
    ]
    assert len(opened) == 100
    assert (opened[-1] - opened[0]) // 300_000 + 1 - len(opened) == 52


def test_the_recorded_products_are_read_without_loss():
    body = recording("coinbase/cryptofeed_v3/market_products_20260809.json").read_bytes()
    infos = coinbase.parse_symbols([body])
    assert len(infos) == 920
    assert sum(info.status == "delisted" for info in infos) == 8
    assert {info.alias_of for info in infos if info.symbol == "BTC-USDC"} == {"BTC-USD"}


def test_the_recorded_frames_of_other_years_are_read():
    old = recording("coinbase/ws_frames_misc/live_2024-12-01_candles_update_with_client_id.pyrepr.txt").read_text().replace("'", '"')
    assert [type(event) for event in coinbase.parse(old)] == [Sequence, Candle]
    lines = recording("coinbase/ws_frames_misc/live_2026-09-05_ticker_ack_heartbeat_error.jsonl").read_text().splitlines()
    kinds = [[type(event) for event in coinbase.parse(line)] for line in lines]
    assert kinds == [[Sequence, Ticker], [Sequence, Subscribed], [Sequence, Subscribed], [Sequence, Alive], [Sequence, Ticker], [Refused]]


# Balances

NAME = "organizations/o-1/apiKeys/k-1"
ELLIPTIC = ec.derive_private_key(4_711, ec.SECP256R1())
EDWARDS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEC1 = ELLIPTIC.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
PKCS8 = EDWARDS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
LONG = base64.b64encode(bytes(range(32)) + EDWARDS.public_key().public_bytes_raw()).decode()


def token_of(secret: str, rest_url: str = "https://api.coinbase.com") -> str:
    request = coinbase.balance_request(Credentials(f" {NAME}\n", secret), rest_url, AT_MS, "77", "next")
    assert (request.path, request.params) == ("/api/v3/brokerage/accounts", (("limit", "250"), ("cursor", "next")))
    ((name, value),) = request.headers
    assert name == "Authorization"
    return value.removeprefix("Bearer ")


@pytest.mark.parametrize(
    ("secret", "algorithm", "key"),
    [
        (SEC1, "ES256", ELLIPTIC),
        (SEC1.replace("\n", "\\n"), "ES256", ELLIPTIC),
        (SEC1.replace("\n", ""), "ES256", ELLIPTIC),
        (SEC1.replace("\n", " "), "ES256", ELLIPTIC),
        (PKCS8, "EdDSA", EDWARDS),
        (LONG, "EdDSA", EDWARDS),
        (base64.b64encode(bytes(range(32))).decode(), "EdDSA", EDWARDS),
        (f"  {LONG}\n", "EdDSA", EDWARDS),
    ],
    ids=["PEM", "PEM with \\n", "PEM in one line", "PEM with blanks", "Ed25519 PEM", "64 bytes", "32 bytes", "pasted with blanks"],
)
def test_a_token_names_the_key_the_request_and_two_minutes(secret: str, algorithm: str, key: Any):
    token = token_of(secret)
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": NAME, "nonce": "77"}
    begins = AT_MS // 1000
    assert jwt.decode(token, key.public_key(), [algorithm], options={"verify_exp": False, "verify_nbf": False}) == {
        "sub": NAME,
        "iss": "cdp",
        "nbf": begins,
        "exp": begins + 120,
        "uri": "GET api.coinbase.com/api/v3/brokerage/accounts",
    }


def test_the_uri_of_a_token_is_the_one_that_is_asked():
    claims = jwt.decode(token_of(LONG, "http://127.0.0.1:8792/coinbase-sandbox/"), options={"verify_signature": False})
    assert claims["uri"] == "GET 127.0.0.1:8792/coinbase-sandbox/api/v3/brokerage/accounts"


FOREIGN = [
    ec.derive_private_key(4_711, ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    rsa.generate_private_key(65_537, 2_048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
]


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("canary-canary", "neither a PEM private key nor a base64 Ed25519 seed: paste the whole secret of a CDP key"),
        ("Zm9v", "neither a PEM"),
        ("canary é", "neither a PEM"),
        ("", "the secret is missing"),
        (SEC1.replace("M", "canary", 1), "this PEM private key cannot be read"),
        (base64.b64encode(bytes(64)).decode(), "do not belong together"),
        (FOREIGN[0], "of a kind that Coinbase does not use"),
        (FOREIGN[1], "of a kind that Coinbase does not use"),
    ],
)
def test_a_secret_that_cannot_sign_says_what_to_paste(secret: str, reason: str):
    with pytest.raises(wire.BadKey, match=reason) as caught:
        token_of(secret)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "naïve"])
def test_a_key_that_cannot_travel_in_a_header_is_none(key: str):
    with pytest.raises(wire.BadKey, match="not an API key"):
        coinbase.balance_request(Credentials(key, LONG), "https://api.coinbase.com", AT_MS, "77")


def account(currency: str, value: str, hold: str | None = None) -> dict[str, Any]:
    told = {"uuid": "u", "currency": currency, "available_balance": {"value": value, "currency": currency}, "ready": True}
    return told if hold is None else {**told, "hold": {"value": hold, "currency": currency}}


def test_balances_are_what_is_free_and_what_is_held():
    rows = [account("BTC", "0.5", "0.25"), account("ETH", "0", "0"), account("SOL", "0", "3"), account("USD", "12.5")]
    body = json.dumps({"accounts": rows, "has_next": True, "cursor": "next", "size": 4}).encode()
    assert coinbase.parse_balances(body) == ([Balance("BTC", 0.75), Balance("SOL", 3.0), Balance("USD", 12.5)], "next")
    last = json.dumps({"accounts": [], "has_next": False, "cursor": "stale"}).encode()
    assert coinbase.parse_balances(last) == ([], "")


@pytest.mark.parametrize(
    "answer", ["<html>", {}, {"accounts": [{"currency": "BTC"}]}, *({"accounts": [account("BTC", odd)]} for odd in ("nan", "1,5"))]
)
def test_balances_that_cannot_be_read_are_an_error_that_tells_nothing_of_them(answer: Any):
    body = json.dumps(answer).encode()
    with pytest.raises(wire.BadAnswer) as caught:
        coinbase.parse_balances(body)
    assert "1,5" not in str(caught.value)
    assert "html" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "clock", "reason"),
    [
        (401, b"Unauthorized\n", True, "paste its name and its whole secret again"),
        (403, b'{"error":"PERMISSION_DENIED","error_details":"Missing required scopes"}', False, "the permission View"),
    ],
)
def test_a_refused_key_says_the_fix(status: int, body: bytes, clock: bool, reason: str):
    refusal = coinbase.refusal(status, {}, body)
    assert (refusal.kind, refusal.final, refusal.clock) == ("bad_key", True, clock)
    assert reason in refusal.reason


def test_another_403_is_no_matter_of_the_key():
    assert coinbase.refusal(403, {}, b"<html>").kind == "blocked"
