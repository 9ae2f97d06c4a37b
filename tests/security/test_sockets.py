"""A socket is its user's for as long as the user may have it: who opens it, what ends it, and what hostile clients can do with it."""

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from channels.security.websocket import OriginValidator
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from alerts import consumers
from livermore import bus, keys
from livermore.db import db
from tests.alerts import hostile as hostile_requests
from tests.alerts.test_consumers import HEADERS, Page, opened
from tests.people import person
from tests.security import long

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]


@pytest.fixture
def trader() -> User:
    user = person("trader", group="trader")
    user.set_password("battery-staple-9")
    user.save()
    return user


def test_the_origin_is_checked_before_anything_else() -> None:
    from livermore.asgi import application

    outermost = application.application_mapping["websocket"]
    assert isinstance(outermost, OriginValidator)
    assert outermost.allowed_origins == settings.ALLOWED_HOSTS


# What ends it


def logged_out(user: User, client: Client) -> None:
    client.post("/logout/")


def password_changed(user: User, client: Client) -> None:
    other = Client()
    other.force_login(user)
    form = {"old_password": "battery-staple-9", "new_password1": "another-staple-9", "new_password2": "another-staple-9"}
    assert other.post("/password/", form).status_code == 302


def deactivated(user: User, client: Client) -> None:
    user.is_active = False
    user.save()


def deleted(user: User, client: Client) -> None:
    user.delete()


def role_taken(user: User, client: Client) -> None:
    user.groups.clear()


def session_flushed(user: User, client: Client) -> None:
    """Behind our back: noticed by the look every 30 s."""
    import_module(settings.SESSION_ENGINE).SessionStore(client.session.session_key).delete()


def set_inactive_in_bulk(user: User, client: Client) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


AT_ONCE = [(logged_out, 4401), (password_changed, 4401), (deactivated, 4401), (deleted, 4401), (role_taken, 4403)]
IN_TIME = [(session_flushed, 4401), (set_inactive_in_bulk, 4401)]


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


async def frames_after(page: Page, end: Callable[[User, Client], None], user: User, client: Client) -> tuple[int, int]:
    """(close code, frames that came after ``end`` was done and the socket closed) while prices go on."""
    redis = bus.connect()
    try:
        await db(end)(user, client)
        code = await page.closed()
        for price in range(20):
            message = {"type": "ticker", "exchange_id": "coinbase", "symbol": "BTC-USD", "price": price}
            await redis.publish(keys.channel_ticker("coinbase", "BTC-USD"), json.dumps(message))
        await asyncio.sleep(0.2)
        return code, page.socket.output_queue.qsize()
    finally:
        await redis.aclose()


async def open_page(user: User) -> tuple[Client, Any]:
    client = await db(browser_of)(user)
    return client, opened(None, [*HEADERS, (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())])


@pytest.mark.parametrize(("end", "code"), AT_ONCE)
@pytest.mark.parametrize("greeted", [True, False])
async def test_it_ends_at_once_with_what_gave_it_its_right(
    trader: User, monkeypatch: pytest.MonkeyPatch, end: Callable[..., None], code: int, greeted: bool
) -> None:
    """CHECK_EVERY is its 30 s here, also at first: only the word that something changed can be so fast."""
    monkeypatch.setattr(consumers.random, "random", lambda: 1.0)
    client, opening = await open_page(trader)
    async with opening as page:
        if greeted:
            await page.hello()
        else:
            await asyncio.sleep(0.2)  # until it listens; before that the look every 30 s is what ends it
        async with asyncio.timeout(10):
            assert await frames_after(page, end, trader, client) == (code, 0)


@pytest.mark.parametrize(("end", "code"), IN_TIME)
async def test_what_nobody_says_is_noticed_within_thirty_seconds(
    trader: User, monkeypatch: pytest.MonkeyPatch, end: Callable[..., None], code: int
) -> None:
    assert consumers.CHECK_EVERY == 30.0
    monkeypatch.setattr(consumers, "CHECK_EVERY", 0.2)
    client, opening = await open_page(trader)
    async with opening as page:
        await page.hello()
        assert await frames_after(page, end, trader, client) == (code, 0)


async def test_a_log_out_elsewhere_leaves_the_other_browsers_of_a_user_open(trader: User) -> None:
    _, opening = await open_page(trader)
    other = await db(browser_of)(trader)
    async with opening as page:
        await page.hello()
        await db(other.post)("/logout/")
        await asyncio.sleep(0.3)
        await page.hello()


# Hostile clients

WORDS = [
    "hello", "subscribe", "unsubscribe", "ack", "buy", "", "\0", "channel:user:1:alerts", "channel:alerts:coinbase",
    "channel:exchange:coinbase:*", "coinbase", "../../etc/passwd", "' OR 1=1 --", "é" * 30, "A" * 3000, "type", "v", "resume", "n", "id",
    "channels", "snapshot", "exchange", "symbols", "kinds", "timeframes", "epoch",
]  # fmt: skip


def hostile(chance: random.Random, depth: int = 0) -> Any:
    """Something a client might say: the right names with wrong values, nesting, huge numbers."""
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind <= 1:
        return chance.choice(WORDS)
    if kind == 2:
        return chance.choice([0, -1, 1, 2**53 + 1, 2**64, -(2**70), 1e308, 0.5])
    if kind == 3:
        return chance.choice([None, True, False])
    if kind <= 5:
        return chance.choice([[], {}])
    if kind == 6:
        return [hostile(chance, depth + 1) for _ in range(chance.randrange(6))]
    return {chance.choice(WORDS): hostile(chance, depth + 1) for _ in range(chance.randrange(7))}


def texts(seed: int, count: int) -> Iterator[str | bytes]:
    """What hostile clients say: requests as tests/alerts/hostile.py makes them, nonsense of the right words, broken JSON, and bytes."""
    chance = random.Random(seed)
    for request in hostile_requests.requests(seed, count):
        match chance.randrange(10):
            case 0:
                yield chance.randbytes(chance.randrange(200))
            case 1:
                yield request[: chance.randrange(len(request))]
            case 2 | 3 | 4:
                nonsense = hostile(chance)
                yield json.dumps({**nonsense, "type": chance.choice(WORDS[:5])} if isinstance(nonsense, dict) else nonsense)
            case _:
                yield request


@asynccontextmanager
async def served(environment: dict[str, str], log: Path) -> AsyncIterator[tuple[str, int]]:
    """(websocket URL, process id) of a daphne whose log is written to ``log``."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with log.open("wb") as file:
        arguments = ("-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "livermore.asgi:application")
        running = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment, stdout=file, stderr=file)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        writer.close()
        yield f"ws://127.0.0.1:{port}/ws/feed/", running.pid
    finally:
        running.terminate()
        await running.wait()


def resident(pid: int) -> int:
    """Memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


A_SOCKET = 40
MESSAGES = 10_000


async def one_socket(url: str, cookie: str, messages: list[str | bytes]) -> None:
    """Say all of it, whatever comes of it, and read until the server closes or has no more to say."""
    async with connect(url, additional_headers={"Cookie": cookie}, origin=Origin("http://localhost"), max_size=None) as client:
        with contextlib.suppress(ConnectionClosed):
            for message in [*messages, "unreadable, so that it closes"]:
                await client.send(message)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()


@long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads a process's memory from /proc")
async def test_ten_thousand_hostile_messages_over_real_sockets_raise_nothing_and_leave_nothing_behind(
    trader: User, process_environment: dict[str, str], tmp_path: Path
) -> None:
    """In one process, and in every run of the tests: tests/alerts/test_subscribing.py."""
    client = await db(browser_of)(trader)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    said = list(texts(5, MESSAGES))
    batches = [said[at : at + A_SOCKET] for at in range(0, MESSAGES, A_SOCKET)]
    used = []
    async with served(process_environment, tmp_path / "log") as (url, pid):
        for at in range(0, len(batches), 5):
            await asyncio.gather(*(one_socket(url, cookie, batch) for batch in batches[at : at + 5]))
            used.append(resident(pid))
        async with connect(url, additional_headers={"Cookie": cookie}, origin=Origin("http://localhost"), max_size=None) as page:
            await page.send('{"type":"hello","v":1}')
            assert b'"account"' in await page.recv(decode=False), "it serves others as ever"
    log = (tmp_path / "log").read_text()
    assert [line for line in log.splitlines() if "Traceback" in line or "ERROR" in line or "CRITICAL" in line] == []
    half = len(used) // 2
    assert max(used[half:]) - max(used[:half]) < 6 * 2**20, [round(size / 2**20, 1) for size in used]
