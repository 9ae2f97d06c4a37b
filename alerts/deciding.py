"""Who is told of which alert: reads what alerts/policy.py asks for, and writes what it says into the outbox, with the cursor."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from alerts import messages, policy
from alerts.messages import Line, Message
from alerts.models import (
    Alert,
    Delivery,
    DeliveryCursor,
    DeliveryState,
    ExchangeSequence,
    NotificationChannel,
    NotificationSettings,
    Outage,
    RepeatPolicy,
    Silence,
    Told,
)
from alerts.payloads import NotifyMessage
from alerts.policy import Bundle, Dark, Fact, Move, Repeat, Series, Terms
from exchanges.events import TIMEFRAMES
from exchanges.models import STATES, Exchange, ExchangeEvent, Preferences, UserExchange
from exchanges.services import account_changed
from livermore import bus
from livermore.bus import FAILURES
from market_data import store
from symbols.models import Symbol
from symbols.wants import own_symbols

BATCH = 200
"""Alerts that are decided in one transaction."""
RIGHT = "alerts.view_alert"
_BACKEND = "django.contrib.auth.backends.ModelBackend"
_SOON = 120_000
"""Milliseconds for which a message about an outage is tried, at least."""

Notes = list[tuple[int, NotifyMessage]]
"""(user id, what the user's open pages are told)"""


class Reader(NamedTuple):
    """A user who wants to be told, and how. ``own``: the markets the user holds or added, where that matters."""

    user_id: int
    channels: tuple[NotificationChannel, ...]
    pages: bool
    health: bool
    timeframes: frozenset[str]
    zone: str
    own: frozenset[str]
    terms: Terms


def active_exchanges() -> list[str]:
    return list(Exchange.objects.filter(active=True).values_list("pk", flat=True))


def exchanges_behind() -> list[str]:
    """The exchanges with alerts that nobody has decided about. One that is new here begins with its next alert."""
    tops = dict(ExchangeSequence.objects.values_list("pk", "last_number"))
    cursors = dict(DeliveryCursor.objects.values_list("pk", "number"))
    new = [DeliveryCursor(exchange_id=name, number=top) for name, top in tops.items() if name not in cursors]
    if new:
        DeliveryCursor.objects.bulk_create(new, ignore_conflicts=True)
    return [name for name, top in tops.items() if top > cursors.get(name, top)]


def decide(exchange_id: str, now: int) -> Notes | None:
    """Decide about the next alerts of an exchange. What open pages are to be told; None where nothing is left to decide."""
    cursor = DeliveryCursor.objects.get(pk=exchange_id).number
    alerts = list(Alert.objects.filter(exchange_id=exchange_id, number__gt=cursor).defer("record").order_by("number")[:BATCH])
    if not alerts:
        return None
    exchange = Exchange.objects.get(pk=exchange_id)
    readers = readers_of(exchange_id, {alert.symbol for alert in alerts})
    facts = _facts(alerts, readers)
    outages = [Dark(*row) for row in Outage.objects.filter(exchange_id=exchange_id).values_list("exchange_id", "began_at", "ended_at")[:20]]
    owners = _owners(alerts)
    plans = [
        _plan(reader, [fact for fact in facts if _may_see(reader.user_id, fact, owners)], outages, exchange, now) for reader in readers
    ]
    inhibited = sum(1 for fact in facts if any(outage.covers(fact) for outage in outages))
    with transaction.atomic():
        row = DeliveryCursor.objects.select_for_update().get(pk=exchange_id)
        if row.number != cursor:
            return []  # another worker has decided meanwhile
        for plan in plans:
            _write(plan, exchange, now)
        if inhibited:
            Outage.objects.filter(exchange_id=exchange_id, ended_at=None).update(inhibited=F("inhibited") + inhibited)
        row.number = alerts[-1].number
        row.save(update_fields=["number"])
    return [note for plan in plans for note in plan.notes]


# Who


def readers_of(exchange_id: str, symbols: Iterable[str] = ()) -> list[Reader]:
    """The users who watch an exchange and want to be told of something outside its page, with the terms that concern these symbols."""
    away = UserExchange.objects.filter(exchange_id=exchange_id, watch=False).values("user_id")
    wanting = User.objects.with_perm(RIGHT, backend=_BACKEND).filter(
        Q(notification_channels__enabled=True) | Q(notification_settings__pages=True)
    )
    ids = sorted(set(wanting.exclude(pk__in=away).values_list("pk", flat=True)))
    if not ids:
        return []
    channels: dict[int, list[NotificationChannel]] = {}
    for channel in NotificationChannel.objects.filter(user__in=ids, enabled=True).defer("url"):
        channels.setdefault(channel.user_id, []).append(channel)
    own = {user_id: _own(user_id, exchange_id) for user_id, found in channels.items() if any(one.mine_only for one in found)}
    chosen = {row.user_id: row for row in NotificationSettings.objects.filter(user__in=ids)}
    preferences = {row.user_id: row for row in Preferences.objects.filter(user__in=ids)}
    silences = _silences(ids, exchange_id, symbols)
    told = _told(ids, exchange_id, symbols)
    repeats: dict[int, dict[int, Repeat]] = {}
    for user_id, rule_id, repeat in RepeatPolicy.objects.filter(user__in=ids).values_list("user_id", "rule_id", "repeat"):
        repeats.setdefault(user_id, {})[rule_id] = Repeat(repeat)
    found = []
    for user_id in ids:
        mine = chosen.get(user_id) or NotificationSettings(user_id=user_id)
        shown = preferences.get(user_id) or Preferences(user_id=user_id)
        zone = shown.time_zone or mine.zone or "UTC"
        quiet = None if mine.quiet_from is None or mine.quiet_to is None else policy.QuietHours(mine.quiet_from, mine.quiet_to, zone)
        terms = Terms(repeats.get(user_id, {}), quiet, silences.get(user_id, ()), told.get(user_id, {}), mine.group_from)
        found.append(
            Reader(
                user_id,
                tuple(channels.get(user_id, ())),
                mine.pages,
                mine.health,
                frozenset(shown.timeframes),
                zone,
                own.get(user_id, frozenset()),
                terms,
            )
        )
    return found


def _own(user_id: int, exchange_id: str) -> frozenset[str]:
    return frozenset(one.row.symbol for one in own_symbols(user_id=user_id) if one.row.exchange_id == exchange_id)


def _silences(ids: list[int], exchange_id: str, symbols: Iterable[str]) -> dict[int, list[policy.Silence]]:
    found: dict[int, list[policy.Silence]] = {}
    for row in Silence.objects.filter(user__in=ids, exchange_id=exchange_id, symbol__in=list(symbols)):
        one = policy.Silence(row.exchange_id, row.symbol, row.timeframe, row.stage, row.candle_time, row.until)
        found.setdefault(row.user_id, []).append(one)
    return found


def _told(ids: list[int], exchange_id: str, symbols: Iterable[str]) -> dict[int, dict[tuple[int | None, Series], policy.Told]]:
    found: dict[int, dict[tuple[int | None, Series], policy.Told]] = {}
    for row in Told.objects.filter(user__in=ids, exchange_id=exchange_id, symbol__in=list(symbols)):
        series = (row.exchange_id, row.symbol, row.timeframe)
        found.setdefault(row.user_id, {})[row.rule_id, series] = policy.Told(row.stage, row.candle_time, row.at)
    return found


def _owners(alerts: Iterable[Alert]) -> dict[str, frozenset[int]]:
    """uid -> who may see an alert that is not shared."""
    private = {alert.pk: alert.uid for alert in alerts if not alert.shared}
    found: dict[str, set[int]] = {uid: set() for uid in private.values()}
    for alert_id, user_id in Alert.owners.through.objects.filter(alert_id__in=list(private)).values_list("alert_id", "user_id"):
        found[private[alert_id]].add(user_id)
    return {uid: frozenset(users) for uid, users in found.items()}


def _may_see(user_id: int, fact: Fact, owners: Mapping[str, frozenset[int]]) -> bool:
    return fact.uid not in owners or user_id in owners[fact.uid]


# What


def _facts(alerts: Sequence[Alert], readers: Iterable[Reader]) -> list[Fact]:
    since = _stages_since(alerts, _asked(readers))
    return [
        Fact(
            alert.uid,
            alert.number,
            alert.exchange_id,
            alert.symbol,
            alert.timeframe,
            alert.rule_id,
            alert.trigger_label,
            alert.direction,
            alert.stage,
            since.get(alert.uid, alert.candle_time),
            alert.trigger_value,
            alert.price,
            alert.quote,
            alert.candle_time,
            TIMEFRAMES[alert.timeframe],
            alert.triggered_at,
            alert.delayed,
        )
        for alert in alerts
    ]


def _asked(readers: Iterable[Reader]) -> set[Series]:
    """The series where it matters for how long a stage has lasted: somebody was told, or acknowledged it."""
    found = set()
    for reader in readers:
        found |= {series for _, series in reader.terms.told}
        found |= {(one.exchange_id, one.symbol, one.timeframe) for one in reader.terms.silences if one.until is None}
    return found


def _stages_since(alerts: Sequence[Alert], asked: set[Series]) -> dict[str, int]:
    """uid -> the open time of the first candle of the stage that the alert's candle is in, as Redis has the readings.

    Where it has none, the stage counts as new: rather told once too often.
    """
    wanted = [alert for alert in alerts if (alert.exchange_id, alert.symbol, alert.timeframe) in asked]
    if not wanted:
        return {}
    keepers = dict(Symbol.objects.filter(exchange_id=wanted[0].exchange_id).values_list("symbol", "keeper_id"))
    try:
        pipe = bus.sync().pipeline(transaction=False)
        for alert in wanted:
            name = store.keys_of(alert.exchange_id, alert.symbol, alert.timeframe, keepers.get(alert.symbol)).readings
            pipe.zrevrangebyscore(name, f"({alert.candle_time}", "-inf")
        answers = pipe.execute()
    except FAILURES:
        return {}
    return {alert.uid: _since(alert, rows) for alert, rows in zip(wanted, answers, strict=True)}


def _since(alert: Alert, rows: Iterable[bytes]) -> int:
    """``rows``: readings before the alert's candle, newest first."""
    since = alert.candle_time
    for row in rows:
        open_time, *_, stage = json.loads(row)
        if stage != alert.stage:
            break
        since = int(open_time)
    return since


def _acks(one: policy.Silence) -> QuerySet[Silence]:
    series = {"exchange_id": one.exchange_id, "symbol": one.symbol, "timeframe": one.timeframe}
    return Silence.objects.filter(kind="ack", stage=one.stage, candle_time=one.candle_time, **series)


def silences_sweep(now: int) -> None:
    """Forget snoozes that are over, and acknowledgements of a stage that is, as Redis has the readings since."""
    over = dict(Silence.objects.filter(until__lte=now).values_list("pk", "user_id"))
    acks = list(Silence.objects.filter(kind="ack"))
    keepers = {(row[0], row[1]): row[2] for row in Symbol.objects.exclude(keeper=None).values_list("exchange_id", "symbol", "keeper_id")}
    pipe = bus.sync().pipeline(transaction=False)
    for one in acks:
        keeper = keepers.get((one.exchange_id, one.symbol))
        name = store.keys_of(one.exchange_id, one.symbol, one.timeframe, keeper).readings
        pipe.zrangebyscore(name, f"({one.candle_time}", "+inf")
    for one, rows in zip(acks, pipe.execute(), strict=True):
        if any(json.loads(row)[-1] != one.stage for row in rows):
            over[one.pk] = one.user_id
    Silence.objects.filter(pk__in=list(over)).delete()
    for user_id in sorted(set(over.values())):
        account_changed(user_id)


# The plan for one reader


class Plan(NamedTuple):
    reader: Reader
    told: list[Fact]
    bundles: list[tuple[NotificationChannel, Bundle]]
    notes: Notes
    ended: list[policy.Silence]


def _plan(reader: Reader, facts: Sequence[Fact], outages: Sequence[Dark], exchange: Exchange, now: int) -> Plan:
    """What one reader is told of these alerts."""
    terms = reader.terms
    telling: list[Fact] = []
    for fact in facts:  # in order: what is told here counts for the next one
        if policy.why_not(fact, terms, outages, now):
            continue
        if not (
            any(_takes(channel, fact, reader) for channel in reader.channels) or (reader.pages and fact.timeframe in reader.timeframes)
        ):
            continue
        telling.append(fact)
        told = {**terms.told, (fact.rule_id, fact.series): policy.Told(fact.stage, fact.candle_time, now)}
        terms = terms._replace(told=told)
    bundles = []
    for channel in reader.channels:
        taken = [fact for fact in telling if _takes(channel, fact, reader)]
        recent = _recent(channel, now) if taken else {}
        bundles += [(channel, bundle) for bundle in policy.bundles(taken, recent, terms.group_from)]
    ended = [one for one in terms.silences if any(policy.ended(one, fact) for fact in facts)]
    return Plan(reader, telling, bundles, _notes(reader, telling, exchange), ended)


def _takes(channel: NotificationChannel, fact: Fact, reader: Reader) -> bool:
    return fact.timeframe in channel.timeframes and (not channel.mine_only or fact.symbol in reader.own)


def _recent(channel: NotificationChannel, now: int) -> dict[Move, frozenset[str]]:
    """The symbols a channel was told of within the last minute."""
    found: dict[Move, set[str]] = {}
    rows = Delivery.objects.filter(channel=channel, created_at__gt=now - policy.GROUP_WINDOW, about__in=["alert", "group"])
    for exchange_id, direction, lines in rows.values_list("exchange_id", "direction", "facts"):
        found.setdefault((str(exchange_id), direction), set()).update(one["symbol"] for one in lines)
    return {move: frozenset(symbols) for move, symbols in found.items()}


def _notes(reader: Reader, telling: Sequence[Fact], exchange: Exchange) -> Notes:
    """For open pages. A delayed alert makes no sound."""
    if not reader.pages:
        return []
    shown = [fact for fact in telling if fact.timeframe in reader.timeframes]
    found: Notes = []
    for bundle in policy.bundles(shown, {}, reader.terms.group_from):
        silent = all(fact.delayed for fact in bundle.facts)
        first = bundle.facts[0]
        tag = f"group:{first.uid}" if bundle.grouped else first.uid  # as in the outbox: a push of the same replaces it
        found.append((reader.user_id, note(_said(bundle, exchange.name), tag, silent, first.closed_at)))
    return found


def note(message: Message, tag: str, silent: bool, at: int) -> NotifyMessage:
    return {
        "type": "notify",
        "title": message.title,
        "body": message.body,
        "path": message.path,
        "tag": tag,
        "silent": silent,
        "at": at,
    }


def _said(bundle: Bundle, exchange: str) -> Message:
    if bundle.grouped:
        return messages.of_group([messages.line(fact) for fact in bundle.facts], exchange)
    return messages.of_alert(bundle.facts[0], exchange)


# Writing


def _write(plan: Plan, exchange: Exchange, now: int) -> None:
    """Inside the transaction that moves the cursor."""
    user_id = plan.reader.user_id
    for fact in plan.told:
        if fact.rule_id is not None:
            Told.objects.update_or_create(
                user_id=user_id,
                rule_id=fact.rule_id,
                exchange_id=fact.exchange_id,
                symbol=fact.symbol,
                timeframe=fact.timeframe,
                defaults={"stage": fact.stage, "candle_time": fact.candle_time, "at": now},
            )
    for one in plan.ended:
        _acks(one).filter(user_id=user_id).delete()
    if plan.ended:
        transaction.on_commit(partial(account_changed, user_id))
    rows = []
    for channel, bundle in plan.bundles:
        if bundle.grouped:
            _join(channel, bundle, exchange, now)
        else:
            fact = bundle.facts[0]
            rows.append(_row(channel, fact.uid, "alert", _said(bundle, exchange.name), [messages.line(fact)], bundle, now, due_at=now))
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)


def _row(
    channel: NotificationChannel, key: str, about: str, message: Message, lines: list[Line], bundle: Bundle, now: int, *, due_at: int
) -> Delivery:
    first = bundle.facts[0]
    return Delivery(
        channel=channel,
        key=key,
        about=about,
        exchange_id=first.exchange_id,
        direction=first.direction,
        facts=lines,
        title=message.title[:200],
        body=message.body,
        path=message.path[:400],
        silent=all(fact.delayed for fact in bundle.facts),
        closed_at=min(fact.closed_at for fact in bundle.facts),
        created_at=now,
        due_at=due_at,
        expires_at=max(policy.expires_at(fact, now) for fact in bundle.facts),
    )


def _join(channel: NotificationChannel, bundle: Bundle, exchange: Exchange, now: int) -> None:
    """Put the alerts of a market-wide move into the message about it that has not gone, or into the next one, a minute after the last."""
    move = {"channel": channel, "about": "group", "exchange": exchange, "direction": bundle.facts[0].direction}
    last = Delivery.objects.select_for_update().filter(**move, created_at__gt=now - 2 * policy.GROUP_EVERY).order_by("-pk").first()
    lines = [messages.line(fact) for fact in bundle.facts]
    if last is not None and last.state == DeliveryState.WAITING and last.attempts == 0:
        lines = [*last.facts, *lines]
        message = messages.of_group(lines, exchange.name)
        changed = Delivery.objects.filter(pk=last.pk, state=DeliveryState.WAITING).update(
            facts=lines, title=message.title[:200], body=message.body, silent=last.silent and all(fact.delayed for fact in bundle.facts)
        )
        if changed:
            return
        lines = lines[len(last.facts) :]
    due_at = now if last is None else max(now, last.due_at + policy.GROUP_EVERY)
    message = messages.of_group(lines, exchange.name)
    row = _row(channel, f"group:{bundle.facts[0].uid}", "group", message, lines, bundle, now, due_at=due_at)
    Delivery.objects.bulk_create([row], ignore_conflicts=True)


# Outages


class Health:
    """Follows the state of each exchange, and tells of its outages once."""

    def __init__(self) -> None:
        self._watches: dict[str, policy.Watch] = {}

    def look(self, states: Mapping[str, str], statuses: Mapping[str, Mapping[str, Any]], now: int) -> Notes:
        """Take the state of each exchange."""
        notes: Notes = []
        for exchange_id, state in states.items():
            watch = self._watches.get(exchange_id)
            if watch is None:
                watch = first_watch(exchange_id)
            self._watches[exchange_id], step = watch.see(state, now)
            if step.what == "dark":
                notes += outage_begin(exchange_id, step.since, str(statuses[exchange_id].get("error") or ""), now)
            elif step.what == "back":
                notes += outage_end(exchange_id, step.since, now, tell=state != "idle")
        return notes


def first_watch(exchange_id: str) -> policy.Watch:
    """What a worker that starts knows of an exchange."""
    if Outage.objects.filter(exchange_id=exchange_id, ended_at=None).exists():
        return policy.Watch(live=True, out=True)
    events = ExchangeEvent.objects.filter(exchange_id=exchange_id, event__in=STATES).order_by("-at", "-pk").values_list("event", flat=True)
    for event in events[:200]:
        if event in {"live", "idle"}:
            return policy.Watch(live=event == "live")
    return policy.Watch()


def outage_begin(exchange_id: str, since: int, reason: str, now: int) -> Notes:
    """An exchange has gone dark: note it, and tell who watches it, once, whoever sees it."""
    exchange = Exchange.objects.get(pk=exchange_id)
    try:
        with transaction.atomic():
            outage = Outage.objects.create(exchange=exchange, began_at=since, reason=reason[:300], told_at=now)
            return _tell_of_outage(
                exchange, outage, "dark", lambda reader: messages.of_outage(exchange.name, reason[:200], _clock(since, reader.zone)), now
            )
    except IntegrityError:
        return []  # another worker was first


def outage_end(exchange_id: str, at: int, now: int, *, tell: bool) -> Notes:
    """It is live again, or was stopped."""
    exchange = Exchange.objects.get(pk=exchange_id)
    with transaction.atomic():
        outage = Outage.objects.select_for_update().filter(exchange=exchange, ended_at=None).first()
        if outage is None:
            return []
        outage.ended_at = at
        outage.save(update_fields=["ended_at"])
        if not tell:
            return []
        message = messages.of_return(exchange.name, round((at - outage.began_at) / 60_000), outage.inhibited)
        return _tell_of_outage(exchange, outage, "back", lambda reader: message, now)


def _clock(at: int, zone: str) -> str:
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))
    return f"{local:%H:%M} {local.tzname()}"


def _tell_of_outage(exchange: Exchange, outage: Outage, what: str, say: Any, now: int) -> Notes:
    rows, notes = [], []
    for reader in readers_of(exchange.pk):
        if not reader.health or (reader.terms.quiet is not None and reader.terms.quiet.cover(now)):
            continue
        message: Message = say(reader)
        key = f"health:{exchange.pk}:{outage.pk}:{what}"
        for channel in reader.channels:
            rows.append(
                Delivery(
                    channel=channel,
                    key=key,
                    about="health",
                    exchange=exchange,
                    title=message.title[:200],
                    body=message.body,
                    path=message.path,
                    closed_at=now,
                    created_at=now,
                    due_at=now,
                    expires_at=now + max(_SOON, policy.PATIENCE),
                )
            )
        if reader.pages:
            notes.append((reader.user_id, note(message, key, False, now)))
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)
    return notes
