"""Rows as charts: SVG that needs nothing to be drawn or to be read, in a light page and in a dark one.

Each line is a median with its quartiles behind it; the x axis is logarithmic where its values are.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from benchmarks.rows import Row


class Chart(NamedTuple):
    """``y`` names the axis with its unit. ``goals``: (name, y of it at each x) as dashed lines."""

    name: str
    title: str
    x: str
    y: str
    goals: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()
    flat: float = 0.0
    """Where it is given: a line may rise to so many times its first figure, and that bound is drawn too."""

    @property
    def file(self) -> str:
        return f"benchmarks-{self.name}.svg"


CHARTS = (
    Chart("growth", "Cost per frame against the number of symbols", "symbols", "µs of the processor a frame", flat=1.2),
    Chart(
        "fanout",
        "Delivery of a message against the number of sockets",
        "sockets",
        "ms until it is there",
        (("p99 goal, daphne", ((1, 100), (1000, 100))),),
    ),
    Chart(
        "browser",
        "From an exchange's frame to the browsers, half of all deliveries",
        "sockets",
        "ms from the exchange's frame",
        (("goal, prices and candles", ((1, 1.5), (100, 6), (500, 25))),),
    ),
)

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 84, 52
_STYLE = """
  svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; --paper: #fff; --ink: #1f2328; --dim: #59636e; --rule: #d9dee3;
    --l0: #0b62c4; --l1: #b54708; --l2: #1a7f5a; --l3: #7d4bc4; }
  @media (prefers-color-scheme: dark) { svg { --paper: #12161c; --ink: #e6edf3; --dim: #9aa5b1; --rule: #2d353f;
    --l0: #6cb0ff; --l1: #f5a35c; --l2: #56c596; --l3: #c09bff; } }
  .paper { fill: var(--paper); } text { fill: var(--ink); } .dim { fill: var(--dim); } .title { font-size: 15px; font-weight: 600; }
  .rule { stroke: var(--rule); } .axis { stroke: var(--dim); }
  .goal { stroke: var(--dim); stroke-dasharray: 6 4; fill: none; stroke-width: 1.5; }
  .line { fill: none; stroke-width: 2; } .whisker { stroke-width: 1; opacity: .6; }
"""
_COLOURS = 4


class _Mark(NamedTuple):
    x: float
    low: float
    middle: float
    high: float


def of(rows: Iterable[Row]) -> list[Chart]:
    """The charts for which there are figures."""
    names = {row.point.chart for row in rows if row.point is not None and row.ours is not None}
    return [chart for chart in CHARTS if chart.name in names]


def svg(chart: Chart, rows: Sequence[Row]) -> str:
    """The chart of those rows that belong to it."""
    lines: dict[str, list[_Mark]] = {}
    for row in rows:
        if row.point is not None and row.point.chart == chart.name and row.ours is not None:
            lines.setdefault(row.point.line, []).append(_Mark(row.point.x, *row.ours))
    marks = [mark for line in lines.values() for mark in line]
    goals = [y for _, points in chart.goals for _, y in points]
    top = _ceiling(max([*(mark.high * max(1.0, chart.flat) for mark in marks), *goals]))
    xs = sorted({mark.x for mark in marks})
    place = _Place(xs, top)
    body = [*_grid(place, top), *_axes(chart, place, xs)]
    for at, line in enumerate(lines.values()):
        body += _line(place, sorted(line), at % _COLOURS)
    goal_lines = list(chart.goals)
    if chart.flat:
        bounds = (min(line).middle * chart.flat for line in lines.values())
        goal_lines += [(f"goal: at most {chart.flat - 1:.0%} more", tuple((x, bound) for x in xs)) for bound in bounds]
    for _, points in goal_lines:
        inside = [(x, y) for x, y in points if xs[0] <= x <= xs[-1]]
        path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in inside)
        body.append(f'<polyline class="goal" points="{path}"/>')
    body += _legend(list(lines), list(dict.fromkeys(name for name, _ in goal_lines)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(chart.title)}">\n'
        f'<style>{_STYLE}</style>\n<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>\n'
        f'<text class="title" x="{_LEFT}" y="28">{escape(chart.title)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


class _Place:
    """Figures to pixels."""

    def __init__(self, xs: Sequence[float], top: float) -> None:
        self._first, self._last, self._top = math.log(xs[0]), math.log(xs[-1]), top

    def x(self, value: float) -> float:
        span = (self._last - self._first) or 1.0
        inset = 24  # so that no mark lies on the axis
        return _LEFT + inset + (math.log(value) - self._first) / span * (_WIDTH - _LEFT - _RIGHT - 2 * inset)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - value / self._top * (_HEIGHT - _TOP - _BOTTOM)


def _ceiling(value: float) -> float:
    """A round number at or above that, of five even steps."""
    power: float = 10 ** math.floor(math.log10(value / 5))
    return next(step * power * 5 for step in (1, 2, 2.5, 5, 10) if step * power * 5 >= value * 0.999)


def _grid(place: _Place, top: float) -> list[str]:
    found = []
    for step in range(6):
        value = top * step / 5
        y = place.y(value)
        found.append(f'<line class="{"axis" if step == 0 else "rule"}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        found.append(f'<text class="dim" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return found


def _axes(chart: Chart, place: _Place, xs: Sequence[float]) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    upright = f'transform="translate(18 {(_TOP + bottom) / 2}) rotate(-90)"'
    found = [f'<text class="dim" {upright} text-anchor="middle">{escape(chart.y)}</text>']
    for x in xs:
        found.append(f'<line class="axis" x1="{place.x(x):.1f}" x2="{place.x(x):.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        found.append(f'<text class="dim" x="{place.x(x):.1f}" y="{bottom + 20}" text-anchor="middle">{x:,g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [*found, f'<text class="dim" x="{middle}" y="{bottom + 40}" text-anchor="middle">{escape(chart.x)}</text>']


def _line(place: _Place, marks: Sequence[_Mark], colour: int) -> list[str]:
    ink = f"var(--l{colour})"
    path = " ".join(f"{place.x(mark.x):.1f},{place.y(mark.middle):.1f}" for mark in marks)
    found = [f'<polyline class="line" points="{path}" style="stroke:{ink}"/>']
    for mark in marks:
        x, low, high = (f"{value:.1f}" for value in (place.x(mark.x), place.y(mark.low), place.y(mark.high)))
        found.append(f'<line class="whisker" x1="{x}" x2="{x}" y1="{low}" y2="{high}" style="stroke:{ink}"/>')
        found.append(f'<circle cx="{x}" cy="{place.y(mark.middle):.1f}" r="4" style="fill:{ink}"/>')
    return found


def _legend(lines: Sequence[str], goals: Sequence[str]) -> list[str]:
    found, x = [], float(_LEFT)
    for at, name in enumerate((*lines, *goals)):
        dashed = at >= len(lines)
        style = "" if dashed else f' style="stroke:var(--l{at % _COLOURS})"'
        found.append(f'<line class="{"goal" if dashed else "line"}" x1="{x:.0f}" x2="{x + 24:.0f}" y1="50" y2="50"{style}/>')
        found.append(f'<text x="{x + 30:.0f}" y="54">{escape(name)}</text>')
        x += 30 + 6.6 * len(name) + 18
    return found
