"""The exchange of a recording: an engine and a REST client that hear what was recorded, when whoever replays it hands it to them.

What reads, proves and refuses is the code of the live ones; only what would wait for a socket or a clock waits for the recording.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from exchanges.adapters import Adapter
from exchanges.engine import Emit, Engine
from exchanges.events import Limits, Request, RestRefusal, Stream
from exchanges.link import Clocks, Link
from exchanges.recording import Answered
from exchanges.rest import RestClient, RestError
from livermore.outbound import Reach

NO_CLOCKS = Clocks(silence=math.inf, proof=math.inf)
"""What silence meant was decided when it was recorded."""
NOWHERE = Reach(public=False)
TURNS = 8
"""Of the event loop, after which whoever was handed something has asked for what it wants next. Tasks run in the order they were woken."""

Key = tuple[str, tuple[tuple[str, str], ...]]


async def settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class ReplayedSocket:
    """What a ``Link`` takes for a connection. ``hand`` returns when the frame has been dealt with."""

    latency = 0.0

    def __init__(self) -> None:
        self._frame: asyncio.Future[bytes] | None = None
        self._waiting = asyncio.Event()
        self._closed = False

    async def recv(self, *, decode: bool) -> bytes:
        if self._closed:
            raise OSError("closed")
        self._frame = asyncio.get_running_loop().create_future()
        self._waiting.set()
        return await self._frame

    async def hand(self, frame: bytes) -> None:
        await self._waiting.wait()
        if self._frame is None or self._frame.done():
            return
        self._waiting.clear()
        self._frame.set_result(frame)
        await self._waiting.wait()

    def over(self) -> None:
        """Nobody will read on."""
        self._waiting.set()

    async def send(self, message: str) -> None:
        """What was asked for then has been answered then."""

    async def close(self) -> None:
        self._closed = True
        self.over()


class ReplayedEngine(Engine):
    """``opened``, ``frame`` and ``closed`` are what was recorded of the sockets."""

    def __init__(self, adapter: Adapter, *, limits: Limits, emit: Emit) -> None:
        super().__init__(adapter, websocket_url="wss://recorded.invalid", limits=limits, reach=NOWHERE, emit=emit)
        self._sockets: dict[int, tuple[Link, ReplayedSocket]] = {}

    @property
    def links(self) -> list[Link]:
        return [link for link, _ in self._sockets.values()]

    def want(self, streams: Iterable[Stream]) -> None:
        super().want(streams)
        for link in self.links:
            link.add(self.wanted - link.wanted)
            link.drop(link.wanted - self.wanted)

    def opened(self, number: int) -> None:
        socket: Any = ReplayedSocket()
        link = Link(self.adapter, socket, limits=self.limits, emit=self.emit, requests=self.requests, clocks=NO_CLOCKS, heard=self.heard)
        for task in link.tasks:
            task.add_done_callback(lambda _: socket.over())
        link.add(self.wanted)
        self._sockets[number] = link, socket

    async def frame(self, number: int, data: bytes) -> None:
        """Returns when everything that follows from it at once has happened. Raises LinkClosed where our own code fails over it."""
        if number not in self._sockets:
            return  # it came down, as said
        link, socket = self._sockets[number]
        await socket.hand(data)
        if not link.open:
            del self._sockets[number]
            await link.until_rotation(None)

    async def closed(self, number: int) -> None:
        if number in self._sockets:
            link, _ = self._sockets.pop(number)
            await self.close(link)

    async def close_all(self) -> None:
        for number in list(self._sockets):
            await self.closed(number)


class ReplayedRest(RestClient):
    """Answers a request with what that request was answered, as soon as ``answer`` has brought it.

    ``recorded``: how many answers to each request there will be; ``lost``: how often each was asked and never answered. A request the
    recording has no answer to fails, and is among ``unanswered`` if it was not asked then, nor while the recording was ``ending``.
    """

    def __init__(self, adapter: Adapter, *, limits: Limits, recorded: Mapping[Key, int], lost: Mapping[Key, int]) -> None:
        super().__init__(adapter, "https://recorded.invalid", limits, reach=NOWHERE)
        self._left, self._lost = Counter(recorded), Counter(lost)
        self._answers: dict[Key, deque[Answered]] = {}
        self._waiting: dict[Key, deque[asyncio.Future[Answered]]] = {}
        self.unanswered: list[Key] = []
        self.ending = False

    async def __aenter__(self) -> "ReplayedRest":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    def answer(self, answered: Answered) -> None:
        """Hand an answer to who waits for it, or keep it for who will."""
        key = answered.path, answered.params
        waiting = self._waiting.get(key)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(answered)
                return
        self._answers.setdefault(key, deque()).append(answered)

    async def _once(self, request: Request, priority: int, signing: object) -> bytes:
        key = request.path, request.params
        self.requests += 1
        if self._left[key] <= 0:
            if self._lost[key] > 0:
                self._lost[key] -= 1
            elif not self.ending:
                self.unanswered.append(key)
            raise RestError(RestRefusal("bad_answer", "the recording has no answer to this request", final=True))
        self._left[key] -= 1
        kept = self._answers.get(key)
        answered = kept.popleft() if kept else await self._next(key)
        if not answered.status:
            raise RestError(RestRefusal("unavailable", answered.body.decode("utf-8", "replace")))
        return self._taken(answered.status, answered.headers, answered.body)

    def _next(self, key: Key) -> "asyncio.Future[Answered]":
        turn: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        return turn

    async def _wait(self, seconds: float) -> None:
        """The next attempt is answered when it was."""

    def _hold(self, refusal: RestRefusal) -> None:
        """There is nobody to spare."""
