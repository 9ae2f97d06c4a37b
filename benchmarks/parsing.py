"""Frames to events, against the bare decode of the same frames with the same structs, and against other programs' way."""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import frames
from benchmarks.peer import Peers
from benchmarks.rivals import Check, Rival, gather
from benchmarks.rows import Goal, Row, at_most_times, compared, times_better
from benchmarks.timing import Effort, compare, over
from exchanges.adapters import binance, coinbase
from exchanges.events import Candle, Ticker

TITLE = "Frames to events"
_FRAMES = 1000


class Kind(NamedTuple):
    """A kind of frame. ``decode`` is the least that reading it typed costs."""

    what: str
    frames: Callable[[int], list[bytes]]
    parse: Callable[[bytes], object]
    decode: Callable[[bytes], object]
    goal: Goal
    rivals: tuple[Rival, ...] = ()


def _closed_klines(count: int) -> list[bytes]:
    return frames.binance_klines(count, closed=True)


def _reads(name: str, feed: Callable[[int], list[bytes]]) -> Check:
    """That a peer reads the same price out of the same frame."""

    def check(found: dict[str, Any]) -> str:
        (event,) = binance.parse(feed(1)[0])
        price = event.close if isinstance(event, Candle) else event.price if isinstance(event, Ticker) else None
        return "" if found.get(name) == price else f"it read {found.get(name)} out of a frame that says {price}"

    return check


_KLINE, _TICKER = _reads("close", _closed_klines), _reads("price", frames.binance_tickers)
_KINDS = (
    Kind(
        "Binance closed kline → event",
        _closed_klines,
        binance.parse,
        binance._decode,
        at_most_times(1.5),
        (
            Rival("cryptofeed", "cryptofeed_binance", "cryptofeed", "kline", times_better(4), _KLINE),
            Rival("ccxt.pro", "ccxt_binance", "ccxt", "kline", times_better(10), _KLINE),
            Rival("nautilus", "nautilus_binance", "nautilus", "kline", times_better(10), _KLINE),
        ),
    ),
    Kind(
        "Binance ticker → event",
        frames.binance_tickers,
        binance.parse,
        binance._decode,
        at_most_times(1.8),
        (
            Rival("ccxt.pro", "ccxt_binance", "ccxt", "ticker", times_better(25), _TICKER),
            Rival("nautilus", "nautilus_binance", "nautilus", "ticker", times_better(7), _TICKER),
        ),
    ),
    Kind("Coinbase candles → events", frames.coinbase_candles, coinbase.parse, coinbase._decode, at_most_times(1.8)),
    Kind("Coinbase ticker → events", frames.coinbase_tickers, coinbase.parse, coinbase._decode, at_most_times(1.8)),
)


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    return [row for kind in _KINDS for row in await _rows(kind, effort, peers)]


async def _rows(kind: Kind, effort: Effort, peers: Peers) -> list[Row]:
    feed = kind.frames(_FRAMES)
    field = await gather(kind.rivals, peers)
    found = await compare({"ours": over(kind.parse, feed), "decode": over(kind.decode, feed), **field.slices}, effort)
    return [
        compared(kind.what, "µs", found["ours"], "bare typed decode", found["decode"], goal=kind.goal),
        *field.rows(kind.what, "µs", found),
    ]
