"""Every address: who may open it, what it answers when something is missing, and the headers on it."""

import json
import re

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, path, resolve

from exchanges.models import UserExchange
from livermore import readiness
from livermore.middleware import ADMIN, API_DOCS, HEADER, OWN_PAGES
from tests import seeds
from tests.people import browser, client_of, person

WITHOUT_LOGIN = {"login/", "healthz", "readyz", "favicon.ico", "service-worker.js"}
"""All addresses that answer somebody who is not logged in. Add to this list on purpose only."""


@pytest.fixture
def _world(db, redis_url):
    seeds.restore()


def addresses(resolver: URLResolver, prefix: str = "") -> list[tuple[str, str]]:
    """(route as it is written, a path that matches it) of every pattern."""
    found = []
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            found += addresses(entry, route)
        elif isinstance(entry, URLPattern):
            found.append((route, example(route)))
    return found


EXAMPLES = {
    r"<str:exchange_id>": "coinbase",
    r"<path:symbol>": "BTC-USD",
    r"<\w+:\w+>|<id>": "1",
    r"\(\?P<(?:pk|exchange_id)>\[\^/\]\+\)": "coinbase",
    r"\(\?P<pk>\[0-9\]\{1,18\}\)": "1",
    r"\(\?P<(?:uid|url)>\.[+*]\)": "nothing",
    r"\(\?P<app_label>(\w+)[^)]*\)": r"\1",
    r"\(\[\^/\]\+\)": "1",
    r"\^|\$|\\Z": "",
}


def example(route: str) -> str:
    for pattern, value in EXAMPLES.items():
        route = re.sub(pattern, value, route)
    return route


@pytest.mark.usefixtures("_world")
def test_every_address_but_a_written_list_asks_for_a_login():
    anonymous = client_of(None)
    open_to_all = set()
    for route, example_path in addresses(get_resolver()):
        answer = anonymous.get(f"/{example_path}")
        if answer.status_code == 302 and answer.headers["Location"].startswith(("/login/", "/admin/login/?next=")):
            continue
        if answer.status_code not in {401, 403}:
            open_to_all.add(example_path)
        else:
            assert "json" in answer.headers["Content-Type"] or "openapi" in answer.headers["Content-Type"], route
    assert open_to_all == WITHOUT_LOGIN


def test_the_walk_over_the_addresses_reaches_the_view_of_each():
    """An example path that leads elsewhere would prove nothing."""
    walked = addresses(get_resolver())
    assert [route for route, example_path in walked if resolve(f"/{example_path}").route.replace("^", "") != route.replace("^", "")] == []
    assert len(walked) > 60


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize(
    ("url", "anonymous", "viewer", "operator", "superuser"),
    [
        ("/", 302, 200, 200, 200),
        ("/login/", 200, 302, 302, 302),
        ("/password/", 302, 200, 200, 200),
        ("/admin/", 302, 200, 200, 200),
        ("/admin/auth/user/", 302, 403, 403, 200),
        ("/admin/auth/group/", 302, 403, 403, 200),
        ("/api/", 403, 200, 200, 200),
        ("/api/exchanges/", 403, 200, 200, 200),
        ("/api/exchanges/coinbase/", 403, 200, 200, 200),
        ("/api/exchanges/health/", 403, 200, 200, 200),
        ("/api/exchanges/coinbase/health/", 403, 200, 200, 200),
        ("/api/exchanges/coinbase/events/", 403, 200, 200, 200),
        ("/exchanges/", 302, 200, 200, 200),
        ("/metrics", 403, 403, 403, 403),
        ("/api/symbols/", 403, 200, 200, 200),
        ("/api/alerts/", 403, 200, 200, 200),
        ("/api/my/symbols/", 403, 200, 200, 200),
        ("/api/my/positions/", 403, 200, 200, 200),
        ("/api/my/exchanges/", 403, 200, 200, 200),
        ("/api/my/settings/", 403, 200, 200, 200),
        ("/api/my/channels/", 403, 200, 200, 200),
        ("/api/my/notifications/", 403, 200, 200, 200),
        ("/api/schema/", 403, 200, 200, 200),
        ("/api/docs/", 302, 200, 200, 200),
        ("/api/nothing/", 403, 404, 404, 404),
        ("/nothing/", 404, 404, 404, 404),
        ("/healthz", 200, 200, 200, 200),
        ("/readyz", 200, 200, 200, 200),
    ],
)
def test_who_opens_what(url, anonymous, viewer, operator, superuser):
    answers = [browser(who).get(url).status_code for who in ("anonymous", "viewer", "operator", "superuser")]
    assert answers == [anonymous, viewer, operator, superuser]


@pytest.mark.usefixtures("_world")
def test_somebody_who_is_not_staff_gets_no_admin():
    client = client_of(person("kaia", group="administrator", staff=False))
    assert client.get("/admin/exchanges/exchange/").headers["Location"].startswith("/admin/login/")


# Health


def test_health_says_only_that_this_process_answers(valkey):
    valkey.kill()
    answer = client_of(None).get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.django_db
def test_readiness_says_which_part_is_not_there(valkey):
    client = client_of(None)
    parts = {
        "database": {"ok": True, "reason": "it answers"},
        "migrations": {"ok": True, "reason": "all are applied"},
        "redis": {"ok": True, "reason": "it answers"},
    }
    assert client.get("/readyz").json() == {"ok": True, **parts}
    valkey.kill()
    answer = client.get("/readyz")
    redis = {"ok": False, "reason": "it does not answer (ConnectionError)"}
    assert (answer.status_code, answer.json()) == (503, {"ok": False, **parts, "redis": redis})


@pytest.mark.django_db
def test_a_database_that_lacks_a_migration_is_not_ready(redis_url, monkeypatch):
    monkeypatch.setattr(readiness, "_migrated", False)
    last = MigrationRecorder.Migration.objects.filter(app="alerts").latest("pk")
    last.delete()
    answer = client_of(None).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["migrations"] == {"ok": False, "reason": "1 are not applied: run manage.py migrate"}
    MigrationRecorder.Migration(app=last.app, name=last.name).save()
    assert client_of(None).get("/readyz").status_code == 200


# What is not there, and what breaks


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("url", ["/api/nothing/", "/api/nothing", "/api/exchanges/coinbase/nothing/", "/api/%00/", "/api//"])
def test_what_is_not_there_is_json_under_api(url, method):
    answer = getattr(browser("viewer"), method)(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")
    assert answer.json()["detail"].startswith("There is no /api/")


@pytest.mark.usefixtures("_world")
def test_a_missing_slash_is_added_where_nothing_is_lost_and_named_elsewhere():
    client = browser("operator")
    moved = client.get("/api/exchanges?adapter=coinbase")
    assert (moved.status_code, moved.headers["Location"]) == (302, "/api/exchanges/?adapter=coinbase")
    refused = client.post("/api/exchanges/coinbase/commands", {"action": "start"}, content_type="application/json")
    assert (refused.status_code, refused.json()) == (404, {"detail": "Paths end with a slash: /api/exchanges/coinbase/commands/"})


@pytest.mark.usefixtures("_world")
def test_what_is_not_there_is_a_page_elsewhere():
    answer = browser("viewer").get("/nothing/")
    assert answer.status_code == 404
    assert "No such page" in answer.text


def broken(request):
    raise RuntimeError("canary-in-the-traceback")


broken.login_required = False


class Urls:
    """The project's addresses and two that fail."""

    urlpatterns = [path("api/broken/", broken), path("broken/", broken)]
    handler404 = "livermore.views.not_found"
    handler500 = "livermore.views.failed"


@override_settings(ROOT_URLCONF=Urls)
def test_what_breaks_is_json_under_api_and_tells_nothing():
    answer = client_of(None).get("/api/broken/")
    assert (answer.status_code, answer.json()) == (500, {"detail": "The server failed on this request; its log says why."})


@override_settings(ROOT_URLCONF=Urls)
def test_an_api_404_that_no_view_answered_is_json():
    answer = client_of(None).get("/api/else/")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


@override_settings(ROOT_URLCONF=Urls)
def test_what_breaks_is_a_page_elsewhere_and_tells_nothing():
    answer = client_of(None).get("/broken/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert "canary" not in answer.text


@pytest.mark.usefixtures("_world")
def test_a_host_we_do_not_serve_is_refused():
    assert Client(raise_request_exception=False).get("/healthz", headers={"host": "evil.example"}).status_code == 400


# Headers


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("/", OWN_PAGES),
        ("/login/", OWN_PAGES),
        ("/nothing/", OWN_PAGES),
        ("/api/exchanges/", OWN_PAGES),
        ("/administrator/", OWN_PAGES),
        ("/admin/", ADMIN),
        ("/admin/nothing/", ADMIN),
        ("/api/docs/", API_DOCS),
    ],
)
def test_every_page_carries_its_content_security_policy(url, policy):
    assert browser("superuser").get(url).headers[HEADER] == policy


def test_the_policy_of_our_pages_is_strict():
    assert OWN_PAGES == (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
    )


def test_only_the_admin_may_evaluate_text():
    assert [name for name, policy in {"own": OWN_PAGES, "admin": ADMIN, "docs": API_DOCS}.items() if "unsafe-eval" in policy] == ["admin"]
    assert "script-src 'self';" in API_DOCS


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("url", ["/api/docs/", "/api/docs/?script=", "/password/", "/login/"])
def test_pages_without_inline_scripts_have_none(url):
    client = client_of(None) if url == "/login/" else browser("viewer")
    text = client.get(url).text
    assert "<script>" not in text
    assert "cdn" not in text


@pytest.mark.usefixtures("_world")
def test_the_schema_describes_every_endpoint():
    schema = json.loads(browser("viewer").get("/api/schema/?format=json").text)
    assert sorted(f"{method} {url}" for url, methods in schema["paths"].items() for method in methods) == [
        "delete /api/my/browsers/{id}/",
        "delete /api/my/channels/{id}/",
        "delete /api/my/positions/{id}/",
        "delete /api/my/silences/{id}/",
        "delete /api/my/symbols/{id}/",
        "get /api/across/",
        "get /api/alerts/",
        "get /api/alerts/export.csv/",
        "get /api/alerts/{uid}/",
        "get /api/alerts/{uid}/receipt/",
        "get /api/coins/{coin}/venues/",
        "get /api/exchanges/",
        "get /api/exchanges/health/",
        "get /api/exchanges/{exchange_id}/symbols/{symbol}/candles/",
        "get /api/exchanges/{exchange_id}/symbols/{symbol}/why/",
        "get /api/exchanges/{id}/",
        "get /api/exchanges/{id}/events/",
        "get /api/exchanges/{id}/health/",
        "get /api/my/browsers/",
        "get /api/my/browsers/key/",
        "get /api/my/channels/",
        "get /api/my/channels/{id}/",
        "get /api/my/deliveries/",
        "get /api/my/deliveries/{id}/",
        "get /api/my/exchanges/",
        "get /api/my/notifications/",
        "get /api/my/positions/",
        "get /api/my/settings/",
        "get /api/my/silences/",
        "get /api/my/symbols/",
        "get /api/symbols/",
        "get /api/symbols/listings/",
        "get /api/symbols/{id}/",
        "patch /api/my/channels/{id}/",
        "patch /api/my/exchanges/{exchange_id}/",
        "patch /api/my/notifications/",
        "patch /api/my/settings/",
        "patch /api/symbols/{id}/",
        "post /api/exchanges/{id}/commands/",
        "post /api/my/browsers/",
        "post /api/my/channels/",
        "post /api/my/channels/{id}/test/",
        "post /api/my/positions/",
        "post /api/my/positions/sync/",
        "post /api/my/silences/",
        "post /api/my/symbols/",
    ]


# Log-in, log-out, password


@pytest.mark.usefixtures("_world")
def test_the_log_in_leads_where_one_wanted_to_go_and_never_away():
    User.objects.create_user("mike", password="correct-horse")
    for wanted, led_to in (("/password/", "/password/"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("", "/")):
        answer = client_of(None).post("/login/", {"username": "mike", "password": "correct-horse", "next": wanted})
        assert (answer.status_code, answer.headers["Location"]) == (302, led_to)


@pytest.mark.usefixtures("_world")
def test_the_log_out_needs_a_post():
    client = browser("viewer")
    assert client.get("/logout/").status_code == 405
    assert client.get("/").status_code == 200
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert client.get("/").status_code == 302


@pytest.mark.usefixtures("_world")
def test_a_password_can_be_changed_and_ends_the_other_sessions():
    user = person("mike", group="viewer")
    user.set_password("correct-horse")
    user.save()
    here, elsewhere = client_of(user), client_of(user)
    answer = here.post(
        "/password/", {"old_password": "correct-horse", "new_password1": "battery-staple-9", "new_password2": "battery-staple-9"}
    )
    assert answer.headers["Location"] == "/"
    assert (here.get("/").status_code, elsewhere.get("/").status_code) == (200, 302)


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [("wrong", "battery-staple-9", "Your old password was entered incorrectly."), ("correct-horse", "123", "This password is too short.")],
)
def test_a_password_that_is_not_accepted_says_why(old, new, expected):
    client = client_of(User.objects.create_user("mike", password="correct-horse"))
    answer = client.post("/password/", {"old_password": old, "new_password1": new, "new_password2": new})
    assert answer.status_code == 200
    assert expected in answer.text
    assert new not in answer.text


# Users in the admin


def user_form(user: User, **changes: object) -> dict[str, object]:
    prefix = "user_exchanges"
    return {
        "username": user.username,
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        f"{prefix}-TOTAL_FORMS": 0,
        f"{prefix}-INITIAL_FORMS": 0,
        **changes,
    }


@pytest.mark.usefixtures("_world")
def test_an_administrator_makes_nobody_a_superuser():
    mike = person("mike")
    operator = Group.objects.get(name="operator")
    answer = browser("administrator").post(f"/admin/auth/user/{mike.pk}/change/", user_form(mike, is_superuser="on", groups=[operator.pk]))
    assert answer.status_code == 302
    mike.refresh_from_db()
    assert (mike.is_superuser, list(mike.groups.all())) == (False, [operator])


@pytest.mark.usefixtures("_world")
def test_an_administrator_does_not_touch_a_superuser():
    root = person("root", superuser=True)
    client = browser("administrator")
    before = root.password
    client.post(f"/admin/auth/user/{root.pk}/change/", user_form(root, username="mine"))
    client.post(f"/admin/auth/user/{root.pk}/password/", {"password1": "battery-staple-9", "password2": "battery-staple-9"})
    client.post(f"/admin/auth/user/{root.pk}/delete/", {"post": "yes"})
    client.post("/admin/auth/user/", {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"})
    root.refresh_from_db()
    assert (root.username, root.password) == ("root", before)


@pytest.mark.usefixtures("_world")
def test_a_user_is_added_with_the_themes_form():
    client = browser("superuser")
    answer = client.post(
        "/admin/auth/user/add/",
        {"username": "kaia", "usable_password": "true", "password1": "battery-staple-9", "password2": "battery-staple-9"},
    )
    assert answer.status_code == 302
    assert User.objects.get(username="kaia").check_password("battery-staple-9")
    assert UserExchange.objects.count() == 0


# Sockets


async def connects(url: str, origin: bytes | None = b"http://localhost", host: bytes = b"localhost") -> bool:
    from livermore.asgi import application

    headers = [(b"host", host)] + ([(b"origin", origin)] if origin is not None else [])
    socket = WebsocketCommunicator(application, url, headers=headers)
    connected, _ = await socket.connect()
    await socket.disconnect()
    return connected


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["/", "/ws/", "/ws/feed", "/ws/feed/x/", "/api/alerts/", "/ws/feed//"])
async def test_a_socket_on_an_unknown_path_is_refused_without_a_traceback(redis_url, url, caplog):
    assert await connects(url) is False
    assert caplog.records == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "origin",
    [
        None,
        b"null",
        b"",
        b"http://evil.example",
        b"https://localhost.evil.example",
        b"http://evil.example/localhost",
        b"http://localhost@evil.example",
        b"http://127.0.0.1.evil.example",
        b"file://",
        b"chrome-extension://abcdef",
        b"http://[::2]",
        b"\xff\xfe",
    ],
)
async def test_a_socket_from_another_site_is_refused(redis_url, origin):
    assert await connects("/ws/feed/", origin) is False


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("origin", [b"http://localhost", b"http://localhost:8000", b"http://127.0.0.1:8000", b"http://[::1]:8000"])
async def test_a_socket_from_our_own_pages_is_accepted(redis_url, origin):
    assert await connects("/ws/feed/", origin) is True


def test_the_tests_serve_the_hosts_that_the_sockets_are_checked_against():
    assert settings.ALLOWED_HOSTS[:3] == ["localhost", "127.0.0.1", "[::1]"]
