"""A text field that is encrypted at rest."""

from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from livermore import redaction

PREFIX = "f1:"


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])


def encrypted(text: str) -> str:
    """Encrypted with the first of ``FIELD_KEYS``."""
    redaction.remember(text)
    return PREFIX + _cipher().encrypt(text.encode()).decode()


def decrypted(stored: str, *, what: str) -> str:
    """The text; ``what`` it is, for the error where no key opens it: ImproperlyConfigured."""
    try:
        text = _cipher().decrypt(stored.removeprefix(PREFIX)).decode()
    except InvalidToken:
        raise ImproperlyConfigured(f"{what} was encrypted with a key that FIELD_KEYS no longer holds: add the old key at its end") from None
    redaction.remember(text)
    return text


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text encrypted with the first of ``FIELD_KEYS``, readable with any of them.

    A value that none of the keys opens raises ImproperlyConfigured, never the ciphertext.
    """

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return encrypted(value) if value else value

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return decrypted(value, what=f"{self.model.__name__}.{self.name}") if value else value
