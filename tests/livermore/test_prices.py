import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

from exchanges.events import Ticker
from livermore.prices import INTERVAL, Price, Prices
from tests.simulated import until

T0 = 1_750_000_000_000


class Out:
    """What was put out: when (monotonic), and the last prices of a write."""

    def __init__(self) -> None:
        self.writes: list[tuple[float, dict[str, float]]] = []
        self.holds = 0.0

    async def write(self, prices: Collection[Price]) -> None:
        self.writes.append((time.monotonic(), {ticker.symbol: ticker.price for ticker, _ in prices}))
        await asyncio.sleep(self.holds)

    def of(self, symbol: str) -> list[tuple[float, float]]:
        return [(at, prices[symbol]) for at, prices in self.writes if symbol in prices]


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Prices, Out]]:
    out = Out()
    prices = Prices(out.write)
    task = asyncio.create_task(prices.run())
    try:
        yield prices, out
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def ticker(symbol: str, price: float) -> Ticker:
    return Ticker(symbol, price, T0)


async def test_a_symbols_first_price_does_not_wait_and_the_latest_follows_after_a_quarter_of_a_second() -> None:
    async with running() as (prices, out):
        prices.take(ticker("BTC", 1.0), T0)
        await until(lambda: out.writes, "the first price")
        for price in (2.0, 3.0, 4.0):
            prices.take(ticker("BTC", price), T0)
            await asyncio.sleep(0.001)
        prices.take(ticker("ETH", 9.0), T0)  # waits for no other symbol
        await until(lambda: len(out.of("BTC")) == 2, "the latest price")

    (first, one), (second, four) = out.of("BTC")
    assert (one, four) == (1.0, 4.0)
    assert second - first >= 0.9 * INTERVAL
    assert out.of("ETH")[0][0] < second
    assert not prices.waiting


async def test_what_moves_all_the_time_goes_out_four_times_a_second_and_its_last_price_at_the_end() -> None:
    async with running() as (prices, out):
        began, price = time.monotonic(), 0.0
        while time.monotonic() - began < 4 * INTERVAL:
            price += 1.0
            prices.take(ticker("BTC", price), T0)
            await asyncio.sleep(0.002)
        await until(lambda: not prices.waiting, "the last price")
    times = [at for at, _ in out.of("BTC")]
    assert all(after - before >= 0.9 * INTERVAL for before, after in pairwise(times))
    assert out.of("BTC")[-1][1] == price


async def test_while_a_write_takes_long_everything_is_kept_for_the_next() -> None:
    async with running() as (prices, out):
        out.holds = 0.1
        prices.take(ticker("BTC", 1.0), T0)
        await until(lambda: out.writes, "the first price")
        for number in range(50):
            prices.take(ticker(f"COIN{number}", 1.0), T0)
        await until(lambda: not prices.waiting, "the others")
    assert len(out.writes) == 2
    assert len(out.writes[1][1]) == 50


async def test_a_symbol_that_leaves_takes_its_price_with_it() -> None:
    async with running() as (prices, out):
        prices.take(ticker("BTC", 1.0), T0)
        prices.forget("BTC")
        prices.take(ticker("ETH", 1.0), T0 + 5)
        await until(lambda: out.writes, "a price")
        assert list(prices.times) == [(T0, T0 + 5)]
    assert not out.of("BTC")
