"""What ten exchanges cost on one machine, in one ``runexchange``, beside processes that run one exchange each.

The sandbox is a process of its own and its market as fast as life. All connectors work on the same market over the same seconds.
"""

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple

from benchmarks import followed
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_least, compared, single
from benchmarks.surroundings import child, cpu_seconds, environment, free_port, listening, resident_mb
from benchmarks.timing import Effort
from exchanges.models import Exchange
from exchanges.sandbox.venues import MOST, Venue, first_venues
from exchanges.status import read_all
from livermore import bus, keys
from livermore.db import db

TITLE = "Ten exchanges on one machine"
ALONE = 2
"""How many exchanges also run alone: one of each protocol that most of the ten speak."""
_AGAINST = "one exchange in a process of its own, ten times"
_WARM, _LOOK, _STEADY = 600.0, 0.5, 6
"""Seconds to wait at most, seconds between two looks, and looks in a row at which all are live: a list of symbols may come in parts."""
_WINDOW = 30
"""Seconds over which is measured, in times of what a process has to settle."""
_LEAST_WINDOW = 2.0
_BUSY = 0.9


class Window(NamedTuple):
    """``shares`` of a core by process, the sandbox's first, then that of the ten; ``other``: of the ten, what was seen of them but live."""

    seconds: float
    shares: list[float]
    megabytes: list[float]
    other: dict[str, str]


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    symbols = 2 * effort.symbols
    venues = first_venues(MOST)
    together, alone = [f"bench-ten-{place}" for place in range(MOST)], [f"bench-alone-{place}" for place in range(ALONE)]
    ports = free_port(), free_port()
    try:
        await db(_prepare)([*zip(together, venues, strict=True), *zip(alone, venues[:ALONE], strict=True)], ports, symbols)
        async with AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(child(*_sandbox(venues, ports, symbols)))
            await listening(ports[1])
            processes = [sandbox]
            for names in (together, *([name] for name in alone)):
                starts = [word for name in names for word in ("--autostart", name)]
                processes.append(await stack.enter_async_context(child("manage.py", "runexchange", *names, *starts)))
                await _compared()
            await _live([*together, *alone])
            found = await _look(together, [process.pid for process in processes], max(_LEAST_WINDOW, effort.settle * _WINDOW))
    finally:
        await db(followed.clean_up)([*together, *alone], ())
    return _rows(symbols, found)


def _rows(symbols: int, found: Window) -> list[Row]:
    what = f"{MOST} exchanges of {symbols:,} symbols"
    served, ours, *alone = found.shares
    note = f"over {found.seconds:.0f} s, with comparing all exchanges, which the others do not do; the sandbox took {served:.0%} of a core"
    if served > _BUSY:
        note += ", so it may be the bottleneck"
    seen = "; ".join(f"{name}: {state}" for name, state in sorted(found.other.items()))
    _, weight, *weights = found.megabytes
    return [
        compared(f"{what}: share of a core", "%", [100 * ours], _AGAINST, [1000 * statistics.mean(alone)], note=note),
        compared(f"{what}: memory", "MB", [weight], _AGAINST, [MOST * statistics.mean(weights)], note="one process"),
        single(f"{what}: live all the time", "", [MOST - len(found.other)], goal=at_least(MOST), note=seen),
    ]


def _sandbox(venues: Sequence[Venue], ports: tuple[int, int], symbols: int) -> list[str]:
    state = f"{environment()['LIVERMORE_DATA_DIR']}/ten.json"
    words = ["--ws-port", f"{ports[0]}", "--rest-port", f"{ports[1]}", "--symbols", f"{symbols}", "--speed", "1", "--rest-limit", "0"]
    return ["manage.py", "runsandbox", *words, "--state", state, *(word for venue in venues for word in ("--venue", venue.id))]


def _prepare(rows: Sequence[tuple[str, Venue]], ports: tuple[int, int], symbols: int) -> None:
    for name, venue in rows:
        Exchange.objects.create(
            id=name,
            name=name,
            adapter=venue.protocol,
            websocket_url=f"ws://127.0.0.1:{ports[0]}/{venue.id}",
            rest_url=f"http://127.0.0.1:{ports[1]}/{venue.id}",
            limits={"rest_weight_per_minute": 600_000, "rest_burst": 100_000},
            top_n=symbols,
            is_sandbox=True,
        )


async def _compared() -> None:
    """Wait until somebody compares the exchanges with one another: the first to start, so that it is always the one with the ten."""
    async with aclosing(bus.connect()) as redis, asyncio.timeout(_WARM):
        while not await redis.exists(keys.crossing_lease()):  # noqa: ASYNC110  (another process does it)
            await asyncio.sleep(_LOOK)


async def _live(names: Sequence[str]) -> None:
    """Wait until all are: connected, and warm. Raises TimeoutError that names those that are not."""
    others: dict[str, str] = {}
    try:
        async with asyncio.timeout(_WARM):
            steady = 0
            while steady < _STEADY:
                await asyncio.sleep(_LOOK)
                others = await _not_live(names)
                steady = 0 if others else steady + 1
    except TimeoutError:
        said = ", ".join(f"{name} is {state}" for name, state in sorted(others.items()))
        raise TimeoutError(f"not all were live within {_WARM:.0f} s: {said or 'none for long'}") from None


async def _not_live(names: Sequence[str]) -> dict[str, str]:
    """Their states."""
    found = await db(read_all)(list(names))
    return {name: f"{one.get('state')}" for name, one in found.items() if one.get("state") != "live"}


async def _look(names: Sequence[str], pids: Sequence[int], window: float) -> Window:
    loop = asyncio.get_running_loop()
    began, before = loop.time(), [cpu_seconds(pid) for pid in pids]
    other: dict[str, str] = {}
    while loop.time() - began < window:
        await asyncio.sleep(_LOOK)
        other |= await _not_live(names)
    seconds, after = loop.time() - began, [cpu_seconds(pid) for pid in pids]
    shares = [(now - then) / seconds for now, then in zip(after, before, strict=True)]
    return Window(seconds, shares, [resident_mb(pid) for pid in pids], other)
