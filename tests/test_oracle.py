"""The oracle itself: right on the published vectors, and independent of what it is to judge."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import oracle
from tests.oracle import Rule, Value

OURS = {"alerts", "exchanges", "livermore", "market_data", "symbols", "tests"}


def test_it_imports_nothing_of_what_it_judges() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert {name.split(".")[0] for name in imported} == {"bisect", "collections", "dataclasses", "math"}
    assert not OURS & {name.split(".")[0] for name in imported}
    assert not any(isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"__import__", "eval", "exec"} for node in ast.walk(tree))


def straight(reach: float, step: float = 1.0) -> list[list[float]]:
    return [[at * 300_000, 0, 500 + step * at + reach, 500 + step * at - reach, 500 + step * at, 1.0, 0] for at in range(60)]


@pytest.mark.parametrize(("reach", "step", "value"), [(1, 1, 350.0), (3, 1, 350 / 3), (1, -1, -350.0)])
def test_it_knows_a_straight_line(reach: float, step: float, value: float) -> None:
    values = oracle.macdv(straight(reach, step))

    assert [one.macdv for one in values[:25]] == [None] * 25
    assert [one.macdv for one in values[25:]] == pytest.approx([value] * 35, abs=1e-9)
    assert [one.signal for one in values[:33]] == [None] * 33
    assert [one.signal for one in values[33:]] == pytest.approx([value] * 27, abs=1e-9)
    assert [one.histogram for one in values[33:]] == pytest.approx([0.0] * 27, abs=1e-9)


def test_a_flat_line_is_undefined() -> None:
    values = oracle.macdv([[at * 300_000, 7, 7, 7, 7, 1.0, 0] for at in range(60)])

    assert {(one.macdv, one.signal, one.histogram, one.atr, one.stage) for one in values[25:]} == {(None, None, None, 0.0, "unknown")}


def drawn() -> Iterator[int]:
    x = 42
    while True:
        x = (1103515245 * x + 12345) % 2**31
        yield x >> 8


def generated() -> list[list[float]]:
    """The published walk: 120 candles in cents."""
    draw, close, candles = drawn(), 10_000, []
    for at in range(120):
        open_, close = close, close + next(draw) % 201 - 100
        high = max(open_, close) + next(draw) % 100
        low = min(open_, close) - next(draw) % 100
        candles.append([at * 300_000, open_ / 100, high / 100, low / 100, close / 100, 1.0, 0])
    return candles


def test_it_agrees_with_the_published_walk() -> None:
    candles = generated()
    values = oracle.macdv(candles)
    closes = [candle[4] for candle in candles]

    assert oracle.ema(closes, 12)[25] == pytest.approx(98.35064330061313, abs=1e-9)
    assert oracle.ema(closes, 26)[25] == pytest.approx(98.49192307692307, abs=1e-9)
    assert values[25].atr == pytest.approx(1.6957692307692331, abs=1e-9)
    assert values[25].macdv == pytest.approx(-8.331309104237974, abs=1e-9)
    assert (values[33].macdv, values[33].signal) == pytest.approx((-21.787011856049215, -16.59876285009274), abs=1e-9)
    assert values[33].histogram == pytest.approx(-5.18824900595647, abs=1e-9)
    assert (values[119].macdv, values[119].signal) == pytest.approx((22.512669892377172, 3.895587834560886), abs=1e-9)
    assert values[119].histogram == pytest.approx(18.617082057816287, abs=1e-9)


def test_it_agrees_with_the_published_walk_with_holes() -> None:
    kept = [candle for at, candle in enumerate(generated()) if not (at > 10 and at % 5 in {2, 3})]
    candles = oracle.filled(kept, 300_000, 120 * 300_000)
    values = oracle.macdv(candles)

    assert (len(candles), sum(candle[6] for candle in candles), values[119].observed) == (120, 44, 76)
    assert [one.atr is None for one in values].index(False) == 35
    assert values[119].atr == pytest.approx(1.4906010593435217, abs=1e-9)
    assert values[119].macdv == pytest.approx(15.82624665428444, abs=1e-9)
    assert values[119].signal == pytest.approx(0.8999133764862215, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "signal", "name"),
    [
        (150.0, 149.0, "overbought"),
        (150.0, 150.0, "retracing"),
        (149.9, 0.0, "rallying"),
        (50.0, 0.0, "rallying"),
        (49.9, 0.0, "rebounding"),
        (-150.0, -151.0, "rebounding"),
        (-50.0, 0.0, "retracing"),
        (-50.1, 0.0, "reversing"),
        (-150.0, -150.0, "reversing"),
        (-150.1, -200.0, "oversold"),
        (-150.1, None, "oversold"),
        (None, None, "unknown"),
    ],
)
def test_a_value_has_the_published_stage(value: float | None, signal: float | None, name: str) -> None:
    assert oracle.stage([value], signal) == name


def test_twenty_closed_candles_within_fifty_are_a_range() -> None:
    assert oracle.stage([50.0] * 10 + [-50.0] * 10, 0.0) == "ranging"
    assert oracle.stage([50.1] + [-50.0] * 19, 0.0) == "retracing"
    assert oracle.stage([-50.0] * 19, 0.0) == "retracing"
    assert oracle.stage([0.0] * 19 + [50.0], 0.0) == "rallying"


def test_a_longer_candle_is_the_sum_of_all_its_parts() -> None:
    parts = [
        [600_000, 1.0, 2.0, 1.0, 1.5, 1.0, 0],
        [900_000, 1.5, 4.0, 1.5, 2.0, 2.0, 0],
        [1_200_000, 2.0, 2.0, 2.0, 2.0, 0.0, 1],
        [1_500_000, 2.0, 3.0, 0.5, 2.5, 4.0, 0],
        [1_800_000, 2.5, 9.0, 2.5, 9.0, 8.0, 0],
    ]

    assert oracle.longer(parts, 900_000) == [[900_000, 1.5, 4.0, 0.5, 2.5, 6.0, 0]]


def series(*numbers: float, histogram: float = 0.0) -> list[Value]:
    return [Value(at * 300_000, 1.0, number, 0.0, histogram, 1.0, "", 1, 1) for at, number in enumerate(numbers)]


def labels(values: list[Value], rule: Rule = Rule()) -> list[tuple[int, str]]:  # noqa: B008  (frozen)
    return [(value.t // 300_000, label) for value, label, _ in oracle.signals(values, 300_000, 0, rule, 0)]


def test_a_jump_gives_one_alert_for_the_deepest_level() -> None:
    assert labels(series(0, -260, -260, -140, -160, 0, 150, 150.1)) == [(1, "level_-250"), (4, "level_-150"), (7, "level_150")]


def test_a_reversal_fires_once_an_excursion() -> None:
    turned = series(-160, -170, -180, -160, -149, -160, -160, histogram=10)

    assert labels(turned, Rule(levels=())) == [(1, "reversal_oversold"), (6, "reversal_oversold")]


def test_a_new_level_alert_arms_the_reversal_again() -> None:
    assert labels(series(-160, -170, -210, -190, histogram=20)) == [
        (1, "reversal_oversold"),
        (2, "level_-200"),
        (2, "reversal_oversold"),
    ]


def test_the_buffers_decide_about_a_reversal() -> None:
    assert labels(series(-200, -200, histogram=10.0)) == []
    assert labels(series(-200, -200, histogram=10.1)) == [(1, "reversal_oversold")]
    assert labels(series(200, 200, histogram=-6.0)) == []
    assert labels(series(200, 200, histogram=-6.1)) == [(1, "reversal_overbought")]


def test_a_label_rests_for_its_cooldown() -> None:
    crossing = series(0, 160, 0, 160, 0, 160, 0, 160)

    assert labels(crossing, Rule(cooldown=900_000)) == [(1, "level_150"), (5, "level_150")]
    assert labels(crossing, Rule(cooldown=600_000)) == [(at, "level_150") for at in (1, 3, 5, 7)]


def test_the_bias_weighs_the_timeframes() -> None:
    assert oracle.bias([("5m", "rallying"), ("1d", "retracing")]) == "bearish"
    assert oracle.bias([("1h", "oversold"), ("5m", "overbought")]) == "bullish"
    assert oracle.bias([("15m", "rallying"), ("5m", "reversing")]) == "neutral"
    assert oracle.bias([("1d", "ranging"), ("4h", "unknown")]) == "neutral"
