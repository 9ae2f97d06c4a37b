"""Long lists in a real Chromium: the dashboard's matrix and the price board, scrolled while prices and stages move."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Page

from benchmarks import screen
from livermore import bus, keys
from livermore.db import db
from symbols.models import Symbol
from tests import seeds
from tests.browser import PASSWORD, chromium_browser, complaints_of, log_in, web_server

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
COINS = 60

_ROWS = "rows => rows.map(row => [Number(row.getAttribute('aria-rowindex')), row.dataset.key])"
_MOVED = """async ([rows, scroller, by]) => {
  const moved = new Set();
  const observer = new MutationObserver((records) => {
    for (const { addedNodes } of records) for (const node of addedNodes) moved.add(node);
  });
  observer.observe(document.querySelector(rows), { childList: true });
  document.querySelector(scroller).scrollTop += by;
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
  observer.disconnect();
  return moved.size;
}"""
"""How many rows come into the page, or are put elsewhere in it, when it is scrolled."""
_WIDER = """rows => rows.flatMap(row => [...row.querySelectorAll('[role=cell]')]).filter(cell => {
  const box = cell.getBoundingClientRect();
  return [...cell.children].some(part => {
    const { left, right } = part.getBoundingClientRect();
    return left < box.left - 1 || right > box.right + 1;
  });
}).map(cell => cell.innerText)"""


@pytest.fixture
def _reader() -> None:
    seeds.restore()
    User.objects.create_superuser("olive", password=PASSWORD)


@asynccontextmanager
async def moving_market(chromium: str, environment: dict[str, str]) -> AsyncIterator[tuple[Page, str, screen.Market]]:
    async with (
        aclosing(bus.connect()) as redis,
        screen.listed(redis, 2, COINS) as market,
        web_server(environment) as url,
        chromium_browser(chromium) as browser,
    ):
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        complaints = complaints_of(context)
        page = await context.new_page()
        await log_in(page, url)
        yield page, url, market
        assert complaints == []


@pytest.mark.usefixtures("_reader")
async def test_the_matrix_keeps_its_order_and_its_keys_while_it_scrolls(chromium: str, valkey: Any, process_environment: dict[str, str]):
    async with moving_market(chromium, process_environment) as (page, _, market), market.moving():
        rows = page.locator("#matrix-rows .row")
        await page.locator(f"#matrix-table[aria-rowcount='{2 * COINS + 1}']").wait_for()
        height = (await rows.first.bounding_box() or {})["height"]
        await page.evaluate(_MOVED, ["#matrix-rows", "#matrix-scroller", 1500])
        for by in (height, 3 * height, -2 * height):
            moved = await page.evaluate(_MOVED, ["#matrix-rows", "#matrix-scroller", by])
            assert moved <= 5, "rows that stay in sight are put into the page anew"
        shown = await rows.evaluate_all(_ROWS)
        first = shown[0][0]
        assert [index for index, _ in shown] == list(range(first, first + len(shown)))
        assert len({key for _, key in shown}) == len(shown) < 2 * COINS

        await page.locator("#matrix-scroller").focus()
        for _ in range(70):
            await page.keyboard.press("j")
        selected = page.locator("#matrix-rows .row[aria-current]")
        assert await selected.get_attribute("aria-rowindex") == "71"
        top, bottom = await page.locator("#matrix-scroller").evaluate(
            "one => [one.getBoundingClientRect()].flatMap(b => [b.top, b.bottom])"
        )
        box = await selected.bounding_box()
        assert box
        assert top <= box["y"] <= bottom - height + 1
        await page.locator("#search").fill("btc")
        await page.locator("#matrix-table[aria-rowcount='3']").wait_for()
        assert [key for _, key in await rows.evaluate_all(_ROWS)] == ["bench-0|BTCUSDT", "bench-1|BTCUSDT"]


async def have_price(market: screen.Market, coin: str, price: float, increment: str) -> None:
    """Let a coin cost that everywhere, in steps of ``increment``."""
    await db(Symbol.objects.filter(base=coin).update)(price=price, price_increment=increment)
    async with aclosing(bus.connect()) as redis:
        for row in market.symbols:
            if row.base == coin:
                await redis.set(keys.ticker(row.exchange_id, row.symbol), bus.encode({**market.ticker(row), "price": price}))


@pytest.mark.usefixtures("_reader")
async def test_a_price_of_many_decimals_stays_in_its_cell_of_the_board(chromium: str, valkey: Any, process_environment: dict[str, str]):
    async with moving_market(chromium, process_environment) as (page, url, market):
        coin = market.symbols[3].base
        for price, increment, shown in (
            (0.00000123, "0.00000001", "0.00000123"),
            (12345.67890123, "0.000000000001", "12,345.678901230000"),
        ):
            await have_price(market, coin, price, increment)
            await page.goto(f"{url}/prices/?q={coin}")
            await page.locator("#rows .value", has_text=shown).first.wait_for()
            for width in (390, 1440):
                await page.set_viewport_size({"width": width, "height": 844})
                assert await page.locator("#rows .board-row").evaluate_all(_WIDER) == []
        async with market.moving():
            await page.goto(f"{url}/prices/?both=0")
            await page.locator("#rows .value").nth(60).wait_for()
            for _ in range(3):
                assert await page.evaluate(_MOVED, ["#rows", "#scroller", 42]) <= 3
