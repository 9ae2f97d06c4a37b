"""Frames shaped like those of the real exchanges, of a made-up market. Stdlib only: the peers' own environment reads this module too."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

STEP, DAY = 300_000, 86_400_000
MIDNIGHT = 1_786_320_000_000
"""2026-08-10 00:00:00 UTC."""

_KLINE = (
    '{"stream":"%s@kline_5m","data":{"e":"kline","E":%d,"s":"%s","k":{"t":%d,"T":%d,"s":"%s","i":"5m","f":1054221988,"L":1054224183,'
    '"o":"%.8f","c":"%.8f","h":"%.8f","l":"%.8f","v":"%.8f","n":2196,"x":%s,"q":"2492731.28713130","V":"28.76136000",'
    '"Q":"1342722.01811650","B":"0"}}}'
)
_TICKER = (
    '{"stream":"%s@ticker","data":{"e":"24hrTicker","E":%d,"s":"%s","p":"-812.40000000","P":"-1.209","w":"66102.04958204",'
    '"x":"67190.01000000","c":"%.8f","Q":"0.00104000","b":"%.8f","B":"4.10400000","a":"%.8f","A":"1.00100000","o":"67190.00000000",'
    '"h":"67956.50000000","l":"65187.70000000","v":"17351.11900000","q":"1146988332.40703994","O":%d,"C":%d,"F":158251292,"L":158414513,'
    '"n":163222}}'
)
_COINBASE_CANDLES = (
    '{"channel":"candles","timestamp":"%s","sequence_num":%d,"events":[{"type":"update","candles":[{"start":"%d","high":"%.2f",'
    '"low":"%.2f","open":"%.2f","close":"%.2f","volume":"%.8f","product_id":"%s"}]}]}'
)
_COINBASE_TICKER = (
    '{"channel":"ticker","timestamp":"%s","sequence_num":%d,"events":[{"type":"update","tickers":[{"type":"ticker","product_id":"%s",'
    '"price":"%.2f","volume_24_h":"3974.98800786","low_24_h":"63454","high_24_h":"64727.27","low_52_w":"59073.01","high_52_w":"126296",'
    '"price_percent_chg_24_h":"1.21471769193719","best_bid":"%.2f","best_ask":"%.2f","best_bid_quantity":"0.21558849",'
    '"best_ask_quantity":"0.02287045"}]}]}'
)


class Row(NamedTuple):
    """A candle as the frames tell it. Times in ms."""

    symbol: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def names(count: int) -> list[str]:
    """So many symbols in Binance's spelling. The first is one that every peer knows."""
    return ["BTCUSDT", *(f"C{number}USDT" for number in range(1, count))]


def row(symbol: str, open_time: int, number: int) -> Row:
    """A candle that differs from its neighbours by ``number``: prices wander within 1 %, so that no indicator stands still."""
    middle = 65_000.0 + (number * 7919) % 650
    return Row(symbol, open_time, middle, middle + 48.0, middle - 62.0, middle - 19.5 + number % 40, 53.38997 + number % 97)


def binance_kline(one: Row, event_time: int, *, closed: bool) -> bytes:
    prices = (one.open, one.close, one.high, one.low, one.volume)
    flag = "true" if closed else "false"
    lower, end = one.symbol.lower(), one.open_time + STEP - 1
    return (_KLINE % (lower, event_time, one.symbol, one.open_time, end, one.symbol, *prices, flag)).encode()


def binance_klines(count: int, *, closed: bool, symbols: int = 50) -> list[bytes]:
    """Klines of many symbols, in the order in which a connection brings them."""
    known = names(symbols)
    rows = (row(known[number % symbols], MIDNIGHT, number) for number in range(count))
    return [binance_kline(one, MIDNIGHT + STEP + number, closed=closed) for number, one in enumerate(rows)]


def binance_tickers(count: int, *, symbols: int = 50) -> list[bytes]:
    known = names(symbols)
    return [_binance_ticker(known[number % symbols], MIDNIGHT + number * 20, 65_000.0 + number % 650) for number in range(count)]


def _binance_ticker(symbol: str, time: int, price: float) -> bytes:
    return (_TICKER % (symbol.lower(), time, symbol, price, price - 0.01, price + 0.01, time - DAY, time)).encode()


def coinbase_candles(count: int, *, symbols: int = 50) -> list[bytes]:
    return list(_coinbase_candles(count, [f"C{number}-USD" for number in range(symbols)]))


def _coinbase_candles(count: int, known: list[str]) -> Iterator[bytes]:
    for number in range(count):
        one = row(known[number % len(known)], MIDNIGHT, number)
        values = (one.open_time // 1000, one.high, one.low, one.open, one.close, one.volume, one.symbol)
        yield (_COINBASE_CANDLES % (_stamp(number), number, *values)).encode()


def coinbase_tickers(count: int, *, symbols: int = 50) -> list[bytes]:
    prices = ((number, 65_000.0 + number % 650) for number in range(count))
    return [
        (_COINBASE_TICKER % (_stamp(number), number, f"C{number % symbols}-USD", price, price - 0.01, price + 0.01)).encode()
        for number, price in prices
    ]


def _stamp(number: int) -> str:
    """The exchange's clock at 50 frames a second, in the nanoseconds Coinbase writes."""
    time = MIDNIGHT + number * 20
    return f"{datetime.fromtimestamp(time // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time % 1000:03}228970Z"
