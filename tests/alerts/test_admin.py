"""Alert rules, and the record of alerts, in the admin."""

import re

import pytest
from django.forms.models import model_to_dict

from alerts.models import Alert, AlertRule
from tests import seeds
from tests.alerts.notifying import channel, delivery
from tests.hosting import hosted
from tests.people import browser, person

RULES = "/admin/alerts/alertrule/"
ALERTS = "/admin/alerts/alert/"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


@pytest.fixture
def rule() -> AlertRule:
    return AlertRule.objects.get()


def posted(rule: AlertRule, **changes: object) -> dict[str, object]:
    fields = {**model_to_dict(rule), "levels": ", ".join(map(str, rule.levels)), **changes}
    return {name: value for name, value in fields.items() if value is not False}


def alert(number: int, **more: object) -> Alert:
    fields = {
        "exchange_id": "coinbase",
        "number": number,
        "uid": f"u{number}",
        "rule_version": 1,
        "symbol": "BTC-USD",
        "base": "BTC",
        "quote": "USD",
        "timeframe": "5m",
        "trigger_label": "level_150",
        "direction": "up",
        "trigger_value": 151.25,
        "previous_value": 149.0,
        "price": 64210.5,
        "candle_time": 1_790_000_100_000,
        "triggered_at": 1_790_000_401_000,
        "stage": "rallying",
        "bias": "bullish",
        "timeframes": [{"timeframe": "5m", "macdv": 151.25, "stage": "rallying"}, {"timeframe": "1d", "macdv": None, "stage": "unknown"}],
    }
    return Alert.objects.create(**{**fields, **more})


# Rules


@pytest.mark.parametrize(
    ("who", "opens", "adds"),
    [("anonymous", 302, 302), ("viewer", 200, 403), ("operator", 200, 403), ("administrator", 200, 200), ("superuser", 200, 200)],
)
def test_who_sees_and_adds_rules(who, opens, adds):
    client = browser(who)
    assert (client.get(RULES).status_code, client.get(f"{RULES}add/").status_code) == (opens, adds)


def test_a_rule_says_its_levels_as_people_write_them(rule):
    assert 'value="150, 200, 250, 300, 350, 400"' in browser("administrator").get(f"{RULES}{rule.pk}/change/").text


def test_every_change_raises_the_version_in_the_database(rule):
    client = browser("administrator")
    for cooldown in (60, 120):
        assert client.post(f"{RULES}{rule.pk}/change/", posted(rule, cooldown=cooldown)).status_code == 302
    rule.refresh_from_db()
    assert (rule.version, rule.cooldown) == (3, 120)


def test_a_version_that_rose_meanwhile_is_not_set_back(rule):
    AlertRule.objects.filter(pk=rule.pk).update(version=7)
    browser("administrator").post(f"{RULES}{rule.pk}/change/", posted(rule, cooldown=60, version=1))
    rule.refresh_from_db()
    assert rule.version == 8


def test_saving_without_a_change_keeps_the_version(rule):
    browser("administrator").post(f"{RULES}{rule.pk}/change/", posted(rule))
    rule.refresh_from_db()
    assert rule.version == 1


def test_a_new_rule_starts_at_version_one(rule):
    response = browser("administrator").post(f"{RULES}add/", posted(rule, name="Far", levels="300 250.5", timeframes=["1d", "1h"]))
    assert response.status_code == 302
    added = AlertRule.objects.get(name="Far")
    assert (added.version, added.levels, added.timeframes) == (1, [250.5, 300], ["1d", "1h"])


def test_a_changed_rule_reaches_the_running_connectors_after_it_is_stored(rule, django_capture_on_commit_callbacks):
    with hosted("coinbase", "binance-sandbox") as commands, django_capture_on_commit_callbacks(execute=True):
        browser("administrator").post(f"{RULES}{rule.pk}/change/", posted(rule, cooldown=60))
        assert commands == []
    assert sorted(commands) == [("binance-sandbox", "reload", "administrator"), ("coinbase", "reload", "administrator")]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("levels", "", "This field is required."),
        ("levels", "a, b", "Write numbers with commas between them, e.g. 150, 200, 250."),
        ("levels", "150, 150", "A level stands there twice."),
        ("levels", "-150", "-150 is not a level: use numbers above 0 and up to 10,000."),
        ("levels", "nan", "nan is not a level: use numbers above 0 and up to 10,000."),
        ("levels", "inf", "inf is not a level: use numbers above 0 and up to 10,000."),
        ("levels", "1e400", "inf is not a level: use numbers above 0 and up to 10,000."),
        ("levels", ", ", "This field is required."),
        ("timeframes", [], "This field is required."),
        ("timeframes", ["1m"], "Select a valid choice. 1m is not one of the available choices."),
        ("reversal_level", "0", "Use a number above 0 and up to 10,000."),
        ("oversold_buffer", "101", "Use a percentage from 0 to 100."),
        ("overbought_buffer", "nan", "Enter a number."),
        ("cooldown", "-1", "Ensure this value is greater than or equal to 0."),
        ("cooldown", "99999999999999999999", "Ensure this value is less than or equal to 604800."),
        ("name", "", "This field is required."),
    ],
)
def test_a_mistyped_field_says_what_to_do_and_keeps_what_was_typed(rule, field, value, expected):
    response = browser("administrator").post(f"{RULES}{rule.pk}/change/", posted(rule, **{field: value}))
    assert response.status_code == 200
    assert expected in response.text
    rule.refresh_from_db()
    assert rule.version == 1


def test_an_enabled_rule_cannot_be_deleted_and_a_disabled_one_can(rule):
    row = alert(1, rule=rule)
    client = browser("administrator")
    assert client.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"}).status_code == 403
    AlertRule.objects.update(enabled=False)
    assert client.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"}).status_code == 302
    row.refresh_from_db()
    assert (AlertRule.objects.count(), row.rule) == (0, None)


# The record


@pytest.mark.parametrize(("who", "status"), [("anonymous", 302), ("viewer", 200), ("trader", 200), ("operator", 200), ("superuser", 200)])
def test_who_sees_the_record(who, status):
    row = alert(1)
    client = browser(who)
    assert [client.get(url).status_code for url in (ALERTS, f"{ALERTS}{row.pk}/change/")] == [status, status]


def test_nobody_writes_the_record_not_even_a_superuser():
    row = alert(1)
    client = browser("superuser")
    assert client.get(f"{ALERTS}add/").status_code == 403
    assert client.post(f"{ALERTS}{row.pk}/change/", {"price": "1"}).status_code == 403
    assert client.post(f"{ALERTS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(ALERTS, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    row.refresh_from_db()
    assert row.price == 64210.5


def test_times_are_shown_in_utc():
    row = alert(1)
    client = browser("viewer")
    listed, opened = client.get(ALERTS).text, client.get(f"{ALERTS}{row.pk}/change/").text
    assert (listed.count("2026-09-21 14:15:00 UTC"), opened.count("2026-09-21 14:15:00 UTC")) == (1, 1)
    assert "2026-09-21 14:20:01 UTC" in opened


def test_the_form_shows_every_timeframe():
    assert "5m 151.2 rallying, 1d - unknown" in browser("viewer").get(f"{ALERTS}{alert(1).pk}/change/").text


def test_delayed_and_revised_alerts_are_marked():
    alert(1, delayed=True)
    alert(2, revised=True)
    cells = re.findall(r"<td[^>]*field-remarks\b.*?</td>", browser("viewer").get(ALERTS).text, re.DOTALL)
    assert [" ".join(re.sub(r"<[^>]+>", " ", shown).split()) for shown in cells] == ["revised", "delayed"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [3, 2, 1]),
        ("?exchange__id__exact=binance", [3]),
        ("?timeframe=1h", [2]),
        ("?trigger_label=reversal_oversold", [3]),
        ("?delayed__exact=1", [2]),
        ("?q=eth", [1]),
        ("?q=%25", []),
        ("?timeframe=1m", []),
    ],
)
def test_the_record_can_be_searched_and_filtered(query, expected):
    rows = [
        alert(1, symbol="ETH-USD", base="ETH"),
        alert(2, timeframe="1h", delayed=True),
        alert(3, exchange_id="binance", trigger_label="reversal_oversold"),
    ]
    keys = {str(row.pk): row.number for row in rows}
    found = dict.fromkeys(re.findall(r"/alerts/alert/(\d+)/change/", browser("viewer").get(ALERTS + query).text))
    assert [keys[key] for key in found] == expected


def test_the_record_needs_the_same_queries_for_more_alerts(django_assert_num_queries):
    client = browser("superuser")
    client.get(ALERTS)
    for number in range(60):
        alert(number)
    with django_assert_num_queries(8):
        client.get(ALERTS)


# The outbox


OUTBOX = "/admin/alerts/delivery/"


@pytest.mark.parametrize(("who", "sees"), [("operator", False), ("superuser", True)])
def test_operators_see_the_outbox_without_names_texts_and_addresses(who, sees):
    to = channel(person("kaia-7f3a9c", group="viewer"), url="json://push.example.org/canary-address", name="canary-name")
    row = delivery(to, title="canary-title", body="canary-body", last_error="push.example.org answered 503", state="failed")
    client = browser(who)
    listed, opened = client.get(OUTBOX), client.get(f"{OUTBOX}{row.pk}/change/")
    assert (listed.status_code, opened.status_code) == (200, 200)
    assert "answered 503" in listed.text, "what went wrong is theirs to see"
    assert "answered 503" in opened.text
    assert "Webhook" in listed.text
    private = ["kaia-7f3a9c", "canary-title", "canary-body"]
    assert [word in opened.text for word in private] == [sees] * 3
    assert not [word for word in private if word in listed.text]
    assert "canary-address" not in listed.text + opened.text
    assert client.post(f"{OUTBOX}{row.pk}/change/", {"state": "waiting"}).status_code == 403


@pytest.mark.parametrize(
    "query", ["?q=canary", "?channel__user__username=kaia-7f3a9c", "?title__startswith=canary", "?channel__name=canary-name"]
)
def test_the_outbox_answers_no_guess_about_whose_a_message_is(query):
    to = channel(person("kaia-7f3a9c", group="viewer"), name="canary-name")
    delivery(to, title="canary-title")
    client = browser("operator")
    other = query.replace("canary", "nothing").replace("kaia", "nobody")
    right, wrong = (set(re.findall(r"/alerts/delivery/\d+/change/", client.get(OUTBOX + one, follow=True).text)) for one in (query, other))
    assert right == wrong
