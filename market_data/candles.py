"""What closes a candle, what is a gap, and how 5m candles make the longer ones. Pure: no clock but the exchange's.

A candle is final in one of two ways: the exchange flags its last frame, or a REST read-back brings it. A stream's last unflagged frame can
miss trades, so it never makes a candle final; it only tells that the interval traded at all.
"""

from collections.abc import Iterable, Sequence
from math import isclose
from typing import Any, NamedTuple

from exchanges.events import BASE_TIMEFRAME, TIMEFRAMES, Candle

STEP = TIMEFRAMES[BASE_TIMEFRAME]
LONGER = {timeframe: step for timeframe, step in TIMEFRAMES.items() if timeframe != BASE_TIMEFRAME}

FLAG_GRACE = 10_000
"""Exchange time (ms) to wait past the end for a flagged close before reading back."""
READ_BACK_GRACE = 2_000
"""Exchange time to wait past the end where no flag comes; also what a provisional close needs."""
QUIET_GRACE = 10_000
"""Exchange time past the end after which a row that REST does not have, and the stream never showed, means that nothing traded."""
SHOWN_GRACE = 30_000
"""Exchange time past the end after which the stream has shown all of a candle, or is mute: Coinbase lags by up to 20 s."""
STALE_AFTER = 35_000
"""Exchange time past the end after which a symbol without its close is stale."""
RECENT = 3
"""Final candles kept for noticing that the exchange revised one."""


class Bar(NamedTuple):
    """A closed candle. ``open_time`` in ms; ``synthetic``: nothing traded, filled with the previous close."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    synthetic: bool = False

    @classmethod
    def of(cls, candle: Candle) -> "Bar":
        return cls(candle.open_time, candle.open, candle.high, candle.low, candle.close, candle.volume)

    @classmethod
    def final(cls, candle: Candle) -> "Bar":
        """A candle that will not change any more."""
        volume = candle.volume
        return cls(candle.open_time, candle.open, candle.high, candle.low, candle.close, volume, volume == 0)

    def filler(self, step: int) -> "Bar":
        """The next candle if nothing trades in it."""
        return Bar(self.open_time + step, self.close, self.close, self.close, self.close, 0.0, True)


class Closing(NamedTuple):
    """What made a candle final: "flag", "read-back", or "quiet" where nothing traded and no row says so.

    ``event_time``: the exchange's, of the flagged frame. ``received``: ours, of that frame or of the answer; 0 where nobody said.
    """

    by: str
    event_time: int = 0
    received: int = 0


class Revision(NamedTuple):
    """The exchange changed a candle after it was final."""

    was: Bar
    now: Bar


class Book:
    """The 5m candles of one symbol, in order and without a gap.

    ``last`` is the newest final candle, None while warming: what arrives then is held. Every method that can make candles final returns
    them, oldest first; each is returned once. ``closings`` has what made them so, until ``closing`` takes it.
    """

    __slots__ = ("closings", "flags_closes", "forming", "grace", "held", "last", "recent", "revisions", "traded")

    def __init__(self, *, flags_closes: bool) -> None:
        self.flags_closes = flags_closes
        self.grace = FLAG_GRACE if flags_closes else READ_BACK_GRACE
        self.last: Bar | None = None
        self.forming: Candle | None = None
        self.held: dict[int, Bar] = {}
        self.closings: dict[int, Closing] = {}
        self.traded: set[int] = set()
        self.recent: list[Bar] = []
        self.revisions: list[Revision] = []

    def start(self, last: Bar) -> list[Bar]:
        """End the warm-up: ``last`` is the newest closed candle of the history."""
        self.last = last
        self.recent = [last]
        self._forget()
        return self._drain()

    def on_candle(self, candle: Candle, received: int = 0) -> list[Bar]:
        """Take a frame of the stream. A candle that is not newer than the last final one is refused, but a changed one is noted.

        ``received``: when it came, by our clock; asked of a flagged one only.
        """
        open_time = candle.open_time
        if self.last is not None and open_time <= self.last.open_time:
            if candle.closed:
                self._note_revision(Bar.of(candle))
            if self.forming is None or open_time >= self.forming.open_time:
                self.forming = candle
            return []
        if candle.volume > 0:
            self.traded.add(open_time)
        forming = self.forming
        if forming is None or open_time > forming.open_time or (open_time == forming.open_time and candle.event_time >= forming.event_time):
            self.forming = candle
        if not candle.closed:
            return []
        bar = Bar.final(candle)
        self.closings[open_time] = Closing("flag", candle.event_time, received)
        if not self.held and self.last is not None and open_time == self.last.open_time + STEP:
            self._advance(bar)
            return [bar]
        self.held[open_time] = bar
        return self._drain()

    def closing(self, open_time: int) -> Closing | None:
        """What made a candle final, told once; None for one of a history."""
        return self.closings.pop(open_time, None)

    def due(self, clock: int) -> tuple[int, int] | None:
        """The open times [start, end) that ought to be final by the exchange's ``clock`` and are not; None if there are none."""
        if self.last is None:
            return None
        start = self.last.open_time + STEP
        end = (clock - self.grace) // STEP * STEP
        if not self.flags_closes and self.forming is not None:
            end = max(end, self.forming.open_time)
        return (start, end) if end > start else None

    def missed_by_stream(self) -> bool:
        """Whether the last final candle has trades that the stream did not show, nor anything after them.

        Where frames lag, trades of its last moments are shown with the next ones only: what showed a candle until then is not mute.
        """
        last, shown = self.last, self.forming
        if last is None or last.volume == 0 or shown is None:
            return False
        if shown.open_time != last.open_time:
            return shown.open_time < last.open_time
        return not isclose(shown.volume, last.volume) and shown.event_time < last.open_time + STEP - SHOWN_GRACE

    def provisional(self) -> Candle | None:
        """The stream's own version of the candle that is due, where it has one."""
        forming = self.forming
        if forming is None or self.last is None or forming.open_time != self.last.open_time + STEP:
            return None
        return forming

    def on_history(self, rows: Sequence[Candle], end: int, clock: int, *, fills_idle: bool, received: int = 0) -> list[Bar]:
        """Take REST rows for what was due. ``end``: up to where they were asked for; ``clock``: the exchange's clock at the question;
        ``received``: ours at the answer.

        A missing row means that nothing traded only if a later row is there, or if the exchange leaves idle intervals out, the stream
        showed no trade and ``QUIET_GRACE`` has passed. Otherwise the row is not there yet, and is asked for again.
        """
        if self.last is None:
            return []
        by_time = {row.open_time: row for row in rows}
        newest = max(by_time, default=0)
        final = []
        for known in rows:
            if known.open_time <= self.last.open_time:
                self._note_revision(Bar.of(known))
        start = self.last.open_time + STEP
        for open_time in range(start, end, STEP):
            bar = self.held.pop(open_time, None)
            if bar is None and (row := by_time.get(open_time)) is not None:
                bar = Bar.final(row)
                self.closings[open_time] = Closing("read-back", 0, received)
            elif bar is None:
                quiet = not fills_idle and open_time not in self.traded and clock >= open_time + STEP + QUIET_GRACE
                if newest <= open_time and not quiet:
                    break
                bar = self.last.filler(STEP)
                self.closings[open_time] = Closing("quiet", 0, received)
            final.append(bar)
            self._advance(bar)
        return final + self._drain()

    def _drain(self) -> list[Bar]:
        final: list[Bar] = []
        while self.held and self.last is not None and (bar := self.held.pop(self.last.open_time + STEP, None)) is not None:
            final.append(bar)
            self._advance(bar)
        return final

    def _advance(self, bar: Bar) -> None:
        """Take the next one, which is no longer held. Of what came before it, nothing is left to forget."""
        self.last = bar
        self.recent = [*self.recent[1 - RECENT :], bar]
        self.traded.discard(bar.open_time)

    def _forget(self) -> None:
        assert self.last is not None
        limit = self.last.open_time
        if self.traded:
            self.traded = {open_time for open_time in self.traded if open_time > limit}
        for open_time in [open_time for open_time in self.held if open_time <= limit]:
            del self.held[open_time]
            self.closings.pop(open_time, None)

    def _note_revision(self, now: Bar) -> None:
        for at, was in enumerate(self.recent):
            if was.open_time == now.open_time and was[1:6] != now[1:6]:
                self.recent[at] = now
                self.revisions.append(Revision(was, now))


class Whole:
    """A longer candle as far as its parts have come, of which there were ``parts``."""

    __slots__ = ("close", "high", "low", "open", "open_time", "parts", "synthetic", "volume")

    def __init__(self, first: Bar, open_time: int, parts: int) -> None:
        self.open_time, self.parts = open_time, parts
        _, self.open, self.high, self.low, self.close, self.volume, self.synthetic = first

    @property
    def bar(self) -> Bar:
        return Bar(self.open_time, self.open, self.high, self.low, self.close, self.volume, self.synthetic)

    @property
    def next_part(self) -> int:
        """When the part opens that it lacks next; only of one that lacks none before."""
        return self.open_time + self.parts * STEP


class Longer:
    """Sums final 5m candles of one symbol into the longer timeframes.

    A candle closes with its last part, and only if all parts were there.
    """

    __slots__ = ("timeframes", "whole")

    def __init__(self, timeframes: Iterable[str]) -> None:
        self.timeframes = {timeframe: LONGER[timeframe] for timeframe in timeframes if timeframe in LONGER}
        self.whole: dict[str, Whole] = {}

    def add(self, part: Bar, *, first_ever: bool = False) -> list[tuple[str, Bar]]:
        """Take the next final 5m candle; the candles it closes.

        ``first_ever``: the market began with it, so nothing before it is missing.
        """
        closed = []
        open_time, _, high, low, close, volume, synthetic = part
        wholes = self.whole
        for timeframe, step in self.timeframes.items():
            offset = open_time % step
            if offset == 0 or first_ever:
                wholes[timeframe] = whole = Whole(part, open_time - offset, offset // STEP + 1)
            elif timeframe in wholes:
                # In place, and here: a new bar for every part in every timeframe took a fifth of a close, a call each a twentieth.
                whole = wholes[timeframe]
                whole.parts += 1
                whole.volume += volume
                whole.close = close
                if high > whole.high:
                    whole.high = high
                if low < whole.low:
                    whole.low = low
                if not synthetic:
                    whole.synthetic = False
            else:
                continue
            if offset + STEP == step:
                del wholes[timeframe]
                if whole.parts == step // STEP:
                    closed.append((timeframe, whole.bar))
        return closed

    def state(self) -> dict[str, list[Any]]:
        """The candles as far as they have come, as JSON can carry them without loss."""
        return {timeframe: [*whole.bar, whole.parts] for timeframe, whole in self.whole.items()}

    def restore(self, state: dict[str, list[Any]]) -> None:
        """Go on from ``state``. Raises ValueError or TypeError where it is none."""
        self.whole = {}
        for timeframe, (*bar, parts) in state.items():
            if timeframe in self.timeframes:
                self.whole[timeframe] = Whole(Bar(*bar), bar[0], parts)


def filled(rows: Iterable[Candle], step: int, end: int, *, to_end: bool, after: Bar | None = None) -> list[Bar]:
    """Closed history as bars that open before ``end``, the intervals in which nothing traded filled in.

    ``to_end``: also after the last row, where the exchange leaves idle intervals out; elsewhere a missing last row is only not there yet.
    ``after``: the candle before the first, where it is known: the history joins it, and begins after it.
    """
    bars: list[Bar] = [] if after is None else [after]
    for row in rows:
        if row.open_time >= end:
            break
        while bars and bars[-1].open_time + step < row.open_time:
            bars.append(bars[-1].filler(step))
        if not bars or row.open_time > bars[-1].open_time:
            bars.append(Bar.final(row))
    while to_end and bars and bars[-1].open_time + step < end:
        bars.append(bars[-1].filler(step))
    return bars if after is None else bars[1:]
