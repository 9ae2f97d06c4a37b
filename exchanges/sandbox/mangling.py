"""How faults change the text of frames and bodies. Pure."""

import re
from collections.abc import Iterable

_NUMBER = re.compile(r'"(?:o|open|c|price|last)":("?)([0-9.]+)\1')
HUGE = 10_000_000
"""Characters of the frame that is too large."""


def mangled(text: str, form: str) -> str | bytes:
    """The frame as it arrives. Bytes are to be sent as a text frame: they are not UTF-8."""
    match form:
        case "truncated":
            return text[: max(1, len(text) // 2)]
        case "utf8":
            half = len(text) // 2
            return text[:half].encode() + b"\xff\xfe" + text[half:].encode()
        case "list":
            return "[]"
        case "unknown":
            return '{"e":"neverHeardOf","channel":"never_heard_of","x":{"y":[1,2,3]}}'
        case "types":
            return _NUMBER.sub(lambda found: found[0].replace(f"{found[1]}{found[2]}{found[1]}", '{"value":[]}'), text)
        case "huge":
            return text[:-1] + ',"padding":"' + "x" * HUGE + '"}'
    replacement = {"nan": "NaN", "infinite": "1e400", "negative": "-1"}[form]
    return _NUMBER.sub(lambda found: found[0].replace(f"{found[1]}{found[2]}{found[1]}", f"{found[1]}{replacement}{found[1]}"), text)


def sliced(text: str | bytes, size: int) -> list[str] | list[bytes]:
    """The fragments of a frame."""
    if isinstance(text, bytes):
        return [text[at : at + size] for at in range(0, len(text), size)]
    return [text[at : at + size] for at in range(0, len(text), size)]


def swapped(text: str, names: Iterable[tuple[str, str]]) -> str:
    """The text with the names of each pair in one another's place, also where they are written small (as in Binance's streams).

    Applied to what a renamed market's exchange gets and to what it says, it makes the old name the unknown one.
    """
    for pair in names:
        for one, other in {pair, (pair[0].lower(), pair[1].lower())}:
            both = re.compile(rf"(?<![A-Za-z0-9])(?:{re.escape(one)}|{re.escape(other)})(?![A-Za-z0-9])")
            text = both.sub(lambda found, one=one, other=other: other if found[0] == one else one, text)  # type: ignore[misc]
    return text
