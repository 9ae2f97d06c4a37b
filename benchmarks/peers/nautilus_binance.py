"""nautilus_trader: the message handlers of its Binance data client, with a sink in the place of its engine."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
from nautilus_trader.adapters.binance.common.enums import BinanceEnumParser
from nautilus_trader.adapters.binance.common.schemas.market import BinanceCandlestickMsg, BinanceDataMsgWrapper, BinanceTickerMsg
from nautilus_trader.adapters.binance.data import BinanceCommonDataClient
from nautilus_trader.adapters.binance.spot.enums import BinanceSpotEnumParser
from nautilus_trader.common.component import LiveClock
from nautilus_trader.model.identifiers import InstrumentId

from benchmarks.frames import binance_klines, binance_tickers, names

PACKAGES = ("nautilus-trader", "msgspec")


class Client:
    """What the handlers of the data client use of it."""

    def __init__(self, sink: Any) -> None:
        ids = {name: InstrumentId.from_str(f"{name}.BINANCE") for name in names(50)}
        self._decoder_data_msg_wrapper = msgspec.json.Decoder(BinanceDataMsgWrapper)
        self._decoder_candlestick_msg = msgspec.json.Decoder(BinanceCandlestickMsg)
        self._decoder_ticker_msg = msgspec.json.Decoder(BinanceTickerMsg)
        self._get_cached_instrument_id = ids.__getitem__
        self._enum_parser: BinanceEnumParser = BinanceSpotEnumParser()
        self._clock = LiveClock()
        self._handle_data = sink
        self._log = SimpleNamespace(exception=_fail, error=_fail)
        client = BinanceCommonDataClient
        self._ws_handlers = {
            "@bookTicker": None,
            "@ticker": lambda raw: client._handle_ticker(self, raw),
            "@kline": lambda raw: client._handle_kline(self, raw),
        }


def _fail(message: str, error: Exception | None = None) -> None:
    raise error or RuntimeError(message)


def slices() -> dict[str, Any]:
    return {
        "kline": lambda times: _frames(binance_klines(1000, closed=True), times),
        "ticker": lambda times: _frames(binance_tickers(1000), times),
    }


def _frames(frames: Sequence[bytes], times: int) -> float:
    handle, client = BinanceCommonDataClient._handle_ws_message, Client(lambda data: None)
    began = time.thread_time()
    for number in range(times):
        handle(client, frames[number % 1000])
    return time.thread_time() - began


def check() -> dict[str, Any]:
    found: list[Any] = []
    client = Client(found.append)
    for frames in (binance_klines(1, closed=True), binance_tickers(1)):
        BinanceCommonDataClient._handle_ws_message(client, frames[0])
    return {"close": found[0].close.as_double(), "price": float(found[1].data.last_price)}
