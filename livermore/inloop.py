"""A small HTTP server inside a loop that does something else."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn


class InLoop(uvicorn.Server):
    """Uvicorn inside a running loop: signals belong to whoever runs the program, and ``ready`` tells when it answers."""

    def __init__(self, application: Any) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                http="h11",
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=75,
            )
        )
        self.ready, self._ended = asyncio.Event(), asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Sleep until the end, where uvicorn would look ten times a second whether a signal came."""
        await self._ended.wait()

    def end(self) -> None:
        self._ended.set()
