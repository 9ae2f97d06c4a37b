"""One socket to an exchange: paced subscriptions, proof of every stream, and three clocks that are armed at subscribe.

It ends by raising LinkClosed with the reason, in words a trader can act on.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.uri import parse_uri

from exchanges.adapters import Adapter
from exchanges.events import (
    Candle,
    Channel,
    Event,
    GoingAway,
    Limits,
    Lost,
    Refused,
    Sequence,
    Stream,
    StreamState,
    Subscribed,
    Ticker,
)
from exchanges.pacing import seconds_to_wait
from exchanges.reasons import why
from exchanges.recorder import Recorder
from livermore.outbound import Forbidden, Reach, dial

log = logging.getLogger(__name__)

MOST_ASKS = 3
"""How often a stream is asked for before it is said to be mute."""
SELDOM = 6
"""A mute stream is asked for again after so many times what it has for its first data: it may come back, the exchange's limits stay."""
LARGEST_FRAME = 16 * 2**20
"""Bytes. No frame we ask for has a hundredth of it; a larger one would end the connection, where it can be counted and skipped."""
NOT_ACKNOWLEDGED = "not acknowledged"
KNOCKS_EVERY = 2.0
"""Seconds between two looks whether a host that could not be reached takes connections again, and what each look may last."""
PACE = 0.8
"""Share of the allowed message rate we use: pings and pongs count too."""


class Clocks(NamedTuple):
    """The deadlines of a connection, in seconds."""

    opening: float = 10.0
    silence: float = 14.0
    """Without data for that long, a connection is given up: within 15 s, the look-out's own steps included. Heartbeats are not data: a
    feed can die under them."""
    proof: float = 10.0
    """What a stream has for its acknowledgement and first data before it is asked for again."""


class LinkClosed(Exception):
    """A connection ended or could not be made. ``retry_after`` seconds, where the exchange asked for a pause; ``unreachable``: the host
    did not even take a TCP connection.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, was_open: bool = False, proved: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after, self.was_open, self.proved, self.unreachable = retry_after, was_open, proved, unreachable


class _Connect(connect):
    """A redirect is a refusal: an exchange's address is its row's, and nobody else's to say."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Link:
    """An open socket. ``add`` and ``drop`` change its subscriptions; ``until_rotation`` waits for its end."""

    def __init__(
        self,
        adapter: Adapter,
        ws: ClientConnection,
        *,
        limits: Limits,
        emit: Callable[[Event], None],
        requests: Iterator[int],
        clocks: Clocks,
        heard: dict[str, float],
        recorder: Recorder | None = None,
    ) -> None:
        self._recorder, self._number = recorder, 0 if recorder is None else recorder.opened()
        self._adapter, self._ws, self._limits, self._emit, self._requests = adapter, ws, limits, emit, requests
        self._clocks = clocks
        self._heard = heard
        self.wanted: set[Stream] = set()
        self._unacked: dict[Stream, float] = {}
        self._unproved: dict[Stream, float] = {}
        self._asks: dict[Stream, int] = {}
        self._asked: dict[int, tuple[Stream, ...]] = {}
        # symbol -> monotonic time of its last data; who is in it has been proved.
        self._candles: dict[str, float] = {}
        self._tickers: dict[str, float] = {}
        self._outbox: deque[tuple[str, tuple[Stream, ...]]] = deque()
        self._sendable = asyncio.Event()
        self._all_proved = asyncio.Event()
        self._leaving = asyncio.Event()
        self._sequence: int | None = None
        self._renewed_at = 0.0
        self.frames = 0
        self.last_data = self.last_frame = self._began = time.monotonic()
        self._outbox.extend((message, ()) for message in adapter.opening())
        if self._outbox:
            self._sendable.set()
        self.tasks = [asyncio.create_task(work()) for work in (self._read, self._send, self._watch)]

    @classmethod
    async def connect(
        cls,
        adapter: Adapter,
        url: str,
        *,
        limits: Limits,
        emit: Callable[[Event], None],
        requests: Iterator[int],
        heard: dict[str, float],
        reach: Reach,
        clocks: Clocks = Clocks(),  # noqa: B008  (immutable)
        recorder: Recorder | None = None,
    ) -> "Link":
        """Open a socket, to where ``reach`` allows. ``heard``: where it notes when a symbol's last frame came; ``recorder``: takes every
        frame down.

        Raises LinkClosed with the reason.
        """
        sock = None
        try:
            uri = parse_uri(url)
            reach.check_url(url)
            async with asyncio.timeout(clocks.opening):
                sock = await dial(uri.host, uri.port, reach)
                ws = await _Connect(
                    url,
                    sock=sock,
                    compression=None,
                    open_timeout=None,
                    close_timeout=1.0,
                    ping_interval=20.0,
                    ping_timeout=20.0,
                    max_size=LARGEST_FRAME,
                    proxy=None,
                    user_agent_header="livermore",
                )
        except InvalidStatus as error:
            response = error.response
            refusal = adapter.refusal(response.status_code, response.headers, bytes(response.body or b""))
            raise LinkClosed(f"refused: {refusal.reason}", retry_after=seconds_to_wait(refusal)) from error
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise LinkClosed(why(error), unreachable=sock is None and not isinstance(error, InvalidURI | Forbidden)) from error
        return cls(adapter, ws, limits=limits, emit=emit, requests=requests, clocks=clocks, heard=heard, recorder=recorder)

    @property
    def open(self) -> bool:
        return not any(task.done() for task in self.tasks)

    @property
    def latency(self) -> float | None:
        """Seconds between the last ping and its pong; None before the first."""
        return self._ws.latency or None

    def silences(self) -> Iterator[tuple[Stream, float]]:
        """Each wanted stream, and for how many seconds it has had no data: since it was asked for, where it never had any."""
        now = time.monotonic()
        for stream in self.wanted:
            last = self._proofs(stream).get(stream.symbol) or self._unproved.get(stream) or self._began
            yield stream, now - last

    def add(self, streams: Iterable[Stream]) -> None:
        """Subscribe to these too. The silence clock is armed now, not at the first message."""
        streams = sorted(set(streams) - self.wanted)
        if not streams:
            return
        if not self.wanted:
            self.last_data = time.monotonic()
        self.wanted.update(streams)
        self._all_proved.clear()
        self._ask(streams)

    def _ask(self, streams: list[Stream]) -> None:
        for stream in streams:
            self._asks[stream] = self._asks.get(stream, 0) + 1
            if stream.symbol not in self._proofs(stream):
                self._unproved[stream] = 0.0
        self._queue(self._adapter.subscribe, streams)

    def _queue(self, spell: Callable[[Iterable[Stream], int], list[tuple[str, tuple[Stream, ...]]]], streams: Iterable[Stream]) -> None:
        request = next(self._requests)
        messages = spell(streams, request)
        for at, (_, asked) in enumerate(messages):
            self._asked[request + at] = asked
        for _ in messages[1:]:
            next(self._requests)
        self._outbox.extend(messages)
        if messages:
            self._sendable.set()

    def drop(self, streams: Iterable[Stream]) -> None:
        """Unsubscribe from these."""
        streams = sorted(set(streams) & self.wanted)
        if not streams:
            return
        self.wanted.difference_update(streams)
        for stream in streams:
            self._proofs(stream).pop(stream.symbol, None)
            for book in (self._unacked, self._unproved, self._asks):
                book.pop(stream, None)
        self._queue(self._adapter.unsubscribe, streams)
        self._check_proved()

    def renew(self, streams: Iterable[Stream]) -> list[Stream]:
        """Subscribe anew to those of these that had data and seem to have none any more: they have to be proved again.

        Returns them, and those that never had any, though there was time for it: these are being asked for anyhow.
        """
        waiting = [stream for stream in streams if stream in self._unproved and self._asks.get(stream, 0) > 1]
        streams = [stream for stream in streams if stream in self.wanted and stream.symbol in self._proofs(stream)]
        for stream in streams:
            del self._proofs(stream)[stream.symbol]
            self._asks[stream] = 0
        if streams:
            log.info("%s: subscribing anew to %d streams that went mute", self._adapter.id, len(streams))
            self._all_proved.clear()
            self._queue(self._adapter.unsubscribe, streams)
            self._ask(streams)
        return streams + waiting

    async def proved(self) -> None:
        """Wait until every wanted stream has delivered data."""
        await self._all_proved.wait()

    async def until_rotation(self, age: float | None) -> None:
        """Return when the connection should be replaced: after ``age`` seconds, or when the exchange says that it goes away.

        Raises LinkClosed when it ends before.
        """
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            done, _ = await asyncio.wait([leaving, *self.tasks], timeout=age, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        for task in self.tasks:
            if task in done:
                await self.close()
                raise self._end(task)

    def _end(self, task: asyncio.Task[None]) -> LinkClosed:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LinkClosed | ConnectionClosed | OSError):
            log.error("a connection to %s ended by our own fault", self._adapter.id, exc_info=error)
        reason = _why_closed(error) if isinstance(error, ConnectionClosed) else str(error or "closed")
        return LinkClosed(reason, was_open=True, proved=bool(self._candles or self._tickers))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self._recorder is not None:
            self._recorder.closed(self._number)
            self._recorder = None
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._ws.close()

    @property
    def waiting(self) -> int:
        """Frames that have come and are not read yet: a few dozen at most, then the exchange is made to wait."""
        return len(self._ws.recv_messages.frames)

    async def _read(self) -> None:
        parse = self._adapter.parse
        receive = self._ws.recv
        while True:
            frame = await receive(decode=False)
            if self._recorder is not None:
                self._recorder.frame(self._number, frame)
            self.frames += 1
            self.last_frame = time.monotonic()
            for event in parse(frame):
                self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Candle):
            if event.symbol in self._candles or self._prove(Stream(Channel.CANDLES, event.symbol)):
                self._candles[event.symbol] = self._heard[event.symbol] = self.last_data = self.last_frame
                self._emit(event)
        elif isinstance(event, Ticker):
            if event.symbol in self._tickers or self._prove(Stream(Channel.TICKER, event.symbol)):
                self._tickers[event.symbol] = self._heard[event.symbol] = self.last_data = self.last_frame
                self._emit(event)
        elif isinstance(event, Sequence):
            self._count(event.number)
        elif isinstance(event, Subscribed):
            self._acknowledge(event)
            self._emit(event)
        elif isinstance(event, Refused):
            self._emit(self._refused(event))
        else:
            if isinstance(event, GoingAway):
                self._leaving.set()
            self._emit(event)

    def _proofs(self, stream: Stream) -> dict[str, float]:
        return self._candles if stream.channel is Channel.CANDLES else self._tickers

    def _prove(self, stream: Stream) -> bool:
        """Note a stream's first data. False for one nobody asked for: its data is dropped."""
        if stream not in self.wanted:
            return False
        self._proofs(stream)[stream.symbol] = self.last_frame
        self._unproved.pop(stream, None)
        self._emit(StreamState(stream, live=True))
        self._check_proved()
        return True

    def _check_proved(self) -> None:
        if self.wanted and not self._unproved:
            self._all_proved.set()

    def _acknowledge(self, event: Subscribed) -> None:
        acknowledged = event.streams
        if event.request is not None:
            acknowledged += self._asked.pop(event.request, ())
        for stream in acknowledged:
            self._unacked.pop(stream, None)

    def _refused(self, event: Refused) -> Refused:
        streams = self._asked.pop(event.request, ()) if event.request is not None else ()
        names = ", ".join(f"{stream.symbol} {stream.channel}" for stream in streams[:5])
        log.warning("%s refused %s: %s", self._adapter.id, names or "a request", event.reason)
        if event.stream is not None and event.stream in self.wanted:
            # The socket goes on as if nothing had happened: without a word here it would look like a quiet market.
            self._unproved.pop(event.stream, None)
            self._emit(StreamState(event.stream, live=False, reason=f"refused: {event.reason}"))
            self._check_proved()
        return event

    def _count(self, number: int) -> None:
        expected, self._sequence = self._sequence, number + 1
        if expected is None or number == expected:
            return
        self._emit(Lost(max(1, number - expected)))
        if time.monotonic() - self._renewed_at > self._clocks.proof:
            self._renewed_at = time.monotonic()
            self._queue(self._adapter.subscribe, sorted(self.wanted))

    async def _send(self) -> None:
        interval = 1 / (self._limits.messages_per_second * PACE)
        while True:
            await self._sendable.wait()
            while self._outbox:
                message, streams = self._outbox.popleft()
                await self._ws.send(message)
                now = time.monotonic()
                for stream in streams:
                    if stream in self.wanted:
                        self._unacked[stream] = now
                        if stream in self._unproved:
                            self._unproved[stream] = now
                await asyncio.sleep(interval)
            self._sendable.clear()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(0.5, self._clocks.silence / 10))
            now = time.monotonic()
            if self.wanted and now - self.last_data > self._clocks.silence:
                raise LinkClosed(f"no data for {now - self.last_data:.0f} s, though the connection stood")
            self._ask_again(now)

    def _ask_again(self, now: float) -> None:
        """Streams without acknowledgement, or acknowledged and mute, are asked for again; after MOST_ASKS they are said to be mute, and
        asked for now and then.
        """
        again, anew = [], []
        for stream, asked in (self._unproved | self._unacked).items():
            asks = self._asks.get(stream, 0)
            if not asked or now - asked <= self._clocks.proof * (1 if asks <= MOST_ASKS else SELDOM):
                continue
            why = NOT_ACKNOWLEDGED if self._unacked.pop(stream, None) else "acknowledged, but no data"
            if stream not in self._unproved:
                continue  # it has data: no acknowledgement could say more
            if asks == MOST_ASKS:
                self._asks[stream] = MOST_ASKS + 1
                self._unproved[stream] = now
                self._emit(StreamState(stream, live=False, reason=why))
            else:
                again.append(stream)
                if why != NOT_ACKNOWLEDGED:
                    anew.append(stream)
        if again:
            log.info("%s: asking again for %d mute streams", self._adapter.id, len(again))
            self._queue(self._adapter.unsubscribe, anew)  # Kraken refuses what it has acknowledged before
            self._ask(again)


def _why_closed(error: ConnectionClosed) -> str:
    frame = error.rcvd
    if frame is None:
        return "the connection broke off without a close frame"
    return f"closed by the exchange: {frame.code} {frame.reason}".rstrip()


async def until_it_answers(url: str, reach: Reach, seconds: float) -> None:
    """Wait that long, or until the host of ``url`` takes a TCP connection again.

    An exchange counts handshakes, not this: so after a long outage nobody waits for a back-off that the outage itself has raised.
    """
    uri = parse_uri(url)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await asyncio.sleep(KNOCKS_EVERY * random.uniform(0.5, 1.0))  # nosec B311  # for timing and statistics, not for secrecy
                with contextlib.suppress(OSError):
                    async with asyncio.timeout(KNOCKS_EVERY):
                        (await dial(uri.host, uri.port, reach)).close()
                        return
