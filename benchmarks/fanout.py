"""One message to many sockets: our feed on daphne, against the Channels tutorial on daphne and against a library's bare broadcast."""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.conf import settings
from redis.asyncio import Redis

from benchmarks import broadcast, followed, textbook
from benchmarks.pages import Page, open_pages
from benchmarks.peer import Peers
from benchmarks.rows import Of, Point, Row, at_most, compared, single, times_better
from benchmarks.surroundings import DAPHNE, EXCHANGE_ID, UVICORN, child, free_port, listening, resident_mb
from benchmarks.timing import Effort
from livermore import bus, keys
from livermore.db import db

TITLE = "Fan-out: one message to many sockets"
BURST = 50
_OTHER_ID = "coinbase-sandbox"
"""Another seeded row, for the pages on uvicorn."""
_PACE = 0.2
"""Seconds between two messages."""
_REST, _BETWEEN = 0.25, 0.02
"""Seconds before a burst, and between those of which a page reads nothing."""
_PATIENCE = 60.0
_BUSY = 0.7
"""Share of a core above which our own pages may be what is slow."""
_MANY = 1000
"""Sockets for which the goals against the tutorial, and of memory, are set."""
_MESSAGE: dict[str, Any] = {
    "type": "alert", "id": 4711, "epoch": "0123456789abcdef0123456789abcdef", "uid": "binance|BTCUSDT|5m|1.1|level_150|1786320000000",
    "source_exchange_id": EXCHANGE_ID, "symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "timeframe": "5m", "alert_type": "macdv",
    "trigger_label": "level_150", "direction": "up", "trigger_value": 153.42017340812, "signal_delta": 21.0912380123, "price": 65086.18,
    "candle_time": 1786320000000, "triggered_at": 1786320300120, "published_at": 1786320300140, "delayed": False, "revised": False,
    "stage": "overbought", "bias": "bullish", "elsewhere": [],
    "timeframes": [{"timeframe": name, "macdv": 153.42017340812, "stage": "rallying"} for name in ("5m", "15m", "1h", "4h", "1d")],
}  # fmt: skip


@dataclass
class Server:
    """A server with its pages. ``send`` has messages sent to all of them; ``base_mb`` is what it weighed with the first page open."""

    pid: int
    send: Callable[[int], Awaitable[None]]
    port: int
    path: str = "/"
    cookie: str = ""
    pages: list[Page] = field(default_factory=list)
    base_mb: float = 0.0

    async def grow(self, sockets: int) -> None:
        """Open pages until there are so many."""
        self.pages += await open_pages(sockets - len(self.pages), self.port, path=self.path, cookie=self.cookie)

    def close(self) -> None:
        for page in self.pages:
            page.close()
        self.pages.clear()

    @property
    def socket_kb(self) -> float:
        """By how much it grew for each page after the first."""
        return (resident_mb(self.pid) - self.base_mb) * 1e3 / (len(self.pages) - 1)


class Field(NamedTuple):
    """All that are measured, each in a process of its own, at once: ours twice, on the two servers that are documented."""

    daphne: Server
    uvicorn: Server
    tutorial: Server
    broadcast: Server


class Burst(NamedTuple):
    """Seconds until the last socket had the last message, how many never came, and the share of a core our side needed meanwhile."""

    seconds: float
    lost: int
    client: float


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    rows: list[Row] = []
    async with aclosing(bus.connect()) as redis, _field(redis) as servers:
        stalled = await _stalled(servers, effort)
        for sockets in sorted({*effort.sockets, *effort.latency}):
            for server in servers:
                await server.grow(sockets)
            kilobytes = [server.socket_kb for server in (servers.daphne, servers.tutorial)] if sockets >= _MANY else []
            if sockets in effort.sockets:
                rows += _burst_rows(sockets, await _bursts(servers, sockets, effort))
            rows += _paced_rows(sockets, effort.paced, *await _paced_all(servers, effort.paced))
            if kilobytes:  # of few sockets the memory is lost in what a process grows by anyway
                ours, theirs = ([one] for one in kilobytes)
                what = f"{sockets:,} sockets: memory, each"
                rows.append(compared(what, "kB", ours, "the Channels tutorial", theirs, goal=at_most(30)))
    return [*rows, *stalled]


async def _stalled(servers: Field, effort: Effort) -> list[Row]:
    """What a page that reads nothing costs its server, beside a page that reads everything and acknowledges it."""
    grown = await asyncio.gather(*(_growth(server, effort) for server in (servers.daphne, servers.uvicorn)))
    rows = []
    for name, (reading, stalled) in zip(("daphne", "uvicorn"), grown, strict=True):
        more = max(0.0, stalled - reading)
        note = f"in {_sent(effort):,} messages; a page that reads: {reading:.2f} MB, one that does not: {stalled:.2f} MB"
        rows.append(single(f"a stalled socket on {name}: memory, more", "MB", [more], goal=at_most(1), note=note))
    return rows


async def _growth(server: Server, effort: Effort) -> tuple[float, float]:
    """Megabytes by which a server grows while its page is owed many bursts: as it reads, and then as it does not. Another page follows."""
    weights = [resident_mb(server.pid)]
    for stalled in (False, True):
        if stalled:
            server.pages[0].stall()
        for _ in range(_sent(effort) // BURST):
            await server.send(BURST)
            await asyncio.sleep(_BETWEEN)
            if not stalled:
                server.pages[0].forget()
        weights.append(resident_mb(server.pid))
    server.base_mb = weights[1]  # what it grew by for the stalled page counts as that of the pages to come: rather too much than too little
    server.close()
    await server.grow(1)
    return max(0.0, weights[1] - weights[0]), max(0.0, weights[2] - weights[1])


def _sent(effort: Effort) -> int:
    return BURST * effort.paced * 4


async def _bursts(servers: Field, sockets: int, effort: Effort) -> dict[str, list[Burst]]:
    """In turns. The tutorial takes its time with many sockets: half a minute a burst."""
    rounds = max(1, effort.slices // 3) if sockets < _MANY else 3
    slow = rounds if sockets < _MANY else max(1, effort.slices // 10)
    found: dict[str, list[Burst]] = {name: [] for name in servers._fields}
    for number in range(rounds):
        for name, server in servers._asdict().items():
            if name != "tutorial" or number < slow:
                found[name].append(await _burst(server))
    return found


async def _burst(server: Server) -> Burst:
    gc.collect()
    for page in server.pages:
        page.forget()
    await asyncio.sleep(_REST)
    began, spent = time.monotonic(), time.process_time()
    await server.send(BURST)
    await _all_seen(server.pages)
    spent = time.process_time() - spent
    last = max((page.frames[-1][0] for page in server.pages if page.frames), default=time.monotonic_ns())
    seconds = last / 1e9 - began
    return Burst(seconds, sum(BURST - page.seen for page in server.pages), spent / seconds)


async def _all_seen(pages: Sequence[Page]) -> None:
    """Wait until every page has the whole burst, or nothing more can be hoped for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while any(page.seen < BURST for page in pages):  # noqa: ASYNC110  (an event would be the pages' work)
                await asyncio.sleep(0.001)


async def _paced_all(servers: Field, messages: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of each delivery on each server but the tutorial's, and the share of a core that the pages took."""
    spent, began = time.process_time(), time.monotonic()
    names = ("daphne", "uvicorn", "broadcast")
    delays = await _paced([getattr(servers, name) for name in names], messages)
    return dict(zip(names, delays, strict=True)), (time.process_time() - spent) / (time.monotonic() - began)


async def _paced(servers: Sequence[Server], messages: int) -> list[list[float]]:
    """Seconds each message took to each page, server by server; they take turns, so that none waits for another's message."""
    for page in (page for server in servers for page in server.pages):
        page.forget()
    for _ in range(messages):
        for server in servers:
            await server.send(1)
            await asyncio.sleep(_PACE / len(servers))
    await asyncio.sleep(_REST * 2)
    return [[delay for page in server.pages for delay in page.delays()] for server in servers]


def _burst_rows(sockets: int, bursts: dict[str, list[Burst]]) -> list[Row]:
    what = f"{sockets:,} sockets, a burst of {BURST}: last delivery"
    seconds = {name: [burst.seconds for burst in found] for name, found in bursts.items()}
    lost = {name: sum(burst.lost for burst in found) for name, found in bursts.items()}
    tutorials = seconds["tutorial"]
    tutorial = f"the tutorial lost {lost['tutorial']:,} of {BURST * sockets * len(tutorials):,}"
    many = times_better(70) if sockets >= _MANY else None
    busy = _busy(max(burst.client for burst in bursts["daphne"]))
    beside = seconds["daphne"][: len(tutorials)]
    return [
        compared(what, "ms", seconds["daphne"], "websockets' broadcast()", seconds["broadcast"], goal=at_most(150), note=busy),
        compared(what, "ms", beside, "the Channels tutorial", tutorials, of=Of.GAIN, goal=many, note=tutorial),
        compared(f"{what}, on uvicorn", "ms", seconds["uvicorn"], "the same on daphne", seconds["daphne"]),
        single(f"{sockets:,} sockets, bursts: messages lost", "", [lost["daphne"] + lost["uvicorn"]], goal=at_most(0)),
    ]


def _paced_rows(sockets: int, messages: int, delays: dict[str, list[float]], client: float) -> list[Row]:
    """The goals on uvicorn are of many sockets; those on daphne hold for any number."""
    what = f"{sockets:,} sockets, {1 / _PACE:g} messages a second"
    note, rows = _busy(client), []
    for name, against, other, bounds in (
        ("daphne", "websockets' broadcast()", "broadcast", (60, 100)),
        ("uvicorn", "the same on daphne", "daphne", (20, 45)),
    ):
        for share, bound in zip((50, 99), bounds, strict=True):
            ours, theirs = ([_after(share, delays[one])] for one in (name, other))
            goal = at_most(bound) if name == "daphne" or sockets >= _MANY else None
            point = Point("fanout", f"{name}, p{share}", sockets)
            words = f"{what}, on {name}: {share} % are there"
            rows.append(compared(words, "ms", ours, against, theirs, goal=goal, note=note, point=point))
    lost = sum(messages * sockets - len(delays[name]) for name in ("daphne", "uvicorn"))
    return [*rows, single(f"{what}: messages lost", "", [lost], goal=at_most(0))]


def _busy(client: float) -> str:
    return f"the pages took {client:.0%} of a core" + (", so they may be the bottleneck" if client > _BUSY else "")


def _after(share: int, delays: list[float]) -> float:
    """Seconds after which so many percent of the deliveries were made."""
    return statistics.quantiles(delays, n=100)[share - 1]


@asynccontextmanager
async def _field(redis: Redis) -> AsyncIterator[Field]:
    """All servers, each with a page. The users of our two watch an exchange each, so that each has messages of its own."""
    layer = textbook.layer()

    async def tutorial(messages: int) -> None:
        for _ in range(messages):
            await layer.group_send(textbook.GROUP, {"type": "relay", "message": {**_MESSAGE, "sent": time.monotonic_ns()}})

    def publishing(channel: str) -> Callable[[int], Awaitable[None]]:
        async def send(messages: int) -> None:
            async with redis.pipeline(transaction=False) as pipe:
                for _ in range(messages):
                    pipe.publish(channel, bus.encode({**_MESSAGE, "sent": time.monotonic_ns()}))
                await pipe.execute()

        return send

    cookies = [await db(followed.watcher)(exchange_id) for exchange_id in (EXCHANGE_ID, _OTHER_ID)]
    ours = [publishing(keys.channel_alerts(exchange_id)) for exchange_id in (EXCHANGE_ID, _OTHER_ID)]
    application = "livermore.asgi:application"
    servers: list[Server] = []
    try:
        async with AsyncExitStack() as stack:
            for words, send, path, cookie in (
                ((*DAPHNE, application), ours[0], "/ws/feed/", cookies[0]),
                ((*UVICORN, application), ours[1], "/ws/feed/", cookies[1]),
                ((*DAPHNE, "benchmarks.textbook:application"), tutorial, "/", ""),
                (("-m", "benchmarks.broadcast", settings.REDIS_URL), publishing(broadcast.CHANNEL), "/", ""),
            ):
                port = free_port()
                option = "--port" if words[:2] == UVICORN[:2] else "-p"
                process = await stack.enter_async_context(child(*words, option, str(port)))
                servers.append(Server(process.pid, send, port, path, cookie))
            for server in servers:  # they start side by side
                await listening(server.port)
                await server.grow(1)
                server.base_mb = resident_mb(server.pid)
            try:
                yield Field(*servers)
            finally:
                for server in servers:
                    server.close()
    finally:
        await layer.flush()
        await db(followed.forget_watchers)()
