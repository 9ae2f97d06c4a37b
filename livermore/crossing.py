"""Over all exchanges: whether two listings are one coin, who leads whom, and who has not moved yet. One process does it, under a lease.

It listens to the prices that the connectors publish, decides with ``alerts.crossexchange`` and ``alerts.leadlag``, and writes what it found
into Redis for everybody. Nothing depends on it: without it alerts say nothing of leads, and no moves are told.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from django.conf import settings
from django.db import Error as DatabaseError
from redis.asyncio import Redis

from alerts.crossexchange import CollisionGuard, Identity, Move, MoveDetector, Price, Prices
from alerts.elsewhere import pair_name, read_markets
from alerts.leadlag import LeadTracker
from exchanges.lease import Lease
from livermore import bus, keys
from livermore.bus import FAILURES
from livermore.db import db
from symbols.models import Coin, Symbol

log = logging.getLogger(__name__)

LEASE_CHECK = 2.0
JUDGE = 1.0
"""Seconds between two looks at all coins."""
MARKETS = 30.0
"""Seconds between two looks at the markets there are."""
LEADS = 15.0
"""Seconds between two estimates of who leads."""
BREATHE = 0.05
"""Seconds between two blocks that are scanned."""
PAIRS_TTL = 300
NOTHING = Price(None, 0)


class Pair(NamedTuple):
    """A coin on two exchanges, by id, the first one first in the alphabet."""

    coin_id: int
    first: str
    second: str


class Known:
    """What is known of a pair."""

    def __init__(self) -> None:
        self.guard = CollisionGuard()
        self.tracker = LeadTracker()
        self.lead: dict[str, Any] | None = None


class Crossing:
    """Compares the exchanges for as long as it holds the lease. ``run`` lasts until it is cancelled."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lease = Lease(redis, key=keys.crossing_lease())
        self.prices: dict[tuple[str, str], Price] = {}
        self.known: dict[Pair, Known] = {}
        self._codes: dict[int, str] = {}
        self._between: dict[tuple[str, str], list[Pair]] = {}
        self._movers: dict[tuple[str, str], MoveDetector] = {}
        self._pairs_of: dict[tuple[str, str], list[tuple[Pair, str]]] = {}
        self._sides: dict[Pair, tuple[tuple[str, str], tuple[str, str]]] = {}

    async def run(self) -> None:
        """Wait for the lease, compare while it is ours, wait again."""
        away = False
        while True:
            try:
                if await self._lease.acquire():
                    log.info("comparing the exchanges with one another here")
                    away = False
                    await self._hold()
            except FAILURES as error:
                if not away:
                    log.warning("the exchanges are not compared while Redis is away: %s", error)
                away = True
            except DatabaseError as error:
                log.warning("the exchanges are not compared while the database is away: %s", error)
            except Exception:
                log.exception("comparing the exchanges stumbled; the feeds go on")
            await asyncio.sleep(LEASE_CHECK)

    async def _hold(self) -> None:
        """Until the lease is lost, or Redis. What was known is kept: it is still true."""
        try:
            await self.look()
            async with asyncio.TaskGroup() as tasks:
                work = [tasks.create_task(one) for one in (self._listen(), self._judge_forever(), self._estimate_forever())]
                while True:
                    if not await self._lease.renew():
                        break
                    await asyncio.sleep(LEASE_CHECK)
                for task in work:
                    task.cancel()
        except* FAILURES as lost:
            raise ConnectionError(str(lost.exceptions[0])) from lost
        finally:
            await self._give_up()

    async def _give_up(self) -> None:
        try:
            await self._lease.release()
        except FAILURES:
            log.debug("the lease lapses by itself")

    # Prices

    async def _listen(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.psubscribe(keys.channel_ticker("*", "*"))
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    self.take(bus.decode(message["data"]))
            raise ConnectionError("the subscription ended")
        finally:
            await pubsub.aclose()

    def take(self, ticker: dict[str, Any]) -> None:
        """A price as it is published."""
        market = (ticker["exchange_id"], ticker["symbol"])
        self.prices[market] = Price(ticker["price"], ticker["received"])
        for pair, side in self._pairs_of.get(market, ()):
            self.known[pair].tracker.tick(side, ticker.get("t", 0), ticker["received"], ticker["price"])

    async def look(self) -> None:
        """Follow which markets there are."""
        found = await db(read_markets)()
        watched = await db(_watched)()
        self._codes = await db(_codes)(list(found))
        self._pairs_of, self._sides = {}, {}
        for coin_id, markets in found.items():
            for one, other in combinations([one for one in markets if (one.exchange_id, one.symbol) in watched], 2):
                pair = Pair(coin_id, one.exchange_id, other.exchange_id)
                sides = self._sides[pair] = ((one.exchange_id, one.symbol), (other.exchange_id, other.symbol))
                self.known.setdefault(pair, Known())
                for market, side in zip(sides, "ab", strict=True):
                    self._pairs_of.setdefault(market, []).append((pair, side))
        for gone in self.known.keys() - self._sides.keys():
            del self.known[gone]
        self._between = {}
        for pair in self._sides:
            self._between.setdefault((pair.first, pair.second), []).append(pair)

    # What follows from them

    async def _judge_forever(self) -> None:
        looked = time.monotonic()
        while True:
            if time.monotonic() - looked >= MARKETS:
                try:
                    await self.look()
                    looked = time.monotonic()
                except DatabaseError as error:
                    log.warning("the markets could not be read again: %s", error)
            live = await self._live()
            moves = self.judge(time.time_ns() // 1_000_000, live)
            if moves:
                await self._tell(moves)
            await asyncio.sleep(JUDGE)

    def judge(self, now: int, live: Iterable[str]) -> list[tuple[str, str, Move]]:
        """Compare every pair at ``now``. Returns the moves that one exchange made and another did not follow yet."""
        live = set(live)
        self._compare(now)
        moves = []
        for (a, b), pairs in sorted(self._between.items()):
            prices = self._fresh(now, pairs)
            for here, there in ((a, b), (b, a)):
                mover = self._movers.setdefault((here, there), MoveDetector(settings.MOVE_FACTOR, settings.MOVE_WINDOW * 1000))
                seen = prices if here == a else {coin: Prices(price.b, price.a) for coin, price in prices.items()}
                found = mover.observe(now, seen, live_a=here in live, live_b=there in live)
                moves += [(here, there, move) for move in found]
        return moves

    def _compare(self, now: int) -> None:
        for pair, known in self.known.items():
            one, other = self._both(pair)
            known.guard.compare(now, one, other)

    def _both(self, pair: Pair) -> tuple[Price, Price]:
        first, second = self._sides[pair]
        return self.prices.get(first, NOTHING), self.prices.get(second, NOTHING)

    def _fresh(self, now: int, pairs: Iterable[Pair]) -> dict[str, Prices]:
        """Of the coins that are the same on both: their prices, each None where it is stale."""
        found = {}
        for pair in pairs:
            if self.known[pair].guard.identity is Identity.SAME:
                code = self._codes.get(pair.coin_id, str(pair.coin_id))
                found[code] = Prices(*(price.value if price.fresh(now) else None for price in self._both(pair)))
        return found

    def symbols_of(self, here: str, there: str) -> dict[str, tuple[str, str]]:
        """The symbols of each coin on both."""
        symbols = {}
        for pair in (*self._between.get((here, there), ()), *self._between.get((there, here), ())):
            if self.known[pair].guard.identity is Identity.SAME:
                of = dict(self._sides[pair])
                symbols[self._codes.get(pair.coin_id, str(pair.coin_id))] = (of[here], of[there])
        return symbols

    async def _live(self) -> set[str]:
        """The exchanges whose feed is live now."""
        names = sorted({one for both in self._between for one in both})
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(keys.exchange_status(name), "state")
            states = await pipe.execute() if names else []
        return {name for name, state in zip(names, states, strict=True) if state == b"live"}

    async def _tell(self, moves: list[tuple[str, str, Move]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for here, there, move in moves:
                pipe.publish(keys.channel_moves(here, there), bus.encode(message_of(here, there, move, self.symbols_of(here, there))))
            await pipe.execute()

    async def _estimate_forever(self) -> None:
        """Scan finished blocks beside everything else, and put out what is known of every pair."""
        while True:
            for pair, known in list(self.known.items()):
                if known.tracker.settle():  # some 20 ms: the feeds of this process come in between
                    await asyncio.sleep(BREATHE)
                known.lead = lead_of(pair, known.tracker)
            await self.write()
            await asyncio.sleep(LEADS)

    async def write(self) -> None:
        """Put out what is known of every pair."""
        name = keys.crossing_pairs()
        fields: dict[Any, Any] = {
            pair_name(*pair): bus.encode({"identity": known.guard.identity.value, "lead": known.lead}) for pair, known in self.known.items()
        }
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.delete(name)
            if fields:
                pipe.hset(name, mapping=fields)
                pipe.expire(name, PAIRS_TTL)
            await pipe.execute()


def lead_of(pair: Pair, tracker: LeadTracker) -> dict[str, Any]:
    """What ``payloads.LeadLag`` says of a pair, by the exchanges' own clocks, with both clocks agreeing on the leader."""
    lead = tracker.lead(seed=pair.coin_id)
    by_exchange, by_receive = lead.by_exchange, lead.by_receive
    return {
        "first_id": pair.first,
        "second_id": pair.second,
        "leader": {"a": pair.first, "b": pair.second, "": ""}[lead.leader],
        "median_ms": by_exchange.median_ms,
        "low_ms": by_exchange.low_ms,
        "high_ms": by_exchange.high_ms,
        "events": by_exchange.events,
        "receive_median_ms": by_receive.median_ms,
        "offset_first_ms": lead.offset_a.median_ms,
        "offset_second_ms": lead.offset_b.median_ms,
        "at": time.time_ns() // 1_000_000,
    }


def message_of(here: str, there: str, move: Move, symbols: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """A move as it is published (``payloads.MoveMessage``). ``symbols``: those of each coin, on the one and on the other."""
    return {
        "type": "move",
        "exchange_id": here,
        "other_id": there,
        "at": move.time_ms,
        "direction": move.direction,
        "coins": list(move.coins),
        "symbols": [symbols[coin][0] for coin in move.coins],
        "other_symbols": [symbols[coin][1] for coin in move.coins],
        "grouped": move.grouped,
        "move_bps": move.move_bps,
        "usual_bps": move.usual_bps,
        "other_bps": move.other_bps,
        "window_ms": settings.MOVE_WINDOW * 1000,
    }


def _watched() -> set[tuple[str, str]]:
    return set(Symbol.objects.filter(tier__isnull=False).values_list("exchange_id", "symbol"))


def _codes(coin_ids: list[int]) -> dict[int, str]:
    return dict(Coin.objects.filter(pk__in=coin_ids).values_list("pk", "code"))
