"""The programs of a run: started, killed, stopped and watched from outside, as an operator's machine has them."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import redis

from exchanges.shards import WHOLE, Shard
from livermore import valkey
from tests.rediscluster import form, free_ports, is_whole, node_command

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), Path("/opt/homebrew/opt/postgresql/bin")]
START_SECONDS = 60.0
"""A bound for a busy machine."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Figures(NamedTuple):
    """What a process takes: resident memory in bytes, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int


class Program:
    """A process that may be killed and started again. What it says goes to its log.

    ``deaths``: how it ended when nobody had asked it to, with the last line of its log.
    """

    def __init__(self, name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name, self.command = name, list(command)
        self.environment = dict(os.environ if environment is None else environment)
        self.log = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self.starts = self.kills = 0
        self.deaths: list[str] = []

    def start(self) -> None:
        self.wanted = True
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = self._spawn(log.fileno())

    def _spawn(self, log: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def ready(self) -> None:
        """Wait until it serves. Raises TimeoutError."""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pids(self) -> list[int]:
        """The process, and for a server with workers those too."""
        return [self.pid]

    def signal(self, number: int) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    async def kill(self) -> None:
        """As ``kill -9``."""
        assert self.process is not None
        self.wanted = False
        self.kills += 1
        self.signal(signal.SIGKILL)
        await asyncio.to_thread(self.process.wait)

    async def end(self, seconds: float = 15.0) -> int:
        """Ask it to end; returns its exit code. Raises TimeoutError where it does not, and kills it."""
        if self.process is None:
            return 0
        self.wanted = False
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            await self.kill()
            raise TimeoutError(f"{self.name} did not end within {seconds:.0f} s") from None

    def look(self) -> None:
        """Note a death nobody asked for, and start it again, as systemd does."""
        if self.wanted and not self.running:
            assert self.process is not None
            self.deaths.append(f"{self.name} ended with {self.process.returncode}: {last_words(self.log)}")
            self.start()

    def figures(self) -> Figures:
        """Raises OSError for a process that is gone."""
        memory = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        return Figures(memory, descriptors, len(os.listdir(f"/proc/{self.pid}/task")))


class Connector(Program):
    """``runexchange`` for these exchanges, or a shard of each."""

    def __init__(
        self,
        exchange_ids: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        name: str = "connector",
        shard: Shard = WHOLE,
    ) -> None:
        self.shard = shard
        words = [word for exchange_id in exchange_ids for word in ("--autostart", exchange_id)]
        words += [] if shard.whole else ["--shard", str(shard)]
        super().__init__(name, [sys.executable, "manage.py", "runexchange", *exchange_ids, *words], directory, environment)


class Server(Program):
    """A program that listens on a port of its own."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, port: int, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(name, command, directory, environment)
        self.port = port

    async def ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while not await self.answers():  # noqa: ASYNC110  (another process)
                await asyncio.sleep(0.05)

    async def answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


class Web(Server):
    """daphne, as in production."""

    def __init__(self, directory: Path, environment: Mapping[str, str], name: str = "web") -> None:
        port = free_port()
        command = [sys.executable, "-m", "daphne", "--websocket-max-message-size", "16777216", "-b", "127.0.0.1", "-p", str(port)]
        super().__init__(name, [*command, "livermore.asgi:application"], directory, port, environment)


class Redis(Server):
    """A Valkey with a password that keeps nothing on disk."""

    def __init__(self, directory: Path, password: str) -> None:
        port = free_port()
        self.password = password
        options = {"port": port, "bind": "127.0.0.1", "requirepass": password, "save": "", "appendonly": "no", "dir": directory}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        super().__init__("redis", [valkey.program(), *words], directory, port)

    def url(self, port: int | None = None) -> str:
        """Through the proxy on that port, or straight."""
        return f"redis://:{quote(self.password)}@127.0.0.1:{port or self.port}/0"


class RedisNode(Server):
    """A node of a Redis Cluster that comes back without its memory."""

    def __init__(self, name: str, port: int, directory: Path, password: str) -> None:
        super().__init__(name, node_command(port, directory, password=password, keeps=False), directory, port)


class RedisNodes:
    """A Redis Cluster of three."""

    def __init__(self, directory: Path, password: str) -> None:
        self.password = password
        self.nodes = [RedisNode(f"redis-{at}", port, directory, password) for at, port in enumerate(free_ports(3), 1)]

    async def start(self) -> None:
        """Start them, and wait until they are one cluster. Raises TimeoutError."""
        for node in self.nodes:
            node.start()
            await node.ready()
        ports = [node.port for node in self.nodes]
        await asyncio.to_thread(form, ports, self.password)
        async with asyncio.timeout(START_SECONDS):
            while not await asyncio.to_thread(self._whole):  # noqa: ASYNC110  (other processes)
                await asyncio.sleep(0.05)

    def _whole(self) -> bool:
        for node in self.nodes:
            with redis.Redis(port=node.port, password=self.password) as client:
                if not is_whole(client, len(self.nodes)):
                    return False
        return True

    def url(self) -> str:
        return f"redis+cluster://:{quote(self.password)}@{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"


class Postgres(Server):
    """A PostgreSQL cluster of the run's own, in ``directory``, which has to be one that the user postgres may enter."""

    def __init__(self, directory: Path, password: str) -> None:
        self.data, self.password = directory / "data", password
        self._programs = next((path for path in reversed(POSTGRES) if (path / "postgres").exists()), None)
        if self._programs is None:
            raise FileNotFoundError("PostgreSQL is not installed here: install it (apt install postgresql), or run with DB=sqlite")
        port = free_port()
        options = ["-p", str(port), "-k", str(directory), "-h", "127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"]
        super().__init__("postgres", [str(self._programs / "postgres"), "-D", str(self.data), *options], directory, port)
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}

    def create(self) -> None:
        """Make the cluster. PostgreSQL does not run as root."""
        if self._as:
            subprocess.run(["chown", "postgres", str(self.log.parent)], check=True)
        self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "livermore", "--no-sync")

    def create_database(self) -> None:
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "livermore", "livermore")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run([str(self._programs / program), *words], check=True, capture_output=True, cwd="/", **self._as)  # type: ignore[operator, call-overload]

    def _spawn(self, log: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as)  # type: ignore[call-overload]

    def pids(self) -> list[int]:
        """The postmaster and every backend: a kill that leaves one behind would keep the next start waiting."""
        found = [self.pid]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, ValueError):
                    continue
                if parent == self.pid:
                    found.append(int(entry.name))
        return found

    async def answers(self) -> bool:
        program = str(self._programs / "pg_isready")  # type: ignore[operator]
        asked = await asyncio.create_subprocess_exec(
            program, "-q", "-h", "127.0.0.1", "-p", str(self.port), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        return await asked.wait() == 0

    def url(self, port: int | None = None) -> str:
        """Through the proxy on that port, or straight."""
        return f"postgres://livermore:{quote(self.password)}@127.0.0.1:{port or self.port}/livermore"


def last_words(log: Path) -> str:
    """The end of a log: the sentence of a command that did not start, however many lines it takes, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-12:] if line.strip()] if log.exists() else []
    told = next((at for at, line in enumerate(lines) if line.startswith("CommandError: ")), len(lines) - 1)
    return " ".join(lines[max(told, 0) :])


def open_files(pid: int) -> Counter[str]:
    """What a process has open, by kind and, for files, by name."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[re.sub(r":\[\d+\]$", "", os.readlink(entry))] += 1
        except OSError:
            continue
    return found
