"""A TCP proxy to stand in front of Redis or PostgreSQL, which fails on demand as networks do: late, slow, silent, cut, refused.

In a test::

    async with Proxy("127.0.0.1", 5432, seed=7) as proxy:
        url = f"postgres://livermore@{proxy.host}:{proxy.port}/livermore"
        proxy.set("latency", seconds=0.05, jitter=0.02)
        proxy.set("black-hole", direction="down")   # requests are carried out, their answers do not come
        proxy.clear()
        await proxy.play(schedule(seed=7, seconds=60))

One seed is one run: it decides the schedule and every delay that is drawn. Bytes are held back, never lost or altered, since TCP
sends them again; a connection that is cut loses what was on its way.
"""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

Argument = float | str
UP, DOWN = "up", "down"
"""To the server, and from it."""

FAULTS: Mapping[str, Mapping[str, Argument]] = {
    "latency": {"seconds": 0.05, "jitter": 0.02},  # every chunk comes so much later, in order, each way
    "slow": {"rate": 20_000.0},  # bytes a second, each way of each connection
    "black-hole": {"direction": "both"},  # connections stand, nothing passes: up, down or both
    "cut": {"after": 0.0},  # open connections end, once so many more bytes of answers have passed
    "reset": {"after": 0.0},  # the same, without a goodbye
    "refuse": {},  # new connections are reset
}
"""Faults by name, with their arguments and what these are unless said otherwise."""
LASTING = ("latency", "slow", "black-hole", "refuse")
"""Faults that stay until they are cleared; the others strike once."""
_CHUNK = 65_536
_QUEUED = 64


@dataclass(frozen=True, slots=True)
class Step:
    """A fault of a schedule: ``at`` seconds after its start, for ``seconds``."""

    at: float
    fault: str
    seconds: float
    arguments: Mapping[str, Argument] = field(default_factory=dict)


def schedule(
    seed: int, seconds: float, faults: Iterable[str] = FAULTS, *, quiet: tuple[float, float] = (1.0, 8.0), most: float = 4.0
) -> list[Step]:
    """Faults for that many seconds, one after the other, with ``quiet`` seconds between and each for ``most`` at the most. Pure."""
    rng, names = random.Random(f"proxy {seed}"), list(faults)
    steps: list[Step] = []
    at = rng.uniform(*quiet)
    while at < seconds:
        fault = rng.choice(names)
        lasting = min(rng.uniform(0.2, most), seconds - at) if fault in LASTING else 0.0
        steps.append(Step(round(at, 3), fault, round(lasting, 3), _drawn(rng, fault)))
        at += lasting + rng.uniform(*quiet)
    return steps


def _drawn(rng: random.Random, fault: str) -> dict[str, Argument]:
    match fault:
        case "latency":
            return {"seconds": round(rng.uniform(0.01, 0.3), 3), "jitter": round(rng.uniform(0, 0.2), 3)}
        case "slow":
            return {"rate": float(rng.choice([500, 5_000, 50_000]))}
        case "black-hole":
            return {"direction": rng.choice([UP, DOWN, "both"])}
        case "cut" | "reset":
            return {"after": float(rng.choice([0, 1, 30, 400]))}
    return {}


class Proxy:
    """Listens on a free port of loopback while the context is open, and passes connections on to a host's port or to a unix socket."""

    def __init__(self, host: str, port: int | None = None, *, seed: int = 0) -> None:
        """``host`` without a port is the path of a unix socket."""
        self._upstream, self._upstream_port, self._seed = host, port, seed
        self.host, self.port = "127.0.0.1", 0
        self.accepted = 0
        self.passed = {UP: 0, DOWN: 0}
        """Bytes that came through, by direction."""
        self._faults: dict[str, dict[str, Argument]] = {}
        self._lines: set[_Line] = set()
        self._gates = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._server: asyncio.Server | None = None

    @property
    def open(self) -> int:
        """How many connections stand."""
        return len(self._lines)

    async def __aenter__(self) -> Self:
        self._set_gates()
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.clear()
        await asyncio.gather(*(line.end() for line in list(self._lines)))

    def set(self, fault: str, **arguments: Argument) -> None:
        """Switch a fault on; those that strike once, strike what is open now. Raises ValueError for one that is not known."""
        if fault not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}; known: {', '.join(FAULTS)}")
        if unknown := arguments.keys() - FAULTS[fault].keys():
            raise ValueError(f"{fault} has no {', '.join(unknown)}; it has: {', '.join(FAULTS[fault]) or 'nothing to set'}")
        settings = {**FAULTS[fault], **arguments}
        if fault in LASTING:
            self._faults[fault] = settings
            self._set_gates()
        else:
            for line in list(self._lines):
                line.cut(int(settings["after"]), reset=fault == "reset")

    def clear(self, fault: str | None = None) -> None:
        """Switch one lasting fault off, or all."""
        for name in [fault] if fault else list(self._faults):
            self._faults.pop(name, None)
        self._set_gates()

    async def play(self, steps: Iterable[Step]) -> None:
        """Set and clear what a schedule says, when it says so. Cancelling it clears everything."""
        began = time.monotonic()
        try:
            for step in steps:
                await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
                self.set(step.fault, **step.arguments)
                await asyncio.sleep(step.seconds)
                self.clear(step.fault)
        finally:
            self.clear()

    def _set_gates(self) -> None:
        shut = self._faults.get("black-hole", {}).get("direction")
        for way, gate in self._gates.items():
            gate.clear() if shut in (way, "both") else gate.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        number = self.accepted
        if "refuse" in self._faults:
            return _reset(writer)
        try:
            if self._upstream_port is None:
                server = await asyncio.open_unix_connection(self._upstream)
            else:
                server = await asyncio.open_connection(self._upstream, self._upstream_port)
        except OSError:
            return _reset(writer)
        line = _Line(self, (reader, writer), server, number)
        self._lines.add(line)
        try:
            await line.run()
        finally:
            self._lines.discard(line)
        return None

    def delay(self, rng: random.Random) -> float:
        """Seconds that a chunk is held back."""
        late = self._faults.get("latency")
        return float(late["seconds"]) + rng.uniform(0, float(late["jitter"])) if late else 0.0

    @property
    def rate(self) -> float | None:
        """Bytes a second; None for no limit."""
        slow = self._faults.get("slow")
        return float(slow["rate"]) if slow else None

    async def passable(self, way: str) -> None:
        """Wait while a black hole swallows this direction."""
        await self._gates[way].wait()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: Streams, server: Streams, number: int) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._rngs = {way: random.Random(f"{proxy._seed} {number} {way}") for way in (UP, DOWN)}
        self._answers_left: int | None = None
        self._reset = False
        self._ended = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Until either side ends, or the line is cut."""
        pumps = [
            asyncio.create_task(self._pump(UP, self._client[0], self._server[1])),
            asyncio.create_task(self._pump(DOWN, self._server[0], self._client[1])),
            asyncio.create_task(self._ended.wait()),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for _, writer in (self._client, self._server):
                _reset(writer) if self._reset else writer.close()
            self._over.set()

    def cut(self, after: int, *, reset: bool) -> None:
        """End it when so many more bytes of answers have passed."""
        self._reset, self._answers_left = reset, after
        if not after:
            self._ended.set()

    async def end(self) -> None:
        self._ended.set()
        await self._over.wait()

    async def _pump(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read on while chunks wait for their moment: latency costs no throughput."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(way, queue, writer))
            chunk = b"something"
            while chunk:
                chunk = await _read(reader)
                await queue.put((time.monotonic() + self._proxy.delay(self._rngs[way]), chunk))

    async def _write(self, way: str, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            due, chunk = await queue.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not chunk:  # its sender has closed
                await self._proxy.passable(way)
                return
            while chunk:
                await self._proxy.passable(way)
                piece, chunk = self._next_piece(way, chunk)
                writer.write(piece)
                await writer.drain()
                self._proxy.passed[way] += len(piece)
                if way == DOWN and self._answers_left == 0:
                    self._ended.set()
                    return
                if rate := self._proxy.rate:
                    await asyncio.sleep(len(piece) / rate)

    def _next_piece(self, way: str, chunk: bytes) -> tuple[bytes, bytes]:
        size = len(chunk)
        if rate := self._proxy.rate:
            size = min(size, max(1, int(rate / 20)))
        if way == DOWN and self._answers_left is not None:
            size = min(size, self._answers_left)
            self._answers_left -= size
        return chunk[:size], chunk[size:]


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The next bytes; none when the sender has closed, however."""
    try:
        return await reader.read(_CHUNK)
    except ConnectionError:
        return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection without a goodbye: its other side reads a reset."""
    bound = writer.get_extra_info("socket")
    if bound is not None and bound.family == socket.AF_INET:
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
