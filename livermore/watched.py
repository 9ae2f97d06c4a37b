"""One watched symbol: its book, its series in every timeframe, and the state a trader is shown."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from alerts.evaluation import Evaluator
from exchanges.events import BASE_TIMEFRAME, Channel, StreamState, Ticker
from market_data.backfill import Fetch, History, warm_up
from market_data.candles import STEP, Bar, Book, Longer
from market_data.macdv import Reading
from market_data.models import Checkpoint
from market_data.series import Advance, Series


class Watched:
    """``readings``: the last closed reading by timeframe, at the moment being evaluated."""

    def __init__(self, symbol: str, timeframes: Iterable[str], *, flags_closes: bool) -> None:
        self.symbol = symbol
        self._timeframes, self._flags_closes = list(timeframes), flags_closes
        self.series = {timeframe: Series(symbol, timeframe) for timeframe in self._timeframes}
        self._empty()
        self.readings: dict[str, Reading] = {}
        self.mutes: dict[Channel, str] = {}
        self.price: Ticker | None = None
        """The last one that was put out."""
        self.problem = ""
        self.warming: asyncio.Task[None] | None = None
        self.reading_back: asyncio.Task[None] | None = None

    def _empty(self) -> None:
        self.book = Book(flags_closes=self._flags_closes)
        self._sum_anew()

    def _sum_anew(self) -> None:
        self.longer = self.series[BASE_TIMEFRAME].parts = Longer(self._timeframes)

    @property
    def mute(self) -> str:
        """Which of its streams deliver nothing, and why; "" where all do."""
        return "; ".join(self.mutes.values())

    def note_stream(self, event: StreamState) -> None:
        """One of its streams was proved, or is not delivering; that says nothing of the other."""
        if event.live:
            self.mutes.pop(event.stream.channel, None)
        else:
            self.mutes[event.stream.channel] = f"{event.stream.channel}: {event.reason}"

    def gone_mute(self, price: Ticker | None, end: int) -> list[Channel]:
        """The channels that did not show what traded until ``end``, when the last candle closed, nor anything after it.

        ``price``: the last ticker. One that tells no time says nothing of when it came.
        """
        last, channels = self.book.last, []
        if last is None or last.open_time + STEP != end or last.volume == 0:
            return []
        if self.book.missed_by_stream():
            channels.append(Channel.CANDLES)
        if price is not None and 0 < price.event_time < end and price.price != last.close:
            channels.append(Channel.TICKER)
        return channels

    @property
    def loaded(self) -> bool:
        return self.book.last is not None

    @property
    def started(self) -> list[Series]:
        """The series that have taken a candle."""
        return [series for series in self.series.values() if series.last_open is not None]

    def restore(self, checkpoint: Checkpoint, evaluator: Evaluator) -> None:
        """Go on from a checkpoint. Raises ValueError where it cannot be read, and then starts afresh."""
        series = self.series.get(checkpoint.timeframe)
        if series is None:
            return
        try:
            series.restore(checkpoint.open_time, checkpoint.indicator)
            evaluator.restore(self.symbol, checkpoint.timeframe, checkpoint.memory)
        except ValueError:
            series.reset()
            evaluator.forget(self.symbol, checkpoint.timeframe)
            raise

    async def warm_up(self, fetch: Fetch, clock: Callable[[], int], *, fills_idle: bool) -> History:
        """Fetch the history and start the book. A failure leaves the series as they were before it."""
        before = {timeframe: (series.last_open, series.state()) for timeframe, series in self.series.items()}
        try:
            return await warm_up(
                fetch, symbol=self.symbol, series=self.series, book=self.book, longer=self.longer, clock=clock, fills_idle=fills_idle
            )
        except BaseException:
            self._sum_anew()
            for timeframe, (open_time, state) in before.items():
                self.series[timeframe].reset()
                if open_time is not None:
                    self.series[timeframe].restore(open_time, state)
            raise

    def note_readings(self, missed: Sequence[Advance] = ()) -> None:
        """Take the readings of every series as they stand, or as they stood before ``missed``."""
        self.readings = {series.timeframe: series.indicator.reading for series in self.started}
        for advance in reversed(missed):
            if advance.previous is not None:
                self.readings[advance.series.timeframe] = advance.previous

    def advance(self, bar: Bar) -> list[Advance]:
        """Take a final 5m candle: what it did to its own series, and to the longer ones it closes."""
        advances = [self.series[BASE_TIMEFRAME].advance(bar)]
        for timeframe, whole in self.longer.add(bar):
            series = self.series[timeframe]
            if series.last_open is None or whole.open_time > series.last_open:
                advances.append(series.advance(whole))
        return advances

    def would_fire(self, evaluator: Evaluator) -> bool:
        """Whether the candle that is due would raise an alert, as far as the stream shows it."""
        candle = self.book.provisional()
        if candle is None:
            return False
        indicator = self.series[BASE_TIMEFRAME].indicator
        provisional = indicator.peek(candle.high, candle.low, candle.close)
        return evaluator.would_fire((self.symbol, BASE_TIMEFRAME), indicator.reading, provisional)

    def state(self, clock: int, *, connected: bool, error: str, stale_after: int, behind: str = "") -> tuple[str, str]:
        """(state, reason) as shown: live, warming, stale, gap, halted or offline.

        ``behind``: why what has closed is not out yet; empty while it is.
        """
        if not connected:
            return "offline", error or "not connected"
        if self.book.last is None:
            return "warming", self.problem or "history is being fetched"
        overdue = clock - (self.book.last.open_time + 2 * STEP)
        if overdue > stale_after:
            missing = overdue // STEP + 1
            return ("gap", f"{missing} candles are being fetched") if missing > 1 else ("stale", f"no final candle for {overdue // 1000} s")
        if self.mute or behind:
            return "stale", self.mute or behind
        base = self.series[BASE_TIMEFRAME]
        return ("live" if base.warm else "warming"), base.reason
