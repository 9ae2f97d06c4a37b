"""A process that hosts exchanges: idle until told to start, one connector per exchange, its status beating for everybody to see."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence

from django.db import Error as DatabaseError
from redis.asyncio import Redis

from alerts import services
from alerts.services import Fenced
from exchanges import control
from exchanges.control import Answer, Command
from exchanges.journal import Journal
from exchanges.lease import lease_of
from exchanges.models import STATES, Exchange
from exchanges.pacing import Backoff
from exchanges.recorder import Recorder
from exchanges.rest import RestClient, RestError
from exchanges.shards import WHOLE, Shard
from exchanges.status import HEARTBEAT, Status, publish_lifecycle, unwatch
from livermore import bus, keys, logs, positions
from livermore.bus import FAILURES
from livermore.crossing import Crossing
from livermore.db import db
from livermore.runtime import Connector
from livermore.witness import Witness
from symbols.services import symbols_update

log = logging.getLogger(__name__)

LEASE_CHECK = 1.0
"""Seconds between two looks at the lease; also how fast a Redis that lost its memory is noticed."""
STANDBY_CHECK = 0.5
"""The same, of a standby: what it waits here, nobody watches."""
FIRST_WORD = 9.0
"""Seconds a start waits to say what really happened."""
STOPPING = 2.5
MOST_WAITED = 5.0
"""Seconds between two attempts to start while the database does not answer."""

Show = Callable[[Status], None]
"""Shown after every change, for a terminal."""
Revive = Callable[[], None]
"""Starts a Redis that is ours to start, when it is gone."""
Record = Callable[[Exchange], Recorder]
"""Begins a recording of what a connector hears."""
Watch = Callable[[Iterable["Host"]], None]
"""Told whom it hosts, for who measures."""


class Host:
    """One hosted exchange. It holds the lease, answers commands, and keeps the connector going once it is started."""

    def __init__(
        self,
        exchange: Exchange,
        redis: Redis,
        *,
        autostart: bool,
        show: Show,
        revive: Revive,
        record: Record | None = None,
        shard: Shard = WHOLE,
    ) -> None:
        self.exchange, self.shard = exchange, shard
        self.id = exchange.pk
        self.name = self.id if shard.whole else f"{self.id} {shard}"
        self.status = Status(exchange.pk, shard)
        self.connector: Connector | None = None
        self._autostart, self._show, self._revive, self._redis = autostart, show, revive, redis
        self._to_start = False
        self._record = record
        self._lease = lease_of(redis, exchange.pk, shard)
        self._witness = Witness(redis, lambda number: keys.exchange_witness(exchange.pk, str(shard), number))
        self.journal = Journal(exchange.pk)
        self._spoke = False
        self._alone: dict[Shard, int] = {}
        self._holds = False
        self._told_standby = False
        self._runner: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def role(self) -> str:
        """What this process is to the exchange: "holds" its lease, "stands by" for who does, or "" while Redis has not said."""
        return "holds" if self._holds else "stands by" if self._told_standby else ""

    async def run(self) -> None:
        """Hold the lease (or wait for it), and beat, until cancelled."""
        logs.about(exchange=self.id, shard="" if self.shard.whole else str(self.shard))
        beat, away = 0.0, False
        writer = asyncio.create_task(self.journal.run(), name=f"{self.id} journal")
        try:
            while True:
                if self._holds and self.status.speaks:
                    self.journal.beat()
                try:
                    await self._check_lease()
                    away = False
                    if self._holds and (beat := beat - LEASE_CHECK) <= 0:
                        await self.status.write(self._redis)
                        await self._speak_for_all()
                        beat = HEARTBEAT if self.connector is None and self.shard.whole else LEASE_CHECK
                    if self._holds and self._to_start:
                        await self._start_when_there_is_a_database()
                except FAILURES as error:
                    if not away:
                        log.warning("%s: Redis cannot be reached: %s", self.name, error)
                    beat, away = 0.0, True
                    if self.connector is not None:
                        self.connector.redis_lost()
                    await asyncio.to_thread(self._revive)
                self._show(self.status)
                await asyncio.sleep(LEASE_CHECK if self._holds else STANDBY_CHECK)
        finally:
            await self._leave()
            await self.journal.close(writer)

    async def _check_lease(self) -> None:
        if self._holds:
            if await self._lease.renew():
                if await self._witness.lost() and self.connector is not None:
                    log.warning("%s: a node of Redis came back without its memory", self.name)
                    self.connector.redis_lost()
                return
            if await self._lease.acquire():
                if self.connector is not None:
                    self.connector.redis_lost()
                return
            self._holds = False  # first of all: from here on the other one answers and has the status
            log.warning("%s: %s has taken over", self.name, await self._lease.holder() or "another process")
            await self._stop()
            return
        if await self._lease.acquire():
            self._holds, self._told_standby = True, False
            log.info("%s: hosted here, %s", self.name, "starting" if self._autostart else "idle until told to start")
            self.journal.begin()
            self._to_start = self._autostart
            if not self._autostart:
                self._note("idle", f"hosted by process {os.getpid()} on {socket.gethostname()}")
        elif not self._told_standby:
            self._told_standby = True
            log.warning("%s: %s runs it; waiting as its standby", self.name, await self._lease.holder() or "another process")

    def _note(self, event: str, reason: str = "") -> None:
        """Keep what happens for the record. What the exchange as a whole is, of several shards one says for all."""
        if self.shard.whole:
            self.journal.note(event, reason)
        elif event not in STATES:
            self.journal.note(event, f"shard {self.shard}: {reason}" if reason else f"shard {self.shard}")

    async def _speak_for_all(self) -> None:
        """Of an exchange in shards: note what they are together, and say of those without a process that nobody watches their symbols."""
        if self.shard.whole:
            return
        if self.status.speaks:
            if not self._spoke:
                self.journal.begin()
            self.journal.note(self.status.together["state"], self.status.together["error"])
        self._spoke = self.status.speaks
        self._alone = {shard: self._alone.get(shard, 0) + 1 for shard in self.status.alone}
        for shard, looks in self._alone.items():
            # At the second look: a standby that was there has taken over by then, and speaks for its symbols itself.
            if looks == 2 and await unwatch(self._redis, self.id, shard):
                log.warning("%s: no process runs shard %s", self.name, shard)

    async def _start_when_there_is_a_database(self) -> None:
        async with self._lock:
            try:
                if self.connector is None:
                    await self._start()
                self._to_start = False
            except DatabaseError as error:
                if not self.status.error:
                    log.warning("%s: it starts when the database answers: %s", self.name, error)
                self.status.set_error(f"it starts when the database answers: {error}")

    async def handle(self, command: Command) -> Answer | None:
        """Carry a command out. None when another process holds this exchange: it will answer."""
        if not self._holds:
            return None
        log.info("%s: %s, asked by %s", self.name, command.action, command.by or "somebody")
        async with self._lock:
            try:
                answer = await self._carry_out(command)
            except DatabaseError as error:
                answer = Answer(False, f"the database did not answer: {error}")
            return answer if self.shard.whole else answer._replace(shard=str(self.shard))

    async def _carry_out(self, command: Command) -> Answer:
        match command.action:
            case "start":
                return await self._start_and_tell()
            case "stop":
                return await self._stop_and_tell()
            case "restart":
                await self._stop()
                answer = await self._start_and_tell()
                return Answer(answer.ok, answer.message.replace("started", "restarted", 1))
            case "resync" | "positions":
                return await self._ask_the_exchange(command)
            case _:
                return await self._pass_on(command.action)

    async def _start_and_tell(self) -> Answer:
        if self.connector is not None:
            return Answer(True, "already running")
        connector = await self._start()
        try:
            async with asyncio.timeout(FIRST_WORD):
                word = await asyncio.shield(connector.first_word)
        except TimeoutError:
            return Answer(True, "starting; the exchange has not answered yet")
        return Answer(word == "started", word)

    async def _stop_and_tell(self) -> Answer:
        self._to_start = False
        if self.connector is None:
            return Answer(True, "already stopped")
        await self._stop()
        return Answer(True, "stopped")

    async def _pass_on(self, action: str) -> Answer:
        if self.connector is None:
            # The database holds what was changed; a start reads it.
            return Answer(True, "idle: it will follow at its next start")
        return Answer(True, await getattr(self.connector, action)())

    async def _ask_the_exchange(self, command: Command) -> Answer:
        """What takes a question to the exchange: also an idle one answers it, over REST alone."""
        try:
            if self.connector is not None:
                if command.action == "resync":
                    return Answer(True, await self.connector.resync())
                return Answer(True, await self.connector.positions(command.user_id))
            await db(self.exchange.refresh_from_db)()
            exchange = self.exchange
            async with RestClient(exchange.protocol, exchange.rest_url, exchange.effective_limits, reach=exchange.reach) as rest:
                if command.action == "positions":
                    if not self.shard.first:
                        return Answer(True, "read by the first shard")
                    return Answer(True, await positions.sync(self.exchange, rest, user_id=command.user_id))
                members = await db(symbols_update)(exchange=self.exchange, infos=await rest.symbols(attempts=1))
                return Answer(True, f"{len(members)} symbols chosen; it will follow them at its next start")
        except RestError as error:
            return Answer(False, f"the exchange did not answer: {error}")

    async def _start(self) -> Connector:
        await db(self.exchange.refresh_from_db)()
        connector = await self._connector()
        self._runner = asyncio.create_task(self._keep_running(connector), name=f"{self.id} connector")
        return connector

    async def _connector(self) -> Connector:
        fence, epoch = await db(services.sequence_take_over)(exchange_id=self.id, shard=self.shard)
        self.status.set_state("offline")
        self._note("offline", "starting")
        self.connector = Connector(
            self.exchange,
            self._redis,
            self.status,
            fence=fence,
            epoch=epoch,
            shard=self.shard,
            note=self._note,
            recorder=self._recorder(),
        )
        return self.connector

    def _recorder(self) -> Recorder | None:
        """A recording of what the connector is going to hear. One that cannot be made keeps nobody from his alerts."""
        if self._record is None:
            return None
        try:
            recorder = self._record(self.exchange)
        except OSError as error:
            log.error("%s: it is not recorded: %s", self.name, error)
            return None
        log.info("%s: recording into %s", self.name, recorder.path)
        return recorder

    async def _keep_running(self, connector: Connector) -> None:
        """Run the connector; one that fell over, by our own fault or for want of the database, is started again."""
        logs.about(exchange=self.id, shard="" if self.shard.whole else str(self.shard))
        faults, waits = Backoff(1.0, 60.0), Backoff(1.0, MOST_WAITED)
        while True:
            backoff = faults
            try:
                await connector.run()
            except Exception as error:
                if (fenced := _found(error, Fenced)) is not None:
                    log.warning("%s: %s; stepping back", self.name, fenced)
                    self._holds, self.connector = False, None
                    self.status.set_state("idle")
                    return
                if (away := _found(error, DatabaseError)) is not None:
                    backoff = waits
                    log.warning("%s: the connector starts again when the database answers: %s", self.name, away)
                    self.status.set_error(f"the connector starts again when the database answers: {away}")
                else:
                    log.exception("%s: the connector fell over; it starts again", self.name)
                    self.status.set_error("the connector fell over; it starts again (the log says why)")
            self._note("offline", self.status.error)
            await asyncio.sleep(backoff.next(1.0))
            connector = await self._next_connector(waits)

    async def _next_connector(self, backoff: Backoff) -> Connector:
        """The connector that takes the place of one that fell over, as soon as the database answers."""
        while True:
            try:
                return await self._connector()
            except DatabaseError as error:
                self.status.set_error(f"the connector starts again when the database answers: {error}")
                await asyncio.sleep(backoff.next(1.0))

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner], timeout=STOPPING)
        if self.connector is None:
            return
        self.connector = None
        status = self.status
        status.set_state("idle")
        status.connection_state, status.connected_at, status.symbols, status.warmup, status.retry_at = "idle", None, 0, None, None
        status.error, status.error_at, status.counters, status.figures = "", None, {}, {}
        if not self._holds:
            return
        self._note("idle", "stopped")
        try:
            async with asyncio.timeout(2.0):
                await status.clear(self._redis)
                await status.write(self._redis)
                await publish_lifecycle(self._redis, self.id, status.said("exchange:disconnected"), "stopped")
        except FAILURES as error:
            log.warning("%s: could not say that it stopped: %s", self.name, error)

    async def _leave(self) -> None:
        await self._stop()
        if not self._holds:
            return
        self._note("offline", "its process ended")
        try:
            async with asyncio.timeout(1.0):
                await self.status.clear(self._redis)
                await publish_lifecycle(self._redis, self.id, self.status.said("exchange:offline"), "its process ended")
                await self._lease.release()
        except FAILURES as error:
            log.warning("%s: could not give the lease up: %s", self.name, error)


def _found(error: BaseException, kind: type[Exception]) -> BaseException | None:
    """What of that kind is among what ended a connector: that another one has taken over, or that the database is away."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _found(one, kind)) is not None), None)
    return error if isinstance(error, kind) else None


async def host(
    exchanges: Sequence[Exchange],
    autostart: frozenset[str],
    show: Show = lambda status: None,
    revive: Revive = lambda: None,
    record: Record | None = None,
    shard: Shard = WHOLE,
    watch: Watch = lambda hosts: None,
) -> None:
    """Host these exchanges, or a shard of each, until cancelled; those in ``autostart`` start at once.

    ``record``: each start of one is recorded.
    """
    redis = bus.connect()
    hosts = {
        exchange.pk: Host(exchange, redis, autostart=exchange.pk in autostart, show=show, revive=revive, record=record, shard=shard)
        for exchange in exchanges
    }

    watch(hosts.values())

    async def handle(command: Command) -> Answer | None:
        return await hosts[command.exchange_id].handle(command) if command.exchange_id in hosts else None

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(control.serve(list(hosts), handle), name="control")
            tasks.create_task(Crossing(redis).run(), name="crossing")
            for one in hosts.values():
                tasks.create_task(one.run(), name=f"{one.id} host")
    finally:
        await redis.aclose()
