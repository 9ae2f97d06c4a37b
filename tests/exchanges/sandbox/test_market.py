"""The simulated market by itself: exact sums, the same for everybody, from any side."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.events import TIMEFRAMES
from exchanges.sandbox import binance, coinbase
from exchanges.sandbox.coins import NAMED, universe
from exchanges.sandbox.listings import Bar, Listing
from exchanges.sandbox.market import STEPS, Market
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.venues import BINANCE, COINBASE, Venue

BAR = 300_000
EPOCH = 1_771_977_600_000
"""2026-02-25."""
COINS = universe(24, 7)


def _market(seed: int = 7, leader: Venue = COINBASE, follower: Venue = BINANCE) -> Market:
    return Market(seed, [*coinbase.listings(leader, COINS, seed, EPOCH), *binance.listings(follower, COINS, seed, EPOCH)])


MARKET = _market()
LISTINGS = [listing for listing in MARKET.listings.values() if not listing.alias_of]
OFFSETS = st.integers(min_value=-5 * 288, max_value=400 * 288)
"""Bars from EPOCH: every coin is listed, most of it lies in the future."""


def _summed(bars: list[Bar], open_time: int) -> Bar:
    traded = [bar for bar in bars if bar.trades] or bars
    return Bar(
        open_time,
        traded[0].open,
        max(bar.high for bar in traded),
        min(bar.low for bar in traded),
        traded[-1].close,
        sum(bar.volume for bar in traded),
        sum(bar.turnover for bar in traded),
        sum(bar.trades for bar in traded),
    )


@settings(deadline=None)
@given(st.sampled_from(LISTINGS), OFFSETS)
def test_a_five_minute_candle_is_the_aggregate_of_its_trades(listing: Listing, offset: int) -> None:
    open_time = EPOCH + offset * BAR
    if not listing.trading(open_time):
        return
    (bar,) = MARKET.bars(listing, BAR, open_time, open_time + BAR)
    trades = MARKET.trades(listing, open_time)
    assert len(trades.prices) == bar.trades
    if bar.trades == 0:
        assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (bar.close, bar.close, bar.close, bar.close, 0)
        return
    assert (trades.prices[0], max(trades.prices), min(trades.prices), trades.prices[-1]) == bar[1:5]
    assert trades.lots[-1] * listing.lot == bar.volume
    assert all(more > less for less, more in pairwise(trades.lots))
    assert trades.times == sorted(set(trades.times))
    assert open_time <= trades.times[0]
    assert trades.times[-1] < open_time + BAR


@settings(deadline=None)
@given(st.sampled_from(LISTINGS), st.sampled_from(sorted(STEPS - {BAR})), st.integers(min_value=-5, max_value=400))
def test_a_longer_candle_is_the_aggregate_of_its_five_minute_candles(listing: Listing, step: int, day: int) -> None:
    start = EPOCH + day * DAY
    if not listing.trading(start):
        return
    parts = MARKET.bars(listing, BAR, start, start + DAY)
    count = step // BAR
    expected = [_summed(parts[at : at + count], start + at * BAR) for at in range(0, len(parts), count)]
    assert MARKET.bars(listing, step, start, start + DAY) == expected


@settings(deadline=None)
@given(st.sampled_from(LISTINGS), OFFSETS, st.integers(min_value=0, max_value=BAR - 1))
def test_the_forming_candle_holds_the_trades_up_to_now(listing: Listing, offset: int, into: int) -> None:
    now = EPOCH + offset * BAR + into
    trades = MARKET.trades(listing, now - into)
    count = sum(moment <= now for moment in trades.times)
    forming = MARKET.forming(listing, BAR, now)
    if count == 0:
        assert forming is None
        return
    prices = trades.prices[:count]
    assert forming is not None
    assert forming[:6] == (now - into, prices[0], max(prices), min(prices), prices[-1], trades.lots[count - 1] * listing.lot)


def test_the_forming_candle_of_a_day_ends_as_its_final_one() -> None:
    for symbol in ("BTC-USD", "RLC-USD"):
        listing = MARKET.listing("coinbase-sandbox", symbol)
        (final,) = MARKET.bars(listing, DAY, EPOCH, EPOCH + DAY)
        assert MARKET.forming(listing, DAY, EPOCH + DAY - 1) == final


def test_the_same_seed_gives_the_same_market_in_any_order_of_asking() -> None:
    forwards, backwards = _market(), _market()
    keys = [listing.key for listing in LISTINGS]
    steps = sorted(STEPS)
    seen = {(key, step): forwards.bars(forwards.listings[key], step, EPOCH, EPOCH + DAY) for key in keys for step in steps}
    for key in reversed(keys):
        for step in reversed(steps):
            assert backwards.bars(backwards.listings[key], step, EPOCH, EPOCH + DAY) == seen[key, step]


def test_another_seed_gives_another_market() -> None:
    ours = MARKET.candles("coinbase-sandbox", "BTC-USD", "1h", EPOCH, EPOCH + DAY)
    theirs = _market(8).candles("coinbase-sandbox", "BTC-USD", "1h", EPOCH, EPOCH + DAY)
    assert not {candle.close for candle in ours} & {candle.close for candle in theirs}


def test_candles_are_floats_of_the_exact_decimals() -> None:
    (bar,) = MARKET.bars(MARKET.listing("coinbase-sandbox", "BTC-USD"), BAR, EPOCH, EPOCH + BAR)
    (candle,) = MARKET.candles("coinbase-sandbox", "BTC-USD", "5m", EPOCH, EPOCH + BAR)
    assert candle.closed
    assert (candle.open, candle.volume) == (float(f"{bar.open}e-2"), float(f"{bar.volume}e-8"))


@pytest.mark.parametrize(
    ("venue", "symbol"), [("coinbase-sandbox", "BTC-USD"), ("coinbase-sandbox", "RLC-USD"), ("binance-sandbox", "SOLUSDT")]
)
def test_a_candle_opens_close_to_where_the_last_one_ended_also_over_midnight(venue: str, symbol: str) -> None:
    candles = MARKET.candles(venue, symbol, "5m", EPOCH, EPOCH + 3 * DAY)
    gaps = [abs(candle.open / before.close - 1) for before, candle in pairwise(candles)]
    assert 0 < max(gaps) < 0.0006


def test_thinly_traded_coins_have_intervals_without_a_trade_and_others_have_none() -> None:
    idle = {
        coin.code: 288 * 7 - len(MARKET.candles("coinbase-sandbox", f"{coin.code}-USD", "5m", EPOCH, EPOCH + 7 * DAY)) for coin in NAMED
    }
    assert {code for code, count in idle.items() if count} == {"BAND", "RLC"}
    assert 700 < idle["RLC"] < 1100
    flat = MARKET.candles("binance-sandbox", "RLCUSDT", "5m", EPOCH, EPOCH + DAY, idle=True)
    assert len(flat) == 288
    for before, candle in pairwise(flat):
        if candle.volume == 0:
            assert (candle.open, candle.high, candle.low, candle.close) == (before.close,) * 4


def test_an_alias_shows_the_book_it_is_an_alias_of() -> None:
    window = ("1h", EPOCH, EPOCH + DAY)
    assert [candle.close for candle in MARKET.candles("coinbase-sandbox", "BTC-USDC", *window)] == [
        candle.close for candle in MARKET.candles("coinbase-sandbox", "BTC-USD", *window)
    ]


def test_the_follower_trades_the_leaders_moves_later_by_its_lag() -> None:
    leader, follower = MARKET.listing("coinbase-sandbox", "ETH-USD"), MARKET.listing("binance-sandbox", "ETHUSDT")
    for open_time in range(EPOCH, EPOCH + DAY, BAR):
        first, second = MARKET.trades(leader, open_time), MARKET.trades(follower, open_time)
        assert [moment + BINANCE.lag_ms for moment in first.times] == second.times


def test_a_lag_of_whole_candles_shifts_the_candles() -> None:
    slow = _market(leader=replace(COINBASE, swing_bps=0), follower=replace(BINANCE, lag_ms=2 * BAR + 5_000, swing_bps=0, basis_bps=0))
    listing = slow.listing("binance-sandbox", "BTCUSDT")
    late = slow.bars(listing, BAR, EPOCH, EPOCH + DAY)
    leader = slow.bars(slow.listing("coinbase-sandbox", "BTC-USD"), BAR, EPOCH - 2 * BAR, EPOCH + DAY - 2 * BAR)
    assert [bar[1:5] for bar in late] == [bar[1:5] for bar in leader]


@pytest.mark.parametrize("lag", [-1, 120_001, 299_999])
def test_it_refuses_a_lag_that_would_carry_trades_into_the_next_candle(lag: int) -> None:
    with pytest.raises(ValueError, match="above a multiple of 300000 ms"):
        _market(follower=replace(BINANCE, lag_ms=lag))


def test_the_venues_prices_stand_tens_of_basis_points_apart_and_wander() -> None:
    window = ("1h", EPOCH, EPOCH + 30 * DAY)
    ours = MARKET.candles("coinbase-sandbox", "BTC-USD", *window)
    theirs = MARKET.candles("binance-sandbox", "BTCUSDT", *window)
    basis = [(there.close / here.close - 1) * 10_000 for here, there in zip(ours, theirs, strict=True)]
    assert 0 < min(basis) < 8
    assert 20 < max(basis) < 30
    assert max(abs(after - before) for before, after in pairwise(basis)) < 15


def test_coins_move_together() -> None:
    def moves(symbol: str) -> list[bool]:
        candles = MARKET.candles("coinbase-sandbox", symbol, "1h", EPOCH, EPOCH + 60 * DAY)
        return [candle.close > candle.open for candle in candles]

    bitcoin = moves("BTC-USD")
    for symbol in ("ETH-USD", "SOL-USD", "DOGE-USD"):
        same = sum(here == there for here, there in zip(bitcoin, moves(symbol), strict=True)) / len(bitcoin)
        assert 0.55 < same < 0.9


def test_prices_stay_believable_for_years() -> None:
    for listing in LISTINGS:
        if listing.venue == "coinbase-sandbox" and listing.ends is None:
            days = MARKET.bars(listing, DAY, EPOCH, EPOCH + 12 * DAY) + MARKET.bars(listing, DAY, EPOCH + 3650 * DAY, EPOCH + 3653 * DAY)
            closes = [bar.close / 10**listing.decimals for bar in days]
            assert listing.coin.price / 6 < min(closes) <= max(closes) < listing.coin.price * 6


def test_listing_dates_are_stable_and_one_listing_is_young() -> None:
    lives = {coin.code: (EPOCH - MARKET.listing("coinbase-sandbox", f"{coin.code}-USD").listed) // DAY for coin in NAMED}
    again = {coin.code: (EPOCH - _market().listing("binance-sandbox", f"{coin.code}USDT").listed) // DAY for coin in NAMED}
    assert lives == again
    assert (lives.pop("FET"), lives.pop("TAO")) == (12, 70)
    assert min(lives.values()) >= 80
    assert max(lives.values()) <= 150
    fet = MARKET.candles("coinbase-sandbox", "FET-USD", "1d", 0, EPOCH)
    assert len(fet) == 12


def test_nothing_trades_outside_the_life_of_a_listing() -> None:
    gone = MARKET.listing("coinbase-sandbox", "EOS-USD")
    assert gone.ends == EPOCH - 2 * DAY
    assert MARKET.bars(gone, BAR, gone.ends - BAR, EPOCH + DAY)[-1].open_time == gone.ends - BAR
    assert MARKET.trades(gone, gone.ends).times == []
    assert MARKET.forming(gone, BAR, EPOCH) is None
    assert MARKET.statistics(gone, EPOCH).volume == 0
    assert MARKET.last_price(gone, EPOCH) == MARKET.bars(gone, BAR, gone.ends - BAR, gone.ends)[0].close


def test_the_day_statistics_are_those_of_the_last_24_hours_of_candles() -> None:
    listing = MARKET.listing("binance-sandbox", "SOLUSDT")
    now = EPOCH + 5 * BAR + 123_456
    closed = MARKET.bars(listing, BAR, EPOCH + 5 * BAR - 287 * BAR, EPOCH + 5 * BAR)
    forming = MARKET.forming(listing, BAR, now)
    assert forming is not None
    day = MARKET.statistics(listing, now)
    assert day.volume == sum(bar.volume for bar in [*closed, forming])
    assert (day.open, day.last) == (closed[0].open, forming.close)
    assert (day.high, day.low) == (max(bar.high for bar in [*closed, forming]), min(bar.low for bar in [*closed, forming]))
    low, high = MARKET.year_range(listing, now)
    assert low <= day.low <= day.high <= high


def test_the_next_trade_is_the_first_one_after_now() -> None:
    listing = MARKET.listing("coinbase-sandbox", "BTC-USD")
    times = [moment for bar in range(3) for moment in MARKET.trades(listing, EPOCH + bar * BAR).times]
    moment, walked = EPOCH - 1, []
    while len(walked) < len(times):
        moment = MARKET.next_trade(listing, moment)
        walked.append(moment)
    assert walked == times


def _macdv(candles: list) -> list[float | None]:
    """Throw-away MACD-V, after domain.md, to see how often this market alerts."""
    fast = slow = atr = 0.0
    values: list[float | None] = []
    ranges: list[float] = []
    closes = [candle.close for candle in candles]
    for at, candle in enumerate(candles):
        fast = sum(closes[:12]) / 12 if at == 11 else fast + (candle.close - fast) * 2 / 13
        slow = sum(closes[:26]) / 26 if at == 25 else slow + (candle.close - slow) * 2 / 27
        before = candles[at - 1].close if at else candle.open
        reach = max(candle.high - candle.low, abs(candle.high - before), abs(candle.low - before))
        if candle.volume:
            ranges.append(reach)
            atr = sum(ranges) / 26 if len(ranges) == 26 else (atr * 25 + reach) / 26
        values.append((fast - slow) / atr * 100 if at >= 25 and len(ranges) >= 26 else None)
    return values


def test_a_closed_batch_of_24_coins_alerts_about_two_times_in_three() -> None:
    days, warmup = 8, 250
    alerts: Counter[str] = Counter()
    for venue, quote in (("coinbase-sandbox", "-USD"), ("binance-sandbox", "USDT")):
        for coin in NAMED:
            values = _macdv(MARKET.candles(venue, coin.code + quote, "5m", EPOCH, EPOCH + days * DAY, idle=True))
            for before, value in zip(values[warmup:], values[warmup + 1 :], strict=False):
                assert before is not None
                assert value is not None
                assert abs(value) < 600
                alerts[venue] += any(before <= level < value or before >= -level > value for level in range(150, 401, 50))
    for count in alerts.values():
        assert 0.5 < count / (days * 288 - warmup) < 1.0


def test_it_refuses_a_candle_length_that_is_not_a_multiple_of_five_minutes() -> None:
    listing = MARKET.listing("coinbase-sandbox", "BTC-USD")
    with pytest.raises(ValueError, match="no candles of 60000 ms"):
        MARKET.bars(listing, 60_000, EPOCH, EPOCH + DAY)


def test_it_names_the_venue_that_does_not_list_a_symbol() -> None:
    with pytest.raises(LookupError, match="coinbase-sandbox lists no 'NOPE-USD'"):
        MARKET.candles("coinbase-sandbox", "NOPE-USD", "5m", EPOCH, EPOCH + BAR)


def test_every_timeframe_of_livermore_can_be_asked_for() -> None:
    for timeframe, step in TIMEFRAMES.items():
        assert MARKET.candles("binance-sandbox", "BTCUSDT", timeframe, EPOCH, EPOCH + DAY)[0].open_time == EPOCH
        assert len(MARKET.candles("binance-sandbox", "BTCUSDT", timeframe, EPOCH, EPOCH + DAY)) == DAY // step


def test_a_market_of_a_thousand_has_a_thousand_different_coins() -> None:
    coins = universe(1_000, 7)
    assert len({coin.code for coin in coins}) == 1_000
    assert coins[:24] == NAMED
    assert coins == universe(1_000, 7)
    assert all(coin.price * 10**coin.decimals > 1_000 for coin in coins)


@pytest.mark.parametrize("count", [0, -1, 1_001])
def test_it_refuses_a_market_without_or_with_too_many_symbols(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000 symbols"):
        universe(count, 7)
