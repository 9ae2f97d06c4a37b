"""From a history to series that live candles can follow: cold, after a pause, after a long pause, and where there is little or nothing."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from alerts.evaluation import Evaluator
from alerts.rules import Rule
from exchanges.adapters.wire import summed
from exchanges.events import TIMEFRAMES, Candle
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE, COINBASE
from livermore.watched import Watched
from market_data.backfill import CATCH_UP_BARS, History, NoHistory, NotThereYet, recomputed, refill, warm_up
from market_data.candles import STEP, Bar, Book, Longer
from market_data.series import HISTORY_BARS, Series
from tests import oracle

HOUR, DAY = TIMEFRAMES["1h"], TIMEFRAMES["1d"]
NOW = 1_772_425_215_000
"""2026-03-02 04:20:15 UTC"""
SANDBOX = Sandbox([COINBASE, BINANCE], seed=7, clock=ManualClock(NOW), symbols=24)


class Exchange:
    """REST over the simulated market, at a market time that a test moves. ``holes``: open times of 5m candles without a trade."""

    def __init__(self, symbol: str = "BTC-USD", *, now: int = NOW, since: int = 0, holes: Sequence[int] = ()) -> None:
        self.symbol, self.now, self.since, self.holes = symbol, now, since, set(holes)
        self.fills_idle = "-" not in symbol
        self.asked: list[tuple[str, int, int]] = []

    async def fetch(self, symbol: str, timeframe: str, start: int, end: int) -> list[Candle]:
        assert symbol == self.symbol
        self.asked.append((timeframe, start, end))
        step = TIMEFRAMES[timeframe]
        # As the exchanges do: Binance gives the candle that is forming, Coinbase only those that have closed.
        end = min(end, self.now if self.fills_idle else self.now - step + 1)
        return [row for row in self.rows(timeframe, start, end) if row.open_time >= self.since // step * step]

    def rows(self, timeframe: str, start: int, end: int) -> list[Candle]:
        venue = BINANCE if self.fills_idle else COINBASE
        rows = SANDBOX.market.candles(venue.id, self.symbol, timeframe, start, end, idle=self.fills_idle)
        return [row for row in rows if row.open_time not in self.holes or timeframe != "5m"]


class Desk:
    """What a warm-up works on: the series of one symbol, and its book."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.series = {timeframe: Series(exchange.symbol, timeframe) for timeframe in TIMEFRAMES}
        self.begin()

    def begin(self) -> None:
        """As a process that has read its checkpoints has it."""
        self.book, self.longer = Book(flags_closes=self.exchange.fills_idle), Longer(TIMEFRAMES)

    async def warm_up(self) -> History:
        return await warm_up(
            self.exchange.fetch,
            symbol=self.exchange.symbol,
            series=self.series,
            book=self.book,
            longer=self.longer,
            clock=lambda: self.exchange.now,
            fills_idle=self.exchange.fills_idle,
        )

    async def after(self, pause: int) -> History:
        """Another warm-up from the state of the last one, ``pause`` ms of market time later."""
        self.exchange.now += pause
        self.exchange.asked.clear()
        self.begin()
        return await self.warm_up()


class Checkpointed(Desk):
    """The same, with checkpoints as a database holds them: those of the 5m series have the longer candles as far as they have come."""

    def begin(self) -> None:
        super().begin()
        states = {timeframe: (one.last_open, one.state()) for timeframe, one in self.series.items()}
        self.series = {timeframe: Series(self.exchange.symbol, timeframe) for timeframe in TIMEFRAMES}
        self.series["5m"].parts = self.longer
        for timeframe, (open_time, state) in states.items():
            if open_time is not None:
                self.series[timeframe].restore(open_time, state)


def last(now: int, timeframe: str = "5m") -> int:
    """The open time of the candle that closed and settled last."""
    return (now - 10_000) // TIMEFRAMES[timeframe] * TIMEFRAMES[timeframe] - TIMEFRAMES[timeframe]


def rows_of(bars: Sequence[Bar]) -> list[list[float]]:
    return [[*bar[:6], int(bar.synthetic)] for bar in bars]


def agrees(series: Series, rows: list[list[float]]) -> bool:
    """Whether a series shows what the oracle works out from these candles."""
    value, reading = oracle.macdv(rows)[-1], series.indicator.reading
    wanted = (value.macdv, value.signal, value.histogram, value.atr)
    found = (reading.macdv, reading.signal, reading.histogram, reading.atr)
    return bool(
        found == tuple(one if one is None else pytest.approx(one, rel=1e-12, abs=1e-9) for one in wanted)
        and (series.last_open, series.last_close) == (value.t, value.close)
        and (series.indicator.observed, series.indicator.span) == (value.observed, value.span)
    )


async def test_a_cold_start_fetches_400_candles_a_timeframe_and_evaluates_none() -> None:
    desk = Desk(Exchange("XRP-USD"))
    history = await desk.warm_up()

    assert (history.missed, history.live) == ([], [])
    assert [(name, end - start) for name, start, end in desk.exchange.asked] == [
        (name, HISTORY_BARS * TIMEFRAMES[name]) for name in ("1d", "4h", "1h", "15m", "5m")
    ]
    for timeframe, one in desk.series.items():
        assert one.last_open == last(NOW, timeframe)
        assert len(history.bars[timeframe]) == (400 if timeframe != "1d" else 146), "the market is 146 days old"
        assert agrees(one, rows_of(history.bars[timeframe]))
        assert sorted(history.readings[timeframe]) == [bar.open_time for bar in history.bars[timeframe]]
        assert history.readings[timeframe][one.last_open] == one.indicator.reading
        assert one.warm
    assert desk.book.last is not None
    assert desk.book.last.open_time == last(NOW)
    assert {timeframe: one.whole_life for timeframe, one in desk.series.items()} == {**dict.fromkeys(TIMEFRAMES, False), "1d": True}


@pytest.mark.parametrize(("after", "newest"), [(9_999, 2), (10_000, 1)])
async def test_a_candle_counts_as_closed_ten_seconds_after_its_end(after: int, newest: int) -> None:
    boundary = NOW // STEP * STEP
    desk = Desk(Exchange(now=boundary + after))
    await desk.warm_up()

    assert desk.series["5m"].last_open == boundary - newest * STEP


async def test_intervals_without_a_trade_are_filled_in() -> None:
    exchange = Exchange("RLC-USD")
    desk = Desk(exchange)
    history = await desk.warm_up()
    rows = rows_of(history.bars["5m"])
    known = [[row.open_time, row.open, row.high, row.low, row.close, row.volume, 0] for row in exchange.rows("5m", int(rows[0][0]), NOW)]

    assert rows == oracle.filled(known, STEP, last(NOW) + STEP)
    assert 100 < sum(row[6] for row in rows) < 250
    assert agrees(desk.series["5m"], rows)


async def test_intervals_without_a_trade_after_the_last_one_are_filled_in_too() -> None:
    quiet = [last(NOW) - at * STEP for at in range(7)]
    desk = Desk(Exchange("BTC-USD", holes=quiet))
    history = await desk.warm_up()

    assert [(bar.open_time, bar.synthetic) for bar in history.bars["5m"][-8:]] == [
        (last(NOW) - at * STEP, at < 7) for at in range(7, -1, -1)
    ]


async def test_a_missing_last_candle_is_only_not_there_yet_where_idle_ones_have_rows() -> None:
    desk = Desk(Exchange("BTCUSDT", holes=[last(NOW)]))
    await desk.warm_up()

    assert desk.series["5m"].last_open == last(NOW) - STEP


@pytest.mark.parametrize("symbol", ["ETH-USD", "RLC-USD", "ETHUSDT", "RLCUSDT"])
@pytest.mark.parametrize("pause", [STEP, 7 * STEP, 20 * HOUR, 33 * HOUR])
async def test_after_a_pause_the_missed_candles_come_in_the_order_of_their_closes(symbol: str, pause: int) -> None:
    desk, since = Desk(Exchange(symbol)), NOW
    first = await desk.warm_up()
    history = await desk.after(pause)

    missed = [(advance.bar.open_time + TIMEFRAMES[advance.series.timeframe], advance.series.step) for advance in history.missed]
    assert missed == sorted(missed)
    for timeframe, one in desk.series.items():
        step = TIMEFRAMES[timeframe]
        opened = [advance.bar.open_time for advance in history.missed if advance.series is one]
        assert opened == list(range(last(since, timeframe) + step, last(since + pause, timeframe) + 1, step)), timeframe
        bars = [*first.bars[timeframe], *(advance.bar for advance in history.missed if advance.series is one)]
        assert agrees(one, rows_of(bars)), timeframe


async def test_a_short_pause_costs_one_request_because_longer_candles_are_sums() -> None:
    desk = Desk(Exchange("ETH-USD"))
    await desk.warm_up()
    history = await desk.after(20 * HOUR)

    assert [name for name, _, _ in desk.exchange.asked] == ["5m"]
    assert {advance.series.timeframe for advance in history.missed} == set(TIMEFRAMES)


def told(history: History) -> list[tuple[Any, ...]]:
    return [(advance.series.timeframe, rounded(advance.bar), *advance[2:]) for advance in history.missed]


def rounded(bar: Bar) -> Bar:
    """A volume that is summed differs in its last digits from the exchange's own."""
    return bar._replace(volume=round(bar.volume, 6))


@pytest.mark.parametrize("pauses", [(0, 0), (STEP, 2 * STEP), (HOUR, STEP, 10), (DAY, HOUR), (390 * STEP, STEP)])
@pytest.mark.parametrize("symbol", ["BTC-USD", "RLC-USD", "BTCUSDT"])
async def test_from_a_checkpoint_only_the_candles_since_are_fetched_and_all_is_the_same(symbol: str, pauses: tuple[int, ...]) -> None:
    desk, other = Checkpointed(Exchange(symbol)), Desk(Exchange(symbol))
    await desk.warm_up()
    await other.warm_up()
    for pause in pauses:
        start = last(desk.exchange.now) + STEP
        history, whole = await desk.after(pause), await other.after(pause)
        end = last(desk.exchange.now) + STEP

        assert desk.exchange.asked == ([("5m", start, end)] if end > start else [])
        assert told(history) == told(whole)
        assert history.live == whole.live == []
        assert desk.book.last == other.book.last
        assert desk.longer.state() == {timeframe: pytest.approx(state) for timeframe, state in other.longer.state().items()}
        for timeframe, one in other.series.items():
            assert (desk.series[timeframe].last_open, desk.series[timeframe].indicator.state()) == (one.last_open, one.indicator.state())
            fetched = {rounded(bar) for bar in whole.bars.get(timeframe, [])}
            assert {rounded(bar) for bar in history.bars.get(timeframe, [])} <= fetched


async def test_what_no_checkpoint_joins_is_fetched_whole() -> None:
    """A pause beyond the usual history, one with a hole, and a series whose longer candles are not where the 5m ones are."""
    desk = Checkpointed(Exchange("BTCUSDT"))
    await desk.warm_up()
    history = await desk.after(401 * STEP)
    assert len(history.bars["5m"]) > HISTORY_BARS - 1
    assert len(told(history)) > 401

    desk.exchange.holes = {last(desk.exchange.now) + STEP}
    await desk.after(2 * STEP)
    assert [(end - start) // STEP for name, start, end in desk.exchange.asked if name == "5m"] == [2, HISTORY_BARS]

    desk = Checkpointed(Exchange("BTCUSDT"))
    await desk.warm_up()
    desk.longer.whole["4h"].parts -= 1
    await desk.after(STEP)
    assert [end - start for name, start, end in desk.exchange.asked if name == "5m"] == [HISTORY_BARS * STEP]


@pytest.mark.parametrize("damage", ["[1,", "[1.0,false,[],{}]", '[1.0,false,null,[1,2],{"15m":[1]}]'])
async def test_a_checkpoint_that_cannot_be_read_says_so(damage: str) -> None:
    one = Series("BTCUSDT", "5m")
    one.parts = Longer(TIMEFRAMES)
    with pytest.raises(ValueError, match="the checkpoint cannot be read"):
        one.restore(NOW, damage)


async def test_a_checkpoint_of_an_earlier_version_is_read() -> None:
    desk = Desk(Exchange("BTCUSDT"))
    await desk.warm_up()
    state = desk.series["5m"].state()
    one = Series("BTCUSDT", "5m")
    one.parts = Longer(TIMEFRAMES)
    one.restore(last(NOW), state)
    assert (one.last, one.last_close, one.parts.whole) == (None, desk.series["5m"].last_close, {})


@pytest.mark.parametrize("symbol", ["ETH-USD", "ETHUSDT"])
async def test_longer_candles_of_a_pause_are_the_exchanges_own(symbol: str) -> None:
    desk = Desk(Exchange(symbol))
    await desk.warm_up()
    history = await desk.after(30 * HOUR)

    for timeframe in ("15m", "1h", "4h", "1d"):
        bars = [advance.bar for advance in history.missed if advance.series.timeframe == timeframe]
        truth = desk.exchange.rows(timeframe, bars[0].open_time, bars[-1].open_time + 1)
        assert [bar[:5] for bar in bars] == [(row.open_time, row.open, row.high, row.low, row.close) for row in truth]
        assert [bar.volume for bar in bars] == pytest.approx([row.volume for row in truth], rel=1e-12)


@pytest.mark.parametrize("symbol", ["ETH-USD", "ETHUSDT", "RLC-USD"])
async def test_a_pause_longer_than_the_usual_history_loses_nothing_either(symbol: str) -> None:
    desk, since, pause = Desk(Exchange(symbol)), NOW, 60 * HOUR
    assert 60 * HOUR < CATCH_UP_BARS * STEP
    first = await desk.warm_up()
    history = await desk.after(pause)

    for timeframe, one in desk.series.items():
        step = TIMEFRAMES[timeframe]
        bars = [advance.bar for advance in history.missed if advance.series is one]
        assert [bar.open_time for bar in bars] == list(range(last(since, timeframe) + step, last(since + pause, timeframe) + 1, step))
        assert agrees(one, rows_of([*first.bars[timeframe], *bars])), timeframe


async def test_a_checkpoint_too_far_behind_starts_afresh() -> None:
    desk = Desk(Exchange("ETH-USD"))
    await desk.warm_up()
    history = await desk.after((CATCH_UP_BARS + 10) * STEP)

    assert not [advance for advance in history.missed if advance.series.timeframe == "5m"]
    assert len(history.bars["5m"]) == HISTORY_BARS
    assert desk.series["5m"].indicator.bars == HISTORY_BARS
    assert agrees(desk.series["5m"], rows_of(history.bars["5m"]))
    for timeframe in ("4h", "1d"):
        assert desk.series[timeframe].indicator.bars > (HISTORY_BARS if timeframe == "4h" else 60), "these are not too far behind"
    cold = Desk(Exchange("ETH-USD", now=desk.exchange.now))
    await cold.warm_up()
    assert [one.last_open for one in desk.series.values()] == [one.last_open for one in cold.series.values()]


async def test_nothing_at_all_happened_since_the_checkpoint() -> None:
    desk = Desk(Exchange("ETH-USD"))
    await desk.warm_up()
    before = {timeframe: one.state() for timeframe, one in desk.series.items()}

    assert (await desk.after(1_000)).missed == []
    assert {timeframe: one.state() for timeframe, one in desk.series.items()} == before


async def test_candles_that_close_after_a_warm_up_join_without_a_gap() -> None:
    """In every timeframe, with whatever was forming when the history ended."""
    desk = Desk(Exchange("SOL-USD"))
    first = await desk.warm_up()
    bars = {timeframe: list(history) for timeframe, history in first.bars.items()}
    for row in desk.exchange.rows("5m", last(NOW) + STEP, last(NOW) + DAY):
        part = Bar.of(row)
        bars["5m"].append(desk.series["5m"].advance(part).bar)
        for timeframe, whole in desk.longer.add(part):
            bars[timeframe].append(desk.series[timeframe].advance(whole).bar)

    assert {timeframe: len(rows) - len(first.bars[timeframe]) for timeframe, rows in bars.items()} == {
        "5m": 287, "15m": 96, "1h": 24, "4h": 6, "1d": 1
    }  # fmt: skip
    for timeframe, one in desk.series.items():
        assert agrees(one, rows_of(bars[timeframe])), timeframe


async def test_frames_that_come_while_the_history_is_fetched_are_held_and_follow_it() -> None:
    exchange = Exchange("BTCUSDT")
    desk = Desk(exchange)
    live = exchange.rows("5m", last(NOW) - STEP, last(NOW) + 3 * STEP)
    assert all(row.closed for row in live)
    for row in live:
        assert desk.book.on_candle(row) == []
    history = await desk.warm_up()

    assert [bar.open_time for bar in history.live] == [last(NOW) + STEP, last(NOW) + 2 * STEP]
    assert desk.series["5m"].last_open == last(NOW), "they are still to be evaluated"


@pytest.mark.parametrize(("symbol", "days"), [("FET-USD", 12), ("FETUSDT", 12)])
async def test_a_young_listing_has_its_whole_life(symbol: str, days: int) -> None:
    desk = Desk(Exchange(symbol))
    history = await desk.warm_up()

    assert {timeframe: one.whole_life for timeframe, one in desk.series.items()} == {
        "5m": False, "15m": False, "1h": True, "4h": True, "1d": True
    }  # fmt: skip
    assert [len(history.bars[timeframe]) for timeframe in ("5m", "15m", "1h", "4h", "1d")] == [400, 400, 24 * days + 4, 6 * days + 1, days]
    assert {timeframe: one.warm for timeframe, one in desk.series.items()} == {
        "5m": True, "15m": True, "1h": True, "4h": True, "1d": False
    }  # fmt: skip


async def test_a_listing_of_this_morning_begins_with_its_first_candle() -> None:
    listed = NOW // DAY * DAY + 2 * STEP
    desk = Desk(Exchange("BTC-USD", since=listed))
    history = await desk.warm_up()

    bars = history.bars["5m"]
    assert (bars[0].open_time, len(bars), desk.series["5m"].whole_life) == (listed, (last(NOW) - listed) // STEP + 1, True)
    assert desk.series["5m"].warm is False
    fifteen = desk.series["15m"]
    assert fifteen.whole_life
    assert fifteen.last_open == last(NOW, "15m")


async def test_a_listing_of_half_an_hour_ago_gets_its_longer_candles_as_they_close() -> None:
    listed = NOW // HOUR * HOUR + STEP
    desk = Desk(Exchange("BTCUSDT", now=listed + 3 * STEP + 15_000, since=listed))
    await desk.warm_up()
    assert desk.series["15m"].last_open == listed - STEP
    assert desk.series["1h"].last_open is None
    closed = {}
    for row in desk.exchange.rows("5m", listed + 3 * STEP, listed + 12 * STEP):
        closed.update(desk.longer.add(Bar.of(row)))

    parts = [[*Bar.of(row)[:6], 0] for row in desk.exchange.rows("5m", listed, listed + 11 * STEP)]
    hour = closed["1h"]
    assert hour.open_time == listed - STEP
    assert hour[1:5] == (parts[0][1], max(part[2] for part in parts), min(part[3] for part in parts), parts[-1][4])


async def test_a_symbol_without_any_candle_says_so() -> None:
    desk = Desk(Exchange("BTC-USD", since=NOW + DAY))

    with pytest.raises(NoHistory, match="BTC-USD"):
        await desk.warm_up()
    assert desk.book.last is None
    assert [one.last_open for one in desk.series.values()] == [None] * 5


class Late(Exchange):
    """Does not have the newest closed candle of one timeframe yet."""

    late = ""

    async def fetch(self, symbol: str, timeframe: str, start: int, end: int) -> list[Candle]:
        rows = await super().fetch(symbol, timeframe, start, end)
        newest = (self.now - TIMEFRAMES[timeframe]) // TIMEFRAMES[timeframe] * TIMEFRAMES[timeframe]
        return [row for row in rows if timeframe != self.late or row.open_time < newest]


@pytest.mark.parametrize("symbol", ["ETHUSDT", "ETH-USD"])
@pytest.mark.parametrize("hours", [2, 18], ids=["told by 5m candles", "out of their reach"])
async def test_a_longer_candle_that_the_exchange_is_late_with_is_waited_for_and_never_made_up(symbol: str, hours: int) -> None:
    """At two in the morning the 5m candles still hold all of yesterday; in the evening, what they have of it shows that it was traded."""
    exchange = Late(symbol, now=NOW // DAY * DAY + hours * HOUR + 15_000)
    exchange.late = "1d"
    watched = Watched(symbol, TIMEFRAMES, flags_closes=exchange.fills_idle)
    if hours == 18:
        with pytest.raises(NotThereYet, match="its newest 1d candle yet"):
            await watched.warm_up(exchange.fetch, lambda: exchange.now, fills_idle=exchange.fills_idle)
        assert not watched.loaded
        exchange.late = ""
    await watched.warm_up(exchange.fetch, lambda: exchange.now, fills_idle=exchange.fills_idle)
    day = watched.series["1d"]
    assert day.last_open == NOW // DAY * DAY - DAY
    assert day.last_close == exchange.rows("1d", day.last_open, day.last_open + 1)[0].close
    for row in exchange.rows("5m", last(exchange.now) + STEP, last(exchange.now) + DAY):
        watched.advance(Bar.of(row))  # nothing is missing in between
    assert day.last_open == NOW // DAY * DAY


async def test_a_5m_candle_that_the_stream_showed_to_have_traded_is_not_made_up_as_idle() -> None:
    exchange = Late("ETH-USD")
    exchange.late = "5m"
    desk = Desk(exchange)
    (seen,) = exchange.rows("5m", last(NOW), last(NOW) + 1)
    desk.book.on_candle(msgspec.structs.replace(seen, closed=False))
    await desk.warm_up()
    assert desk.series["5m"].last_open == last(NOW) - STEP
    assert desk.book.due(NOW) == (last(NOW), last(NOW) + STEP)


async def test_idle_hours_before_the_first_candle_of_the_history_are_parts_of_the_longer_ones_too() -> None:
    """A long pause, of which the beginning was quiet: the series go on from where they stood."""
    first = Exchange("ETH-USD")
    desk = Desk(first)
    await desk.warm_up()
    quiet = range(last(NOW) + STEP, last(NOW) + 3 * HOUR, STEP)
    desk.exchange = Exchange("ETH-USD", now=NOW, holes=quiet)
    history = await desk.after(30 * HOUR)
    idle = {advance.bar.open_time for advance in history.missed if advance.series.timeframe == "5m" and advance.bar.synthetic}
    assert set(quiet) <= idle
    for timeframe, one in desk.series.items():
        assert one.last_open == last(desk.exchange.now, timeframe), timeframe


class LostOnTheWay(Exchange):
    """Answers for the longer timeframes, and breaks off at the last one."""

    broken = True

    async def fetch(self, symbol: str, timeframe: str, start: int, end: int) -> list[Candle]:
        if self.broken and timeframe == "5m":
            raise ConnectionError("the line broke")
        return await super().fetch(symbol, timeframe, start, end)


async def test_a_warm_up_that_fails_leaves_everything_as_it_was_and_can_be_repeated() -> None:
    exchange = LostOnTheWay("ETHUSDT")
    exchange.broken = False
    watched = Watched("ETHUSDT", TIMEFRAMES, flags_closes=True)
    await watched.warm_up(exchange.fetch, lambda: exchange.now, fills_idle=True)
    before = {timeframe: (one.last_open, one.state()) for timeframe, one in watched.series.items()}
    again = Watched("ETHUSDT", TIMEFRAMES, flags_closes=True)
    for timeframe, (open_time, state) in before.items():
        assert open_time is not None
        again.series[timeframe].restore(open_time, state)
    exchange.now += 80 * HOUR
    exchange.broken = True

    with pytest.raises(ConnectionError):
        await again.warm_up(exchange.fetch, lambda: exchange.now, fills_idle=True)
    assert {timeframe: (one.last_open, one.state()) for timeframe, one in again.series.items()} == before
    assert not again.loaded
    exchange.broken = False
    history = await again.warm_up(exchange.fetch, lambda: exchange.now, fills_idle=True)
    assert [advance.bar.open_time for advance in history.missed if advance.series.timeframe == "5m"] == list(
        range(last(NOW) + STEP, last(NOW + 80 * HOUR) + 1, STEP)
    )


RULE = Rule(id=1, version=1, levels=tuple(float(level) for level in range(1, 300)), timeframes=frozenset(TIMEFRAMES), reversal_level=1e9)


def fired(history: Sequence[Any], evaluator: Evaluator) -> list[tuple[int, str]]:
    drafts = [draft for advance in history for draft in evaluator.evaluate(advance, {}, NOW, recovered=True)]
    return [(draft.advance.bar.open_time, draft.signal.label) for draft in drafts if draft.advance.series.timeframe == "5m"]


@pytest.mark.parametrize("symbol", ["SOL-USD", "XRP-USD"])
async def test_a_young_listing_that_comes_of_age_during_a_pause_fires_nothing_before_that(symbol: str) -> None:
    """Whether an alert may fire is a matter of the candle it is on, not of when somebody looked."""
    listed = NOW // DAY * DAY
    start = listed + 40 * STEP + 15_000
    desk = Desk(Exchange(symbol, now=start, since=listed))
    await desk.warm_up()
    missed = (await desk.after(40 * STEP)).missed
    watching = Desk(Exchange(symbol, now=start, since=listed))
    await watching.warm_up()
    watcher = Evaluator([RULE])
    live = []
    for advance in missed:
        if advance.series.timeframe == "5m":
            live += fired([watching.series["5m"].advance(advance.bar)], watcher)

    assert live
    assert min(at for at, _ in live) >= listed + 59 * STEP
    assert fired(missed, Evaluator([RULE])) == live


@pytest.mark.parametrize(("symbol", "idle"), [("ETH-USD", False), ("RLC-USD", True), ("RLCUSDT", True)])
async def test_a_refill_is_the_newest_400_candles_up_to_the_last_evaluated_one(symbol: str, idle: bool) -> None:
    exchange = Exchange(symbol)
    upto = last(NOW) - 3 * STEP
    bars = await refill(exchange.fetch, symbol=symbol, timeframe="5m", last_open=upto)

    assert bars[-1].open_time == upto
    assert [bar.open_time for bar in bars] == list(range(bars[0].open_time, upto + 1, STEP))
    assert len(bars) == 400
    assert any(bar.synthetic for bar in bars) == idle


async def test_a_refill_is_whole_where_its_first_candles_had_no_trade() -> None:
    """Else Redis lacks them until enough others have closed, and is filled in again each time."""
    upto = last(NOW)
    first = upto - 399 * STEP
    exchange = Exchange("ETH-USD", holes=[first, first + STEP])
    bars = await refill(exchange.fetch, symbol="ETH-USD", timeframe="5m", last_open=upto)
    assert [bar.open_time for bar in bars] == list(range(first, upto + 1, STEP))
    assert [bar.synthetic for bar in bars[:3]] == [True, True, False]


async def test_readings_of_refilled_candles_agree_with_the_series_and_end_with_its_own() -> None:
    """What the series said, from where a fresh indicator has forgotten its seed."""
    desk = Desk(Exchange("ETH-USD"))
    history = await desk.warm_up()
    later = await desk.after(250 * STEP)
    said = {**history.readings["5m"], **later.readings["5m"]}
    series = desk.series["5m"]
    assert series.last_open is not None
    bars = await refill(desk.exchange.fetch, symbol="ETH-USD", timeframe="5m", last_open=series.last_open)
    readings = recomputed(bars, taken=series.indicator.bars, last=series.indicator.reading)

    assert list(readings) == [bar.open_time for bar in bars[249:]]
    assert readings[series.last_open] == series.indicator.reading
    for at, reading in readings.items():
        assert reading.macdv == pytest.approx(said[at].macdv, rel=1.5e-3, abs=0.05)


async def test_readings_of_a_whole_history_are_those_of_the_series_from_its_first_candle_on() -> None:
    desk = Desk(Exchange("ETH-USD"))
    history = await desk.warm_up()
    series = desk.series["4h"]
    assert recomputed(history.bars["4h"], taken=series.indicator.bars, last=series.indicator.reading) == history.readings["4h"]


def test_the_markets_longer_candles_are_sums_of_its_5m_candles() -> None:
    """What the tests above take for granted of the exchange they ask."""
    rows = SANDBOX.market.candles("coinbase-sandbox", "RLC-USD", "5m", NOW // DAY * DAY - DAY, NOW // DAY * DAY)
    [day] = SANDBOX.market.candles("coinbase-sandbox", "RLC-USD", "1d", NOW // DAY * DAY - DAY, NOW // DAY * DAY)
    [whole] = summed(rows, DAY)

    assert (whole.open, whole.high, whole.low, whole.close) == (day.open, day.high, day.low, day.close)
