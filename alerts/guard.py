"""What a channel's code may do while it sends: encrypted connections to where it may connect, and nothing else of this machine.

A user names the address, and a hundred third-party plugins connect to it, each in its own way. Where to is the business of
``livermore.outbound``, which looks at each socket when it opens. This looks at the rest, by audit events (PEP 578) as well: that nothing
goes in clear, that no file is read, no program run, and that it ends.
"""

import http.client
import mimetypes
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from livermore import outbound
from livermore.outbound import Forbidden, Reach

_GREETINGS = (b"ehlo", b"helo", b"starttls", b"quit", b"rset", b"noop")
"""What may go to a mail server before the connection is encrypted."""
_REFUSED = (
    "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "os.rmdir",
    "os.chmod", "os.link", "os.symlink", "os.truncate", "os.kill", "shutil.", "ctypes.dlopen", "socket.bind", "socket.sendto",
    "socket.sendmsg", "sqlite3.", "webbrowser.",
)  # fmt: skip
_READABLE = tuple(
    os.path.realpath(path) + os.sep
    for path in {sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), *filter(os.path.isdir, sys.path)}
)
_READABLE_FILES = frozenset({"/dev/urandom", "/dev/null", *mimetypes.knownfiles})


class Guard:
    """What is allowed while something is sent. With ``reach.tls`` nothing goes in clear."""

    def __init__(self, reach: Reach, *, seconds: float = 45.0) -> None:
        self.reach = reach
        self.deadline = time.monotonic() + seconds
        self.refused: Forbidden | None = None
        self._open: list[socket.socket] = []
        self._last: socket.socket | None = None
        self._lock = threading.Lock()

    def on(self, event: str, args: tuple[Any, ...]) -> None:
        """Take an audit event. Raises Forbidden."""
        if event == "socket.connect":
            self._connect(args[0])
        elif event == "smtplib.send" and self.reach.tls:
            self._mail(*args)
        elif event == "http.client.connect" and self.reach.tls and getattr(args[0], "default_port", 0) != http.client.HTTPS_PORT:
            if self._last is not None:
                self._last.close()  # urllib3 leaves it to the garbage collector
            self._refuse("the connection is not encrypted: use an https address")
        elif event == "open":
            self._file(*args)
        elif event.startswith(_REFUSED):
            self._refuse(f"a channel may not do that here ({event})")

    def _connect(self, opened: socket.socket) -> None:
        if opened.family not in {socket.AF_INET, socket.AF_INET6}:
            self._refuse("a channel may only reach services over the network")
        if time.monotonic() > self.deadline:
            raise TimeoutError("took too long")
        self._last = opened
        with self._lock:
            self._open.append(opened.dup())

    def _mail(self, server: Any, data: Any) -> None:
        said = data if isinstance(data, bytes) else str(data).encode()
        if not isinstance(server.sock, ssl.SSLSocket) and not said.lower().startswith(_GREETINGS):
            self._refuse("the mail server does not encrypt: use mailtos://, or one that does")

    def _file(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        name = os.path.realpath(os.fsdecode(path))
        writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        if writes or not (name in _READABLE_FILES or os.fsdecode(path) in _READABLE_FILES or name.startswith(_READABLE)):
            raise Forbidden("a channel may not open files here")  # not noted: libraries look for files of their own, and go on without

    def _refuse(self, reason: str) -> None:
        self.refused = Forbidden(reason)
        raise self.refused

    def cut(self) -> None:
        """End every connection that was opened: what waits for an answer waits no more. Callable from another thread."""
        self.deadline = 0.0
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for one in self._open:
                one.close()
            self._open.clear()


_guard: ContextVar[Guard | None] = ContextVar("guard", default=None)
_installing = threading.Lock()
_installed = False


def _hook(event: str, args: tuple[Any, ...], current: Callable[[], Guard | None] = _guard.get) -> None:
    guard = current()  # bound early: the interpreter goes on auditing when it has emptied its modules
    if guard is not None:
        guard.on(event, args)


@contextmanager
def guarded(guard: Guard) -> Iterator[Guard]:
    """Hold the code inside, in this thread, to what ``guard`` allows; after its deadline its connections end."""
    global _installed
    with _installing:
        if not _installed:
            sys.addaudithook(_hook)  # for the life of the process; it does nothing for whoever is not guarded
            _installed = True
    timer = threading.Timer(max(0.0, guard.deadline - time.monotonic()), guard.cut)
    timer.daemon = True
    timer.start()
    token = _guard.set(guard)
    try:
        with outbound.guarded(guard.reach) as refused:
            yield guard
    finally:
        if guard.refused is None and refused:
            guard.refused = Forbidden(f"{refused[0]}: the operator may allow its network in OUTBOUND_NETWORKS")
        _guard.reset(token)
        timer.cancel()
        guard.close()
