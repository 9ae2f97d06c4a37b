"""What the settings page needs of notification channels."""

from typing import NamedTuple

from django import template

from alerts.channels import HINTS, Hint
from exchanges.events import TIMEFRAMES

register = template.Library()


class Choice(NamedTuple):
    value: str
    label: str
    hint: Hint


@register.simple_tag
def channel_kinds() -> list[Choice]:
    """The kinds of channels whose address a person types, each with what to type."""
    return [Choice(kind.value, str(kind.label), hint) for kind, hint in HINTS.items()]


@register.simple_tag
def channel_timeframes() -> list[str]:
    return list(TIMEFRAMES)
