"""Forms of the admin: what is typed about exchanges, and credentials that go in but never come out."""

from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, UserExchange

CREDENTIALS = ("api_key", "api_secret", "api_passphrase")


class TimeframesField(forms.MultipleChoiceField):
    """Checkboxes for a list of timeframes, shortest first whatever the order they were ticked in."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(name, name) for name in TIMEFRAMES], **kwargs)


class JsonField(forms.JSONField):
    """JSON that nests deeper than Python reads is an error of the field; Django alone would answer 500."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError:
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": "…"}) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return forms.fields.InvalidJSONInput(data)


class ExchangeForm(forms.ModelForm):
    """A row of the exchanges table."""

    timeframes = TimeframesField(help_text="5m has to be there: the others are summed from it.")

    class Meta:
        model = Exchange
        fields = "__all__"  # noqa: DJ007  (the admin decides which, by right)
        field_classes = {"limits": JsonField, "geo_restrictions": JsonField}
        widgets = {name: UnfoldAdminTextareaWidget(attrs={"rows": 3}) for name in ("limits", "geo_restrictions")}

    def add_error(self, field: str | None, error: Any) -> None:
        """An error about a field this user may not change shows above the form; Django alone would raise."""
        if field is None and hasattr(error, "error_dict"):
            errors: dict[str, list[ValidationError]] = {}
            for name, found in error.error_dict.items():
                errors.setdefault(name if name in self.fields else NON_FIELD_ERRORS, []).extend(found)
            error = ValidationError(errors)
        super().add_error(field, error)


def _secret(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=10_000,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
        help_text="Stored encrypted, never shown again. Leave empty to keep what is stored.",
    )


class UserExchangeForm(forms.ModelForm):
    """Credentials are fields of their own, not bound to the row: a stored one never reaches the form."""

    api_key = _secret("API key")
    api_secret = _secret("API secret")
    api_passphrase = _secret("API passphrase")
    clear_credentials = forms.BooleanField(
        label="Clear the stored credentials",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Removes key, secret and passphrase.",
    )

    class Meta:
        model = UserExchange
        exclude = CREDENTIALS  # noqa: DJ006  (they are declared above, unbound)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("clear_credentials") and any(values.get(name) for name in CREDENTIALS):
            self.add_error("clear_credentials", "Either type new credentials or clear the stored ones, not both.")
        return values

    def save(self, commit: bool = True) -> UserExchange:
        cleared = bool(self.cleaned_data.get("clear_credentials"))
        changed = [name for name in CREDENTIALS if cleared or self.cleaned_data.get(name)]
        for name in changed:
            setattr(self.instance, name, self.cleaned_data.get(name) or "")
        if changed:
            self.instance.key_stored(there=not cleared)
        return super().save(commit)


class UserExchangeInlineForm(forms.ModelForm):
    """A row on its user's page. Which one is the default is decided over all rows of the page: see UserExchangeFormSet."""

    class Meta:
        model = UserExchange
        exclude = CREDENTIALS  # noqa: DJ006  (not on this page)

    def _get_validation_exclusions(self) -> set[str]:
        return super()._get_validation_exclusions() | {"is_default"}


class UserExchangeFormSet(forms.BaseInlineFormSet):
    """All rows of one user: at most one default, which may move from one row to another in one save."""

    def clean(self) -> None:
        super().clean()
        rows = [form.cleaned_data for form in self.forms if form.is_valid() and not form.cleaned_data.get("DELETE")]
        if sum(bool(row.get("is_default")) for row in rows) > 1:
            raise ValidationError("At most one exchange can be the own one: where this user buys.")

    def save(self, commit: bool = True) -> list[UserExchange]:
        # The constraint holds after every statement: give the default up before it is given to another row.
        given_up = [form.instance.pk for form in self.initial_forms if not form.cleaned_data.get("is_default")]
        UserExchange.objects.filter(pk__in=given_up, is_default=True).update(is_default=False)
        return super().save(commit)
