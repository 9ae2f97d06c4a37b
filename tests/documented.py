"""The metrics that docs/metrics.md lists, and those that the processes serve, for the tests that compare them."""

import re
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
PROCESSES = {"The web process": "web", "The connector": "connector", "Delivery": "delivery", "Every process": "every"}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}


class Row(NamedTuple):
    """``labels``: names, without those of a bucket."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def documented() -> dict[str, set[Row]]:
    """Process -> what its tables list."""
    sections = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {PROCESSES[title]: rows(text) for title, text in zip(sections[::2], sections[1::2], strict=True) if title in PROCESSES}


def rows(text: str) -> set[Row]:
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", text, re.MULTILINE)
    return {Row(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in found}


def served(text: str) -> set[tuple[str, str, str]]:
    """(name, kind, meaning) of an answer."""
    return {(full_name(family), family.type, family.documentation) for family in text_string_to_metric_families(text)}


def full_name(family: Metric) -> str:
    """As a query spells it; of a histogram what its three series begin with."""
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def labels(text: str) -> set[tuple[str, frozenset[str]]]:
    """(name, labels) of every sample of an answer."""
    return {(sample.name, frozenset(sample.labels)) for family in text_string_to_metric_families(text) for sample in family.samples}


def series(found: set[Row]) -> dict[str, frozenset[str]]:
    """Every name that a query may ask for -> its labels."""
    names: dict[str, frozenset[str]] = {}
    for row in found:
        for suffix in SUFFIXES.get(row.kind, ("",)):
            names[row.name + suffix] = frozenset({*row.labels, *(["le"] if suffix == "_bucket" else [])})
    return names
