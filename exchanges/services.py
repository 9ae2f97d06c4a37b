"""Reads of exchanges that admin, API and commands share, and what is noted of them."""

import logging
from collections.abc import Iterable
from typing import Any, Protocol

from django.db import transaction

from exchanges import status
from exchanges.models import STATES, Exchange, ExchangeEvent, UserExchange
from livermore import bus, keys

log = logging.getLogger(__name__)

EVENTS_KEPT = 30 * 86_400_000
"""Milliseconds."""

SESSION_DOUBTED = b'{"type":"session"}'

NO_PROCESS: dict[str, Any] = {"state": "offline", "connection_state": "offline"}
NO_REDIS: dict[str, Any] = {
    "state": "unknown",
    "connection_state": "unknown",
    "error": "Redis does not answer, so the live state is not known.",
}


def exchange_get(exchange_id: str) -> Exchange:
    """The active exchange of that id. Raises LookupError that lists the known ones; there is no default."""
    known = {exchange.pk: exchange for exchange in Exchange.objects.filter(active=True)}
    try:
        return known[exchange_id]
    except KeyError:
        raise LookupError(f"unknown exchange {exchange_id!r}; known: {', '.join(known) or 'none, add one in the admin'}") from None


def account_changed(user_id: int) -> None:
    """Tell a user's open pages that what is the user's own has changed. What nobody told they find by themselves, within five minutes."""
    _tell(user_id, b"{}")


def sessions_doubt(user_id: int) -> None:
    """Have every open socket of a user look at once whether its session, user and rights still stand; they do so every 30 s anyway."""
    _tell(user_id, SESSION_DOUBTED)


def _tell(user_id: int, message: bytes) -> None:
    try:
        bus.sync().publish(keys.channel_user_account(user_id), message)
    except bus.FAILURES as error:
        log.warning("open pages were not told of a change: %s", error)


def exchange_statuses(exchange_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The live status of each exchange, in one round trip. Never raises: no process and no Redis are states of their own."""
    try:
        return {exchange_id: values or NO_PROCESS for exchange_id, values in status.read_all(exchange_ids).items()}
    except bus.FAILURES:
        return dict.fromkeys(exchange_ids, NO_REDIS)


class Noted(Protocol):
    """Something that happened, ``at`` milliseconds UTC."""

    @property
    def event(self) -> str: ...
    @property
    def at(self) -> int: ...
    @property
    def reason(self) -> str: ...


@transaction.atomic
def events_record(*, exchange_id: str, noted: Iterable[Noted], row: int | None, seen: int | None) -> int | None:
    """Store what happened to an exchange, in order, and forget what is older than 30 days.

    ``row``: the state that has held so far, where the caller has stored one; it is marked to have held until the next, or until ``seen``.
    Returns the row of the state that holds now.
    """
    for one in noted:
        if one.event in STATES:
            _mark(row, one.at)
        stored = ExchangeEvent.objects.create(exchange_id=exchange_id, at=one.at, event=one.event, reason=one.reason, seen=one.at)
        row = stored.pk if one.event in STATES else row
    if seen is not None:
        _mark(row, seen)
    oldest = status.now_ms() - EVENTS_KEPT
    ExchangeEvent.objects.filter(exchange_id=exchange_id, seen__lt=oldest).delete()
    return row


def _mark(row: int | None, seen: int) -> None:
    if row is not None:
        ExchangeEvent.objects.filter(pk=row, seen__lt=seen).update(seen=seen)


def taker_fees(*, user_id: int, exchanges: Iterable[Exchange]) -> dict[str, float]:
    """What a user pays at each exchange, as a share: the user's own fee, or the published one."""
    own = dict(UserExchange.objects.filter(user_id=user_id, taker_fee__isnull=False).values_list("exchange_id", "taker_fee"))
    return {exchange.pk: float(own.get(exchange.pk, exchange.taker_fee)) for exchange in exchanges}
