"""Hours of a simulated market, run once through real connectors, with everything they said and stored: for tests to look at."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from django.core.management import call_command
from redis.asyncio import Redis

from alerts.models import Alert
from exchanges.sandbox.server import Sandbox
from livermore import bus, keys
from livermore.keys import parse_channel
from tests import seeds
from tests.oracle import STEPS
from tests.simulated import BINANCE_ID, COINBASE_ID, STEP, Rows, Series, World, simulated, until

PINNED = ("TAO", "FET", "BAND", "RLC")
"""Two young listings, and two coins that trade in some intervals only."""
WATCHED = (COINBASE_ID, BINANCE_ID)
CLOSES = 30
EARLY = 6
"""Every so many closes the connectors get the chance to take a close at its earliest, too."""


class Crash(NamedTuple):
    """``after`` so many closes, ``moment`` seconds into the work on the next one; the market goes on for ``away`` closes."""

    after: int
    moment: float
    away: int


CRASHES = (Crash(3, 0.0, 1), Crash(6, 0.02, 2), Crash(10, 0.08, 1), Crash(13, 0.12, 5), Crash(20, 0.16, 9))


@dataclass
class Published:
    """A message, and what stood in Redis when it arrived: for a candle its indicator and its row, for an alert its stream entry."""

    channel: str
    message: dict[str, Any]
    indicator: dict[str, Any] | None = None
    row: list[float] | None = None
    streamed: dict[str, Any] | None = None


@dataclass
class Exchange:
    """What one exchange left."""

    candles: dict[Series, Rows]
    indicators: dict[Series, dict[str, Any] | None]
    alerts: list[Alert]
    stream: list[tuple[str, dict[str, Any]]]
    epoch: str
    checkpoints: dict[Series, int]
    counters: dict[str, int]


@dataclass
class Record:
    """``since``: when the connectors were warm; ``now``: when they were stopped (ms, market time).

    ``missed``: (exchange, symbol, timeframe, open time) of the candles that closed while no connector ran.
    """

    sandbox: Sandbox
    since: int
    now: int = 0
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    missed: set[tuple[str, str, str, int]] = field(default_factory=set)


class Listener:
    """Somebody who reads Redis the moment something is published."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.heard: list[Published] = []
        self.closes: dict[tuple[str, str, str], int] = {}

    async def listen(self, messages: Any) -> None:
        async for message in messages.listen():
            if message["type"] == "pmessage":
                self.heard.append(await self._taken(message["channel"].decode(), json.loads(message["data"])))

    async def _taken(self, channel: str, message: dict[str, Any]) -> Published:
        name = parse_channel(channel)
        if name[0] == "candle":
            _, exchange_id, symbol, timeframe = name
            indicator = await self._redis.get(keys.indicator(exchange_id, symbol, timeframe))
            open_time = message["candle"][0]
            rows = await self._redis.zrangebyscore(keys.candles(exchange_id, symbol, timeframe), open_time, open_time)
            self.closes[exchange_id, symbol, timeframe] = open_time
            return Published(channel, message, json.loads(indicator), json.loads(rows[0]) if len(rows) == 1 else None)
        if name[0] == "alerts":
            number = f"{message['id']}-0"
            entries = await self._redis.xrange(keys.alert_stream(name[1]), number, number)
            return Published(channel, message, streamed=json.loads(entries[0][1][b"alert"]) if entries else None)
        return Published(channel, message)


@contextlib.asynccontextmanager
async def listening(world: World) -> AsyncIterator[Listener]:
    """Hear everything that is published from now on."""
    redis = bus.connect()
    messages = redis.pubsub()
    await messages.psubscribe("channel:*")
    listener = Listener(redis)
    task = asyncio.create_task(listener.listen(messages))
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await messages.aclose()
        await redis.aclose()


async def next_close(world: World, *, early: bool) -> None:
    """Let the market run to the next close in uneven steps, and a little further."""
    for step in (37_000, 61_000, 100_000, 87_000):
        world.clock.advance(step)
        await asyncio.sleep(0.002)
    if early:
        world.clock.advance(3_000)
        await asyncio.sleep(0.15)
        world.clock.advance(12_000)
    else:
        world.clock.advance(15_000)
    await world.settled()


async def run(closes: int = CLOSES) -> Record:
    """Connectors that are never stopped."""
    async with simulated(top_n=4, pinned=PINNED) as world, listening(world) as listener:
        await world.start(*WATCHED)
        record = Record(world.sandbox, world.clock.now(), published=listener.heard)
        for number in range(closes):
            await next_close(world, early=number % EARLY == 0)
            await until(lambda: heard(world, listener), "every close to be published")
        return await finished(record, world)


async def run_with_crashes(closes: int = CLOSES) -> Record:
    """Connectors that end while they work, at different moments, and come back while the market has run on."""
    async with simulated(top_n=4, pinned=PINNED) as world, listening(world) as listener:
        await world.start(*WATCHED)
        record = Record(world.sandbox, world.clock.now(), published=listener.heard)
        done = 0
        for crash in CRASHES:
            for _ in range(crash.after - done):
                await world.advance(STEP)
            world.clock.advance(STEP)
            await asyncio.sleep(crash.moment)
            await world.crash()
            world.clock.advance((crash.away - 1) * STEP)
            await note_missed(record, world)
            await world.start(*WATCHED)
            done = crash.after + crash.away
        for _ in range(closes - done):
            await world.advance(STEP)
        return await finished(record, world)


async def note_missed(record: Record, world: World) -> None:
    """The candles that closed while nobody looked."""
    for exchange_id in WATCHED:
        for (symbol, timeframe), evaluated in (await world.checkpoints(exchange_id)).items():
            missed = range(evaluated + STEPS[timeframe], world.last_closed(timeframe) + 1, STEPS[timeframe])
            record.missed.update((exchange_id, symbol, timeframe, candle_time) for candle_time in missed)


async def finished(record: Record, world: World) -> Record:
    record.now = world.clock.now()
    for exchange_id in WATCHED:
        record.exchanges[exchange_id] = await left(world, exchange_id)
    return record


def heard(world: World, listener: Listener) -> bool:
    """Whether the close of every candle that has closed was published; of a longer timeframe there may have been none yet."""
    for exchange_id, connector in world.connectors.items():
        for symbol, timeframe in product(connector.watched, STEPS):
            at = world.last_closed(timeframe)
            if listener.closes.get((exchange_id, symbol, timeframe), -1 if timeframe == "5m" else at) < at:
                return False
    return True


async def left(world: World, exchange_id: str) -> Exchange:
    epoch = await world.redis.get(keys.alert_epoch(exchange_id))
    return Exchange(
        await world.candles(exchange_id),
        await world.indicators(exchange_id),
        await world.alerts(exchange_id),
        await world.stream(exchange_id),
        epoch.decode() if epoch else "",
        await world.checkpoints(exchange_id),
        {**world.connectors[exchange_id].counters, **world.sandbox.counters[exchange_id]},
    )


def made(work: Coroutine[Any, Any, Record], django_db_blocker: Any) -> Record:
    """A record, outside of any test's database: what was in it is as after the migrations when this returns."""
    with django_db_blocker.unblock():
        bus.sync().flushall()
        try:
            return asyncio.run(work)
        finally:
            bus.sync().flushall()
            call_command("flush", interactive=False, verbosity=0)
            seeds.restore()
