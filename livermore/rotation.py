"""Stored secrets, encrypted anew with the first of FIELD_KEYS: after it, the keys behind the first are no longer needed."""

from collections.abc import Iterator
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction

from livermore.fields import EncryptedTextField, decrypted, encrypted

IN_AUTHENTICATORS = ("secret", "seed", "migrated_codes")
"""What of a second factor is encrypted: the key of an app, the seed of recovery codes."""


class Unreadable(Exception):
    """A secret that no key opens; nothing was changed."""


def encrypted_fields() -> Iterator[tuple[type[models.Model], list[str]]]:
    """Each model that has encrypted fields, with their names."""
    for model in apps.get_models():
        names = [field.name for field in model._meta.fields if isinstance(field, EncryptedTextField)]
        if names:
            yield model, names


@transaction.atomic
def rotate() -> dict[str, int]:
    """How many rows of each model were written anew. All or nothing; rows are locked meanwhile. Raises Unreadable."""
    done = {}
    try:
        for model, names in encrypted_fields():
            rows = model._default_manager.select_for_update().exclude(**dict.fromkeys(names, "")).order_by("pk")
            count = 0
            for row in rows:  # all at once: an error in the middle would leave a cursor of the database open
                # Past the model's own save(): nothing of the row changes but its encryption.
                model._default_manager.filter(pk=row.pk).update(**{name: getattr(row, name) for name in names})
                count += 1
            done[str(model._meta.verbose_name)] = count
        done["second factors"] = _authenticators()
    except ImproperlyConfigured as error:
        raise Unreadable(f"{error}. Nothing was changed.") from None
    return done


def _authenticators() -> int:
    count = 0
    for row in Authenticator.objects.select_for_update().order_by("pk"):
        data = {name: _anew(value) if name in IN_AUTHENTICATORS else value for name, value in row.data.items()}
        if data != row.data:
            row.data = data
            row.save(update_fields=["data"])
            count += 1
    return count


def _anew(value: Any) -> Any:
    if isinstance(value, list):
        return [_anew(one) for one in value]
    return encrypted(decrypted(value, what="A second factor"))
