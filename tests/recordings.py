"""Payloads recorded from the real exchanges, where they lie beside the project. They are not part of it, and tests skip without them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "fixtures"


def recording(name: str) -> Path:
    """A recording's path; skips the test where it is not there."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    return path


def received(name: str) -> Iterator[str]:
    """The frames an exchange sent, of a recording that holds one JSON object a line."""
    for line in recording(name).read_text().splitlines():
        row = json.loads(line)
        if row["t"] == "recv":
            yield row["data"]
