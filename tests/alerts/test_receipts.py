"""The receipt: what an alert was decided from stays as it was, and each step of its way has its time."""

import json

import pytest

from alerts import services
from alerts.evaluation import Origin
from alerts.models import Alert, AlertRule
from alerts.receipts import because, record, steps
from tests.alerts.drafts import STEP, T0, begin, commit, draft
from tests.people import browser, client_of, person

pytestmark = pytest.mark.django_db

ORIGIN = Origin("flag", T0 + STEP + 5, T0 + STEP + 40, T0 + STEP + 42, 2)
CONNECTOR = {"host": "desk", "pid": 7, "fence": 3}


@pytest.fixture(autouse=True)
def _world(db):
    begin()


def stored(**more: object) -> Alert:
    [alert] = commit(draft()._replace(origin=ORIGIN), **more)
    return alert


def receipt(alert: Alert, who: str = "viewer"):
    return browser(who).get(f"/api/alerts/{alert.uid}/receipt/")


def test_a_record_holds_what_decided_as_it_was_then():
    kept = record(draft()._replace(origin=ORIGIN), CONNECTOR)
    assert kept == {
        "v": 1,
        "rule": {
            "id": AlertRule.objects.get().pk,
            "version": 3,
            "name": "",
            "levels": [150.0],
            "timeframes": ["5m"],
            "reversal_level": 150.0,
            "oversold_buffer": 0.05,
            "overbought_buffer": 0.03,
            "cooldown": 300_000,
        },
        "previous": {"macdv": 149.0, "signal": 139.0, "histogram": 10.0, "atr": 0.5, "stage": "rallying"},
        "current": {"macdv": 151.25, "signal": 140.0, "histogram": 11.25, "atr": 0.5, "stage": "overbought"},
        "candle": {
            "open_time": T0,
            "close_time": T0 + STEP,
            "open": 100.0,
            "high": 102.0,
            "low": 99.0,
            "close": 101.5,
            "volume": 12.5,
            "synthetic": False,
            "closed_by": "flag",
        },
        "warm_up": {"bars": 0, "observed": 0, "needed": 250, "whole_life": False},
        "feed_age": 2,
        "connector": CONNECTOR,
        "times": {"exchange": T0 + STEP + 5, "received": T0 + STEP + 40, "evaluated": T0 + STEP + 42},
    }


def test_a_step_is_measured_from_the_last_one_that_has_a_time():
    assert steps({"exchange": 100, "received": None, "evaluated": 130}, 150, None) == [
        {"name": "exchange", "at": 100, "after": None},
        {"name": "received", "at": None, "after": None},
        {"name": "evaluated", "at": 130, "after": 30},
        {"name": "committed", "at": 150, "after": 20},
        {"name": "published", "at": None, "after": None},
    ]


@pytest.mark.parametrize(
    ("label", "previous", "current", "histogram", "said"),
    [
        ("level_150", 149.0, 151.25, 1.0, "MACD-V went from 149.00 to 151.25, above +150."),
        ("level_-200", -10.0, -210.5, 1.0, "MACD-V went from -10.00 to -210.50, below -200."),
        (
            "reversal_oversold",
            -170.0,
            -160.0,
            8.5,
            "MACD-V was -170.00 and then -160.00, both below -150, and its histogram of 8.50 was above 8.00 (5 % of |MACD-V|).",
        ),
        (
            "reversal_overbought",
            170.0,
            160.0,
            -8.5,
            "MACD-V was 170.00 and then 160.00, both above +150, and its histogram of -8.50 was below -4.80 (3 % of |MACD-V|).",
        ),
    ],
)
def test_it_says_why_it_fired(label: str, previous: float, current: float, histogram: float, said: str):
    rule = {"reversal_level": 150.0, "oversold_buffer": 0.05, "overbought_buffer": 0.03}
    kept = {"rule": rule, "previous": {"macdv": previous}, "current": {"macdv": current, "histogram": histogram}}
    assert because(label, kept).replace("\u2212", "-") == said


def test_the_api_gives_the_receipt_whatever_the_rule_says_now():
    alert = stored()
    alert.committed_at, alert.published_at = T0 + STEP + 60, T0 + STEP + 61
    services.alerts_mark_published(alerts=[alert])
    AlertRule.objects.update(levels=[999], version=9)
    answer = receipt(alert)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["uid"], found["recorded"], found["because"]) == (alert.uid, True, "MACD-V went from 149.00 to 151.25, above +150.")
    assert (found["rule"]["version"], found["rule"]["levels"]) == (3, [150.0])
    assert found["connector"]["fence"] == 1
    assert [(step["name"], step["after"]) for step in found["steps"]] == [
        ("exchange", None), ("received", 35), ("evaluated", 2), ("committed", 18), ("published", 1),
    ]  # fmt: skip


def test_an_alert_from_before_receipts_says_so():
    alert = stored()
    Alert.objects.update(record=None)
    found = receipt(alert).json()
    assert (found["recorded"], found["because"], found["rule"], found["candle"]) == (False, None, None, None)
    assert [step["name"] for step in found["steps"]] == ["exchange", "received", "evaluated", "committed", "published"]


def test_the_receipt_is_not_in_what_the_socket_and_the_lists_carry():
    alert = stored()
    assert "record" not in services.alert_payload(alert, "")
    assert "record" not in browser("viewer").get(f"/api/alerts/{alert.uid}/").json()
    assert "record" in Alert.objects.visible_to(None).get().get_deferred_fields()


def test_only_who_may_see_the_alert_sees_its_receipt_and_its_page():
    alert = stored()
    owner, other = person("owner", group="viewer"), person("other", group="viewer")
    Alert.objects.update(shared=False)
    alert.owners.add(owner)
    for path in (f"/api/alerts/{alert.uid}/receipt/", f"/alerts/{alert.uid}/"):
        assert [client_of(user).get(path).status_code for user in (owner, other)] == [200, 404]
    assert client_of(person("nobody")).get(f"/api/alerts/{alert.uid}/receipt/").status_code == 403
    assert browser("viewer").get("/api/alerts/no%00/receipt/").status_code == 404
    assert client_of(owner).get("/alerts/no%00/").status_code == 404


def test_the_page_of_an_alert_names_it():
    page = browser("viewer").get(f"/alerts/{stored().uid}/")
    assert "<title>BTC-USD 5m · Coinbase Advanced Trade · Livermore</title>" in page.text
    assert page.context["alert"].symbol == "BTC-USD"
    assert json.loads(page.context["names"])["binance"] == "Binance", "for the price there"
