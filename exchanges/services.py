"""Reads of exchanges that admin, API and commands share."""

import logging
from typing import Any

from exchanges import status
from exchanges.models import Exchange
from livermore import bus, keys

log = logging.getLogger(__name__)

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
    """Tell a user's open pages that what is the user's own has changed. Where Redis is away they find out by themselves, in 30 s."""
    try:
        bus.sync().publish(keys.channel_user_account(user_id), b"{}")
    except bus.FAILURES as error:
        log.warning("open pages were not told of a change: %s", error)


def exchange_statuses(exchange_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The live status of each exchange, in one round trip. Never raises: no process and no Redis are states of their own."""
    try:
        return {exchange_id: values or NO_PROCESS for exchange_id, values in status.read_all(exchange_ids).items()}
    except bus.FAILURES:
        return dict.fromkeys(exchange_ids, NO_REDIS)
