"""Binance spot (and Binance.US, a venue of this protocol with other limits), as its wire looks.

Facts reproduced (binance/binance-spot-api-docs, and recordings of the live feed):

- ``/ws/<stream>…`` sends plain frames, ``/stream?streams=…`` wraps them ``{"stream","data"}``; both take live SUBSCRIBE messages.
- An acknowledgement says that the syntax was right: a stream of a symbol that does not exist is acknowledged and stays silent. Wrong syntax
  is answered ``{"error":{"code":2,…},"id":n}``, and the connection is closed.
- A kline is sent about every 2 s; the frame with ``x`` true comes exactly once per interval, shortly after it ended, also when nothing
  traded: then flat at the last close with n = 0 and f = L = -1. Nothing is sent when subscribing.
- No sequence numbers, no heartbeat message: the server pings. More than 5 messages a second, or 1,024 streams, end the connection.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from exchanges.sandbox.binance_rest import (
    INTERVALS,
    Desk,
    average,
    best,
    percent,
    places,
    quote_volume,
    restricted,
    taker_share,
    trade_id,
)
from exchanges.sandbox.coins import DELISTED, NAMED, Coin
from exchanges.sandbox.hashing import share
from exchanges.sandbox.listings import Bar, Listing, listing
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.protocol import Agenda, Close, Exchange, Frame, Output, Throttle, encode_text
from exchanges.sandbox.venues import Venue

__all__ = ["Desk", "Session", "listings", "refusal_body"]

HALTED = "BREAK"
MESSAGES_PER_SECOND = 5
MOST_STREAMS = 1_024
_STREAM = re.compile(
    r"[^@\s]{1,30}@(kline_(1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M)(@\+08:00)?|ticker|miniTicker|trade|aggTrade|bookTicker"
    r"|avgPrice|depth(5|10|20)?(@100ms)?|ticker_(1h|4h|1d))|!(miniTicker|ticker)@arr"
)
"""What the exchange takes for a stream. The sandbox serves klines from 5 minutes to a day, ticker, miniTicker and !miniTicker@arr."""
_USDC_PAIRS = ("BTC", "ETH", "SOL")
_BTC_PAIRS = (("ETH", 5, 4), ("SOL", 7, 3), ("XRP", 8, 0))
"""Base, price decimals, size decimals of the pairs against BTC."""


def listings(venue: Venue, coins: Sequence[Coin], seed: int, epoch: int) -> list[Listing]:
    """Each coin against the venue's quote, a few against USDC and BTC, and one that is not traded any more (status BREAK)."""
    same: dict[str, Any] = {"seed": seed, "epoch": epoch, "status": "TRADING"}
    rows = [
        listing(venue, f"{coin.code}{venue.quote}", coin, venue.quote, size_decimals=min(5, coin.size_decimals), **same) for coin in coins
    ]
    by_code = {coin.code: coin for coin in coins if coin in NAMED}
    rows += [
        listing(
            venue,
            f"{code}USDC",
            by_code[code],
            "USDC",
            size_decimals=min(5, by_code[code].size_decimals),
            volume_share=0.12,
            basis_bps=3.0,
            **same,
        )
        for code in _USDC_PAIRS
        if code in by_code
    ]
    rows += [
        listing(
            venue,
            f"{code}BTC",
            by_code[code],
            "BTC",
            size_decimals=sizes,
            decimals=decimals,
            volume_share=0.05,
            basis_bps=-venue.basis_bps,
            against=by_code["BTC"],
            **same,
        )
        for code, decimals, sizes in _BTC_PAIRS
        if code in by_code
    ]
    halted: dict[str, Any] = {**same, "status": "BREAK", "ends": epoch - epoch % DAY - 2 * DAY}
    rows.append(listing(venue, f"{DELISTED.code}{venue.quote}", DELISTED, venue.quote, size_decimals=2, **halted))
    return rows


def refusal_body(status: int) -> bytes:
    """What a refused handshake says."""
    return restricted(status)


def kline(exchange: Exchange, row: Listing, interval: str, bar: Bar, moment: int, *, closed: bool) -> dict[str, Any]:
    """A kline event. ``moment`` is when it was made, in market time."""
    first = trade_id(row, bar.open_time)
    taken = taker_share(row, bar)
    return {
        "e": "kline",
        "E": exchange.stamp(moment),
        "s": row.symbol,
        "k": {
            "t": bar.open_time,
            "T": bar.open_time + INTERVALS[interval] - 1,
            "s": row.symbol,
            "i": interval,
            "f": first if bar.trades else -1,
            "L": first + bar.trades - 1 if bar.trades else -1,
            "o": places(bar.open, row.decimals),
            "c": places(bar.close, row.decimals),
            "h": places(bar.high, row.decimals),
            "l": places(bar.low, row.decimals),
            "v": places(bar.volume, row.size_decimals),
            "n": bar.trades,
            "x": closed,
            "q": quote_volume(bar.turnover, row),
            "V": places(bar.volume * taken // 1000, row.size_decimals),
            "Q": quote_volume(bar.turnover * taken // 1000, row),
            "B": "0",
        },
    }


def ticker(exchange: Exchange, row: Listing, moment: int) -> dict[str, Any]:
    """A 24 h ticker event."""
    day, stamp = exchange.market.statistics(row, moment), exchange.stamp(moment)
    bid, bid_quantity, ask, ask_quantity = best(day, row)
    first = trade_id(row, day.since)
    return {
        "e": "24hrTicker",
        "E": stamp,
        "s": row.symbol,
        "p": places(day.last - day.open, row.decimals),
        "P": percent(day),
        "w": average(day, row),
        "x": places(day.open, row.decimals),
        "c": places(day.last, row.decimals),
        "Q": places(row.lot, row.size_decimals),
        "b": bid,
        "B": bid_quantity,
        "a": ask,
        "A": ask_quantity,
        "o": places(day.open, row.decimals),
        "h": places(day.high, row.decimals),
        "l": places(day.low, row.decimals),
        "v": places(day.volume, row.size_decimals),
        "q": quote_volume(day.turnover, row),
        "O": stamp - DAY,
        "C": stamp,
        "F": first,
        "L": first + day.trades - 1,
        "n": day.trades,
    }


def mini_ticker(exchange: Exchange, row: Listing, moment: int) -> dict[str, Any]:
    """A 24 h mini ticker event."""
    day = exchange.market.statistics(row, moment)
    return {
        "e": "24hrMiniTicker",
        "E": exchange.stamp(moment),
        "s": row.symbol,
        "c": places(day.last, row.decimals),
        "o": places(day.open, row.decimals),
        "h": places(day.high, row.decimals),
        "l": places(day.low, row.decimals),
        "v": places(day.volume, row.size_decimals),
        "q": quote_volume(day.turnover, row),
    }


class _Klines:
    """One kline stream. A close is never skipped, not even when the clock jumps; updates that are overdue are."""

    def __init__(self, exchange: Exchange, row: Listing, interval: str, now: int) -> None:
        self._exchange, self._row, self._interval = exchange, row, interval
        self._step = INTERVALS[interval]
        self._open = now - now % self._step
        self._update = now + int(2_000 * share("phase", row.symbol, interval))
        self._plan()

    def fire(self, now: int) -> Iterable[Frame]:
        return self._close() if self._closing else self._update_frame(now)

    def _plan(self) -> None:
        """The next frame: an update of the open interval, or else its close."""
        self._closing = self._update >= self._open + self._step
        self.due = self._open + self._step + self._delay() if self._closing else self._update

    def _delay(self) -> int:
        """How long after the end of the interval its last frame comes: 70 to 430 ms, on thin pairs 1.4 to 2.4 s."""
        draw = share("close", self._row.symbol, self._open)
        return int(1_400 + 1_000 * draw) if self._row.coin.busy < 1 else int(70 + 360 * draw)

    def _close(self) -> Iterable[Frame]:
        bar = self._exchange.market.bars(self._row, self._step, self._open, self._open + self._step)[0]
        message = kline(self._exchange, self._row, self._interval, bar, self.due, closed=True)
        self._open += self._step
        self._update = max(self._update, self.due + 1)
        self._plan()
        return (Frame(message, "candles", self._row.symbol),)

    def _update_frame(self, now: int) -> Iterable[Frame]:
        moment, pause = self._update, self._exchange.gap(2_000)
        self._update += pause * max(1, (now - moment) // pause)
        self._plan()
        bar = self._exchange.market.forming(self._row, self._step, moment) if moment + pause > now else None
        if bar is None:
            return ()
        return (Frame(kline(self._exchange, self._row, self._interval, bar, moment, closed=False), "candles", self._row.symbol),)


class _Tickers:
    """24 h tickers of some symbols, once a second. ``together`` sends them as one array."""

    def __init__(self, exchange: Exchange, rows: Sequence[Listing], make: Any, now: int, *, together: bool = False) -> None:
        self._exchange, self._rows, self._make, self._together = exchange, rows, make, together
        self.due = now + int(1_000 * share("phase", rows[0].symbol, "ticker"))

    def fire(self, now: int) -> Iterable[Frame]:
        moment = self.due
        self.due += self._exchange.gap(1_000)
        if self.due <= now:
            return ()
        messages = [self._make(self._exchange, row, moment) for row in self._rows]
        return (Frame(messages, "ticker"),) if self._together else (Frame(messages[0], "ticker", self._rows[0].symbol),)


class _Silent:
    """A stream that is acknowledged and never says anything."""

    due = 2**62

    def fire(self, now: int) -> Iterable[Frame]:
        return ()


class _Message(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[Any] = []


_decode = msgspec.json.Decoder(_Message).decode


class _Named:
    """A stream whose frames carry its name."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream = name, stream
        self.due: int = stream.due

    def fire(self, now: int) -> Iterable[Frame]:
        frames = [Frame({"stream": self._name, "data": message}, channel, symbol) for message, channel, symbol in self._stream.fire(now)]
        self.due = self._stream.due
        return frames


class Session:
    """One connection."""

    deadline: float | None = None
    subscribed = True

    def __init__(self, exchange: Exchange, path: str, query: Mapping[str, str], now: int) -> None:
        head, _, rest = path.strip("/").partition("/")
        if head not in {"ws", "stream"} or (head == "stream" and rest):
            raise LookupError(path)
        self._exchange = exchange
        self._agenda = Agenda()
        self._combined = head == "stream"
        self._throttle = Throttle(MESSAGES_PER_SECOND, 1.0)
        names = [name for name in (query.get("streams", "") if self._combined else rest).split("/") if name]
        if not all(_STREAM.fullmatch(name) for name in names) or len(names) > MOST_STREAMS:
            raise LookupError(path)
        for name in names:
            self._open(name, now)

    @property
    def next_due(self) -> int | None:
        return self._agenda.next_due

    def receive(self, text: str | bytes, now: int, real: float) -> list[Output]:
        if self._throttle.exceeded(real):
            return [Close(1008, "Too many requests")]
        try:
            message = _decode(text)
        except msgspec.MsgspecError as error:
            return _invalid(str(error), None)
        if not isinstance(message.id, int) or message.id < 0:
            return _invalid("request ID must be an unsigned integer", None)
        match message.method:
            case "SUBSCRIBE" | "UNSUBSCRIBE":
                return self._subscribe(message, now)
            case "LIST_SUBSCRIPTIONS":
                return [Frame({"result": list(self._agenda), "id": message.id}, "ack")]
            case "SET_PROPERTY" if message.params[:1] == ["combined"] and isinstance(message.params[-1], bool):
                self._combined = message.params[-1]
                return [_done(message.id)]
        return _invalid(f"unknown variant `{message.method}`", message.id)

    def advance(self, now: int) -> list[Output]:
        return list(self._agenda.run(now))

    def expire(self) -> Close:
        return Close(1008)

    def seal(self, frame: Frame) -> str:
        message = frame.message
        if not self._combined and isinstance(message, dict) and "stream" in message:
            message = message["data"]
        return encode_text(message)

    def announce_shutdown(self, now: int) -> list[Frame]:
        event = {"e": "serverShutdown", "E": self._exchange.stamp(now)}
        return [Frame({"stream": "!serverShutdown", "data": event}, "ack")]

    def reset_sequence(self) -> None:
        """There is none."""

    def forget(self, channel: str, symbol: str) -> None:
        self._agenda.forget(lambda name: ("candles" if "@kline" in name else "ticker", name.partition("@")[0].upper()), channel, symbol)

    def _subscribe(self, message: _Message, now: int) -> list[Output]:
        names = message.params
        if not names or not all(isinstance(name, str) and _STREAM.fullmatch(name) for name in names):
            return _invalid("invalid stream", message.id)
        if message.method == "UNSUBSCRIBE":
            for name in names:
                self._agenda.drop(name)
            return [_done(message.id)]
        if len({*self._agenda, *names}) > MOST_STREAMS:
            return [Close(1008, "Too many streams")]
        for name in names:
            if name not in self._agenda:
                self._open(name, now)
        return [_done(message.id)]

    def _open(self, name: str, now: int) -> None:
        self._agenda.add(name, _Named(name, self._stream(name, now)))

    def _stream(self, name: str, now: int) -> Any:
        """Symbols are lower case here; one that is not, or is not traded, is a silent stream."""
        exchange = self._exchange
        trading = [row for row in exchange.listings.values() if row.trading(now)]
        if name == "!miniTicker@arr" and trading:
            return _Tickers(exchange, trading, mini_ticker, now, together=True)
        symbol, _, kind = name.partition("@")
        row = exchange.listed().get(symbol.upper())
        if row is None or symbol != symbol.lower() or not row.trading(now):
            return _Silent()
        if kind.removeprefix("kline_") in INTERVALS:
            return _Klines(exchange, row, kind.removeprefix("kline_"), now)
        if kind in {"ticker", "miniTicker"}:
            return _Tickers(exchange, [row], ticker if kind == "ticker" else mini_ticker, now)
        return _Silent()


def _done(request: int | str | None) -> Frame:
    return Frame({"result": None, "id": request}, "ack")


def _invalid(reason: str, request: int | str | None) -> list[Output]:
    error: dict[str, Any] = {"error": {"code": 2, "msg": f"Invalid request: {reason}"}}
    return [Frame(error if request is None else error | {"id": request}, "ack"), Close(1008, "Invalid request")]
