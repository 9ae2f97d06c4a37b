"""What a person may type as the address of a channel. Each error says what to do; nothing of the address is in it.

Also read where addresses are only stored: nothing is sent from here, and nothing is connected to.
"""

import hashlib
import hmac
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from django.conf import settings

from alerts.guard import Guard, guarded
from alerts.models import Kind
from livermore.outbound import Forbidden, Reach

if TYPE_CHECKING:
    import apprise

# Apprise weighs 15 MB: it is imported where an address is looked at, which a web process seldom does.

LONGEST_URL = 2_000


class BadChannel(ValueError):
    """The address cannot be used. The message says what to do."""


class Hint(NamedTuple):
    """What to type, and where to get it."""

    label: str
    example: str
    help: str


HINTS: dict[Any, Hint] = {
    Kind.DISCORD: Hint(
        "Webhook URL",
        "https://discord.com/api/webhooks/…/…",
        "In Discord: the settings of the channel, Integrations, Webhooks, New Webhook, Copy Webhook URL.",
    ),
    Kind.TELEGRAM: Hint(
        "tgram://bot token/chat id",
        "tgram://123456789:AA…/12345678",
        "Make a bot with @BotFather, write to it once, and put its token and your chat id (@userinfobot tells it) into the address.",
    ),
    Kind.EMAIL: Hint(
        "mailtos://user:password@server?to=…",
        "mailtos://me:app-password@gmail.com",
        "The account that sends. An app password works where a second factor is on; smtp= names another server, to= another recipient.",
    ),
    Kind.WEBHOOK: Hint(
        "URL",
        "https://example.org/hook",
        "Each message is POSTed there as JSON: title, message, type.",
    ),
    Kind.OTHER: Hint(
        "Apprise URL",
        "ntfys://ntfy.sh/my-topic",
        "Slack, ntfy, Pushover, Matrix, Gotify and over a hundred more: their addresses are on appriseit.com.",
    ),
}
_CLASSES = {"NotifyDiscord": Kind.DISCORD, "NotifyTelegram": Kind.TELEGRAM, "NotifyEmail": Kind.EMAIL}
_WEBHOOKS = {"NotifyJSON", "NotifyForm", "NotifyXML"}
_NOT_HERE = {"NotifyVapid"}
"""Needs files of this machine; browsers have a way of their own."""


def _asset() -> "apprise.AppriseAsset":
    """No files, nothing kept, nothing of an address in a log."""
    import apprise

    return apprise.AppriseAsset(
        app_id="Livermore",
        app_desc="Livermore",
        secure_logging=True,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        storage_path=None,
        allow_templates=False,
        pgp_autogen=False,
        pem_autogen=False,
        image_url_mask="",
        image_url_logo="",
    )


@cache
def load() -> None:
    """Have Apprise read its plugins, outside of any guard: they are files."""
    import apprise

    apprise.Apprise.instantiate("json://localhost")


def plugin(url: str) -> Any:
    """The Apprise plugin of an address that ``address_of`` gave. Raises BadChannel."""
    import apprise
    from apprise.manager_plugins import NotificationManager

    try:
        found = apprise.Apprise.instantiate(url, asset=_asset(), suppress_exceptions=False)
    except Exception as error:
        if isinstance(error, Forbidden):
            raise
        found = None
    if found is None and url.partition("://")[0].lower() in NotificationManager():
        raise BadChannel("That service cannot be used here, or its address is not whole: compare it with the example, part by part.")
    if found is None:
        raise BadChannel("That is not an address of this service: compare it with the example, part by part.")
    return found


def address_of(kind: str, typed: str) -> tuple[str, str]:
    """(address to store, what it leads to in words) of what was typed for a channel of a kind. Raises BadChannel."""
    url = typed.strip()
    if not url or len(url) > LONGEST_URL or not url.isprintable() or any(letter.isspace() for letter in url):
        raise BadChannel("Type or paste the whole address, without spaces.")
    if kind == Kind.WEBHOOK:
        url = _webhook(url)
    load()
    with guarded(Guard(Reach(public=False))):
        try:
            found = plugin(url)
        except Forbidden:
            raise BadChannel("Addresses that name files of this machine cannot be used.") from None
    _require(kind, found)
    return url, _shown(kind, found)


def _webhook(url: str) -> str:
    """An https address as Apprise spells it; what it asks for behind the question mark stays."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadChannel("Type an address such as https://example.org/hook.") from None
    if parts.scheme not in {"https", "http"}:
        return url
    query = "&".join(f"-{quote(name, safe='')}={quote(value, safe='')}" for name, value in parse_qsl(parts.query, keep_blank_values=True))
    return f"json{'s' if parts.scheme == 'https' else ''}://{parts.netloc}{parts.path}{'?' if query else ''}{query}"


def _require(kind: str, found: Any) -> None:
    name = type(found).__name__
    mail = name == "NotifyEmail"
    if name in _NOT_HERE or not (mail or hasattr(sys.modules[type(found).__module__], "requests")):
        raise BadChannel(f"{found.service_name} cannot be used here: only services over HTTPS, and e-mail.")
    wanted = _CLASSES.get(name, Kind.WEBHOOK if name in _WEBHOOKS else Kind.OTHER)
    if kind != wanted and kind != Kind.OTHER:
        raise BadChannel(f"That is an address of {found.service_name}, not of {Kind(kind).label}: choose the other kind, or correct it.")
    if len(found) > 1 or found.retry:
        raise BadChannel("One recipient for each channel: add another channel for the other one, and leave retry out.")
    if not settings.DEMO:
        _require_tls(found, mail)


def _require_tls(found: Any, mail: bool) -> None:
    if not found.verify_certificate:
        raise BadChannel("Leave verify=no out: the certificate of the other end is always checked.")
    secure = found.secure_mode != "insecure" if mail else found.secure or not _has_clear(found)
    if not secure:
        raise BadChannel("Use the encrypted spelling (https://, mailtos://, ntfys:// …): nothing is sent in clear.")


def _has_clear(found: Any) -> bool:
    """Whether a service has a spelling without TLS at all."""
    return bool(getattr(found, "protocol", None)) and bool(getattr(found, "secure_protocol", None))


def _shown(kind: str, found: Any) -> str:
    name = str(found.service_name)
    if kind in {Kind.WEBHOOK, Kind.OTHER} and getattr(found, "host", None) and getattr(found, "secure_protocol", None):
        return f"{name} at {found.host}"[:80] if type(found).__name__ in _WEBHOOKS else name[:80]
    return name[:80]


def digest_of(url: str) -> str:
    """To find an address again without reading any: keyed, so that it tells nothing."""
    return hmac.new(settings.SECRET_KEY.encode(), url.encode(), hashlib.sha256).hexdigest()
