"""The only module that opens an exchange socket.

An ``Engine`` keeps a set of wanted streams flowing: it connects, subscribes at the pace the exchange allows, waits for the acknowledgement
*and* the first data of every stream, notices silence, backs off, and replaces a connection before the exchange cuts it. Data and the state
of the connection come out of it as one sequence of events, through ``emit``.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from itertools import count

from exchanges.adapters import Adapter
from exchanges.events import ConnectionState, Event, Lifecycle, Limits, Stream
from exchanges.link import Clocks, Link, LinkClosed, until_it_answers
from exchanges.pacing import Backoff, ConnectBudget
from exchanges.recorder import Recorder
from livermore.outbound import Reach

log = logging.getLogger(__name__)

STABLE_AFTER = 30.0
"""Seconds a connection must have lived before its end counts as a first failure again."""
ROTATE_EARLY = 600.0
"""Seconds before the exchange's own cut at which a connection is replaced."""
OVERLAP_MOST = 60.0
"""Seconds an old connection is kept while its replacement proves itself."""

Emit = Callable[[Event], None]


class Engine:
    """The connections to one exchange. ``want`` may be called at any time; ``run`` lasts until it is cancelled.

    ``reach``: where it may connect to. ``heard``: when the last frame of each symbol came, on whichever connection, as ``time.monotonic``
    had it. ``recorder``: takes down what every connection brings, and what becomes of it.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        websocket_url: str,
        limits: Limits,
        reach: Reach,
        emit: Emit,
        clocks: Clocks = Clocks(),  # noqa: B008  (immutable)
        recorder: Recorder | None = None,
    ) -> None:
        self.adapter, self.limits, self.emit, self.clocks, self.reach = adapter, limits, emit, clocks, reach
        self.recorder = recorder
        self.url = adapter.connect_url(websocket_url)
        self.budget = ConnectBudget(limits.connects_per_5min)
        self.requests = count(1)
        self.heard: dict[str, float] = {}
        self._slots: list[_Slot] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self.connects = 0
        self._ended_frames = 0

    @property
    def frames(self) -> int:
        """How many frames have come, over all connections there have been."""
        return self._ended_frames + sum(link.frames for link in self.links)

    @property
    def wanted(self) -> frozenset[Stream]:
        return frozenset().union(*(slot.wanted for slot in self._slots))

    @property
    def links(self) -> list[Link]:
        """The open connections."""
        return [slot.link for slot in self._slots if slot.link is not None]

    def want(self, streams: Iterable[Stream]) -> None:
        """Make ``streams`` the wanted set; running connections follow without a reconnect."""
        wanted = set(streams)
        for symbol in self.heard.keys() - {stream.symbol for stream in wanted}:
            del self.heard[symbol]
        for slot in self._slots:
            slot.drop(slot.wanted - wanted)
        missing = sorted(wanted - self.wanted)
        for slot in self._slots:
            room = self.limits.streams_per_connection - len(slot.wanted)
            slot.add(missing[: max(0, room)])
            missing = missing[max(0, room) :]
        while missing:
            slot = _Slot(self, len(self._slots))
            slot.add(missing[: self.limits.streams_per_connection])
            missing = missing[self.limits.streams_per_connection :]
            self._slots.append(slot)
            if self._running:
                self._launch(slot)

    def renew(self, streams: Iterable[Stream]) -> list[Stream]:
        """Subscribe anew to streams that have gone mute while others go on. Returns those that had data, or time for it."""
        streams = sorted(streams)
        return [renewed for link in self.links for renewed in link.renew(streams)]

    async def run(self) -> None:
        """Keep the wanted streams flowing. Cancelling it closes every connection."""
        self._running = True
        try:
            for slot in self._slots:
                self._launch(slot)
            await asyncio.Event().wait()
        finally:
            self._running = False
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, link: Link) -> None:
        """End a connection, and keep count of what it brought."""
        self._ended_frames += link.frames
        await link.close()

    def _launch(self, slot: "_Slot") -> None:
        task = asyncio.create_task(slot.run(), name=f"{self.adapter.id} connection {slot.number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Slot:
    """One connection's worth of streams, over however many sockets it takes."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine, self.number = engine, number
        self.wanted: set[Stream] = set()
        self.link: Link | None = None
        self._changed = asyncio.Event()

    def add(self, streams: Iterable[Stream]) -> None:
        streams = set(streams) - self.wanted
        self.wanted |= streams
        if streams and self.link is not None:
            self.link.add(streams)
        if streams:
            self._changed.set()

    def drop(self, streams: Iterable[Stream]) -> None:
        streams = set(streams)
        self.wanted -= streams
        if streams and self.link is not None:
            self.link.drop(streams)

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            if not self.wanted:
                self._changed.clear()
                await self._changed.wait()
            await asyncio.sleep(self.engine.budget.delay())
            opened = time.monotonic()
            try:
                await self._session()
            except LinkClosed as end:
                if time.monotonic() - opened > STABLE_AFTER and end.proved:
                    backoff.reset()
                await self._wait(end, backoff)

    async def _session(self) -> None:
        """One connection after another for as long as each hands over in time. Raises LinkClosed when one ends without a successor."""
        self._say(ConnectionState.CONNECTING)
        link = await self._open()
        while True:
            self.link = link
            link.add(self.wanted - link.wanted)
            link.drop(link.wanted - self.wanted)
            self._say(ConnectionState.CONNECTED)
            try:
                await link.until_rotation(self._rotation_age())
                link = await self._replace(link)
            except BaseException:
                self.link = None
                await self.engine.close(link)
                raise

    def _rotation_age(self) -> float | None:
        age = self.engine.limits.max_connection_age
        return max(age / 2, age - ROTATE_EARLY - random.uniform(0, ROTATE_EARLY / 2)) if age else None  # nosec B311  # for timing and statistics, not for secrecy

    async def _replace(self, old: Link) -> Link:
        """Open the new connection, see its data, close the old one. If the new one fails, the old one stays for as long as it lasts."""
        try:
            await asyncio.sleep(self.engine.budget.delay())
            new = await self._open()
        except LinkClosed as error:
            log.warning("%s: could not replace a connection in time: %s", self.engine.adapter.id, error)
            await old.until_rotation(None)
            raise
        try:
            new.add(self.wanted)
            async with asyncio.timeout(OVERLAP_MOST):
                await new.proved()
        except TimeoutError:
            log.warning("%s: a new connection did not deliver everything within %d s", self.engine.adapter.id, OVERLAP_MOST)
        except BaseException:
            await self.engine.close(new)
            raise
        self.link = new
        await self.engine.close(old)
        return new

    async def _open(self) -> Link:
        engine = self.engine
        engine.budget.spend()
        engine.connects += 1
        try:
            return await Link.connect(
                engine.adapter,
                engine.url,
                limits=engine.limits,
                emit=engine.emit,
                requests=engine.requests,
                heard=engine.heard,
                reach=engine.reach,
                clocks=engine.clocks,
                recorder=engine.recorder,
            )
        except LinkClosed as end:
            if end.unreachable:
                engine.budget.give_back()
            raise

    async def _wait(self, end: LinkClosed, backoff: Backoff) -> None:
        delay = backoff.next(floor=1.0 if end.was_open else 0.0)
        delay = max(delay, self.engine.budget.delay(), end.retry_after or 0.0)
        self._say(ConnectionState.DISCONNECTED, str(end), delay)
        if end.unreachable:
            await until_it_answers(self.engine.url, self.engine.reach, delay)
        else:
            await asyncio.sleep(delay)

    def _say(self, state: ConnectionState, reason: str = "", retry_in: float | None = None) -> None:
        event = Lifecycle(state, time.time_ns() // 1_000_000, reason, retry_in, self.number)
        if self.engine.recorder is not None:
            self.engine.recorder.connection(event)
        self.engine.emit(event)
