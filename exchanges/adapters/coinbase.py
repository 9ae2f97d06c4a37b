"""Coinbase Advanced Trade.

Facts this module obeys (docs.cdp.coinbase.com/advanced-trade, and recordings of the live feed):

- One channel per subscribe message; the answer is a message on channel ``subscriptions`` that lists the whole current set, and data may
  come before it. A product the exchange does not know is left out of that list without a word.
- An error frame has ``type`` and no ``channel``; an unknown channel is answered with "authentication failure".
- ``sequence_num`` counts every frame of a connection, over all channels.
- ``candles`` carries 5-minute buckets only, never says that one is closed, and its snapshot has holes: it is no history.
- A private request carries a token of its own: a JWT that lives 120 s, names the request without its query, and has a nonce in its header.
- REST lists -USDC products as aliases of the -USD book; candles come newest first, intervals without trades are left out.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import inf, nan
from typing import Annotated
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
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
    Sequence,
    Stream,
    Subscribed,
    SymbolInfo,
    Ticker,
)

id = "coinbase"
title = "Coinbase Advanced Trade"
hosts = ("advanced-trade-ws.coinbase.com", "api.coinbase.com")
flags_closes = False
fills_idle = False
limits = Limits(
    messages_per_second=8,
    connects_per_5min=60,
    streams_per_connection=400,
    rest_weight_per_minute=600,
    rest_burst=10,
)
key_help = (
    "Make a Secret API Key in the Coinbase Developer Platform with the permission View and no other, "
    "and paste its name and its whole secret."
)
timeframes = {"5m": "FIVE_MINUTE", "15m": "FIFTEEN_MINUTE", "1h": "ONE_HOUR", "4h": "TWO_HOUR", "1d": "ONE_DAY"}
_FETCHED_STEP = {**TIMEFRAMES, "4h": TIMEFRAMES["1h"] * 2}
_PATH = "/api/v3/brokerage"
_SYMBOLS_A_MESSAGE = 50
_ROWS = 300  # 350 by some accounts, 300 by all
_ACCOUNTS = 250
_TOKEN_SECONDS = 120


class _CandleRow(Struct, gc=False):
    start: int
    high: float
    low: float
    open: float
    close: float
    volume: float
    product_id: str = ""


class _TickerRow(Struct, gc=False):
    product_id: str
    price: float
    volume_24_h: float | None = None
    price_percent_chg_24_h: float | None = None
    best_bid: float | None = None
    best_ask: float | None = None


class _Event(Struct, gc=False):
    type: str = ""
    candles: list[_CandleRow] = []
    tickers: list[_TickerRow] = []
    subscriptions: dict[str, list[str]] = {}


class _Frame(Struct, gc=False):
    channel: str = ""
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None
    sequence_num: int | None = None
    events: list[_Event] = []
    type: str = ""
    message: str = ""


class _LooseTickerRow(Struct, gc=False):
    """A ticker some of whose figures are empty, or no numbers: a market that is new or stands still."""

    product_id: str
    price: float
    volume_24_h: str = ""
    price_percent_chg_24_h: str = ""
    best_bid: str = ""
    best_ask: str = ""


class _LooseEvent(Struct, gc=False):
    tickers: list[_LooseTickerRow] = []


class _LooseFrame(Struct, gc=False):
    channel: str = ""
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None
    sequence_num: int | None = None
    events: list[_LooseEvent] = []


_decode = msgspec.json.Decoder(_Frame, strict=False).decode
_decode_loose = msgspec.json.Decoder(_LooseFrame, strict=False).decode
_encode = msgspec.json.encode
_EARLIEST, _LATEST = wire.EARLIEST, wire.LATEST


def connect_url(websocket_url: str) -> str:
    return websocket_url


def opening() -> list[str]:
    """Heartbeats keep the connection from being closed as idle, and carry the exchange's clock."""
    return ['{"type":"subscribe","channel":"heartbeats"}']


def subscribe(streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return _messages("subscribe", streams)


def unsubscribe(streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]:
    return _messages("unsubscribe", streams)


def _messages(kind: str, streams: Iterable[Stream]) -> list[tuple[str, tuple[Stream, ...]]]:
    streams = list(streams)
    return [
        (_encode({"type": kind, "product_ids": [stream.symbol for stream in chunk], "channel": str(channel)}).decode(), tuple(chunk))
        for channel in Channel
        for chunk in wire.chunks([stream for stream in streams if stream.channel == channel], _SYMBOLS_A_MESSAGE)
    ]


def parse(frame: str | bytes) -> list[Event]:
    try:
        message = _decode(frame)
    except wire.UNREADABLE as error:
        try:
            message = _read_loose(frame)
        except wire.UNREADABLE:
            return [wire.rejected(error, frame)]
        if not message.channel.startswith("ticker"):
            return [wire.rejected(error, frame)]
    if not message.channel:
        return [_error(message)]
    time = 0
    if message.timestamp is not None:
        # wire.told_at, without its calls.
        since = message.timestamp - wire.EPOCH
        time = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
        if not _EARLIEST <= time < _LATEST:
            time = 0
    events: list[Event] = [] if message.sequence_num is None else [Sequence(message.sequence_num)]
    match message.channel:
        case "candles":
            _read_candles(message, time, events)
        case "ticker" | "ticker_batch":
            _read_tickers(message, time, events)
        case "subscriptions":
            events += [Subscribed(_streams(event.subscriptions), whole=True) for event in message.events]
        case _:
            events.append(Alive(time))
    return events or [Alive(time)]


def _read_loose(frame: str | bytes) -> _Frame:
    """A frame of tickers whose optional figures may be no numbers: these count as absent. Raises what is in ``wire.UNREADABLE``.

    Such frames are rare and are decoded twice; to read every figure as text, and turn it into a float here, took a third of a frame's time.
    """
    loose = _decode_loose(frame)
    number = wire.number
    tickers = [
        _TickerRow(
            row.product_id,
            row.price,
            number(row.volume_24_h),
            number(row.price_percent_chg_24_h),
            number(row.best_bid),
            number(row.best_ask),
        )
        for event in loose.events
        for row in event.tickers
    ]
    return _Frame(loose.channel, loose.timestamp, loose.sequence_num, [_Event(tickers=tickers)])


def _error(message: _Frame) -> Event:
    reason = message.message or "an error frame without a message"
    if reason == "authentication failure":
        reason = "authentication failure (Coinbase says so to an unknown channel too)"
    return Refused(reason[:300], code=message.type)


def _streams(subscriptions: dict[str, list[str]]) -> tuple[Stream, ...]:
    return tuple(Stream(channel, symbol) for channel in Channel for symbol in subscriptions.get(channel, ()))


def _read_candles(message: _Frame, time: int, events: list[Event]) -> None:
    for event in message.events:
        snapshot = event.type == "snapshot"
        for row in event.candles:
            # More than three names on the left make a tuple: 3 % of a frame.
            at, low, high = row.start * 1000, row.low, row.high
            first, last, volume = row.open, row.close, row.volume
            candle = Candle(row.product_id, "5m", at, first, high, low, last, volume, False, time, snapshot)
            # wire.candle_fault(candle, 300_000), without a call: 10 % of a frame.
            if (
                0.0 < low <= first <= high < inf
                and low <= last <= high
                and 0.0 <= volume < inf
                and at % 300_000 == 0
                and _EARLIEST <= at < _LATEST
            ):
                events.append(candle)
            else:
                events.append(wire.rejected(ValueError(wire.candle_fault(candle, 300_000)), str(row)))


def _read_tickers(message: _Frame, time: int, events: list[Event]) -> None:
    for event in message.events:
        for row in event.tickers:
            price, bid, ask = row.price, row.best_bid, row.best_ask
            volume, change = row.volume_24_h, row.price_percent_chg_24_h
            if not 0.0 < price < inf:
                events.append(wire.rejected(ValueError("price is not positive"), str(row)))
                continue
            try:
                known = volume + change + bid + ask  # type: ignore[operator]
            except TypeError:
                known = nan
            if known - known != 0.0:  # some are not there, or no numbers; to look at each by a call took 12 % of a frame
                volume, change, bid, ask = map(wire.finite, (volume, change, bid, ask))
            # The feed has the base volume only; the quote volume comes from REST.
            events.append(Ticker(row.product_id, price, time, volume, None, change, bid, ask))


class _Time(Struct):
    epochMillis: int = 0
    epochSeconds: int = 0
    iso: str = ""


class _Product(Struct):
    product_id: str
    base_currency_id: str = ""
    quote_currency_id: str = ""
    product_type: str = "SPOT"
    status: str = ""
    price: str = ""
    volume_24h: str = ""
    approximate_quote_24h_volume: str = ""
    price_percentage_change_24h: str = ""
    price_increment: str = ""
    alias: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    view_only: bool = False
    cancel_only: bool = False
    auction_mode: bool = False


class _Products(Struct):
    products: list[_Product]


class _Candles(Struct):
    candles: list[_CandleRow]


_decode_time = msgspec.json.Decoder(_Time, strict=False)
_decode_products = msgspec.json.Decoder(_Products, strict=False)
_decode_candles = msgspec.json.Decoder(_Candles, strict=False)


class _ErrorBody(Struct):
    message: str = ""
    error: str = ""
    error_details: str = ""


_decode_error = msgspec.json.Decoder(_ErrorBody, strict=False)


def time_request() -> Request:
    return Request(f"{_PATH}/time")


def parse_time(body: bytes) -> int:
    answer = wire.decode_answer(_decode_time, body)
    time = answer.epochMillis or answer.epochSeconds * 1000
    if not wire.EARLIEST <= time < wire.LATEST:
        raise wire.BadAnswer(f"not a server time: {body[:80]!r}")
    return time


def symbol_requests() -> list[Request]:
    """One unpaged call returns every spot product (about 1 MB)."""
    return [Request(f"{_PATH}/market/products", (("product_type", "SPOT"),))]


def parse_symbols(bodies: list[bytes]) -> list[SymbolInfo]:
    return [_symbol(product) for body in bodies for product in wire.decode_answer(_decode_products, body).products]


def _symbol(product: _Product) -> SymbolInfo:
    restricted = product.is_disabled or product.trading_disabled or product.view_only or product.cancel_only or product.auction_mode
    return SymbolInfo(
        symbol=product.product_id,
        base=product.base_currency_id,
        quote=product.quote_currency_id,
        tradable=product.status == "online" and not restricted,
        status="restricted" if restricted and product.status == "online" else product.status,
        price=wire.number(product.price),
        volume_24h=wire.number(product.volume_24h),
        quote_volume_24h=wire.number(product.approximate_quote_24h_volume),
        change_24h=wire.number(product.price_percentage_change_24h),
        price_increment=product.price_increment,
        alias_of=product.alias,
    )


def candles_requests(symbol: str, timeframe: str, start: int, end: int) -> list[Request]:
    """Candles that open in [start, end). The last second of the last interval is named, so that an exclusive end loses nothing."""
    step = _FETCHED_STEP[timeframe]
    return [
        Request(
            f"{_PATH}/market/products/{symbol}/candles",
            (("start", str(first // 1000)), ("end", str(last // 1000 - 1)), ("granularity", timeframes[timeframe])),
        )
        for first, last in wire.windows(start, end, step, _ROWS)
    ]


def parse_candles(bodies: list[bytes], symbol: str, timeframe: str) -> list[Candle]:
    rows = sorted((row for body in bodies for row in wire.decode_answer(_decode_candles, body).candles), key=lambda row: row.start)
    candles = [Candle(symbol, timeframe, row.start * 1000, row.open, row.high, row.low, row.close, row.volume) for row in rows]
    for candle in candles:
        if fault := wire.candle_fault(candle, _FETCHED_STEP[timeframe]):
            raise wire.BadAnswer(f"{symbol} {timeframe} at {candle.open_time}: {fault}")
    return wire.summed(candles, TIMEFRAMES[timeframe]) if _FETCHED_STEP[timeframe] != TIMEFRAMES[timeframe] else candles


def balance_request(credentials: Credentials, rest_url: str, now: int, nonce: str, cursor: str = "") -> Request:
    credentials, path = wire.stripped(credentials), f"{_PATH}/accounts"
    url = urlsplit(rest_url)
    token = _token(credentials, f"GET {url.netloc}{url.path.rstrip('/')}{path}", now // 1000, nonce)
    params = (("limit", str(_ACCOUNTS)), *([("cursor", cursor)] if cursor else []))
    return Request(path, params, headers=(("Authorization", f"Bearer {token}"),))


def _token(credentials: Credentials, uri: str, now: int, nonce: str) -> str:
    """A JWT as docs.cdp.coinbase.com describes it; ``now`` in seconds."""
    key = _signing_key(credentials)
    claims = {"sub": credentials.key, "iss": "cdp", "nbf": now, "exp": now + _TOKEN_SECONDS, "uri": uri}
    algorithm = "EdDSA" if isinstance(key, Ed25519PrivateKey) else "ES256"
    return jwt.encode(claims, key, algorithm, headers={"kid": credentials.key, "nonce": nonce})


def _signing_key(credentials: Credentials) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    key = wire.private_key(credentials)
    if key is None:
        return _ed25519(credentials)
    if isinstance(key, Ed25519PrivateKey) or (isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)):
        return key
    raise wire.BadKey(
        "this private key is of a kind that Coinbase does not use: make a CDP key with ECDSA or Ed25519, and paste its secret"
    )


def _ed25519(credentials: Credentials) -> Ed25519PrivateKey:
    """The secret as Coinbase shows it: 32 bytes of seed, then mostly the 32 bytes of the public key, in base64."""
    try:
        raw = base64.b64decode("".join(credentials.secret.split()), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) not in (32, 64):
        raise wire.BadKey(
            "this secret is neither a PEM private key nor a base64 Ed25519 seed: paste the whole secret of a CDP key, not its name"
        )
    key = Ed25519PrivateKey.from_private_bytes(raw[:32])
    if raw[32:] not in (b"", key.public_key().public_bytes_raw()):
        raise wire.BadKey("the two halves of this secret do not belong together: paste the whole secret of the CDP key again")
    return key


class _Amount(Struct):
    value: float


class _Account(Struct):
    currency: str
    available_balance: _Amount
    hold: _Amount | None = None


class _Accounts(Struct):
    accounts: list[_Account]
    has_next: bool = False
    cursor: str = ""


_decode_accounts = msgspec.json.Decoder(_Accounts, strict=False)


def parse_balances(body: bytes) -> tuple[list[Balance], str]:
    page = wire.decode_private(_decode_accounts, body)
    rows = ((row.currency, row.available_balance.value + (row.hold.value if row.hold else 0.0)) for row in page.accounts)
    return wire.held(rows), page.cursor if page.has_next else ""


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> RestRefusal:
    try:
        answer = _decode_error.decode(body)
        reason = " ".join(dict.fromkeys(part for part in (answer.error, answer.message, answer.error_details) if part))
    except wire.UNREADABLE:
        reason = ""
    if status == 401:
        return wire.bad_key(
            "Coinbase does not know this key: paste its name and its whole secret again, and look there whether the key still exists and "
            "allows this address",
            reason,
            clock=True,  # a token that has expired is answered with the same word
        )
    if status == 403 and "Missing required scopes" in reason:
        return wire.bad_key("this key may not read the accounts: give it the permission View at Coinbase", reason)
    reset = headers.get("x-ratelimit-reset") if status == 429 else None
    return wire.http_refusal(status, reason[:200], headers.get("retry-after") or reset)
