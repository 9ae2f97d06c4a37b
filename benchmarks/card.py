"""From the closing frame of one exchange to the card beside its alert in the browsers of users who buy on another.

The exchanges are the sandbox's, in this process, so that it knows when a frame is sent; the connectors (``runexchange``) and daphne are
processes of their own, as in production. The market stands still until it is moved on to the next close: all symbols then close at once,
harder than in life, where their closes spread over two seconds.
"""

import asyncio
import gc
import math
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from redis.asyncio import Redis

from alerts.models import Alert, AlertRule
from benchmarks import broadcast
from benchmarks.pages import Page, open_pages
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, compared, single
from benchmarks.surroundings import DAPHNE, child, free_port, listening, session_cookie
from benchmarks.timing import Effort
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, UserExchange
from exchanges.sandbox import binance, server
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.protocol import Frame
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE, COINBASE
from exchanges.status import read_all
from livermore import bus
from livermore.db import db
from market_data.models import Checkpoint
from symbols.models import Symbol
from symbols.tiers import USD_GROUP

TITLE = "The card: from a close on one exchange to the browsers of who buys on another"
HERE, THERE = "bench-flagging", "bench-other"
"""The exchange whose frames say that a candle is closed, and the one the users buy on."""
_START = 1_772_402_415_000
_STEP = TIMEFRAMES["5m"]
_RULE = {
    "levels": [20, 40, 60, 90, 120, 150, 200, 250],
    "reversal_level": 30,
    "oversold_buffer": 2,
    "overbought_buffer": 1,
    "cooldown": 1200,
}
"""Fires often."""
_MARKER = b'"type":"alert"'
_WARM, _PATIENCE, _LOOK = 300.0, 30.0, 0.05
_REST = 0.2
"""Seconds before a close, for what the last one left behind."""
_BUSY = 0.7
"""Share of a core above which this process may be what is slow."""
_AGAINST = "the alert through Redis to websockets' broadcast()"


class Followed(NamedTuple):
    """One alert: seconds until each socket had it, after its closing frame and, the bare way, after it was published again."""

    ours: list[float]
    bare: list[float]


@dataclass
class Found:
    """``lost`` and ``twice`` count deliveries, ``priceless`` cards without the other exchange's price.

    ``client`` is the share of a core that this process needed, close by close, from the first frame to the last arrival.
    """

    alerts: list[Followed] = field(default_factory=list)
    closes: int = 0
    lost: int = 0
    twice: int = 0
    priceless: int = 0
    client: list[float] = field(default_factory=list)


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    sockets = effort.sockets[0]
    sent = _note_closes()
    clock = ManualClock(_START)
    venues = (replace(BINANCE, id=HERE, protocol=_NOTED, rest_limit=0), replace(COINBASE, id=THERE, rest_limit=0))
    before = await db(lambda: list(AlertRule.objects.all()))()
    try:
        async with Sandbox(venues, symbols=effort.symbols, clock=clock) as sandbox, aclosing(bus.connect()) as redis:
            cookies = await db(_prepare)(sandbox, effort.symbols, sockets)
            async with child("manage.py", "runexchange", HERE, THERE, "--autostart", HERE, "--autostart", THERE):
                await _warm(clock)
                async with (
                    _served(*DAPHNE, "livermore.asgi:application", path="/ws/feed/", cookies=cookies) as ours,
                    _served("-m", "benchmarks.broadcast", settings.REDIS_URL, cookies=[""] * sockets) as bare,
                ):
                    return _rows(sockets, await _follow(clock, sent, redis, ours, bare, effort.alerts))
    finally:
        await db(_clean_up)(before)


# The exchanges and their users

_NOTED = "binance, its closes noted"


def _note_closes() -> dict[tuple[str, int], float]:
    """(symbol, end of the candle) -> when its closing frame was sent, filled in as the sandbox sends. Adds the protocol that does so."""
    sent: dict[tuple[str, int], float] = {}

    class Session(binance.Session):
        def seal(self, frame: Frame) -> str:
            text = super().seal(frame)
            message: Any = frame.message
            kline = message.get("data", message).get("k") if isinstance(message, dict) else None
            if kline and kline["x"]:
                sent[kline["s"], kline["T"] + 1] = time.monotonic_ns() / 1e9
            return text

    server.PROTOCOLS[_NOTED] = SimpleNamespace(  # type: ignore[assignment]
        Session=Session, Desk=binance.Desk, listings=binance.listings, refusal_body=binance.refusal_body
    )
    return sent


def _prepare(sandbox: Sandbox, symbols: int, users: int) -> list[str]:
    """Rows of both exchanges, a rule that fires often, and users who watch the one and buy on the other: their cookies."""
    for pk, adapter, fee in ((HERE, "binance", "0.001"), (THERE, "coinbase", "0.012")):
        Exchange.objects.create(
            id=pk,
            name=pk,
            adapter=adapter,
            websocket_url=sandbox.websocket_url(pk),
            rest_url=sandbox.rest_url(pk),
            limits={"rest_weight_per_minute": 600_000, "rest_burst": 100_000},
            taker_fee=Decimal(fee),
            top_n=symbols,
            is_sandbox=True,
        )
    AlertRule.objects.update(**_RULE)
    cookies = []
    for number in range(users):
        name = f"bench-{number}"
        cookies.append(session_cookie(name))
        for pk in (HERE, THERE):
            UserExchange.objects.create(user=_user(name), exchange_id=pk, watch=pk == HERE, is_default=pk == THERE)
    return cookies


def _user(name: str) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model()._default_manager.get(username=name)


def _clean_up(rules: Iterable[AlertRule]) -> None:
    """Other subjects find the database as it was."""
    for rule in rules:
        rule.save()
    for rows in (Alert.objects, UserExchange.objects):
        rows.filter(exchange_id__in=(HERE, THERE)).delete()
    Exchange.objects.filter(pk__in=(HERE, THERE)).delete()


async def _warm(clock: ManualClock) -> None:
    """Wait until both run, and have taken a first close in."""
    async with asyncio.timeout(_WARM):
        while {one.get("state") for one in (await db(read_all)([HERE, THERE])).values()} != {"live"}:
            await asyncio.sleep(0.5)
            clock.advance(1_000)  # a market that stands still says nothing to who has just subscribed
    await _advance(clock)


# A close


async def _advance(clock: ManualClock) -> None:
    """Move on by a candle, and wait until every series of the flagging exchange is evaluated and its alerts are out."""
    clock.advance(_STEP)
    closed = clock.now() // _STEP * _STEP - _STEP
    async with asyncio.timeout(_PATIENCE):
        while not await db(_is_out)(closed):  # noqa: ASYNC110  (another process brings it about)
            await asyncio.sleep(_LOOK)


def _is_out(closed: int) -> bool:
    here = Symbol.objects.filter(exchange_id=HERE, tier__isnull=False).count()
    done = Checkpoint.objects.filter(exchange_id=HERE, timeframe="5m", open_time__gte=closed).count()
    return done >= here and not Alert.objects.filter(exchange_id=HERE, published_at=None).exists()


async def _follow(
    clock: ManualClock, sent: Mapping[tuple[str, int], float], redis: Redis, ours: Sequence[Page], bare: Sequence[Page], wanted: int
) -> Found:
    found, number = Found(), await db(_last_number)()
    while len(found.alerts) < wanted and not found.lost:
        found.closes += 1
        gc.collect()
        for page in (*ours, *bare):
            page.forget()
        await asyncio.sleep(_REST)
        began, spent = time.monotonic(), time.process_time()
        await _advance(clock)
        alerts = await db(_since)(number)
        if not alerts:
            continue
        number = max(alerts.values())
        await _all_seen(ours, len(alerts))
        spent = time.process_time() - spent
        here, messages = _arrivals(ours)
        published = await _publish(redis, messages.values())
        await _all_seen(bare, len(messages))
        there, _ = _arrivals(bare)
        for uid in alerts:
            times = [page.get(uid, []) for page in here]
            found.lost += sum(not each for each in times)
            found.twice += sum(len(each) > 1 for each in times)
            message = messages.get(uid)
            if message and all(times) and message["quote"] in USD_GROUP:  # in bitcoin there is nothing to compare it with
                closed = sent[message["symbol"], message["candle_time"] + TIMEFRAMES[message["timeframe"]]]
                found.priceless += not any(one["exchange_id"] == THERE and one["price"] for one in message["elsewhere"])
                found.alerts.append(Followed([each[0] - closed for each in times], [page[uid][0] - published for page in there]))
        last = max((each[-1] for page in here for each in page.values()), default=began + 1)
        found.client.append(spent / (last - began))
    return found


async def _publish(redis: Redis, messages: Iterable[dict[str, Any]]) -> float:
    """Send the same alerts the bare way; when that began."""
    encoded = [bus.encode(message) for message in messages]
    began = time.monotonic()
    async with redis.pipeline(transaction=False) as pipe:
        for value in encoded:
            pipe.publish(broadcast.CHANNEL, value)
        await pipe.execute()
    return began


def _last_number() -> int:
    return Alert.objects.filter(exchange_id=HERE).order_by("-number").values_list("number", flat=True).first() or 0


def _since(number: int) -> dict[str, int]:
    """uid -> number of the alerts after that one."""
    return dict(Alert.objects.filter(exchange_id=HERE, number__gt=number).values_list("uid", "number"))


async def _all_seen(pages: Sequence[Page], alerts: int) -> None:
    """Wait until every page has them, or nothing more can be hoped for; then a moment longer for what comes twice."""
    until = time.monotonic() + _PATIENCE
    while any(page.seen < alerts for page in pages) and time.monotonic() < until:  # noqa: ASYNC110  (an event would be the pages' work)
        await asyncio.sleep(0.005)
    await asyncio.sleep(_LOOK)


def _arrivals(pages: Sequence[Page]) -> tuple[list[dict[str, list[float]]], dict[str, dict[str, Any]]]:
    """Page by page uid -> when that alert was there; uid -> the alert."""
    times: list[dict[str, list[float]]] = []
    messages: dict[str, dict[str, Any]] = {}
    for page in pages:
        times.append({})
        for at, payload in page.frames:
            said = msgspec.json.decode(payload) if _MARKER in payload else {"m": []}
            for message in said.get("m", [said]):
                if message["type"] == "alert":
                    times[-1].setdefault(message["uid"], []).append(at / 1e9)
                    messages[message["uid"]] = message
    return times, messages


@asynccontextmanager
async def _served(*words: str, cookies: Sequence[str], path: str = "/") -> AsyncIterator[list[Page]]:
    """A program on a port of its own, with a page for each cookie. The port is its last words."""
    port = free_port()
    pages: list[Page] = []
    async with child(*words, "-p", str(port)):
        await listening(port)
        try:
            for cookie in cookies:
                pages += await open_pages(1, port, path=path, cookie=cookie, marker=_MARKER)
            yield pages
        finally:
            for page in pages:
                page.close()


# The table


def _rows(sockets: int, found: Found) -> list[Row]:
    what = f"{sockets:,} sockets"
    client = statistics.median(found.client)
    busy = f"exchanges and pages took {client:.0%} of a core" + (", so they may be the bottleneck" if client > _BUSY else "")
    rows = []
    for which, pick in (("slowest", max), ("median", statistics.median)):
        ours, theirs = sorted(pick(one.ours) for one in found.alerts), sorted(pick(one.bare) for one in found.alerts)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
            goal, note = (at_most(1000), busy) if name == "p95" else (None, "")
            times = [_after(share, ours)], _AGAINST, [_after(share, theirs)]
            rows.append(compared(f"closing frame → the {which} of {what}, {name}", "ms", *times, goal=goal, note=note))
    many = f"{len(found.alerts):,} alerts of {found.closes:,} closes"
    return [
        *rows,
        single(f"{what}: alerts lost", "", [found.lost], goal=at_most(0), note=many),
        single(f"{what}: alerts that came twice", "", [found.twice], goal=at_most(0)),
        single(f"{what}: alerts without the other exchange's price", "", [found.priceless], goal=at_most(0)),
    ]


def _after(share: float, ordered: Sequence[float]) -> float:
    """By when that share of them was there."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
