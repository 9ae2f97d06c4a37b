"""The browser's socket, over the whole ASGI application, a real Valkey and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client

from alerts import services
from alerts.feedhub import hub
from alerts.outbox import MOST_QUEUED
from alerts.publishing import Publisher
from alerts.services import Naming
from exchanges import status as statuses
from exchanges.events import Ticker
from exchanges.models import Exchange, Preferences, UserExchange
from exchanges.services import account_changed
from exchanges.status import Status
from livermore import bus, keys, measures
from livermore.db import db
from livermore.measures import Feed
from market_data import store
from market_data.candles import Bar
from market_data.series import Series
from symbols.models import Position, Symbol, UserSymbol
from symbols.tiers import Place
from tests.alerts.drafts import commit, draft
from tests.people import person
from tests.simulated import until

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

    async def up_to(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All that comes until the one that is wanted; exchanges' cards and positions, which come by the clock, are left out."""
        found: list[dict[str, Any]] = []
        await self.until(lambda message: found.append(message) or wanted(message))  # type: ignore[func-returns-value]
        return [message for message in found if message["type"] not in {"exchange", "positions"}]

    async def closed(self) -> int:
        """The code it is closed with."""
        async with asyncio.timeout(10):
            while (output := await self.socket.receive_output())["type"] != "websocket.close":
                pass
        return int(output["code"])


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
    return person("trader", group="trader")


@pytest.fixture
def kaia() -> User:
    """Somebody else."""
    return person("kaia", group="viewer")


@pytest.fixture
def doge(trader: User) -> Symbol:
    """A symbol of Tier 2, which the trader added."""
    row = Symbol.objects.create(
        exchange_id="coinbase", symbol="DOGE-USD", base="DOGE", quote="USD", tier=2, keeper=trader, rank=60, price=0.25
    )
    UserSymbol.objects.create(user=trader, symbol=row)
    return row


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


async def test_who_has_no_role_is_turned_away():
    async with opened(await db(person)("nobody")) as page:
        assert await page.socket.receive_output() == {"type": "websocket.close", "code": 4403}


async def test_a_socket_does_not_outlive_its_users_right(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    async with opened(trader) as page:
        await page.hello()
        await sync_to_async(trader.groups.clear)()
        assert await page.closed() == 4403


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
    assert (row["exchange_id"], row["symbol"], row["tier"], row["decimals"], row["price"], row["state"]) == (
        "coinbase",
        "BTC-USD",
        1,
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
        assert await page.closed() == 4401


async def test_a_socket_does_not_outlive_its_users_account(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    async with opened(trader) as page:
        await page.hello()
        await sync_to_async(User.objects.filter(pk=trader.pk).update)(is_active=False)
        assert await page.closed() == 4401


async def test_what_a_user_stops_watching_leaves_the_open_page(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    monkeypatch.setattr("alerts.consumers.FOLLOW_EVERY", 0.4)
    async with opened(trader) as page:
        await page.hello()
        await db(UserExchange.objects.create)(user=trader, exchange_id="binance", watch=False)
        await page.until(lambda message: message.get("resync") is True)
        snapshot = await page.hello()
        assert "binance" not in {card["exchange_id"] for card in snapshot["exchanges"]}


# What is one's own


def terms(region: str = "", **fees: float) -> list[dict[str, Any]]:
    """What a user without a region, or one in Germany, is told of each exchange."""
    told = []
    for row in Exchange.objects.filter(active=True):
        allowed, reason = (True, "no restriction known for DE") if region else (None, NO_REGION)
        if region and row.pk == "binance-us":
            allowed, reason = False, "only available in US"
        fee = fees.get(row.pk, float(row.taker_fee))
        told.append({"exchange_id": row.pk, "name": row.name, "taker_fee": fee, "allowed": allowed, "reason": reason})
    return told


NO_REGION = "your region is not set: set it to see whether you may trade here"
SETTINGS = {
    "own_exchange_id": "",
    "show_moves": True,
    "region": "",
    "time_zone": "",
    "timeframes": ["5m", "15m", "1h", "4h", "1d"],
    "theme": "dark",
    "palette": "standard",
    "notify_pages": False,
}


def set_much(user: User, btc: Symbol) -> None:
    Position.objects.create(user=user, exchange_id="coinbase", asset="BTC", quantity=0.5, symbol=btc, value=32_500.25)
    Position.objects.create(user=user, exchange_id="coinbase", asset="DUST", quantity=0.5, value=0.25)
    UserExchange.objects.create(user=user, exchange_id="coinbase", is_default=True, taker_fee="0.004")
    Preferences.objects.create(
        user=user, region="DE", show_moves=False, time_zone="Europe/Berlin", timeframes=["1h"], theme="light", palette="colour-blind"
    )


async def test_ones_own_comes_before_the_snapshot(trader: User, btc: Symbol, doge: Symbol):
    await db(set_much)(trader, btc)
    async with opened(trader) as page:
        await page.socket.send_json_to({"type": "hello", "v": 1, "resume": {}})
        account, snapshot = await page.up_to(lambda message: message["type"] == "snapshot")
        assert account == {
            "type": "account",
            "silences": [],
            "own": [
                {"exchange_id": "coinbase", "symbol": "BTC-USD", "added": False, "quantity": 0.5, "value": 32_500.25},
                {"exchange_id": "coinbase", "symbol": "DOGE-USD", "added": True, "quantity": None, "value": None},
            ],
            "settings": {
                "own_exchange_id": "coinbase",
                "terms": await db(terms)("DE", coinbase=0.004),
                "show_moves": False,
                "region": "DE",
                "time_zone": "Europe/Berlin",
                "timeframes": ["1h"],
                "theme": "light",
                "palette": "colour-blind",
                "notify_pages": False,
            },
        }
        assert [(row["symbol"], row["tier"]) for row in snapshot["symbols"]] == [("BTC-USD", 1), ("DOGE-USD", 2)]
        assert page.frames == [1], "in one frame"


async def test_what_another_wants_is_not_shown(kaia: User, btc: Symbol, doge: Symbol):
    async with opened(kaia) as page:
        await page.socket.send_json_to({"type": "hello", "v": 1, "resume": {}})
        account, snapshot = await page.up_to(lambda message: message["type"] == "snapshot")
        assert account == {"type": "account", "own": [], "silences": [], "settings": {**SETTINGS, "terms": await db(terms)()}}
        assert [(row["symbol"], row["tier"]) for row in snapshot["symbols"]] == [("BTC-USD", 1)]


def remember(user: User, symbol: Symbol) -> None:
    """Readings of a symbol of Tier 2, where its keeper has them."""
    bus.sync().set(keys.user_indicator(user.pk, "coinbase", symbol.symbol, "5m"), json.dumps({"t": 5}))


async def test_who_wants_a_symbol_sees_the_readings_that_its_keeper_has(trader: User, kaia: User, doge: Symbol):
    await db(remember)(trader, doge)
    await db(UserSymbol.objects.create)(user=kaia, symbol=doge)
    async with opened(kaia) as page:
        (row,) = (await page.hello())["symbols"]
        assert (row["symbol"], row["tier"], row["readings"]) == ("DOGE-USD", 2, {"5m": {"t": 5}})


async def test_a_change_of_ones_own_makes_the_page_ask_again(trader: User, kaia: User, btc: Symbol):
    async with opened(trader) as page:
        await page.hello()
        await db(account_changed)(kaia.pk)
        await db(UserSymbol.objects.create)(user=trader, symbol=btc)
        await db(account_changed)(trader.pk)
        message = await page.until(lambda message: message["type"] == "positions" and message.get("resync") is True)
        assert message == {"type": "positions", "at": 0, "top": {}, "states": {}, "resync": True}
        await page.socket.send_json_to({"type": "hello", "v": 1, "resume": {}})
        account = await page.until(lambda message: message["type"] == "account")
        assert [own["symbol"] for own in account["own"]] == ["BTC-USD"]


async def test_what_changes_for_another_wakes_nobody_else(trader: User, kaia: User):
    async with opened(trader) as page:
        await page.hello()
        await db(account_changed)(kaia.pk)
        client = bus.connect()
        await client.publish(keys.channel_user_alerts(kaia.pk), b'{"type":"alert","id":8}')
        await client.publish(keys.channel_alerts("coinbase"), b'{"type":"alert","id":9}')
        await client.aclose()
        found: list[dict[str, Any]] = []
        await page.until(lambda message: found.append(message) or message["type"] == "alert")  # type: ignore[func-returns-value]
        assert [message["id"] for message in found if message["type"] == "alert"] == [9]
        assert [message for message in found if message.get("resync")] == []


async def test_a_change_that_nobody_spoke_of_is_found_by_looking(trader: User, btc: Symbol, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.2)
    monkeypatch.setattr("alerts.consumers.FOLLOW_EVERY", 0.4)
    async with opened(trader) as page:
        await page.hello()
        await db(UserSymbol.objects.create)(user=trader, symbol=btc)
        await page.until(lambda message: message.get("resync") is True)


# What is another's


@asynccontextmanager
async def both(owner: User, other: User) -> AsyncIterator[tuple[Page, Page]]:
    """Two pages that have said hello."""
    async with opened(owner) as first, opened(other) as second:
        await first.hello()
        await second.hello()
        yield first, second


async def say_everything(symbol: str) -> None:
    """A price, a close and a change of state of that symbol."""
    client = bus.connect()
    series = Series(symbol, "5m")
    last = Bar(1_790_000_100_000, 1.0, 2.0, 0.5, 1.5, 10.0, False)
    series.advance(last)
    close = store.Close(symbol, "5m", last, store.indicator_value(series, series.indicator.reading))
    await statuses.publish_lifecycle(client, "coinbase", "symbol:state", symbol=symbol, state="live")
    await store.write_tickers(client, "coinbase", [(Ticker(symbol, 1.5, 5), 7)])
    await store.publish_closes(client, "coinbase", [close])
    await client.aclose()


async def test_prices_candles_and_states_of_tier_two_reach_only_who_wants_it(trader: User, kaia: User, btc: Symbol, doge: Symbol):
    async with both(trader, kaia) as (owner, other):
        await say_everything("DOGE-USD")
        await say_everything("BTC-USD")

        def last(message: dict[str, Any]) -> bool:
            return message["type"] == "candle" and message["symbol"] == "BTC-USD"

        heard = [sorted((message["type"], message["symbol"]) for message in await page.up_to(last)) for page in (owner, other)]
        of_btc = [(kind, "BTC-USD") for kind in ("candle", "lifecycle", "ticker")]
        assert heard == [sorted([*of_btc, *((kind, "DOGE-USD") for kind in ("candle", "lifecycle", "ticker"))]), of_btc]


async def test_a_changed_pool_sends_each_page_its_own_rows(trader: User, kaia: User, btc: Symbol, doge: Symbol):
    async with both(trader, kaia) as pages:
        client = bus.connect()
        await statuses.publish_lifecycle(client, "coinbase", "symbols:changed")
        await client.aclose()
        messages = [await page.until(lambda message: message["type"] == "symbols") for page in pages]
        assert [[(row["symbol"], row["tier"]) for row in message["symbols"]] for message in messages] == [
            [("BTC-USD", 1), ("DOGE-USD", 2)],
            [("BTC-USD", 1)],
        ]


def naming(owner: User, *, shared: bool) -> dict[str, Naming]:
    return {"BTC-USD": Naming("BTC", "USD"), "DOGE-USD": Naming("DOGE", "USD", Place(owner.pk, frozenset({owner.pk}), shared))}


async def fire(owner: User, *, shared: bool, symbols: tuple[str, ...] = ("DOGE-USD",), at: int = 0) -> str:
    """Store and publish an alert of each symbol; returns the epoch."""
    client = bus.connect()
    fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
    publisher = Publisher(client, "coinbase", epoch)
    await publisher.recover()
    drafts = [await db(draft)(at + place, symbol=symbol) for place, symbol in enumerate(symbols)]
    publisher.add(await db(commit)(*drafts, fence=fence, naming=naming(owner, shared=shared)))
    await publisher.flush()
    await client.aclose()
    return publisher.epoch


async def test_an_owner_has_the_alert_before_everybody_hears_that_its_number_is_taken(trader: User, kaia: User, doge: Symbol):
    async with both(trader, kaia) as (owner, other):
        epoch = await fire(trader, shared=False)
        withheld = {"type": "withheld", "id": 1, "epoch": epoch, "source_exchange_id": "coinbase"}
        alert, instead = await owner.up_to(lambda message: message["type"] == "withheld")
        assert (alert["type"], alert["id"], alert["symbol"], alert["overflow"], alert["shared"]) == ("alert", 1, "DOGE-USD", True, False)
        assert instead == withheld
        assert await other.up_to(lambda message: message["type"] == "withheld") == [withheld]


async def test_a_shared_alert_of_tier_two_reaches_everybody(trader: User, kaia: User, doge: Symbol):
    async with both(trader, kaia) as (owner, other):
        await fire(trader, shared=True)
        first, second, theirs = [await page.until(lambda message: message["type"] == "alert") for page in (owner, owner, other)]
        assert first == second == theirs
        assert (theirs["id"], theirs["symbol"], theirs["overflow"], theirs["shared"]) == (1, "DOGE-USD", True, True)


async def test_a_page_that_comes_back_is_told_of_no_gap_and_of_nothing_that_is_anothers(trader: User, kaia: User, doge: Symbol):
    epoch = await fire(trader, shared=False, symbols=("BTC-USD", "DOGE-USD", "BTC-USD"))
    seen = {}
    for user in (trader, kaia):
        async with opened(user) as page:
            fresh = await page.hello()
            resumed = await page.hello(coinbase={"epoch": epoch, "id": 1})
            seen[user.username] = [[alert["id"] for alert in one["alerts"]] for one in (fresh, resumed)]
            assert fresh["top"]["coinbase"] == resumed["top"]["coinbase"] == {"epoch": epoch, "id": 3}
            assert resumed["resumed"]["coinbase"] is True
    assert seen == {"trader": [[3, 2, 1], [3, 2]], "kaia": [[3, 1], [3]]}


async def test_who_owned_an_alert_keeps_it_and_who_comes_later_does_not_get_it(trader: User, kaia: User, doge: Symbol):
    await fire(trader, shared=False)
    await db(UserSymbol.objects.all().delete)()
    await db(UserSymbol.objects.create)(user=kaia, symbol=doge)
    for user, expected in ((trader, [1]), (kaia, [])):
        async with opened(user) as page:
            assert [alert["id"] for alert in (await page.hello())["alerts"]] == expected


async def test_two_who_see_the_same_share_a_snapshot_and_an_owner_has_one_apart(trader: User, kaia: User, btc: Symbol, doge: Symbol):
    """They ask in the same moment, and read the same once; the one who sees more does not get theirs."""
    eve = await db(person)("eve", group="viewer")
    async with opened(trader) as first, opened(kaia) as second, opened(eve) as third:
        snapshots = await asyncio.gather(first.hello(), second.hello(), third.hello())
        assert [[row["symbol"] for row in one["symbols"]] for one in snapshots] == [["BTC-USD", "DOGE-USD"], ["BTC-USD"], ["BTC-USD"]]


# A database that does not answer


@contextmanager
def away(table: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")


@asynccontextmanager
async def database_away(table: str) -> AsyncIterator[None]:
    held = away(table)
    await db(held.__enter__)()
    try:
        yield
    finally:
        await db(held.__exit__)(None, None, None)


async def test_who_asks_while_the_database_is_away_is_told_to_come_back(trader: User, caplog: pytest.LogCaptureFixture):
    async with opened(trader) as page:
        async with database_away("alerts_exchangesequence"):
            await page.socket.send_json_to({"type": "hello", "v": 1, "resume": {}})
            assert await page.closed() == 4503
        await page.socket.disconnect()
        assert hub()._sockets == set(), "the hub serves it no more"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_who_connects_while_the_database_is_away_is_told_to_come_back(trader: User, caplog: pytest.LogCaptureFixture):
    from livermore.asgi import application

    cookie = await sync_to_async(session_cookie)(trader)
    async with database_away("django_session"):
        socket = WebsocketCommunicator(application, "/ws/feed/", headers=[*HEADERS, (b"cookie", cookie)])
        connected, _ = await socket.connect()
        assert connected
        assert (await socket.receive_output())["code"] == 4503
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_session_that_cannot_be_looked_at_is_not_believed(trader: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.CHECK_EVERY", 0.05)
    async with opened(trader) as page, database_away("django_session"):
        assert await page.closed() == 4503


# What is measured


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    """Counts of this test only."""
    fresh = Feed()
    monkeypatch.setattr(measures, "feed", fresh)
    return fresh


async def test_the_way_from_publication_to_the_socket_and_back_is_timed(trader: User, btc: Symbol, feed: Feed):
    epoch = "e"
    published_at = statuses.now_ms() - 200
    alert = {"type": "alert", "id": 1, "epoch": epoch, "source_exchange_id": "coinbase", "symbol": "BTC-USD", "published_at": published_at}
    candle = {"type": "candle", "exchange_id": "coinbase", "symbol": "BTC-USD", "timeframe": "5m"}
    client = bus.connect()
    async with opened(trader) as page:
        await page.hello()
        assert feed.snapshot.count == 1
        await client.publish(keys.channel_candle_close("coinbase", "BTC-USD", "5m"), bus.encode(candle))
        await page.until(lambda message: message["type"] == "candle")
        assert feed.sent["candle"].count == 0, "it does not say when it was published"
        await client.publish(keys.channel_candle_close("coinbase", "BTC-USD", "5m"), bus.encode({**candle, "published_at": published_at}))
        await page.until(lambda message: message["type"] == "candle")
        await client.publish(keys.channel_alerts("coinbase"), bus.encode(alert))
        await page.until(lambda message: message["type"] == "alert")
        for kind in ("alert", "candle"):
            assert feed.sent[kind].count == 1
            assert feed.sent[kind].sum >= 0.2
        assert feed.acknowledged.count == 0
        await page.socket.send_json_to({"type": "ack", "n": page.frames[-1]})
        await until(lambda: feed.acknowledged.count == 2, "both acknowledged")
        assert feed.acknowledged.sum >= feed.sent["alert"].sum
        assert (feed.opened, feed.frames, feed.resumes, feed.too_slow) == (1, len(page.frames), 0, 0)
        await page.hello(coinbase={"epoch": epoch, "id": 0})
        assert (feed.resumes, feed.snapshot.count) == (1, 2)
    await client.aclose()


async def burst(client: Any, first: int, count: int) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for number in range(first, first + count):
            pipe.publish(keys.channel_alerts("coinbase"), b'{"type":"alert","id":%d}' % number)
        await pipe.execute()


async def test_a_socket_that_does_not_keep_up_is_counted_once(trader: User, feed: Feed, monkeypatch: pytest.MonkeyPatch):
    client = bus.connect()
    async with opened(trader) as page:
        await page.hello()
        monkeypatch.setattr("alerts.outbox.MOST_OUT", 1)
        for turn in range(3):
            await burst(client, turn * MOST_QUEUED, MOST_QUEUED)
            await asyncio.sleep(0.1)
        assert await page.closed() == 4008
        assert feed.too_slow == 1
    await client.aclose()


async def test_a_page_that_keeps_up_takes_any_burst(trader: User):
    client = bus.connect()
    async with opened(trader) as page:
        await page.hello()
        await burst(client, 1, 3 * MOST_QUEUED)
        found = [(await page.until(lambda message: message["type"] == "alert"))["id"] for _ in range(3 * MOST_QUEUED)]
        assert found == list(range(1, 3 * MOST_QUEUED + 1))
    await client.aclose()


async def test_pages_that_hear_the_same_have_it_put_together_once(trader: User, btc: Symbol):
    """Each keeps the count of its own frames; what is only one's own goes to that one; who asks for more hears it once all the same."""
    client, other = bus.connect(), await db(person)("other", group="trader")
    async with opened(trader) as page, opened(other) as another, opened(trader) as asking:
        for one in (page, another, asking):
            await one.hello()
        await asking.socket.send_json_to({"type": "subscribe", "id": 1, "exchange": "coinbase", "symbols": ["ETH-USD"]})
        await asking.until(lambda message: message["type"] == "subscribed")
        await client.publish(keys.channel_user_alerts(trader.pk), b'{"type":"alert","id":7}')
        await burst(client, 1, 2)
        for one, wanted in ((page, [7, 1, 2]), (another, [1, 2]), (asking, [7, 1, 2])):
            found = [(await one.until(lambda message: message["type"] == "alert"))["id"] for _ in wanted]
            assert sorted(found) == sorted(wanted)
            assert one.frames == list(range(1, len(one.frames) + 1))
    await client.aclose()
