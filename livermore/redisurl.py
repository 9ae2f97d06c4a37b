"""REDIS_URL where it names a cluster. Stdlib only: settings import this module.

``redis+cluster://user:password@node1:6379,node2:6379,node3:6379``, or ``rediss+cluster://`` over TLS. The nodes are those that are asked
for the others.
"""

from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

SCHEMES = ("redis+cluster", "rediss+cluster")
PORT = 6379


class Address(NamedTuple):
    """Where a cluster is, and how to log in."""

    nodes: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    tls: bool

    @property
    def login(self) -> dict[str, Any]:
        return {"username": self.username, "password": self.password}


def is_cluster(url: str) -> bool:
    return url.partition("://")[0] in SCHEMES


def address(url: str) -> Address:
    """Take the URL of a cluster apart. Raises ValueError that says what is wrong, and never quotes the password."""
    scheme, _, rest = url.partition("://")
    login, _, hosts = rest.partition("/")[0].rpartition("@")
    username, _, password = login.partition(":")
    if "@" in hosts or "@" in rest.partition("/")[2]:
        raise ValueError("its password holds a character to write as %xx")
    return Address(tuple(map(_node, hosts.split(","))), unquote(username) or None, unquote(password) or None, scheme.startswith("rediss"))


def _node(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        raise ValueError("a node's host or port is malformed") from None
    if not host or parts.path or parts.query:
        raise ValueError("a node's host is missing or malformed")
    return host, port


def password(url: str) -> str:
    """The password in a REDIS_URL of either kind, as it is sent; empty where there is none. Malformed URLs have none."""
    try:
        found = address(url).password if is_cluster(url) else unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
    return found or ""


def place(url: str) -> str:
    """The nodes in words, without name and password. Raises ValueError as ``address`` does."""
    return ", ".join(f"{host}:{port}" for host, port in address(url).nodes)
