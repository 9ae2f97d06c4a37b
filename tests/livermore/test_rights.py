"""Who may do what: every address, admin action and socket, for every role, walked from the URLconf and compared with a written table.

``python -m pytest tests/livermore/test_rights.py --write-rights`` writes the table anew; read its difference before you commit it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import get_resolver
from django.utils import timezone
from simple_history.utils import get_history_model_for_model

from alerts.models import Alert, AlertRule
from exchanges.models import UserExchange
from livermore.db import db
from market_data.models import Checkpoint
from symbols.models import Position, Symbol, UserSymbol
from tests import seeds
from tests.alerts.drafts import begin, commit, draft
from tests.livermore.test_urls import WITHOUT_LOGIN, addresses
from tests.people import client_of, person

TABLE = Path(__file__).parent / "rights.json"
ROLES = ("anonymous", "no role", "viewer", "trader", "operator", "administrator", "superuser")
"""Each with the rights of the one before it."""
METHODS = ("get", "post", "put", "patch", "delete")
ADMIN_TOO = {"operator", "administrator", "superuser"}
"""Roles whose members are staff here, as they would be."""


@pytest.fixture
def _world(db, redis_url):
    seeds.restore()
    begin("coinbase")
    Symbol.objects.create(pk=1, exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", tier=1)


def first_rows() -> None:
    """The rows that the addresses name: what was numbered before, by other tests, must not matter."""
    User.objects.create(username="a-first")
    User.objects.get_or_create(pk=1, defaults={"username": "the-first"})
    for model in (Group, AlertRule):
        model.objects.get_or_create(pk=1, defaults={"name": "the-first"})
    trail = get_history_model_for_model(User)
    if not trail.objects.filter(pk=1).exists():
        first = trail.objects.filter(id=1).first() or trail(id=1, username="the-first", history_date=timezone.now(), history_type="+")
        first.pk = 1
        first.save(force_insert=True)


def member(role: str) -> User | None:
    if role == "anonymous":
        return None
    there = User.objects.filter(username=f"a-{role}").first()
    if there is not None:
        return there
    group = "" if role in {"no role", "superuser"} else role
    return person(f"a-{role}", group=group, superuser=role == "superuser", staff=role in ADMIN_TOO)


def routes() -> Iterator[tuple[str, str]]:
    """(route, a path that matches it), once each."""
    seen = set()
    for route, path in addresses(get_resolver()):
        if path not in seen:
            seen.add(path)
            yield route, f"/{path}"


def answer(client: Client, method: str, path: str) -> str:
    """yes, no, log in, or what the address says to such a method."""
    response = getattr(client, method)(path, data="{}" if method != "get" else None, content_type="application/json")
    location = response.headers.get("Location", "")
    if response.status_code == 302 and "/login/" in location:
        return "log in"
    if response.status_code in {401, 403}:
        return "no"
    return "no such method" if response.status_code == 405 else "yes"


def matrix() -> dict[str, dict[str, str]]:
    """ "METHOD route" -> the answer of each role in a word, where they do not all get the same: "role=answer …"."""
    clients = {role: client_of(member(role)) for role in ROLES}
    found: dict[str, dict[str, str]] = {}
    for route, path in routes():
        if path in {"/logout/", "/admin/logout/"}:
            continue  # ends the session with which the rest is asked
        for method in METHODS if path.startswith("/api/") else METHODS[:2]:
            with_rollback = {role: rolled_back(client, method, path) for role, client in clients.items()}
            if with_rollback["superuser"] != "no such method":
                found[f"{method.upper()} {route}"] = with_rollback
    return found


def rolled_back(client: Client, method: str, path: str) -> str:
    """Ask, and undo what came of it."""
    from django.db import transaction

    with transaction.atomic():
        said = answer(client, method, path)
        transaction.set_rollback(True)
    return said


def in_words(found: dict[str, dict[str, str]]) -> dict[str, str]:
    """Each line as who may: "viewer and up", "everybody", "nobody", or role by role."""
    return {name: summary(answers) for name, answers in sorted(found.items())}


def summary(answers: dict[str, str]) -> str:
    may = [role for role in ROLES if answers[role] in {"yes", "no such method"}]
    first = ROLES.index(may[0]) if may else len(ROLES)
    if tuple(may) == ROLES[first:]:
        return "nobody" if not may else "everybody" if first == 0 else f"{may[0]} and up"
    return ", ".join(may)


def admin_rights() -> dict[str, str]:
    """ "admin MODEL ACTION" -> who may."""
    people = {role: member(role) for role in ROLES if role != "anonymous"}
    found = {}
    for model, model_admin in sorted(admin.site._registry.items(), key=lambda pair: pair[0]._meta.label):
        may: dict[str, dict[str, str]] = {}
        for role, user in people.items():
            request = RequestFactory().get("/admin/")
            request.user = user
            allowed = {name for name in ("view", "add", "change", "delete") if getattr(model_admin, f"has_{name}_permission")(request)}
            allowed |= set(model_admin.get_actions(request)) if "view" in allowed else set()
            for name in allowed:
                may.setdefault(name, {})[role] = "yes" if user is not None and user.is_staff else "no"
        for name, answers in may.items():
            found[f"admin {model._meta.label} {name}"] = summary({role: answers.get(role, "no") for role in ROLES})
    return dict(sorted(found.items()))


@pytest.mark.usefixtures("_world")
def test_the_rights_of_every_role_are_those_of_the_table(request: pytest.FixtureRequest) -> None:
    first_rows()
    found = {**in_words(matrix()), **admin_rights()}
    if request.config.getoption("--write-rights"):
        TABLE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(TABLE.read_text())


def test_no_role_may_less_than_the_one_before_it_and_nobody_may_anything_but_what_is_written() -> None:
    """The table itself, whoever wrote it."""
    table: dict[str, str] = json.loads(TABLE.read_text())
    assert [name for name, may in table.items() if "," in may] == []
    open_to_all = {name for name, may in table.items() if may == "everybody" and name.startswith("GET ")}
    assert {name.removeprefix("GET ") for name in open_to_all} == WITHOUT_LOGIN
    without_role = {name for name, may in table.items() if may == "no role and up"}
    assert without_role == WITHOUT_A_ROLE


@pytest.mark.django_db(transaction=True)
async def test_who_may_hear_the_feed(redis_url: str) -> None:
    from livermore.asgi import application

    heard = {}
    for role in ROLES:
        user = await db(member)(role)
        client = await db(client_of)(user)
        cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
        headers = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
        if cookie is not None:
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie.value}".encode()))
        page = WebsocketCommunicator(application, "/ws/feed/", headers=headers)
        await page.connect()
        await page.send_json_to({"type": "hello", "v": 1, "resume": {}})
        said = await page.receive_output(timeout=5)
        heard[role] = said.get("code") or said["type"]
        await page.disconnect()
    assert heard == {"anonymous": 4401, "no role": 4403, **dict.fromkeys(ROLES[2:], "websocket.send")}


# What is another's

WITHOUT_A_ROLE = {
    *(f"{method} password/" for method in ("GET", "POST")),
    *(f"GET account/two-factor/{rest}" for rest in ("", "authenticate/", "recovery-codes/", "webauthn/")),
    *(
        f"{method} account/two-factor/{rest}"
        for method in ("GET", "POST")
        for rest in ("recovery-codes/download/", "totp/deactivate/", "authenticate/")
    ),
    *(f"GET api/{rest}" for rest in ("", "docs/", "schema/")),
}
"""What somebody who is logged in may do without a role: change the own password, set up a second factor, and read what the API is like."""

CANARIES = ("CANARYCOIN", "canary-key", "canary-secret", "77.123456", "canary-mike")


def mikes() -> None:
    """What Mike has, and nobody else may see."""
    mike = person("canary-mike", group="trader")
    row = Symbol.objects.create(
        pk=2, exchange_id="coinbase", symbol="CANARYCOIN-USD", base="CANARYCOIN", quote="USD", tier=2, keeper=mike, tradable=True
    )
    UserSymbol.objects.create(pk=1, user=mike, symbol=row)
    Position.objects.create(pk=1, user=mike, exchange_id="coinbase", asset="CANARYCOIN", quantity=77.123456, symbol=row, value=100)
    UserExchange.objects.create(
        pk=1, user=mike, exchange_id="coinbase", api_key="canary-key", api_secret="canary-secret", share_overflow=False
    )
    Checkpoint.objects.create(exchange_id="coinbase", symbol="BTC-USD", timeframe="5m", open_time=0, indicator="[]")
    commit(draft(0, "level_150"))
    alert = Alert.objects.get()
    alert.pk = None
    alert.number, alert.uid, alert.symbol, alert.base, alert.overflow, alert.shared = (
        2,
        "x|CANARYCOIN",
        "CANARYCOIN-USD",
        "CANARYCOIN",
        True,
        False,
    )
    alert.save()
    alert.owners.add(mike)


LISTED_FOR_ALL = {"/api/symbols/", "/api/symbols/2/", "/admin/symbols/symbol/", "/admin/symbols/symbol/2/change/"}
"""That the exchange lists a coin is no secret: there its name may stand, and nothing of Mike."""


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("role", ["no role", "viewer", "trader", "operator", "administrator"])
def test_nobody_but_a_superuser_sees_what_is_anothers(role: str) -> None:
    mikes()
    client = client_of(member(role))
    more = ["/admin/symbols/symbol/2/change/", "/api/symbols/2/", "/symbols/coinbase/CANARYCOIN-USD/", "/api/my/positions/?user=1"]
    more += ["/api/alerts/x|CANARYCOIN/", "/admin/exchanges/userexchange/1/change/", "/admin/symbols/position/1/change/"]
    more += ["/api/exchanges/coinbase/symbols/CANARYCOIN-USD/candles/", "/api/alerts/?symbol=CANARYCOIN-USD", "/api/symbols/?tier=2"]
    more += ["/api/alerts/x|CANARYCOIN/receipt/", "/alerts/x|CANARYCOIN/", "/api/exchanges/coinbase/symbols/CANARYCOIN-USD/why/"]
    seen = []
    for path in [path for _, path in routes()] + more:
        if path in {"/logout/", "/admin/logout/"}:
            continue
        response = client.get(path)
        text = response.content.decode(errors="replace") if not response.streaming else ""
        named = {canary for canary in CANARIES if canary in text}
        if role == "administrator" and path.startswith("/admin/auth/user/"):
            named.discard("canary-mike")  # who administers users sees that they are there
        if path.split("?")[0] in LISTED_FOR_ALL or "CANARYCOIN" in path:
            named.discard("CANARYCOIN")  # listed by the exchange, or what was asked for
        if named:
            seen.append((path, named))
    assert seen == []


@pytest.mark.usefixtures("_world")
def test_to_others_a_symbol_that_one_user_wants_looks_like_one_nobody_watches() -> None:
    mikes()
    client = client_of(member("trader"))
    row = client.get("/api/symbols/2/").json()
    assert (row["tier"], row["added"], row["held"]) == (None, False, False)
    assert client.get("/api/symbols/?tier=2").json()["count"] == 0
    series = client.get("/api/exchanges/coinbase/symbols/CANARYCOIN-USD/candles/").json()
    assert (series["state"], series["candles"]) == ("offline", [])
    assert client.get("/api/alerts/").json()["count"] == 1
    assert client.get("/api/alerts/x|CANARYCOIN/").status_code == 404


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("delete", "/api/my/symbols/2/", None),
        ("delete", "/api/my/positions/1/", None),
    ],
)
def test_nobody_changes_what_is_anothers(method: str, path: str, body: Any) -> None:
    mikes()
    before = (UserSymbol.objects.count(), Position.objects.count())
    assert getattr(client_of(member("administrator")), method)(path).status_code == 404
    assert (UserSymbol.objects.count(), Position.objects.count()) == before


def test_the_roles_are_groups_made_by_a_migration(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM auth_group ORDER BY name")
        assert [name for (name,) in cursor.fetchall()] == ["administrator", "operator", "trader", "viewer"]
