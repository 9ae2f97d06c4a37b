"""Notifications in a real Chromium: a channel set up, tried and mended; an alert acknowledged; what an open page is told."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from django.contrib.auth.models import Group, User
from playwright.async_api import BrowserContext, Page, expect

from alerts.models import NotificationChannel, NotificationSettings, Silence
from livermore.db import db
from tests.alerts.drafts import begin, commit, draft
from tests.alerts.receivers import Web, web
from tests.browser import PASSWORD, PATIENCE, chromium_browser, complaints_of, log_in, process, web_server

expect.set_options(timeout=PATIENCE)
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


Site = tuple[BrowserContext, str, Web, list[str]]


def prepare() -> None:
    begin("coinbase-sandbox")
    User.objects.create_user("olive", password=PASSWORD).groups.add(Group.objects.get(name="trader"))
    commit(draft(), exchange_id="coinbase-sandbox")


@pytest.fixture
async def site(
    redis_url: str, process_environment: dict[str, str], chromium: str
) -> AsyncIterator[tuple[BrowserContext, str, Web, list[str]]]:
    """A browser, the site with a delivery process, and the other end of a channel."""
    await db(prepare)()
    process_environment["LIVERMORE_TEST_NETWORKS"] = "127.0.0.0/8"
    async with AsyncExitStack() as stack:
        receiver = stack.enter_context(web())
        url = await stack.enter_async_context(web_server(process_environment))
        await stack.enter_async_context(process(process_environment, "manage.py", "rundelivery"))
        browser = await stack.enter_async_context(chromium_browser(chromium))
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE)
        yield context, url, receiver, complaints_of(context)


async def test_a_channel_is_set_up_tried_and_mended_and_an_alert_acknowledged(site: Site) -> None:
    context, url, receiver, complaints = site
    page = await context.new_page()
    await log_in(page, url)
    await page.goto(f"{url}/settings/")
    await sets_a_channel_up(page, receiver)
    await is_left_alone(page)
    await acknowledges(page, url)
    assert [one for one in complaints if "400" not in one] == []


async def sets_a_channel_up(page: Page, receiver: Web) -> None:
    await page.get_by_label("To", exact=True).select_option("webhook")
    await page.get_by_label("URL", exact=True).fill("somewhere")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.locator("#channel-said")).to_contain_text("not an address of this service")
    await page.get_by_label("URL", exact=True).fill(f"http://127.0.0.1:{receiver.port}/canary-7f3a9c")
    await page.get_by_role("button", name="Add", exact=True).click()
    channel = page.locator(".channel")
    await expect(channel.locator("> .said")).to_have_text("Stored. Test it.")
    assert "canary" not in await page.content()
    receiver.answers = [(404, {}, b'{"message": "Unknown hook"}')]
    await page.get_by_role("button", name="Test JSON at 127.0.0.1").click()
    await expect(channel.locator("> .said")).to_have_text("127.0.0.1 answered 404: Unknown hook")
    await page.reload()
    await expect(channel.locator(".channel-facts")).to_contain_text("Unknown hook")
    await page.get_by_role("button", name="Test JSON at 127.0.0.1").click()
    await expect(channel.locator("> .said")).to_contain_text("Taken by the other end after")
    assert [body["title"] for body in receiver.bodies] == ["Livermore: a test"] * 2
    await channel.get_by_label("5m", exact=True).check()
    await channel.get_by_label("Mine only").check()
    await expect(channel.get_by_label("Mine only")).to_be_enabled()
    row = await db(NotificationChannel.objects.get)()
    assert (row.timeframes, row.mine_only) == (["5m", "1h", "4h", "1d"], True)


async def is_left_alone(page: Page) -> None:
    await page.get_by_role("checkbox", name="from").check()
    await page.get_by_label("Quiet until").fill("06:30")
    await page.locator("#repeats select").select_option("hour")
    await page.locator("#notify-form").get_by_role("button", name="Save").click()
    await expect(page.locator("#notify-said")).to_have_text("Saved.")
    row = await db(NotificationSettings.objects.get)()
    assert (row.quiet_from, row.quiet_to) == (22 * 60, 6 * 60 + 30)
    assert row.zone, "the browser's, for the pages' is not set"


async def acknowledges(page: Page, url: str) -> None:
    await page.goto(url)
    await page.locator(".alert-main").click()
    await page.get_by_role("button", name="Acknowledge", exact=True).click()
    await expect(page.locator(".alert-main .mark-word")).to_have_text("seen")
    await page.get_by_label("Snooze BTC-USD").select_option("60")
    await expect(page.locator(".alert-main .mark-word")).to_have_text(["seen", "snoozed"])
    await page.get_by_role("link", name="Its own page").click()
    await page.get_by_role("button", name="Acknowledged").click()
    await expect(page.get_by_role("button", name="Acknowledge", exact=True)).to_be_visible()
    assert [row.kind for row in await db(lambda: list(Silence.objects.all()))()] == ["snooze"]
