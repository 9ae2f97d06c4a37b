"""From a frame of an exchange to the frames of browsers: prices, closed candles and alerts, each through everything that is between.

The exchange is the sandbox's, in this process; ``runexchange`` and daphne are processes of their own. A market of life's speed passes the
end of a candle, so that closes come as an exchange sends them; then all symbols close in one moment; and so on in turns.
"""

import asyncio
import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace

import msgspec
from django.conf import settings
from redis.asyncio import Redis

from alerts.models import AlertRule
from benchmarks import broadcast, followed
from benchmarks.followed import STEP, Sent
from benchmarks.pages import Page, open_pages
from benchmarks.peer import Peers
from benchmarks.rows import Goal, Point, Row, at_most, compared, single
from benchmarks.surroundings import child
from benchmarks.timing import Effort
from exchanges.events import TIMEFRAMES
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE
from livermore import bus, keys
from livermore.db import db
from symbols.models import Symbol

TITLE = "From an exchange's frame to the browsers"
HERE = "bench-browser"
PRICE, CANDLE, ALERT = "ticker", "candle", "alert"
GOALS: dict[int, float] = {1: 1.5, 100: 6, 500: 25}
"""Milliseconds after which half of the prices and of the candles are there, by number of sockets."""
_ALERTS_AT, _BURST_AT = 100, 500
_AGAINST = "the same through Redis to websockets' broadcast()"
_MOST_ROUNDS = 30
"""In which an alert has to come."""
_SAMPLE, _PACE = 20, 0.025
"""Messages of a kind that are sent once more, and seconds between two of them."""
_LEAST, _LONGEST, _TICK, _EVEN = 1.2, 2.7, 0.005, 0.4
"""Seconds in which every price moves; after which the last symbol has closed; between two moves of the clock; and for prices that wait."""
_MARKER, _ANY = b'"type":"candle"', b'"type":"'


class Said(msgspec.Struct):
    """What of a message says which one it is."""

    type: str
    symbol: str = ""
    timeframe: str = ""
    t: int = 0
    candle: list[float] = []
    uid: str = ""
    candle_time: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        return (self.type, self.uid or self.symbol, self.timeframe, f"{self.candle[0]:.0f}" if self.candle else f"{self.t}")

    def sent(self, sent: Sent) -> float | None:
        """When the exchange's frame was sent that it comes of; None where it comes of none that was noted."""
        if self.type == PRICE:
            return sent.prices.get((self.symbol, self.t))
        opened = int(self.candle[0]) if self.candle else self.candle_time
        return sent.closes.get((self.symbol, opened + TIMEFRAMES[self.timeframe]))


class _Frame(msgspec.Struct):
    m: list[msgspec.Raw] = []


_frame = msgspec.json.Decoder(_Frame).decode
_said = msgspec.json.Decoder(Said).decode


@dataclass
class Found:
    """Of one number of sockets. ``ours`` and ``bare``: seconds of each delivery by kind, ``relayed``: of prices, from Redis on.

    ``last`` and ``bare_last``: seconds until the last socket had the last candle of a burst. ``client``: the share of a core that this
    process needed, which is exchange and pages in one.
    """

    ours: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bare: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    relayed: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    bare_last: list[float] = field(default_factory=list)
    burst: int = 0
    lost: int = 0
    alerts: int = 0
    client: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """The exchange and who listens to it: the pages of ours, and those of the bare broadcast."""

    clock: ManualClock
    sent: Sent
    redis: Redis
    symbols: int = 0
    ours: list[Page] = field(default_factory=list)
    bare: list[Page] = field(default_factory=list)

    def forget(self) -> None:
        gc.collect()
        for page in (*self.ours, *self.bare):
            page.forget()


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    clock, sent = ManualClock(followed.START), followed.note_frames()
    before = await db(lambda: list(AlertRule.objects.all()))()
    venue = replace(BINANCE, id=HERE, protocol=followed.NOTED, rest_limit=0)
    rows: list[Row] = []
    try:
        async with (
            Sandbox((venue,), symbols=effort.symbols, clock=clock) as sandbox,
            aclosing(bus.connect()) as redis,
            AsyncExitStack() as stack,
        ):
            cookie = await db(_prepare)(sandbox, effort.symbols)
            await stack.enter_async_context(child("manage.py", "runexchange", HERE, "--autostart", HERE))
            ours = await stack.enter_async_context(followed.serving(*followed.LIVERMORE))
            bare = await stack.enter_async_context(followed.serving("-m", "benchmarks.broadcast", settings.REDIS_URL))
            await followed.warm(clock, HERE)
            bench = Bench(clock, sent, redis, await Symbol.objects.filter(exchange_id=HERE, tier__isnull=False).acount())
            try:
                for sockets in effort.latency:
                    more = sockets - len(bench.ours)
                    bench.ours += await open_pages(more, ours, path="/ws/feed/", cookie=cookie, marker=_MARKER)
                    bench.bare += await open_pages(more, bare, marker=_ANY)
                    rows += _rows(sockets, await _follow(bench, max(1, effort.slices // 3)))
            finally:
                for page in (*bench.ours, *bench.bare):
                    page.close()
    finally:
        await db(followed.clean_up)((HERE,), before)
    return rows


def _prepare(sandbox: Sandbox, symbols: int) -> str:
    """The row of the exchange, a rule that fires often, and a user who watches nothing else, whose cookie this is."""
    followed.list_exchange(sandbox, HERE, "binance", symbols)
    AlertRule.objects.update(**followed.RULE)
    return followed.watcher(HERE)


# Closes, one by one and all at once


async def _follow(bench: Bench, rounds: int) -> Found:
    found = Found()
    for number in range(_MOST_ROUNDS):
        if number >= rounds and found.alerts:
            break
        await _live_through(bench, found)
        await _burst(bench, found)
    return found


async def _live_through(bench: Bench, found: Found) -> None:
    """Pass the end of a candle as the clock on the wall does."""
    clock = bench.clock
    end = clock.now() // STEP * STEP + STEP
    clock.advance(end - 100 - clock.now())
    await asyncio.sleep(_EVEN)
    bench.forget()
    start, began, spent = clock.now(), time.monotonic(), time.process_time()
    # On a busy machine the last frame goes out later than it is due, and without it nobody is settled.
    while (passed := time.monotonic() - began) < _LEAST or (passed < followed.PATIENCE and _closed(bench, end) < bench.symbols):
        clock.advance(start + int(passed * 1000) - clock.now())
        await asyncio.sleep(_TICK)
    await followed.settled(clock, HERE)
    await followed.all_seen(bench.ours, _candles(bench, end))
    await asyncio.sleep(_EVEN)
    found.client.append((time.process_time() - spent) / (time.monotonic() - began))
    arrived, messages = _arrivals(bench.ours)
    for key, (said, _) in messages.items():
        times = arrived[key]
        if (sent := said.sent(bench.sent)) is not None:
            found.ours[said.type] += [at - sent for at in times]
        if said.type != PRICE:  # of those only the latest has to come
            found.lost += len(bench.ours) - len(times)
        found.alerts += said.type == ALERT
    candles = sum(said.type == CANDLE for said, _ in messages.values())
    found.lost += len(bench.ours) * max(0, _candles(bench, end) - candles)
    for kind in (PRICE, CANDLE, ALERT):
        await _again(bench, found, kind, [one for one in messages.values() if one[0].type == kind][:_SAMPLE])


def _closed(bench: Bench, end: int) -> int:
    """How many symbols have closed at that moment."""
    return sum(at == end for _, at in bench.sent.closes)


def _candles(bench: Bench, end: int) -> int:
    """How many candles close then, of all timeframes."""
    return bench.symbols * sum(end % step == 0 for step in TIMEFRAMES.values())


async def _again(bench: Bench, found: Found, kind: str, messages: Sequence[tuple[Said, bytes]]) -> None:
    """Send messages once more, one by one: the bare way, and prices also to the feed, which is what is left without the connector."""
    bench.forget()
    published: list[float] = []
    relayed: dict[tuple[str, ...], float] = {}
    for said, data in messages:
        published.append(time.monotonic())
        await bench.redis.publish(broadcast.CHANNEL, data)
        await asyncio.sleep(_PACE)
        if kind == PRICE:
            relayed[said.key] = time.monotonic()
            await bench.redis.publish(keys.channel_ticker(HERE, said.symbol), data)
            await asyncio.sleep(_PACE)
    await followed.all_seen(bench.bare, len(messages))
    for page in bench.bare:
        found.bare[kind] += [at / 1e9 - sent for (at, _), sent in zip(page.frames, published, strict=False)]
    arrived, _ = _arrivals(bench.ours)
    found.relayed += [at - sent for key, sent in relayed.items() for at in arrived[key]]


async def _burst(bench: Bench, found: Found) -> None:
    """All symbols close in one moment."""
    bench.forget()
    await asyncio.sleep(followed.REST)
    end = bench.clock.now() // STEP * STEP + STEP
    bench.clock.advance(end + int(_LONGEST * 1000) - bench.clock.now())
    await followed.settled(bench.clock, HERE)
    await followed.all_seen(bench.ours, _candles(bench, end))
    arrived, messages = _arrivals(bench.ours)
    candles = {key: data for key, (said, data) in messages.items() if said.type == CANDLE}
    found.burst += len(candles)
    found.lost += sum(len(bench.ours) - len(arrived[key]) for key in candles)
    found.lost += len(bench.ours) * max(0, _candles(bench, end) - len(candles))  # one that joined meanwhile closes, too
    closed = max(at for (_, moment), at in bench.sent.closes.items() if moment == end)
    found.last.append(max(max(arrived[key]) for key in candles) - closed)
    began = await followed.publish(bench.redis, candles.values())
    await followed.all_seen(bench.bare, len(candles))
    found.bare_last.append(max(page.frames[-1][0] for page in bench.bare) / 1e9 - began)


def _arrivals(pages: Sequence[Page]) -> tuple[dict[tuple[str, ...], list[float]], dict[tuple[str, ...], tuple[Said, bytes]]]:
    """Of prices, candles and alerts by their keys: when each page had them, and what they say."""
    times: dict[tuple[str, ...], list[float]] = defaultdict(list)
    messages: dict[tuple[str, ...], tuple[Said, bytes]] = {}
    for page in pages:
        for at, payload in page.frames:
            for raw in _frame(payload).m:
                said = _said(raw)
                if said.type in {PRICE, CANDLE, ALERT}:
                    times[said.key].append(at / 1e9)
                    messages.setdefault(said.key, (said, bytes(raw)))
    return times, messages


# The table


def _rows(sockets: int, found: Found) -> list[Row]:
    client = statistics.median(found.client)
    busy = f"exchange and pages took {client:.0%} of a core" + (", so they may be the bottleneck" if client > followed.BUSY else "")
    goal = at_most(GOALS[sockets]) if sockets in GOALS else None
    alerts = f"{found.alerts:,} alerts"
    at_alerts = sockets == _ALERTS_AT
    burst = f"{found.burst / len(found.last):,.0f} candles on average, all timeframes, from the last closing frame"
    return [
        _delivered(sockets, "price", found, PRICE, 0.5, goal, busy),
        _from_redis(sockets, found),
        _delivered(sockets, "closed candle", found, CANDLE, 0.5, goal, "with the commit of its close; " + busy),
        _delivered(sockets, "alert", found, ALERT, 0.5, at_most(30) if at_alerts else None, alerts),
        _delivered(sockets, "alert", found, ALERT, 0.99, at_most(100) if at_alerts else None, alerts),
        compared(
            f"{sockets:,} sockets: all close at once, last delivery",
            "ms",
            found.last,
            _AGAINST,
            found.bare_last,
            goal=at_most(60) if sockets == _BURST_AT else None,
            note=burst,
        ),
        single(f"{sockets:,} sockets: candles and alerts lost", "", [found.lost], goal=at_most(0)),
    ]


def _delivered(sockets: int, name: str, found: Found, kind: str, share: float, goal: Goal | None, note: str) -> Row:
    what = f"{sockets:,} sockets: exchange's frame → browser, {name}, p{share * 100:.0f}"
    point = Point("browser", name, sockets) if share == 0.5 else None
    if not found.ours[kind]:
        return single(what, "ms", [], _AGAINST, goal=goal, note=f"not measured: no {name} came in {len(found.client)} closes")
    times = (followed.after(share, sorted(times[kind])) for times in (found.ours, found.bare))
    return compared(what, "ms", [next(times)], _AGAINST, [next(times)], goal=goal, note=note, point=point)


def _from_redis(sockets: int, found: Found) -> Row:
    what = f"{sockets:,} sockets: Redis → browser, price, p50"
    ours, bare = (followed.after(0.5, sorted(times)) for times in (found.relayed, found.bare[PRICE]))
    point = Point("browser", "price, from Redis on", sockets)
    return compared(what, "ms", [ours], _AGAINST, [bare], note="the same without the connector", point=point)
