"""The supervisor, with stand-in programs that misbehave for real."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from livermore import supervisor as supervising
from livermore.supervisor import Child, Supervisor

PROJECT = Path(__file__).resolve().parents[2]
SAY_PID = "import os, pathlib, signal, sys, time; name = pathlib.Path(sys.argv[0]).stem; "
SAY_PID += "pathlib.Path(name + '.new').write_text(str(os.getpid())); os.rename(name + '.new', name + '.pid'); time.sleep(600)"
PROGRAMS = {
    "patient": SAY_PID,
    "stubborn": f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAY_PID}",
    "dying": "import pathlib; file = pathlib.Path('dying.lives').open('a'); file.write('x'); file.close(); raise SystemExit(3)",
    "talking": (
        "import sys; print('on stdout: ERROR of no concern'); e = sys.stderr.write; "
        "e('before any level\\n'); e('10:00 INFO    a: an ERROR was mended\\n'); e('  more of it\\n'); e('10:00 WARNING a: look\\n'); "
        "e('  at this\\n'); e('10:00 DEBUG a: hush\\n'); sys.stderr.flush(); raise ValueError('at last')"
    ),
    "long-winded": "print('x' * 3_000_000, flush=True); print('then this', flush=True); import time; time.sleep(600)",
}
SUPERVISED = """
import asyncio, sys
from pathlib import Path
from livermore import supervisor
supervisor.GRACE_SECONDS = float(sys.argv[2])
place = Path(sys.argv[1])
children = [supervisor.Child(name, [str(place / (name + ".py"))]) for name in sys.argv[3:]]
async def ready():
    while not all((place / (name + ".pid")).exists() for name in sys.argv[3:]):
        await asyncio.sleep(0.01)
    print("ready", flush=True)
asyncio.run(supervisor.Supervisor(children, directory=place, log_dir=place, say=print).run(ready))
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def child(place: Path, name: str) -> Child:
    return Child(name, [str(place / f"{name}.py")])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - files and processes are waited for, which set no event
            await asyncio.sleep(0.01)


async def supervise(place: Path, names: Sequence[str], enough: Callable[[list[str]], object]) -> list[str]:
    """Run these programs until what was said is enough; returns what was said."""
    said: list[str] = []
    supervisor = Supervisor([child(place, name) for name in names], directory=place, log_dir=place / "log", say=said.append)

    async def ready() -> None:
        await until(lambda: enough(said))
        supervisor.stop()

    await supervisor.run(ready)
    return said


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return state not in {"", "Z", "Zs"}


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 30
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} runs on"
        time.sleep(0.01)


def pid_of(place: Path, name: str) -> int:
    return int((place / f"{name}.pid").read_text())


async def test_it_starts_a_program_again_after_it_died_and_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "BACK_OFF_SECONDS", (0, 0.001))
    said = await supervise(place, ["dying"], lambda said: len(said) >= 3)
    log = place / "log" / "dying.log"
    assert said[:3] == [
        f"dying ended with exit code 3; starting it again in 0 s. Its log: {log}",
        f"dying ended with exit code 3; starting it again in 0.001 s. Its log: {log}",
        f"dying ended with exit code 3; starting it again in 0.001 s. Its log: {log}",
    ]
    assert len((place / "dying.lives").read_text()) >= 3


async def test_a_killed_program_is_said_to_be_killed(place: Path) -> None:
    killed: list[int] = []

    def enough(said: list[str]) -> bool:
        if not killed and (place / "patient.pid").exists():
            killed.append(pid_of(place, "patient"))
            os.kill(killed[0], signal.SIGKILL)
        return bool(said)

    said = await supervise(place, ["patient"], enough)
    assert said == [f"patient ended by SIGKILL; starting it again in 1 s. Its log: {place / 'log' / 'patient.log'}"]


async def test_it_shows_warnings_and_errors_and_logs_everything(place: Path) -> None:
    said = await supervise(place, ["talking"], lambda said: "talking ended" in " ".join(said))
    assert said[:4] == [
        "talking: before any level",
        "talking: 10:00 WARNING a: look",
        "talking:   at this",
        "talking: Traceback (most recent call last):",
    ]
    assert said[-2] == "talking: ValueError: at last"
    logged = (place / "log" / "talking.log").read_text()
    for line in (
        "on stdout: ERROR of no concern",
        "before any level",
        "10:00 INFO    a: an ERROR was mended",
        "  more of it",
        "10:00 DEBUG a: hush",
    ):
        assert f"{line}\n" in logged


async def test_a_line_without_end_is_left_out_and_the_next_one_logged(place: Path) -> None:
    log = place / "log" / "long-winded.log"
    await supervise(place, ["long-winded"], lambda _: log.exists() and "then this" in log.read_text())
    assert "(a line of more than 1 MB was left out)\n" in log.read_text()


async def test_when_it_does_not_become_ready_everything_is_ended_and_the_reason_raised(place: Path) -> None:
    async def never() -> None:
        await until((place / "patient.pid").exists)
        raise LookupError("it will not be")

    supervisor = Supervisor([child(place, "patient")], directory=place, log_dir=place, say=print)
    with pytest.raises(LookupError, match="it will not be"):
        await supervisor.run(never)
    assert not alive(pid_of(place, "patient"))


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, place: Path, grace: float, *names: str) -> None:
        command = [sys.executable, "-c", SUPERVISED, str(place), str(grace), *names]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def begin(grace: float, *names: str) -> Supervised:
        started.append(Supervised(place, grace, *names))
        return started[-1]

    yield begin
    for supervised in started:
        supervised.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_everything_it_started(place: Path, start: Callable[..., Supervised], number: signal.Signals) -> None:
    supervised = start(60, "patient")
    supervised.process.send_signal(number)
    assert supervised.process.wait() == 0
    assert not alive(pid_of(place, "patient"))


def test_a_program_that_does_not_listen_is_killed_after_the_grace(place: Path, start: Callable[..., Supervised]) -> None:
    supervised = start(0.1, "patient", "stubborn")
    supervised.process.terminate()
    assert supervised.process.wait() == 0
    assert not alive(pid_of(place, "stubborn"))
    assert not alive(pid_of(place, "patient"))


def test_asked_a_second_time_it_does_not_wait(place: Path, start: Callable[..., Supervised]) -> None:
    supervised = start(600, "patient", "stubborn")
    supervised.process.terminate()
    wait_for_end(pid_of(place, "patient"))
    supervised.process.terminate()
    assert supervised.process.wait() == 0
    assert not alive(pid_of(place, "stubborn"))


def test_its_programs_end_with_it_even_when_it_is_killed(place: Path, start: Callable[..., Supervised]) -> None:
    supervised = start(60, "patient", "stubborn")
    supervised.process.kill()
    for name in ("patient", "stubborn"):
        wait_for_end(pid_of(place, name))
