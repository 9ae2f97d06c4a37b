"""The page of exchanges in a real Chromium: sandbox, connector, web server, Valkey, database."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Page

from exchanges.models import Exchange, ExchangeEvent
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from exchanges.status import now_ms
from livermore.db import db
from tests.people import person
from tests.test_browser import PASSWORD, PATIENCE, chromium_browser, log_in, operator, point_rows_at, process, web_server

__all__ = ["operator"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


async def wait_for_state(page: Page, exchange_id: str, *states: str) -> None:
    wanted = ", ".join(f"#{exchange_id}[data-state='{state}']" for state in states)
    await page.locator(wanted).wait_for(timeout=PATIENCE)


async def figure(page: Page, exchange_id: str, label: str) -> str:
    return await page.locator(f"#{exchange_id} .figures > div", has_text=label).locator("dd").inner_text()


def a_restless_week(exchange_id: str) -> None:
    """Live six days ago, and yesterday it came and went more often than one page of the API holds."""
    day, now = 86_400_000, now_ms()
    noted = [("live", now - 6 * day, now - 5 * day)]
    noted += [("live" if at % 2 else "stale", now - day + at * 1_000, now - day + at * 1_000 + 999) for at in range(700)]
    ExchangeEvent.objects.bulk_create([ExchangeEvent(exchange_id=exchange_id, event=event, at=at, seen=seen) for event, at, seen in noted])


async def test_an_operator_sees_how_each_exchange_does(operator: User, chromium: str, valkey: Any, process_environment: dict[str, str]):
    """One live, one whose closes cannot be had, one that nothing answers for; a stop and a start; and a server that goes away."""
    environment = {**process_environment, "REDIS_URL": valkey.url}
    nowhere = {"websocket_url": "ws://127.0.0.1:9/x", "rest_url": "http://127.0.0.1:9/x", "is_sandbox": True}
    await db(Exchange.objects.create)(id="nowhere-sandbox", name="Nowhere Sandbox", adapter="binance", **nowhere)
    await db(a_restless_week)("nowhere-sandbox")
    names = ("binance-sandbox", "coinbase-sandbox", "nowhere-sandbox")
    connector = ("manage.py", "runexchange", *(word for name in names for word in ("--autostart", name)))
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=60, symbols=12) as sandbox:
        await point_rows_at(sandbox)
        async with process(environment, *connector), chromium_browser(chromium) as browser:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            async with web_server(environment) as url:
                await log_in(page, url)
                await page.get_by_role("link", name="Exchanges", exact=True).click()
                await page.wait_for_url("**/exchanges/")

                for name in names[:2]:
                    await wait_for_state(page, name, "live")
                sandbox.faults.set("dead", venue="coinbase-sandbox", channel="candles")
                sandbox.faults.set("rest-status", venue="coinbase-sandbox", status=503)
                sandbox.faults.set("corrupt", venue="binance-sandbox", probability=0.2)
                await wait_for_state(page, "coinbase-sandbox", "stale", "gap")
                await wait_for_state(page, "nowhere-sandbox", "offline")
                trouble = page.locator("#nowhere-sandbox .error")
                # Five days before the 700 events of yesterday it was live: the strip has all of the week.
                first = page.locator("#nowhere-sandbox .strip rect").first
                assert 0.1 < float(str(await first.get_attribute("x"))) / 1000 < 0.2
                assert (await trouble.inner_text()).startswith("connection refused: nothing listens there · ret")
                await page.locator("#coinbase-sandbox .error", has_text="HTTP 503").wait_for(timeout=PATIENCE)

                await page.wait_for_function("() => document.querySelector('#binance-sandbox dd[data-bad]')", timeout=PATIENCE)
                assert float((await figure(page, "binance-sandbox", "Messages")).split("\u202f")[0]) > 0
                assert await figure(page, "binance-sandbox", "Symbols") == "12"
                assert int((await figure(page, "binance-sandbox", "Rejected")).split()[0]) > 0
                assert await page.locator("#binance-sandbox .streams li").count() == 10
                assert await page.locator(".health .badge:visible").count() == 4
                assert " left of " in await page.locator("#binance-sandbox .budget").inner_text()

                binance = page.locator("#binance-sandbox")
                await binance.get_by_role("button", name="Stop").click()
                await wait_for_state(page, "binance-sandbox", "idle")
                await binance.locator(".events li", has_text="stopped").wait_for(timeout=PATIENCE)
                assert await binance.locator(".figures").is_hidden()
                assert await binance.locator(".strip rect").count() > 1
                await binance.get_by_role("button", name="Start").click()
                await wait_for_state(page, "binance-sandbox", "live")

                await page.set_viewport_size({"width": 360, "height": 800})
                assert await page.evaluate("document.documentElement.scrollWidth") <= 360
                assert complaints == []
            await page.locator("body[data-link='offline']").wait_for(timeout=PATIENCE)
            assert await page.locator("#notice").inner_text() == "The server cannot be reached."
            await asyncio.sleep(1.5)
            assert (await page.locator("#read-at").inner_text()).startswith("as of ")


async def test_who_may_not_control_exchanges_sees_no_buttons(chromium: str, valkey: Any, process_environment: dict[str, str]):
    def viewer() -> None:
        user = person("olive", group="viewer")
        user.set_password(PASSWORD)
        user.save()

    await db(viewer)()
    async with web_server(process_environment) as url, chromium_browser(chromium) as browser:
        page = await browser.new_page()
        await log_in(page, url)
        await page.goto(f"{url}/exchanges/")
        await wait_for_state(page, "coinbase", "offline")
        assert await page.locator("#coinbase .error").inner_text() == "No process hosts it. Run: manage.py runexchange coinbase"
        assert await page.locator(".health").get_by_role("button").count() == 0
