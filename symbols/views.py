"""The pages where a user finds symbols, and sets what is the user's own."""

from dataclasses import dataclass
from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from exchanges import tokens
from exchanges.models import Exchange, Preferences, UserExchange
from exchanges.services import exchange_get
from symbols import account
from symbols.forms import KeyForm, PreferencesForm, TokenForm, UseForm

MAY_STORE_KEYS = "exchanges.change_userexchange"


def preferences(request: HttpRequest) -> dict[str, Any]:
    """For the frame of every page: theme, palette and time zone of who is logged in. Asked for once a request, and only where it shows."""

    def read() -> Preferences | None:
        user = getattr(request, "user", None)
        return account.preferences_of(user) if user is not None and user.is_authenticated else None

    if not hasattr(request, "_preferences"):
        request._preferences = SimpleLazyObject(read)  # type: ignore[attr-defined]
    return {"preferences": request._preferences}  # type: ignore[attr-defined]


@permission_required("symbols.view_symbol", raise_exception=True)
def symbols(request: HttpRequest) -> HttpResponse:
    """The frame of the symbols page; what is in it comes from /api/symbols/ and /api/my/."""
    own = UserExchange.objects.filter(user=request.user, is_default=True, exchange__active=True).values_list("exchange_id", flat=True)
    return render(request, "symbols/symbols.html", {"exchanges": Exchange.objects.filter(active=True), "own": own.first() or ""})


@dataclass
class Use:
    """A line of the settings page: an exchange, how it is used, and its key."""

    exchange: Exchange
    row: UserExchange
    form: UseForm
    own: bool
    key_form: KeyForm
    key_help: str
    open: bool = False


@method_decorator(permission_required("exchanges.view_preferences", raise_exception=True), name="dispatch")
@method_decorator(sensitive_post_parameters(), name="dispatch")
@method_decorator(never_cache, name="dispatch")
class Settings(View):
    """What a user set. Each part of the page is a form of its own."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show(request, request.user)

    def post(self, request: HttpRequest) -> HttpResponse:
        section = request.POST.get("section", "")
        parts = {"preferences": self.preferences, "exchanges": self.exchanges, "key": self.key, "forget": self.forget}
        store = (parts | {"token": self.token, "revoke": self.revoke}).get(section)
        if store is None or not request.user.has_perm("exchanges.change_preferences"):
            return self.refused(request, "Nothing was changed: that part of the page is not yours to change.")
        if section in {"key", "forget"} and not request.user.has_perm(MAY_STORE_KEYS):
            return self.refused(request, "Nothing was changed: storing a key needs the role trader.")
        return store(request, request.user)

    def show(self, request: HttpRequest, user: Any, **parts: Any) -> HttpResponse:
        form = parts.pop("form", None) or PreferencesForm(instance=account.preferences_of(user))
        token_form, new_token = parts.pop("token_form", None) or TokenForm(), parts.pop("new_token", "")
        uses = uses_of(user, **parts)
        context = {
            "form": form,
            "uses": uses,
            "has_own": any(use.own for use in uses),
            "may_store_keys": user.has_perm(MAY_STORE_KEYS),
            "tokens": tokens.tokens_of(user),
            "token_form": token_form,
            "new_token": new_token,
            "has_second_factor": is_mfa_enabled(user),
        }
        invalid = form.is_bound or token_form.is_bound or any(use.key_form.is_bound or use.form.is_bound for use in uses)
        return render(request, "symbols/settings.html", context, status=400 if invalid else 200)

    def refused(self, request: HttpRequest, why: str) -> HttpResponse:
        messages.error(request, why)
        return redirect("settings")

    def preferences(self, request: HttpRequest, user: User) -> HttpResponse:
        form = PreferencesForm(request.POST, instance=account.preferences_of(user))
        if not form.is_valid():
            return self.show(request, user, form=form)
        try:
            account.preferences_set(user=user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
            return self.show(request, user, form=form)
        messages.success(request, "Saved. Your open pages follow.")
        return redirect("settings")

    def exchanges(self, request: HttpRequest, user: User) -> HttpResponse:
        uses = uses_of(user, data=request.POST)
        if not all(use.form.is_valid() for use in uses):
            return self.show(request, user, data=request.POST)
        for use in uses:
            said = use.form.cleaned_data
            wanted = {"watch": said["watch"], "own": use.own, "share": said["share"], "taker_fee": said["fee"]}
            stored = {"watch": use.row.watch, "own": use.row.is_default, "share": use.row.share_overflow, "taker_fee": use.row.taker_fee}
            if wanted != stored:
                fee = account.PUBLISHED if said["fee"] is None else said["fee"]
                account.exchange_set(user=user, exchange=use.exchange, **{**wanted, "taker_fee": fee})
        messages.success(request, "Saved. Your open pages follow.")
        return redirect("settings")

    def key(self, request: HttpRequest, user: User) -> HttpResponse:
        try:
            exchange = exchange_get(request.POST.get("exchange", ""))
        except LookupError as error:
            return self.refused(request, f"Nothing was stored: {error}.")
        form = KeyForm(exchange, request.POST)
        if not form.is_valid():
            return self.show(request, user, key_form=form, exchange_id=exchange.pk)
        answer = account.key_store(user=user, exchange=exchange, **form.cleaned_data)
        level = messages.SUCCESS if answer.ok else messages.WARNING
        messages.add_message(request, level, f"The key for {exchange.name} is stored, encrypted. {answer.message}")
        return redirect(f"{reverse('settings')}#{exchange.pk}")

    def token(self, request: HttpRequest, user: User) -> HttpResponse:
        """The new token is in this answer and nowhere else; a look back at the page does not bring it again."""
        form = TokenForm(request.POST)
        if not form.is_valid():
            return self.show(request, user, token_form=form)
        try:
            token = tokens.token_create(user=user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
            return self.show(request, user, token_form=form)
        return self.show(request, user, new_token=token)

    def revoke(self, request: HttpRequest, user: User) -> HttpResponse:
        name = tokens.token_revoke(user=user, digest=request.POST.get("token", ""))
        if name is None:
            return self.refused(request, "There is no such token: it was revoked already, or has ended.")
        messages.success(request, f"The token “{name}” works no more.")
        return redirect(f"{reverse('settings')}#tokens")

    def forget(self, request: HttpRequest, user: User) -> HttpResponse:
        try:
            exchange = exchange_get(request.POST.get("exchange", ""))
        except LookupError as error:
            return self.refused(request, f"Nothing was changed: {error}.")
        gone = account.key_clear(user=user, exchange=exchange)
        said = f"The key for {exchange.name} is gone, with what was read with it." if gone else f"There was no key for {exchange.name}."
        messages.success(request, said)
        return redirect(f"{reverse('settings')}#{exchange.pk}")


def uses_of(user: User, *, data: Any = None, key_form: KeyForm | None = None, exchange_id: str = "") -> list[Use]:
    """A line for each active exchange. ``data``: what was posted; ``key_form``: one that was refused, for that exchange."""
    rows = {row.exchange_id: row for row in account.exchanges_of(user)}
    lines = []
    for exchange in Exchange.objects.filter(active=True):
        row = rows.get(exchange.pk) or UserExchange(user=user, exchange=exchange)
        fee = None if row.taker_fee is None else (row.taker_fee * 100).normalize()
        form = UseForm(exchange, data, initial={"watch": row.watch, "share": row.share_overflow, "fee": fee and f"{fee:f}"})
        own = row.is_default if data is None else exchange.pk == data.get("own", "")
        own_form = key_form if key_form is not None and exchange.pk == exchange_id else None
        lines.append(Use(exchange, row, form, own, own_form or KeyForm(exchange), _key_help(exchange), open=own_form is not None))
    return lines


def _key_help(exchange: Exchange) -> str:
    try:
        return exchange.protocol.key_help
    except LookupError:
        return ""  # the row outlived its adapter
