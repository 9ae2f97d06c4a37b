"""What a page needs to begin: cards, matrix rows and alerts, read from the database and from Redis."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from alerts import services
from alerts.crossexchange import region_verdict
from alerts.models import Alert, ExchangeSequence, NotificationSettings, Silence
from alerts.payloads import AccountMessage, AlertMessage, ExchangeCard, OwnSilence, OwnTerms, Position, SnapshotMessage, SymbolRow
from exchanges import status as statuses
from exchanges.models import Exchange, Preferences, UserExchange
from exchanges.services import taker_fees
from livermore import keys
from livermore.bus import FAILURES
from livermore.db import db
from market_data import store
from symbols.models import Symbol, Tier
from symbols.wants import own_symbols

VERSION = 1
NEWEST_ALERTS = 100
MOST_RESUMED = 500
"""A page that is further behind gets a fresh list instead, and is told so."""

Resume = dict[str, Position]


Market = tuple[str, str]
"""(exchange id, symbol)"""


class Viewer(NamedTuple):
    """Who looks, and at what. ``own``: the markets this user holds or added; ``private``: there are alerts for this user alone.

    ``moves_for``: the exchange whose user is told of moves elsewhere; "" for none.
    """

    user_id: int
    exchange_ids: tuple[str, ...]
    moves_for: str = ""
    own: frozenset[Market] = frozenset()
    private: bool = False

    @property
    def scope(self) -> int | None:
        """The user, where this one sees something that others do not; all others are shown the same."""
        return self.user_id if self.own or self.private else None


def read_viewer(user_id: int) -> tuple[Viewer, AccountMessage]:
    """What a user may see, and what is the user's own."""
    exchange_ids = tuple(exchanges_of(user_id))
    own = own_symbols(user_id=user_id)
    markets = frozenset((one.row.exchange_id, one.row.symbol) for one in own if one.row.exchange_id in exchange_ids)
    owned = Alert.owners.through.objects.filter(user_id=user_id)
    private = owned.exists() and owned.filter(alert__exchange_id__in=exchange_ids).exists()
    preferences = Preferences.objects.filter(pk=user_id).first() or Preferences()
    bought_at = UserExchange.objects.filter(user_id=user_id, is_default=True).values_list("exchange_id", flat=True).first()
    account: AccountMessage = {
        "type": "account",
        "own": [
            {
                "exchange_id": one.row.exchange_id,
                "symbol": one.row.symbol,
                "added": one.added,
                "quantity": one.quantity,
                "value": one.value,
            }
            for one in own
        ],
        "silences": silences_of(user_id),
        "settings": {
            "own_exchange_id": bought_at or "",
            "terms": terms_of(user_id, preferences.region),
            "show_moves": preferences.show_moves,
            "region": preferences.region,
            "time_zone": preferences.time_zone,
            "timeframes": preferences.timeframes,
            "theme": preferences.theme,
            "palette": preferences.palette,
            "notify_pages": NotificationSettings.objects.filter(pk=user_id, pages=True).exists(),
        },
    }
    moves_for = bought_at if bought_at and preferences.show_moves else ""
    return Viewer(user_id, exchange_ids, moves_for, markets, private), account


def silences_of(user_id: int) -> list[OwnSilence]:
    """What a user acknowledged or snoozed, newest first."""
    rows = Silence.objects.filter(user_id=user_id).exclude(until__lte=statuses.now_ms())
    return [
        {
            "id": row.pk,
            "kind": "snooze" if row.kind == "snooze" else "ack",
            "exchange_id": row.exchange_id,
            "symbol": row.symbol,
            "timeframe": row.timeframe,
            "stage": row.stage,
            "until": row.until,
        }
        for row in rows
    ]


def terms_of(user_id: int, region: str) -> list[OwnTerms]:
    """Fee and region verdict of every active exchange, for this user."""
    terms: list[OwnTerms] = []
    exchanges = list(Exchange.objects.filter(active=True))
    fees = taker_fees(user_id=user_id, exchanges=exchanges)
    for exchange in exchanges:
        verdict = region_verdict(exchange.geo_restrictions, region)
        terms.append(
            {
                "exchange_id": exchange.pk,
                "name": exchange.name,
                "taker_fee": fees[exchange.pk],
                "allowed": verdict.allowed,
                "reason": verdict.reason,
            }
        )
    return terms


def shared_markets() -> frozenset[Market]:
    """The markets that are watched for everybody."""
    return frozenset(Symbol.objects.filter(tier=Tier.SHARED).values_list("exchange_id", "symbol"))


def exchanges_of(user_id: int) -> list[str]:
    """The exchanges a user sees: every active one, but those the user does not watch."""
    unwatched = UserExchange.objects.filter(user_id=user_id, watch=False).values("exchange_id")
    return list(Exchange.objects.filter(active=True).exclude(pk__in=unwatched).values_list("pk", flat=True))


async def read_cards(redis: Redis, exchange_ids: Sequence[str]) -> list[ExchangeCard]:
    """A card for each exchange; "offline" where no process hosts it, or Redis does not answer."""
    rows = await db(lambda: list(Exchange.objects.filter(pk__in=exchange_ids)))()
    try:
        async with redis.pipeline(transaction=False) as pipe:
            for row in rows:
                statuses.queue_read(pipe, row.pk)
            answers = iter(await pipe.execute())
            found = [statuses.read(next(answers), next(answers)) for _ in rows]
    except FAILURES:
        found = [{"state": "offline", "error": "Redis does not answer"} for _ in rows]
    return [_card(row, one) for row, one in zip(rows, found, strict=True)]


def _card(row: Exchange, one: dict[str, Any]) -> ExchangeCard:
    return {
        "exchange_id": row.pk,
        "name": row.name,
        "simulated": row.is_sandbox,
        "state": one.get("state", "offline"),
        "connection_state": one.get("connection_state", ""),
        "since": one.get("since"),
        "connected_at": one.get("connected_at"),
        "last_heartbeat": one.get("last_heartbeat"),
        "symbols": one.get("symbols") or 0,
        "warmup": one.get("warmup"),
        "error": one.get("error") or ("" if one else "no process hosts it"),
        "error_at": one.get("error_at"),
        "retry_at": one.get("retry_at"),
        "host": one.get("host", ""),
        "pid": one.get("pid"),
    }


async def read_rows(redis: Redis, cards: Sequence[ExchangeCard], own: Iterable[Market]) -> list[SymbolRow]:
    """A row for each symbol of Tier 1 of these exchanges, best rank first, and for those of ``own`` that are not in it."""
    states = {card["exchange_id"]: card["state"] for card in cards}
    timeframes, symbols = await db(_pool)(list(states), frozenset(own))
    values: list[bytes | None] = []
    try:
        async with redis.pipeline(transaction=False) as pipe:
            for row in symbols:
                pipe.get(keys.ticker(row.exchange_id, row.symbol))
                pipe.hget(keys.exchange_states(row.exchange_id), row.symbol)
                for timeframe in timeframes[row.exchange_id]:
                    pipe.get(store.keys_of(row.exchange_id, row.symbol, timeframe, row.keeper_id).indicator)
            values = await pipe.execute()
    except FAILURES:
        values = []
    rows, at = [], 0
    for row in symbols:
        names = timeframes[row.exchange_id]
        found = [None if value is None else json.loads(value) for value in values[at : at + 2 + len(names)]] or [None] * (2 + len(names))
        at += 2 + len(names)
        rows.append(_row(row, states[row.exchange_id], found[0], found[1], dict(zip(names, found[2:], strict=True))))
    return rows


def _pool(exchange_ids: list[str], own: frozenset[Market]) -> tuple[dict[str, list[str]], list[Symbol]]:
    timeframes = dict(Exchange.objects.filter(pk__in=exchange_ids).values_list("pk", "timeframes"))
    rows = Symbol.objects.filter(exchange_id__in=exchange_ids)
    shared = list(rows.filter(tier=Tier.SHARED).order_by("rank", "symbol", "exchange_id"))
    if not own:
        return timeframes, shared
    known = {row.pk for row in shared}
    named = rows.filter(symbol__in={symbol for _, symbol in own}).order_by("rank", "symbol", "exchange_id")
    return timeframes, shared + [row for row in named if (row.exchange_id, row.symbol) in own and row.pk not in known]


def _row(
    row: Symbol, exchange_state: str, ticker: dict[str, Any] | None, state: dict[str, Any] | None, readings: dict[str, Any]
) -> SymbolRow:
    ticker = ticker or {}
    if exchange_state in {"idle", "offline"}:
        state = {"state": "offline", "reason": "the exchange is not running" if exchange_state == "idle" else "the exchange is offline"}
    if not row.tradable:
        state = {"state": "halted", "reason": f"the exchange does not trade it now: {row.status or 'halted'}"}
    state = state or {"state": "warming", "reason": "waiting for its first candle"}
    return {
        "exchange_id": row.exchange_id,
        "symbol": row.symbol,
        "base": row.base,
        "quote": row.quote,
        "decimals": decimals(row.price_increment, row.price),
        "rank": row.rank,
        "tier": 1 if row.tier == Tier.SHARED else 2,
        "price": ticker.get("price", row.price),
        "change_24h": ticker.get("change_24h", row.change_24h),
        "quote_volume_24h": ticker.get("quote_volume_24h", row.quote_volume_24h),
        "received": ticker.get("received"),
        "state": state["state"],
        "reason": state["reason"],
        "readings": {timeframe: reading for timeframe, reading in readings.items() if reading is not None},
    }


def decimals(increment: str, price: float | None) -> int:
    """How many decimals a price is shown with: the instrument's own, else five significant digits."""
    try:
        if increment and float(increment) > 0:
            text = f"{float(increment):.12f}".rstrip("0")
            return len(text.partition(".")[2])
    except ValueError:
        pass
    if not price:
        return 2
    return max(0, min(12, 5 - len(str(int(price))) if price >= 1 else 4 - int(f"{price:e}".partition("e")[2])))


async def read_positions(exchange_ids: Sequence[str]) -> dict[str, Position]:
    """The top alert id of each exchange, and the epoch it counts in."""
    return await db(_positions)(list(exchange_ids))


def _positions(exchange_ids: list[str]) -> dict[str, Position]:
    rows = ExchangeSequence.objects.filter(pk__in=exchange_ids).values_list("pk", "epoch", "last_number")
    return {exchange_id: {"epoch": epoch, "id": number} for exchange_id, epoch, number in rows}


async def read_snapshot(redis: Redis, viewer: Viewer, resume: Resume) -> SnapshotMessage:
    """Everything this viewer may see. ``resume`` says what the page has already, per exchange."""
    top = await read_positions(viewer.exchange_ids)
    cards = await read_cards(redis, viewer.exchange_ids)
    alerts, resumed = await db(_alerts)(viewer, top, resume)
    return {
        "type": "snapshot",
        "v": VERSION,
        "at": statuses.now_ms(),
        "exchanges": cards,
        "symbols": await read_rows(redis, cards, viewer.own),
        "alerts": alerts,
        "resumed": resumed,
        "top": top,
    }


def _joins(have: Position, now: Position, past: Sequence[str]) -> bool:
    """Whether what a page has is an earlier state of this very list, and not too long ago."""
    return have["epoch"] in {now["epoch"], *past} and have["id"] <= now["id"] <= have["id"] + MOST_RESUMED


def _alerts(viewer: Viewer, top: dict[str, Position], resume: Resume) -> tuple[list[AlertMessage], dict[str, bool]]:
    """The alerts since what the page has, or the newest ones of an exchange it cannot resume; newest first."""
    exchange_ids = viewer.exchange_ids
    visible = Alert.objects.visible_to(viewer.scope)
    found: list[Alert] = []
    fresh: list[str] = []
    past = dict(ExchangeSequence.objects.filter(pk__in=exchange_ids).values_list("pk", "past_epochs")) if resume else {}
    for exchange_id in exchange_ids:
        have, now = resume.get(exchange_id), top.get(exchange_id)
        if have is None or now is None or not _joins(have, now, past.get(exchange_id, [])):
            fresh.append(exchange_id)
        elif have["id"] < now["id"]:
            found += visible.filter(exchange_id=exchange_id, number__gt=have["id"])
    resumed = {exchange_id: exchange_id not in fresh for exchange_id in exchange_ids}
    for exchange_id in fresh:
        found += visible.filter(exchange_id=exchange_id).order_by("-number")[:NEWEST_ALERTS]
    found.sort(key=lambda alert: (alert.triggered_at, alert.number), reverse=True)
    epochs = {exchange_id: position["epoch"] for exchange_id, position in top.items()}
    return [services.alert_payload(alert, epochs.get(alert.exchange_id, "")) for alert in found], resumed
