"""The faults of ``tests.chaos.recovery`` that are about candles: whole connectors, judged by what Redis shows.

All runs go on at once over one simulated market, whose first close comes when every connector has had its history.
"""

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from django.conf import settings
from redis.asyncio import Redis

from alerts import services
from exchanges.models import Exchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import Venue
from exchanges.status import Status
from livermore import bus, embedded, keys
from livermore.db import db
from livermore.runtime import Connector
from market_data import store
from tests import seeds
from tests.chaos.recovery import PROTOCOLS, STEP, Measured

COINS = 4
LEAD = 150
"""Seconds from the start of the market to its first close: warm-up, and what comes before a close."""
SETTLED = 12_000
"""Market ms after a close at which it is known, where nothing is wrong."""
PATIENCE = 150.0
LOOK = 0.1


class Line:
    """What stands between a connector and its exchange: a listener that can be gone, with all its connections, and come back."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def stand(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def fall(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, away = await asyncio.open_connection("127.0.0.1", self._to)
            ends = {writer, away}
            self._writers |= ends
            try:
                await asyncio.gather(_pass(reader, away), _pass(there, writer))
            finally:
                self._writers -= ends


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


async def _keep_alive(connector: Connector, redis: Redis) -> None:
    """As its host does: without it, what Redis shows of an exchange runs out."""
    while True:
        await asyncio.sleep(10.0)
        await connector.status.write(redis)


@dataclass
class World:
    """One connector of a run, and the lines that lead to its exchange. ``close``: market time of the close it is about."""

    sandbox: Sandbox
    venue: Venue
    exchange_id: str
    rng: Random
    redis: Redis
    close: int
    lines: tuple[Line, Line]
    connector: Connector

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, sandbox: Sandbox, venue: Venue, exchange_id: str, rng: Random, close: int) -> AsyncIterator["World"]:
        redis = bus.connect()  # as in a process of its own
        urls, lines = [], []
        for url in (sandbox.websocket_url(venue.id), sandbox.rest_url(venue.id)):
            host, _, path = url.partition("127.0.0.1:")[2].partition("/")
            line = Line(int(host))
            await line.stand()
            lines.append(line)
            urls.append(f"{url.partition('127.0.0.1:')[0]}127.0.0.1:{line.port}/{path}")
        row = Exchange(
            id=exchange_id,
            name=exchange_id,
            adapter=venue.protocol,
            websocket_url=urls[0],
            rest_url=urls[1],
            limits={"rest_weight_per_minute": 60_000, "rest_burst": 1_000},
            timeframes=["5m", "15m"],  # a history of days keeps the simulated exchange, not us, busy for minutes
            top_n=COINS,
            is_sandbox=True,
        )
        await db(row.save)()
        fence, epoch = await db(services.sequence_take_over)(exchange_id=exchange_id)
        connector = Connector(row, redis, Status(exchange_id), fence=fence, epoch=epoch)
        tasks = [asyncio.create_task(connector.run()), asyncio.create_task(_keep_alive(connector, redis))]
        try:
            yield cls(sandbox, venue, exchange_id, rng, redis, close, (lines[0], lines[1]), connector)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await redis.aclose()
            for line in lines:
                line.fall()

    async def states(self) -> dict[str, str]:
        """symbol -> state, as pages are shown it."""
        fields = await self.redis.hgetall(keys.exchange_states(self.exchange_id))
        return {symbol.decode(): json.loads(value)["state"] for symbol, value in fields.items()}

    async def newest(self, symbol: str) -> int:
        """The open time of the newest closed 5m candle in Redis."""
        rows = await self.redis.zrange(store.keys_of(self.exchange_id, symbol, "5m", None).candles, -1, -1, withscores=True)
        return int(rows[0][1]) if rows else 0

    async def at(self, market: int) -> None:
        await asyncio.sleep(max(0, market - self.sandbox.clock.now()) / 1000)

    async def live(self, newest: int) -> bool:
        """Everything is live, data flows on the connection, every candle is there up to ``newest``.

        Not every subscription: a Binance market in which nothing trades sends its first frame with its next trade.
        """
        states, links = await self.states(), self.connector._engine.links
        if len(states) < COINS or set(states.values()) != {"live"} or not any(link._candles or link._tickers for link in links):
            return False
        return all([await self.newest(symbol) >= newest for symbol in states])

    async def ready(self) -> None:
        """Its history is there. Raises AssertionError where it did not come before the fault was to."""
        if math.isinf(await self._until(lambda: self.live(0), LEAD - 65, look=2.0)):
            raise AssertionError(
                f"{self.exchange_id} did not warm up in time: {await self.states()}; this machine is too busy for so many runs"
            )

    async def _until(self, found: Callable[[], Awaitable[bool]], patience: float = PATIENCE, look: float = LOOK) -> float:
        """Seconds until then; infinite if that does not come."""
        began = time.monotonic()
        while not await found():
            if time.monotonic() - began > patience:
                return math.inf
            await asyncio.sleep(look)
        return time.monotonic() - began

    async def one_mute(self) -> Measured:
        """A symbol's candles, its ticker, or the candles of all end; heartbeats and everything else go on."""
        await self.ready()
        at = self.close - int(self.rng.uniform(40_000, 60_000))
        symbol, channel = self.rng.choice(self._trading(list(await self.states()), at)), self.rng.choice(("candles", "ticker"))
        if self.rng.random() < 0.25:
            symbol, channel = "", "candles"
        await self.at(at)
        fault = self.sandbox.faults.set("dead", venue=self.venue.id, symbol=symbol, channel=channel)
        await self.at(self.close)
        flagged = await self._until(lambda: self._are_stale(symbol))
        self.sandbox.faults.clear(id=fault.id)
        return {"flagged after the candle's end": flagged}

    def _trading(self, watched: Sequence[str], at: int) -> list[str]:
        """The symbols that trade between ``at`` and the close, and end at another price: which a dead stream does not show."""
        market, found = self.sandbox.market, []
        for symbol in watched:
            listing = market.listing(self.venue.id, symbol)
            then, closed = market.forming(listing, STEP, at + 1_000), market.forming(listing, STEP, self.close - 1)
            if then is not None and closed is not None and then.volume != closed.volume and then.close != closed.close:
                found.append(symbol)
        assert found, "a market in which nothing trades for a minute"
        return found

    async def _are_stale(self, symbol: str) -> bool:
        states = await self.states()
        return states[symbol] == "stale" if symbol else "stale" in states.values()

    async def outage(self, seconds: float) -> Measured:
        """The exchange's hosts take no connection; a candle or more closes meanwhile."""
        await self.ready()
        await self.at(self.close - int(self.rng.uniform(5_000, 15_000)))
        for line in self.lines:
            line.fall()
        await asyncio.sleep(seconds)
        for line in self.lines:
            await line.stand()
        newest = (self.sandbox.clock.now() - SETTLED) // STEP * STEP - STEP
        assert newest >= self.close - STEP, "no candle closed meanwhile"
        return {"live after healing, gap refilled": await self._until(lambda: self.live(newest))}


def _venue(fault: str, at: int) -> Venue:
    """Where a run takes place. One whose fault is the exchange's own has it to itself; lines fall for each by themselves."""
    venue = PROTOCOLS[at % 3]
    return replace(venue, id=f"{fault}-venue-{at}" if fault == "one-mute" else f"{fault}-{venue.protocol}", rest_limit=0)


RUNS: dict[str, Callable[[World], Awaitable[Measured]]] = {
    "one-mute": lambda world: world.one_mute(),
    "outage-30": lambda world: world.outage(30.0),
    "outage-600": lambda world: world.outage(600.0),
}


async def with_connectors(faults: Sequence[str], runs: int, seed: int) -> dict[str, list[Measured]]:
    """By fault, what each run measured."""
    await db(seeds.restore)()
    plan = [(fault, at, _venue(fault, at)) for fault in faults for at in range(runs)]
    start = int(time.time() * 1000) // STEP * STEP + STEP - LEAD * 1000
    with embedded.ensure(settings.DATA_DIR):
        venues = {venue.id: venue for _, _, venue in plan}
        async with Sandbox(list(venues.values()), seed=seed, symbols=COINS, start=start) as sandbox:
            close = start + LEAD * 1000

            async def run(fault: str, at: int, venue: Venue) -> Measured:
                async with World.running(sandbox, venue, f"{fault}-{at}", Random(f"{fault} {seed} {at}"), close) as world:
                    return await RUNS[fault](world)

            measured = await asyncio.gather(*(run(*planned) for planned in plan))
    return {fault: [one for (name, _, _), one in zip(plan, measured, strict=True) if name == fault] for fault in faults}
