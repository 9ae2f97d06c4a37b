"""From the exchange's socket to the stored and published alert, judged by an oracle that shares no code with what it judges."""

import asyncio
from typing import Any

import pytest

from alerts.models import Alert
from alerts.services import Fenced, alert_payload
from exchanges.sandbox.faults import FORMS
from exchanges.sandbox.venues import BINANCE, KNOWN
from livermore.keys import parse_channel
from tests import oracle, recorded
from tests.conftest import Valkey
from tests.oracle import STEPS
from tests.recorded import PINNED, Exchange, Published, Record
from tests.simulated import BINANCE_ID, COINBASE_ID, SETTLED, STEP, Rows, Series, World, due, simulated, truth, until

pytestmark = pytest.mark.django_db(transaction=True)
each_exchange = pytest.mark.parametrize("exchange_id", [COINBASE_ID, BINANCE_ID])
each_run = pytest.mark.parametrize("kind", ["unbroken", "crashed"])

ALERT_FIELDS = {
    "id", "epoch", "uid", "type", "source_exchange_id", "symbol", "base", "quote", "timeframe", "alert_type", "trigger_label", "direction",
    "trigger_value", "signal_delta", "price", "candle_time", "triggered_at", "published_at", "delayed", "revised", "stage", "bias",
    "timeframes", "elsewhere", "overflow", "shared",
}  # fmt: skip
INDICATOR_FIELDS = {"t", "close", "macdv", "signal", "histogram", "atr", "stage", "seeded", "observed", "span", "reason"}


@pytest.fixture(scope="module")
def unbroken(django_db_setup: None, django_db_blocker: Any) -> Record:
    return recorded.made(recorded.run(), django_db_blocker)


@pytest.fixture(scope="module")
def crashed(django_db_setup: None, django_db_blocker: Any) -> Record:
    return recorded.made(recorded.run_with_crashes(), django_db_blocker)


@pytest.fixture
def record(kind: str, request: pytest.FixtureRequest) -> Record:
    return request.getfixturevalue(kind)


def near(value: float | None) -> Any:
    return value if value is None else pytest.approx(value, rel=1e-12, abs=1e-9)


def true_candles(record: Record, exchange_id: str) -> dict[Series, Rows]:
    """The market's own candles, from the first one of each series in Redis to the end of the record."""
    ends = {timeframe: (record.now - SETTLED) // step * step for timeframe, step in STEPS.items()}
    return {
        (symbol, timeframe): truth(record.sandbox, exchange_id, symbol, timeframe, int(rows[0][0]), ends[timeframe])
        for (symbol, timeframe), rows in record.exchanges[exchange_id].candles.items()
    }


def demanded(record: Record, exchange_id: str) -> dict[tuple[str, str, str, int], oracle.Alert]:
    """(symbol, timeframe, label, candle time) -> what the oracle wants there."""
    by_symbol = due(record.sandbox, exchange_id, true_candles(record, exchange_id), record.since)
    return {(symbol, one.timeframe, one.label, one.candle_time): one for symbol, alerts in by_symbol.items() for one in alerts}


def stored(exchange: Exchange) -> dict[tuple[str, str, str, int], Alert]:
    return {(one.symbol, one.timeframe, one.trigger_label, one.candle_time): one for one in exchange.alerts}


# What is stored


@each_run
@each_exchange
def test_the_candles_in_redis_are_the_markets(record: Record, exchange_id: str) -> None:
    found = record.exchanges[exchange_id].candles
    for series, expected in true_candles(record, exchange_id).items():
        assert without_volume(found[series]) == without_volume(expected), series
        assert [row[5] for row in found[series]] == near([row[5] for row in expected]), series


def without_volume(rows: Rows) -> Rows:
    return [[*row[:5], row[6]] for row in rows]


@each_run
@each_exchange
def test_the_history_is_as_long_as_a_warm_up_fetches(record: Record, exchange_id: str) -> None:
    """400 candles, or the whole life of the market; a coin that trades seldom may have none in the very first intervals."""
    for (symbol, timeframe), rows in record.exchanges[exchange_id].candles.items():
        end = (record.since - 10_000) // STEPS[timeframe] * STEPS[timeframe]
        first = max(end - 400 * STEPS[timeframe], record.sandbox.market.listing(exchange_id, symbol).listed)
        seldom = symbol.startswith(("RLC", "BAND")) and exchange_id == COINBASE_ID and timeframe == "5m"
        assert rows[0][0] == first or (seldom and first < rows[0][0] < first + 20 * STEPS["5m"]), (symbol, timeframe)


@each_run
@each_exchange
def test_the_indicators_in_redis_are_the_oracles(record: Record, exchange_id: str) -> None:
    exchange = record.exchanges[exchange_id]
    assert len(exchange.indicators) == 8 * len(STEPS)
    for series, rows in true_candles(record, exchange_id).items():
        value, found = oracle.macdv(rows)[-1], exchange.indicators[series]
        assert found is not None
        for name in ("macdv", "signal", "histogram", "atr"):
            assert found[name] == near(getattr(value, name)), (series, name)
        exact = ("t", "close", "stage", "observed", "span")
        assert {name: found[name] for name in exact} == {name: getattr(value, name) for name in exact}, series
        assert found["seeded"] == (value.signal is not None)
        assert set(found) == INDICATOR_FIELDS


@each_exchange
def test_the_record_has_what_makes_it_hard(unbroken: Record, exchange_id: str) -> None:
    """Else the tests around this one would show little."""
    exchange = unbroken.exchanges[exchange_id]
    labels = {(alert.timeframe, alert.trigger_label.split("_")[0]) for alert in exchange.alerts}
    thin = next(rows for (symbol, timeframe), rows in exchange.candles.items() if symbol.startswith("RLC") and timeframe == "5m")

    assert len(exchange.alerts) > 60
    assert {("5m", "level"), ("5m", "reversal"), ("15m", "level"), ("15m", "reversal")} <= labels
    assert sum(row[6] for row in thin if row[0] > unbroken.since) > 5, "intervals in which nothing traded"
    assert {len(exchange.candles[series]) < 400 for series in exchange.candles} == {True, False}, "young and old listings"


@each_run
@each_exchange
def test_every_closed_candle_is_evaluated(record: Record, exchange_id: str) -> None:
    exchange = record.exchanges[exchange_id]
    ends = {timeframe: (record.now - SETTLED) // step * step - step for timeframe, step in STEPS.items()}

    assert exchange.checkpoints == {series: ends[series[1]] for series in exchange.candles}


# Alerts


@each_run
@each_exchange
def test_the_alerts_are_the_oracles_neither_missing_nor_extra(record: Record, exchange_id: str) -> None:
    found, wanted = stored(record.exchanges[exchange_id]), demanded(record, exchange_id)

    assert sorted(found) == sorted(wanted)
    for key, alert in found.items():
        want = wanted[key]
        assert (alert.direction, alert.price, alert.stage) == (want.direction, want.price, want.stage), key
        assert (alert.trigger_value, alert.signal_delta) == (near(want.value), near(want.histogram)), key


@each_run
@each_exchange
def test_an_alert_knows_the_other_timeframes_of_its_moment(record: Record, exchange_id: str) -> None:
    wanted = demanded(record, exchange_id)
    for key, alert in stored(record.exchanges[exchange_id]).items():
        stages = {entry["timeframe"]: (near(entry["macdv"]), entry["stage"]) for entry in alert.timeframes}
        assert stages == dict(wanted[key].stages), key
        assert alert.bias == wanted[key].bias, key


@each_run
@each_exchange
def test_alerts_are_numbered_without_a_gap_and_are_there_once(record: Record, exchange_id: str) -> None:
    alerts = record.exchanges[exchange_id].alerts

    assert [alert.number for alert in alerts] == list(range(1, len(alerts) + 1))
    assert len({alert.uid for alert in alerts}) == len(alerts)


@each_run
@each_exchange
def test_the_alerts_of_a_symbol_come_in_the_order_of_their_closes(record: Record, exchange_id: str) -> None:
    closes: dict[str, list[int]] = {}
    for alert in record.exchanges[exchange_id].alerts:
        closes.setdefault(alert.symbol, []).append(alert.candle_time + STEPS[alert.timeframe])

    assert closes == {symbol: sorted(times) for symbol, times in closes.items()}


@each_run
@each_exchange
def test_the_stream_holds_what_the_database_holds(record: Record, exchange_id: str) -> None:
    """A crash may come between putting an alert there and noting when: then it is noted later, and the stream keeps the first moment."""
    exchange = record.exchanges[exchange_id]
    streamed, stored_ = [dict(one) for _, one in exchange.stream], [dict(alert_payload(alert, exchange.epoch)) for alert in exchange.alerts]
    published, noted = ([one.pop("published_at") for one in side] for side in (streamed, stored_))

    assert [name for name, _ in exchange.stream] == [f"{alert.number}-0" for alert in exchange.alerts]
    assert streamed == stored_
    assert all(alert.triggered_at <= at <= then for alert, at, then in zip(exchange.alerts, published, noted, strict=True))
    assert published == noted or record.missed


@each_run
@each_exchange
def test_every_alert_has_the_record_of_its_own_candle(record: Record, exchange_id: str) -> None:
    ways = set()
    for alert in record.exchanges[exchange_id].alerts:
        kept = alert.record
        ways.add(kept["candle"]["closed_by"])
        assert (kept["current"]["macdv"], kept["current"]["histogram"]) == (alert.trigger_value, alert.signal_delta)
        assert (kept["current"]["stage"], kept["previous"]["macdv"]) == (alert.stage, alert.previous_value)
        assert (kept["candle"]["open_time"], kept["candle"]["close"]) == (alert.candle_time, alert.price)
        assert kept["warm_up"]["bars"] >= kept["warm_up"]["needed"]
        assert kept["rule"]["version"] == alert.rule_version
        ours = [kept["times"]["received"], kept["times"]["evaluated"], alert.committed_at, alert.published_at]
        known = [at for at in ours if at is not None]
        assert known == sorted(known)
        assert kept["times"]["exchange"] >= kept["candle"]["close_time"] - 1_000
        assert alert.delayed or kept["candle"]["closed_by"] != "history"
    live = {"read-back"} if exchange_id == COINBASE_ID else {"flag"}
    assert live <= ways <= {"flag", "read-back", "quiet", "history"}
    assert ("history" in ways) == bool(record.missed)


@each_exchange
def test_alerts_of_a_run_that_crashed_are_those_of_one_that_was_never_stopped(unbroken: Record, crashed: Record, exchange_id: str) -> None:
    assert sorted(crashed.exchanges[exchange_id].candles) == sorted(unbroken.exchanges[exchange_id].candles)
    assert sorted(stored(crashed.exchanges[exchange_id])) == sorted(stored(unbroken.exchanges[exchange_id]))


@each_run
@each_exchange
def test_what_was_missed_and_nothing_else_is_marked_as_delayed(record: Record, exchange_id: str) -> None:
    alerts = record.exchanges[exchange_id].alerts
    missed = {alert.uid for alert in alerts if (exchange_id, alert.symbol, alert.timeframe, alert.candle_time) in record.missed}

    assert {alert.uid for alert in alerts if alert.delayed} == missed
    assert bool(missed) == bool(record.missed), "a crash that costs no alert shows nothing"


# What is published


def heard(record: Record, kind: str, exchange_id: str) -> list[Published]:
    return [one for one in record.published if parse_channel(one.channel)[:2] == (kind, exchange_id)]


@each_exchange
def test_an_alert_is_published_once_on_each_of_its_channels_and_is_in_the_stream_by_then(unbroken: Record, exchange_id: str) -> None:
    said = heard(unbroken, "alerts", exchange_id)
    for_all = [one for one in said if one.channel == f"channel:alerts:{exchange_id}"]
    alerts = unbroken.exchanges[exchange_id].alerts

    assert [one.message["id"] for one in for_all] == [alert.number for alert in alerts]
    assert all(set(one.message) == ALERT_FIELDS for one in said)
    assert all(one.streamed == one.message for one in said)
    of_symbols = {(one.channel, one.message["id"]) for one in said} - {(one.channel, one.message["id"]) for one in for_all}
    assert of_symbols == {(f"channel:exchange:{exchange_id}:alerts:{alert.symbol}", alert.number) for alert in alerts}
    assert len(said) == 2 * len(alerts)


@each_exchange
def test_an_alert_on_a_channel_says_what_the_contract_says(unbroken: Record, exchange_id: str) -> None:
    exchange = unbroken.exchanges[exchange_id]
    by_number = {alert.number: alert for alert in exchange.alerts}
    for one in heard(unbroken, "alerts", exchange_id):
        assert one.message == alert_payload(by_number[one.message["id"]], exchange.epoch)
        assert (one.message["type"], one.message["alert_type"], one.message["source_exchange_id"]) == ("alert", "macdv", exchange_id)
        assert f"{one.message['base']}-{one.message['quote']}" in {one.message["symbol"], f"{one.message['symbol'][:-4]}-USDT"}
        assert {tuple(entry) for entry in one.message["timeframes"]} == {("timeframe", "macdv", "stage")}


@each_exchange
def test_every_close_is_published_once_with_the_candle_that_closed(unbroken: Record, exchange_id: str) -> None:
    said: dict[tuple[str, str], Rows] = {}
    for one in heard(unbroken, "candle", exchange_id):
        assert set(one.message) == {"type", "exchange_id", "symbol", "timeframe", "published_at", "candle", "indicator"}
        assert (one.message["type"], one.message["exchange_id"]) == ("candle", exchange_id)
        assert one.channel == f"channel:exchange:{exchange_id}:candle:close:{one.message['symbol']}:{one.message['timeframe']}"
        said.setdefault((one.message["symbol"], one.message["timeframe"]), []).append(one.message["candle"])
    for (symbol, timeframe), rows in unbroken.exchanges[exchange_id].candles.items():
        assert said.get((symbol, timeframe), []) == [row for row in rows if row[0] + STEPS[timeframe] > unbroken.since], (symbol, timeframe)


@each_exchange
def test_a_published_close_can_be_read_in_redis(unbroken: Record, exchange_id: str) -> None:
    closes = heard(unbroken, "candle", exchange_id)
    assert len(closes) > 8 * recorded.CLOSES
    for one in closes:
        assert one.row == one.message["candle"]
        assert one.indicator == one.message["indicator"]
        assert set(one.message["indicator"]) == INDICATOR_FIELDS
        assert (one.message["indicator"]["t"], one.message["indicator"]["close"]) == (one.message["candle"][0], one.message["candle"][4])


@each_exchange
def test_a_day_on_one_connection(unbroken: Record, exchange_id: str) -> None:
    counters = unbroken.exchanges[exchange_id].counters

    assert counters["connects"] == 1
    assert not {"rejected", "refused", "lost", "revised", "read_backs_failed", "warm_ups_failed"} & set(counters)


# What goes wrong


def shown(alerts: list[Alert]) -> list[tuple[str, str, str, int]]:
    return sorted((one.symbol, one.timeframe, one.trigger_label, one.candle_time) for one in alerts)


async def wanted(world: World, exchange_id: str, since: int, first: dict[Series, int]) -> list[tuple[str, str, str, int]]:
    """What the oracle wants by now, of series whose history begins at ``first``."""
    ends = {timeframe: world.last_closed(timeframe) + step for timeframe, step in STEPS.items()}
    rows = {series: truth(world.sandbox, exchange_id, series[0], series[1], start, ends[series[1]]) for series, start in first.items()}
    by_symbol = due(world.sandbox, exchange_id, rows, since)
    return sorted((symbol, one.timeframe, one.label, one.candle_time) for symbol, alerts in by_symbol.items() for one in alerts)


async def beginnings(world: World, exchange_id: str) -> dict[Series, int]:
    return {series: int(rows[0][0]) for series, rows in (await world.candles(exchange_id)).items()}


@each_exchange
async def test_a_redis_that_dies_and_comes_back_empty_costs_no_alert(valkey: Valkey, exchange_id: str) -> None:
    async with simulated([KNOWN[exchange_id]], pinned=PINNED) as world:
        await world.host(exchange_id)
        since, first = world.clock.now(), await beginnings(world, exchange_id)
        for _ in range(4):
            await world.advance()
        epoch = (await world.stream(exchange_id))[0][1]["epoch"]
        valkey.kill()
        for _ in range(6):
            world.clock.advance(STEP)
            await world.evaluated()
        assert await world.unpublished(exchange_id), "alerts go on without Redis"
        valkey.start()
        await world.settled()
        for _ in range(4):
            await world.advance()

        alerts = await world.alerts(exchange_id)
        assert shown(alerts) == await wanted(world, exchange_id, since, first)
        assert [alert.number for alert in alerts] == list(range(1, len(alerts) + 1))
        stream = await world.stream(exchange_id)
        assert [int(name.removesuffix("-0")) for name, _ in stream] == [alert.number for alert in alerts]
        assert {one["epoch"] for _, one in stream} != {epoch}
        assert len({one["epoch"] for _, one in stream}) == 1
        await until(lambda: filled_again(world, exchange_id, first), "candles and indicators in Redis")


async def filled_again(world: World, exchange_id: str, first: dict[Series, int]) -> bool:
    """Whether Redis has the newest 400 candles of every series, and the indicator the oracle has on the whole of it."""
    candles, indicators = await world.candles(exchange_id), await world.indicators(exchange_id)
    for (symbol, timeframe), start in first.items():
        rows = truth(world.sandbox, exchange_id, symbol, timeframe, start, world.last_closed(timeframe) + STEPS[timeframe])
        kept = candles[symbol, timeframe][-len(rows) :]  # a refill may have fetched some that are older than the warm-up's first
        if len(kept) < min(400, len(rows)) or without_volume(kept) != without_volume(rows[-len(kept) :]):
            return False
        value = indicators[symbol, timeframe]
        if value is None or value["macdv"] != near(oracle.macdv(rows)[-1].macdv):
            return False
    return True


FAULTS = (("gap", {}), ("duplicate", {}), ("reorder", {}), *(("corrupt", {"form": form}) for form in FORMS if form != "huge"))


@each_exchange
async def test_a_feed_that_loses_doubles_shuffles_and_breaks_frames_changes_nothing(redis_url: str, exchange_id: str) -> None:
    async with simulated([KNOWN[exchange_id]], pinned=PINNED) as world:
        await world.start(exchange_id)
        since, first = world.clock.now(), await beginnings(world, exchange_id)
        for name, arguments in FAULTS:
            world.sandbox.faults.set(name, probability=0.06 if name == "corrupt" else 0.2, **arguments)
        for _ in range(10):
            await run_on(world, world.clock.now() + STEP)
        counters = world.connectors[exchange_id].counters

        assert shown(await world.alerts(exchange_id)) == await wanted(world, exchange_id, since, first)
        assert await filled_again(world, exchange_id, first)
        assert len(await world.alerts(exchange_id)) > 5
        assert counters["rejected"] > 5
        assert counters["revised"] == 0
        assert world.sandbox.counters[exchange_id]["connects"] == 1, "a frame that cannot be read is no reason to reconnect"


async def run_on(world: World, to: int) -> None:
    """Let the market run in steps small enough for every frame of it, then until everything is settled: news may have been lost."""
    while world.clock.now() < to:
        world.clock.advance(10_000)
        await asyncio.sleep(0.002)
    while not all([await world.is_settled(exchange_id, await world.symbols(exchange_id)) for exchange_id in world.running]):
        world.clock.advance(500)
        await asyncio.sleep(0.02)


async def test_an_older_connector_can_commit_nothing(redis_url: str) -> None:
    async with simulated([BINANCE]) as world:
        await world.start(BINANCE_ID)
        since, first = world.clock.now(), await beginnings(world, BINANCE_ID)
        older = world.running.pop(BINANCE_ID)
        await world.start(BINANCE_ID)
        for _ in range(6):
            await world.advance()

        with pytest.raises(ExceptionGroup) as ended:
            await older
        assert ended.group_contains(Fenced, match="another connector has taken over")
        alerts = await world.alerts(BINANCE_ID)
        assert shown(alerts) == await wanted(world, BINANCE_ID, since, first)
        assert [int(name.removesuffix("-0")) for name, _ in await world.stream(BINANCE_ID)] == [alert.number for alert in alerts]
