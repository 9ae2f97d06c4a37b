"""What happens to an exchange, written into the database behind the feed's back."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import IntegrityError

from exchanges.models import STATES
from exchanges.services import events_record
from exchanges.status import now_ms
from livermore.db import db

log = logging.getLogger(__name__)

BEAT = 60.0
"""Seconds between two marks that a state still holds: what a process that dies may lose of its uptime."""
RETRY = 5.0
MOST_KEPT = 1000
"""Notes that wait for a database that is away; the oldest go first."""
CLOSING = 1.0


class Noted(NamedTuple):
    """``at`` in milliseconds UTC."""

    event: str
    at: int
    reason: str


class Journal:
    """``note`` and ``beat`` return at once. ``run`` writes until ``close``; a database that is away is asked again."""

    def __init__(self, exchange_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._exchange_id, self._clock = exchange_id, clock
        self._noted: list[Noted] = []
        self.dropped = 0
        """Notes that were lost since too many waited."""
        self._wake = asyncio.Event()
        self._closing = self._away = False
        self.begin()

    def begin(self) -> None:
        """The exchange is ours from now on: what was noted before is another's word."""
        self._state = self._connection = self._why = ""
        self._row: int | None = None
        self._seen: int | None = None
        self._beat_due = 0.0

    def note(self, event: str, reason: str = "") -> None:
        """Keep a change of the exchange's state or connection. The same again is none, nor is the next attempt of many."""
        if self._changes(event, reason):
            self._keep([*self._noted, Noted(event, now_ms(), reason[:300])])
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Notes that are not written yet."""
        return len(self._noted)

    def _keep(self, noted: list[Noted]) -> None:
        self.dropped += max(0, len(noted) - MOST_KEPT)
        self._noted = noted[-MOST_KEPT:]

    def _changes(self, event: str, reason: str) -> bool:
        if event in STATES:
            state, self._state = self._state, event
            if event == "idle":
                self._connection = self._why = ""
            return event != state
        if event == "connecting" and self._connection == "disconnected":
            return False
        changed = event != self._connection or reason not in {"", self._why}
        if changed:
            self._connection, self._why = event, reason
        return changed

    def beat(self) -> None:
        """The state still holds: marked once a minute."""
        if self._clock() >= self._beat_due:
            self._beat_due = self._clock() + BEAT
            self._seen = now_ms()
            self._wake.set()

    async def run(self) -> None:
        while not (self._closing and not self._noted):
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
            except DatabaseError as error:
                if not self._away:
                    log.warning("%s: what happens is kept until the database answers: %s", self._exchange_id, error)
                self._away = True
                await asyncio.sleep(RETRY)
                self._wake.set()

    async def _write(self) -> None:
        (noted, self._noted), (seen, self._seen) = (self._noted, []), (self._seen, None)
        try:
            self._row = await db(events_record)(exchange_id=self._exchange_id, noted=noted, row=self._row, seen=seen)
        except IntegrityError as error:
            log.warning("%s: what happened could not be written: %s", self._exchange_id, error)
        except DatabaseError:
            self._keep([*noted, *self._noted])
            self._seen = self._seen or seen
            raise
        self._away = False

    async def close(self, writer: asyncio.Task[None]) -> None:
        """Have ``writer``, which runs ``run``, write what is left, for a second at most."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([writer], timeout=CLOSING)
        writer.cancel()
