"""The file format of a recorded feed: what one connector heard from its exchange, byte for byte, in the order in which it took it in. Pure.

A line that names the format and its version, a line of JSON that says what was recorded, then blocks: length and CRC-32 of what follows,
CRC-32 of these two (big-endian, 4 bytes each), and records, compressed together. What a crash tore off at the end is one block at most;
all before it is read. Records carry the time of the receipt in milliseconds UTC (``at``).

Nothing of a user is in it: signed requests and their answers are left out, and of an answer's headers only those in KEPT_HEADERS stand.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from struct import Struct as Layout
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

FORMAT = b"livermore feed "
VERSION = 1
KEPT_HEADERS = ("retry-after", "x-ratelimit-reset")
"""What adapters read of a refusal."""
LARGEST_BLOCK = 256 * 2**20
"""Bytes, also uncompressed: what claims more is damaged."""
_LONGEST_LINE = 65_536
_BLOCK = Layout(">II")
_CHECK = Layout(">I")
_RECORD = Layout(">I")


class Header(Struct, frozen=True, kw_only=True):
    """What was recorded, by what, and since when (``started``, ms UTC). ``symbols``: those asked for; empty: the exchange's pool."""

    exchange: str
    adapter: str
    name: str
    simulated: bool
    timeframes: list[str]
    symbols: list[str]
    started: int
    software: str


class Followed(Struct, frozen=True, array_like=True, tag="followed"):
    """The symbols and rules that hold from here on.

    ``clock``: the exchange's (ms); ``members``: (symbol, base, quote); ``rules``: as ``alerts.rules.Rule`` has them. Of the new members:
    ``checkpoints``: (symbol, timeframe, open time, indicator, memory), ``fired``: (symbol, timeframe, rule id, label, close time).
    """

    at: int
    clock: int
    members: list[tuple[str, str, str]]
    rules: list[dict[str, Any]]
    checkpoints: list[tuple[str, str, int, str, str]]
    fired: list[tuple[str, str, int, str, int]]


class Connection(Struct, frozen=True, array_like=True, tag="state"):
    """What became of a connection, as ``events.Lifecycle`` has it."""

    at: int
    connection: int
    state: str
    reason: str


class Opened(Struct, frozen=True, array_like=True, tag="open"):
    """A socket stands; ``link`` numbers it. A connection that is replaced has two for a while."""

    at: int
    link: int


class Closed(Struct, frozen=True, array_like=True, tag="closed"):
    at: int
    link: int


class Frame(Struct, frozen=True, array_like=True, tag="f", gc=False):
    """A websocket frame, before anything looked at it."""

    at: int
    link: int
    data: bytes


class Asked(Struct, frozen=True, array_like=True, tag="asked"):
    """Candles that open in [start, end) were wanted over REST."""

    at: int
    symbol: str
    timeframe: str
    start: int
    end: int


class Answered(Struct, frozen=True, array_like=True, tag="answered"):
    """What a request brought. ``status`` 0: no answer at all, and ``body`` says why."""

    at: int
    path: str
    params: tuple[tuple[str, str], ...]
    status: int
    headers: dict[str, str]
    body: bytes


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """The last record of a recording that was ended in order."""

    at: int
    reason: str


Record = Followed | Connection | Opened | Closed | Frame | Asked | Answered | Ended

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class NotReadable(Exception):
    """This is no recording, or one of another version. The message says what to do."""


class Damaged(Exception):
    """A recording is broken before its end. ``at``: the byte where."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(f"damaged at byte {at:,}: {why}")
        self.at = at


def beginning(header: Header) -> bytes:
    """The two lines that a recording begins with."""
    return b"%b%d\n%b\n" % (FORMAT, VERSION, msgspec.json.encode(header))


def block(records: Iterable[bytes]) -> bytes:
    """Encoded records as one block."""
    packed = zlib.compress(b"".join(_RECORD.pack(len(record)) + record for record in records))
    head = _BLOCK.pack(len(packed), zlib.crc32(packed))
    return head + _CHECK.pack(zlib.crc32(head)) + packed


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Of an answer's headers those that are recorded."""
    return {name: headers[name] for name in KEPT_HEADERS if name in headers}


class Reader:
    """Reads a recording from its beginning. ``torn``: after the last record, whether its end was torn off.

    Raises NotReadable at once; ``records`` raises Damaged where it comes to that place.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.torn = False
        self.header = _header(file)

    def records(self) -> Iterator[Record]:
        while (packed := self._block()) is not None:
            at = self._file.tell()
            try:
                yield from _records(packed)
            except (zlib.error, msgspec.MsgspecError, ValueError) as error:
                raise Damaged(at - len(packed), f"a block that cannot be unpacked ({error})") from None

    def _block(self) -> bytes | None:
        at = self._file.tell()
        head = self._file.read(_BLOCK.size + _CHECK.size)
        if len(head) < _BLOCK.size + _CHECK.size:
            self.torn = bool(head)
            return None
        length, checksum = _BLOCK.unpack_from(head)
        if _CHECK.unpack_from(head, _BLOCK.size)[0] != zlib.crc32(head[: _BLOCK.size]) or length > LARGEST_BLOCK:
            self._check_end(at, head, "what should be the head of a block is none")
            return None
        packed = self._file.read(length)
        if len(packed) < length:
            self.torn = True
            return None
        if zlib.crc32(packed) != checksum:
            self._check_end(at, packed, "a block whose checksum is wrong")
            return None
        return packed

    def _check_end(self, at: int, seen: bytes, why: str) -> None:
        """Nothing behind a bad block, or nothing but zeros, is how a power cut leaves an end; anything else is damage."""
        rest = self._file.read(1)
        if rest and (any(seen) or any(rest) or any(self._file.read())):
            raise Damaged(at, why)
        self.torn = True


def _header(file: BinaryIO) -> Header:
    line = file.readline(_LONGEST_LINE)
    if not line.startswith(FORMAT) or not line.endswith(b"\n"):
        raise NotReadable("it is not a recorded feed: name a file that recordfeed, or runexchange --record, has written")
    version = line.removeprefix(FORMAT).strip().decode("ascii", "replace")
    said = file.readline(_LONGEST_LINE)
    if version != str(VERSION):
        raise NotReadable(f"it has format {version[:20]}, and this Livermore reads {VERSION}: replay it with {_software(said)}")
    try:
        return msgspec.json.decode(said, type=Header)
    except msgspec.MsgspecError as error:
        raise NotReadable(f"its second line does not say what was recorded ({error}): copy it again from where it was recorded") from None


def _software(said: bytes) -> str:
    try:
        return f"livermore {msgspec.json.decode(said)['software']}, which recorded it"
    except (msgspec.MsgspecError, KeyError, TypeError):
        return "the one that recorded it"


def _records(packed: bytes) -> Iterator[Record]:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, LARGEST_BLOCK)
    if not unpacker.eof:
        raise ValueError("it does not end where it should")
    at = 0
    while at < len(data):
        (length,) = _RECORD.unpack_from(data, at) if len(data) - at >= _RECORD.size else (len(data),)
        at += _RECORD.size
        if length > len(data) - at:
            raise ValueError("a record does not end where it should")
        yield _decode(data[at : at + length])
        at += length
