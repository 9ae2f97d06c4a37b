"""Frames as no exchange should send them, drawn by seed: broken text, wrong types, numbers that are none, and noise. Pure."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from math import isfinite
from random import Random
from typing import Any

from exchanges.adapters import Adapter, wire
from exchanges.events import Alive, Candle, Event, GoingAway, Refused, Rejected, Sequence, Subscribed, Ticker

BLOCK = 10_000
"""Frames of one seed and adapter that are drawn in a row: a block can be drawn again by itself."""
OPEN = 1_786_309_500
KLINE = {
    "t": OPEN * 1000,
    "T": OPEN * 1000 + 299_999,
    "s": "BTCUSDT",
    "i": "5m",
    "o": "10",
    "c": "11",
    "h": "12",
    "l": "9",
    "v": "1",
    "x": True,
}
SOUND: dict[str, list[Any]] = {
    "binance": [
        {"stream": "btcusdt@kline_5m", "data": {"e": "kline", "E": OPEN * 1000 + 5, "s": "BTCUSDT", "k": KLINE}},
        {"e": "kline", "E": OPEN * 1000 + 5, "s": "BTCUSDT", "k": KLINE},
        {"stream": "btcusdt@ticker", "data": {"e": "24hrTicker", "E": OPEN * 1000, "s": "BTCUSDT", "c": "11", "v": "3", "q": "33", "P": "1",
                                             "b": "10.9", "a": "11.1"}},
        {"result": None, "id": 7},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 7},
        {"stream": "x", "data": {"e": "depthUpdate", "E": OPEN * 1000, "b": [["1", "2"]], "a": []}},
    ],
    "coinbase": [
        {"channel": "candles", "timestamp": "2026-08-09T21:05:48.2Z", "sequence_num": 3, "events": [{"type": "update", "candles": [
            {"start": str(OPEN), "high": "12", "low": "9", "open": "10", "close": "11", "volume": "1", "product_id": "BTC-USD"}]}]},
        {"channel": "ticker", "timestamp": "2026-08-09T21:05:48.228568804Z", "sequence_num": 4, "events": [{"type": "update", "tickers": [
            {"type": "ticker", "product_id": "BTC-USD", "price": "11", "volume_24_h": "3", "price_percent_chg_24_h": "1.5",
             "best_bid": "10.9", "best_ask": "11.1"}]}]},
        {"channel": "subscriptions", "timestamp": "2026-08-09T21:05:48Z", "sequence_num": 5, "events": [{"subscriptions": {
            "candles": ["BTC-USD"], "ticker": ["BTC-USD", "ETH-USD"], "heartbeats": ["heartbeats"]}}]},
        {"channel": "heartbeats", "timestamp": "2026-08-09T21:05:48Z", "sequence_num": 6, "events": [{"heartbeat_counter": 9}]},
        {"type": "error", "message": "authentication failure"},
    ],
    "kraken": [
        {"channel": "ohlc", "type": "update", "timestamp": "2026-08-09T21:05:48.228Z", "data": [
            {"symbol": "BTC/USD", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "trades": 3, "volume": 1.5, "vwap": 10.5,
             "interval_begin": "2026-08-09T21:05:00.000000000Z", "interval": 5, "timestamp": "2026-08-09T21:10:00.000000Z"}]},
        {"channel": "ticker", "type": "update", "data": [
            {"symbol": "BTC/USD", "last": 11.0, "bid": 10.9, "ask": 11.1, "volume": 2.0, "vwap": 10.0, "change_pct": -1.5,
             "timestamp": "2026-08-09T21:05:48.5Z"}]},
        {"method": "subscribe", "result": {"channel": "ohlc", "interval": 5, "symbol": "BTC/USD"}, "success": True,
         "time_out": "2026-08-09T21:05:48Z"},
        {"error": "Currency pair not supported XBT/USD", "method": "subscribe", "success": False, "symbol": "XBT/USD"},
        {"channel": "heartbeat"},
        {"channel": "status", "type": "update", "data": [{"system": "online", "connection_id": 18_125_794_168_470_749_634}]},
    ],
}  # fmt: skip
"""What each exchange sends when it is well."""
RAW = "~raw~"
"""Before what goes into the text as it is, without quotes."""
VALUES: list[Any] = [
    None, True, False, [], {}, [[]], "", " ", "nan", "-inf", float("nan"), float("inf"), RAW + "1e400", RAW + "-1e400", -1, "-1",
    0, "0", 1e308, "1e308", 5e-324, 2**63, 2**64, -(2**70), RAW + "9" * 400, "9" * 400, "1e", "0x10", "1_0", "²²", "١٢", "\ud800", "\x00",
    "<script>alert(1)</script>", "../../etc/passwd", "x" * 5_000, RAW + "[" * 300, {"a": {"b": {"c": []}}}, "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "2026-13-45T99:99:99Z", "2026-08-09T21:05:48.²Z", "2026-08-09 21:05:48", "2026-08-09T21:05:48+25:00",
    "2026-08-09T24:00:00Z", 253_402_300_799_000, 9_007_199_254_740_993, "5m", "1m", 1, 5, "kline", "24hrTicker", "candles", "ticker",
]  # fmt: skip


def frames(name: str, seed: int, block: int = 0, count: int = BLOCK) -> Iterator[bytes]:
    """Hostile frames for an adapter; one seed and block are always the same ones."""
    rng = Random(f"hostile {name} {seed} {block}")
    sound = [json.dumps(message) for message in SOUND[name]]
    for _ in range(count):
        text = rng.choice(sound)
        if rng.random() < 0.6:
            yield _written(_altered(rng, json.loads(text)))
        else:
            yield rng.choice(_SPOILING)(rng, text.encode())


def _altered(rng: Random, message: Any) -> Any:
    """With one to three of its parts replaced, removed, renamed or doubled."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, key = _place(rng, message)
        if at is None:
            return deepcopy(rng.choice(VALUES))
        match rng.randrange(8):
            case 0:
                del at[key]
            case 1 if isinstance(at, dict):
                at[rng.choice(("", "e", "channel", "data", "events", str(key) * 2))] = at.pop(key)
            case 2:
                at[key] = [at[key]] * rng.choice((0, 1, 3))
            case 3:
                at[key] = {"value": at[key]}
            case _:
                at[key] = deepcopy(rng.choice(VALUES))  # or the next part that is replaced may be one of it, and then it holds itself
    return message


def _place(rng: Random, message: Any) -> tuple[Any, Any]:
    """Somewhere in a message: what holds the part, and its key or index."""
    found: tuple[Any, Any] = (None, None)
    while isinstance(message, dict | list) and message:
        key = rng.choice(list(message)) if isinstance(message, dict) else rng.randrange(len(message))
        found, message = (message, key), message[key]
        if rng.random() < 0.15:
            break
    return found


def _written(message: Any) -> bytes:
    text = json.dumps(message)
    while (at := text.find(f'"{RAW}')) >= 0:
        end = text.index('"', at + 1)
        text = text[:at] + text[at + 1 + len(RAW) : end] + text[end + 1 :]
    return text.encode()


def _noise(rng: Random, most: int) -> bytes:
    return rng.randbytes(rng.randrange(1, most))


def _inserted(rng: Random, frame: bytes, more: bytes) -> bytes:
    at = rng.randrange(len(frame) + 1)
    return frame[:at] + more + frame[at:]


def _flipped(rng: Random, frame: bytes) -> bytes:
    spoilt = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 8))):
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
    return bytes(spoilt)


def _without(rng: Random, frame: bytes) -> bytes:
    start = rng.randrange(len(frame))
    return frame[:start] + frame[start + rng.randrange(1, 20) :]


_SPOILING: list[Callable[[Random, bytes], bytes]] = [
    lambda rng, frame: frame[: rng.randrange(len(frame))],
    lambda rng, frame: frame[rng.randrange(len(frame)) :],
    _flipped,
    _flipped,
    _without,
    lambda rng, frame: _inserted(rng, frame, _noise(rng, 8)),
    lambda rng, frame: _inserted(
        rng, frame, rng.choice((b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b'"', b"\\", b"{", b"}", b",", b"\\ud800"))
    ),
    lambda rng, frame: frame + frame,
    lambda rng, frame: b"\xef\xbb\xbf" + frame,
    lambda rng, frame: b"[" + frame + b"]",
    lambda rng, frame: frame.replace(b"10", rng.choice((b"NaN", b"1e999", b"-0", b"1" * 400, b""))),
    lambda rng, frame: frame.replace(b":", rng.choice((b"", b"::", b": ", b"=")), rng.choice((1, -1))),
    lambda rng, frame: _noise(rng, 200),
    lambda rng, frame: rng.choice((b"", b"[]", b"{}", b"null", b"0", b'""', b"[" * 5_000, b'{"a":' * 2_000, b"[[]" * 50, b" " * 1_000)),
]


def fault(events: list[Event]) -> str:
    """What is wrong with what an adapter made of a frame; "" where nothing is: each is an event or a rejection, of sound values only."""
    if not events:
        return "neither an event nor a rejection"
    for event in events:
        if isinstance(event, Candle):
            step = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}[event.timeframe]
            if why := wire.candle_fault(event, step):
                return f"a candle that cannot be: {why}"
        if isinstance(event, Ticker):
            told = (event.price, event.volume_24h, event.quote_volume_24h, event.change_24h, event.bid, event.ask)
            if not all(value is None or isfinite(value) for value in told):
                return "a ticker with a number that is none"
        if (
            isinstance(event, Candle | Ticker | Alive | GoingAway)
            and event.event_time
            and not wire.EARLIEST <= event.event_time < wire.LATEST
        ):
            return f"a time of another age: {event.event_time}"
        if not isinstance(event, Candle | Ticker | Alive | GoingAway | Refused | Rejected | Sequence | Subscribed):
            return f"not an event of an adapter: {event!r}"
    return ""


def hammer(adapter: Adapter, seed: int, block: int = 0, count: int = BLOCK) -> Counter[str]:
    """How many events of each kind the frames of a block gave. Raises AssertionError that shows the frame where one is not taken well."""
    kinds: Counter[str] = Counter()
    for at, frame in enumerate(frames(adapter.id, seed, block, count)):
        try:
            events = adapter.parse(frame)
            why = fault(events)
        except Exception as error:
            raise AssertionError(f"{adapter.id}, seed {seed}, block {block}, frame {at} raised {error!r}: {frame[:300]!r}") from error
        if why:
            raise AssertionError(f"{adapter.id}, seed {seed}, block {block}, frame {at}: {why}: {frame[:300]!r}")
        kinds.update(type(event).__name__ for event in events)
    return kinds
