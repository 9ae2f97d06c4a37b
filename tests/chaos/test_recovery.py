"""The cheap faults of ``make chaos-recovery``, one run each over every protocol, and that its table can say no."""

import math

import pytest

from tests.chaos.recovery import CHEAP, GOALS, Measured, report, with_engines


@pytest.mark.parametrize("fault", CHEAP)
async def test_what_breaks_for_a_moment_is_back_within_its_goal(fault: str) -> None:
    found = await with_engines(fault, runs=3, seed=1)
    for goal in GOALS:
        if goal.fault == fault:
            assert max(run[goal.measure] for run in found) <= goal.most + SLACK[goal.unit], goal.name


SLACK = {"s": 2.0, "times": 0}
"""A machine that is busy with other tests may take so much longer; the measured table has none."""


@pytest.mark.parametrize(("value", "met"), [(1.2, True), (3.1, False), (math.inf, False)])
def test_a_missed_goal_is_said_and_fails(value: float, met: bool, capsys: pytest.CaptureFixture[str]) -> None:
    runs: list[Measured] = [{"every subscription proved": 1.0}, {"every subscription proved": value}]
    assert report({"close-1000": runs}) is met
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"| {1 + met} of 2 |")
