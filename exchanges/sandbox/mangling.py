"""How the ``corrupt`` fault breaks a frame. Pure."""

import re

_NUMBER = re.compile(r'"(?:o|open|c|price)":"([0-9.]+)"')
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
            return _NUMBER.sub(lambda found: found[0].replace(f'"{found[1]}"', '{"value":[]}'), text)
        case "huge":
            return text[:-1] + ',"padding":"' + "x" * HUGE + '"}'
    replacement = {"nan": "NaN", "infinite": "1e400", "negative": "-1"}[form]
    return _NUMBER.sub(lambda found: found[0].replace(f'"{found[1]}"', f'"{replacement}"'), text)
