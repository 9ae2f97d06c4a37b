"""The golden vectors were computed independently of this code; the laws hold for any prices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data.macdv import Macdv, bias, stage

NEAR = 1e-9


def golden_bars(count: int) -> list[tuple[float, float, float]]:
    """(high, low, close) of the published generator: x <- (1103515245 x + 12345) mod 2^31, seed 42, in cents from 10000."""
    x, opened, bars = 42, 10_000, []

    def draw() -> int:
        nonlocal x
        x = (1103515245 * x + 12345) % 2**31
        return x >> 8

    for _ in range(count):
        close = opened + draw() % 201 - 100
        high = max(opened, close) + draw() % 100
        low = min(opened, close) - draw() % 100
        bars.append((high / 100, low / 100, close / 100))
        opened = close
    return bars


def after(bars: list[tuple[float, float, float]]) -> Macdv:
    indicator = Macdv()
    for bar in bars:
        indicator.update(*bar)
    return indicator


def test_it_gives_the_first_golden_value_at_bar_26():
    indicator = after(golden_bars(26))
    assert indicator.fast == pytest.approx(98.35064330061313, abs=NEAR)
    assert indicator.slow == pytest.approx(98.49192307692307, abs=NEAR)
    assert indicator.atr == pytest.approx(1.6957692307692331, abs=NEAR)
    assert indicator.macdv == pytest.approx(-8.331309104237974, abs=NEAR)
    assert (indicator.signal, indicator.histogram) == (None, None)


def test_nothing_is_defined_before_bar_26():
    indicator = after(golden_bars(25))
    assert indicator.reading == (None, None, None, None, "unknown")


def test_it_gives_the_first_golden_signal_at_bar_34():
    assert after(golden_bars(33)).signal is None
    indicator = after(golden_bars(34))
    assert indicator.macdv == pytest.approx(-21.787011856049215, abs=NEAR)
    assert indicator.signal == pytest.approx(-16.59876285009274, abs=NEAR)
    assert indicator.histogram == pytest.approx(-5.18824900595647, abs=NEAR)


def test_it_gives_the_golden_values_at_bar_120():
    indicator = after(golden_bars(120))
    assert indicator.macdv == pytest.approx(22.512669892377172, abs=NEAR)
    assert indicator.signal == pytest.approx(3.895587834560886, abs=NEAR)
    assert indicator.histogram == pytest.approx(18.617082057816287, abs=NEAR)


def test_filled_candles_move_the_averages_but_not_the_atr():
    indicator, last, seeded_at = Macdv(), 0.0, None
    for place, (high, low, close) in enumerate(golden_bars(120)):
        if place > 10 and place % 5 in (2, 3):
            indicator.update(last, last, last, synthetic=True)
        else:
            indicator.update(high, low, close)
            last = close
        if indicator.atr is not None and seeded_at is None:
            seeded_at = place
    assert (indicator.bars - indicator.observed, indicator.observed, seeded_at) == (44, 76, 35)
    assert indicator.atr == pytest.approx(1.4906010593435217, abs=NEAR)
    assert indicator.macdv == pytest.approx(15.82624665428444, abs=NEAR)
    assert indicator.signal == pytest.approx(0.8999133764862215, abs=NEAR)


@pytest.mark.parametrize(
    ("step", "spread", "expected"), [(1, 1, 350.0), (1, 3, 350 / 3), (-1, 1, -350.0)], ids=["rising", "wider", "falling"]
)
def test_a_straight_line_has_a_constant_value(step: int, spread: int, expected: float):
    indicator = Macdv()
    for place in range(80):
        close = 200.0 + step * place
        indicator.update(close + spread, close - spread, close)
        if place >= 25:
            assert indicator.macdv == pytest.approx(expected, abs=NEAR)
    assert indicator.signal == pytest.approx(expected, abs=NEAR)
    assert indicator.histogram == pytest.approx(0, abs=NEAR)


def test_a_flat_market_is_undefined_never_zero():
    indicator = after([(5.0, 5.0, 5.0)] * 100)
    assert indicator.reading == (None, None, None, 0.0, "unknown")


prices = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 20)), min_size=40, max_size=80)


def bars_of(moves: list[tuple[int, int, int]], scale: float = 1.0) -> list[tuple[float, float, float]]:
    level, bars = 1000, []
    for move, up, down in moves:
        level += move - 25
        bars.append(((level + up) * scale, (level - down) * scale, level * scale))
    return bars


@given(prices)
def test_scaling_the_prices_leaves_it_as_it_was(moves: list[tuple[int, int, int]]):
    plain, scaled = after(bars_of(moves)), after(bars_of(moves, 4.0))
    assert scaled.macdv == plain.macdv
    assert scaled.signal == plain.signal


@given(prices, st.integers(0, 39))
def test_a_restored_state_goes_on_bit_for_bit(moves: list[tuple[int, int, int]], cut: int):
    bars = bars_of(moves)
    restored = Macdv()
    restored.restore(after(bars[:cut]).state())
    for bar in bars[cut:]:
        restored.update(*bar)
    assert restored.state() == after(bars).state()


@given(prices)
def test_a_peek_tells_the_next_reading_and_changes_nothing(moves: list[tuple[int, int, int]]):
    bars = bars_of(moves)
    indicator = after(bars[:-1])
    before = indicator.state()
    assert indicator.peek(*bars[-1]) == after(bars).reading
    assert indicator.state() == before


def test_restoring_a_state_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        Macdv().restore([1, 2, 3])


@pytest.mark.parametrize(
    ("macdv", "signal", "quiet", "expected"),
    [
        (None, None, 0, "unknown"),
        (10.0, None, 0, "unknown"),
        (-151.0, None, 0, "oversold"),
        (-151.0, -200.0, 0, "oversold"),
        (-151.0, -100.0, 0, "oversold"),
        (-150.0, -200.0, 0, "rebounding"),
        (-150.0, -100.0, 0, "reversing"),
        (-50.1, -49.0, 0, "reversing"),
        (-50.0, -49.0, 0, "retracing"),
        (-50.0, -50.0, 0, "retracing"),
        (49.9, 40.0, 0, "rebounding"),
        (50.0, 40.0, 0, "rallying"),
        (149.9, 140.0, 0, "rallying"),
        (150.0, 140.0, 0, "overbought"),
        (150.0, 150.0, 0, "retracing"),
        (10.0, 5.0, 19, "rebounding"),
        (10.0, 5.0, 20, "ranging"),
        (10.0, 15.0, 20, "ranging"),
    ],
)
def test_every_value_has_exactly_one_stage(macdv: float | None, signal: float | None, quiet: int, expected: str):
    assert stage(macdv, signal, quiet) == expected


def test_longer_timeframes_weigh_more_in_the_bias():
    assert bias({"5m": "rallying", "1d": "reversing"}) == "bearish"
    assert bias({"5m": "reversing", "15m": "reversing", "4h": "rallying", "1d": "oversold"}) == "bullish"
    assert bias({"5m": "rallying", "15m": "reversing"}) == "neutral"
    assert bias({"5m": "ranging", "1h": "unknown"}) == "neutral"
