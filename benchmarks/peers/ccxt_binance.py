"""ccxt.pro: JSON as its aiohttp client reads it, then its Binance message handler. What it resolves for a waiting ``watch…`` is dropped."""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import orjson
from ccxt.pro import binance

from benchmarks.frames import binance_klines, binance_tickers, names

PACKAGES = ("ccxt", "orjson")


class Client:
    """As much of a connection as the handlers ask for."""

    url = "wss://stream.binance.com:9443/stream"

    def __init__(self) -> None:
        self.subscriptions: dict[str, Any] = {}
        self.last: Any = None

    def resolve(self, result: Any, message_hash: str) -> None:
        self.last = result


def _exchange() -> binance:
    exchange = binance()
    rows = [(name, name.removesuffix("USDT")) for name in names(50)]
    exchange.set_markets(
        [
            exchange.safe_market_structure(
                {"id": name, "symbol": f"{base}/USDT", "base": base, "quote": "USDT", "baseId": base, "quoteId": "USDT", "type": "spot",
                 "spot": True}
            )
            for name, base in rows
        ]
    )  # fmt: skip
    return exchange


def slices() -> dict[str, Any]:
    return {
        "kline": lambda times: _frames(binance_klines(1000, closed=True), times),
        "ticker": lambda times: _frames(binance_tickers(1000), times),
        "socket": _socket,
    }


def _frames(frames: Sequence[bytes], times: int) -> float:
    handle, client = _exchange().handle_message, Client()
    began = time.thread_time()
    for number in range(times):
        handle(client, orjson.loads(frames[number % 1000]))
    return time.thread_time() - began


async def _socket(times: int) -> float:
    """Its own connection, from the first frame to the last."""
    exchange = _exchange()
    exchange.verify = False  # it trusts the authorities of certifi only
    handle, done = exchange.handle_message, asyncio.Event()
    began, count = 0.0, 0

    def counted(client: Any, message: Any) -> None:
        nonlocal began, count
        handle(client, message)
        began = began or time.thread_time()
        count += 1
        if count > times:
            done.set()

    exchange.handle_message = counted
    exchange.open()
    client = exchange.client(f"{os.environ['BENCHMARK_URL']}/{times + 1}")
    try:
        await client.connect(exchange.session)
        await done.wait()
        return time.thread_time() - began
    finally:
        await exchange.close()


def check() -> dict[str, Any]:
    exchange, client = _exchange(), Client()
    exchange.handle_message(client, orjson.loads(binance_klines(1, closed=True)[0]))
    close = client.last[2][-1][4]
    exchange.handle_message(client, orjson.loads(binance_tickers(1)[0]))
    return {"close": close, "price": next(iter(client.last.values()))["last"]}
