"""The peers, in an environment of their own: what they need is larger than Livermore, and none of it may decide how Livermore runs.

``.venv-bench`` is made from benchmarks/requirements.txt, one requirement after the other, so that one that has no wheel for this machine
does not take the others away. Each peer is a process that answers slices, so that it takes turns with ours in the same run.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from benchmarks.timing import Slice

HOME = Path(__file__).resolve().parents[1]
ENVIRONMENT = HOME / ".venv-bench"
REQUIREMENTS = HOME / "benchmarks" / "requirements.txt"
INSTALL_SECONDS = 900
_LONGEST_ANSWER = 1 << 20


class NoPeer(Exception):
    """A peer cannot be measured here. The text says why."""


def wanted() -> list[str]:
    """The requirements, one a peer."""
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line]


def install(say: Callable[[str], None]) -> dict[str, str]:
    """Make the environment, if it is not there. Returns requirement -> why it could not be had.

    Tried once for each content of the requirements; to try again, remove .venv-bench.
    """
    stamp = ENVIRONMENT / ".livermore-benchmarks"
    fingerprint = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists():
        known: dict[str, Any] = json.loads(stamp.read_text())
        if known["requirements"] == fingerprint:
            return known["failed"]
    say(f"Making {ENVIRONMENT.name} with the peers: once, some 700 MB and a few minutes …")
    if reason := _run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)]):
        return dict.fromkeys(wanted(), f"no environment: {reason}")
    pip = [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    failed = {}
    if _run([*pip, *wanted()]):
        failed = {one: reason for one in wanted() if (reason := _run([*pip, one]))}
    stamp.write_text(json.dumps({"requirements": fingerprint, "failed": failed}))
    return failed


def _python() -> Path:
    return ENVIRONMENT / "bin" / "python"


def _run(command: Sequence[str]) -> str:
    """Empty where it worked, else the last line of what was said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


class Peer:
    """A running peer. ``versions`` of what it uses; ``check`` is what it made of its first input, to be compared with ours."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.versions: dict[str, str] = {}
        self.check: dict[str, Any] = {}

    def slice(self, name: str) -> Slice:
        """One of its measurements, to be compared like one of ours."""

        async def run(times: int) -> float:
            return float((await self.ask({"slice": name, "times": times}))["seconds"])

        return run

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Raises NoPeer where it does not answer."""
        process = self._process
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(question).encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise NoPeer("the peer ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NoPeer(answer["error"])
        return answer


class Peers:
    """The peers of a run, started when they are first asked for and ended with it."""

    def __init__(self, failed: dict[str, str] | None) -> None:
        self._failed = failed
        self._stack = AsyncExitStack()
        self.versions: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def get(self, name: str, requirement: str) -> Peer:
        """A peer of benchmarks/peers by its module's name. Raises NoPeer where what it requires could not be installed."""
        if self._failed is None:
            raise NoPeer("peer not installed: left out of this run")
        why = next((reason for one, reason in self._failed.items() if one.startswith(requirement)), "")
        if why:
            raise NoPeer(f"peer not installed: {why}")
        try:
            peer = await self._stack.enter_async_context(_running(name))
        except NoPeer as error:
            raise NoPeer(f"peer does not run here: {error}") from None
        self.versions.update(peer.versions)
        return peer


@asynccontextmanager
async def _running(name: str) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        str(_python()),
        *("-m", "benchmarks.peers", name),
        cwd=HOME,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_ANSWER,
    )
    assert process.stdin
    peer = Peer(process)
    try:
        answer = await peer.ask({})
        peer.versions, peer.check = answer["versions"], answer["check"]
        yield peer
    finally:
        process.stdin.close()
        await process.wait()
