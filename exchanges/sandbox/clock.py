"""The clock of the simulated market: market time runs ``speed`` times as fast as real time, and never backwards, not even over a restart.

Market times are integer milliseconds UTC, real times seconds of a monotonic clock.
"""

import json
import os
import time
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from typing import NamedTuple, Protocol

SLOWEST, FASTEST = 0.01, 1000.0
MARGIN_SECONDS = 3
"""Real seconds of market time that a restart skips: more than lies between two writes of the state file."""
_FORMAT = 1


class SandboxError(Exception):
    """The sandbox cannot start or do what was asked. The message says what to do."""


class Clock(Protocol):
    """What the servers need of a clock."""

    speed: float

    def now(self) -> int:
        """Market time in ms."""

    def seconds_until(self, moment: int) -> float:
        """Real seconds until that market time; infinite where only a person moves the clock."""

    def listen(self, callback: Callable[[], None]) -> None:
        """Call back whenever the clock was moved by hand."""

    def unlisten(self, callback: Callable[[], None]) -> None: ...


class _Listeners:
    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def listen(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        self._callbacks.remove(callback)

    def _moved(self) -> None:
        for callback in list(self._callbacks):
            callback()


class RunningClock(_Listeners):
    """Market time starts at ``start`` (ms) and runs ``speed`` times as fast as ``monotonic``. Raises SandboxError for a wrong speed."""

    def __init__(self, start: int, speed: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._start, self._anchor, self.speed = start, monotonic(), checked_speed(speed)

    def now(self) -> int:
        return self._start + int((self._monotonic() - self._anchor) * self.speed * 1000)

    def seconds_until(self, moment: int) -> float:
        return max(0.0, (moment - self.now()) / 1000 / self.speed)


class ManualClock(_Listeners):
    """Market time stands still until it is advanced: for tests. ``speed`` only decides how dense the streams are."""

    def __init__(self, start: int, speed: float = 1.0) -> None:
        super().__init__()
        self._now, self.speed = start, checked_speed(speed)

    def now(self) -> int:
        return self._now

    def seconds_until(self, moment: int) -> float:
        return 0.0 if moment <= self._now else inf

    def advance(self, milliseconds: int) -> None:
        """Move on. Raises ValueError for a step back."""
        if milliseconds < 0:
            raise ValueError("market time never goes backwards")
        self._now += milliseconds
        self._moved()


def checked_speed(speed: float) -> float:
    if not (isfinite(speed) and SLOWEST <= speed <= FASTEST):
        raise SandboxError(f"speed must be {SLOWEST:g} to {FASTEST:g}, not {speed}")
    return speed


class State(NamedTuple):
    """What survives a restart: the market's seed, the day it was first started (listing dates count from it), and its time and speed."""

    seed: int
    epoch: int
    now: int
    speed: float


def load_state(path: Path, seed: int) -> State | None:
    """The state of the last run, None for a first run. Raises SandboxError for a file that is not ours, or of another market."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SandboxError(f"cannot read {path}: {error.strerror}; name another file with --state") from None
    try:
        data = json.loads(text)
        state = State(int(data["seed"]), int(data["epoch"]), int(data["now"]), checked_speed(float(data["speed"])))
        if data["format"] != _FORMAT or not 0 < state.epoch <= state.now:
            raise ValueError("numbers out of range")
    except (ValueError, KeyError, TypeError, OverflowError, SandboxError):
        raise SandboxError(f"{path} is not a state file of the sandbox: delete it, or name another with --state") from None
    if state.seed != seed:
        raise SandboxError(f"{path} belongs to the market of seed {state.seed}: use --seed {state.seed}, or name another file with --state")
    return state


def save_state(path: Path, state: State) -> None:
    """Write the state in one step, so that a crash leaves the old one or the new one. Raises SandboxError."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(json.dumps({"format": _FORMAT, **state._asdict()}), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise SandboxError(f"cannot write {path}: {error.strerror}; name another file with --state") from None


def resumed(state: State | None, real_now: int, speed: float) -> int:
    """Where market time starts: at the real time, or after the last run if that got further."""
    if state is None:
        return real_now
    return max(real_now, state.now + int(MARGIN_SECONDS * 1000 * max(speed, state.speed)))
