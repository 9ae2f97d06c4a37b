"""What the code of a channel may do: connect where it may, encrypted, and nothing of this machine. See also security/test_outbound.py."""

import os
import smtplib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from alerts.guard import Guard, guarded
from livermore.outbound import PUBLIC, Forbidden, Reach, networks
from tests.alerts.receivers import mail, web

HERE = "127.0.0.0/8"
"""Where the servers of these tests are."""


def guard(*allowed: str, tls: bool = False, seconds: float = 45.0) -> Guard:
    return Guard(Reach(public=True, networks=networks(allowed), tls=tls), seconds=seconds)


TRICKS = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://127.1:{port}/", "http://2130706433:{port}/", "http://0x7f000001:{port}/",
    "http://017700000001:{port}/", "http://0.0.0.0:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://0:{port}/",
    "http://user@127.0.0.1:{port}/", "http://example.org@127.0.0.1:{port}/", "http://127.0.0.1:{port}/#@example.org",
    "http://127.0.0.1.:{port}/", "http://LOCALHOST:{port}/", "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_no_spelling_of_this_machine_is_reached(trick):
    with web() as receiver, guarded(guard()):
        with pytest.raises((requests.RequestException, OSError, ValueError)):
            requests.post(trick.format(port=receiver.port), data=b"x", timeout=3)
        assert receiver.requests == []


def test_a_name_that_resolves_to_another_address_the_second_time_gains_nothing(monkeypatch):
    """DNS rebinding: public when somebody looks, private when the socket opens."""
    resolved = socket.getaddrinfo
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])

    def rebinding(host, port, *args, **kwargs):
        found = resolved(next(answers), port, socket.AF_INET, socket.SOCK_STREAM)
        sys.audit("socket.getaddrinfo", host, port, 0, 0, 0)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with web() as receiver:
        assert not PUBLIC.refuses(socket.getaddrinfo("rebind.example.org", receiver.port)[0][4][0])
        with guarded(guard()) as held, pytest.raises((requests.RequestException, OSError)):
            requests.post(f"http://rebind.example.org:{receiver.port}/", timeout=3)
        assert receiver.requests == []
        assert str(held.refused) == (
            "127.0.0.1 is not an address of the internet, but of this machine, a private network or none at all: "
            "the operator may allow its network in OUTBOUND_NETWORKS"
        )


def test_a_redirect_into_what_is_not_allowed_is_not_followed():
    with web() as outside, web("127.0.0.2") as inside:
        outside.answers = [(307, {"Location": f"http://127.0.0.2:{inside.port}/"}, b"")]
        with guarded(guard("127.0.0.1/32")), pytest.raises((requests.RequestException, OSError)):
            requests.post(f"http://127.0.0.1:{outside.port}/", timeout=3)
        assert (len(outside.requests), inside.requests) == (1, [])


def test_nothing_goes_in_clear_where_it_must_not():
    with web() as receiver, guarded(guard(HERE, tls=True)) as held:
        with pytest.raises((requests.RequestException, OSError)):
            requests.post(f"http://localhost:{receiver.port}/", timeout=3)
        assert (receiver.requests, str(held.refused)) == ([], "the connection is not encrypted: use an https address")


def test_no_password_goes_to_a_mail_server_in_clear():
    with (
        mail() as server,
        smtplib.SMTP("localhost", server.port, timeout=3) as client,
        guarded(guard(HERE, tls=True)),
        pytest.raises(Forbidden),
    ):
        client.login("mike", "secret")
    assert {line.split()[0] for line in server.commands} <= {"ehlo", "QUIT"}


def with_socket(family, kind, method, *args):
    with socket.socket(family, kind) as one:
        getattr(one, method)(*args)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda tmp: Path("/etc/passwd").read_text(),
        lambda tmp: open(tmp / "new", "w"),  # noqa: SIM115
        lambda tmp: os.open(tmp / "new", os.O_CREAT | os.O_WRONLY),
        lambda tmp: (tmp / "there").unlink(),
        lambda tmp: subprocess.run(["true"], check=True),
        lambda tmp: os.system("true"),
        lambda tmp: with_socket(socket.AF_UNIX, socket.SOCK_STREAM, "connect", "/run/x"),
        lambda tmp: with_socket(socket.AF_INET, socket.SOCK_DGRAM, "sendto", b"x", ("1.1.1.1", 53)),
        lambda tmp: with_socket(socket.AF_INET, socket.SOCK_STREAM, "bind", ("", 0)),
    ],
    ids=["read", "write", "create", "remove", "run", "system", "unix socket", "datagram", "listen"],
)
def test_nothing_of_this_machine(attempt, tmp_path):
    (tmp_path / "there").touch()
    with guarded(guard()), pytest.raises(Forbidden):
        attempt(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["there"]


def test_others_are_not_held_to_it():
    """Neither another thread, nor this one afterwards."""
    found: list[int] = []
    with web() as receiver:
        ask = lambda: found.append(requests.get(f"http://127.0.0.1:{receiver.port}/", timeout=3).status_code)  # noqa: E731
        with guarded(guard()):
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join(5)
        ask()
    assert found == [200, 200]


def test_an_answer_that_never_ends_is_cut_at_the_deadline():
    with web() as receiver:
        receiver.drip = True
        began = time.monotonic()
        with guarded(guard(HERE, seconds=0.7)), pytest.raises((requests.RequestException, OSError)):
            requests.get(f"http://localhost:{receiver.port}/", timeout=3)
        assert time.monotonic() - began < 3
