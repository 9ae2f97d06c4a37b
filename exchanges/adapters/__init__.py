"""The exchanges Livermore speaks natively (EXC-03): one module each, bytes in, events out, no I/O.

Adding one is described in docs/add-an-exchange.md.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from exchanges.adapters import binance, coinbase, kraken
from exchanges.events import Balance, Candle, Credentials, Event, Limits, Request, RestRefusal, Stream, SymbolInfo


class Adapter(Protocol):
    """What a module in this package has to offer. Every function is pure and total: no socket, no clock, no exception for bad input."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def timeframes(self) -> Mapping[str, str]:
        """Our timeframe -> the exchange's name of the REST granularity it is fetched (or summed) from."""

    @property
    def flags_closes(self) -> bool:
        """The exchange marks the last frame of a candle; elsewhere a REST read-back makes a close final."""

    @property
    def fills_idle(self) -> bool:
        """REST returns a row for an interval without trades."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that rows with this adapter may name, besides loopback for sandbox rows."""

    @property
    def key_help(self) -> str:
        """One sentence for a user: which read-only key to make at this exchange."""

    def connect_url(self, websocket_url: str) -> str: ...
    def opening(self) -> list[str]: ...
    def subscribe(self, streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]: ...
    def unsubscribe(self, streams: Iterable[Stream], request: int) -> list[tuple[str, tuple[Stream, ...]]]: ...
    def parse(self, frame: str | bytes) -> list[Event]: ...

    def time_request(self) -> Request: ...
    def parse_time(self, body: bytes) -> int: ...
    def symbol_requests(self) -> list[Request]: ...
    def parse_symbols(self, bodies: list[bytes]) -> list[SymbolInfo]: ...
    def candles_requests(self, symbol: str, timeframe: str, start: int, end: int) -> list[Request]: ...
    def parse_candles(self, bodies: list[bytes], symbol: str, timeframe: str) -> list[Candle]: ...

    def balance_request(self, credentials: Credentials, rest_url: str, now: int, nonce: str, cursor: str = "") -> Request:
        """A signed request for a page of what the owner of the key holds. Raises wire.BadKey for a key that cannot sign.

        ``now``: the exchange's clock, ms UTC; ``nonce``: a whole number above every one before it; ``cursor``: "" for the first page.
        """

    def parse_balances(self, body: bytes) -> tuple[list[Balance], str]:
        """The balances of a page, and the cursor of the next, "" after the last."""

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> RestRefusal: ...


_ADAPTERS: dict[str, Adapter] = {
    "binance": binance,
    "coinbase": coinbase,
    "kraken": kraken,
}


def adapter_for(name: str) -> Adapter:
    """The adapter of that name. Raises LookupError that lists the known ones; there is no default."""
    try:
        return _ADAPTERS[name]
    except KeyError:
        raise LookupError(f"unknown adapter {name!r}; known: {', '.join(sorted(_ADAPTERS))}") from None


def adapter_choices() -> list[tuple[str, str]]:
    """For forms: (name, title) of each adapter."""
    return [(name, module.title) for name, module in sorted(_ADAPTERS.items())]
