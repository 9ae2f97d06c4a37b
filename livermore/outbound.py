"""Where this program may connect to. The address is checked when the socket opens, whatever the URL looked like when it was typed.

A name can resolve to another address an hour later, a redirect can lead inwards, and 127.0.0.1 has a hundred spellings. So a name is
resolved here, each address is checked, and the socket is opened to the very address that was checked.

- ``dial`` opens a checked TCP connection, for a library that takes a socket (websockets).
- ``transport`` of ``livermore.transport`` is for httpx, and dials each of its connections.
- ``guarded`` is for blocking libraries that open sockets of their own (apprise, requests, smtplib): what the calling thread does within it
  connects to nothing but what is allowed, redirects and look-ups included:

      def deliver(url: str, text: str) -> bool:          # in a thread: asyncio.to_thread(deliver, url, text)
          with outbound.guarded(outbound.of_users()):
              return apprise_of(url).notify(body=text)   # one URL a call: for several, apprise uses threads of its own

  ``Forbidden`` is an OSError: most libraries report it as a failed connection. ``guarded`` yields what it refused, so that the user can be
  told: ``with guarded(reach) as refused: …; if refused: error = refused[0]``.

``PUBLIC`` is for addresses of the internet, ``LOOPBACK`` for the sandbox of this machine, ``of_users()`` for URLs that users type: public
ones, and the networks that the operator names in ``OUTBOUND_NETWORKS``.
"""

import asyncio
import ipaddress
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class Forbidden(OSError):
    """A place this program may not connect to, and why: a sentence."""


@dataclass(frozen=True)
class Reach:
    """Addresses that may be connected to: those of the internet if ``public``, and ``networks``; where ``hosts`` are named, theirs only.

    ``tls``: whether a URL has to be https or wss.
    """

    public: bool
    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] | None = None
    tls: bool = False

    def check_url(self, url: str) -> None:
        """Scheme and host, before anything is resolved. Raises Forbidden."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            raise Forbidden(f"{url[:80]!r} is not a URL") from None
        if parts.scheme not in (("https", "wss") if self.tls else ("https", "wss", "http", "ws")):
            raise Forbidden(f"{parts.scheme[:20]!r} is not a scheme to connect by: use https or wss")
        self.check_host(host)

    def check_host(self, host: str) -> None:
        """Raises Forbidden."""
        if self.hosts is not None and host.lower() not in self.hosts:
            raise Forbidden(f"{host[:80]!r} is not among the hosts that may be connected to: {', '.join(sorted(self.hosts))}")

    def refuses(self, address: str) -> str:
        """Why an address, in figures, may not be connected to; "" where it may."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return f"{address!r} is not an address"
        ip = _within(ip)
        if any(ip in network for network in self.networks) or (self.public and _is_public(ip)):
            return ""
        if self.public:
            return f"{ip} is not an address of the internet, but of this machine, a private network or none at all"
        return f"{ip} is not an address of this machine"


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks as people write them: 10.1.2.0/24. Raises ValueError that says which is none."""
    return tuple(ipaddress.ip_network(text) for text in texts)


PUBLIC = Reach(public=True)
LOOPBACK = Reach(public=False, networks=networks(("127.0.0.0/8", "::1/128")))


def of_users() -> Reach:
    """For URLs that users type."""
    from django.conf import settings

    return Reach(public=True, networks=networks(settings.OUTBOUND_NETWORKS))


def _within(ip: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for: a gateway, or this machine, would carry us there."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 0xFFFF):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


def _is_public(ip: Address) -> bool:
    if ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_private:
        return False
    return ip.is_global and not (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local)


async def dial(host: str, port: int, reach: Reach) -> socket.socket:
    """A connected TCP socket to the first allowed address of ``host`` that answers. The caller sets the time limit, and closes it.

    Raises Forbidden where no address is allowed, or the OSError of the last one that was tried.
    """
    loop = asyncio.get_running_loop()
    error: OSError | None = None
    for family, address in await allowed_addresses(loop, host, port, reach):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as failure:
            sock.close()
            error = failure
        except BaseException:
            sock.close()
            raise
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    assert error is not None
    raise error


async def allowed_addresses(loop: asyncio.AbstractEventLoop, host: str, port: int, reach: Reach) -> list[tuple[int, Any]]:
    """(family, socket address) of each allowed address of a host. Raises Forbidden where there is none."""
    reach.check_host(host)
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise Forbidden(f"{host[:80]!r} is not a host name") from None
    allowed, why = [], f"{host[:80]!r} has no address"
    for family, _, _, _, address in found:
        refused = reach.refuses(str(address[0]))
        if refused:
            why = refused if str(address[0]) == host else f"{host[:80]} is forbidden: {refused}"
        else:
            allowed.append((int(family), address))
    if not allowed:
        raise Forbidden(why)
    return allowed


class _Guard(threading.local):
    reach: Reach | None = None
    refused: list[str] | None = None


_guard = _Guard()
_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


@contextmanager
def guarded(reach: Reach) -> Iterator[list[str]]:
    """Within it this thread connects only to what ``reach`` allows; anything else raises Forbidden in the library that tries.

    Yields the reasons of what was refused. The check is CPython's audit event of each connect: it sees the address itself, after every
    look-up and redirect. It does not follow work that is handed to other threads or to an event loop.
    """
    _audit_once()
    before = _guard.reach, _guard.refused
    refused: list[str] = []
    _guard.reach, _guard.refused = reach, refused
    try:
        yield refused
    finally:
        _guard.reach, _guard.refused = before


@cache
def _audit_once() -> None:
    """A hook of the interpreter stays until its end: one, and only where something is guarded at all."""
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...], connecting: frozenset[str] = _CONNECTING) -> None:
    # The names it needs are its own: it is called until the interpreter's last breath, when modules are empty already.
    if event not in connecting or _guard.reach is None:
        return
    address = args[1]
    if address is None:
        return  # on a connected socket: checked before
    why = _guard.reach.refuses(address[0]) if isinstance(address, tuple) and address and isinstance(address[0], str) else "not the internet"
    if why:
        if _guard.refused is not None:
            _guard.refused.append(why)
        raise Forbidden(why)
