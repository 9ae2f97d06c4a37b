"""Messages that leave, to real servers, and what is said of those that do not arrive."""

import io
import logging
import time

import pytest

from alerts import channels, sending
from alerts.channels import BadChannel, address_of
from alerts.delivery_services import Outcome
from alerts.messages import Message
from alerts.models import Kind
from alerts.sending import scrubbed, send
from livermore.outbound import Reach, networks
from tests.alerts.receivers import mail, web

MESSAGE = Message("▲ BTC-USD 1h crossed above +150", "Coinbase · 64,210.50 USD · <overbought>", "/alerts/1/")
SECRET = "canary-7f3a9c"


def sent(url: str, kind: str = Kind.WEBHOOK, *, tls: bool = False, allowed: str = "127.0.0.0/8") -> Outcome:
    reach = Reach(public=True, networks=networks([allowed]), tls=tls)
    return send(kind, url, MESSAGE, site="https://livermore.example.org", reach=reach)


def test_a_webhook_gets_title_and_text_and_the_page_about_it():
    with web() as receiver:
        url, service = address_of(Kind.WEBHOOK, f"http://127.0.0.1:{receiver.port}/hook?token={SECRET}")
        assert service == "JSON at 127.0.0.1"
        assert sent(url) == Outcome(True)
    ((path, headers, _),), (body,) = receiver.requests, receiver.bodies
    assert path == f"/hook?token={SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert body["title"] == MESSAGE.title
    assert body["message"] == f"{MESSAGE.body}\nhttps://livermore.example.org/alerts/1/"


def test_mail_gets_there_as_text_that_is_not_read_as_markup():
    with mail() as server:
        url, _ = address_of(Kind.EMAIL, f"mailto://mike:{SECRET}@127.0.0.1:{server.port}?mode=insecure&from=a@example.org&to=b@example.org")
        assert sent(url, Kind.EMAIL) == Outcome(True)
    (text,) = server.messages
    assert "To: b@example.org" in text
    assert "Content-Type: text/plain" in text
    assert "html" not in text


# What went wrong


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome"),
    [
        (500, {}, b"", Outcome(False, "127.0.0.1 answered 500", True)),
        (503, {"Retry-After": "7"}, b"", Outcome(False, "127.0.0.1 answered 503", True, 7.0)),
        (429, {"Retry-After": "2"}, b"", Outcome(False, "127.0.0.1 too many messages", True, 2.0)),
        (429, {}, b'{"message":"You are being rate limited.","retry_after":64.57,"global":false}',
         Outcome(False, "127.0.0.1 too many messages: You are being rate limited.", True, 64.57)),
        (429, {}, b'{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":31}}',
         Outcome(False, "127.0.0.1 too many messages: Too Many Requests", True, 31.0)),
        (429, {"Retry-After": "99999999"}, b"[]", Outcome(False, "127.0.0.1 too many messages", True, 3600.0)),
        (429, {"Retry-After": "soon"}, b"\xff\x00", Outcome(False, "127.0.0.1 too many messages", True, None)),
        (400, {}, b'{"description":"Bad Request: chat not found"}', Outcome(False, "127.0.0.1 answered 400: Bad Request: chat not found")),
        (401, {"Retry-After": "5"}, b"", Outcome(False, "127.0.0.1 answered 401")),
        (404, {}, b'{"message":"Unknown Webhook"}', Outcome(False, "127.0.0.1 answered 404: Unknown Webhook", gone=True)),
        (410, {}, b"", Outcome(False, "127.0.0.1 answered 410", gone=True)),
    ],
)  # fmt: skip
def test_what_the_other_end_said_is_told(status, headers, body, outcome):
    with web() as receiver:
        receiver.answers = [(status, headers, body)]
        assert sent(receiver.url()) == outcome
    assert len(receiver.requests) == 1, "it is tried again by the outbox, and by nobody else"


def test_a_date_to_wait_for_is_understood():
    with web() as receiver:
        at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 120))
        receiver.answers = [(503, {"Retry-After": at}, b"")]
        assert 100 < (sent(receiver.url()).retry_after or 0) <= 120


def test_nobody_there():
    with web() as receiver:
        url = receiver.url()
    assert sent(url) == Outcome(False, "127.0.0.1 refused the connection", True)
    assert sent("json://nowhere.invalid/") == Outcome(False, "nowhere.invalid is not a name that can be found", True)


def test_no_tls_there():
    with web() as receiver:
        assert sent(receiver.url().replace("json", "jsons"), tls=True) == Outcome(False, "127.0.0.1 does not speak TLS there", True)
        assert receiver.requests == []


def test_what_may_not_be_reached_is_not_tried_again():
    with web() as receiver:
        outcome = sent(receiver.url(), allowed="10.0.0.0/8")
        assert (outcome.ok, outcome.again, receiver.requests) == (False, False, [])
        assert outcome.error == (
            "127.0.0.1 is not an address of the internet, but of this machine, a private network or none at all: "
            "the operator may allow its network in OUTBOUND_NETWORKS"
        )


@pytest.mark.parametrize(
    ("command", "answer", "outcome"),
    [
        ("AUTH", "535 5.7.8 bad credentials", Outcome(False, "the mail server answered 535: 5.7.8 bad credentials")),
        ("RCPT", "550 no such user", Outcome(False, "the mail server answered 550: no such user")),
        ("RCPT", "451 try later", Outcome(False, "the mail server answered 451: try later", True)),
    ],
)
def test_what_a_mail_server_said_is_told(command, answer, outcome):
    with mail() as server:
        server.refuse = {command: answer}
        assert sent(f"mailto://mike:{SECRET}@127.0.0.1:{server.port}?mode=insecure&from=a@x.org&to=b@x.org", Kind.EMAIL) == outcome


def test_a_server_that_never_ends_its_answer_is_left_and_has_taken_it(monkeypatch):
    monkeypatch.setattr(sending, "SECONDS", 0.5)
    with web() as receiver:
        receiver.drip = True
        began = time.monotonic()
        assert sent(receiver.url()) == Outcome(True)
        assert time.monotonic() - began < 3


def test_a_server_that_does_not_answer_is_left(monkeypatch):
    monkeypatch.setattr(sending, "SECONDS", 0.5)
    with web() as receiver:
        receiver.delay = 2.0
        began = time.monotonic()
        outcome = sent(receiver.url())
        assert time.monotonic() - began < 1.5
    assert (outcome.ok, outcome.again) == (False, True)


def test_no_more_of_an_answer_is_read_than_is_wanted():
    with web() as receiver:
        receiver.answers = [(200, {}, b"x" * 50_000_000)]
        assert sent(receiver.url()) == Outcome(True)


def test_nothing_secret_is_in_an_error_or_a_log(capfd):
    """Not where the other end sends it back, nor where a library says what it could not reach. Not on the finest level either."""
    written, level = io.StringIO(), logging.root.level
    handler = logging.StreamHandler(written)
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.DEBUG)
    with web() as receiver:
        receiver.answers = [(400, {}, b'{"message":"no hook canary-7f3a9c here, canary-7f3a9c"}')]
        url = f"{receiver.url()}/{SECRET}?-key={SECRET}"
        said = [sent(url).error]
    said += [sent(url).error, sent(f"json://{SECRET}.invalid/{SECRET}").error.replace(f"{SECRET}.invalid", "")]
    logging.getLogger("somebody").debug("is heard")
    said += [sent(f"mailto://mike:{SECRET}@127.0.0.1:1?mode=insecure", Kind.EMAIL).error]
    assert said[0] == "127.0.0.1 answered 400: no hook … here, …"
    assert all(said)
    assert SECRET not in "\n".join(said)
    logging.root.removeHandler(handler)
    logging.root.setLevel(level)
    assert "is heard" in written.getvalue()
    assert SECRET not in written.getvalue()
    assert SECRET not in "".join(capfd.readouterr())


def test_a_host_is_no_secret():
    assert scrubbed("hooks.example.org answered 400", "jsons://hooks.example.org/abcdef") == "hooks.example.org answered 400"


# What may be typed


@pytest.mark.parametrize(
    ("kind", "typed", "service"),
    [
        (Kind.DISCORD, f"https://discord.com/api/webhooks/123456789012345678/{SECRET}", "Discord"),
        (Kind.DISCORD, f"discord://123456789012345678/{SECRET}", "Discord"),
        (Kind.TELEGRAM, "tgram://123456789:abcdefghijklmnopqrstuvwxyzabcdefghi/12345/", "Telegram"),
        (Kind.EMAIL, f"mailtos://mike:{SECRET}@gmail.com", "E-Mail"),
        (Kind.WEBHOOK, f"https://example.org/{SECRET}", "JSON at example.org"),
        (Kind.OTHER, "ntfys://ntfy.sh/topic", "ntfy"),
        (Kind.OTHER, "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
    ],
)  # fmt: skip
def test_addresses_as_they_are_copied(kind, typed, service, settings):
    settings.DEMO = False
    assert address_of(kind, f"  {typed}\n")[1] == service


@pytest.mark.parametrize(
    ("kind", "typed", "says"),
    [
        (Kind.DISCORD, "", "whole address"),
        (Kind.DISCORD, "hello there", "whole address"),
        (Kind.DISCORD, "x" * 2_001, "whole address"),
        (Kind.DISCORD, "nonsense://x", "not an address of this service"),
        (Kind.DISCORD, "discord://", "not whole"),
        (Kind.DISCORD, f"tgram://123456789:{'a' * 35}/12345/", "an address of Telegram, not of Discord"),
        (Kind.WEBHOOK, "ftp://example.org/", "not an address of this service"),
        (Kind.OTHER, "syslog://", "cannot be used here"),
        (Kind.OTHER, "dbus://", "cannot be used here"),
        (Kind.OTHER, "mqtts://example.org/topic", "cannot be used here"),
        (Kind.OTHER, "rsyslog://example.org", "cannot be used here"),
        (Kind.OTHER, "ircs://example.org/#x", "cannot be used here"),
        (Kind.OTHER, "xmpps://u:p@example.org", "cannot be used here"),
        (Kind.OTHER, "growl://example.org", "cannot be used here"),
        (Kind.OTHER, "vapid://a@example.org/b@example.org", "cannot be used here"),
        (Kind.EMAIL, "mailtos://u:p@example.org?to=a@x.org,b@x.org", "One recipient"),
        (Kind.WEBHOOK, "jsons://example.org/?retry=5", "One recipient"),
        (Kind.WEBHOOK, "http://example.org/", "encrypted"),
        (Kind.WEBHOOK, "jsons://example.org/?verify=no", "verify=no"),
        (Kind.EMAIL, "mailto://u:p@example.org?mode=insecure", "encrypted"),
        (Kind.OTHER, "ntfy://example.org/topic", "encrypted"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_says_what_to_do(kind, typed, says, settings):
    settings.DEMO = False
    with pytest.raises(BadChannel) as error:
        address_of(kind, typed)
    assert says in str(error.value)
    assert "example.org" not in str(error.value).replace("https://example.org/hook", "")


def test_a_template_of_this_machine_is_not_sent_anywhere(tmp_path):
    """Discord's plugin would read a file and post it."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"content": "canary"}')
    with web() as receiver:
        try:
            url, _ = address_of(Kind.DISCORD, f"discord://123456789012345678/{SECRET}?template={secret}")
        except BadChannel:
            return
        assert not sent(url, Kind.DISCORD).ok
        assert receiver.requests == []


def test_a_digest_finds_an_address_and_tells_nothing():
    assert channels.digest_of("a") != channels.digest_of("b")
    assert SECRET not in channels.digest_of(SECRET)
