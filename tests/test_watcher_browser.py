"""The watcher's story in a real Chromium: watching Coinbase, buying on Binance, over real processes."""

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from exchanges.models import Exchange, Preferences, UserExchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT
from livermore.db import db
from tests import seeds
from tests.browser import PASSWORD, PATIENCE, chromium_browser, complaints_of, log_in, point_rows_at, process, web_server
from tests.people import person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def kaia() -> User:
    """She watches both exchanges, and buys on Binance."""
    seeds.restore()
    user = person("kaia", group="trader", staff=False)
    user.set_password(PASSWORD)
    user.save()
    UserExchange.objects.create(user=user, exchange_id="binance-sandbox", is_default=True)
    Preferences.objects.create(user=user, region="DE")
    Exchange.objects.filter(is_sandbox=False).update(active=False)
    return user


async def test_an_alert_of_coinbase_says_what_it_is_on_binance_and_opens_its_page(
    chromium: str, valkey: Any, process_environment: dict[str, str]
) -> None:
    await db(kaia)()
    async with Sandbox([replace(venue, rest_limit=0) for venue in DEFAULT], seed=7, speed=200, symbols=12) as sandbox:
        await point_rows_at(sandbox)
        connector = ("manage.py", "runexchange", "--autostart", "binance-sandbox", "--autostart", "coinbase-sandbox")
        async with (
            process(process_environment, *connector),
            web_server(process_environment) as url,
            chromium_browser(chromium) as browser,
        ):
            context = await browser.new_context(viewport={"width": 1440, "height": 900})
            complaints = complaints_of(context)
            page = await context.new_page()
            await log_in(page, url, "kaia")

            card = page.locator("#feed .alert", has_text="Coinbase Sandbox").filter(has=page.locator(".across .residual")).first
            await card.wait_for(timeout=PATIENCE)
            await page.locator("#alerts-scroller").hover()  # what is being read holds still
            told = await card.evaluate(
                """element => ({
                    source: element.querySelector('.place .name').textContent,
                    here: element.querySelector('.place .price').textContent,
                    there: element.querySelector('.across .figure').textContent,
                    where: element.querySelector('.across .name').textContent,
                    residual: element.querySelector('.residual').textContent,
                    direction: element.dataset.direction,
                    symbol: element.querySelector('strong').textContent,
                    button: element.querySelector('.across .button').textContent,
                    href: element.querySelector('.across .button').href,
                    target: element.querySelector('.across .button').target,
                    rel: element.querySelector('.across .button').rel,
                })"""
            )
            coin = told["symbol"].removesuffix("-USD")
            assert (told["source"], told["where"]) == ("Coinbase Sandbox", "Binance Sandbox")
            here, there = (float(told[name].replace(",", "")) for name in ("here", "there"))
            assert here == pytest.approx(there, rel=0.03)
            fee_here, fee_there = 0.012, 0.001
            left = (
                here * (1 - fee_here) / (there * (1 + fee_there))
                if told["direction"] == "up"
                else there * (1 - fee_there) / (here * (1 + fee_here))
            ) - 1
            shown = float(told["residual"].split("\u202f")[0].replace("\u2212", "-").replace("+", "")) / 100
            assert shown == pytest.approx(left, abs=0.0004), "half the spread there is the rest"
            assert told["button"] == f"{'Buy' if told['direction'] == 'up' else 'Sell'} on Binance Sandbox"
            assert told["href"] == f"https://www.binance.com/en/trade/{coin}_USDT?type=spot"
            assert (told["target"], told["rel"]) == ("_blank", "noopener noreferrer")

            await page.goto(f"{url}/prices/")
            row = page.locator(".board-row", has_text="BTC").first
            await row.locator("[data-live=yes] .spread", has_text="%").first.wait_for(timeout=PATIENCE)
            assert await page.locator("#reference").input_value() == "binance-sandbox", "the exchange where she buys"

            await page.goto(f"{url}/symbols/coinbase-sandbox/{coin}-USD/")
            await page.get_by_text(f"Where to act on {coin}").click()
            places = page.locator("#venues-body li")
            await places.first.wait_for(timeout=PATIENCE)
            rows = [" ".join((await place.inner_text()).split()) for place in await places.all()]
            first = [row.split()[:2] for row in rows]
            assert first == [["1.", "Binance"], ["2.", "Coinbase"], ["\u2013", "Kraken"]], "the one that costs less first; Kraken is idle"
            assert f"lists {coin}USDT; no restriction known for DE; taker fee 0.1 %" in rows[0]
            assert f"lists {coin}-USD; no restriction known for DE; taker fee 1.2 %" in rows[1]
            assert await places.first.get_by_role("link").get_attribute("href") == told["href"]
            assert complaints == []
