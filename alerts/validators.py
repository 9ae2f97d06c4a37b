"""What a person may type into an alert rule."""

from typing import Any

from django.core.exceptions import ValidationError

from exchanges.validators import known_timeframes


def positive(value: float) -> None:
    if not 0 < value <= 10_000:
        raise ValidationError("Use a number above 0 and up to 10,000.")


def percent(value: float) -> None:
    if not 0 <= value <= 100:
        raise ValidationError("Use a percentage from 0 to 100.")


def levels(value: Any) -> None:
    if not isinstance(value, list) or not value or len(value) > 50:
        raise ValidationError("Write a JSON list of 1 to 50 numbers, e.g. [150, 200].")
    for level in value:
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= 10_000:
            raise ValidationError(f"{level!r} is not a level: use numbers above 0 and up to 10,000.")
    if len(set(value)) != len(value):
        raise ValidationError("A level stands there twice.")


def timeframes(value: Any) -> None:
    """A rule may do without 5m; an exchange may not."""
    known_timeframes(value)
