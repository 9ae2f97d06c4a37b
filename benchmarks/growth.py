"""What a frame costs, and what a symbol weighs, as a connector follows more of them."""

import os
from contextlib import AsyncExitStack

from benchmarks.frames import names
from benchmarks.market import Market, market
from benchmarks.peer import Peers
from benchmarks.rows import Point, Row, at_most, at_most_times, compared, single
from benchmarks.surroundings import EXCHANGE_ID, resident_mb
from benchmarks.timing import Effort, Slice, compare
from exchanges.models import Exchange
from livermore import bus

TITLE = "Growth: from 50 symbols to 2,000"
_CHART = "growth"
_FLAT = 1.2
"""What a frame may cost at most, in its costs at the fewest symbols."""


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    exchange = Exchange(id=EXCHANGE_ID, adapter="binance", websocket_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1")
    least, *more = effort.growth
    async with AsyncExitStack() as stack:
        redis = bus.connect()
        stack.push_async_callback(redis.aclose)
        markets: dict[int, Market] = {}
        kilobytes = 0.0
        for count in effort.growth:
            before = resident_mb(os.getpid())
            markets[count] = await stack.enter_async_context(market(names(count), redis, exchange))
            kilobytes = (resident_mb(os.getpid()) - before) * 1e3 / count
        forming = await compare({f"{count}": _forming(one) for count, one in markets.items()}, effort)
        closing: dict[int, list[float]] = {count: [] for count in markets}
        for _ in range(effort.slices):
            for count, one in markets.items():
                closing[count].append(await _close(one))
    return [
        *_rows("forming", least, more, {count: forming[f"{count}"] for count in effort.growth}),
        *_rows("closing", least, more, closing),
        single(f"{effort.growth[-1]:,} symbols: memory, each, with all timeframes", "kB", [kilobytes], goal=at_most(150)),
    ]


def _rows(kind: str, least: int, more: list[int], found: dict[int, list[float]]) -> list[Row]:
    first = single(f"{least:,} symbols: a frame, {kind}", "µs", found[least], point=Point(_CHART, f"a {kind} candle", least))
    against = f"a frame at {least:,} symbols"
    return [
        first,
        *(
            compared(
                f"{count:,} symbols: a frame, {kind}",
                "µs",
                found[count],
                against,
                found[least],
                goal=at_most_times(_FLAT),
                point=Point(_CHART, f"a {kind} candle", count),
            )
            for count in more
        ),
    ]


def _forming(one: Market) -> Slice:
    async def updates(times: int) -> float:
        spent, _ = await one.play(one.forming(times))
        return spent

    return updates


async def _close(one: Market) -> float:
    """Seconds a frame when every symbol closes."""
    frames = one.closing()
    spent, _ = await one.play(frames)
    one.take_batch()
    return spent / len(frames)
