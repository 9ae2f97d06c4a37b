import asyncio
import itertools
import json
import socket
import time

import msgspec
from websockets.asyncio.server import ServerConnection

from exchanges.adapters import coinbase
from exchanges.events import Candle, Channel, ConnectionState, Event, GoingAway, Lost, Refused, Rejected, Stream, StreamState, Ticker
from exchanges.link import Clocks, until_it_answers
from exchanges.pacing import ConnectBudget
from livermore.outbound import LOOPBACK
from tests.exchanges.scripted import LIMITS, Run, Venue, ack, answer, kline, ticker

CANDLES = Stream(Channel.CANDLES, "BTCUSDT")
TICKER = Stream(Channel.TICKER, "BTCUSDT")
FAST = Clocks(opening=1.0, silence=0.5, proof=0.3)


def proved(*streams: Stream):
    return lambda events: {event.stream for event in events if isinstance(event, StreamState) and event.live} >= set(streams)


def disconnected(times: int = 1):
    return lambda events: sum(getattr(event, "state", None) is ConnectionState.DISCONNECTED for event in events) >= times


def connected(times: int = 1):
    return lambda events: sum(getattr(event, "state", None) is ConnectionState.CONNECTED for event in events) >= times


async def test_a_stream_is_proved_by_its_first_data_not_by_its_ack():
    async def only_ack(socket: ServerConnection) -> None:
        first = await anext(aiter(socket))
        await socket.send(ack(first))
        await socket.send(ticker())
        await socket.wait_closed()

    async with Venue(only_ack).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(lambda events: any(isinstance(event, Ticker) for event in events))
        assert [event.stream for event in run.events if isinstance(event, StreamState)] == [TICKER]


async def test_data_that_comes_before_the_ack_counts():
    async def data_first(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(kline())
            await socket.send(ack(message))

    async with Venue(data_first).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(proved(CANDLES))
        assert [event.close for event in run.events if isinstance(event, Candle)] == [11.0]


async def test_a_mute_stream_is_asked_for_again_and_then_named():
    asked: list[tuple[str, list[str]]] = []

    async def mute_candles(socket: ServerConnection) -> None:
        async def chatter() -> None:
            while True:
                await socket.send(ticker())
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(chatter())
            async for message in socket:
                asked.append((json.loads(message)["method"], json.loads(message)["params"]))
                await socket.send(ack(message))

    async with Venue(mute_candles).open() as venue, Run(venue.url, clocks=FAST) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(lambda events: any(isinstance(event, StreamState) and not event.live for event in events))
        assert StreamState(CANDLES, live=False, reason="acknowledged, but no data") in run.events
        assert asked[1:] == [("UNSUBSCRIBE", ["btcusdt@kline_5m"]), ("SUBSCRIBE", ["btcusdt@kline_5m"])] * 2
        assert venue.connections == 1


async def test_a_mute_stream_is_asked_for_now_and_then_and_comes_back():
    asks = 0

    async def late_candles(socket: ServerConnection) -> None:
        nonlocal asks

        async def chatter() -> None:
            while True:
                await socket.send(ticker())
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(chatter())
            async for message in socket:
                await socket.send(ack(message))
                asks += json.loads(message)["method"] == "SUBSCRIBE"
                if asks == 4:
                    await socket.send(kline())

    async with Venue(late_candles).open() as venue, Run(venue.url, clocks=Clocks(opening=1.0, silence=0.5, proof=0.1)) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(proved(CANDLES))
        told = [event.live for event in run.events if isinstance(event, StreamState) and event.stream == CANDLES]
        assert told == [False, True]
        assert venue.connections == 1


async def test_a_stream_that_went_mute_is_subscribed_to_anew_and_has_to_be_proved_again():
    said: list[tuple[str, list[str]]] = []

    async def note(socket: ServerConnection) -> None:
        async for message in socket:
            request = json.loads(message)
            said.append((request["method"], request["params"]))
            await socket.send(ack(message))
            for name in request["params"] if request["method"] == "SUBSCRIBE" else ():
                await socket.send(ticker() if name.endswith("ticker") else kline())

    def twice(events: list[Event]) -> bool:
        return events.count(StreamState(CANDLES, live=True)) == 2

    never = Stream(Channel.CANDLES, "ETHUSDT")
    async with Venue(note).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(proved(CANDLES, TICKER))
        assert run.engine.renew([CANDLES, never]) == [CANDLES]
        assert run.engine.renew([CANDLES]) == [], "it is being asked for, and has had no time yet"
        await run.until(twice)
        assert said[1:] == [("UNSUBSCRIBE", ["btcusdt@kline_5m"]), ("SUBSCRIBE", ["btcusdt@kline_5m"])]
        assert run.events.count(StreamState(TICKER, live=True)) == 1


async def test_a_stream_that_had_time_for_its_first_data_counts_as_mute():
    async def only_tickers(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(ack(message))
            await socket.send(ticker())

    async with Venue(only_tickers).open() as venue, Run(venue.url, clocks=Clocks(proof=0.2)) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(proved(TICKER))
        assert run.engine.renew([CANDLES]) == []
        async with asyncio.timeout(5):
            while run.engine.renew([CANDLES]) != [CANDLES]:  # noqa: ASYNC110  (it has no event: it says nothing until it is asked)
                await asyncio.sleep(0.1)


async def test_a_host_that_could_not_be_reached_is_connected_to_as_soon_as_it_answers():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    run = Run(f"ws://127.0.0.1:{port}")
    run.engine.budget = ConnectBudget(300, per_minute=2)
    async with run:
        run.engine.want([CANDLES])
        await run.until(disconnected(3))
        async with Venue(answer).open(port) as venue:
            await run.until(proved(CANDLES))
            assert venue.connections == 1
    assert run.engine.connects > 2, "what never reached the host is not counted against what it allows"


async def test_a_wait_for_a_host_ends_when_it_answers_not_when_the_back_off_does():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    began = time.monotonic()
    await until_it_answers(url, LOOPBACK, 0.2)
    assert time.monotonic() - began < 2.0, "the back-off is over"
    waiting = asyncio.create_task(until_it_answers(url, LOOPBACK, 60.0))
    await asyncio.sleep(0.1)
    async with Venue(answer).open(port), asyncio.timeout(5.0):
        await waiting


async def test_data_nobody_asked_for_is_dropped():
    async def stray(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(ack(message))
            await socket.send(kline("ETHUSDT"))
            await socket.send(kline("BTCUSDT"))

    async with Venue(stray).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(proved(CANDLES))
        assert {event.symbol for event in run.events if isinstance(event, Candle)} == {"BTCUSDT"}


async def test_silence_from_the_first_second_ends_a_connection():
    async def mute(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with Venue(mute, answer).open() as venue, Run(venue.url, clocks=FAST) as run:
        run.engine.want([CANDLES])
        await run.until(proved(CANDLES))
        (end,) = [event for event in run.lifecycle() if event.state is ConnectionState.DISCONNECTED]
        assert end.reason.startswith("no data for")


async def test_heartbeats_are_not_data():
    async def only_heartbeats(socket: ServerConnection) -> None:
        for number in itertools.count():
            beat = {"channel": "heartbeats", "timestamp": "2026-08-09T21:05:48.2Z", "sequence_num": number, "events": [{}]}
            await socket.send(json.dumps(beat))
            await asyncio.sleep(0.02)

    async with Venue(only_heartbeats).open() as venue, Run(venue.url, clocks=FAST, adapter=coinbase) as run:
        run.engine.want([Stream(Channel.CANDLES, "BTC-USD")])
        await run.until(disconnected())
        assert run.lifecycle()[-1].reason.startswith("no data for")


async def test_a_truncated_frame_is_counted_and_costs_no_connection():
    async def truncated(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(ack(message))
            await socket.send(kline()[:40])
            await socket.send(b"\xff\xfe\x00")
            await socket.send(kline(close=11.5))

    async with Venue(truncated).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(proved(CANDLES))
        assert sum(isinstance(event, Rejected) for event in run.events) == 2
        assert [event.close for event in run.events if isinstance(event, Candle)] == [11.5]
        assert venue.connections == 1


async def test_it_waits_longer_each_time_a_server_accepts_and_closes():
    async def accept_then_close(socket: ServerConnection) -> None:
        await socket.close(1000)

    async with Venue(accept_then_close).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(disconnected(3))
        waits = [event.retry_in for event in run.lifecycle() if event.state is ConnectionState.DISCONNECTED]
        assert all(wait is not None and wait >= 1.0 for wait in waits)
        assert venue.connections == 3


async def test_it_never_connects_more_than_ten_times_a_minute():
    async with Venue(answer).open() as venue:
        run = Run(venue.url)
        for _ in range(10):
            run.engine.budget.spend()
        assert run.engine.budget.delay() > 50
        async with run:
            run.engine.want([CANDLES])
            await asyncio.sleep(0.3)
            assert venue.connections == 0


async def test_a_refused_handshake_is_a_reason():
    async with Venue(answer).open() as venue:
        url = venue.url
    async with Run(url) as run:
        run.engine.want([CANDLES])
        await run.until(disconnected())
        assert [event.reason for event in run.lifecycle()[:2]] == ["", "connection refused: nothing listens there"]


async def test_a_close_code_is_named_and_everything_is_asked_for_again():
    async def close_soon(socket: ServerConnection) -> None:
        message = await anext(aiter(socket))
        await socket.send(ack(message))
        await socket.send(kline())
        await socket.close(1012, "service restart")

    async with Venue(close_soon, answer).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(proved(CANDLES, TICKER))
        (end,) = [event for event in run.lifecycle() if event.state is ConnectionState.DISCONNECTED]
        assert end.reason == "closed by the exchange: 1012 service restart"


async def test_before_its_age_runs_out_a_connection_is_replaced_without_a_gap():
    limits = msgspec.structs.replace(LIMITS, max_connection_age=1)
    async with Venue(answer).open() as venue, Run(venue.url, limits=limits) as run:
        run.engine.want([CANDLES])
        await run.until(connected(2))
        assert venue.connections == 2
        assert not disconnected()(run.events)


async def test_a_shutdown_notice_is_answered_with_a_replacement():
    async def leaving(socket: ServerConnection) -> None:
        message = await anext(aiter(socket))
        await socket.send(ack(message))
        await socket.send(kline())
        await socket.send('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}')
        await socket.wait_closed()

    async with Venue(leaving, answer).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(connected(2))
        assert GoingAway("serverShutdown", 1770123456789) in run.events
        assert not disconnected()(run.events)


async def test_wants_may_change_on_a_running_connection():
    said: list[tuple[str, list[str]]] = []

    async def note(socket: ServerConnection) -> None:
        async for message in socket:
            request = json.loads(message)
            said.append((request["method"], request["params"]))
            await socket.send(ack(message))
            for name in request["params"]:
                await socket.send(kline(name.partition("@")[0].upper()))

    eth = Stream(Channel.CANDLES, "ETHUSDT")
    async with Venue(note).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(proved(CANDLES))
        run.engine.want([eth])
        await run.until(proved(eth))
        assert said == [("SUBSCRIBE", ["btcusdt@kline_5m"]), ("UNSUBSCRIBE", ["btcusdt@kline_5m"]), ("SUBSCRIBE", ["ethusdt@kline_5m"])]
        assert venue.connections == 1


async def test_more_streams_than_a_connection_holds_open_another():
    limits = msgspec.structs.replace(LIMITS, streams_per_connection=2)
    streams = [Stream(Channel.CANDLES, f"S{number}USDT") for number in range(5)]
    async with Venue(answer).open() as venue, Run(venue.url, limits=limits) as run:
        run.engine.want(streams)
        await run.until(proved(*streams))
        assert venue.connections == 3
        assert run.engine.wanted == set(streams)


async def test_subscriptions_are_paced():
    moments: list[float] = []

    async def note(socket: ServerConnection) -> None:
        async for message in socket:
            moments.append(asyncio.get_running_loop().time())
            if len(moments) == 4:
                await socket.send(kline(json.loads(message)["params"][0].partition("@")[0].upper()))

    limits = msgspec.structs.replace(LIMITS, messages_per_second=25, streams_per_connection=400)
    async with Venue(note).open() as venue, Run(venue.url, limits=limits) as run:
        run.engine.want(Stream(Channel.CANDLES, f"S{number}") for number in range(400))
        await run.until(lambda events: any(isinstance(event, Candle) for event in events))
    # 20 a second: four fifths of what is allowed. A busy machine can only add to that.
    assert moments[3] - moments[0] >= 0.14


async def test_lost_frames_are_noticed_by_their_numbers():
    def frame(number: int, start: int) -> str:
        row = {"start": str(start), "high": "12", "low": "9", "open": "10", "close": "11", "volume": "1", "product_id": "BTC-USD"}
        events = [{"type": "update", "candles": [row]}]
        return json.dumps({"channel": "candles", "timestamp": "2026-08-09T21:05:48.2Z", "sequence_num": number, "events": events})

    asked = 0
    asked_again = asyncio.Event()

    async def jump(socket: ServerConnection) -> None:
        nonlocal asked
        async for message in socket:
            if json.loads(message)["channel"] == "candles":
                asked += 1
                if asked == 1:
                    for number in (0, 1, 4, 5):
                        await socket.send(frame(number, 1_786_309_500))
                else:
                    asked_again.set()

    async with Venue(jump).open() as venue, Run(venue.url, adapter=coinbase) as run:
        run.engine.want([Stream(Channel.CANDLES, "BTC-USD")])
        await run.until(lambda events: sum(isinstance(event, Candle) for event in events) == 4)
        assert [event for event in run.events if isinstance(event, Lost)] == [Lost(2)]
        async with asyncio.timeout(5):
            await asked_again.wait()
        assert venue.connections == 1


async def test_a_refusal_on_the_socket_comes_out_as_one():
    async def refuse(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(json.dumps({"error": {"code": 2, "msg": "Invalid request"}, "id": json.loads(message)["id"]}))

    def refused(events: list[Event]) -> bool:
        return any(isinstance(event, Refused) and event.reason == "Invalid request" for event in events)

    async with Venue(refuse).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES])
        await run.until(refused)


async def test_ending_it_closes_the_connection():
    ended = asyncio.Event()

    async def note_the_end(socket: ServerConnection) -> None:
        await socket.wait_closed()
        ended.set()

    async with Venue(note_the_end).open() as venue:
        async with Run(venue.url) as run:
            run.engine.want([CANDLES])
            await run.until(connected())
        async with asyncio.timeout(3):
            await ended.wait()


async def test_the_last_frame_of_a_symbol_is_noted_and_forgotten_with_it():
    async with Venue(answer).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES, TICKER])
        before = time.monotonic()
        await run.until(proved(CANDLES, TICKER))
        assert set(run.engine.heard) == {"BTCUSDT"}
        assert before <= run.engine.heard["BTCUSDT"] <= time.monotonic()
        run.engine.want([])
        assert run.engine.heard == {}


# What health is measured by


async def test_frames_are_counted_over_all_connections_there_have_been():
    async def three_and_close(socket: ServerConnection) -> None:
        message = await socket.recv()
        await socket.send(ack(message))
        await socket.send(kline())
        await socket.send(ticker())
        await socket.close()

    async def two(socket: ServerConnection) -> None:
        message = await socket.recv()
        await socket.send(ack(message))
        await socket.send(kline())
        await socket.wait_closed()

    async with Venue(three_and_close, two).open() as venue, Run(venue.url) as run:
        run.engine.want([CANDLES, TICKER])
        await run.until(lambda events: sum(isinstance(event, Candle) for event in events) == 2)
        assert venue.connections == 2
        assert run.engine.frames == 5


async def test_each_stream_tells_for_how_long_it_has_been_silent():
    async def candles_then_ticker(socket: ServerConnection) -> None:
        message = await socket.recv()
        await socket.send(ack(message))
        await socket.send(kline())
        await asyncio.sleep(0.3)
        await socket.send(ticker())
        await socket.wait_closed()

    async with Venue(candles_then_ticker).open() as venue, Run(venue.url) as run:
        mute = Stream(Channel.CANDLES, "ETHUSDT")
        run.engine.want([CANDLES, TICKER, mute])
        await run.until(proved(TICKER))
        (link,) = run.engine.links
        silences = dict(link.silences())
        assert set(silences) == {CANDLES, TICKER, mute}
        assert 0 <= silences[TICKER] < silences[CANDLES]
        assert silences[mute] >= silences[CANDLES] >= 0.3, "one that never had data counts from when it was asked for"
        assert link.latency is None, "no ping yet"
        run.engine.want([TICKER])
        assert [stream for stream, _ in link.silences()] == [TICKER]
