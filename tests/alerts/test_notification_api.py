"""/api/my/channels/ and beside it: a user's own, and an address that never comes out again."""

import json

import pytest
from django.test import Client

from alerts.models import Delivery, NotificationChannel, NotificationSettings, RepeatPolicy, Silence
from alerts.notification_services import MOST_CHANNELS
from livermore import bus, keys
from tests.alerts.drafts import NAMING, begin, commit, draft
from tests.alerts.notifying import channel, delivery
from tests.people import client_of, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_begun")]
SECRET = "canary-7f3a9c"
WEBHOOK = f"https://example.org/{SECRET}"


@pytest.fixture
def _begun(db, redis_url):
    begin("coinbase")


@pytest.fixture
def kaia() -> Client:
    return client_of(person("kaia", group="viewer"))


def post(client: Client, url: str, **data: object):
    return client.post(url, data, content_type="application/json")


def patch(client: Client, url: str, **data: object):
    return client.patch(url, data, content_type="application/json")


# Channels


def test_a_channel_is_added_changed_and_removed(kaia):
    answer = post(kaia, "/api/my/channels/", kind="webhook", address=WEBHOOK)
    assert answer.status_code == 201
    said = answer.json()
    assert (said["name"], said["service"], said["enabled"], said["timeframes"]) == (
        "JSON at example.org",
        "JSON at example.org",
        True,
        ["1h", "4h", "1d"],
    )
    one = f"/api/my/channels/{said['id']}/"
    assert patch(kaia, one, name="Desk", timeframes=["1d", "5m"], mine_only=True, enabled=False).json() == {
        **said,
        "name": "Desk",
        "timeframes": ["5m", "1d"],
        "mine_only": True,
        "enabled": False,
    }
    assert [row["name"] for row in kaia.get("/api/my/channels/").json()] == ["Desk"]
    assert patch(kaia, one, name=" ").json()["name"] == "JSON at example.org"
    assert kaia.delete(one).status_code == 204
    assert kaia.get("/api/my/channels/").json() == []


def test_an_address_goes_in_and_never_comes_out(kaia):
    said = [post(kaia, "/api/my/channels/", kind="webhook", address=WEBHOOK)]
    pk = said[0].json()["id"]
    said += [
        kaia.get("/api/my/channels/"),
        kaia.get(f"/api/my/channels/{pk}/"),
        patch(kaia, f"/api/my/channels/{pk}/", address=f"{WEBHOOK}-2"),
        post(kaia, "/api/my/channels/", kind="webhook", address=f"{WEBHOOK}-2"),
        post(kaia, "/api/my/channels/", kind="discord", address=WEBHOOK),
        post(kaia, "/api/my/channels/", kind="other", address=f"nonsense://{SECRET}"),
        kaia.get("/api/my/deliveries/"),
    ]
    assert [answer.status_code for answer in said] == [201, 200, 200, 200, 400, 400, 400, 200]
    assert SECRET not in "".join(answer.content.decode() for answer in said)
    assert NotificationChannel.objects.get().url == f"jsons://example.org/{SECRET}-2"


def test_another_address_forgets_what_was_wrong_with_the_first(kaia):
    pk = post(kaia, "/api/my/channels/", kind="webhook", address=WEBHOOK).json()["id"]
    NotificationChannel.objects.update(last_error="answered 404", last_error_at=1, hold_until=10**15)
    said = patch(kaia, f"/api/my/channels/{pk}/", address="https://example.org/other").json()
    assert (said["last_error"], said["last_error_at"], said["hold_until"]) == ("", None, 0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "required"),
        ({"kind": "pigeon", "address": WEBHOOK}, "pigeon"),
        ({"kind": "push", "address": WEBHOOK}, "push"),
        ({"kind": "webhook", "address": "hello"}, "not an address"),
        ({"kind": "webhook", "address": WEBHOOK, "timeframes": []}, "at least 1"),
        ({"kind": "webhook", "address": WEBHOOK, "timeframes": ["7m"]}, "7m"),
        ({"kind": "webhook", "address": WEBHOOK, "name": "x" * 81}, "80"),
        ({"kind": "webhook", "address": "x" * 2_001}, "2000"),
    ],
)
def test_what_cannot_be_stored_says_why(kaia, data, says):
    answer = post(kaia, "/api/my/channels/", **data)
    assert (answer.status_code, NotificationChannel.objects.count()) == (400, 0)
    assert says in json.dumps(answer.json())


def test_there_is_a_most_and_no_channel_twice(kaia):
    for number in range(MOST_CHANNELS):
        assert post(kaia, "/api/my/channels/", kind="webhook", address=f"https://example.org/{number}").status_code == 201
    assert "remove one first" in json.dumps(post(kaia, "/api/my/channels/", kind="webhook", address=WEBHOOK).json())
    NotificationChannel.objects.last().delete()
    assert "already" in json.dumps(post(kaia, "/api/my/channels/", kind="webhook", address="https://example.org/0").json())


def test_what_is_anothers_is_not_there(kaia):
    mike = channel(person("mike", group="trader"))
    delivery(mike)
    paths = [f"/api/my/channels/{mike.pk}/", f"/api/my/channels/{mike.pk}/test/", f"/api/my/deliveries/{Delivery.objects.get().pk}/"]
    assert [kaia.get(paths[0]).status_code, patch(kaia, paths[0], name="x").status_code, kaia.delete(paths[0]).status_code] == [404] * 3
    assert [post(kaia, paths[1]).status_code, kaia.get(paths[2]).status_code] == [404, 404]
    assert kaia.get("/api/my/deliveries/").json()["results"] == []


# Testing a channel


def test_a_test_is_a_message_whose_fate_can_be_followed(kaia):
    pk = post(kaia, "/api/my/channels/", kind="webhook", address=WEBHOOK).json()["id"]
    bus.sync().set(keys.delivery_beat(), "{}")
    answer = post(kaia, f"/api/my/channels/{pk}/test/")
    assert (answer.status_code, answer.json()["state"], answer.json()["about"]) == (202, "waiting", "test")
    Delivery.objects.update(state="failed", last_error="answered 404: Unknown Webhook")
    said = kaia.get(f"/api/my/deliveries/{answer.json()['id']}/").json()
    assert (said["state"], said["last_error"]) == ("failed", "answered 404: Unknown Webhook")


def test_where_no_process_delivers_a_test_says_so(kaia, valkey):
    pk = post(kaia, "/api/my/channels/", kind="webhook", address=WEBHOOK).json()["id"]
    answer = post(kaia, f"/api/my/channels/{pk}/test/")
    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": "No process delivers notifications: start one with `python manage.py rundelivery`."},
    )
    assert kaia.get("/api/my/notifications/").json()["delivering"] is False
    valkey.kill()
    assert post(kaia, f"/api/my/channels/{pk}/test/").status_code == 503
    assert kaia.get("/api/my/notifications/").json()["delivering"] is None
    assert not Delivery.objects.exists()


# Settings


def test_settings_have_quiet_defaults_and_change_in_part(kaia):
    said = kaia.get("/api/my/notifications/").json()
    (rule,) = said["repeats"]
    assert said == {
        "pages": False,
        "health": True,
        "quiet_from": None,
        "quiet_to": None,
        "zone": "",
        "group_from": 5,
        "repeats": [{**rule, "repeat": "stage"}],
        "delivering": False,
    }
    changed = patch(
        kaia, "/api/my/notifications/", quiet_from="22:00", quiet_to="7:30", zone="Asia/Tokyo", repeats=[{**rule, "repeat": "hour"}]
    ).json()
    assert (changed["quiet_from"], changed["quiet_to"], changed["zone"]) == ("22:00", "07:30", "Asia/Tokyo")
    assert changed["repeats"] == [{**rule, "repeat": "hour"}]
    assert RepeatPolicy.objects.get().repeat == "hour"
    row = NotificationSettings.objects.get()
    assert (row.quiet_from, row.quiet_to) == (1320, 450)
    assert patch(kaia, "/api/my/notifications/", quiet_from=None, quiet_to=None).json()["quiet_from"] is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"quiet_from": "22:00"}, "Quiet hours need a beginning and an end"),
        ({"quiet_from": "25:00", "quiet_to": "07:00"}, "time of day"),
        ({"quiet_from": "10 pm", "quiet_to": "07:00"}, "time of day"),
        ({"zone": "Mars/Base"}, "not a time zone"),
        ({"group_from": 1}, "greater than or equal to 2"),
        ({"repeats": [{"rule": 999_999, "repeat": "hour"}]}, "There is no rule 999999"),
        ({"repeats": [{"rule": 1, "repeat": "sometimes"}]}, "sometimes"),
        ({"repeats": "x"}, "list"),
    ],
)
def test_settings_that_cannot_be_say_why(kaia, data, says):
    answer = patch(kaia, "/api/my/notifications/", **data)
    assert answer.status_code == 400
    assert says in json.dumps(answer.json())
    assert not NotificationSettings.objects.exists()


# Acknowledging and snoozing


def test_an_alert_is_acknowledged_and_its_symbol_snoozed(kaia):
    (alert,) = commit(draft())
    ack = post(kaia, "/api/my/silences/", kind="ack", uid=alert.uid)
    assert ack.status_code == 201
    assert {**ack.json(), "id": 0, "created_at": 0} == {
        "id": 0,
        "kind": "ack",
        "exchange_id": "coinbase",
        "symbol": "BTC-USD",
        "timeframe": "5m",
        "stage": "overbought",
        "until": None,
        "created_at": 0,
    }
    snooze = post(kaia, "/api/my/silences/", kind="snooze", uid=alert.uid, minutes=30).json()
    assert snooze["timeframe"] == ""
    assert 1_790_000 < snooze["until"] - snooze["created_at"] <= 1_800_000
    again = post(kaia, "/api/my/silences/", kind="snooze", uid=alert.uid, minutes=60).json()
    assert again["id"] == snooze["id"], "it is prolonged"
    assert {one["kind"] for one in kaia.get("/api/my/silences/").json()} == {"ack", "snooze"}
    assert kaia.delete(f"/api/my/silences/{ack.json()['id']}/").status_code == 204
    assert Silence.objects.get().kind == "snooze"
    Silence.objects.update(until=1)
    assert kaia.get("/api/my/silences/").json() == []


def test_open_pages_hear_of_it(kaia):
    (alert,) = commit(draft())
    user_id = int(kaia.session["_auth_user_id"])
    listener = bus.sync().pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_user_account(user_id))
    listener.get_message(timeout=1)
    post(kaia, "/api/my/silences/", kind="ack", uid=alert.uid)
    assert listener.get_message(timeout=2)
    listener.close()


def test_only_what_one_may_see_can_be_silenced(kaia):
    from alerts.services import Naming
    from symbols.tiers import Place

    private = Naming("PEPE", "USD", Place(owners=frozenset({person("mike", group="trader").pk}), shared=False))
    (alert,) = commit(draft(symbol="PEPE-USD"), naming={**NAMING, "PEPE-USD": private})
    assert post(kaia, "/api/my/silences/", kind="ack", uid=alert.uid).status_code == 404
    assert post(kaia, "/api/my/silences/", kind="ack", uid="nothing").status_code == 404
    assert post(kaia, "/api/my/silences/", kind="snooze", uid=alert.uid, minutes=0).status_code == 400
    assert not Silence.objects.exists()
