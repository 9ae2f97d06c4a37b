"""Real processes, killed at random while a simulated market runs; then every alert is worked out a second time.

One seed is one run. ``make chaos SEED=5 KILLS=100`` runs a long one; a failure prints the line that repeats it.
"""

import asyncio
import os
import random
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from alerts.models import Alert
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from livermore import bus, keys
from livermore.db import db
from market_data.macdv import Macdv
from market_data.models import Checkpoint
from market_data.series import HISTORY_BARS, Series
from tests import oracle
from tests.oracle import STEPS
from tests.simulated import RULE, START, prepare, truth

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

SEED = int(os.environ.get("SEED", "11"))
KILLS = int(os.environ.get("KILLS", "6"))
MARKET_SECONDS, REAL_SECONDS = 12, 0.05
"""The market runs on by the first every second: 240 times as fast as time."""
SYMBOLS = 5
PATIENCE = 120.0
"""Seconds: a bound for a busy machine, not a goal."""

Key = tuple[str, str, str]
"""(exchange, symbol, timeframe)"""


class Connector:
    """``runexchange`` as a process that can be killed and started again."""

    def __init__(self, environment: dict[str, str], exchange_ids: list[str]) -> None:
        self._environment = environment
        self._words = [word for exchange_id in exchange_ids for word in ("--autostart", exchange_id)]
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "manage.py", "runexchange", *self._words, env=self._environment, stdout=DEVNULL, stderr=DEVNULL
        )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def end(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()


async def strike(rng: random.Random, connector: Connector, valkey: Any, sandbox: Sandbox) -> str:
    """One blow, and the repair that an operator's machine would make by itself."""
    blow = rng.choice(["connector", "connector", "redis", "both", "disconnect", "corrupt"])
    if blow in {"connector", "both"}:
        await connector.kill()
    if blow in {"redis", "both"}:
        valkey.kill()
        await asyncio.sleep(rng.uniform(0, 1.0))
        valkey.start()
    if blow in {"connector", "both"}:
        await asyncio.sleep(rng.uniform(0, 1.0))
        await connector.start()
    if blow in {"disconnect", "corrupt"}:
        sandbox.faults.set(blow, duration=rng.uniform(0.5, 2.0), probability=0.2)
    return blow


def checkpoints() -> dict[Key, Checkpoint]:
    return {(row.exchange_id, row.symbol, row.timeframe): row for row in Checkpoint.objects.all()}


def bars_of(row: Checkpoint) -> int:
    series = Series(row.symbol, row.timeframe)
    series.restore(row.open_time, row.indicator)
    assert isinstance(series.indicator, Macdv)
    return series.indicator.bars


async def all_reach(moment: int) -> None:
    """Wait until every series is evaluated up to a moment of market time."""

    async with asyncio.timeout(PATIENCE):
        while any(row.open_time + 2 * STEPS[row.timeframe] <= moment for row in (await db(checkpoints)()).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def all_published(redis: Redis) -> None:
    """Wait until nothing is left to publish, and each stream holds every alert."""
    async with asyncio.timeout(PATIENCE):
        while await unpublished(redis):  # noqa: ASYNC110  (another process does it)
            await asyncio.sleep(0.2)


async def at_rest(redis: Redis) -> None:
    """The market stands: wait until what its last moments closed is out too. A connector that ends leaves the rest to its next start."""
    async with asyncio.timeout(PATIENCE):
        before = None
        while (now := await db(numbers)()) != before:
            before = now
            await asyncio.sleep(2.0)
            await all_published(redis)


async def unpublished(redis: Redis) -> int:
    missing = await db(Alert.objects.filter(published_at=None).count)()
    for exchange_id, counted in (await db(numbers)()).items():
        missing += len(counted) - len(await in_stream(redis, exchange_id))
    return missing


async def run_on(clock: ManualClock) -> None:
    while True:
        await asyncio.sleep(REAL_SECONDS)
        clock.advance(MARKET_SECONDS * 1000)


async def first_checkpoints(wanted: int) -> dict[Key, Checkpoint]:
    """The checkpoints as soon as there is one of every series."""
    async with asyncio.timeout(PATIENCE):
        while len(rows := await db(checkpoints)()) < wanted:  # noqa: ASYNC110  (another process writes them)
            await asyncio.sleep(0.1)
    return rows


def expected(sandbox: Sandbox, first: dict[Key, Checkpoint], now: dict[Key, Checkpoint]) -> set[tuple[str, str, str, str, int]]:
    """Every alert that is due between the first checkpoints and these, from the true candles."""
    due = set()
    for key, row in now.items():
        exchange_id, symbol, timeframe = key
        step, bars = STEPS[timeframe], bars_of(row)
        start = row.open_time - (bars - 1) * step
        baseline = first[key].open_time
        rows = truth(sandbox, exchange_id, symbol, timeframe, start, row.open_time + step)
        assert rows[0][0] == start, f"{key} begins at another candle than the market"
        least = 60 if bars_of(first[key]) < HISTORY_BARS else 250
        for value, label, _ in oracle.signals(oracle.macdv(rows), step, baseline + step, RULE, least):
            due.add((exchange_id, symbol, timeframe, label, value.t))
    return due


def stored(now: dict[Key, Checkpoint]) -> list[tuple[str, str, str, str, int]]:
    rows = Alert.objects.order_by("exchange_id", "number")
    reached = {key: row.open_time for key, row in now.items()}
    return [
        (row.exchange_id, row.symbol, row.timeframe, row.trigger_label, row.candle_time)
        for row in rows
        if row.candle_time <= reached[row.exchange_id, row.symbol, row.timeframe]
    ]


def numbers() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for exchange_id, number in Alert.objects.order_by("number").values_list("exchange_id", "number"):
        found.setdefault(exchange_id, []).append(number)
    return found


async def in_stream(redis: Redis, exchange_id: str) -> list[int]:
    return [int(entry.split(b"-")[0]) for entry, _ in await redis.xrange(keys.alert_stream(exchange_id))]


@pytest.mark.parametrize("seed", [SEED])
async def test_no_alert_is_lost_doubled_or_invented(seed: int, valkey: Any, process_environment: dict[str, str]):
    rng = random.Random(seed)
    environment = {**process_environment, "REDIS_URL": valkey.url, "LOG_LEVEL": "ERROR"}
    venues = [replace(venue, rest_limit=0) for venue in DEFAULT]
    exchange_ids = [venue.id for venue in venues]
    clock = ManualClock(START)
    async with Sandbox(venues, seed=seed, clock=clock, symbols=SYMBOLS) as sandbox:
        await db(prepare)(sandbox, top_n=SYMBOLS, pinned=(), limits={})
        connector = Connector(environment, exchange_ids)
        await connector.start()
        # The market stands still until every series has its first checkpoint: nothing before those is evaluated.
        first = await first_checkpoints(len(exchange_ids) * SYMBOLS * len(STEPS))
        market = asyncio.create_task(run_on(clock))
        blows = []
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.5, 3.0))
            blows.append(await strike(rng, connector, valkey, sandbox))
        sandbox.faults.clear()
        await all_reach(clock.now())
        market.cancel()
        async with aclosing(bus.connect()) as redis:
            await at_rest(redis)
            assert await connector.end() == 0
            streams = {exchange_id: await in_stream(redis, exchange_id) for exchange_id in exchange_ids}
        now = await db(checkpoints)()
        due, found = expected(sandbox, first, now), await db(stored)(now)
    again = f"again: make chaos SEED={seed} KILLS={KILLS}; blows: {blows}"
    assert set(found) - due == set(), f"invented; {again}"
    assert due - set(found) == set(), f"lost; {again}"
    assert len(found) == len(set(found)), f"twice; {again}"
    assert due, "a run without an alert proves nothing"
    for exchange_id, counted in (await db(numbers)()).items():
        assert counted == list(range(1, len(counted) + 1)), f"the numbers of {exchange_id} have a gap; {again}"
        assert streams[exchange_id] == counted, f"the stream of {exchange_id} is another list; {again}"
