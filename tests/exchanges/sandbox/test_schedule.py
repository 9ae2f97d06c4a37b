"""Faults as a seed draws them."""

import asyncio
from itertools import islice, pairwise
from typing import Any

from exchanges.sandbox.faults import KINDS, Faults
from exchanges.sandbox.running import _play
from exchanges.sandbox.schedule import LONGEST, Step, markets_of, play, schedule
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import KNOWN
from tests.exchanges.sandbox.conftest import COINBASE, KRAKEN, exchange

MARKETS = [("coinbase-sandbox", "BTC-USD"), ("kraken-sandbox", "SOL/USD")]


def drawn(seed: int, count: int = 2_000, **more: Any) -> list[Step]:
    return list(islice(schedule(seed, MARKETS, **more), count))


def test_one_seed_is_one_schedule() -> None:
    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_every_fault_is_drawn_and_can_be_set() -> None:
    steps = drawn(5)
    assert {step.name for step in steps} == set(KINDS)
    for step in steps:
        faults = Faults(5, tuple(venue for venue, _ in MARKETS))
        assert faults.set(step.name, **step.settings).name == step.name


def test_each_is_over_before_the_next() -> None:
    steps = drawn(5, quiet=(1.0, 2.0))
    assert all(0.99 < after.at - before.ends < 2.01 for before, after in pairwise(steps))
    assert all(step.settings["duration"] <= LONGEST for step in steps)


def test_only_the_wanted_ones_are_drawn() -> None:
    assert {step.name for step in drawn(5, names=["gap", "silence"])} == {"gap", "silence"}


def test_markets_are_those_with_trades_of_their_own() -> None:
    markets = markets_of([row for venue in (COINBASE, KRAKEN) for row in exchange(KNOWN[venue]).listings.values()])
    assert (COINBASE, "BTC-USD") in markets
    assert (KRAKEN, "BTC/USDT") in markets
    assert not {(COINBASE, "BTC-USDC"), (COINBASE, "EOS-USD"), (KRAKEN, "EOS/USD")} & set(markets)


async def test_it_is_played_and_leaves_nothing_behind() -> None:
    faults = Faults(5)
    steps = [Step(0.0, "gap", {"duration": 9.0}), Step(0.05, "mute", {"duration": 9.0}), Step(60.0, "silence", {})]
    playing = asyncio.create_task(play(faults, steps))
    async with asyncio.timeout(5):
        while len(faults.active()) < 2:  # noqa: ASYNC110  (nothing tells of a set fault here)
            await asyncio.sleep(0.01)
    assert [fault.name for fault in faults.active()] == ["gap", "mute"]
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    assert faults.active() == []


async def test_a_running_sandbox_tells_what_its_seed_draws() -> None:
    said: list[str] = []
    sandbox = Sandbox([KNOWN[COINBASE]])
    playing = asyncio.create_task(_play(sandbox, said.append, 5))
    async with asyncio.timeout(5):
        while len(said) < 2:  # noqa: ASYNC110  (it says so by itself)
            await asyncio.sleep(0.01)
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    first = next(schedule(5, markets_of(sandbox.market.listings.values())))
    assert said == ["  faults of seed 5, one after another", f"  at {first.at:.1f} s: {first.name} {first.settings}"]
