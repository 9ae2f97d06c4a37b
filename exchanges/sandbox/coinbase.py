"""Coinbase Advanced Trade, as its wire looks: REST under ``/api/v3/brokerage``, and one websocket at the venue's root.

Facts reproduced (docs.cdp.coinbase.com, and recordings of the live feed of 2026):

- Data comes before the acknowledgement, which lists the whole current set of the connection; unknown products are left out of it.
- ``sequence_num`` counts every frame of the connection but errors; ``heartbeat_counter`` is a whole number; there is no ``client_id``.
- ``candles`` has 5-minute buckets only. Its snapshot holds 100 rows with holes between them, even of BTC-USD. An update shows the forming
  candle as it was up to 19 s ago; no frame says that a candle closed, and a closed one is never sent again.
- A -USDC product shows the -USD book, and frames name the -USD product.
- REST lists candles newest first, at most 350, closed ones only, and leaves out intervals without a trade.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from exchanges.sandbox.coinbase_rest import Desk, ticker_row
from exchanges.sandbox.coins import RETIRED, Coin
from exchanges.sandbox.hashing import hashed, share
from exchanges.sandbox.listings import Bar, Listing, listing
from exchanges.sandbox.market import Market
from exchanges.sandbox.paths import BAR, DAY
from exchanges.sandbox.protocol import (
    Agenda,
    Close,
    Exchange,
    Frame,
    Output,
    Throttle,
    encode,
    encode_text,
    rfc3339,
    shortest,
)
from exchanges.sandbox.venues import Venue

__all__ = ["Desk", "Session", "listings", "refusal_body"]

HALTED = "online"
"""It says so in ``trading_disabled``."""
SNAPSHOT_ROWS = 100
MESSAGES_PER_SECOND = 8
_UPTIME = 41_000
"""Seconds the imagined server process had been running when a connection opened."""
_NEWEST_LAG = 700
"""Market ms that a candle frame lags at least."""


def listings(venue: Venue, coins: Sequence[Coin], seed: int, epoch: int) -> list[Listing]:
    """Each coin against the venue's quote, its -USDC alias, one delisted product and one whose trading is disabled."""
    rows: list[Listing] = []
    for coin in coins:
        book = f"{coin.code}-{venue.quote}"
        same = {"seed": seed, "epoch": epoch, "size_decimals": coin.size_decimals, "status": "online"}
        rows.append(listing(venue, book, coin, venue.quote, **same))  # type: ignore[arg-type]
        rows.append(listing(venue, f"{coin.code}-USDC", coin, "USDC", alias_of=book, **same))  # type: ignore[arg-type]
    ends = epoch - epoch % DAY - 2 * DAY
    for coin, status in zip(RETIRED, ("delisted", "online"), strict=True):
        rows.append(
            listing(
                venue,
                f"{coin.code}-{venue.quote}",
                coin,
                venue.quote,
                seed=seed,
                epoch=epoch,
                size_decimals=coin.size_decimals,
                status=status,
                ends=ends,
            )
        )
    return rows


def refusal_body(status: int) -> bytes:
    """What a refused handshake says."""
    return encode({"error": "unknown", "message": "Forbidden" if status in {403, 451} else "Service unavailable"})


def _nanoseconds(*words: int | str) -> int:
    return hashed(*words) % 1_000_000


def _envelope(exchange: Exchange, channel: str, moment: int, events: list[Any]) -> dict[str, Any]:
    stamp = exchange.stamp(moment)
    return {"channel": channel, "timestamp": rfc3339(stamp, _nanoseconds(channel, stamp)), "sequence_num": 0, "events": events}


def _candle_row(row: Bar, book: Listing) -> dict[str, str]:
    return {
        "start": str(row.open_time // 1000),
        "high": shortest(row.high, book.decimals),
        "low": shortest(row.low, book.decimals),
        "open": shortest(row.open, book.decimals),
        "close": shortest(row.close, book.decimals),
        "volume": shortest(row.volume, book.size_decimals),
        "product_id": book.symbol,
    }


class _Candles:
    """Updates of one product's forming candle: 10 or 20 s apart, and behind the trades."""

    def __init__(self, exchange: Exchange, book: Listing, now: int) -> None:
        self._exchange, self._book = exchange, book
        self._content = 0
        self._sent: Bar | None = None
        self.due = now
        self._content_at(now)
        self._move_on()

    def snapshot(self, now: int) -> Frame:
        """100 rows, the forming one last, with rows missing."""
        rows = _snapshot_rows(self._exchange.market, self._book, now, self._content)
        event = {"type": "snapshot", "candles": [_candle_row(row, self._book) for row in rows]}
        return Frame(_envelope(self._exchange, "candles", now, [event]), "candles", self._book.symbol)

    def fire(self, now: int) -> Iterable[Frame]:
        due = self.due
        self._move_on()
        content = self._content_at(due)
        if self.due <= now or content < due - due % BAR:
            return ()
        bar = self._exchange.market.forming(self._book, BAR, content)
        if bar is None or bar == self._sent:
            return ()
        self._sent = bar
        event = {"type": "update", "candles": [_candle_row(bar, self._book)]}
        return (Frame(_envelope(self._exchange, "candles", due, [event]), "candles", self._book.symbol),)

    def _content_at(self, moment: int) -> int:
        """Up to when trades are in a frame of that moment. It never goes back."""
        span = max(0, self._exchange.stale_ms - _NEWEST_LAG)
        lag = min(_NEWEST_LAG, self._exchange.stale_ms) + int(span * share("stale", self._book.symbol, moment))
        self._content = max(self._content, moment - lag)
        return self._content

    def _move_on(self) -> None:
        pause = 10_000 if share("pause", self._book.symbol, self.due) < 0.6 else 20_000
        self.due += self._exchange.gap(pause)


def _snapshot_rows(market: Market, book: Listing, now: int, content: int) -> list[Bar]:
    forming = market.forming(book, BAR, content) if content >= now - now % BAR else None
    rows = [] if forming is None else [forming]
    missing = 0.34 if book.coin.code == "BTC" else 0.015
    end = now - now % BAR
    while len(rows) < SNAPSHOT_ROWS and end > book.listed:
        start = end - SNAPSHOT_ROWS * BAR
        for row in reversed(market.bars(book, BAR, start, end)):
            if row.trades and share(market.seed, "hole", book.symbol, row.open_time) >= missing and len(rows) < SNAPSHOT_ROWS:
                rows.append(row)
        end = start
    return rows[::-1]


class _Ticker:
    """The price of one product: with every trade, or every 5 s and without the best bid and ask (``ticker_batch``)."""

    def __init__(self, exchange: Exchange, channel: str, book: Listing, now: int) -> None:
        self._exchange, self._channel, self._book = exchange, channel, book
        self._sent: dict[str, str] = {}
        self.due = now
        self._move_on()

    def snapshot(self, now: int) -> Frame:
        return self._frame("snapshot", now)

    def fire(self, now: int) -> Iterable[Frame]:
        due = self.due
        self._move_on()
        if self.due <= now:
            return ()
        before = self._sent
        frame = self._frame("update", due)
        return (frame,) if self._sent != before else ()

    def _frame(self, kind: str, moment: int) -> Frame:
        self._sent = ticker_row(self._exchange.market, self._book, moment, best=self._channel == "ticker")
        event = {"type": kind, "tickers": [self._sent]}
        return Frame(_envelope(self._exchange, self._channel, moment, [event]), "ticker", self._book.symbol)

    def _move_on(self) -> None:
        if self._channel == "ticker_batch":
            self.due += self._exchange.gap(5_000)
        else:
            self.due = max(self._exchange.market.next_trade(self._book, self.due), self.due + self._exchange.gap(1))


class _Heartbeats:
    """One a second, with the exchange's clock."""

    def __init__(self, exchange: Exchange, now: int) -> None:
        self._exchange, self._opened = exchange, now
        self.due = now + exchange.gap(1_000) // 4

    def fire(self, now: int) -> Iterable[Frame]:
        due = self.due
        self.due += self._exchange.gap(1_000)
        if self.due <= now:
            return ()
        uptime = _UPTIME * 1000 + due - self._opened
        clock = rfc3339(self._exchange.stamp(due), _nanoseconds("beat", due)).replace("T", " ").rstrip("Z")
        event = {
            "current_time": f"{clock} +0000 UTC m=+{uptime / 1000:.9f}",
            "heartbeat_counter": uptime // 1000,
        }
        return (Frame(_envelope(self._exchange, "heartbeats", due, [event]), "heartbeats"),)


class _Message(msgspec.Struct):
    type: str
    channel: str = ""
    product_ids: list[str] = []


_decode = msgspec.json.Decoder(_Message).decode


class Session:
    """One connection."""

    deadline: float | None = 5.0

    def __init__(self, exchange: Exchange, path: str, query: Mapping[str, str], now: int) -> None:
        if path not in ("", "/"):
            raise LookupError(path)
        self._exchange = exchange
        self._agenda = Agenda()
        self._asked: dict[str, dict[str, None]] = {}
        self._sequence = 0
        self._throttle = Throttle(MESSAGES_PER_SECOND, 1.0)
        self.subscribed = False

    @property
    def next_due(self) -> int | None:
        return self._agenda.next_due

    def receive(self, text: str | bytes, now: int, real: float) -> list[Output]:
        if self._throttle.exceeded(real):
            return [_error("rate limit exceeded")]
        try:
            message = _decode(text)
        except msgspec.MsgspecError:
            return [_error("failed to parse message")]
        if message.type not in {"subscribe", "unsubscribe"}:
            return [_error("unknown message type")]
        if message.channel not in {"candles", "heartbeats", "ticker", "ticker_batch"}:
            return [_error("authentication failure")]
        if message.type == "unsubscribe":
            self._unsubscribe(message)
            return [self._acknowledgement(now)]
        self.subscribed = True
        return [*self._subscribe(message, now), self._acknowledgement(now)]

    def advance(self, now: int) -> list[Output]:
        return list(self._agenda.run(now))

    def expire(self) -> Close:
        return Close(1008, "no subscription within 5 seconds")

    def seal(self, frame: Frame) -> str:
        if isinstance(frame.message, dict) and "sequence_num" in frame.message:
            frame.message["sequence_num"] = self._sequence
            self._sequence += 1
        return encode_text(frame.message)

    def announce_shutdown(self, now: int) -> list[Frame]:
        return []

    def reset_sequence(self) -> None:
        self._sequence = 0

    def forget(self, channel: str, symbol: str) -> None:
        self._agenda.forget(
            lambda key: (key, "") if isinstance(key, str) else ("ticker" if "ticker" in key[0] else key[0], key[1]), channel, symbol
        )

    def _subscribe(self, message: _Message, now: int) -> list[Frame]:
        asked = self._asked.setdefault(message.channel, {})
        if message.channel == "heartbeats":
            asked["heartbeats"] = None
            if "heartbeats" not in self._agenda:
                self._agenda.add("heartbeats", _Heartbeats(self._exchange, now))
            return []
        frames: list[Frame] = []
        for symbol in message.product_ids:
            book = self._exchange.book(symbol)
            if book is None:
                continue
            asked[symbol] = None
            frames += self._open(message.channel, book, now)
        return frames

    def _open(self, channel: str, book: Listing, now: int) -> list[Frame]:
        """Start a stream unless it runs already (under the name of an alias, maybe). A halted product has no stream."""
        if (channel, book.symbol) in self._agenda or not book.trading(now):
            return []
        stream = _Candles(self._exchange, book, now) if channel == "candles" else _Ticker(self._exchange, channel, book, now)
        self._agenda.add((channel, book.symbol), stream)
        return [stream.snapshot(now)]

    def _unsubscribe(self, message: _Message) -> None:
        asked = self._asked.get(message.channel, {})
        for symbol in message.product_ids or list(asked):
            asked.pop(symbol, None)
        if not asked:
            self._asked.pop(message.channel, None)
        wanted = {book.symbol for symbol in asked if (book := self._exchange.book(symbol))}
        if message.channel == "heartbeats" and not asked:
            self._agenda.drop("heartbeats")
        for key in [key for key in self._agenda if key[0] == message.channel and key[1] not in wanted]:
            self._agenda.drop(key)

    def _acknowledgement(self, now: int) -> Frame:
        """The order of products differs from one acknowledgement to the next."""
        channels = {
            channel: sorted(symbols, key=lambda symbol: hashed(self._sequence, symbol))
            for channel, symbols in sorted(self._asked.items())
            if symbols
        }
        return Frame(_envelope(self._exchange, "subscriptions", now, [{"subscriptions": channels}]), "ack")


def _error(message: str) -> Frame:
    return Frame({"type": "error", "message": message}, "ack")
