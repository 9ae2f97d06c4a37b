"""Which simulated exchanges there are, and how one differs from another. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Venue:
    """One simulated exchange: the path it is served under, the wire protocol it speaks, and how its prices relate to the others'.

    ``basis_bps`` is how far its prices stand above the hidden price on average, ``swing_bps`` how far that wanders over hours; unless
    that is 0, single candles are off by up to a point more, so that a candle does not open exactly where the last one closed.
    ``lag_ms`` is how many milliseconds of market time it follows: its trades are those of ``lag_ms`` before. A lag must be within two
    minutes above a multiple of five minutes, so that no trade moves into the next candle. ``volume_share`` scales its volumes.
    ``rest_limit`` overrides the protocol's own limit (Coinbase and Kraken: requests a second, Binance: weight a minute); 0 means none.
    ``ping_seconds`` is how often the server pings a client; 0 for never.
    """

    id: str
    protocol: str
    quote: str
    basis_bps: float = 0.0
    swing_bps: float = 0.0
    lag_ms: int = 0
    volume_share: float = 1.0
    rest_limit: int | None = None
    ping_seconds: float = 0.0


COINBASE = Venue("coinbase-sandbox", "coinbase", "USD", swing_bps=0.5)
BINANCE = Venue("binance-sandbox", "binance", "USDT", basis_bps=14.0, swing_bps=12.0, lag_ms=12_000, volume_share=6.0, ping_seconds=20.0)
BINANCE_US = Venue(
    "binance-us-sandbox",
    "binance",
    "USDT",
    basis_bps=-22.0,
    swing_bps=18.0,
    lag_ms=30_000,
    volume_share=0.05,
    rest_limit=1200,
    ping_seconds=180.0,
)
KRAKEN = Venue("kraken-sandbox", "kraken", "USD", basis_bps=6.0, swing_bps=9.0, lag_ms=6_000, volume_share=0.4)
KNOWN = {venue.id: venue for venue in (COINBASE, BINANCE, BINANCE_US, KRAKEN)}
DEFAULT = (COINBASE, BINANCE)


MOST = 10
"""Simulated exchanges at once."""
_PROTOCOLS = (("coinbase", "USD"), ("binance", "USDT"))


def first_venues(count: int) -> tuple[Venue, ...]:
    """So many simulated exchanges, 1 to ``MOST``: the known ones, then others by number. Raises ValueError outside that range."""
    if not 1 <= count <= MOST:
        raise ValueError(f"there are 1 to {MOST} simulated exchanges, not {count}")
    return tuple(_ALL.values())[:count]


def _numbered(number: int) -> Venue:
    """One of its own basis, lag and volume, in turns with either protocol."""
    protocol, quote = _PROTOCOLS[number % 2]
    return Venue(
        f"sandbox-{number}",
        protocol,
        quote,
        basis_bps=(number * 7) % 31 - 15.0,
        swing_bps=2.0 * number,
        lag_ms=3_000 * number,
        volume_share=round(3.0 / number, 2),
    )


_ALL = {**KNOWN, **{venue.id: venue for venue in map(_numbered, range(len(KNOWN) + 1, MOST + 1))}}
NAMES = tuple(_ALL)


def venue_named(name: str) -> Venue:
    """The prepared venue of that id. Raises LookupError that lists the known ones."""
    try:
        return _ALL[name]
    except KeyError:
        raise LookupError(f"unknown simulated exchange {name!r}; known: {', '.join(sorted(_ALL))}") from None
