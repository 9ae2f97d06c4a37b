"""What several adapters need to read a wire: numbers and times as exchanges write them. Pure."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf, isfinite
from typing import TypeVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchanges.events import Balance, Candle, Credentials, Rejected, RestRefusal

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)
"""What decoding foreign bytes may raise."""

EARLIEST, LATEST = 1_230_768_000_000, 4_102_444_800_000
"""2009-01-01 and 2100-01-01: a candle outside is not a candle of this market."""


class BadAnswer(ValueError):
    """A REST answer that is not what was asked for; ``refusal`` where it is an error that the exchange explains."""

    def __init__(self, text: str, refusal: RestRefusal | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal


class BadKey(ValueError):
    """A user's key that cannot even sign. The message says what to do, and shows nothing of the key."""


def decode_answer(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode a REST body. Raises BadAnswer, which quotes how the body begins."""
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise BadAnswer(f"{error}; the answer begins {body[:80]!r}") from None


def decode_private(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode a REST body that tells what somebody owns. Raises BadAnswer, which quotes nothing of it."""
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise BadAnswer(str(error)) from None


def held(rows: Iterable[tuple[str, float]]) -> list[Balance]:
    """The balances above 0. Raises BadAnswer for a quantity that is none: a sum without it would be wrong."""
    balances = [Balance(asset, quantity) for asset, quantity in rows]
    for balance in balances:
        if not isfinite(balance.quantity):
            raise BadAnswer(f"the balance of {balance.asset[:20]} is not a number")
    return [balance for balance in balances if balance.quantity > 0]


def stripped(credentials: Credentials) -> Credentials:
    """The key as it can travel in a header, without the blanks a paste leaves around it. Raises BadKey."""
    key = credentials.key.strip()
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise BadKey("this is not an API key: paste the key as the exchange shows it, without line breaks or blanks inside")
    if not credentials.secret.strip():
        raise BadKey("the secret is missing: paste the secret that the exchange showed when the key was made")
    return Credentials(key, credentials.secret.strip(), credentials.passphrase)


_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \1-----", re.DOTALL)


def private_key(credentials: Credentials) -> PrivateKeyTypes | None:
    """The key that the secret holds as PEM, None where it is no PEM. Raises BadKey for a PEM that cannot be read.

    Line breaks may have become ``\\n``, blanks or nothing on the way through a JSON file or a form with one line.
    """
    found = _PEM.search(credentials.secret.replace("\\n", "\n"))
    if found is None:
        return None
    lines = textwrap.wrap("".join(found[2].split()), 64)
    text = "\n".join([f"-----BEGIN {found[1]}-----", *lines, f"-----END {found[1]}-----", ""])
    try:
        return load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey("this PEM private key cannot be read: paste all of it, with its BEGIN and END lines and without a password") from None


def rejected(error: Exception, frame: str | bytes) -> Rejected:
    """The event for a frame that could not be read."""
    sample = frame[:200] if isinstance(frame, str) else frame[:200].decode("utf-8", "backslashreplace")
    return Rejected(f"{type(error).__name__}: {error}"[:200], sample)


def candle_fault(candle: Candle, step: int) -> str:
    """Why this cannot be a candle, or "". NaN fails every comparison, so it is caught here too."""
    low, high, open_time = candle.low, candle.high, candle.open_time
    if not (0.0 < low <= candle.open <= high < inf and low <= candle.close <= high):
        return "prices are not low <= open, close <= high"
    if not 0.0 <= candle.volume < inf:
        return "volume is negative or not a number"
    if open_time % step or not EARLIEST <= open_time < LATEST:
        return f"open time {open_time} is not on a {step} ms boundary"
    return ""


def positive(value: float) -> bool:
    return 0.0 < value < inf


def told(time: int) -> int:
    """When an exchange says it sent something, ms UTC; 0 where that cannot be: a clock that followed it would not come back."""
    return time if EARLIEST <= time < LATEST else 0


def finite(value: float | None) -> float | None:
    """A number; None where there is none."""
    return value if value is not None and -inf < value < inf else None


def number(text: str | float | None) -> float | None:
    """A number out of a field that may be empty; None where there is none."""
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(time: datetime) -> int:
    """Milliseconds UTC of a time that says its zone; to divide the timedelta took half as long again."""
    since = time - EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def told_at(time: datetime) -> int:
    """``told`` of a time that says its zone."""
    return told(milliseconds(time))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def windows(start: int, end: int, step: int, size: int) -> Iterator[tuple[int, int]]:
    """Split [start, end) into windows of at most ``size`` steps."""
    for at in range(start, end, step * size):
        yield at, min(end, at + step * size)


def summed(candles: Sequence[Candle], step: int) -> list[Candle]:
    """Sum ascending candles into those of a longer step: first open, max high, min low, last close, summed volume."""
    result: list[Candle] = []
    for part in candles:
        open_time = part.open_time - part.open_time % step
        if result and result[-1].open_time == open_time:
            whole = result[-1]
            result[-1] = msgspec.structs.replace(
                whole, high=max(whole.high, part.high), low=min(whole.low, part.low), close=part.close, volume=whole.volume + part.volume
            )
        else:
            result.append(msgspec.structs.replace(part, open_time=open_time))
    return result


def bad_key(reason: str, told: str, *, clock: bool = False) -> RestRefusal:
    """The refusal of a user's key: what to do about it, and what the exchange said."""
    return RestRefusal("bad_key", f"{reason} (the exchange says: {told[:200] or 'nothing more'})", final=True, clock=clock)


def http_refusal(status: int, reason: str, retry_after: str | None) -> RestRefusal:
    """What an HTTP status means where the exchange gives it no meaning of its own."""
    seconds = number(retry_after)
    wait = seconds if seconds is not None and 0 <= seconds <= 7 * 86_400 else None
    kinds = {429: "rate_limited", 418: "banned", 403: "blocked", 451: "blocked", 401: "blocked", 404: "not_found"}
    kind = kinds.get(status, "unavailable" if status >= 500 else "bad_request")
    return RestRefusal(kind, f"HTTP {status}: {reason}".rstrip(": "), wait, final=kind in {"not_found", "bad_request"})
