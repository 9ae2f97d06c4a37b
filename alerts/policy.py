"""Whether a user is told of an alert, and how: quiet by default. Pure. Times are milliseconds UTC.

The worker (alerts/delivery.py) reads what is asked for here from the database, and writes what comes out into the outbox.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR = 3_600_000
GROUP_WINDOW = 60_000
"""Symbols that go one way within it move together."""
GROUP_EVERY = 60_000
"""Between two messages about one market-wide move."""
OUTAGE_AFTER = 60_000
"""For how long an exchange has to be dark before it is told: a restart is none."""
BACK_AFTER = 15_000
"""For how long it has to be live again before that is told."""
PATIENCE = 900_000
"""The least for which a message is tried, however short its timeframe."""


class Repeat(StrEnum):
    """How often the alerts of a rule are told, for each series."""

    STAGE = "stage"
    EVERY = "every"
    HOUR = "hour"
    DAY = "day"
    NEVER = "never"

    @property
    def words(self) -> str:
        return _REPEAT_WORDS[self]


_REPEAT_WORDS = {
    Repeat.STAGE: "once until the stage changes",
    Repeat.EVERY: "every alert",
    Repeat.HOUR: "at most once an hour",
    Repeat.DAY: "at most once a day",
    Repeat.NEVER: "not at all",
}
_SPANS = {Repeat.HOUR: HOUR, Repeat.DAY: 24 * HOUR}

Series = tuple[str, str, str]
"""(exchange id, symbol, timeframe)"""


class Fact(NamedTuple):
    """What of an alert decides who is told. ``stage_since``: the open time of the first candle of its present stage."""

    uid: str
    number: int
    exchange_id: str
    symbol: str
    timeframe: str
    rule_id: int | None
    label: str
    direction: str
    stage: str
    stage_since: int
    macdv: float
    price: float
    quote: str
    candle_time: int
    step: int
    triggered_at: int
    delayed: bool

    @property
    def series(self) -> Series:
        return self.exchange_id, self.symbol, self.timeframe

    @property
    def closed_at(self) -> int:
        """When the candle closed. A simulated market's clock may run ahead of ours; then, when it was seen."""
        return min(self.candle_time + self.step, self.triggered_at)


class Told(NamedTuple):
    """Of what a user was told last of a series and rule, and when."""

    stage: str
    candle_time: int
    at: int


class Silence(NamedTuple):
    """``timeframe`` "": all of the symbol's. ``until``: of a snooze; None for an acknowledged stage, which ``candle_time`` belongs to."""

    exchange_id: str
    symbol: str
    timeframe: str
    stage: str
    candle_time: int
    until: int | None


class QuietHours(NamedTuple):
    """From and to in minutes of the day there; over midnight where ``end`` is not after ``start``. The same twice: all day."""

    start: int
    end: int
    zone: str

    def cover(self, now: int) -> bool:
        local = datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(self.zone))
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


class Dark(NamedTuple):
    """An outage of an exchange; ``ended_at`` None while it lasts."""

    exchange_id: str
    began_at: int
    ended_at: int | None

    def covers(self, fact: Fact) -> bool:
        """Whether the candle closed meanwhile, or was found while it lasts. Alerts after it that are not delayed are told."""
        if fact.exchange_id != self.exchange_id:
            return False
        if self.ended_at is None:
            return fact.triggered_at >= self.began_at
        return fact.delayed and self.began_at <= fact.candle_time + fact.step <= self.ended_at


class Terms(NamedTuple):
    """What a user set, and was told. ``told``: by rule id and series."""

    repeats: Mapping[int, Repeat] = {}
    quiet: QuietHours | None = None
    silences: Sequence[Silence] = ()
    told: Mapping[tuple[int | None, Series], Told] = {}
    group_from: int = 5


def ended(silence: Silence, fact: Fact) -> bool:
    """Whether an alert shows that an acknowledged stage is over: the series is in another one, or was meanwhile."""
    if silence.until is not None or (silence.exchange_id, silence.symbol, silence.timeframe) != fact.series:
        return False
    return fact.stage != silence.stage or fact.stage_since > silence.candle_time


def why_not(fact: Fact, terms: Terms, outages: Iterable[Dark], now: int) -> str:
    """Why a user is not told of an alert, in words; "" where the user is."""
    if any(outage.covers(fact) for outage in outages):
        return "the exchange was dark: one message says so"
    if fact.delayed and now - fact.closed_at > fact.step:
        return "older than one timeframe"
    if terms.quiet is not None and terms.quiet.cover(now):
        return "quiet hours"
    if reason := _silenced(fact, terms.silences, now):
        return reason
    return _told_already(fact, terms, now)


def _silenced(fact: Fact, silences: Iterable[Silence], now: int) -> str:
    for one in silences:
        if (one.exchange_id, one.symbol) != (fact.exchange_id, fact.symbol) or one.timeframe not in {"", fact.timeframe}:
            continue
        if one.until is None:
            if not ended(one, fact):
                return "acknowledged"
        elif now < one.until:
            return "snoozed"
    return ""


def _told_already(fact: Fact, terms: Terms, now: int) -> str:
    repeat = Repeat.STAGE if fact.rule_id is None else terms.repeats.get(fact.rule_id, Repeat.STAGE)
    if repeat is Repeat.NEVER:
        return "its rule is not told"
    last = terms.told.get((fact.rule_id, fact.series))
    if last is None or repeat is Repeat.EVERY:
        return ""
    if repeat is Repeat.STAGE:
        same = last.stage == fact.stage and last.candle_time >= fact.stage_since
        return "told already at this stage" if same else ""
    return f"told {repeat.words}" if now - last.at < _SPANS[repeat] else ""


class Bundle(NamedTuple):
    """What goes out as one message. ``grouped``: as a market-wide move, to be joined with others of it."""

    facts: tuple[Fact, ...]
    grouped: bool


Move = tuple[str, str]
"""(exchange id, direction)"""


def bundles(facts: Sequence[Fact], recent: Mapping[Move, frozenset[str]], group_from: int) -> list[Bundle]:
    """Alerts as messages. ``recent``: the symbols told of within the last minute, by move, those of a group included."""
    moves: dict[Move, list[Fact]] = {}
    for fact in facts:
        moves.setdefault((fact.exchange_id, fact.direction), []).append(fact)
    found = []
    for move, members in moves.items():
        symbols = recent.get(move, frozenset()) | {fact.symbol for fact in members}
        if len(symbols) >= group_from:
            found.append(Bundle(tuple(members), True))
        else:
            found += [Bundle((fact,), False) for fact in members]
    return found


def expires_at(fact: Fact, now: int) -> int:
    """Until when a message about it is still worth sending: one timeframe after its close, and a quarter of an hour at least."""
    return max(fact.closed_at + fact.step, now + PATIENCE)


class Step(NamedTuple):
    """What the state of an exchange means for its outage. ``since``: when it began to be dark, or live again."""

    what: str
    """ "", "dark" or "back"."""
    since: int = 0


_DARK = frozenset({"offline", "stale", "gap"})
"""No symbol of the exchange is live."""


class Watch(NamedTuple):
    """How an exchange stands, as far as it was seen.

    ``live``: it has been, and nobody stopped it since; ``out``: an outage of it is on; ``since``: when what would change that began.
    """

    live: bool = False
    out: bool = False
    since: int | None = None

    def see(self, state: str, now: int) -> tuple["Watch", Step]:
        """Take the state an exchange is in now. One that a person stopped ("idle") is not dark; "unknown" says nothing."""
        if state == "unknown":
            return self, Step("")
        if state == "idle":
            return Watch(), Step("back", now) if self.out else Step("")
        changes = state == "live" if self.out else state in _DARK and self.live
        if not changes:
            return self._replace(live=self.live or state == "live", since=None), Step("")
        since = now if self.since is None else self.since
        if now - since < (BACK_AFTER if self.out else OUTAGE_AFTER):
            return self._replace(since=since), Step("")
        return Watch(live=True, out=not self.out), Step("back" if self.out else "dark", since)
