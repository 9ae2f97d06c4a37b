"""The format of a recorded feed: what went in comes out, a torn end costs the end only, damage is never taken for data."""

import io
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges import recorder as recorder_module
from exchanges import recording
from exchanges.adapters import binance
from exchanges.events import Credentials, Lifecycle, Request
from exchanges.recorder import Recorder
from exchanges.recording import Damaged, Ended, Frame, Header, NotReadable, Reader, Record, beginning, block, encode
from exchanges.rest import RestClient
from livermore.outbound import LOOPBACK
from tests.exchanges.scripted import LIMITS
from tests.exchanges.test_rest import host

PROJECT = Path(__file__).resolve().parents[2]
HEADER = Header(
    exchange="coinbase",
    adapter="coinbase",
    name="Coinbase",
    simulated=False,
    timeframes=["5m", "1h"],
    symbols=["BTC-USD"],
    started=1_790_000_000_000,
    software="0.1.0",
)
BEGINNING = beginning(HEADER)
BLOCKS = st.lists(st.lists(st.deferred(lambda: ANY), min_size=1, max_size=4), max_size=4)


def _strategy(kind: Any) -> st.SearchStrategy[Any]:
    whole = st.integers(-(2**62), 2**62)
    if kind is recording.Followed:
        rules = st.lists(st.dictionaries(st.text(), st.none() | whole | st.floats(allow_nan=False) | st.text()), max_size=2)
        checkpoints = st.lists(st.tuples(st.text(), st.text(), whole, st.text(), st.text()), max_size=2)
        fired = st.lists(st.tuples(st.text(), st.text(), whole, st.text(), whole), max_size=2)
        return st.builds(kind, whole, whole, st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=2), rules, checkpoints, fired)
    return st.builds(kind, **{field.name: _value(field.type, whole) for field in msgspec.structs.fields(kind)})


def _value(kind: Any, whole: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    simple = {int: whole, str: st.text(), bytes: st.binary(max_size=200), dict[str, str]: st.dictionaries(st.text(), st.text(), max_size=2)}
    return simple.get(kind, st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple))


ANY = st.one_of([_strategy(kind) for kind in Record.__args__])


def file_of(blocks: list[list[Record]]) -> bytes:
    return BEGINNING + b"".join(block(map(encode, records)) for records in blocks)


def read(data: bytes) -> tuple[list[Record], Reader]:
    reader = Reader(io.BytesIO(data))
    return list(reader.records()), reader


@given(BLOCKS)
def test_what_went_in_comes_out(blocks: list[list[Record]]) -> None:
    records, reader = read(file_of(blocks))
    assert reader.header == HEADER
    assert records == [record for one in blocks for record in one]
    assert not reader.torn


@given(BLOCKS, st.data())
def test_wherever_it_is_torn_off_all_whole_blocks_before_that_are_there(blocks: list[list[Record]], data: st.DataObject) -> None:
    whole = file_of(blocks)
    cut = data.draw(st.integers(len(BEGINNING), len(whole)))
    ends = [len(file_of(blocks[:count])) for count in range(len(blocks) + 1)]
    complete = max(count for count, end in enumerate(ends) if end <= cut)

    records, reader = read(whole[:cut])
    assert records == [record for one in blocks[:complete] for record in one]
    assert reader.torn == (cut not in ends)


@given(BLOCKS.filter(bool), st.data())
def test_a_wrong_byte_anywhere_is_told_and_never_taken_for_data(blocks: list[list[Record]], data: st.DataObject) -> None:
    whole = bytearray(file_of(blocks))
    place = data.draw(st.integers(len(BEGINNING), len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    sound = max(count for count in range(len(blocks)) if len(file_of(blocks[:count])) <= place)

    reader, records, damaged_at = Reader(io.BytesIO(bytes(whole))), [], None
    try:
        for record in reader.records():
            records.append(record)
    except Damaged as error:
        damaged_at = error.at
    if damaged_at is None:
        assert reader.torn
        assert sound == len(blocks) - 1, "the last block may be what a crash has left"
    else:
        assert damaged_at <= place
    assert records == [record for one in blocks[:sound] for record in one]


def test_zeros_at_the_end_are_what_a_power_cut_leaves() -> None:
    records, reader = read(file_of([[Frame(1, 1, b"a")]]) + b"\0" * 4096)
    assert (records, reader.torn) == ([Frame(1, 1, b"a")], True)


def test_a_block_that_would_be_huge_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LARGEST_BLOCK", 1_000_000)
    bomb = zlib.compress(b"\0" * (recording.LARGEST_BLOCK + 1), 1)
    head = recording._BLOCK.pack(len(bomb), zlib.crc32(bomb))
    with pytest.raises(Damaged, match="cannot be unpacked"):
        read(BEGINNING + head + recording._CHECK.pack(zlib.crc32(head)) + bomb)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_what_is_no_recording_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotReadable, match="it is not a recorded feed: name a file that recordfeed"):
        Reader(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (BEGINNING.replace(b" 1\n", b" 2\n", 1), r"it has format 2, and this Livermore reads 1: replay it with livermore 0\.1\.0, which"),
        (b"livermore feed 9\n\xff\n", "it has format 9, and this Livermore reads 1: replay it with the one that recorded it"),
        (b"livermore feed 1\n", "its second line does not say what was recorded"),
        (b'livermore feed 1\n{"exchange":1}\n', "its second line does not say what was recorded"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(data: bytes, says: str) -> None:
    with pytest.raises(NotReadable, match=says):
        Reader(io.BytesIO(data))


# Writing it


def test_what_is_heard_is_in_the_file_for_its_owner_only(tmp_path: Path) -> None:
    path, before = tmp_path / "a.feed", time.time_ns() // 1_000_000
    recorder = Recorder(path, HEADER, most_bytes=10**6)
    link = recorder.opened()
    for number in range(10_000):
        recorder.frame(link, b"frame %d \xff\0" % number)
    recorder.asked("BTC-USD", "5m", 1, 2)
    recorder.answered(Request("/x", (("a", "b"),)), 200, {}, b"body")
    recorder.closed(link)
    recorder.close("enough")
    recorder.frame(link, b"after its end")

    records, reader = read(path.read_bytes())
    kinds = [type(record).__name__ for record in records]
    assert kinds == ["Opened", *["Frame"] * 10_000, "Asked", "Answered", "Closed", "Ended"]
    assert [record.data for record in records[1:10_001]] == [b"frame %d \xff\0" % number for number in range(10_000)]
    assert all(before <= record.at <= time.time_ns() // 1_000_000 for record in records)
    assert not reader.torn
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == recorder.written < 200_000
    with pytest.raises(FileExistsError):
        Recorder(path, HEADER, most_bytes=10**6)


def test_at_its_largest_it_ends_and_says_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.feed", HEADER, most_bytes=2**20)
    deadline = time.monotonic() + 20
    noise = [zlib.compress(str(number).encode() * 3) + number.to_bytes(8, "big") * 4 for number in range(1000)]
    while not recorder.ended and time.monotonic() < deadline:
        for one in noise:
            recorder.frame(1, one + time.time_ns().to_bytes(8, "big"))
        time.sleep(0.001)
    recorder.close("too late")

    records, _ = read((tmp_path / "a.feed").read_bytes())
    assert recorder.ended == "it has reached its 1 MiB"
    assert isinstance(records[-1], Ended)
    assert records[-1].reason == "it has reached its 1 MiB"
    assert len(records) > 1000
    assert (tmp_path / "a.feed").stat().st_size < 2**20 + 200


def test_a_disk_that_does_not_keep_up_ends_the_recording_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "MOST_WAITING", 1_000_000)
    monkeypatch.setattr(recorder_module, "WRITE_EVERY", 3600.0)
    monkeypatch.setattr(recorder_module, "A_BLOCK", 2_000_000)  # so that nothing is written meanwhile
    recorder = Recorder(tmp_path / "a.feed", HEADER, most_bytes=10**8)
    for _ in range(2_000):
        recorder.frame(1, b"x" * 1_000)
    recorder.close("too late")

    records, _ = read((tmp_path / "a.feed").read_bytes())
    assert recorder.ended == "the disk did not keep up"
    assert 900 < len(records) < 1_000
    assert records[-1] == Ended(records[-1].at, "the disk did not keep up")


WRITER = """
import sys, time
from pathlib import Path
from exchanges.recorder import Recorder
from tests.exchanges.test_recording import HEADER
recorder = Recorder(Path(sys.argv[1]), HEADER, most_bytes=10**9)
number = 0
while True:
    for _ in range(500):
        recorder.frame(1, b"%d " % number * 20)
        number += 1
    print(number, flush=True)
    time.sleep(0.005)
"""


def test_after_a_kill_all_but_the_last_moment_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.feed"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        deadline = time.monotonic() + 1.5
        for line in process.stdout:
            if int(line) > 5_000 and time.monotonic() > deadline and path.stat().st_size > 10_000:
                break
        process.send_signal(signal.SIGKILL)

    records, _ = read(path.read_bytes())
    assert len(records) > 1_000
    assert [record.data for record in records] == [b"%d " % number * 20 for number in range(len(records))]


async def test_nothing_of_a_users_key_is_in_it(tmp_path: Path) -> None:
    key, secret = "canary-key-0123456789", "canary-secret-0123456789"
    recorder = Recorder(tmp_path / "a.feed", HEADER, most_bytes=10**6)
    clock = b'{"serverTime":1790000000000}'
    account = b'{"balances":[{"asset":"CANARYCOIN","free":"1","locked":"0"}]}'
    async with (
        host(lambda number: (200, {}, clock if number == 1 else account)) as (url, lines),
        RestClient(binance, url, LIMITS, reach=LOOPBACK, recorder=recorder) as rest,
    ):
        assert [balance.asset for balance in await rest.balances(Credentials(key, secret))] == ["CANARYCOIN"]
    recorder.connection(Lifecycle(state="connected", at=1))  # type: ignore[arg-type]
    recorder.close("enough")

    records, _ = read((tmp_path / "a.feed").read_bytes())
    written = repr(records)
    assert any("account" in line and "signature" in line for line in lines)
    assert "serverTime" in written, "what needs no key is there"
    assert "signature" not in written
    assert "canary" not in written.lower()
