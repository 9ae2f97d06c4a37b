"""A running connector without an exchange: real link, adapter, books, indicators and rules, fed with frames out of memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from typing import Any

from redis.asyncio import Redis

from alerts.rules import Rule
from benchmarks.frames import DAY, MIDNIGHT, STEP, Row, binance_kline, row
from exchanges.events import TIMEFRAMES, Channel, Stream
from exchanges.link import Clocks, Link
from exchanges.models import Exchange
from exchanges.status import Status
from livermore.commits import Batch
from livermore.runtime import Connector
from livermore.watched import Watched
from market_data.candles import Bar
from market_data.series import WARM_BARS, Series

RULE = Rule(
    id=1,
    version=1,
    levels=(150.0, 200.0, 250.0, 300.0, 350.0, 400.0),
    timeframes=frozenset(TIMEFRAMES),
)
"""The seeded rule, as it is evaluated."""
CLOSES_A_DAY = DAY // STEP
_FOREVER = 1e9
_BARS = WARM_BARS + 10


class Replay:
    """In the place of an exchange's socket: gives frames as fast as they are taken.

    ``turn``: so many frames come at once, then other tasks have a turn, as between two reads of a socket; 0 gives all at once.
    """

    def __init__(self) -> None:
        self._frames: Iterator[bytes] = iter(())
        self._more = asyncio.Event()
        self._ended: asyncio.Future[tuple[float, float]] | None = None
        self._turn = 0
        self._given = 0

    async def recv(self, decode: bool | None = None) -> bytes:
        while True:
            frame = next(self._frames, None)
            if frame is not None:
                self._given += 1
                if self._turn and self._given % self._turn == 0:
                    await asyncio.sleep(0)
                return frame
            if self._ended is not None:
                self._ended.set_result((time.thread_time(), time.perf_counter()))
                self._ended = None
            self._more.clear()
            await self._more.wait()

    async def send(self, message: str) -> None:
        """What we say to the exchange is of no account here."""

    async def close(self) -> None:
        pass

    async def play(self, frames: Sequence[bytes], *, turn: int = 0) -> tuple[float, float]:
        """Have these frames taken. Returns the seconds of the processor, and of the clock, until the last was."""
        self._turn, self._given = turn, 0
        self._ended = ended = asyncio.get_running_loop().create_future()
        self._frames = iter(frames)
        began = time.thread_time(), time.perf_counter()
        self._more.set()
        done = await ended
        return done[0] - began[0], done[1] - began[1]


class Market:
    """A connector whose symbols are warm in every timeframe. ``now`` is the open time of the candle that forms."""

    def __init__(self, connector: Connector, replay: Replay, symbols: Sequence[str]) -> None:
        self.connector, self.symbols = connector, list(symbols)
        self._replay = replay
        self.now = MIDNIGHT
        self._numbers = count()

    async def play(self, frames: Sequence[bytes], *, turn: int = 0) -> tuple[float, float]:
        return await self._replay.play(frames, turn=turn)

    def forming(self, times: int) -> list[bytes]:
        """So many updates of the forming candles, symbol after symbol."""
        numbers = (next(self._numbers) for _ in range(times))
        rows = (row(self.symbols[number % len(self.symbols)], self.now, number) for number in numbers)
        return [binance_kline(one, self.now + 1000 + place, closed=False) for place, one in enumerate(rows)]

    def closing(self, *, rise: float = 1.0) -> list[bytes]:
        """The last frame of the forming candle of every symbol; the next one forms. ``rise``: so many times their usual prices."""
        numbers = [next(self._numbers) for _ in self.symbols]
        rows = [_risen(row(symbol, self.now, number), rise) for symbol, number in zip(self.symbols, numbers, strict=True)]
        frames = [binance_kline(one, self.now + STEP + place % 900, closed=True) for place, one in enumerate(rows)]
        self.now += STEP
        return frames

    def take_batch(self) -> Batch:
        """What has closed so far, where no committer takes it."""
        committer = self.connector._committer
        batch, committer.batch = committer.batch, Batch()
        return batch


def _risen(one: Row, rise: float) -> Row:
    return one._replace(open=one.open * rise, high=one.high * rise, low=one.low * rise, close=one.close * rise)


@asynccontextmanager
async def market(
    symbols: Sequence[str], redis: Redis, exchange: Exchange, *, fence: int = 1, epoch: str = "", rules: Sequence[Rule] = ()
) -> AsyncIterator[Market]:
    """A connector that holds these symbols warm, at a midnight. Without a committer: what closes stays in its batch."""
    connector = Connector(exchange, redis, Status(exchange.pk), fence=fence, epoch=epoch)
    connector._evaluator.rules = list(rules or (RULE,))
    for symbol in symbols:
        connector.watched[symbol] = warm(symbol)
    replay = Replay()
    clocks = Clocks(silence=_FOREVER, proof=_FOREVER)
    ws: Any = replay
    link = Link(
        exchange.protocol,
        ws,
        limits=exchange.effective_limits,
        emit=connector.on_event,
        requests=count(1),
        clocks=clocks,
        heard=connector._engine.heard,
    )
    link.add(Stream(Channel.CANDLES, symbol) for symbol in symbols)
    try:
        yield Market(connector, replay, symbols)
    finally:
        await link.close()


def warm(symbol: str) -> Watched:
    """A symbol on which alerts may fire in every timeframe, with the day before MIDNIGHT as its last."""
    watched = Watched(symbol, TIMEFRAMES, flags_closes=True)
    for timeframe, step in TIMEFRAMES.items():
        watched.series[timeframe].restore(MIDNIGHT - step, _warmed(timeframe))
    watched.book.start(_bar(symbol, MIDNIGHT - STEP, _BARS - 1))
    watched.note_readings()
    return watched


@cache
def _warmed(timeframe: str) -> str:
    """The state of a series after its history, which is the same for all symbols."""
    series = Series("", timeframe)
    for number in range(_BARS):
        series.advance(_bar("", MIDNIGHT - (_BARS - number) * series.step, number))
    return series.state()


def _bar(symbol: str, open_time: int, number: int) -> Bar:
    one = row(symbol, open_time, number)
    return Bar(one.open_time, one.open, one.high, one.low, one.close, one.volume)
