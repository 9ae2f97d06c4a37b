"""Warm-up and refill: history from REST into series, so that live candles can follow without a gap.

Live frames are held by the ``Book`` meanwhile. Longer timeframes are fetched first and the 5m candles last: what closes during the
warm-up is then summed from 5m candles like any later close.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from exchanges.events import BASE_TIMEFRAME, TIMEFRAMES, Candle
from market_data.candles import QUIET_GRACE, STEP, Bar, Book, Longer, filled
from market_data.macdv import Macdv, Reading
from market_data.series import CATCH_UP_BARS, HISTORY_BARS, WARM_BARS, Advance, Series

LEAD = 50
"""Candles that a refill asks for before those it needs."""


class Fetch(Protocol):
    """Closed and forming candles that open in [start, end), ascending; raises exchanges.rest.RestError."""

    def __call__(self, symbol: str, timeframe: str, start: int, end: int) -> Awaitable[Sequence[Candle]]: ...


class History(NamedTuple):
    """What a warm-up brought.

    ``bars``: by timeframe, for the store. ``missed``: closed candles after a checkpoint, in the order of their closes; they are still to be
    evaluated. ``live``: 5m candles that became final while the history was fetched. ``readings``: by timeframe and open time, those of the
    series itself, of every candle it took and of the one it stands at.
    """

    bars: dict[str, list[Bar]]
    missed: list[Advance]
    live: list[Bar]
    readings: dict[str, dict[int, Reading]]


class NoHistory(Exception):
    """The exchange has no candle of this symbol yet."""


class NotThereYet(Exception):
    """The exchange does not have its newest closed candle of a timeframe yet, and nothing else tells it. The text says which."""


async def warm_up(
    fetch: Fetch,
    *,
    symbol: str,
    series: Mapping[str, Series],
    book: Book,
    longer: Longer,
    clock: Callable[[], int],
    fills_idle: bool,
) -> History:
    """Bring every series of a symbol up to the exchange's clock and start its book.

    A series with a checkpoint (``last_open`` set) goes on from there and its new candles are ``missed``; one without, or too far behind,
    starts afresh with HISTORY_BARS candles, of which none is evaluated. Where all of them stand at one moment, the 5m candles that closed
    since are all that is asked for. Raises NoHistory, NotThereYet, and what ``fetch`` raises.
    """
    if _stand_together(series, longer):
        gone_on = await _go_on(fetch, symbol, series, book, longer, clock(), fills_idle)
        if gone_on is not None:
            return gone_on
    longer.whole = {}
    cold: set[str] = set()
    bars: dict[str, list[Bar]] = {}
    advances: list[Advance] = []
    for timeframe in sorted(longer.timeframes, key=TIMEFRAMES.__getitem__, reverse=True):
        one = series[timeframe]
        if _start_afresh(one, _end(clock(), one.step)):
            cold.add(timeframe)
        elif _covered_by_base(one, clock()):
            continue
        bars[timeframe], done = await _bring(fetch, symbol, one, clock(), fills_idle, cold)
        advances += done
    base = series[BASE_TIMEFRAME]
    end = _end(clock(), STEP)
    if _start_afresh(base, end):
        cold.add(BASE_TIMEFRAME)
    history = await _base_history(fetch, symbol, base, book, end, fills_idle, cold)
    for timeframe, one in series.items():
        _check_whole(one, bars.get(timeframe, []), history)
    bars[BASE_TIMEFRAME] = history
    whole_life = history[0].open_time > end - (HISTORY_BARS - 1) * STEP
    advances += _replay(history, series, longer, bars, whole_life=whole_life)
    missed = [advance for advance in advances if advance.series.timeframe not in cold]
    return _history(series, bars, advances, missed, book.start(history[-1]))


def _history(
    series: Mapping[str, Series], bars: dict[str, list[Bar]], advances: Sequence[Advance], missed: Sequence[Advance], live: list[Bar]
) -> History:
    # Where each stands, too: a crash may have come before that was written.
    readings = {one.timeframe: {one.last_open: one.indicator.reading} for one in series.values() if one.last_open is not None}
    for advance in advances:
        readings[advance.series.timeframe][advance.bar.open_time] = advance.current
    in_order = sorted(missed, key=lambda advance: (advance.bar.open_time + advance.series.step, advance.series.step))
    return History(bars, in_order, live, readings)


def _stand_together(series: Mapping[str, Series], longer: Longer) -> bool:
    """Whether every longer candle is there as far as it has come: then the 5m candles that follow tell all the rest."""
    last = series[BASE_TIMEFRAME].last
    if last is None or last.open_time != series[BASE_TIMEFRAME].last_open:
        return False
    following = last.open_time + STEP
    for timeframe in longer.timeframes:
        one, whole = series[timeframe], longer.whole.get(timeframe)
        if one.last_open is None or following != (one.last_open + one.step if whole is None else whole.next_part):
            return False
        if whole is not None and whole.open_time != one.last_open + one.step:
            return False
    return True


async def _go_on(
    fetch: Fetch, symbol: str, series: Mapping[str, Series], book: Book, longer: Longer, clock: int, fills_idle: bool
) -> History | None:
    """Take the 5m candles that closed since the checkpoint, if any. None where they do not join it, or are too many."""
    base = series[BASE_TIMEFRAME]
    last, end = base.last, _end(clock, STEP)
    assert last is not None
    start = last.open_time + STEP
    if end - start > HISTORY_BARS * STEP:
        return None
    rows = await fetch(symbol, BASE_TIMEFRAME, start, end) if end > start else []
    if fills_idle and rows and rows[0].open_time > start:
        return None
    history = _untraded_only(filled(rows, STEP, end, to_end=not fills_idle, after=last), rows, book)
    bars: dict[str, list[Bar]] = {BASE_TIMEFRAME: history}
    advances = []
    for part in history:
        advances.append(base.advance(part))
        for timeframe, bar in longer.add(part):
            bars.setdefault(timeframe, []).append(bar)
            advances.append(series[timeframe].advance(bar))
    return _history(series, bars, advances, advances, book.start(history[-1] if history else last))


async def _base_history(fetch: Fetch, symbol: str, base: Series, book: Book, end: int, fills_idle: bool, cold: set[str]) -> list[Bar]:
    """The closed 5m candles that the warm-up works on, whole up to the newest that is known. Raises NoHistory."""
    # The whole reach, even for a fresh checkpoint: the longer candles that are forming need all their parts.
    start = end - HISTORY_BARS * STEP
    if base.last_open is not None:
        start = min(start, base.last_open + STEP)
    rows = await fetch(symbol, BASE_TIMEFRAME, start, end)
    history = _untraded_only(filled(rows, STEP, end, to_end=not fills_idle), rows, book)
    if not history:
        raise NoHistory(symbol)
    if _cut_off(base, history, fills_idle):
        base.reset()
        cold.add(BASE_TIMEFRAME)
    if base.last_open is not None and history[0].open_time > base.last_open + STEP:
        return _joined_to(base, history)  # the longer candles need these parts as well
    return history


def _untraded_only(bars: list[Bar], rows: Sequence[Candle], book: Book) -> list[Bar]:
    """Without idle candles after the last row from the first on that the stream showed to have traded: its row is not there yet."""
    last = rows[-1].open_time if rows else 0
    traded = min((open_time for open_time in book.traded if open_time > last), default=None)
    return bars if traded is None else [bar for bar in bars if bar.open_time < traded]


def _check_whole(series: Series, bars: Sequence[Bar], history: Sequence[Bar]) -> None:
    """A longer series has to reach to the 5m history, which tells the rest of it, and may not be idle where that is not.

    The exchange may be late with a candle of a day, hours after its end. Raises NotThereYet.
    """
    first = history[0].open_time
    if series.last_open is not None and series.last_open + series.step < first and series.timeframe != BASE_TIMEFRAME:
        raise NotThereYet(f"the exchange does not have its newest {series.timeframe} candle yet")
    for bar in reversed(bars):
        if not bar.synthetic or bar.open_time + series.step <= first:
            break
        if any(not part.synthetic and bar.open_time <= part.open_time < bar.open_time + series.step for part in history):
            raise NotThereYet(f"the exchange does not have its newest {series.timeframe} candle yet")


def _end(clock: int, step: int) -> int:
    """The end of the last interval that is closed and settled."""
    return (clock - QUIET_GRACE) // step * step


def _start_afresh(series: Series, end: int) -> bool:
    """Whether a series has nothing to go on from; one that is too far behind forgets what it knew."""
    if series.last_open is not None and end - series.last_open <= CATCH_UP_BARS * series.step:
        return False
    series.reset()
    return True


def _cut_off(series: Series, bars: list[Bar], fills_idle: bool) -> bool:
    """Whether the exchange's history no longer reaches back to where the series stopped: then nothing joins the two."""
    return fills_idle and series.last_open is not None and bool(bars) and bars[0].open_time > series.last_open + series.step


def _covered_by_base(series: Series, clock: int) -> bool:
    """Whether the 5m history reaches back to where this series stopped: then it needs no request of its own."""
    assert series.last_open is not None
    return _reaches_base(series.last_open + series.step, clock)


def _reaches_base(end: int, clock: int) -> bool:
    return end >= _end(clock, STEP) - (HISTORY_BARS - 1) * STEP


async def _bring(
    fetch: Fetch, symbol: str, series: Series, clock: int, fills_idle: bool, cold: set[str]
) -> tuple[list[Bar], list[Advance]]:
    """Fetch what a longer series lacks and advance it. Returns its bars and what they did; notes in ``cold`` if it had to start afresh."""
    end = _end(clock, series.step)
    start = end - HISTORY_BARS * series.step if series.last_open is None else series.last_open + series.step
    rows = await fetch(symbol, series.timeframe, start, end)
    bars = filled(rows, series.step, end, to_end=False)
    # What is missing at the end is summed from 5m candles, which tell an idle interval from one that is not there yet, where they reach.
    if bars and not fills_idle and not _reaches_base(bars[-1].open_time + series.step, clock):
        bars = filled(rows, series.step, end, to_end=True)
    if _cut_off(series, bars, fills_idle):
        series.reset()
        cold.add(series.timeframe)
    bars = _joined_to(series, bars)
    if series.last_open is None and bars:
        series.whole_life = bars[0].open_time > start + series.step
    return bars, [series.advance(bar) for bar in bars]


def _joined_to(series: Series, bars: list[Bar]) -> list[Bar]:
    """The bars after the last one of ``series``, idle intervals in between filled in."""
    if series.last_open is None or series.last_close is None or not bars:
        return bars
    close = series.last_close
    last = Bar(series.last_open, close, close, close, close, 0.0, True)
    between: list[Bar] = []
    while last.open_time + series.step < bars[0].open_time:
        last = last.filler(series.step)
        between.append(last)
    return between + [bar for bar in bars if bar.open_time > series.last_open]


def _replay(
    history: list[Bar], series: Mapping[str, Series], longer: Longer, bars: dict[str, list[Bar]], *, whole_life: bool
) -> list[Advance]:
    """Advance the 5m series, and the longer ones by what the 5m candles close.

    Every longer candle that closes joins ``bars`` unless it was fetched, an evaluated one too: a crash may have come before it was
    written. One that began before the history does not: its first parts may be missing.
    """
    base = series[BASE_TIMEFRAME]
    if base.last_open is None:
        base.whole_life = whole_life
    advances = [base.advance(bar) for bar in _joined_to(base, history)]
    for place, part in enumerate(history):
        for timeframe, bar in longer.add(part, first_ever=whole_life and place == 0):
            one = series[timeframe]
            known = bars.setdefault(timeframe, [])
            if bar.open_time >= history[0].open_time and not (known and known[-1].open_time >= bar.open_time):
                known.append(bar)
            one.whole_life |= whole_life and one.last_open is None
            if one.last_open is None or bar.open_time == one.last_open + one.step:
                advances.append(one.advance(bar))
    return advances


async def refill(fetch: Fetch, *, symbol: str, timeframe: str, last_open: int) -> list[Bar]:
    """The last HISTORY_BARS closed candles up to ``last_open``, for a store that lost them.

    A little more is asked for: where nothing traded in the first of them, what they are follows from the one before.
    """
    step = TIMEFRAMES[timeframe]
    end = last_open + step
    return filled(await fetch(symbol, timeframe, end - (HISTORY_BARS + LEAD) * step, end), step, end, to_end=True)[-HISTORY_BARS:]


def recomputed(bars: Sequence[Bar], *, taken: int, last: Reading) -> dict[int, Reading]:
    """Readings of refilled candles by open time, for a store that lost those of the series.

    ``taken`` and ``last``: how many candles the series had taken at the end of ``bars``, and its reading there, which stands for the last
    one. A fresh indicator over a part of a history carries its seed: only what agrees with the series to 0.015 % is given, from WARM_BARS
    on; all of it where ``bars`` are all that the series took.
    """
    indicator, readings = Macdv(), {}
    for bar in bars:
        indicator.update(bar.high, bar.low, bar.close, bar.synthetic)
        if indicator.bars >= WARM_BARS or len(bars) == taken:
            readings[bar.open_time] = indicator.reading
    if bars:
        readings[bars[-1].open_time] = last
    return readings
