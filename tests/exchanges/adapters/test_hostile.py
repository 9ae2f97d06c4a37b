"""Whatever bytes come from an exchange: no exception, no reconnect, each frame counted. A million of them: ``make chaos-frames``."""

import json

import pytest
from websockets.asyncio.server import ServerConnection

from exchanges.adapters import Adapter, binance, coinbase, kraken
from exchanges.events import Channel, Rejected, Stream
from tests.exchanges import hostile
from tests.exchanges.scripted import Run, Venue

SYMBOLS = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD"}


@pytest.mark.parametrize("adapter", [binance, coinbase, kraken], ids=lambda adapter: adapter.id)
def test_ten_thousand_hostile_frames_raise_nothing_and_each_is_an_event_or_a_rejection(adapter: Adapter):
    kinds = hostile.hammer(adapter, seed=1)
    assert kinds["Rejected"] > 3_000, "most of them cannot be read"
    assert {"Candle", "Ticker", "Subscribed", "Refused", "Alive"} <= set(kinds), "and some can still be: every path was taken"


@pytest.mark.parametrize("adapter", [binance, coinbase, kraken], ids=lambda adapter: adapter.id)
async def test_hostile_frames_on_a_connection_are_all_counted_and_cost_no_reconnect(adapter: Adapter):
    stream = Stream(Channel.TICKER, SYMBOLS[adapter.id])
    sent = list(hostile.frames(adapter.id, seed=2))
    sound = json.dumps(next(message for message in hostile.SOUND[adapter.id] if "ticker" in str(message)))

    async def send_them(socket: ServerConnection) -> None:
        await socket.recv()
        for frame in sent:
            await socket.send(frame, text=True)
        await socket.send(sound)
        await socket.wait_closed()

    async with Venue(send_them).open() as venue, Run(venue.url, adapter=adapter) as run:
        run.engine.want([stream])
        await run.until(lambda _: run.engine.frames > len(sent))
        assert (run.engine.frames, venue.connections, run.engine.connects) == (len(sent) + 1, 1, 1)
        told = sum(isinstance(event, Rejected) for event in run.events)
        assert told == sum(isinstance(event, Rejected) for frame in sent for event in adapter.parse(frame))
