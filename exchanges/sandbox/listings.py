"""What the simulated venues list, and how their numbers are counted. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from exchanges.sandbox.coins import Coin
from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.paths import BAR, BARS, DAY, LOTS
from exchanges.sandbox.venues import Venue

LONGEST_SHIFT = 120_000
"""How far, in ms, a lag may reach into a bar."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A market on a venue. Prices count in 10^-decimals of the quote, sizes in 10^-size_decimals of the base; a lot is ``lot`` sizes.

    ``listed`` and ``ends`` are milliseconds: no trade lies outside [listed, ends). ``against`` makes it a pair of two coins.
    ``status`` is the exchange's own word; ``alias_of`` names the market whose book this one shows.
    """

    venue: str
    symbol: str
    coin: Coin
    quote: str
    decimals: int
    size_decimals: int
    lot: int
    listed: int
    ends: int | None = None
    basis_bps: float = 0.0
    swing_bps: float = 0.0
    lag_ms: int = 0
    against: Coin | None = None
    alias_of: str = ""
    status: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.venue, self.symbol

    def trading(self, now: int) -> bool:
        """Whether the market is open at that moment: listed, and not halted."""
        return self.listed <= now and (self.ends is None or now < self.ends)


class Bar(NamedTuple):
    """A candle in whole increments. ``turnover`` counts quarters of 10^-(decimals + size_decimals); 0 trades means an idle interval."""

    open_time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    trades: int


def listing(
    venue: Venue,
    symbol: str,
    coin: Coin,
    quote: str,
    *,
    seed: int,
    epoch: int,
    size_decimals: int,
    volume_share: float = 1.0,
    basis_bps: float = 0.0,
    against: Coin | None = None,
    decimals: int | None = None,
    **words: str | int | None,
) -> Listing:
    """A market of ``venue`` in ``coin``, with the coin's listing date and the venue's basis, lag and share of the volume.

    ``epoch`` (ms) is the day the simulated market was first started: listing dates count back from it, so that they stay.
    """
    sizes_a_day = coin.volume * volume_share * venue.volume_share / coin.price * 10**size_decimals
    return Listing(
        venue.id,
        symbol,
        coin,
        quote,
        coin.decimals if decimals is None else decimals,
        size_decimals,
        lot=max(1, round(sizes_a_day / (BARS * LOTS))),
        listed=(epoch // DAY - (coin.life or 80 + hashed(seed, "life", coin.code) % 71)) * DAY,
        basis_bps=venue.basis_bps + basis_bps,
        swing_bps=venue.swing_bps,
        lag_ms=venue.lag_ms,
        against=against,
        **words,  # type: ignore[arg-type]
    )


def shift(lag_ms: int) -> int:
    """The part of a lag within a bar. Raises ValueError for one that would carry trades into the next candle."""
    within = lag_ms % BAR
    if lag_ms < 0 or within > LONGEST_SHIFT:
        raise ValueError(f"a lag of {lag_ms} ms is not 0 to {LONGEST_SHIFT} ms above a multiple of {BAR} ms")
    return within
