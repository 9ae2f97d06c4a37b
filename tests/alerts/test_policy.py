"""Who is told of an alert: quiet by default, and each reason in words."""

from datetime import UTC, datetime

import pytest

from alerts.messages import line as line_of
from alerts.messages import of_alert, of_group, price
from alerts.policy import (
    BACK_AFTER,
    OUTAGE_AFTER,
    PATIENCE,
    Dark,
    Fact,
    QuietHours,
    Repeat,
    Silence,
    Step,
    Terms,
    Told,
    Watch,
    bundles,
    ended,
    expires_at,
    why_not,
)

T0 = 1_772_402_400_000
"""2026-03-01 22:00:00 UTC"""
STEP = 300_000
NOW = T0 + STEP + 2_000


def fact(symbol: str = "BTC-USD", at: int = 0, **changes: object) -> Fact:
    candle_time = T0 + at * STEP
    values = {
        "uid": f"coinbase|{symbol}|5m|1.1|level_150|{candle_time}",
        "number": at + 1,
        "exchange_id": "coinbase",
        "symbol": symbol,
        "timeframe": "5m",
        "rule_id": 1,
        "label": "level_150",
        "direction": "up",
        "stage": "overbought",
        "stage_since": candle_time,
        "macdv": 151.25,
        "price": 64_210.5,
        "quote": "USD",
        "candle_time": candle_time,
        "step": STEP,
        "triggered_at": candle_time + STEP + 1_000,
        "delayed": False,
        **changes,
    }
    return Fact(**values)  # type: ignore[arg-type]


def told(one: Fact, at: int = NOW) -> dict[tuple[int | None, tuple[str, str, str]], Told]:
    return {(one.rule_id, one.series): Told(one.stage, one.candle_time, at)}


def test_an_alert_is_told():
    assert why_not(fact(), Terms(), [], NOW) == ""


# Repeating


def test_the_same_stage_is_told_once():
    later = fact(at=3, stage_since=T0)
    assert why_not(later, Terms(told=told(fact())), [], NOW) == "told already at this stage"


def test_a_stage_that_was_left_and_came_back_is_told_again():
    later = fact(at=9, stage_since=T0 + 8 * STEP)
    assert why_not(later, Terms(told=told(fact())), [], NOW) == ""


def test_another_stage_is_told():
    assert why_not(fact(at=3, stage="oversold", stage_since=T0), Terms(told=told(fact())), [], NOW) == ""


def test_what_was_told_of_another_rule_or_timeframe_does_not_count():
    for other in (fact(rule_id=2), fact(timeframe="1h"), fact(symbol="ETH-USD"), fact(exchange_id="binance")):
        assert why_not(fact(at=1, stage_since=T0), Terms(told=told(other)), [], NOW) == ""


@pytest.mark.parametrize(
    ("repeat", "after", "reason"),
    [
        (Repeat.EVERY, 1, ""),
        (Repeat.NEVER, 90_000_000, "its rule is not told"),
        (Repeat.HOUR, 3_599_999, "told at most once an hour"),
        (Repeat.HOUR, 3_600_000, ""),
        (Repeat.DAY, 86_399_999, "told at most once a day"),
        (Repeat.DAY, 86_400_000, ""),
    ],
)
def test_how_often_a_rule_is_told(repeat, after, reason):
    terms = Terms(repeats={1: repeat}, told=told(fact(), NOW - after))
    assert why_not(fact(at=1, stage_since=T0), terms, [], NOW) == reason


def test_an_alert_whose_rule_was_deleted_is_told_as_any():
    assert why_not(fact(rule_id=None), Terms(), [], NOW) == ""


# Acknowledging and snoozing


def ack(one: Fact) -> Silence:
    return Silence(one.exchange_id, one.symbol, one.timeframe, one.stage, one.candle_time, None)


def test_what_is_acknowledged_stays_quiet_while_its_stage_lasts():
    terms = Terms(repeats={1: Repeat.EVERY}, silences=[ack(fact())])
    assert why_not(fact(at=2, stage_since=T0 - STEP), terms, [], NOW) == "acknowledged"
    assert why_not(fact(at=2, stage="rallying", stage_since=T0 + 2 * STEP), terms, [], NOW) == ""
    assert why_not(fact(at=9, stage_since=T0 + 8 * STEP), terms, [], NOW) == "", "it was left and came back"
    assert why_not(fact(timeframe="1h", step=3_600_000), terms, [], NOW) == ""


def test_an_acknowledgement_ends_with_its_stage_and_a_snooze_does_not():
    assert not ended(ack(fact()), fact(at=2, stage_since=T0))
    assert ended(ack(fact()), fact(at=2, stage="rallying"))
    assert ended(ack(fact()), fact(at=2, stage_since=T0 + STEP))
    assert not ended(ack(fact()), fact(symbol="ETH-USD", stage="rallying"))
    assert not ended(Silence("coinbase", "BTC-USD", "", "", 0, NOW), fact(stage="rallying"))


def test_a_snooze_holds_until_its_end_for_one_timeframe_or_all():
    whole = Terms(silences=[Silence("coinbase", "BTC-USD", "", "", 0, NOW + 1)])
    assert why_not(fact(), whole, [], NOW) == "snoozed"
    assert why_not(fact(), whole, [], NOW + 1) == ""
    hour = Terms(silences=[Silence("coinbase", "BTC-USD", "1h", "", 0, NOW + 1)])
    assert why_not(fact(), hour, [], NOW) == ""
    assert why_not(fact(symbol="ETH-USD"), whole, [], NOW) == ""


# Quiet hours


@pytest.mark.parametrize(
    ("start", "end", "clock", "quiet"),
    [
        ((22, 0), (7, 0), (21, 59), False),
        ((22, 0), (7, 0), (22, 0), True),
        ((22, 0), (7, 0), (6, 59), True),
        ((22, 0), (7, 0), (7, 0), False),
        ((9, 0), (17, 0), (12, 0), True),
        ((9, 0), (17, 0), (17, 0), False),
        ((8, 0), (8, 0), (3, 0), True),
    ],
)
def test_quiet_hours_may_go_over_midnight(start, end, clock, quiet):
    now = int(datetime(2026, 3, 1, *clock, tzinfo=UTC).timestamp() * 1000)
    assert QuietHours(start[0] * 60 + start[1], end[0] * 60 + end[1], "UTC").cover(now) is quiet


def test_quiet_hours_are_of_the_users_zone_also_when_its_clocks_change():
    hours = QuietHours(22 * 60, 7 * 60, "America/New_York")
    at = lambda *moment: int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # noqa: E731
    assert not hours.cover(at(2026, 3, 7, 2, 30)), "21:30 in winter"
    assert hours.cover(at(2026, 3, 9, 2, 30)), "22:30 in summer"
    assert why_not(fact(), Terms(quiet=hours), [], at(2026, 3, 9, 2, 30)) == "quiet hours"


# Lateness and outages


def test_what_is_delayed_is_told_within_its_timeframe_and_not_after():
    late = fact(delayed=True)
    assert why_not(late, Terms(), [], late.closed_at + STEP) == ""
    assert why_not(late, Terms(), [], late.closed_at + STEP + 1) == "older than one timeframe"


def test_an_outage_stands_for_all_alerts_of_its_time():
    reason = "the exchange was dark: one message says so"
    on = Dark("coinbase", T0, None)
    over = Dark("coinbase", T0, T0 + 2 * STEP)
    assert why_not(fact(), Terms(), [on], NOW) == reason
    assert why_not(fact(exchange_id="binance"), Terms(), [on], NOW) == ""
    assert why_not(fact(delayed=True), Terms(), [over], NOW) == reason
    assert why_not(fact(at=2, delayed=True), Terms(), [over], T0 + 3 * STEP) == ""
    assert why_not(fact(), Terms(), [over], NOW) == "", "what came in time is told"


def test_a_message_is_worth_sending_for_a_timeframe_and_a_quarter_of_an_hour_at_least():
    assert expires_at(fact(), NOW) == NOW + PATIENCE
    hour = fact(timeframe="1h", step=3_600_000, triggered_at=T0 + 3_600_500)
    assert expires_at(hour, hour.triggered_at) == T0 + 7_200_000


def test_a_market_ahead_of_our_clock_does_not_make_a_close_of_the_future():
    assert fact(triggered_at=T0 - 7).closed_at == T0 - 7


# Market-wide moves


def test_few_symbols_are_told_one_by_one_and_many_as_one_move():
    four = [fact(f"S{number}-USD") for number in range(4)]
    assert [(bundle.facts, bundle.grouped) for bundle in bundles(four, {}, 5)] == [((one,), False) for one in four]
    five = [*four, fact("S4-USD")]
    assert [(bundle.facts, bundle.grouped) for bundle in bundles(five, {}, 5)] == [(tuple(five), True)]


def test_what_was_told_within_the_last_minute_counts():
    recent = {("coinbase", "up"): frozenset({"A", "B", "C", "D"})}
    assert [bundle.grouped for bundle in bundles([fact()], recent, 5)] == [True]
    assert [bundle.grouped for bundle in bundles([fact(direction="down")], recent, 5)] == [False]
    assert [bundle.grouped for bundle in bundles([fact(exchange_id="binance")], recent, 5)] == [False]


def test_several_alerts_of_one_symbol_are_no_market():
    many = [fact(timeframe=name) for name in ("5m", "15m", "1h", "4h", "1d")]
    assert [bundle.grouped for bundle in bundles(many, {}, 5)] == [False] * 5


# Health


def seen(*steps: tuple[str, int], watch: Watch | None = None) -> list[Step]:
    found, watch = [], watch or Watch()
    for state, at in steps:
        watch, step = watch.see(state, at)
        if step.what:
            found.append(step)
    return found


def test_a_live_exchange_that_goes_dark_is_told_once_and_once_when_it_is_back():
    steps = [("live", 0), ("offline", 1_000), ("offline", 1_000 + OUTAGE_AFTER), ("stale", 200_000), ("warming", 250_000)]
    steps += [("live", 300_000), ("live", 300_000 + BACK_AFTER), ("live", 400_000)]
    assert seen(*steps) == [Step("dark", 1_000), Step("back", 300_000)]


@pytest.mark.parametrize(
    "steps",
    [
        [("offline", 0), ("offline", 10 * OUTAGE_AFTER)],
        [("live", 0), ("offline", 1), ("live", OUTAGE_AFTER), ("offline", OUTAGE_AFTER + 1), ("live", 2 * OUTAGE_AFTER)],
        [("live", 0), ("idle", 1), ("offline", 2), ("offline", 10 * OUTAGE_AFTER)],
        [("live", 0), ("unknown", 1), ("unknown", 10 * OUTAGE_AFTER)],
        [("live", 0), ("warming", 1), ("warming", 10 * OUTAGE_AFTER)],
    ],
    ids=["never live", "short", "stopped by hand", "Redis is away", "warming"],
)
def test_what_is_no_outage(steps):
    assert seen(*steps) == []


def test_one_that_is_live_for_a_moment_is_not_back():
    watch = Watch(live=True, out=True)
    assert seen(("live", 0), ("offline", BACK_AFTER - 1), ("live", BACK_AFTER), ("live", 2 * BACK_AFTER - 1), watch=watch) == []


def test_one_that_is_stopped_while_dark_is_no_longer_waited_for():
    assert seen(("idle", 7), watch=Watch(live=True, out=True)) == [Step("back", 7)]


# What messages say


def test_what_an_alert_says():
    message = of_alert(fact(), "Coinbase")
    assert message.title == "▲ BTC-USD 5m crossed above +150"
    assert message.body == "Coinbase · 64,210.50 USD · MACD-V 151.2 · overbought"
    assert message.path == "/alerts/coinbase%7CBTC-USD%7C5m%7C1.1%7Clevel_150%7C1772402400000/"
    down = of_alert(fact(label="reversal_overbought", direction="down", macdv=-3.5, delayed=True), "Coinbase")
    assert down.title == "▼ BTC-USD 5m reversal from overbought"
    assert down.body.startswith("Delayed: found after an outage.\nCoinbase")
    assert "MACD-V \u22123.5" in down.body


def test_a_move_names_the_strongest_and_counts_the_rest():
    facts = [fact(f"S{number}-USD", macdv=100.0 + number) for number in range(14)]
    message = of_group([line_of(one) for one in [*facts, fact("S0-USD", timeframe="1h", macdv=400.0)]], "Coinbase")
    assert message.title == "▲ Coinbase: 14 symbols go up together"
    assert message.body.startswith("S0-USD 1h 400.0, S13-USD 5m 113.0, ")
    assert message.body.endswith(", S3-USD 5m 103.0, and 2 more")


@pytest.mark.parametrize(
    ("value", "text"),
    [(64_210.5, "64,210.50"), (101.5, "101.5"), (3_456.789, "3,456.8"), (1.0, "1"), (0.00001234567, "0.000012346"), (0.5, "0.5")],
)
def test_prices_are_never_in_powers_of_ten(value, text):
    assert price(value) == text
