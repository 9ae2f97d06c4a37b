"""The accounts of the simulated Kraken, and how a request for them proves whose it is. Pure.

Facts it reproduces (docs.kraken.com, "Spot REST authentication"): a POST whose form has a ``nonce`` above all before it; the key travels in
``API-Key``, and in ``API-Sign`` the base64 HMAC-SHA512 of the path and the SHA-256 of nonce and body, under the base64-decoded secret.
Balances are keyed by asset ids.
"""

import base64
import binascii
from hashlib import sha256
from urllib.parse import parse_qs

from exchanges.sandbox.protocol import Exchange, Sent

_COINS = {"BTC": "XXBT", "DOGE": "XXDG"} | {code: f"X{code}" for code in ("ETC", "ETH", "LTC", "XLM", "XMR", "XRP", "ZEC")}
_CURRENCIES = {code: f"Z{code}" for code in ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")}


def asset_id(code: str) -> str:
    """Kraken's id of an asset."""
    return (_COINS | _CURRENCIES).get(code, code)


class KeyRefused(Exception):
    """A request for an account that is not granted; its text is Kraken's."""


def balances(exchange: Exchange, path: str, sent: Sent) -> dict[str, str]:
    """The answer to ``POST /0/private/Balance``. Raises KeyRefused."""
    nonce = _nonce(sent.body)
    account = exchange.accounts.with_key(sent.headers.get("api-key", ""))
    if account is None:
        raise KeyRefused("EAPI:Invalid key")
    try:
        signature = base64.b64decode(sent.headers.get("api-sign", ""), validate=True)
    except (ValueError, binascii.Error):
        signature = b""
    if not account.signed(path.encode() + sha256(nonce.encode() + sent.body).digest(), signature):
        raise KeyRefused("EAPI:Invalid signature")
    if not account.rising(int(nonce)):
        raise KeyRefused("EAPI:Invalid nonce")
    if "view" not in account.scopes:
        raise KeyRefused("EGeneral:Permission denied")
    return {asset_id(asset): f"{free + locked:.10f}" for asset, free, locked in account.holds()}


def _nonce(body: bytes) -> str:
    nonce = parse_qs(body.decode("latin-1")).get("nonce", [""])[0]
    if not (nonce.isascii() and nonce.isdecimal() and len(nonce) <= 20):
        raise KeyRefused("EAPI:Invalid nonce")
    return nonce
