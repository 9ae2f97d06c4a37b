"""Market time: its speed, and that it never goes backwards."""

import json
import os
from pathlib import Path

import pytest

from exchanges.sandbox.clock import (
    MARGIN_SECONDS,
    ManualClock,
    RunningClock,
    SandboxError,
    State,
    load_state,
    resumed,
    save_state,
)
from exchanges.sandbox.server import Sandbox
from tests.exchanges.sandbox.conftest import START

STATE = State(seed=7, epoch=START - 61_000, now=START, speed=60.0)


def test_market_time_runs_as_many_times_faster_as_it_is_told() -> None:
    real = [100.0]
    clock = RunningClock(START, 60, monotonic=lambda: real[0])
    assert clock.now() == START
    real[0] = 102.5
    assert clock.now() == START + 150_000
    assert clock.seconds_until(START + 180_000) == 0.5
    assert clock.seconds_until(START) == 0.0


def test_a_manual_clock_stands_still_until_it_is_advanced_and_tells_who_listens() -> None:
    clock, heard = ManualClock(START), []
    clock.listen(lambda: heard.append(clock.now()))
    assert clock.seconds_until(START + 1) == float("inf")
    clock.advance(300_000)
    assert (clock.now(), heard) == (START + 300_000, [START + 300_000])
    with pytest.raises(ValueError, match="never goes backwards"):
        clock.advance(-1)


@pytest.mark.parametrize("speed", [0, -1, 1_001, float("nan"), float("inf")])
def test_it_refuses_an_impossible_speed(speed: float) -> None:
    with pytest.raises(SandboxError, match=r"speed must be 0.01 to 1000"):
        RunningClock(START, speed)


def test_a_restart_goes_on_after_where_the_last_run_may_have_got() -> None:
    assert resumed(None, 5_000, 60) == 5_000
    assert resumed(STATE, START - 10**9, 1) == START + MARGIN_SECONDS * 60_000
    assert resumed(STATE, START - 10**9, 1000) == START + MARGIN_SECONDS * 1_000_000


def test_a_restart_starts_at_the_real_time_when_that_is_later() -> None:
    assert resumed(STATE, START + 10**9, 60) == START + 10**9


def test_the_state_survives_being_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    assert load_state(path, 7) is None
    save_state(path, STATE)
    assert load_state(path, 7) == STATE
    assert os.listdir(tmp_path) == ["clock.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seed":7}', '{"format":1,"seed":7,"epoch":5,"now":4,"speed":1}', '{"format":9}'])
def test_it_refuses_a_file_that_is_no_state_and_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clock.json"
    path.write_text(text)
    with pytest.raises(SandboxError, match=r"is not a state file of the sandbox: delete it, or name another with --state"):
        load_state(path, 7)


def test_it_refuses_the_state_of_another_market(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    save_state(path, STATE)
    with pytest.raises(SandboxError, match="belongs to the market of seed 7: use --seed 7"):
        load_state(path, 8)


def test_it_says_when_the_state_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot write .*: No such file or directory; name another file with --state"):
        save_state(tmp_path / "missing" / "clock.json", STATE)


async def test_a_sandbox_keeps_its_time_and_its_listing_dates_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    async with Sandbox(speed=1000, state=path) as first:
        listed = first.market.listing("coinbase-sandbox", "BTC-USD").listed
    ended = json.loads(path.read_text())["now"]
    second = Sandbox(speed=1000, state=path)
    assert second.clock.now() >= ended
    assert second.market.listing("coinbase-sandbox", "BTC-USD").listed == listed
    assert second.epoch == first.epoch
