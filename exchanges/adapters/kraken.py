"""Kraken spot, websocket v2.

Facts this module obeys (docs.kraken.com, and recordings of the live feed):

- One acknowledgement *per symbol*. A refused symbol gets ``{"success": false, "error", "symbol"}`` while the socket goes on, so that it
  would look like a quiet market; ``method`` is "subscribe" in every refusal, whatever was asked.
- ``ohlc`` never says that a candle is closed, sends nothing for an interval without trades, and ``interval_begin`` is its open time (the
  field ``timestamp`` beside it is the end).
- The feed spells BTC/USD and DOGE/USD, where REST's ``wsname`` still says XBT and XDG: those two names replaced give the feed's list.
- REST answers 200 with ``{"error": [...]}``. OHLC returns at most the 720 newest rows whatever ``since`` says, the last one forming, and
  fills intervals without trades in.
- Balances are keyed by asset ids: the oldest assets have an X (coin) or Z (currency) before them, what is staked or earns a suffix.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from exchanges.adapters import wire
from exchanges.events import (
    TIMEFRAMES,
    Alive,
    Balance,
    Candle,
    Channel,
    Credentials,
    Event,
    Limits,
    Refused,
    Request,
    RestRefusal,
    Stream,
    Subscribed,
    SymbolInfo,
    Ticker,
)

id = "kraken"
title = "Kraken"
hosts = ("ws.kraken.com", "api.kraken.com")
flags_closes = False
fills_idle = True
limits = Limits(
    messages_per_second=5,
    connects_per_5min=75,
    streams_per_connection=400,
    rest_weight_per_minute=60,
    rest_burst=1,
)
key_help = "Make an API key at Kraken with the permission Query Funds and no other, for Livermore alone, and paste both of its parts."
timeframes = {"5m": "5", "15m": "15", "1h": "60", "4h": "240", "1d": "1440"}
_MINUTES = {int(minutes): timeframe for timeframe, minutes in timeframes.items()} | {1: "1m"}
_STEPS = {"1m": 60_000, **TIMEFRAMES}
_NAMES = {Channel.CANDLES: "ohlc", Channel.TICKER: "ticker"}
_CHANNELS = {name: channel for channel, name in _NAMES.items()}
_SYMBOLS_A_MESSAGE = 100
_SUBSCRIBED_BEFORE = "Already subscribed"
"""A refusal that says what an acknowledgement would; it does not say to which channel."""
_SPELLED = {"XBT": "BTC", "XDG": "DOGE"}
_OLDEST = {f"X{code}" for code in ("ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC")} | {
    f"Z{code}" for code in ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")
}
"""Named one by one: ZETA and XION are not among them."""
_BONDED = re.compile(r"(?<=[A-Z]{3})\d\d$")


_Moment = Annotated[datetime, Meta(tz=True)]
"""``wire.EPOCH`` where a message has none, which ``wire.told_at`` takes for no time of this age."""


class _Row(Struct, gc=False):
    """A row of ``ohlc`` or of ``ticker``."""

    symbol: str
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: float = 0.0
    vwap: float | None = None
    interval_begin: _Moment = wire.EPOCH
    interval: int = 0
    timestamp: _Moment = wire.EPOCH
    last: float = 0.0
    bid: float | None = None
    ask: float | None = None
    change_pct: float | None = None


class _Result(Struct, gc=False):
    channel: str = ""
    symbol: str = ""


class _Frame(Struct, gc=False):
    channel: str = ""
    type: str = ""
    timestamp: _Moment = wire.EPOCH
    data: msgspec.Raw = msgspec.Raw(b"[]")
    method: str = ""
    success: bool | None = None
    error: str = ""
    symbol: str = ""
    time_out: _Moment = wire.EPOCH
    result: _Result | None = None


_decode = msgspec.json.Decoder(_Frame).decode
_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_encode = msgspec.json.encode


def connect_url(websocket_url: str) -> str:
    return websocket_url


def opening() -> list[str]:
    return []


def subscribe(streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return _messages("subscribe", streams, request)


def unsubscribe(streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return _messages("unsubscribe", streams, request)


def _messages(method: str, streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    streams = list(streams)
    messages: list[tuple[str, tuple[Stream, ...]]] = []
    for channel, name in _NAMES.items():
        extra: dict[str, Any] = {"interval": 5} if channel is Channel.CANDLES else {}
        for chunk in wire.chunks([stream for stream in streams if stream.channel == channel], _SYMBOLS_A_MESSAGE):
            params = {"channel": name, "symbol": [stream.symbol for stream in chunk], **extra}
            text = _encode({"method": method, "params": params, "req_id": request + len(messages)}).decode()
            messages.append((text, tuple(chunk)))
    return messages


def parse(frame: str | bytes) -> list[Event]:
    try:
        message = _decode(frame)
        match message.channel:
            case "ohlc":
                time = wire.told_at(message.timestamp)
                return [_candle(row, time, message.type == "snapshot") for row in _decode_rows(message.data)] or [Alive(time)]
            case "ticker":
                return [_ticker(row) for row in _decode_rows(message.data)] or [Alive()]
            case "":
                return _answer(message, frame)
            case _:
                return [Alive()]
    except wire.UNREADABLE as error:
        return [wire.rejected(error, frame)]


def _candle(row: _Row, time: int, snapshot: bool) -> Event:
    timeframe = _MINUTES.get(row.interval)
    if timeframe is None:
        return wire.rejected(ValueError(f"an interval of {row.interval} minutes was never asked for"), str(row))
    opened = wire.milliseconds(row.interval_begin)
    candle = Candle(row.symbol, timeframe, opened, row.open, row.high, row.low, row.close, row.volume, False, time, snapshot)
    fault = wire.candle_fault(candle, _STEPS[timeframe])
    return wire.rejected(ValueError(fault), str(row)) if fault else candle


def _ticker(row: _Row) -> Event:
    if not wire.positive(row.last):
        return wire.rejected(ValueError("price is not positive"), str(row))
    time = wire.told_at(row.timestamp)
    quote = wire.finite(row.volume * row.vwap) if row.vwap is not None else None
    return Ticker(row.symbol, row.last, time, row.volume, quote, row.change_pct, row.bid, row.ask)


def _answer(message: _Frame, frame: str | bytes) -> list[Event]:
    """An answer tells the time too: in a quiet market nothing else does for a while, heartbeats have none."""
    time = wire.told_at(message.time_out)
    event = _answered(message, frame)
    return [event, Alive(time)] if time and not isinstance(event, Alive) else [event]


def _answered(message: _Frame, frame: str | bytes) -> Event:
    if message.error == _SUBSCRIBED_BEFORE and message.symbol:
        return Subscribed(tuple(Stream(channel, message.symbol) for channel in Channel))
    if message.success is False or message.error:
        stream = Stream(Channel.CANDLES, message.symbol) if message.symbol else None
        return Refused((message.error or "refused without a reason")[:300], stream=stream)
    if message.method == "subscribe" and message.result is not None and message.result.channel in _CHANNELS:
        return Subscribed((Stream(_CHANNELS[message.result.channel], message.result.symbol),))
    if message.method:
        return Alive(wire.told_at(message.time_out))
    return wire.rejected(ValueError("neither a channel nor an answer"), frame)


class _Envelope(Struct):
    error: list[str]
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Time(Struct):
    unixtime: int


class _Pair(Struct):
    wsname: str = ""
    status: str = ""
    pair_decimals: int = 0
    tick_size: str = ""


class _TickerRow(Struct):
    c: list[str]
    v: list[str]
    p: list[str]
    o: str = ""
    b: list[str] = []
    a: list[str] = []


_decode_envelope = msgspec.json.Decoder(_Envelope)
_decode_time = msgspec.json.Decoder(_Time)
_decode_pairs = msgspec.json.Decoder(dict[str, _Pair])
_decode_tickers = msgspec.json.Decoder(dict[str, _TickerRow])
_decode_ohlc = msgspec.json.Decoder(dict[str, Any])


def _result(body: bytes) -> bytes:
    """The result of a 200, which may still be an error. Raises BadAnswer, with what the error means."""
    envelope = wire.decode_answer(_decode_envelope, body)
    if envelope.error:
        raise wire.BadAnswer(", ".join(envelope.error)[:200], _meaning(envelope.error[0]))
    return bytes(envelope.result)


def _meaning(error: str) -> RestRefusal:
    if "Rate limit" in error or "Too many requests" in error:
        return RestRefusal("rate_limited", error)
    if error.startswith(("EService", "EGeneral:Internal")):
        return RestRefusal("unavailable", error)
    for start, reason in _KEY_FAULTS.items():
        if error.startswith(start):
            return wire.bad_key(reason, error)
    return RestRefusal("bad_request", error, final=True)


_KEY_FAULTS = {
    "EAPI:Invalid key": "Kraken does not know this key: paste it again, and look there whether it still exists and allows this address",
    "EAPI:Invalid signature": "the secret does not belong to this key: paste the private key that Kraken showed when the key was made",
    "EAPI:Invalid nonce": "another program uses this key, and counts further: make a key at Kraken for Livermore alone",
    "EGeneral:Permission denied": "this key may not read balances: give it Query Funds at Kraken, and look whether it allows this address",
    "EGeneral:Temporary lockout": "Kraken locked this key after too many wrong requests: correct it, and wait 15 minutes",
}


def time_request() -> Request:
    return Request("/0/public/Time")


def parse_time(body: bytes) -> int:
    time = wire.decode_answer(_decode_time, _result(body)).unixtime * 1000
    if not wire.EARLIEST <= time < wire.LATEST:
        raise wire.BadAnswer(f"not a server time: {body[:80]!r}")
    return time


def symbol_requests() -> list[Request]:
    return [Request("/0/public/AssetPairs"), Request("/0/public/Ticker")]


def parse_symbols(bodies: list[bytes]) -> list[SymbolInfo]:
    pairs, tickers = (_result(body) for body in bodies)
    rows = wire.decode_answer(_decode_tickers, tickers)
    infos = [_symbol(pair, rows.get(key)) for key, pair in wire.decode_answer(_decode_pairs, pairs).items() if "/" in pair.wsname]
    return list({info.symbol: info for info in infos}.values())


def _symbol(pair: _Pair, row: _TickerRow | None) -> SymbolInfo:
    base, _, quote = pair.wsname.partition("/")
    base, quote = _SPELLED.get(base, base), _SPELLED.get(quote, quote)
    price = wire.number(row.c[0]) if row and row.c else None
    volume = wire.number(row.v[1]) if row and len(row.v) > 1 else None
    average = wire.number(row.p[1]) if row and len(row.p) > 1 else None
    return SymbolInfo(
        symbol=f"{base}/{quote}",
        base=base,
        quote=quote,
        tradable=pair.status == "online",
        status=pair.status,
        price=price,
        volume_24h=volume,
        quote_volume_24h=None if volume is None or average is None else volume * average,
        bid=wire.number(row.b[0]) if row and row.b else None,
        ask=wire.number(row.a[0]) if row and row.a else None,
        price_increment=pair.tick_size or f"{10**-pair.pair_decimals:.{pair.pair_decimals}f}",
    )


def candles_requests(symbol: str, timeframe: str, start: int, end: int) -> list[Request]:
    """One request: paging back is not possible, the answer ends with the newest row."""
    return [Request("/0/public/OHLC", (("pair", symbol), ("interval", timeframes[timeframe]), ("since", str(start // 1000 - 1))))]


def parse_candles(bodies: list[bytes], symbol: str, timeframe: str) -> list[Candle]:
    candles = []
    for body in bodies:
        answer = wire.decode_answer(_decode_ohlc, _result(body))
        rows: list[list[Any]] = next((rows for key, rows in answer.items() if key != "last"), [])
        candles += [_historic(row, symbol, timeframe) for row in rows]
    return sorted(candles, key=lambda candle: candle.open_time)


def _historic(row: list[Any], symbol: str, timeframe: str) -> Candle:
    """A row ``[time_s, open, high, low, close, vwap, volume, count]``."""
    try:
        opened, high, low, close = (float(value) for value in row[1:5])
        candle = Candle(symbol, timeframe, int(row[0]) * 1000, opened, high, low, close, float(row[6]))
    except (TypeError, ValueError, IndexError) as error:
        raise wire.BadAnswer(f"{symbol} {timeframe}: {error} in {str(row)[:80]}") from None
    if fault := wire.candle_fault(candle, TIMEFRAMES[timeframe]):
        raise wire.BadAnswer(f"{symbol} {timeframe} at {candle.open_time}: {fault}")
    return candle


def balance_request(credentials: Credentials, rest_url: str, now: int, nonce: str, cursor: str = "") -> Request:
    credentials, path = wire.stripped(credentials), "/0/private/Balance"
    body = urlencode({"nonce": nonce})
    headers = (
        ("API-Key", credentials.key),
        ("API-Sign", _signature(credentials, path, nonce, body)),
        ("Content-Type", "application/x-www-form-urlencoded"),
    )
    return Request(path, headers=headers, method="POST", body=body.encode())


def _signature(credentials: Credentials, path: str, nonce: str, body: str) -> str:
    """docs.kraken.com, "Spot REST authentication"."""
    try:
        key = base64.b64decode(credentials.secret, validate=True)
    except (binascii.Error, ValueError):
        raise wire.BadKey("this secret is not base64: paste the whole private key that Kraken showed when the key was made") from None
    message = path.encode() + hashlib.sha256((nonce + body).encode()).digest()
    return base64.b64encode(hmac.digest(key, message, "sha512")).decode()


_decode_balances = msgspec.json.Decoder(dict[str, float], strict=False)


def parse_balances(body: bytes) -> tuple[list[Balance], str]:
    """One page; an asset comes twice where a part of it earns."""
    envelope = wire.decode_private(_decode_envelope, body)
    if envelope.error:
        raise wire.BadAnswer(", ".join(envelope.error)[:200], _meaning(envelope.error[0]))
    balances = wire.decode_private(_decode_balances, bytes(envelope.result))
    return wire.held((_asset(name), quantity) for name, quantity in balances.items()), ""


def _asset(name: str) -> str:
    """The plain code: ``XXBT`` is BTC, ``ETH2.S`` ETH, ``DOT28.S`` (bonded for 28 days) DOT, ``USDC.M`` USDC."""
    code, _, suffix = name.partition(".")
    if suffix == "S":
        code = _BONDED.sub("", code)
    if code in _OLDEST:
        code = code[1:]
    return "ETH" if code == "ETH2" else _SPELLED.get(code, code)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> RestRefusal:
    try:
        reason = ", ".join(_decode_envelope.decode(body).error)
    except wire.UNREADABLE:
        reason = ""
    return wire.http_refusal(status, reason[:200], headers.get("retry-after"))
