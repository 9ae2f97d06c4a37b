"""What befalls a run, drawn from its seed: kill -9, frozen processes, faults of the exchanges, faults of the lines. Pure.

Moments are of the market, so that one seed strikes at the same candles however fast the machine is.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.chaos import proxy

SPEED = 240
"""The market runs so many times as fast as time."""
Argument = str | int | float


class Blow(NamedTuple):
    """``at``: seconds of real time at full speed since the market began to move. ``seconds``: how long it lasts, also in real time.

    ``what``: kill, stop, fault (of the exchanges), line (a proxy's fault) or wait; ``target``: a program, a switch, whose
    line, or green.
    """

    at: float
    what: str
    target: str
    seconds: float
    arguments: Mapping[str, Argument] = {}

    def __str__(self) -> str:
        words = "".join(f" {name}={value}" for name, value in self.arguments.items())
        return f"{self.at:.1f} s {self.what} {self.target}{words} for {self.seconds:.1f} s"


class Plan(NamedTuple):
    """``ends``: when the last alert that counts may close, in seconds like ``Blow.at``."""

    seed: int
    blows: tuple[Blow, ...]
    ends: float

    @property
    def kills(self) -> int:
        return sum(blow.what == "kill" for blow in self.blows)


SWITCHES: Mapping[str, Sequence[Mapping[str, Argument]]] = {
    "silence": [{}, {"channel": "candles"}],
    "mute": [{}],
    "ack-then-silence": [{}],
    "no-ack": [{}],
    "dead": [{"channel": "candles"}, {"channel": "ticker"}, {"channel": "heartbeats"}],
    "disconnect": [{"code": code} for code in (1000, 1001, 1006, 1008, 1011, 1012)],
    "refuse": [{"status": 503}, {"status": 502}, {"status": 429, "retry_after": 1}, {"status": 403}],
    "accept-then-close": [{"code": 1000}, {"code": 1001, "seconds": 0.2}],
    "duplicate": [{}],
    "reorder": [{}],
    "gap": [{}],
    "late": [{"seconds": 0.3}],
    "corrupt": [{"form": form} for form in ("truncated", "utf8", "list", "unknown", "types", "nan", "infinite", "negative")],
    "shutdown": [{"seconds": 0.5}],
    "sequence-reset": [{}],
    "rest-status": [{"status": 503}, {"status": 500}, {"status": 429, "retry_after": 1}, {"status": 418, "retry_after": 1}],
    "rest-slow": [{"seconds": 0.5}],
    "rest-corrupt": [{}],
}
"""Switches of exchanges.sandbox.faults under which every alert is still due, with the arguments to choose from.

Left out: what makes another truth, and is tested where that is the point. ``rest-revise`` and ``clock-skew`` change which candles an
exchange says have closed; ``rest-behind`` for a second is four minutes of this market, in which an exchange says that nothing traded.
"""
SPARSE = {"duplicate": 0.3, "reorder": 0.3, "gap": 0.3, "corrupt": 0.1, "late": 0.05}
"""Switches that strike single frames, and how often."""
VENUES = ("", "coinbase-sandbox", "binance-sandbox")
LINES = tuple(name for name in proxy.FAULTS)
TAIL = 6.0
"""Seconds of market after the last blow."""
FRAMES = (
    Blow(0.1, "fault", "duplicate", 1.8, {"probability": 1.0, "channel": "candles"}),
    Blow(0.3, "fault", "reorder", 2.6, {"probability": 0.3, "venue": "coinbase-sandbox"}),
    Blow(0.5, "fault", "corrupt", 2.4, {"form": "truncated", "probability": 0.1}),
    Blow(0.7, "fault", "gap", 2.2, {"probability": 0.3, "venue": "coinbase-sandbox"}),
    Blow(2.0, "fault", "rest-status", 4.0, {"status": 503, "venue": "binance-sandbox"}),
    Blow(2.0, "fault", "dead", 1.8, {"channel": "candles", "venue": "binance-sandbox"}),
    Blow(5.8, "fault", "disconnect", 0.1, {"code": 1001}),
)
"""What befalls frames, each kind once: doubled, swapped, broken, lost. At Binance, whose frames flag the close, some closes are lost, and
the next ones come before REST can say what those were. The connector has to get that right as it goes: one that is killed afterwards
fetches everything anew, which is why this comes last."""


def plan(
    seed: int,
    kills: int,
    programs: Sequence[str],
    *,
    lines: Sequence[str] = (),
    others: float = 1.0,
    gap: float = 4.0,
    frames: bool = False,
) -> Plan:
    """So many kills over ``programs``, with ``others`` blows of other kinds for each, ``gap`` seconds apart on average.

    ``lines``: whose lines may fail. ``frames``: whether ``FRAMES`` come at the end, when all is green again. Every program is killed before
    one is killed a second time more often than another.
    """
    rng = random.Random(f"chaos {seed}")
    deck: list[str] = []
    blows: list[Blow] = []
    at = 0.5
    for _ in range(kills):
        deck = deck or rng.sample(list(programs), len(programs))
        at += rng.uniform(0.2, 2 * gap - 0.2)
        blows.append(Blow(round(at, 2), "kill", deck.pop(), round(rng.uniform(0.0, 1.2), 2)))
        for _ in range(int(others) + (rng.random() < others % 1)):
            blows.append(_other(rng, at + rng.uniform(-0.3, 0.8) * gap, programs, lines))
    blows.sort(key=lambda blow: blow.at)
    if frames:
        at = max(blow.at for blow in blows) + 2.0
        blows += [Blow(round(at, 2), "wait", "green", 0.0), *(blow._replace(at=round(at + blow.at, 2)) for blow in FRAMES)]
        return Plan(seed, tuple(blows), round(at + FRAMES[-1].at + TAIL / 2, 2))
    return Plan(seed, tuple(blows), round(at + TAIL, 2))


WIDE = ("connector", "connector-2", "standby", "web", "web-2", "redis-1", "redis-2", "redis-3")
"""What may be killed or frozen where there are several of each."""


def wide(seed: int, kills: int, *, lines: Sequence[str] = (), others: float = 1.0, gap: float = 4.0, databases: Sequence[str] = ()) -> Plan:
    """As ``plan``, over several of each. First of all a connector dies that has a standby, and stays away until that one is at work."""
    made = plan(seed, kills - 1, [*WIDE, *databases], lines=lines, others=others, gap=gap) if kills > 1 else Plan(seed, (), TAIL)
    first = Blow(1.0, "kill", "connector", 1.0, {"until": "taken"})
    later = 14.0  # seconds of market for the takeover
    return Plan(seed, (first, *(blow._replace(at=round(blow.at + later, 2)) for blow in made.blows)), round(made.ends + later, 2))


def redis_kills(seed: int, kills: int) -> Plan:
    """Redis alone, again and again, each time as soon as everything is green again and a little later."""
    rng = random.Random(f"redis {seed}")
    blows = [Blow(round(0.5 + 2.0 * at, 2), "kill", "redis", round(rng.uniform(0.0, 1.5), 2), {"until": "green"}) for at in range(kills)]
    return Plan(seed, tuple(blows), round(0.5 + 2.0 * kills + TAIL, 2))


DAY = 24 * 3600 / SPEED
"""A day of the market, in seconds."""


def day(seed: int, faults: int) -> Plan:
    """A day of the market with so many blows, under which connector and web server live on: what they take must not grow."""
    rng = random.Random(f"day {seed}")
    blows = []
    for number in range(faults):
        at = round(5.0 + number * (DAY - 10.0) / faults, 2)
        blow = _other(rng, at, ["connector", "web", "redis"], ["redis"])
        if number % 20 == 10:
            blow = Blow(at, "kill", "redis", 0.5)
        blows.append(blow._replace(seconds=min(blow.seconds, 0.8)))
    return Plan(seed, tuple(blows), DAY)


def _other(rng: random.Random, at: float, programs: Sequence[str], lines: Sequence[str]) -> Blow:
    at, draw = round(max(0.2, at), 2), rng.random()
    if draw < 0.15:
        return Blow(at, "stop", rng.choice(list(programs)), round(rng.uniform(0.2, 2.5), 2))
    if draw < 0.35 and lines:
        return _line(rng, at, rng.choice(list(lines)))
    return _switch(rng, at, rng.choice(sorted(SWITCHES)), seconds=rng.uniform(0.3, 2.5), venue=rng.choice(VENUES))


def _switch(rng: random.Random, at: float, name: str, *, seconds: float, venue: str) -> Blow:
    arguments = dict(rng.choice(list(SWITCHES[name])))
    if name in SPARSE:
        arguments["probability"] = SPARSE[name]
    return Blow(round(at, 2), "fault", name, round(seconds, 2), {**arguments, "venue": venue})


def _line(rng: random.Random, at: float, target: str) -> Blow:
    fault = rng.choice(LINES)
    arguments: dict[str, Argument] = {"fault": fault, **proxy._drawn(rng, fault)}
    return Blow(at, "line", target, round(rng.uniform(0.2, 2.0), 2) if fault in proxy.LASTING else 0.0, arguments)


def blinding(seed: int) -> Blow:
    """Something that lasts longer than anything may look live under it (I8)."""
    rng = random.Random(f"blind {seed}")
    what, target, arguments = rng.choice(
        [
            ("kill", "connector", {}),
            ("stop", "connector", {}),
            ("fault", "silence", {}),
            ("fault", "silence", {"venue": "coinbase-sandbox"}),
            ("fault", "mute", {}),
            ("fault", "refuse", {"status": 503}),
            ("kill", "redis", {}),
            ("stop", "redis", {}),
            ("kill", "web", {}),
        ]
    )
    return Blow(0.0, what, target, round(rng.uniform(23.0, 26.0), 2), arguments)
