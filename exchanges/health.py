"""How each exchange does: what its connector measures, who runs it, and for how long it has been live."""

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import Max, Q

from exchanges import status
from exchanges.models import STATES, Exchange, ExchangeEvent
from exchanges.services import exchange_statuses
from exchanges.shards import Shard
from exchanges.uptime import Span, uptime
from livermore import bus, keys

DAY = 86_400_000
WEEK = 7 * DAY


def exchange_healths(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """The health of each exchange, in one query and two round trips to Redis. Without Redis all but the live figures is there."""
    now = status.now_ms()
    names = [exchange.pk for exchange in exchanges]
    statuses, leases = exchange_statuses(names), _leases(names)
    spans = _spans(names, now - WEEK)
    return [
        {
            **statuses[exchange.pk],
            "exchange": exchange,
            "at": now,
            "process": leases.get(exchange.pk),
            **_uptimes(_until_now(spans[exchange.pk], statuses[exchange.pk]), now),
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


def _spans(names: Sequence[str], start: int) -> dict[str, list[tuple[str, Span]]]:
    """The states of each exchange since ``start``, with the one that held before."""
    noted = ExchangeEvent.objects.filter(exchange__in=names, event__in=STATES)
    before = noted.filter(at__lt=start).order_by().values("exchange").annotate(last=Max("pk")).values("last")
    found: dict[str, list[tuple[str, Span]]] = {name: [] for name in names}
    rows = noted.filter(Q(at__gte=start) | Q(pk__in=before)).order_by("at", "pk").values_list("exchange_id", "event", "at", "seen")
    for name, event, at, seen in rows:
        found[name].append((event, Span(at, seen, event == "live")))
    return found


def _until_now(noted: list[tuple[str, Span]], live: dict[str, Any]) -> list[Span]:
    """A state is marked once a minute only; that of a running process holds up to its heartbeat."""
    spans = [span for _, span in noted]
    if noted and noted[-1][0] == live["state"] and live.get("last_heartbeat"):
        spans[-1] = spans[-1]._replace(seen=max(spans[-1].seen, live["last_heartbeat"]))
    return spans


def _uptimes(spans: list[Span], now: int) -> dict[str, Any]:
    day, week = uptime(spans, now - DAY, now), uptime(spans, now - WEEK, now)
    return {"uptime_24h": day.share, "uptime_7d": week.share, "known_since": week.since}
