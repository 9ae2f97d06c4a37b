"""The accounts of the simulated Binance, and how a request for them proves whose it is. Pure.

Facts it reproduces (binance-spot-api-docs, "Request security"): the key travels in ``X-MBX-APIKEY``; ``signature`` is the last parameter,
of the percent-encoded query before it the HMAC-SHA256 in hex (case does not matter) or the Ed25519 signature in base64; ``timestamp`` may
be ``recvWindow`` ms old (5,000 unless given, 60,000 at most) and less than 1 s ahead.
"""

import base64
import binascii
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from exchanges.sandbox.accounts import Account
from exchanges.sandbox.hashing import hashed
from exchanges.sandbox.protocol import Exchange, Sent, parameter

AHEAD = 1_000
WINDOW, WIDEST_WINDOW = 5_000, 60_000
_KEY_LENGTH = 64


class KeyRefused(Exception):
    """A request for an account that is not granted."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def account_body(exchange: Exchange, query: Mapping[str, list[str]], now: int, sent: Sent) -> dict[str, Any]:
    """The answer to ``GET /api/v3/account``. Raises KeyRefused."""
    account = _owner(exchange, query, exchange.stamp(now), sent)
    rows = [(asset, free, locked) for asset, free, locked in account.holds() if free or locked]
    if parameter(query, "omitZeroBalances") != "true":
        named = {asset for asset, _, _ in rows}
        coins = dict.fromkeys(row.coin.code for row in exchange.listings.values())
        rows += [(coin, Decimal(), Decimal()) for coin in coins if coin not in named]
    return _body(account, rows, now)


def _owner(exchange: Exchange, query: Mapping[str, list[str]], stamp: int, sent: Sent) -> Account:
    key = sent.headers.get("x-mbx-apikey", "")
    if len(key) != _KEY_LENGTH or not key.isalnum():
        raise KeyRefused(401, -2014, "API-key format invalid.")
    _check_time(exchange, query, stamp)
    payload, _, signature = sent.query.rpartition("&signature=")
    if not payload or "&" in signature:
        raise KeyRefused(400, -1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    account = exchange.accounts.with_key(key)
    if account is None:
        raise KeyRefused(401, -2015, "Invalid API-key, IP, or permissions for action.")
    if not account.signed(payload.encode("latin-1"), _decoded(unquote(signature), account.kind)):
        raise KeyRefused(400, -1022, "Signature for this request is not valid.")
    if "view" not in account.scopes:
        raise KeyRefused(401, -2015, "Invalid API-key, IP, or permissions for action.")
    return account


def _check_time(exchange: Exchange, query: Mapping[str, list[str]], stamp: int) -> None:
    time, window = _whole(query, "timestamp", None), _whole(query, "recvWindow", WINDOW)
    if window > WIDEST_WINDOW:
        raise KeyRefused(400, -1131, "'recvWindow' must be less than 60000.")
    if time - stamp >= exchange.patience(AHEAD):
        raise KeyRefused(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if stamp - time > exchange.patience(window):
        raise KeyRefused(400, -1021, "Timestamp for this request is outside of the recvWindow.")


def _whole(query: Mapping[str, list[str]], name: str, default: int | None) -> int:
    text = parameter(query, name)
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise KeyRefused(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return int(text)


def _decoded(signature: str, kind: str) -> bytes:
    """The signature's bytes; none for text that is no signature."""
    try:
        return bytes.fromhex(signature) if kind == "HMAC" else base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _body(account: Account, rows: list[tuple[str, Decimal, Decimal]], now: int) -> dict[str, Any]:
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now,
        "accountType": "SPOT",
        "balances": [{"asset": asset, "free": f"{free:.8f}", "locked": f"{locked:.8f}"} for asset, free, locked in rows],
        "permissions": ["SPOT"],
        "uid": hashed("uid", account.key) % 10**9,
    }
