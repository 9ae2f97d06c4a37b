"""What one exchange's price says about another's: is it the same coin, what is left after fees, where to act, who has not moved yet. Pure.

"Trigger remotely, buy locally": a signal or a move is seen *here*, the user acts *there*. Everything is told, nothing is traded. Times are
milliseconds, differences basis points (bps, 0.01 %), fees shares (0.001 is 0.1 %). Who leads whom is in ``alerts.leadlag``.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any, NamedTuple

from msgspec import Struct

BPS = 10_000
MAX_AGE = 60_000
"""A price older than this is stale: nothing is derived from it."""

COLLISION_SHARE = 0.10
COLLISION_PATIENCE = 300_000
"""Listings more than 10 % apart for more than 5 minutes are different coins of one ticker."""

DOLLARS = frozenset({"USD", "USDT", "USDC"})
"""One group for comparing prices. Narrower than what counts as dollars for volumes: there, a few percent change nothing."""


class Price(NamedTuple):
    """A price and when it was last known to be true, in ms. ``value`` is None where none is known."""

    value: float | None
    at: int

    def fresh(self, now: int, max_age: int = MAX_AGE) -> bool:
        """Whether it can be compared: there, above 0, and not too old."""
        return self.value is not None and self.value > 0 and now - self.at <= max_age


# The same coin?


class Identity(StrEnum):
    """Whether two listings of one ticker are one coin. Only ``SAME`` may be compared."""

    UNKNOWN = "unknown"
    SAME = "same"
    DIFFERENT = "different"


class CollisionGuard:
    """Tells two coins with one ticker apart by their prices. One guard for each pair of listings.

    More than 10 % apart for more than 5 minutes on end: different. Then within 10 % for more than 5 minutes on end: the same again.
    Two that start within 10 % are the same at once; two that start apart are unknown until the 5 minutes are over.
    """

    def __init__(self, max_age: int = MAX_AGE, share: float = COLLISION_SHARE, patience: int = COLLISION_PATIENCE) -> None:
        self.identity = Identity.UNKNOWN
        self._max_age, self._share, self._patience = max_age, share, patience
        self._seen: Identity | None = None
        self._since = self._latest = 0

    def compare(self, now: int, here: Price, there: Price) -> Identity:
        """The verdict after this comparison. With a stale price it stands, and what was on its way to change it starts anew."""
        if not here.fresh(now, self._max_age) or not there.fresh(now, self._max_age):
            self._seen = None
            return self.identity
        seen = Identity.DIFFERENT if self._apart(here, there) else Identity.SAME
        # Longer than a price stays fresh, nobody knows what was in between.
        if seen != self._seen or now - self._latest > self._max_age:
            self._seen, self._since = seen, now
        self._latest = now
        if now - self._since > self._patience or (seen is Identity.SAME and self.identity is Identity.UNKNOWN):
            self.identity = seen
        return self.identity

    def _apart(self, here: Price, there: Price) -> bool:
        lower, higher = sorted([here.value or 0.0, there.value or 0.0])
        return higher > lower * (1 + self._share)


# What is left


class Residual(NamedTuple):
    """Two prices of one coin, in bps.

    ``spread_bps``: there against here, (there / here - 1); positive where it is dearer there.
    ``residual_bps``: what is left for who acts there, after both taker fees; positive where something is.
    """

    spread_bps: float
    residual_bps: float


def residual(
    price_here: Price,
    price_there: Price,
    taker_fee_here: float,
    taker_fee_there: float,
    *,
    now: int,
    identity: Identity,
    direction: str = "up",
    book_spread_bps: float = 0.0,
    max_age: int = MAX_AGE,
) -> Residual | None:
    """The difference of two prices before and after fees; None where a price is missing or stale, or the coin is not proved the same.

    ``direction`` of the signal here. "up": bought there and valued here, each at its taker fee:
    ``here (1 - fee_here) / (there (1 + fee_there)) - 1``. "down": sold there, and valued by what buying back here costs:
    ``there (1 - fee_there) / (here (1 + fee_here)) - 1``. ``book_spread_bps`` is from bid to ask there; a taker pays half of it.
    No rate of exchange between the quotes is applied: see ``basis_bps``.
    """
    if identity is not Identity.SAME or not price_here.fresh(now, max_age) or not price_there.fresh(now, max_age):
        return None
    here, there = price_here.value or 0.0, price_there.value or 0.0
    half = book_spread_bps / 2 / BPS
    if direction == "up":
        left = here * (1 - taker_fee_here) / (there * (1 + half) * (1 + taker_fee_there))
    else:
        left = there * (1 - half) * (1 - taker_fee_there) / (here * (1 + taker_fee_here))
    return Residual((there / here - 1) * BPS, (left - 1) * BPS)


class Quotes(StrEnum):
    """How the quotes of two listings stand to each other."""

    EQUAL = "equal"
    GROUP = "group"
    """Both dollars, but not the same ones: shown with their basis."""
    OTHER = "other"
    """Not to be compared."""


def quotes(here: str, there: str) -> Quotes:
    """Whether prices in these quotes may stand side by side."""
    if here == there:
        return Quotes.EQUAL
    return Quotes.GROUP if {here, there} <= DOLLARS else Quotes.OTHER


def basis_bps(price: float | None) -> float | None:
    """How far a dollar coin trades above a dollar, from its measured price (USDT-USD); None where there is none.

    Shown beside a difference, never taken off it: whether a user pays the basis depends on which dollars the user holds.
    """
    return (price - 1) * BPS if price is not None and price > 0 else None


# Where to act


class Verdict(NamedTuple):
    """Whether an exchange takes users of a region; None where that cannot be said."""

    allowed: bool | None
    reason: str


def region_verdict(geo_restrictions: Mapping[str, Any], region: str) -> Verdict:
    """What an exchange's ``geo_restrictions`` ({"deny": ["US"], "note": …} or {"allow": ["US"]}) say about a two-letter country code.

    Without a region there is no verdict, even where nothing is restricted: what is not listed is not proved.
    """
    region = region.strip().upper()
    if not region:
        return Verdict(None, "your region is not set: set it to see whether you may trade here")
    if len(region) != 2 or not region.isalpha():
        return Verdict(None, f"{region} is not a two-letter country code: set your region, e.g. DE")
    deny, allow = geo_restrictions.get("deny") or [], geo_restrictions.get("allow") or []
    if region in deny:
        return Verdict(False, _noted(f"not available in {region}", geo_restrictions))
    if allow and region not in allow:
        return Verdict(False, _noted(f"only available in {', '.join(allow)}", geo_restrictions))
    return Verdict(True, f"no restriction known for {region}")


def _noted(reason: str, geo_restrictions: Mapping[str, Any]) -> str:
    note = geo_restrictions.get("note")
    return f"{reason} ({note})" if note else reason


class Venue(Struct, frozen=True):
    """An exchange as a place to act on a coin. ``symbol`` is empty where it does not list the coin.

    ``rest_ms`` and ``websocket_ms`` are measured delays, None where nobody measured.
    """

    exchange_id: str
    symbol: str = ""
    geo_restrictions: Mapping[str, Any] = {}
    taker_fee: float | None = None
    rest_ms: float | None = None
    websocket_ms: float | None = None


class RankedVenue(NamedTuple):
    """A venue with its place, 1 for the best, None where one cannot act, or may not, or nobody knows; and why, in words."""

    exchange_id: str
    place: int | None
    reason: str


def rank_venues(coin: str, region: str, venues: Iterable[Venue]) -> list[RankedVenue]:
    """Where to act on a coin, best first: listed and allowed, then the lowest taker fee, then the shortest delay, then by name.

    The delay is websocket plus REST: hear of it, then act. An unknown fee or delay comes after every known one.
    """
    judged = [(venue, region_verdict(venue.geo_restrictions, region)) for venue in venues]
    judged.sort(key=lambda pair: _order(*pair))
    usable = sum(bool(venue.symbol) and verdict.allowed is True for venue, verdict in judged)
    return [
        RankedVenue(venue.exchange_id, place if place <= usable else None, _reason(coin, venue, verdict))
        for place, (venue, verdict) in enumerate(judged, 1)
    ]


def _order(venue: Venue, verdict: Verdict) -> tuple[int, float, float, str]:
    group = 3 if not venue.symbol else {True: 0, None: 1, False: 2}[verdict.allowed]
    fee = float("inf") if venue.taker_fee is None else venue.taker_fee
    measured = venue.rest_ms is not None and venue.websocket_ms is not None
    return group, fee, (venue.rest_ms or 0) + (venue.websocket_ms or 0) if measured else float("inf"), venue.exchange_id


def _reason(coin: str, venue: Venue, verdict: Verdict) -> str:
    if not venue.symbol:
        return f"does not list {coin}"
    fee = "taker fee unknown" if venue.taker_fee is None else f"taker fee {venue.taker_fee * 100:g} %"
    return f"lists {venue.symbol}; {verdict.reason}; {fee}; {_delay('REST', venue.rest_ms)}, {_delay('websocket', venue.websocket_ms)}"


def _delay(name: str, milliseconds: float | None) -> str:
    return f"{name} not measured" if milliseconds is None else f"{name} {milliseconds:.0f} ms"


# Who has not moved yet

WARM_WINDOWS = 12
"""How many windows make the first idea of what is usual."""

MEMORY = 20
"""The usual is an exponentially weighted mean over about so many windows."""

FOLLOWED = 0.5
"""B has followed once it did half of A's move, in the same direction."""

MARKET_COINS = 5
"""Fewer coins are no market."""


class Prices(NamedTuple):
    """One coin's price on A and on B; None where it is not known or not fresh."""

    a: float | None
    b: float | None


class Move(NamedTuple):
    """One card: A is moving and B has not followed.

    ``grouped``: the market of A moves, and ``coins`` are all that do; else it is the one coin. ``move_bps``, ``usual_bps``, ``other_bps``:
    A's move over the window, its usual size, and B's move; of a group, the median of its coins.
    """

    time_ms: int
    direction: str
    coins: tuple[str, ...]
    grouped: bool
    move_bps: float
    usual_bps: float
    other_bps: float


class Reading(NamedTuple):
    """A coin's move over the window on A and on B, the usual size of it, and the size that makes a card; bps."""

    move: float
    other: float
    usual: float
    threshold: float

    @property
    def direction(self) -> str:
        return "up" if self.move > 0 else "down"

    @property
    def stirred(self) -> bool:
        """At least half way to a card: it takes part in a market's move, and a card's move has not decayed."""
        return abs(self.move) >= self.threshold / 2

    @property
    def ahead(self) -> bool:
        """A card's worth, and B has not followed."""
        other = self.other if self.move > 0 else -self.other
        return abs(self.move) >= self.threshold and other < FOLLOWED * abs(self.move)


class Trail:
    """One coin in the window, what is usual for it, and its last card."""

    def __init__(self) -> None:
        self.samples: deque[tuple[int, float, float]] = deque()
        self.usual: float | None = None
        self._first: list[float] = []
        self._learns_at = 0
        self._card: tuple[int, str, float] | None = None

    def move(self, now: int, prices: Prices, window: int) -> tuple[float, float] | None:
        """The moves of A and B over the window in bps; None until it is filled without a hole."""
        if not prices.a or not prices.b or (self.samples and now - self.samples[-1][0] > window // 2):
            self.samples.clear()
        if not prices.a or not prices.b:
            return None
        # Sixty samples a window, however often one looks.
        if not self.samples or now - self.samples[-1][0] >= window // 60:
            self.samples.append((now, prices.a, prices.b))
        while len(self.samples) > 1 and self.samples[1][0] <= now - window:
            self.samples.popleft()
        time, a, b = self.samples[0]
        return ((prices.a / a - 1) * BPS, (prices.b / b - 1) * BPS) if time <= now - window else None

    def learn(self, now: int, size: float, window: int, cap: float) -> None:
        """Once a window, what is usual: first the median of some, then a running mean in which no move counts more than ``cap``."""
        if now < self._learns_at:
            return
        self._learns_at = now + window
        if self.usual is not None:
            self.usual += (min(size, cap) - self.usual) / MEMORY
            return
        self._first.append(size)
        if len(self._first) == WARM_WINDOWS:
            self.usual = median(self._first)

    def card(self, now: int, reading: Reading) -> None:
        """Its move is on a card."""
        self._card = (now, reading.direction, abs(reading.move))

    def fires(self, now: int, reading: Reading, window: int, further: float) -> str:
        """Whether a card is due: "first" for a new move, "again" for one that went ``further`` in a later window, "" for none."""
        size = abs(reading.move)
        if self._card is not None and (not reading.stirred or reading.direction != self._card[1]):
            self._card = None
        if self._card is None:
            return "first" if reading.ahead else ""
        time, direction, extreme = self._card
        if now - time < window:
            self._card = (time, direction, max(extreme, size))
            return ""
        return "again" if reading.ahead and size > extreme + further else ""


class MoveDetector:
    """Sees that A is moving while B is not yet. One detector for each ordered pair of exchanges; leave out coins that are not the same.

    A coin moves when its change over ``window_ms`` is at least ``k`` times its usual absolute change, and at least ``floor_bps``.
    """

    def __init__(self, k: float = 4.0, window_ms: int = 60_000, floor_bps: float = 5.0) -> None:
        self.k, self.window_ms, self.floor_bps = k, window_ms, floor_bps
        self._trails: dict[str, Trail] = {}
        self._market: set[str] = set()
        """Directions in which the whole market is on a card."""

    def observe(self, now: int, prices: Mapping[str, Prices], *, live_a: bool, live_b: bool) -> list[Move]:
        """The cards of this moment, usually none. To be called about once a second with every coin of the pair.

        While a feed is not live there is none, and what was seen before does not count afterwards.
        """
        for gone in self._trails.keys() - prices.keys():
            del self._trails[gone]
        if not (live_a and live_b):
            for trail in self._trails.values():
                trail.samples.clear()
            return []
        readings = {coin: reading for coin in prices if (reading := self._reading(now, coin, prices[coin])) is not None}
        fired = {
            coin: self._trails[coin].fires(now, reading, self.window_ms, self.k / 2 * reading.usual) for coin, reading in readings.items()
        }
        return [move for direction in ("up", "down") for move in self._cards(now, direction, readings, fired)]

    def _reading(self, now: int, coin: str, prices: Prices) -> Reading | None:
        """The coin's move against what was usual before it; None while either is unknown."""
        trail = self._trails.setdefault(coin, Trail())
        moves = trail.move(now, prices, self.window_ms)
        if moves is None:
            return None
        usual = trail.usual
        threshold = max(self.k * (usual or 0.0), self.floor_bps)
        trail.learn(now, abs(moves[0]), self.window_ms, threshold)
        return Reading(*moves, usual, threshold) if usual is not None else None

    def _cards(self, now: int, direction: str, readings: Mapping[str, Reading], fired: Mapping[str, str]) -> list[Move]:
        firing = [coin for coin, why in fired.items() if why and readings[coin].direction == direction]
        stirred = [coin for coin, reading in readings.items() if reading.stirred and reading.direction == direction]
        if not self._whole(direction, len(stirred), len(readings)):
            self._market.discard(direction)
            return [self._move(now, [coin], readings, grouped=False) for coin in firing]
        if not firing:
            return []
        # The rest of a market that is on a card joins in silence.
        if direction in self._market and not any(fired[coin] == "again" for coin in firing):
            self._mark(now, firing, readings)
            return []
        self._market.add(direction)
        return [self._move(now, stirred, readings, grouped=True)]

    def _whole(self, direction: str, stirred: int, coins: int) -> bool:
        """Whether the whole market moves: half of it, or, once on a card, still a quarter."""
        return coins >= MARKET_COINS and stirred >= coins * (0.25 if direction in self._market else 0.5)

    def _move(self, now: int, coins: Sequence[str], readings: Mapping[str, Reading], *, grouped: bool) -> Move:
        self._mark(now, coins, readings)
        some = [readings[coin] for coin in coins]
        middle = (median(r.move for r in some), median(r.usual for r in some), median(r.other for r in some))
        return Move(now, some[0].direction, tuple(coins), grouped, *middle)

    def _mark(self, now: int, coins: Sequence[str], readings: Mapping[str, Reading]) -> None:
        for coin in coins:
            self._trails[coin].card(now, readings[coin])
