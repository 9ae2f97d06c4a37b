"""Subscriptions over the whole ASGI application, a real Valkey and a real database."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User

from alerts import services
from alerts.consumers import FeedConsumer
from alerts.publishing import Publisher
from exchanges.models import UserExchange
from exchanges.services import account_changed
from livermore import bus, keys
from livermore.db import db
from symbols.models import Symbol, UserSymbol
from tests.alerts import hostile
from tests.alerts.drafts import commit, draft
from tests.alerts.test_consumers import Page, fire, opened, say_everything
from tests.people import person
from tests.test_asyncapi import validate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]

END = "channel:exchange:coinbase:lifecycle"
"""Everybody in these tests hears it: what comes before it has come."""


class Client(Page):
    """Any program: it asks for channels, and acknowledges what it gets."""

    async def ask(self, kind: str = "subscribe", **said: Any) -> dict[str, Any]:
        await self.socket.send_json_to({"type": kind, **said})
        return await self.until(lambda message: message["type"] in {"subscribed", "refused"})

    async def heard(self) -> list[dict[str, Any]]:
        """All that comes of what has been published up to now."""
        client = bus.connect()
        await client.publish(END, b'{"type":"lifecycle","event":"the end"}')
        await client.aclose()
        found = await self.up_to(lambda message: message.get("event") == "the end")
        return found[:-1]


@asynccontextmanager
async def connected(user: User) -> AsyncIterator[Client]:
    async with opened(user) as page:
        yield Client(page.socket)


@pytest.fixture(autouse=True)
def everybodys() -> None:
    """Markets of Tier 1: what is in no list is told to nobody."""
    for exchange_id, symbols in {"coinbase": ("BTC-USD", "ETH-USD", "LAST-USD"), "binance": ("BTCUSDT", "ETHUSDT", "DOGEUSDT")}.items():
        for rank, symbol in enumerate(symbols, 1):
            Symbol.objects.create(exchange_id=exchange_id, symbol=symbol, base=symbol[:-4].strip("-"), quote="USD", tier=1, rank=rank)


@pytest.fixture
def trader() -> User:
    return person("trader", group="trader")


@pytest.fixture
def kaia() -> User:
    return person("kaia", group="viewer")


@pytest.fixture
def doge(trader: User) -> Symbol:
    """A symbol of Tier 2, which the trader added."""
    row = Symbol.objects.create(exchange_id="coinbase", symbol="DOGE-USD", base="DOGE", quote="USD", tier=2, keeper=trader, rank=60)
    UserSymbol.objects.create(user=trader, symbol=row)
    return row


async def publish(*channels: str) -> None:
    client = bus.connect()
    for channel in channels:
        await client.publish(channel, json.dumps({"type": "ticker", "channel": channel}))
    await client.aclose()


async def test_an_alert_of_the_symbol_that_was_asked_for_arrives_and_no_other(kaia: User):
    async with connected(kaia) as client:
        answer = await client.ask(v=1, id=7, channels=["channel:exchange:coinbase:alerts:BTC-USD", END])
        assert answer == {"type": "subscribed", "id": 7, "channels": ["channel:exchange:coinbase:alerts:BTC-USD", END]}
        redis = bus.connect()
        fence, epoch = await db(services.sequence_take_over)(exchange_id="coinbase")
        publisher = Publisher(redis, "coinbase", epoch)
        drafts = [await db(draft)(place, symbol=symbol) for place, symbol in enumerate(("ETH-USD", "BTC-USD"))]
        publisher.add(await db(commit)(*drafts, fence=fence))
        await publisher.flush()
        await redis.aclose()
        (alert,) = await client.heard()
        assert (alert["type"], alert["id"], alert["source_exchange_id"], alert["symbol"]) == ("alert", 2, "coinbase", "BTC-USD")
        assert client.frames == list(range(1, len(client.frames) + 1))


async def test_who_only_subscribes_gets_no_snapshot_and_only_what_was_asked_for(kaia: User):
    async with connected(kaia) as client:
        await client.ask(exchange="coinbase", symbols=["BTC-USD"], timeframes=["1h"], kinds=["ticker", "candle", "lifecycle"])
        wanted = [keys.channel_ticker("coinbase", "BTC-USD"), keys.channel_candle_close("coinbase", "BTC-USD", "1h")]
        other = [keys.channel_ticker("coinbase", "ETH-USD"), keys.channel_candle_close("coinbase", "BTC-USD", "5m")]
        await publish(*other, *wanted, keys.channel_ticker("binance", "BTC-USD"), keys.channel_alerts("coinbase"))
        await asyncio.sleep(1.5)  # a page would have heard of cards by then
        assert {message["channel"] for message in await client.heard()} == set(wanted)


async def test_a_page_may_subscribe_too_and_hears_nothing_twice(kaia: User):
    async with connected(kaia) as client:
        await client.ask(channels=["channel:exchange:coinbase:alerts:BTC-USD", "channel:alerts:coinbase"])
        await client.hello()
        answer = await client.ask(id=1, channels=["channel:exchange:coinbase:*"])
        assert len(answer["channels"]) == 3
        await publish(keys.channel_symbol_alerts("coinbase", "BTC-USD"), keys.channel_alerts("coinbase"), keys.channel_alerts("binance"))
        assert [message["channel"] for message in await client.heard()] == ["channel:alerts:coinbase", "channel:alerts:binance"]


async def test_hello_without_a_snapshot_begins_with_the_account_and_goes_on_as_ever(kaia: User):
    async with connected(kaia) as client:
        await client.socket.send_json_to({"type": "hello", "v": 1, "snapshot": False})
        await client.until(lambda message: message["type"] == "account")
        await publish(keys.channel_ticker("coinbase", "BTC-USD"))
        await client.until(lambda message: message["type"] == "ticker")
        found: list[str] = []
        await client.until(lambda message: found.append(message["type"]) or message["type"] == "positions")  # type: ignore[func-returns-value]
        assert "snapshot" not in found


async def test_what_is_unsubscribed_is_heard_no_more(kaia: User):
    async with connected(kaia) as client:
        await client.ask(channels=["channel:exchange:coinbase:ticker:*", "channel:alerts:coinbase", END])
        answer = await client.ask("unsubscribe", id=2, channels=["channel:exchange:coinbase:ticker:*"])
        assert answer == {"type": "subscribed", "id": 2, "channels": ["channel:alerts:coinbase", END]}
        await publish(keys.channel_ticker("coinbase", "BTC-USD"), keys.channel_alerts("coinbase"))
        assert [message["channel"] for message in await client.heard()] == ["channel:alerts:coinbase"]


@pytest.mark.parametrize(
    ("said", "identity", "reason"),
    [
        ({"id": 7, "channels": ["channel:user:1:alerts"]}, 7, "say hello to hear it"),
        ({"id": 7, "channels": 5}, 7, "Expected `array`"),
        ({"id": "x"}, None, "cannot be read"),
        ({"channels": ["channel:alerts:nowhere"]}, None, "not among the exchanges you watch"),
    ],
)
async def test_what_is_refused_says_why_and_the_socket_stays(kaia: User, said: dict[str, Any], identity: int | None, reason: str):
    async with connected(kaia) as client:
        for _ in range(3):
            answer = await client.ask(**said)
            assert (answer["type"], answer["id"]) == ("refused", identity)
            assert reason in answer["reason"]
        assert await client.ask(id=8) == {"type": "subscribed", "id": 8, "channels": []}


async def test_more_than_twenty_messages_a_second_are_refused_and_close_it(kaia: User):
    async with connected(kaia) as client:
        for number in range(40):
            await client.socket.send_json_to({"type": "subscribe", "id": number})
        answer = await client.until(lambda message: message["type"] == "refused")
        assert 20 <= answer["id"] < 39
        assert "more than 20 messages a second" in answer["reason"]
        assert await client.closed() == 4008


async def test_an_exchange_that_is_no_longer_watched_falls_silent_and_says_so(kaia: User):
    async with connected(kaia) as client:
        await client.ask(channels=["channel:exchange:binance:ticker:*", END])
        await db(UserExchange.objects.create)(user=kaia, exchange_id="binance", watch=False)
        await db(account_changed)(kaia.pk)
        assert await client.until(lambda message: message["type"] == "subscribed") == {"type": "subscribed", "id": None, "channels": [END]}
        await publish(keys.channel_ticker("binance", "BTCUSDT"))
        assert await client.heard() == []
        answer = await client.ask(channels=["channel:exchange:binance:ticker:*"])
        assert "'binance' is not among" in answer["reason"]


async def test_one_that_is_watched_again_may_be_asked_for_at_once(kaia: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.consumers.READ_AGAIN", 0.0)
    row = await db(UserExchange.objects.create)(user=kaia, exchange_id="binance", watch=False)
    async with connected(kaia) as client:
        assert (await client.ask(channels=["channel:alerts:binance"]))["type"] == "refused"
        await db(row.delete)()
        assert (await client.ask(channels=["channel:alerts:binance"]))["type"] == "subscribed"


async def test_a_subscriber_is_told_when_messages_may_have_been_missed(kaia: User, valkey: Any):
    async with connected(kaia) as client:
        await client.ask(channels=["channel:alerts:coinbase"])
        valkey.kill()
        await asyncio.sleep(0.3)
        valkey.start()
        missed = await client.until(lambda message: message["type"] == "missed")
        assert missed["reason"] == "the server had lost Redis"
        await publish(keys.channel_alerts("coinbase"))
        await client.until(lambda message: message.get("channel") == "channel:alerts:coinbase")


async def test_what_is_sent_is_as_the_published_schema_says(trader: User, doge: Symbol):
    async with connected(trader) as client:
        await client.socket.send_json_to({"type": "hello", "v": 1})
        await client.socket.send_json_to({"type": "subscribe", "channels": ["channel:exchange:coinbase:*"]})
        await client.socket.send_json_to({"type": "subscribe", "channels": ["*"]})
        await client.until(lambda message: message["type"] == "refused")
        await fire(trader, shared=False)
        await say_everything("DOGE-USD")
        wanted = {"alert", "withheld", "ticker", "candle", "lifecycle", "positions", "exchange"}
        while wanted:
            frame = json.loads(await client.socket.receive_from(timeout=10))
            validate(frame, "Frame")
            wanted -= {message["type"] for message in frame["m"]}


# Whose is what

ALL = ["channel:exchange:coinbase:*", "channel:alerts:coinbase", "channel:exchange:coinbase:ticker:DOGE-USD"]


def of_doge(messages: list[dict[str, Any]]) -> set[str]:
    return {message["type"] for message in messages if message.get("symbol") == "DOGE-USD"}


@pytest.mark.parametrize("hello", [False, True], ids=["subscribed", "subscribed and hello"])
async def test_the_markets_and_alerts_of_one_user_do_not_reach_another(trader: User, kaia: User, doge: Symbol, hello: bool):
    async with connected(trader) as owner, connected(kaia) as other:
        for client in (owner, other):
            if hello:
                await client.hello()
            await client.ask(channels=ALL)
        await fire(trader, shared=False)
        await say_everything("DOGE-USD")
        await say_everything("BTC-USD")
        heard = [[*await client.heard(), *await one_more(client)] for client in (owner, other)]
        assert of_doge(heard[0]) == {"alert", "ticker", "candle", "lifecycle"}
        assert of_doge(heard[1]) == set()
        assert [message["id"] for message in heard[1] if message["type"] == "withheld"] == [1]


async def say_move(*coins: str) -> None:
    """Coins move on Coinbase, and Binance has not followed."""
    client = bus.connect()
    markets = {"symbols": [f"{coin}-USD" for coin in coins], "other_symbols": [f"{coin}USDT" for coin in coins]}
    move = {"type": "move", "exchange_id": "coinbase", "other_id": "binance", "coins": list(coins), **markets, "grouped": len(coins) > 1}
    await client.publish(keys.channel_moves("coinbase", "binance"), json.dumps(move))
    await client.aclose()


def coins_of(messages: list[dict[str, Any]]) -> list[list[str]]:
    return [message["coins"] for message in messages if message["type"] == "move"]


async def test_a_move_elsewhere_is_heard_by_who_asks_for_it(kaia: User):
    async with connected(kaia) as client:
        await client.ask(channels=["channel:exchange:coinbase:moves:binance", "channel:exchange:coinbase:moves:*", END])
        await say_move("BTC")
        assert coins_of(await client.heard()) == [["BTC"]]
        await client.ask("unsubscribe", channels=["channel:exchange:coinbase:moves:binance", "channel:exchange:coinbase:moves:*"])
        await say_move("BTC")
        assert coins_of(await client.heard()) == []


async def test_a_move_names_no_market_that_only_others_watch(trader: User, kaia: User, doge: Symbol):
    async with connected(trader) as owner, connected(kaia) as other:
        for client in (owner, other):
            await client.ask(channels=["channel:exchange:coinbase:moves:*", END])
        await say_move("BTC", "DOGE")
        await say_move("DOGE")
        assert coins_of(await owner.heard()) == [["BTC", "DOGE"], ["DOGE"]]
        assert coins_of(await other.heard()) == [["BTC"]]


async def test_a_page_hears_of_moves_where_its_user_buys_and_once(kaia: User):
    await db(UserExchange.objects.create)(user=kaia, exchange_id="binance", is_default=True)
    async with connected(kaia) as client:
        await client.hello()
        await say_move("BTC")
        assert coins_of(await client.heard()) == [["BTC"]]
        await client.ask(channels=["channel:exchange:coinbase:*"])
        await say_move("ETH")
        assert coins_of(await client.heard()) == [["ETH"]]


async def one_more(client: Client) -> list[dict[str, Any]]:
    """What is conflated comes after the rest of its frame: up to a price that everybody hears."""
    await publish(keys.channel_ticker("coinbase", "LAST-USD"))
    return await client.up_to(lambda message: message.get("channel") == "channel:exchange:coinbase:ticker:LAST-USD")


async def test_a_market_of_which_it_is_not_known_yet_whose_it_is_is_silent(kaia: User):
    new = keys.channel_ticker("coinbase", "NEW-USD")
    async with connected(kaia) as client:
        await client.ask(channels=ALL)
        await publish(new)
        assert new not in {message.get("channel") for message in [*await client.heard(), *await one_more(client)]}
        await db(Symbol.objects.create)(exchange_id="coinbase", symbol="NEW-USD", base="NEW", quote="USD", tier=1, rank=9)
        async with asyncio.timeout(10):
            while new not in {message.get("channel") for message in [*await client.heard(), *await one_more(client)]}:
                await asyncio.sleep(0.3)
                await publish(new)


@pytest.mark.parametrize("channel", [ALL[0], ALL[1], "channel:exchange:coinbase:alerts:DOGE-USD"])
@pytest.mark.parametrize("shared", [False, True])
async def test_an_owner_hears_an_alert_once_on_whatever_it_is_asked_for(trader: User, doge: Symbol, channel: str, shared: bool):
    async with connected(trader) as owner:
        await owner.ask(channels=[channel, END])
        await fire(trader, shared=shared)
        heard = await owner.heard()
        assert [message["symbol"] for message in heard if message["type"] == "alert"] == ["DOGE-USD"]


@pytest.mark.parametrize("kind", ["alerts", "account"])
async def test_no_spelling_leads_to_the_channels_of_another_user(trader: User, kaia: User, kind: str):
    theirs = f"channel:user:{trader.pk}:{kind}"
    async with connected(kaia) as client:
        await client.ask(channels=[*ALL, END])
        for spelled in (
            theirs,
            "channel:user:*",
            f"channel:user:*:{kind}",
            "channel:*",
            "*",
            f"channel:exchange:../user:{trader.pk}:{kind}",
        ):
            assert (await client.ask(channels=[spelled]))["type"] == "refused"
        await publish(theirs)
        assert await client.heard() == []


async def test_ten_thousand_hostile_requests_bring_nothing_foreign(
    trader: User, kaia: User, doge: Symbol, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("alerts.subscriptions.MESSAGES_PER_SECOND", 1e9)
    await db(UserExchange.objects.create)(user=kaia, exchange_id="binance", watch=False)
    foreign = [
        keys.channel_user_alerts(trader.pk), keys.channel_user_account(trader.pk), keys.channel_ticker("coinbase", "DOGE-USD"),
        keys.channel_candle_close("coinbase", "DOGE-USD", "5m"), keys.channel_ticker("binance", "BTCUSDT"), keys.channel_alerts("binance"),
    ]  # fmt: skip
    answered, published, counted = 0, set(), []
    async with connected(kaia) as client:
        for number, text in enumerate(hostile.requests(11, 10_000)):
            await client.socket.send_to(text_data=text)
            if number % 200 == 199:
                await publish(*foreign)
                while answered <= number:
                    frame = json.loads(await client.socket.receive_from(timeout=30))
                    answered += sum(message["type"] in {"subscribed", "refused"} for message in frame["m"])
                    published |= {message["channel"] for message in frame["m"] if "channel" in message}
                await client.socket.send_json_to({"type": "ack", "n": frame["n"]})
            if number in {1_999, 9_999}:
                gc.collect()
                counted.append(len(gc.get_objects()))
        assert published & set(foreign) == set()
        assert (await client.ask(id=5))["type"] == "subscribed", "it is still there"
    assert abs(counted[1] - counted[0]) < 3_000, "objects"
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []
    assert not any(isinstance(one, FeedConsumer) and one.subscriptions for one in bus.relay()._listeners)
