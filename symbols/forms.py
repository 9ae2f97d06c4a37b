"""The forms of the settings page. What was typed stays on an error, but for secrets, which never come back."""

from typing import Any
from zoneinfo import available_timezones

from django import forms

from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, Palette, Preferences, Theme

SECRET = {"autocomplete": "new-password", "spellcheck": "false", "class": "field"}


def _zones() -> list[tuple[str, str]]:
    places = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/")))
    return [("", "As the browser"), ("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]


class PreferencesForm(forms.ModelForm):
    region = forms.CharField(
        required=False,
        max_length=2,
        widget=forms.TextInput(attrs={"class": "field", "size": 4, "placeholder": "e.g. US", "autocomplete": "country"}),
        help_text="Two-letter country code. Not every exchange serves every country.",
    )
    time_zone = forms.ChoiceField(choices=_zones, required=False, widget=forms.Select(attrs={"class": "field"}))
    timeframes = forms.MultipleChoiceField(
        choices=[(name, name) for name in TIMEFRAMES],
        widget=forms.CheckboxSelectMultiple,
        help_text="Shown in the matrix and among the alerts.",
        error_messages={"required": "Choose at least one timeframe."},
    )
    minimum_position_value = forms.FloatField(
        min_value=0,
        max_value=1e12,
        label="Smallest position, $",
        widget=forms.NumberInput(attrs={"class": "field", "step": "any", "inputmode": "decimal"}),
        help_text="What you hold of less value is dust: it is not watched for you.",
    )
    theme = forms.ChoiceField(choices=Theme.choices, widget=forms.RadioSelect)
    palette = forms.ChoiceField(choices=Palette.choices, widget=forms.RadioSelect, label="Colours")

    class Meta:
        model = Preferences
        fields = ["region", "time_zone", "timeframes", "minimum_position_value", "theme", "palette"]

    def clean_region(self) -> str:
        return self.cleaned_data["region"].strip().upper()


class UseForm(forms.Form):
    """How the user uses one exchange; which one is the own one is a choice over all of them."""

    watch = forms.BooleanField(required=False)
    share = forms.BooleanField(required=False)

    def __init__(self, exchange: Exchange, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, prefix=exchange.pk, **kwargs)
        for name, says in (("watch", "Watch"), ("share", "Share my signals of")):
            self.fields[name].widget.attrs["aria-label"] = f"{says} {exchange.name}"


class KeyForm(forms.Form):
    """A read-only key. It goes in and never comes out."""

    key = forms.CharField(label="Key", max_length=2_000, widget=forms.TextInput(attrs={**SECRET, "autocomplete": "off"}))
    secret = forms.CharField(label="Secret", max_length=10_000, strip=True, widget=forms.Textarea(attrs={**SECRET, "rows": 3}))
    passphrase = forms.CharField(
        label="Passphrase",
        required=False,
        max_length=2_000,
        widget=forms.PasswordInput(attrs=SECRET),
        help_text="If there is one.",
    )

    def __init__(self, exchange: Exchange, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, prefix=f"key-{exchange.pk}", **kwargs)
