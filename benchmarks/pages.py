"""Many pages' sockets in one process, and cheap: what arrives is kept with its time, and read when the clock has stopped."""

import asyncio
import base64
import os
import re
import time
from bisect import bisect_left
from itertools import accumulate
from typing import cast

_SENT = re.compile(rb'"sent":\s?(\d+)')
_FRAME = re.compile(rb'\{"n":(\d+),"m"')
_HEADER_END = b"\r\n\r\n"


class Page(asyncio.Protocol):
    """One socket. ``seen`` counts arrivals of the marker ``"sent":``, which only our own messages carry."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._before = b""
        self._wanted: tuple[bytes, asyncio.Future[None]] | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.chunks: list[tuple[int, bytes]] = []
        self.seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self._open(data)
            return
        self.chunks.append((time.monotonic_ns(), data))
        self.seen += (self._before + data).count(b'"sent":')
        self._before = data[-6:]
        if self._wanted is not None and self._wanted[0] in data and not self._wanted[1].done():
            self._wanted[1].set_result(None)

    def _open(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101") and _HEADER_END in data:
            self.opened.set_result(None)
            if rest := data.partition(_HEADER_END)[2]:
                self.data_received(rest)
        else:
            self.opened.set_exception(ConnectionError(f"the server did not open the socket: {data[:80]!r}"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the server closed the socket before it was open"))

    async def greet(self) -> None:
        """Say hello, and wait for the snapshot."""
        self._wanted = b'"type":"snapshot"', asyncio.get_running_loop().create_future()
        self.say(b'{"type":"hello","v":1,"resume":{}}')
        await self._wanted[1]

    def say(self, message: bytes) -> None:
        assert self._transport
        length = len(message)
        self._transport.write(bytes((0x81, 0x80 | length, 0, 0, 0, 0)) + message)  # masked with zeros: short messages only

    def forget(self) -> None:
        """Acknowledge every frame and count anew."""
        numbers = [found for _, data in self.chunks for found in _FRAME.findall(data)]
        if numbers:
            self.say(b'{"type":"ack","n":%b}' % numbers[-1])
        self.chunks.clear()
        self.seen = 0

    def delays(self) -> list[float]:
        """Seconds from ``sent`` to arrival, of each message. One that came in two pieces was there with the second."""
        ends = list(accumulate(len(data) for _, data in self.chunks))
        found = _SENT.finditer(b"".join(data for _, data in self.chunks))
        return [(self.chunks[bisect_left(ends, one.end())][0] - int(one[1])) / 1e9 for one in found]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def open_pages(count: int, port: int, *, path: str = "/", cookie: str = "") -> list[Page]:
    """So many sockets, greeted. Raises ConnectionError where the server does not open one."""
    gate = asyncio.Semaphore(20)

    async def open_one() -> Page:
        async with gate:
            request = _request(port, path, cookie)
            _, page = await asyncio.get_running_loop().create_connection(lambda: Page(request), "127.0.0.1", port)
            await page.opened
            await page.greet()
            return page

    return list(await asyncio.gather(*(open_one() for _ in range(count))))


def _request(port: int, path: str, cookie: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *([f"Cookie: {cookie}"] if cookie else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
