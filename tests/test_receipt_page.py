"""The receipt of an alert in a real Chromium: in the feed, on its own page, and from there to its candle and to why there is no other."""

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from tests.test_browser import PATIENCE, chromium_browser, log_in, newest_alert, operator, point_rows_at, process, web_server

__all__ = ["operator"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CAME = "(before) => { const uid = document.querySelector('#feed .alert')?.dataset.uid; return uid !== undefined && uid !== before; }"


async def test_a_trader_asks_an_alert_why(operator: User, chromium: str, valkey: Any, process_environment: dict[str, str]):
    environment = {**process_environment, "REDIS_URL": valkey.url}
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=100, symbols=12) as sandbox:
        await point_rows_at(sandbox)
        connector = ("manage.py", "runexchange", "--autostart", "binance-sandbox", "--autostart", "coinbase-sandbox")
        async with process(environment, *connector), web_server(environment) as url, chromium_browser(chromium) as browser:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await log_in(page, url)
            await page.locator("#feed .alert").first.wait_for(timeout=PATIENCE)
            await page.wait_for_function(CAME, arg=await newest_alert(page, ""), timeout=PATIENCE)

            uid = await page.locator("#feed .alert").first.get_attribute("data-uid")
            alert = page.locator(f"#feed .alert[data-uid='{uid}']")
            await alert.locator(".alert-main").click()
            await alert.locator(".receipt > summary").click()
            await alert.locator(".because").wait_for(timeout=PATIENCE)
            assert (await alert.locator(".because").inner_text()).startswith("MACD-V w")
            assert (await alert.locator(".times [data-step=shown] .lapse").inner_text()).startswith("+")
            assert await alert.locator(".way-part").count() >= 3

            await alert.get_by_role("link", name="Its own page").click()
            await page.wait_for_url(f"**/alerts/{str(uid).replace('|', '%7C')}/")
            await page.locator(".times [data-step=published] .lapse").wait_for(timeout=PATIENCE)
            assert "there before" in await page.locator(".times [data-step=shown]").inner_text()
            own = "Coinbase Sandbox" if str(uid).startswith("coinbase") else "Binance Sandbox"
            assert own not in await page.locator("#alert .elsewhere .name").all_inner_texts(), "a price there is not one of its own"

            await page.locator(".alert-actions a").first.click()
            await page.wait_for_url("**&candle=*")
            opened = int(str(uid).rpartition("|")[2])
            figures = "(at) => new Date(document.querySelector('.figures-time')?.dateTime ?? 0).getTime() === at"
            await page.wait_for_function(figures, arg=opened, timeout=PATIENCE)

            await page.locator("#why > summary").click()
            await page.locator(".why-rule li").first.wait_for(timeout=PATIENCE)
            assert "MACD-V is" in await page.locator("#why-body").inner_text()
            assert complaints == []
