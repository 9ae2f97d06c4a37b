"""Redis is a cache: after it was away, or came back without its memory, everything is put there again.

What cannot come back is the readings that a series had in its past: they are worked out again over the fetched candles, and never replace
one that is still there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from exchanges.rest import RestError
from livermore.bus import FAILURES
from livermore.commits import Committer, HistoryWrite
from livermore.pool import Pool, Spawn
from livermore.watched import Watched
from market_data import backfill, store
from market_data.series import WARM_BARS, Series

log = logging.getLogger(__name__)

RETRY = 0.5
AT_ONCE = 8
"""Symbols that are filled in at the same time: each takes a connection to Redis, and the exchange answers one after the other anyway."""


class Refill:
    """``lost`` says that Redis lacks something; ``run`` mends it: indicators from memory at once, candles from the exchange after it."""

    def __init__(self, redis: Redis, *, pool: Pool, committer: Committer, spawn: Spawn, announce: Callable[[], Awaitable[None]]) -> None:
        self._redis, self._pool, self._committer, self._spawn, self._announce = redis, pool, committer, spawn, announce
        self._exchange_id = pool.exchange.pk
        self._whole = True
        self._wake = asyncio.Event()
        self._filling = asyncio.Semaphore(AT_ONCE)

    def lost(self) -> None:
        self._whole = False
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while not self._whole:
                if await self._restore():
                    log.info("%s: Redis is back; its candles are being filled in again", self._exchange_id)
                else:
                    await asyncio.sleep(RETRY)

    async def _restore(self) -> bool:
        """Whether Redis took everything that is in memory."""
        self._whole = True
        for watched in list(self._pool.watched.values()):
            for series in watched.started:
                if not await self._committer.try_redis(self._committer.write_history(series, [])):
                    return False
        if not await self._committer.try_redis(self.sweep()):
            return False
        if not await self._committer.try_redis(self._committer.publisher.ensure_stream()):
            return False
        self._committer.nudge()
        await self._announce()
        for watched in list(self._pool.watched.values()):
            self._spawn(self.fill(watched))
        return self._whole

    async def sweep(self) -> None:
        """Remove what stands where nobody keeps it any more."""
        if gone := await store.sweep(self._redis, self._exchange_id, self._committer.keepers, self._pool.shard.holds):
            log.info("%s: removed %d keys that nobody follows any more", self._exchange_id, gone)

    async def fill(self, watched: Watched, *, all_of_it: bool = False) -> None:
        """Fetch the candles of a symbol that Redis lacks, or all of them."""
        async with self._filling:
            await self._fill(watched, all_of_it=all_of_it)

    async def _fill(self, watched: Watched, *, all_of_it: bool) -> None:
        for series in watched.started:
            assert series.last_open is not None
            place = (self._redis, self._exchange_id, watched.symbol, series.timeframe, self._committer.keepers.get(watched.symbol))
            since = series.last_open - (series.kept - 1) * series.step
            try:
                # Of the newest ones only: a Redis that took no writes for a while has enough candles, and a hole in them.
                held = await store.count_candles(*place, since=since)
                readings = await store.held_readings(*place)
            except FAILURES:
                self.lost()
                return
            proved = range(since + WARM_BARS * series.step, series.last_open + 1, series.step)
            if all_of_it or held < series.kept or not readings.issuperset(proved):
                await self._fill_one(watched, series, readings)

    async def _fill_one(self, watched: Watched, series: Series, held: set[int]) -> None:
        assert series.last_open is not None
        taken, last = series.indicator.bars, series.indicator.reading
        try:
            bars = await backfill.refill(self._pool.fetch, symbol=watched.symbol, timeframe=series.timeframe, last_open=series.last_open)
        except RestError as error:
            log.info("%s: %s %s could not be filled in again: %s", self._exchange_id, watched.symbol, series.timeframe, error)
            return
        if watched.symbol in self._pool.watched:
            readings = backfill.recomputed(bars, taken=taken, last=last)
            lacking = {at: reading for at, reading in readings.items() if at not in held}
            self._committer.batch.histories.append(HistoryWrite(series, bars, lacking))
            self._committer.nudge()
