"""The REST side of the simulated Binance, and what both sides spell alike. ``binance`` says which facts it reproduces. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from exchanges.sandbox.binance_accounts import KeyRefused, account_body
from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.listings import Bar, Listing
from exchanges.sandbox.market import Statistics
from exchanges.sandbox.protocol import Answer, Exchange, Sent, decimal, encode, parameter

PLACES = 8
"""Binance prints every number with eight decimals."""
INTERVALS = {
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
WEIGHT_PER_MINUTE = 6_000
PATIENCE = 10
"""Requests beyond the limit that are answered 429 before the address is banned."""
BAN_SECONDS = 120


def places(value: int, decimals: int) -> str:
    """``value`` units of 10^-decimals as Binance prints it."""
    return decimal(value * 10 ** (PLACES - decimals), PLACES)


def quote_volume(turnover: int, listing: Listing) -> str:
    """A turnover (see ``Bar``) in the quote currency."""
    return decimal(turnover * 10**PLACES // (4 * 10 ** (listing.decimals + listing.size_decimals)), PLACES)


def taker_share(listing: Listing, row: Bar) -> int:
    """How many thousandths of the bar's volume were bought by takers."""
    return 420 + hashed("taker", listing.symbol, row.open_time) % 160


def trade_id(listing: Listing, moment: int) -> int:
    """The number of the first trade in the interval of that moment: rising with time, as Binance's are."""
    return (moment - listing.listed) // 300_000 * 24 + 1_000_000


def kline_row(row: Bar, listing: Listing, step: int) -> list[Any]:
    """``[t, o, h, l, c, v, T, q, n, V, Q, "0"]``."""
    taken = taker_share(listing, row)
    return [
        row.open_time,
        places(row.open, listing.decimals),
        places(row.high, listing.decimals),
        places(row.low, listing.decimals),
        places(row.close, listing.decimals),
        places(row.volume, listing.size_decimals),
        row.open_time + step - 1,
        quote_volume(row.turnover, listing),
        row.trades,
        places(row.volume * taken // 1000, listing.size_decimals),
        quote_volume(row.turnover * taken // 1000, listing),
        "0",
    ]


class Refused(Exception):
    """A request that is answered with an error body."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = _error(status, code, message)


def _error(status: int, code: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, encode({"code": code, "msg": message}), headers)


def restricted(status: int) -> bytes:
    """The body of a refusal by country (451), or of another refusal."""
    if status == 451:
        message = "Service unavailable from a restricted location according to 'b. Eligibility' in https://www.binance.com/en/terms."
        return encode({"code": 0, "msg": message})
    return encode({"code": -1000, "msg": "An unknown error occurred while processing the request."})


class _Weights:
    """What an address has used in this minute, and whether it is banned."""

    def __init__(self) -> None:
        self.minute, self.used, self.beyond, self.banned_until = -1, 0, 0, 0.0


class Desk:
    """The REST endpoints below ``/api/v3``: the public ones, and the account of a key."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._limit = WEIGHT_PER_MINUTE if exchange.venue.rest_limit is None else exchange.venue.rest_limit
        self._weights: dict[str, _Weights] = {}

    def answer(
        self,
        path: str,
        query: Mapping[str, list[str]],
        now: int,
        real: float,
        client: str,
        sent: Sent = Sent(),  # noqa: B008  (immutable)
    ) -> Answer:
        weights = self._weights.setdefault(client, _Weights())
        if real < weights.banned_until:
            return self._banned(weights.banned_until - real, now)
        if weights.minute != int(real // 60):
            weights.minute, weights.used, weights.beyond = int(real // 60), 0, 0
        weights.used += _weight(path, query)
        used = ("x-mbx-used-weight-1m", str(weights.used))
        excess = self._limit and weights.used > self._limit
        answer = self._excess(weights, now, real) if excess else self._routed(path, query, now, sent)
        return answer._replace(headers=(*answer.headers, used))

    def failure(self, status: int, retry_after: int, now: int) -> Answer:
        if status == 418:
            return self._banned(retry_after or BAN_SECONDS, now)
        headers = (("retry-after", str(retry_after)),) if retry_after else ()
        if status == 429:
            return _error(429, -1003, "Too many requests; current limit of IP is exceeded.", headers)
        return Answer(status, restricted(status), headers)

    def _excess(self, weights: _Weights, now: int, real: float) -> Answer:
        weights.beyond += 1
        if weights.beyond > PATIENCE:
            weights.banned_until = real + BAN_SECONDS
            return self._banned(BAN_SECONDS, now)
        message = f"Too much request weight used; current limit is {self._limit} request weight per 1 MINUTE. Please use WebSocket Streams."
        return _error(429, -1003, message, (("retry-after", str(int(60 - real % 60) + 1)),))

    def _banned(self, seconds: float, now: int) -> Answer:
        """The moment is in market time, like every time this exchange tells."""
        until = self._exchange.stamp(now) + int(seconds * 1000 * self._exchange.clock.speed)
        message = f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live updates to avoid bans."
        return _error(418, -1003, message, (("retry-after", str(int(seconds) + 1)),))

    def _routed(self, path: str, query: Mapping[str, list[str]], now: int, sent: Sent) -> Answer:
        try:
            match path:
                case "/api/v3/ping":
                    body: Any = {}
                case "/api/v3/time":
                    body = {"serverTime": self._exchange.stamp(now)}
                case "/api/v3/exchangeInfo":
                    body = self._exchange_info(query, now)
                case "/api/v3/ticker/24hr":
                    body = self._tickers(query, now)
                case "/api/v3/klines":
                    body = self._klines(query, now)
                case "/api/v3/account":
                    body = account_body(self._exchange, query, now, sent)
                case _:
                    raise Refused(404, -1000, "Not found")
        except Refused as refused:
            return refused.answer
        except KeyRefused as refused:
            return _error(refused.status, refused.code, refused.message)
        return Answer(200, encode(body))

    def _listing(self, symbol: str) -> Listing:
        if not symbol:
            raise Refused(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        try:
            return self._exchange.listed()[symbol]
        except KeyError:
            raise Refused(400, -1121, "Invalid symbol.") from None

    def _chosen(self, query: Mapping[str, list[str]]) -> tuple[list[Listing], bool]:
        """The listings a request names, and whether it named a single one."""
        if symbol := parameter(query, "symbol"):
            return [self._listing(symbol)], True
        names = _symbols(query)
        return ([self._listing(name) for name in names] if names else list(self._exchange.listed().values())), False

    def _exchange_info(self, query: Mapping[str, list[str]], now: int) -> dict[str, Any]:
        rows, _ = self._chosen(query)
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._limit or WEIGHT_PER_MINUTE},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
        ]
        return {
            "timezone": "UTC",
            "serverTime": self._exchange.stamp(now),
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": [_symbol(row) for row in rows],
        }

    def _tickers(self, query: Mapping[str, list[str]], now: int) -> Any:
        rows, single = self._chosen(query)
        tickers = [_ticker(self._exchange.market.statistics(row, now), row, self._exchange.stamp(now)) for row in rows]
        return tickers[0] if single else tickers

    def _klines(self, query: Mapping[str, list[str]], now: int) -> list[list[Any]]:
        row = self._listing(parameter(query, "symbol"))
        step = INTERVALS.get(parameter(query, "interval"))
        if step is None:
            raise Refused(400, -1120, "Invalid interval.")
        limit = min(1000, _integer(query, "limit", 500) or 500)
        end = min(_integer(query, "endTime", now), now if row.ends is None else row.ends - 1)
        start = _integer(query, "startTime", -1)
        if start < 0:
            start = (end // step - limit + 1) * step
        end = min(end, max(start, row.listed) + -max(start, row.listed) % step + limit * step - 1)
        bars = self._exchange.closed_bars(row, step, start, end + 1, now)
        forming = now - now % step
        if start <= forming <= end and row.trading(now) and (not bars or bars[-1].open_time == forming - step):
            bars.append(self._exchange.market.forming(row, step, now) or flat(self._exchange.market.last_price(row, now), forming))
        return [kline_row(bar, row, step) for bar in bars[:limit]]


def flat(price: int, open_time: int) -> Bar:
    """An interval without a trade (yet)."""
    return Bar(open_time, price, price, price, price, 0, 0, 0)


def _weight(path: str, query: Mapping[str, list[str]]) -> int:
    match path:
        case "/api/v3/exchangeInfo" | "/api/v3/account":
            return 20
        case "/api/v3/klines":
            return 2
        case "/api/v3/ticker/24hr":
            if parameter(query, "symbol"):
                return 2
            try:
                count = len(_symbols(query))
            except Refused:
                return 1
            return 80 if count == 0 or count > 100 else 40 if count > 20 else 2
    return 1


def _symbols(query: Mapping[str, list[str]]) -> list[str]:
    text = parameter(query, "symbols")
    if not text:
        return []
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise Refused(
            400, -1100, "Illegal characters found in parameter 'symbols'; legal range is '^\\[(\"[A-Z0-9-_.]{1,20}\")(,...)*\\]$'."
        )
    return names


def _integer(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = parameter(query, name)
    if not text:
        return default
    if not text.isdecimal() or len(text) > 18:
        raise Refused(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _symbol(row: Listing) -> dict[str, Any]:
    tick, size = places(1, row.decimals), places(1, row.size_decimals)
    base, quote = row.coin.code, row.quote
    return {
        "symbol": row.symbol,
        "status": row.status,
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "922327.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": size, "maxQty": "9000000000.00000000", "stepSize": size},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "maxNotional": "9000000.00000000"},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


def percent(day: Statistics) -> str:
    return f"{(day.last - day.open) / day.open * 100:.3f}" if day.open else "0.000"


def average(day: Statistics, row: Listing) -> str:
    return (
        decimal(day.turnover * 10 ** (PLACES - row.decimals) // (4 * day.volume), PLACES) if day.volume else places(day.last, row.decimals)
    )


def best(day: Statistics, row: Listing) -> tuple[str, str, str, str]:
    """Best bid and ask, each with its quantity: a tick apart, the last price being one of them."""
    draw = hashed("best", row.symbol, day.volume)
    bid = day.last - draw % 2
    return (
        places(bid, row.decimals),
        places(row.lot * (1 + draw % 89), row.size_decimals),
        places(bid + 1, row.decimals),
        places(row.lot * (1 + draw % 97), row.size_decimals),
    )


def _ticker(day: Statistics, row: Listing, stamp: int) -> dict[str, Any]:
    bid, bid_quantity, ask, ask_quantity = best(day, row)
    first = trade_id(row, day.since)
    return {
        "symbol": row.symbol,
        "priceChange": places(day.last - day.open, row.decimals),
        "priceChangePercent": percent(day),
        "weightedAvgPrice": average(day, row),
        "prevClosePrice": places(day.open, row.decimals),
        "lastPrice": places(day.last, row.decimals),
        "lastQty": places(row.lot, row.size_decimals),
        "bidPrice": bid,
        "bidQty": bid_quantity,
        "askPrice": ask,
        "askQty": ask_quantity,
        "openPrice": places(day.open, row.decimals),
        "highPrice": places(day.high, row.decimals),
        "lowPrice": places(day.low, row.decimals),
        "volume": places(day.volume, row.size_decimals),
        "quoteVolume": quote_volume(day.turnover, row),
        "openTime": stamp - 86_400_000,
        "closeTime": stamp,
        "firstId": first if day.trades else -1,
        "lastId": first + day.trades - 1 if day.trades else -1,
        "count": day.trades,
    }
