"""The dashboard in a real Chromium, against real processes: sandbox, connector, web server, Valkey, database."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Page

from exchanges.models import Exchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from tests import seeds
from tests.browser import PASSWORD, PATIENCE, chromium_browser, log_in, point_rows_at, process, web_server

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def card(page: Page, name: str) -> Any:
    return page.locator("#cards .card", has_text=name)


async def wait_for_state(page: Page, name: str, state: str) -> None:
    await card(page, name).locator(f"xpath=self::*[@data-state='{state}']").wait_for(timeout=PATIENCE)


async def newest_alert(page: Page, exchange: str) -> str:
    """The uid of the newest alert of an exchange, or nothing."""
    item = page.locator("#feed .alert", has_text=exchange).first
    return await item.get_attribute("data-uid") or "" if await item.count() else ""


async def wait_for_new_alert(page: Page, exchange: str) -> None:
    """An alert of this exchange arrives while we look."""
    before = await newest_alert(page, exchange)
    async with asyncio.timeout(PATIENCE / 1000):
        while await newest_alert(page, exchange) == before:  # noqa: ASYNC110  (another program brings it)
            await asyncio.sleep(0.2)


@pytest.fixture
def operator() -> User:
    seeds.restore()
    user = User.objects.create_superuser("olive", password=PASSWORD)
    Exchange.objects.exclude(is_sandbox=True).update(active=False)
    return user


async def test_a_trader_sees_the_market_move(operator: User, chromium: str, valkey: Any, process_environment: dict[str, str]):
    """Logs in, sees prices and alerts arrive, starts and stops an exchange, and loses nothing to a Redis restart."""
    environment = {**process_environment, "REDIS_URL": valkey.url}  # not embedded: nobody but the test brings it back
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=200, symbols=12) as sandbox:
        await point_rows_at(sandbox)
        connector = ("manage.py", "runexchange", "--autostart", "binance-sandbox")
        async with process(environment, *connector), web_server(environment) as url, chromium_browser(chromium) as browser:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await log_in(page, url)
            await wait_for_state(page, "Binance Sandbox", "live")

            price = page.locator("#matrix-rows .row", has_text="BTCUSDT").locator(".cell.price")
            before = await price.inner_text()
            await page.wait_for_function(
                "([element, before]) => element.innerText !== before", arg=[await price.element_handle(), before], timeout=PATIENCE
            )
            await wait_for_new_alert(page, "Binance Sandbox")

            coinbase = card(page, "Coinbase Sandbox")
            await wait_for_state(page, "Coinbase Sandbox", "idle")
            await coinbase.get_by_role("button", name="Start").click()
            await wait_for_state(page, "Coinbase Sandbox", "live")
            await wait_for_new_alert(page, "Coinbase Sandbox")
            await coinbase.get_by_role("button", name="Stop").click()
            await wait_for_state(page, "Coinbase Sandbox", "idle")
            assert complaints == []

            valkey.kill()
            await page.locator(".chip[data-state='offline']").first.wait_for(timeout=PATIENCE)
            valkey.start()
            await wait_for_state(page, "Binance Sandbox", "live")
            await wait_for_new_alert(page, "Binance Sandbox")
            await page.locator("body[data-link='live']").wait_for(timeout=PATIENCE)

            shown = await page.locator("#feed .alert").evaluate_all("items => items.map(item => item.dataset.uid)")
            assert len(shown) == len(set(shown)), "an alert is shown twice"


async def test_a_wrong_password_keeps_the_name_and_says_so(operator: User, chromium: str, valkey: Any, process_environment: dict[str, str]):
    async with web_server(process_environment) as url, chromium_browser(chromium) as browser:
        page = await browser.new_page()
        await page.goto(url)
        await page.get_by_label("Username").fill("olive")
        await page.get_by_label("Password").fill("wrong")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").wait_for(timeout=PATIENCE)
        assert await page.get_by_label("Username").input_value() == "olive"
