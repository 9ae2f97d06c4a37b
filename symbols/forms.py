"""The forms of the settings page. What was typed stays on an error, but for secrets, which never come back."""

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from exchanges import tokens
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, Palette, Preferences, Theme

SECRET = {"autocomplete": "new-password", "spellcheck": "false", "class": "field"}


@cache
def _zones() -> list[tuple[str, str]]:
    places = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/")))
    return [("", "As the browser"), ("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]


class LongSelect(forms.Select):
    """A select with hundreds of options: written at once, for a template an option takes 100 ms."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        attributes = flatatt(self.build_attrs(self.attrs, {"name": name, **(attrs or {})}))
        chosen = set(self.format_value(value))
        options = format_html_join("", '<option value="{}"{}>{}</option>', self._options(chosen))
        return format_html("<select{}>{}</select>", attributes, options)

    def _options(self, chosen: set[str]) -> Iterator[tuple[str, str, str]]:
        for value, label in self.choices:
            yield value, flatatt({"selected": value in chosen}), label


class PreferencesForm(forms.ModelForm):
    region = forms.CharField(
        required=False,
        max_length=2,
        widget=forms.TextInput(attrs={"class": "field", "size": 4, "placeholder": "e.g. US", "autocomplete": "country"}),
        help_text="Two-letter country code. Not every exchange serves every country.",
    )
    time_zone = forms.ChoiceField(choices=_zones, required=False, widget=LongSelect(attrs={"class": "field"}))
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
    show_moves = forms.BooleanField(
        required=False,
        label="Moves elsewhere",
        widget=forms.CheckboxInput(),
        help_text="Say when a coin moves on another exchange and the one where you buy has not followed yet.",
    )
    theme = forms.ChoiceField(choices=Theme.choices, widget=forms.RadioSelect)
    palette = forms.ChoiceField(choices=Palette.choices, widget=forms.RadioSelect, label="Colours")

    class Meta:
        model = Preferences
        fields = ["region", "time_zone", "timeframes", "minimum_position_value", "show_moves", "theme", "palette"]

    def clean_region(self) -> str:
        return self.cleaned_data["region"].strip().upper()


class UseForm(forms.Form):
    """How the user uses one exchange; which one is the own one is a choice over all of them."""

    watch = forms.BooleanField(required=False)
    share = forms.BooleanField(required=False)
    fee = forms.DecimalField(
        required=False,
        min_value=0,
        max_value=100,
        decimal_places=4,
        widget=forms.NumberInput(attrs={"class": "field fee", "step": "any", "inputmode": "decimal", "form": "exchanges-form"}),
        error_messages={"invalid": "A number of per cent is wanted, e.g. 0.075."},
    )

    def __init__(self, exchange: Exchange, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, prefix=exchange.pk, **kwargs)
        for name, says in (("watch", "Watch"), ("share", "Share my signals of")):
            self.fields[name].widget.attrs["aria-label"] = f"{says} {exchange.name}"
        published = f"{(exchange.taker_fee * 100).normalize():f}"
        self.fields["fee"].widget.attrs |= {"aria-label": f"My taker fee on {exchange.name}, per cent", "placeholder": published}

    def clean_fee(self) -> Decimal | None:
        """The share of one, as it is stored; None: the published one."""
        fee: Decimal | None = self.cleaned_data["fee"]
        return None if fee is None else fee / 100


class SecretTextarea(forms.Textarea):
    """Room for a key of several lines, which the page never gets back."""

    def format_value(self, value: Any) -> str:
        return ""


class KeyForm(forms.Form):
    """A read-only key. It goes in and never comes out."""

    key = forms.CharField(label="Key", max_length=2_000, widget=forms.TextInput(attrs={**SECRET, "autocomplete": "off"}))
    secret = forms.CharField(label="Secret", max_length=10_000, strip=True, widget=SecretTextarea(attrs={**SECRET, "rows": 3}))
    passphrase = forms.CharField(
        label="Passphrase",
        required=False,
        max_length=2_000,
        widget=forms.PasswordInput(attrs=SECRET),
        help_text="If there is one.",
    )

    def __init__(self, exchange: Exchange, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, prefix=f"key-{exchange.pk}", **kwargs)


class TokenForm(forms.Form):
    """A new API token: what it is for, and for how long."""

    name = forms.CharField(
        max_length=60, label="What it is for", widget=forms.TextInput(attrs={"class": "field", "placeholder": "e.g. my bot at home"})
    )
    days = forms.TypedChoiceField(
        coerce=int,
        choices=[(days, f"{days} days") for days in tokens.LIFETIMES],
        initial=90,
        label="It ends after",
        widget=forms.Select(attrs={"class": "field"}),
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError("Letters, digits and signs only.")
        return name
