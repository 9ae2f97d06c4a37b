"""Frames through everything that is decided in memory: link, adapter, book, indicators, rules. No socket, no Redis, no database."""

import gc
import time

from benchmarks.frames import names
from benchmarks.market import CLOSES_A_DAY, Market, market
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_least, at_most, compared, single
from benchmarks.surroundings import EXCHANGE_ID
from benchmarks.timing import Effort, Slice, compare, over
from exchanges.adapters import binance
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange
from livermore import bus

TITLE = "The whole pipeline in memory"


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    exchange = Exchange(id=EXCHANGE_ID, adapter="binance", websocket_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1")
    redis = bus.connect()
    try:
        async with market(names(effort.symbols), redis, exchange) as one:
            return [*await _forming(one, effort), *await _closes(one, effort)]
    finally:
        await redis.aclose()


async def _forming(one: Market, effort: Effort) -> list[Row]:
    async def updates(times: int) -> float:
        spent, _ = await one.play(one.forming(times))
        return spent

    contenders: dict[str, Slice] = {"ours": updates, "decode": over(binance._decode, one.forming(1000))}
    found = await compare(contenders, effort)
    row = compared("frame → forming candle", "µs", found["ours"], "bare typed decode", found["decode"])
    a_second = [1 / seconds for seconds in found["ours"]]
    return [row, single("forming updates a second, one core", "/s", a_second, goal=at_least(150_000))]


async def _closes(one: Market, effort: Effort) -> list[Row]:
    """Whole days: most closes end one candle, every third two, and the last of a day ends all five."""
    days: list[float] = []
    midnights: list[float] = []
    decodes: list[float] = []
    for _ in range(effort.slices):
        gc.collect()
        moments = [await _moment(one) for _ in range(CLOSES_A_DAY)]
        days.append(sum(spent for spent, _ in moments) / CLOSES_A_DAY)
        midnights.append(moments[-1][0] / len(TIMEFRAMES))
        decodes.append(sum(decode for _, decode in moments) / CLOSES_A_DAY)
    goal = at_most(15)
    return [
        compared("frame → close, over a day", "µs", days, "bare typed decode", decodes, goal=goal),
        compared("frame → five closes at midnight, a close", "µs", midnights, "bare typed decode", decodes),
    ]


async def _moment(one: Market) -> tuple[float, float]:
    """Seconds a frame when every symbol closes, and for its bare decode. What closed is thrown away, where a connector commits it."""
    frames = one.closing()
    spent, _ = await one.play(frames)
    one.take_batch()
    began = time.thread_time()
    for frame in frames:
        binance._decode(frame)
    return spent / len(frames), (time.thread_time() - began) / len(frames)
