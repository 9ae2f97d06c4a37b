"""Web Push: what goes to a browser's push service for one message (RFC 8030, 8291, 8292). No I/O."""

import base64
import binascii
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

LARGEST_PAYLOAD = 3_000
"""Bytes; a push service takes 4,096 with everything around it."""
_TOKEN_SECONDS = 12 * 3_600
"""A push service accepts 24 h at most."""


class Subscription(NamedTuple):
    """What a browser gave: where its push service takes messages, and the key to encrypt them with."""

    endpoint: str
    p256dh: str
    auth: str

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    def text(self) -> str:
        return json.dumps(self._asdict())

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(self.p256dh))


def subscription(value: Any) -> Subscription:
    """Out of ``PushSubscription.toJSON()``. Raises ValueError that says what is wrong with it."""
    if not isinstance(value, Mapping) or not isinstance(value.get("keys"), Mapping):
        raise ValueError("a push subscription is wanted, as the browser gives it")
    endpoint, keys = value.get("endpoint"), value["keys"]
    if not _is_address(endpoint):
        raise ValueError("its endpoint is no https address")
    found = Subscription(endpoint, str(keys.get("p256dh", "")), str(keys.get("auth", "")))
    try:
        if len(_bytes(found.auth)) != 16:
            raise ValueError
        found.key  # noqa: B018  (a point that is not on the curve raises)
    except (ValueError, binascii.Error):
        raise ValueError("its keys cannot be used") from None
    return found


def _is_address(endpoint: Any) -> TypeGuard[str]:
    if not isinstance(endpoint, str) or len(endpoint) > 2_000 or not endpoint.isprintable() or not endpoint.isascii():
        return False
    try:
        parts = urlsplit(endpoint)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0 and " " not in endpoint
    except ValueError:
        return False


def new_private_key() -> str:
    """A key pair of one's own, as PEM."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


def public_key(private: str) -> str:
    """The half that a browser subscribes with (``applicationServerKey``)."""
    key = serialization.load_pem_private_key(private.encode(), None).public_key()
    return _text(key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint))


def request(to: Subscription, payload: Mapping[str, Any], *, private: str, subject: str, ttl: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST to the endpoint. ``ttl``: seconds for which the push service keeps it; ``subject``: our URL."""
    # Only what sends needs these: a web process does not.
    import jwt
    from apprise.utils.pem import ApprisePEMController

    message = json.dumps(payload, ensure_ascii=False).encode()
    if len(message) > LARGEST_PAYLOAD:
        raise ValueError("the message is too long")
    parts = urlsplit(to.endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int(time.time()) + _TOKEN_SECONDS, "sub": subject}
    token = jwt.encode(claims, private, algorithm="ES256")
    headers = {
        "Authorization": f"vapid t={token}, k={public_key(private)}",
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(ttl),
        "Urgency": "high",
    }
    return headers, ApprisePEMController("").encrypt_webpush(message, to.key, _bytes(to.auth))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
