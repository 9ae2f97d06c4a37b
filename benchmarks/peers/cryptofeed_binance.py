"""cryptofeed: its Binance feed's message handler, as its connection calls it, with a callback that does nothing."""

import os
import time
from contextlib import suppress
from typing import Any

from cryptofeed.connection import WSAsyncConn
from cryptofeed.defines import CANDLES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

from benchmarks.frames import binance_klines, names

PACKAGES = ("cryptofeed", "yapic.json")


def slices() -> dict[str, Any]:
    return {"kline": _klines, "socket": _socket}


def _feed(callback: Any) -> Binance:
    symbols = {f"{name.removesuffix('USDT')}-USDT": name for name in names(50)}
    Symbols.set(Binance.id, symbols, {})
    return Binance(symbols=list(symbols), channels=[CANDLES], callbacks={CANDLES: callback}, candle_interval="5m")


async def _nothing(candle: Any, received: float) -> None:
    pass


async def _klines(times: int) -> float:
    handle = _feed(_nothing).message_handler
    frames = [frame.decode() for frame in binance_klines(1000, closed=True)]
    began = time.thread_time()
    for number in range(times):
        await handle(frames[number % 1000], None, 0.0)
    return time.thread_time() - began


async def _socket(times: int) -> float:
    """Its own connection, from the first frame to the last."""
    feed = _feed(_nothing)
    connection = WSAsyncConn(f"{os.environ['BENCHMARK_URL']}/{times + 1}", "benchmark")
    async with connection.connect():
        began, count = 0.0, 0
        async for message in connection.read():
            await feed.message_handler(message, connection, connection.last_message)
            began = began or time.thread_time()
            count += 1
            if count > times:
                break
        return time.thread_time() - began


def check() -> dict[str, Any]:
    found: list[Any] = []

    async def keep(candle: Any, received: float) -> None:
        found.append(candle)

    with suppress(StopIteration):  # it never has to wait, so one step is all of it
        _feed(keep).message_handler(binance_klines(1, closed=True)[0].decode(), None, 0.0).send(None)
    return {"close": float(found[0].close)}
