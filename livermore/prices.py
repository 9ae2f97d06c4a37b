"""Prices on their way out: a symbol's first at once, and then, while more come, the latest every quarter of a second."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from exchanges.events import Ticker

INTERVAL = 0.25
"""Seconds between two prices of one symbol: at most 4 a second."""
_PAUSE = 0.01
"""Seconds between two writes, at least: what comes meanwhile goes out in one."""
_SHARE = 3.0
"""How many times as long as a write took nothing is written: of a busy market's time prices take a quarter at most."""
_MOST_TIMES = 256

Price = tuple[Ticker, int]
"""A ticker, and when it was received, ms UTC."""


class Prices:
    """Takes prices as they come; ``run`` gives them to ``write``, many at a time."""

    def __init__(self, write: Callable[[Collection[Price]], Awaitable[object]]) -> None:
        self.waiting: dict[str, Price] = {}
        """By symbol: the latest that is not put out yet."""
        self.times: deque[tuple[int, int]] = deque(maxlen=_MOST_TIMES)
        """(exchange's time, ours at the receipt) of what was put out since somebody cleared it, ms UTC."""
        self._write = write
        self._due: set[str] = set()
        self._resting: set[str] = set()
        self._out: deque[tuple[float, list[str]]] = deque()  # when, and the symbols that rest since
        self._wake = asyncio.Event()

    def take(self, ticker: Ticker, received: int) -> None:
        """Called for every frame. Returns at once."""
        symbol = ticker.symbol
        self.waiting[symbol] = ticker, received
        if symbol not in self._resting:
            self._due.add(symbol)
            self._wake.set()

    def forget(self, symbol: str) -> None:
        self.waiting.pop(symbol, None)

    async def run(self) -> None:
        while True:
            await self._something_due()
            due, self._due = self._due, set()
            prices = {symbol: self.waiting.pop(symbol) for symbol in due if symbol in self.waiting}
            began = time.monotonic()
            self._resting.update(prices)
            self._out.append((began, list(prices)))
            self.times.extend((ticker.event_time, received) for ticker, received in prices.values())
            if prices:
                await self._write(prices.values())
            await asyncio.sleep(max(_PAUSE, _SHARE * (time.monotonic() - began)))

    async def _something_due(self) -> None:
        self._rested()
        while not self._due:
            self._wake.clear()
            rests = self._out[0][0] + INTERVAL - time.monotonic() if self._out else None
            with suppress(TimeoutError):
                async with asyncio.timeout(rests):
                    await self._wake.wait()
            self._rested()

    def _rested(self) -> None:
        """Whose quarter of a second is over may go out again."""
        since = time.monotonic() - INTERVAL
        while self._out and self._out[0][0] <= since:
            _, symbols = self._out.popleft()
            self._resting.difference_update(symbols)
            self._due.update(symbol for symbol in symbols if symbol in self.waiting)
