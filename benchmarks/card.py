"""From the closing frame of one exchange to the card beside its alert in the browsers of users who buy on another.

The exchanges are the sandbox's, in this process, so that it knows when a frame is sent; the connectors (``runexchange``) and daphne are
processes of their own, as in production. The market stands still until it is moved on to the next close: all symbols then close at once,
harder than in life, where their closes spread over two seconds.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from redis.asyncio import Redis

from alerts.models import Alert, AlertRule
from benchmarks import followed
from benchmarks.pages import Page
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, compared, single
from benchmarks.surroundings import child, session_cookie
from benchmarks.timing import Effort
from exchanges.events import TIMEFRAMES
from exchanges.models import UserExchange
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE, COINBASE
from livermore import bus
from livermore.db import db
from symbols.tiers import USD_GROUP

TITLE = "The card: from a close on one exchange to the browsers of who buys on another"
HERE, THERE = "bench-flagging", "bench-other"
"""The exchange whose frames say that a candle is closed, and the one the users buy on."""
_MARKER = b'"type":"alert"'
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
    sent = followed.note_frames()
    clock = ManualClock(followed.START)
    venues = (replace(BINANCE, id=HERE, protocol=followed.NOTED, rest_limit=0), replace(COINBASE, id=THERE, rest_limit=0))
    before = await db(lambda: list(AlertRule.objects.all()))()
    try:
        async with Sandbox(venues, symbols=effort.symbols, clock=clock) as sandbox, aclosing(bus.connect()) as redis:
            cookies = await db(_prepare)(sandbox, effort.symbols, sockets)
            async with child("manage.py", "runexchange", HERE, THERE, "--autostart", HERE, "--autostart", THERE):
                await followed.warm(clock, HERE, THERE)
                async with (
                    followed.served(*followed.LIVERMORE, path="/ws/feed/", cookies=cookies, marker=_MARKER) as ours,
                    followed.served("-m", "benchmarks.broadcast", settings.REDIS_URL, cookies=[""] * sockets, marker=_MARKER) as bare,
                ):
                    return _rows(sockets, await _follow(clock, sent.closes, redis, ours, bare, effort.alerts))
    finally:
        await db(followed.clean_up)((HERE, THERE), before)


# The exchanges and their users


def _prepare(sandbox: Sandbox, symbols: int, users: int) -> list[str]:
    """Rows of both exchanges, a rule that fires often, and users who watch the one and buy on the other: their cookies."""
    for pk, adapter, fee in ((HERE, "binance", "0.001"), (THERE, "coinbase", "0.012")):
        followed.list_exchange(sandbox, pk, adapter, symbols, fee)
    AlertRule.objects.update(**followed.RULE)
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


# A close


async def _follow(
    clock: ManualClock, sent: Mapping[tuple[str, int], float], redis: Redis, ours: Sequence[Page], bare: Sequence[Page], wanted: int
) -> Found:
    found, number = Found(), await db(_last_number)()
    while len(found.alerts) < wanted and not found.lost:
        found.closes += 1
        gc.collect()
        for page in (*ours, *bare):
            page.forget()
        await asyncio.sleep(followed.REST)
        began, spent = time.monotonic(), time.process_time()
        await followed.advance(clock, HERE)
        alerts = await db(_since)(number)
        if not alerts:
            continue
        number = max(alerts.values())
        await followed.all_seen(ours, len(alerts))
        spent = time.process_time() - spent
        here, messages = _arrivals(ours)
        published = await followed.publish(redis, map(bus.encode, messages.values()))
        await followed.all_seen(bare, len(messages))
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


def _last_number() -> int:
    return Alert.objects.filter(exchange_id=HERE).order_by("-number").values_list("number", flat=True).first() or 0


def _since(number: int) -> dict[str, int]:
    """uid -> number of the alerts after that one."""
    return dict(Alert.objects.filter(exchange_id=HERE, number__gt=number).values_list("uid", "number"))


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


# The table


def _rows(sockets: int, found: Found) -> list[Row]:
    what = f"{sockets:,} sockets"
    client = statistics.median(found.client)
    busy = f"exchanges and pages took {client:.0%} of a core" + (", so they may be the bottleneck" if client > followed.BUSY else "")
    rows = []
    for which, pick in (("slowest", max), ("median", statistics.median)):
        ours, theirs = sorted(pick(one.ours) for one in found.alerts), sorted(pick(one.bare) for one in found.alerts)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
            goal, note = (at_most(1000), busy) if name == "p95" else (None, "")
            times = [followed.after(share, ours)], _AGAINST, [followed.after(share, theirs)]
            rows.append(compared(f"closing frame → the {which} of {what}, {name}", "ms", *times, goal=goal, note=note))
    many = f"{len(found.alerts):,} alerts of {found.closes:,} closes"
    return [
        *rows,
        single(f"{what}: alerts lost", "", [found.lost], goal=at_most(0), note=many),
        single(f"{what}: alerts that came twice", "", [found.twice], goal=at_most(0)),
        single(f"{what}: alerts without the other exchange's price", "", [found.priceless], goal=at_most(0)),
    ]
