"""Rows as a table, for the terminal and for docs/benchmarks.md alike."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import charts
from benchmarks.rows import Of, Row
from benchmarks.timing import Spread

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
_SECTION = re.compile(r"^<!-- section: (\w+) -->\n", re.MULTILINE)
_HEAD = ("what", "ours", "against", "theirs", "ratio", "goal", "", "note")


def number(value: float) -> str:
    """Three digits, and no exponent where people would not write one."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdict(row: Row) -> str:
    if row.goal is None:
        return ""
    return {True: "met", False: "**missed**", None: "not measured"}[row.met]


def table(rows: Iterable[Row]) -> str:
    """A Markdown table whose columns line up."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    lines = [" | ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, " | ".join("-" * max(3, width) for width in widths))
    return "".join(f"| {line} |\n" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    less = " less" if row.of is Of.GAIN else ""
    return (
        row.what,
        _spread(row.ours, row.unit),
        row.against,
        _spread(row.theirs, row.unit),
        _spread(row.ratio, f"x{less}", ""),
        "" if row.goal is None else row.goal.text(row.unit),
        verdict(row),
        row.note.replace("|", "/").replace("\n", " "),
    )


def _spread(spread: Spread | None, unit: str, gap: str = " ") -> str:
    if spread is None:
        return "-"
    middle = number(spread.middle) + (f"{gap}{unit}" if unit else "")
    return middle if spread.low == spread.high else f"{middle} ({number(spread.low)} to {number(spread.high)})"


def summary(rows: Sequence[Row]) -> str:
    goals = [row.met for row in rows if row.goal is not None]
    return f"{goals.count(True)} goals met, {goals.count(False)} missed, {goals.count(None)} not measured."


def section(title: str, rows: Sequence[Row], head: str = "") -> str:
    """What is written of one subject. ``head``: when and on what it was measured, where that is not said for all of them."""
    parts = [f"## {title}\n", f"{head}\n" if head else "", f"{summary(rows)}\n", table(rows)]
    pictures = (f"![{chart.title}]({chart.file})\n" for chart in charts.of(rows))
    return "\n".join(part for part in (*parts, *pictures) if part)


def write(head: str, sections: Mapping[str, str], order: Sequence[str]) -> None:
    """Put the sections, by subject, into the document, between its marks and in that order.

    With a ``head`` for all of them they take the place of everything that was there; without, the other sections stay, and their head.
    Raises ValueError where the marks are not there.
    """
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    measured, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} has lost the marks between which the figures stand: {BEGIN.strip()} and {END.strip()}")
    if head:
        known = dict(sections)
    else:
        head, *parts = _SECTION.split(measured)
        known = {**dict(zip(parts[::2], (part.strip() + "\n" for part in parts[1::2]), strict=True)), **sections}
    texts = (f"<!-- section: {name} -->\n{known[name]}" for name in order if name in known)
    DOCUMENT.write_text(before + BEGIN + "\n" + "\n".join((*([head.strip() + "\n"] if head.strip() else []), *texts)) + "\n" + END + after)


def draw(rows: Sequence[Row]) -> None:
    """Put what was measured of each chart beside the document."""
    for chart in charts.of(rows):
        (DOCUMENT.parent / chart.file).write_text(charts.svg(chart, rows))
