"""Every Redis key and channel name. The only place where a colon is typed; imports nothing.

The contract is written out in docs/redis-contract.md. ``exchange_id`` is the slug of the exchange row, ``symbol`` the
exchange's own spelling, ``timeframe`` one of 5m 15m 1h 4h 1d. A symbol may itself hold a colon (``tDOGE:USD``), so
``parse_channel`` takes names apart from both ends.
"""


def candles(exchange_id: str, symbol: str, timeframe: str) -> str:
    """Sorted set by open time: JSON ``[open_time, open, high, low, close, volume, synthetic]`` (DATA-01)."""
    return f"candles:{exchange_id}:{symbol}:{timeframe}"


def indicator(exchange_id: str, symbol: str, timeframe: str, kind: str = "macdv") -> str:
    """String: the indicator of the last closed candle (DATA-02)."""
    return f"indicator:{exchange_id}:{symbol}:{timeframe}:{kind}"


def readings(exchange_id: str, symbol: str, timeframe: str) -> str:
    """Sorted set by open time, beside the candles: JSON ``[open_time, macdv, signal, histogram, stage]``."""
    return f"readings:{exchange_id}:{symbol}:{timeframe}"


def user_candles(user_id: int | str, exchange_id: str, symbol: str, timeframe: str) -> str:
    """As ``candles``, for a user's symbol outside Tier 1, with a TTL (DATA-03)."""
    return f"usercandles:{user_id}:{exchange_id}:{symbol}:{timeframe}"


def user_indicator(user_id: int | str, exchange_id: str, symbol: str, timeframe: str, kind: str = "macdv") -> str:
    """As ``indicator``, for a user's symbol outside Tier 1, with a TTL (DATA-03)."""
    return f"userindicator:{user_id}:{exchange_id}:{symbol}:{timeframe}:{kind}"


def user_readings(user_id: int | str, exchange_id: str, symbol: str, timeframe: str) -> str:
    """As ``readings``, for a user's symbol outside Tier 1, with a TTL."""
    return f"userreadings:{user_id}:{exchange_id}:{symbol}:{timeframe}"


def symbol_of(name: str) -> str:
    """The symbol in the name of a series: any of the six above. Raises ValueError for any other key."""
    match name.split(":"):
        case ["candles" | "readings", _, *symbol, _] if symbol:
            return ":".join(symbol)
        case ["indicator", _, *symbol, _, _] | ["usercandles" | "userreadings", _, _, *symbol, _] if symbol:
            return ":".join(symbol)
        case ["userindicator", _, _, *symbol, _, _] if symbol:
            return ":".join(symbol)
    raise ValueError(f"not the key of a series: {name!r}")


def ticker(exchange_id: str, symbol: str) -> str:
    """String with a TTL of 60 s: the last price."""
    return f"ticker:{exchange_id}:{symbol}"


def alert_stream(exchange_id: str) -> str:
    """Stream of alerts, ids ``{id}-0``, in order, for whoever comes back."""
    return f"stream:alerts:{exchange_id}"


def alert_epoch(exchange_id: str) -> str:
    """String beside the stream; changes when the stream is rebuilt from the database."""
    return f"epoch:alerts:{exchange_id}"


def alert_stream_epoch(exchange_id: str) -> str:
    """String: the epoch once more, on the node of a cluster that has the stream (its hash tag is the stream's name): lost with it."""
    return f"{{stream:alerts:{exchange_id}}}:epoch"


def alert_turn(exchange_id: str) -> str:
    """String: which of several shards publishes alerts of the exchange now."""
    return f"exchange:turn:{exchange_id}"


def exchange_status(exchange_id: str) -> str:
    """Hash with a TTL of 45 s (EXC-04). No key means that no process hosts the exchange."""
    return f"exchange:status:{exchange_id}"


def exchange_states(exchange_id: str) -> str:
    """Hash symbol -> JSON ``{state, reason, since}``, with the TTL of the status."""
    return f"exchange:states:{exchange_id}"


def exchange_lease(exchange_id: str) -> str:
    """String: who may run the connector of this exchange, or into how many shards it is divided."""
    return f"exchange:lease:{exchange_id}"


def shard_lease(exchange_id: str, shard: str) -> str:
    """String: who may run this shard of an exchange, ``2/4``."""
    return f"exchange:lease:{exchange_id}:{shard}"


def shard_status(exchange_id: str, shard: str) -> str:
    """Hash with a TTL of 45 s: as ``exchange_status``, of one shard."""
    return f"exchange:status:{exchange_id}:{shard}"


def exchange_witness(exchange_id: str, shard: str, number: int) -> str:
    """String: is there for as long as its node has not lost its memory. One for each node of a cluster."""
    return f"exchange:witness:{exchange_id}:{shard}:{number}"


def delivery_beat() -> str:
    """String with a TTL of 15 s: that a process delivers notifications. No key means that none does."""
    return "delivery:beat"


def delivery_figures() -> str:
    """Hash: what all delivery processes have counted, for /metrics."""
    return "delivery:figures"


def crossing_lease() -> str:
    """String: who compares the exchanges with one another."""
    return "crossing:lease"


def crossing_pairs() -> str:
    """Hash ``coin id|exchange id|exchange id`` -> JSON: whether the two listings are one coin, and who leads."""
    return "crossing:pairs"


def channel_moves(exchange_id: str, other_id: str) -> str:
    """A coin moves on ``exchange_id`` and ``other_id`` has not followed (DIFF-01)."""
    return f"channel:exchange:{exchange_id}:moves:{other_id}"


def channel_candle_close(exchange_id: str, symbol: str, timeframe: str) -> str:
    """A candle closed for good (DATA-05)."""
    return f"channel:exchange:{exchange_id}:candle:close:{symbol}:{timeframe}"


def channel_ticker(exchange_id: str, symbol: str) -> str:
    """The price moved."""
    return f"channel:exchange:{exchange_id}:ticker:{symbol}"


def channel_symbol_alerts(exchange_id: str, symbol: str) -> str:
    """Alerts of one symbol."""
    return f"channel:exchange:{exchange_id}:alerts:{symbol}"


def channel_alerts(exchange_id: str) -> str:
    """All alerts of an exchange (VIS-01)."""
    return f"channel:alerts:{exchange_id}"


def channel_lifecycle(exchange_id: str) -> str:
    """Connection lifecycle events (CTL-04)."""
    return f"channel:exchange:{exchange_id}:lifecycle"


def channel_user_alerts(user_id: int | str) -> str:
    """Alerts of a user's overflow symbols, and hints for that user."""
    return f"channel:user:{user_id}:alerts"


def channel_user_account(user_id: int | str) -> str:
    """What a user set, holds or added has changed. Says nothing else: whoever listens reads it."""
    return f"channel:user:{user_id}:account"


def pattern_exchange(exchange_id: str) -> str:
    """Pattern for everything an exchange publishes under its own name (VIS-02)."""
    return f"channel:exchange:{exchange_id}:*"


def group_control(exchange_id: str) -> str:
    """Channel-layer group of the processes that host an exchange. Group names hold no colon."""
    return f"control.{exchange_id}"


def parse_channel(name: str) -> tuple[str, ...]:
    """Take a channel name apart.

    Returns ``("candle", exchange_id, symbol, timeframe)``, ``("ticker", exchange_id, symbol)``,
    ``("alerts", exchange_id, symbol)`` (symbol is "" for the whole exchange), ``("lifecycle", exchange_id)``,
    ``("moves", exchange_id, other_id)``, ``("user", user_id)`` or ``("account", user_id)``. Raises ValueError for any other name.
    """
    match name.split(":"):
        case ["channel", "exchange", exchange_id, "candle", "close", *symbol, timeframe] if symbol:
            return ("candle", exchange_id, ":".join(symbol), timeframe)
        case ["channel", "exchange", exchange_id, "ticker", *symbol] if symbol:
            return ("ticker", exchange_id, ":".join(symbol))
        case ["channel", "exchange", exchange_id, "alerts", *symbol] if symbol:
            return ("alerts", exchange_id, ":".join(symbol))
        case ["channel", "alerts", exchange_id]:
            return ("alerts", exchange_id, "")
        case ["channel", "exchange", exchange_id, "lifecycle"]:
            return ("lifecycle", exchange_id)
        case ["channel", "exchange", exchange_id, "moves", other_id]:
            return ("moves", exchange_id, other_id)
        case ["channel", "user", user_id, "alerts"]:
            return ("user", user_id)
        case ["channel", "user", user_id, "account"]:
            return ("account", user_id)
        case _:
            raise ValueError(f"not a channel of this contract: {name!r}")
