"""Every write of alerts, and what they look like outside."""

import os
import socket
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import connections, router, transaction
from django.db.models import Exists, Max, OuterRef

from alerts.evaluation import Draft
from alerts.models import Alert, AlertRule, ExchangeSequence
from alerts.payloads import AlertMessage, WithheldMessage
from alerts.receipts import Connector, record
from alerts.rules import Rule, uid
from exchanges.events import BASE_TIMEFRAME
from exchanges.models import UserExchange
from exchanges.shards import WHOLE, Shard
from market_data.models import Checkpoint
from symbols.models import Position, UserSymbol
from symbols.tiers import SHARED, Place

PAST_EPOCHS = 100
"""Epochs that are remembered: a page that was away for longer gets a fresh list."""


class Fenced(Exception):
    """Another connector has taken this exchange over: stop, and commit nothing more."""


class CheckpointDraft(NamedTuple):
    """How far a series has been evaluated, and its exact state there."""

    symbol: str
    timeframe: str
    open_time: int
    indicator: str
    memory: str


class Naming(NamedTuple):
    """What an alert says about its symbol, and for whom it is."""

    base: str
    quote: str
    place: Place = SHARED


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def rules_load() -> list[Rule]:
    """The enabled rules, as the pure ones evaluate them."""
    return [
        Rule(
            id=row.pk,
            version=row.version,
            levels=tuple(float(level) for level in row.levels),
            timeframes=frozenset(row.timeframes),
            reversal_level=row.reversal_level,
            oversold_buffer=row.oversold_buffer / 100,
            overbought_buffer=row.overbought_buffer / 100,
            cooldown=row.cooldown * 1000,
            name=row.name,
        )
        for row in AlertRule.objects.filter(enabled=True)
    ]


def sequence_take_over(*, exchange_id: str, shard: Shard = WHOLE) -> tuple[int, str]:
    """Fence off every older connector of the shard, and all of any other division. Returns (fence, epoch of the stream)."""
    with transaction.atomic():
        ExchangeSequence.objects.get_or_create(exchange_id=exchange_id, defaults={"epoch": uuid.uuid4().hex})
        row = ExchangeSequence.objects.select_for_update().get(pk=exchange_id)
        row.fence += 1
        row.fences = {name: fence for name, fence in row.fences.items() if Shard.parse(name).of == shard.of} | {str(shard): row.fence}
        row.save(update_fields=["fence", "fences"])
        return row.fence, row.epoch


def sequence_epoch(*, exchange_id: str) -> str:
    """The epoch of the stream, as the connector that built it last has stored it."""
    return ExchangeSequence.objects.values_list("epoch", flat=True).get(pk=exchange_id)


def sequence_new_epoch(*, exchange_id: str) -> str:
    """The epoch of a stream that is being rebuilt."""
    with transaction.atomic():
        row = ExchangeSequence.objects.select_for_update().get(pk=exchange_id)
        row.past_epochs = [*row.past_epochs, row.epoch][-PAST_EPOCHS:]
        row.epoch = uuid.uuid4().hex
        row.save(update_fields=["epoch", "past_epochs"])
    return row.epoch


@transaction.atomic
def closes_commit(
    *,
    exchange_id: str,
    fence: int,
    checkpoints: Sequence[CheckpointDraft],
    drafts: Sequence[Draft],
    naming: dict[str, Naming],
    revised: Sequence[tuple[str, int]] = (),
    shard: Shard = WHOLE,
) -> list[Alert]:
    """Store the alerts of a batch of closed candles and move the checkpoints, together or not at all.

    An alert whose ``uid`` is there already is left as it is. ``revised``: (symbol, open time) of 5m candles the exchange changed after
    their close; their alerts are marked, and stay. Returns the new alerts, numbered without a gap. Raises Fenced when another
    connector has taken over.
    """
    sequence = ExchangeSequence.objects.select_for_update().get(pk=exchange_id)
    if sequence.fences.get(str(shard)) != fence:
        raise Fenced(f"{exchange_id}: another connector has taken over")
    Checkpoint.objects.bulk_create(
        [Checkpoint(exchange_id=exchange_id, **checkpoint._asdict()) for checkpoint in checkpoints],
        update_conflicts=True,
        unique_fields=["exchange", "symbol", "timeframe"],
        update_fields=["open_time", "indicator", "memory"],
        batch_size=500,
    )
    alerts = _store(sequence, drafts, naming, fence) if drafts else []
    for symbol, candle_time in revised:  # also of the alerts that the same batch has raised
        raised = Alert.objects.filter(exchange_id=exchange_id, symbol=symbol, timeframe=BASE_TIMEFRAME, candle_time=candle_time)
        raised.update(revised=True)
        for alert in alerts:
            alert.revised |= (alert.symbol, alert.timeframe, alert.candle_time) == (symbol, BASE_TIMEFRAME, candle_time)
    return alerts


def _store(sequence: ExchangeSequence, drafts: Sequence[Draft], naming: dict[str, Naming], fence: int) -> list[Alert]:
    uids = {_uid(sequence.exchange_id, draft): draft for draft in drafts}
    for known in Alert.objects.filter(uid__in=list(uids)).values_list("uid", flat=True):
        del uids[known]
    at = now_ms()
    connector: Connector = {"host": socket.gethostname(), "pid": os.getpid(), "fence": fence}
    alerts = [
        _alert(sequence.exchange_id, sequence.last_number + place, key, draft, naming[draft.advance.series.symbol], at, connector)
        for place, (key, draft) in enumerate(uids.items(), 1)
    ]
    Alert.objects.bulk_create(alerts, batch_size=200)
    _store_owners(alerts, naming)
    sequence.last_number += len(alerts)
    sequence.save(update_fields=["last_number"])
    return alerts


def _store_owners(alerts: Sequence[Alert], naming: dict[str, Naming]) -> None:
    """Who may see an alert that is not shared. One that is needs no rows: everybody may."""
    links = Alert.owners.through
    links.objects.bulk_create(
        [
            links(alert_id=alert.pk, user_id=user_id)
            for alert in alerts
            if not alert.shared
            for user_id in sorted(naming[alert.symbol].place.owners)
        ],
        batch_size=500,
    )


def _uid(exchange_id: str, draft: Draft) -> str:
    series = draft.advance.series
    return uid(exchange_id, series.symbol, series.timeframe, draft.rule, draft.signal.label, draft.advance.bar.open_time)


def _alert(exchange_id: str, number: int, key: str, draft: Draft, naming: Naming, at: int, connector: Connector) -> Alert:
    advance, current = draft.advance, draft.advance.current
    previous = advance.previous
    assert current.macdv is not None
    assert previous is not None
    assert previous.macdv is not None
    return Alert(
        exchange_id=exchange_id,
        number=number,
        uid=key,
        rule_id=draft.rule.id,
        rule_version=draft.rule.version,
        symbol=advance.series.symbol,
        base=naming.base,
        quote=naming.quote,
        timeframe=advance.series.timeframe,
        trigger_label=draft.signal.label,
        direction=draft.signal.direction,
        trigger_value=current.macdv,
        previous_value=previous.macdv,
        signal_delta=current.histogram,
        price=advance.bar.close,
        candle_time=advance.bar.open_time,
        triggered_at=at,
        delayed=draft.delayed,
        stage=current.stage,
        bias=draft.bias,
        timeframes=[{"timeframe": name, "macdv": item.macdv, "stage": item.stage} for name, item in draft.stages.items()],
        overflow=naming.place != SHARED,
        shared=naming.place.shared,
        record=record(draft, connector),
    )


def alerts_unpublished(*, exchange_id: str) -> list[Alert]:
    """What was committed but not marked as published, in order."""
    return list(Alert.objects.filter(exchange_id=exchange_id, published_at=None).defer("record").order_by("number"))


def alert_owners(alerts: Sequence[Alert]) -> dict[int, list[int]]:
    """alert pk -> the users on whose own channels it goes: who may see it alone, or who wants its symbol now."""
    overflow = [alert for alert in alerts if alert.overflow]
    if not overflow:
        return {}
    links = Alert.owners.through.objects.filter(alert__in=overflow)
    owners: dict[int, set[int]] = {alert.pk: set() for alert in overflow}
    for alert_id, user_id in links.values_list("alert_id", "user_id"):
        owners[alert_id].add(user_id)
    away = UserExchange.objects.filter(user_id=OuterRef("user_id"), exchange_id=OuterRef("symbol__exchange_id"), watch=False)
    wanted: dict[tuple[str, str], set[int]] = {}
    where = {"symbol__symbol__in": {alert.symbol for alert in overflow}, "symbol__exchange__in": {alert.exchange_id for alert in overflow}}
    for model in (UserSymbol, Position):
        rows = model.objects.filter(~Exists(away), **where).values_list("symbol__exchange_id", "symbol__symbol", "user_id")
        for exchange_id, symbol, user_id in rows:
            wanted.setdefault((exchange_id, symbol), set()).add(user_id)
    for alert in overflow:
        if alert.shared:
            owners[alert.pk] |= wanted.get((alert.exchange_id, alert.symbol), set())
    return {pk: sorted(users) for pk, users in owners.items()}


def alerts_mark_published(*, alerts: Iterable[Alert]) -> None:
    """Note that they are out: when, what was ``elsewhere``, and ``committed_at`` where this process committed it.

    A row each through ``executemany``: ``bulk_update`` writes a CASE over all rows for each column, and its parsing was 38 % of what
    committing a thousand symbols took.
    """
    fields = [Alert._meta.get_field(name) for name in ("committed_at", "published_at", "elsewhere")]
    write = connections[router.db_for_write(Alert)]
    quote = write.ops.quote_name
    assignments = ", ".join(f"{quote(field.column)} = %s" for field in fields)
    update = f"UPDATE {quote(Alert._meta.db_table)} SET {assignments} WHERE {quote(Alert._meta.pk.column)} = %s"  # nosec B608  # names of ours
    rows = [(*(field.get_db_prep_save(getattr(alert, field.attname), write) for field in fields), alert.pk) for alert in alerts]
    with transaction.atomic(using=write.alias), write.cursor() as cursor:
        cursor.executemany(update, rows)


def alerts_newest(*, exchange_id: str, most: int) -> list[Alert]:
    """The newest published ones, oldest first, for rebuilding the stream."""
    newest = Alert.objects.filter(exchange_id=exchange_id, published_at__isnull=False).defer("record").order_by("-number")[:most]
    return list(reversed(newest))


def cooldowns_stored(*, exchange_id: str, since: int) -> list[tuple[str, str, int, str, int]]:
    """(symbol, timeframe, rule id, label, candle time) of the last alert of each kind since ``since`` (ms)."""
    rows = Alert.objects.filter(exchange_id=exchange_id, candle_time__gte=since, rule__isnull=False).order_by()
    return list(
        rows.values("symbol", "timeframe", "rule_id", "trigger_label")
        .annotate(last=Max("candle_time"))
        .values_list("symbol", "timeframe", "rule_id", "trigger_label", "last")
    )


def alert_payload(alert: Alert, epoch: str) -> AlertMessage:
    """The alert as everybody outside sees it."""
    return {
        "type": "alert",
        "id": alert.number,
        "epoch": epoch,
        "uid": alert.uid,
        "source_exchange_id": alert.exchange_id,
        "symbol": alert.symbol,
        "base": alert.base,
        "quote": alert.quote,
        "timeframe": alert.timeframe,
        "alert_type": alert.alert_type,
        "trigger_label": alert.trigger_label,
        "direction": alert.direction,
        "trigger_value": alert.trigger_value,
        "signal_delta": alert.signal_delta,
        "price": alert.price,
        "candle_time": alert.candle_time,
        "triggered_at": alert.triggered_at,
        "published_at": alert.published_at or 0,
        "delayed": alert.delayed,
        "revised": alert.revised,
        "stage": alert.stage,
        "bias": alert.bias,
        "timeframes": alert.timeframes,
        "elsewhere": alert.elsewhere,
        "overflow": alert.overflow,
        "shared": alert.shared,
    }


def withheld_payload(alert: Alert, epoch: str) -> WithheldMessage:
    """In place of an alert that is not shared: that its number is taken, and nothing else."""
    return {"type": "withheld", "id": alert.number, "epoch": epoch, "source_exchange_id": alert.exchange_id}


def public_payload(alert: Alert, epoch: str) -> AlertMessage | WithheldMessage:
    """What everybody who watches the exchange gets."""
    return alert_payload(alert, epoch) if alert.shared else withheld_payload(alert, epoch)
