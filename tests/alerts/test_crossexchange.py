"""Across exchanges: the same coin or not, what is left after fees, where to act, and who has not moved yet."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.crossexchange import (
    CollisionGuard,
    Identity,
    Move,
    MoveDetector,
    Price,
    Prices,
    Quotes,
    RankedVenue,
    Residual,
    Venue,
    Verdict,
    basis_bps,
    quotes,
    rank_venues,
    region_verdict,
    residual,
)

T0 = 1_786_000_200_000
MINUTE = 60_000
UNKNOWN, SAME, DIFFERENT = Identity


# The same coin?


def verdicts(*spans: tuple[int, float | None, float | None], guard: CollisionGuard | None = None) -> list[Identity]:
    """The verdict at the end of each span: comparisons every 30 s for so many seconds at these prices."""
    guard, now, answers = guard or CollisionGuard(), T0, []
    for seconds, here, there in spans:
        for _ in range(seconds // 30):
            answer = guard.compare(now, Price(here, now), Price(there, now))
            now += 30_000
        answers.append(answer)
    return answers


def test_two_listings_are_different_after_more_than_five_minutes_apart():
    # The 11th comparison is 300 s after the first, the 12th 330 s.
    assert verdicts((30, 100, 100), (330, 100, 111), (30, 100, 111)) == [SAME, SAME, DIFFERENT]


def test_ten_percent_is_not_apart_whichever_is_dearer():
    assert verdicts((900, 100, 110)) == verdicts((900, 110, 100)) == [SAME]
    assert verdicts((900, 100, 110.1)) == verdicts((900, 110.1, 100)) == [DIFFERENT]


def test_they_are_the_same_again_after_more_than_five_minutes_together():
    assert verdicts((360, 1, 2), (330, 1, 1), (30, 1, 1)) == [DIFFERENT, DIFFERENT, SAME]


def test_a_moment_together_does_not_make_them_the_same():
    assert verdicts((360, 1, 2), (300, 1, 1), (30, 1, 2), (300, 1, 1)) == [DIFFERENT] * 4


def test_a_moment_apart_does_not_make_them_different():
    assert verdicts((30, 1, 1), (300, 1, 2), (30, 1, 1), (300, 1, 2)) == [SAME] * 4


def test_nothing_is_known_before_the_first_comparison_nor_while_they_start_apart():
    assert CollisionGuard().identity is UNKNOWN
    assert verdicts((30, None, 1), (330, 1, 2), (30, 1, 2)) == [UNKNOWN, UNKNOWN, DIFFERENT]


def test_a_stale_or_missing_price_is_no_comparison_and_starts_the_wait_anew():
    guard = CollisionGuard(max_age=MINUTE)
    assert guard.compare(T0, Price(1, T0 - MINUTE - 1), Price(1, T0)) is UNKNOWN
    assert guard.compare(T0, Price(1, T0 - MINUTE), Price(1, T0)) is SAME
    assert verdicts((30, 1, 1), (300, 1, 2), (30, 1, None), (300, 1, 2)) == [SAME] * 4
    assert verdicts((360, 1, 2), (30, 1, 0)) == [DIFFERENT, DIFFERENT]


def test_a_hole_between_two_comparisons_proves_nothing():
    guard = CollisionGuard()
    for now in (T0, T0 + 20 * MINUTE, T0 + 40 * MINUTE):
        assert guard.compare(now, Price(1, now), Price(2, now)) is UNKNOWN


@given(st.lists(st.tuples(st.floats(1, 1000), st.floats(1, 1000)), max_size=40))
def test_the_verdict_does_not_depend_on_which_one_is_here(pairs: list[tuple[float, float]]):
    assert verdicts(*((30, a, b) for a, b in pairs)) == verdicts(*((30, b, a) for a, b in pairs))


# What is left


def left(here: float | None, there: float | None, fees: tuple[float, float] = (0.0, 0.0), **more: Any) -> Residual | None:
    return residual(Price(here, T0), Price(there, T0), *fees, **{"now": T0, "identity": SAME, **more})


def test_without_fees_all_of_the_difference_is_left():
    # There 1 % cheaper: -100 bps; bought at 99 and worth 100, 100 / 99 - 1 = 101.0101 bps.
    assert left(100, 99) == pytest.approx((-100, 101.0101), abs=1e-4)
    assert left(100, 100) == Residual(0, 0)


def test_up_is_bought_there_and_valued_here_after_both_fees():
    # 100 (1 - 0.012) / (99 (1 + 0.001)) - 1 = 98.8 / 99.099 - 1 = -0.00301718.
    assert left(100, 99, (0.012, 0.001)) == pytest.approx((-100, -30.1718), abs=1e-4)


def test_down_is_sold_there_and_bought_back_here_after_both_fees():
    # 101 (1 - 0.001) / (100 (1 + 0.0025)) - 1 = 100.899 / 100.25 - 1 = 0.00647382.
    assert left(100, 101, (0.0025, 0.001), direction="down") == pytest.approx((100, 64.7382), abs=1e-4)


def test_half_of_the_books_spread_is_paid():
    # 20 bps wide: bought at 100.1, sold at 99.9.
    assert left(100, 100, book_spread_bps=20) == pytest.approx((0, (100 / 100.1 - 1) * 10_000))
    assert left(100, 100, book_spread_bps=20, direction="down") == pytest.approx((0, -10))


def test_nothing_is_derived_from_a_missing_or_stale_price_or_from_another_coin():
    assert left(None, 100) is left(100, None) is left(0, 100) is None
    assert left(100, 100, now=T0 + MINUTE) == Residual(0, 0)
    assert left(100, 100, now=T0 + MINUTE + 1) is None
    assert left(100, 100, identity=DIFFERENT) is left(100, 100, identity=UNKNOWN) is None


@given(st.floats(1e-6, 1e6), st.floats(0.95, 1.05), st.floats(0, 0.02), st.floats(0, 0.02), st.floats(1e-3, 1e3))
def test_the_scale_of_prices_does_not_matter_and_fees_only_take(here: float, ratio: float, fee_here: float, fee_there: float, scale: float):
    for direction in ("up", "down"):
        net = left(here, here * ratio, (fee_here, fee_there), direction=direction)
        assert left(here * scale, here * ratio * scale, (fee_here, fee_there), direction=direction) == pytest.approx(net, abs=1e-6)
        assert net[1] <= left(here, here * ratio, direction=direction)[1] + 1e-9


def test_dollars_are_one_group_and_not_equal():
    assert (quotes("USD", "USD"), quotes("EUR", "EUR")) == (Quotes.EQUAL, Quotes.EQUAL)
    assert (quotes("USD", "USDT"), quotes("USDC", "USDT")) == (Quotes.GROUP, Quotes.GROUP)
    assert (quotes("USD", "EUR"), quotes("BTC", "USDT")) == (Quotes.OTHER, Quotes.OTHER)


def test_the_basis_is_what_a_dollar_coin_costs_above_a_dollar():
    assert basis_bps(1.0014) == pytest.approx(14)
    assert basis_bps(0.9978) == pytest.approx(-22)
    assert basis_bps(None) is basis_bps(0) is None


# Where to act

NOT_IN_THE_US = {"deny": ["US"], "note": "HTTP 451 from the US: use binance-us"}


@pytest.mark.parametrize(
    ("geo", "region", "expected"),
    [
        (NOT_IN_THE_US, "US", Verdict(False, "not available in US (HTTP 451 from the US: use binance-us)")),
        (NOT_IN_THE_US, "DE", Verdict(True, "no restriction known for DE")),
        (NOT_IN_THE_US, " us ", Verdict(False, "not available in US (HTTP 451 from the US: use binance-us)")),
        ({"allow": ["US"]}, "US", Verdict(True, "no restriction known for US")),
        ({"allow": ["US", "CA"]}, "DE", Verdict(False, "only available in US, CA")),
        ({"allow": ["US"], "deny": ["US"]}, "US", Verdict(False, "not available in US")),
        ({}, "DE", Verdict(True, "no restriction known for DE")),
        ({}, "", Verdict(None, "your region is not set: set it to see whether you may trade here")),
        ({"allow": ["US"]}, "", Verdict(None, "your region is not set: set it to see whether you may trade here")),
        ({}, "Germany", Verdict(None, "GERMANY is not a two-letter country code: set your region, e.g. DE")),
    ],
)
def test_a_region_is_allowed_refused_or_to_be_set(geo: dict[str, Any], region: str, expected: Verdict):
    assert region_verdict(geo, region) == expected


COINBASE = Venue("coinbase", "BTC-USD", {}, 0.012, 80, 20)
BINANCE = Venue("binance", "BTCUSDT", NOT_IN_THE_US, 0.001, 120, 40)
KRAKEN = Venue("kraken", "BTC/USD", {}, 0.004)


def test_the_best_venue_comes_first_with_the_reason_in_words():
    assert rank_venues("BTC", "DE", [COINBASE, KRAKEN, Venue("gate"), BINANCE]) == [
        RankedVenue("binance", 1, "lists BTCUSDT; no restriction known for DE; taker fee 0.1 %; REST 120 ms, websocket 40 ms"),
        RankedVenue("kraken", 2, "lists BTC/USD; no restriction known for DE; taker fee 0.4 %; REST not measured, websocket not measured"),
        RankedVenue("coinbase", 3, "lists BTC-USD; no restriction known for DE; taker fee 1.2 %; REST 80 ms, websocket 20 ms"),
        RankedVenue("gate", None, "does not list BTC"),
    ]


def places(region: str, *venues: Venue) -> list[tuple[str, int | None]]:
    return [(venue.exchange_id, venue.place) for venue in rank_venues("BTC", region, venues)]


def test_a_venue_that_is_not_allowed_has_no_place():
    assert places("US", BINANCE, COINBASE) == [("coinbase", 1), ("binance", None)]


def test_without_a_region_no_venue_has_a_place():
    assert places("", COINBASE, BINANCE) == [("binance", None), ("coinbase", None)]


def test_equal_fees_are_ordered_by_delay_then_by_name_and_the_unknown_comes_last():
    slow, fast = Venue("a", "X", {}, 0.001, 100, 100), Venue("b", "X", {}, 0.001, 150, 30)
    half, free = Venue("c", "X", {}, 0.001, 1, None), Venue("d", "X", {}, 0.0)
    unknown, twin = Venue("e", "X", {}, None, 1, 1), Venue("a2", "X", {}, 0.001, 100, 100)
    assert places("DE", unknown, twin, slow, half, fast, free) == [("d", 1), ("b", 2), ("a", 3), ("a2", 4), ("c", 5), ("e", 6)]


def test_nowhere_is_an_empty_list():
    assert rank_venues("BTC", "DE", []) == []


# Who has not moved yet

WINDOW = 60_000
COINS = ("ADA", "BTC", "ETH", "SOL", "XRP", "ZEC")


class Tape:
    """Two exchanges on which every coin stands at 100 but for what a test moves, looked at every second.

    Warm after 13 minutes: in them each price steps 10 bps up and down again, one way in each window, so a usual move is 10 bps.
    """

    def __init__(self, coins: Iterable[str] = ("BTC",), **settings: Any) -> None:
        self.detector = MoveDetector(**{"k": 4.0, "window_ms": WINDOW, **settings})
        self.a, self.b = dict.fromkeys(coins, 100.0), dict.fromkeys(coins, 100.0)
        self.now, self.live = T0, (True, True)
        for minute in range(14):
            self.set(*coins, a=100.1 if minute % 2 else 100.0, b=100.1 if minute % 2 else 100.0)
            assert self.run(60) == []

    def set(self, *coins: str, a: float, b: float) -> None:
        for coin in coins:
            self.a[coin], self.b[coin] = a, b

    def run(self, seconds: int) -> list[Move]:
        moves = []
        for _ in range(seconds):
            prices = {coin: Prices(self.a[coin] or None, self.b[coin] or None) for coin in self.a}
            moves += self.detector.observe(self.now, prices, live_a=self.live[0], live_b=self.live[1])
            self.now += 1_000
        return moves


def told(moves: list[Move]) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(move.direction, move.coins, move.grouped) for move in moves]


BTC_UP = ("up", ("BTC",), False)


def test_a_move_that_the_other_has_not_followed_makes_one_card():
    tape = Tape()
    now = tape.now
    tape.set("BTC", a=100.6, b=100.1)
    (move,) = tape.run(50)
    # From 100.1 (the last minute before was at 100.1): 100.6 / 100.1 - 1 = 49.95 bps, more than 4 times 10.
    assert (move.time_ms, *told([move])) == (now, BTC_UP)
    assert (move.move_bps, move.other_bps) == pytest.approx((49.95005, 0))
    assert move.usual_bps == pytest.approx(10, rel=0.01)


def test_a_move_within_the_usual_makes_none():
    tape = Tape()
    tape.set("BTC", a=100.49, b=100.1)  # 38.96 bps
    assert tape.run(120) == []


@pytest.mark.parametrize(("b", "expected"), [(100.34, [BTC_UP]), (100.36, []), (99.6, [BTC_UP])])
def test_half_of_the_move_in_its_direction_is_following(b: float, expected: list[Any]):
    tape = Tape()
    tape.set("BTC", a=100.6, b=b)  # 0.50 on A; 0.24, 0.26 and -0.50 on B
    assert told(tape.run(30)) == expected


def test_down_is_a_move_too():
    tape = Tape()
    tape.set("BTC", a=99.6, b=100.1)
    assert told(tape.run(30)) == [("down", ("BTC",), False)]


def test_a_decayed_move_arms_again():
    tape = Tape()
    tape.set("BTC", a=100.6, b=100.1)
    assert told(tape.run(120)) == [BTC_UP]
    tape.set("BTC", a=101.2, b=100.1)
    assert told(tape.run(30)) == [BTC_UP]


def test_a_move_that_goes_on_makes_a_card_only_in_a_later_window_and_half_of_k_further():
    tape = Tape()
    moves = []
    for second in range(90):  # 50 bps at once, then 1 bp a second: 110 bps at most over the window, 61 after
        tape.set("BTC", a=100.6 + 0.01 * second, b=100.1)
        moves += tape.run(1)
    assert told(moves) == [BTC_UP]
    for _ in range(10):  # 30 bps a second: soon 20 bps beyond the extreme of the first window
        tape.set("BTC", a=tape.a["BTC"] + 0.3, b=100.1)
        moves += tape.run(1)
    assert told(moves) == [BTC_UP, BTC_UP]


def test_a_turn_is_another_move():
    tape = Tape()
    tape.set("BTC", a=100.6, b=100.1)
    assert told(tape.run(10)) == [BTC_UP]
    tape.set("BTC", a=99.6, b=100.1)
    assert told(tape.run(10)) == [("down", ("BTC",), False)]


def test_few_coins_that_move_are_told_one_by_one():
    tape = Tape(COINS)
    tape.set("BTC", "ETH", a=100.6, b=100.1)
    assert told(tape.run(30)) == [BTC_UP, ("up", ("ETH",), False)]


def test_four_coins_are_no_market():
    tape = Tape(COINS[:4])
    tape.set(*COINS[:4], a=100.6, b=100.1)
    assert told(tape.run(30)) == [("up", (coin,), False) for coin in COINS[:4]]


def test_half_of_the_market_makes_one_card_for_all_and_the_rest_joins_in_silence():
    tape = Tape(COINS)
    tape.set("BTC", a=100.6, b=100.1)
    tape.set("ETH", "SOL", a=100.4, b=100.1)  # 30 bps: half way to a card
    (move,) = tape.run(5)
    assert told([move]) == [("up", ("BTC", "ETH", "SOL"), True)]
    assert move.move_bps == pytest.approx(29.97003)
    tape.set("ETH", "SOL", "XRP", "ADA", a=100.7, b=100.1)
    assert tape.run(50) == []
    assert tape.run(120) == []


def test_the_next_move_of_the_market_makes_the_next_card():
    tape = Tape(COINS)
    tape.set(*COINS, a=100.6, b=100.1)
    assert told(tape.run(120)) == [("up", COINS, True)]
    tape.set(*COINS, a=99.9, b=100.1)
    assert told(tape.run(30)) == [("down", COINS, True)]


@pytest.mark.parametrize("live", [(False, True), (True, False), (False, False)])
def test_there_is_no_card_while_a_feed_is_not_live_nor_across_the_outage(live: tuple[bool, bool]):
    tape = Tape()
    tape.live = live
    tape.set("BTC", a=100.6, b=100.1)
    assert tape.run(30) == []
    tape.live = (True, True)
    assert tape.run(120) == []
    tape.set("BTC", a=101.2, b=100.1)
    assert told(tape.run(30)) == [BTC_UP]


def test_a_missing_price_or_a_hole_is_no_move():
    tape = Tape()
    tape.a["BTC"] = 0.0
    assert tape.run(1) == []
    tape.set("BTC", a=100.6, b=100.1)
    assert tape.run(120) == []
    tape.now += WINDOW
    tape.set("BTC", a=101.2, b=100.1)
    assert tape.run(120) == []


def test_nothing_is_usual_before_twelve_windows():
    tape = Tape(())
    tape.set("BTC", a=100.0, b=100.0)
    assert tape.run(11 * 60) == []
    tape.set("BTC", a=110.0, b=100.0)
    assert tape.run(30) == []


def test_a_coin_that_hardly_moves_needs_the_floor():
    tape = Tape(())
    tape.set("BTC", a=100.0, b=100.0)
    assert tape.run(14 * 60) == []
    tape.set("BTC", a=100.04, b=100.0)
    assert tape.run(120) == []
    tape.set("BTC", a=100.1, b=100.0)
    (move,) = tape.run(30)
    assert move.usual_bps < 1


def test_one_wild_window_hardly_changes_what_is_usual():
    tape = Tape()
    tape.set("BTC", a=150.0, b=150.0)
    tape.run(121)
    # It counted as 4 times 10 bps in a mean over 20, then a flat window: at most 10 + 30 / 20.
    assert 9 < tape.detector._trails["BTC"].usual <= 11.5


def test_a_coin_that_is_gone_is_forgotten():
    tape = Tape(COINS)
    del tape.a["BTC"]
    tape.run(1)
    assert set(tape.detector._trails) == set(COINS) - {"BTC"}
