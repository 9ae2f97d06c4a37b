"""A recorded feed through the connector itself: the same adapters, candles, indicators, rules, commits and publishing, at any speed.

What decides when something happens is the recording alone: a frame is taken where it was taken, a close is read back where it was read
back, an answer comes where it came. The speed decides only how long that takes, so one recording always gives the same alerts.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from django.db import transaction
from redis.asyncio import Redis

from alerts.models import AlertRule
from alerts.rules import Rule
from exchanges.adapters import Adapter, adapter_for
from exchanges.engine import Emit
from exchanges.events import BASE_TIMEFRAME, ConnectionState, Lifecycle, Limits
from exchanges.link import LinkClosed
from exchanges.models import Exchange
from exchanges.recording import (
    Answered,
    Asked,
    Closed,
    Connection,
    Damaged,
    Ended,
    Followed,
    Frame,
    Header,
    NotReadable,
    Opened,
    Reader,
    Record,
)
from exchanges.replayed import Key, ReplayedEngine, ReplayedRest, settle
from exchanges.status import Status
from livermore.db import db
from livermore.pool import Past
from livermore.runtime import Connector, read_back_from
from livermore.watched import Watched
from market_data.candles import Bar
from market_data.models import Checkpoint
from symbols.models import Symbol
from symbols.services import Member
from symbols.tiers import SHARED

log = logging.getLogger(__name__)

MOST_UNCOMMITTED = 2_000
"""Closed candles that may wait for the database before the replay does."""
LIMITS = Limits(
    messages_per_second=1e6, connects_per_5min=10**6, streams_per_connection=10**9, rest_weight_per_minute=10**6, rest_burst=10**6
)
ENDING = 2_000
"""Milliseconds before the end of a recording whose answers may have come after it."""
SAY_EVERY = 5.0


class Contents(NamedTuple):
    """What a recording holds. ``damage``: where it is broken before its end, if it is; ``ended``: why it ended, "" if torn off."""

    header: Header
    records: int
    frames: int
    first: int
    last: int
    symbols: frozenset[str]
    answers: Counter[Key]
    lost: Counter[Key]
    torn: bool
    damage: str
    ended: str


def contents(path: Path) -> Contents:
    """Read a recording through once. Raises NotReadable, whose message says what to do, and OSError."""
    with path.open("rb") as file:
        reader = Reader(file)
        adapter = adapter_of(reader.header)
        answers: Counter[Key] = Counter()
        asked: Counter[Key] = Counter()
        symbols: set[str] = set()
        records = frames = last = 0
        first = reader.header.started
        ended = damage = ""
        try:
            for record in reader.records():
                records, last = records + 1, record.at
                match record:
                    case Frame():
                        frames += 1
                    case Followed():
                        symbols.update(symbol for symbol, _, _ in record.members)
                    case Asked():
                        requests = adapter.candles_requests(record.symbol, record.timeframe, record.start, record.end)
                        asked.update((one.path, one.params) for one in requests)
                    case Answered():
                        answers[record.path, record.params] += 1
                    case Ended():
                        ended = record.reason
        except Damaged as error:
            damage = str(error)
    lost = asked - answers
    return Contents(reader.header, records, frames, first, last or first, frozenset(symbols), answers, lost, reader.torn, damage, ended)


def adapter_of(header: Header) -> Adapter:
    """The adapter that reads a recording. Raises NotReadable where this Livermore has none, or one with other timeframes."""
    try:
        adapter = adapter_for(header.adapter)
    except LookupError as error:
        raise NotReadable(f"{error}: replay it with livermore {header.software}, which recorded it") from None
    unknown = set(header.timeframes) - set(adapter.timeframes)
    if unknown:
        raise NotReadable(
            f"it has the timeframes {', '.join(sorted(unknown))}, which the adapter {header.adapter} no longer has: "
            f"replay it with livermore {header.software}, which recorded it"
        )
    return adapter


class Replay(Connector):
    """``run`` lasts until it is cancelled; ``done`` is set when the recording has been played. ``closed``: how many candles closed."""

    def __init__(
        self,
        exchange: Exchange,
        redis: Redis,
        *,
        path: Path,
        found: Contents,
        speed: float,
        say: Callable[[str], None],
        fence: int,
        epoch: str,
    ) -> None:
        self._found = found
        super().__init__(exchange, redis, Status(exchange.pk), fence=fence, epoch=epoch)
        self._path, self._speed, self._say = path, speed, say
        self.done = asyncio.get_running_loop().create_future()
        self.closed = self.played = 0
        self._now = found.first
        self._pauses: list[tuple[float, asyncio.Future[None]]] = []

    def _outside(self, emit: Emit) -> tuple[ReplayedRest, ReplayedEngine]:
        self.rest = ReplayedRest(self._adapter, limits=LIMITS, recorded=self._found.answers, lost=self._found.lost)
        self.engine = ReplayedEngine(self._adapter, limits=LIMITS, emit=emit)
        return self.rest, self.engine

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """What came of it then is in the recording where it mattered: whom the connector followed."""
        work.close()

    async def _pause(self, seconds: float) -> None:
        """As long as it took then."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pauses.append((self._now + seconds * 1000, over))
        await over

    def _closed(self, watched: Watched, bars: Iterable[Bar]) -> None:
        bars = list(bars)
        self.closed += len(bars)
        super()._closed(watched, bars)

    async def _run(self) -> None:
        async with self._tasks as tasks:
            await self._committer.publisher.ensure_stream()
            tasks.create_task(self._committer.run(), name="commit")
            with self._path.open("rb") as file:
                await self._play(file)
            await self.engine.close_all()
            await self._committer.drained()
            self.done.set_result(None)
            await asyncio.Event().wait()

    async def _play(self, file: BinaryIO) -> None:
        began, said = time.monotonic(), time.monotonic()
        try:
            for record in Reader(file).records():
                self._now = max(self._now, record.at)
                self.rest.ending = self._now > self._found.last - ENDING
                if self._speed:
                    await asyncio.sleep(began + (self._now - self._found.first) / 1000 / self._speed - time.monotonic())
                await self._end_pauses()
                await self._take(record)
                self.played += 1
                if len(self._committer.batch.closes) > MOST_UNCOMMITTED:
                    await self._committer.drained()
                if time.monotonic() - said > SAY_EVERY:
                    said = time.monotonic()
                    self._say(f"{self.played / self._found.records:.0%} of {self._found.records:,} records")
                    await asyncio.sleep(0)
        except Damaged as error:
            log.warning("%s is %s: what is before that was played", self._path, error)

    async def _end_pauses(self) -> None:
        due = [over for at, over in self._pauses if at <= self._now]
        if due:
            self._pauses = [pause for pause in self._pauses if pause[0] > self._now]
            for over in due:
                if not over.done():
                    over.set_result(None)
            await settle()

    async def _take(self, record: Record) -> None:
        match record:
            case Frame():
                try:
                    await self.engine.frame(record.link, record.data)
                except LinkClosed as error:
                    log.error("a frame brought its connection down: %s", error)
            case Answered():
                self.rest.answer(record)
                await settle()
            case Asked():
                self._read_back_now(record)
                await settle()
            case Followed():
                await self._follow(record)
                await settle()
            case Opened():
                self.engine.opened(record.link)
            case Closed():
                await self.engine.closed(record.link)
            case Connection():
                self._on_lifecycle(Lifecycle(ConnectionState(record.state), record.at, record.reason, None, record.connection))

    def _read_back_now(self, asked: Asked) -> None:
        """The connector asked for what was due at this moment, or for a history: a warm-up asks for that by itself."""
        watched = self.watched.get(asked.symbol)
        if watched is None or asked.timeframe != BASE_TIMEFRAME or (watched.reading_back and not watched.reading_back.done()):
            return
        due = watched.book.due(self.clock)
        if due is not None and (read_back_from(due[0]), due[1]) == (asked.start, asked.end):
            watched.reading_back = self._spawn(self._read_back_once(watched, *due))

    async def _read_back_once(self, watched: Watched, start: int, end: int) -> None:
        await self._read_once(watched, start, end)

    async def _follow(self, record: Followed) -> None:
        self.clock = max(self.clock, record.clock)
        rules = [msgspec.convert(rule, Rule) for rule in record.rules]
        await db(_store_rules)(rules)
        exchange_id = self.exchange.pk
        members = [
            Member(Symbol(exchange_id=exchange_id, symbol=symbol, base=base, quote=quote), SHARED) for symbol, base, quote in record.members
        ]
        checkpoints = [
            Checkpoint(exchange_id=exchange_id, symbol=symbol, timeframe=timeframe, open_time=at, indicator=indicator, memory=memory)
            for symbol, timeframe, at, indicator, memory in record.checkpoints
        ]
        self._pool.follow(members, rules, Past(checkpoints, record.fired))


@transaction.atomic
def _store_rules(rules: Iterable[Rule]) -> None:
    """An alert names its rule: have it, under the same number."""
    for rule in rules:
        AlertRule.objects.filter(name=rule.name).exclude(pk=rule.id).delete()
        AlertRule.objects.update_or_create(
            pk=rule.id,
            defaults={
                "name": rule.name,
                "version": rule.version,
                "levels": list(rule.levels),
                "timeframes": sorted(rule.timeframes),
                "reversal_level": rule.reversal_level,
                "oversold_buffer": rule.oversold_buffer * 100,
                "overbought_buffer": rule.overbought_buffer * 100,
                "cooldown": rule.cooldown // 1000,
            },
        )
