"""The browser's socket, over the whole ASGI application, a real Valkey and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from alerts import services
from alerts.feedhub import hub
from alerts.publishing import Publisher
from exchanges import status as statuses
from exchanges.events import Ticker
from exchanges.models import UserExchange
from exchanges.status import Status
from livermore import bus, keys
from livermore.db import db
from market_data import store
from symbols.models import Symbol
from tests.alerts.drafts import commit, draft

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]

HEADERS = [(b"host", b"localhost"), (b"origin", b"http://localhost")]


def session_cookie(user: User) -> bytes:
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}".encode()


class Page:
    """What a browser does with its socket."""

    def __init__(self, socket: WebsocketCommunicator) -> None:
        self.socket = socket
        self.frames: list[int] = []
        self.messages: list[dict[str, Any]] = []

    async def hello(self, **resume: dict[str, Any]) -> dict[str, Any]:
        await self.socket.send_json_to({"type": "hello", "v": 1, "resume": resume})
        return await self.until(lambda message: message["type"] == "snapshot")

    async def until(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = 10.0) -> dict[str, Any]:
        """The next message that is wanted; those before it are kept in ``messages``."""
        async with asyncio.timeout(seconds):
            while True:
                while self.messages:
                    message = self.messages.pop(0)
                    if wanted(message):
                        return message
                frame = json.loads(await self.socket.receive_from(timeout=seconds))
                self.frames.append(frame["n"])
                self.messages += frame["m"]


@asynccontextmanager
async def opened(user: User | None, headers: list[tuple[bytes, bytes]] = HEADERS) -> AsyncIterator[Page]:
    from livermore.asgi import application

    cookie = [] if user is None else [(b"cookie", await sync_to_async(session_cookie)(user))]
    socket = WebsocketCommunicator(application, "/ws/feed/", headers=[*headers, *cookie])
    connected, _ = await socket.connect()
    assert connected
    try:
        yield Page(socket)
    finally:
        await socket.disconnect()
        await hub().close()
        await bus.relay().close()


@pytest.fixture
def trader() -> User:
    return User.objects.create_user("trader")


@pytest.fixture
def btc() -> Symbol:
    return Symbol.objects.create(
        exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", tier=1, rank=1, price=65000.5, price_increment="0.01"
    )


async def test_a_stranger_is_told_to_log_in():
    async with opened(None) as page:
        assert await page.socket.receive_output() == {"type": "websocket.close", "code": 4401}


@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://localhost.evil.example", b"https://127.0.0.1.nip.io"])
async def test_another_sites_page_cannot_open_it(trader: User, origin: bytes):
    from livermore.asgi import application

    cookie = await sync_to_async(session_cookie)(trader)
    socket = WebsocketCommunicator(application, "/ws/feed/", headers=[(b"host", b"localhost"), (b"origin", origin), (b"cookie", cookie)])
    connected, _ = await socket.connect()
    assert not connected


async def test_an_unknown_socket_path_is_refused(trader: User):
    from livermore.asgi import application

    connected, _ = await WebsocketCommunicator(application, "/ws/other/", headers=HEADERS).connect()
    assert not connected


@pytest.mark.parametrize("text", [" ", "[]", "{", '{"type":"buy"}', '{"type":5}', '{"type":"hello","v":9}', "x" * 20_000, "[" * 5000])
async def test_what_it_does_not_understand_closes_it(trader: User, text: str):
    async with opened(trader) as page:
        await page.socket.send_to(text_data=text)
        assert await page.socket.receive_output() == {"type": "websocket.close", "code": 4400}


async def test_a_snapshot_has_cards_rows_and_positions_even_when_nothing_runs(trader: User, btc: Symbol):
    async with opened(trader) as page:
        snapshot = await page.hello()
    assert snapshot["v"] == 1
    cards = {card["exchange_id"]: (card["state"], card["error"], card["simulated"]) for card in snapshot["exchanges"]}
    assert cards["coinbase"] == ("offline", "no process hosts it", False)
    assert cards["coinbase-sandbox"][2] is True
    (row,) = snapshot["symbols"]
    assert (row["exchange_id"], row["symbol"], row["decimals"], row["price"], row["state"]) == (
        "coinbase",
        "BTC-USD",
        2,
        65000.5,
        "offline",
    )
    assert (snapshot["alerts"], snapshot["top"]) == ([], {})


async def test_an_exchange_that_is_not_watched_is_not_shown(trader: User):
    await db(UserExchange.objects.create)(user=trader, exchange_id="binance", watch=False)
    async with opened(trader) as page:
        snapshot = await page.hello()
        assert "binance" not in {card["exchange_id"] for card in snapshot["exchanges"]}
        assert "coinbase" in {card["exchange_id"] for card in snapshot["exchanges"]}


async def test_prices_and_alerts_arrive_live(trader: User, btc: Symbol):
    client = bus.connect()
    fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
    publisher = Publisher(client, "coinbase", epoch)
    async with opened(trader) as page:
        await page.hello()
        await store.write_tickers(client, "coinbase", [(Ticker("BTC-USD", 65001.0, 5, bid=65000.9), 7)])
        message = await page.until(lambda message: message["type"] == "ticker")
        assert message == {
            "type": "ticker",
            "exchange_id": "coinbase",
            "symbol": "BTC-USD",
            "t": 5,
            "price": 65001.0,
            "received": 7,
            "bid": 65000.9,
        }
        publisher.add(await db(commit)(await db(draft)(0), fence=fence))
        await publisher.flush()
        alert = await page.until(lambda message: message["type"] == "alert")
        assert (alert["id"], alert["source_exchange_id"], alert["trigger_label"]) == (1, "coinbase", "level_150")
    await client.aclose()


async def test_a_page_that_comes_back_gets_exactly_what_it_missed(trader: User):
    fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
    await db(commit)(*[await db(draft)(place) for place in range(5)], fence=fence)
    async with opened(trader) as page:
        snapshot = await page.hello(coinbase={"epoch": epoch, "id": 2})
        assert [alert["id"] for alert in snapshot["alerts"]] == [5, 4, 3]
        assert snapshot["resumed"]["coinbase"] is True
        assert snapshot["top"]["coinbase"] == {"epoch": epoch, "id": 5}


async def test_a_page_with_ids_of_another_database_gets_a_fresh_list(trader: User):
    fence, _ = await db(services.sequence_take_over)(exchange_id="coinbase")
    await db(commit)(await db(draft)(0), fence=fence)
    async with opened(trader) as page:
        snapshot = await page.hello(coinbase={"epoch": "of another", "id": 700})
        assert snapshot["resumed"]["coinbase"] is False
        assert [alert["id"] for alert in snapshot["alerts"]] == [1]


async def test_the_state_of_an_exchange_arrives_when_it_changes(trader: User):
    client = bus.connect()
    status = Status("coinbase")
    await client.set(keys.exchange_lease("coinbase"), "{}")
    await status.write(client)
    async with opened(trader) as page:
        snapshot = await page.hello()
        assert {card["exchange_id"]: card["state"] for card in snapshot["exchanges"]}["coinbase"] == "idle"
        status.set_state("live")
        await status.write(client)
        await page.until(
            lambda message: message["type"] == "exchange" and message["exchange_id"] == "coinbase" and message["state"] == "live"
        )
        await statuses.publish_lifecycle(client, "coinbase", "exchange:connected")
        message = await page.until(lambda message: message["type"] == "lifecycle")
        assert (message["event"], message["exchange_id"]) == ("exchange:connected", "coinbase")
    await client.aclose()


async def test_positions_tell_a_page_where_it_should_be(trader: User):
    fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
    async with opened(trader) as page:
        await page.hello()
        await db(commit)(await db(draft)(0), fence=fence)
        message = await page.until(lambda message: message["type"] == "positions" and message["top"].get("coinbase", {}).get("id") == 1)
        assert message["top"]["coinbase"] == {"epoch": epoch, "id": 1}
        assert message["states"]["coinbase"] == "offline"


async def test_a_changed_pool_sends_its_rows(trader: User, btc: Symbol):
    client = bus.connect()
    async with opened(trader) as page:
        await page.hello()
        await db(Symbol.objects.create)(exchange_id="coinbase", symbol="ETH-USD", base="ETH", quote="USD", tier=1, rank=2)
        await statuses.publish_lifecycle(client, "coinbase", "symbols:changed")
        message = await page.until(lambda message: message["type"] == "symbols" and message["exchange_id"] == "coinbase")
        assert [row["symbol"] for row in message["symbols"]] == ["BTC-USD", "ETH-USD"]
    await client.aclose()


async def test_a_redis_that_comes_back_empty_makes_the_page_ask_again_and_goes_on(trader: User, valkey: Any):
    async with opened(trader) as page:
        await page.hello()
        valkey.kill()
        down = await page.until(lambda message: message["type"] == "positions" and set(message["states"].values()) == {"offline"})
        assert "coinbase" in down["states"]
        valkey.start()
        await page.until(lambda message: message.get("resync") is True)
        await page.hello()
        client = bus.connect()
        await client.publish(keys.channel_alerts("coinbase"), b'{"type":"alert","id":9}')
        assert (await page.until(lambda message: message["type"] == "alert"))["id"] == 9
        await client.aclose()


async def test_frames_are_numbered_one_by_one(trader: User):
    async with opened(trader) as page:
        await page.hello()
        await page.until(lambda message: message["type"] == "positions")
        assert page.frames == list(range(1, len(page.frames) + 1))


async def test_a_socket_does_not_outlive_its_log_out(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    async with opened(trader) as page:
        await page.hello()
        await sync_to_async(Session.objects.all().delete)()
        async with asyncio.timeout(10):
            while (output := await page.socket.receive_output())["type"] != "websocket.close":
                pass
        assert output["code"] == 4401


async def test_a_socket_does_not_outlive_its_users_account(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    async with opened(trader) as page:
        await page.hello()
        await sync_to_async(User.objects.filter(pk=trader.pk).update)(is_active=False)
        async with asyncio.timeout(10):
            while (output := await page.socket.receive_output())["type"] != "websocket.close":
                pass
        assert output["code"] == 4401


async def test_what_a_user_stops_watching_leaves_the_open_page(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    async with opened(trader) as page:
        await page.hello()
        await db(UserExchange.objects.create)(user=trader, exchange_id="binance", watch=False)
        snapshot = await page.until(lambda message: message["type"] == "snapshot")
        assert "binance" not in {card["exchange_id"] for card in snapshot["exchanges"]}
