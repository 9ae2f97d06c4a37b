"""The example clients of docs/examples, each against a real daphne: alerts published through Redis come out at the other end."""

import asyncio
import functools
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User

from alerts import services
from alerts.publishing import Publisher
from exchanges.tokens import token_create
from livermore import bus, keys
from livermore.db import db
from tests.alerts.drafts import commit, draft
from tests.people import person
from tests.test_browser import PATIENCE, chromium_browser, web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
PASSWORD = "not-a-secret-94"
CHANNEL = keys.channel_symbol_alerts("coinbase", "BTC-USD")


@pytest.fixture
def kaia() -> User:
    user = person("kaia", group="viewer")
    user.set_password(PASSWORD)
    user.save()
    return user


async def publish_alerts(*symbols: str) -> None:
    """As the connector of Coinbase does."""
    client = bus.connect()
    fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
    publisher = Publisher(client, "coinbase", epoch)
    publisher.add(await db(commit)(*[await db(draft)(place, symbol=symbol) for place, symbol in enumerate(symbols)], fence=fence))
    await publisher.flush()
    await client.aclose()


def test_the_python_client_is_short_and_needs_websockets_only():
    lines = (EXAMPLES / "feed_client.py").read_text().splitlines()
    assert len(lines) <= 40
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"websockets"}


@asynccontextmanager
async def example(url: str, token: str, *channels: str) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "feed_client.py"), url, *channels,
        env={**os.environ, "LIVERMORE_TOKEN": token}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def said(running: asyncio.subprocess.Process) -> dict[str, Any]:
    assert running.stdout is not None
    async with asyncio.timeout(30):
        return json.loads(await running.stdout.readline())


async def test_the_python_client_prints_the_alerts_of_the_channel_it_names(kaia: User, process_environment: dict[str, str]):
    token = await db(token_create)(user=kaia, name="example", days=30)
    async with web_server(process_environment) as url, example(url, token, CHANNEL) as running:
        assert await said(running) == {"type": "subscribed", "id": None, "channels": [CHANNEL]}
        await publish_alerts("ETH-USD", "BTC-USD")
        alert = await said(running)
        assert (alert["type"], alert["id"], alert["source_exchange_id"], alert["symbol"]) == ("alert", 2, "coinbase", "BTC-USD")


async def test_the_python_client_says_what_was_wrong(kaia: User, process_environment: dict[str, str]):
    token = await db(token_create)(user=kaia, name="example", days=30)
    async with web_server(process_environment) as url:
        async with example(url, token, "channel:user:1:alerts") as running:
            assert (await said(running))["type"] == "refused"
        async with example(url, "lvm_wrong", CHANNEL) as running:
            _, complaint = await running.communicate()
            assert (running.returncode, complaint.decode().strip()) == (1, "the token is wrong, or has ended")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The examples, served by another program on another port of the same host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(EXAMPLES)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.browser
async def test_the_browser_client_shows_the_alerts_of_the_channel_it_names(
    kaia: User, chromium: str, elsewhere: str, process_environment: dict[str, str]
):
    async with web_server(process_environment) as url, chromium_browser(chromium) as browser:
        page = await browser.new_page()
        address = f"{elsewhere}/feed.html?{urlencode({'server': url.replace('http', 'ws', 1), 'channel': CHANNEL})}"
        await page.goto(address)
        await page.locator("li[data-type=closed]", has_text="4401").wait_for(timeout=PATIENCE)

        await page.goto(url)
        await page.get_by_label("Username").fill("kaia")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#link-text")

        await page.goto(address)
        await page.locator("li[data-type=subscribed]").wait_for(timeout=PATIENCE)
        await publish_alerts("ETH-USD", "BTC-USD")
        alert = page.locator("li[data-type=alert]")
        await alert.wait_for(timeout=PATIENCE)
        assert await alert.all_inner_texts() == ["BTC-USD 5m level_150"]
