"""One websocket of a simulated exchange: takes what the session wants to send through the fault switches, and onto the socket."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CLOSE, PONG
from websockets.frames import Frame as Wire

from exchanges.sandbox.faults import Fault, Faults
from exchanges.sandbox.mangling import mangled, sliced, swapped
from exchanges.sandbox.protocol import Close, Exchange, Frame, Output, Session

log = logging.getLogger(__name__)

SHORTEST_SLEEP = 0.02
"""Real seconds: frames due within it go out together, which is what keeps a fast market cheap."""
_LONGEST_SLEEP = 60.0
_PONG_SECONDS = 60.0
CUT = 1006
"""The close code that means: no closing handshake."""


class Connection:
    """Created at the handshake, run with its socket."""

    def __init__(self, exchange: Exchange, session: Session) -> None:
        self._exchange, self._session = exchange, session
        self._venue, self._faults, self._clock = exchange.venue.id, exchange.faults, exchange.clock
        self._opened = time.monotonic()
        self._seen: set[int] = set()
        self._held: str | bytes | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._mute = self._faults.hit("mute", self._venue) is not None

    async def run(self, socket: ServerConnection) -> None:
        """Until either side closes."""
        self._hold_back(socket)
        self._clock.listen(self._wake.set)
        self._faults.listen(self._wake.set)
        self._exchange.counters["open"] += 1
        for job in (self._pump(socket), self._ping(socket), self._expect(socket)):
            self._start(socket, job)
        try:
            await self._read(socket)
        except ConnectionClosed:
            pass
        finally:
            self._exchange.counters["open"] -= 1
            self._clock.unlisten(self._wake.set)
            self._faults.unlisten(self._wake.set)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hold_back(self, socket: ServerConnection) -> None:
        """Pongs and the closing handshake are the library's own answers: faults keep them from the line."""
        send = socket.protocol.send_frame

        def send_frame(frame: Wire) -> None:
            lasting = self._faults.lasting
            if frame.opcode is PONG and lasting("no-pong", self._venue):
                return
            if frame.opcode in (PONG, CLOSE) and lasting("black-hole", self._venue):
                return
            send(frame)

        socket.protocol.send_frame = send_frame  # type: ignore[method-assign]

    def _start(self, socket: ServerConnection, job: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(self._guarded(socket, job)))

    async def _guarded(self, socket: ServerConnection, job: Coroutine[None, None, None]) -> None:
        """A failure of ours must not look like an exchange that went silent."""
        try:
            await job
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("a connection of %s failed", self._venue)
            await socket.close(1011)

    async def _read(self, socket: ServerConnection) -> None:
        if fault := self._faults.hit("accept-then-close", self._venue):
            await asyncio.sleep(fault.number("seconds"))
            await _close(socket, int(fault.number("code")))
            return
        async for message in socket:
            self._exchange.counters["messages"] += 1
            await passable(self._faults, self._venue)
            message = swapped(str(message), names) if (names := self._exchange.names()) else message
            async with self._lock:
                await self._deliver(socket, self._session.receive(message, self._clock.now(), time.monotonic()))
            self._wake.set()

    async def _pump(self, socket: ServerConnection) -> None:
        """Send what is due, sleep until more is, or until the clock, the subscriptions or the faults change."""
        while True:
            self._wake.clear()
            await self._strike(socket)
            async with self._lock:
                await self._deliver(socket, self._session.advance(self._clock.now()))
            due = self._session.next_due
            seconds = _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, max(SHORTEST_SLEEP, self._clock.seconds_until(due)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, self._until_fault())):
                    await self._wake.wait()

    def _until_fault(self) -> float:
        """Real seconds until a fault that was set for later begins."""
        now = time.monotonic()
        return min((fault.starts - now for fault in self._faults.active() if fault.starts > now), default=_LONGEST_SLEEP)

    async def _strike(self, socket: ServerConnection) -> None:
        """Faults that befall a connection as a whole."""
        if fault := self._once("disconnect"):
            await _close(socket, int(fault.number("code")), fault.text("reason"))
        if self._once("sequence-reset"):
            self._session.reset_sequence()
        if fault := self._once("lost-subscription"):
            self._session.forget(fault.text("channel"), fault.text("symbol"))
        for fault in self._faults.lasting("ping-flood", self._venue):
            if fault.id not in self._seen:
                self._seen.add(fault.id)
                self._start(socket, self._flood(socket, fault))
        if fault := self._once("shutdown"):
            async with self._lock:
                await self._deliver(socket, self._session.announce_shutdown(self._clock.now()))
            self._start(socket, _close_later(socket, fault.number("seconds")))

    async def _flood(self, socket: ServerConnection, fault: Fault) -> None:
        while fault in self._faults.lasting("ping-flood", self._venue):
            for _ in range(max(1, int(fault.number("rate") / 20))):
                fault.struck += 1
                await socket.ping()
            await asyncio.sleep(0.05)

    def _once(self, name: str) -> Fault | None:
        return self._faults.hit_connection(name, self._venue, self._opened, self._seen)

    async def _deliver(self, socket: ServerConnection, outputs: list[Output] | list[Frame]) -> None:
        for output in outputs:
            if isinstance(output, Close):
                self._exchange.counters["rules_broken"] += 1
                await _close(socket, output.code, output.reason)
                return
            if not self._suppressed(output):
                await self._send(socket, output)

    def _suppressed(self, frame: Frame) -> bool:
        if self._mute:
            return True
        hit, target = self._faults.hit, {"symbol": frame.symbol, "channel": frame.channel}
        if hit("silence", self._venue, **target) or self._faults.lasting("black-hole", self._venue):
            return True
        if frame.channel == "ack":
            return hit("no-ack", self._venue) is not None
        if frame.symbol and any(hit(name, self._venue, symbol=frame.symbol) for name in ("halt", "delist")):
            return True
        return bool(hit("dead", self._venue, **target) or hit("ack-then-silence", self._venue, **target))

    async def _send(self, socket: ServerConnection, frame: Frame) -> None:
        text: str | bytes = self._session.seal(frame)
        if names := self._exchange.names():
            text = swapped(str(text), names)
        hit, target = self._faults.hit, {"symbol": frame.symbol, "channel": frame.channel}
        if hit("gap", self._venue, **target):
            return
        if fault := hit("corrupt", self._venue, **target):
            text = mangled(str(text), fault.text("form"))
        if fault := hit("late", self._venue, **target):
            await asyncio.sleep(fault.number("seconds"))
        if fault := hit("sliced", self._venue, **target):
            self._exchange.counters["frames"] += 1
            await socket.send(sliced(text, int(fault.number("size"))), text=True)
            return
        if self._held is None and hit("reorder", self._venue, **target):
            self._held = text
            return
        await self._write(socket, text)
        if hit("duplicate", self._venue, **target):
            await self._write(socket, text)
        if self._held is not None:
            held, self._held = self._held, None
            await self._write(socket, held)

    async def _write(self, socket: ServerConnection, text: str | bytes) -> None:
        self._exchange.counters["frames"] += 1
        await socket.send(text, text=True)

    async def _ping(self, socket: ServerConnection) -> None:
        """Binance pings its clients and drops those that do not answer; Coinbase sends no pings."""
        if not self._exchange.venue.ping_seconds:
            return
        while True:
            await asyncio.sleep(self._exchange.venue.ping_seconds)
            try:
                async with asyncio.timeout(_PONG_SECONDS):
                    await (await socket.ping())
            except TimeoutError:
                await _close(socket, 1008, "Pong timeout")

    async def _expect(self, socket: ServerConnection) -> None:
        """Close a connection that does not subscribe in time, where the exchange does so."""
        if self._session.deadline is None:
            return
        await asyncio.sleep(self._session.deadline)
        if not self._session.subscribed:
            ending = self._session.expire()
            self._exchange.counters["rules_broken"] += 1
            await _close(socket, ending.code, ending.reason)


async def passable(faults: Faults, venue: str) -> None:
    """Wait while a black hole swallows what goes to a venue."""
    while faults.lasting("black-hole", venue):  # noqa: ASYNC110  (a fault ends by itself: nothing tells of it)
        await asyncio.sleep(SHORTEST_SLEEP)


async def _close(socket: ServerConnection, code: int, reason: str = "") -> None:
    if code == CUT:
        socket.transport.abort()
    else:
        await socket.close(code, reason)


async def _close_later(socket: ServerConnection, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await _close(socket, 1001)
