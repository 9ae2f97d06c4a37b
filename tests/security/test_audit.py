"""Who changed what: the audit trail of exchanges, symbols, users and users' exchanges. No secret is in it."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from alerts.models import AlertRule
from exchanges.models import Exchange, UserExchange
from symbols.models import Symbol
from tests import seeds
from tests.livermore.test_urls import user_form
from tests.people import client_of, person

CANARIES = ("canary-key", "canary-secret", "canary-passphrase")


@pytest.fixture(autouse=True)
def _world(db: None, redis_url: str) -> None:
    seeds.restore()


@pytest.fixture
def root() -> User:
    return person("root", superuser=True)


def trail(rows: Any, *fields: str) -> list[tuple[Any, ...]]:
    """(who, + ~ or -, the fields), oldest first."""
    return [
        (row.history_user and row.history_user.username, row.history_type, *(getattr(row, name) for name in fields))
        for row in rows.order_by("history_date", "history_id")
    ]


def test_a_change_to_an_exchange_says_who_and_what(root: User) -> None:
    client = client_of(root)
    page = client.get("/admin/exchanges/exchange/coinbase/change/")
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    values = {name: "" if value is None else value for name, value in values.items()}
    values |= {"top_n": 12, "limits": "{}", "geo_restrictions": "{}"}
    answer = client.post("/admin/exchanges/exchange/coinbase/change/", values)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert trail(Exchange.history.filter(id="coinbase"), "top_n")[-1] == ("root", "~", 12)
    text = client.get("/admin/exchanges/exchange/coinbase/history/").text
    assert "root" in text


def test_a_decision_about_symbols_says_who(root: User) -> None:
    row = Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", price=65_000)
    operator = person("olive", group="operator")
    client_of(operator).post("/admin/symbols/symbol/", {"action": "never", "_selected_action": [row.pk]})
    answer = client_of(root).patch(f"/api/symbols/{row.pk}/", {"policy": "pinned"}, content_type="application/json")
    assert answer.status_code == 200
    assert trail(row.history, "policy")[-2:] == [("olive", "~", "excluded"), ("root", "~", "pinned")]
    assert not hasattr(row.history.first(), "price"), "the market is not history"
    assert not hasattr(row.history.first(), "keeper"), "nor who wants it"
    assert client_of(operator).get(f"/admin/symbols/symbol/{row.pk}/history/").status_code == 200


def test_a_change_to_a_rule_says_who_and_which_version_it_made(root: User) -> None:
    rule = AlertRule.objects.get()
    client, path = client_of(root), f"/admin/alerts/alertrule/{rule.pk}/change/"
    for name in ("first", "second"):
        form = client.get(path).context["adminform"].form
        values = {field: "" if (value := form[field].value()) is None else value for field in form.fields}
        answer = client.post(path, {**values, "name": name, "enabled": "on"})
        assert answer.status_code == 302, answer.context["adminform"].form.errors
    made = trail(rule.history, "name", "version")[-2:]
    assert made == [("root", "~", "first", rule.version + 1), ("root", "~", "second", rule.version + 2)]
    assert "second" in client.get(path.replace("change", "history")).text


def test_a_change_of_a_person_and_their_role_says_who_and_no_password(root: User) -> None:
    mike = person("mike")
    group = Group.objects.get(name="operator")
    client = client_of(root)
    assert client.post(f"/admin/auth/user/{mike.pk}/change/", user_form(mike, is_staff="on", groups=[group.pk])).status_code == 302
    rows = User.history.filter(id=mike.pk)
    assert trail(rows, "is_staff")[-1] == ("root", "~", True)
    latest = rows.order_by("history_date", "history_id").last()
    assert [one.group.name for one in latest.groups.all()] == ["operator"]
    assert not hasattr(latest, "password")
    client.post(f"/admin/auth/user/{mike.pk}/password/", {"password1": "canary-secret-9", "password2": "canary-secret-9"})
    assert "canary" not in str(list(rows.values()))
    assert client.get(f"/admin/auth/user/{mike.pk}/history/").status_code == 200


def test_nothing_of_a_key_is_in_the_trail_of_a_users_exchange(root: User) -> None:
    trader = person("trader", group="trader")
    form = {"section": "key", "exchange": "coinbase"}
    keys = dict(zip(("key-coinbase-key", "key-coinbase-secret", "key-coinbase-passphrase"), CANARIES, strict=True))
    client_of(trader).post("/settings/", {**form, **keys})
    row = UserExchange.objects.get(user=trader, exchange_id="coinbase")
    assert row.api_key == "canary-key"
    history = list(UserExchange.history.values())
    assert history
    assert [name for name in history[0] if name.startswith(("api_", "key_"))] == []
    assert "canary" not in str(history)
    page = client_of(root).get("/admin/exchanges/historicaluserexchange/")
    assert page.status_code == 200
    assert client_of(person("ada", group="administrator")).get("/admin/exchanges/historicaluserexchange/").status_code == 403


def test_history_is_not_a_way_back(root: User) -> None:
    """Reverting would save a row past its form."""
    exchange = Exchange.objects.get(pk="coinbase")
    exchange.save()
    version = exchange.history.latest()
    url = f"/admin/exchanges/exchange/coinbase/history/{version.pk}/"
    page = client_of(root).get(url)
    assert page.status_code == 200
    assert "Revert" not in page.text
