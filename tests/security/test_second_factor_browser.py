"""A second factor in a real Chromium, with a security key of its own: set up, asked for, used, under the strict policy of our pages."""

import asyncio
import os
import re
from pathlib import Path

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.contrib.auth.models import User
from playwright.async_api import Page, expect

from livermore.db import db
from tests import seeds
from tests.browser import PASSWORD, PATIENCE, chromium_browser, complaints_of, log_in, web_server
from tests.people import person
from tests.security import long

pytestmark = [long, pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect.set_options(timeout=PATIENCE)


def olive() -> User:
    seeds.restore()
    user = person("olive", group="operator")
    user.set_password(PASSWORD)
    user.save()
    return user


async def look(page: Page, name: str) -> None:
    """Keep what a page looks like, where SECURITY_SCREENSHOTS names a directory."""
    directory = os.environ.get("SECURITY_SCREENSHOTS")
    if directory:
        await page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)


async def log_out(page: Page) -> None:
    await page.locator("#user-menu summary").click()
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_label("Username").wait_for()


async def log_in_again(page: Page) -> None:
    await page.get_by_label("Username").fill("olive")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")


async def test_staff_set_up_an_app_and_a_security_key_and_log_in_with_either(
    chromium: str, redis_url: str, process_environment: dict[str, str]
) -> None:
    await db(olive)()
    environment = {**process_environment, "STAFF_SECOND_FACTOR": "true"}
    async with web_server(environment) as address, chromium_browser(chromium) as browser:
        url = address.replace("127.0.0.1", "localhost")  # a security key belongs to a name, not to an address
        context = await browser.new_context(viewport={"width": 390, "height": 844})
        complaints = complaints_of(context)
        page = await context.new_page()
        key = await context.new_cdp_session(page)
        await key.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        await key.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "isUserVerified": True}})

        await log_in(page, f"{url}/", "olive")
        await page.goto(f"{url}/admin/")
        await expect(page.locator("main")).to_contain_text("Authenticator App")
        await expect(page.locator(".notice")).to_contain_text("The admin opens once you have a second factor")
        await look(page, "index")
        await page.get_by_role("link", name="Activate").click()
        await look(page, "confirm")
        await page.locator("input[type=password]").fill(PASSWORD)
        await page.get_by_role("button", name="Confirm").click()
        secret = await page.locator("#authenticator_secret").input_value()
        await look(page, "activate")
        early = totp.format_hotp_value(totp.hotp_value(secret, sorted(totp.yield_hotp_counters_from_time())[0]))
        await page.get_by_label("Authenticator code").fill(early)
        await page.get_by_role("button", name="Activate").click()
        codes = re.findall(r"\d{8}", await page.locator("#recovery_codes").input_value())
        assert len(codes) == 10
        await look(page, "codes")

        await page.goto(f"{url}/account/two-factor/webauthn/add/")
        await look(page, "key")
        await page.locator("input[name=name]").fill("my key")
        await page.locator("#mfa_webauthn_add").click()
        await expect(page.locator("main")).to_contain_text("You have added 1 security key")
        await look(page, "keys")
        await page.goto(f"{url}/admin/")
        await expect(page).to_have_url(f"{url}/admin/")

        await page.goto(f"{url}/settings/")
        await look(page, "settings")
        await log_out(page)
        await log_in_again(page)
        await page.locator("#mfa_webauthn_authenticate").wait_for()
        await look(page, "authenticate")
        await page.locator("#mfa_webauthn_authenticate").click()
        await page.wait_for_url(f"{url}/")
        await log_out_from(page, url)

        await log_in_again(page)
        await page.locator("input[name=code]").fill(codes[0])
        await page.get_by_role("button", name="Sign In").click()
        await page.wait_for_url(f"{url}/")
        await asyncio.sleep(0.2)
        assert complaints == []


async def log_out_from(page: Page, url: str) -> None:
    await page.goto(f"{url}/settings/")
    await log_out(page)
