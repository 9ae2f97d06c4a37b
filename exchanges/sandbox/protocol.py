"""What a wire protocol of the sandbox is made of: a session per websocket connection and a desk for REST, both without sockets.

A protocol is a module with four names: ``listings`` (what a venue of this protocol lists), ``Session``, ``Desk``, and ``refusal_body``
(what a refused handshake says). ``exchanges.sandbox.server`` finds it in its dictionary; nothing else knows protocols by name.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import heappop, heappush
from time import gmtime, strftime
from typing import Any, NamedTuple, Protocol

import msgspec

from exchanges.sandbox.accounts import Accounts
from exchanges.sandbox.clock import Clock
from exchanges.sandbox.faults import Faults
from exchanges.sandbox.listings import Bar, Listing
from exchanges.sandbox.market import Market
from exchanges.sandbox.paths import BAR
from exchanges.sandbox.venues import Venue

FASTEST_STREAM = 250
"""Real ms between two frames of a stream that may be conflated, however fast the market runs."""

encode = msgspec.json.encode


def encode_text(message: Any) -> str:
    """JSON as text."""
    return encode(message).decode()


class Frame(NamedTuple):
    """A message to a client. ``channel`` is candles, ticker, heartbeats or ack; ``symbol`` "" where it is about none."""

    message: dict[str, Any] | list[Any]
    channel: str
    symbol: str = ""


class Close(NamedTuple):
    """The server ends the connection."""

    code: int
    reason: str = ""


Output = Frame | Close


class Answer(NamedTuple):
    """A REST answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Sent(NamedTuple):
    """What a REST request says besides its path: headers by their names in lower case, the query and the body as they came."""

    headers: Mapping[str, str] = {}
    query: str = ""
    method: str = "GET"
    body: bytes = b""


@dataclass(slots=True)
class Exchange:
    """One venue as its sessions and its desk see it. ``stale_ms`` is how far a Coinbase candle frame may lag behind its trades."""

    venue: Venue
    market: Market
    clock: Clock
    faults: Faults
    stale_ms: int = 19_000
    listings: dict[str, Listing] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    halted: str = "halted"
    """The exchange's own word for a market that is halted."""
    accounts: Accounts = field(init=False)
    _halts: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.venue)
        self.listings = {listing.symbol: listing for (venue, _), listing in self.market.listings.items() if venue == self.venue.id}

    def listed(self) -> dict[str, Listing]:
        """The listings as they are now: without delisted markets, and with halted ones as such."""
        gone, halts = self.faults.lasting("delist", self.venue.id), self.faults.lasting("halt", self.venue.id)
        if not gone and not halts:
            return self.listings
        names = {fault.text("symbol") for fault in gone}
        rows = {symbol: row for symbol, row in self.listings.items() if symbol not in names and row.alias_of not in names}
        for fault in halts:
            if (row := rows.get(fault.text("symbol"))) is not None:
                now = self._halts.setdefault(fault.id, self.clock.now())
                rows[row.symbol] = replace(row, status=self.halted, ends=now - now % BAR)
        return rows

    def book(self, symbol: str) -> Listing | None:
        """The listing whose trades a symbol shows: its own, or the one it is an alias of."""
        rows = self.listed()
        listing = rows.get(symbol)
        return rows.get(listing.alias_of) if listing is not None and listing.alias_of else listing

    def names(self) -> list[tuple[str, str]]:
        """Renamed markets, old and new name."""
        return [(fault.text("symbol"), fault.text("to")) for fault in self.faults.lasting("rename", self.venue.id)]

    def gap(self, milliseconds: int) -> int:
        """Market ms between two frames of a stream: as the exchange does it, but not denser than a real client can want."""
        return max(milliseconds, int(FASTEST_STREAM * self.clock.speed))

    def patience(self, milliseconds: int) -> int:
        """Market ms that a request may lie behind or ahead: a network takes real time, also where the market runs fast."""
        return int(milliseconds * max(1.0, self.clock.speed))

    def stamp(self, now: int) -> int:
        """What the exchange's own clock says at that market time."""
        fault = self.faults.hit("clock-skew", self.venue.id)
        return now + int(fault.number("ms")) if fault else now

    def closed_bars(self, listing: Listing, step: int, start: int, end: int, now: int) -> list[Bar]:
        """Bars that open in [start, end) and have closed by ``now``, as REST knows them: late or unfinished while a fault says so."""
        newest = now - step
        behind = self.faults.hit("rest-behind", self.venue.id, symbol=listing.symbol)
        if behind:
            newest -= step * int(behind.number("candles"))
        bars = self.market.bars(listing, step, start, min(end, newest + 1))
        if bars and bars[-1].open_time > newest - step and self.faults.hit("rest-revise", self.venue.id, symbol=listing.symbol):
            bars[-1] = self._unfinished(listing, step, bars[-1])
        return bars

    def _unfinished(self, listing: Listing, step: int, bar: Bar) -> Bar:
        """The bar without its last trades, as a REST answer just after the close can have it."""
        return self.market.forming(listing, step, bar.open_time + step - BAR // 3) or bar


class Stream(Protocol):
    """Something that sends frames at moments it knows."""

    due: int
    """Market time of its next frame."""

    def fire(self, now: int) -> Iterable[Frame]:
        """Send what is due at ``due`` (never later than ``now``) and move ``due`` on."""


class Agenda:
    """The streams of one connection, by the moment they are due."""

    def __init__(self) -> None:
        self._streams: dict[Any, Stream] = {}
        self._heap: list[tuple[int, int, Any, Stream]] = []
        self._order = 0

    def __contains__(self, key: Any) -> bool:
        return key in self._streams

    def __iter__(self) -> Any:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def next_due(self) -> int | None:
        while self._heap and self._streams.get(self._heap[0][2]) is not self._heap[0][3]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def add(self, key: Any, stream: Stream) -> None:
        self._streams[key] = stream
        self._push(key, stream)

    def drop(self, key: Any) -> None:
        self._streams.pop(key, None)

    def forget(self, told: Callable[[Any], tuple[str, str]], channel: str, symbol: str) -> None:
        """Drop the streams of a channel and a symbol ("" is any); ``told`` says what a key stands for."""
        for key in list(self._streams):
            is_channel, is_symbol = told(key)
            if channel in ("", is_channel) and symbol in ("", is_symbol):
                self.drop(key)

    def run(self, now: int) -> list[Frame]:
        """Everything that is due by ``now``, in the order of its moments."""
        frames: list[Frame] = []
        while (due := self.next_due) is not None and due <= now:
            _, _, key, stream = heappop(self._heap)
            frames += stream.fire(now)
            self._push(key, stream)
        return frames

    def _push(self, key: Any, stream: Stream) -> None:
        self._order += 1
        heappush(self._heap, (stream.due, self._order, key, stream))


class Session(Protocol):
    """One websocket connection without its socket: messages in, frames out."""

    deadline: float | None
    """Real seconds within which the client has to subscribe."""
    subscribed: bool

    def __init__(self, exchange: Exchange, path: str, query: Mapping[str, str], now: int) -> None:
        """``path`` is what follows the venue's name. Raises LookupError for a path the exchange does not serve."""

    @property
    def next_due(self) -> int | None:
        """Market time of the next frame; None while nothing is subscribed."""

    def receive(self, text: str | bytes, now: int, real: float) -> list[Output]: ...
    def advance(self, now: int) -> list[Output]: ...
    def expire(self) -> Close:
        """How the connection ends when the deadline passed without a subscription."""

    def seal(self, frame: Frame) -> str:
        """The text of a frame; numbers it where the exchange does. Called once per frame, in the order of sending."""

    def announce_shutdown(self, now: int) -> list[Frame]:
        """The notice before the exchange closes a connection; empty where it gives none."""

    def reset_sequence(self) -> None: ...
    def forget(self, channel: str, symbol: str) -> None:
        """Lose subscriptions: of a channel (candles, ticker or heartbeats), of a symbol; "" is any."""


class Desk(Protocol):
    """The REST side of a venue without its socket."""

    def __init__(self, exchange: Exchange) -> None: ...
    def answer(
        self,
        path: str,
        query: Mapping[str, list[str]],
        now: int,
        real: float,
        client: str,
        sent: Sent = Sent(),  # noqa: B008  (immutable)
    ) -> Answer: ...
    def failure(self, status: int, retry_after: int, now: int) -> Answer:
        """What the exchange says with that status."""


class Throttle:
    """Counts events in a sliding window of real seconds."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds = limit, seconds
        self._times: deque[float] = deque()

    def exceeded(self, real: float) -> bool:
        """Note an event; true when there were more than the limit."""
        self._times.append(real)
        while self._times[0] <= real - self._seconds:
            self._times.popleft()
        return len(self._times) > self._limit


class Bucket:
    """A token bucket: ``rate`` a second, ``burst`` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, -1.0

    def take(self, real: float) -> int:
        """Take one; returns how many are left, -1 when there was none."""
        if self._at >= 0:
            self._tokens = min(self._burst, self._tokens + (real - self._at) * self._rate)
        self._at = real
        if self._tokens < 1:
            return -1
        self._tokens -= 1
        return int(self._tokens)


def decimal(value: int, places: int) -> str:
    """``value`` units of 10^-places with all its places: 1200, 2 -> "12.00"."""
    if places == 0:
        return str(value)
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, part = divmod(value, 10**places)
    return f"{sign}{whole}.{part:0{places}d}"


def shortest(value: int, places: int) -> str:
    """``value`` units of 10^-places without needless zeros: 1200, 2 -> "12"."""
    return decimal(value, places).rstrip("0").rstrip(".") if places else str(value)


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def rfc3339(milliseconds: int, nanoseconds: int = 0) -> str:
    """As Go prints it: nanoseconds without trailing zeros. ``nanoseconds`` (below a million) go beyond the milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    fraction = f"{rest * 1_000_000 + nanoseconds:09d}".rstrip("0")
    return f"{_second(seconds)}.{fraction}Z" if fraction else f"{_second(seconds)}Z"


def parameter(query: Mapping[str, list[str]], name: str) -> str:
    """The first value of a query parameter, or ""."""
    return query.get(name, [""])[0]
