"""The REST side of the simulated Coinbase, and what both sides spell alike. ``coinbase`` says which facts it reproduces. Pure."""

from collections.abc import Mapping
from typing import Any

from exchanges.sandbox.coinbase_accounts import accounts_page
from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.listings import Bar, Listing
from exchanges.sandbox.market import Market, Statistics
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.protocol import Answer, Bucket, Exchange, Sent, decimal, encode, parameter, rfc3339, shortest

GRANULARITIES = {
    "FIVE_MINUTE": 300_000,
    "FIFTEEN_MINUTE": 900_000,
    "THIRTY_MINUTE": 1_800_000,
    "ONE_HOUR": 3_600_000,
    "TWO_HOUR": 7_200_000,
    "SIX_HOUR": 21_600_000,
    "ONE_DAY": 86_400_000,
}
MOST_CANDLES = 350
REQUESTS_PER_SECOND = 10
_PREFIX = "/api/v3/brokerage"


class _Refused(Exception):
    """A request that is answered with an error body."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.answer = _error_answer(status, error, message)


def _error_answer(status: int, error: str, message: str) -> Answer:
    code = {"INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "RESOURCE_EXHAUSTED": 8, "INTERNAL": 13}.get(error, 14)
    return Answer(status, encode({"error": error, "code": code, "message": message, "error_details": message}))


class Desk:
    """The REST endpoints below ``/api/v3/brokerage``: the public ones, and the accounts of a key. All share the limit of an address."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._rate = REQUESTS_PER_SECOND if exchange.venue.rest_limit is None else exchange.venue.rest_limit
        self._buckets: dict[str, Bucket] = {}
        self._aliases: dict[str, list[str]] = {}
        for row in exchange.listings.values():
            if row.alias_of:
                self._aliases.setdefault(row.alias_of, []).append(row.symbol)

    def answer(
        self,
        path: str,
        query: Mapping[str, list[str]],
        now: int,
        real: float,
        client: str,
        sent: Sent = Sent(),  # noqa: B008  (immutable)
    ) -> Answer:
        if not self._rate:
            return self._routed(path, query, now, sent)
        # A fifth more than the rate at once: a client that keeps to the limit is not punished for the jitter of its network.
        bucket = self._buckets.setdefault(client, Bucket(self._rate, self._rate * 1.2))
        left = bucket.take(real)
        limits = (
            ("x-ratelimit-limit", str(self._rate)),
            ("x-ratelimit-remaining", str(max(0, min(left, self._rate)))),
            ("x-ratelimit-reset", "1"),
        )
        answer = self._routed(path, query, now, sent) if left >= 0 else self.failure(429, 0, now)
        return answer._replace(headers=answer.headers + limits)

    def failure(self, status: int, retry_after: int, now: int) -> Answer:
        error, message = {
            429: ("RESOURCE_EXHAUSTED", "Too Many Requests"),
            403: ("PERMISSION_DENIED", "Forbidden"),
            500: ("INTERNAL", "Internal error"),
        }.get(status, ("UNAVAILABLE", "Service unavailable"))
        answer = _error_answer(status, error, message)
        return answer._replace(headers=(("retry-after", str(retry_after)),)) if retry_after else answer

    def _routed(self, path: str, query: Mapping[str, list[str]], now: int, sent: Sent) -> Answer:
        try:
            match path.removeprefix(_PREFIX).strip("/").split("/"):
                case _ if not path.startswith(_PREFIX):
                    raise _Refused(404, "NOT_FOUND", "Not found")
                case ["time"]:
                    return Answer(200, encode(self._time(now)))
                case ["market", "products"]:
                    return Answer(200, encode(self._products(query, now)))
                case ["market", "products", symbol]:
                    return Answer(200, encode(self._product(self._listing(symbol), now)))
                case ["market", "products", symbol, "candles"]:
                    return Answer(200, encode({"candles": self._candles(symbol, query, now)}))
                case ["market", "products", symbol, "ticker"]:
                    return Answer(200, encode(self._ticker(symbol, now)))
                case ["accounts"]:
                    return accounts_page(self._exchange, path, query, now, sent)
            raise _Refused(404, "NOT_FOUND", "Not found")
        except _Refused as refused:
            return refused.answer

    def _product(self, row: Listing, now: int) -> dict[str, Any]:
        return _product(self._exchange, row, self._aliases.get(row.symbol, []), now)

    def _listing(self, symbol: str) -> Listing:
        try:
            return self._exchange.listed()[symbol]
        except KeyError:
            raise _Refused(404, "NOT_FOUND", f"Product {symbol} not supported") from None

    def _time(self, now: int) -> dict[str, str]:
        stamp = self._exchange.stamp(now)
        return {"iso": rfc3339(stamp), "epochSeconds": str(stamp // 1000), "epochMillis": str(stamp)}

    def _products(self, query: Mapping[str, list[str]], now: int) -> dict[str, Any]:
        wanted = query.get("product_ids", [])
        rows = [row for row in self._exchange.listed().values() if not wanted or row.symbol in wanted]
        if parameter(query, "product_type") not in ("", "SPOT"):
            rows = []
        offset, limit = _integer(query, "offset", 0), _integer(query, "limit", 0)
        page = rows[offset : offset + limit] if limit else rows[offset:]
        pagination = {"prev_cursor": "", "next_cursor": "", "has_next": offset + len(page) < len(rows), "has_prev": offset > 0}
        products = [self._product(row, now) for row in page]
        return {"products": products, "num_products": len(products), "pagination": pagination}

    def _candles(self, symbol: str, query: Mapping[str, list[str]], now: int) -> list[dict[str, str]]:
        self._listing(symbol)
        book = self._exchange.book(symbol)
        step = GRANULARITIES.get(parameter(query, "granularity"))
        if book is None or step is None:
            raise _Refused(400, "INVALID_ARGUMENT", "granularity argument is invalid")
        limit = _integer(query, "limit", MOST_CANDLES)
        end = _integer(query, "end", now // 1000) * 1000
        start = _integer(query, "start", (end - limit * step) // 1000 + 1) * 1000
        if start > end:
            raise _Refused(400, "INVALID_ARGUMENT", "start and end argument is invalid - start must be before end")
        if limit > MOST_CANDLES or end // step - -(-start // step) + 1 > MOST_CANDLES:
            message = f"start and end argument is invalid - number of candles requested should be less than {MOST_CANDLES}"
            raise _Refused(400, "INVALID_ARGUMENT", message)
        rows = [row for row in self._exchange.closed_bars(book, step, start, end + 1, now) if row.trades]
        return [_rest_row(row, book) for row in rows[: -limit - 1 : -1]]

    def _ticker(self, symbol: str, now: int) -> dict[str, Any]:
        self._listing(symbol)
        book = self._exchange.book(symbol)
        row = ticker_row(self._exchange.market, book, now, best=True) if book is not None else {}
        return {"trades": [], "best_bid": row["best_bid"], "best_ask": row["best_ask"]}


def _integer(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = parameter(query, name)
    if not text:
        return default
    if not text.isdecimal() or len(text) > 15:
        raise _Refused(400, "INVALID_ARGUMENT", f"{name} argument is invalid")
    return int(text)


def _rest_row(row: Bar, book: Listing) -> dict[str, str]:
    return {
        "start": str(row.open_time // 1000),
        "low": shortest(row.low, book.decimals),
        "high": shortest(row.high, book.decimals),
        "open": shortest(row.open, book.decimals),
        "close": shortest(row.close, book.decimals),
        "volume": shortest(row.volume, book.size_decimals),
    }


def _product(exchange: Exchange, row: Listing, aliases: list[str], now: int) -> dict[str, Any]:
    """All fields of a product, most of them empty in the public listing. A delisted one has no 24 h numbers."""
    book = exchange.book(row.symbol) or row
    day = exchange.market.statistics(book, now)
    alive = book.trading(now)
    tick, size = shortest(1, book.decimals), shortest(1, book.size_decimals)
    return {
        "product_id": row.symbol,
        "price": shortest(day.last, book.decimals),
        "price_percentage_change_24h": percent(day.last, day.open) if alive else "",
        "volume_24h": shortest(day.volume, book.size_decimals) if alive else "",
        "volume_percentage_change_24h": percent(hashed(row.coin.code, now // DAY) % 300, 150) if alive else "",
        "base_increment": size,
        "quote_increment": tick,
        "quote_min_size": "1",
        "quote_max_size": "10000000",
        "base_min_size": size,
        "base_max_size": shortest(book.lot * 10_000_000, book.size_decimals),
        "base_name": row.coin.name,
        "quote_name": "US Dollar" if row.quote == "USD" else row.quote,
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": row.status,
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": not alive,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": row.quote,
        "base_currency_id": row.coin.code,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": row.alias_of,
        "alias_to": aliases,
        "base_display_symbol": row.coin.code,
        "quote_display_symbol": "USD" if row.alias_of else row.quote,
        "view_only": False,
        "price_increment": tick,
        "display_name": row.symbol,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": _quote_volume(day, book) if alive else "",
        "new_at": rfc3339(row.listed),
        "market_cap": "",
        "base_cbrn": "",
        "quote_cbrn": "",
        "product_cbrn": "",
        "icon_color": "",
        "icon_url": "",
        "display_name_overwrite": "",
        "is_alpha_testing": False,
        "about_description": "",
        "best_bid_price": "",
        "best_ask_price": "",
        "high_24h": shortest(day.high, book.decimals) if alive else "",
        "low_24h": shortest(day.low, book.decimals) if alive else "",
    }


def _quote_volume(day: Statistics, book: Listing) -> str:
    """The turnover (see ``Bar``) in whole cents."""
    return decimal(day.turnover // 4 // 10 ** (book.decimals + book.size_decimals - 2), 2)


def ticker_row(market: Market, book: Listing, now: int, *, best: bool) -> dict[str, str]:
    day = market.statistics(book, now)
    low, high = market.year_range(book, now)
    row = {
        "type": "ticker",
        "product_id": book.symbol,
        "price": shortest(day.last, book.decimals),
        "volume_24_h": shortest(day.volume, book.size_decimals),
        "low_24_h": shortest(day.low, book.decimals),
        "high_24_h": shortest(day.high, book.decimals),
        "low_52_w": shortest(low, book.decimals),
        "high_52_w": shortest(high, book.decimals),
        "price_percent_chg_24_h": percent(day.last, day.open),
    }
    if best:
        draw = hashed("best", book.symbol, day.volume)
        bid = day.last - draw % 2
        row |= {
            "best_bid": shortest(bid, book.decimals),
            "best_ask": shortest(bid + 1, book.decimals),
            "best_bid_quantity": shortest(book.lot * (1 + draw % 89), book.size_decimals),
            "best_ask_quantity": shortest(book.lot * (1 + draw % 97), book.size_decimals),
        }
    return row


def percent(last: int, first: int) -> str:
    return f"{(last - first) / first * 100:.14f}".rstrip("0").rstrip(".") if first else ""
