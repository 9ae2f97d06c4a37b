"""Binance spot; Binance.US speaks the same protocol and is a row on this module.

Facts this module obeys (binance/binance-spot-api-docs, and recordings of the live feed):

- On ``/stream`` frames are wrapped ``{"stream","data"}``, on ``/ws`` they are not: both are read.
- An ack validates only the syntax: a stream of a symbol that does not exist is acknowledged and stays silent. Bad syntax is answered
  ``{"error":{"code","msg"},"id"}`` (the documentation says flat ``{"code","msg"}``: both are read) and the connection is closed.
- ``k.x`` is true in exactly one frame per interval, sent also when nothing traded.
- 5 incoming messages a second per connection, pings and pongs included; 1,024 streams; the connection is cut after 24 h, announced by
  ``serverShutdown``.
- An account is asked for with the key in a header, the time, and a signature of the percent-encoded query: HMAC-SHA256 in hex, or Ed25519
  in base64. The time may be 5 s old and lie 1 s ahead.
- REST klines are oldest first and include the forming one. 429 asks to stop, 418 is a ban, 451 a refusal by country.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from math import inf, nan
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct, field

from exchanges.adapters import wire
from exchanges.events import (
    TIMEFRAMES,
    Alive,
    Balance,
    Candle,
    Channel,
    Credentials,
    Event,
    GoingAway,
    Limits,
    Refused,
    Request,
    RestRefusal,
    Stream,
    Subscribed,
    SymbolInfo,
    Ticker,
)

id = "binance"
title = "Binance"
hosts = (
    "stream.binance.com",
    "data-stream.binance.vision",
    "api.binance.com",
    "data-api.binance.vision",
    "stream.binance.us",
    "api.binance.us",
)
flags_closes = True
fills_idle = True
limits = Limits(
    messages_per_second=5,
    connects_per_5min=300,
    streams_per_connection=1024,
    rest_weight_per_minute=6000,
    rest_burst=1200,
    max_connection_age=86_400,
)
key_help = "Make an API key in the API management of the exchange with Enable Reading and no other permission, and paste both of its parts."
timeframes = {"5m": "5m", "15m": "15m", "1h": "1h", "4h": "4h", "1d": "1d"}
_STREAMS_A_MESSAGE, _ROWS = 100, 1000
_PATIENCE = 5000
_STEPS = {"1m": 60_000, **TIMEFRAMES}
_SUFFIX = {Channel.CANDLES: "@kline_5m", Channel.TICKER: "@ticker"}


class _Kline(Struct, gc=False):
    t: int
    i: str
    o: float
    c: float
    h: float
    l: float  # noqa: E741  (the exchange's name)
    v: float
    x: bool


class _Event(Struct, gc=False):
    """A kline or a 24 h ticker, in the order of the wire; their letters do not collide but for ``c``, which only the ticker has here."""

    e: str = ""
    E: int = 0
    s: str = ""
    k: _Kline | None = None
    P: float | None = None
    c: float = 0.0
    b: float | None = None
    a: float | None = None
    v: float | None = None
    q: float | None = None


class _Frame(Struct, gc=False):
    """The wrapping alone: with the fields of what comes unwrapped, and of answers, a frame took 5 % longer.

    Nothing reads ``stream``; it is here so that a frame whose wrapping is spoilt is not believed.
    """

    stream: str = ""
    data: _Event | None = None


class _Error(Struct, gc=False):
    code: int = 0
    msg: str = ""


class _Answer(Struct, gc=False):
    id: int | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str = ""


class _Shape(Struct, gc=False):
    """Just enough to tell an event we never asked for from a broken one."""

    e: str = ""
    data: "_Shape | None" = None


_decode = msgspec.json.Decoder(_Frame, strict=False).decode
_decode_unwrapped = msgspec.json.Decoder(_Event, strict=False).decode
_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_shape = msgspec.json.Decoder(_Shape, strict=False).decode
_encode = msgspec.json.encode
_EARLIEST, _LATEST = wire.EARLIEST, wire.LATEST


def connect_url(websocket_url: str) -> str:
    return websocket_url.rstrip("/") + "/stream"


def opening() -> list[str]:
    return []


def subscribe(streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return _messages("SUBSCRIBE", streams, request)


def unsubscribe(streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return _messages("UNSUBSCRIBE", streams, request)


def _messages(method: str, streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return [
        (
            _encode({"method": method, "params": [s.symbol.lower() + _SUFFIX[s.channel] for s in chunk], "id": request + at}).decode(),
            tuple(chunk),
        )
        for at, chunk in enumerate(wire.chunks(list(streams), _STREAMS_A_MESSAGE))
    ]


def parse(frame: str | bytes) -> list[Event]:
    try:
        event = _decode(frame).data or _decode_unwrapped(frame)
    except wire.UNREADABLE as error:
        return [Alive()] if _is_foreign(frame) else [wire.rejected(error, frame)]
    k, time = event.k, event.E
    if k is not None:
        # What is sound in every respect, without a call: 8 % of a frame. _candle says what there is to say about all else.
        # More than three names on the left make a tuple: 3 % of a frame.
        step = _STEPS.get(k.i)
        at, low, high = k.t, k.l, k.h
        if (
            step is not None
            and 0.0 < low <= k.o <= high < inf
            and low <= k.c <= high
            and 0.0 <= k.v < inf
            and _EARLIEST <= at <= time < _LATEST
            and not at % step
        ):
            return [Candle(event.s, k.i, at, k.o, high, low, k.c, k.v, k.x, time)]
        return [_candle(event, k, frame)]
    match event.e:
        case "24hrTicker":
            return [_ticker(event, frame)]
        case "serverShutdown":
            return [GoingAway("serverShutdown", wire.told(time))]
        case "":
            return [_answer(frame)]
        case _:
            return [Alive(wire.told(time))]


def _is_foreign(frame: str | bytes) -> bool:
    """A well-formed event of a kind we do not read (its letters may mean other types)."""
    try:
        shape = _decode_shape(frame)
    except wire.UNREADABLE:
        return False
    return (shape.data or shape).e not in {"", "kline", "24hrTicker", "serverShutdown"}


def _candle(event: _Event, k: _Kline, frame: str | bytes) -> Event:
    time, step = wire.told(event.E), _STEPS.get(k.i)
    if step is None:
        return Alive(time)
    candle = Candle(event.s, k.i, k.t, k.o, k.h, k.l, k.c, k.v, k.x, time)
    fault = wire.candle_fault(candle, step)
    return wire.rejected(ValueError(fault), frame) if fault else candle


def _ticker(event: _Event, frame: str | bytes) -> Event:
    price, time = event.c, event.E
    volume, quote_volume = event.v, event.q
    change, bid, ask = event.P, event.b, event.a
    if not 0.0 < price < inf:
        return wire.rejected(ValueError("price is not positive"), frame)
    try:
        known = volume + quote_volume + change + bid + ask  # type: ignore[operator]
    except TypeError:
        known = nan
    if known - known != 0.0:  # some are not there, or no numbers; to look at each by a call took 15 % of a frame
        volume, quote_volume, change, bid, ask = map(wire.finite, (volume, quote_volume, change, bid, ask))
    return Ticker(event.s, price, time if _EARLIEST <= time < _LATEST else 0, volume, quote_volume, change, bid, ask)


def _answer(frame: str | bytes) -> Event:
    try:
        answer = _decode_answer(frame)
    except wire.UNREADABLE as error:
        return wire.rejected(error, frame)
    if answer.error is not None:
        return Refused(answer.error.msg[:300], str(answer.error.code), request=answer.id)
    if answer.code is not None:
        return Refused(answer.msg[:300], str(answer.code), request=answer.id)
    if answer.id is not None:
        return Subscribed(request=answer.id)
    return wire.rejected(ValueError("neither an event nor an answer"), frame)


class _Time(Struct):
    serverTime: int


class _Filter(Struct):
    filterType: str = ""
    tickSize: str = ""


class _SymbolRow(Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter] = []
    isSpotTradingAllowed: bool = True


class _ExchangeInfo(Struct):
    symbols: list[_SymbolRow]


class _TickerRow(Struct):
    symbol: str
    lastPrice: str = ""
    volume: str = ""
    quoteVolume: str = ""
    priceChangePercent: str = ""
    bidPrice: str = ""
    askPrice: str = ""


class _ErrorBody(Struct):
    code: int = 0
    msg: str = ""


class _KlineRow(Struct, array_like=True, gc=False):
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int = field(default=0)


_decode_time = msgspec.json.Decoder(_Time)
_decode_info = msgspec.json.Decoder(_ExchangeInfo)
_decode_tickers = msgspec.json.Decoder(list[_TickerRow])
_decode_klines = msgspec.json.Decoder(list[_KlineRow], strict=False)
_decode_error = msgspec.json.Decoder(_ErrorBody, strict=False)


def time_request() -> Request:
    return Request("/api/v3/time")


def parse_time(body: bytes) -> int:
    time = wire.decode_answer(_decode_time, body).serverTime
    if not wire.EARLIEST <= time < wire.LATEST:
        raise wire.BadAnswer(f"not a server time: {body[:80]!r}")
    return time


def symbol_requests() -> list[Request]:
    return [Request("/api/v3/exchangeInfo", weight=20), Request("/api/v3/ticker/24hr", weight=80)]


def parse_symbols(bodies: list[bytes]) -> list[SymbolInfo]:
    info, tickers = bodies
    by_symbol = {row.symbol: row for row in wire.decode_answer(_decode_tickers, tickers)}
    return [_symbol(row, by_symbol.get(row.symbol)) for row in wire.decode_answer(_decode_info, info).symbols]


def _symbol(row: _SymbolRow, ticker: _TickerRow | None) -> SymbolInfo:
    return SymbolInfo(
        symbol=row.symbol,
        base=row.baseAsset,
        quote=row.quoteAsset,
        tradable=row.status == "TRADING" and row.isSpotTradingAllowed,
        status=row.status,
        price=wire.number(ticker.lastPrice) if ticker else None,
        volume_24h=wire.number(ticker.volume) if ticker else None,
        quote_volume_24h=wire.number(ticker.quoteVolume) if ticker else None,
        change_24h=wire.number(ticker.priceChangePercent) if ticker else None,
        bid=wire.number(ticker.bidPrice) if ticker else None,
        ask=wire.number(ticker.askPrice) if ticker else None,
        price_increment=next((item.tickSize.rstrip("0") for item in row.filters if item.filterType == "PRICE_FILTER"), ""),
    )


def candles_requests(symbol: str, timeframe: str, start: int, end: int) -> list[Request]:
    """Klines that open in [start, end)."""
    return [
        Request(
            "/api/v3/klines",
            (
                ("symbol", symbol),
                ("interval", timeframes[timeframe]),
                ("startTime", str(first)),
                ("endTime", str(last - 1)),
                ("limit", str(_ROWS)),
            ),
            weight=2,
        )
        for first, last in wire.windows(start, end, TIMEFRAMES[timeframe], _ROWS)
    ]


def parse_candles(bodies: list[bytes], symbol: str, timeframe: str) -> list[Candle]:
    candles = [
        Candle(symbol, timeframe, row.open_time, row.open, row.high, row.low, row.close, row.volume)
        for body in bodies
        for row in wire.decode_answer(_decode_klines, body)
    ]
    for candle in candles:
        if fault := wire.candle_fault(candle, TIMEFRAMES[timeframe]):
            raise wire.BadAnswer(f"{symbol} {timeframe} at {candle.open_time}: {fault}")
    return sorted(candles, key=lambda candle: candle.open_time)


def balance_request(credentials: Credentials, rest_url: str, now: int, nonce: str, cursor: str = "") -> Request:
    credentials = wire.stripped(credentials)
    params = (("omitZeroBalances", "true"), ("timestamp", str(now)), ("recvWindow", str(_PATIENCE)))
    signed = (*params, ("signature", _signature(credentials, urlencode(params))))
    return Request("/api/v3/account", signed, weight=20, headers=(("X-MBX-APIKEY", credentials.key),))


def _signature(credentials: Credentials, query: str) -> str:
    key = wire.private_key(credentials)
    if isinstance(key, Ed25519PrivateKey):
        return base64.b64encode(key.sign(query.encode())).decode()
    if key is not None:
        raise wire.BadKey("this private key is not an Ed25519 key: make an Ed25519 or a system generated (HMAC) key, and paste its secret")
    return hmac.digest(credentials.secret.encode(), query.encode(), "sha256").hex()


class _BalanceRow(Struct):
    asset: str
    free: float
    locked: float = 0.0


class _AccountInfo(Struct):
    balances: list[_BalanceRow]


_decode_account = msgspec.json.Decoder(_AccountInfo, strict=False)


def parse_balances(body: bytes) -> tuple[list[Balance], str]:
    """The whole account comes in one page."""
    rows = wire.decode_private(_decode_account, body).balances
    return wire.held((row.asset, row.free + row.locked) for row in rows), ""


_KEY_FAULTS = {
    -1002: "this key may not read the account: allow it Enable Reading at the exchange",
    -1021: "the exchange found the request too old or too early: set the clock of this machine, and look at the delay of its network",
    -1022: "the secret does not belong to this key: paste the secret that the exchange showed when the key was made",
    -2008: "the exchange does not know this key: paste it again, and look there whether it still exists",
    -2014: "this is not a key of this exchange: paste the API key itself, not its name",
    -2015: "the exchange does not accept this key: look there whether it still exists, has Enable Reading and allows this address",
}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> RestRefusal:
    code = 0
    try:
        answer = _decode_error.decode(body)
        code, reason = answer.code, f"{answer.msg} ({answer.code})" if answer.code else answer.msg
    except wire.UNREADABLE:
        reason = ""
    if code in _KEY_FAULTS:
        return wire.bad_key(_KEY_FAULTS[code], reason, clock=code == -1021)
    if status == 451:
        reason = "Binance does not serve this country; in the US use binance-us"
    answer_to = wire.http_refusal(status, reason[:300], headers.get("retry-after"))
    until = re.search(r"banned until (\d{13})", reason)
    return msgspec.structs.replace(answer_to, retry_at=int(until[1])) if until else answer_to
