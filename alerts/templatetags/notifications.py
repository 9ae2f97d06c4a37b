"""What the settings page needs of notification channels."""

from typing import NamedTuple

from django import template

from alerts.channels import HINTS, Hint
from alerts.models import Kind
from exchanges.events import TIMEFRAMES

register = template.Library()


class Choice(NamedTuple):
    value: str
    label: str
    hint: Hint


@register.simple_tag
def channel_kinds() -> list[Choice]:
    """The kinds of channels whose address a person types, each with what to type."""
    return [Choice(value, label, HINTS[value]) for value, label in Kind.choices if value in HINTS]


@register.simple_tag
def channel_timeframes() -> list[str]:
    return list(TIMEFRAMES)
