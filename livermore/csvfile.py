"""CSV files for spreadsheets. The one way an export is written: a cell that a spreadsheet would run is disarmed (CSV injection)."""

import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from django.http import StreamingHttpResponse

STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Also full-width, as some spreadsheets read them."""
_WIDE = tuple(chr(ord(sign) + 0xFEE0) for sign in "=+-@")


def disarmed(cell: Any) -> Any:
    """Text that a spreadsheet could take for a formula gets an apostrophe before it; numbers stay numbers, None is empty."""
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, str):
        return cell
    text = cell.replace("\0", "")
    return f"'{text}" if text.lstrip(" ").startswith((*STARTS_A_FORMULA, *_WIDE)) else text


class _Line:
    """csv.writer writes to it; it hands the line back."""

    def write(self, text: str) -> str:
        return text


_write = csv.writer(_Line(), quoting=csv.QUOTE_NONNUMERIC).writerow


def line(cells: Iterable[Any]) -> str:
    """CRLF at the end and every text quoted, as RFC 4180 and spreadsheets have it."""
    return str(_write([disarmed(cell) for cell in cells]))


async def _lines(heads: Sequence[str], parts: AsyncIterator[Iterable[Sequence[Any]]]) -> AsyncIterator[str]:
    yield line(heads)
    async for rows in parts:
        yield "".join(line(row) for row in rows)


def answer(name: str, heads: Sequence[str], parts: AsyncIterator[Iterable[Sequence[Any]]]) -> StreamingHttpResponse:
    """A download that is written as it is read, some rows at a time."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(_lines(heads, parts), content_type="text/csv; charset=utf-8", headers=headers)
