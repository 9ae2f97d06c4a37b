"""Requests as an attacker, or a broken client, may send them."""

import json
import random
from collections.abc import Iterator
from typing import Any

FOREIGN = (
    "*", "channel:*", "channel:*:*", "channel:user:*", "channel:user:1:alerts", "channel:user:2:account", "channel:exchange:*",
    "channel:exchange:*:alerts:*", "channel:exchange:*:*", "channel:exchange:binance:*", "channel:alerts:*", "channel:alerts:binance",
    "channel:exchange:[a-z]*:ticker:*", "channel:exchange:coin?ase:ticker:*", "channel:exchange:coinbase:ticker:BTC*", "__keyspace@0__:*",
    "channel:exchange:coinbase\n:ticker:*", "channel:exchange:coinbase:ticker:\x00", "channel:exchange:coinbase:candle:close:BTC-USD:2h",
    "channel:exchange::alerts:x", "channel:exchange:coinbase:..:user:1:alerts", "exchange:lease:coinbase", "control.coinbase", "",
    "channel:exchange:COINBASE:ticker:*", "channel:exchange:coinbase:moves:kraken", "channel:exchange:coinbase:alerts:\u202eBTC",
    "x" * 5_000,
)  # fmt: skip
ALLOWED = (
    "channel:exchange:coinbase:ticker:*", "channel:exchange:coinbase:alerts:BTC-USD", "channel:exchange:coinbase:candle:close:BTC-USD:*",
    "channel:exchange:coinbase:candle:close:*", "channel:exchange:coinbase:lifecycle", "channel:alerts:coinbase",
    "channel:exchange:coinbase:alerts:tDOGE:USD", "channel:exchange:coinbase:ticker:BTC/USD", "channel:exchange:coinbase:moves:*",
)  # fmt: skip
PARTS = (
    "channel",
    "exchange",
    "user",
    "coinbase",
    "binance",
    "alerts",
    "ticker",
    "candle",
    "close",
    "lifecycle",
    "moves",
    "account",
    "*",
    "1",
    "5m",
    "",
)
ODD: tuple[Any, ...] = (None, True, -1, 2**70, 0.5, "7", [], {}, [[]], {"a": {"b": 1}}, "\u0000\u001b[31m", 10**300)


def requests(seed: int, count: int) -> Iterator[str]:
    """``count`` texts, of which some are in order; none is larger than a socket takes, each is a JSON object that says what it is."""
    dice = random.Random(seed)
    for number in range(count):
        text = json.dumps({"type": dice.choice(("subscribe", "subscribe", "subscribe", "unsubscribe")), **_body(dice, number)})
        yield text if len(text) <= 16_384 else json.dumps({"type": "subscribe", "id": number, "channels": ["x"] * 3_000})


def _body(dice: random.Random, number: int) -> dict[str, Any]:
    body: dict[str, Any] = {"id": number if dice.random() < 0.9 else dice.choice(ODD)}
    match dice.randrange(8):
        case 0:
            body["channels"] = [dice.choice(FOREIGN)]
        case 1:
            body["channels"] = dice.choices((*ALLOWED, *FOREIGN), k=dice.randrange(6))
        case 2:
            body["channels"] = [":".join(dice.choices(PARTS, k=dice.randrange(8))) for _ in range(dice.randrange(4))]
        case 3:
            body["channels"] = [f"channel:exchange:coinbase:ticker:S{dice.randrange(100_000)}" for _ in range(dice.randrange(300))]
        case 4:
            body |= {
                "exchange": dice.choice(("coinbase", "binance", "*", "coinbase:ticker", "user")),
                "symbols": [f"S{dice.randrange(500)}"],
            }
            body |= {"kinds": dice.choices(("alerts", "ticker", "candle", "lifecycle", "moves", "user", "*"), k=dice.randrange(3))}
        case 5:
            body |= {"exchange": "coinbase", "symbols": ["A"] * dice.randrange(2_000), "timeframes": ["5m"] * dice.randrange(1_000)}
        case 6:
            body[dice.choice(("channels", "exchange", "symbols", "kinds", "v", "surprise"))] = dice.choice(ODD)
        case 7:
            body["channels"] = ["".join(chr(dice.randrange(0x500)) for _ in range(dice.randrange(60))), dice.choice(ALLOWED)]
    return body
