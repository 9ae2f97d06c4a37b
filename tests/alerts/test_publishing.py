"""Committed alerts on their way out: into the stream once each, and onto the channels, whatever becomes of Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from redis.asyncio import Redis

from alerts import publishing, services
from alerts.models import Alert, ExchangeSequence
from alerts.publishing import Publisher
from alerts.services import Naming, alert_payload
from exchanges.models import UserExchange
from livermore import bus, keys
from livermore.bus import FAILURES
from livermore.db import db
from symbols.models import Position, Symbol, UserSymbol
from symbols.tiers import Place
from tests.alerts.drafts import begin, commit, draft
from tests.conftest import Valkey
from tests.people import person

pytestmark = pytest.mark.django_db(transaction=True)
EXCHANGE = "coinbase"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    await db(begin)(EXCHANGE, "binance")
    client = bus.connect()
    yield client
    await client.aclose()


async def publisher(redis: Redis) -> Publisher:
    """A publisher as a connector that starts now has it."""
    row = await db(ExchangeSequence.objects.get)(pk=EXCHANGE)
    one = Publisher(redis, EXCHANGE, row.epoch)
    await one.recover()
    return one


async def stored(first: int, count: int = 1, exchange_id: str = EXCHANGE) -> list[Alert]:
    """New alerts in the database, on the candles from ``first`` on."""
    return await db(lambda: commit(*[draft(first + at) for at in range(count)], exchange_id=exchange_id))()


async def everything() -> list[Alert]:
    return await db(lambda: list(Alert.objects.filter(exchange_id=EXCHANGE).order_by("number")))()


async def stream(redis: Redis) -> list[tuple[str, dict[str, Any]]]:
    return [(name.decode(), json.loads(fields[b"alert"])) for name, fields in await redis.xrange(keys.alert_stream(EXCHANGE))]


async def epoch(redis: Redis) -> str:
    return (await redis.get(keys.alert_epoch(EXCHANGE)) or b"").decode()


async def test_a_stream_that_was_lost_without_its_epoch_is_rebuilt(redis: Redis) -> None:
    """In a cluster they may stand on two nodes, of which one comes back empty."""
    one = await publisher(redis)
    one.add(await stored(0, 2))
    await one.flush()
    await redis.delete(keys.alert_stream(EXCHANGE), keys.alert_stream_epoch(EXCHANGE))
    one.add(await stored(2))
    await one.flush()
    assert await complete(redis)
    assert len(await stream(redis)) == 3


async def complete(redis: Redis) -> bool:
    """Whether the stream says what the database says."""
    now = await epoch(redis)
    row = await db(ExchangeSequence.objects.get)(pk=EXCHANGE)
    alerts = await everything()
    assert all(alert.published_at for alert in alerts)
    return row.epoch == now and await stream(redis) == [(f"{alert.number}-0", alert_payload(alert, now)) for alert in alerts]


async def test_what_is_committed_is_in_the_stream_and_marked_as_published(redis: Redis) -> None:
    one = await publisher(redis)
    before = services.now_ms()
    one.add(await stored(0, 2))
    await one.flush()
    one.add(await stored(2))
    await one.flush()

    assert await complete(redis)
    assert all(before <= (alert.published_at or 0) <= services.now_ms() for alert in await everything())


async def test_a_commit_tells_nobody_before_it_stands(redis: Redis) -> None:
    """Only what is stored for good is published, by the publisher: a commit itself says nothing, in it or after it."""
    messages = redis.pubsub()
    await messages.psubscribe("*")
    await messages.get_message(timeout=5.0)

    await stored(0, 3)
    await redis.publish("channel:done", "")

    message = None
    while message is None:
        message = await messages.get_message(ignore_subscribe_messages=True, timeout=5.0)
    assert message["channel"] == b"channel:done"
    await messages.aclose()


async def test_both_channels_hear_of_it_in_order(redis: Redis) -> None:
    messages = redis.pubsub()
    await messages.psubscribe("channel:*")
    await messages.get_message(timeout=2)
    one = await publisher(redis)
    one.add(await stored(0, 2))
    await one.flush()

    heard = [await messages.get_message(ignore_subscribe_messages=True, timeout=2) for _ in range(4)]
    payloads = [alert_payload(alert, one.epoch) for alert in await everything()]
    names = ["channel:exchange:coinbase:alerts:BTC-USD", "channel:alerts:coinbase"]
    assert [(message["channel"].decode(), json.loads(message["data"])) for message in heard] == [
        (name, payload) for payload in payloads for name in names
    ]
    assert await messages.get_message(timeout=0.05) is None
    await messages.aclose()


# Tier 2


def users(count: int) -> list[User]:
    return [person(f"user {number}") for number in range(count)]


def wanted(added: User, held: User) -> None:
    """One user added BTC-USD, another holds it."""
    btc = Symbol.objects.create(exchange_id=EXCHANGE, symbol="BTC-USD", base="BTC", quote="USD", tier=2)
    UserSymbol.objects.create(user=added, symbol=btc)
    Position.objects.create(user=held, exchange_id=EXCHANGE, asset="BTC", quantity=1.0, symbol=btc, value=60_000.0)


async def stored_for(*owners: User, shared: bool, at: int = 0) -> list[Alert]:
    """A new alert of a symbol of Tier 2."""
    place = Place(owners[0].pk, frozenset(user.pk for user in owners), shared)
    return await db(lambda: commit(draft(at), exchange_id=EXCHANGE, naming={"BTC-USD": Naming("BTC", "USD", place)}))()


async def heard(redis: Redis) -> list[tuple[str, dict[str, Any]]]:
    """(channel, message) of what is said when all that is stored is published."""
    messages = redis.pubsub()
    await messages.psubscribe("channel:*")
    await messages.get_message(timeout=2)
    await (await publisher(redis)).flush()
    found = []
    while message := await messages.get_message(ignore_subscribe_messages=True, timeout=0.05 if found else 2):
        found.append((message["channel"].decode(), json.loads(message["data"])))
    await messages.aclose()
    return found


async def withheld(redis: Redis, number: int) -> dict[str, Any]:
    return {"type": "withheld", "id": number, "epoch": await epoch(redis), "source_exchange_id": EXCHANGE}


async def test_a_shared_alert_of_tier_two_goes_to_who_wants_it_first_and_then_to_everybody(redis: Redis) -> None:
    mike, kaia, _ = await db(users)(3)
    await db(wanted)(mike, kaia)
    await stored_for(mike, kaia, shared=True)
    said = await heard(redis)

    payload = alert_payload((await everything())[0], await epoch(redis))
    assert (payload["overflow"], payload["shared"]) == (True, True)
    names = [
        f"channel:user:{mike.pk}:alerts",
        f"channel:user:{kaia.pk}:alerts",
        "channel:exchange:coinbase:alerts:BTC-USD",
        "channel:alerts:coinbase",
    ]
    assert said == [(name, payload) for name in names]
    assert await stream(redis) == [("1-0", payload)]
    assert await db(Alert.owners.through.objects.count)() == 0, "everybody may see it"


async def test_who_does_not_watch_the_exchange_hears_nothing_of_a_shared_one(redis: Redis) -> None:
    mike, kaia = await db(users)(2)
    await db(wanted)(mike, kaia)
    await db(UserExchange.objects.create)(user=mike, exchange_id=EXCHANGE, watch=False)
    await db(UserExchange.objects.create)(user=kaia, exchange_id="binance", watch=False)
    await stored_for(kaia, shared=True)

    assert [name for name, _ in await heard(redis) if "user" in name] == [f"channel:user:{kaia.pk}:alerts"]


async def test_an_alert_that_nobody_shares_goes_to_its_owners_and_its_number_to_everybody(redis: Redis) -> None:
    mike, kaia, eve = await db(users)(3)
    await db(wanted)(eve, eve)  # wants it since then
    await stored_for(mike, kaia, shared=False)
    said = await heard(redis)

    payload = alert_payload((await everything())[0], await epoch(redis))
    assert (payload["overflow"], payload["shared"]) == (True, False)
    instead = await withheld(redis, 1)
    assert said == [
        (f"channel:user:{mike.pk}:alerts", payload),
        (f"channel:user:{kaia.pk}:alerts", payload),
        ("channel:alerts:coinbase", instead),
    ]
    assert await stream(redis) == [("1-0", instead)]


async def test_the_stream_has_no_gap_where_one_is_withheld(redis: Redis) -> None:
    (mike,) = await db(users)(1)
    one = await publisher(redis)
    one.add([*await stored(0), *await stored_for(mike, shared=False, at=1), *await stored(2)])
    await one.flush()

    now = await epoch(redis)
    first, _, third = await everything()
    assert await stream(redis) == [
        ("1-0", alert_payload(first, now)),
        ("2-0", await withheld(redis, 2)),
        ("3-0", alert_payload(third, now)),
    ]
    await redis.flushall()
    await one.ensure_stream()
    assert [(name, value["type"]) for name, value in await stream(redis)] == [("1-0", "alert"), ("2-0", "withheld"), ("3-0", "alert")]


async def test_an_alert_of_tier_one_goes_to_nobody_in_particular(redis: Redis) -> None:
    mike, kaia = await db(users)(2)
    await db(wanted)(mike, kaia)
    await stored(0, 3)

    assert {name for name, _ in await heard(redis)} == {"channel:exchange:coinbase:alerts:BTC-USD", "channel:alerts:coinbase"}


# Restarts


async def test_a_start_takes_up_what_was_committed_but_not_published(redis: Redis) -> None:
    await stored(0, 2)
    await stored(0, exchange_id="binance")

    one = await publisher(redis)
    await one.flush()
    assert await complete(redis)
    assert await (await publisher(redis)).recover() == 0
    assert await db(Alert.objects.filter(exchange_id="binance", published_at=None).count)() == 1


async def test_an_alert_that_is_in_the_stream_already_is_not_there_twice(redis: Redis) -> None:
    """A connector died between putting it there and marking it."""
    first = await publisher(redis)
    first.add(await stored(0, 3))
    await first.flush()
    await db(Alert.objects.filter(number__gte=2).update)(published_at=None)

    await (await publisher(redis)).flush()
    assert [name for name, _ in await stream(redis)] == ["1-0", "2-0", "3-0"]
    assert all(alert.published_at for alert in await everything())


async def test_without_anything_to_publish_it_asks_nothing_of_redis(redis: Redis) -> None:
    await (await publisher(redis)).flush()

    assert await redis.keys("*") == []


async def test_a_redis_that_is_away_keeps_it_waiting_and_gets_it_in_order_afterwards(valkey: Valkey, redis: Redis) -> None:
    one = await publisher(redis)
    one.add(await stored(0, 2))
    await one.flush()
    before = one.epoch
    valkey.kill()
    one.add(await stored(2, 2))
    with pytest.raises(FAILURES):
        await one.flush()
    one.add(await stored(4))
    with pytest.raises(FAILURES):
        await one.flush()
    assert [alert.number for alert in await everything() if alert.published_at is None] == [3, 4, 5]

    valkey.start()
    await one.flush()
    assert await complete(redis)
    assert one.epoch != before, "whoever comes back with the old epoch learns that it is another stream"


@pytest.mark.parametrize("lost", ["stream and epoch", "epoch", "somebody else's epoch"])
async def test_a_stream_that_is_not_ours_is_built_anew_from_the_database(redis: Redis, lost: str) -> None:
    one = await publisher(redis)
    one.add(await stored(0, 250))
    await one.flush()
    before = one.epoch
    if lost == "stream and epoch":
        await redis.flushall()
    elif lost == "epoch":
        await redis.delete(keys.alert_epoch(EXCHANGE))
    else:
        await redis.set(keys.alert_epoch(EXCHANGE), "f" * 32)

    one.add(await stored(250))
    await one.flush()
    assert await complete(redis)
    assert one.epoch not in {before, "f" * 32}
    assert len(await stream(redis)) == 251


async def test_the_same_stream_is_kept_over_a_restart(redis: Redis) -> None:
    first = await publisher(redis)
    first.add(await stored(0, 2))
    await first.flush()

    second = await publisher(redis)
    second.add(await stored(2))
    await second.flush()
    assert (second.epoch, await epoch(redis)) == (first.epoch, first.epoch)
    assert await complete(redis)


async def test_a_stream_that_is_wanted_from_two_sides_at_once_is_whole(redis: Redis) -> None:
    """A Redis without its memory is noticed by the heartbeat and by the next commit, maybe in the same moment."""
    one = await publisher(redis)
    one.add(await stored(0, 350))
    await one.flush()
    for round_ in range(4):
        await redis.flushall()
        one.add(await stored(350 + round_))
        await asyncio.gather(one.ensure_stream(), one.flush(), one.ensure_stream())

        assert await complete(redis)


# Several shards


async def divided(redis: Redis) -> Publisher:
    row = await db(ExchangeSequence.objects.get)(pk=EXCHANGE)
    return Publisher(redis, EXCHANGE, row.epoch, divided=True)


async def announced(redis: Redis, work: Any) -> list[int]:
    """The numbers that go over the channel of all alerts while something is done."""
    listening = bus.connect().pubsub()
    await listening.subscribe(keys.channel_alerts(EXCHANGE))
    await listening.get_message(timeout=2)
    await work
    found = []
    while (message := await listening.get_message(ignore_subscribe_messages=True, timeout=0.2)) is not None:
        found.append(json.loads(message["data"])["id"])
    await listening.aclose()
    return found


async def test_a_shard_publishes_in_order_what_another_has_committed_and_each_is_announced_once(redis: Redis) -> None:
    one, two = await divided(redis), await divided(redis)
    one.add(await stored(0))
    two.add(await stored(1))

    assert await announced(redis, two.flush()) == [1, 2]
    assert await announced(redis, one.flush()) == []
    one.add(await stored(2))
    assert await announced(redis, one.flush()) == [3]
    assert [(name, alert["uid"]) for name, alert in await stream(redis)] == [(f"{one.number}-0", one.uid) for one in await everything()]
    assert all(alert.published_at for alert in await everything())


async def test_many_shards_at_once_leave_no_hole_and_no_second(redis: Redis) -> None:
    shards = [await divided(redis) for _ in range(4)]
    await shards[0].ensure_stream()

    async def work(number: int) -> None:
        for at in range(5):
            shards[number].add(await stored(number * 5 + at))
            await shards[number].flush()

    assert await announced(redis, asyncio.gather(*(work(number) for number in range(4)))) == list(range(1, 21)), "in order, and each once"
    assert [name for name, _ in await stream(redis)] == [f"{number}-0" for number in range(1, 21)]
    assert all(alert.published_at for alert in await everything())


async def test_what_a_shard_left_behind_is_taken_up_and_announced(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, other = await divided(redis), await divided(redis)
    await dead.ensure_stream()
    await redis.set(keys.alert_turn(EXCHANGE), "the dead one's", px=1_000)  # killed in its turn
    left = await stored(0, 2)
    await dead._append(left[:1])  # killed before it was announced; the other was not even appended

    assert await announced(redis, other.take_up()) == [], "it may still be at it"
    monkeypatch.setattr(publishing, "ABANDONED", 0)
    await asyncio.sleep(0.01)
    assert await announced(redis, other.take_up()) == [1, 2]
    assert [name for name, _ in await stream(redis)] == ["1-0", "2-0"]
    assert all(alert.published_at for alert in await everything())


async def test_of_several_shards_one_rebuilds_the_stream(redis: Redis) -> None:
    shards = [await divided(redis) for _ in range(3)]
    shards[0].add(await stored(0, 3))
    await shards[0].flush()
    await redis.flushall()
    await asyncio.gather(*(shard.ensure_stream() for shard in shards))

    assert await complete(redis)
    assert {shard.epoch for shard in shards} == {await epoch(redis)}
    row = await db(ExchangeSequence.objects.get)(pk=EXCHANGE)
    assert len(row.past_epochs) == 2, "the first stream, and this one"
