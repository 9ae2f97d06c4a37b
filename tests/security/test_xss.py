"""Hostile names in every text a page shows, in a real Chromium: none of them runs, and not only because the policy forbids it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, product
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, BrowserContext

from alerts.models import Alert, AlertRule
from exchanges import tokens
from exchanges.models import Exchange, ExchangeEvent, UserExchange
from exchanges.status import now_ms
from livermore.db import db
from symbols.models import Coin, PoolChange, Position, Symbol, UserSymbol
from tests import seeds
from tests.alerts.drafts import begin, commit, draft
from tests.browser import chromium_browser, web_server
from tests.hosting import say_status
from tests.people import client_of, person
from tests.security import LONG

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

BREAKS = ("", '">', "'>", "</b>", "</script>", "--></style>", "]]>", "\\x3c", "`", "{{1}}")
"""Ways out of where a text may stand."""
RUNS = (
    "<img src=x onerror=xss()>",
    "<svg/onload=xss()>",
    "<script>xss()</script>",
    '" autofocus onfocus=xss() x="',
    "' onmouseover=xss() x='",
    "<iframe srcdoc='<script>parent.xss()</script>'>",
    "<details open ontoggle=xss()>",
    "javascript:xss()",
    "<math><a xlink:href=javascript:xss()>x",
    "${xss()}{{constructor.constructor('xss()')()}}",
)
STRINGS = [f"{out}{run}"[:80] for out, run in product(BREAKS, RUNS)]


def plant(texts: Any) -> User:
    """A string in each text of each table that a page shows. Whose pages they are."""
    seeds.restore()
    Exchange.objects.filter(is_sandbox=True).update(active=False)
    Exchange.objects.filter(pk="coinbase").update(name=next(texts), timeframes=["5m", "1h"])
    user = person(f"root{next(texts)}", superuser=True)
    User.objects.filter(pk=user.pk).update(first_name=next(texts)[:30], email="x@example.org")
    begin("coinbase")
    commit(draft(0, "level_150"))
    first = Alert.objects.get()
    AlertRule.objects.update(name=next(texts))
    for number, text in enumerate(STRINGS):
        coin = Coin.objects.create(code=f"{text[:36]}{number:03}")
        row = Symbol.objects.create(
            exchange_id="coinbase", symbol=text[:76] + f"-{number:03}", base=text[:40], quote="USD", tier=1, rank=number, price=1.5,
            coin=coin, status=text[:40], tradable=number % 5 != 0,
        )  # fmt: skip
        first.pk, first.number, first.uid, first.symbol, first.base = None, number + 2, f"{number}|{text}", row.symbol, row.base
        first.trigger_label, first.triggered_at = text[:40], now_ms()
        first.elsewhere = [{**elsewhere(), "symbol": text, "quote": text[:9], "trade_url": "javascript:xss()"}]
        first.save()
        ExchangeEvent.objects.create(exchange_id="coinbase", at=now_ms(), event="offline", reason=text, seen=now_ms())
        PoolChange.objects.create(exchange_id="coinbase", symbol=text, reason=text, after=1)
        if number < 20:
            UserSymbol.objects.create(user=user, symbol=row)
            Position.objects.create(user=user, exchange_id="coinbase", asset=text[:40], quantity=1, symbol=row, value=50)
    key = {"key_state": "failed", "key_error": next(texts), "key_checked_at": now_ms()}
    UserExchange.objects.create(user=user, exchange_id="coinbase", is_default=False, **key)
    for _ in range(5):
        tokens.token_create(user=user, name=next(texts)[:60], days=30)
    say_status("coinbase", state="offline", connection_state="disconnected", error=next(texts), since=now_ms(), symbols=3)
    return user


def elsewhere() -> dict[str, Any]:
    numbers = dict.fromkeys(("price", "received", "spread_bps", "book_spread_bps", "lead"))
    return {"exchange_id": "binance", "identity": "same", **numbers, "price": 1.0, "received": now_ms()}


SHOW = ["/", "/symbols/?exchange=coinbase", "/prices/", "/exchanges/", "/settings/"]
"""Pages that cannot be without them."""


def paths() -> list[str]:
    row = Symbol.objects.order_by("pk")[12]
    alert = Alert.objects.order_by("-number")[3]
    ours = [*SHOW, "/account/two-factor/", f"/symbols/coinbase/{quote(row.symbol, safe='')}/", f"/alerts/{quote(alert.uid, safe='')}/"]
    lists = ["exchanges/exchange", "exchanges/exchangeevent", "symbols/symbol", "symbols/poolchange", "symbols/position", "alerts/alert"]
    return [*ours, f"/nothing/{quote(STRINGS[0])}/", f"/?next={quote(STRINGS[2])}", *(f"/admin/{name}/" for name in [*lists, "auth/user"])]


@dataclass
class Seen:
    """What happened in a browser."""

    ran: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    shown: dict[str, int] = field(default_factory=dict)


# The policy's own report, of each page, as the browser raises it.
_LISTEN = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.log(`VIOLATION ${event.violatedDirective} ${event.blockedURI} at ${location.pathname}`);
});
"""
_WAKE = """
() => {
  for (const one of document.querySelectorAll('[onfocus],[onmouseover]')) {
    one.dispatchEvent(new Event('mouseover'));
    one.dispatchEvent(new Event('focus'));
  }
  return document.body.innerText;
}
"""
_HREFS = "() => [...document.querySelectorAll('a[href], form[action]')].map((one) => one.href || one.action)"


@asynccontextmanager
async def context_of(browser: Browser, url: str, cookie: str, seen: Seen, *, bypass_csp: bool) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(bypass_csp=bypass_csp, viewport={"width": 1440, "height": 900})
    await context.add_cookies([{"name": "sessionid", "value": cookie, "url": url}])
    await context.expose_binding("xss", lambda source: seen.ran.append(source["page"].url))
    await context.add_init_script(_LISTEN)
    try:
        yield context
    finally:
        await context.close()


async def visited(browser: Browser, url: str, cookie: str, where: list[str], *, bypass_csp: bool) -> Seen:
    """Open every page, let its scripts draw, and wake what waits for a pointer or the focus."""
    seen = Seen()
    async with context_of(browser, url, cookie, seen, bypass_csp=bypass_csp) as context:
        page = await context.new_page()
        page.on("dialog", lambda dialog: seen.ran.append(dialog.message))
        page.on("console", lambda message: seen.violations.append(message.text) if "VIOLATION" in message.text else None)
        for path in where:
            await page.goto(f"{url}{path}", wait_until="load")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15 if path in SHOW else 0.3):
                    await page.wait_for_function("() => document.body.innerText.includes('xss()')")
            await page.mouse.move(700, 450)
            for _ in range(4):  # rows that are drawn as they come into sight
                await page.mouse.wheel(0, 1500)
                await asyncio.sleep(0.05)
            seen.shown[path] = (await page.evaluate(_WAKE)).count("xss()")
            links = await page.evaluate(_HREFS)
            seen.ran += [link for link in links if link.lower().startswith(("javascript:", "data:", "vbscript:"))]
        if not bypass_csp:
            assert seen.violations == [], "no page of ours, nor of the admin, asks for what its policy forbids"
            await page.goto(url)
            async with page.expect_console_message(lambda message: "VIOLATION script-src" in message.text):  # else silence proves nothing
                await page.evaluate("() => document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=xss()>')")
    return seen


def test_there_are_a_hundred_strings() -> None:
    assert len(set(STRINGS)) == 100


async def test_a_hundred_hostile_strings_run_on_no_page(chromium: str, redis_url: str, process_environment: dict[str, str]) -> None:
    user = await db(plant)(cycle(STRINGS))
    cookie = (await db(client_of)(user)).cookies["sessionid"].value
    async with web_server(process_environment) as url, chromium_browser(chromium) as browser:
        everywhere = await db(paths)()
        without = await visited(browser, url, cookie, everywhere if LONG else everywhere[:9], bypass_csp=True)
        assert without.ran == [], "nothing runs even where the policy is off"
        assert [path for path in SHOW if not without.shown[path]] == [], "they were there to be seen"
        strict = await visited(browser, url, cookie, everywhere if LONG else ["/"], bypass_csp=False)
    assert strict.ran == [], "not even what was put into the page by force"
