"""Each invariant finds what it is there to find: a run that held, changed in one place, does not hold."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alerts.models import Alert
from exchanges.sandbox.venues import COINBASE
from tests import oracle
from tests.chaos import invariants
from tests.chaos.pages import Page
from tests.chaos.plan import plan
from tests.chaos.programs import Figures
from tests.chaos.run import EXCHANGE_IDS, Blind, Down, Due, Run
from tests.oracle import STEPS

KEY = (COINBASE.id, "BTC-USD", "5m")
STEP = STEPS["5m"]
CLOSED = 1_772_402_700_000
"""When the candle of the only alert closed."""


def alert(**changes: Any) -> Alert:
    values = {
        "exchange_id": COINBASE.id,
        "number": 1,
        "uid": "one",
        "symbol": "BTC-USD",
        "timeframe": "5m",
        "trigger_label": "level_20",
        "direction": "up",
        "trigger_value": 20.5,
        "signal_delta": 1.5,
        "price": 100.0,
        "candle_time": CLOSED - STEP,
        "triggered_at": 2_000,
        "delayed": False,
        "stage": "rebounding",
        "bias": "bullish",
        "record": {"candle": {"closed_by": "read-back"}},
    }
    return Alert(**{**values, **changes})


def payload(**changes: Any) -> dict[str, Any]:
    one = alert(**changes)
    return {
        "id": one.number,
        "uid": one.uid,
        "source_exchange_id": one.exchange_id,
        "symbol": one.symbol,
        "timeframe": one.timeframe,
        "trigger_label": one.trigger_label,
        "candle_time": one.candle_time,
    }


def page() -> Page:
    made = Page("ws://127.0.0.1:9/", "http://127.0.0.1:9", "", "fast", 1)
    made.shown.alerts = {COINBASE.id: {"one": payload()}}
    return made


def held() -> Run:
    """A run in which one alert was due, and everything held."""
    run = Run(plan(1, 1, ["web"]), "make chaos SEED=1")
    run.due = [Due(KEY, "level_20", CLOSED - STEP, "up", 100.0, 20.5, 1.5, "rebounding", "bullish")]
    run.alerts, run.pages = [alert()], [page()]
    run.streams = {exchange_id: [] for exchange_id in EXCHANGE_IDS} | {COINBASE.id: [(1, payload())]}
    row = [CLOSED - STEP, 99.0, 101.0, 98.0, 100.0, 5.0, 0]
    run.candles, run.true_candles = {KEY: [row]}, {KEY: [row]}
    run.indicators = {KEY: {"t": CLOSED - STEP, "macdv": 20.5, "signal": 19.0, "histogram": 1.5, "atr": 2.0}}
    run.true_values = {KEY: oracle.Value(CLOSED - STEP, 100.0, 20.5, 19.0, 1.5, 2.0, "rebounding", 1, 1)}
    run.checkpoints = {KEY: CLOSED - STEP}
    run.moments = [(1_000, CLOSED - 12_000), (2_000, CLOSED), (3_000, CLOSED + 12_000)]
    run.green_after, run.ends = 1.0, CLOSED
    run.starts, run.exits = {"connector": 1, "web": 1, "redis": 1}, {"connector": 0, "web": 0, "redis": 0}
    run.asked = {COINBASE.id: [(0.0, Counter()), (10.0, Counter(connects=1, rest_requests=100))]}
    run.figures = {"web": [(float(at), 1, Figures(50_000_000, 20, 5)) for at in range(60)]}
    return run


def test_a_run_that_held_is_found_to_hold() -> None:
    assert invariants.broken(held()) == []
    invariants.i14_one_seed_one_result(held(), held())


def shown_as(**changes: Any) -> dict[str, dict[str, Any]]:
    return {COINBASE.id: {"one": payload(**changes)}}


CHANGES: dict[str, tuple[str, Callable[[Run], object]]] = {
    "an alert is missing": ("i1", lambda run: run.alerts.clear()),
    "an alert nobody owed": ("i1", lambda run: run.alerts.append(alert(number=2, uid="two", trigger_label="level_40"))),
    "no alert was due": ("i1", lambda run: (run.due.clear(), run.alerts.clear())),
    "twice in the table": ("i2", lambda run: run.alerts.append(alert(number=2, uid="two"))),
    "twice in the stream": ("i2", lambda run: run.streams[COINBASE.id].append((2, payload(number=2, uid="two")))),
    "twice on a page": ("i2", lambda run: run.pages[0].shown.alerts[COINBASE.id].update(two=payload(number=2, uid="two"))),
    "a gap in the numbers": ("i3", lambda run: setattr(run.alerts[0], "number", 2)),
    "not in the stream": ("i3", lambda run: run.streams[COINBASE.id].clear()),
    "another one in the stream": ("i3", lambda run: run.streams.update({COINBASE.id: [(1, payload(uid="two"))]})),
    "a page lacks one": ("i4", lambda run: run.pages[0].shown.alerts.clear()),
    "a page shows another one": ("i4", lambda run: setattr(run.pages[0].shown, "alerts", shown_as(trigger_label="level_40"))),
    "a page was let down": ("i4", lambda run: run.pages[0].broken.append("fast: frame 3 came after frame 1")),
    "before its candle had closed": ("i5", lambda run: setattr(run.alerts[0], "triggered_at", 900)),
    "a value off by 2e-9": ("i5", lambda run: setattr(run.alerts[0], "trigger_value", 20.5 + 2e-9)),
    "another price": ("i5", lambda run: setattr(run.alerts[0], "price", 100.01)),
    "no histogram": ("i5", lambda run: setattr(run.alerts[0], "signal_delta", None)),
    "another stage": ("i5", lambda run: setattr(run.alerts[0], "stage", "rallying")),
    "another bias": ("i5", lambda run: setattr(run.alerts[0], "bias", "neutral")),
    "missed, and not marked": ("i6", lambda run: run.downs.append(Down(CLOSED - 1_000, CLOSED + 60_000))),
    "fetched, and not marked": ("i6", lambda run: setattr(run.alerts[0], "record", {"candle": {"closed_by": "history"}})),
    "in time, and marked": ("i6", lambda run: setattr(run.alerts[0], "delayed", True)),
    "another candle": ("i7", lambda run: run.candles.update({KEY: [[*run.candles[KEY][0][:4], 100.01, 5.0, 0]]})),
    "another volume": ("i7", lambda run: run.candles.update({KEY: [[*run.candles[KEY][0][:5], 5.1, 0]]})),
    "no candle in Redis": ("i7", lambda run: run.candles.update({KEY: []})),
    "another indicator": ("i7", lambda run: run.indicators.update({KEY: {**(run.indicators[KEY] or {}), "signal": 19.001}})),
    "an older indicator": ("i7", lambda run: run.indicators.update({KEY: {**(run.indicators[KEY] or {}), "t": CLOSED - 2 * STEP}})),
    "no indicator": ("i7", lambda run: run.indicators.update({KEY: None})),
    "live for 21 s though stale": ("i8", lambda run: run.blind.append(Blind("12:00:00", "fast", KEY[:2], 21.0, 21.0))),
    "61 connects in 5 minutes": ("i9", lambda run: run.asked[COINBASE.id].append((20.0, Counter(connects=61)))),
    "too many requests": ("i9", lambda run: run.asked[COINBASE.id].append((20.0, Counter(rest_requests=62_001)))),
    "a rule of the exchange broken": ("i9", lambda run: run.asked[COINBASE.id].append((20.0, Counter(rules_broken=1)))),
    "descriptors grow": ("i10", lambda run: run.figures.update(web=[(float(at), 1, Figures(5, at, 5)) for at in range(60)])),
    "threads grow": ("i10", lambda run: run.figures.update(web=[(float(at), 1, Figures(5, 5, at)) for at in range(60)])),
    "memory grows": ("i10", lambda run: run.figures.update(web=[(float(at), 1, Figures(at * 70_000, 5, 5)) for at in range(300)])),
    "connections to the database": ("i10", lambda run: run.connections.append((1.0, 61))),
    "a traceback": ("i11", lambda run: run.flaws.append("web: Traceback (most recent call last)")),
    "a process gone": ("i11", lambda run: run.deaths.append("web ended with 1: KeyError")),
    "an exit code": ("i11", lambda run: run.exits.update(connector=1)),
    "a secret": ("i12", lambda run: run.leaks.add("SECRET_KEY, in web.log")),
    "never green": ("i13", lambda run: setattr(run, "green_after", None)),
    "green too late": ("i13", lambda run: setattr(run, "green_after", 61.0)),
    "never at rest": ("i13", lambda run: setattr(run, "failure", "waited 150 s for every page")),
}


@pytest.mark.parametrize(("name", "change"), CHANGES.values(), ids=CHANGES)
def test_what_breaks_a_promise_is_found(name: str, change: Callable[[Run], object]) -> None:
    run = held()
    change(run)
    problems = invariants.broken(run)
    assert any(problem.startswith(f"{name}_") for problem in problems), problems
    assert all("make chaos SEED=1" in problem for problem in problems)


def test_an_alert_after_the_end_of_a_run_does_not_count() -> None:
    run = held()
    run.alerts.append(alert(number=2, uid="two", candle_time=CLOSED))
    run.streams[COINBASE.id].append((2, payload(number=2, uid="two", candle_time=CLOSED)))
    run.pages[0].shown.alerts[COINBASE.id]["two"] = payload(number=2, uid="two", candle_time=CLOSED)
    assert invariants.broken(run) == []


def test_a_page_that_began_anew_is_owed_nothing_older() -> None:
    run = held()
    run.pages[0].shown.alerts.clear()
    run.pages[0].shown.since[COINBASE.id] = 2
    assert invariants.broken(run) == []


def test_an_old_reading_for_a_moment_is_not_a_green_light_that_lasts() -> None:
    run = held()
    run.blind.append(Blind("12:00:00", "fast", KEY[:2], 21.0, 1.0))
    assert invariants.broken(run) == []


def test_two_runs_of_a_seed_that_differ_are_found() -> None:
    other = held()
    other.due = [replace_due(other.due[0])]
    with pytest.raises(AssertionError, match="differ in what is due"):
        invariants.i14_one_seed_one_result(held(), other)
    other = replace(held(), plan=plan(2, 1, ["web"]))
    with pytest.raises(AssertionError, match="differ in what is plan"):
        invariants.i14_one_seed_one_result(held(), other)


def replace_due(one: Due) -> Due:
    return one._replace(label="level_40")
