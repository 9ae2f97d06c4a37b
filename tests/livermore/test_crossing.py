"""One process that compares the exchanges: identity, leads, moves, and that it never gets in the feeds' way."""

import asyncio
import json
from typing import Any

import pytest
from django.test import override_settings

from alerts.crossexchange import Identity
from exchanges.models import Exchange
from livermore import bus, keys
from livermore.crossing import Crossing, Pair, message_of
from livermore.db import db
from symbols.models import Coin, Symbol
from tests import seeds
from tests.simulated import until

pytestmark = pytest.mark.django_db(transaction=True)

AT = 1_772_402_400_000
COINS = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE")


def two_exchanges() -> None:
    """The same coins on two exchanges."""
    seeds.restore()
    for exchange_id, spelled in (("coinbase", "{}-USD"), ("binance", "{}USDT")):
        for rank, code in enumerate(COINS, 1):
            coin, _ = Coin.objects.get_or_create(code=code, simulated=False)
            symbol = spelled.format(code)
            quote = symbol.removeprefix(code).strip("-")
            Symbol.objects.create(exchange_id=exchange_id, symbol=symbol, base=code, quote=quote, coin=coin, rank=rank, tier=1)


def tick(crossing: Crossing, code: str, at: int, *, coinbase: float | None = None, binance: float | None = None) -> None:
    for exchange_id, symbol, price in (("coinbase", f"{code}-USD", coinbase), ("binance", f"{code}USDT", binance)):
        if price is not None:
            crossing.take({"exchange_id": exchange_id, "symbol": symbol, "price": price, "t": at, "received": at})


@pytest.fixture
async def crossing(redis_url: str) -> Any:
    await db(two_exchanges)()
    redis = bus.connect()
    one = Crossing(redis)
    await one.look()
    yield one
    await redis.aclose()


BOTH = ("binance", "coinbase")


async def test_every_coin_on_both_exchanges_is_a_pair(crossing: Crossing) -> None:
    assert {(pair.first, pair.second) for pair in crossing.known} == {BOTH}
    assert len(crossing.known) == len(COINS)


async def test_two_coins_of_one_ticker_yield_no_lead_and_no_move(crossing: Crossing) -> None:
    """A seeded pair far apart: different after five minutes, and nothing is derived from it before or after."""
    moves = []
    for second in range(1_800):
        at = AT + second * 1_000
        price = 100.0 * (1.05 if second > 1_200 else 1.0)  # a move that would make a card
        tick(crossing, "BTC", at, coinbase=price, binance=3.0)
        moves += crossing.judge(at, BOTH)
    btc = next(pair for pair in crossing.known if crossing._codes[pair.coin_id] == "BTC")
    assert crossing.known[btc].guard.identity is Identity.DIFFERENT
    assert moves == []
    await crossing.write()
    told = await crossing._redis.hgetall(keys.crossing_pairs())
    identities = {name.decode(): json.loads(value)["identity"] for name, value in told.items()}
    assert identities[f"{btc.coin_id}|binance|coinbase"] == "different"


def quiet(crossing: Crossing, second: int, code: str, base: float) -> None:
    """A price that swings by a few basis points, the same on both."""
    price = base * (1 + (second % 7 - 3) * 0.00005)
    tick(crossing, code, AT + second * 1_000, coinbase=price, binance=price)


async def test_a_move_that_the_other_one_has_not_followed_is_told_once(crossing: Crossing) -> None:
    moves = []
    for second in range(1_200):
        quiet(crossing, second, "BTC", 100.0)
        moves += crossing.judge(AT + second * 1_000, BOTH)
    for second in range(1_200, 1_230):
        tick(crossing, "BTC", AT + second * 1_000, coinbase=101.0, binance=100.0)
        moves += crossing.judge(AT + second * 1_000, BOTH)
    assert [(here, there, move.coins, move.direction, move.grouped) for here, there, move in moves] == [
        ("coinbase", "binance", ("BTC",), "up", False)
    ]
    message = message_of(*moves[0], crossing.symbols_of("coinbase", "binance"))
    assert (message["coins"], message["symbols"], message["other_symbols"]) == (["BTC"], ["BTC-USD"], ["BTCUSDT"])
    assert message["move_bps"] == pytest.approx(100, abs=3)
    assert abs(message["other_bps"]) < 5


async def test_a_market_that_moves_is_one_card(crossing: Crossing) -> None:
    moves = []
    for second in range(1_200):
        for code in COINS:
            quiet(crossing, second, code, 100.0)
        moves += crossing.judge(AT + second * 1_000, BOTH)
    for second in range(1_200, 1_230):
        for code in COINS:
            tick(crossing, code, AT + second * 1_000, coinbase=101.0, binance=100.0)
        moves += crossing.judge(AT + second * 1_000, BOTH)
    assert [(len(move.coins), move.grouped) for _, _, move in moves] == [(6, True)]


async def test_no_move_is_told_while_a_feed_is_not_live(crossing: Crossing) -> None:
    for second in range(1_200):
        quiet(crossing, second, "BTC", 100.0)
        crossing.judge(AT + second * 1_000, BOTH)
    moves = []
    for second in range(1_200, 1_230):
        tick(crossing, "BTC", AT + second * 1_000, coinbase=101.0, binance=100.0)
        moves += crossing.judge(AT + second * 1_000, ["coinbase"])
    assert moves == []


async def test_a_coin_that_leaves_one_exchange_is_compared_no_more(crossing: Crossing) -> None:
    await db(Symbol.objects.filter(symbol="BTCUSDT").update)(tier=None)
    await crossing.look()
    assert len(crossing.known) == len(COINS) - 1


async def test_the_simulated_coin_is_not_compared_with_the_real_one(crossing: Crossing) -> None:
    def simulated() -> None:
        coin = Coin.objects.create(code="BTC", simulated=True)
        Symbol.objects.create(exchange_id="coinbase-sandbox", symbol="BTC-USD", base="BTC", quote="USD", coin=coin, tier=1)

    await db(simulated)()
    await crossing.look()
    assert {(pair.first, pair.second) for pair in crossing.known} == {BOTH}


@override_settings(MOVE_FACTOR=4.0)
async def test_over_redis_one_process_compares_and_the_other_waits(crossing: Crossing) -> None:
    redis = bus.connect()
    other = Crossing(redis)
    running = [asyncio.create_task(one.run()) for one in (crossing, other)]
    try:
        await until(lambda: redis.exists(keys.crossing_lease()), "a lease")
        await until(lambda: redis.pubsub_numpat(), "its subscription")
        assert await redis.pubsub_numpat() == 1
        message = {"type": "ticker", "exchange_id": "coinbase", "symbol": "BTC-USD", "t": AT, "price": 64_000.0, "received": AT}
        await redis.publish(keys.channel_ticker("coinbase", "BTC-USD"), bus.encode(message))
        heard = await until(lambda: crossing.prices or other.prices, "the price")
        assert {market: price.value for market, price in heard.items()} == {("coinbase", "BTC-USD"): 64_000.0}
        assert bool(crossing.prices) != bool(other.prices)
        await until(lambda: redis.exists(keys.crossing_pairs()), "the pairs for everybody")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await redis.aclose()


async def test_it_outlives_a_redis_that_dies(valkey: Any) -> None:
    await db(two_exchanges)()
    redis = bus.connect()
    crossing = Crossing(redis)
    running = asyncio.create_task(crossing.run())
    try:
        await until(lambda: redis.exists(keys.crossing_pairs()), "the pairs")
        valkey.kill()
        valkey.start()
        await until(lambda: there(redis), "the pairs again")
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await redis.aclose()


async def there(redis: Any) -> bool:
    try:
        return bool(await redis.exists(keys.crossing_pairs()))
    except bus.FAILURES:
        return False


async def test_a_pair_is_named_by_its_exchanges_in_order(crossing: Crossing) -> None:
    assert all(pair.first < pair.second for pair in crossing.known)
    assert isinstance(next(iter(crossing.known)), Pair)
    assert await db(Exchange.objects.filter(active=True).count)() > 2
