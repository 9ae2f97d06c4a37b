"""Livermore's own adapters read all the sandbox says, and find the market's truth in it."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from exchanges.adapters import adapter_for
from exchanges.events import TIMEFRAMES, Candle, Channel, Refused, Rejected, Sequence, Stream, Subscribed, Ticker
from exchanges.sandbox.market import Market
from exchanges.sandbox.server import PROTOCOLS
from exchanges.sandbox.venues import KNOWN
from tests.exchanges.sandbox.conftest import BAR, BINANCE, COINBASE, GRACE, KRAKEN, START, Bench, exchange, serving

VENUES = [(COINBASE, "coinbase", "ETH-USD"), (BINANCE, "binance", "ETHUSDT"), (KRAKEN, "kraken", "ETH/USD")]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving(venues=[KNOWN[venue] for venue, _, _ in VENUES]) as running:
        yield running


@pytest.mark.parametrize(("venue", "adapter_name", "symbol"), VENUES)
def test_the_adapter_reads_every_frame_of_eleven_minutes(venue: str, adapter_name: str, symbol: str) -> None:
    adapter, place = adapter_for(adapter_name), exchange(KNOWN[venue])
    session = PROTOCOLS[adapter_name].Session(place, adapter.connect_url("ws://here").removeprefix("ws://here"), {}, START)
    streams = [Stream(channel, row.symbol) for channel in Channel for row in place.listings.values() if not row.alias_of]
    messages = [*adapter.opening(), *(text for text, _ in adapter.subscribe(streams, 1))]
    outputs = [output for at, text in enumerate(messages) for output in session.receive(text, START, at / 2)]
    for second in range(660):
        outputs += session.advance(START + second * 1_000)
    texts = [session.seal(output) for output in outputs]
    events = [event for text in texts for event in adapter.parse(text)]
    assert [event for event in events if isinstance(event, Rejected | Refused)] == []
    assert {type(event) for event in events} >= {Candle, Ticker, Subscribed}
    final = bars_of(place.market, venue, symbol)
    closes = [event for event in events if isinstance(event, Candle) and event.symbol == symbol and event.closed]
    assert [candle.open_time for candle in closes] == (final if adapter.flags_closes else [])
    numbers = [event.number for event in events if isinstance(event, Sequence)]
    assert numbers == (list(range(len(texts))) if adapter_name == "coinbase" else [])


def bars_of(market: Market, venue: str, symbol: str) -> list[int]:
    """The intervals that close within the eleven minutes."""
    return [candle.open_time for candle in market.candles(venue, symbol, "5m", START - START % BAR, START + 660_000 - BAR)]


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize(("venue", "adapter_name", "symbol"), VENUES)
async def test_rest_candles_read_by_the_adapter_are_the_truth(
    bench: Bench, venue: str, adapter_name: str, symbol: str, timeframe: str
) -> None:
    adapter, step = adapter_for(adapter_name), TIMEFRAMES[timeframe]
    end = START - START % step
    bodies = []
    for request in adapter.candles_requests(symbol, timeframe, end - 60 * step, end):
        answer = await bench.http.get(bench.sandbox.rest_url(venue) + request.path, params=request.params, timeout=GRACE)
        assert answer.status_code == 200
        bodies.append(answer.content)
    truth = bench.market.candles(venue, symbol, timeframe, end - 60 * step, end, idle=adapter.fills_idle)
    candles = [replace(candle, closed=True) for candle in adapter.parse_candles(bodies, symbol, timeframe) if candle.open_time < end]
    if timeframe == "4h" and adapter_name == "coinbase":
        # Summed from two-hour rows: floats are added here, whole increments in the truth.
        candles = [replace(candle, volume=pytest.approx(candle.volume, rel=1e-12)) for candle in candles]
    assert candles == truth
    assert len(candles) == 60


@pytest.mark.parametrize(("venue", "adapter_name", "symbol"), VENUES)
async def test_the_adapter_reads_the_clock_and_the_listings(bench: Bench, venue: str, adapter_name: str, symbol: str) -> None:
    adapter = adapter_for(adapter_name)
    root = bench.sandbox.rest_url(venue)
    assert adapter.parse_time((await bench.http.get(root + adapter.time_request().path)).content) == START
    bodies = [(await bench.http.get(root + request.path, params=request.params)).content for request in adapter.symbol_requests()]
    rows = {row.symbol: row for row in adapter.parse_symbols(bodies)}
    day = bench.market.statistics(bench.market.listing(venue, symbol), START)
    assert rows[symbol].price == day.last / 100
    assert rows[symbol].tradable
    assert not next(row for name, row in rows.items() if name.startswith("EOS")).tradable
    ranked = sorted((row for row in rows.values() if row.tradable and not row.alias_of), key=lambda row: -(row.quote_volume_24h or 0))
    assert ranked[0].base == "BTC"
    if adapter_name == "coinbase":
        assert rows["ETH-USDC"].alias_of == "ETH-USD"
        assert not rows["MKR-USD"].tradable


async def test_what_the_adapters_read_from_a_refusal(bench: Bench) -> None:
    adapter = adapter_for("binance")
    bench.faults.set("rest-status", venue=BINANCE, status=418, retry_after=60, count=1)
    answer = await bench.get(BINANCE, "/time")
    refusal = adapter.refusal(answer.status_code, answer.headers, answer.content)
    assert (refusal.kind, refusal.retry_after, refusal.retry_at) == ("banned", 61.0, START + 60_000)
    answer = await bench.get(COINBASE, "/market/products/NOPE-USD")
    assert adapter_for("coinbase").refusal(answer.status_code, answer.headers, answer.content).kind == "not_found"
