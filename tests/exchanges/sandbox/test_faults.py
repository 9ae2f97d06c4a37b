"""The fault switches by themselves."""

from typing import Any

import pytest

from exchanges.sandbox.faults import KINDS, Faults, parse_fault
from exchanges.sandbox.mangling import mangled

VENUES = ("coinbase-sandbox", "binance-sandbox")


class _Real:
    """Real time a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _faults(seed: int = 7) -> tuple[Faults, _Real]:
    real = _Real()
    return Faults(seed, VENUES, real), real


def test_a_fault_strikes_its_venue_only() -> None:
    faults, _ = _faults()
    faults.set("gap", venue="binance-sandbox")
    assert faults.hit("gap", "coinbase-sandbox") is None
    assert faults.hit("gap", "binance-sandbox") is not None
    assert faults.hit("duplicate", "binance-sandbox") is None


def test_a_fault_without_a_venue_strikes_all() -> None:
    faults, _ = _faults()
    faults.set("gap")
    assert all(faults.hit("gap", venue) for venue in VENUES)


def test_a_fault_strikes_as_often_as_its_count() -> None:
    faults, _ = _faults()
    fault = faults.set("gap", count=2)
    assert [faults.hit("gap", VENUES[0]) is not None for _ in range(4)] == [True, True, False, False]
    assert fault.struck == 2


def test_a_fault_begins_after_a_while_and_ends_after_its_duration() -> None:
    faults, real = _faults()
    faults.set("silence", after=5, duration=10)
    struck = []
    for real.now in (100.0, 104.9, 105.0, 114.9, 115.0):
        struck.append(faults.hit("silence", VENUES[0]) is not None)
    assert struck == [False, False, True, True, False]
    assert faults.active() == []


def test_a_probability_is_kept_and_the_same_seed_strikes_the_same_frames() -> None:
    def strikes(seed: int) -> list[bool]:
        faults, _ = _faults(seed)
        faults.set("gap", probability=0.25)
        return [faults.hit("gap", VENUES[0]) is not None for _ in range(1_000)]

    assert strikes(7) == strikes(7)
    assert strikes(7) != strikes(8)
    assert 200 < sum(strikes(7)) < 300


def test_a_fault_can_be_aimed_at_a_symbol_and_a_channel() -> None:
    faults, _ = _faults()
    faults.set("dead", symbol="BTC-USD", channel="candles")
    targets = [("BTC-USD", "candles"), ("BTC-USD", "ticker"), ("ETH-USD", "candles"), ("", "heartbeats")]
    assert [faults.hit("dead", VENUES[0], symbol=symbol, channel=channel) is not None for symbol, channel in targets] == [
        True,
        False,
        False,
        False,
    ]


def test_faults_of_a_connection_strike_those_that_were_open_and_each_once() -> None:
    faults, _ = _faults()
    faults.set("disconnect", code=1012)
    old: set[int] = set()
    assert faults.hit_connection("disconnect", VENUES[0], 99.0, old) is not None
    assert faults.hit_connection("disconnect", VENUES[0], 99.0, old) is None
    assert faults.hit_connection("disconnect", VENUES[0], 101.0, set()) is None


def test_faults_are_cleared_by_name_by_id_or_all() -> None:
    faults, _ = _faults()
    gap, _, _ = faults.set("gap"), faults.set("gap"), faults.set("late")
    assert faults.clear(id=gap.id) == 1
    assert [fault.name for fault in faults.active()] == ["gap", "late"]
    assert faults.clear("gap") == 1
    assert faults.clear() == 1
    assert faults.active() == []


def test_who_listens_hears_of_every_change() -> None:
    faults, _ = _faults()
    heard: list[int] = []
    faults.listen(lambda: heard.append(len(faults.active())))
    faults.set("gap")
    faults.clear()
    assert heard == [1, 0]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "gremlins"}, r"unknown fault 'gremlins'; known: silence, "),
        ({"name": "gap", "venue": "kraken"}, r"unknown venue 'kraken'; served here: coinbase-sandbox, binance-sandbox"),
        ({"name": "gap", "probability": 1.5}, r"probability of gap must be 0 to 1, not 1.5"),
        ({"name": "gap", "probability": "often"}, r"probability of gap must be a number, not 'often'"),
        ({"name": "gap", "count": 0}, r"count of gap must be a whole number from 1, not 0"),
        ({"name": "gap", "count": 1.5}, r"count of gap must be a whole number from 1, not 1.5"),
        ({"name": "gap", "duration": -1}, r"duration and after of gap are positive seconds"),
        ({"name": "gap", "after": float("nan")}, r"duration and after of gap are positive seconds"),
        ({"name": "gap", "code": 1001}, r"gap has no setting 'code'; it has: symbol, channel"),
        ({"name": "disconnect", "code": 1005}, r"code of disconnect must be a close code a server can send"),
        ({"name": "disconnect", "code": "bye"}, r"code of disconnect must be a int, not 'bye'"),
        ({"name": "rest-status", "status": 200}, r"status of rest-status must be 400 to 599, not 200"),
        ({"name": "corrupt", "form": "sideways"}, r"form of corrupt must be one of truncated, utf8"),
        ({"name": "rest-slow", "seconds": -2}, r"seconds of rest-slow must not be negative"),
    ],
)
def test_it_refuses_a_fault_that_makes_no_sense(settings: dict[str, Any], reason: str) -> None:
    faults, _ = _faults()
    with pytest.raises(ValueError, match=reason):
        faults.set(**settings)
    assert faults.active() == []


def test_a_fault_is_read_from_a_command_line() -> None:
    assert parse_fault("silence") == {"name": "silence"}
    assert parse_fault("disconnect:venue=binance-sandbox,code=1012,count=3,probability=0.5,after=2") == {
        "name": "disconnect",
        "venue": "binance-sandbox",
        "code": "1012",
        "count": 3,
        "probability": 0.5,
        "after": 2.0,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gremlins", "unknown fault 'gremlins'"),
        ("gap:often", "write gap:key=value, not 'gap:often'"),
        ("gap:color=red", "gap has no setting 'color'; it has: venue, probability, count, duration, after, symbol, channel"),
        ("gap:count=few", "count of gap must be a number, not 'few'"),
    ],
)
def test_it_refuses_a_fault_that_cannot_be_read(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_fault(text)


def test_every_fault_says_what_it_does() -> None:
    assert all(kind.does for kind in KINDS.values())


FRAME = '{"e":"kline","k":{"o":"46692.06000000","c":"46672.98000000","v":"1"}}'


@pytest.mark.parametrize(
    ("form", "broken"),
    [
        ("truncated", '{"e":"kline","k":{"o":"46692.06000'),
        ("utf8", FRAME[:34].encode() + b"\xff\xfe" + FRAME[34:].encode()),
        ("list", "[]"),
        ("types", '{"e":"kline","k":{"o":{"value":[]},"c":{"value":[]},"v":"1"}}'),
        ("nan", '{"e":"kline","k":{"o":"NaN","c":"NaN","v":"1"}}'),
        ("infinite", '{"e":"kline","k":{"o":"1e400","c":"1e400","v":"1"}}'),
        ("negative", '{"e":"kline","k":{"o":"-1","c":"-1","v":"1"}}'),
    ],
)
def test_a_frame_breaks_in_many_forms(form: str, broken: str | bytes) -> None:
    assert mangled(FRAME, form) == broken


def test_a_huge_frame_is_still_json() -> None:
    import json

    assert len(json.loads(mangled(FRAME, "huge"))["padding"]) == 10_000_000
