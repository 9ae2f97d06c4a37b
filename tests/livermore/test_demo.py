"""`manage.py demo`: its parts, and the whole of it as processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_server

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from exchanges.models import Exchange
from livermore import demo
from livermore.supervisor import Child
from tests import seeds

PROJECT = Path(__file__).resolve().parents[2]
PASSWORD = re.compile(r"[a-z]{4}(-[a-z]{4}){3}-\d{3}")


@pytest.mark.django_db
def test_the_first_start_makes_an_admin_and_every_later_one_tells_the_password_again(tmp_path: Path) -> None:
    note = tmp_path / "demo-login.txt"
    first = demo.first_login(note)
    assert note.stat().st_mode & 0o777 == 0o600
    password = note.read_text().strip()
    assert PASSWORD.fullmatch(password)
    assert first == f"user admin, password {password}"
    assert demo.first_login(note) == first
    admin = User.objects.get()
    assert admin.is_superuser
    assert admin.check_password(password)


@pytest.mark.django_db
def test_a_password_that_was_changed_is_not_told(tmp_path: Path) -> None:
    demo.first_login(tmp_path / "note")
    admin = User.objects.get()
    admin.set_password("of my own")
    admin.save()
    assert demo.first_login(tmp_path / "note") == "user admin, password: as you set it (or: manage.py changepassword admin)"


@pytest.mark.django_db
def test_somebody_who_is_a_superuser_already_gets_no_second_one(tmp_path: Path) -> None:
    User.objects.create_superuser("kaia", password="of her own")
    assert demo.first_login(tmp_path / "note") == "user kaia, password: as you set it (or: manage.py changepassword kaia)"
    assert list(User.objects.values_list("username", flat=True)) == ["kaia"]
    assert not (tmp_path / "note").exists()


@pytest.mark.django_db
def test_an_ordinary_user_of_the_admins_name_keeps_it(tmp_path: Path) -> None:
    User.objects.create_user("admin", password="of their own")
    assert demo.first_login(tmp_path / "note").startswith("user admin-2, password ")
    assert User.objects.get(is_superuser=True).username == "admin-2"


@pytest.mark.django_db
def test_only_the_simulated_exchanges_are_pointed_at_the_sandbox() -> None:
    seeds.restore()
    before = dict(Exchange.objects.filter(is_sandbox=False).values_list("pk", "websocket_url"))
    demo.point_simulated_exchanges(demo.SIMULATED, 1111, 2222)
    assert list(Exchange.objects.filter(is_sandbox=True).order_by("pk").values_list("pk", "websocket_url", "rest_url")) == [
        ("binance-sandbox", "ws://127.0.0.1:1111/binance-sandbox", "http://127.0.0.1:2222/binance-sandbox"),
        ("coinbase-sandbox", "ws://127.0.0.1:1111/coinbase-sandbox", "http://127.0.0.1:2222/coinbase-sandbox"),
        ("kraken-sandbox", "ws://127.0.0.1:1111/kraken-sandbox", "http://127.0.0.1:2222/kraken-sandbox"),
    ]
    assert dict(Exchange.objects.filter(is_sandbox=False).values_list("pk", "websocket_url")) == before


@pytest.mark.django_db
def test_more_simulated_exchanges_get_rows_and_fewer_switch_them_off() -> None:
    seeds.restore()
    Exchange.objects.filter(pk="binance-sandbox").update(top_n=5)
    names = demo.simulated_exchanges(5, None)
    assert names == ["coinbase-sandbox", "binance-sandbox", "binance-us-sandbox", "kraken-sandbox", "sandbox-5"]
    added = Exchange.objects.get(pk="sandbox-5")
    assert (added.name, added.adapter, added.is_sandbox, added.active, added.top_n) == ("Sandbox 5", "binance", True, True, 20)
    assert Exchange.objects.get(pk="binance-us-sandbox").name == "Binance.US Sandbox"
    demo.point_simulated_exchanges(names, 1111, 2222)
    for row in Exchange.objects.filter(pk__in=names):
        row.full_clean()

    assert demo.simulated_exchanges(3, 700) == names[:3]
    tops = Exchange.objects.filter(is_sandbox=True).order_by("pk").values_list("pk", "active", "top_n")
    assert list(tops) == [
        ("binance-sandbox", True, 700),
        ("binance-us-sandbox", True, 700),
        ("coinbase-sandbox", True, 700),
        ("kraken-sandbox", True, 20),
        ("sandbox-5", False, 20),
    ]
    assert list(Exchange.objects.filter(is_sandbox=False, active=False)) == []


def test_more_exchanges_and_symbols_reach_the_sandbox_and_the_connectors() -> None:
    names = ["coinbase-sandbox", "binance-sandbox", "binance-us-sandbox"]
    sandbox, connectors, *_ = demo.children(host="127.0.0.1", port=8000, speed=60, websocket_port=1, rest_port=2, names=names, symbols=100)
    assert sandbox.command[-10:] == (*(word for name in (*names, "kraken-sandbox") for word in ("--venue", name)), "--symbols", "100")
    assert connectors.command[2:] == tuple(word for name in names for word in ("--autostart", name))


def test_it_runs_the_sandbox_the_connectors_and_the_pages(settings: object) -> None:
    data = settings.DATA_DIR  # type: ignore[attr-defined]
    assert demo.children(host="127.0.0.1", port=8000, speed=60, websocket_port=1, rest_port=2) == [
        Child(
            "runsandbox",
            (
                "manage.py",
                "runsandbox",
                "--ws-port",
                "1",
                "--rest-port",
                "2",
                "--state",
                f"{data}/sandbox.json",
                "--speed",
                "60",
                "--venue",
                "coinbase-sandbox",
                "--venue",
                "binance-sandbox",
                "--venue",
                "kraken-sandbox",
            ),
        ),
        Child("runexchange", ("manage.py", "runexchange", "--autostart", "coinbase-sandbox", "--autostart", "binance-sandbox")),
        Child("rundelivery", ("manage.py", "rundelivery")),
        Child(
            "web",
            ("-m", "daphne", "--websocket-max-message-size", "16777216", "-b", "127.0.0.1", "-p", "8000", "livermore.asgi:application"),
        ),
    ]


def test_a_taken_port_is_a_sentence() -> None:
    with create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=rf"^Port {port} is taken: stop what uses it, or run make run PORT={port + 1}$"):
            call_command("demo", port=port)


def test_a_second_start_names_the_first(settings: object) -> None:
    with (
        demo._only_one(settings.DATA_DIR / "run" / "demo.lock", "http://127.0.0.1:8000/"),  # type: ignore[attr-defined]
        pytest.raises(
            CommandError,
            match=rf"^Livermore is running already, at http://127\.0\.0\.1:8000/ \(process {os.getpid()}\): use that one, or stop it",
        ),
    ):
        call_command("demo")


def test_outside_the_demos_configuration_it_does_not_run(settings: object) -> None:
    settings.DEMO = False  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match=r"is not the demo's: set LIVERMORE_DEMO=true, or see docs/operations\.md"):
        call_command("demo")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "0.0.0.0"], "the demo serves this machine only: use 127.0.0.1, not 0.0.0.0"),
        (["--port", "70000"], "'70000' is not a whole number from 1 to 65535"),
        (["--port", "http"], "'http' is not a whole number from 1 to 65535"),
        (["--speed", "0"], "'0' is not a whole number from 1 to 1000"),
        (["--exchanges", "11"], "'11' is not a whole number from 2 to 10"),
        (["--symbols", "1001"], "'1001' is not a whole number from 1 to 1000"),
    ],
)
def test_arguments_it_cannot_use_are_said_to_be_so(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=re.escape(reason)):
        call_command("demo", *arguments)


class Demo:
    """`manage.py demo` in a process group of its own, on a data directory of its own, with no .env but these variables."""

    def __init__(self, data_dir: Path, **variables: str) -> None:
        self.data_dir = data_dir
        with create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        own = {"LIVERMORE_DATA_DIR": str(data_dir), "DATABASE_URL": f"sqlite:///{data_dir / 'livermore.sqlite3'}", "REDIS_URL": ""}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(self.port), "--installed-in", "31"],
            cwd=PROJECT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "livermore.settings", **own, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, word: str) -> str:
        assert self.process.stdout
        said = ""
        for line in self.process.stdout:
            said += line
            if word in line:
                return said
        raise AssertionError(f"it ended without {word!r}, after: {said}")

    def processes(self) -> set[int]:
        """The children of the demo, and what names its data directory: those that outlived it, and the embedded server."""
        listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 3) for line in listing.splitlines()]
        return {
            int(pid)
            for pid, parent, stat, args in (row for row in rows if len(row) == 4)
            if not stat.startswith("Z") and (int(parent) == self.process.pid or str(self.data_dir) in args)
        }

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def begin(**variables: str) -> Demo:
        started.append(Demo(tmp_path, **variables))
        return started[-1]

    yield begin
    for one in started:
        one.end()


def log_in(page: str, password: str) -> int:
    with httpx.Client(base_url=page, follow_redirects=True, trust_env=False) as browser:
        browser.get("/login/")
        form = {"username": "admin", "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        answer = browser.post("/login/", data=form)
        return answer.status_code if answer.url.path == "/" else 0


def test_it_lets_the_admin_in_and_leaves_nothing_behind_whether_killed_or_stopped(start: Callable[..., Demo]) -> None:
    killed = start()
    said = killed.read_until("Ctrl-C stops everything.")
    page = f"http://127.0.0.1:{killed.port}/"
    assert re.search(rf"Livermore is at {page} \(installed in 31 s, started in \d+ s\)\n", said)
    password = PASSWORD.search(said)
    assert password
    assert log_in(page, password[0]) == 200
    assert log_in(page.replace("127.0.0.1", "localhost"), password[0]) == 200
    assert len(killed.processes()) == 6, "sandbox, connectors, delivery, pages, Redis and its keeper"
    killed.process.kill()
    killed.process.wait()
    wait_until_empty(killed.processes)

    stopped = start()
    assert password[0] in stopped.read_until("Ctrl-C stops everything.")
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.read_until("Stopped.").endswith("Stopped.\n")
    assert stopped.process.wait() == 0
    wait_until_empty(stopped.processes)


def wait_until_empty(processes: Callable[[], set[int]]) -> None:
    deadline = time.monotonic() + 30
    while left := processes():
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"DATABASE_URL": "postgres://livermore:canary@127.0.0.1:1/livermore"},
            "CommandError: The database does not answer (connection failed: ",
        ),
        (
            {"REDIS_URL": "redis://:canary@127.0.0.1:1/0"},
            "CommandError: The Redis at 127.0.0.1:1 does not answer (connection refused): start it or correct REDIS_URL",
        ),
    ],
)
def test_a_database_or_redis_that_does_not_answer_is_a_sentence(start: Callable[..., Demo], variables: dict[str, str], reason: str) -> None:
    refused = start(**variables)
    said, _ = refused.process.communicate()
    assert refused.process.returncode == 1
    assert said.startswith(reason)
    assert "canary" not in said
    assert len(said.splitlines()) == 1
