"""Sockets go only where they may: by row, by host, and by the address at the moment the socket opens (SSRF)."""

import asyncio
import socket
import threading
import urllib.request
from collections.abc import Iterator
from itertools import count, product
from typing import Any

import httpx
import pytest
from django.core.exceptions import ValidationError

from exchanges.adapters import binance
from exchanges.events import Limits
from exchanges.link import Link, LinkClosed
from exchanges.models import Exchange
from exchanges.rest import RestClient, RestError
from livermore import outbound
from livermore.outbound import LOOPBACK, PUBLIC, Forbidden, Reach
from livermore.transport import transport

LIMITS = Limits(messages_per_second=5, connects_per_5min=300, streams_per_connection=10, rest_weight_per_minute=60_000, rest_burst=60_000)

INWARD = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.168.255.255",
    "169.254.169.254",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "100.64.0.1",
    "100.127.255.254",
    "198.18.0.1",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2001:db8::1]",
    "[100::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
]
"""Spellings of this machine, private networks, link-local (cloud metadata among them), and addresses of nobody."""
FULL_WIDTH = "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT SEVEN}.0.0.1"
TRICKS = [
    *(f"{{scheme}}://{host}{{port}}/" for host in INWARD),
    "{scheme}://stream.binance.com@127.0.0.1{port}/",
    "{scheme}://stream.binance.com:x@127.0.0.1{port}/",
    "{scheme}://127.0.0.1{port}\\@stream.binance.com/",
    "{scheme}://127.0.0.1{port}#@stream.binance.com/",
    "{scheme}://127.0.0.1{port}?stream.binance.com",
    "{scheme}://127.0.0.1{port}/stream.binance.com",
    "{scheme}://stream.binance.com.127.0.0.1.nip.invalid{port}/",
    "{scheme}://stream.binance.com%2f@127.0.0.1{port}/",
    "{scheme}://stream.binance.com%00.127.0.0.1{port}/",
    "{scheme}://127.0.0.1%00.stream.binance.com{port}/",
    "{scheme}:///127.0.0.1{port}/",
    "{scheme}:127.0.0.1{port}/",
    "{scheme}://{port}/",
    "{scheme}://\t127.0.0.1{port}/",
    "{scheme}://127.0.0.1\n{port}/",
    f"{{scheme}}://{FULL_WIDTH}{{port}}/",
    "{scheme}://127。0。0。1{port}/",
    "{scheme}://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ{port}/",
    "{scheme}://xn--/{port}",
    "{scheme}://" + "a" * 70 + "{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1{port}/_SHUTDOWN",
    "unix:///run/redis.sock",
    "http+unix://%2frun%2fredis.sock/",
    "dict://127.0.0.1{port}/info",
    "ftp://127.0.0.1{port}/",
    "//127.0.0.1{port}/",
    "127.0.0.1{port}",
    "javascript:alert(1)",
    "data:text/plain,x",
    "",
]
TLS, PLAIN = ("wss", "https"), ("ws", "http")


class Canary:
    """A server on every address of this machine: whoever connects is counted."""

    def __init__(self) -> None:
        self.connects = 0
        self._socket = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connects += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def canary() -> Iterator[Canary]:
    server = Canary()
    yield server
    server.close()


def tricks(port: int) -> list[tuple[str, str]]:
    """(websocket URL, REST URL), over TLS and without."""
    return [
        (trick.replace("{port}", f":{port}").replace("{scheme}", ws), trick.replace("{port}", f":{port}").replace("{scheme}", rest))
        for trick, (ws, rest) in product(TRICKS, (TLS, PLAIN))
    ]


async def tried(reach: Reach, *urls: tuple[str, str]) -> list[str]:
    """Why the engine's socket and the REST client did not connect. Raises where one of them ends otherwise."""
    reasons = []
    async with RestClient(binance, "", LIMITS, reach=reach) as client:
        for ws, rest in urls:
            with pytest.raises(LinkClosed) as link:
                await Link.connect(binance, ws, limits=LIMITS, emit=lambda event: None, requests=count(), heard={}, reach=reach)
            client._url = rest
            with pytest.raises(RestError) as error:
                await client.server_time(attempts=1)
            reasons += [str(link.value), str(error.value)]
    return reasons


async def test_the_canary_counts(canary: Canary) -> None:
    """Else no connects would prove nothing."""
    await tried(LOOPBACK, (f"ws://127.0.0.1:{canary.port}/", f"http://127.0.0.1:{canary.port}"))
    assert canary.connects == 2


def test_there_are_two_hundred_tricks() -> None:
    assert len({url for urls in tricks(1) for url in urls}) >= 200


@pytest.mark.django_db
def test_no_trick_is_accepted_by_the_form(canary: Canary) -> None:
    accepted = []
    for ws, rest in tricks(canary.port):
        for field, url in (("websocket_url", ws), ("rest_url", rest)):
            row = Exchange.objects.get(pk="binance")
            setattr(row, field, url)
            try:
                row.full_clean()
            except ValidationError:
                continue
            accepted.append(url)
    assert accepted == []


@pytest.mark.django_db(transaction=True)
async def test_no_trick_in_the_row_of_an_exchange_leads_to_a_connect(canary: Canary) -> None:
    """Even where a row was written past the form: the socket checks again."""
    row = await Exchange.objects.aget(pk="binance")
    reasons = await tried(row.reach, *tricks(canary.port))
    assert canary.connects == 0
    assert [reason for reason in reasons if not reason] == []


async def test_no_trick_leads_inwards_where_any_public_host_would_do(canary: Canary) -> None:
    """The address alone, as for URLs that users type: no allow-list of hosts helps."""
    for host in INWARD:
        name = host.strip("[]").replace("%25", "%")
        with pytest.raises(OSError):  # noqa: PT011  (Forbidden, or a name that does not resolve: no connect either way)
            await outbound.dial(name, canary.port, PUBLIC)
    assert canary.connects == 0


async def test_a_sandbox_row_reaches_this_machine_and_nothing_else(canary: Canary) -> None:
    row = Exchange(pk="x", adapter="binance", is_sandbox=True)
    assert row.reach == LOOPBACK
    (await outbound.dial("127.0.0.1", canary.port, row.reach)).close()
    for away in ("10.0.0.1", "192.168.0.1", "169.254.169.254", "1.1.1.1", "0.0.0.0"):
        with pytest.raises(Forbidden, match="not an address of this machine"):
            await outbound.dial(away, canary.port, row.reach)


async def test_a_name_is_judged_by_what_it_resolves_to_when_the_socket_opens(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when the URL was typed, ours a moment later. The address that was checked is the one that is dialled."""
    answers = [("93.184.216.34", canary.port), ("127.0.0.1", canary.port)]

    async def resolve(*args: Any, **kwargs: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers[-1])]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(Forbidden, match=r"stream\.binance\.com is forbidden: 127\.0\.0\.1 is not an address of the internet"):
        await outbound.dial("stream.binance.com", canary.port, PUBLIC)
    async with httpx.AsyncClient(transport=transport(PUBLIC)) as client:
        with pytest.raises(httpx.ConnectError, match="forbidden"):
            await client.get("https://api.binance.com/")
    assert canary.connects == 0


async def test_a_redirect_leads_nowhere(canary: Canary) -> None:
    """An exchange that answers with 301 to the metadata service is an exchange that refuses."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        target = f"127.0.0.1:{canary.port}/latest/meta-data"
        writer.write(f"HTTP/1.1 301 Moved\r\nLocation: http://{target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reasons = await tried(LOOPBACK, (f"ws://127.0.0.1:{port}/", f"http://127.0.0.1:{port}"))
    assert "301" in reasons[0]
    assert canary.connects == 0


def test_hosts_beside_the_adapters_own_are_the_operators_to_name(settings: Any) -> None:
    row = Exchange(pk="x", adapter="binance")
    with pytest.raises(Forbidden, match=r"'stream\.example\.org' is not among the hosts"):
        row.reach.check_url("wss://stream.example.org/ws")
    settings.EXCHANGE_HOSTS = {"binance": ["stream.example.org"]}
    row.reach.check_url("wss://stream.example.org/ws")
    with pytest.raises(Forbidden, match="use https or wss"):
        row.reach.check_url("ws://stream.example.org/ws")


# Blocking libraries


def asked(url: str) -> str:
    """What urllib says, which stands for every blocking library here."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return str(answer.status)
    except (OSError, ValueError) as error:
        return str(error)


def test_a_guarded_thread_connects_to_nothing_inside(canary: Canary) -> None:
    with outbound.guarded(PUBLIC) as refused:
        for host in INWARD:
            asked(f"http://{host}:{canary.port}/")
    assert canary.connects == 0
    assert "127.0.0.1 is not an address of the internet, but of this machine, a private network or none at all" in refused


def test_the_guard_ends_with_its_block_and_is_its_threads_alone(canary: Canary) -> None:
    with outbound.guarded(PUBLIC):
        other = threading.Thread(target=asked, args=(f"http://127.0.0.1:{canary.port}/",))
        other.start()
        other.join(5)
        assert canary.connects == 1
    asked(f"http://127.0.0.1:{canary.port}/")
    assert canary.connects == 2


def test_datagrams_and_unix_sockets_are_guarded_too(canary: Canary, redis_url: str) -> None:
    with outbound.guarded(PUBLIC) as refused:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, pytest.raises(Forbidden):
            datagrams.sendto(b"x", ("127.0.0.1", canary.port))
        with socket.socket(socket.AF_UNIX) as local, pytest.raises(Forbidden):
            local.connect(redis_url.removeprefix("unix://").partition("?")[0])
        with socket.socket() as by_name, pytest.raises(Forbidden):
            by_name.connect(("localhost", canary.port))
    assert len(refused) == 3


def test_networks_that_the_operator_names_are_open_to_users_urls(canary: Canary, settings: Any) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with outbound.guarded(outbound.of_users()) as refused:
        asked(f"http://127.0.0.1:{canary.port}/")
        asked(f"http://192.168.0.1:{canary.port}/")
    assert canary.connects == 1
    assert len(refused) == 1
