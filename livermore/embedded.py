"""The embedded Redis: a Valkey on a unix socket of its own, for whoever has not set REDIS_URL.

Stdlib only: settings import this module. The processes of one data directory share one server. Each holds a shared lock
on a file for its life, so that the count of users survives a kill -9. The last one that leaves stops the server; where
that one could not, the keeper does: a small process (this module, run) that waits for the lock to be free.
"""

import hashlib
import os
import socket
import stat
import subprocess  # nosec B404  # programs of ours, never a shell
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote, unquote, urlsplit

from livermore import redisurl, valkey
from livermore.valkey import RedisUnavailableError as RedisUnavailableError

if sys.platform != "win32":
    import fcntl

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel's own limit is 108 on Linux, 104 on macOS."""

_keepers: dict[Path, subprocess.Popen[bytes]] = {}


def url(data_dir: Path) -> str:
    """The URL of the embedded server of this data directory. Pure: touches no file, starts nothing."""
    return _url(_socket_path(data_dir))


def ensure(data_dir: Path) -> "Server":
    """Find or start the embedded server of this data directory, and hold it until ``close`` or the end of this process.

    Raises RedisUnavailableError where none can be had.
    """
    if sys.platform == "win32":
        raise RedisUnavailableError(f"There is no embedded Redis for Windows: {valkey.OTHERWISE}")
    path = _socket_path(data_dir)
    try:
        _make_private(path.parent)
        (data_dir / "log").mkdir(parents=True, exist_ok=True)
        with _starters_lock(path):
            return _join_or_start(path, data_dir / "log" / "redis.log")
    except OSError as error:
        raise RedisUnavailableError(
            f"The embedded Redis has to write to {data_dir} and cannot ({error}): make it writable, or set REDIS_URL"
        ) from None


class Server:
    """A hold on the embedded server, for as long as the process lives unless it is closed; also a context manager."""

    def __init__(self, path: Path, users: IO[str]) -> None:
        self._path = path
        self._users = users
        self.url = _url(path)
        _held.add(self)

    @property
    def pid(self) -> int:
        """The process id of the server that answers now. Raises RedisUnavailableError when none does."""
        pid = valkey.pid(self._path)
        if pid is None:
            raise RedisUnavailableError(f"No server answers on {self._path}")
        return pid

    def close(self) -> None:
        """Leave the server; stop it if nobody else holds it."""
        if self._users.closed:
            return
        _held.discard(self)
        try:
            with _starters_lock(self._path):
                self._leave()
        except FileNotFoundError:
            valkey.stop_own(self._path)  # the directory is gone: nobody can find this server any more
        finally:
            self._users.close()

    def _leave(self) -> None:
        if not _free_of_others(self._users):
            fcntl.flock(self._users, fcntl.LOCK_SH)  # granted at once, or when the keeper has stopped the server
            return
        valkey.stop(self._path)
        self._users.close()
        with _file(self._path, "keeper") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # granted when the keeper has seen that there is nothing left to do
        keeper = _keepers.pop(self._path, None)
        if keeper:
            valkey.reap(keeper)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


# A hold lasts although its handle is dropped.
_held: set[Server] = set()


def check(redis_url: str) -> None:
    """Raise RedisUnavailableError, with a sentence that names the host and never the password, unless this Redis answers."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    place = _place(redis_url)
    client: redis.Redis | None = None
    try:
        if redisurl.is_cluster(redis_url):
            from livermore import cluster

            client = cluster.sync(redis_url, timeout=3.0, connect_timeout=3.0)
        else:
            client = redis.Redis.from_url(redis_url, socket_connect_timeout=3, socket_timeout=3, retry=Retry(NoBackoff(), 0))
        client.ping()  # of a cluster, every node
    except redis.InvalidResponse:
        raise RedisUnavailableError(f"What answers at {place} is not a Redis: correct REDIS_URL") from None
    except (redis.RedisError, redis.RedisClusterException, OSError) as error:
        if any(isinstance(one, redis.AuthenticationError) for one in (error, error.__cause__)):
            raise RedisUnavailableError(f"The Redis at {place} refuses our name or password: correct them in REDIS_URL") from None
        raise RedisUnavailableError(
            f"The Redis at {place} does not answer ({_reason(error)}): "
            "start it or correct REDIS_URL; leave REDIS_URL out to use the embedded one"
        ) from None
    except ValueError:
        raise RedisUnavailableError(
            f"REDIS_URL does not name a Redis ({place}): write redis://:password@host:6379/0, or leave it out"
        ) from None
    finally:
        if client is not None:
            client.close()


def _reason(error: Exception) -> str:
    """The kind of failure in words. Not the error's own text, which may quote the URL."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "nothing within 3 s" if "Timeout" in type(error).__name__ else type(error).__name__


def _place(redis_url: str) -> str:
    """Where a URL points, without user and password."""
    if redisurl.is_cluster(redis_url):
        try:
            return redisurl.place(redis_url)
        except ValueError as error:
            return str(error)
    try:
        parts = urlsplit(redis_url)
        if "@" in parts.path:
            return "its password holds a character to write as %xx"
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        return "its host or port is malformed"
    if parts.scheme == "unix":
        return unquote(parts.path)
    return f"{host}:{port}" if host else "no host"


def _url(path: Path) -> str:
    return "unix://" + quote(str(path))


def _socket_path(data_dir: Path) -> Path:
    """In the data directory, or, where that is too deep for a socket, in a directory of ours under the temporary one."""
    data_dir = data_dir.absolute()
    path = data_dir / "run" / "redis.sock"
    if len(os.fsencode(path)) < LONGEST_SOCKET_PATH:
        return path
    name = f"livermore-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"
    path = Path(tempfile.gettempdir()) / name / "redis.sock"
    return path if len(os.fsencode(path)) < LONGEST_SOCKET_PATH else Path("/tmp") / name / "redis.sock"  # nosec B108  # in a directory of its owner alone


def _make_private(directory: Path) -> None:
    """A directory that only we can enter. Somebody else's, waiting under the temporary directory, is refused."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RedisUnavailableError(f"{directory} is not a directory of yours: remove it, or set LIVERMORE_DATA_DIR to another place")
    directory.chmod(0o700)


def _file(path: Path, name: str) -> IO[str]:
    """A file to lock, beside the socket."""
    return (path.parent / f"redis.{name}").open("a")


@contextmanager
def _starters_lock(path: Path) -> Iterator[None]:
    """One at a time may start, stop, join or leave the server."""
    with _file(path, "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _join_or_start(path: Path, log: Path) -> Server:
    users = _file(path, "users")
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        if not valkey.answers(path):
            valkey.start(path, log)
        _have_a_keeper(path)
    except BaseException:
        users.close()
        raise
    return Server(path, users)


def _free_of_others(lock: IO[str]) -> bool:
    """Take a lock for oneself, if nobody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _have_a_keeper(path: Path) -> None:
    """Start a keeper unless there is one. It inherits what it needs: nothing can come in between, nor be removed before."""
    with _file(path, "keeper") as lock, _file(path, "users") as users, valkey.line_to(path) as line:
        if not _free_of_others(lock):
            return
        if path in _keepers:
            valkey.reap(_keepers.pop(path))
        inherited = [lock.fileno(), users.fileno(), line.fileno()]
        _keepers[path] = subprocess.Popen(  # nosec B603  # a fixed program, no shell
            [sys.executable, "-S", "-m", "livermore.embedded", str(path), *map(str, inherited)],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,
        )


def _keep(path: Path, lock: int, users: int, line: int) -> None:
    """Be the keeper of the server on this socket: stop it when its last user is gone, however that one went."""
    fcntl.flock(users, fcntl.LOCK_EX)
    valkey.stop(path)
    with socket.socket(fileno=line) as connection:
        valkey.shut_down(connection)  # the same server, where its directory was removed under it
    os.close(lock)  # before users may come back, so that they do not take this keeper for one that stays
    os.close(users)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), *map(int, sys.argv[2:]))
