"""``python -m benchmarks.blast DIRECTORY -p PORT``: an exchange that sends klines over TLS as fast as they are taken.

The path of a connection says how many: ``wss://127.0.0.1:PORT/1000``. Its certificate and key lie in the directory.
"""

import asyncio
import ssl
import sys
from itertools import islice, repeat
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from benchmarks.frames import binance_klines

_TOGETHER = 50
"""Frames in one write, as many come when the symbols of a connection move together."""


async def main(directory: Path, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    frames = [Frame(Opcode.TEXT, frame).serialize(mask=False) for frame in binance_klines(1000, closed=True)]

    async def send(connection: ServerConnection) -> None:
        assert connection.request
        wanted = int(connection.request.path.strip("/"))
        endless = (frame for again in repeat(frames) for frame in again)
        for at in range(0, wanted, _TOGETHER):
            connection.transport.write(b"".join(islice(endless, min(_TOGETHER, wanted - at))))
            await connection.drain()
        await connection.wait_closed()

    async with serve(send, "127.0.0.1", port, ssl=context, compression=None, ping_interval=None):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[3])))
