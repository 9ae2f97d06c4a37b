"""Pages that hear the same exchanges: a message for all of them is looked at once, and everything of a turn is put together once.

For each of a thousand pages apart, a burst of fifty alerts took more than its sending.
"""

import asyncio
from collections.abc import Container
from typing import NamedTuple, Protocol

from alerts import subscriptions
from alerts.outbox import Turn, note_oldest
from alerts.snapshot import Market, Viewer
from alerts.subscriptions import ALERTS, CANDLE, LIFECYCLE, TICKER, Address
from livermore import keys, measures


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

    def rows_changed(self, exchange_id: str) -> None: ...


class Audience:
    """A listener of the relay, in the place of its members."""

    def __init__(self, heard: Heard, hub: Shared) -> None:
        self.heard = heard
        self.members: dict[Page, None] = {}
        self._hub = hub
        self._turn = Turn()
        self._due = False

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
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._flush)

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
        self._due = False
        if self._turn.queue or self._turn.latest:
            turn, self._turn = self._turn, Turn()
            for page in list(self.members):
                page.take(turn)


_TIMED = {ALERTS: "alert", CANDLE: "candle"}
"""Whose way from publication to the socket is measured, and as what."""
