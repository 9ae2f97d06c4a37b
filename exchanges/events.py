"""What comes out of an exchange: frozen, typed, the same for every exchange. Imports no I/O.

Times are integer milliseconds UTC. Prices and volumes are floats: see docs/decisions/floats-for-prices.md.
``event_time`` is the exchange's own clock, 0 where a message carries none.
"""

from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

TIMEFRAMES: dict[str, int] = {"5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}
BASE_TIMEFRAME = "5m"


class Channel(StrEnum):
    """What can be subscribed to, in our words; an adapter knows the exchange's."""

    CANDLES = "candles"
    TICKER = "ticker"


class Stream(NamedTuple):
    """One subscription: a channel of one symbol, in the exchange's own spelling."""

    channel: Channel
    symbol: str


class Candle(Struct, frozen=True, gc=False):
    """A candle as the exchange tells it. ``closed`` is true only where the exchange itself says so."""

    symbol: str
    timeframe: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool = False
    event_time: int = 0
    snapshot: bool = False


class Ticker(Struct, frozen=True, gc=False):
    """The last price. Volumes cover 24 h, in base and in quote units; None where the exchange does not say."""

    symbol: str
    price: float
    event_time: int = 0
    volume_24h: float | None = None
    quote_volume_24h: float | None = None
    change_24h: float | None = None
    """Percent."""
    bid: float | None = None
    ask: float | None = None


class Subscribed(Struct, frozen=True, gc=False):
    """The exchange acknowledged a subscription.

    ``streams``: the acknowledged streams, where the exchange names them; ``whole`` says that they are the whole current set of their
    channels. ``request``: the number of our request, where it names only that.
    """

    streams: tuple[Stream, ...] = ()
    whole: bool = False
    request: int | None = None


class Refused(Struct, frozen=True, gc=False):
    """The exchange refused something on the socket. ``stream`` and ``request`` where it says which."""

    reason: str
    code: str = ""
    stream: Stream | None = None
    request: int | None = None


class Alive(Struct, frozen=True, gc=False):
    """A heartbeat: the connection lives and the exchange's clock reads ``event_time``."""

    event_time: int = 0


class Sequence(Struct, frozen=True, gc=False):
    """The running number of a frame on this connection; a jump means that frames were lost."""

    number: int


class GoingAway(Struct, frozen=True, gc=False):
    """The exchange announced that it will close this connection."""

    reason: str
    event_time: int = 0


class Rejected(Struct, frozen=True, gc=False):
    """A frame (or a part of one) that could not be read: counted, sampled into the log, skipped."""

    reason: str
    sample: str = ""


class Lost(Struct, frozen=True, gc=False):
    """Frames were lost on a connection whose exchange numbers them."""

    frames: int


class ConnectionState(StrEnum):
    """Of an exchange's connection, as told in the status hash (EXC-04)."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class Lifecycle(Struct, frozen=True, gc=False):
    """The connection changed its state (CTL-04). ``retry_in`` seconds, where another attempt is planned."""

    state: ConnectionState
    at: int
    reason: str = ""
    retry_in: float | None = None
    connection: int = 0


class StreamState(Struct, frozen=True, gc=False):
    """A wanted stream was proved by data (``live``), or is not delivering although it was asked for."""

    stream: Stream
    live: bool
    reason: str = ""


Event = Candle | Ticker | Subscribed | Refused | Alive | Sequence | GoingAway | Rejected | Lost | Lifecycle | StreamState


class SymbolInfo(Struct, frozen=True):
    """A market as the exchange's REST lists it.

    ``alias_of`` names the symbol whose book this one shows (Coinbase lists BTC-USDC as an alias of BTC-USD).
    ``tradable`` is false for a halted, restricted or delisted market; ``status`` is the exchange's own word.
    """

    symbol: str
    base: str
    quote: str
    tradable: bool = True
    status: str = ""
    price: float | None = None
    volume_24h: float | None = None
    quote_volume_24h: float | None = None
    change_24h: float | None = None
    price_increment: str = ""
    alias_of: str = ""
    bid: float | None = None
    ask: float | None = None


class Credentials(Struct, frozen=True):
    """A user's own read-only key at an exchange. Neither ``repr`` nor ``str`` shows any of it, so that no log and no traceback does."""

    key: str
    secret: str
    passphrase: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Balance(Struct, frozen=True):
    """How much of an asset an account holds: what is free and what is locked in orders, together; always above 0."""

    asset: str
    quantity: float


class Request(Struct, frozen=True):
    """A request to an exchange's REST host. ``path`` starts with a slash and is joined to the row's REST URL.

    ``headers`` carry what proves who asks, so ``repr`` leaves them out.
    """

    path: str
    params: tuple[tuple[str, str], ...] = ()
    weight: int = 1
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path}, params={self.params!r}, weight={self.weight})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in ("method", "path", "params", "weight")]


class RestRefusal(Struct, frozen=True):
    """What an error answer means. ``kind``: rate_limited, banned, blocked, not_found, bad_request, unavailable or bad_key.

    ``retry_after`` seconds or ``retry_at`` milliseconds UTC, where the answer says; ``final`` when asking again cannot help.
    ``bad_key`` is about a user's key and says nothing about public data; ``clock`` when our idea of the exchange's clock may be the cause.
    """

    kind: str
    reason: str
    retry_after: float | None = None
    final: bool = False
    retry_at: int | None = None
    clock: bool = False


HEAVIEST = 20
"""Weight of the heaviest single request there is (Binance's exchangeInfo): a burst below it could never pay for one."""


class Limits(Struct, frozen=True):
    """What the exchange allows, as published; the engine keeps a margin below it. Rows of the admin override these by name."""

    messages_per_second: float
    """Outgoing websocket messages, a connection."""
    connects_per_5min: int
    streams_per_connection: int
    rest_weight_per_minute: int
    rest_burst: int
    """How much weight may be spent at once."""
    max_connection_age: int = 0
    """Seconds after which the exchange cuts a connection; 0 where it has no such rule."""

    def shared(self, among: int) -> "Limits":
        """What each of so many processes may use of what the exchange counts by address: it sees one where there are several."""
        return replace(
            self,
            connects_per_5min=max(1, self.connects_per_5min // among),
            rest_weight_per_minute=max(1, self.rest_weight_per_minute // among),
            rest_burst=max(min(self.rest_burst, HEAVIEST), self.rest_burst // among),
        )
