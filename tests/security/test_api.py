"""The API is closed unless a list says otherwise, bounded in pages and calls, and answers nonsense without a 5xx."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.test.utils import override_settings
from django.urls import get_resolver
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle

from livermore import settings as project
from livermore.pagination import Pages
from symbols.models import Symbol
from tests import seeds
from tests.alerts.drafts import begin, commit, draft
from tests.livermore.test_urls import addresses
from tests.people import client_of, person
from tests.security import LONG


@pytest.fixture
def _world(db: None, redis_url: str) -> None:
    seeds.restore()
    begin("coinbase")
    Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", tier=1, price=65_000, tradable=True)
    commit(draft(0, "level_150"))


def api_paths() -> Iterator[str]:
    for _, path in addresses(get_resolver()):
        if path.startswith("api/"):
            yield f"/{path}"


@pytest.mark.usefixtures("_world")
def test_nobody_gets_anything_of_the_api_without_a_login() -> None:
    """No list of exceptions: there is none. The pages are walked in tests/livermore/test_urls.py."""
    anonymous = client_of(None)
    answers = {
        (path, method): getattr(anonymous, method)(path).status_code
        for path in api_paths()
        for method in ("get", "post", "put", "patch", "delete")
    }
    wrong = {key: status for key, status in answers.items() if status not in {401, 403} and key[0] != "/api/docs/"}
    assert wrong == {}
    assert len(answers) > 100


def test_it_answers_json_and_nothing_else_and_never_more_than_a_page() -> None:
    assert [one.__name__ for one in api_settings.DEFAULT_RENDERER_CLASSES] == ["JSONRenderer"]
    assert (Pages.page_size, Pages.max_page_size) == (100, 500)


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("size", ["501", "999999999999999999999", "-1", "0", "x", "1e9"])
def test_a_page_is_never_larger_than_its_cap(size: str) -> None:
    Symbol.objects.bulk_create(Symbol(exchange_id="coinbase", symbol=f"S{n}-USD", base=f"S{n}", quote="USD") for n in range(600))
    answer = client_of(person("kaia", group="viewer")).get(f"/api/symbols/?page_size={size}")
    assert answer.status_code == 200
    assert len(answer.json()["results"]) <= 500


@pytest.mark.usefixtures("_world")
def test_calls_are_counted_for_each_user_and_for_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = project.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]
    assert rates == {"user": "1200/min", "anon": "60/min"}
    monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", {"user": "3/min", "anon": "2/min"})
    kaia, mike = client_of(person("kaia", group="viewer")), client_of(person("mike", group="viewer"))
    assert [kaia.get("/api/exchanges/").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert mike.get("/api/exchanges/").status_code == 200, "each has their own"
    assert "Retry-After" in kaia.get("/api/exchanges/").headers


@pytest.mark.usefixtures("_world")
def test_a_cookie_without_the_token_of_the_form_changes_nothing() -> None:
    """CSRF, of pages and API alike."""
    user = person("mike", group="trader")
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(user)
    for path in ("/settings/", "/password/", "/logout/", "/api/my/settings/", "/api/my/symbols/", "/admin/exchanges/exchange/"):
        method = client.patch if path == "/api/my/settings/" else client.post
        assert method(path, data="{}", content_type="application/json").status_code == 403, path
    foreign = {"content_type": "application/json", "headers": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}}
    assert client.post("/api/my/symbols/", data="{}", **foreign).status_code == 403


# Generated requests

EXAMPLES = 300 if LONG else 3
"""Requests an operation; the seed of a long run is SECURITY_SEED."""


class Caller:
    """Calls the site as it stands, logged in as a superuser, who may everything; what came of it is rolled back with the test."""

    def __init__(self, user: User) -> None:
        self.client = client_of(user)

    def call(self, case: Any) -> int:
        path = case.formatted_path
        path = path if path.isascii() and path.isprintable() and " " not in path else quote(path, safe="/%:")
        query = urlencode({name: value for name, value in (case.query or {}).items() if value is not None}, doseq=True)
        body = case.body if isinstance(case.body, dict | list | str | int | float | bool) or case.body is None else {}
        headers = {name: value for name, value in (case.headers or {}).items() if value.isascii() and value.isprintable()}
        data = json.dumps(body) if case.method != "GET" else ""
        return int(
            self.client.generic(
                case.method, f"{path}?{query}" if query else path, data, content_type="application/json", headers=headers
            ).status_code
        )


def failures(name: str, operation: Any, caller: Caller) -> tuple[int, list[Any]]:
    """(how many requests were made, those that were answered with a 5xx)."""
    made, failed = 0, []

    @seed(int(os.environ.get("SECURITY_SEED", "1")))
    @examples(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        nonlocal made
        with transaction.atomic():
            status = caller.call(case)
            transaction.set_rollback(True)
        made += 1
        if status >= 500:
            failed.append((name, case.path_parameters, case.query, case.body))

    ask()
    return made, failed


@pytest.mark.usefixtures("_world")
def test_no_generated_request_is_answered_with_a_5xx() -> None:
    root = person("root", superuser=True)
    document = json.loads(client_of(root).get("/api/schema/?format=json").text)
    caller, found = Caller(root), {}
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()
        name = f"{operation.method.upper()} {operation.path}"
        if not name.endswith("export.csv/"):  # streamed: tests/security/test_csv.py asks for it
            found[name] = failures(name, operation, caller)
    assert [failed for _, failed in found.values() if failed] == []
    assert all(made for made, _ in found.values())
    assert len(found) == sum(len(methods) for methods in document["paths"].values()) - 1


NASTY = [
    "%25d", "%00", "%ff%fe", "9" * 400, "%0d%0aSet-Cookie:x=1", "1e400",
    "..%2f..%2fetc%2fpasswd", "1%27%20OR%201=1--", "{{7*7}}", "-1", "NaN", "true", "[]", "a" * 3000, "*", "coinbase%00", "%E2%80%AE",
]  # fmt: skip


@pytest.mark.usefixtures("_world")
def test_nasty_values_in_every_address_are_no_error_of_ours() -> None:
    client = client_of(person("root", superuser=True))
    failed = []
    for path in sorted(set(api_paths())):
        for value in NASTY if LONG else NASTY[:3]:
            named = path.replace("coinbase", value).replace("BTC-USD", value)
            for url in (named, f"{path}?exchange={value}&page={value}&ordering={value}"):
                if client.get(url).status_code >= 500:
                    failed.append(url)
    assert failed == []


@override_settings(DEBUG=False)
@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("body", ["{", "[" * 5000, '"x"', "null", "1e999", '{"a":NaN}', "\x00", "é" * 100, "{" + '"a":{' * 900])
def test_a_body_that_is_no_json_is_an_error_of_whoever_sent_it(body: str) -> None:
    client = client_of(person("root", superuser=True))
    for method, path in (("post", "/api/my/symbols/"), ("patch", "/api/my/settings/"), ("post", "/api/exchanges/coinbase/commands/")):
        answer = getattr(client, method)(path, data=body, content_type="application/json")
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
