"""Candles, indicators and prices in Redis (DATA-01, DATA-02), and how everybody reads them.

Redis is a cache for everybody to share: what is lost there is filled in again from the exchange.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from msgspec import Raw
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from exchanges.events import BASE_TIMEFRAME, TIMEFRAMES, Ticker
from livermore import bus, keys
from market_data.candles import Bar
from market_data.macdv import Reading
from market_data.series import Series

KEPT = 1000
"""Newest candles kept a series."""
TICKER_TTL = 60
OVERFLOW_TTL = 86_400
"""Seconds after which the overflow keys of a user go, unless they are written."""
_BATCH = 200


class Close(NamedTuple):
    """A closed candle with its indicator, ready to be written and published."""

    symbol: str
    timeframe: str
    bar: Bar
    indicator: dict[str, Any]


class Keys(NamedTuple):
    """Where a series stands: under everybody's keys, or under those of the user who keeps it (DATA-03)."""

    candles: str
    indicator: str
    readings: str


def keys_of(exchange_id: str, symbol: str, timeframe: str, keeper: int | str | None) -> Keys:
    """``keeper``: the user under whose overflow keys the symbol stands; None for Tier 1."""
    name = (exchange_id, symbol, timeframe)
    if keeper is None:
        return Keys(keys.candles(*name), keys.indicator(*name), keys.readings(*name))
    return Keys(keys.user_candles(keeper, *name), keys.user_indicator(keeper, *name), keys.user_readings(keeper, *name))


def indicator_value(series: Series, reading: Reading) -> dict[str, Any]:
    """The content of ``indicator:…:macdv`` after the last candle of ``series``."""
    state = series.indicator
    return {
        "t": series.last_open,
        "close": series.last_close,
        "macdv": reading.macdv,
        "signal": reading.signal,
        "histogram": reading.histogram,
        "atr": reading.atr,
        "stage": reading.stage,
        "seeded": state.signal is not None,
        "observed": state.observed,
        "span": state.span,
        "reason": series.reason,
    }


def candle_value(bar: Bar) -> list[float]:
    """``[open_time, open, high, low, close, volume, synthetic 0/1]``."""
    return [bar.open_time, bar.open, bar.high, bar.low, bar.close, bar.volume, int(bar.synthetic)]


def reading_value(open_time: int, reading: Reading) -> list[Any]:
    """``[open_time, macdv, signal, histogram, stage]``: what the indicator of that candle says, without what only the last one needs."""
    return [open_time, reading.macdv, reading.signal, reading.histogram, reading.stage]


def close_reading(close: Close) -> list[Any]:
    """``reading_value`` out of the indicator of a close."""
    return [close.indicator[name] for name in ("t", "macdv", "signal", "histogram", "stage")]


_CLOSES = f"""
for close = 1, #KEYS / 3 do
  local candles, readings, value = KEYS[close * 3 - 2], KEYS[close * 3], (close - 1) * 6
  local time = ARGV[value + 1]
  redis.call('ZREMRANGEBYSCORE', candles, time, time)
  redis.call('ZADD', candles, time, ARGV[value + 2])
  redis.call('ZREMRANGEBYRANK', candles, 0, {-KEPT - 1})
  redis.call('SET', KEYS[close * 3 - 1], ARGV[value + 3])
  redis.call('ZREMRANGEBYSCORE', readings, time, time)
  redis.call('ZADD', readings, time, ARGV[value + 4])
  redis.call('ZREMRANGEBYRANK', readings, 0, {-KEPT - 1})
  if ARGV[value + 5] ~= '' then redis.call('PUBLISH', ARGV[value + 5], ARGV[value + 6]) end
end
"""
"""What ``_queue_close`` does, for many closes in one call; and publishes those that name a channel."""
_PUBLISH = "for at, channel in ipairs(KEYS) do redis.call('PUBLISH', channel, ARGV[at]) end"
_A_CALL = 50
"""Closes in one call of a script: more would keep other clients waiting."""


async def put_closes(redis: Redis, exchange_id: str, closes: Sequence[Close], keepers: Mapping[str, int | None] = {}) -> None:
    """Write closed candles and tell everybody, where nothing has to happen in between: in half the calls of the two that follow."""
    if bus.runs_scripts(redis) and all(keepers.get(close.symbol) is None for close in closes):
        await bus.run_script(redis, _CLOSES, (_call(exchange_id, some, publish=True) for some in _calls(closes)))
    else:
        await write_closes(redis, exchange_id, closes, keepers)
        await publish_closes(redis, exchange_id, closes)


async def write_closes(redis: Redis, exchange_id: str, closes: Sequence[Close], keepers: Mapping[str, int | None] = {}) -> None:
    """Write closed candles and their indicators; readable by everybody when it returns. ``keepers``: by symbol, see ``keys_of``."""
    if bus.runs_scripts(redis):
        plain = [close for close in closes if keepers.get(close.symbol) is None]
        await bus.run_script(redis, _CLOSES, (_call(exchange_id, some, publish=False) for some in _calls(plain)))
        closes = [close for close in closes if keepers.get(close.symbol) is not None]
    for at in range(0, len(closes), _BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for close in closes[at : at + _BATCH]:
                _queue_close(pipe, exchange_id, close, keepers.get(close.symbol))
            await pipe.execute()


def _calls(closes: Sequence[Close]) -> Iterator[Sequence[Close]]:
    return (closes[at : at + _A_CALL] for at in range(0, len(closes), _A_CALL))


def _call(exchange_id: str, closes: Sequence[Close], *, publish: bool) -> bus.Call:
    names: list[str] = []
    values: list[str | int | bytes] = []
    for close in closes:
        place = (exchange_id, close.symbol, close.timeframe)
        candle, indicator = bus.encode(candle_value(close.bar)), bus.encode(close.indicator)
        names += (keys.candles(*place), keys.indicator(*place), keys.readings(*place))
        values += (close.bar.open_time, candle, indicator, bus.encode(close_reading(close)))
        values += (keys.channel_candle_close(*place), _close_message(exchange_id, close, candle, indicator)) if publish else ("", "")
    return names, values


def _queue_close(pipe: Pipeline, exchange_id: str, close: Close, keeper: int | None) -> None:
    names = keys_of(exchange_id, close.symbol, close.timeframe, keeper)
    _queue_candles(pipe, names.candles, [close.bar])
    pipe.set(names.indicator, bus.encode(close.indicator))
    _queue_rows(pipe, names.readings, [close_reading(close)])
    if keeper is not None:
        _queue_renewal(pipe, exchange_id, close, keeper)


def _ends_an_hour(close: Close) -> bool:
    hour = TIMEFRAMES["1h"]
    return close.timeframe == BASE_TIMEFRAME and (close.bar.open_time + TIMEFRAMES[BASE_TIMEFRAME]) % hour == 0


def _queue_renewal(pipe: Pipeline, exchange_id: str, close: Close, keeper: int) -> None:
    """Once an hour all timeframes at once: a daily candle is written once a day, and would be gone just before its next one."""
    for timeframe in TIMEFRAMES if _ends_an_hour(close) else [close.timeframe]:
        for name in keys_of(exchange_id, close.symbol, timeframe, keeper):
            pipe.expire(name, OVERFLOW_TTL)


async def publish_closes(redis: Redis, exchange_id: str, closes: Sequence[Close]) -> None:
    """Tell everybody that these candles closed (DATA-05)."""
    calls = (_announcement(exchange_id, some) for some in _calls(closes))
    if bus.runs_scripts(redis):
        await bus.run_script(redis, _PUBLISH, calls)
        return
    for channels, messages in calls:
        async with redis.pipeline(transaction=False) as pipe:
            for channel, message in zip(channels, messages, strict=True):
                pipe.publish(channel, message)
            await pipe.execute()


def _announcement(exchange_id: str, closes: Sequence[Close]) -> bus.Call:
    channels = [keys.channel_candle_close(exchange_id, close.symbol, close.timeframe) for close in closes]
    stored = [(close, bus.encode(candle_value(close.bar)), bus.encode(close.indicator)) for close in closes]
    return channels, [_close_message(exchange_id, *one) for one in stored]


def _close_message(exchange_id: str, close: Close, candle: bytes, indicator: bytes) -> bytes:
    """``candle`` and ``indicator`` as they are stored: encoding them is most of the work on a close."""
    head = {"type": "candle", "exchange_id": exchange_id, "symbol": close.symbol, "timeframe": close.timeframe}
    return bus.encode({**head, "published_at": time.time_ns() // 1_000_000, "candle": Raw(candle), "indicator": Raw(indicator)})


async def write_history(
    redis: Redis,
    exchange_id: str,
    series: Series,
    bars: Sequence[Bar],
    *,
    readings: Mapping[int, Reading] | None = None,
    keeper: int | None = None,
) -> None:
    """Write a history and the indicator at its end, without publishing. ``readings``: by open time, as far as they are known."""
    names = keys_of(exchange_id, series.symbol, series.timeframe, keeper)
    async with redis.pipeline(transaction=False) as pipe:
        _queue_candles(pipe, names.candles, bars[-KEPT:])
        pipe.set(names.indicator, bus.encode(indicator_value(series, series.indicator.reading)))
        known = [reading_value(open_time, reading) for open_time, reading in sorted((readings or {}).items())]
        for run in _unbroken(known[-KEPT:], series.step):
            _queue_rows(pipe, names.readings, run)
        if keeper is not None:
            for name in names:
                pipe.expire(name, OVERFLOW_TTL)
        await pipe.execute()


def _unbroken(rows: Iterable[list[Any]], step: int) -> list[list[list[Any]]]:
    """Rows in runs without a gap: what is written must not remove what stands in between."""
    runs: list[list[list[Any]]] = []
    for row in rows:
        if runs and runs[-1][-1][0] + step == row[0]:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


async def move(redis: Redis, exchange_id: str, symbol: str, *, old: int | None, new: int | None) -> None:
    """Carry a symbol's series from one place to another. Every reader finds them at one of the two throughout."""
    for timeframe in TIMEFRAMES:
        source: Keys = keys_of(exchange_id, symbol, timeframe, old)
        target: Keys = keys_of(exchange_id, symbol, timeframe, new)
        candles = await _carried(redis, source.candles, target.candles)
        readings = await _carried(redis, source.readings, target.readings)
        indicator = await redis.get(source.indicator)
        async with redis.pipeline(transaction=False) as pipe:
            for name, rows in ((target.candles, candles), (target.readings, readings)):
                if rows:
                    pipe.zadd(name, rows)
            if indicator is not None:
                pipe.set(target.indicator, indicator, nx=True)
            if new is not None:
                for name in target:
                    pipe.expire(name, OVERFLOW_TTL)
            for name in source:
                pipe.unlink(name)
            await pipe.execute()


async def _carried(redis: Redis, source: str, target: str) -> dict[Any, float]:
    """The rows of a sorted set that another one lacks. What is there already was written since the move was decided: it is newer."""
    there = set((await _scored(redis, target)).values())
    return {row: score for row, score in (await _scored(redis, source)).items() if score not in there}


async def _scored(redis: Redis, name: str) -> dict[bytes, float]:
    """The members of a sorted set and their scores, in order."""
    return dict(cast(list[tuple[bytes, float]], await redis.zrange(name, 0, -1, withscores=True)))


def _everybodys(symbol: str) -> bool:
    return True


async def sweep(redis: Redis, exchange_id: str, keepers: Mapping[str, int | None], ours: Callable[[str], bool] = _everybodys) -> int:
    """Remove every series of the exchange that stands where ``keepers`` (of all watched symbols) has none. Returns how many keys.

    What left, or moved, while nobody could tell Redis would otherwise stand still there for ever and look alive. ``ours``: whether a
    symbol's series are the caller's to remove.
    """
    places = [(symbol, timeframe, keeper) for symbol, keeper in keepers.items() for timeframe in TIMEFRAMES]
    wanted = {name for place in places for name in keys_of(exchange_id, *place)}
    found = []
    for pattern in (*keys_of(exchange_id, "*", "*", None), *keys_of(exchange_id, "*", "*", "*")):
        names = [name async for name in redis.scan_iter(match=pattern, count=1000)]
        found += [name for name in names if name.decode() not in wanted and ours(keys.symbol_of(name.decode()))]
    for at in range(0, len(found), _BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for name in found[at : at + _BATCH]:
                pipe.unlink(name)
            await pipe.execute()
    return len(found)


def _queue_candles(pipe: Pipeline, key: str, bars: Sequence[Bar]) -> None:
    _queue_rows(pipe, key, [candle_value(bar) for bar in bars])


def _queue_rows(pipe: Pipeline, key: str, rows: Sequence[Sequence[Any]]) -> None:
    """Add rows that begin with their open time, ascending, to a sorted set of the newest KEPT."""
    if not rows:
        return
    # What stands there already (a refill, a revision) has the same score, but may be spelled differently.
    pipe.zremrangebyscore(key, rows[0][0], rows[-1][0])
    pipe.zadd(key, {bus.encode(row): row[0] for row in rows})
    pipe.zremrangebyrank(key, 0, -KEPT - 1)


async def write_tickers(redis: Redis, exchange_id: str, tickers: Iterable[tuple[Ticker, int]]) -> None:
    """Write prices, each with the time it was received (ms UTC), and tell everybody."""
    async with redis.pipeline(transaction=False) as pipe:
        for ticker, received in tickers:
            value = {
                "t": ticker.event_time,
                "price": ticker.price,
                "received": received,
                "volume_24h": ticker.volume_24h,
                "quote_volume_24h": ticker.quote_volume_24h,
                "change_24h": ticker.change_24h,
                "bid": ticker.bid,
                "ask": ticker.ask,
            }
            known = {name: item for name, item in value.items() if item is not None}
            pipe.set(keys.ticker(exchange_id, ticker.symbol), bus.encode(known), ex=TICKER_TTL)
            message = {"type": "ticker", "exchange_id": exchange_id, "symbol": ticker.symbol, **known}
            pipe.publish(keys.channel_ticker(exchange_id, ticker.symbol), bus.encode(message))
        await pipe.execute()


async def forget(redis: Redis, exchange_id: str, symbol: str, keeper: int | None = None) -> None:
    """Remove what nobody follows any more: a candle that stood still would look like a live one."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.unlink(keys.ticker(exchange_id, symbol))
        for timeframe in TIMEFRAMES:
            for name in keys_of(exchange_id, symbol, timeframe, keeper):
                pipe.unlink(name)
        await pipe.execute()


async def count_candles(redis: Redis, exchange_id: str, symbol: str, timeframe: str, keeper: int | None = None, *, since: int = 0) -> int:
    """How many candles are there that open at ``since`` (ms) or later."""
    return int(await redis.zcount(keys_of(exchange_id, symbol, timeframe, keeper).candles, since, "+inf"))


async def held_readings(redis: Redis, exchange_id: str, symbol: str, timeframe: str, keeper: int | None = None) -> set[int]:
    """The open times of the candles whose readings are there."""
    return {int(score) for score in (await _scored(redis, keys_of(exchange_id, symbol, timeframe, keeper).readings)).values()}


class Stored(NamedTuple):
    """A series as it stands in Redis: closed candles, oldest first, the indicator of the last one, and ``reading_value`` of each known."""

    candles: list[list[float]]
    indicator: dict[str, Any] | None
    readings: list[list[Any]]


def read_series(exchange_id: str, symbol: str, timeframe: str, *, limit: int = 400, keeper: int | None = None) -> Stored:
    """The one way to read a series (DATA-04): the shared keys first, then the overflow keys.

    ``keeper``: ``symbols.wants.keeper_for`` of the reader and the symbol; None for who may read shared keys only. Raises what Redis
    raises.
    """
    places = [None] if keeper is None else [None, keeper, None]  # the first one again: it may have moved there meanwhile
    pipe = bus.sync().pipeline(transaction=False)
    for one in places:
        names = keys_of(exchange_id, symbol, timeframe, one)
        pipe.zrange(names.candles, -limit, -1)
        pipe.get(names.indicator)
        pipe.zrange(names.readings, -limit, -1)
    answers = iter(pipe.execute())
    for candles, indicator, readings in zip(answers, answers, answers, strict=True):
        if candles or indicator is not None:
            read = [[json.loads(row) for row in rows] for rows in (candles, readings)]
            return Stored(read[0], None if indicator is None else json.loads(indicator), read[1])
    return Stored([], None, [])
