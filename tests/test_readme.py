"""What README.md tells people to type is run, and what it and docs/operations.md name is there."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import pytest

from livermore import demo
from tests import seeds
from tests.people import person

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
OURS = ".venv/bin/python manage.py "
MAKE = [command for command in COMMANDS if command.startswith("make ")]
SERVING = {"runsandbox": "SIMULATED", "runexchange": "Hosting", "rundelivery": "Delivering"}
"""What the programs that run until they are stopped say once they run."""


def test_every_command_of_the_readme_is_run_by_one_of_these_tests() -> None:
    assert [command for command in COMMANDS if command not in MAKE and not command.startswith(OURS)] == []
    assert len(MAKE) >= 2
    assert len(COMMANDS) > len(MAKE)


@pytest.mark.parametrize("command", MAKE)
def test_what_make_is_told_is_there_to_make(command: str) -> None:
    """As a dry run: what `make run` then runs has tests of its own, and this is `make test`."""
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("bootstrap.py run --port" if "run" in command else "-m pytest") in done.stdout


@pytest.fixture
def sandbox_ports() -> tuple[int, int]:
    seeds.restore()
    person(demo.ADMIN, superuser=True)  # as `make run` makes one
    with create_server(("127.0.0.1", 0)) as one, create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    demo.point_simulated_exchanges(demo.SIMULATED, *ports)
    return ports


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_programs_and_the_control_of_the_readme_work_together(
    process_environment: dict[str, str], sandbox_ports: tuple[int, int], running: ExitStack
) -> None:
    environment = {**process_environment, "PYTHONUNBUFFERED": "1"}
    commands = [shlex.split(line.removeprefix(OURS)) for line in COMMANDS if line.startswith(OURS)]
    commands.sort(key=lambda command: command[0] not in SERVING)  # who is told what to do has to run before
    for name, *arguments in commands:
        # The ports people get are fixed ones, on which something may listen here.
        ports = ["--ws-port", str(sandbox_ports[0]), "--rest-port", str(sandbox_ports[1])] if name == "runsandbox" else []
        command = [sys.executable, "manage.py", name, *arguments, *ports]
        if name in SERVING:
            _serve(command, environment, SERVING[name], running)
            continue
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert "coinbase-sandbox" in done.stdout


def _serve(command: list[str], environment: dict[str, str], word: str, running: ExitStack) -> None:
    """Start a program, wait until it says that it runs, and see to it that it ends in order afterwards."""
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    running.callback(_end, process)
    assert process.stdout
    assert any(word in line for line in process.stdout), f"{command} ended before it said {word!r}"


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.communicate()
    assert process.returncode == 0, f"{process.args} ended with {process.returncode}"


def test_every_setting_is_documented_and_nothing_else() -> None:
    read = set(re.findall(r'(?:env\.\w+|_words|_by_name)\("([A-Z_]+)"', (PROJECT / "livermore" / "settings.py").read_text()))
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (PROJECT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(read)
    example = re.findall(r"^#?([A-Z_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(example) == sorted(read)
