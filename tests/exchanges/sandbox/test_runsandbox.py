"""``manage.py runsandbox`` as a person or a supervisor runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.core.management import CommandError, call_command
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": "sqlite:////nowhere/at/all.sqlite3"}
"""With a database that cannot be opened: the command needs none."""


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", "runsandbox", "--ws-port", "0", "--rest-port", "0", *arguments]


class _Running:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines = [process.stdout.readline().rstrip()]
        while self.lines[-1] and "/control" not in self.lines[-1]:
            self.lines.append(process.stdout.readline().rstrip())
        self.control = re.findall(r"http://\S+/control", self.lines[-1])[0] if self.lines[-1] else ""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[_Running]:
    arguments = _command("--speed", "120", "--state", str(tmp_path / "new" / "state.json"), "--fault", "rest-status:status=451,count=1")
    with subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield _Running(process)
        finally:
            process.kill()


def test_it_says_what_it_serves_and_serves_it(running: _Running) -> None:
    assert running.lines[0].startswith("SIMULATED market, seed 7, 120x, market time 20")
    venues = {line.split(":")[0].strip(): line.split()[1:] for line in running.lines[1:3]}
    assert list(venues) == ["coinbase-sandbox", "binance-sandbox"]
    rest = venues["binance-sandbox"][1]
    assert httpx.get(f"{rest}/api/v3/time").status_code == 451
    before = httpx.get(f"{rest}/api/v3/time").json()["serverTime"]
    after = httpx.get(f"{running.control}/clock").json()
    assert after["speed"] == 120.0
    assert after["now"] > before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_clients_connected_and_market_time_is_kept(running: _Running, tmp_path: Path, number: int) -> None:
    seen = httpx.get(f"{running.control}/clock").json()["now"]
    with connect(running.lines[1].split()[1]) as client:
        client.send('{"type":"subscribe","channel":"heartbeats"}')
        assert "subscriptions" in str(client.recv(20))
        running.process.send_signal(number)
        assert running.process.wait(20) == 0
    assert json.loads((tmp_path / "new" / "state.json").read_text())["now"] >= seen


def _refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as refused:
        call_command("runsandbox", "--ws-port", "0", "--rest-port", "0", *arguments)
    return str(refused.value)


def test_it_says_in_one_sentence_what_to_do_about_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = _refused("--state", str(tmp_path / "state.json"), "--rest-port", port)
    assert said == f"port {port} is taken, maybe by another sandbox: stop it, or choose another port with --rest-port"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "2000"], "speed must be 0.01 to 1000, not 2000.0"),
        (["--symbols", "0"], "a simulated market holds 1 to 1000 symbols, not 0"),
        (["--fault", "gap:code=1"], "--fault gap:code=1: gap has no setting 'code'; it has:"),
        (["--rest-limit", "-1"], "--rest-limit is a number of requests, or 0 for no limit"),
        (["--venue", "gate-sandbox"], "Error: argument --venue: invalid choice: 'gate-sandbox'"),
        (["--ws-port", "70000"], "cannot listen on port 70000"),
        (["--venue", "binance-sandbox", "--venue", "binance-sandbox"], "name each simulated exchange once"),
    ],
)
def test_it_refuses_arguments_that_make_no_sense(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert _refused("--state", str(tmp_path / "state.json"), *arguments).startswith(said)
