"""The sandbox as a whole: the same for everybody, several venues on two ports, and gone when it ends."""

import asyncio
from dataclasses import replace

import pytest
from websockets.exceptions import InvalidStatus

from exchanges.sandbox.clock import ManualClock, RunningClock, SandboxError
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE as BINANCE_VENUE
from exchanges.sandbox.venues import BINANCE_US, DEFAULT, first_venues, venue_named
from exchanges.sandbox.venues import COINBASE as COINBASE_VENUE
from tests.exchanges.sandbox.conftest import BINANCE, COINBASE, START, serving

PATHS = [
    (COINBASE, "/market/products", {}),
    (COINBASE, "/market/products/ETH-USD/candles", {"granularity": "ONE_DAY", "limit": 50}),
    (COINBASE, "/market/products/RLC-USD/candles", {"granularity": "FIVE_MINUTE", "limit": 300}),
    (BINANCE, "/exchangeInfo", {}),
    (BINANCE, "/ticker/24hr", {}),
    (BINANCE, "/klines", {"symbol": "BTCUSDT", "interval": "5m", "limit": 1_000}),
    (BINANCE, "/klines", {"symbol": "ETHBTC", "interval": "4h"}),
]


async def test_two_runs_with_the_same_seed_and_clock_give_the_same_bodies_and_frames() -> None:
    runs = []
    for order in (1, -1):
        async with serving() as bench:
            client = await bench.beating(("candles", ["BTC-USD", "RLC-USD"]), ("ticker", ["BTC-USD"]))
            await bench.seconds(client, 40)
            bodies = {str(path): (await bench.get(path[0], path[1], **path[2])).content for path in PATHS[::order]}
            runs.append((client.frames, bodies))
    assert runs[0] == runs[1]
    assert all(len(body) > 1_000 for body in runs[0][1].values())


async def test_another_seed_gives_other_bodies() -> None:
    bodies = []
    for seed in (7, 8):
        async with serving(seed=seed) as bench:
            bodies.append((await bench.get(*PATHS[5][:2], **PATHS[5][2])).content)
    assert bodies[0] != bodies[1]


async def test_several_venues_are_served_on_the_same_two_ports() -> None:
    async with serving(venues=[*DEFAULT, BINANCE_US]) as bench:
        addresses = {
            (bench.sandbox.websocket_url(name).split("/")[2], bench.sandbox.rest_url(name).split("/")[2]) for name in bench.sandbox.venues
        }
        assert len(addresses) == 1
        prices = []
        for name in ("binance-sandbox", "binance-us-sandbox"):
            answer = await bench.http.get(bench.sandbox.rest_url(name) + "/api/v3/ticker/24hr", params={"symbol": "BTCUSDT"})
            prices.append(float(answer.json()["lastPrice"]))
        assert 0.995 < prices[1] / prices[0] < 1


async def test_an_unknown_venue_is_refused_with_the_list_of_known_ones() -> None:
    async with serving() as bench:
        with pytest.raises(LookupError, match="'kraken-sandbox'; served here: coinbase-sandbox, binance-sandbox"):
            bench.sandbox.websocket_url("kraken-sandbox")
        with pytest.raises(InvalidStatus) as refused:
            await bench.connect(COINBASE, "/elsewhere")
        assert refused.value.response.status_code == 404


async def test_a_taken_port_is_told_in_one_sentence() -> None:
    async with Sandbox(clock=ManualClock(START), symbols=1) as first:
        port = int(first.rest_url(COINBASE).split(":")[2].split("/")[0])
        with pytest.raises(SandboxError, match=f"port {port} is taken, maybe by another sandbox: stop it, or .* --ws-port"):
            await Sandbox(symbols=1, websocket_port=port).__aenter__()


async def test_leaving_the_sandbox_closes_its_sockets_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with serving() as bench:
        client = await bench.beating(("candles", ["BTC-USD"]))
        await bench.sandbox.__aexit__(None, None, None)
        assert (await client.closed())[0] in (1001, 1006)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("venues", "reason"),
    [
        ([], "name at least one simulated exchange"),
        ([COINBASE_VENUE, COINBASE_VENUE], "name each simulated exchange once"),
        (
            [replace(COINBASE_VENUE, protocol="carrier-pigeon")],
            "speaks 'carrier-pigeon', which is not simulated; known: binance, coinbase, kraken",
        ),
        ([replace(BINANCE_VENUE, lag_ms=200_000)], "a lag of 200000 ms is not 0 to 120000 ms above a multiple of 300000 ms"),
    ],
)
def test_it_refuses_venues_it_cannot_serve(venues: list, reason: str) -> None:
    with pytest.raises(SandboxError, match=reason):
        Sandbox(venues)


def test_a_prepared_venue_is_found_by_its_name() -> None:
    assert venue_named("binance-us-sandbox") is BINANCE_US
    with pytest.raises(LookupError, match="known: binance-sandbox, binance-us-sandbox, coinbase-sandbox"):
        venue_named("gate-sandbox")


def test_up_to_ten_venues_can_be_served_each_with_prices_of_its_own() -> None:
    venues = first_venues(10)
    assert [venue.id for venue in venues[:4]] == ["coinbase-sandbox", "binance-sandbox", "binance-us-sandbox", "kraken-sandbox"]
    sandbox = Sandbox(venues, clock=ManualClock(START))
    prices = {
        venue.id: sandbox.market.last_price(
            sandbox.exchanges[venue.id].listings[{"coinbase": "BTC-USD", "binance": "BTCUSDT", "kraken": "BTC/USD"}[venue.protocol]], START
        )
        for venue in venues
    }
    assert len(set(prices.values())) == 10
    with pytest.raises(ValueError, match="there are 1 to 10 simulated exchanges, not 11"):
        first_venues(11)


async def test_at_a_thousand_times_real_speed_every_close_of_every_symbol_comes_in_order_and_once() -> None:
    async with serving(clock=RunningClock(START, 1000)) as bench:
        symbols = [row.symbol for row in bench.sandbox.exchanges[BINANCE].listings.values() if row.status == "TRADING"]
        client = await bench.binance(*(f"{symbol.lower()}@kline_5m" for symbol in symbols))
        closes: dict[str, list[int]] = {symbol: [] for symbol in symbols}
        while min(map(len, closes.values())) < 4:
            data = (await client.receive())["data"]
            if data["k"]["x"]:
                closes[data["s"]].append(data["k"]["t"])
        for opens in closes.values():
            assert opens == [opens[0] + at * 300_000 for at in range(len(opens))]


async def test_a_failure_of_its_own_ends_the_connection_with_1011(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as bench:
        client = await bench.beating()
        monkeypatch.setattr(bench.sandbox.exchanges[COINBASE].clock, "now", lambda: 1 / 0)
        bench.faults.set("gap", count=1)
        assert (await client.closed())[0] == 1011
        monkeypatch.undo()
    assert "a connection of coinbase-sandbox failed" in caplog.text
