"""API tokens: made and revoked on the settings page, hashed, ending, with the rights of their user and no others."""

import re
from datetime import timedelta
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from exchanges import tokens
from exchanges.models import ApiToken
from livermore import bus
from livermore.db import db
from symbols.models import Symbol
from tests import seeds
from tests.alerts.test_consumers import HEADERS, opened
from tests.people import client_of, person

ALERTS = "/api/alerts/"


@pytest.fixture(autouse=True)
def _world(request: pytest.FixtureRequest, redis_url: str) -> None:
    request.getfixturevalue("transactional_db" if request.node.get_closest_marker("django_db") else "db")
    seeds.restore()
    Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", tier=1, price=65_000)


@pytest.fixture
def trader(_world: None) -> User:
    return person("trader", group="trader", staff=False)


def made(user: User, name: str = "my bot", days: int = 30) -> tuple[Client, str]:
    """(the browser it was made in, the token as the page showed it)."""
    client = client_of(user)
    page = client.post("/settings/", {"section": "token", "name": name, "days": days})
    assert "no-store" in page.headers["Cache-Control"]
    (token,) = re.findall(r"lvm_\w+", page.text)
    return client, token


def asked(token: str, path: str = ALERTS, method: str = "get", scheme: str = "Bearer", **data: Any) -> int:
    headers = {"authorization": f"{scheme} {token}"}
    return int(getattr(Client(enforce_csrf_checks=True), method)(path, data, content_type="application/json", headers=headers).status_code)


def test_a_token_opens_the_api_and_is_shown_once(trader: User) -> None:
    client, token = made(trader)
    assert asked(token) == 200
    assert asked(token, "/api/my/positions/", "post", exchange="coinbase", asset="BTC", quantity=1) == 201, "no cookie, so no CSRF"
    page = client.get("/settings/").text
    assert "my bot" in page
    assert token not in page
    assert token[8:] not in str(list(ApiToken.objects.values())), "the database has its hash only"


def test_a_token_has_the_rights_of_its_user_and_no_others(trader: User) -> None:
    viewer = person("viewer", group="viewer", staff=False)
    (_, traders), (_, viewers) = made(trader), made(viewer)
    position = {"exchange": "coinbase", "asset": "BTC", "quantity": 1}
    answers = [asked(token, "/api/my/positions/", "post", **position) for token in (traders, viewers)]
    assert answers == [201, 403]
    command = {"action": "stop"}
    assert asked(traders, "/api/exchanges/coinbase/commands/", "post", **command) == 403
    trader.groups.clear()
    assert asked(traders) == 403, "what the user loses, the token loses"


def test_a_token_opens_no_page_and_makes_no_token(trader: User) -> None:
    _, token = made(trader)
    for path in ("/", "/settings/", "/admin/", "/account/two-factor/"):
        assert asked(token, path) == 302
    assert asked(token, "/metrics") == 403
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize("end", ["expired", "revoked", "inactive"])
def test_a_token_that_ended_opens_nothing(trader: User, end: str) -> None:
    client, token = made(trader)
    if end == "expired":
        ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    elif end == "revoked":
        answer = client.post("/settings/", {"section": "revoke", "token": ApiToken.objects.get().digest}, follow=True)
        assert "The token “my bot” works no more." in answer.text
    else:
        User.objects.update(is_active=False)
    assert asked(token) == 403


@pytest.mark.parametrize("token", ["", "x", "lvm_", "lvm_" + "0" * 64, "é", "\xff\xfe", "a b", "lvm_" + "z" * 64, "lvm_" + "a" * 9000])
def test_what_is_no_token_is_refused_without_an_error(trader: User, token: str) -> None:
    made(trader)
    assert asked(token) == 403


def test_a_new_password_ends_its_users_tokens_and_nothing_else_does(trader: User) -> None:
    other = person("other", group="trader", staff=False)
    trader.set_password("correct-horse")
    trader.save()
    (client, token), (_, kept) = made(trader), made(other)
    again = User.objects.get(pk=trader.pk)
    again.last_name = "Livermore"
    again.save()
    assert asked(token) == 200
    form = {"old_password": "correct-horse", "new_password1": "battery-staple-9", "new_password2": "battery-staple-9"}
    assert client.post("/password/", form).status_code == 302
    assert (asked(token), asked(kept)) == (403, 200)
    assert list(ApiToken.objects.values_list("user", flat=True)) == [other.pk]


def test_a_token_of_another_is_not_ones_own_to_revoke(trader: User) -> None:
    made(trader)
    other = client_of(person("kaia", group="trader", staff=False))
    other.post("/settings/", {"section": "revoke", "token": ApiToken.objects.get().digest})
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(("name", "days"), [("", 30), ("x" * 61, 30), ("\u202ebot", 30), ("bot", 31), ("bot", 0), ("bot", "for ever")])
def test_what_cannot_be_made_says_why_and_makes_nothing(trader: User, name: str, days: Any) -> None:
    answer = client_of(trader).post("/settings/", {"section": "token", "name": name, "days": days})
    assert answer.status_code == 400
    assert "field-error" in answer.text
    assert ApiToken.objects.count() == 0


def test_there_are_at_most_twenty(trader: User) -> None:
    for number in range(tokens.MOST):
        tokens.token_create(user=trader, name=f"bot {number}", days=30)
    answer = client_of(trader).post("/settings/", {"section": "token", "name": "one more", "days": 30})
    assert "You have 20 tokens" in answer.text
    ApiToken.objects.update(expiry=timezone.now() - timedelta(days=1))
    assert "lvm_" in client_of(trader).post("/settings/", {"section": "token", "name": "one more", "days": 30}).text


# The feed


async def connected(token: str, headers: list[tuple[bytes, bytes]] = HEADERS) -> tuple[bool, Any]:
    from livermore.asgi import application

    socket = WebsocketCommunicator(application, "/ws/feed/", headers=[*headers, (b"authorization", f"Bearer {token}".encode())])
    return (await socket.connect())[0], socket


@pytest.mark.django_db(transaction=True)
async def test_a_token_opens_the_feed_and_its_end_closes_it_at_once(trader: User) -> None:
    client, token = await db(made)(trader)
    async with opened(None, [*HEADERS, (b"authorization", f"Bearer {token}".encode())]) as page:
        assert (await page.hello())["type"] == "snapshot"
        digest = await db(ApiToken.objects.values_list("digest", flat=True).get)()
        await db(client.post)("/settings/", {"section": "revoke", "token": digest})
        assert await page.closed() == 4401


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("token", ["wrong", "lvm_" + "0" * 64, ""])
async def test_a_wrong_token_opens_nothing_though_a_cookie_stands_beside_it(trader: User, token: str) -> None:
    cookie = (await db(client_of)(trader)).cookies["sessionid"].value.encode()
    async with opened(None, [*HEADERS, (b"cookie", b"sessionid=" + cookie), (b"authorization", f"Bearer {token}".encode())]) as page:
        assert await page.socket.receive_output() == {"type": "websocket.close", "code": 4401}


@pytest.mark.django_db(transaction=True)
async def test_a_token_does_not_stand_for_the_origin(trader: User) -> None:
    _, token = await db(made)(trader)
    for origin in ([], [(b"origin", b"https://evil.example")]):
        accepted, _ = await connected(token, [(b"host", b"localhost"), *origin])
        assert accepted is False
    await bus.relay().close()


def test_ended_tokens_are_not_listed(trader: User) -> None:
    client, _ = made(trader, "old bot")
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert "old bot" not in client.get("/settings/").text
