"""A second factor: an authenticator app, a security key, recovery codes. Staff need one before the admin opens."""

from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import urlencode

from livermore.fields import decrypted, encrypted

SECOND = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


class Adapter(DefaultMFAAdapter):
    """Secrets of authenticator apps and recovery codes are encrypted as exchange keys are."""

    def encrypt(self, text: str) -> str:
        return encrypted(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypted(encrypted_text, what="A second factor")

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())


def was_used(request: HttpRequest) -> bool:
    """Whether this session has shown a second factor."""
    return any(record.get("method") == "mfa" for record in get_authentication_records(request, request.user))


def _note_added(request: HttpRequest, user: Any, authenticator: Authenticator, **_: Any) -> None:
    """Who has just proved a new one need not prove it once more; a code of an app counts only once."""
    if authenticator.type in SECOND:
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)


authenticator_added.connect(_note_added, dispatch_uid="livermore.second_factor")


class StaffSecondFactorMiddleware(MiddlewareMixin):
    """Leads staff to their second factor before the admin opens, and to setting one up where they have none."""

    def process_view(self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any) -> HttpResponseBase | None:
        admin = reverse("admin:index")
        if not settings.STAFF_SECOND_FACTOR or not request.path_info.startswith(admin) or not request.user.is_staff:
            return None
        if request.path_info == reverse("admin:logout") or was_used(request):
            return None
        if is_mfa_enabled(request.user, [Authenticator.Type.TOTP]):
            return redirect(f"{reverse('mfa_reauthenticate')}?{urlencode({'next': request.get_full_path()})}")
        if is_mfa_enabled(request.user, [Authenticator.Type.WEBAUTHN]):
            return redirect(f"{reverse('mfa_reauthenticate_webauthn')}?{urlencode({'next': request.get_full_path()})}")
        messages.warning(request, "The admin opens once you have a second factor: add an app or a security key here.")
        return redirect("mfa_index")
