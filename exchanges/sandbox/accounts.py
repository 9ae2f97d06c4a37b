"""The simulated users of a venue: their keys, and what they hold. A function of names, so that every process knows the same ones. Pure.

Every venue has one account called ``demo``, whose key is ``demo_credentials(venue_id)``: it holds what ``DEMO`` says, and ``runsandbox``
prints it. A test opens others::

    credentials = sandbox.accounts("coinbase-sandbox").open("ann", {"BTC": 0.5}, kind="EdDSA")

How a request proves whose it is, the desks check (``coinbase_accounts`` and so on): from what the exchanges document, and
without the adapters' help.
"""

import base64
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges.events import Credentials
from exchanges.sandbox.venues import Venue, venue_named

KINDS = {"coinbase": ("EdDSA", "ES256"), "binance": ("HMAC", "Ed25519"), "kraken": ("HMAC-SHA512",)}
"""The kinds of keys a protocol knows, the usual one first; other protocols know HMAC only."""
DEMO = {"BTC": 0.2154, "ETH": 3.4, "SOL": 41.5, "BAND": 2_600.0, "DOGE": 0.31, "cash": 1_250.5}
"""Three coins of the top, one that is thinly traded, dust, and the venue's own quote currency."""
VIEW = frozenset({"view"})


def _derived(*words: str) -> bytes:
    """32 bytes out of these words."""
    return blake2b(":".join(("livermore sandbox", *words)).encode(), digest_size=32).digest()


@dataclass(slots=True)
class Account:
    """One user. ``balances`` and ``locked`` (what is held in orders, out of the balance) may be changed at any time."""

    venue: str
    name: str
    kind: str
    key: str
    scopes: frozenset[str]
    balances: dict[str, float]
    locked: dict[str, float]
    revoked: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    """Nonces, and when they came."""
    highest: int = 0
    """The highest nonce, where they have to rise."""

    def holds(self) -> Iterator[tuple[str, Decimal, Decimal]]:
        """(asset, free, locked)."""
        for asset, quantity in self.balances.items():
            locked = Decimal(str(self.locked.get(asset, 0)))
            yield asset, Decimal(str(quantity)) - locked, locked

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether that is what the owner of the key signs this message with, in the raw form of its kind."""
        seed = _derived(self.venue, self.name, self.kind)
        if self.kind == "HMAC":
            return hmac.compare_digest(hmac.digest(seed.hex().encode(), message, "sha256"), signature)
        if self.kind == "HMAC-SHA512":
            return hmac.compare_digest(hmac.digest(seed, message, "sha512"), signature)
        try:
            if self.kind == "ES256":
                if len(signature) != 64:
                    return False
                numbers = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
                _elliptic(seed).public_key().verify(encode_dss_signature(*numbers), message, ec.ECDSA(hashes.SHA256()))
            else:
                Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def fresh(self, nonce: str, stamp: int, lifetime: int) -> bool:
        """Note a nonce; false when it was seen within its lifetime (ms)."""
        self.seen = {known: at for known, at in self.seen.items() if stamp - at <= lifetime}
        if nonce in self.seen:
            return False
        self.seen[nonce] = stamp
        return True

    def rising(self, nonce: int) -> bool:
        """Note a nonce that has to be above all before it; false when it is not."""
        if nonce <= self.highest:
            return False
        self.highest = nonce
        return True


def kinds(venue: Venue) -> tuple[str, ...]:
    return KINDS.get(venue.protocol, ("HMAC",))


class Accounts:
    """The accounts of one venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._by_name: dict[str, Account] = {}
        self._by_key: dict[str, Account] = {}
        self.open("demo", {venue.quote if asset == "cash" else asset: quantity for asset, quantity in DEMO.items()})

    def open(
        self,
        name: str,
        balances: Mapping[str, float],
        kind: str = "",
        scopes: Iterable[str] = VIEW,
        locked: Mapping[str, float] | None = None,
    ) -> Credentials:
        """Open an account, or open it anew; returns its key. Raises ValueError for a kind of key this venue does not know."""
        known = kinds(self._venue)
        kind = kind or known[0]
        if kind not in known:
            raise ValueError(f"{self._venue.id} knows keys of {' and '.join(known)}, not {kind!r}")
        credentials = _credentials(self._venue, name, kind)
        account = Account(self._venue.id, name, kind, credentials.key, frozenset(scopes), dict(balances), dict(locked or {}))
        self._by_name[name] = self._by_key[account.key] = account
        return credentials

    def __getitem__(self, name: str) -> Account:
        """The account of that name, to change what it holds. Raises LookupError."""
        return self._by_name[name]

    def revoke(self, name: str) -> None:
        """The user deletes the key."""
        self._by_name[name].revoked = True

    def with_key(self, key: str) -> Account | None:
        """Whose key that is; None for a key that never was or is no more."""
        account = self._by_key.get(key)
        return None if account is None or account.revoked else account


def demo_credentials(venue_id: str) -> Credentials:
    """The key of the demo account: the same in every process. Raises LookupError for a venue that is not prepared."""
    venue = venue_named(venue_id)
    return _credentials(venue, "demo", kinds(venue)[0])


def _credentials(venue: Venue, name: str, kind: str) -> Credentials:
    seed = _derived(venue.id, name, kind)
    if venue.protocol == "coinbase":
        organization, key = (UUID(bytes=_derived(venue.id, name, kind, part)[:16], version=4) for part in ("organization", "key"))
        return Credentials(f"organizations/{organization}/apiKeys/{key}", _secret(seed, kind))
    return Credentials(_derived(venue.id, name, kind, "key").hex(), _secret(seed, kind))


def _secret(seed: bytes, kind: str) -> str:
    """As the exchange shows it to the user."""
    match kind:
        case "HMAC":
            return seed.hex()
        case "HMAC-SHA512":
            return base64.b64encode(seed).decode()
        case "EdDSA":
            return base64.b64encode(seed + Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()).decode()
        case "Ed25519":
            key = Ed25519PrivateKey.from_private_bytes(seed)
            return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return _elliptic(seed).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def _elliptic(seed: bytes) -> ec.EllipticCurvePrivateKey:
    """A key on P-256: half of any seed is below the order of that curve."""
    return ec.derive_private_key(int.from_bytes(seed, "big") // 2 + 1, ec.SECP256R1())
