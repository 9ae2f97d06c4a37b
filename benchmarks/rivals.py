"""Peers as rows: those that are here take turns with ours, those that are not say why."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.peer import NoPeer, Peer, Peers
from benchmarks.rows import Goal, Row, compared, single
from benchmarks.timing import Slice

Check = Callable[[dict[str, Any]], str]
"""Why what a peer made of its first input is not what it ought to be, or empty."""


class Rival(NamedTuple):
    """A peer of a row. ``module`` and ``slice`` say how it is asked, ``requirement`` what has to be installed for it."""

    name: str
    module: str
    requirement: str
    slice: str
    goal: Goal
    check: Check = lambda found: ""


class Field(NamedTuple):
    """The rivals of a row: slices of those that are here, and of the others the reason why they are not."""

    rivals: Sequence[Rival]
    slices: dict[str, Slice]
    absent: dict[str, str]
    peers: dict[str, Peer]

    def rows(self, what: str, unit: str, found: dict[str, list[float]]) -> list[Row]:
        return [
            single(what, unit, found["ours"], rival.name, goal=rival.goal, note=self.absent[rival.name])
            if rival.name in self.absent
            else compared(what, unit, found["ours"], rival.name, found[rival.name], goal=rival.goal)
            for rival in self.rivals
        ]


async def gather(rivals: Sequence[Rival], peers: Peers) -> Field:
    """Start them. One whose answer is not ours measures something else, and is left out."""
    slices: dict[str, Slice] = {}
    absent: dict[str, str] = {}
    running: dict[str, Peer] = {}
    for rival in rivals:
        try:
            peer = await peers.get(rival.module, rival.requirement)
        except NoPeer as error:
            absent[rival.name] = str(error)
            continue
        if fault := rival.check(peer.check):
            running[rival.name] = peer
            absent[rival.name] = f"not comparable: {fault}"
        else:
            running[rival.name] = peer
            slices[rival.name] = peer.slice(rival.slice)
    return Field(rivals, slices, absent, running)
