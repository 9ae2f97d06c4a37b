"""Candles, indicators and prices in Redis (DATA-01, DATA-02), and how everybody reads them.

Redis is a cache for everybody to share: what is lost there is filled in again from the exchange.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from exchanges.events import Ticker
from livermore import bus, keys
from market_data.candles import Bar
from market_data.macdv import Reading
from market_data.series import Series

KEPT = 1000
"""Newest candles kept a series."""
TICKER_TTL = 60
_BATCH = 200


class Close(NamedTuple):
    """A closed candle with its indicator, ready to be written and published."""

    symbol: str
    timeframe: str
    bar: Bar
    indicator: dict[str, Any]


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


async def write_closes(redis: Redis, exchange_id: str, closes: Sequence[Close]) -> None:
    """Write closed candles and their indicators; readable by everybody when it returns."""
    for at in range(0, len(closes), _BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for close in closes[at : at + _BATCH]:
                _queue_candles(pipe, keys.candles(exchange_id, close.symbol, close.timeframe), [close.bar])
                pipe.set(keys.indicator(exchange_id, close.symbol, close.timeframe), bus.encode(close.indicator))
            await pipe.execute()


async def publish_closes(redis: Redis, exchange_id: str, closes: Sequence[Close]) -> None:
    """Tell everybody that these candles closed (DATA-05)."""
    for at in range(0, len(closes), _BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for close in closes[at : at + _BATCH]:
                message = {
                    "type": "candle",
                    "exchange_id": exchange_id,
                    "symbol": close.symbol,
                    "timeframe": close.timeframe,
                    "candle": candle_value(close.bar),
                    "indicator": close.indicator,
                }
                pipe.publish(keys.channel_candle_close(exchange_id, close.symbol, close.timeframe), bus.encode(message))
            await pipe.execute()


async def write_history(redis: Redis, exchange_id: str, series: Series, bars: Sequence[Bar]) -> None:
    """Write a history and the indicator at its end, without publishing."""
    async with redis.pipeline(transaction=False) as pipe:
        _queue_candles(pipe, keys.candles(exchange_id, series.symbol, series.timeframe), bars[-KEPT:])
        value = indicator_value(series, series.indicator.reading)
        pipe.set(keys.indicator(exchange_id, series.symbol, series.timeframe), bus.encode(value))
        await pipe.execute()


def _queue_candles(pipe: Pipeline, key: str, bars: Sequence[Bar]) -> None:
    if not bars:
        return
    # A candle that stands there already (a refill, a revision) has the same score, but may be spelled differently.
    pipe.zremrangebyscore(key, bars[0].open_time, bars[-1].open_time)
    pipe.zadd(key, {bus.encode(candle_value(bar)): bar.open_time for bar in bars})
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


async def forget(redis: Redis, exchange_id: str, symbol: str, timeframes: Iterable[str]) -> None:
    """Remove what nobody follows any more: a candle that stood still would look like a live one."""
    names = [keys.ticker(exchange_id, symbol)]
    for timeframe in timeframes:
        names += [keys.candles(exchange_id, symbol, timeframe), keys.indicator(exchange_id, symbol, timeframe)]
    await redis.unlink(*names)


async def count_candles(redis: Redis, exchange_id: str, symbol: str, timeframe: str) -> int:
    return int(await redis.zcard(keys.candles(exchange_id, symbol, timeframe)))


def read_candles(exchange_id: str, symbol: str, timeframe: str, *, limit: int = 400, user_id: int | None = None) -> list[list[float]]:
    """The newest closed candles, oldest first: the shared ones, else that user's own (DATA-04). Raises what Redis raises."""
    redis = bus.sync()
    rows = redis.zrange(keys.candles(exchange_id, symbol, timeframe), -limit, -1)
    if not rows and user_id is not None:
        rows = redis.zrange(keys.user_candles(user_id, exchange_id, symbol, timeframe), -limit, -1)
    return [json.loads(cast(bytes, row)) for row in rows]


def read_indicator(exchange_id: str, symbol: str, timeframe: str, *, user_id: int | None = None) -> dict[str, Any] | None:
    """The indicator of the last closed candle: the shared one, else that user's own (DATA-04). Raises what Redis raises."""
    redis = bus.sync()
    value = redis.get(keys.indicator(exchange_id, symbol, timeframe))
    if value is None and user_id is not None:
        value = redis.get(keys.user_indicator(user_id, exchange_id, symbol, timeframe))
    return None if value is None else json.loads(value)
