"""An exchange with a few symbols, and users who want some of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User

from exchanges.events import SymbolInfo
from exchanges.models import Exchange
from livermore import bus, keys
from symbols.models import Position, Symbol, UserSymbol
from symbols.services import symbols_update
from symbols.tiers import Place

EXCHANGE = "coinbase"


def info(symbol: str, volume: float | None = None, price: float | None = 1.0, **more: object) -> SymbolInfo:
    """A market as an exchange lists it; ``volume`` in the quote asset."""
    base, quote = symbol.split("-")
    return SymbolInfo(symbol, base, quote, price=price, quote_volume_24h=volume, **more)  # type: ignore[arg-type]


BTC, ETH = info("BTC-USD", 900.0, 60_000.0), info("ETH-USD", 800.0, 3_000.0)
SOL, DOGE, PEPE = info("SOL-USD", 700.0, 20.0), info("DOGE-USD", 600.0, 0.25), info("PEPE-USD", 500.0, 0.001)
LISTED = (BTC, ETH, SOL, DOGE, PEPE)


def exchange(exchange_id: str = EXCHANGE) -> Exchange:
    return Exchange.objects.get(pk=exchange_id)


def listing(*infos: SymbolInfo, exchange_id: str = EXCHANGE, top_n: int = 2) -> dict[str, Place]:
    """Have the exchange list these; returns who is watched, in order."""
    Exchange.objects.filter(pk=exchange_id).update(top_n=top_n)
    members = symbols_update(exchange=exchange(exchange_id), infos=infos or LISTED)
    return {member.row.symbol: member.place for member in members}


def symbol_of(name: str, exchange_id: str = EXCHANGE) -> Symbol:
    return Symbol.objects.get(exchange_id=exchange_id, symbol=name)


def add(user: User, *names: str) -> None:
    for name in names:
        UserSymbol.objects.create(user=user, symbol=symbol_of(name))


def hold(user: User, asset: str, quantity: float, *, by_hand: bool = False, exchange_id: str = EXCHANGE) -> Position:
    return Position.objects.create(user=user, exchange_id=exchange_id, asset=asset, quantity=quantity, by_hand=by_hand)


@contextmanager
def woken(user: User) -> Iterator[list[bytes]]:
    """What was said on the user's own channel, once it is over: the open pages hear it, and read what is the user's own anew."""
    said: list[bytes] = []
    messages = bus.sync().pubsub()
    messages.subscribe(keys.channel_user_account(user.pk))
    assert messages.get_message(timeout=2)
    try:
        yield said
        while message := messages.get_message(timeout=0.05):
            said.append(message["data"])
    finally:
        messages.close()
