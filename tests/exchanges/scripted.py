"""Small real servers that do as a test tells them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from exchanges.adapters import binance
from exchanges.engine import Engine
from exchanges.events import Event, Lifecycle, Limits
from exchanges.link import Clocks
from livermore.outbound import LOOPBACK

OPEN = 1_786_309_500_000
LIMITS = Limits(
    messages_per_second=200,
    connects_per_5min=300,
    streams_per_connection=100,
    rest_weight_per_minute=60_000,
    rest_burst=1000,
)

Script = Callable[[ServerConnection], Awaitable[None]]


def kline(symbol: str = "BTCUSDT", close: float = 11.0, *, closed: bool = False) -> str:
    k = {"t": OPEN, "i": "5m", "o": "10", "c": str(close), "h": "12", "l": "9", "v": "1", "x": closed}
    return json.dumps({"stream": "x", "data": {"e": "kline", "E": OPEN + 1000, "s": symbol, "k": k}})


def ticker(symbol: str = "BTCUSDT", price: float = 11.0) -> str:
    return json.dumps({"stream": "x", "data": {"e": "24hrTicker", "E": OPEN + 1000, "s": symbol, "c": str(price)}})


def ack(message: str | bytes) -> str:
    return json.dumps({"result": None, "id": json.loads(message)["id"]})


async def answer(socket: ServerConnection) -> None:
    """Acknowledge every request, and send a frame of each stream it asks for."""
    async for message in socket:
        await socket.send(ack(message))
        for name in json.loads(message)["params"]:
            symbol, _, kind = name.partition("@")
            await socket.send(ticker(symbol.upper()) if kind == "ticker" else kline(symbol.upper()))


class Venue:
    """A websocket server that runs one script a connection; the last one serves all that come after. ``said`` is what clients sent."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.said: list[dict[str, Any]] = []
        self.url = ""

    async def _serve(self, socket: ServerConnection) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        with contextlib.suppress(Exception):
            await script(socket)

    @contextlib.asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator["Venue"]:
        async with serve(self._serve, "127.0.0.1", port) as server:
            port = server.sockets[0].getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}"
            yield self


class Run:
    """An engine that runs against a venue, with every event it emits."""

    def __init__(self, url: str, *, limits: Limits = LIMITS, clocks: Clocks = Clocks(), adapter: Any = binance) -> None:  # noqa: B008
        self.events: list[Event] = []
        self._arrived = asyncio.Event()
        self.engine = Engine(adapter, websocket_url=url, limits=limits, reach=LOOPBACK, emit=self._take, clocks=clocks)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._arrived.set()

    async def until(self, found: Callable[[list[Event]], bool], seconds: float = 20.0) -> None:
        """Wait until the events so far are as wanted."""
        async with asyncio.timeout(seconds):
            while not found(self.events):
                self._arrived.clear()
                await self._arrived.wait()

    def lifecycle(self) -> list[Lifecycle]:
        return [event for event in self.events if isinstance(event, Lifecycle)]

    async def __aenter__(self) -> "Run":
        self._task = asyncio.create_task(self.engine.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
