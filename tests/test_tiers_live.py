"""Symbols between the tiers, over a whole connector: nothing lost, nothing twice, nothing fetched again."""

import json
import sys
from contextlib import aclosing
from typing import Any

import pytest
from channels.db import database_sync_to_async as db
from django.contrib.auth.models import User
from redis.asyncio.client import PubSub

from alerts.models import Alert, ExchangeSequence
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, UserExchange
from exchanges.sandbox.venues import BINANCE
from livermore import bus, keys
from market_data.models import Checkpoint
from symbols.models import PoolChange, Symbol, UserSymbol
from tests.people import person
from tests.simulated import BINANCE_ID, STEP, World, simulated

pytestmark = pytest.mark.django_db(transaction=True)

TOP = 4
BORDER = 5
"""The rank that a Tier 1 of five takes in and one of four does not."""


async def holder(world: World, symbol: str, name: str = "mike", *, share: bool = True) -> User:
    """Somebody who added a symbol before anything runs."""
    user = await db(person)(name, group="trader")
    row, _ = await db(Symbol.objects.update_or_create)(
        exchange_id=BINANCE_ID, symbol=symbol, defaults={"base": symbol[:-4], "quote": "USDT"}
    )
    await db(UserSymbol.objects.create)(user=user, symbol=row)
    await db(UserExchange.objects.create)(user=user, exchange_id=BINANCE_ID, share_overflow=share)
    return user


async def of_rank(rank: int) -> str:
    """The symbol of that rank, as the simulated exchange lists it."""
    async with simulated([BINANCE], top_n=BORDER) as world:
        await world.start(BINANCE_ID)
        symbol = str(await db(Symbol.objects.values_list("symbol", flat=True).get)(exchange_id=BINANCE_ID, rank=rank))
    await afresh()
    return symbol


async def afresh() -> None:
    """As before anything ran."""
    for model in (Alert, ExchangeSequence, Checkpoint, PoolChange, Symbol, User):
        await db(model.objects.all().delete)()
    async with aclosing(bus.connect()) as redis:
        await redis.flushall()


async def lived(symbol: str, *, moves: int) -> tuple[dict[str, list[list[float]]], list[tuple[str, str, int]], int]:
    """The candles, alerts and REST requests of a symbol that crosses the border so often, a candle each time, held throughout."""
    async with simulated([BINANCE], top_n=TOP) as world:
        user = await holder(world, symbol)
        await world.start(BINANCE_ID)
        connector = world.connectors[BINANCE_ID]
        asked = world.sandbox.counters[BINANCE_ID]["rest_requests"]
        for turn in range(20):
            if turn < moves:
                await db(Exchange.objects.filter(pk=BINANCE_ID).update)(top_n=BORDER if turn % 2 == 0 else TOP)
                await connector.reload()
            await world.advance()
        assert world.sandbox.counters[BINANCE_ID]["connects"] == 1
        asked = world.sandbox.counters[BINANCE_ID]["rest_requests"] - asked
        candles = {timeframe: rows for (name, timeframe), rows in (await world.candles(BINANCE_ID)).items() if name == symbol}
        alerts = [(alert.uid, alert.trigger_label, alert.candle_time) for alert in await world.alerts(BINANCE_ID) if alert.symbol == symbol]
        numbers = [alert.number for alert in await world.alerts(BINANCE_ID)]
        assert numbers == list(range(1, len(numbers) + 1))
        changes = await db(lambda: list(PoolChange.objects.filter(symbol=symbol).order_by("pk").values_list("before", "after")))()
        assert changes == [(None, 2), *([(2, 1), (1, 2)] * (moves // 2))]
        stray = [
            name for name in await world.redis.keys(f"*candles:*{symbol}:*") if not name.startswith(f"usercandles:{user.pk}:".encode())
        ]
        assert stray == [], "it stands in one place only"
        return candles, alerts, asked


async def test_a_symbol_that_crosses_the_border_twenty_times_loses_nothing_and_doubles_nothing(redis_url: str) -> None:
    symbol = await of_rank(BORDER)
    stayed = await lived(symbol, moves=0)
    await afresh()
    moved = await lived(symbol, moves=20)
    assert moved[0] == stayed[0]
    assert moved[1] == [(uid, label, at) for uid, label, at in stayed[1]]
    assert len(stayed[1]) > 3, "a run in which hardly anything fires proves nothing"
    # A busy machine may read a close back in either run; each crossing that fetched would ask five times.
    assert moved[2] < stayed[2] + 20, "nothing was fetched again"


async def test_an_overflow_alert_goes_to_its_owner_and_to_everybody_who_watches_the_exchange(redis_url: str) -> None:
    symbol = await of_rank(BORDER)
    async with simulated([BINANCE], top_n=TOP) as world:
        user = await holder(world, symbol)
        pubsub = world.redis.pubsub()
        await pubsub.psubscribe("channel:*alerts*")
        await world.start(BINANCE_ID)
        for _ in range(12):
            await world.advance()
        heard = await messages(pubsub)
        raised = [alert for alert in await world.alerts(BINANCE_ID) if alert.symbol == symbol]
        assert raised
        assert all(alert.overflow and alert.shared for alert in raised)
        for name in (keys.channel_user_alerts(user.pk), keys.channel_alerts(BINANCE_ID), keys.channel_symbol_alerts(BINANCE_ID, symbol)):
            assert [one["uid"] for one in heard[name] if one.get("symbol") == symbol] == [alert.uid for alert in raised], name
        assert user.username not in json.dumps(heard)


async def test_an_alert_that_is_not_shared_leaves_only_its_number_to_others(redis_url: str) -> None:
    symbol = await of_rank(BORDER)
    async with simulated([BINANCE], top_n=TOP) as world:
        user = await holder(world, symbol, share=False)
        pubsub = world.redis.pubsub()
        await pubsub.psubscribe("channel:*alerts*")
        await world.start(BINANCE_ID)
        for _ in range(12):
            await world.advance()
        heard = await messages(pubsub)
        every = await world.alerts(BINANCE_ID)
        raised = [alert for alert in every if alert.symbol == symbol]
        assert raised
        assert not any(alert.shared for alert in raised)
        assert [one["uid"] for one in heard[keys.channel_user_alerts(user.pk)]] == [alert.uid for alert in raised]
        assert heard.get(keys.channel_symbol_alerts(BINANCE_ID, symbol), []) == []
        public = heard[keys.channel_alerts(BINANCE_ID)]
        assert [one["id"] for one in public] == [alert.number for alert in every], "nobody misses a number"
        withheld = [one for one in public if one["type"] == "withheld"]
        assert [set(one) for one in withheld] == [{"type", "id", "epoch", "source_exchange_id"}] * len(raised)
        stream = [alert for _, alert in await world.stream(BINANCE_ID)]
        assert symbol not in json.dumps(stream), "nor does the stream tell"
        assert [one["id"] for one in stream] == [alert.number for alert in every]


async def messages(pubsub: PubSub) -> dict[str, list[dict[str, Any]]]:
    """What was said, by channel, up to the end of the subscription."""
    found: dict[str, list[dict[str, Any]]] = {}
    await pubsub.ping("the end")
    while (message := await pubsub.get_message(timeout=10))["type"] != "pong":
        if message["type"] == "pmessage":
            found.setdefault(message["channel"].decode(), []).append(json.loads(message["data"]))
    return found


async def test_what_nobody_wants_any_more_vanishes_and_what_somebody_still_does_moves_to_that_user(redis_url: str) -> None:
    symbol = await of_rank(BORDER)
    async with simulated([BINANCE], top_n=TOP) as world:
        mike, kaia = await holder(world, symbol), await holder(world, symbol, "kaia")
        await world.start(BINANCE_ID)
        connector = world.connectors[BINANCE_ID]
        assert (await world.keepers(BINANCE_ID))[symbol] == mike.pk
        before = (await world.candles(BINANCE_ID))[symbol, "5m"]

        await db(UserSymbol.objects.filter(user=mike).delete)()
        assert await connector.reload() == f"{TOP + 1} symbols, 0 new, 0 gone"
        await world.advance()
        assert (await world.keepers(BINANCE_ID))[symbol] == kaia.pk
        assert (await world.candles(BINANCE_ID))[symbol, "5m"][: len(before)] == before
        assert await world.redis.keys(f"user*:{mike.pk}:*") == []
        assert await world.redis.ttl(keys.user_candles(kaia.pk, BINANCE_ID, symbol, "1d")) > 80_000

        await db(UserSymbol.objects.filter(user=kaia).delete)()
        assert await connector.reload() == f"{TOP} symbols, 0 new, 1 gone"
        await world.advance()
        assert await world.redis.keys("user*") == []
        last = await db(PoolChange.objects.filter(symbol=symbol).first)()
        assert (last.before, last.after, last.reason) == (2, None, "nobody wants it any more")


USERS, EACH = 200, 20


async def test_two_hundred_users_cost_what_their_distinct_symbols_cost(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of each user's symbols are those of others too. Prints the figures."""
    few, many = await cost(2), await cost(USERS)
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {name}: {one}" for name, one in (("2 users", few), (f"{USERS} users", many))))
    assert many["subscriptions"] == 2 * (many["distinct"] + TOP), "candles and prices of each"
    assert many["wants"] == USERS * EACH
    assert many["overflow keys"] == 3 * len(TIMEFRAMES) * many["distinct"], "candles, indicator and readings"
    assert many["checkpoints"] <= 5 * (many["distinct"] + TOP)
    assert many["alerts"] <= 40 * (many["distinct"] + TOP)
    assert many["owner rows"] == 0
    each = (many["redis bytes"] - few["redis bytes"]) / (many["distinct"] - few["distinct"])
    assert each < 1.3 * few["redis bytes"] / few["distinct"], "a further symbol costs what the first ones do"


async def cost(users: int) -> dict[str, int]:
    await afresh()
    async with simulated([BINANCE], top_n=TOP, coins=110) as world:
        await world.start(BINANCE_ID)
        distinct = await db(want_symbols)(users)
        await world.connectors[BINANCE_ID].reload()
        await world.settled(patience=120)
        await world.advance(2 * STEP)
        connector = world.connectors[BINANCE_ID]
        size = sum([await world.redis.memory_usage(name) or 0 for name in await world.redis.keys("user*")])
        return {
            "distinct": distinct,
            "wants": await db(UserSymbol.objects.count)(),
            "subscriptions": len(connector._engine.wanted),
            "overflow keys": len(await world.redis.keys("user*")),
            "redis bytes": size,
            "checkpoints": await db(Checkpoint.objects.count)(),
            "alerts": await db(Alert.objects.count)(),
            "owner rows": await db(Alert.owners.through.objects.count)(),
        }


def want_symbols(users: int) -> int:
    """Each user wants EACH symbols of those outside Tier 1, half of them from a pool that all share."""
    rows = list(Symbol.objects.filter(exchange_id=BINANCE_ID, tier=None, tradable=True, quote="USDT").order_by("rank"))
    common, others = rows[: EACH // 2], rows[EACH // 2 :]
    people = User.objects.bulk_create([User(username=f"user-{number}") for number in range(users)])
    added = []
    for number, user in enumerate(people):
        own = [others[(number * EACH // 2 + at) % len(others)] for at in range(EACH // 2)]
        added += [UserSymbol(user=user, symbol=row) for row in {row.pk: row for row in common + own}.values()]
    UserSymbol.objects.bulk_create(added)
    return len({one.symbol_id for one in added})
