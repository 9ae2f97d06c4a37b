"""A sandbox whose clock stands still, and real clients to ask it with."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.protocol import Exchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import Venue

START = 1_772_024_461_000
"""2026-02-25 13:01:01 UTC: a minute into a 5-minute interval."""
BAR = 300_000
COINBASE, BINANCE, KRAKEN = "coinbase-sandbox", "binance-sandbox", "kraken-sandbox"
GRACE = 20.0
"""Real seconds a test waits for something that has to come; nothing waits that long when it works."""


class Client:
    """A websocket client that keeps what it got."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Any] = []

    async def send(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def receive(self) -> Any:
        """The next frame, decoded."""
        async with asyncio.timeout(GRACE):
            self.frames.append(json.loads(await self.socket.recv()))
        return self.frames[-1]

    async def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """Frames up to the first that is wanted, with it."""
        got = [await self.receive()]
        while not wanted(got[-1]):
            got.append(await self.receive())
        return got

    async def closed(self) -> tuple[int, str]:
        """Wait for the end of the connection; its close code and reason."""
        async with asyncio.timeout(GRACE):
            with contextlib.suppress(Exception):
                while True:
                    self.frames.append(json.loads(await self.socket.recv()))
            await self.socket.wait_closed()
        return self.socket.close_code or 0, self.socket.close_reason or ""


class Bench:
    """A running sandbox and its clients."""

    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient, stack: contextlib.AsyncExitStack) -> None:
        self.sandbox, self.http, self._stack = sandbox, http, stack
        self.clock: ManualClock = sandbox.clock  # type: ignore[assignment]
        self.market, self.faults = sandbox.market, sandbox.faults

    async def connect(self, venue: str, path: str = "") -> Client:
        url = self.sandbox.websocket_url(venue) + path
        return Client(await self._stack.enter_async_context(connect(url, max_size=None, compression=None)))

    async def coinbase(self, *subscriptions: tuple[str, list[str]]) -> Client:
        """A Coinbase connection that has sent these subscriptions."""
        client = await self.connect(COINBASE)
        for channel, products in subscriptions:
            await client.send({"type": "subscribe", "channel": channel, "product_ids": products})
        return client

    async def beating(self, *subscriptions: tuple[str, list[str]]) -> Client:
        """A Coinbase connection with these subscriptions and heartbeats, all acknowledged."""
        client = await self.coinbase(*subscriptions, ("heartbeats", []))
        await client.until(lambda frame: is_ack(frame) and "heartbeats" in frame["events"][0]["subscriptions"])
        return client

    async def seconds(self, client: Client, count: int) -> None:
        """Let that many seconds pass one by one, and the client get what they bring. It needs heartbeats."""
        for _ in range(count):
            self.clock.advance(1_000)
            await client.until(lambda frame: frame["channel"] == "heartbeats")

    async def binance(self, *streams: str) -> Client:
        """A combined Binance connection whose subscription was acknowledged."""
        client = await self.connect(BINANCE, "/stream")
        if streams:
            await client.send({"method": "SUBSCRIBE", "params": list(streams), "id": 1})
            assert await client.receive() == {"result": None, "id": 1}
        return client

    async def get(self, venue: str, path: str, **parameters: Any) -> httpx.Response:
        root = "/api/v3/brokerage" if venue == COINBASE else "/api/v3"
        return await self.http.get(self.sandbox.rest_url(venue) + root + path, params=parameters)


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Bench]:
    """A sandbox with its clock at START, unless told otherwise."""
    settings.setdefault("clock", ManualClock(START))
    settings.setdefault("symbols", 24)
    async with contextlib.AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(**settings))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=GRACE))
        yield Bench(sandbox, http, stack)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving() as running:
        yield running


def exchange(venue: Venue, speed: float = 1.0) -> Exchange:
    """A venue without any socket, for what depends on real time."""
    return Sandbox([venue], clock=ManualClock(START, speed)).exchanges[venue.id]


def is_ack(frame: Any) -> bool:
    return isinstance(frame, dict) and frame.get("channel") == "subscriptions"


def is_kline(symbol: str, closed: bool) -> Callable[[Any], bool]:
    def wanted(frame: Any) -> bool:
        data = frame.get("data", frame)
        return data.get("e") == "kline" and data["s"] == symbol and data["k"]["x"] is closed

    return wanted
