"""The accounts of the simulated Coinbase, and how a request for them proves whose it is. Pure.

Facts it reproduces (docs.cdp.coinbase.com, "API key authentication"): a bearer token is a JWT signed with ES256 or EdDSA, whose header
names the key (``kid``) and a nonce, and whose claims name the key, the issuer ``cdp``, when it begins and ends (at most 120 s later), and
the request it is for, without a query. Whatever is wrong with it is answered 401 with one word. ``/accounts`` is paged by a cursor.
"""

import base64
import binascii
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from exchanges.sandbox.accounts import Account
from exchanges.sandbox.protocol import Answer, Exchange, Sent, encode, parameter, rfc3339

LONGEST_TOKEN = 120
AHEAD = 1_000
"""How many ms a token may begin in the future."""
MOST_ACCOUNTS = 250
_USUAL_ACCOUNTS = 49
UNAUTHORIZED = Answer(401, b"Unauthorized\n")


class _Header(msgspec.Struct):
    alg: str
    kid: str
    nonce: str


class _Claims(msgspec.Struct):
    sub: str
    iss: str
    nbf: int
    exp: int
    uri: str


def accounts_page(exchange: Exchange, path: str, query: Mapping[str, list[str]], now: int, sent: Sent) -> Answer:
    """The answer to ``GET /accounts``."""
    account = _owner(exchange, path, exchange.stamp(now), sent)
    if account is None:
        return UNAUTHORIZED
    if "view" not in account.scopes:
        message = "Missing required scopes"
        return Answer(403, encode({"error": "PERMISSION_DENIED", "code": 7, "error_details": message, "message": message}))
    return _page(account, query, now)


def _owner(exchange: Exchange, path: str, stamp: int, sent: Sent) -> Account | None:
    """Whose token this is; None for one that proves nothing."""
    scheme, _, token = sent.headers.get("authorization", "").partition(" ")
    try:
        head, body, signature = (_decoded(part) for part in token.split("."))
        header, claims = msgspec.json.decode(head, type=_Header), msgspec.json.decode(body, type=_Claims)
    except (ValueError, msgspec.MsgspecError):
        return None
    account = exchange.accounts.with_key(header.kid)
    if scheme != "Bearer" or account is None or account.kind != header.alg:
        return None
    if not account.signed(token.rpartition(".")[0].encode(), signature):
        return None
    wanted = f"GET {sent.headers.get('host', '')}/{exchange.venue.id}{path}"
    if (claims.sub, claims.iss, claims.uri) != (header.kid, "cdp", wanted) or not _current(exchange, claims, stamp):
        return None
    return account if header.nonce and account.fresh(header.nonce, stamp, exchange.patience(LONGEST_TOKEN * 1000)) else None


def _current(exchange: Exchange, claims: _Claims, stamp: int) -> bool:
    lifetime, age = claims.exp - claims.nbf, stamp - claims.nbf * 1000
    return 0 < lifetime <= LONGEST_TOKEN and -exchange.patience(AHEAD) <= age < exchange.patience(lifetime * 1000)


def _decoded(part: str) -> bytes:
    """Base64 as a JWT has it. Raises ValueError."""
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _page(account: Account, query: Mapping[str, list[str]], now: int) -> Answer:
    rows = [_row(account, asset, free, locked, now) for asset, free, locked in account.holds()]
    limit, cursor = parameter(query, "limit") or str(_USUAL_ACCOUNTS), parameter(query, "cursor")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit) <= MOST_ACCOUNTS):
        return _invalid("limit")
    starts = {"": 0} | {row["uuid"]: at for at, row in enumerate(rows, 1)}
    if cursor not in starts:
        return _invalid("cursor")
    page = rows[starts[cursor] :][: int(limit)]
    more = starts[cursor] + len(page) < len(rows)
    return Answer(200, encode({"accounts": page, "has_next": more, "cursor": page[-1]["uuid"] if more else "", "size": len(page)}))


def _invalid(argument: str) -> Answer:
    message = f"{argument} argument is invalid"
    return Answer(400, encode({"error": "INVALID_ARGUMENT", "code": 3, "message": message, "error_details": message}))


def _row(account: Account, asset: str, free: Decimal, locked: Decimal, now: int) -> dict[str, Any]:
    kind = "ACCOUNT_TYPE_FIAT" if asset in ("USD", "EUR", "GBP") else "ACCOUNT_TYPE_CRYPTO"
    return {
        "uuid": str(uuid5(NAMESPACE_URL, f"{account.key}/{asset}")),
        "name": f"{asset} Wallet",
        "currency": asset,
        "available_balance": {"value": f"{free:f}", "currency": asset},
        "default": True,
        "active": True,
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": rfc3339(now),
        "deleted_at": None,
        "type": kind,
        "ready": True,
        "hold": {"value": f"{locked:f}", "currency": asset},
        "retail_portfolio_id": str(uuid5(NAMESPACE_URL, account.key)),
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }
