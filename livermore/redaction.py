"""Nothing secret in a log line, whoever wrote it: a library's debug output, a traceback, an exchange's answer that repeats our key.

Two ways: values that are known to be secret (those of the settings, and each stored credential once this process has read or written it)
are taken out wherever they stand, and what looks like a secret is taken out by its shape.
"""

import logging
import re
from collections import OrderedDict
from threading import Lock

HIDDEN = "(hidden)"
SHORTEST = 8
"""A known value that is shorter would take ordinary words out of the log."""
MOST = 2000

_PEM_LINE = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")
_known: OrderedDict[str, None] = OrderedDict()
_lock = Lock()

_NAMES = r"(?:api[-_]?key|api[-_]?secret|secret(?:[-_]?key)?|pass(?:word|phrase|wd)?|token|signature|sessionid|csrftoken|cb-access-\w+)"
# Repeats that may begin anywhere are bounded: a long word without any of this must not cost its length squared.
_SHAPES = [
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(r"\blvm_\w{8,}"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{8,}"), rf"\1\2{HIDDEN}"),
    # Webhooks carry their secret in the path.
    (re.compile(r"(?i)(https://(?:hooks\.slack\.com|(?:\w+\.)?discord(?:app)?\.com/api/webhooks|api\.telegram\.org)/)\S+"), rf"\1{HIDDEN}"),
    (re.compile(r"([a-z][a-z0-9+.-]{0,20}://[^\s/@:]*:)[^\s/@]+@"), rf"\1{HIDDEN}@"),
    # URLs of notification services are secrets as a whole: tgram://bot-token/chat.
    (
        re.compile(r"\b(?!https?:|wss?:|rediss?:|unix:|postgres(?:ql)?:|sqlite:|file:)([a-z][a-z0-9+.-]{2,20})://[^\s'\"]+"),
        rf"\1://{HIDDEN}",
    ),
    (re.compile(rf"(?i)(?<!\w)((?:[\w-]{{0,60}}[_-])?{_NAMES}['\"]?\s*[=:]\s*['\"]?)(?!\(hidden\))[^\s'\",;&)\]}}]{{4,}}"), rf"\1{HIDDEN}"),
]


def remember(*values: str) -> None:
    """Take these out of every log line from now on; of several lines, each.

    But for those around a PEM: by them a key that is not known is told.
    """
    parts = [part.strip() for value in values for part in (value, *value.splitlines()) if not _PEM_LINE.fullmatch(part.strip())]
    with _lock:
        for part in parts:
            if len(part) >= SHORTEST:
                _known[part] = None
                _known.move_to_end(part)
        while len(_known) > MOST:
            _known.popitem(last=False)


def redact(text: str) -> str:
    """The text without secrets."""
    for value in list(_known):
        if value in text:
            text = text.replace(value, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


class RedactingFormatter(logging.Formatter):
    """The last thing a line goes through: message, traceback and stack alike."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class RedactingFilter(logging.Filter):
    """For handlers with a formatter of their own: the message, and the traceback as text."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception as error:  # arguments that do not fit: the caller must not fail over a log line
            message = f"{record.msg} [its arguments do not fit: {type(error).__name__}]"
        record.msg, record.args = redact(message), ()
        if record.exc_info:
            record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        return True
