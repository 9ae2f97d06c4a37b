"""What becomes of a page when its socket's server fails, over a real server and a real socket."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from django.contrib.auth.models import User
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from alerts import services
from alerts.feedhub import hub
from alerts.publishing import Publisher
from livermore import bus
from livermore.db import db
from symbols.models import Symbol
from tests.alerts.drafts import commit, draft
from tests.alerts.test_consumers import session_cookie
from tests.people import person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]


class Server(uvicorn.Server):
    """Inside the test's own loop, whose signals are not its to take."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(application: Any) -> AsyncIterator[str]:
    """The address of the feed."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(application, ws="websockets-sansio", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = Server(config)
        task = asyncio.create_task(server.serve([bound]))
        try:
            yield f"ws://127.0.0.1:{bound.getsockname()[1]}/ws/feed/"
        finally:
            await hub().close()
            await bus.relay().close()
            server.should_exit = True
            await task


class Flaky:
    """The application, behind a server that fails to send once it is told to: ``error`` is raised for the next frame."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.error: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.send" and (error := self.error) is not None:
                self.error = None
                raise error
            await send(message)

        await self._application(scope, receive, sent)


async def said(page: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The next message that is wanted."""
    async with asyncio.timeout(20):
        while True:
            for message in json.loads(await page.recv())["m"]:
                if wanted(message):
                    return dict(message)


async def hello(page: ClientConnection, **resume: object) -> dict[str, Any]:
    await page.send(json.dumps({"type": "hello", "v": 1, "resume": resume}))
    return await said(page, lambda message: message["type"] == "snapshot")


@pytest.fixture
def flaky() -> Flaky:
    from livermore.asgi import application  # it sets logging up anew: before the test's own part, which looks at it

    return Flaky(application)


@pytest.fixture
def cookie() -> str:
    trader: User = person("trader", group="trader")
    Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", tier=1, rank=1)
    return session_cookie(trader).decode()


@pytest.mark.parametrize(
    ("error", "level"), [(RuntimeError("a fault"), (logging.ERROR, True)), (OSError("the line is cut"), (logging.INFO, False))]
)
async def test_a_page_whose_frame_cannot_be_sent_resumes_with_every_alert(
    cookie: str, flaky: Flaky, caplog: pytest.LogCaptureFixture, error: Exception, level: tuple[int, bool]
) -> None:
    redis = bus.connect()
    fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
    publisher = Publisher(redis, "coinbase", epoch)

    async def alert(at: int) -> None:
        publisher.add(await db(lambda: commit(draft(at), fence=fence))())
        await publisher.flush()

    headers = {"Cookie": cookie, "Origin": "http://127.0.0.1"}
    async with contextlib.aclosing(redis), served(flaky) as url:
        async with connect(url, additional_headers=headers) as page:
            await hello(page)
            await alert(1)
            first = await said(page, lambda message: message["type"] == "alert")
            flaky.error = error
            await alert(2)
            with pytest.raises(ConnectionClosedError) as closed:
                await said(page, lambda message: message["type"] == "alert")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4500
        async with connect(url, additional_headers=headers) as page:
            snapshot = await hello(page, coinbase={"epoch": first["epoch"], "id": first["id"]})

    assert [one["id"] for one in snapshot["alerts"] if one["source_exchange_id"] == "coinbase"] == [first["id"] + 1]
    (told,) = [record for record in caplog.records if record.name == "alerts.consumers"]
    assert told.getMessage().startswith(f"a frame could not be sent ({error}); the socket of user ")
    assert (told.levelno, bool(told.exc_info)) == level
