"""What users hold, read with their own keys. A key that fails is a state with its reason; nothing here can stop the feed."""

import logging

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from exchanges.events import Credentials
from exchanges.models import Exchange, UserExchange
from exchanges.rest import RestClient, RestError
from exchanges.services import account_changed
from livermore.db import db
from symbols import wants

log = logging.getLogger(__name__)


async def sync(exchange: Exchange, rest: RestClient, *, user_id: int | None = None) -> str:
    """Read the balances of that user, or of everybody who stored a key. Says what became of it; never raises."""
    try:
        rows = await db(_with_keys)(exchange.pk, user_id)
        failed = [error for one in rows if (error := await _sync_one(exchange, rest, one))]
    except DatabaseError as error:
        log.warning("%s: the users' keys could not be read: %s", exchange.pk, error)
        return f"the database did not answer: {error}"
    if user_id is not None:
        return (failed[0] if failed else "positions read") if rows else f"no key is stored for {exchange.name}: add one in the settings"
    return f"positions of {len(rows) - len(failed)} users read, {len(failed)} keys failed"


def _with_keys(exchange_id: str, user_id: int | None) -> list[tuple[int, Credentials | str]]:
    """(user id, credentials, or why they cannot be read)."""
    rows = (
        UserExchange.objects.filter(exchange_id=exchange_id, user__is_active=True)
        .exclude(api_key="")
        .defer("api_key", "api_secret", "api_passphrase")
    )
    found: list[tuple[int, Credentials | str]] = []
    for row in rows if user_id is None else rows.filter(user_id=user_id):
        try:
            found.append((row.user_id, Credentials(row.api_key, row.api_secret, row.api_passphrase)))
        except ImproperlyConfigured as error:
            found.append((row.user_id, f"the stored key cannot be read any more: store it again ({error})"))
    return found


async def _sync_one(exchange: Exchange, rest: RestClient, one: tuple[int, Credentials | str]) -> str:
    """Why this user's positions could not be read, or ""."""
    user_id, credentials = one
    error = credentials if isinstance(credentials, str) else ""
    if isinstance(credentials, Credentials):
        try:
            balances = await rest.balances(credentials)
        except RestError as refused:
            error = str(refused)
        else:
            await db(wants.positions_store)(user_id=user_id, exchange=exchange, balances=balances)
    if error:
        log.warning("%s: the positions of user %d could not be read: %s", exchange.pk, user_id, error)
        await db(wants.key_checked)(user_id=user_id, exchange=exchange, error=error)
    await db(account_changed)(user_id)
    return error
