"""Faults that every wire protocol has to show in its own way: lines that swallow everything, and markets that change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
from websockets.asyncio.client import connect

from exchanges.adapters import adapter_for
from exchanges.events import Candle, Channel, Event, Refused, Rejected, Stream, SymbolInfo, Ticker
from exchanges.sandbox.faults import FORMS
from exchanges.sandbox.venues import KNOWN
from tests.exchanges.sandbox.conftest import BAR, BINANCE, COINBASE, GRACE, KRAKEN, START, Bench, serving


class Place(NamedTuple):
    venue: str
    adapter: str
    symbol: str
    renamed: str


PLACES = [
    Place(COINBASE, "coinbase", "SOL-USD", "LUNE-USD"),
    Place(BINANCE, "binance", "SOLUSDT", "LUNEUSDT"),
    Place(KRAKEN, "kraken", "SOL/USD", "LUNE/USD"),
]
EACH = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.adapter)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving(venues=[KNOWN[place.venue] for place in PLACES]) as running:
        yield running


class Watcher:
    """A client that subscribes as an adapter spells it, and reads with it."""

    def __init__(self, bench: Bench, place: Place, socket: Any) -> None:
        self.bench, self.place, self.socket = bench, place, socket
        self.adapter: Any = adapter_for(place.adapter)

    async def subscribe(self, *symbols: str) -> None:
        streams = [Stream(channel, symbol) for symbol in symbols for channel in Channel]
        for text, _ in self.adapter.subscribe(streams, 1):
            await self.socket.send(text)

    async def events(self, seconds: int = 30) -> list[Event]:
        """What comes while that much market time passes, up to a pong."""
        for _ in range(seconds // 2):
            self.bench.clock.advance(2_000)
            await asyncio.sleep(0.001)
        texts = []
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.1):
                    texts.append(await self.socket.recv(decode=False))
        return [event for text in texts for event in self.adapter.parse(text)]


@contextlib.asynccontextmanager
async def watching(bench: Bench, place: Place, **more: Any) -> AsyncIterator[Watcher]:
    url = adapter_for(place.adapter).connect_url(bench.sandbox.websocket_url(place.venue))
    async with connect(url, compression=None, max_size=2**25, **more) as socket:
        yield Watcher(bench, place, socket)


def seen(events: list[Event]) -> set[str]:
    return {event.symbol for event in events if isinstance(event, Candle | Ticker)}


async def listed(bench: Bench, place: Place) -> dict[str, SymbolInfo]:
    adapter, root = adapter_for(place.adapter), bench.sandbox.rest_url(place.venue)
    bodies = [(await bench.http.get(root + request.path, params=request.params)).content for request in adapter.symbol_requests()]
    return {info.symbol: info for info in adapter.parse_symbols(bodies)}


async def opened(bench: Bench, place: Place, symbol: str) -> list[int]:
    """The open times of the candles that REST has of the last half hour; none where it does not know the symbol."""
    adapter, root = adapter_for(place.adapter), bench.sandbox.rest_url(place.venue)
    (request,) = adapter.candles_requests(symbol, "5m", START - 6 * BAR, START + BAR)
    answer = await bench.http.get(root + request.path, params=request.params)
    try:
        return [candle.open_time for candle in adapter.parse_candles([answer.content], symbol, "5m")]
    except ValueError:
        return []


@EACH
async def test_a_lost_subscription_is_silent_until_it_is_asked_for_again(bench: Bench, place: Place) -> None:
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        assert seen(await watcher.events()) == {place.symbol}
        bench.faults.set("lost-subscription", venue=place.venue, symbol=place.symbol)
        assert seen(await watcher.events()) == set()
        await watcher.subscribe(place.symbol)
        again = await watcher.events()
        if place.adapter == "binance":  # it still calls the stream a running one
            assert not [event for event in again if isinstance(event, Refused)]
        assert seen(again) == {place.symbol}


@EACH
async def test_a_black_hole_swallows_data_pongs_handshakes_and_rest(bench: Bench, place: Place) -> None:
    async with watching(bench, place, close_timeout=0.1) as watcher:
        await watcher.subscribe(place.symbol)
        assert await watcher.events()
        fault = bench.faults.set("black-hole", venue=place.venue)
        pong = await watcher.socket.ping()
        assert await watcher.events() == []
        assert not pong.done()
        with pytest.raises(TimeoutError):
            async with watching(bench, place, open_timeout=0.2):
                pass
        with pytest.raises(httpx.ReadTimeout):
            await bench.http.get(bench.sandbox.rest_url(place.venue) + "/", timeout=0.2)
        bench.faults.clear(id=fault.id)
        assert seen(await watcher.events()) == {place.symbol}


async def test_pings_can_go_unanswered_while_data_flows(bench: Bench) -> None:
    place = PLACES[1]
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        bench.faults.set("no-pong", venue=place.venue)
        pong = await watcher.socket.ping()
        assert seen(await watcher.events()) == {place.symbol}
        assert not pong.done()
        bench.faults.clear()
        async with asyncio.timeout(GRACE):
            await (await watcher.socket.ping())


async def test_a_client_can_be_flooded_with_pings(bench: Bench) -> None:
    place = PLACES[0]
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        fault = bench.faults.set("ping-flood", venue=place.venue, rate=2_000)
        assert seen(await watcher.events()) == {place.symbol}
        bench.faults.clear()
        assert fault.struck >= 100


@EACH
async def test_frames_can_come_in_fragments(bench: Bench, place: Place) -> None:
    bench.faults.set("sliced", venue=place.venue, size=50)
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        events = await watcher.events()
        assert seen(events) == {place.symbol}
        assert not [event for event in events if isinstance(event, Rejected)]


@EACH
@pytest.mark.parametrize("form", [form for form in FORMS if form not in {"unknown", "utf8", "huge"}])
async def test_each_form_of_corruption_is_rejected(bench: Bench, place: Place, form: str) -> None:
    async with watching(bench, place) as watcher:
        bench.faults.set("corrupt", venue=place.venue, form=form, channel="ticker", count=1)
        await watcher.subscribe(place.symbol)
        events = await watcher.events(4)
        assert len([event for event in events if isinstance(event, Rejected)]) == 1, [
            event for event in events if isinstance(event, Rejected)
        ]


@EACH
async def test_a_halted_market_is_listed_so_and_shows_nothing_newer_until_it_goes_on(bench: Bench, place: Place) -> None:
    whole = await opened(bench, place, place.symbol)
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        await watcher.events()
        bench.faults.set("halt", venue=place.venue, symbol=place.symbol)
        assert not (await listed(bench, place))[place.symbol].tradable
        assert seen(await watcher.events()) == set()
        bench.clock.advance(BAR)
        closed = [open_time for open_time in whole if open_time < START - START % BAR]
        assert await opened(bench, place, place.symbol) == closed
        bench.faults.clear()
        assert (await listed(bench, place))[place.symbol].tradable
        assert seen(await watcher.events()) == {place.symbol}
        assert (await opened(bench, place, place.symbol))[len(closed)] == START - START % BAR


@EACH
async def test_a_delisted_market_is_gone(bench: Bench, place: Place) -> None:
    bench.faults.set("delist", venue=place.venue, symbol=place.symbol)
    assert place.symbol not in await listed(bench, place)
    assert await opened(bench, place, place.symbol) == []
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        assert seen(await watcher.events()) == set()
        bench.faults.clear()
        assert place.symbol in await listed(bench, place)


@EACH
async def test_a_renamed_market_has_its_new_name_everywhere(bench: Bench, place: Place) -> None:
    before = await opened(bench, place, place.symbol)
    bench.faults.set("rename", venue=place.venue, symbol=place.symbol, to=place.renamed)
    names = await listed(bench, place)
    assert place.renamed in names
    assert place.symbol not in names
    assert await opened(bench, place, place.renamed) == before
    assert await opened(bench, place, place.symbol) == []
    async with watching(bench, place) as watcher:
        await watcher.subscribe(place.symbol)
        assert seen(await watcher.events()) == set()
        await watcher.subscribe(place.renamed)
        assert seen(await watcher.events()) == {place.renamed}


async def test_their_settings_are_checked(bench: Bench) -> None:
    for name, settings in (("halt", {}), ("rename", {"symbol": "A"}), ("sliced", {"size": 0}), ("ping-flood", {"rate": 0})):
        with pytest.raises(ValueError, match=name):
            bench.faults.set(name, **settings)
    assert bench.faults.active() == []
