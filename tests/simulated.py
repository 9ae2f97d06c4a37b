"""A whole connector over a simulated exchange: real sockets, real Redis, the real database, and a market clock that the test moves.

Nothing here depends on how fast the machine is: the market stands still until it is moved, and ``settled`` returns when everything that
has closed by then is evaluated, stored and published.
"""

import asyncio
import contextlib
import inspect
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from channels.layers import channel_layers, get_channel_layer
from redis.asyncio import Redis

from alerts import services
from alerts.models import Alert, AlertRule
from exchanges.models import Exchange
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.listings import Listing
from exchanges.sandbox.quotes import Quotes
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE, COINBASE, Venue
from exchanges.shards import WHOLE, Shard
from exchanges.status import Status
from livermore import bus, keys
from livermore.db import db
from livermore.hosting import Record, host
from livermore.runtime import Connector
from market_data import store
from market_data.models import Checkpoint
from symbols.models import Policy, Symbol
from tests import oracle, seeds
from tests.oracle import STEPS, Rule

COINBASE_ID, BINANCE_ID = COINBASE.id, BINANCE.id
STEP = STEPS["5m"]
START = 1_772_402_415_000
"""2026-03-01 22:00:15 UTC: two hours before candles of every timeframe close."""
SETTLED = 12_000
"""Market time after a close at which nothing more can come of it."""
PATIENCE = 90.0
"""Real seconds to wait for what has to come; nothing waits that long when it works."""
RULE = Rule(levels=(20, 40, 60, 90, 120, 150, 200, 250), reversal=30.0, oversold_buffer=0.02, overbought_buffer=0.01, cooldown=1_200_000)
"""Fires often, so that a few hours say much; rests, so that the cooldown matters."""

Series = tuple[str, str]
"""(symbol, timeframe)"""
Rows = list[list[float]]


async def until(
    condition: Callable[[], Any], what: str = "", every_second: Callable[[], None] = lambda: None, patience: float = PATIENCE
) -> Any:
    """Wait for a condition, plain or asynchronous; returns what it gave. Fails with ``what`` when it does not come."""
    waited = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            while True:
                found = condition()
                found = await found if inspect.isawaitable(found) else found
                if found:
                    return found
                if time.monotonic() - waited > 1.0:
                    waited = time.monotonic()
                    every_second()
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"it did not come within {patience:.0f} s: {what or inspect.getsource(condition).strip()}") from None


def prepare(sandbox: Sandbox, *, top_n: int, pinned: Iterable[str], limits: Mapping[str, float]) -> None:
    """Point the rows of the simulated exchanges at this sandbox, pin symbols, and have one rule that fires often."""
    seeds.restore()
    for venue in sandbox.venues.values():
        Exchange.objects.filter(pk=venue.id).update(
            websocket_url=sandbox.websocket_url(venue.id),
            rest_url=sandbox.rest_url(venue.id),
            top_n=top_n,
            limits={"rest_weight_per_minute": 600_000, "rest_burst": 100_000, **limits},
        )
        names = [(coin, spelled(venue, coin)) for coin in pinned]
        Symbol.objects.bulk_create(
            Symbol(exchange_id=venue.id, symbol=symbol, base=coin, quote=venue.quote, policy=Policy.PINNED) for coin, symbol in names
        )
    AlertRule.objects.update(
        levels=list(RULE.levels),
        reversal_level=RULE.reversal,
        oversold_buffer=RULE.oversold_buffer * 100,
        overbought_buffer=RULE.overbought_buffer * 100,
        cooldown=RULE.cooldown // 1000,
    )


def spelled(venue: Venue, coin: str) -> str:
    """A coin's market in the spelling of a venue."""
    return f"{coin}-{venue.quote}" if venue.protocol == "coinbase" else f"{coin}{venue.quote}"


class World:
    """Simulated exchanges, and the connectors that watch them: ``running`` by exchange, ``connectors`` where no host runs them."""

    def __init__(self, sandbox: Sandbox, clock: ManualClock, redis: Redis) -> None:
        self.sandbox, self.clock, self.redis = sandbox, clock, redis
        self.running: dict[str, asyncio.Task[None]] = {}
        self.connectors: dict[str, Connector] = {}

    async def start(self, *exchange_ids: str) -> None:
        """Run connectors, and wait until they are warm."""
        for exchange_id in exchange_ids:
            self.running[exchange_id] = asyncio.create_task((await self.connector(exchange_id)).run())
        await self.settled()

    async def connector(self, exchange_id: str) -> Connector:
        """A connector that has taken the exchange over, and does not run yet."""
        fence, epoch = await db(services.sequence_take_over)(exchange_id=exchange_id)
        exchange = await db(Exchange.objects.get)(pk=exchange_id)
        self.connectors[exchange_id] = Connector(exchange, self.redis, Status(exchange_id), fence=fence, epoch=epoch)
        return self.connectors[exchange_id]

    async def host(self, *exchange_ids: str, record: Record | None = None) -> None:
        """Host exchanges in one process, as ``runexchange --autostart`` does, and wait until they are warm."""
        task = await self.hosting(*exchange_ids, record=record)
        self.running.update(dict.fromkeys(exchange_ids, task))
        await self.settled()

    async def hosting(self, *exchange_ids: str, record: Record | None = None, shard: Shard = WHOLE) -> asyncio.Task[None]:
        """What ``host`` starts, or a shard of it, without waiting for anything."""
        exchanges = await db(lambda: list(Exchange.objects.filter(pk__in=exchange_ids)))()
        return asyncio.create_task(host(exchanges, frozenset(exchange_ids), record=record, shard=shard))

    async def live(self, exchange_id: str) -> None:
        """Wait until the status in Redis says so."""

        async def is_live() -> bool:
            return await self.redis.hget(keys.exchange_status(exchange_id), "state") == b"live"

        await until(is_live, f"{exchange_id} live", self.nudge)

    async def crash(self, *exchange_ids: str) -> None:
        """End connectors where they stand: nothing more is written, nothing is said."""
        tasks = [self.running.pop(exchange_id) for exchange_id in exchange_ids or list(self.running)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def advance(self, milliseconds: int = STEP) -> None:
        """Let the market run on, and the connectors take in what closed."""
        self.clock.advance(milliseconds)
        await self.settled()

    async def evaluated(self) -> None:
        """Wait until everything that has closed is in the database, whatever Redis does."""
        for exchange_id in self.running:
            what = f"checkpoints of {exchange_id} at {self.clock.now()}"
            await until(lambda: self.is_evaluated(exchange_id), what, self.nudge)  # noqa: B023  (awaited at once)

    async def is_evaluated(self, exchange_id: str) -> bool:
        return all(at >= self.last_closed(timeframe) for (_, timeframe), at in (await self.checkpoints(exchange_id)).items())

    async def settled(self, patience: float = PATIENCE) -> None:
        """Wait until everything that has closed is evaluated, stored and published."""
        for exchange_id in self.running:
            symbols = await until(lambda: self.symbols(exchange_id), f"the symbols of {exchange_id}")  # noqa: B023  (awaited at once)
            what = f"closed candles of {exchange_id} at {self.clock.now()}"
            await until(lambda: self.is_settled(exchange_id, symbols), what, self.nudge, patience)  # noqa: B023

    def nudge(self) -> None:
        """A market that stands still sends nothing: whoever subscribed after the last step would never hear of it."""
        self.clock.advance(1_000)

    async def is_settled(self, exchange_id: str, symbols: list[str]) -> bool:
        task = self.running[exchange_id]
        if task.done():
            task.result()
        indicators = await self.indicators(exchange_id, symbols)
        behind = [value is None or value["t"] < self.last_closed(timeframe) for (_, timeframe), value in indicators.items()]
        return bool(behind) and not any(behind) and not await self.unpublished(exchange_id)

    async def unpublished(self, exchange_id: str) -> bool:
        return bool(await db(Alert.objects.filter(exchange_id=exchange_id, published_at=None).exists)())

    def last_closed(self, timeframe: str = "5m") -> int:
        """The open time of the last candle that has closed and settled."""
        step = STEPS[timeframe]
        return (self.clock.now() - SETTLED) // step * step - step

    async def keepers(self, exchange_id: str) -> dict[str, int | None]:
        """The watched symbols, each with the user under whose keys it stands; None for Tier 1."""
        rows = Symbol.objects.filter(exchange_id=exchange_id, tier__isnull=False)
        return await db(lambda: dict(rows.values_list("symbol", "keeper_id")))()

    async def symbols(self, exchange_id: str) -> list[str]:
        """The watched ones."""
        return list(await self.keepers(exchange_id))

    async def indicators(self, exchange_id: str, symbols: Iterable[str] | None = None) -> dict[Series, dict[str, Any] | None]:
        """What Redis has."""
        keepers = await self.keepers(exchange_id)
        names = [(symbol, timeframe) for symbol in symbols or keepers for timeframe in STEPS]
        found = [store.keys_of(exchange_id, *name, keepers.get(name[0])).indicator for name in names]
        values = await self.redis.mget(found) if found else []
        return {name: None if value is None else json.loads(value) for name, value in zip(names, values, strict=True)}

    async def candles(self, exchange_id: str) -> dict[Series, Rows]:
        """What Redis has."""
        found = {}
        for symbol, keeper in (await self.keepers(exchange_id)).items():
            for timeframe in STEPS:
                rows = await self.redis.zrange(store.keys_of(exchange_id, symbol, timeframe, keeper).candles, 0, -1)
                found[symbol, timeframe] = [json.loads(row) for row in rows]
        return found

    async def alerts(self, exchange_id: str) -> list[Alert]:
        """What the database has, by number."""
        return await db(lambda: list(Alert.objects.filter(exchange_id=exchange_id).order_by("number")))()

    async def checkpoints(self, exchange_id: str) -> dict[Series, int]:
        """The last evaluated candle of each series."""
        rows = await db(lambda: list(Checkpoint.objects.filter(exchange_id=exchange_id)))()
        return {(row.symbol, row.timeframe): row.open_time for row in rows}

    async def stream(self, exchange_id: str) -> list[tuple[str, dict[str, Any]]]:
        """(id, alert) of the stream."""
        entries = await self.redis.xrange(keys.alert_stream(exchange_id))
        return [(name.decode(), json.loads(fields[b"alert"])) for name, fields in entries]


@contextlib.asynccontextmanager
async def simulated(
    venues: Sequence[Venue] = (COINBASE, BINANCE),
    *,
    coins: int = 24,
    top_n: int = 4,
    pinned: Iterable[str] = (),
    seed: int = 7,
    start: int = START,
    limits: Mapping[str, float] = {},
) -> AsyncIterator[World]:
    """A world whose clock stands at ``start``, in the Redis and the database of the test. ``pinned``: coins watched besides the top N."""
    clock = ManualClock(start)
    redis = bus.connect()
    channel_layers.backends.clear()  # a layer of an earlier event loop cannot be used on this one
    async with Sandbox([replace(venue, rest_limit=0) for venue in venues], seed=seed, symbols=coins, clock=clock) as sandbox:
        _remember(sandbox)
        await db(prepare)(sandbox, top_n=top_n, pinned=pinned, limits=limits)
        world = World(sandbox, clock, redis)
        try:
            yield world
        finally:
            await world.crash()
            await redis.aclose()
            layer = get_channel_layer()
            await (layer.close_pools() if hasattr(layer, "close_pools") else layer.flush())


_quotes: dict[tuple[int, tuple[Listing, ...]], Quotes] = {}


def _remember(sandbox: Sandbox) -> None:
    """Share what was worked out of a market with later tests on the same one: it is a function of seed and listings, and half of a
    warm-up's cost. What the market itself promises is tested in tests/exchanges/sandbox, on markets of their own.
    """
    market = sandbox.market
    market._quotes = _quotes.setdefault((market.seed, tuple(market.listings.values())), market._quotes)


def truth(sandbox: Sandbox, exchange_id: str, symbol: str, timeframe: str, start: int, end: int) -> Rows:
    """The market's own candles that open in [start, end), those in which nothing traded flat at the last close."""
    rows = sandbox.market.candles(exchange_id, symbol, timeframe, start, end, idle=True)
    return [[row.open_time, row.open, row.high, row.low, row.close, row.volume, int(row.volume == 0)] for row in rows]


def due(sandbox: Sandbox, exchange_id: str, candles: Mapping[Series, Rows], since: int) -> dict[str, list[oracle.Alert]]:
    """symbol -> the alerts the oracle demands on candles that close after ``since``."""
    histories: dict[str, dict[str, Rows]] = {}
    for (symbol, timeframe), rows in candles.items():
        histories.setdefault(symbol, {})[timeframe] = rows
    return {
        symbol: oracle.alerts(history, since, RULE, young(sandbox, exchange_id, symbol, history)) for symbol, history in histories.items()
    }


def young(sandbox: Sandbox, exchange_id: str, symbol: str, history: Mapping[str, Rows]) -> list[str]:
    """The timeframes whose candles reach back to the day the market was listed."""
    listed = sandbox.market.listing(exchange_id, symbol).listed
    return [timeframe for timeframe, rows in history.items() if rows and rows[0][0] == listed]
