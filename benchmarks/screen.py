"""How smoothly the dashboard and the price board are drawn while prices and stages move: frames of a real Chromium.

Rows stand in the database and in Redis as a connector leaves them; daphne is a process of its own, and what moves is published in Redis as
a connector publishes it. Chromium draws without a graphics card, as `--disable-gpu` has it: the least that a reader's machine can do.
"""

import asyncio
import itertools
import random
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, compared, single
from benchmarks.surroundings import DAPHNE, child, free_port, listening, session_cookie
from benchmarks.timing import Effort
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange
from exchanges.sandbox.coins import universe
from exchanges.status import HEARTBEAT, Status, now_ms
from livermore import bus, keys
from livermore.db import db
from livermore.demo import SNAPSHOTS
from symbols.models import Symbol, Tier

TITLE = "The screen: frames while a thousand prices move"
SMOOTH = 20.0
"""Milliseconds: a frame of a screen of 60 Hz, and a fifth of one more."""
_TICKS, _READINGS, _TURN = 1_000, 50, 0.05
"""Prices and closed candles a second over all symbols, and seconds between two moments in which they come."""
_STAGES = ("overbought", "rallying", "rebounding", "ranging", "retracing", "reversing", "oversold")
_FRAMES = """([selector, seconds, step]) => new Promise((resolve) => {
  const scroller = document.querySelector(selector);
  const gaps = [];
  let last = 0, first = 0, down = 1;
  const frame = (at) => {
    if (last) gaps.push((at - last) / 1000); else first = at;
    last = at;
    if (step) {
      const before = scroller.scrollTop;
      scroller.scrollTop = before + step * down;
      if (scroller.scrollTop === before) down = -down;
    }
    if (at - first < seconds * 1000) requestAnimationFrame(frame); else resolve(gaps);
  };
  requestAnimationFrame(frame);
})"""
"""Seconds between two frames, for so many seconds; ``step`` pixels further down in each."""


@dataclass(frozen=True)
class Screen:
    """A page to look at: how many exchanges and coins on each it shows, what scrolls, and what is there once it has rows."""

    name: str
    path: str
    exchanges: int
    share: float
    scroller: str
    drawn: str


SCREENS = (
    Screen("dashboard", "/", 10, 0.1, "#matrix-scroller", "#matrix-rows .row .price:not(:empty)"),
    Screen("price board", "/prices/", 10, 1.0, "#scroller", "#rows .value:not(:empty)"),
)


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    from tests.conftest import NO_CHROMIUM, find_chromium  # they import pytest, which the other subjects do without

    chromium = find_chromium()
    if chromium is None:
        return [single(screen.name, "ms", [], goal=at_most(SMOOTH), note=f"not measured: {NO_CHROMIUM}") for screen in SCREENS]
    found: list[Row] = []
    for screen in SCREENS[: effort.screens]:
        symbols = max(2, round(effort.together * screen.share))
        async with aclosing(bus.connect()) as redis, listed(redis, screen.exchanges, symbols) as market:
            found += await _rows(screen, market, chromium, effort)
    return found


async def _rows(screen: Screen, market: "Market", chromium: str, effort: Effort) -> list[Row]:
    from tests.browser import chromium_browser

    seconds = max(effort.slices * 0.4, 0.5)
    cookie = (await db(session_cookie)()).partition("=")
    port = free_port()
    async with child(*DAPHNE, *SNAPSHOTS, "-p", str(port), "livermore.asgi:application"), chromium_browser(chromium) as browser:
        await listening(port)
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await page.context.add_cookies([{"name": cookie[0], "value": cookie[2], "url": f"http://127.0.0.1:{port}"}])
        await page.goto(f"http://127.0.0.1:{port}{screen.path}")
        await page.wait_for_selector(screen.drawn, state="attached", timeout=60_000)
        await asyncio.sleep(1)

        async def frames(step: int = 0) -> list[float]:
            gaps: list[float] = await page.evaluate(_FRAMES, [screen.scroller, seconds, step])
            return gaps

        still = await frames()
        async with market.moving():
            await asyncio.sleep(0.5)
            moving, scrolled = await frames(), await frames(40)
    size = f"{screen.name}, {screen.exchanges} exchanges, {len(market.symbols):,} rows"
    rows = []
    for what, gaps in (("prices move", moving), ("and it scrolls", scrolled)):
        for share, goal in ((50, at_most(SMOOTH)), (95, None)):
            ours, theirs = ([_after(share, one)] for one in (gaps, still))
            rows.append(compared(f"{size}: {what}, frame p{share}", "ms", ours, "the same page at rest", theirs, goal=goal))
    return rows


def _after(share: int, gaps: Sequence[float]) -> float:
    """Seconds within which so many percent of the frames came."""
    return statistics.quantiles(gaps, n=100, method="inclusive")[share - 1]


class Market:
    """Exchanges whose prices move when told, without a connector."""

    def __init__(self, redis: Redis, symbols: Sequence[Symbol]) -> None:
        self._redis, self.symbols = redis, symbols
        self._random = random.Random(7)
        self._order = itertools.cycle(self._random.sample(range(len(symbols)), len(symbols)))

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._move())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _move(self) -> None:
        for turn in itertools.count():
            async with self._redis.pipeline(transaction=False) as pipe:
                for _ in range(round(_TICKS * _TURN)):
                    row = self._next()
                    pipe.publish(keys.channel_ticker(row.exchange_id, row.symbol), bus.encode({"type": "ticker", **self.ticker(row)}))
                for _ in range(round(_READINGS * _TURN)):
                    row, timeframe = self._next(), self._random.choice(list(TIMEFRAMES))
                    reading = self.reading(row, turn)
                    close = {"type": "candle", "exchange_id": row.exchange_id, "symbol": row.symbol, "timeframe": timeframe}
                    candle = [reading["t"], *(4 * [reading["close"]]), 1.0, 0]
                    message = bus.encode({**close, "candle": candle, "indicator": reading})
                    pipe.publish(keys.channel_candle_close(row.exchange_id, row.symbol, timeframe), message)
                await pipe.execute()
            await asyncio.sleep(_TURN)

    def _next(self) -> Symbol:
        return self.symbols[next(self._order)]

    def ticker(self, row: Symbol) -> dict[str, Any]:
        """A price within a twentieth of the listed one."""
        price = float(f"{(row.price or 1) * self._random.uniform(0.95, 1.05):.6g}")
        now = now_ms()
        return {
            "exchange_id": row.exchange_id, "symbol": row.symbol, "t": now, "price": price, "received": now,
            "volume_24h": 1e6, "change_24h": self._random.uniform(-9, 9), "bid": price, "ask": price,
        }  # fmt: skip

    def reading(self, row: Symbol, turn: int) -> dict[str, Any]:
        macdv = self._random.uniform(-180, 180)
        return {
            "t": 1_772_402_400_000 + turn * 300_000, "close": row.price, "macdv": macdv, "signal": macdv - 3, "histogram": 3.0, "atr": 1.0,
            "stage": self._random.choice(_STAGES), "seeded": True, "observed": 400, "span": 400, "reason": "",
        }  # fmt: skip

    async def fill(self) -> None:
        """Everything a page reads when it begins."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for row in self.symbols:
                pipe.set(keys.ticker(row.exchange_id, row.symbol), bus.encode(self.ticker(row)))
                pipe.hset(keys.exchange_states(row.exchange_id), row.symbol, bus.encode({"state": "live", "reason": "", "since": 1}))
                for timeframe in row.exchange.timeframes:
                    pipe.set(keys.indicator(row.exchange_id, row.symbol, timeframe), bus.encode(self.reading(row, 0)))
            await pipe.execute()


@asynccontextmanager
async def listed(redis: Redis, exchanges: int, symbols: int) -> AsyncIterator[Market]:
    """Exchanges that all list the same coins, live for as long as the block lasts."""
    rows = await db(_symbols)(exchanges, symbols)
    market = Market(redis, rows)
    names = sorted({row.exchange_id for row in rows})
    await market.fill()
    beating = asyncio.create_task(_beat(redis, names, symbols))
    try:
        yield market
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await redis.flushdb()
        await db(lambda: Exchange.objects.filter(pk__in=names).delete())()
        await db(lambda: Exchange.objects.update(active=True))()


def _symbols(exchanges: int, symbols: int) -> list[Symbol]:
    Exchange.objects.update(active=False)
    rows = []
    for number in range(exchanges):
        exchange = Exchange.objects.create(
            id=f"bench-{number}",
            name=f"Exchange {number}",
            adapter="binance",
            websocket_url=f"ws://127.0.0.1:9/{number}",
            rest_url="http://127.0.0.1:9",
            is_sandbox=True,
            timeframes=list(TIMEFRAMES) if symbols <= 100 else ["5m"],  # the board shows none: its snapshot is large enough
        )
        for rank, coin in enumerate(universe(symbols, 7), start=1):
            increment = f"{10**-coin.decimals:.{coin.decimals}f}"
            name = f"{coin.code}USDT"
            rows.append(
                Symbol(
                    exchange=exchange,
                    symbol=name,
                    base=coin.code,
                    quote="USDT",
                    price=coin.price,
                    price_increment=increment,
                    rank=rank,
                    tier=Tier.SHARED,
                )
            )
    Symbol.objects.bulk_create(rows, batch_size=1000)
    return rows


async def _beat(redis: Redis, names: Sequence[str], symbols: int) -> None:
    """Be hosted and live."""
    statuses = [Status(name) for name in names]
    while True:
        for status in statuses:
            status.state = status.connection_state = "live"
            status.symbols = symbols
            await redis.set(keys.exchange_lease(status.exchange_id), bus.encode({"host": "bench", "pid": 1, "since": 1}), ex=60)
            await status.write(redis)
        await asyncio.sleep(HEARTBEAT)
