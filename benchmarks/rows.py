"""What a measurement comes to: a figure of ours, the peer's or the limit's from the same run, their ratio, and whether that is the goal."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from benchmarks.timing import Spread


class Of(StrEnum):
    """What a figure says. ``COST``: ours over the other's, less is better. ``GAIN``: the other's over ours. ``VALUE``: ours as it is."""

    COST = "cost"
    GAIN = "gain"
    VALUE = "value"


@dataclass(frozen=True)
class Goal:
    """A bound that a median has to keep."""

    of: Of
    bound: float
    least: bool = False

    def met_by(self, figure: float) -> bool:
        return figure >= self.bound if self.least else figure <= self.bound

    def text(self, unit: str) -> str:
        return f"{'≥' if self.least else '≤'} {self.bound:,g}{self._of(unit)}"

    def _of(self, unit: str) -> str:
        return {Of.COST: "x", Of.GAIN: "x less", Of.VALUE: f" {unit}".rstrip()}[self.of]


def at_most_times(bound: float) -> Goal:
    """Ours costs at most so many times what the other costs."""
    return Goal(Of.COST, bound)


def times_better(bound: float) -> Goal:
    """The other costs at least so many times what ours costs."""
    return Goal(Of.GAIN, bound, least=True)


def at_most(bound: float) -> Goal:
    """Ours is at most that, in the row's unit."""
    return Goal(Of.VALUE, bound)


def at_least(bound: float) -> Goal:
    """Ours is at least that, in the row's unit."""
    return Goal(Of.VALUE, bound, least=True)


class Point(NamedTuple):
    """Where a row stands in a chart of benchmarks.charts: on which line, and at which x."""

    chart: str
    line: str
    x: float


@dataclass(frozen=True)
class Row:
    """A line of the table. ``against`` names the peer or limit; what is None could not be measured, and ``note`` says why.

    ``ratio`` of ``theirs`` and ``ours`` is what ``of`` says. ``note`` also says what makes a figure doubtful.
    """

    what: str
    unit: str
    ours: Spread | None
    against: str = ""
    theirs: Spread | None = None
    ratio: Spread | None = None
    of: Of = Of.COST
    goal: Goal | None = None
    note: str = ""
    point: Point | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none, or what it needs was not measured."""
        if self.goal is None:
            return None
        figure = self.ours if self.goal.of is Of.VALUE else self.ratio
        return None if figure is None else self.goal.met_by(figure.middle)


_PER_SECOND = {"s": 1.0, "ms": 1e3, "µs": 1e6}


def compared(
    what: str,
    unit: str,
    ours: Sequence[float],
    against: str,
    theirs: Sequence[float],
    *,
    of: Of = Of.COST,
    goal: Goal | None = None,
    note: str = "",
    point: Point | None = None,
) -> Row:
    """A row out of two lists of the same rounds: seconds, where the unit is one of time. A goal for a ratio says itself what it is of."""
    of = of if goal is None or goal.of is Of.VALUE else goal.of
    pairs = [b / a if of is Of.GAIN else a / b for a, b in zip(ours, theirs, strict=True)]
    return Row(what, unit, _spread(ours, unit), against, _spread(theirs, unit), Spread.of(pairs), of, goal, note, point)


def single(
    what: str,
    unit: str,
    ours: Sequence[float],
    against: str = "",
    *,
    goal: Goal | None = None,
    note: str = "",
    point: Point | None = None,
) -> Row:
    """A row without another's figure: there is none to be had, or it is not here. No figure of another run or machine takes its place."""
    return Row(what, unit, _spread(ours, unit) if ours else None, against, goal=goal, note=note, point=point)


def _spread(figures: Sequence[float], unit: str) -> Spread:
    factor = _PER_SECOND.get(unit, 1.0)
    return Spread.of(figure * factor for figure in figures)
