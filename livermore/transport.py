"""httpx, connecting to nothing but what a ``Reach`` allows. A module of its own: httpx weighs 5 MB, and a web process asks nobody."""

import asyncio
from typing import Any

import httpcore
import httpx

from livermore.outbound import Reach, allowed_addresses


class _Dialling(httpcore.AsyncNetworkBackend):
    """Opens the connections of an HTTP client by ``dial``; TLS above it checks the name of the host, as always."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (httpcore's interface)
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                addresses = await allowed_addresses(loop, host, port, self._reach)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("no answer in time") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception | None = None
        for _, address in addresses:
            try:
                return await httpcore.AnyIOBackend().connect_tcp(str(address[0]), port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("unix sockets are not for this client")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


def transport(reach: Reach, limits: httpx.Limits = _CONNECTIONS) -> httpx.AsyncBaseTransport:
    """For ``httpx.AsyncClient(transport=…)``; give the client ``trust_env=False`` too, or a proxy of the environment would dial for it."""
    made = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
    made._pool._network_backend = _Dialling(reach)  # httpx has no argument for it; tests/security/test_outbound.py sees that it is used
    return made
