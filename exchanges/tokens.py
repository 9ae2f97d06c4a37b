"""API tokens: a program's way in, with the rights of the user who made it and no others. Hashed, and they end.

In the header ``Authorization: Bearer lvm_…``, for the REST API and for the handshake of /ws/feed/.
"""

import logging
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from exchanges.models import ApiToken
from exchanges.services import sessions_doubt
from livermore.db import db

log = logging.getLogger(__name__)

MOST = 20
LIFETIMES = (30, 90, 365)
"""Days."""


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """Those that have not ended."""
    return ApiToken.objects.filter(user=user, expiry__gt=timezone.now())


def token_create(*, user: User, name: str, days: int) -> str:
    """A new token: this is the only time it is seen. Raises ValidationError."""
    if days not in LIFETIMES:
        raise ValidationError(f"A token lasts {', '.join(str(one) for one in LIFETIMES)} days.")
    if tokens_of(user).count() >= MOST:
        raise ValidationError(f"You have {MOST} tokens: revoke one that is no longer used.")
    _, token = ApiToken.objects.create(user, expiry=timedelta(days=days), name=name)
    log.info("%s made the API token %r, for %d days", user.get_username(), name, days)
    return str(token)


def token_revoke(*, user: User, digest: str) -> str | None:
    """End a token of the user's own, and the sockets it opened. Its name; None where there is none."""
    row = ApiToken.objects.filter(user=user, digest=digest).first()
    if row is None:
        return None
    row.delete()
    sessions_doubt(user.pk)
    log.info("%s revoked the API token %r", user.get_username(), row.name)
    return row.name


class BearerAuthentication(TokenAuthentication):
    """As knox reads it; a header that is no text is a bad token, not an error of ours."""

    def authenticate_credentials(self, token: bytes) -> tuple[User, ApiToken]:
        if not token.isascii():
            raise AuthenticationFailed("Invalid token.")
        user, row = super().authenticate_credentials(token)
        return user, row


class BearerScheme(OpenApiAuthenticationExtension):
    """How the API schema describes it."""

    target_class = "exchanges.tokens.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token, made on the settings page."}


def _bearer_of(header: bytes) -> ApiToken | None:
    words = header.split()
    if len(words) != 2 or words[0].lower() != b"bearer":
        return None
    try:
        return BearerAuthentication().authenticate_credentials(words[1])[1]
    except AuthenticationFailed:
        return None


def holder(digest: str) -> User | AnonymousUser:
    """Whose token it is, if it still stands."""
    row = ApiToken.objects.filter(digest=digest, expiry__gt=timezone.now(), user__is_active=True).select_related("user").first()
    return AnonymousUser() if row is None else row.user


class TokenMiddleware:
    """For a socket whose handshake carries a token: the token counts, and no cookie beside it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        header = dict(scope["headers"]).get(b"authorization")
        if header is not None:
            row = await db(_bearer_of)(header)
            scope = {**scope, "token": "" if row is None else row.digest, "user": AnonymousUser() if row is None else row.user}
        return await self.inner(scope, receive, send)
