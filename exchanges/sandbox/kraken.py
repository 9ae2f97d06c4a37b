"""Kraken spot, as its wire looks: websocket v2, and REST under ``/0``.

Facts reproduced (docs.kraken.com, and recordings of the live feed of 2026):

- A ``status`` message comes first. A heartbeat comes about once a second, only after a subscription and only when nothing else was sent.
- Each symbol has its own acknowledgement or refusal; ``method`` is "subscribe" in every refusal. A snapshot follows the acknowledgement.
- Symbols are BTC/USD and DOGE/USD here; XBT/USD, XDG/USD and other spellings are refused, while the socket goes on.
- ``ohlc`` numbers are JSON numbers. It sends the forming candle with every trade, never says that one closed, and sends nothing for an
  interval without trades; ``interval_begin`` is the open time, ``timestamp`` the end. Its snapshot leaves idle intervals out.
- ``ticker`` has the volume in base units and the average price. No sequence numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from exchanges.sandbox.coins import NAMED, RETIRED, Coin
from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.kraken_rest import INTERVALS, Desk, average
from exchanges.sandbox.listings import Bar, Listing, listing
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.protocol import Agenda, Close, Exchange, Frame, Output, encode, encode_text, rfc3339
from exchanges.sandbox.venues import Venue

__all__ = ["Desk", "Session", "listings", "refusal_body"]

HALTED = "cancel_only"
SNAPSHOT_ROWS = 720
_HEARTBEAT = 1_000
_TETHER_PAIRS = ("BTC", "ETH", "SOL")
_UNTRADED = ("cancel_only", "post_only")
_VERSION = "2.0.10"


def listings(venue: Venue, coins: Sequence[Coin], seed: int, epoch: int) -> list[Listing]:
    """Each coin against the venue's quote, a few against USDT, and two that are not traded any more."""
    same: dict[str, Any] = {"seed": seed, "epoch": epoch, "status": "online"}
    rows = [listing(venue, f"{coin.code}/{venue.quote}", coin, venue.quote, size_decimals=coin.size_decimals, **same) for coin in coins]
    rows += [
        listing(venue, f"{coin.code}/USDT", coin, "USDT", size_decimals=coin.size_decimals, volume_share=0.15, basis_bps=4.0, **same)
        for coin in coins
        if coin in NAMED and coin.code in _TETHER_PAIRS
    ]
    ends = epoch - epoch % DAY - 2 * DAY
    rows += [
        listing(
            venue,
            f"{coin.code}/{venue.quote}",
            coin,
            venue.quote,
            size_decimals=coin.size_decimals,
            ends=ends,
            **{**same, "status": status},
        )
        for coin, status in zip(RETIRED, _UNTRADED, strict=True)
    ]
    return rows


def refusal_body(status: int) -> bytes:
    """What a refused handshake says: not Kraken but the network before it answers these."""
    return (
        b"error code: 1015" if status == 429 else encode({"error": ["EService:Unavailable"] if status >= 500 else ["EGeneral:Forbidden"]})
    )


def _number(value: int, decimals: int) -> float:
    return value / 10**decimals


def candle_row(row: Bar, book: Listing, minutes: int) -> dict[str, Any]:
    """One candle of ``ohlc``."""
    return {
        "symbol": book.symbol,
        "open": _number(row.open, book.decimals),
        "high": _number(row.high, book.decimals),
        "low": _number(row.low, book.decimals),
        "close": _number(row.close, book.decimals),
        "trades": row.trades,
        "volume": _number(row.volume, book.size_decimals),
        "vwap": float(average(row.turnover, row.volume, book)),
        "interval_begin": f"{rfc3339(row.open_time)[:19]}.000000000Z",
        "interval": minutes,
        "timestamp": f"{rfc3339(row.open_time + minutes * 60_000)[:19]}.000000Z",
    }


def ticker_row(exchange: Exchange, book: Listing, moment: int) -> dict[str, Any]:
    """One row of ``ticker``."""
    day = exchange.market.statistics(book, moment)
    draw = hashed("best", book.symbol, day.volume)
    bid = day.last - draw % 2
    return {
        "symbol": book.symbol,
        "bid": _number(bid, book.decimals),
        "bid_qty": _number(book.lot * (1 + draw % 89), book.size_decimals),
        "ask": _number(bid + 1, book.decimals),
        "ask_qty": _number(book.lot * (1 + draw % 97), book.size_decimals),
        "last": _number(day.last, book.decimals),
        "volume": _number(day.volume, book.size_decimals),
        "vwap": float(average(day.turnover, day.volume, book)),
        "low": _number(day.low, book.decimals),
        "high": _number(day.high, book.decimals),
        "change": _number(day.last - day.open, book.decimals),
        "change_pct": round((day.last - day.open) / day.open * 100, 2) if day.open else 0.0,
        "trades": day.trades,
        "timestamp": _stamped(exchange.stamp(moment)),
    }


def _stamped(moment: int, nanoseconds: int = 0) -> str:
    """As Kraken prints it: microseconds, or nanoseconds where there are some."""
    seconds, rest = rfc3339(moment)[:19], moment % 1000
    return f"{seconds}.{rest:03d}{nanoseconds:06d}Z" if nanoseconds else f"{seconds}.{rest:03d}000Z"


class _Candles:
    """The forming candle of one symbol, with every trade."""

    def __init__(self, exchange: Exchange, book: Listing, minutes: int, now: int) -> None:
        self._exchange, self._book, self._minutes = exchange, book, minutes
        self._step = minutes * 60_000
        self.due = now
        self._move_on()

    def snapshot(self, now: int) -> Frame:
        """Oldest first, the forming candle last; only intervals with trades."""
        market, book, opened = self._exchange.market, self._book, now - now % self._step
        rows = [row for row in market.bars(book, self._step, opened - SNAPSHOT_ROWS * self._step, opened) if row.trades]
        forming = market.forming(book, self._step, now)
        return self._frame("snapshot", now, [*rows[1 - SNAPSHOT_ROWS :], *([forming] if forming else [])])

    def fire(self, now: int) -> Iterable[Frame]:
        due = self.due
        self._move_on()
        bar = None if self.due <= now else self._exchange.market.forming(self._book, self._step, due)
        return () if bar is None else (self._frame("update", due, [bar]),)

    def _frame(self, kind: str, moment: int, rows: list[Bar]) -> Frame:
        stamp = self._exchange.stamp(moment)
        data = [candle_row(row, self._book, self._minutes) for row in rows]
        timestamp = _stamped(stamp, hashed("ohlc", stamp) % 1_000_000)
        return Frame({"channel": "ohlc", "type": kind, "timestamp": timestamp, "data": data}, "candles", self._book.symbol)

    def _move_on(self) -> None:
        self.due = max(self._exchange.market.next_trade(self._book, self.due), self.due + self._exchange.gap(1))


class _Ticker:
    """The price of one symbol, with every trade."""

    def __init__(self, exchange: Exchange, book: Listing, now: int) -> None:
        self._exchange, self._book = exchange, book
        self.due = now
        self._move_on()

    def snapshot(self, now: int) -> Frame:
        return self._frame("snapshot", now)

    def fire(self, now: int) -> Iterable[Frame]:
        due = self.due
        self._move_on()
        return () if self.due <= now else (self._frame("update", due),)

    def _frame(self, kind: str, moment: int) -> Frame:
        return Frame(
            {"channel": "ticker", "type": kind, "data": [ticker_row(self._exchange, self._book, moment)]}, "ticker", self._book.symbol
        )

    def _move_on(self) -> None:
        self.due = max(self._exchange.market.next_trade(self._book, self.due), self.due + self._exchange.gap(1))


class _Params(msgspec.Struct):
    channel: str = ""
    symbol: list[str] = []
    interval: int = 1
    snapshot: bool = True
    event_trigger: str = "trades"


class _Message(msgspec.Struct):
    method: str
    params: _Params = msgspec.field(default_factory=_Params)
    req_id: int | None = None


_decode = msgspec.json.Decoder(_Message).decode


class Session:
    """One connection."""

    deadline: float | None = None
    subscribed = True

    def __init__(self, exchange: Exchange, path: str, query: Mapping[str, str], now: int) -> None:
        if path.rstrip("/") not in ("", "/v2"):
            raise LookupError(path)
        self._exchange = exchange
        self._agenda = Agenda()
        self._quiet_since: int | None = None
        self._greeting: list[Frame] = [self._status("online")]

    @property
    def next_due(self) -> int | None:
        due = self._agenda.next_due
        if self._quiet_since is None:
            return due
        beat = self._quiet_since + self._exchange.gap(_HEARTBEAT)
        return beat if due is None else min(due, beat)

    def receive(self, text: str | bytes, now: int, real: float) -> list[Output]:
        stamp = _stamped(self._exchange.stamp(now))
        try:
            message = _decode(text)
        except msgspec.MsgspecError:
            return [_refused("Malformed request", "", stamp, None)]
        match message.method:
            case "ping":
                return [Frame({"method": "pong", "time_in": stamp, "time_out": stamp} | _numbered(message), "ack")]
            case "subscribe" | "unsubscribe":
                return self._subscribe(message, now, stamp)
        return [_refused(f"Unsupported method {message.method}"[:200], "", stamp, message.req_id)]

    def advance(self, now: int) -> list[Output]:
        frames: list[Output] = [*self._greeting, *self._agenda.run(now)]
        self._greeting = []
        if self._quiet_since is None:
            return frames
        if frames:
            self._quiet_since = now
        elif now - self._quiet_since >= self._exchange.gap(_HEARTBEAT):
            self._quiet_since = now
            frames.append(Frame({"channel": "heartbeat"}, "heartbeats"))
        return frames

    def expire(self) -> Close:
        return Close(1008)

    def seal(self, frame: Frame) -> str:
        return encode_text(frame.message)

    def announce_shutdown(self, now: int) -> list[Frame]:
        return [self._status("maintenance")]

    def reset_sequence(self) -> None:
        """There is none."""

    def forget(self, channel: str, symbol: str) -> None:
        self._agenda.forget(lambda key: ("candles" if key[0] == "ohlc" else "ticker", key[1]), channel, symbol)

    def _status(self, system: str) -> Frame:
        number = hashed("connection", self._exchange.counters["connects"]) | 1 << 63
        data = {
            "version": _VERSION,
            "system": system,
            "api_version": "v2",
            "connection_id": number,
            "upcoming_maintenance": [],
            "emergency": [],
        }
        return Frame({"channel": "status", "type": "update", "data": [data]}, "heartbeats")

    def _subscribe(self, message: _Message, now: int, stamp: str) -> list[Output]:
        params = message.params
        if params.channel not in ("ohlc", "ticker"):
            return [_refused(f"Channel {params.channel} not supported"[:200], "", stamp, message.req_id)]
        if params.channel == "ohlc" and params.interval not in INTERVALS:
            return [_refused("Ohlc interval not supported", "", stamp, message.req_id)]
        outputs: list[Output] = []
        for symbol in params.symbol:
            outputs += self._one(message, symbol, now, stamp)
        return outputs

    def _one(self, message: _Message, symbol: str, now: int, stamp: str) -> list[Output]:
        book = self._exchange.listed().get(symbol)
        if book is None:
            return [_refused(f"Currency pair not supported {symbol}"[:200], symbol, stamp, message.req_id)]
        key = (message.params.channel, symbol)
        if message.method == "unsubscribe":
            if key not in self._agenda:
                return [_refused(f"Subscription Not Found {symbol}", symbol, stamp, message.req_id)]
            self._agenda.drop(key)
            return [_done(message, symbol, stamp)]
        if key in self._agenda:
            return [_refused("Already subscribed", symbol, stamp, message.req_id)]
        if self._quiet_since is None:
            self._quiet_since = now
        if not book.trading(now):
            return [_done(message, symbol, stamp)]
        stream = (
            _Candles(self._exchange, book, message.params.interval, now)
            if message.params.channel == "ohlc"
            else _Ticker(self._exchange, book, now)
        )
        self._agenda.add(key, stream)
        return [_done(message, symbol, stamp), *([stream.snapshot(now)] if message.params.snapshot else [])]


def _numbered(message: _Message) -> dict[str, Any]:
    return {} if message.req_id is None else {"req_id": message.req_id}


def _done(message: _Message, symbol: str, stamp: str) -> Frame:
    """The acknowledgement of one symbol."""
    params = message.params
    result: dict[str, Any] = {"channel": params.channel}
    if params.channel == "ohlc":
        result["interval"] = params.interval
    else:
        result["event_trigger"] = params.event_trigger
    if message.method == "subscribe":
        result["snapshot"] = params.snapshot
    result["symbol"] = symbol
    if params.channel == "ohlc":
        result["warnings"] = ["timestamp is deprecated, use interval_begin"]
    answer = {"method": message.method, "result": result, "success": True, "time_in": stamp, "time_out": stamp}
    return Frame(answer | _numbered(message), "ack")


def _refused(error: str, symbol: str, stamp: str, request: int | None) -> Frame:
    answer: dict[str, Any] = {"error": error, "method": "subscribe"}
    if request is not None:
        answer["req_id"] = request
    answer["success"] = False
    if symbol:
        answer["symbol"] = symbol
    return Frame(answer | {"time_in": stamp, "time_out": stamp}, "ack")
