"""One process follows another's channels: through an outage, a slow reader, and beside others on the same relay."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livermore import bus, keys
from livermore.follow import Follower

PRICES = keys.channel_ticker("coinbase", "*")
ALERTS = keys.channel_alerts("coinbase")
BTC, ETH = (keys.channel_ticker("coinbase", symbol) for symbol in ("BTC-USD", "ETH-USD"))


async def read(messages: Follower, count: int) -> list[tuple[str, dict[str, Any]]]:
    async with asyncio.timeout(10):
        return [await anext(messages) for _ in range(count)]


async def nothing_more(messages: Follower) -> bool:
    try:
        async with asyncio.timeout(0.05):
            await anext(messages)
    except TimeoutError:
        return True
    return False


# The queue


def follower(most: int = 100) -> Follower:
    return Follower([PRICES, ALERTS], most)


async def test_prices_are_conflated_per_channel_and_the_rest_comes_first_and_in_order():
    messages = follower()
    for number in range(3):
        messages.deliver(BTC, b'{"type":"ticker","price":%d}' % number)
        messages.deliver(ALERTS, b'{"type":"alert","id":%d}' % number)
        messages.deliver(ETH, b'{"type":"ticker","price":%d}' % (10 + number))
    assert await read(messages, 5) == [
        (ALERTS, {"type": "alert", "id": 0}),
        (ALERTS, {"type": "alert", "id": 1}),
        (ALERTS, {"type": "alert", "id": 2}),
        (BTC, {"type": "ticker", "price": 2}),
        (ETH, {"type": "ticker", "price": 12}),
    ]
    assert await nothing_more(messages)


async def test_a_reader_that_does_not_keep_up_loses_the_oldest_and_is_told_once():
    messages = follower(most=2)
    for number in range(50):
        messages.deliver(ALERTS, b'{"id":%d}' % number)
    first, *rest = await read(messages, 3)
    assert (first[0], first[1]["type"], first[1]["reason"]) == ("", "missed", "this reader does not keep up")
    assert rest == [(ALERTS, {"id": 48}), (ALERTS, {"id": 49})]
    assert await nothing_more(messages)


async def test_prices_of_very_many_symbols_are_bounded_too():
    messages = follower(most=3)
    for number in range(500):
        messages.deliver(keys.channel_ticker("coinbase", f"S{number}"), b"{}")
    assert [channel.rpartition(":")[2] for channel, _ in await read(messages, 4)] == ["", "S497", "S498", "S499"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b"\xff"])
async def test_what_is_no_json_object_is_left_out(data: bytes, caplog: pytest.LogCaptureFixture):
    messages = follower()
    messages.deliver(ALERTS, data)
    messages.deliver(ALERTS, b'{"id":1}')
    assert await read(messages, 1) == [(ALERTS, {"id": 1})]
    assert "no JSON object" in caplog.text


def test_patterns_within_one_another_are_refused():
    with pytest.raises(ValueError, match="would come twice"):
        Follower([keys.pattern_exchange("coinbase"), PRICES], 10)


# The relay


@pytest.fixture
async def _relay(redis_url: str) -> AsyncIterator[None]:
    yield
    await bus.relay().close()


async def publish(channel: str, **message: Any) -> int:
    client = bus.connect()
    heard = await client.publish(channel, json.dumps(message))
    await client.aclose()
    return int(heard)


@pytest.mark.usefixtures("_relay")
async def test_what_is_published_after_the_start_is_heard_and_nothing_after_the_end():
    async with bus.following([PRICES, ALERTS]) as messages:
        assert await publish(BTC, type="ticker", price=1.5) == 1
        assert await publish(keys.channel_ticker("binance", "BTCUSDT"), type="ticker") == 0
        await publish(ALERTS, type="alert", id=4)
        heard = await read(messages, 2)
    assert sorted(heard) == [(ALERTS, {"type": "alert", "id": 4}), (BTC, {"type": "ticker", "price": 1.5})]
    async with asyncio.timeout(10):
        while await publish(BTC):  # noqa: ASYNC110  (Redis says when it has forgotten us)
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("_relay")
async def test_two_followers_of_one_process_share_a_subscription_and_end_one_by_one():
    async with bus.following([PRICES]) as first:
        async with bus.following([PRICES, ALERTS]) as second:
            assert await publish(BTC, n=1) == 1
            assert await read(first, 1) == await read(second, 1)
        assert await publish(BTC, n=2) == 1
        assert await read(first, 1) == [(BTC, {"n": 2})]


@pytest.mark.usefixtures("_relay")
async def test_many_that_begin_at_once_each_hear_their_own():
    """None is forgotten while the connection is made, and whoever has begun has been confirmed."""

    async def follow(number: int) -> list[tuple[str, dict[str, Any]]]:
        channel = keys.channel_ticker("coinbase", f"S{number}")
        await asyncio.sleep(number % 5 / 500)
        async with bus.following([channel]) as messages:
            assert await publish(channel, n=number) == 1
            return await read(messages, 1)

    found = await asyncio.gather(*(follow(number) for number in range(30)))
    assert [message["n"] for ((_, message),) in found] == list(range(30))


@pytest.mark.usefixtures("_relay")
async def test_redis_is_killed_and_comes_back_and_the_follower_says_that_it_missed_something(valkey: Any):
    async with bus.following([PRICES, ALERTS]) as messages:
        for number in range(2):
            await publish(ALERTS, id=number)
            assert await read(messages, 1) == [(ALERTS, {"id": number})]
            valkey.kill()
            await asyncio.sleep(0.3)
            valkey.start()
            ((channel, missed),) = await read(messages, 1)
            assert (channel, missed["type"], missed["reason"]) == ("", "missed", "Redis was away")
            assert missed["at"] > 1_700_000_000_000
            assert await publish(BTC, type="ticker", n=number) == 1, "it listens again by then"
            assert await read(messages, 1) == [(BTC, {"type": "ticker", "n": number})]


@pytest.mark.usefixtures("_relay")
async def test_redis_need_not_be_there_at_the_start(valkey: Any):
    valkey.kill()
    async with bus.following([ALERTS]) as messages:
        valkey.start()
        ((_, missed),) = await read(messages, 1)
        assert missed["type"] == "missed"
        await publish(ALERTS, id=1)
        assert await read(messages, 1) == [(ALERTS, {"id": 1})]


@pytest.mark.usefixtures("_relay")
async def test_one_listener_that_stumbles_does_not_silence_the_others(caplog: pytest.LogCaptureFixture):
    class Broken:
        def deliver(self, channel: str, data: bytes) -> None:
            raise RuntimeError("broken")

        def link_changed(self, up: bool) -> None:
            pass

    await bus.relay().subscribe(Broken(), [PRICES])
    async with bus.following([PRICES]) as messages:
        await publish(BTC, n=1)
        assert await read(messages, 1) == [(BTC, {"n": 1})]
    assert "a listener stumbled" in caplog.text
