"""docs/scaling.md: its tables are what the script prints, its simulation is right where theory is exact, and more never needs less."""

import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts import audience
from alerts.rules import Memory, evaluate
from benchmarks import scaling, sizing, unit_costs
from benchmarks.market import RULE
from benchmarks.queues import Simulation, Station, percentile
from benchmarks.scaling import Costs, Input, Model, Scenario, exchange_limits, simulate
from exchanges import rest
from exchanges.sandbox import binance
from exchanges.sandbox.coins import universe
from exchanges.sandbox.market import Market
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.venues import BINANCE
from livermore import prices
from market_data import candles, series

COSTS = scaling.load()
MODEL = Model(COSTS)
PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def with_costs(**changes: float | list[float]) -> Model:
    """The model with other figures, in the units of the file."""
    return Model({**COSTS, **{name: COSTS[name]._replace(value=value) for name, value in changes.items()}})


# The document


def test_the_tables_of_the_document_are_what_the_script_makes_of_the_costs():
    text = scaling.DOCUMENT.read_text(encoding="utf-8")
    found = sizing.tables(COSTS)
    assert sorted(re.findall(r"<!-- scaling: (\w+) -->", text)) == sorted(found)
    assert scaling.written(text, found) == text, "run python -m benchmarks.scaling --write"


def test_every_cost_says_what_kind_of_figure_it_is_since_when_and_from_where():
    for name, one in COSTS.items():
        assert one.kind in {"measured", "published", "assumed"}, name
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", one.date), name
        assert one.how, name
        assert one.unit, name
        assert all(value >= 0 for value in (one.value if isinstance(one.value, list) else [one.value])), name


def test_costs_survive_being_written(tmp_path: Path):
    costs: Costs = {
        "one": Input(1.5, "µs", "measured", "2026-11-27", "make bench", "a note"),
        "two": Input([1, 2], "ms", "assumed", "2026-11", "x"),
    }
    scaling.save(costs, tmp_path / "costs.json")
    assert scaling.load(tmp_path / "costs.json") == costs


def test_what_the_model_takes_from_the_programs_is_what_they_have():
    assert scaling.HISTORY_BARS == series.HISTORY_BARS
    assert scaling.READ_BACK_BARS == candles.RECENT
    assert scaling.STALE_AFTER * 1000 == candles.STALE_AFTER
    assert scaling.MOST_PRICES == 1 / prices.INTERVAL
    assert (scaling.MOST_FRAMES, scaling.MOST_PRICE_FRAMES) == (1 / audience.PRICES_EVERY, audience.MOST_PRICE_FRAMES)
    assert scaling.REST_SHARE == rest.SHARE


# The simulation, where theory is exact


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_random_arrivals_at_one_server_wait_as_long_as_pollaczek_and_khinchine_say(load: float):
    """M/D/1: the mean wait is load / (2 (1 - load)) services."""
    simulation, rng = Simulation(), random.Random(11)
    server, waits, at = Station(simulation, 1), [], 0.0
    for _ in range(60_000):
        at += rng.expovariate(load)
        simulation.at(at, lambda at=at: server.serve(1.0, lambda: waits.append(simulation.now - at - 1.0)))
    simulation.run()
    assert sum(waits) / len(waits) == pytest.approx(load / (2 * (1 - load)), rel=0.08)


@pytest.mark.parametrize(("servers", "jobs"), [(1, 7), (3, 7), (4, 8), (10, 3)])
def test_jobs_that_come_together_end_in_rounds(servers: int, jobs: int):
    simulation = Simulation()
    station, ends = Station(simulation, servers), []
    for _ in range(jobs):
        station.serve(2.0, lambda: ends.append(simulation.now))
    simulation.run()
    assert ends == [2.0 * (1 + job // servers) for job in range(jobs)]


def test_a_server_with_more_than_its_share_of_time_lets_nobody_wait():
    simulation = Simulation()
    station, ends = Station(simulation, 1), []
    for number in range(5):
        simulation.at(number * 2.0, lambda: station.serve(1.5, lambda: ends.append(simulation.now)))
    simulation.run()
    assert ends == [1.5, 3.5, 5.5, 7.5, 9.5]


def test_one_alert_takes_the_sum_of_its_steps():
    """A single symbol, a single page, no prices, and no jitter: plain arithmetic."""
    model = with_costs(worst_close_alerts=1.0, closing_frame_after=[100, 100], last_mile=[30, 30])
    one = Scenario(1, 1, symbols=1, prices=0.0)
    c, five = model.cost, 5
    disk = max(0.0, c.commit_clock - c.commit_client - c.commit_server)
    connector = c.socket_frame + c.midnight_frame + five * (c.checkpoint_client + c.redis_close_client) + c.commit_client + c.alert_client
    stored = c.commit_server + five * c.checkpoint_server + c.alert_server + disk
    redis = five * c.redis_close_server + c.alert_redis + c.publish_server + c.publish_subscriber
    page = c.web_relay + c.web_message + c.web_frame
    found = simulate(model, one, model.need(one), runs=20)
    assert found.alerts == 20
    first = connector + stored + redis + 0.03
    assert first <= found.p50 <= found.p99 <= first + page


def test_the_same_seed_gives_the_same_latencies_and_another_one_others():
    one = Scenario(1, 100)
    need = MODEL.need(one)
    assert simulate(MODEL, one, need) == simulate(MODEL, one, need)
    assert simulate(MODEL, one, need, seed=2) != simulate(MODEL, one, need)


def test_slower_steps_make_later_alerts():
    one = Scenario(1, 100)
    slow = with_costs(web_message=COSTS["web_message"].value * 10)
    need = MODEL.need(one)
    assert simulate(slow, one, need).p50 > simulate(MODEL, one, need).p50


def test_a_percentile_is_one_of_the_values():
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (25, 50, 99, 100)] == [1.0, 2.0, 4.0, 4.0]
    with pytest.raises(ValueError, match="no percentile"):
        percentile([], 50)


# The arithmetic


def test_a_symbol_closes_415_candles_a_day():
    assert Scenario(1, 1, symbols=1).closes_a_second * 86_400 == pytest.approx(288 + 96 + 24 + 6 + 1)


@pytest.mark.parametrize(("pages", "frames"), [(1, 50), (80, 50), (100, 40), (1_000, 4), (math.inf, 0)])
def test_a_page_gets_the_prices_of_all_its_exchanges_in_frames_that_all_pages_share(pages: float, frames: float):
    socket = MODEL.socket(Scenario(5, 1, symbols=40, watched=2), pages)
    assert socket.frames == frames
    assert socket.messages == pytest.approx(2 * (40 + MODEL.alerts_a_second(Scenario(1, 1, symbols=40)) + 40 * 415 / 86_400))


def test_one_more_subscription_costs_redis_what_its_unit_cost_says():
    one = Scenario(3, 1)
    assert MODEL.redis(one, 8) - MODEL.redis(one, 7) == pytest.approx(MODEL.published(one) * MODEL.cost.publish_subscriber)


@pytest.mark.parametrize("exchanges", [1, 10, 100])
@pytest.mark.parametrize(
    "part",
    [
        lambda need: need.web,
        lambda need: need.memory,
        lambda need: need.to_browsers,
        lambda need: need.database_cores,
        lambda need: need.redis_nodes or math.inf,
        lambda need: need.relays,
    ],
    ids=["web processes", "memory", "network", "PostgreSQL", "Redis", "relays"],
)
def test_more_viewers_never_need_less(exchanges: int, part: Callable[[scaling.Need], float]):
    needs = [part(MODEL.need(Scenario(exchanges, 10**power))) for power in range(1, 7)]
    assert needs == sorted(needs)


def test_more_exchanges_never_carry_more_viewers():
    for name in MODEL.limits(Scenario(1, 1)):
        limits = [MODEL.limits(Scenario(exchanges, 1))[name] for exchanges in (1, 3, 10, 30, 100)]
        assert limits == sorted(limits, reverse=True), name


def test_a_web_process_is_full_where_its_sockets_and_the_relay_take_a_whole_core():
    one = Scenario(10, 100)
    full = MODEL.limits(one)["one web process"]
    assert MODEL.relaying(one) + full * MODEL.socket(one, full).seconds == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.7, 1.0])
def test_one_socket_more_than_there_is_room_for_takes_more_than_the_share(share: float):
    one = Scenario(1, 1)
    room = MODEL.room(one, share)
    for sockets, fits in ((room, True), (room + 1, False)):
        assert (MODEL.relaying(one) + sockets * MODEL.socket(one, sockets).seconds <= share * (1 + 1e-9)) is fits


def test_what_is_sized_stays_under_its_share():
    for exchanges in (1, 10, 100):
        for viewers in (100, 10_000, 1_000_000):
            assert MODEL.need(Scenario(exchanges, viewers)).busiest[1] <= MODEL.cost.target + 1e-9


def test_redis_is_one_or_a_cluster_of_three_nodes_at_least():
    nodes = {MODEL.need(Scenario(exchanges, 10**power)).redis_nodes for exchanges in (1, 10, 100) for power in range(2, 7)}
    assert {1, 3} <= nodes
    assert 2 not in nodes


def test_exchanges_that_a_web_process_cannot_hear_are_refused():
    with pytest.raises(ValueError, match="cannot even hear"):
        MODEL.need(Scenario(100_000, 1))


def test_fewer_frames_of_prices_leave_room_for_more_pages():
    rooms = [MODEL.room(Scenario(10, 1, price_frames=frames), 0.7) for frames in (4_000.0, 1_000.0, 0.0)]
    assert rooms == sorted(rooms)
    assert len(set(rooms)) == 3


# What exchanges allow


def test_the_limits_are_those_of_the_adapters_and_the_seeded_rows():
    found = {one.id: one for one in exchange_limits(50)}
    assert list(found) == ["coinbase", "binance", "binance-us", "kraken"]
    # 5 timeframes of 50 symbols in one request each of weight 2, 90 % of 6,000 a minute, 1,200 of it at once
    assert (found["binance"].warm_up_weight, found["binance"].warm_up) == (500, 0)
    assert (found["binance"].read_back, found["binance"].most_symbols) == (0, 0)
    # one request a second, of which 90 % are ours: 250 requests, the first at once
    assert found["kraken"].warm_up_weight == 250
    assert found["kraken"].warm_up == pytest.approx(249 / 0.9)
    assert found["kraken"].read_back == pytest.approx(49 / 0.9)
    assert (found["kraken"].most_symbols, found["kraken"].addresses) == (32, 2)
    # 10 a second
    assert found["coinbase"].read_back == pytest.approx(40 / 9)


def test_streams_divide_over_connections():
    assert [one.connections for one in exchange_limits(500)] == [3, 1, 1, 3]
    assert [one.connections for one in exchange_limits(513)] == [3, 2, 2, 3]


# What is measured


def test_alerts_are_counted_with_the_rules_that_run(monkeypatch: pytest.MonkeyPatch):
    """Two simulated days of three coins; what the rules say of 5m closes, said once more by hand."""
    monkeypatch.setattr(unit_costs, "_DAYS", 2)
    monkeypatch.setattr(unit_costs, "_COINS", 3)
    monkeypatch.setattr(unit_costs, "_RATED", ("5m",))
    found: dict[str, float] = {}
    unit_costs.alert_rates(lambda name, value, *rest, **more: found.update({name: value}))
    alerts = evaluated_by_hand(days=2, coins=3)
    assert alerts > 0
    assert found["alerts_per_close_5m"] == pytest.approx(alerts / (3 * 2 * 288), rel=0.005)
    assert found["worst_close_alerts"] + 0.001 >= 1 / 3


def evaluated_by_hand(*, days: int, coins: int) -> int:
    """Alerts of 5m closes: the readings of each series through the rules, one after the other."""
    end = unit_costs._EPOCH + 100 * DAY
    simulated = Market(7, binance.listings(BINANCE, universe(coins, 7), 7, unit_costs._EPOCH))
    fired = 0
    for listing in [one for one in simulated.listings.values() if not one.alias_of][:coins]:
        rows = simulated.candles(listing.venue, listing.symbol, "5m", end - days * DAY - 400 * 300_000, end)
        one, memory, previous = series.Series(listing.symbol, "5m"), Memory(), None
        for bar in candles.filled(rows, 300_000, end, to_end=True):
            advance = one.advance(bar)
            if one.warm:
                signals = evaluate(RULE, previous, advance.current, memory, bar.open_time + 300_000)
                fired += len(signals) if bar.open_time >= end - days * DAY else 0
            previous = advance.current
    return fired


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the time of another process in this way")
def test_the_processor_time_of_a_process_is_its_own():
    """The other one has worked for a while, and then waits: longer looking does not make it more."""
    program = "import sys, time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], **PIPES) as busy:
        assert busy.stdout
        busy.stdout.readline()
        assert 0.2 <= unit_costs.cpu(busy.pid) < 5
        assert busy.stdin
        busy.stdin.close()
    assert unit_costs._cpu_while_it_lives(busy.pid) == 0.0
