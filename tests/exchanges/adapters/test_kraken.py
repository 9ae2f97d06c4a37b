import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from exchanges.adapters import kraken, wire
from exchanges.events import Alive, Balance, Candle, Channel, Credentials, Refused, Rejected, Stream, Subscribed, Ticker
from tests.recordings import recording

OPEN = 1_786_309_500_000
BEGIN = "2026-08-09T21:05:00.000000000Z"


def ohlc(kind: str = "update", **changes: Any) -> str:
    row = {"symbol": "BTC/USD", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "trades": 3, "volume": 1.5, "vwap": 10.5,
           "interval_begin": BEGIN, "interval": 5, "timestamp": "2026-08-09T21:10:00.000000Z", **changes}  # fmt: skip
    return json.dumps({"channel": "ohlc", "type": kind, "timestamp": "2026-08-09T21:05:48.228Z", "data": [row]})


def test_a_candle_opens_at_its_interval_begin_and_is_never_closed():
    assert kraken.parse(ohlc()) == [Candle("BTC/USD", "5m", OPEN, 10.0, 12.0, 9.0, 11.0, 1.5, False, OPEN + 48_228)]


def test_a_ticker_gives_the_quote_volume_by_its_average_price():
    row = {"symbol": "BTC/USD", "last": 65000.0, "bid": 64999.9, "ask": 65000.1, "volume": 2.0, "vwap": 60000.0, "change_pct": -1.5,
           "timestamp": "2026-08-09T21:05:48.5Z"}  # fmt: skip
    frame = json.dumps({"channel": "ticker", "type": "snapshot", "data": [row]})
    assert kraken.parse(frame) == [Ticker("BTC/USD", 65000.0, OPEN + 48_500, 2.0, 120_000.0, -1.5, 64999.9, 65000.1)]


@pytest.mark.parametrize("begin", [None, "", "2026-08-09T21:05:00", "2026-08-09T24:00:00Z", "1970-01-01T00:00:00Z", 1_786_309_500])
def test_a_candle_without_a_time_to_open_at_is_rejected(begin: Any):
    assert [type(event) for event in kraken.parse(ohlc(interval_begin=begin))] == [Rejected]


def test_a_candle_whose_interval_begin_is_missing_is_rejected():
    assert [type(event) for event in kraken.parse(ohlc().replace("interval_begin", "began"))] == [Rejected]


def test_every_symbol_has_its_own_ack():
    text = '{"method":"subscribe","result":{"channel":"ohlc","interval":5,"snapshot":true,"symbol":"BTC/USD"},"success":true}'
    assert kraken.parse(text) == [Subscribed((Stream(Channel.CANDLES, "BTC/USD"),))]


def test_an_ack_tells_the_time_which_heartbeats_do_not():
    result = {"channel": "ticker", "symbol": "BTC/USD"}
    frame = {"method": "subscribe", "result": result, "success": True, "time_out": "2026-08-09T21:05:48.5Z"}
    assert kraken.parse(json.dumps(frame)) == [Subscribed((Stream(Channel.TICKER, "BTC/USD"),)), Alive(OPEN + 48_500)]


def test_a_refused_symbol_is_named():
    text = '{"error":"Currency pair not supported XBT/USD","method":"subscribe","success":false,"symbol":"XBT/USD"}'
    assert kraken.parse(text) == [Refused("Currency pair not supported XBT/USD", stream=Stream(Channel.CANDLES, "XBT/USD"))]


def test_what_was_subscribed_to_before_is_no_refusal():
    text = '{"error":"Already subscribed","method":"subscribe","success":false,"symbol":"BTC/USD"}'
    assert kraken.parse(text) == [Subscribed((Stream(Channel.CANDLES, "BTC/USD"), Stream(Channel.TICKER, "BTC/USD")))]


@pytest.mark.parametrize(
    "text", ['{"channel":"heartbeat"}', '{"channel":"status","type":"update","data":[{"connection_id":18125794168470749634}]}']
)
def test_heartbeats_and_the_status_are_signs_of_life(text: str):
    assert kraken.parse(text) == [Alive()]


@pytest.mark.parametrize("bad", [{"high": 8.0}, {"low": -1.0}, {"interval": 7}, {"interval_begin": "today"}, {"open": "10"}], ids=str)
def test_a_candle_that_cannot_be_is_rejected(bad: dict[str, Any]):
    assert [type(event) for event in kraken.parse(ohlc(**bad))] == [Rejected]


@pytest.mark.parametrize(
    "bad", ["", "[]", "{", "{}", "null", '{"channel":"ohlc","data":5}', "[" * 5000, '{"channel":"ticker","data":[{"symbol":"X"}]}']
)
def test_what_cannot_be_read_is_rejected_not_raised(bad: str):
    assert [type(event) for event in kraken.parse(bad)] == [Rejected]


def test_subscriptions_name_channel_symbols_and_interval():
    streams = [Stream(Channel.CANDLES, "BTC/USD"), Stream(Channel.TICKER, "BTC/USD")]
    first, second = kraken.subscribe(streams, 7)
    assert json.loads(first[0]) == {"method": "subscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 5}, "req_id": 7}
    assert json.loads(second[0]) == {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}, "req_id": 8}
    assert json.loads(kraken.unsubscribe(streams, 9)[0][0])["method"] == "unsubscribe"


def test_rest_rows_are_read_whatever_their_key_and_the_cursor_is_left_out():
    row = [OPEN // 1000, "10", "12", "9", "11", "10.5", "1.5", 3]
    body = json.dumps({"error": [], "result": {"XXBTZUSD": [row], "last": 5}}).encode()
    assert kraken.parse_candles([body], "BTC/USD", "5m") == [Candle("BTC/USD", "5m", OPEN, 10.0, 12.0, 9.0, 11.0, 1.5)]


@pytest.mark.parametrize(
    ("error", "kind", "final"),
    [
        ("EAPI:Rate limit exceeded", "rate_limited", False),
        ("EService:Unavailable", "unavailable", False),
        ("EQuery:Unknown asset pair", "bad_request", True),
    ],
)
def test_an_error_in_a_200_has_a_meaning(error: str, kind: str, final: bool):
    with pytest.raises(wire.BadAnswer) as caught:
        kraken.parse_time(json.dumps({"error": [error]}).encode())
    assert caught.value.refusal is not None
    assert (caught.value.refusal.kind, caught.value.refusal.final) == (kind, final)


def test_the_feeds_spelling_replaces_the_old_names():
    pairs = {"XXBTZUSD": {"wsname": "XBT/USD", "status": "online", "pair_decimals": 1, "tick_size": "0.1"},
             "XDGUSD": {"wsname": "XDG/USD", "status": "cancel_only", "pair_decimals": 7}, "ODD": {"status": "online"}}  # fmt: skip
    tickers = {"XXBTZUSD": {"c": ["65000", "1"], "v": ["1", "2"], "p": ["1", "60000"], "o": "64000"}}
    bodies = [json.dumps({"error": [], "result": result}).encode() for result in (pairs, tickers)]
    infos = kraken.parse_symbols(bodies)
    assert [(info.symbol, info.tradable, info.quote_volume_24h, info.price_increment) for info in infos] == [
        ("BTC/USD", True, 120_000.0, "0.1"), ("DOGE/USD", False, None, "0.0000001"),
    ]  # fmt: skip


def test_the_recorded_sessions_are_read_without_loss():
    kinds = []
    for name in ("live_2026-10-06_ohlc_session.jsonl", "live_2026-09-24_ticker_session.jsonl"):
        for line in recording(f"kraken/ws_v2_misc/{name}").read_text().splitlines():
            kinds += [type(event) for event in kraken.parse(line)]
    assert Rejected not in kinds
    assert kinds.count(Refused) == 2
    assert kinds.count(Candle) >= 3
    assert kinds.count(Ticker) == 1


def test_the_recorded_rest_bodies_are_read_without_loss():
    body = json.loads(recording("kraken/nautilus/http_ohlc.json").read_bytes())
    rows = next(rows for key, rows in body["result"].items() if key != "last")
    minutes = [row for row in rows if row[0] % 300 == 0]
    candles = kraken.parse_candles([json.dumps({"error": [], "result": {"x": minutes, "last": 1}}).encode()], "BTC/USDT", "5m")
    assert len(candles) == len(minutes) > 100
    assert kraken.parse_time(recording("kraken/nautilus/http_server_time.json").read_bytes()) > 0
    pairs = recording("kraken/nautilus/http_asset_pairs.json").read_bytes()
    tickers = recording("kraken/nautilus/http_ticker.json").read_bytes()
    assert "BTC/USDT" in {info.symbol for info in kraken.parse_symbols([pairs, tickers])}
    for line in recording("kraken/rest_errors/live_errors.jsonl").read_text().splitlines():
        with pytest.raises(wire.BadAnswer):
            kraken.parse_time(json.dumps(json.loads(line).get("body", json.loads(line))).encode())


# Balances

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
"""That of the example in Kraken's documentation."""


def test_a_request_is_signed_as_in_the_documentation():
    body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    signature = kraken._signature(Credentials("reader", SECRET), "/0/private/AddOrder", "1616492376594", body)
    assert signature == "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="


def test_balances_are_asked_for_with_a_post_that_carries_the_nonce():
    request = kraken.balance_request(Credentials("reader", SECRET), "https://api.kraken.com", OPEN, "17")
    assert (request.method, request.path, request.params, request.body) == ("POST", "/0/private/Balance", (), b"nonce=17")
    message = b"/0/private/Balance" + hashlib.sha256(b"17nonce=17").digest()
    assert dict(request.headers) == {
        "API-Key": "reader",
        "API-Sign": b64encode(hmac.digest(b64decode(SECRET), message, "sha512")).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_a_secret_that_is_not_base64_says_what_to_paste():
    with pytest.raises(wire.BadKey, match="paste the whole private key") as caught:
        kraken.balance_request(Credentials("reader", "canary!"), "https://api.kraken.com", OPEN, "17")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("asset", "code"),
    [
        ("XXBT", "BTC"), ("XBT", "BTC"), ("XBT.M", "BTC"), ("XXDG", "DOGE"), ("XDG", "DOGE"), ("ZUSD", "USD"), ("ZEUR", "EUR"),
        ("XETH", "ETH"), ("ETH.F", "ETH"), ("ETH2", "ETH"), ("ETH2.S", "ETH"), ("DOT28.S", "DOT"), ("SOL.B", "SOL"), ("USDC.M", "USDC"),
        ("ZUSD.HOLD", "USD"), ("XZEC", "ZEC"), ("ZETA", "ZETA"),
        ("XION", "XION"), ("XTZ", "XTZ"), ("C98", "C98"), ("C98.S", "C98"), ("1INCH", "1INCH"),
    ],
)  # fmt: skip
def test_asset_ids_become_plain_codes(asset: str, code: str):
    body = json.dumps({"error": [], "result": {asset: "2.5", "OTHER": "0.0000"}}).encode()
    assert kraken.parse_balances(body) == ([Balance(code, 2.5)], "")


@pytest.mark.parametrize("body", [b"[]", b'{"error":[],"result":{"XXBT":"nan"}}', b'{"error":[],"result":{"XXBT":{}}}', b'{"error":[]}'])
def test_balances_that_cannot_be_read_are_an_error(body: bytes):
    with pytest.raises(wire.BadAnswer):
        kraken.parse_balances(body)


def test_the_recorded_balances_are_read():
    body = recording("kraken/nautilus/http_spot_balance.json").read_bytes()
    assert kraken.parse_balances(body) == ([Balance("USD", 200_000.0), Balance("BTC", 0.5), Balance("ETH", 2.0)], "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("EAPI:Invalid key", "whether it still exists"),
        ("EAPI:Invalid signature", "the secret does not belong to this key"),
        ("EAPI:Invalid nonce", "another program uses this key"),
        ("EGeneral:Permission denied", "give it Query Funds"),
        ("EGeneral:Temporary lockout", "wait 15 minutes"),
    ],
)
def test_a_refused_key_says_the_fix(error: str, reason: str):
    with pytest.raises(wire.BadAnswer) as caught:
        kraken.parse_balances(json.dumps({"error": [error]}).encode())
    refusal = caught.value.refusal
    assert refusal is not None
    assert (refusal.kind, refusal.final, refusal.clock) == ("bad_key", True, False)
    assert reason in refusal.reason
