"""What a message outside the page says. Pure: plain text, one thought a line, readable in a notification of two lines."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from urllib.parse import quote

from alerts.policy import Fact

_SIGNS = {"up": "▲", "down": "▼"}
_MINUS = "\u2212"
MOST_LISTED = 12
"""Symbols that a message about many names."""


class Line(TypedDict):
    """What a message needs of an alert; kept with it, so that more can join."""

    uid: str
    symbol: str
    timeframe: str
    direction: str
    macdv: float


class Message(NamedTuple):
    """``path``: the page about it."""

    title: str
    body: str
    path: str


def line(fact: Fact) -> Line:
    return {"uid": fact.uid, "symbol": fact.symbol, "timeframe": fact.timeframe, "direction": fact.direction, "macdv": fact.macdv}


def describe(label: str) -> str:
    """ "crossed above +150", as on the page."""
    if found := re.fullmatch(r"level_(-?)(\d+(?:\.\d+)?)", label):
        return f"crossed below {_MINUS}{found[2]}" if found[1] else f"crossed above +{found[2]}"
    if found := re.fullmatch(r"reversal_(\w+)", label):
        return f"reversal from {found[1]}"
    return label.replace("_", " ")


def of_alert(fact: Fact, exchange: str) -> Message:
    sign = _SIGNS.get(fact.direction, "◆")
    late = "Delayed: found after an outage.\n" if fact.delayed else ""
    return Message(
        f"{sign} {fact.symbol} {fact.timeframe} {describe(fact.label)}",
        f"{late}{exchange} · {price(fact.price)} {fact.quote} · MACD-V {number(fact.macdv)} · {fact.stage}",
        f"/alerts/{quote(fact.uid, safe='')}/",
    )


def of_group(lines: Sequence[Line], exchange: str) -> Message:
    """A market-wide move: the strongest of each symbol, and how many there are."""
    strongest: dict[str, Line] = {}
    for one in lines:
        known = strongest.get(one["symbol"])
        if known is None or abs(one["macdv"]) > abs(known["macdv"]):
            strongest[one["symbol"]] = one
    ranked = sorted(strongest.values(), key=lambda one: (-abs(one["macdv"]), one["symbol"]))
    direction = lines[0]["direction"]
    named = [f"{one['symbol']} {one['timeframe']} {number(one['macdv'])}" for one in ranked[:MOST_LISTED]]
    more = len(ranked) - len(named)
    return Message(
        f"{_SIGNS.get(direction, '◆')} {exchange}: {len(ranked)} symbols go {direction} together",
        ", ".join(named) + (f", and {more} more" if more else ""),
        "/?show=alerts",
    )


def of_outage(exchange: str, reason: str, since: str) -> Message:
    why = f": {reason}" if reason else ""
    return Message(f"{exchange} is dark", f"No live data since {since}{why}. Its alerts wait until it is back.", "/exchanges/")


def of_return(exchange: str, minutes: int, inhibited: int) -> Message:
    length = f"{minutes} min" if minutes else "less than a minute"
    missed = f" {inhibited} alerts of that time are in the history." if inhibited else ""
    return Message(f"{exchange} is live again", f"It was dark for {length}.{missed}", "/exchanges/")


def of_test(channel: str) -> Message:
    return Message("Livermore: a test", f"This channel works: {channel}.", "/settings/#notifications")


def number(value: float) -> str:
    return f"{value:.1f}".replace("-", _MINUS)


def price(value: float) -> str:
    """With five significant digits, or two decimals, and never in powers of ten."""
    return f"{value:,.2f}" if value >= 10_000 else f"{Decimal(f'{value:.5g}'):,f}"


def push_payload(message: Message, *, tag: str, silent: bool, at: int) -> dict[str, Any]:
    """What a service worker is told, and an open page."""
    return {"title": message.title, "body": message.body, "path": message.path, "tag": tag, "silent": silent, "at": at}
