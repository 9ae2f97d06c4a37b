"""One exchange over several connectors: which symbol belongs to which, and what their statuses say together. Pure."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

MOST = 64
"""Shards of one exchange. Each needs connections of its own, and the exchange counts them all against one address."""

_WORST_FIRST = ("idle", "offline", "gap", "stale", "warming", "halted", "live")
_CONNECTIONS_WORST_FIRST = ("idle", "disconnected", "connecting", "connected")
_SUMS = ("symbols", "frames", "messages_per_s", "rest_used", "rest_left", "rest_limit", "rest_waiting")
_WORST = ("rest_held_s", "rest_ms", "websocket_ms", "error_at", "connected_at", "last_heartbeat", "since")
OLDEST_SHOWN = 10
"""Of the streams without data for longest, as many as a connector names."""


class Shard(NamedTuple):
    """The ``number``-th of ``of`` parts of an exchange's symbols, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``2/4``. Raises ValueError that says what is wrong."""
        number, slash, of = text.partition("/")
        if not slash or not (number.isascii() and number.isdigit() and of.isascii() and of.isdigit()):
            raise ValueError(f"a shard is written as 2/4, the second of four; not {text!r}")
        found = cls(int(number), int(of))
        if not 1 <= found.number <= found.of <= MOST:
            raise ValueError(f"there is no shard {text}: the first number goes from 1 to the second, and that to {MOST} at most")
        return found

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def whole(self) -> bool:
        """Whether it is all there is."""
        return self.of == 1

    @property
    def first(self) -> bool:
        """Whether it does what an exchange needs once, whatever its number of shards."""
        return self.number == 1

    @property
    def all(self) -> "list[Shard]":
        """All shards of this division."""
        return [Shard(number, self.of) for number in range(1, self.of + 1)]

    def holds(self, symbol: str) -> bool:
        """Whether a symbol is this shard's. The same everywhere and for ever: it depends on the symbol's name alone."""
        return zlib.crc32(symbol.encode()) % self.of == self.number - 1


WHOLE = Shard(1, 1)


def merged(parts: Mapping[Shard, Mapping[str, Any]], counters: Iterable[str]) -> dict[str, Any]:
    """The status of an exchange out of those of its shards, as ``exchanges.status.read`` gives them; an empty one has no process.

    A shard without a process makes the exchange ``stale``: its symbols are not watched, though others are.
    """
    there = {shard: part for shard, part in parts.items() if part}
    gone = [str(shard) for shard, part in parts.items() if not part]
    states = {part.get("state") or "offline" for part in there.values()}
    connections = {part.get("connection_state") or "idle" for part in there.values()}
    found: dict[str, Any] = {
        "state": next((state for state in _WORST_FIRST if state in states), "offline"),
        "connection_state": next((one for one in _CONNECTIONS_WORST_FIRST if one in connections), "idle"),
        "shards": len(parts),
        "host": " · ".join(sorted({str(part.get("host") or "") for part in there.values()} - {""})),
        "pid": next((part.get("pid") for _, part in sorted(there.items())), None),
        "warmup": _warmup(there.values()),
        "error": _errors(there),
        "retry_at": min(_known(there.values(), "retry_at"), default=None),
        "clock_offset_ms": max(_known(there.values(), "clock_offset_ms"), key=abs, default=None),
        "oldest": sorted((row for part in there.values() for row in part.get("oldest") or []), key=lambda row: -row[2])[:OLDEST_SHOWN],
    }
    for name in (*_SUMS, *counters):
        known = _known(there.values(), name)
        found[name] = sum(known) if known else None
    for name in _WORST:
        found[name] = max(_known(there.values(), name), default=None)
    if gone and there:
        found["state"] = "stale"
        found["error"] = f"no process runs shard {', '.join(gone)}: its symbols are not watched"
    return found


def _known(parts: Iterable[Mapping[str, Any]], name: str) -> list[Any]:
    return [part[name] for part in parts if part.get(name) is not None]


def _warmup(parts: Iterable[Mapping[str, Any]]) -> float | None:
    """The share of all symbols that is loaded, where any shard still loads some."""
    loading = [(part.get("symbols") or 0, part.get("warmup")) for part in parts]
    if all(share is None for _, share in loading):
        return None
    total = sum(symbols for symbols, _ in loading)
    return sum(symbols * (1.0 if share is None else share) for symbols, share in loading) / total if total else 0.0


def _errors(there: Mapping[Shard, Mapping[str, Any]]) -> str:
    """The first shard's error, by its name, and how many more there are."""
    found = [f"shard {shard}: {part['error']}" for shard, part in sorted(there.items()) if part.get("error")]
    return "" if not found else found[0] if len(found) == 1 else f"{found[0]}, and {len(found) - 1} more"
