"""The figures of a connector, out of counts that others keep."""

from types import SimpleNamespace
from typing import Any

import pytest

from exchanges.events import Channel, Stream
from exchanges.measuring import Measuring
from exchanges.status import FIGURES


class Bench:
    """A measuring over an engine and a REST client that are nothing but their counts."""

    def __init__(self) -> None:
        self.now = 100.0
        self.engine = SimpleNamespace(frames=0, links=[])
        limiter = SimpleNamespace(spent_lately=0.0, per_minute=540.0, held_for=0.0, waiting=0)
        self.rest = SimpleNamespace(limiter=limiter, latency_ms=None, clock_offset_ms=None)
        engine: Any = self.engine
        rest: Any = self.rest
        self.measuring = Measuring(engine, rest, clock=lambda: self.now)

    def after(self, seconds: float, *times: tuple[int, int], frames: int = 0) -> dict[str, Any]:
        self.now += seconds
        self.engine.frames += frames
        figures = self.measuring.look(times)
        assert figures is not None
        return figures


@pytest.fixture
def bench() -> Bench:
    return Bench()


def link(latency: float | None, **silences: float) -> SimpleNamespace:
    return SimpleNamespace(latency=latency, silences=lambda: [(Stream(Channel.TICKER, name), age) for name, age in silences.items()])


def test_it_looks_once_a_second(bench: Bench) -> None:
    assert bench.measuring.look(()) is not None
    bench.now += 0.9
    assert bench.measuring.look(()) is None
    bench.now += 0.1
    assert bench.measuring.look(()) is not None


def test_its_figures_are_those_of_the_status_hash(bench: Bench) -> None:
    assert set(bench.after(1)) == set(FIGURES)


def test_the_rate_is_that_of_the_last_ten_seconds(bench: Bench) -> None:
    assert bench.after(1)["messages_per_s"] is None
    for _ in range(20):
        figures = bench.after(1, frames=30)
    assert (figures["messages_per_s"], figures["frames"]) == (30.0, 600)
    for _ in range(5):
        figures = bench.after(1)
    assert figures["messages_per_s"] == 15.0


def test_the_streams_without_data_for_longest_come_first_over_all_connections(bench: Bench) -> None:
    bench.engine.links = [link(0.02, a=1.0, b=7.25), link(0.05, c=3.0, **{f"x{number}": 0.5 for number in range(20)})]
    figures = bench.after(1)
    assert figures["oldest"][:3] == [["b", "ticker", 7250], ["c", "ticker", 3000], ["a", "ticker", 1000]]
    assert len(figures["oldest"]) == 10
    assert figures["websocket_ms"] == 50.0


def test_a_ping_that_has_not_been_answered_yet_has_no_latency(bench: Bench) -> None:
    bench.engine.links = [link(None)]
    assert bench.after(1)["websocket_ms"] is None


def test_the_budget_is_what_the_last_minute_leaves(bench: Bench) -> None:
    bench.rest.limiter.spent_lately = 100.0
    figures = bench.after(1)
    assert (figures["rest_used"], figures["rest_left"], figures["rest_limit"]) == (100, 440, 540)
    bench.rest.limiter.spent_lately = 600.0
    figures = bench.after(1)
    assert (figures["rest_used"], figures["rest_left"]) == (600, 0)


def test_a_demanded_pause_and_a_queue_show(bench: Bench) -> None:
    bench.rest.limiter.held_for, bench.rest.limiter.waiting, bench.rest.latency_ms = 12.34, 3, 45.678
    figures = bench.after(1)
    assert (figures["rest_held_s"], figures["rest_waiting"], figures["rest_ms"]) == (12.3, 3, 45.7)


def test_the_offset_is_that_of_the_least_late_event_of_the_last_seconds(bench: Bench) -> None:
    assert bench.after(1, (1_000, 1_400), (1_000, 1_150), (0, 1_000))["clock_offset_ms"] == -150
    assert bench.after(1, (2_000, 2_900))["clock_offset_ms"] == -150
    for _ in range(10):
        figures = bench.after(1, (2_000, 2_900))
    assert figures["clock_offset_ms"] == -900


def test_without_events_that_carry_a_time_the_offset_is_that_of_rest(bench: Bench) -> None:
    assert bench.after(1)["clock_offset_ms"] is None
    bench.rest.clock_offset_ms = 70
    assert bench.after(1, (0, 5_000))["clock_offset_ms"] == 70
