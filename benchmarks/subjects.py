"""The subjects, each a module with a ``TITLE`` and ``async def measure(effort, peers) -> list[Row]``. A new one is a line here.

They are imported when they are measured: some load Django, and a footprint should be nobody else's.
"""

import importlib
from typing import Protocol

from benchmarks.peer import Peers
from benchmarks.rows import Row
from benchmarks.timing import Effort

_MODULES = {
    "parsing": "benchmarks.parsing",
    "socket": "benchmarks.tls",
    "indicator": "benchmarks.indicator",
    "pipeline": "benchmarks.pipeline",
    "growth": "benchmarks.growth",
    "redis": "benchmarks.redis_closes",
    "commit": "benchmarks.commit",
    "fanout": "benchmarks.fanout",
    "warmup": "benchmarks.warmup",
    "card": "benchmarks.card",
    "browser": "benchmarks.browser",
    "ten": "benchmarks.ten",
    "screen": "benchmarks.screen",
    "footprint": "benchmarks.footprint",
    "lists": "benchmarks.lists",
}


class Subject(Protocol):
    """What a module has to offer."""

    TITLE: str

    async def measure(self, effort: Effort, peers: Peers) -> list[Row]: ...


def names() -> list[str]:
    return list(_MODULES)


def subject(name: str) -> Subject:
    """The subject of that name. Raises LookupError that lists the known ones."""
    if name not in _MODULES:
        raise LookupError(f"unknown subject {name!r}; known: {', '.join(_MODULES)}")
    module: Subject = importlib.import_module(_MODULES[name])  # type: ignore[assignment]
    return module
