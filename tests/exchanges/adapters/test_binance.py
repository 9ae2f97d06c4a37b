import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges.adapters import binance, wire
from exchanges.events import Alive, Balance, Candle, Channel, Credentials, GoingAway, Refused, Rejected, Stream, Subscribed, Ticker
from tests.recordings import recording

OPEN = 1_786_309_500_000


def kline(*, closed: bool = False, **changes: Any) -> dict[str, Any]:
    k = {"t": OPEN, "T": OPEN + 299_999, "s": "BTCUSDT", "i": "5m", "f": 1, "L": 9, "o": "10", "c": "11", "h": "12", "l": "9", "v": "1.5",
         "n": 9, "x": closed, "q": "15.1", "V": "1", "Q": "10", "B": "0", **changes}  # fmt: skip
    return {"e": "kline", "E": OPEN + 1000, "s": "BTCUSDT", "k": k}


def wrapped(data: dict[str, Any]) -> str:
    return json.dumps({"stream": "btcusdt@kline_5m", "data": data})


@pytest.mark.parametrize("spell", [json.dumps, wrapped], ids=["raw", "wrapped"])
@pytest.mark.parametrize("closed", [False, True])
def test_both_frame_shapes_are_read(spell: Any, closed: bool):
    expected = Candle("BTCUSDT", "5m", OPEN, 10.0, 12.0, 9.0, 11.0, 1.5, closed, OPEN + 1000)
    assert binance.parse(spell(kline(closed=closed))) == [expected]


def test_an_idle_interval_is_closed_too():
    (event,) = binance.parse(wrapped(kline(closed=True, n=0, f=-1, L=-1, v="0", q="0", o="10", c="10", h="10", l="10")))
    assert (event.closed, event.volume) == (True, 0.0)


def test_a_ticker_has_both_volumes():
    data = {
        "e": "24hrTicker",
        "E": OPEN,
        "s": "BTCUSDT",
        "c": "65000.1",
        "v": "20",
        "q": "1300000",
        "P": "-1.5",
        "b": "65000",
        "a": "65000.2",
    }
    assert binance.parse(wrapped(data)) == [Ticker("BTCUSDT", 65000.1, OPEN, 20.0, 1_300_000.0, -1.5, 65000.0, 65000.2)]


@pytest.mark.parametrize("figure", ["nan", "inf", "-inf", None])
@pytest.mark.parametrize("name", ["v", "q", "P", "b", "a"])
def test_a_figure_of_a_ticker_that_is_no_number_is_absent_and_the_rest_stays(name: str, figure: str | None):
    figures = {"v": "1e308", "q": "1e308", "P": "-1.5", "b": "10.9", "a": "11.1"}
    told = {name: float(text) for name, text in figures.items()} | {name: None}
    data = {"e": "24hrTicker", "E": OPEN, "s": "BTCUSDT", "c": "11", **figures, name: figure}
    assert binance.parse(wrapped(data)) == [Ticker("BTCUSDT", 11.0, OPEN, told["v"], told["q"], told["P"], told["b"], told["a"])]


def test_a_kline_told_at_no_time_of_this_age_or_before_it_opened_is_still_one():
    for told, expected in ((OPEN - 40, OPEN - 40), (5, 0), (9_007_199_254_740_993, 0)):
        (event,) = binance.parse(wrapped({**kline(), "E": told}))
        assert isinstance(event, Candle)
        assert event.event_time == expected


def test_an_ack_names_only_our_request():
    assert binance.parse('{"result":null,"id":7}') == [Subscribed(request=7)]


@pytest.mark.parametrize(
    "text",
    ['{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":4}', '{"code":2,"msg":"Invalid request: invalid stream","id":4}'],
    ids=["as sent", "as documented"],
)
def test_both_spellings_of_a_refusal_are_read(text: str):
    assert binance.parse(text) == [Refused("Invalid request: invalid stream", "2", request=4)]


def test_the_shutdown_notice_is_read():
    assert binance.parse('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}') == [
        GoingAway("serverShutdown", 1770123456789)
    ]


def test_an_event_nobody_asked_for_is_passed_over():
    depth = {"e": "depthUpdate", "E": OPEN, "s": "BTCUSDT", "b": [["1", "2"]], "a": []}
    assert binance.parse(wrapped(depth)) == [Alive()]
    assert binance.parse(wrapped({"e": "trade", "E": OPEN, "s": "BTCUSDT"})) == [Alive(OPEN)]


@pytest.mark.parametrize(
    "bad", [{"h": "8"}, {"o": "nan"}, {"c": "-1"}, {"v": "-1"}, {"h": "1e400"}, {"t": OPEN + 1}, {"l": "0"}, {"x": "yes"}], ids=str
)
def test_a_candle_that_cannot_be_is_rejected(bad: dict[str, Any]):
    (event,) = binance.parse(wrapped(kline(**bad)))
    assert isinstance(event, Rejected)


@pytest.mark.parametrize("bad", ["", "[]", "null", "{", '{"data":1}', "\x00", '{"e":"kline"', "{}", "[" * 5000])
def test_what_cannot_be_read_is_rejected_not_raised(bad: str):
    assert [type(event) for event in binance.parse(bad)] == [Rejected]
    assert [type(event) for event in binance.parse(b"\xff" + bad.encode())] == [Rejected]


def test_a_subscription_is_spelled_in_lower_case_and_numbered():
    streams = [Stream(Channel.CANDLES, "BTCUSDT"), Stream(Channel.TICKER, "BTCUSDT")]
    ((text, asked),) = binance.subscribe(streams, 5)
    assert json.loads(text) == {"method": "SUBSCRIBE", "params": ["btcusdt@kline_5m", "btcusdt@ticker"], "id": 5}
    assert asked == tuple(streams)
    assert json.loads(binance.unsubscribe(streams, 6)[0][0])["method"] == "UNSUBSCRIBE"


def test_long_subscriptions_are_split_and_each_part_has_its_number():
    messages = binance.subscribe([Stream(Channel.TICKER, f"S{number}") for number in range(250)], 5)
    assert [(json.loads(text)["id"], len(asked)) for text, asked in messages] == [(5, 100), (6, 100), (7, 50)]


def test_it_connects_to_the_combined_stream():
    assert binance.connect_url("wss://stream.binance.com:9443") == "wss://stream.binance.com:9443/stream"


def test_klines_are_asked_for_by_their_open_times():
    first, second = binance.candles_requests("BTCUSDT", "5m", OPEN, OPEN + 1100 * 300_000)
    assert dict(first.params) == {
        "symbol": "BTCUSDT", "interval": "5m", "startTime": str(OPEN), "endTime": str(OPEN + 1000 * 300_000 - 1), "limit": "1000",
    }  # fmt: skip
    assert (dict(second.params)["endTime"], second.weight) == (str(OPEN + 1100 * 300_000 - 1), 2)


def test_symbols_are_joined_with_their_volumes():
    info = {"symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
         "filters": [{"filterType": "LOT_SIZE"}, {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"}]},
        {"symbol": "OLDUSDT", "status": "BREAK", "baseAsset": "OLD", "quoteAsset": "USDT"},
    ]}  # fmt: skip
    tickers = [{"symbol": "BTCUSDT", "lastPrice": "65000", "volume": "2", "quoteVolume": "130000", "priceChangePercent": "1.25"}]
    first, second = binance.parse_symbols([json.dumps(info).encode(), json.dumps(tickers).encode()])
    assert (first.base, first.quote, first.tradable, first.price_increment) == ("BTC", "USDT", True, "0.01")
    assert (first.price, first.volume_24h, first.quote_volume_24h, first.change_24h) == (65000.0, 2.0, 130000.0, 1.25)
    assert (second.tradable, second.status, second.quote_volume_24h) == (False, "BREAK", None)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (429, {"retry-after": "7"}, b"{}", ("rate_limited", 7.0, None, False)),
        (418, {}, b'{"code":-1003,"msg":"banned until 1785050129644."}', ("banned", None, 1785050129644, False)),
        (451, {}, b"whatever", ("blocked", None, None, False)),
        (403, {}, b"<html>", ("blocked", None, None, False)),
        (400, {}, b'{"code":-1121,"msg":"Invalid symbol."}', ("bad_request", None, None, True)),
        (503, {}, b"", ("unavailable", None, None, False)),
        (429, {"retry-after": "soon"}, b"[]", ("rate_limited", None, None, False)),
    ],
)
def test_every_refusal_has_a_meaning(status: int, headers: dict[str, str], body: bytes, expected: tuple[Any, ...]):
    refusal = binance.refusal(status, headers, body)
    assert (refusal.kind, refusal.retry_after, refusal.retry_at, refusal.final) == expected


def test_a_refusal_by_country_names_the_way_out():
    assert "use binance-us" in binance.refusal(451, {}, b"").reason


def test_a_body_that_is_something_else_says_what_it_is():
    with pytest.raises(wire.BadAnswer, match="code"):
        binance.parse_candles([b'{"code":-1}'], "BTCUSDT", "5m")


def test_the_recorded_minute_closes_once_a_symbol():
    closes: list[tuple[str, int]] = []
    candles, rejects = 0, 0
    for line in recording("binance/cryptofeed/BINANCE-ee25be.0").read_text().splitlines():
        _, _, text = line.partition(": ")
        if not text.startswith('{"stream"'):
            continue
        for event in binance.parse(text):
            candles += isinstance(event, Candle)
            rejects += isinstance(event, Rejected)
            if isinstance(event, Candle) and event.closed:
                closes.append((event.symbol, event.open_time))
    assert (candles, rejects) == (118, 0)
    assert sorted(closes) == [("BTCUSDT", 1617566580000), ("DOTUSDT", 1617566580000), ("ETHUSDT", 1617566580000)]


def test_the_recorded_5m_frames_and_rest_bodies_are_read_without_loss():
    lines = recording("binance/ws_kline_5m_2021/btcusdt_kline_5m_20210914_100s.jsonl").read_text().splitlines()
    assert [type(event) for line in lines for event in binance.parse(line)] == [Candle] * 49
    body = recording("binance/gct_rest/api_v3_klines_0.json").read_bytes()
    assert len(binance.parse_candles([body], "BTCUSDT", "5m")) == 24
    info = recording("binance/gct_rest/api_v3_exchangeInfo.json").read_bytes()
    ticker = recording("binance/gct_rest/api_v3_ticker_24hr_3.json").read_bytes()
    rows = json.loads(ticker)
    assert len(binance.parse_symbols([info, ticker if isinstance(rows, list) else b"[" + ticker + b"]"])) == len(
        json.loads(info)["symbols"]
    )


def test_the_recorded_errors_are_understood():
    for line in recording("binance/rest_errors/live_errors.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row.get("ws"):
            assert isinstance(binance.parse(row["body"])[0], Refused | GoingAway)
        else:
            assert (
                binance.refusal(row["http"], {}, row["body"].encode()).kind
                == {418: "banned", 451: "blocked", 400: "bad_request"}[row["http"]]
            )


# Balances

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
"""Those of the example in Binance's documentation."""


def test_a_query_is_signed_as_in_the_documentation():
    query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    signature = binance._signature(Credentials(KEY, SECRET), query)
    assert signature == "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"


def test_an_account_is_asked_for_with_the_key_in_a_header_and_the_signature_last():
    request = binance.balance_request(Credentials(KEY, SECRET), "https://api.binance.com", OPEN, "7")
    query = f"omitZeroBalances=true&timestamp={OPEN}&recvWindow=5000"
    assert urlencode(request.params) == f"{query}&signature={binance._signature(Credentials(KEY, SECRET), query)}"
    assert (request.path, request.weight, request.headers) == ("/api/v3/account", 20, (("X-MBX-APIKEY", KEY),))


@pytest.mark.parametrize("spoil", [str, lambda pem: pem.replace("\n", "\\n"), lambda pem: pem.replace("\n", "")])
def test_an_ed25519_key_signs_in_base64(spoil: Any):
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    request = binance.balance_request(Credentials(KEY, spoil(pem)), "https://api.binance.com", OPEN, "7")
    signature = base64.b64decode(dict(request.params)["signature"])
    key.public_key().verify(signature, urlencode(request.params[:-1]).encode())


@pytest.mark.parametrize("pem", [
    ec.derive_private_key(4_711, ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
])  # fmt: skip
def test_a_private_key_that_binance_does_not_use_says_what_to_make(pem: str):
    with pytest.raises(wire.BadKey, match=r"this private key is not an Ed25519 key|this PEM private key cannot") as caught:
        binance.balance_request(Credentials(KEY, pem), "https://api.binance.com", OPEN, "7")
    assert "canary" not in str(caught.value)


def test_balances_are_what_is_free_and_what_is_locked():
    rows = [{"asset": "BTC", "free": "0.5", "locked": "0.25"}, {"asset": "ETH", "free": "0.00000000", "locked": "0.00000000"}]
    assert binance.parse_balances(json.dumps({"balances": rows}).encode()) == ([Balance("BTC", 0.75)], "")
    for body in (b"[]", b"{}", b'{"balances":[{"asset":"BTC","free":"infinity"}]}', b'{"balances":[{"asset":"BTC","free":"much"}]}'):
        with pytest.raises(wire.BadAnswer):
            binance.parse_balances(body)


def test_the_recorded_account_is_read():
    body = recording("binance/gct_rest/api_v3_account.json").read_bytes()
    told = {row["asset"]: float(row["free"]) + float(row["locked"]) for row in json.loads(body)["balances"]}
    balances, cursor = binance.parse_balances(body)
    assert {row.asset: row.quantity for row in balances} == {asset: quantity for asset, quantity in told.items() if quantity}
    assert cursor == ""


@pytest.mark.parametrize(
    ("code", "clock", "reason"),
    [
        (-2014, False, "paste the API key itself"),
        (-2015, False, "has Enable Reading and allows this address"),
        (-2008, False, "whether it still exists"),
        (-1022, False, "the secret does not belong to this key"),
        (-1021, True, "set the clock of this machine"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_key_says_the_fix(status: int, code: int, clock: bool, reason: str):
    refusal = binance.refusal(status, {}, json.dumps({"code": code, "msg": "as Binance says"}).encode())
    assert (refusal.kind, refusal.final, refusal.clock) == ("bad_key", True, clock)
    assert reason in refusal.reason
    assert f"as Binance says ({code})" in refusal.reason
