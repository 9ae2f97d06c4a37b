"""Who leads: known lags are found again, and where there is none, none is claimed."""

from collections.abc import Callable
from itertools import pairwise
from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.leadlag import LAGS, Block, Lead, LeadLag, LeadTracker, Offset, Path, clock_offset, covariation, estimate
from exchanges.sandbox import binance, coinbase
from exchanges.sandbox.coins import universe
from exchanges.sandbox.market import Market
from exchanges.sandbox.venues import BINANCE, COINBASE

MINUTE = 60_000
T0 = 1_771_977_600_000
"""2026-02-25."""

Tick = tuple[int, str, float]
"""Time in ms, side, price."""


# A simulated pair of exchanges


def moments(random: Random, start: int, length: int, rate: float) -> list[int]:
    """Poisson times, ``rate`` a second."""
    times, at = [], float(start)
    while (at := at + random.expovariate(rate) * 1000) < start + length:
        times.append(int(at))
    return times


def walk(random: Random, times: set[int]) -> dict[int, float]:
    """A random walk of 1 bp a square root second, as log prices at these times."""
    level, logs, ordered = 0.0, {}, sorted(times)
    for before, at in pairwise([ordered[0], *ordered]):
        level += random.gauss(0, 1e-4 * ((at - before) / 1000) ** 0.5)
        logs[at] = level
    return logs


def market(seed: int, lag: int, *, length: int = 20 * MINUTE, independent: bool = False) -> list[Tick]:
    """Ticks of a and b, about one a second each, with 0.2 bp of noise; b shows what a showed ``lag`` ms before."""
    random = Random(seed)
    a, b = moments(random, T0, length, 1.0), moments(random, T0, length, 1.0)
    shown = [at - lag for at in b]
    hidden = walk(random, {*a, *shown})
    other = walk(random, {*shown}) if independent else hidden

    def price(level: float) -> float:
        return 100 * exp(level + random.gauss(0, 2e-5))

    return sorted([(at, "a", price(hidden[at])) for at in a] + [(at, "b", price(other[at - lag])) for at in b])


def lead_of(ticks: list[Tick], clock: Callable[[str, int], int] = lambda _, at: at, **sizes: int) -> Lead:
    """What the tracker makes of them. ``clock``: what the exchange of a side calls a moment of ours."""
    tracker = LeadTracker(**{"block_ms": 2 * MINUTE, **sizes})
    for at, side, price in ticks:
        tracker.tick(side, clock(side, at), at, price)
    return tracker.lead(seed=1)


def by_receive(ticks: list[Tick], **sizes: int) -> LeadLag:
    return lead_of(ticks, lambda *_: 0, **sizes).by_receive


# Acceptance


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("lag", "leader"), [(3_000, "a"), (12_000, "a"), (-3_000, "b"), (-12_000, "b")])
def test_a_known_lead_is_recovered_within_ten_percent(lag: int, leader: str, seed: int):
    lead = by_receive(market(seed, lag))
    assert lead.leader == leader
    assert lead.median_ms == pytest.approx(lag, rel=0.10)
    assert lead.low_ms <= lead.median_ms <= lead.high_ms


@pytest.mark.parametrize("independent", [False, True], ids=["one walk", "two walks"])
def test_no_leader_is_claimed_where_there_is_none(independent: bool):
    leads = [by_receive(market(seed, 0, length=16 * MINUTE, independent=independent), block_ms=90_000) for seed in range(100)]
    assert all(lead.median_ms is not None for lead in leads)
    assert [lead.leader for lead in leads].count("") >= 95


def test_the_lead_of_the_simulated_coinbase_over_binance_is_found():
    coins, hours = universe(6, 7), 6
    simulated = Market(7, [*coinbase.listings(COINBASE, coins, 7, T0), *binance.listings(BINANCE, coins, 7, T0)])
    ticks: list[Tick] = []
    for side, listing in (("a", simulated.listing(COINBASE.id, "BTC-USD")), ("b", simulated.listing(BINANCE.id, "BTCUSDT"))):
        for bar in range(T0, T0 + hours * 60 * MINUTE, 5 * MINUTE):
            trades = simulated.trades(listing, bar)
            ticks += [(at, side, price) for at, price in zip(trades.times, trades.prices, strict=True)]
    lead = by_receive(sorted(ticks), block_ms=5 * MINUTE, blocks=72)
    assert lead.leader == "a"
    assert lead.median_ms == pytest.approx(BINANCE.lag_ms, rel=0.10)


# Both clocks


def test_both_clocks_are_told_and_nothing_is_subtracted():
    """b's messages are stamped 4 s before they arrive, a's as they arrive: by receive time a leads by 3 s, by the stamps b does by 1 s."""
    lead = lead_of(market(1, 3_000), lambda side, at: at - 4_000 if side == "b" else at)
    assert (lead.by_receive.leader, lead.by_exchange.leader, lead.leader) == ("a", "b", "")
    assert lead.by_receive.median_ms == pytest.approx(3_000, rel=0.10)
    assert lead.by_exchange.median_ms == pytest.approx(-1_000, rel=0.15)
    assert lead.offset_a == Offset(0, 0, 0, 500)
    assert lead.offset_b == Offset(-4_000, -4_000, 0, 500)


def test_a_leader_is_one_by_both_clocks():
    assert lead_of(market(1, 3_000)).leader == "a"
    assert lead_of(market(1, 0)).leader == ""


def test_messages_without_a_time_count_by_receive_time_only():
    lead = lead_of(market(1, 3_000), lambda *_: 0)
    assert (lead.by_exchange, lead.offset_a, lead.offset_b, lead.leader) == (LeadLag(), Offset(), Offset(), "")
    assert lead.by_receive.leader == "a"


def test_the_clock_offset_is_a_median_that_a_wrong_stamp_does_not_move():
    # 21 values -60 … -40: median -50. The 95th percentile, 19 steps of 20 up from -60: -41. Deviations from -50: 0, 1 1, … 10 10: median 5.
    samples = list(range(-60, -39))
    assert clock_offset(samples) == Offset(-50, -41, 1.4826 * 5, 21)
    assert clock_offset([*samples, 3_600_000, -3_600_000]).median_ms == -50
    assert clock_offset([-80.0]) == Offset(-80, -80, 0, 1)
    assert clock_offset([]) == Offset()


# Too little, and bounds


def test_too_little_is_no_leader():
    assert LeadTracker().lead(seed=1) == Lead(LeadLag(), LeadLag(), Offset(), Offset())
    few = by_receive(market(1, 3_000, length=10 * MINUTE))
    assert few == LeadLag(events=few.events)
    assert few.events > 0


def test_a_side_that_stands_still_is_no_event():
    still = [(at, side, price if side == "a" else 100.0) for at, side, price in market(1, 3_000)]
    assert by_receive(still) == LeadLag()


def test_the_same_ticks_and_seed_give_the_same_answer():
    ticks = market(1, 3_000)
    assert lead_of(ticks) == lead_of(ticks)


def test_settling_when_idle_changes_nothing():
    ticks, tracker = market(1, 3_000), LeadTracker(block_ms=2 * MINUTE)
    settled = 0
    for at, side, price in ticks:
        tracker.tick(side, at, at, price)
        settled += tracker.settle()
    assert tracker.lead(seed=1) == lead_of(ticks)
    assert settled == 16  # blocks start every 2 min while 2 + 1 + 1 min follow: 0 … 14 min, by two clocks


def test_memory_is_bounded_by_time_and_by_spacing():
    tracker = LeadTracker(block_ms=MINUTE, blocks=3, samples=10)
    for at in range(T0, T0 + 30 * MINUTE, 100):
        tracker.tick("a", at, at, 100 + at // 1_000 % 7)
        tracker.tick("b", at, at, 100 + at // 1_000 % 5)
    scan = tracker._by_receive
    # Open block, block overdue, longest lag before and after, gap: 5 minutes, and a tick a second.
    assert max(len(scan._a.times), len(scan._b.times)) <= 5 * 60 + 2
    assert len(scan.blocks) == 3
    assert len(tracker._offsets["a"]) == 10


def test_an_outage_is_no_move():
    path = Path()
    for at, price in [(0, 100.0), (1_000, 110.0), (62_000, 220.0), (63_000, 231.0), (63_500, 300.0), (62_500, 300.0)]:
        path.add(at, price)
    # 61 s of silence: the doubling is not counted. 500 ms later is too close, and an older tick is too late.
    assert path.times == [0, 1_000, 62_000, 63_000]
    assert path.logs == pytest.approx([0, log(1.1), log(1.1), log(1.1) + log(1.05)])


def test_after_a_long_silence_it_goes_on_where_the_data_does():
    before, day = market(1, 3_000), 24 * 60 * MINUTE
    lead = by_receive([*before, *((at + day, side, price) for at, side, price in market(2, 3_000))])
    assert lead.leader == "a"
    assert lead.median_ms == pytest.approx(3_000, rel=0.10)


# The estimator


def test_the_scan_is_even_fine_near_zero_and_reaches_a_minute():
    assert tuple(sorted(-lag for lag in LAGS)) == LAGS
    assert LAGS[len(LAGS) // 2 : len(LAGS) // 2 + 4] == (0, 100, 200, 300)
    assert (LAGS[0], LAGS[-1]) == (-60_000, 60_000)
    assert all(after - before <= max(100, min(1_000, max(abs(before), abs(after)) * 0.05)) for before, after in pairwise(LAGS))


PATHS = st.lists(st.tuples(st.integers(1, 40), st.integers(-5, 5)), min_size=1, max_size=12)


def path_of(steps: list[tuple[int, int]]) -> tuple[list[int], list[float]]:
    times, logs = [0], [0.0]
    for wait, change in steps:
        times.append(times[-1] + wait)
        logs.append(logs[-1] + change)
    return times, logs


def by_definition(a: tuple[list[int], list[float]], b: tuple[list[int], list[float]], lag: int) -> float:
    """Every pair of intervals (s, t], (u, v] that overlap once b's is shifted back by the lag."""
    return sum(
        (x1 - x0) * (y1 - y0)
        for (s, x0), (t, x1) in pairwise(zip(*a, strict=True))
        for (u, y0), (v, y1) in pairwise(zip(*b, strict=True))
        if s < v - lag and u - lag < t
    )


@given(PATHS, PATHS, st.integers(-500, 500))
def test_the_merge_is_the_double_sum_of_the_definition(a: list[tuple[int, int]], b: list[tuple[int, int]], lag: int):
    ours, theirs = Path(), path_of(b)
    ours.times, ours.logs = path_of(a)
    assert covariation(ours.increments(0, 10_000), *theirs, lag) == by_definition(path_of(a), theirs, lag)


def block(**heights: float) -> Block:
    """A curve that is 0 but at some lags, written ms_3100=0.5."""
    peaks = {int(name.removeprefix("ms_")): height for name, height in heights.items()}
    return Block(tuple(peaks.get(lag, 0.0) for lag in LAGS), 10)


def test_the_lag_is_the_middle_of_the_peak():
    # The peak 1.0 at 1,000 ms falls to 0.8 at 1,100 and to 0 at 900 and 1,200. It passes 0.7 at 1,000 - 100 * 0.3 / 1.0 = 970 and at
    # 1,100 + 100 * 0.1 / 0.8 = 1,112.5: the middle is 1,041.25. All blocks agree, so the interval is half a step of 100 ms either way.
    assert estimate([block(ms_1000=1.0, ms_1100=0.8)] * 6, seed=1) == LeadLag("a", 1_041, 991, 1_091, 60, 1.0)


def test_an_interval_that_comes_near_zero_names_nobody():
    # Peaks of 0.2 s, all alike: the interval is 150 to 250 ms, beyond the resolution of 100 ms; of 0.1 s: 50 to 150 ms, within it.
    assert estimate([block(ms_200=1.0)] * 6, seed=1) == LeadLag("a", 200, 150, 250, 60, 1.0)
    assert estimate([block(ms_100=1.0)] * 6, seed=1) == LeadLag("", 100, 50, 150, 60, 1.0)


def test_a_curve_of_a_mirror_image_has_no_peak():
    lead = estimate([Block(tuple(-1.0 if lag == 3_000 else -0.1 for lag in LAGS), 10)] * 6, seed=1)
    assert (lead.leader, lead.contrast) == ("", -0.1)
