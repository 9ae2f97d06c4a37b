"""``python -m benchmarks.broadcast REDIS_URL -p PORT``: websockets' own ``broadcast()`` of what a Redis channel brings.

No log-in, no snapshot, no order to keep, and a write for each message: what a library made for this does at best.
"""

import asyncio
import sys
from typing import Any

from redis.asyncio import Redis
from websockets.asyncio.server import ServerConnection, broadcast, serve

CHANNEL = "benchmark:broadcast"


async def main(port: int, redis_url: str) -> None:
    connections: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            async for _ in connection:
                await connection.send('{"type":"snapshot"}')
        finally:
            connections.discard(connection)

    # Neither a slow handshake nor a pong that is late on a busy machine ends a socket: there is nothing to measure without it.
    patient: dict[str, Any] = {"compression": None, "open_timeout": None, "ping_interval": None}
    async with serve(handle, "127.0.0.1", port, **patient), Redis.from_url(redis_url, socket_timeout=None).pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        async for message in pubsub.listen():
            if message["type"] == "message":
                broadcast(connections, message["data"].decode())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[3]), sys.argv[1]))
