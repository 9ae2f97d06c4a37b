"""The switches that make a simulated exchange misbehave. Pure but for the monotonic clock it is given.

A fault has a name, a venue ("" = all), a probability or a count (how many times it strikes), a delay and a duration (real seconds), and
arguments of its own. Whether one strikes depends on the seed and on how often it was asked, on nothing else.
"""

import time
from collections.abc import Callable, Mapping, MutableSet
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from exchanges.sandbox.hashing import generator

Argument = str | int | float


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault that can be set: what it does, and its arguments with their defaults."""

    does: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)


_TARGET: Mapping[str, Argument] = {"symbol": "", "channel": ""}
KINDS: dict[str, Kind] = {
    "silence": Kind("sockets stay up, nothing is sent on them", _TARGET),
    "mute": Kind("a connection opened now never sends anything"),
    "ack-then-silence": Kind("subscriptions are acknowledged, no data follows", _TARGET),
    "no-ack": Kind("data without acknowledgements"),
    "lost-subscription": Kind("streams of connections open at that moment end without a word; asking again brings them back", _TARGET),
    "dead": Kind("one symbol or channel (candles, ticker, heartbeats) sends no data", _TARGET),
    "disconnect": Kind("connections open at that moment are closed; code 1006 cuts the line", {"code": 1001, "reason": ""}),
    "refuse": Kind("the websocket handshake is refused with an HTTP status", {"status": 503, "retry_after": 0}),
    "accept-then-close": Kind("connections are accepted, then closed", {"code": 1000, "seconds": 0.0}),
    "black-hole": Kind("nothing passes: sockets stand mute and answer no ping, handshakes and REST get no answer"),
    "ping-flood": Kind("the exchange pings every connection many times a second", {"rate": 200.0}),
    "no-pong": Kind("the client's pings are not answered"),
    "sliced": Kind("frames come in fragments of some characters", {**_TARGET, "size": 64}),
    "duplicate": Kind("frames are sent twice", _TARGET),
    "reorder": Kind("a frame is sent after the one that follows it", _TARGET),
    "gap": Kind("frames are lost after they were numbered", _TARGET),
    "late": Kind("frames are held back, and those behind them", {**_TARGET, "seconds": 1.0}),
    "corrupt": Kind("frames arrive broken; form says how: truncated, utf8, list, …", {**_TARGET, "form": "truncated"}),
    "shutdown": Kind("the exchange announces that it will close the connection, and does after some seconds", {"seconds": 5.0}),
    "sequence-reset": Kind("numbering of frames starts again at 0"),
    "clock-skew": Kind("the exchange's clock, not its market, steps by some ms, and back when the fault is over", {"ms": 60_000}),
    "halt": Kind("a market is halted: listed so, no data, no newer candles; what traded meanwhile shows afterwards", {"symbol": ""}),
    "delist": Kind("a market is not listed any more, and unknown to every request", {"symbol": ""}),
    "rename": Kind("a market has another name, and its old one is unknown", {"symbol": "", "to": ""}),
    "rest-status": Kind("REST answers with an error status; retry_after (seconds) goes into the header", {"status": 503, "retry_after": 0}),
    "rest-slow": Kind("REST answers after some seconds", {"seconds": 2.0}),
    "rest-corrupt": Kind("REST bodies are cut in half"),
    "rest-behind": Kind("REST does not yet have the newest closed candles", {"candles": 1, "symbol": ""}),
    "rest-revise": Kind("REST gives the newest closed candle without its last trades; once the fault is over, revised", {"symbol": ""}),
}
FORMS = ("truncated", "utf8", "list", "unknown", "types", "nan", "infinite", "negative", "huge")
ONCE = frozenset({"disconnect", "shutdown", "sequence-reset", "lost-subscription"})
"""These strike a connection that was open when they were set, and each such connection once."""
NAMED = frozenset({"halt", "delist", "rename"})
"""These are about one market, which has to be named."""


@dataclass(slots=True)
class Fault:
    """A fault that was set. ``starts`` and ``ends`` are readings of the monotonic clock; ``struck`` counts."""

    id: int
    name: str
    venue: str
    probability: float
    count: int | None
    starts: float
    ends: float | None
    arguments: dict[str, Argument]
    random: Random
    struck: int = 0

    def number(self, argument: str) -> float:
        return float(self.arguments[argument])

    def text(self, argument: str) -> str:
        return str(self.arguments[argument])

    def described(self) -> dict[str, Any]:
        """For the control endpoint."""
        told = {name: value for name, value in asdict(self).items() if name not in {"random", "arguments", "starts", "ends"}}
        return told | {"arguments": dict(self.arguments)}

    def _strikes(self, targets: Mapping[str, str]) -> bool:
        if self.count is not None and self.struck >= self.count:
            return False
        if any(self.arguments.get(name, "") not in ("", value) for name, value in targets.items()):
            return False
        if self.probability < 1 and self.random.random() >= self.probability:
            return False
        self.struck += 1
        return True


class Faults:
    """The faults of one sandbox. Raises ValueError for settings that make no sense, with a sentence that says why."""

    def __init__(self, seed: int = 0, venues: tuple[str, ...] = (), monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seed, self._venues, self._monotonic = seed, venues, monotonic
        self._set: dict[int, Fault] = {}
        self._last = 0
        self._listeners: list[Callable[[], None]] = []

    def set(
        self,
        name: str,
        *,
        venue: str = "",
        probability: float = 1.0,
        count: int | None = None,
        duration: float | None = None,
        after: float = 0.0,
        **arguments: Argument,
    ) -> Fault:
        """Switch a fault on. ``after`` and ``duration`` are real seconds. The same name may be set more than once."""
        kind = _kind(name)
        if venue and self._venues and venue not in self._venues:
            raise ValueError(f"unknown venue {venue!r}; served here: {', '.join(self._venues)}")
        probability, after = _number(name, "probability", probability), _number(name, "after", after)
        duration = None if duration is None else _number(name, "duration", duration)
        _check(name, probability, count, duration, after)
        merged = {**kind.arguments, **_typed(name, kind, arguments)}
        _check_arguments(name, merged)
        self._last += 1
        starts = self._monotonic() + after
        fault = Fault(
            self._last,
            name,
            venue,
            probability,
            count,
            starts,
            None if duration is None else starts + duration,
            merged,
            generator(self._seed, "fault", name, venue, self._last),
        )
        self._set[fault.id] = fault
        self._changed()
        return fault

    def clear(self, name: str | None = None, *, id: int | None = None) -> int:
        """Switch off all faults, those of one name, or one by its id. Returns how many."""
        gone = [fault.id for fault in self._set.values() if name in (None, fault.name) and id in (None, fault.id)]
        for number in gone:
            del self._set[number]
        self._changed()
        return len(gone)

    def active(self) -> list[Fault]:
        """The faults that are set and not over, also those still to begin."""
        now = self._monotonic()
        return [fault for fault in self._set.values() if fault.ends is None or now < fault.ends]

    def hit(self, name: str, venue: str, **targets: str) -> Fault | None:
        """The fault of that name that strikes here and now, if any; counted as one strike."""
        return next((fault for fault in self._now(name, venue) if fault._strikes(targets)), None) if self._set else None

    def hit_connection(self, name: str, venue: str, opened: float, seen: MutableSet[int]) -> Fault | None:
        """Like ``hit``, for faults that strike each connection once, and only those opened before the fault began."""
        if not self._set:
            return None
        for fault in self._now(name, venue):
            if fault.id not in seen and opened <= fault.starts:
                seen.add(fault.id)
                if fault._strikes({}):
                    return fault
        return None

    def lasting(self, name: str, venue: str) -> list[Fault]:
        """Those of that name that hold here and now, for faults that are a state of things and are not counted."""
        return self._now(name, venue) if self._set else []

    def listen(self, callback: Callable[[], None]) -> None:
        """Call back whenever a fault is set or cleared."""
        self._listeners.append(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        self._listeners.remove(callback)

    def _now(self, name: str, venue: str) -> list[Fault]:
        now = self._monotonic()
        return [
            fault
            for fault in self._set.values()
            if fault.name == name and fault.venue in ("", venue) and fault.starts <= now and (fault.ends is None or now < fault.ends)
        ]

    def _changed(self) -> None:
        for callback in list(self._listeners):
            callback()


def parse_fault(text: str) -> dict[str, Any]:
    """Read ``name[:key=value,key=value…]`` into what ``Faults.set`` takes. Raises ValueError."""
    name, _, rest = text.partition(":")
    kind = _kind(name)
    settings: dict[str, Any] = {"name": name}
    own = {"venue": str, "probability": float, "count": int, "duration": float, "after": float}
    for part in filter(None, rest.split(",")):
        key, given, value = part.partition("=")
        if not given:
            raise ValueError(f"write {name}:key=value, not {text!r}")
        if key not in own and key not in kind.arguments:
            raise ValueError(f"{name} has no setting {key!r}; it has: {', '.join([*own, *kind.arguments])}")
        try:
            settings[key] = own[key](value) if key in own else value
        except ValueError:
            raise ValueError(f"{key} of {name} must be a number, not {value!r}") from None
    return settings


def _kind(name: str) -> Kind:
    try:
        return KINDS[name]
    except KeyError:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(KINDS)}") from None


def _check(name: str, probability: float, count: int | None, duration: float | None, after: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"probability of {name} must be 0 to 1, not {probability}")
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ValueError(f"count of {name} must be a whole number from 1, not {count}")
    if (duration is not None and not duration > 0) or not after >= 0:
        raise ValueError(f"duration and after of {name} are positive seconds")


def _number(name: str, setting: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{setting} of {name} must be a number, not {value!r}") from None


def _typed(name: str, kind: Kind, arguments: Mapping[str, Argument]) -> dict[str, Argument]:
    typed: dict[str, Argument] = {}
    for key, value in arguments.items():
        if key not in kind.arguments:
            raise ValueError(f"{name} has no setting {key!r}; it has: {', '.join(kind.arguments) or 'none'}")
        wanted = type(kind.arguments[key])
        try:
            typed[key] = wanted(value)
        except (TypeError, ValueError):
            raise ValueError(f"{key} of {name} must be a {wanted.__name__}, not {value!r}") from None
    return typed


def _check_arguments(name: str, arguments: Mapping[str, Argument]) -> None:
    if name == "corrupt" and arguments["form"] not in FORMS:
        raise ValueError(f"form of corrupt must be one of {', '.join(FORMS)}, not {arguments['form']!r}")
    code = int(arguments.get("code", 1000))
    if code in (1004, 1005) or not (1000 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(f"code of {name} must be a close code a server can send, or 1006 to cut the line, not {code}")
    if not 400 <= int(arguments.get("status", 503)) <= 599:
        raise ValueError(f"status of {name} must be 400 to 599, not {arguments['status']}")
    if not float(arguments.get("rate", 1)) > 0 or not int(arguments.get("size", 1)) > 0:
        raise ValueError(f"rate and size of {name} must be above 0")
    if name in NAMED and not (arguments["symbol"] and arguments.get("to", "something")):
        raise ValueError(f"{name} needs {' and '.join(KINDS[name].arguments)}")
    if not float(arguments.get("seconds", 0)) >= 0:
        raise ValueError(f"seconds of {name} must not be negative")
