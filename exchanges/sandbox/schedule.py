"""Faults one after another, as a seed draws them: one seed over the same markets is one schedule. Pure but for ``play``.

``runsandbox --faults-seed 5`` plays one without an end; a test takes as much of it as it wants::

    playing = asyncio.create_task(play(sandbox.faults, schedule(5, markets_of(sandbox.market.listings.values()))))
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from exchanges.sandbox.faults import FORMS, KINDS, NAMED, ONCE, Faults
from exchanges.sandbox.hashing import generator
from exchanges.sandbox.listings import Listing

QUIET = (2.0, 15.0)
LONGEST = 20.0
_CODES = (1000, 1001, 1006, 1011, 1012, 1013)
_STATUSES = (403, 418, 429, 451, 500, 502, 503)
_SOME = dict.fromkeys(("duplicate", "reorder", "gap", "corrupt"), (0.02, 0.2, 1.0)) | {"late": (0.02, 0.1)}
"""Probabilities of faults that strike single frames."""


class Step(NamedTuple):
    """``at`` seconds after the start, set the fault ``name`` with these settings of ``Faults.set``; it is over by itself."""

    at: float
    name: str
    settings: dict[str, Any]

    @property
    def ends(self) -> float:
        """When the fault is over, and what it did to connections has happened."""
        return self.at + float(self.settings.get("duration", 0.0)) + float(self.settings.get("seconds", 0.0))


def markets_of(listings: Iterable[Listing]) -> list[tuple[str, str]]:
    """(venue, symbol) of each market with a book of its own that is traded."""
    return [listing.key for listing in listings if not listing.alias_of and listing.ends is None]


def schedule(
    seed: int,
    markets: Sequence[tuple[str, str]],
    names: Iterable[str] = KINDS,
    *,
    quiet: tuple[float, float] = QUIET,
    longest: float = LONGEST,
) -> Iterator[Step]:
    """Faults without an end, each over before the next: ``quiet`` real seconds lie between, and none lasts longer than ``longest``."""
    dice, known = generator(seed, "schedule"), sorted(names)
    at = dice.uniform(*quiet)
    while True:
        name = dice.choice(known)
        venue, symbol = dice.choice(markets)
        settings: dict[str, Any] = {"venue": venue, "duration": round(dice.uniform(0.5, longest), 3), **_drawn(dice, name, symbol)}
        if name in ONCE:
            settings["duration"] = 0.5
        step = Step(round(at, 3), name, settings)
        yield step
        at = step.ends + dice.uniform(*quiet)


_DRAW: Mapping[str, Callable[[Random, str], Any]] = {
    "channel": lambda dice, symbol: dice.choice(("", "candles", "ticker")),
    "code": lambda dice, symbol: dice.choice(_CODES),
    "status": lambda dice, symbol: dice.choice(_STATUSES),
    "retry_after": lambda dice, symbol: dice.choice((0, 0, 1, 5)),
    "form": lambda dice, symbol: dice.choice(FORMS),
    "seconds": lambda dice, symbol: round(dice.uniform(0.1, 3.0), 3),
    "ms": lambda dice, symbol: dice.choice((-1, 1)) * dice.randrange(500, 120_000),
    "candles": lambda dice, symbol: dice.choice((1, 2)),
    "symbol": lambda dice, symbol: dice.choice((symbol, "")),
    "to": lambda dice, symbol: f"NEW{symbol}",
}
"""How an argument is drawn; others keep their defaults."""


def _drawn(dice: Random, name: str, symbol: str) -> dict[str, Any]:
    drawn = {argument: _DRAW[argument](dice, symbol) for argument in KINDS[name].arguments if argument in _DRAW}
    if name in NAMED:
        drawn["symbol"] = symbol
    if name in _SOME:
        drawn["probability"] = dice.choice(_SOME[name])
    return drawn


async def play(faults: Faults, steps: Iterable[Step]) -> None:
    """Set the faults when they are due. Cancelling it clears them."""
    began = time.monotonic()
    try:
        for step in steps:
            await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
            faults.set(step.name, **step.settings)
    finally:
        faults.clear()
