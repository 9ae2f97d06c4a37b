"""Why no alert: the explanation agrees with the evaluation on everything, and says so in sentences."""

import copy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.explain import Cooldown, Level, Standing, explain
from alerts.rules import Memory, Rule, evaluate
from market_data.macdv import Reading
from tests.alerts.test_rules import RULE, T0, reading

LIVE = Standing("5m", T0, 400, 250, T0)
LABELS = [f"level_{sign}{level}" for sign in ("", "-") for level in (150, 200, 250, 300, 350, 400)] + [
    "reversal_oversold", "reversal_overbought",
]  # fmt: skip

# Around the levels and on them: that is where the two could differ.
values = st.one_of(
    st.none(), st.sampled_from([0.0, *(sign * level for sign in (-1.0, 1.0) for level in RULE.levels)]), st.floats(-500, 500)
)
readings = st.builds(reading, values, st.one_of(st.none(), st.floats(-60, 60), st.sampled_from([7.5, -4.5])))
rules = st.builds(
    Rule,
    id=st.just(1),
    version=st.just(1),
    levels=st.lists(st.sampled_from(RULE.levels), unique=True).map(tuple),
    timeframes=st.just(frozenset({"5m"})),
    reversal_level=st.sampled_from([50.0, 150.0, 200.0]),
    cooldown=st.sampled_from([0, 300_000, 900_000]),
)
memories = st.builds(
    Memory,
    oversold_armed=st.booleans(),
    overbought_armed=st.booleans(),
    fired=st.dictionaries(st.sampled_from(LABELS), st.integers(0, 5).map(lambda candles: T0 - candles * 300_000), max_size=6),
)


@settings(max_examples=1_500, deadline=None)
@given(rules, st.one_of(st.none(), readings), readings, memories)
@example(RULE, reading(-170.0), reading(-210.0, 20.0), Memory(oversold_armed=False))
@example(RULE, reading(-170.0), reading(-210.0, 20.0), Memory(oversold_armed=False, fired={"level_-200": T0 - 1}))
def test_it_says_would_fire_exactly_where_the_rule_fires(rule: Rule, previous: Reading | None, current: Reading, memory: Memory):
    before = copy.deepcopy(memory)
    said = explain(rule, previous, current, memory, LIVE)
    assert memory == before
    assert list(said.would_fire) == [signal.label for signal in evaluate(rule, previous, current, memory, T0)]


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.none(), readings), readings, memories)
def test_after_a_candle_its_memory_tells_what_fired_on_it_and_nothing_would_fire_again(
    previous: Reading | None, current: Reading, memory: Memory
):
    memory.fired = {label: at for label, at in memory.fired.items() if at < T0}
    labels = sorted(signal.label for signal in evaluate(RULE, previous, current, memory, T0))
    said = explain(RULE, previous, current, memory, LIVE)
    assert (list(said.fired), said.would_fire) == (labels, ())


def sentences(previous: Reading | None, current: Reading | None, memory: Memory | None = None, standing: Standing = LIVE) -> list[str]:
    said = explain(RULE, previous, current, memory or Memory(), standing).sentences
    return [sentence.replace("\u2212", "-") for sentence in said]


def test_a_quiet_market_is_told_how_far_the_next_levels_are():
    said = explain(RULE, reading(10.0), reading(12.5), Memory(), LIVE)
    assert (said.above, said.below, said.would_fire, said.blocked) == (Level(150, 137.5), Level(-150, 162.5), (), ())
    assert sentences(reading(10.0), reading(12.5)) == [
        "MACD-V is 12.5: +150 is 137.5 above, -150 is 162.5 below.",
        "A reversal needs two closed candles in a row beyond ±150.",
    ]


def test_beyond_a_level_the_next_one_is_further_out_and_the_other_side_is_far():
    said = explain(RULE, reading(-190.0), reading(-210.0), Memory(), LIVE)
    assert (said.above, said.below) == (Level(150, 360.0), Level(-250, 40.0))
    assert explain(RULE, reading(390.0), reading(410.0), Memory(), LIVE).above is None


def test_a_reversal_says_what_it_lacks():
    assert sentences(reading(-170.0), reading(-160.0, 3.0))[1:] == [
        "A reversal from oversold is armed and lacks: histogram above 8.00 (5 % of |MACD-V|), it is 3.00.",
    ]
    assert sentences(reading(140.0), reading(151.0, None), Memory(overbought_armed=False, fired={"level_150": T0}))[2:] == [
        "A reversal from overbought is not armed and lacks: it has fired in this excursion; armed again within ±150 or by a new level "
        "alert; MACD-V above +150 on two closed candles in a row, the last were 140.0 and 151.0; a histogram.",
        "Cooldown: crossing above +150 fires again 5 min after this candle's close.",
    ]


def test_a_cooldown_says_until_when_and_holds_back_its_own_label():
    memory = Memory(fired={"level_150": T0 - 100_000, "level_-150": T0 - 300_000})
    said = explain(RULE, reading(140.0), reading(151.0), memory, LIVE)
    assert (said.would_fire, said.cooldowns) == ((), (Cooldown("level_150", T0 + 200_000),))


def test_what_fired_and_what_would_fire_are_told_apart():
    assert "Fired on the last closed candle: crossing above +150." in sentences(
        reading(140.0), reading(151.0), Memory(fired={"level_150": T0})
    )
    assert sentences(reading(140.0), reading(151.0))[0] == (
        "Would fire on the last closed candle, as the rule stands now: crossing above +150."
    )


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (LIVE._replace(state="stale", since=T0 - 37_000, now=T0), "NOT EVALUATED: stale 37 s."),
        (
            LIVE._replace(state="gap", reason="3 candles are being fetched", since=T0 - 600_000),
            "NOT EVALUATED: gap 10 min (3 candles are being fetched).",
        ),
        (LIVE._replace(bars=112), "NOT EVALUATED: warming, 112 of 250 candles."),
        (LIVE._replace(timeframe="1h"), "NOT EVALUATED: this rule does not look at 1h."),
    ],
)
def test_what_is_not_evaluated_says_why(standing: Standing, said: str):
    explained = explain(RULE, reading(140.0), reading(151.0), Memory(), standing)
    assert (explained.sentences[0], explained.would_fire) == (said, ())


def test_without_a_value_there_is_nothing_to_measure():
    assert sentences(None, None) == ["NOT EVALUATED: MACD-V has no value."]
    assert sentences(None, reading(10.0))[0] == "NOT EVALUATED: the value before it is not known, and a first one fires nothing."
