"""The symbol page in a real Chromium: sandbox, connector, web server, Valkey, database."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Page
from playwright.async_api import TimeoutError as NotInTime

from exchanges.models import Exchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from livermore.db import db
from tests.browser import PATIENCE, chromium_browser, log_in, point_rows_at, process, web_server
from tests.test_browser import operator

__all__ = ["operator"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

COLOURS = """() => {
  const colours = new Set();
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) if (data[at + 3]) colours.add(data.slice(at, at + 3).join());
  }
  return colours.size;
}"""
"""How many colours the canvases of the chart show: an empty one has a background and a grid."""


async def says(page: Page, beginning: str) -> None:
    """Wait until the page tells those who cannot see the chart that it shows this."""
    told = "(beginning) => document.getElementById('chart-said')?.textContent.startsWith(beginning)"
    await page.wait_for_function(told, arg=beginning, timeout=PATIENCE)


async def closes(page: Page, timeframe: str) -> int:
    """The newest closed candle that the API has, by its open time."""
    url = f"/api/exchanges/binance-sandbox/symbols/BTCUSDT/candles/?timeframe={timeframe}&limit=1&indicator=series"
    answer = await page.evaluate("async (url) => (await fetch(url)).json()", url)
    assert answer["readings"][-1][0] == answer["indicator"]["t"]
    return int(answer["candles"][-1][0])


async def wait_for_close(page: Page, timeframe: str) -> None:
    before = await closes(page, timeframe)
    async with asyncio.timeout(PATIENCE / 1000):
        while await closes(page, timeframe) == before:  # noqa: ASYNC110  (another program brings it)
            await asyncio.sleep(0.2)


async def test_a_trader_reads_the_chart_of_a_symbol(operator: User, chromium: str, valkey: Any, process_environment: dict[str, str]):
    """Comes from the dashboard, sees candles and MACD-V grow, changes the timeframe, lays another exchange over it, and goes back."""
    environment = {**process_environment, "REDIS_URL": valkey.url}
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=200, symbols=12) as sandbox:
        await point_rows_at(sandbox)
        connector = ("manage.py", "runexchange", "--autostart", "binance-sandbox", "--autostart", "coinbase-sandbox")
        async with process(environment, *connector), web_server(environment) as url, chromium_browser(chromium) as browser:
            page = await browser.new_page(viewport={"width": 1440, "height": 900}, timezone_id="Asia/Kolkata")
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await log_in(page, url)
            row = page.locator("#matrix-rows .row", has_text="BTCUSDT")
            await row.locator("xpath=self::*[@data-state='live']").wait_for(timeout=PATIENCE)
            chart = page.locator(".detail [data-action=chart]")
            for _ in range(5):  # rows move while the market warms up
                await row.click()
                with contextlib.suppress(NotInTime):
                    await chart.click(timeout=5_000)
                    break

            await page.wait_for_url("**/symbols/binance-sandbox/BTCUSDT/")
            await says(page, "BTCUSDT 5m: ")
            assert await page.evaluate(COLOURS) > 10
            assert await page.locator("#tv-attr-logo").is_visible()
            await page.locator("#state[data-state=live]").wait_for(timeout=PATIENCE)

            candle = page.locator(".figures-time")
            before = await candle.get_attribute("datetime")
            await wait_for_close(page, "5m")
            await page.wait_for_function(
                "(before) => document.querySelector('.figures-time').dateTime > before", arg=before, timeout=PATIENCE
            )
            assert "IST" in await candle.inner_text() or "GMT+5:30" in await candle.inner_text()

            await page.keyboard.press("3")
            await says(page, "BTCUSDT 1h: ")
            assert page.url.endswith("/symbols/binance-sandbox/BTCUSDT/?timeframe=1h")

            await page.select_option("#compare", "coinbase-sandbox|BTC-USD")
            legend = page.locator("#compare-legend")
            await legend.get_by_text("SIMULATED").wait_for(timeout=PATIENCE)
            await legend.locator(".figure", has_text="%").wait_for(timeout=PATIENCE)
            await page.reload()
            await says(page, "BTCUSDT 1h: ")
            assert await page.locator("#compare").input_value() == "coinbase-sandbox|BTC-USD"

            await page.keyboard.press("Escape")
            alert = page.locator("#feed .alert").first
            await alert.wait_for(timeout=PATIENCE)
            uid = await alert.get_attribute("data-uid")
            await alert.locator(".alert-main").click()
            await page.locator(f"#feed .alert[data-uid='{uid}'] a", has_text="Chart of").click()
            await page.locator(f"#history .alert[data-uid='{uid}']").wait_for(timeout=PATIENCE)
            assert complaints == []


async def test_a_symbol_that_is_not_watched_can_be_watched_from_its_page(
    operator: User, chromium: str, valkey: Any, process_environment: dict[str, str]
):
    """Outside Tier 1, then added on its page: the chart appears without a reload, on a phone."""
    environment = {**process_environment, "REDIS_URL": valkey.url}
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=200, symbols=12) as sandbox:
        await point_rows_at(sandbox)
        await db(Exchange.objects.filter(pk="binance-sandbox").update)(top_n=3)
        connector = ("manage.py", "runexchange", "--autostart", "binance-sandbox")
        async with process(environment, *connector), web_server(environment) as url, chromium_browser(chromium) as browser:
            page = await browser.new_page(viewport={"width": 360, "height": 740})
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await log_in(page, url)
            await page.wait_for_selector(".row[data-key='binance-sandbox|BTCUSDT']", state="attached", timeout=PATIENCE)
            await page.goto(f"{url}/symbols/binance-sandbox/ADAUSDT/?timeframe=15m")
            await page.get_by_role("button", name="Watch it for me").click(timeout=PATIENCE)
            await says(page, "ADAUSDT 15m: ")
            await page.locator("#unwatched").wait_for(state="hidden", timeout=PATIENCE)
            assert await page.evaluate(COLOURS) > 10
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert complaints == []
