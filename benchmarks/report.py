"""Rows as a table, for the terminal and for docs/benchmarks.md alike."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.rows import Of, Row
from benchmarks.timing import Spread

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
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


def written(head: str, sections: Mapping[str, Sequence[Row]]) -> str:
    """The part of the document that is measured."""
    rows = [row for section in sections.values() for row in section]
    tables = (f"## {title}\n\n{table(section)}" for title, section in sections.items())
    return "\n".join((f"{head}\n\n{summary(rows)}\n", *tables))


def write(text: str) -> None:
    """Put it into the document, between its marks. Raises ValueError where they are not there."""
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} has lost the marks between which the figures stand: {BEGIN.strip()} and {END.strip()}")
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
