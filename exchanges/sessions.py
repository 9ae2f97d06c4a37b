"""Open sockets hear at once that their user logged out, or that password, activity or rights of the user changed.

A new password ends the API tokens of its user, too.

Django's own signals, because the doors are Django's own: the log-out view, the password page, the admin, `manage.py changepassword`, a
shell. What is written past the models (``QuerySet.update``) is noticed within 30 s, as everything is.
"""

from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from exchanges.models import ApiToken
from exchanges.services import sessions_doubt


def watch() -> None:
    """Connect; done once, when the applications are ready."""
    user_logged_out.connect(_logged_out, dispatch_uid="exchanges.sessions")
    post_save.connect(_saved, sender=User, dispatch_uid="exchanges.sessions")
    post_delete.connect(_deleted, sender=User, dispatch_uid="exchanges.sessions")
    for through in (User.groups.through, User.user_permissions.through):
        m2m_changed.connect(_rights_changed, sender=through, dispatch_uid=f"exchanges.sessions.{through.__name__}")


def _logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        transaction.on_commit(partial(sessions_doubt, user.pk))


def _saved(instance: User, created: bool, update_fields: Any, **_: Any) -> None:
    if not created and instance._password is not None:  # Django's own mark of a new password; a hash that is renewed carries none
        ApiToken.objects.filter(user=instance).delete()
    if not created and set(update_fields or ()) != {"last_login"}:
        transaction.on_commit(partial(sessions_doubt, instance.pk))


def _deleted(instance: User, **_: Any) -> None:
    transaction.on_commit(partial(sessions_doubt, instance.pk))


def _rights_changed(instance: Any, action: str, reverse: bool, pk_set: Any, **_: Any) -> None:
    if action.startswith("post_"):
        for user_id in (pk_set or ()) if reverse else [instance.pk]:
            transaction.on_commit(partial(sessions_doubt, user_id))
