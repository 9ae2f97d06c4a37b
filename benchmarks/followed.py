"""An exchange of the sandbox in this process, so that it is known when a frame is sent; its connector and its pages as processes.

What the subjects have in common that follow a frame to the browsers.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

from redis.asyncio import Redis

from alerts.models import Alert, AlertRule
from benchmarks import broadcast
from benchmarks.pages import SENT, Page, open_pages
from benchmarks.surroundings import DAPHNE, child, free_port, listening, session_cookie
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, UserExchange
from exchanges.sandbox import binance, server
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.protocol import Frame
from exchanges.sandbox.server import Sandbox
from exchanges.status import read_all
from livermore.db import db
from market_data.models import Checkpoint
from symbols.models import Symbol

NOTED = "binance, its frames noted"
START = 1_772_402_415_000
STEP = TIMEFRAMES["5m"]
PATIENCE, LOOK = 60.0, 0.05
_STANDS = 5.0
"""Seconds after which a market that stood still runs on while somebody waits."""
REST = 0.2
"""Seconds before a close, for what the last one left behind."""
RULE = {
    "levels": [20, 40, 60, 90, 120, 150, 200, 250],
    "reversal_level": 30,
    "oversold_buffer": 2,
    "overbought_buffer": 1,
    "cooldown": 1200,
}
"""Fires often."""
BUSY = 0.7
"""Share of a core above which this process may be what is slow."""
_WARM = 300.0
_WATCHER = "bench-watches-"


class Sent(NamedTuple):
    """When frames were sent, seconds of the monotonic clock. ``closes``: by symbol and end; ``prices``: by symbol and time."""

    closes: dict[tuple[str, int], float]
    prices: dict[tuple[str, int], float]


def note_frames() -> Sent:
    """Filled in as the sandbox sends. Adds the protocol that does so."""
    sent = Sent({}, {})

    class Session(binance.Session):
        def seal(self, frame: Frame) -> str:
            text = super().seal(frame)
            message: Any = frame.message
            said = message.get("data", message) if isinstance(message, dict) else {}
            now = time.monotonic_ns() / 1e9
            if (kline := said.get("k")) and kline["x"]:
                sent.closes[kline["s"], kline["T"] + 1] = now
            elif said.get("e") == "24hrTicker":
                sent.prices[said["s"], said["E"]] = now
            return text

    server.PROTOCOLS[NOTED] = SimpleNamespace(  # type: ignore[assignment]
        Session=Session, Desk=binance.Desk, listings=binance.listings, refusal_body=binance.refusal_body
    )
    return sent


def list_exchange(sandbox: Sandbox, pk: str, adapter: str, symbols: int, fee: str = "0.001") -> None:
    """A row of an exchange that the sandbox serves under that name."""
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


def watcher(exchange_id: str) -> str:
    """The cookie of a user who watches that exchange, and no other active one."""
    from django.contrib.auth import get_user_model

    name = f"{_WATCHER}{exchange_id}"
    cookie = session_cookie(name)
    user = get_user_model()._default_manager.get(username=name)
    others = Exchange.objects.filter(active=True).exclude(pk=exchange_id)
    UserExchange.objects.bulk_create([UserExchange(user=user, exchange=other, watch=False) for other in others])
    return cookie


def forget_watchers() -> None:
    UserExchange.objects.filter(user__username__startswith=_WATCHER).delete()


def clean_up(exchange_ids: Collection[str], rules: Iterable[AlertRule]) -> None:
    """Other subjects find the database as it was."""
    for rule in rules:
        rule.save()
    forget_watchers()
    for rows in (Alert.objects, UserExchange.objects):
        rows.filter(exchange_id__in=exchange_ids).delete()
    Exchange.objects.filter(pk__in=exchange_ids).delete()


async def warm(clock: ManualClock, *exchange_ids: str) -> None:
    """Wait until all run, and the first of them has taken a first close in."""
    async with asyncio.timeout(_WARM):
        while {one.get("state") for one in (await db(read_all)(list(exchange_ids))).values()} != {"live"}:
            await asyncio.sleep(0.5)
            clock.advance(1_000)  # a market that stands still says nothing to who has just subscribed
    await advance(clock, exchange_ids[0])


async def advance(clock: ManualClock, exchange_id: str) -> None:
    """Move on by a candle, and wait until every series of the exchange is evaluated and its alerts are out."""
    clock.advance(STEP)
    await settled(clock, exchange_id)


async def settled(clock: ManualClock, exchange_id: str) -> None:
    """Wait until all that has closed is evaluated, and its alerts are out."""
    closed = clock.now() // STEP * STEP - STEP
    lacking = "?"
    try:
        async with asyncio.timeout(PATIENCE):
            began = time.monotonic()
            while lacking := await db(_lacking)(exchange_id, closed):
                await asyncio.sleep(LOOK)
                if time.monotonic() - began > _STANDS:
                    clock.advance(int(LOOK * 1000))  # a symbol that has just joined takes a candle in 10 s after its end
    except TimeoutError:
        raise TimeoutError(f"after {PATIENCE:.0f} s {lacking}") from None


def _lacking(exchange_id: str, closed: int) -> str:
    """What is still to come; "" when nothing is."""
    here = Symbol.objects.filter(exchange_id=exchange_id, tier__isnull=False).values_list("symbol", flat=True)
    done = Checkpoint.objects.filter(exchange_id=exchange_id, timeframe="5m", open_time__gte=closed).values_list("symbol", flat=True)
    if late := sorted(set(here) - set(done)):
        return f"{len(late)} of {len(here)} symbols had not closed, {late[0]} among them"
    unheard = Alert.objects.filter(exchange_id=exchange_id, published_at=None).count()
    return f"{unheard} alerts were not published" if unheard else ""


async def publish(redis: Redis, messages: Iterable[bytes]) -> float:
    """Send messages the bare way, all at once; when that began."""
    began = time.monotonic()
    async with redis.pipeline(transaction=False) as pipe:
        for message in messages:
            pipe.publish(broadcast.CHANNEL, message)
        await pipe.execute()
    return began


async def all_seen(pages: Sequence[Page], messages: int) -> None:
    """Wait until every page has so many, or nothing more can be hoped for; then a moment longer for what comes twice."""
    until = time.monotonic() + PATIENCE
    while any(page.seen < messages for page in pages) and time.monotonic() < until:  # noqa: ASYNC110  (an event would be the pages' work)
        await asyncio.sleep(0.005)
    await asyncio.sleep(LOOK)


@asynccontextmanager
async def serving(*words: str) -> AsyncIterator[int]:
    """A program on a port of its own, which it yields. The port is its last words."""
    port = free_port()
    async with child(*words, "-p", str(port)):
        await listening(port)
        yield port


@asynccontextmanager
async def served(*words: str, cookies: Sequence[str], path: str = "/", marker: bytes = SENT) -> AsyncIterator[list[Page]]:
    """A program on a port of its own, with a page for each cookie."""
    pages: list[Page] = []
    async with serving(*words) as port:
        try:
            for cookie in cookies:
                pages += await open_pages(1, port, path=path, cookie=cookie, marker=marker)
            yield pages
        finally:
            for page in pages:
                page.close()


LIVERMORE = (*DAPHNE, "livermore.asgi:application")


def after(share: float, ordered: Sequence[float]) -> float:
    """By when that share of them was there."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
