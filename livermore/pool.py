"""The symbols a connector watches: joining with a warm-up, leaving, and following what people and volumes decide."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import msgspec
from django.db import Error as DatabaseError

from alerts import services as alert_services
from alerts.rules import Rule
from alerts.services import Naming
from exchanges.engine import Engine
from exchanges.events import TIMEFRAMES, Candle, Channel, Stream
from exchanges.models import Exchange
from exchanges.recorder import Recorder
from exchanges.recording import Followed
from exchanges.rest import BACKGROUND, RestClient, RestError
from exchanges.shards import WHOLE, Shard
from exchanges.status import now_ms
from livermore.commits import Committer, Relocation
from livermore.db import db
from livermore.watched import Watched
from market_data.backfill import History, NoHistory, NotThereYet
from market_data.models import Checkpoint
from symbols import services
from symbols.services import Member
from symbols.tiers import Place

log = logging.getLogger(__name__)

WARMING_AT_ONCE = 6
WARM_UP_RETRY = 30.0
"""Seconds before a symbol whose warm-up failed, or that has no candle yet, is asked for again."""
LOOK_EVERY = 30.0
"""Seconds between two looks at the database for a changed pool, should a command have been missed."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None] | None"]


class Past(NamedTuple):
    """What is known of symbols that join: how far each was evaluated, and (symbol, timeframe, rule id, label, close time) of alerts."""

    checkpoints: list[Checkpoint]
    fired: list[tuple[str, str, int, str, int]]


class Pool:
    """``watched`` by symbol. A change reaches the running connection without a reconnect.

    ``on_history`` takes what a warm-up brought, ``on_leave`` a symbol that nobody follows any more; ``on_change`` is told that the pool is
    another one. ``pause`` waits some seconds of the exchange's life; ``recorder`` takes down whom it follows. Of what the exchange lists,
    only the symbols of ``shard`` are followed.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        rest: RestClient,
        engine: Engine,
        committer: Committer,
        clock: Callable[[], int],
        spawn: Spawn,
        on_history: Callable[[Watched, History], None],
        on_leave: Callable[[str], None],
        on_change: Callable[[], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        recorder: Recorder | None = None,
        shard: Shard = WHOLE,
    ) -> None:
        self.exchange, self.shard = exchange, shard
        self.watched: dict[str, Watched] = {}
        self.failures = 0
        self._rest, self._engine, self._committer = rest, engine, committer
        self._clock, self._spawn = clock, spawn
        self._on_history, self._on_leave, self._on_change = on_history, on_leave, on_change
        self._pause, self._recorder = pause, recorder
        self._warming = asyncio.Semaphore(WARMING_AT_ONCE)
        self._following = asyncio.Lock()

    async def update(self, infos: list[services.SymbolInfo]) -> str:
        """Store what the exchange lists, and follow. Says what became of it."""
        return await self._follow(await db(services.symbols_update)(exchange=self.exchange, infos=infos))

    async def reload(self) -> str:
        """Follow what changed in the database: rules, N, policies. Says what became of it."""
        rules = await db(alert_services.rules_load)()
        await db(self.exchange.refresh_from_db)()
        return await self._follow(await db(services.symbols_choose)(exchange=self.exchange), rules)

    async def reload_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.reload()
            except DatabaseError as error:
                log.warning("%s: the pool could not be read again: %s", self.exchange.pk, error)

    async def fetch(self, symbol: str, timeframe: str, start: int, end: int) -> list[Candle]:
        """History, when the exchange has nothing more urgent to answer."""
        return await self._rest.candles(symbol, timeframe, start, end, BACKGROUND)

    async def _follow(self, members: list[Member], rules: list[Rule] | None = None) -> str:
        members = [member for member in members if self.shard.holds(member.row.symbol)]
        async with self._following:
            past = await self._remembered([member.row.symbol for member in members if member.row.symbol not in self.watched])
            return self.follow(members, self._committer.evaluator.rules if rules is None else rules, past)

    def follow(self, members: list[Member], rules: list[Rule], past: Past) -> str:
        """Watch these symbols, and no others, by these rules. ``past``: what is known of the new ones. Says what became of it."""
        wanted = {member.row.symbol: member for member in members}
        gone = [symbol for symbol in self.watched if symbol not in wanted]
        new = [member for symbol, member in wanted.items() if symbol not in self.watched]
        if self._recorder is not None and (new or gone or rules != self._committer.evaluator.rules):
            self._recorder.followed(_followed(self._clock(), members, rules, past))
        self._committer.evaluator.rules = rules
        moved = [symbol for symbol in self.watched if symbol in wanted and self._move(symbol, wanted[symbol].place)]
        for symbol in gone:
            self._leave(symbol)
        self._join(new, past)
        self._engine.want(Stream(channel, symbol) for symbol in self.watched for channel in Channel)
        if new or gone or moved:
            self._committer.nudge()
            self._on_change()
        return f"{len(self.watched)} symbols, {len(new)} new, {len(gone)} gone"

    def _move(self, symbol: str, place: Place) -> bool:
        """Watch a symbol for others than before; its series go on. Whether its keys move."""
        before = self._committer.naming[symbol]
        self._committer.naming[symbol] = before._replace(place=place)
        if before.place.keeper == place.keeper:
            return False
        self._committer.keepers[symbol] = place.keeper
        self._committer.batch.relocations.append(Relocation(symbol, before.place, place))
        return True

    async def _remembered(self, symbols: list[str]) -> Past:
        if not symbols:
            return Past([], [])
        checkpoints = await db(_checkpoints)(self.exchange.pk, symbols)
        since = self._clock() - 2 * TIMEFRAMES["1d"]
        cooldowns = await db(alert_services.cooldowns_stored)(exchange_id=self.exchange.pk, since=since)
        new = set(symbols)
        return Past(
            checkpoints,
            [
                (symbol, timeframe, rule_id, label, candle_time + TIMEFRAMES[timeframe])
                for symbol, timeframe, rule_id, label, candle_time in cooldowns
                if symbol in new
            ],
        )

    def _join(self, members: list[Member], past: Past) -> None:
        checkpoints: dict[str, list[Checkpoint]] = {}
        for checkpoint in past.checkpoints:
            checkpoints.setdefault(checkpoint.symbol, []).append(checkpoint)
        for row, place in members:
            watched = self.watched[row.symbol] = Watched(row.symbol, self.exchange.timeframes, flags_closes=self._flags_closes)
            for checkpoint in checkpoints.get(row.symbol, []):
                self._restore(watched, checkpoint)
            self._committer.naming[row.symbol] = Naming(row.base, row.quote, place)
            self._committer.keepers[row.symbol] = place.keeper
        for symbol, timeframe, rule_id, label, close_time in past.fired:
            self._committer.evaluator.remember(symbol, timeframe, rule_id, label, close_time)
        for row, _ in members:
            self.watched[row.symbol].warming = self._spawn(self._warm_up(self.watched[row.symbol]))

    @property
    def _flags_closes(self) -> bool:
        return self.exchange.protocol.flags_closes

    def _restore(self, watched: Watched, checkpoint: Checkpoint) -> None:
        try:
            watched.restore(checkpoint, self._committer.evaluator)
        except ValueError as error:
            log.warning("%s: %s; it starts afresh", self.exchange.pk, error)

    def _leave(self, symbol: str) -> None:
        watched = self.watched.pop(symbol)
        self._committer.keepers.pop(symbol)
        self._committer.batch.relocations.append(Relocation(symbol, self._committer.naming[symbol].place, None))
        for task in (watched.warming, watched.reading_back):
            if task is not None:
                task.cancel()
        self._on_leave(symbol)

    async def _warm_up(self, watched: Watched) -> None:
        while not await self._warm_up_once(watched):
            await self._pause(WARM_UP_RETRY)

    async def _warm_up_once(self, watched: Watched) -> bool:
        async with self._warming:
            try:
                history = await watched.warm_up(self.fetch, self._clock, fills_idle=self.exchange.protocol.fills_idle)
            except NoHistory:
                watched.problem = "the exchange has no candle of it yet"
                return False
            except NotThereYet as error:
                watched.problem = str(error)
                return False
            except RestError as error:
                self.failures += 1
                watched.problem = f"warm-up failed: {error}"
                log.warning("%s: %s: %s", self.exchange.pk, watched.symbol, watched.problem)
                return False
        watched.problem = ""
        self._on_history(watched, history)
        return True


def _checkpoints(exchange_id: str, symbols: list[str]) -> list[Checkpoint]:
    return list(Checkpoint.objects.filter(exchange_id=exchange_id, symbol__in=symbols))


def _followed(clock: int, members: list[Member], rules: list[Rule], past: Past) -> Followed:
    return Followed(
        now_ms(),
        clock,
        [(row.symbol, row.base, row.quote) for row, _ in members],
        [msgspec.to_builtins(rule) for rule in rules],
        [(one.symbol, one.timeframe, one.open_time, one.indicator, one.memory) for one in past.checkpoints],
        past.fired,
    )
