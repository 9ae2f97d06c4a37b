"""Notifications in a real Chromium: a channel set up, tried and mended; an alert acknowledged; what an open page is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group, User
from playwright.async_api import BrowserContext, Page, expect

from alerts.channels import digest_of
from alerts.messages import Message, push_payload
from alerts.models import Kind, NotificationChannel, NotificationSettings, Silence
from alerts.publishing import Publisher
from livermore import bus, keys
from livermore.db import db
from tests.alerts.drafts import begin, commit, draft
from tests.alerts.notifying import channel
from tests.alerts.pushing import Browser
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
        redis = bus.connect()
        await until(lambda: redis.exists(keys.delivery_beat()), "a delivery process")
        await redis.aclose()
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE)
        yield context, url, receiver, complaints_of(context)


async def test_channels_are_set_up_alerts_are_acknowledged_and_open_pages_tell(site: Site) -> None:
    context, url, receiver, complaints = site
    page = await context.new_page()
    await log_in(page, url)
    await page.goto(f"{url}/settings/")
    await sets_a_channel_up(page, receiver)
    await is_left_alone(page)
    await acknowledges(page, url)
    await page.close()
    await db(NotificationSettings.objects.update)(quiet_from=None, quiet_to=None)
    await is_told_by_open_pages(context, url)
    assert [one for one in complaints if "400" not in one and "incognito" not in one] == []


async def is_told_by_open_pages(context: BrowserContext, url: str) -> None:
    """Once for two of them, with one tone; and by a push, where none is open."""
    await context.add_init_script(WATCH)
    page = await context.new_page()
    await page.goto(url)
    await expect(page.locator("#link-text")).to_have_text("live")
    await is_switched_on_under_the_bell(context, page)
    other = await context.new_page()
    await other.goto(url)
    await expect(other.locator("#link-text")).to_have_text("live")
    await other.mouse.click(5, 5)
    await is_told_once(page, other)
    await is_told_without_a_sound(page, other)
    await is_pushed(context, page)
    await other.close()
    await is_led_to_the_page(context, page)
    await is_renewed(context)
    await cannot_subscribe_without_a_push_service(page, url)


# Counts what sounds, in the pages themselves.
WATCH = """
window.sounded = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...rest) { window.sounded += 1; return start.apply(this, rest); };
"""
NOTES = 2
"""Of one tone."""


async def is_switched_on_under_the_bell(context: BrowserContext, page: Page) -> None:
    await page.locator("#bell").click()
    switch = page.get_by_role("switch", name="On open pages")
    await expect(page.locator("#bell-switch .notify-row").first).to_contain_text("Off.")
    assert await page.evaluate("Notification.permission") != "granted", "nothing is asked for before a click"
    await context.grant_permissions(["notifications"])
    await switch.check()
    await expect(page.locator("#bell-switch .notify-row").first).to_contain_text("On, with sound.")
    assert (await db(NotificationSettings.objects.get)()).pages
    await page.keyboard.press("Escape")


async def shown(page: Page, tag: str = "") -> list[dict[str, Any]]:
    """The notifications that the browser shows now."""
    found: list[dict[str, Any]] = await page.evaluate(
        """async (tag) => (await (await navigator.serviceWorker.ready).getNotifications(tag ? { tag } : {}))
            .map(({ title, body, silent, data }) => ({ title, body, silent, path: data.path }))""",
        tag,
    )
    return found


async def sounds(*pages: Page) -> int:
    return sum([await page.evaluate("window.sounded") for page in pages])


async def until(true: Callable[[], Awaitable[Any]], what: str) -> Any:
    try:
        async with asyncio.timeout(PATIENCE / 1000):
            while not (value := await true()):  # noqa: ASYNC110  (what it waits for is the browser's)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"there was never {what}") from None
    return value


async def is_told_once(page: Page, other: Page) -> None:
    """By the delivery process, from the alert in the database."""
    alerts = await db(lambda: commit(draft(1, symbol="ETH-USD", timeframe="1h"), exchange_id="coinbase-sandbox"))()
    redis = bus.connect()
    publisher = Publisher(redis, "coinbase-sandbox", "e")
    publisher.add(alerts)
    await publisher.flush()
    await redis.aclose()
    notes = await until(lambda: shown(page), "a notification of the alert")
    assert len(notes) == 1
    assert notes[0]["title"] == "▲ ETH-USD 1h crossed above +150"
    assert notes[0]["body"] == "Coinbase Sandbox · 101.5 USD · MACD-V 151.2 · overbought"
    assert notes[0]["path"] == f"/alerts/{quote(alerts[0].uid, safe='')}/"
    await until(lambda: sounds(page, other), "a tone")
    await asyncio.sleep(0.5)
    assert await sounds(page, other) == NOTES, "one tone for two tabs"
    assert len(await shown(page)) == 1


async def is_told_without_a_sound(page: Page, other: Page) -> None:
    user = await db(User.objects.get)(username="olive")
    note = {"type": "notify", "title": "late", "body": "<b>b</b>", "path": "/", "tag": "late", "silent": True, "at": 1}
    redis = bus.connect()
    await redis.publish(keys.channel_user_alerts(user.pk), bus.encode(note))
    await redis.aclose()
    [late] = await until(lambda: shown(page, "late"), "a notification without a sound")
    assert (late["silent"], late["body"]) == (True, "<b>b</b>")
    await asyncio.sleep(0.5)
    assert await sounds(page, other) == NOTES


async def is_pushed(context: BrowserContext, page: Page) -> None:
    """A message of a push service, as the browser hands it to the service worker."""
    devtools = await context.new_cdp_session(page)
    registrations: list[str] = []
    devtools.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: registrations.extend(one["registrationId"] for one in event["registrations"] if not one["isDeleted"]),
    )
    await devtools.send("ServiceWorker.enable")
    await until(lambda: asyncio.sleep(0, registrations), "a service worker")
    origin = "/".join(page.url.split("/")[:3])
    assert await page.evaluate("navigator.serviceWorker.controller?.scriptURL") == f"{origin}/service-worker.js"
    payload = push_payload(Message("pushed", "text", "/alerts/x/"), tag="t", silent=True, at=1)
    to = {"origin": origin, "registrationId": registrations[0]}

    async def pushed(data: str, tag: str) -> list[dict[str, Any]]:
        # Again and again: a message within a moment of another does not reach the worker by this way.
        await devtools.send("ServiceWorker.deliverPushMessage", {**to, "data": data})
        await asyncio.sleep(0.5)
        return await shown(page, tag)

    [note] = await until(lambda: pushed(json.dumps(payload), "t"), "what was pushed")
    assert note == {"title": "pushed", "body": "text", "silent": True, "path": "/alerts/x/"}

    async def unreadable() -> bool:
        return "Livermore" in [one["title"] for one in await pushed("not ours", "")]

    await until(unreadable, "a word of a message that cannot be read")


async def is_led_to_the_page(context: BrowserContext, page: Page) -> None:
    """By a click, of which the browser tells the service worker: this one we send."""
    notes = await shown(page)
    path = next(note["path"] for note in notes if "ETH-USD" in note["title"])
    await context.service_workers[0].evaluate(
        """async () => {
            const notification = (await registration.getNotifications()).find(({ title }) => title.includes("ETH-USD"));
            dispatchEvent(new NotificationEvent("notificationclick", { notification }));
        }"""
    )
    await page.wait_for_url(f"**{path}")
    await expect(page.locator("main")).to_contain_text("ETH-USD")
    assert "ETH-USD" not in str(await shown(page)), "what was clicked is gone"


async def is_renewed(context: BrowserContext) -> None:
    """The browser changes its subscription while no page is asked: the service worker gives the new one to the server."""
    browser, user = Browser(), await db(User.objects.get)(username="olive")
    old = "https://push.example.org/old"
    row = await db(lambda: channel(user, json.dumps(browser.subscription(old)), Kind.PUSH, digest=digest_of(old)))()
    await context.service_workers[0].evaluate(
        """([old, fresh]) => {
            const event = new ExtendableEvent("pushsubscriptionchange");
            dispatchEvent(Object.assign(event, { oldSubscription: { endpoint: old }, newSubscription: { toJSON: () => fresh } }));
        }""",
        [old, {name: browser.subscription("https://push.example.org/new")[name] for name in ("endpoint", "keys")}],
    )

    async def endpoint() -> bool:
        await db(row.refresh_from_db)()
        return bool(json.loads(row.url)["endpoint"] == "https://push.example.org/new")

    await until(endpoint, "the new endpoint in the database")
    await db(row.delete)()


async def cannot_subscribe_without_a_push_service(page: Page, url: str) -> None:
    await page.goto(f"{url}/settings/")
    await expect(page.locator("#this-browser .notify-row").first).to_contain_text("On")
    await page.get_by_role("switch", name="Also while none is open").click()
    await expect(page.locator("#this-browser .said").last).to_contain_text("push service of this browser does not answer")
    await page.get_by_role("switch", name="On open pages").uncheck()
    await expect(page.locator("#this-browser .notify-row").first).to_contain_text("Off.")


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

    async def stored() -> bool:
        row = await db(NotificationChannel.objects.get)()
        return (row.timeframes, row.mine_only) == (["5m", "1h", "4h", "1d"], True)

    await until(stored, "the subscription in the database")


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
