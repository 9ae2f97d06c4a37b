"""The REST side of the simulated Kraken, and what both sides spell alike. ``kraken`` says which facts it reproduces. Pure.

- A request that is refused is answered 200 all the same, with ``{"error": [...]}``.
- A pair's key is XXBTZUSD for the oldest coins and SOLUSD for others, its ``altname`` XBTUSD, its ``wsname`` XBT/USD. OHLC takes the first
  two and the feed's own BTC/USD, and gives the rows under whatever it was asked for; it refuses ``wsname``.
- OHLC gives the 720 newest rows at most, whatever ``since`` says, idle intervals filled in, the last row being the forming one.
"""

from collections.abc import Mapping
from time import gmtime, strftime
from typing import Any

from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.kraken_accounts import KeyRefused, asset_id, balances
from exchanges.sandbox.listings import Bar, Listing
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.protocol import Answer, Bucket, Exchange, Sent, decimal, encode, parameter, rfc3339

INTERVALS = (5, 15, 30, 60, 240, 1440)
"""Minutes. The exchange also knows 1, 10080 and 21600; the sandbox does not."""
MOST_ROWS = 720
REQUESTS_PER_SECOND = 1
_BURST = 15
_SPELLED = {"BTC": "XBT", "DOGE": "XDG"}


class _Refused(Exception):
    """A request that is answered with an error."""


def average(turnover: int, volume: int, book: Listing) -> str:
    """The average price of a turnover (see ``Bar``), with one digit more than prices have."""
    if not volume:
        return "0.0"
    return decimal(turnover * 10 // (4 * volume), book.decimals + 1)


def _old(code: str) -> str:
    return _SPELLED.get(code, code)


def pair_key(row: Listing) -> str:
    """The key of a pair: the ids of its assets, where both are of the oldest (and it is not DOGE); else its altname."""
    base, quote = asset_id(row.coin.code), asset_id(row.quote)
    oldest = base != row.coin.code and quote != row.quote and row.coin.code != "DOGE"
    return base + quote if oldest else altname(row)


def altname(row: Listing) -> str:
    return f"{_old(row.coin.code)}{_old(row.quote)}"


class Desk:
    """The REST endpoints below ``/0``: the public ones, and the balances of a key."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._rate = REQUESTS_PER_SECOND if exchange.venue.rest_limit is None else exchange.venue.rest_limit
        self._buckets: dict[str, Bucket] = {}
        self._names = {name: row.symbol for row in exchange.listings.values() for name in (pair_key(row), altname(row), row.symbol)}

    def answer(
        self,
        path: str,
        query: Mapping[str, list[str]],
        now: int,
        real: float,
        client: str,
        sent: Sent = Sent(),  # noqa: B008  (immutable)
    ) -> Answer:
        if self._rate and self._buckets.setdefault(client, Bucket(self._rate, _BURST)).take(real) < 0:
            return _error("EAPI:Rate limit exceeded")
        try:
            return Answer(200, encode({"error": [], "result": self._result(path, query, now, sent)}))
        except (_Refused, KeyRefused) as refused:
            return _error(str(refused))

    def failure(self, status: int, retry_after: int, now: int) -> Answer:
        error = "EAPI:Rate limit exceeded" if status == 429 else "EService:Unavailable" if status >= 500 else "EGeneral:Forbidden"
        headers = (("retry-after", str(retry_after)),) if retry_after else ()
        return Answer(status, encode({"error": [error]}), headers)

    def _result(self, path: str, query: Mapping[str, list[str]], now: int, sent: Sent) -> Any:
        stamp = self._exchange.stamp(now)
        if path == "/0/private/Balance":
            return balances(self._exchange, path, sent)
        if sent.method != "GET":
            raise _Refused("EGeneral:Unknown method")
        match path:
            case "/0/public/Time":
                seconds = stamp // 1000
                return {"unixtime": seconds, "rfc1123": strftime("%a, %d %b %y %H:%M:%S +0000", gmtime(seconds))}
            case "/0/public/SystemStatus":
                return {"status": "online", "timestamp": f"{rfc3339(stamp)[:19]}Z"}
            case "/0/public/AssetPairs":
                return {pair_key(row): _pair(row) for row in self._chosen(query)}
            case "/0/public/Ticker":
                return {pair_key(row): self._ticker(row, now) for row in self._chosen(query)}
            case "/0/public/OHLC":
                return self._ohlc(query, now)
        raise _Refused("EGeneral:Unknown method")

    def _chosen(self, query: Mapping[str, list[str]]) -> list[Listing]:
        names = parameter(query, "pair")
        return [self._listing(name) for name in names.split(",")] if names else list(self._exchange.listed().values())

    def _listing(self, name: str) -> Listing:
        try:
            return self._exchange.listed()[self._names[name]]
        except KeyError:
            raise _Refused("EQuery:Unknown asset pair") from None

    def _ohlc(self, query: Mapping[str, list[str]], now: int) -> dict[str, Any]:
        name = parameter(query, "pair")
        row = self._listing(name)
        minutes, since = _integer(query, "interval", 1), _integer(query, "since", 0) * 1000
        if minutes not in INTERVALS:
            raise _Refused("EGeneral:Invalid arguments")
        step = minutes * 60_000
        newest = now - now % step
        bars = self._exchange.closed_bars(row, step, max(since + 1, newest - MOST_ROWS * step), newest, now)
        last = bars[-1].open_time if bars else since
        if row.trading(now) and since < newest and (not bars or bars[-1].open_time == newest - step):
            bars.append(self._exchange.market.forming(row, step, now) or _flat(self._exchange.market.last_price(row, now), newest))
        return {name: [_ohlc_row(bar, row) for bar in bars[-MOST_ROWS:]], "last": last // 1000}

    def _ticker(self, row: Listing, now: int) -> dict[str, Any]:
        day, today = self._exchange.market.statistics(row, now), self._exchange.market.forming(row, DAY, now)
        today = today or _flat(day.last, now - now % DAY)
        draw = hashed("best", row.symbol, day.volume)
        bid = day.last - draw % 2

        def price(value: int) -> str:
            return decimal(value * 10**5 // 10**row.decimals, 5) if row.decimals <= 5 else decimal(value, row.decimals)

        def size(value: int) -> str:
            return decimal(value * 10**8 // 10**row.size_decimals, 8)

        return {
            "a": [price(bid + 1), str(1 + draw % 97), f"{1 + draw % 97}.000"],
            "b": [price(bid), str(1 + draw % 89), f"{1 + draw % 89}.000"],
            "c": [price(day.last), size(row.lot)],
            "v": [size(today.volume), size(day.volume)],
            "p": [average(today.turnover, today.volume, row), average(day.turnover, day.volume, row)],
            "t": [today.trades, day.trades],
            "l": [price(today.low), price(day.low)],
            "h": [price(today.high), price(day.high)],
            "o": price(today.open),
        }


def _flat(price: int, open_time: int) -> Bar:
    """An interval without a trade (yet)."""
    return Bar(open_time, price, price, price, price, 0, 0, 0)


def _ohlc_row(bar: Bar, row: Listing) -> list[Any]:
    """``[time, open, high, low, close, vwap, volume, count]``."""
    prices = [decimal(price, row.decimals) for price in (bar.open, bar.high, bar.low, bar.close)]
    return [
        bar.open_time // 1000,
        *prices,
        average(bar.turnover, bar.volume, row),
        decimal(bar.volume * 10**8 // 10**row.size_decimals, 8),
        bar.trades,
    ]


def _pair(row: Listing) -> dict[str, Any]:
    base, quote = row.coin.code, row.quote
    return {
        "altname": altname(row),
        "wsname": f"{_old(base)}/{_old(quote)}",
        "aclass_base": "currency",
        "base": asset_id(base),
        "aclass_quote": "currency",
        "quote": asset_id(quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": row.decimals,
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [],
        "fees_maker": [],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": decimal(row.lot, row.size_decimals),
        "costmin": "0.5",
        "tick_size": decimal(1, row.decimals),
        "status": row.status,
    }


def _integer(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = parameter(query, name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise _Refused("EGeneral:Invalid arguments")
    return int(text)


def _error(text: str) -> Answer:
    return Answer(200, encode({"error": [text]}))
