"""How each exchange does: what its connector measures, who runs it, and for how long it has been live."""

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from threading import Lock
from typing import Any

from django.db.models import Q, QuerySet

from exchanges import status
from exchanges.models import STATES, Exchange, ExchangeEvent
from exchanges.services import exchange_statuses
from exchanges.shards import Shard
from exchanges.uptime import Span, Timeline
from livermore import bus, keys

DAY = 86_400_000
WEEK = 7 * DAY


def exchange_healths(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """The health of each exchange, in one query and two round trips to Redis. Without Redis all but the live figures is there."""
    now = status.now_ms()
    names = [exchange.pk for exchange in exchanges]
    statuses, leases = exchange_statuses(names), _leases(names)
    with _one_at_a_time:
        pasts = _pasts(names, now - WEEK)
        return [
            {
                **statuses[exchange.pk],
                "exchange": exchange,
                "at": now,
                "process": leases.get(exchange.pk),
                **_uptimes(pasts[exchange.pk], statuses[exchange.pk], now),
            }
            for exchange in exchanges
        ]


def _leases(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Who holds each exchange, where somebody does: never the token, which is what gives it up."""
    try:
        held = bus.sync().mget([keys.exchange_lease(name) for name in names]) if names else []
        found = {name: json.loads(value) for name, value in zip(names, held, strict=True) if value is not None}
        return {name: _holder(name, one) for name, one in found.items()}
    except bus.FAILURES:
        return {}


def _holder(name: str, lease: dict[str, Any]) -> dict[str, Any]:
    """``host``, ``pid``, ``since``; of an exchange in shards, the hosts and the oldest of them."""
    if "shards" not in lease:
        return {field: lease.get(field) for field in ("host", "pid", "since")}
    shards = Shard(1, int(lease["shards"])).all
    held = [json.loads(value) for value in bus.sync().mget([keys.shard_lease(name, str(shard)) for shard in shards]) if value is not None]
    hosts = " · ".join(f"{one['host']} ({one['pid']})" for one in held)
    return {
        "host": f"{len(held)} of {len(shards)} shards: {hosts}",
        "pid": None,
        "since": min((one["since"] for one in held), default=None),
    }


class Past:
    """What is remembered of the states of an exchange, from ``since`` on, with the one that held before."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.timeline = Timeline()
        self.last: tuple[int, int, str] | None = None
        """Key, time and name of the last state."""

    def take(self, rows: Iterable[tuple[int, int, str, int]]) -> bool:
        """Add rows (key, time, state, seen), in order, the first of them the last one again. False where they do not join."""
        for place, (key, at, event, seen) in enumerate(rows):
            if place == 0 and self.last is not None:
                if self.last != (key, at, event):
                    return False
                self.timeline.hold(seen)
                continue
            self.timeline.add(Span(at, seen, event == "live"))
            self.last = key, at, event
        return True


_known: dict[str, Past] = {}
_one_at_a_time = Lock()
"""Pages ask every two seconds, and a week of states is thousands of rows: this process reads each of them once."""


def forget() -> None:
    """Read everything again."""
    _known.clear()


def _pasts(names: Sequence[str], start: int) -> dict[str, Past]:
    """The states of each exchange since ``start`` at least."""
    for name in names:
        if name in _known and start - _known[name].since > DAY:
            del _known[name]  # what is older than a week is of no use
    _read(names, start)
    return {name: _known[name] for name in names}


def _read(names: Sequence[str], start: int) -> None:
    """Remember what has been noted since the last time. What does not join, because a row went or came in between, is read as a whole."""
    if not names:
        return
    noted = ExchangeEvent.objects.filter(event__in=STATES)
    rows: dict[str, list[tuple[int, int, str, int]]] = {name: [] for name in names}
    wanted = reduce(or_, (_new(name, noted.filter(exchange=name), start) for name in names))
    for name, *row in noted.filter(wanted).order_by("at", "pk").values_list("exchange_id", "pk", "at", "event", "seen"):
        rows[name].append(tuple(row))  # type: ignore[arg-type]
    torn = [name for name in names if not _joined(name, rows[name], start)]
    if torn:
        _read(torn, start)


def _new(name: str, noted: QuerySet[ExchangeEvent], start: int) -> Q:
    past = _known.get(name)
    if past is not None and past.last is not None:
        return Q(exchange=name, at__gte=past.last[1]) & ~Q(at=past.last[1], pk__lt=past.last[0])
    before = noted.filter(at__lt=start).order_by("-at", "-pk").values("pk")[:1]
    return Q(exchange=name, at__gte=start) | Q(pk__in=before)


def _joined(name: str, rows: list[tuple[int, int, str, int]], start: int) -> bool:
    past = _known.setdefault(name, Past(start))
    if (rows or past.last is None) and past.take(rows):
        return True
    del _known[name]
    return False


def _uptimes(past: Past, live: dict[str, Any], now: int) -> dict[str, Any]:
    """A state is marked once a minute only; that of a running process holds up to its heartbeat."""
    held = live.get("last_heartbeat") if past.last is not None and past.last[2] == live["state"] else None
    day, week = (past.timeline.uptime(now - span, now, seen=held or 0) for span in (DAY, WEEK))
    return {"uptime_24h": day.share, "uptime_7d": week.share, "known_since": week.since}
