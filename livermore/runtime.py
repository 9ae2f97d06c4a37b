"""The one place that knows all four apps: pumps an exchange's events into candles, indicators, rules and commits."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable
from itertools import groupby
from typing import Any, NamedTuple

from django.db import Error as DatabaseError
from redis.asyncio import Redis

from alerts import services
from alerts.evaluation import Evaluator, Origin
from alerts.publishing import Publisher
from exchanges import status as statuses
from exchanges.engine import Emit, Engine
from exchanges.events import (
    BASE_TIMEFRAME,
    TIMEFRAMES,
    Alive,
    Candle,
    ConnectionState,
    Event,
    GoingAway,
    Lifecycle,
    Lost,
    Refused,
    Rejected,
    Stream,
    StreamState,
    SymbolInfo,
    Ticker,
)
from exchanges.measuring import Measuring
from exchanges.models import Exchange
from exchanges.pacing import Backoff
from exchanges.recorder import Recorder
from exchanges.rest import NORMAL, URGENT, RestClient, RestError
from exchanges.shards import WHOLE, Shard
from exchanges.status import Status
from livermore import positions
from livermore.commits import Committer, HistoryWrite
from livermore.db import db
from livermore.pool import Pool
from livermore.prices import Price, Prices
from livermore.refill import Refill
from livermore.states import States
from livermore.watched import Watched
from market_data import store
from market_data.backfill import History
from market_data.candles import RECENT, SHOWN_GRACE, STALE_AFTER, STEP, Bar, Closing
from market_data.series import Advance
from symbols import marketcaps

log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.1
LAGS = 1.0
"""Seconds of ours by which a stream may lag beside what the exchange's clock allows it: a simulated one may run sixty times as fast."""
TAKE_UP_INTERVAL = 1.5
FAR = 2 * STEP
"""Exchange time (ms) by which one frame alone does not move the clock, ahead or back."""
STEPS_BELIEVED = 5
"""Frames in a row that have to agree on such a step."""
STORED_WITHIN = 5.0
"""Seconds that what has closed may wait to be stored and published before its symbols count as stale."""
Note = Callable[[str, str], None]
"""Told what the exchange's state or connection has become, and why; for the record, not for the pages."""
_HOUR = TIMEFRAMES["1h"]
FETCHED = Closing("history")
"""A candle that a warm-up fetched."""


def read_back_from(start: int) -> int:
    """From where on to ask for candles that are due from ``start`` on: the last final ones with them, to notice that one was revised."""
    return start - (RECENT - 1) * STEP


class Inside(NamedTuple):
    """What a connector is made of, for who measures it."""

    engine: Engine
    rest: RestClient
    committer: Committer
    pool: Pool
    prices: Prices


class Connector:
    """Runs one exchange: from its sockets to committed and published alerts. ``run`` lasts until it is cancelled or fenced off.

    ``first_word`` is set to what became of the first attempt to connect: "started", or why not. ``recorder`` takes down all it hears; it is
    closed when the connector ends.
    """

    def __init__(
        self,
        exchange: Exchange,
        redis: Redis,
        status: Status,
        *,
        fence: int,
        epoch: str,
        shard: Shard = WHOLE,
        note: Note = lambda event, reason: None,
        recorder: Recorder | None = None,
    ) -> None:
        self.exchange, self.status, self.shard = exchange, status, shard
        self.clock = 0
        self.counters: Counter[str] = Counter()
        self.first_word: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._redis, self._note, self._recorder = redis, note, recorder
        self._adapter = exchange.protocol
        self._tasks = asyncio.TaskGroup()
        self._last_day = 0
        self._next_hour = 0
        self._steps = 0
        self._looked_at = 0
        self._unlooked: set[str] = set()
        self._look_from = 0.0
        self._reading_positions = asyncio.Lock()
        self._troubled = False
        self._prices = Prices(self._put_prices_out)
        self._connections: dict[int, Lifecycle] = {}
        self._stood: set[int] = set()
        self._unproved_since: float | None = None
        self._states = States(exchange.pk, redis)
        self._rest, self._engine = self._outside(self.on_event)
        self._measuring = Measuring(self._engine, self._rest)
        self._evaluator = Evaluator([])
        self._committer = Committer(
            exchange_id=exchange.pk,
            redis=redis,
            fence=fence,
            shard=shard,
            publisher=Publisher(redis, exchange.pk, epoch, divided=not shard.whole),
            evaluator=self._evaluator,
            naming={},
            on_redis_lost=self.redis_lost,
            on_trouble=self._note_trouble,
        )
        self._pool = Pool(
            exchange,
            rest=self._rest,
            engine=self._engine,
            committer=self._committer,
            clock=lambda: self.clock,
            spawn=self._spawn,
            on_history=self._on_history,
            on_leave=self._on_leave,
            on_change=self._on_pool_change,
            pause=self._pause,
            recorder=recorder,
            shard=shard,
        )
        self._refill = Refill(redis, pool=self._pool, committer=self._committer, spawn=self._spawn, announce=self._announce_all)
        self.watched = self._pool.watched

    def _outside(self, emit: Emit) -> tuple[RestClient, Engine]:
        """What reaches the exchange."""
        exchange, limits = self.exchange, self.exchange.effective_limits.shared(self.shard.of)
        rest = RestClient(self._adapter, exchange.rest_url, limits, reach=exchange.reach, recorder=self._recorder)
        engine = Engine(
            self._adapter,
            websocket_url=exchange.websocket_url,
            limits=limits,
            reach=exchange.reach,
            emit=emit,
            recorder=self._recorder,
        )
        return rest, engine

    @property
    def inside(self) -> Inside:
        return Inside(self._engine, self._rest, self._committer, self._pool, self._prices)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def run(self) -> None:
        """Connect, warm up, and go on until cancelled. Raises Fenced (in a group) when another connector has taken over."""
        try:
            await self._run()
        finally:
            if self._recorder is not None:
                self._recorder.close("the connector ended")

    async def _run(self) -> None:
        async with self._rest, self._tasks as tasks:
            self._evaluator.rules = await db(services.rules_load)()
            await self._committer.publisher.recover()
            await self._committer.try_redis(self._committer.publisher.ensure_stream())
            self._committer.nudge()
            tasks.create_task(self._committer.run(), name="commit")
            tasks.create_task(self._refill.run(), name="refill")
            await self._pool.update(await self._reach())
            await self._committer.try_redis(self._refill.sweep())
            self._next_hour = self.clock // _HOUR * _HOUR + _HOUR
            self._aside(self._follow_the_positions())
            self._aside(self._follow_market_caps())
            tasks.create_task(self._engine.run(), name="engine")
            tasks.create_task(self._check_forever(), name="check")
            tasks.create_task(self._prices.run(), name="prices")
            tasks.create_task(self._pool.reload_forever(), name="pool")
            if not self.shard.whole:
                tasks.create_task(self._take_up_forever(), name="take up")

    async def _reach(self) -> list[SymbolInfo]:
        """The exchange's clock and symbols, asked for until it answers."""
        backoff = Backoff()
        while True:
            self._on_lifecycle(Lifecycle(ConnectionState.CONNECTING, statuses.now_ms()))
            await asyncio.sleep(self._engine.budget.delay())
            self._engine.budget.spend()
            try:
                self.clock = max(self.clock, await self._rest.server_time(attempts=1))
                return await self._rest.symbols(attempts=1)
            except RestError as error:
                wait = max(backoff.next(1.0), error.refusal.retry_after or 0.0, self._engine.budget.delay())
                self._on_lifecycle(Lifecycle(ConnectionState.DISCONNECTED, statuses.now_ms(), str(error), wait))
                await asyncio.sleep(wait)

    # What can be asked of it

    async def reload(self) -> str:
        """Follow what changed in the database."""
        return await self._pool.reload()

    async def resync(self) -> str:
        """Ask the exchange for its symbols again, and follow. Raises RestError."""
        return await self._pool.update(await self._rest.symbols())

    async def _follow_the_volumes(self) -> None:
        """A day has closed: its volumes may make another Tier 1. The feed drives this, not a clock of ours."""
        try:
            log.info("%s: a day has closed: %s", self.exchange.pk, await self.resync())
            await self._follow_market_caps()
        except (RestError, DatabaseError) as error:
            log.warning("%s: the symbols could not be read again: %s", self.exchange.pk, error)

    async def _follow_market_caps(self) -> None:
        """At the start and when a day has closed; one connector asks for all."""
        if not self.shard.first:
            return
        try:
            if said := await marketcaps.refresh(simulated=self.exchange.is_sandbox):
                log.info("%s: %s", self.exchange.pk, said)
        except DatabaseError as error:
            log.warning("%s: market caps could not be stored: %s", self.exchange.pk, error)

    async def positions(self, user_id: int | None = None) -> str:
        """Read what users hold, with their own keys, and follow. Of several shards one reads for all; the others see it when they look."""
        if not self.shard.first:
            return await self.reload()
        said = await positions.sync(self.exchange, self._rest, user_id=user_id)
        await self.reload()
        return said

    async def _follow_the_positions(self) -> None:
        """At the start, and when an hour has closed; one that takes longer than an hour is not overtaken."""
        if self._reading_positions.locked() or not self.shard.first:
            return
        async with self._reading_positions:
            try:
                log.info("%s: %s", self.exchange.pk, await self.positions())
            except DatabaseError as error:
                log.warning("%s: the positions could not be followed: %s", self.exchange.pk, error)

    async def backfill(self) -> str:
        """Fill every series in Redis again from the exchange."""
        for watched in self.watched.values():
            self._spawn(self._refill.fill(watched, all_of_it=True))
        return f"filling {len(self.watched)} symbols in again"

    def redis_lost(self) -> None:
        """Redis was away, or came back without its memory."""
        self._refill.lost()

    def _note_trouble(self, error: str) -> None:
        """Show what keeps commits from the database; nothing when they go through again."""
        if error:
            self.status.set_error(error)
        elif self._troubled:
            self.status.error = ""
        self._troubled = bool(error)

    # Events

    def on_event(self, event: Event) -> None:
        """Take one event of the exchange. Returns at once: what needs waiting is done by tasks."""
        match event:
            case Candle():
                self._on_candle(event)
            case Ticker():
                self._tell_time(event.event_time)
                self._prices.take(event, statuses.now_ms())
            case Alive():
                self._tell_time(event.event_time)
            case Lifecycle():
                self._on_lifecycle(event)
            case StreamState():
                self._on_stream(event)
            case Rejected():
                self._count("rejected", "a frame could not be read (%s): %s", event.reason, event.sample)
            case Refused():
                self.status.set_error(f"refused: {event.reason}")
                self._count("refused", "the exchange refused: %s", event.reason)
            case Lost():
                self._count("lost", "%d frames were lost", event.frames)
            case GoingAway():
                log.info("%s: the exchange announced that it closes this connection: %s", self.exchange.pk, event.reason)

    def _tell_time(self, told: int) -> None:
        """Take the exchange's clock, ms UTC; 0 says nothing. It only runs on, but for a step, either way, that several frames show in a
        row: one frame with a wrong time would make candles due that nobody has traded yet.
        """
        if -FAR < told - self.clock < FAR:
            self._steps = 0
            if told > self.clock:
                self.clock = told
        elif told:
            self._steps += 1
            if self._steps >= STEPS_BELIEVED:
                self._steps = 0
                self._count("clock_steps", "the exchange's clock stepped by %d s", (told - self.clock) // 1000)
                self.clock = told

    def _count(self, name: str, message: str, *args: object) -> None:
        """Count something that should not happen, and log a sample: the first of each kind, then every power of two."""
        self.counters[name] += 1
        times = self.counters[name]
        if times & (times - 1) == 0:
            log.warning("%s: %s [%d so far]", self.exchange.pk, message % args, times)

    def _on_candle(self, event: Candle) -> None:
        self._tell_time(event.event_time)
        watched = self.watched.get(event.symbol)
        if watched is None or event.timeframe != BASE_TIMEFRAME:
            return
        received = self._received(event.symbol) if event.closed else 0
        if bars := watched.book.on_candle(event, received):
            self._closed(watched, bars)

    def _received(self, symbol: str) -> int:
        """When the frame of a symbol that is being taken came (ms UTC): the link noted it by a clock that only runs on."""
        return statuses.now_ms() - (self._feed_age(symbol) or 0)

    def _feed_age(self, symbol: str) -> int | None:
        """Milliseconds since the last frame of a symbol."""
        heard = self._engine.heard.get(symbol)
        return None if heard is None else int((time.monotonic() - heard) * 1000)

    def _on_stream(self, event: StreamState) -> None:
        watched = self.watched.get(event.stream.symbol)
        if watched is not None:
            watched.note_stream(event)

    def _on_lifecycle(self, event: Lifecycle) -> None:
        """Note the state of a connection, and tell everybody."""
        self._count_reconnect(event)
        self._connections[event.connection] = event
        status, before = self.status, self.status.connection_state
        status.connection_state = self._worst_connection()
        more: dict[str, object] = {}
        if event.state is ConnectionState.CONNECTED and status.connection_state == event.state:
            if before == event.state:
                return  # a planned replacement: nothing changed for anybody
            status.connected_at, status.error, status.retry_at = event.at, "", None
            self._first("started")
        elif event.state is ConnectionState.DISCONNECTED:
            wait = event.retry_in or 0.0
            status.connected_at, status.retry_at = None, event.at + int(wait * 1000)
            status.set_error(event.reason)
            more["retry_at"] = status.retry_at
            log.warning("%s: not connected: %s. Next attempt in %.0f s.", self.exchange.pk, event.reason, wait)
            self._first(f"starting, but not connected yet: {event.reason}. Next attempt in {wait:.0f} s")
        self._note(status.connection_state, event.reason)
        self._spawn(self._tell(f"exchange:{event.state}", event.reason, **more))

    def _count_reconnect(self, event: Lifecycle) -> None:
        """A connection stands again that had stood before. One that was replaced as planned never ceased to."""
        if event.state is not ConnectionState.CONNECTED:
            return
        before = self._connections.get(event.connection)
        if event.connection in self._stood and before is not None and before.state is not ConnectionState.CONNECTED:
            self.counters["reconnects"] += 1
            self._unproved_since = time.monotonic()
        self._stood.add(event.connection)

    def _worst_connection(self) -> str:
        found = {event.state for event in self._connections.values()}
        worst_first = (ConnectionState.DISCONNECTED, ConnectionState.CONNECTING, ConnectionState.CONNECTED)
        return str(next((state for state in worst_first if state in found), ConnectionState.IDLE))

    def _first(self, word: str) -> None:
        if not self.first_word.done():
            self.first_word.set_result(word)

    async def _tell(self, event: str, reason: str = "", **more: object) -> None:
        async def tell() -> None:
            await self.status.write(self._redis)
            await statuses.publish_lifecycle(self._redis, self.exchange.pk, self.status.said(event), reason, **more)

        await self._committer.try_redis(tell())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        try:
            return self._tasks.create_task(work)
        except RuntimeError:  # the connector is ending
            work.close()
            return None

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the way of a price: whatever it brings decides no alert."""
        self._spawn(work)

    # Closed candles

    def _closed(self, watched: Watched, bars: Iterable[Bar]) -> None:
        for bar in bars:
            self._evaluate(watched, watched.advance(bar), watched.book.closing(bar.open_time) or FETCHED, recovered=False)
        self._committer.nudge()

    def _evaluate(self, watched: Watched, advances: list[Advance], closing: Closing, *, recovered: bool) -> None:
        """Put what closed at one moment into the open batch, with the alerts it raises.

        ``recovered``: fetched by a warm-up; its alerts are delayed, and no close is announced.
        """
        batch = self._committer.batch
        for advance in advances:
            watched.readings[advance.series.timeframe] = advance.current
        for advance in advances:
            series = advance.series
            if drafts := self._evaluator.evaluate(advance, watched.readings, self.clock, recovered=recovered):
                origin = self._origin(advance, closing)
                batch.drafts += [draft._replace(origin=origin) for draft in drafts]
            batch.touched[series.symbol, series.timeframe] = series
            if series.timeframe == "1d" and advance.bar.open_time > self._last_day:
                self._last_day = advance.bar.open_time
                self._aside(self._follow_the_volumes())
            if not recovered:
                self._note_the_hour(advance.bar.open_time + series.step)
                value = store.indicator_value(series, advance.current)
                batch.closes.append(store.Close(series.symbol, series.timeframe, advance.bar, value))

    def _origin(self, advance: Advance, closing: Closing) -> Origin:
        series = advance.series
        return Origin(
            closing.by,
            closing.event_time or advance.bar.open_time + series.step,
            closing.received or None,
            statuses.now_ms(),
            self._feed_age(series.symbol),
        )

    def _note_the_hour(self, closed_at: int) -> None:
        """What users hold is read again once an hour, when its candles close: the feed drives this, not a clock of ours."""
        if closed_at >= self._next_hour:
            self._next_hour = closed_at // _HOUR * _HOUR + _HOUR
            self._aside(self._follow_the_positions())

    def _on_history(self, watched: Watched, history: History) -> None:
        """A warm-up ended: evaluate what was missed, then what closed meanwhile."""
        watched.note_readings(history.missed)
        fetched = FETCHED._replace(received=statuses.now_ms())
        for _, at_once in groupby(history.missed, key=lambda advance: advance.bar.open_time + advance.series.step):
            self._evaluate(watched, list(at_once), fetched, recovered=True)
        batch = self._committer.batch
        for series in watched.started:
            batch.touched[watched.symbol, series.timeframe] = series
            bars, readings = history.bars.get(series.timeframe, []), history.readings.get(series.timeframe)
            batch.histories.append(HistoryWrite(series, bars, readings))
        self._closed(watched, history.live)
        self._aside(self._fill_when_written(watched))

    async def _fill_when_written(self, watched: Watched) -> None:
        """Put into Redis what it lacks beside what the warm-up brought; before that is written, it lacks that as well."""
        await self._committer.drained()
        await self._refill.fill(watched)

    async def _check_forever(self) -> None:
        """Look for closes that are due, and for states that changed."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            for watched in self.watched.values():
                if watched.reading_back is None and watched.book.due(self.clock) is not None:
                    watched.reading_back = self._spawn(self._read_back(watched))
            self._look_for_mutes()
            self._judge()
            await self._committer.try_redis(self._states.write())

    def _look_for_mutes(self) -> None:
        """Once a close and symbol: a stream that shows less than what traded is mute, however live the connection is. It is subscribed to
        anew.
        """
        end = (self.clock - SHOWN_GRACE) // STEP * STEP
        if end > self._looked_at:
            self._looked_at, self._unlooked, self._look_from = end, set(self.watched), time.monotonic() + LAGS
        if time.monotonic() < self._look_from:
            return
        mute: list[Stream] = []
        for symbol in list(self._unlooked):
            watched = self.watched.get(symbol)
            if watched is not None and (watched.book.last is None or watched.book.last.open_time + STEP < end):
                continue  # what traded is not known yet
            self._unlooked.discard(symbol)
            if watched is None:
                continue
            price = self._prices.waiting[symbol][0] if symbol in self._prices.waiting else watched.price
            mute += [Stream(channel, symbol) for channel in watched.gone_mute(price, end)]
        for stream in self._engine.renew(mute):
            self._count("mute_streams", "%s went mute: %s", stream.symbol, stream.channel)
            self._on_stream(StreamState(stream, live=False, reason="it did not show what traded; subscribing anew"))

    async def _read_back(self, watched: Watched) -> None:
        """Ask REST for the candles that are due until they are final."""
        backoff = Backoff(0.5, 3.0)
        try:
            while (due := watched.book.due(self.clock)) is not None:
                if not await self._read_once(watched, *due):
                    await asyncio.sleep(backoff.next(0.2))
        finally:
            watched.reading_back = None

    async def _read_once(self, watched: Watched, start: int, end: int) -> bool:
        asked = self.clock
        priority = URGENT if watched.would_fire(self._evaluator) else NORMAL
        try:
            rows = await self._rest.candles(watched.symbol, BASE_TIMEFRAME, read_back_from(start), end, priority)
        except RestError as error:
            self._count("read_backs_failed", "a close could not be read back: %s", error)
            self.status.set_error(f"{watched.symbol}: a close could not be read back: {error}")
            return False
        bars = watched.book.on_history(rows, end, asked, fills_idle=self._adapter.fills_idle, received=statuses.now_ms())
        self._note_revisions(watched)
        self._closed(watched, bars)
        self.counters["read_back"] += len(bars)
        if len(bars) > (0 if self._adapter.flags_closes else 1):  # one at a time is how a close is confirmed where the stream has no flag
            self.counters["gaps_repaired"] += 1
        return bool(bars)

    def _note_revisions(self, watched: Watched) -> None:
        """A candle changed after its close: store it, count it, and mark the alerts it raised; they stay."""
        revisions, watched.book.revisions = watched.book.revisions, []
        batch = self._committer.batch
        for revision in revisions:
            self._count("revised", "%s: the candle of %d was revised", watched.symbol, revision.now.open_time)
            batch.histories.append(HistoryWrite(watched.series[BASE_TIMEFRAME], [revision.now]))
            batch.revised.append((watched.symbol, revision.now.open_time))

    # The pool, prices and states

    def _on_leave(self, symbol: str) -> None:
        self._prices.forget(symbol)
        self._states.forget(symbol)

    def _on_pool_change(self) -> None:
        self.status.symbols = len(self.watched)
        self._spawn(self._tell("symbols:changed"))

    async def _announce_all(self) -> None:
        self._states.changed_all()
        await self._tell("symbols:changed")

    async def _take_up_forever(self) -> None:
        """Look whether another shard died with alerts that it had committed and not published."""
        while True:
            await asyncio.sleep(TAKE_UP_INTERVAL)
            await self._committer.try_redis(self._committer.publisher.take_up())

    async def _put_prices_out(self, prices: Collection[Price]) -> None:
        for ticker, _ in prices:
            if (watched := self.watched.get(ticker.symbol)) is not None:
                watched.price = ticker
        await self._committer.try_redis(store.write_tickers(self._redis, self.exchange.pk, prices))

    def _behind(self) -> str:
        """Why nothing may be shown as live, though the exchange is connected and by its own clock nothing is overdue.

        A connection that was lost proves itself by data: an exchange that has fallen silent accepts another one, and says nothing on it
        either.
        """
        if self._unproved_since is not None:
            if max(self._engine.heard.values(), default=0.0) < self._unproved_since:
                return "connected again, but no data yet"
            self._unproved_since = None
        waited = self._committer.behind
        return f"closed candles have waited {waited:.0f} s to be stored" if waited > STORED_WITHIN else ""

    def _judge(self) -> None:
        """The state of every symbol, and of the exchange, from what is known now."""
        status, loaded = self.status, 0
        connected = status.connection_state == ConnectionState.CONNECTED
        behind = self._behind()
        for symbol, watched in self.watched.items():
            loaded += watched.loaded
            found = watched.state(self.clock, connected=connected, error=status.error, stale_after=STALE_AFTER, behind=behind)
            self._states.set(symbol, *found)
        status.warmup = loaded / len(self.watched) if loaded < len(self.watched) else None
        status.counters = {**self.counters, "warm_ups_failed": self._pool.failures}
        figures = self._measuring.look(self._prices.times)
        if figures is not None:
            self._prices.times.clear()
            status.figures = figures
        state = "offline" if not connected else self._states.overall(warming=status.warmup is not None)
        if status.set_state(state):
            reason = status.error if state == "offline" else self._states.why(state)
            self._note(state, reason)
            self._spawn(self._tell(f"exchange:{state}", reason))
