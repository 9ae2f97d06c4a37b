"""A feed that was recorded gives the alerts again that it gave, at any speed, and in a store of its own."""

import asyncio
import json
import re
from collections.abc import Callable
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connection

from alerts.models import Alert, AlertRule
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange
from exchanges.recorder import Recorder
from exchanges.recording import Followed, Frame, Header, Reader, beginning, block, encode
from exchanges.sandbox.venues import COINBASE
from livermore import apart, bus, feeds, recordings
from livermore.apart import Apart
from livermore.hosting import Host
from tests.livermore.test_commands import program
from tests.simulated import BINANCE_ID, COINBASE_ID, STEP, World, simulated, until

HEADER = Header(
    exchange="coinbase",
    adapter="coinbase",
    name="Coinbase",
    simulated=False,
    timeframes=["5m"],
    symbols=[],
    started=1_790_000_000_000,
    software="0.0.7",
)
FOLLOWED = Followed(HEADER.started, HEADER.started, [("BTC-USD", "BTC", "USD")], [], [], [])


@partial(sync_to_async, thread_sensitive=False)
def replayed(path: Path, *words: str) -> tuple[str, str]:
    """(what ``replayfeed`` prints, the alerts it writes)."""
    alerts, out = path.with_suffix(".jsonl"), StringIO()
    try:
        call_command("replayfeed", str(path), "--alerts", str(alerts), *words, stdout=out)
    finally:
        connection.close()
    return out.getvalue(), alerts.read_text()


def files(directory: Path) -> dict[str, Path]:
    """The recordings there, by exchange."""
    return {path.name.rpartition("-")[0]: path for path in directory.glob("*.feed")}


async def two_hours_of_trouble(world: World) -> None:
    """Connections that break, frames that are lost, broken, doubled and late, and REST that fails, is behind, and revises."""
    faults, calm = world.sandbox.faults, STEP
    for form in ("truncated", "utf8", "types", "nan"):
        faults.set("corrupt", probability=0.1, form=form)
        faults.set("duplicate", probability=0.1)
        faults.set("reorder", probability=0.05)
        for _ in range(3):
            await world.advance(STEP)
        faults.set("gap", count=3)
        faults.set("rest-status", count=2, status=503)
        faults.set("rest-behind", count=2)
        await world.advance(STEP)
        faults.clear()
        faults.set("rest-revise", count=4)
        await world.advance(STEP)
        faults.clear()
        await world.advance(calm)
    faults.set("disconnect", code=1006)
    for _ in range(4):
        await world.advance(STEP)
    faults.clear()


@pytest.mark.django_db(transaction=True)
async def test_a_recorded_feed_gives_the_same_alerts_again_at_any_speed(redis_url: str, tmp_path: Path) -> None:
    """Coinbase from nothing, Binance from where it had been: with what it missed meanwhile, delayed."""
    async with simulated() as world:
        await world.host(BINANCE_ID)
        await world.crash()
        before = len(await world.alerts(BINANCE_ID))
        world.clock.advance(20 * STEP)
        await world.host(COINBASE_ID, BINANCE_ID, record=feeds.recorders_in(tmp_path))
        await two_hours_of_trouble(world)
        await world.crash()
        live = {COINBASE_ID: await world.alerts(COINBASE_ID), BINANCE_ID: (await world.alerts(BINANCE_ID))[before:]}

    found = files(tmp_path)
    fast, alerts = await replayed(found[COINBASE_ID], "--compare")
    paced, again = await replayed(found[COINBASE_ID], "--speed", "40")
    other, of_the_other = await replayed(found[BINANCE_ID], "--compare")

    assert again == alerts
    for said, lines, name in ((fast, alerts, COINBASE_ID), (other, of_the_other, BINANCE_ID)):
        given = [json.loads(line) for line in lines.splitlines()]
        assert [(one["uid"], one["delayed"]) for one in given] == [(alert.uid, alert.delayed) for alert in live[name]]
        assert len(live[name]) > 30
        assert "The alerts are those of the live database." in said
        assert "no answer" not in said
    assert re.search(r"[1-9]\d* gaps repaired", other)
    assert re.search(r"[1-9]\d* frames, [1-9]\d* rejected, [1-9]\d* lost", fast)
    assert "of the live database" not in paced
    assert {alert.delayed for alert in live[BINANCE_ID]} == {True, False}


async def still(count: Callable[[], int]) -> None:
    """Wait until it has not grown for a second and a half."""
    before = -1
    while (now := count()) != before:
        before = now
        await asyncio.sleep(1.5)


@pytest.mark.django_db(transaction=True)
async def test_recordfeed_records_beside_whatever_runs(process_environment: dict[str, str], redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "a.feed"
    async with simulated([COINBASE]) as world:
        async with program(
            process_environment, "recordfeed", COINBASE_ID, "--output", str(path), "--symbols", "BTC-USD", "LINK-USD"
        ) as one:
            await one.prints(rf"Recording 2 symbols of {COINBASE_ID} into {re.escape(str(path))}\. Ctrl-C ends it\.")
            counters = world.sandbox.counters[COINBASE_ID]
            warm = 2 * len(TIMEFRAMES)
            await until(lambda: counters["rest_requests"] > warm, "a history of both", world.nudge)
            await still(lambda: counters["rest_requests"])
            asked, size = counters["rest_requests"], path.stat().st_size
            for _ in range(3):
                world.clock.advance(STEP)
                await until(lambda: path.stat().st_size > size, "frames in the file", world.nudge)  # noqa: B023  (awaited at once)
                size = path.stat().st_size
            # What closed is read back over REST, a moment after its end.
            await until(lambda: counters["rest_requests"] >= asked + 2, "closes that are read back", world.nudge)
            await still(lambda: counters["rest_requests"])
            await one.interrupted()
        assert re.search(r"[1-9]\d* frames, 0\.\d MiB in .*a\.feed: the connector ended\.\s*$", one.output)
        assert not await world.alerts(COINBASE_ID)
        assert bus.sync().keys("*coinbase*") == [], "of the Redis that others use it knows nothing"

    reader = Reader(BytesIO(path.read_bytes()))
    assert reader.header.symbols == ["BTC-USD", "LINK-USD"]
    assert {name for record in reader.records() if isinstance(record, Followed) for name, _, _ in record.members} == {"BTC-USD", "LINK-USD"}
    said, _ = await replayed(path)
    assert re.search(r"[1-9]\d* candles closed", said)
    assert f"{COINBASE_ID} (SIMULATED), 2 symbols, " in said


# What differs from the live alerts


@pytest.mark.django_db
def test_the_comparison_says_which_alerts_differ_and_how(redis_url: str) -> None:
    rule = AlertRule.objects.get()
    common: dict[str, Any] = {
        "exchange_id": "coinbase",
        "rule": rule,
        "rule_version": 1,
        "base": "BTC",
        "quote": "USD",
        "symbol": "BTC-USD",
        "timeframe": "5m",
        "direction": "up",
        "previous_value": 1.0,
        "price": 2.0,
        "candle_time": 5,
        "stage": "rally",
        "bias": "up",
    }
    for number, (uid, triggered_at, value) in enumerate((("a", 150, 160.0), ("b", 160, 170.0), ("c", 170, 180.0), ("old", 50, 1.0)), 1):
        Alert.objects.create(uid=uid, number=number, triggered_at=triggered_at, trigger_value=value, trigger_label="x", **common)
    found = {"exchange": "coinbase", "symbols": ["BTC-USD"], "first": 100, "last": 200}
    rows = {row["uid"]: {**row, "number": row["number"] + 7} for row in Alert.objects.values(*recordings.FIELDS)}

    assert feeds.compared([rows["a"], rows["b"], rows["c"]], found) == []
    assert feeds.compared([rows["b"], rows["a"], rows["c"]], found) == ["the same alerts in another order"]
    other = {**rows["b"], "trigger_value": 170.5}
    assert feeds.compared([rows["a"], other, {**rows["c"], "uid": "d"}], found) == [
        "only live: c",
        "only replayed: d",
        "differs: b: trigger_value 170.0 live, 170.5 replayed",
    ]


# What cannot be replayed, or recorded


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{}\n", "cannot be replayed: it is not a recorded feed: name a file that recordfeed, or runexchange --record, has written."),
        (
            beginning(HEADER).replace(b" 1\n", b" 2\n", 1),
            "cannot be replayed: it has format 2, and this Livermore reads 1: replay it with livermore 0.0.7, which recorded it.",
        ),
        (
            beginning(HEADER).replace(b'"adapter":"coinbase"', b'"adapter":"mtgox"'),
            "cannot be replayed: unknown adapter 'mtgox'; known: binance, coinbase, kraken: "
            "replay it with livermore 0.0.7, which recorded it.",
        ),
        (
            beginning(HEADER).replace(b'["5m"]', b'["5m","3m"]'),
            "cannot be replayed: it has the timeframes 3m, which the adapter coinbase no longer has: "
            "replay it with livermore 0.0.7, which recorded it.",
        ),
    ],
)
def test_what_cannot_be_replayed_says_what_to_do(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "a.feed"
    path.write_bytes(data)
    with pytest.raises(CommandError) as error:
        call_command("replayfeed", str(path))
    assert str(error.value) == f"{path} {says}"


def test_a_file_that_is_not_there_is_said_not_to_be() -> None:
    with pytest.raises(CommandError, match=r"^nowhere\.feed cannot be read: No such file or directory\.$"):
        call_command("replayfeed", "nowhere.feed")


def test_a_damaged_recording_is_replayed_up_to_there_on_demand(tmp_path: Path) -> None:
    path, frames = tmp_path / "a.feed", [encode(Frame(HEADER.started + at, 1, b"x")) for at in range(3)]
    whole = beginning(HEADER) + block([encode(FOLLOWED)]) + block(frames) + block(frames)
    place = len(whole) - len(block(frames)) - 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(Apart) as error:
        recordings.readable(path, damaged=False)

    assert re.fullmatch(
        rf"{re.escape(str(path))} is damaged at byte \d+: a block whose checksum is wrong\. Copy it again from where it was recorded, "
        r"or replay the 1 records before that with --damaged",
        str(error.value),
    )
    found = recordings.readable(path, damaged=True)
    assert (found.records, found.frames, found.symbols) == (1, 0, frozenset({"BTC-USD"}))
    path.write_bytes(whole[:-1])
    found = recordings.readable(path, damaged=False)
    assert (found.records, found.frames, found.torn, found.damage) == (4, 3, True, "")


def test_a_recording_without_symbols_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.feed").write_bytes(beginning(HEADER))
    with pytest.raises(Apart, match=r"has no symbols in it: it ended before the exchange had named any"):
        recordings.readable(tmp_path / "a.feed", damaged=False)


def test_a_store_that_is_in_use_is_never_replayed_into(tmp_path: Path) -> None:
    (tmp_path / "livermore.sqlite3").touch()
    with pytest.raises(Apart, match="is not empty: name a directory that is new"), apart.store(tmp_path):
        pass


def test_the_store_is_gone_afterwards_and_names_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://live.example.org/live")
    monkeypatch.setenv("REDIS_URL", "redis://:password@live.example.org")
    with apart.store(None) as directory:
        assert directory.is_dir()
        environment = apart.environment(directory, "INFO")
        assert "live.example.org" not in repr(environment)
        assert environment["DATABASE_URL"] == f"sqlite:///{directory}/livermore.sqlite3"
    assert not directory.exists()


@pytest.mark.parametrize("words", [["--speed", "fast"], ["--speed", "0"], ["--speed", "nan"]])
def test_a_speed_that_is_none_is_refused(words: list[str]) -> None:
    with pytest.raises(CommandError, match="is not a number above 0"):
        call_command("replayfeed", "a.feed", *words)


@pytest.mark.django_db
def test_what_cannot_be_recorded_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.feed").touch()
    with pytest.raises(CommandError, match=r"a\.feed is there already: name another file, nothing is written over\."):
        call_command("recordfeed", "coinbase", "--output", str(tmp_path / "a.feed"))
    with pytest.raises(CommandError, match=r"Unknown exchange: coinbsae\. Known: "):
        call_command("recordfeed", "coinbsae", "--output", str(tmp_path / "b.feed"))
    with pytest.raises(CommandError, match="is not a whole number of MiB from 1 to 1000000"):
        call_command("recordfeed", "coinbase", "--output", str(tmp_path / "b.feed"), "--most", "0")
    with pytest.raises(CommandError, match=r"a\.feed cannot be written \(File exists\): name a directory for the recordings\."):
        call_command("runexchange", "coinbase", "--record", str(tmp_path / "a.feed"))


@pytest.mark.django_db
def test_a_recording_that_cannot_be_made_keeps_nothing_from_running(caplog: pytest.LogCaptureFixture) -> None:
    def no_room(exchange: Exchange) -> Recorder:
        raise OSError(28, "No space left on device")

    exchange = Exchange.objects.get(pk="binance")
    host = Host(exchange, bus.connect(), autostart=True, show=lambda status: None, revive=lambda: None, record=no_room)
    assert host._recorder() is None
    assert "binance: it is not recorded: [Errno 28] No space left on device" in caplog.text
