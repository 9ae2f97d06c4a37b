import pytest

from alerts.rules import Memory, Rule, Signal, evaluate, uid
from market_data.macdv import Reading

RULE = Rule(id=1, version=1, levels=(150, 200, 250, 300, 350, 400), timeframes=frozenset({"5m"}))
T0 = 1_786_000_200_000


def reading(macdv: float | None, histogram: float | None = 0.0) -> Reading:
    return Reading(macdv, None, histogram, 1.0, "")


def fired(values: list[float | tuple[float, float]], *, rule: Rule = RULE, step: int = 300_000) -> list[list[str]]:
    """The labels of each candle after the first."""
    memory, previous, labels = Memory(), None, []
    for place, value in enumerate(values):
        current = reading(*value) if isinstance(value, tuple) else reading(value)
        signals = evaluate(rule, previous, current, memory, T0 + place * step)
        labels.append([signal.label for signal in signals])
        previous = current
    return labels[1:]


@pytest.mark.parametrize(
    ("previous", "current", "expected"),
    [
        (100.0, 151.0, ["level_150"]),
        (150.0, 150.1, ["level_150"]),
        (149.0, 150.0, []),
        (100.0, 260.0, ["level_250"]),
        (260.0, 199.0, []),
        (-100.0, -151.0, ["level_-150"]),
        (-150.0, -150.1, ["level_-150"]),
        (-149.0, -420.0, ["level_-400"]),
        (-260.0, -199.0, []),
        (-160.0, 160.0, ["level_150"]),
        (500.0, 600.0, []),
    ],
)
def test_a_level_fires_outward_once_and_for_the_deepest(previous: float, current: float, expected: list[str]):
    assert fired([previous, current]) == [expected]


def test_the_first_value_is_a_baseline():
    assert evaluate(RULE, None, reading(500.0), Memory(), T0) == []
    assert evaluate(RULE, reading(None), reading(500.0), Memory(), T0) == []
    assert evaluate(RULE, reading(100.0), reading(None), Memory(), T0) == []


def test_a_reversal_from_oversold_needs_two_readings_beyond_and_the_buffer():
    assert fired([(-170.0, 0.0), (-180.0, 9.0)]) == [[]]
    assert fired([(-170.0, 0.0), (-180.0, 9.1)]) == [["reversal_oversold"]]
    assert fired([(-150.0, 0.0), (-160.0, 50.0)]) == [["level_-150"]]


def test_a_reversal_from_overbought_has_its_own_buffer():
    assert fired([(170.0, 0.0), (200.0, -6.0)]) == [[]]
    assert fired([(170.0, 0.0), (199.0, -6.0)]) == [["reversal_overbought"]]


def test_a_reversal_fires_once_an_excursion():
    deep = [(-170.0, 0.0), (-170.0, 20.0), (-165.0, 20.0), (-160.0, 20.0)]
    assert fired(deep) == [["reversal_oversold"], [], []]
    assert fired([*deep, (-140.0, 20.0), (-149.0, 0.0), (-170.0, 0.0), (-170.0, 20.0)])[3:] == [
        [],
        [],
        ["level_-150"],
        ["reversal_oversold"],
    ]


def test_a_new_level_arms_the_reversal_again():
    assert fired([(-170.0, 0.0), (-170.0, 20.0), (-210.0, 0.0), (-205.0, 20.0)]) == [
        ["reversal_oversold"], ["level_-200"], ["reversal_oversold"],
    ]  # fmt: skip


def test_the_cooldown_is_measured_in_the_exchanges_time():
    swings = [100.0, 151.0, 100.0, 151.0]
    assert fired(swings, step=100_000) == [["level_150"], [], []]
    assert fired(swings, step=150_000) == [["level_150"], [], ["level_150"]]


def test_the_cooldown_of_one_label_leaves_the_others_alone():
    assert fired([100.0, 151.0, 201.0], step=1_000) == [["level_150"], ["level_200"]]


def test_a_signal_says_where_the_price_goes():
    assert evaluate(RULE, reading(100.0), reading(151.0), Memory(), T0) == [Signal("level_150", "up")]
    assert evaluate(RULE, reading(-170.0), reading(-170.0, 20.0), Memory(), T0) == [Signal("reversal_oversold", "up")]


def test_the_same_candles_give_the_same_identity():
    assert uid("coinbase", "BTC-USD", "5m", RULE, "level_150", T0) == f"coinbase|BTC-USD|5m|1.1|level_150|{T0}"
