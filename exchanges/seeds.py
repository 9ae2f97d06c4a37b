"""The first rows of the exchanges table, with figures as published 2026-02; they are editable in the admin.

``migrate`` adds those that are not there, also to a database that has been in use: a new exchange needs no migration. A row that is there
is left as it is; one that is not wanted is switched off, since a deleted one would come back.
"""

from decimal import Decimal
from typing import Any

ALL_TIMEFRAMES = ["5m", "15m", "1h", "4h", "1d"]
COINBASE_PAGE = "https://www.coinbase.com/advanced-trade/spot/{base}-{quote}"
BINANCE_PAGE = "https://www.binance.com/en/trade/{base}_{quote}?type=spot"
KRAKEN_PAGE = "https://pro.kraken.com/app/trade/{base_lower}-{quote_lower}"
SANDBOX: dict[str, Any] = {
    "limits": {"rest_weight_per_minute": 60_000, "rest_burst": 1_000},
    "timeframes": ALL_TIMEFRAMES,
    "top_n": 20,
    "is_sandbox": True,
}

ROWS: dict[str, dict[str, Any]] = {
    "coinbase": {
        "name": "Coinbase Advanced Trade",
        "adapter": "coinbase",
        "websocket_url": "wss://advanced-trade-ws.coinbase.com",
        "rest_url": "https://api.coinbase.com",
        "limits": {"messages_per_second": 8},
        "maker_fee": Decimal("0.006"),
        "taker_fee": Decimal("0.012"),
        "timeframes": ALL_TIMEFRAMES,
        "trade_url_template": COINBASE_PAGE,
        "top_n": 50,
    },
    "binance": {
        "name": "Binance",
        "adapter": "binance",
        "websocket_url": "wss://stream.binance.com:9443",
        "rest_url": "https://api.binance.com",
        "limits": {
            "rest_weight_per_minute": 6000,
            "connects_per_5min": 300,
            "messages_per_second": 5,
            "streams_per_connection": 1024,
        },
        "maker_fee": Decimal("0.001"),
        "taker_fee": Decimal("0.001"),
        "geo_restrictions": {"deny": ["US"], "note": "HTTP 451 from the US: use binance-us"},
        "timeframes": ALL_TIMEFRAMES,
        "trade_url_template": BINANCE_PAGE,
        "top_n": 50,
    },
    "binance-us": {
        "name": "Binance.US",
        "adapter": "binance",
        "websocket_url": "wss://stream.binance.us:9443",
        "rest_url": "https://api.binance.us",
        "limits": {"rest_weight_per_minute": 1200},
        "maker_fee": Decimal("0.001"),
        "taker_fee": Decimal("0.001"),
        "geo_restrictions": {"allow": ["US"]},
        "timeframes": ALL_TIMEFRAMES,
        "trade_url_template": "https://www.binance.us/spot-trade/{base_lower}_{quote_lower}",
        "top_n": 50,
    },
    "kraken": {
        "name": "Kraken",
        "adapter": "kraken",
        "websocket_url": "wss://ws.kraken.com/v2",
        "rest_url": "https://api.kraken.com",
        "limits": {"rest_weight_per_minute": 60, "rest_burst": 1},
        "maker_fee": Decimal("0.0025"),
        "taker_fee": Decimal("0.004"),
        "timeframes": ALL_TIMEFRAMES,
        "trade_url_template": KRAKEN_PAGE,
        "top_n": 50,
    },
    "coinbase-sandbox": {
        "name": "Coinbase Sandbox",
        "adapter": "coinbase",
        "websocket_url": "ws://127.0.0.1:8791/coinbase-sandbox",
        "rest_url": "http://127.0.0.1:8792/coinbase-sandbox",
        "maker_fee": Decimal("0.006"),
        "taker_fee": Decimal("0.012"),
        "trade_url_template": COINBASE_PAGE,
        **SANDBOX,
    },
    "binance-sandbox": {
        "name": "Binance Sandbox",
        "adapter": "binance",
        "websocket_url": "ws://127.0.0.1:8791/binance-sandbox",
        "rest_url": "http://127.0.0.1:8792/binance-sandbox",
        "maker_fee": Decimal("0.001"),
        "taker_fee": Decimal("0.001"),
        "trade_url_template": BINANCE_PAGE,
        **SANDBOX,
    },
    "kraken-sandbox": {
        "name": "Kraken Sandbox",
        "adapter": "kraken",
        "websocket_url": "ws://127.0.0.1:8791/kraken-sandbox",
        "rest_url": "http://127.0.0.1:8792/kraken-sandbox",
        "maker_fee": Decimal("0.0025"),
        "taker_fee": Decimal("0.004"),
        "trade_url_template": KRAKEN_PAGE,
        **SANDBOX,
    },
}


def exchanges_seed(sender: Any = None, using: str = "default", **options: Any) -> None:
    """Add the rows that are not there."""
    from exchanges.models import Exchange

    for slug, row in ROWS.items():
        Exchange.objects.using(using).get_or_create(id=slug, defaults=row)
