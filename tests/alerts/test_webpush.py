"""Web Push to a push service of our own, over HTTPS: what a browser could read there is what was sent, and who sent it is signed."""

import datetime
import ipaddress
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.test import Client

from alerts.delivery import Worker
from alerts.delivery_services import SUBSCRIPTION_ENDED, deliveries_claim, delivery_finish
from alerts.models import Delivery, Kind, NotificationChannel
from tests.alerts.drafts import begin
from tests.alerts.notifying import delivery
from tests.alerts.pushing import Browser, read_text, text_of
from tests.alerts.receivers import Web, web
from tests.people import client_of, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_begun")]
BROWSERS = "/api/my/browsers/"


@pytest.fixture
def _begun(db, redis_url, settings):
    begin("coinbase")
    settings.SITE_URL = "https://livermore.example.org"
    settings.DEMO = False  # as it is in earnest: over TLS only
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Path:
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "push.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("push") / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def service(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A push service whose certificate this process trusts."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    with web(tls=context) as receiver:
        receiver.answers = [(201, {}, b"")]
        yield receiver


def add(client: Client, subscription: dict[str, Any]) -> Any:
    return client.post(BROWSERS, subscription, content_type="application/json")


@pytest.fixture
def kaia() -> Client:
    return client_of(person("kaia", group="viewer"))


def endpoint(service: Web, path: str = "/canary-7f3a9c") -> str:
    return f"https://127.0.0.1:{service.port}{path}"


def send_one(now: int = 1_000) -> str:
    """As the delivery process does it: claim, send, note."""
    (job,) = deliveries_claim(now=now, most=1)
    return delivery_finish(job=job, outcome=Worker._send_now(job), now=now)


def test_a_browser_reads_what_was_sent_and_who_sent_it(kaia, service):
    browser = Browser()
    said = add(kaia, browser.subscription(endpoint(service)))
    assert said.status_code == 201, said.content
    to = NotificationChannel.objects.get()
    delivery(to, "coinbase|BTC", title="▲ BTC-USD 1h crossed above +150", body="Coinbase · 64,210.50 USD", silent=True, path="/alerts/9/")
    assert send_one() == "sent"
    ((path, headers, body),) = service.requests
    assert path == "/canary-7f3a9c"
    assert (headers["Content-Encoding"], headers["Urgency"]) == ("aes128gcm", "high")
    assert int(headers["TTL"]) >= 60
    assert json.loads(browser.read(body)) == {
        "title": "▲ BTC-USD 1h crossed above +150",
        "body": "Coinbase · 64,210.50 USD",
        "path": "/alerts/9/",
        "tag": "coinbase|BTC",
        "silent": True,
        "at": 1_000,
    }
    assert b"BTC" not in body
    scheme, _, parameters = headers["Authorization"].partition(" ")
    given = dict(part.strip().split("=", 1) for part in parameters.split(","))
    handed_out = kaia.get(f"{BROWSERS}key/").json()["key"]
    assert (scheme, given["k"]) == ("vapid", handed_out), "the key that browsers subscribe with"
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), read_text(handed_out))
    claims = jwt.decode(given["t"], key, algorithms=["ES256"], audience=f"https://127.0.0.1:{service.port}")  # type: ignore[arg-type]
    assert claims["sub"] == "https://livermore.example.org"
    assert claims["exp"] <= time.time() + 24 * 3_600


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_ended_is_removed_and_said_until_the_browser_has_another(kaia, service, status):
    add(kaia, Browser().subscription(endpoint(service)))
    to = NotificationChannel.objects.get()
    service.answers = [(status, {}, b"")]
    delivery(to)
    delivery(to, "later", due_at=5_000)
    assert send_one() == "failed"
    assert set(Delivery.objects.values_list("state", flat=True)) == {"failed"}
    (row,) = kaia.get("/api/my/channels/").json()
    assert (row["ended"], row["enabled"], row["last_error"]) == (True, False, SUBSCRIPTION_ENDED)
    to.refresh_from_db()
    assert to.url == "", "its address is gone"
    again = kaia.patch(f"/api/my/channels/{to.pk}/", {"enabled": True}, content_type="application/json")
    assert (again.status_code, again.json()) == (400, {"address": [SUBSCRIPTION_ENDED]})
    assert kaia.post(f"/api/my/channels/{to.pk}/test/").json() == {"detail": SUBSCRIPTION_ENDED}
    assert add(kaia, Browser().subscription(endpoint(service, "/new"))).status_code == 201
    assert [row["ended"] for row in kaia.get(BROWSERS).json()] == [False]


def test_a_push_service_that_is_not_trusted_or_not_of_the_internet_gets_nothing(kaia, service, monkeypatch, settings):
    add(kaia, Browser().subscription(endpoint(service)))
    to = NotificationChannel.objects.get()
    delivery(to)
    settings.OUTBOUND_NETWORKS = []
    assert send_one() == "failed"
    to.refresh_from_db()
    assert to.last_error.startswith("127.0.0.1 is not an address of the internet")
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    delivery(to, "again")
    assert send_one() == "retried"
    to.refresh_from_db()
    assert to.last_error == "127.0.0.1 has no certificate that can be trusted"
    assert service.requests == []
    assert "canary" not in to.last_error


# The API


def test_a_browser_is_listed_by_its_name_and_removed(kaia):
    said = add(kaia, Browser().subscription("https://push.example.org/canary-7f3a9c"))
    row = said.json()
    assert (row["name"], row["service"], row["kind"]) == ("Firefox on Linux", "push service push.example.org", "push")
    assert "canary" not in said.content.decode() + kaia.get(BROWSERS).content.decode()
    assert [row["id"] for row in kaia.get(BROWSERS).json()] == [said.json()["id"]]
    other = client_of(person("olive", group="viewer"))
    assert other.get(BROWSERS).json() == []
    assert other.delete(f"{BROWSERS}{said.json()['id']}/").status_code == 404
    assert kaia.delete(f"{BROWSERS}{said.json()['id']}/").status_code == 204
    assert not NotificationChannel.objects.exists()


def test_a_browser_is_one_channel_however_often_it_subscribes(kaia):
    browser = Browser()
    first = add(kaia, browser.subscription("https://push.example.org/1")).json()["id"]
    kaia.patch(f"/api/my/channels/{first}/", {"timeframes": ["1d"]}, content_type="application/json")
    assert add(kaia, browser.subscription("https://push.example.org/1")).json()["id"] == first
    renewed = add(kaia, browser.subscription("https://push.example.org/2", replaces="https://push.example.org/1")).json()
    assert (renewed["id"], renewed["timeframes"]) == (first, ["1d"])
    assert json.loads(NotificationChannel.objects.get().url)["endpoint"] == "https://push.example.org/2"
    add(kaia, browser.subscription("https://push.example.org/3", replaces="https://push.example.org/unknown"))
    assert NotificationChannel.objects.count() == 2


def test_a_browser_is_the_last_ones_who_logged_in_there(kaia):
    browser = Browser()
    add(kaia, browser.subscription("https://push.example.org/1"))
    add(client_of(person("olive", group="viewer")), browser.subscription("https://push.example.org/1"))
    assert [row.user.username for row in NotificationChannel.objects.all()] == ["olive"]


def test_nobody_takes_a_channel_of_another_by_its_address(kaia):
    olive = client_of(person("olive", group="viewer"))
    add(olive, Browser().subscription("https://push.example.org/1"))
    add(kaia, Browser().subscription("https://push.example.org/2", replaces="https://push.example.org/1"))
    assert sorted(NotificationChannel.objects.values_list("user__username", flat=True)) == ["kaia", "olive"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"endpoint": "http://push.example.org/1"}, "https"),
        ({"endpoint": "https://user:password@push.example.org/1"}, "https"),
        ({"endpoint": "file:///etc/passwd"}, "https"),
        ({"endpoint": "https://[::1"}, "https"),
        ({"endpoint": "https://push.example.org/\r\nHost: x"}, "https"),
        ({"endpoint": "https://push.example.org:99999/"}, "https"),
        ({"keys": {"p256dh": "AAAA", "auth": "AAAA"}}, "keys"),
        ({"keys": {"p256dh": text_of(b"\x04" + b"\x01" * 64), "auth": text_of(b"0" * 16)}}, "keys"),
        ({"keys": {"p256dh": "ü" * 87, "auth": text_of(b"0" * 16)}}, "keys"),
        ({"keys": "x"}, "keys"),
        ({"name": "x" * 81}, "name"),
    ],
)
def test_what_is_no_subscription_is_refused(kaia, changes, says):
    answer = add(kaia, {**Browser().subscription("https://push.example.org/1"), **changes})
    assert answer.status_code == 400
    assert says in answer.content.decode()
    assert not NotificationChannel.objects.filter(kind=Kind.PUSH).exists()


def test_the_service_worker_is_served_for_every_page_and_not_kept():
    answer = Client().get("/service-worker.js")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "worker-src 'self'" in answer.headers["Content-Security-Policy"]
    assert b'addEventListener("push"' in answer.content
