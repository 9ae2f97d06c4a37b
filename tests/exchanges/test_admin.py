"""Exchanges and users' exchanges in the admin."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.db import connection
from django.forms.models import model_to_dict

from exchanges.models import Exchange, UserExchange
from symbols.models import Symbol
from tests import seeds
from tests.hosting import hosted, say_status
from tests.people import browser, client_of, person
from tests.symbols.wanting import woken

LIST = "/admin/exchanges/exchange/"
CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


def form_of(exchange_id: str, **changes: object) -> dict[str, object]:
    """What a browser posts for the change form of an exchange."""
    row = Exchange.objects.get(pk=exchange_id)
    fields = {**model_to_dict(row, exclude=["id"]), "limits": "{}", "geo_restrictions": "{}", **changes}
    return {name: value for name, value in fields.items() if value not in (False, None)}


def cell(html: str, name: str, row: str) -> str:
    """The text of a column of the list, in the row that links to ``row``."""
    line = next(line for line in html.split("<tr") if f"/{row}/change/" in line)
    found = re.search(rf"<td[^>]*field-{name}\b.*?</td>", line, re.DOTALL)
    assert found, f"no column {name}"
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def said(response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def texts(html: str, css: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", " ".join(re.findall(rf'<ul class="{css}.*?</ul>', html, re.DOTALL))).split())


# Who may


@pytest.mark.parametrize(
    ("who", "status"),
    [("anonymous", 302), ("viewer", 200), ("trader", 200), ("operator", 200), ("administrator", 200), ("superuser", 200)],
)
def test_who_sees_the_list(who, status):
    assert browser(who).get(LIST).status_code == status


@pytest.mark.parametrize(("who", "status"), [("anonymous", 302), ("viewer", 403), ("operator", 200), ("superuser", 200)])
def test_who_opens_the_start_dialog(who, status):
    assert browser(who).get(f"{LIST}coinbase/start/").status_code == status


@pytest.mark.parametrize(("who", "status"), [("anonymous", 302), ("viewer", 403), ("administrator", 403), ("superuser", 200)])
def test_only_a_superuser_adds_an_exchange(who, status):
    assert browser(who).get(f"{LIST}add/").status_code == status


def test_only_a_superuser_may_say_where_an_exchange_connects_to():
    changes = {"name": "Renamed", "rest_url": "https://api.binance.us", "adapter": "binance", "is_sandbox": "on"}
    response = browser("administrator").post(f"{LIST}coinbase/change/", form_of("coinbase", **changes))
    assert response.status_code == 302
    row = Exchange.objects.get(pk="coinbase")
    assert (row.name, row.rest_url, row.adapter, row.is_sandbox) == ("Renamed", "https://api.coinbase.com", "coinbase", False)


def test_a_superuser_is_told_which_hosts_an_adapter_has():
    response = browser("superuser").post(f"{LIST}coinbase/change/", form_of("coinbase", rest_url="https://169.254.169.254"))
    assert response.status_code == 200
    assert "169.254.169.254 is not a host of this adapter; known: advanced-trade-ws.coinbase.com, api.coinbase.com." in response.text


def test_an_error_in_a_field_one_may_not_change_is_shown_and_not_a_500():
    Exchange.objects.filter(pk="coinbase").update(rest_url="https://gone.example")
    response = browser("administrator").post(f"{LIST}coinbase/change/", form_of("coinbase", name="Renamed"))
    assert response.status_code == 200
    assert "gone.example is not a host of this adapter" in response.text


def test_the_slug_cannot_be_changed():
    browser("superuser").post(f"{LIST}coinbase/change/", form_of("coinbase", id="other"))
    assert Exchange.objects.filter(pk="coinbase").exists()
    assert not Exchange.objects.filter(pk="other").exists()


# The list


def test_the_list_shows_the_live_state_of_each_exchange():
    say_status("coinbase", connection_state="connected", since=1_790_000_000_000)
    html = browser("viewer").get(LIST).text
    assert [cell(html, "state", key) for key in ("coinbase", "binance")] == ["connected", "offline"]
    assert 'title="2026-09-21 14:13:20 UTC"' in html


def test_the_list_marks_simulated_exchanges():
    html = browser("viewer").get(LIST).text
    assert [cell(html, "simulated", key) for key in ("coinbase-sandbox", "coinbase")] == ["SIMULATED", ""]


def test_the_list_counts_shared_and_known_symbols():
    for number in range(3):
        Symbol.objects.create(exchange_id="coinbase", symbol=f"A{number}-USD", base=f"A{number}", quote="USD", tier=1 if number else None)
    assert cell(browser("viewer").get(LIST).text, "pool", "coinbase") == "2 of 3"


def test_the_pages_last_through_a_redis_that_does_not_answer(valkey):
    client = browser("superuser")
    valkey.kill()
    listed, opened = client.get(LIST), client.get(f"{LIST}coinbase/change/")
    assert (listed.status_code, opened.status_code) == (200, 200)
    assert cell(listed.text, "state", "coinbase") == "redis unreachable"
    assert "Redis does not answer, so the live state is not known." in opened.text


@pytest.mark.parametrize(
    ("query", "expected"), [("?q=binance", 3), ("?adapter__exact=coinbase", 2), ("?is_sandbox__exact=1", 3), ("?q=mtgox", 0)]
)
def test_the_list_can_be_searched_and_filtered(query, expected):
    html = browser("viewer").get(LIST + query).text
    assert len(set(re.findall(r"/exchange/([a-z-]+)/change/", html))) == expected


def test_the_list_needs_the_same_queries_for_more_exchanges(django_assert_num_queries):
    client = browser("superuser")
    client.get(LIST)
    for number in range(5):
        Exchange.objects.create(id=f"e{number}", name=f"E{number}", adapter="coinbase", websocket_url="wss://x", rest_url="https://x")
    with django_assert_num_queries(5):
        client.get(LIST)


# Commands


def test_a_list_action_tells_what_each_connector_answered():
    client = browser("operator")
    with hosted("coinbase") as commands:
        response = client.post(LIST, {"action": "start_selected", "_selected_action": ["coinbase", "binance"]})
    assert said(response) == [
        "Binance: no process hosts binance: start one with `python manage.py runexchange binance`",
        "Coinbase Advanced Trade: start done",
    ]
    assert commands == [("coinbase", "start", "operator")]


def test_a_list_action_needs_the_right_to_control():
    client = browser("administrator")
    User.objects.get(username="administrator").groups.set([Group.objects.get(name="viewer")])
    with hosted("coinbase") as commands:
        client.post(LIST, {"action": "start_selected", "_selected_action": ["coinbase"]})
    assert commands == []


def test_opening_the_dialog_does_nothing_and_sending_it_does():
    client = browser("operator")
    with hosted("coinbase") as commands:
        opened = client.get(f"{LIST}coinbase/stop/")
        before = list(commands)
        client.post(f"{LIST}coinbase/stop/", {"_form_submitted": "True"})
    assert "<b><span" in opened.text
    assert "Coinbase Advanced Trade" in opened.text
    assert before == []
    assert commands == [("coinbase", "stop", "operator")]


def test_a_command_without_a_csrf_token_is_refused():
    client = browser("operator")
    client.handler.enforce_csrf_checks = True
    with hosted("coinbase") as commands:
        response = client.post(f"{LIST}coinbase/stop/", {"_form_submitted": "True"})
    assert response.status_code == 403
    assert commands == []


@pytest.mark.parametrize(
    ("opened_on", "back_to"),
    [
        ("http://testserver/admin/exchanges/exchange/?q=coin", "/admin/exchanges/exchange/?q=coin"),
        ("https://evil.example/admin/x", "/admin/x"),
        ("https://evil.example/", LIST),
        ("javascript:alert(1)", LIST),
        ("", LIST),
    ],
)
def test_after_a_command_the_page_it_was_given_on_opens_again(opened_on, back_to):
    response = browser("operator").post(f"{LIST}coinbase/start/", {"_form_submitted": "True"}, headers={"HX-Current-URL": opened_on})
    assert response.headers["HX-Redirect"] == back_to


def test_a_command_is_kept_in_the_history_of_the_exchange():
    with hosted("coinbase", ok=False):
        browser("operator").post(f"{LIST}coinbase/restart/", {"_form_submitted": "True"})
    assert LogEntry.objects.values_list("object_id", "change_message").get() == ("coinbase", "restart: restart refused")


def test_a_command_for_an_exchange_that_is_not_there_is_a_404():
    assert browser("operator").post(f"{LIST}mtgox/start/", {"_form_submitted": "True"}).status_code == 404


def test_a_changed_setting_reaches_the_connector_after_it_is_stored(django_capture_on_commit_callbacks):
    client = browser("superuser")
    with hosted("coinbase") as commands, django_capture_on_commit_callbacks(execute=True):
        response = client.post(f"{LIST}coinbase/change/", form_of("coinbase", top_n=20))
        assert commands == []
    assert commands == [("coinbase", "reload", "superuser")]
    assert response.status_code == 302


def test_an_emptied_limits_field_is_no_limits_of_its_own():
    response = browser("superuser").post(f"{LIST}binance/change/", form_of("binance", limits="", geo_restrictions=""))
    assert response.status_code == 302
    assert Exchange.objects.filter(pk="binance").values_list("limits", "geo_restrictions").get() == ({}, {})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("limits", '{"speed": 5}', "Unknown limit"),
        ("limits", "{", "Enter a valid JSON."),
        ("limits", "[" * 5000, "Enter a valid JSON."),
        ("limits", '{"messages_per_second": 1e999}', "messages_per_second must be a number from 0 to 10,000,000."),
        ("timeframes", ["1h"], "5m has to be there"),
        ("timeframes", ["1m"], "Select a valid choice. 1m is not one of the available choices."),
        ("geo_restrictions", '{"deny": "US"}', "deny is a list of two-letter country codes in capitals, e.g. US."),
        ("trade_url_template", "http://x.example/{base}", "Start with https:// and a host name."),
        ("top_n", "0", "Ensure this value is greater than or equal to 1."),
        ("maker_fee", "NaN", "Enter a number."),
    ],
)
def test_a_mistyped_field_says_what_to_do(field, value, expected):
    response = browser("superuser").post(f"{LIST}coinbase/change/", form_of("coinbase", **{field: value}))
    assert response.status_code == 200
    assert expected in response.text


# Users' exchanges

USERS = "/admin/exchanges/userexchange/"


@pytest.fixture
def row() -> UserExchange:
    """Mike's exchange, with credentials."""
    user = person("mike", group="trader")
    return UserExchange.objects.create(
        user=user, exchange_id="coinbase", is_default=True, api_key=f"{CANARY}-key", api_secret=f"{CANARY}-secret"
    )


def posted(row: UserExchange, **changes: object) -> dict[str, object]:
    return {"user": row.user_id, "exchange": row.exchange_id, "is_default": "on", "watch": "on", "share_overflow": "on", **changes}


def secrets_of(row: UserExchange) -> tuple[str, str, str]:
    row = UserExchange.objects.get(pk=row.pk)
    return row.api_key, row.api_secret, row.api_passphrase


def test_the_list_tells_only_whether_there_are_credentials(row):
    UserExchange.objects.create(user=row.user, exchange_id="binance", api_key="only-half")
    response = browser("superuser").get(USERS)
    assert CANARY not in response.text
    cells = re.findall(r"<td[^>]*field-credentials\b.*?</td>", response.text, re.DOTALL)
    assert ["True" if "check" in shown else "False" for shown in cells] == ["False", "True"]


def test_the_form_never_shows_a_stored_credential(row):
    client = browser("superuser")
    opened = client.get(f"{USERS}{row.pk}/change/")
    refused = client.post(f"{USERS}{row.pk}/change/", posted(row, user="", api_key=f"{CANARY}-typed"))
    assert refused.status_code == 200
    assert CANARY not in opened.text + refused.text
    assert opened.text.count('type="password"') == 3


def test_empty_fields_keep_what_is_stored(row):
    response = browser("superuser").post(f"{USERS}{row.pk}/change/", posted(row, api_key="", watch=""))
    assert response.status_code == 302
    assert secrets_of(row) == (f"{CANARY}-key", f"{CANARY}-secret", "")
    assert UserExchange.objects.get(pk=row.pk).watch is False


def test_open_pages_are_told_of_what_the_admin_changed(row, redis_url, django_capture_on_commit_callbacks):
    client, address = browser("superuser"), f"{USERS}{row.pk}"
    for change in (
        lambda: client.post(f"{address}/change/", posted(row, watch="")),
        lambda: client.post(f"{LIST}{row.exchange_id}/change/", form_of(row.exchange_id, active="")),
        lambda: client.post(USERS, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}),
    ):
        with woken(row.user) as said, django_capture_on_commit_callbacks(execute=True):
            assert change().status_code == 302
        assert said == [b"{}"]


def test_a_typed_credential_replaces_that_one(row):
    browser("superuser").post(f"{USERS}{row.pk}/change/", posted(row, api_secret=" new "))
    assert secrets_of(row) == (f"{CANARY}-key", "new", "")


def test_credentials_can_be_cleared(row):
    browser("superuser").post(f"{USERS}{row.pk}/change/", posted(row, clear_credentials="on"))
    assert secrets_of(row) == ("", "", "")


def test_typing_and_clearing_at_once_is_an_error(row):
    response = browser("superuser").post(f"{USERS}{row.pk}/change/", posted(row, clear_credentials="on", api_key="new"))
    assert "Either type new credentials or clear the stored ones, not both." in response.text
    assert secrets_of(row) == (f"{CANARY}-key", f"{CANARY}-secret", "")


def test_the_history_names_the_changed_field_and_not_its_value(row):
    client = browser("superuser")
    client.post(f"{USERS}{row.pk}/change/", posted(row, api_key=f"{CANARY}-typed"))
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Changed API key."
    assert CANARY not in str(LogEntry.objects.values()) + client.get(f"{USERS}{row.pk}/history/").text


def test_the_pages_open_when_the_key_is_lost_and_credentials_can_be_replaced(row, settings):
    settings.FIELD_KEYS = ["b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItb3Q="]
    client = browser("superuser")
    assert [client.get(url).status_code for url in (USERS, f"{USERS}{row.pk}/change/")] == [200, 200]
    response = client.post(f"{USERS}{row.pk}/change/", posted(row, api_key="a", api_secret="b", api_passphrase="c"))
    assert response.status_code == 302
    assert secrets_of(row) == ("a", "b", "c")


def test_a_trader_has_only_the_own_rows(row):
    kaia = person("kaia", group="trader")
    theirs = UserExchange.objects.create(user=kaia, exchange_id="binance")
    client = client_of(row.user)
    assert re.findall(r"/userexchange/(\d+)/change/", client.get(USERS).text) == [str(row.pk)]
    assert client.get(f"{USERS}{theirs.pk}/change/").status_code == 302
    response = client.post(f"{USERS}add/", {"user": kaia.pk, "exchange": "binance-us"})
    assert "Select a valid choice." in response.text
    assert kaia.user_exchanges.count() == 1


def test_a_second_own_exchange_is_an_error_of_the_form(row):
    response = browser("superuser").post(f"{USERS}add/", {"user": row.user_id, "exchange": "binance", "is_default": "on"})
    assert response.status_code == 200
    assert "This user has another own exchange: untick it there first." in response.text


def test_two_forms_at_once_end_in_a_form_error_and_not_in_a_500(row):
    """Between the check and the insert of the first form, another one is stored."""
    user = person("kaia")
    raced = []

    def race(execute, sql, params, many, context):
        if sql.startswith("INSERT INTO") and "exchanges_userexchange" in sql and not raced:
            raced.append(sql)
            Exchange.objects.get(pk="binance-us").user_exchanges.create(user=user, is_default=True)
        return execute(sql, params, many, context)

    client = browser("superuser")
    with connection.execute_wrapper(race):
        response = client.post(f"{USERS}add/", {"user": user.pk, "exchange": "binance", "is_default": "on"})
    assert len(raced) == 1
    # Here the other form's row went with the failed attempt: one connection is one transaction. So the second attempt succeeds.
    assert response.status_code == 302
    assert list(user.user_exchanges.values_list("exchange_id", flat=True)) == ["binance"]


def test_the_list_of_users_exchanges_needs_the_same_queries_for_more_rows(row, django_assert_num_queries):
    client = browser("superuser")
    client.get(USERS)
    for number in range(5):
        UserExchange.objects.create(user=person(f"u{number}"), exchange_id="binance")
    with django_assert_num_queries(6):
        client.get(USERS)


# On the user's page


def user_form(user: User, *rows: dict[str, object], initial: int) -> dict[str, object]:
    prefix = "user_exchanges"
    data: dict[str, object] = {
        "username": user.username,
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        f"{prefix}-TOTAL_FORMS": len(rows),
        f"{prefix}-INITIAL_FORMS": initial,
    }
    for number, row in enumerate(rows):
        data |= {f"{prefix}-{number}-{name}": value for name, value in {"user": user.pk, **row}.items()}
    return data


def test_the_own_exchange_can_move_from_one_row_to_another_in_one_save(row):
    other = UserExchange.objects.create(user=row.user, exchange_id="binance")
    rows = [{"id": other.pk, "exchange": "binance", "is_default": "on"}, {"id": row.pk, "exchange": "coinbase", "watch": "on"}]
    response = browser("superuser").post(f"/admin/auth/user/{row.user_id}/change/", user_form(row.user, *rows, initial=2))
    assert response.status_code == 302
    assert list(row.user.user_exchanges.values_list("exchange_id", "is_default")) == [("binance", True), ("coinbase", False)]
    assert secrets_of(row) == (f"{CANARY}-key", f"{CANARY}-secret", "")


def test_two_own_exchanges_on_the_users_page_are_an_error_of_the_form(row):
    rows = [{"id": row.pk, "exchange": "coinbase", "is_default": "on"}, {"id": "", "exchange": "binance", "is_default": "on"}]
    response = browser("superuser").post(f"/admin/auth/user/{row.user_id}/change/", user_form(row.user, *rows, initial=1))
    assert response.status_code == 200
    assert "At most one exchange can be the own one: where this user buys." in response.text


def test_the_users_page_shows_no_credential(row):
    assert CANARY not in browser("superuser").get(f"/admin/auth/user/{row.user_id}/change/").text
