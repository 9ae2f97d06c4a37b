"""A real Chromium over real processes: what the tests of the pages share."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from exchanges.models import Exchange
from exchanges.sandbox.server import Sandbox
from livermore.db import db

# Without these Chromium looks for its maker's hosts at every start; root may not use its sandbox.
FLAGS = [
    f"--{flag}"
    for flag in (
        "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update",
        "disable-sync",
    )
]  # fmt: skip
PASSWORD = "not-a-secret-93"
PATIENCE = 60_000
"""Milliseconds: a bound for a busy machine, not a goal."""


@asynccontextmanager
async def process(environment: dict[str, str], *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of ours, ended with the block."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            running.terminate()
        await running.wait()


@asynccontextmanager
async def web_server(environment: dict[str, str]) -> AsyncIterator[str]:
    """The address of a web server of our own."""
    async with AsyncExitStack() as stack:
        for _ in range(3):  # another program may take the port before it does
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            daphne = ("-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "livermore.asgi:application")
            running = await stack.enter_async_context(process(environment, *daphne))
            if await _answers(running, f"http://127.0.0.1:{port}"):
                break
        else:
            raise AssertionError(f"daphne ended with {running.returncode}, three times")
        yield f"http://127.0.0.1:{port}"


async def _answers(running: asyncio.subprocess.Process, url: str) -> bool:
    """Wait until a web server answers; False where it has ended."""
    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while running.returncode is None:
            try:
                if (await client.get(f"{url}/healthz")).status_code == 200:
                    return True
            except httpx.TransportError:  # nobody listens yet, or the machine is busy
                await asyncio.sleep(0.1)
    return False


@asynccontextmanager
async def chromium_browser(path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


async def log_in(page: Page, url: str, name: str = "olive") -> None:
    """Log in, and come to the dashboard."""
    await page.goto(url)
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#link-text")


def complaints_of(context: BrowserContext) -> list[str]:
    """What pages opened from now on write to the console as an error or warning, or let fall; fills as it happens."""
    found: list[str] = []

    def listen(page: Page) -> None:
        page.on("console", lambda message: found.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: found.append(str(error)))

    context.on("page", listen)
    return found


async def point_rows_at(sandbox: Sandbox, **changes: Any) -> None:
    """Have the rows of the simulated exchanges name this sandbox."""
    for name in ("coinbase-sandbox", "binance-sandbox"):
        values = {"top_n": 12, **changes, "websocket_url": sandbox.websocket_url(name), "rest_url": sandbox.rest_url(name)}
        await db(Exchange.objects.filter(pk=name).update)(**values)
