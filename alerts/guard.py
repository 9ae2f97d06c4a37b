"""What a channel's code may do while it sends: open sockets to public addresses, and nothing else of this machine.

A user names the address, and a hundred third-party plugins connect to it, each in its own way. So it is not the URL that is checked but the
socket, when it opens: Python tells its audit hooks (PEP 578) of every ``connect``, with the address that a name has resolved to, and a hook
may refuse. A name that resolves differently the second time gains nothing. The same hook keeps such code from files and other programs.
"""

import http.client
import ipaddress
import mimetypes
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

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


class Forbidden(OSError):
    """The code of a channel tried what it may not. The message says what, and what to do."""


class Guard:
    """What is allowed while something is sent. ``hosts``: names, or name:port, of any address. ``tls``: nothing goes in clear."""

    def __init__(self, *, hosts: Collection[str] = (), tls: bool = True, network: bool = True, seconds: float = 45.0) -> None:
        self.hosts, self.tls, self.network = frozenset(hosts), tls, network
        self.deadline = time.monotonic() + seconds
        self.refused: Forbidden | None = None
        self._named: tuple[str, str] = ("", "")
        self._open: list[socket.socket] = []
        self._last: socket.socket | None = None
        self._lock = threading.Lock()

    def on(self, event: str, args: tuple[Any, ...]) -> None:
        """Take an audit event. Raises Forbidden."""
        if event == "socket.getaddrinfo":
            self._named = str(args[0]).lower(), str(args[1])
        elif event == "socket.connect":
            self._connect(*args)
        elif event == "smtplib.send" and self.tls:
            self._mail(*args)
        elif event == "http.client.connect" and self.tls and getattr(args[0], "default_port", 0) != http.client.HTTPS_PORT:
            if self._last is not None:
                self._last.close()  # urllib3 leaves it to the garbage collector
            self._refuse("the connection is not encrypted: use an https address")
        elif event == "open":
            self._file(*args)
        elif event.startswith(_REFUSED):
            self._refuse(f"a channel may not do that here ({event})")

    def _connect(self, opened: socket.socket, address: Any) -> None:
        if not self.network or opened.family not in {socket.AF_INET, socket.AF_INET6}:
            self._refuse("a channel may only reach services over the network")
        if time.monotonic() > self.deadline:
            raise TimeoutError("took too long")
        host, port = self._named
        if not (host in self.hosts or f"{host}:{port}" in self.hosts or is_public(str(address[0]))):
            self._refuse(f"{host or address[0]} is not a public address: the operator may allow it in DELIVERY_HOSTS")
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


def _hook(event: str, args: tuple[Any, ...]) -> None:
    guard = _guard.get()
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
        yield guard
    finally:
        _guard.reset(token)
        timer.cancel()
        guard.close()


def is_public(address: str) -> bool:
    """Whether an address belongs to the Internet, also where IPv6 carries an IPv4 address inside."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if (inner := found.ipv4_mapped or _nat64(found)) is not None:
            return is_public(str(inner))
        if found.sixtofour is not None and not is_public(str(found.sixtofour)):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
