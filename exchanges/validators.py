"""What a person may type into an exchange row. Each error says what to do."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from exchanges.adapters import adapter_for
from exchanges.events import BASE_TIMEFRAME, TIMEFRAMES, Limits
from livermore.configuration import is_loopback

exchange_slug = RegexValidator(r"^[a-z0-9]+(-[a-z0-9]+)*\Z", "Use lower-case letters, digits and single dashes, e.g. binance-us.")

_LIMIT_NAMES = {field.name: field.type for field in msgspec.structs.fields(Limits)}
_TEMPLATE_FIELDS = {"base", "quote", "symbol", "base_lower", "quote_lower", "symbol_lower"}


def _url(value: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValidationError(f"Not a URL: {error}.") from None
    if parts.scheme not in schemes or not host:
        raise ValidationError(f"Start with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host name.")
    if parts.username or parts.password or "@" in parts.netloc:
        raise ValidationError("Leave user names and passwords out of the URL.")
    if parts.fragment or re.search(r"[\s\\\x00-\x1f\x7f]", value):
        raise ValidationError("The URL holds a character that does not belong there.")


def websocket_url(value: str) -> None:
    _url(value, ("wss", "ws"))


def rest_url(value: str) -> None:
    _url(value, ("https", "http"))
    if "?" in value:
        raise ValidationError("Leave the question mark and what follows out: requests add their own.")


def hosts_of(adapter: str) -> tuple[str, ...]:
    """Where an exchange of this adapter may be: the adapter's own hosts, and what EXCHANGE_HOSTS adds. Raises LookupError."""
    return (*adapter_for(adapter).hosts, *settings.EXCHANGE_HOSTS.get(adapter, ()))


def exchange_urls(adapter: str, websocket: str, rest: str, *, is_sandbox: bool) -> dict[str, str]:
    """Where these URLs may not point, by field: a sandbox stays on loopback, an exchange on the adapter's hosts over TLS."""
    try:
        hosts = hosts_of(adapter)
    except LookupError as error:
        return {"adapter": str(error)}
    errors: dict[str, str] = {}
    for field, value, secure in (("websocket_url", websocket, "wss"), ("rest_url", rest, "https")):
        try:
            parts = urlsplit(value)
            host = (parts.hostname or "").lower()
        except ValueError:
            host = ""
        if not host:
            continue  # the field's own validator says so
        if is_sandbox:
            if not is_loopback(host):
                errors[field] = "A simulated exchange is served from this machine: use 127.0.0.1."
        elif parts.scheme != secure:
            errors[field] = f"Use {secure}://: only a simulated exchange may go without TLS."
        elif host not in hosts:
            errors[field] = f"{host} is not a host of this adapter; known: {', '.join(hosts)}."
    return errors


def limits(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValidationError('Write a JSON object, e.g. {"messages_per_second": 5}.')
    for name, number in value.items():
        if name not in _LIMIT_NAMES:
            raise ValidationError(f"Unknown limit {name!r}; known: {', '.join(_LIMIT_NAMES)}.")
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 10_000_000:
            raise ValidationError(f"{name} must be a number from 0 to 10,000,000.")
        if _LIMIT_NAMES[name] is int and number != int(number):
            raise ValidationError(f"{name} must be a whole number.")
        if number == 0 and name != "max_connection_age":
            raise ValidationError(f"{name} may not be 0: nothing could be sent.")


def merged_limits(own: Limits, overrides: Mapping[str, Any]) -> Limits:
    """The adapter's limits with a row's overrides; whole-number limits stay whole."""
    known = {name: (int(value) if _LIMIT_NAMES[name] is int else float(value)) for name, value in overrides.items() if name in _LIMIT_NAMES}
    return msgspec.structs.replace(own, **known)


def geo_restrictions(value: Any) -> None:
    if not isinstance(value, dict) or set(value) - {"allow", "deny", "note"}:
        raise ValidationError('Write {"deny": ["US"]} or {"allow": ["US"]}, with an optional "note".')
    if "allow" in value and "deny" in value:
        raise ValidationError("Give either allow or deny, not both.")
    for name in ("allow", "deny"):
        codes = value.get(name, [])
        if not isinstance(codes, list) or not all(isinstance(code, str) and re.fullmatch(r"[A-Z]{2}", code) for code in codes):
            raise ValidationError(f"{name} is a list of two-letter country codes in capitals, e.g. US.")
    if not isinstance(value.get("note", ""), str):
        raise ValidationError("note is a sentence.")


def timeframes(value: Any) -> None:
    """Of an exchange: a list that holds 5m."""
    known_timeframes(value)
    if BASE_TIMEFRAME not in value:
        raise ValidationError(f"{BASE_TIMEFRAME} has to be there: the others are summed from it.")


def known_timeframes(value: Any) -> None:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item in TIMEFRAMES for item in value):
        raise ValidationError(f"Choose at least one of {', '.join(TIMEFRAMES)}.")
    if len(set(value)) != len(value):
        raise ValidationError("A timeframe stands there twice.")


def region(value: str) -> None:
    if not re.fullmatch(r"[A-Z]{2}", value):
        raise ValidationError("Write a two-letter country code in capitals, e.g. US.")


def region_or_nothing(value: str) -> None:
    if value:
        region(value.upper())


def time_zone(value: str) -> None:
    if value not in available_timezones():
        raise ValidationError(f"{value[:64]!r} is not a time zone: use a name such as Europe/Berlin or America/New_York.")


def trade_url_template(value: str) -> None:
    """An https URL on a fixed host, with placeholders that str.format fills in."""
    _url(value, ("https",))
    rest = value
    for name in _TEMPLATE_FIELDS:
        rest = rest.replace(f"{{{name}}}", "")
    if "{" in rest or "}" in rest:
        raise ValidationError(f"Use only {', '.join(f'{{{name}}}' for name in sorted(_TEMPLATE_FIELDS))}.")
    if "{" in urlsplit(value).netloc:
        raise ValidationError("The host of the trade page is fixed: use placeholders after it.")
