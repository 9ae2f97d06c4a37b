"""All that a browser (or any client of /ws/feed/) receives, and may say. docs/websocket-contract.md says it in prose.

A websocket frame is ``{"n": frame number, "m": [message, …]}``; each message has a ``type``. Times are integer milliseconds UTC.
"""

from typing import Literal, NotRequired, TypedDict

SeriesState = Literal["live", "warming", "stale", "gap", "halted", "offline"]


class TimeframeStage(TypedDict):
    timeframe: str
    macdv: float | None
    stage: str


class LeadLag(TypedDict):
    """Who leads a coin between two exchanges, over the last hours. ``leader``: an exchange id, or "" for none."""

    first_id: str
    second_id: str
    leader: str
    median_ms: float | None
    """By which the first one is ahead by the exchanges' clocks; negative where the second one is. None: too little to tell."""
    low_ms: float | None
    high_ms: float | None
    events: int
    receive_median_ms: float | None
    """The same by the time of arrival here."""
    offset_first_ms: float | None
    """How the first exchange's clock reads beside ours; not subtracted from anything."""
    offset_second_ms: float | None
    at: int
    """When it was estimated."""


class Elsewhere(TypedDict):
    """The same coin on another exchange when the alert went out. Nothing is derived while ``identity`` is not "same".

    ``symbol`` "": what that exchange lists is not known yet. An exchange that is not named at all does not list the coin.
    """

    exchange_id: str
    symbol: str
    quote: str
    identity: Literal["same", "different", "unknown"]
    price: float | None
    """None where none was known, or it was older than a minute."""
    received: int | None
    spread_bps: float | None
    """There against here, before fees."""
    book_spread_bps: float | None
    """From bid to ask there."""
    trade_url: str
    lead: LeadLag | None


class AlertMessage(TypedDict):
    """An alert, the same in Redis and on the socket. ``id`` is gap-free per exchange (VIS-03: ``source_exchange_id``)."""

    type: Literal["alert"]
    id: int
    epoch: str
    uid: str
    source_exchange_id: str
    symbol: str
    base: str
    quote: str
    timeframe: str
    alert_type: str
    trigger_label: str
    direction: Literal["up", "down"]
    trigger_value: float
    signal_delta: float | None
    price: float
    candle_time: int
    triggered_at: int
    published_at: int
    delayed: bool
    revised: bool
    stage: str
    bias: Literal["bullish", "bearish", "neutral"]
    timeframes: list[TimeframeStage]
    elsewhere: list[Elsewhere]
    overflow: bool
    """Of a symbol outside Tier 1."""
    shared: bool
    """Not only for the users who want its symbol."""


class WithheldMessage(TypedDict):
    """In place of an alert that its owners do not share: that its number is taken, so that nobody looks for it."""

    type: Literal["withheld"]
    id: int
    epoch: str
    source_exchange_id: str


class ExchangeCard(TypedDict):
    """What a card of the dashboard shows.

    ``state`` is "idle" where a process hosts the exchange without running it, "offline" where none does.
    """

    exchange_id: str
    name: str
    simulated: bool
    state: Literal["live", "warming", "stale", "gap", "halted", "offline", "idle"]
    connection_state: str
    since: int | None
    """When ``state`` began."""
    connected_at: int | None
    last_heartbeat: int | None
    symbols: int
    warmup: float | None
    """0 to 1 while warming."""
    error: str
    error_at: int | None
    retry_at: int | None
    host: str
    pid: int | None


class ExchangeMessage(ExchangeCard):
    type: Literal["exchange"]


class Reading(TypedDict):
    """An indicator as it stands in Redis under ``indicator:…:macdv``."""

    t: int
    close: float
    macdv: float | None
    signal: float | None
    histogram: float | None
    atr: float | None
    stage: str
    seeded: bool
    observed: int
    span: int
    reason: str


class SymbolRow(TypedDict):
    """A row of the stage matrix. ``received``: when the price reached us."""

    exchange_id: str
    symbol: str
    base: str
    quote: str
    decimals: int
    rank: int | None
    tier: Literal[1, 2]
    """2: only because this user holds or added it."""
    price: float | None
    change_24h: float | None
    quote_volume_24h: float | None
    received: int | None
    state: SeriesState
    reason: str
    readings: dict[str, Reading]


class SnapshotMessage(TypedDict):
    """The first message after ``hello``, and again when a resume is not possible.

    ``alerts``: newest first. ``resumed``: per exchange, whether ``alerts`` holds everything since the id the page had
    (then the page adds to its list), or is a fresh list (then the page replaces its list).
    """

    type: Literal["snapshot"]
    v: int
    at: int
    exchanges: list[ExchangeCard]
    symbols: list[SymbolRow]
    alerts: list[AlertMessage]
    resumed: dict[str, bool]
    top: dict[str, "Position"]


class OwnSymbol(TypedDict):
    """A symbol that this user holds or added. ``quantity`` and ``value`` (dollars) of what is held."""

    exchange_id: str
    symbol: str
    added: bool
    quantity: float | None
    value: float | None


class OwnTerms(TypedDict):
    """What holds for this user on an exchange: the taker fee (a share), and whether it serves the user's region (None: unknown)."""

    exchange_id: str
    name: str
    taker_fee: float
    allowed: bool | None
    reason: str


class OwnSilence(TypedDict):
    """What this user acknowledged (until its stage changes) or snoozed. ``timeframe`` "": all of the symbol's."""

    id: int
    kind: Literal["ack", "snooze"]
    exchange_id: str
    symbol: str
    timeframe: str
    stage: str
    until: int | None


class Settings(TypedDict):
    """What this user set. ``own_exchange_id``: where the user buys, "" where nothing is chosen."""

    own_exchange_id: str
    terms: list[OwnTerms]
    show_moves: bool
    region: str
    time_zone: str
    timeframes: list[str]
    theme: str
    palette: str
    notify_pages: bool
    """Whether open pages are told of alerts (``notify``)."""


class AccountMessage(TypedDict):
    """Before the first snapshot, and whenever it changed: what is this user's own. Replaces what the page had."""

    type: Literal["account"]
    own: list[OwnSymbol]
    silences: list[OwnSilence]
    settings: Settings


class TickerMessage(TypedDict):
    type: Literal["ticker"]
    exchange_id: str
    symbol: str
    t: int
    price: float
    received: int
    volume_24h: NotRequired[float]
    quote_volume_24h: NotRequired[float]
    change_24h: NotRequired[float]
    bid: NotRequired[float]
    ask: NotRequired[float]


class CandleMessage(TypedDict):
    """A candle closed for good. ``candle``: ``[open_time, open, high, low, close, volume, synthetic 0/1]``."""

    type: Literal["candle"]
    exchange_id: str
    symbol: str
    timeframe: str
    published_at: int
    candle: list[float]
    indicator: Reading


class MoveMessage(TypedDict):
    """A coin moves on ``exchange_id`` and ``other_id`` has not followed; ``grouped``: the whole market does, and these are its coins.

    Moves in basis points over ``window_ms``; of a group the median. ``symbols`` and ``other_symbols``: the markets of each of the coins.
    """

    type: Literal["move"]
    exchange_id: str
    other_id: str
    at: int
    direction: Literal["up", "down"]
    coins: list[str]
    symbols: list[str]
    other_symbols: list[str]
    grouped: bool
    move_bps: float
    usual_bps: float
    other_bps: float
    window_ms: int


class NotifyMessage(TypedDict):
    """To a user who wants open pages to notify: what alerts/policy.py let through. ``tag``: two of the same are one notification.

    ``at``: when the candle closed; ``silent``: without sound, because it is delayed.
    """

    type: Literal["notify"]
    title: str
    body: str
    path: str
    tag: str
    silent: bool
    at: int


class LifecycleMessage(TypedDict):
    """``event``: exchange:connecting, exchange:connected, exchange:disconnected, symbol:state, symbols:changed, …"""

    type: Literal["lifecycle"]
    exchange_id: str
    event: str
    at: int
    reason: str
    symbol: NotRequired[str]
    state: NotRequired[str]
    retry_at: NotRequired[int]


class SymbolsMessage(TypedDict):
    """The pool of an exchange changed: its rows, whole."""

    type: Literal["symbols"]
    exchange_id: str
    symbols: list[SymbolRow]


class Position(TypedDict):
    epoch: str
    id: int


class PositionsMessage(TypedDict):
    """Every 5 s: the top alert id per exchange, and the state of each feed. A page that is behind says ``hello`` again.

    ``resync``: messages may have been missed on the way to this socket; the page says ``hello`` again, with what it has.
    """

    type: Literal["positions"]
    at: int
    resync: NotRequired[bool]
    top: dict[str, Position]
    states: dict[str, str]


class SubscribedMessage(TypedDict):
    """The answer to a ``subscribe`` or ``unsubscribe`` that was carried out: the whole set as it is now.

    ``id``: that of the request; None where the request had none, or the set changed because the user no longer watches an exchange.
    """

    type: Literal["subscribed"]
    id: int | None
    channels: list[str]


class RefusedMessage(TypedDict):
    """The answer to one that was not, and changed nothing: ``reason`` says what to do."""

    type: Literal["refused"]
    id: int | None
    reason: str


class MissedMessage(TypedDict):
    """To a socket that only subscribed: messages may have been missed on the way to it before this one."""

    type: Literal["missed"]
    at: int
    reason: str


Message = (
    SnapshotMessage
    | AlertMessage
    | WithheldMessage
    | ExchangeMessage
    | TickerMessage
    | CandleMessage
    | LifecycleMessage
    | SymbolsMessage
    | PositionsMessage
    | AccountMessage
    | MoveMessage
    | NotifyMessage
    | SubscribedMessage
    | RefusedMessage
    | MissedMessage
)


class HelloRequest(TypedDict):
    """What a page says first, and whenever it may lack something. ``resume``: the last alert it has, per exchange."""

    type: Literal["hello"]
    v: NotRequired[int]
    resume: NotRequired[dict[str, Position]]
    snapshot: NotRequired[bool]
    """False: no snapshot is wanted."""


class AckRequest(TypedDict):
    """Every frame up to number ``n`` has arrived."""

    type: Literal["ack"]
    n: int


class ChannelsRequest(TypedDict):
    """``channels`` by name, those of ``exchange`` by parts, or both."""

    v: NotRequired[int]
    id: NotRequired[int | None]
    channels: NotRequired[list[str]]
    exchange: NotRequired[str]
    symbols: NotRequired[list[str]]
    timeframes: NotRequired[list[str]]
    """Of candles: alerts and prices have none in their names."""
    kinds: NotRequired[list[Literal["alerts", "ticker", "candle", "lifecycle", "moves"]]]


class SubscribeRequest(ChannelsRequest):
    type: Literal["subscribe"]


class UnsubscribeRequest(ChannelsRequest):
    type: Literal["unsubscribe"]


Said = HelloRequest | AckRequest | SubscribeRequest | UnsubscribeRequest
