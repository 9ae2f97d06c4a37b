"""One message to many sockets: our feed on daphne, against the Channels tutorial on daphne and against a library's bare broadcast."""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any, NamedTuple

from django.conf import settings
from redis.asyncio import Redis

from benchmarks import broadcast, textbook
from benchmarks.pages import Page, open_pages
from benchmarks.peer import Peers
from benchmarks.rows import Of, Point, Row, at_most, compared, single, times_better
from benchmarks.surroundings import DAPHNE, EXCHANGE_ID, UVICORN, child, free_port, listening, resident_mb, session_cookie
from benchmarks.timing import Effort
from livermore import bus, keys
from livermore.db import db

TITLE = "Fan-out: one message to many sockets"
BURST = 50
_PACE = 0.2
"""Seconds between two messages."""
_REST = 0.25
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


class Server(NamedTuple):
    """A server with its pages. ``send`` has messages sent to all of them; ``socket_kb`` is what a page's socket grew it by."""

    pages: list[Page]
    send: Callable[[int], Awaitable[None]]
    socket_kb: float
    pid: int


class Burst(NamedTuple):
    """Seconds until the last socket had the last message, how many never came, and the share of a core our side needed meanwhile."""

    seconds: float
    lost: int
    client: float


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    return [
        *[row for sockets in effort.sockets for row in await _rows(sockets, effort)],
        *[row for sockets in effort.latency for row in await _latency(sockets, effort)],
        *await _stalled(effort),
    ]


async def _latency(sockets: int, effort: Effort) -> list[Row]:
    """Both servers that are documented, with the charted figures; one after the other, as what is published reaches whoever listens."""
    async with aclosing(bus.connect()) as redis:
        on_daphne, _, _ = await _alone(sockets, redis, DAPHNE, effort)
        on_uvicorn, lost, client = await _alone(sockets, redis, UVICORN, effort)
    what = f"{sockets:,} sockets, {1 / _PACE:g} messages a second, on uvicorn"
    note = f"the pages took {client:.0%} of a core" + (", so they may be the bottleneck" if client > _BUSY else "")
    rows = []
    for share, bound in ((50, 20), (99, 45)):
        mine, theirs = [_after(share, on_uvicorn)], [_after(share, on_daphne)]
        goal = at_most(bound) if sockets >= _MANY else None
        point = Point("fanout", f"uvicorn, p{share}", sockets)
        rows.append(compared(f"{what}: {share} % are there", "ms", mine, "the same on daphne", theirs, goal=goal, note=note, point=point))
        there = f"{sockets:,} sockets, {1 / _PACE:g} messages a second, on daphne beside it: {share} % are there"
        rows.append(single(there, "ms", theirs, point=Point("fanout", f"daphne, p{share}", sockets)))
    return [*rows, single(f"{sockets:,} sockets on uvicorn: messages lost", "", [lost], goal=at_most(0))]


async def _alone(sockets: int, redis: Redis, words: Sequence[str], effort: Effort) -> tuple[list[float], int, float]:
    """Seconds of each delivery, how many never came, and the share of a core that the pages took."""
    async with _ours(sockets, redis, words) as server:
        burst = await _burst(server)
        spent, began = time.process_time(), time.monotonic()
        (delays,) = await _paced([server], effort.paced)
        client = (time.process_time() - spent) / (time.monotonic() - began)
        return delays, burst.lost + effort.paced * sockets - len(delays), client


async def _stalled(effort: Effort) -> list[Row]:
    """What a page that reads nothing costs its server, beside pages that read everything and acknowledge it."""
    rows = []
    for name, words in (("daphne", DAPHNE), ("uvicorn", UVICORN)):
        async with aclosing(bus.connect()) as redis:
            grown = await _growth(redis, words, effort)
        more = max(0.0, grown[1] - grown[0])
        note = f"in {_sent(effort):,} messages; a page that reads: {grown[0]:.2f} MB, one that does not: {grown[1]:.2f} MB"
        rows.append(single(f"a stalled socket on {name}: memory, more", "MB", [more], goal=at_most(1), note=note))
    return rows


async def _growth(redis: Redis, words: Sequence[str], effort: Effort) -> tuple[float, float]:
    """Megabytes by which a server grows while a page is owed many bursts: one that reads, and then one that does not."""
    async with _ours(1, redis, words) as server:
        (page,) = server.pages
        weights = [resident_mb(server.pid)]
        for stalled in (False, True):
            if stalled:
                page.stall()
            for _ in range(_sent(effort) // BURST):
                await server.send(BURST)
                await asyncio.sleep(_REST / 5)
                if not stalled:
                    page.forget()
            weights.append(resident_mb(server.pid))
        return max(0.0, weights[1] - weights[0]), max(0.0, weights[2] - weights[1])


def _sent(effort: Effort) -> int:
    return BURST * effort.paced * 4


async def _rows(sockets: int, effort: Effort) -> list[Row]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(aclosing(bus.connect()))
        ours = await stack.enter_async_context(_ours(sockets, redis))
        tutorial = await stack.enter_async_context(_tutorial(sockets))
        broadcasting = await stack.enter_async_context(_broadcast(sockets, redis))
        bursts: dict[str, list[Burst]] = {"ours": [], "tutorial": [], "broadcast": []}
        for _ in range(max(1, effort.slices // 3) if sockets < _MANY else 3):  # the tutorial takes half a minute for many
            bursts["ours"].append(await _burst(ours))
            bursts["tutorial"].append(await _burst(tutorial))
            bursts["broadcast"].append(await _burst(broadcasting))
        delays = await _paced([ours, broadcasting], effort.paced)
        return [*_burst_rows(sockets, bursts), *_paced_rows(sockets, effort.paced, *delays), *_socket_rows(sockets, ours, tutorial)]


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
    client = max(burst.client for burst in bursts["ours"])
    busy = f"the pages took {client:.0%} of a core" + (", so they may be the bottleneck" if client > _BUSY else "")
    tutorial = f"the tutorial lost {lost['tutorial']:,} of {BURST * sockets * len(bursts['tutorial']):,}"
    many = times_better(70) if sockets >= _MANY else None
    return [
        compared(what, "ms", seconds["ours"], "websockets' broadcast()", seconds["broadcast"], goal=at_most(150), note=busy),
        compared(what, "ms", seconds["ours"], "the Channels tutorial", seconds["tutorial"], of=Of.GAIN, goal=many, note=tutorial),
        single(f"{sockets:,} sockets, bursts: messages lost", "", [lost["ours"]], goal=at_most(0)),
    ]


def _paced_rows(sockets: int, messages: int, ours: list[float], theirs: list[float]) -> list[Row]:
    what = f"{sockets:,} sockets, {1 / _PACE:g} messages a second"
    rows = [
        compared(f"{what}: {share} % are there", "ms", [_after(share, ours)], "websockets' broadcast()", [_after(share, theirs)], goal=goal)
        for share, goal in ((50, at_most(60)), (99, at_most(100)))
    ]
    return [*rows, single(f"{what}: messages lost", "", [messages * sockets - len(ours)], goal=at_most(0))]


def _after(share: int, delays: list[float]) -> float:
    """Seconds after which so many percent of the deliveries were made."""
    return statistics.quantiles(delays, n=100)[share - 1]


def _socket_rows(sockets: int, ours: Server, tutorial: Server) -> list[Row]:
    """Of few sockets the memory is lost in what a process grows by anyway."""
    if sockets < _MANY:
        return []
    return [
        compared(
            f"{sockets:,} sockets: memory, each", "kB", [ours.socket_kb], "the Channels tutorial", [tutorial.socket_kb], goal=at_most(30)
        )
    ]


@asynccontextmanager
async def _ours(sockets: int, redis: Redis, words: Sequence[str] = DAPHNE) -> AsyncIterator[Server]:
    cookie = await db(session_cookie)()

    async def send(messages: int) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(messages):
                pipe.publish(keys.channel_alerts(EXCHANGE_ID), bus.encode({**_MESSAGE, "sent": time.monotonic_ns()}))
            await pipe.execute()

    async with _served(sockets, *words, "livermore.asgi:application", path="/ws/feed/", cookie=cookie, send=send) as server:
        yield server


@asynccontextmanager
async def _tutorial(sockets: int) -> AsyncIterator[Server]:
    layer = textbook.layer()

    async def send(messages: int) -> None:
        for _ in range(messages):
            await layer.group_send(textbook.GROUP, {"type": "relay", "message": {**_MESSAGE, "sent": time.monotonic_ns()}})

    try:
        async with _served(sockets, *DAPHNE, "benchmarks.textbook:application", send=send) as server:
            yield server
    finally:
        await layer.flush()


@asynccontextmanager
async def _broadcast(sockets: int, redis: Redis) -> AsyncIterator[Server]:
    async def send(messages: int) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(messages):
                pipe.publish(broadcast.CHANNEL, bus.encode({**_MESSAGE, "sent": time.monotonic_ns()}))
            await pipe.execute()

    async with _served(sockets, "-m", "benchmarks.broadcast", settings.REDIS_URL, send=send) as server:
        yield server


@asynccontextmanager
async def _served(
    sockets: int, *words: str, send: Callable[[int], Awaitable[None]], path: str = "/", cookie: str = ""
) -> AsyncIterator[Server]:
    """A program on a port of its own, with its pages open. The port is its last words."""
    port = free_port()
    async with child(*words, "--port" if words[:2] == UVICORN[:2] else "-p", str(port)) as process:
        await listening(port)
        (first,) = await open_pages(1, port, path=path, cookie=cookie)
        before = resident_mb(process.pid)
        pages = [first, *await open_pages(sockets - 1, port, path=path, cookie=cookie)]
        try:
            yield Server(pages, send, (resident_mb(process.pid) - before) * 1e3 / sockets, process.pid)
        finally:
            for page in pages:
                page.close()
