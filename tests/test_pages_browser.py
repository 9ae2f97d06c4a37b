"""The pages "Symbols" and "Settings" in a real Chromium, beside an open dashboard that follows, against real processes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import BrowserContext, Locator, Page, expect

from exchanges.events import Credentials
from exchanges.models import Exchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from livermore.db import db
from symbols.models import Symbol, UserSymbol
from tests import seeds
from tests.browser import PASSWORD, PATIENCE, chromium_browser, complaints_of, log_in, point_rows_at, process, web_server
from tests.people import person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

BINANCE, COINBASE = "binance-sandbox", "coinbase-sandbox"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
expect.set_options(timeout=PATIENCE)


@pytest.fixture
def somebody() -> Callable[[str, str], User]:
    """Somebody of a name and a group, over the simulated exchanges alone."""
    seeds.restore()
    Exchange.objects.exclude(is_sandbox=True).update(active=False)

    def make(name: str, group: str) -> User:
        user = person(name, group=group, staff=False)
        user.set_password(PASSWORD)
        user.save()
        return user

    return make


@dataclass
class Desk:
    """A browser at which somebody is logged in, with the dashboard open in one tab and another page in the other."""

    sandbox: Sandbox
    context: BrowserContext
    dashboard: Page
    page: Page
    url: str
    complaints: list[str]

    def row(self, symbol: str, exchange: str = BINANCE) -> Locator:
        """The row of a symbol on the dashboard."""
        return self.dashboard.locator(f"#matrix-rows .row[data-key='{exchange}|{symbol}']")

    def line(self, symbol: str) -> Locator:
        """The row of a symbol on the symbols page."""
        return self.page.locator("#rows tr", has=self.page.get_by_role("link", name=symbol, exact=True))

    async def unwatched(self, exchange: str = BINANCE) -> list[str]:
        """Symbols outside Tier 1, the largest first."""
        rows = Symbol.objects.filter(exchange_id=exchange, tradable=True, alias_of="", tier=None, quote__in=["USD", "USDT"])
        return await db(lambda: list(rows.order_by("rank").values_list("symbol", flat=True)))()


@asynccontextmanager
async def at_the_desk(name: str, chromium: str, environment: dict[str, str]) -> AsyncIterator[Desk]:
    """Binance runs with five symbols for everybody; Coinbase is hosted, and idle."""
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=200, symbols=12) as sandbox:
        await point_rows_at(sandbox, top_n=5)
        connector = ("manage.py", "runexchange", "--autostart", BINANCE)
        async with process(environment, *connector), web_server(environment) as url, chromium_browser(chromium) as browser:
            context = await browser.new_context(viewport=WIDE, timezone_id="UTC")
            complaints = complaints_of(context)
            dashboard, page = await context.new_page(), await context.new_page()
            await log_in(dashboard, url, name)
            await dashboard.locator("#matrix-rows .row[data-state='live']").first.wait_for(timeout=PATIENCE)
            yield Desk(sandbox, context, dashboard, page, url, complaints)
            assert complaints == []


async def test_a_trader_finds_adds_and_removes_symbols_and_an_open_dashboard_follows(
    somebody: Callable[[str, str], User], chromium: str, valkey: Any, process_environment: dict[str, str]
):
    """Two clicks to add; undo after a removal; many at once, with their verdicts; a position by hand; all of it by keys."""
    await db(somebody)("tess", "trader")
    async with at_the_desk("tess", chromium, {**process_environment, "REDIS_URL": valkey.url}) as desk:
        first, second, third, *_ = await desk.unwatched()
        page = desk.page
        await page.goto(f"{desk.url}/symbols/?exchange={BINANCE}")
        await expect(page.locator("#listed")).to_contain_text("listed")
        await expect(page.locator("#relist, select[data-do=policy]")).to_have_count(0)

        await page.get_by_label("Find a symbol").fill(first)
        await page.get_by_role("button", name=f"Add {first}", exact=True).click()
        await expect(desk.line(first).locator("td.watched")).to_have_text("added")
        await expect(desk.row(first).locator(".mine")).to_have_text("+")

        await page.get_by_role("button", name=f"Remove {first}", exact=True).click()
        await expect(desk.row(first)).to_have_count(0)
        await page.get_by_role("button", name="Undo").click()
        await expect(page.get_by_role("button", name=f"Remove {first}", exact=True)).to_be_visible()

        await paste(page, BINANCE, [second, "ETHUSD"])
        await expect(page.locator("#bulk-said")).to_have_text("1 line understood, 1 to correct: it stays above.")
        await expect(page.locator("#verdicts")).to_contain_text(f"✓ {second} {second}: added.")
        await expect(page.locator("#verdicts")).to_contain_text("✗ ETHUSD Not listed here. Nearest: ")
        await expect(page.get_by_label("One symbol a line, as you know it")).to_have_value("ETHUSD")
        await paste(page, COINBASE, ["BTC-USDC"])
        await expect(page.locator("#verdicts")).to_contain_text("BTC-USDC shows the book of BTC-USD: ")
        await page.keyboard.press("Escape")

        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Mine").click()
        await page.get_by_label("Asset", exact=True).fill(third.removesuffix("USDT"))
        await page.get_by_label("Quantity").fill("none")
        await page.get_by_role("button", name="Enter by hand").click()
        await expect(page.locator("#position-said")).to_contain_text("Write the quantity as a number above 0")
        await page.get_by_label("Quantity").fill("5,000")
        await page.get_by_role("button", name="Enter by hand").click()
        await expect(page.locator("#positions-table tbody tr")).to_contain_text(["5,000"])
        await expect(desk.line(third).locator("td.watched")).to_have_text("held")
        await page.get_by_role("button", name="Remove the position").click()
        await expect(desk.line(third)).to_have_count(0)
        await page.get_by_role("button", name="Undo").click()
        await expect(desk.line(third).locator("td.watched")).to_have_text("held")
        for symbol, mark in ((first, "+"), (second, "+"), (third, "◆")):
            await expect(desk.row(symbol).locator(".mine")).to_have_text(mark)


async def paste(page: Page, exchange: str, lines: list[str]) -> None:
    """Add many, from the dialog; it stays open."""
    if not await page.locator("#bulk").is_visible():
        await page.get_by_role("button", name="Add many…").click()
    await page.locator("#bulk-exchange").select_option(exchange)
    await page.get_by_label("One symbol a line, as you know it").fill("\n".join(lines))
    await page.get_by_role("button", name="Add", exact=True).click()


async def test_settings_and_keys_reach_an_open_dashboard(
    somebody: Callable[[str, str], User], chromium: str, valkey: Any, process_environment: dict[str, str]
):
    """A key that works brings positions, a wrong one says why; theme, zone and timeframes follow; an exchange no longer watched leaves."""
    await db(somebody)("tess", "trader")
    async with at_the_desk("tess", chromium, {**process_environment, "REDIS_URL": valkey.url}) as desk:
        held, *_ = await desk.unwatched()
        credentials = desk.sandbox.accounts(BINANCE).open("tess", {held.removesuffix("USDT"): 9_000.0, "USDT": 10.0})
        page, dashboard = desk.page, desk.dashboard
        await page.goto(f"{desk.url}/settings/")
        binance = page.locator(f"tr[id='{BINANCE}']")
        await expect(binance.locator(".key-state")).to_have_text("no key")

        await store_key(binance, Credentials(credentials.key, "not the secret"))
        await expect(binance.locator(".key-state")).to_have_text("failed")
        await expect(binance.locator(".field-error").first).to_contain_text("the secret does not belong to this key")
        await expect(binance.get_by_label("Secret")).to_have_value("")

        await store_key(binance, credentials)
        await expect(binance.locator(".key-state")).to_have_text("works")
        await expect(binance.locator(".field-error")).to_have_count(0)
        await expect(desk.row(held).locator(".mine")).to_have_text("◆")
        await page.goto(f"{desk.url}/symbols/?show=mine")
        await expect(page.locator("#positions-table tbody tr")).to_contain_text(["your key"])
        await expect(desk.line(held).locator("td.watched")).to_have_text("held")

        await page.goto(f"{desk.url}/settings/")
        await page.locator("main").get_by_label("Light").check()
        await page.get_by_label("Time zone").select_option("Asia/Kolkata")
        await page.get_by_label("5m", exact=True).uncheck()
        await page.locator("form", has=page.get_by_label("Time zone")).get_by_role("button", name="Save").click()
        await expect(page.locator(".notice[data-level=success]")).to_contain_text("Saved")
        await expect(dashboard.locator("html")).to_have_attribute("data-theme", "light")
        await expect(dashboard.locator("#clock")).to_contain_text("GMT+5:30")
        await expect(dashboard.locator("#matrix-table")).to_have_attribute("data-without", "5m")

        await page.get_by_label("Watch Binance Sandbox").uncheck()
        await page.locator("section", has=binance).get_by_role("button", name="Save").click()
        await expect(dashboard.locator("#cards .card", has_text="Binance Sandbox")).to_have_count(0)
        await expect(dashboard.locator("#cards .card", has_text="Coinbase Sandbox")).to_be_visible()
        await expect(desk.row(held)).to_have_count(0)


async def store_key(row: Locator, credentials: Credentials) -> None:
    if not await row.get_by_label("Secret").is_visible():
        await row.locator("summary").click()
    await row.get_by_label("Key", exact=True).fill(credentials.key)
    await row.get_by_label("Secret").fill(credentials.secret)
    await row.get_by_role("button", name="Store and try").click()


def listed(symbol: str, **more: Any) -> Symbol:
    base = symbol.removesuffix("USDT")
    figures = {"price": 10.0, "dollar_volume_24h": 5e6, "quote_volume_24h": 5e6, "change_24h": 1.0, "rank": 1, "spread_bps": 1.0}
    return Symbol.objects.create(exchange_id=BINANCE, symbol=symbol, base=base, quote="USDT", **{**figures, **more})


async def test_a_viewer_looks_and_an_operator_decides(
    somebody: Callable[[str, str], User], chromium: str, valkey: Any, process_environment: dict[str, str]
):
    """No process hosts the exchange: a viewer has no button, an operator's decision is stored and can be undone, on a phone all fits."""
    await db(somebody)("vera", "viewer")
    operator = await db(somebody)("otto", "operator")
    for number, name in enumerate(["BTCUSDT", "ETHUSDT", "SOLUSDT"]):
        await db(listed)(name, tier=1, dollar_volume_24h=9e6 - number)
    halted = await db(listed)("LUNAUSDT", tradable=False, status="BREAK", dollar_volume_24h=None)
    await db(UserSymbol.objects.create)(user=operator, symbol=halted)
    environment = {**process_environment, "REDIS_URL": valkey.url}
    async with web_server(environment) as url, chromium_browser(chromium) as browser:
        context = await browser.new_context(viewport=PHONE)
        complaints = complaints_of(context)
        page = await context.new_page()
        await log_in(page, url, "vera")
        await page.goto(f"{url}/symbols/")
        await expect(page.locator("#rows tr[data-id]")).to_have_count(3)
        await expect(page.get_by_role("button", name="Add")).to_have_count(0)
        await expect(page.locator("#relist, #enter, select[data-do=policy]")).to_have_count(0)
        await page.goto(f"{url}/symbols/?show=mine")
        await expect(page.locator("#empty")).to_contain_text("needs the role trader")
        assert complaints == []
        await context.close()

        context = await browser.new_context(viewport=WIDE)
        complaints = complaints_of(context)
        page = await context.new_page()
        await log_in(page, url, "otto")
        await page.goto(f"{url}/symbols/?exchange={BINANCE}")
        await page.get_by_label("Watch ETHUSDT").select_option("excluded")
        await expect(page.locator("#said")).to_contain_text("ETHUSDT: watched never.")
        assert (await db(Symbol.objects.get)(symbol="ETHUSDT")).policy == "excluded"
        await page.get_by_role("button", name="Undo").click()
        await expect(page.get_by_label("Watch ETHUSDT")).to_have_value("auto")
        await page.get_by_role("button", name="Refresh the list").click()
        await expect(page.locator("#said")).to_contain_text("no process hosts binance-sandbox")

        await keys(page, url)
        await page.goto(f"{url}/symbols/?show=mine")
        await expect(page.locator("#rows td.watched")).to_have_text(["added, not traded now"])
        await page.set_viewport_size(PHONE)
        await page.goto(f"{url}/symbols/?show=")
        for cell in ("th.symbol", "td.price", "td.change", "td.action button"):
            box = await page.locator(f"#rows tr[data-id] {cell}").first.bounding_box()
            assert box is not None
            assert box["x"] >= 0, cell
            assert box["x"] + box["width"] <= PHONE["width"], cell
        for path in ("/symbols/", "/symbols/?show=mine", "/settings/"):
            await page.goto(f"{url}{path}")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert complaints == []


async def keys(page: Page, url: str) -> None:
    """Everything without a pointer: the list of keys, the search, a row, adding and removing it, its page."""
    await page.goto(f"{url}/symbols/")
    await expect(page.locator("#rows tr[data-id]")).to_have_count(3)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("/")
    await page.keyboard.type("usdt")
    await page.keyboard.press("Enter")
    await expect(page.locator("#rows tr[aria-current]")).to_contain_text("BTCUSDT")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    row = page.locator("#rows tr[aria-current]")
    await expect(row).to_contain_text("ETHUSDT")
    await page.keyboard.press("a")
    await expect(row.locator("td.watched")).to_contain_text("added")
    await page.keyboard.press("x")
    await expect(row.get_by_role("button", name="Add ETHUSDT")).to_be_visible()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/symbols/{BINANCE}/ETHUSDT/")
