import msgspec
import pytest

from exchanges.events import Candle
from market_data.candles import STEP, Bar, Book, Closing, Longer, filled

T0 = 1_786_000_200_000 // 86_400_000 * 86_400_000


def at(place: int) -> int:
    return T0 + place * STEP


def candle(place: int, close: float = 10.0, *, volume: float = 1.0, closed: bool = False, event_time: int = 0) -> Candle:
    return Candle("BTC-USD", "5m", at(place), 10.0, max(10.0, close), min(10.0, close), close, volume, closed, event_time)


def bar(place: int, close: float = 10.0, volume: float = 1.0, *, synthetic: bool = False) -> Bar:
    return Bar(at(place), 10.0, max(10.0, close), min(10.0, close), close, volume, synthetic)


def started(*, flags_closes: bool, last: int = 0) -> Book:
    book = Book(flags_closes=flags_closes)
    assert book.start(bar(last)) == []
    return book


def test_a_flagged_close_is_final_once():
    book = started(flags_closes=True)
    assert book.on_candle(candle(1, 11.0)) == []
    assert book.on_candle(candle(1, 12.0, closed=True)) == [bar(1, 12.0)]
    assert book.on_candle(candle(1, 12.0, closed=True)) == []


def test_the_first_tick_of_the_next_interval_does_not_close_a_candle():
    book = started(flags_closes=False)
    book.on_candle(candle(1, 11.0))
    assert book.on_candle(candle(2, 12.0)) == []
    assert book.last == bar(0)


def test_an_older_candle_is_refused():
    book = started(flags_closes=True, last=5)
    assert book.on_candle(candle(3, 99.0, closed=True)) == []
    assert book.last == bar(5)


def test_a_stream_that_showed_less_than_what_traded_missed_some():
    book = started(flags_closes=False)
    book.on_candle(candle(1, 11.0, volume=1.0))
    book.on_history([candle(1, 11.5, volume=2.0)], at(2), at(2), fills_idle=True)
    assert book.missed_by_stream()
    book.on_candle(candle(1, 11.5, volume=2.0))
    assert not book.missed_by_stream(), "its last frame came after the answer"
    book.on_history([candle(2, 11.5, volume=1.0)], at(3), at(3), fills_idle=True)
    assert book.missed_by_stream()
    book.on_candle(candle(3, 11.5))
    assert not book.missed_by_stream(), "it goes on"


@pytest.mark.parametrize(("before_the_end", "missed"), [(29_000, False), (31_000, True)])
def test_what_trades_in_a_candles_last_moments_may_be_shown_with_the_next_trade(before_the_end: int, missed: bool):
    """Coinbase's frames lag: a market that rests after such a trade is not a dead stream."""
    book = started(flags_closes=False)
    book.on_candle(msgspec.structs.replace(candle(1, 11.0, volume=1.0), event_time=at(2) - before_the_end))
    book.on_history([candle(1, 11.5, volume=2.0)], at(2), at(2), fills_idle=False)
    assert book.missed_by_stream() is missed


def test_an_interval_without_trades_needs_no_frame():
    book = started(flags_closes=False)
    book.on_candle(candle(1))
    book.on_history([candle(1), candle(2, volume=0.0)], at(3), at(3), fills_idle=True)
    assert not book.missed_by_stream()


def test_a_close_after_a_gap_waits_for_the_gap():
    book = started(flags_closes=True)
    assert book.on_candle(candle(3, 13.0, closed=True)) == []
    assert book.due(at(4) + 10_000) == (at(1), at(4))
    assert book.on_history([candle(1, 11.0), candle(2, 12.0)], at(3), at(4), fills_idle=True) == [bar(1, 11.0), bar(2, 12.0), bar(3, 13.0)]


def test_what_arrives_while_warming_is_held():
    book = Book(flags_closes=True)
    assert book.on_candle(candle(0, closed=True)) == []
    assert book.on_candle(candle(1, 11.0, closed=True)) == []
    assert book.start(bar(0)) == [bar(1, 11.0)]


@pytest.mark.parametrize(("flags_closes", "grace"), [(True, 10_000), (False, 2_000)])
def test_a_close_is_due_when_the_exchanges_clock_has_passed_its_grace(flags_closes: bool, grace: int):
    book = started(flags_closes=flags_closes)
    assert book.due(at(2) + grace - 1) is None
    assert book.due(at(2) + grace) == (at(1), at(2))


def test_without_a_flag_a_later_interval_makes_the_close_due_at_once():
    book = started(flags_closes=False)
    book.on_candle(candle(2))
    assert book.due(at(2)) == (at(1), at(2))


def test_a_read_back_makes_the_candle_final_whatever_the_stream_said():
    book = started(flags_closes=False)
    book.on_candle(candle(1, 11.0))
    assert book.on_history([candle(1, 11.5, volume=3.0)], at(2), at(2) + 2_000, fills_idle=False) == [bar(1, 11.5, 3.0)]


def test_a_row_that_is_not_there_yet_is_waited_for():
    book = started(flags_closes=False)
    book.on_candle(candle(1, 11.0))
    assert book.on_history([], at(2), at(2) + 60_000, fills_idle=False) == []
    assert book.due(at(2) + 60_000) == (at(1), at(2))


def test_an_idle_interval_is_filled_after_the_quiet_grace():
    book = started(flags_closes=False)
    assert book.on_history([], at(2), at(2) + 9_999, fills_idle=False) == []
    assert book.on_history([], at(2), at(2) + 10_000, fills_idle=False) == [bar(1, volume=0.0, synthetic=True)]


def test_a_later_row_proves_that_nothing_traded_before_it():
    book = started(flags_closes=False)
    assert book.on_history([candle(2, 12.0)], at(3), at(3), fills_idle=False) == [bar(1, volume=0.0, synthetic=True), bar(2, 12.0)]


def test_where_idle_rows_are_written_a_missing_one_is_never_filled():
    book = started(flags_closes=True)
    assert book.on_history([], at(2), at(2) + 600_000, fills_idle=True) == []


def test_a_candle_without_trades_is_synthetic():
    book = started(flags_closes=True)
    assert book.on_candle(candle(1, volume=0.0, closed=True)) == [bar(1, volume=0.0, synthetic=True)]


def test_a_revised_candle_is_noted_and_the_series_stays():
    book = started(flags_closes=False)
    book.on_history([candle(1, 11.0)], at(2), at(2), fills_idle=False)
    book.on_history([candle(1, 11.2), candle(2, 12.0)], at(3), at(3), fills_idle=False)
    assert [(item.was.close, item.now.close) for item in book.revisions] == [(11.0, 11.2)]
    assert book.last == bar(2, 12.0)


def test_an_older_update_of_the_forming_candle_does_not_replace_a_newer_one():
    book = started(flags_closes=False)
    book.on_candle(candle(1, 11.0, event_time=20))
    book.on_candle(candle(1, 10.5, event_time=10))
    provisional = book.provisional()
    assert provisional is not None
    assert provisional.close == 11.0


def parts(count: int) -> list[Bar]:
    return [Bar(at(place), 10.0 + place, 12.0 + place, 9.0 + place, 11.0 + place, 0.5) for place in range(count)]


def test_a_longer_candle_is_the_sum_of_its_parts():
    longer = Longer(["5m", "15m", "1h"])
    closed = [item for part in parts(12) for item in longer.add(part)]
    assert [(name, whole.open_time) for name, whole in closed] == [
        ("15m", at(0)), ("15m", at(3)), ("15m", at(6)), ("15m", at(9)), ("1h", at(0)),
    ]  # fmt: skip
    assert closed[-1][1] == Bar(at(0), 10.0, 23.0, 9.0, 22.0, 6.0)
    assert closed[1][1] == Bar(at(3), 13.0, 17.0, 12.0, 16.0, 1.5)


def test_a_longer_candle_with_a_missing_part_does_not_close():
    longer = Longer(["15m"])
    assert [item for part in parts(6)[1:] for item in longer.add(part)] == [("15m", Bar(at(3), 13.0, 17.0, 12.0, 16.0, 1.5))]


def test_the_first_candle_of_a_market_may_be_incomplete():
    longer = Longer(["15m"])
    first, second = parts(3)[1:]
    assert longer.add(first, first_ever=True) == []
    assert longer.add(second) == [("15m", Bar(at(0), 11.0, 14.0, 10.0, 13.0, 1.0))]


def test_a_longer_candle_is_synthetic_only_if_all_its_parts_are():
    longer = Longer(["15m"])
    quiet = [part._replace(synthetic=True, volume=0.0) for part in parts(6)]
    closed = [item for part in [*quiet[:3], *quiet[3:5], parts(6)[5]] for item in longer.add(part)]
    assert [whole.synthetic for _, whole in closed] == [True, False]


def test_history_is_filled_between_and_after_its_rows():
    assert filled([candle(0, 11.0), candle(2, 12.0)], STEP, at(4), to_end=True) == [
        bar(0, 11.0),
        Bar(at(1), 11.0, 11.0, 11.0, 11.0, 0.0, True),
        bar(2, 12.0),
        Bar(at(3), 12.0, 12.0, 12.0, 12.0, 0.0, True),
    ]
    assert [item.open_time for item in filled([candle(0), candle(5)], STEP, at(4), to_end=False)] == [at(0)]


# What closed a candle


def test_a_flagged_close_says_so_once_with_both_times_of_its_frame():
    book = started(flags_closes=True)
    book.on_candle(candle(1, 11.0, event_time=5), 6)
    assert book.closing(at(1)) is None
    book.on_candle(candle(1, 11.0, closed=True, event_time=7), 8)
    assert book.closing(at(1)) == Closing("flag", 7, 8)
    assert book.closing(at(1)) is None


def test_a_read_back_and_a_quiet_interval_say_so():
    book = started(flags_closes=False)
    book.on_history([candle(2, 12.0)], at(3), at(3), fills_idle=False, received=99)
    assert [book.closing(at(place)) for place in (1, 2)] == [Closing("quiet", 0, 99), Closing("read-back", 0, 99)]


def test_a_held_close_keeps_the_time_at_which_it_came():
    book = started(flags_closes=True)
    book.on_candle(candle(2, 12.0, closed=True, event_time=20), 21)
    book.on_history([candle(1, 11.0)], at(2), at(3), fills_idle=False, received=99)
    assert [book.closing(at(place)) for place in (1, 2)] == [Closing("read-back", 0, 99), Closing("flag", 20, 21)]


def test_what_a_history_overtook_leaves_nothing_behind():
    book = Book(flags_closes=True)
    for place in (1, 2, 3):
        book.on_candle(candle(place, closed=True), 5)
    book.start(bar(2))
    assert set(book.closings) == {at(3)}
