"""Pages that hear the same exchanges: a message for all of them is looked at once, and everything of a turn is put together once.

For each of a thousand pages apart, a burst of fifty alerts took more than its sending. Alerts and candles go out with the turn they came
in; prices too, unless the last ones went out just now: frames are the cost, and a thousand symbols move at any moment.
"""

import asyncio
from collections.abc import Container
from typing import NamedTuple, Protocol

from alerts import subscriptions
from alerts.outbox import Turn, note_oldest
from alerts.snapshot import Market, Viewer
from alerts.subscriptions import ALERTS, CANDLE, LIFECYCLE, TICKER, Address
from livermore import keys, measures

PRICES_EVERY = 0.02
"""Seconds between two frames that carry nothing but prices, at least: more than a screen shows helps nobody."""
MOST_PRICE_FRAMES = 4_000
"""Such frames a second to all pages of this process together: about a third of what daphne sends on one core."""


class Heard(NamedTuple):
    """What the pages of an audience have in common: their exchanges, and the one whose owners hear of moves elsewhere, or ""."""

    exchange_ids: tuple[str, ...]
    moves_for: str

    @classmethod
    def by(cls, viewer: Viewer) -> "Heard":
        return cls(viewer.exchange_ids, viewer.moves_for)

    @property
    def patterns(self) -> set[str]:
        """As PSUBSCRIBE reads them."""
        patterns = set()
        for exchange_id in self.exchange_ids:
            patterns |= {
                keys.channel_alerts(exchange_id),
                keys.channel_lifecycle(exchange_id),
                keys.channel_ticker(exchange_id, "*"),
                keys.channel_candle_close(exchange_id, "*", "*"),
            }
            if self.moves_for and self.moves_for != exchange_id:
                patterns.add(keys.channel_moves(exchange_id, "*"))  # as subscriptions have it: no two patterns deliver the same
        return patterns


class Page(Protocol):
    """A member. Both methods return at once."""

    def take(self, turn: Turn) -> None:
        """What is for everybody."""

    def deliver(self, channel: str, data: bytes) -> None:
        """What may be for this page, or not."""


class Shared(Protocol):
    """Whose markets are whose."""

    @property
    def shared(self) -> Container[Market]: ...

    @property
    def open_pages(self) -> int: ...

    def rows_changed(self, exchange_id: str) -> None: ...


class Audience:
    """A listener of the relay, in the place of its members."""

    def __init__(self, heard: Heard, hub: Shared) -> None:
        self.heard = heard
        self.members: dict[Page, None] = {}
        self._hub = hub
        self._turn = Turn()
        self._soon = False
        self._later: asyncio.TimerHandle | None = None
        self._prices_from = 0.0
        """When the next prices may go out on their own, in the event loop's time."""

    def join(self, page: Page) -> None:
        self._flush()  # what came before is not for it
        self.members[page] = None

    def leave(self, page: Page) -> None:
        self._flush()  # what came before is
        self.members.pop(page, None)

    def link_changed(self, up: bool) -> None:
        """Each member hears so on its user's own channels."""

    def deliver(self, channel: str, data: bytes) -> None:
        """Take a message of the relay."""
        try:
            address = subscriptions.delivered(channel)
        except ValueError:
            return
        if not self._take(address, data):
            for page in list(self.members):
                page.deliver(channel, data)
        else:
            self._flush_later(prices=address.kind == TICKER)

    def _flush_later(self, *, prices: bool) -> None:
        """With the turn of the event loop, or, where it is ``prices`` only, when their time has come."""
        if self._soon or (prices and self._later is not None):
            return
        loop = asyncio.get_running_loop()
        rest = self._prices_from - loop.time() if prices else 0.0
        if rest > 0:
            self._later = loop.call_later(rest, self._flush)
        else:
            self._soon = True
            loop.call_soon(self._flush)

    def _take(self, address: Address, data: bytes) -> bool:
        """Put what is for every member into the turn. False for what depends on whose a market is."""
        kind, exchange_id, symbol, _ = address
        if kind in {TICKER, CANDLE} and (exchange_id, symbol) in self._hub.shared:
            self._turn.put_latest(address, data)
        elif kind == ALERTS or (kind == LIFECYCLE and b'"symbol:state"' not in data):
            self._turn.queue.append(data)
        else:
            return False
        if kind == LIFECYCLE and b'"symbols:changed"' in data:
            self._hub.rows_changed(exchange_id)
        if kind in _TIMED:
            note_oldest(self._turn.oldest, _TIMED[kind], measures.published.at(data))
        return True

    def _flush(self) -> None:
        self._soon = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._turn.queue or self._turn.latest:
            turn, self._turn = self._turn, Turn()
            self._prices_from = asyncio.get_running_loop().time() + max(PRICES_EVERY, self._hub.open_pages / MOST_PRICE_FRAMES)
            for page in list(self.members):
                page.take(turn)


_TIMED = {ALERTS: "alert", CANDLE: "candle"}
"""Whose way from publication to the socket is measured, and as what."""
