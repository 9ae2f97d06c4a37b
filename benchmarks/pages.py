"""Many pages' sockets in one process, and cheap: what arrives is kept with its time, and read when the clock has stopped."""

import asyncio
import base64
import os
import re
import time
from typing import cast

SENT = b'"sent":'
"""What only our own messages carry."""
_SENT = re.compile(rb'"sent":\s?(\d+)')
_FRAME = re.compile(rb'\{"n":(\d+),"m"')
_HEADER_END = b"\r\n\r\n"
PATIENCE = 60.0
"""Seconds to wait for a snapshot: a server that refuses a page sends none."""
_RETRIES = (0.5, 2.0)
"""Seconds before a page that was not opened asks again."""
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A


class Page(asyncio.Protocol):
    """One socket. ``seen`` counts arrivals of the marker, which only the messages that are measured carry."""

    def __init__(self, request: bytes, marker: bytes = SENT) -> None:
        self._request, self._marker = request, marker
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._snapshot: asyncio.Future[None] | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frames: list[tuple[int, bytes]] = []
        """Texts, each with the time it was there, in ns."""
        self.seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        at = 0 if self.opened.done() else self._open(data)
        while (end := _frame_end(data, at)) is not None:
            start, stop = end
            self._take(data[at], data[start:stop], now)
            at = stop
        self._rest = data[at:]

    def _open(self, data: bytes) -> int:
        """Where the frames begin."""
        if data.startswith(b"HTTP/1.1 101") and _HEADER_END in data:
            self.opened.set_result(None)
            return data.index(_HEADER_END) + len(_HEADER_END)
        self.opened.set_exception(ConnectionError(f"the server did not open the socket: {data[:80]!r}"))
        return len(data)

    def _take(self, kind: int, payload: bytes, now: int) -> None:
        if kind == _PING:
            self._write(_PONG, payload)
        elif kind == _CLOSE:
            self.close()
        elif kind == _TEXT:
            self.frames.append((now, payload))
            self.seen += payload.count(self._marker)
            if self._snapshot is not None and b'"type":"snapshot"' in payload:
                self._snapshot.set_result(None)
                self._snapshot = None

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the server closed the socket before it was open"))
        if self._snapshot is not None and not self._snapshot.done():
            self._snapshot.set_exception(ConnectionError("the server closed the socket before its snapshot"))

    async def greet(self) -> None:
        """Say hello, and wait for the snapshot."""
        self._snapshot = snapshot = asyncio.get_running_loop().create_future()
        self._write(_TEXT, b'{"type":"hello","v":1,"resume":{}}')
        async with asyncio.timeout(PATIENCE):
            await snapshot

    def _write(self, kind: int, payload: bytes) -> None:
        assert self._transport
        self._transport.write(bytes((kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload)  # masked with zeros; at most 125 bytes

    def forget(self) -> None:
        """Acknowledge every frame and count anew."""
        if numbers := [found for _, payload in self.frames for found in _FRAME.findall(payload)]:
            self._write(_TEXT, b'{"type":"ack","n":%b}' % numbers[-1])
        self.frames.clear()
        self.seen = 0

    def stall(self) -> None:
        """Read nothing any more, as the page of a browser that sleeps."""
        assert self._transport
        self._transport.pause_reading()

    def delays(self) -> list[float]:
        """Seconds from ``sent`` to arrival, of each message."""
        return [(now - int(sent)) / 1e9 for now, payload in self.frames for sent in _SENT.findall(payload)]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _frame_end(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at ``at`` starts and stops; None while it is not all there. A server does not mask."""
    if len(data) < at + 2:
        return None
    length, start = data[at + 1], at + 2
    if length >= 126:
        start += 2 if length == 126 else 8
        length = int.from_bytes(data[at + 2 : start])
    return (start, start + length) if len(data) >= start + length else None


async def open_pages(count: int, port: int, *, path: str = "/", cookie: str = "", marker: bytes = SENT) -> list[Page]:
    """So many sockets, greeted. Raises ConnectionError where the server does not open one, also not when asked again."""
    gate = asyncio.Semaphore(20)

    async def open_one() -> Page:
        async with gate:
            for rest in _RETRIES:
                try:
                    return await _open(port, _request(port, path, cookie), marker)
                except ConnectionError:  # a server on a busy machine gives a handshake up that takes too long
                    await asyncio.sleep(rest)
            return await _open(port, _request(port, path, cookie), marker)

    return list(await asyncio.gather(*(open_one() for _ in range(count))))


async def _open(port: int, request: bytes, marker: bytes) -> Page:
    _, page = await asyncio.get_running_loop().create_connection(lambda: Page(request, marker), "127.0.0.1", port)
    try:
        await page.opened
        await page.greet()
    except BaseException:
        page.close()
        raise
    return page


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
