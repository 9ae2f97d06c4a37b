"""The embedded Redis, with real servers, real processes and real kills."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import pytest
import redis

from livermore import embedded, valkey
from livermore.embedded import RedisUnavailableError

PROJECT = Path(__file__).resolve().parents[2]
USER = """
import sys
from pathlib import Path
from livermore import embedded, valkey
server = embedded.ensure(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
server.close()
"""


class User:
    """Another process that holds the server until it is told to leave."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def server_pid(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate()


@pytest.fixture
def start_user(tmp_path: Path) -> Iterator[Callable[[], User]]:
    with ExitStack() as users:

        def start() -> User:
            user = User(tmp_path)
            users.callback(user.process.communicate)
            users.callback(user.process.kill)
            return user

        yield start


def answers(data_dir: Path) -> bool:
    try:
        with redis.Redis.from_url(embedded.url(data_dir)) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keeper(data_dir: Path) -> int:
    """The process id of the keeper."""
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(rf"^ *(\d+) .*livermore\.embedded {data_dir}/run/redis\.sock", listing, re.MULTILINE)
    return int(found)


def test_it_serves_scripts_streams_and_pubsub_on_a_private_socket_without_a_port(tmp_path: Path) -> None:
    with embedded.ensure(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.eval("return 1 + 1", 0) == 2
        assert client.xadd("stream", {"a": "1"}, id="7-0") == b"7-0"
        assert client.publish("channel", "nobody listens") == 0
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "run" / "redis.sock").stat().st_mode & 0o777 == 0o700


def test_the_url_is_known_before_anything_runs_and_nothing_is_touched(tmp_path: Path) -> None:
    assert embedded.url(tmp_path / "a b%") == f"unix://{tmp_path}/a%20b%25/run/redis.sock"
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_a_socket_moves_under_the_temporary_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    with embedded.ensure(deep) as server:
        assert len(server.url) < 100
        assert "/livermore-" in server.url
        assert answers(deep)
        directory = Path(server.url.removeprefix("unix://")).parent
        assert directory.stat().st_mode & 0o777 == 0o700
    for left in directory.iterdir():
        left.unlink()
    directory.rmdir()


def test_eight_starters_at_once_share_one_server_and_the_last_to_leave_stops_it(tmp_path: Path, start_user: Callable[[], User]) -> None:
    users = [start_user() for _ in range(8)]
    assert len({user.server_pid() for user in users}) == 1
    for user in users[:7]:
        user.leave()
    assert answers(tmp_path)
    users[7].leave()
    assert not answers(tmp_path)
    assert (tmp_path / "log" / "redis.log").read_text().count("is starting") == 1


def test_when_the_last_user_is_killed_the_server_is_stopped_all_the_same(tmp_path: Path, start_user: Callable[[], User]) -> None:
    user = start_user()
    user.server_pid()
    user.process.kill()
    wait_until(lambda: not answers(tmp_path))


def test_when_user_and_keeper_were_killed_the_server_is_adopted_and_kept_again(tmp_path: Path, start_user: Callable[[], User]) -> None:
    user = start_user()
    pid = user.server_pid()
    os.kill(keeper(tmp_path), signal.SIGKILL)
    user.process.kill()
    user.process.wait()
    adopter = start_user()
    assert adopter.server_pid() == pid
    adopter.process.kill()
    wait_until(lambda: not answers(tmp_path))


def test_a_killed_server_is_replaced_on_the_same_socket(tmp_path: Path) -> None:
    with embedded.ensure(tmp_path) as first:
        killed = first.pid
        os.kill(killed, signal.SIGKILL)
        with embedded.ensure(tmp_path) as second:
            assert second.url == first.url
            assert second.pid != killed
        assert answers(tmp_path)
    assert not answers(tmp_path)


def test_a_socket_file_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / "redis.sock").touch()
    with embedded.ensure(tmp_path):
        assert answers(tmp_path)


def remove_run_directory(data_dir: Path) -> None:
    for left in (data_dir / "run").iterdir():
        left.unlink()
    (data_dir / "run").rmdir()


def test_the_server_stops_although_its_directory_was_removed(tmp_path: Path) -> None:
    server = embedded.ensure(tmp_path)
    pid = server.pid
    remove_run_directory(tmp_path)
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_stops_although_its_directory_was_removed_and_its_user_killed(tmp_path: Path, start_user: Callable[[], User]) -> None:
    user = start_user()
    user.server_pid()
    with redis.Redis.from_url(embedded.url(tmp_path), socket_timeout=None) as client:
        client.ping()
        remove_run_directory(tmp_path)
        user.process.kill()
        with pytest.raises(redis.ConnectionError):
            client.blpop(["nothing"])


def test_a_mute_server_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "ANSWER_SECONDS", 0.05)
    with embedded.ensure(tmp_path) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(RedisUnavailableError, match=rf"redis\.sock does not answer: end it \(kill -9 {pid}\) and start again"):
            embedded.ensure(tmp_path)
        os.kill(pid, signal.SIGCONT)


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RedisUnavailableError, match="run is not a directory of yours: remove it"):
        embedded.ensure(tmp_path)


def test_a_data_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RedisUnavailableError, match=r"has to write to .*file and cannot .*: make it writable, or set REDIS_URL"):
        embedded.ensure(tmp_path / "file")


def test_a_new_enough_server_of_the_machine_goes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "redis-server"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for version, expected in (("6.2.14", str(binary)), ("6.0.16", valkey._wheel_program()), ("", valkey._wheel_program())):
        binary.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n")
        binary.chmod(0o755)
        assert valkey.program() == expected


def test_a_machine_without_any_server_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(
        RedisUnavailableError, match=r"no embedded Redis for this machine \(linux riscv64\): install Valkey .* or set REDIS_URL"
    ):
        embedded.ensure(tmp_path)


def test_a_server_that_cannot_start_says_what_its_log_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "_command", lambda path: ["/bin/sh", "-c", "echo out of luck; exit 1"])
    with pytest.raises(RedisUnavailableError, match=r"did not start; .*redis\.log ends: 'out of luck'\."):
        embedded.ensure(tmp_path)


def test_a_redis_that_answers_passes_the_check(redis_url: str) -> None:
    embedded.check(redis_url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "redis://:canary@127.0.0.1:1/0",
            r"^The Redis at 127\.0\.0\.1:1 does not answer \(connection refused\): start it or correct REDIS_URL",
        ),
        ("redis://user:canary@nowhere.invalid", r"^The Redis at nowhere\.invalid:6379 does not answer \("),
        ("unix:///nowhere/redis.sock", r"^The Redis at /nowhere/redis\.sock does not answer \(no such file"),
        ("http://:canary@127.0.0.1", r"^REDIS_URL does not name a Redis \(127\.0\.0\.1:6379\): write redis://"),
        ("redis://:canary@127.0.0.1:port", r"^REDIS_URL does not name a Redis \(its host or port is malformed\)"),
        ("redis://:can/ary@127.0.0.1", r"its password holds a character to write as %xx"),
    ],
)
def test_a_redis_that_cannot_be_used_is_named_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(RedisUnavailableError, match=sentence) as raised:
        embedded.check(url)
    assert "canary" not in str(raised.value)


def test_a_wrong_password_is_said_to_be_one(tmp_path: Path) -> None:
    with embedded.ensure(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "right")
        with pytest.raises(RedisUnavailableError, match="refuses our name or password: correct them in REDIS_URL") as raised:
            embedded.check(f"{server.url}?password=canary")
        assert "canary" not in str(raised.value)
        with redis.Redis.from_url(f"{server.url}?password=right") as client:
            client.config_set("requirepass", "")


def test_something_else_on_the_port_is_said_not_to_be_a_redis() -> None:
    with create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        web = subprocess.Popen([sys.executable, "-c", ANSWER_HTTP, str(other.fileno())], pass_fds=[other.fileno()])
        with pytest.raises(RedisUnavailableError, match=rf"^What answers at 127\.0\.0\.1:{port} is not a Redis: correct REDIS_URL"):
            embedded.check(f"redis://127.0.0.1:{port}")
        assert web.wait() == 0


ANSWER_HTTP = """
import socket, sys
connection, _ = socket.socket(fileno=int(sys.argv[1])).accept()
connection.recv(1000)
connection.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
connection.recv(1000)
"""
