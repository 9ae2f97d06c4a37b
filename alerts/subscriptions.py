"""What a client asks to hear: the grammar of channels and patterns, and the set of one socket. Pure.

An allow-list: channels of exchanges by their names in ``livermore.keys``, ``*`` only in place of a whole symbol, a whole timeframe, the
other exchange of moves, or of everything after the exchange. A user's own channels are not in it: they follow from the session, and from
nothing a client says. Nothing of what a client says reaches Redis either: a process subscribes there to whole kinds of an exchange, and
picks out here.
docs/websocket-contract.md, "Subscriptions", is this for clients.
"""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import product
from typing import Annotated, Any, NamedTuple

import msgspec

from exchanges.events import TIMEFRAMES
from livermore import keys

VERSION = 1
MOST_PATTERNS = 200
LONGEST_CHANNEL = 200
LONGEST_SYMBOL = 80
MESSAGES_PER_SECOND = 20

ANY = "*"
ALERTS, TICKER, CANDLE, LIFECYCLE, MOVES = "alerts", "ticker", "candle", "lifecycle", "moves"
KINDS = (ALERTS, TICKER, CANDLE, LIFECYCLE, MOVES)
_USUAL = (ALERTS, TICKER, CANDLE, LIFECYCLE)
"""What a request by parts means that names no kinds: a move is of many symbols, and wanted by who trades elsewhere."""
_EVERY = "every"

_EXCHANGE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NOT_IN_A_SYMBOL = re.compile(r"[\s*?\[\]\\^]")


class Refused(ValueError):
    """A request that changes nothing, and why: a sentence for whoever wrote the client."""


class Address(NamedTuple):
    """A channel, or a pattern where ``symbol`` or ``timeframe`` is "*". Alerts with the symbol "": all those of the exchange, in order.

    Of moves ``symbol`` is the other exchange.
    """

    kind: str
    exchange_id: str
    symbol: str = ""
    timeframe: str = ""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """``subscribe`` or ``unsubscribe``: channels by name, or an exchange's by parts, or both."""

    type: str
    v: int = VERSION
    id: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    channels: tuple[str, ...] = ()
    exchange: str = ""
    symbols: tuple[str, ...] = (ANY,)
    timeframes: tuple[str, ...] = (ANY,)
    kinds: tuple[str, ...] = _USUAL


class _Id(msgspec.Struct):
    id: Any = None


_decode_request = msgspec.json.Decoder(Request).decode
_decode_id = msgspec.json.Decoder(_Id).decode


def read(text: str) -> Request:
    """A request as a client says it. Raises Refused."""
    try:
        request = _decode_request(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"cannot be read: {_shown(str(error))[1:-1]}") from None
    if request.v != VERSION:
        raise Refused(f"say version {VERSION}: this server knows no other")
    return request


def id_of(text: str) -> int | None:
    """The ``id`` of a request that cannot be read, where that much can be."""
    try:
        found = _decode_id(text).id
    except (ValueError, RecursionError):
        return None
    return found if type(found) is int and 0 <= found <= 2**53 else None


# Names


def parse(text: str) -> Address:
    """The address that a channel or pattern of a client names. Raises Refused."""
    if len(text) > LONGEST_CHANNEL:
        raise Refused(f"{_shown(text)} is longer than {LONGEST_CHANNEL} characters")
    match text.split(":"):
        case ["channel", "alerts", exchange_id]:
            return Address(ALERTS, _exchange(text, exchange_id))
        case ["channel", "user", *_]:
            raise Refused(f"{_shown(text)}: what is for one user follows from the login; say hello to hear it")
        case ["channel", "exchange", exchange_id, "*"]:
            return Address(_EVERY, _exchange(text, exchange_id))
        case ["channel", "exchange", exchange_id, "lifecycle"]:
            return Address(LIFECYCLE, _exchange(text, exchange_id))
        case ["channel", "exchange", exchange_id, "moves", other_id]:
            return Address(MOVES, _exchange(text, exchange_id), ANY if other_id == ANY else _exchange(text, other_id))
        case ["channel", "exchange", exchange_id, "alerts" | "ticker" as kind, *symbol] if symbol:
            return Address(kind, _exchange(text, exchange_id), _symbol(text, symbol))
        case ["channel", "exchange", exchange_id, "candle", "close", "*"]:
            return Address(CANDLE, _exchange(text, exchange_id), ANY, ANY)
        case ["channel", "exchange", exchange_id, "candle", "close", *symbol, timeframe] if symbol:
            return Address(CANDLE, _exchange(text, exchange_id), _symbol(text, symbol), _timeframe(text, timeframe))
    raise Refused(f"{_shown(text)} is no channel of an exchange: name one as channel:exchange:coinbase:alerts:BTC-USD")


def name(address: Address) -> str:
    """How an address is spelled; ``parse`` gives it back."""
    kind, exchange_id, symbol, timeframe = address
    if kind == ALERTS:
        return keys.channel_symbol_alerts(exchange_id, symbol) if symbol else keys.channel_alerts(exchange_id)
    if kind == TICKER:
        return keys.channel_ticker(exchange_id, symbol)
    if kind == CANDLE:
        return keys.channel_candle_close(exchange_id, symbol, timeframe)
    if kind == MOVES:
        return keys.channel_moves(exchange_id, symbol)
    return keys.channel_lifecycle(exchange_id) if kind == LIFECYCLE else keys.pattern_exchange(exchange_id)


@lru_cache(maxsize=8192)
def delivered(channel: str) -> Address:
    """The address of a channel that Redis delivers from; users' channels have the user's id in place of the exchange's.

    Raises ValueError for a name outside the contract.
    """
    return Address(*keys.parse_channel(channel))


def _exchange(text: str, exchange_id: str) -> str:
    if not _EXCHANGE.fullmatch(exchange_id):
        raise Refused(f"{_shown(text)}: name one exchange where {_shown(exchange_id)} stands, e.g. coinbase")
    return exchange_id


def _symbol(text: str, parts: Iterable[str]) -> str:
    symbol = ":".join(parts)
    if symbol == ANY:
        return symbol
    if "*" in symbol:
        raise Refused(f"{_shown(text)}: * stands for a whole symbol or timeframe, not for a part of one")
    if not 0 < len(symbol) <= LONGEST_SYMBOL or not symbol.isprintable() or _NOT_IN_A_SYMBOL.search(symbol) or symbol.strip(":") != symbol:
        raise Refused(f"{_shown(text)}: {_shown(symbol)} is no symbol; use the exchange's own spelling, e.g. BTC-USD")
    return symbol


def _timeframe(text: str, timeframe: str) -> str:
    if timeframe != ANY and timeframe not in TIMEFRAMES:
        raise Refused(f"{_shown(text)}: {_shown(timeframe)} is no timeframe; use one of {' '.join(TIMEFRAMES)}, or *")
    return timeframe


def _shown(text: str) -> str:
    """What a client said, fit for an answer to it."""
    return ascii(text if len(text) <= 120 else f"{text[:117]}…")


def _named(request: Request) -> Collection[Address]:
    """All that a request names. What it names by parts is counted before it is spelled out."""
    by_parts = len(request.symbols) * (2 + len(request.timeframes)) if request.exchange else 0
    if len(request.channels) + by_parts > 4 * MOST_PATTERNS:
        raise Refused(f"too much at once: a socket has room for {MOST_PATTERNS} patterns; use * for a whole exchange")
    named = dict.fromkeys(parse(channel) for channel in request.channels)
    if request.exchange:
        named.update(dict.fromkeys(_by_parts(request)))
    elif request.symbols != (ANY,) or request.timeframes != (ANY,) or request.kinds != _USUAL:
        raise Refused("symbols, timeframes and kinds are those of an exchange: name it in exchange")
    return named.keys()


def _by_parts(request: Request) -> Iterable[Address]:
    exchange_id = _exchange("exchange", request.exchange)
    symbols = [_symbol("symbols", symbol.split(":")) for symbol in request.symbols]
    timeframes = [_timeframe("timeframes", timeframe) for timeframe in request.timeframes]
    for kind in dict.fromkeys(request.kinds):
        if kind in {ALERTS, TICKER}:
            yield from (Address(kind, exchange_id, symbol) for symbol in symbols)
        elif kind == CANDLE:
            yield from (Address(kind, exchange_id, symbol, timeframe) for symbol, timeframe in product(symbols, timeframes))
        elif kind == LIFECYCLE:
            yield Address(kind, exchange_id)
        elif kind == MOVES:
            yield Address(kind, exchange_id, ANY)
        else:
            raise Refused(f"{_shown(kind)} is no kind: use some of {', '.join(KINDS)}")


# The set of one socket


class Subscriptions:
    """What one socket asked for. A message is looked up by at most five keys, however many patterns there are."""

    def __init__(self) -> None:
        self._wanted: dict[Address, None] = {}

    def __bool__(self) -> bool:
        return bool(self._wanted)

    @property
    def channels(self) -> list[str]:
        """The whole set, in the order in which it was asked for."""
        return [name(address) for address in self._wanted]

    def add(self, request: Request, exchange_ids: Collection[str]) -> None:
        """Add what a request names, of the exchanges that this user watches. Raises Refused, and then nothing has changed."""
        named = _named(request)
        for address in named:
            if unwatched := _unwatched(address, exchange_ids):
                watched = ", ".join(sorted(exchange_ids)) or "none"
                raise Refused(f"{_shown(unwatched)} is not among the exchanges you watch: {watched}")
        after = self._wanted | dict.fromkeys(named)
        if len(after) > MOST_PATTERNS:
            raise Refused(f"{len(after)} patterns are more than the {MOST_PATTERNS} of a socket: use * for a whole exchange")
        self._wanted = after

    def remove(self, request: Request) -> None:
        """Remove what a request names, each as it was added; what is not there is no matter. Raises Refused, as ``add``."""
        for address in _named(request):
            self._wanted.pop(address, None)

    def keep(self, exchange_ids: Collection[str]) -> bool:
        """Drop what is of other exchanges than these. Whether there was any."""
        kept = {address: None for address in self._wanted if not _unwatched(address, exchange_ids)}
        dropped = len(kept) < len(self._wanted)
        self._wanted = kept
        return dropped

    def wants(self, address: Address) -> bool:
        """Whether a message of this channel is asked for.

        An alert is published on two channels: who asked for all those of the exchange does not get it from its symbol's channel once more.
        """
        kind, exchange_id, symbol, timeframe = address
        wanted = self._wanted
        if kind not in KINDS:
            return False
        if kind == ALERTS and (not symbol or (ALERTS, exchange_id, "", "") in wanted):
            return not symbol and address in wanted
        return (
            address in wanted
            or (_EVERY, exchange_id, "", "") in wanted
            or (kind, exchange_id, ANY, timeframe and ANY) in wanted
            or (kind, exchange_id, symbol, ANY) in wanted
            or (kind, exchange_id, ANY, timeframe) in wanted
        )

    def wants_alert(self, exchange_id: str, symbol: str) -> bool:
        """Whether an alert is asked for, by its symbol or with all of its exchange."""
        return (ALERTS, exchange_id, "", "") in self._wanted or self.wants(Address(ALERTS, exchange_id, symbol))

    def redis_patterns(self) -> set[str]:
        """What a process subscribes to for this set: whole kinds, of which no two deliver the same message."""
        return {pattern for address in self._wanted for pattern in _whole(address)}


def _whole(address: Address) -> Iterable[str]:
    """Lifecycle too, whatever is asked for: it tells when a symbol becomes somebody's own."""
    kind, exchange_id = address.kind, address.exchange_id
    yield keys.channel_lifecycle(exchange_id)
    if kind == ALERTS and not address.symbol:
        yield keys.channel_alerts(exchange_id)
    elif kind in {ALERTS, _EVERY}:
        yield keys.channel_symbol_alerts(exchange_id, ANY)
    if kind in {TICKER, _EVERY}:
        yield keys.channel_ticker(exchange_id, ANY)
    if kind in {CANDLE, _EVERY}:
        yield keys.channel_candle_close(exchange_id, ANY, ANY)
    if kind in {MOVES, _EVERY}:
        yield keys.channel_moves(exchange_id, ANY)


def _unwatched(address: Address, exchange_ids: Collection[str]) -> str:
    """An exchange that an address names and that is not among these; "" where all are."""
    if address.exchange_id not in exchange_ids:
        return address.exchange_id
    other_id = address.symbol
    return other_id if address.kind == MOVES and other_id != ANY and other_id not in exchange_ids else ""


class Allowance:
    """How often somebody may ask: a burst of a second's worth, refilled by the clock."""

    def __init__(self, per_second: float = MESSAGES_PER_SECOND) -> None:
        self._per_second = self._left = float(per_second)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more is allowed at ``now`` (seconds of any clock that does not go back)."""
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
