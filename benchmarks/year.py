"""A database after a year of alerts, the same one from the same seed. For a benchmark, and for tests of what the planner does with it.

The first days are made row by row; the months after them are the same days again, later, written by the database itself.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model

from alerts.models import Alert, AlertRule, Delivery, DeliveryState, ExchangeSequence, Kind, NotificationChannel
from exchanges.events import TIMEFRAMES
from exchanges.models import STATES, Exchange, ExchangeEvent, UserExchange
from market_data.models import Checkpoint
from symbols.models import Coin, Position, Symbol, Tier, UserSymbol

DAY = 86_400_000
YEAR = 365 * DAY
EXCHANGES = 10
STATE_CYCLE = ("live", "stale", "live", "gap", "live", "disconnected", "connecting", "connected", "warming")
"""What happens to an exchange, again and again."""
_WEIGHTS = {"5m": 60, "15m": 22, "1h": 11, "4h": 5, "1d": 2}
_LABELS = {"level_150": 40, "level_200": 20, "level_250": 8, "level_300": 3, "level_350": 1, "level_400": 0.3,
           "level_-150": 35, "level_-200": 18, "level_-250": 7, "level_-300": 3, "level_-350": 1, "level_-400": 0.3,
           "reversal_oversold": 12, "reversal_overbought": 12}  # fmt: skip
_STAGES = ("ranging", "rallying", "overbought", "retracing", "rebounding", "oversold", "reversing")


class Growth(NamedTuple):
    """How many rows of what. ``base``: of the alerts, how many are made one by one; a part of ``alerts``."""

    alerts: int
    symbols: int = 120
    """Of an exchange."""
    events: int = 100_000
    deliveries: int = 100_000
    users: int = 50
    base: int = 10_000


A_YEAR = Growth(1_000_000)


class Filled(NamedTuple):
    """What is there to ask for. ``last`` is the open time of the newest candle, milliseconds UTC."""

    exchange_ids: tuple[str, ...]
    symbol: str
    user: User
    last: int


def fill(growth: Growth, *, seed: int = 1, end: int | None = None) -> Filled:
    """Fill an empty, migrated database. ``end``: when the year is over, milliseconds UTC; now by default."""
    rng = random.Random(seed)
    end = (time.time_ns() // 1_000_000 if end is None else end) // DAY * DAY
    exchange_ids = _exchanges()
    users = _users(growth.users)
    markets = _symbols(exchange_ids, growth.symbols, users, rng)
    last = _alerts(growth, exchange_ids, markets, users, end, rng)
    _checkpoints(exchange_ids, markets, last)
    _events(growth.events, exchange_ids, end)
    _deliveries(growth.deliveries, exchange_ids, users, end, rng)
    analyze()
    return Filled(exchange_ids, markets[exchange_ids[0]][0][0], users[0], last)


def analyze() -> None:
    """Have the planner count, as autovacuum does within minutes."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" and not connection.in_atomic_block else "ANALYZE")


def _exchanges() -> tuple[str, ...]:
    have = list(Exchange.objects.order_by("pk"))
    like = have[0]
    for place in range(len(have), EXCHANGES):
        like.pk, like.name = f"growth-{place}", f"Growth {place}"
        like.save(force_insert=True)
    found = tuple(Exchange.objects.order_by("pk").values_list("pk", flat=True))
    UserExchange.objects.all().delete()
    return found


def _users(count: int) -> list[User]:
    """Viewers, each with a way to be told."""
    users = User.objects.bulk_create([User(username=f"viewer-{number}", is_staff=number == 0) for number in range(count)])
    viewers = Group.objects.get(name="viewer")
    User.groups.through.objects.bulk_create([User.groups.through(user=user, group=viewers) for user in users])
    NotificationChannel.objects.bulk_create(
        [
            NotificationChannel(
                user=user, kind=Kind.WEBHOOK, name="hook", url="json://example.org", digest=f"growth-{user.pk}", created_at=0
            )
            for user in users
        ]
    )
    return users


Markets = dict[str, list[tuple[str, str, bool]]]
"""exchange id -> (symbol, base, whether it is overflow)"""


def _symbols(exchange_ids: Sequence[str], count: int, users: Sequence[User], rng: random.Random) -> Markets:
    coins = {number: Coin(code=f"C{number}", rank=number + 1, volume_24h=1e9 / (number + 1)) for number in range(count)}
    Coin.objects.bulk_create(coins.values())
    markets: Markets = {}
    rows = []
    for exchange_id in exchange_ids:
        markets[exchange_id] = []
        for number in range(count):
            overflow = number >= min(count * 0.95, count - 1)
            symbol = f"C{number}-{'USDT' if number % 3 else 'USD'}"
            markets[exchange_id].append((symbol, f"C{number}", overflow))
            rows.append(
                Symbol(
                    exchange_id=exchange_id,
                    symbol=symbol,
                    base=f"C{number}",
                    quote=symbol.partition("-")[2],
                    price=rng.uniform(0.01, 50_000),
                    price_increment="0.01",
                    quote_volume_24h=1e8 / (number + 1),
                    dollar_volume_24h=1e8 / (number + 1),
                    rank=number + 1,
                    tier=Tier.OVERFLOW if overflow else Tier.SHARED,
                    keeper=users[number % len(users)] if overflow else None,
                    coin=coins[number],
                )
            )
    Symbol.objects.bulk_create(rows, batch_size=1000)
    wanted = [row for row in rows if row.tier == Tier.OVERFLOW]
    UserSymbol.objects.bulk_create([UserSymbol(user=user, symbol=row) for row in wanted for user in users[:10]], batch_size=1000)
    Position.objects.bulk_create(
        [
            Position(user=user, exchange_id=exchange_ids[0], asset=f"C{number}", quantity=1.0, value=100.0)
            for user in users
            for number in range(10)
        ],
        batch_size=1000,
    )
    return markets


# Alerts


def _alerts(growth: Growth, exchange_ids: Sequence[str], markets: Markets, users: Sequence[User], end: int, rng: random.Random) -> int:
    rule = AlertRule.objects.order_by("pk")[0]
    base = min(growth.base, growth.alerts)
    repeats = -(-growth.alerts // base)
    days = max(1, 365 // repeats) * DAY
    each = base // len(exchange_ids)
    start = end - days * repeats
    made: list[Alert] = []
    for exchange_id in exchange_ids:
        chosen = _weighted(markets[exchange_id], each, rng)
        times = sorted(start + rng.randrange(days) // 300_000 * 300_000 for _ in range(each))
        made += [
            _alert(exchange_id, number, symbol, at, rule, rng) for number, (symbol, at) in enumerate(zip(chosen, times, strict=True), 1)
        ]
    made.sort(key=lambda alert: alert.triggered_at)
    Alert.objects.bulk_create(made, batch_size=1000)
    _again(
        Alert,
        made[-1].pk,
        repeats - 1,
        lambda time_: {
            **_later(time_ * days, "candle_time", "triggered_at", "committed_at", "published_at"),
            "number": f"number + {each * time_}",
            "uid": f"uid || '+{time_}'",
        },
    )
    _owners(users)
    ExchangeSequence.objects.bulk_create(
        [
            ExchangeSequence(exchange_id=exchange_id, last_number=repeats * each, epoch=f"growth-{exchange_id}")
            for exchange_id in exchange_ids
        ]
    )
    return max(alert.candle_time for alert in made) + (repeats - 1) * days


def _weighted(markets: list[tuple[str, str, bool]], count: int, rng: random.Random) -> list[tuple[str, str, bool]]:
    """The big coins fire more often; one in twenty alerts is of an overflow symbol."""
    shared, overflow = [one for one in markets if not one[2]], [one for one in markets if one[2]]
    weights = [1 / (place + 3) for place in range(len(shared))]
    return [rng.choice(overflow) if rng.random() < 0.05 else one for one in rng.choices(shared, weights, k=count)]


_TIMEFRAMES, _TIMEFRAME_WEIGHTS = list(_WEIGHTS), list(_WEIGHTS.values())
_LABEL_NAMES, _LABEL_WEIGHTS = list(_LABELS), list(_LABELS.values())


def _alert(exchange_id: str, number: int, symbol: tuple[str, str, bool], at: int, rule: AlertRule, rng: random.Random) -> Alert:
    name, base, overflow = symbol
    (timeframe,), (label,) = rng.choices(_TIMEFRAMES, _TIMEFRAME_WEIGHTS), rng.choices(_LABEL_NAMES, _LABEL_WEIGHTS)
    step = TIMEFRAMES[timeframe]
    opened = at // step * step
    triggered = opened + step + rng.randrange(200, 3_000)
    up = "-" not in label and label != "reversal_overbought"
    value = rng.uniform(150, 420) * (1 if up else -1)
    price = rng.uniform(0.01, 50_000)
    return Alert(
        exchange_id=exchange_id,
        number=number,
        uid=f"{exchange_id}|{name}|{timeframe}|{rule.pk}.1|{label}|{opened}|{number}",
        rule=rule,
        rule_version=1,
        symbol=name,
        base=base,
        quote=name.partition("-")[2],
        timeframe=timeframe,
        trigger_label=label,
        direction="up" if up else "down",
        trigger_value=value,
        previous_value=value * 0.97,
        signal_delta=value * 0.1,
        price=price,
        candle_time=opened,
        triggered_at=triggered,
        committed_at=triggered + 4,
        published_at=triggered + 9,
        delayed=rng.random() < 0.01,
        revised=rng.random() < 0.002,
        stage=rng.choice(_STAGES),
        bias="bullish" if up else "bearish",
        timeframes=[{"timeframe": one, "macdv": value * 0.9, "stage": "rallying"} for one in _TIMEFRAMES],
        elsewhere=[{"exchange_id": "kraken", "symbol": name, "price": price, "received": triggered, **_ELSEWHERE}],
        overflow=overflow,
        shared=not overflow,
        record=_record(opened, step, price, value),
    )


_ELSEWHERE = {
    "quote": "USD",
    "identity": "same",
    "spread_bps": 1.5,
    "book_spread_bps": 2.5,
    "trade_url": "https://example.org/trade",
    "lead": None,
}


_RULE = {
    "id": 1,
    "version": 1,
    "name": "MACD-V",
    "levels": [150, 200, 250, 300, 350, 400],
    "timeframes": ["15m", "1d", "1h", "4h", "5m"],
    "reversal_level": 150,
    "oversold_buffer": 0.05,
    "overbought_buffer": 0.03,
    "cooldown": 300_000,
}


def _record(opened: int, step: int, price: float, value: float) -> dict[str, Any]:
    """As long as a real one."""
    reading = {"macdv": value, "signal": value * 0.9, "histogram": value * 0.1, "atr": price * 0.01, "stage": "rallying"}
    prices = {"open": price, "high": price * 1.01, "low": price * 0.99, "close": price, "volume": 12.5}
    return {
        "v": 1,
        "rule": _RULE,
        "warm_up": {"bars": 900, "observed": 890, "needed": 400, "whole_life": False},
        "feed_age": 120,
        "candle": {"open_time": opened, "close_time": opened + step, **prices, "synthetic": False, "closed_by": "flag"},
        "current": reading,
        "previous": reading,
        "times": {"exchange": opened + step, "received": opened + step + 20, "evaluated": opened + step + 21},
        "connector": {"host": "growth", "pid": 1, "fence": 1},
    }


def _again(model: type[Model], first: int, times: int, moved: Callable[[int], dict[str, str]]) -> None:
    """The rows up to the key ``first`` once more, ``times`` times; ``moved`` says in SQL which columns differ the n-th time."""
    names = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        for time_ in range(1, times + 1):
            changes = moved(time_)
            chosen = ", ".join(changes.get(name, name) for name in names)
            cursor.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table} WHERE id <= %s ORDER BY id", [first])


def _later(milliseconds: int, *names: str) -> dict[str, str]:
    return {name: f"{name} + {milliseconds}" for name in names}


def _owners(users: Sequence[User]) -> None:
    """Each alert that is not shared has two."""
    links = Alert.owners.through
    private = Alert.objects.filter(shared=False).order_by("pk").values_list("pk", flat=True)
    links.objects.bulk_create(
        [links(alert_id=pk, user=users[(place + more) % len(users)]) for place, pk in enumerate(private) for more in (0, 7)],
        batch_size=5000,
    )


# What stands beside them


def _checkpoints(exchange_ids: Sequence[str], markets: Markets, last: int) -> None:
    state = json.dumps([[1.25] * 12, [False, True, 120]])
    memory = json.dumps({"1": {"armed": "", "fired": {"level_150": last, "level_-150": last}}})
    Checkpoint.objects.bulk_create(
        [
            Checkpoint(exchange_id=exchange_id, symbol=symbol, timeframe=timeframe, open_time=last, indicator=state, memory=memory)
            for exchange_id in exchange_ids
            for symbol, _, _ in markets[exchange_id]
            for timeframe in _WEIGHTS
        ],
        batch_size=1000,
    )


def _events(count: int, exchange_ids: Sequence[str], end: int) -> None:
    """Thirty days of states and connections."""
    turn = len(exchange_ids) * len(STATE_CYCLE)
    turns = max(1, count // turn)
    took = 30 * DAY // turns
    step = took // len(STATE_CYCLE)
    rows = []
    for place, event in enumerate(STATE_CYCLE):
        at = end - 30 * DAY + place * step
        seen = at + step if event in STATES else at
        rows += [
            ExchangeEvent(exchange_id=exchange_id, at=at, event=event, reason=f"growth {place}", seen=seen) for exchange_id in exchange_ids
        ]
    ExchangeEvent.objects.bulk_create(rows)
    _again(ExchangeEvent, rows[-1].pk, turns - 1, lambda time_: _later(time_ * took, "at", "seen"))


def _deliveries(count: int, exchange_ids: Sequence[str], users: Sequence[User], end: int, rng: random.Random) -> None:
    """Thirty days of messages; one in a thousand waits still."""
    channels = list(NotificationChannel.objects.filter(user__in=users).order_by("pk").values_list("pk", flat=True))
    turn = min(count, 2000)
    turns = count // turn
    took = 30 * DAY // turns
    rows = []
    for place in range(turn):
        at = end - 30 * DAY + place * took // turn
        state = DeliveryState.WAITING if place % 1000 == 999 else rng.choices(["sent", "failed", "expired"], [97, 2, 1])[0]
        rows.append(
            Delivery(
                channel_id=channels[place % len(channels)],
                key=f"growth:{place}",
                about="alert",
                exchange_id=exchange_ids[place % len(exchange_ids)],
                direction="up",
                facts=[{"symbol": "C1-USD", "timeframe": "5m"}],
                title=f"C1-USD 5m level_150 ({place})",
                body="MACD-V 151.2 on the close of 5m.",
                path="/alerts/growth/",
                closed_at=at,
                created_at=at,
                due_at=at,
                expires_at=at + YEAR,
                state=state,
                attempts=1,
                sent_at=at + 900 if state == "sent" else None,
            )
        )
    Delivery.objects.bulk_create(rows, batch_size=500)
    times = ("closed_at", "created_at", "due_at", "expires_at", "sent_at")
    _again(Delivery, rows[-1].pk, turns - 1, lambda time_: {**_later(time_ * took, *times), "key": f"key || '+{time_}'"})
