"""Committing closed candles: database first, then Redis, then everybody hears of it.

A batch is committed whole, in order, for as long as it takes: what cannot be stored yet waits, and nothing overtakes it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from django.db import Error as DatabaseError
from redis.asyncio import Redis

from alerts import services
from alerts.evaluation import Draft, Evaluator
from alerts.models import Alert
from alerts.publishing import Publisher
from alerts.services import CheckpointDraft, Naming
from exchanges.pacing import Backoff
from exchanges.shards import WHOLE, Shard
from livermore.bus import FAILURES
from livermore.db import db
from livermore.measures import Commits
from market_data import store
from market_data.candles import Bar
from market_data.macdv import Reading
from market_data.series import Series
from symbols.tiers import Place

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds after which a Redis that does not answer counts as away."""
A_HISTORY = 0.1
"""Seconds more for each history: a thousand symbols that warm up at once are a lot to write."""


class HistoryWrite(NamedTuple):
    """A history for the store. ``readings``: by open time."""

    series: Series
    bars: list[Bar]
    readings: Mapping[int, Reading] | None = None


class Relocation(NamedTuple):
    """A symbol's keys go from where ``old`` keeps them to where ``new`` does, or away where nobody follows it any more."""

    symbol: str
    old: Place
    new: Place | None


class Batch:
    """What became final since the last commit."""

    def __init__(self) -> None:
        self.relocations: list[Relocation] = []
        self.closes: list[store.Close] = []
        self.drafts: list[Draft] = []
        self.touched: dict[tuple[str, str], Series] = {}
        self.histories: list[HistoryWrite] = []
        self.revised: list[tuple[str, int]] = []


class Committer:
    """Takes batches in order. ``batch`` is the open one; ``nudge`` says that something is in it.

    ``keepers``: of the symbols that are followed now, under whose keys they stand. What left is not written any more.
    """

    def __init__(
        self,
        *,
        exchange_id: str,
        redis: Redis,
        fence: int,
        shard: Shard = WHOLE,
        publisher: Publisher,
        evaluator: Evaluator,
        naming: dict[str, Naming],
        on_redis_lost: Callable[[], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self.exchange_id, self.fence, self.shard = exchange_id, fence, shard
        self.publisher, self.evaluator, self.naming = publisher, evaluator, naming
        self._redis = redis
        self._on_redis_lost, self._on_trouble = on_redis_lost, on_trouble
        self.batch = Batch()
        self.keepers: dict[str, int | None] = {}
        self._filled, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self.commits = 0
        self.measured = Commits()
        self._redis_away = False
        self._taken_at: float | None = None

    def nudge(self) -> None:
        self._idle.clear()
        self._filled.set()

    async def drained(self) -> None:
        """Wait until everything that was there to commit is committed, and out."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit batch after batch. Raises Fenced when another connector has taken over."""
        while True:
            if not self._filled.is_set():
                self._idle.set()
            await self._filled.wait()
            self._filled.clear()
            batch, self.batch = self.batch, Batch()
            self._taken_at = time.monotonic()
            checkpoints = [self._checkpoint(series) for series in batch.touched.values()]
            alerts = await self.measured.steps["database"].of(self._store(checkpoints, batch))
            self.measured.committed(len(batch.closes), len(checkpoints), len(alerts))
            self.publisher.add(alerts)
            await self.try_redis(self._write(batch), patience=PATIENCE + len(batch.histories) * A_HISTORY)
            self.commits += 1
            self._taken_at = None

    @property
    def behind(self) -> float:
        """For how many seconds what has closed waits to be stored and published."""
        return 0.0 if self._taken_at is None else time.monotonic() - self._taken_at

    def _checkpoint(self, series: Series) -> CheckpointDraft:
        assert series.last_open is not None
        memory = self.evaluator.memory_state(series.symbol, series.timeframe)
        return CheckpointDraft(series.symbol, series.timeframe, series.last_open, series.state(), memory)

    async def _store(self, checkpoints: list[CheckpointDraft], batch: Batch) -> list[Alert]:
        backoff = Backoff(0.2, 5.0)
        while True:
            try:
                alerts = await db(services.closes_commit)(
                    exchange_id=self.exchange_id,
                    fence=self.fence,
                    checkpoints=checkpoints,
                    drafts=batch.drafts,
                    revised=batch.revised,
                    naming=self.naming,
                    shard=self.shard,
                )
            except DatabaseError as error:
                log.warning("%s: the database did not take a batch, trying again: %s", self.exchange_id, error)
                self._on_trouble(f"the database did not take a batch: {error}")
                await asyncio.sleep(backoff.next(0.1))
            else:
                self._on_trouble("")
                at = services.now_ms()
                for alert in alerts:
                    alert.committed_at = at
                return alerts

    async def _write(self, batch: Batch) -> None:
        for relocation in batch.relocations:
            await self._relocate(relocation)
        for history in batch.histories:
            await self.write_history(history.series, history.bars, history.readings)
        closes = [close for close in batch.closes if close.symbol in self.keepers]
        steps = self.measured.steps
        if self.publisher.waits:  # alerts go out first, and name candles that everybody can read
            await steps["redis"].of(store.write_closes(self._redis, self.exchange_id, closes, self.keepers))
            await steps["alerts"].of(self.publisher.flush())
            await steps["closes"].of(store.publish_closes(self._redis, self.exchange_id, closes))
        else:
            await steps["redis"].of(store.put_closes(self._redis, self.exchange_id, closes, self.keepers))

    async def write_history(self, series: Series, bars: list[Bar], readings: Mapping[int, Reading] | None = None) -> None:
        """Write a history where its symbol stands now, if it is still followed."""
        if series.symbol in self.keepers:
            await store.write_history(self._redis, self.exchange_id, series, bars, readings=readings, keeper=self.keepers[series.symbol])

    async def _relocate(self, relocation: Relocation) -> None:
        symbol, old, new = relocation
        if new is None:
            await store.forget(self._redis, self.exchange_id, symbol, old.keeper)
        elif old.keeper != new.keeper:
            await store.move(self._redis, self.exchange_id, symbol, old=old.keeper, new=new.keeper)

    async def try_redis(self, work: Awaitable[None], *, patience: float = PATIENCE) -> bool:
        """Do something with Redis; tell whether it answered. What was lost is filled in again when it is back.

        Publishing takes the database too: where that is away, what could not be published waits in the same way.
        """
        try:
            async with asyncio.timeout(patience):
                await work
        except (*FAILURES, DatabaseError) as error:
            if not self._redis_away:
                who = "the database" if isinstance(error, DatabaseError) else "Redis"
                why = str(error)[:200] or f"nothing within {patience:.0f} s"
                log.warning("%s: %s does not take writes: %s", self.exchange_id, who, why)
            self._redis_away = True
            self._on_redis_lost()
            return False
        self._redis_away = False
        return True
