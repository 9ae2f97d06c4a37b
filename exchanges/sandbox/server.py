"""The sockets of the sandbox: simulated exchanges on loopback, each in its own wire protocol.

In a test::

    async with Sandbox(venues=[COINBASE], seed=7, clock=ManualClock(start)) as sandbox:
        async with websockets.connect(sandbox.websocket_url("coinbase-sandbox")) as socket:
            sandbox.faults.set("gap", venue="coinbase-sandbox", probability=0.1)
            sandbox.clock.advance(300_000)
            truth = sandbox.market.candles("coinbase-sandbox", "BTC-USD", "5m", start, start + 3_600_000)
"""

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from exchanges.sandbox import binance, coinbase, kraken
from exchanges.sandbox.accounts import Accounts
from exchanges.sandbox.clock import Clock, RunningClock, SandboxError, State, load_state, resumed, save_state
from exchanges.sandbox.coins import universe
from exchanges.sandbox.connection import Connection, passable
from exchanges.sandbox.faults import Faults
from exchanges.sandbox.market import Market
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.protocol import Exchange, Session
from exchanges.sandbox.rest import Application
from exchanges.sandbox.venues import DEFAULT, Venue
from livermore.inloop import InLoop

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PROTOCOLS: dict[str, ModuleType] = {"binance": binance, "coinbase": coinbase, "kraken": kraken}
_STATE_EVERY = 1.0
_LARGEST_MESSAGE = 262_144


class Sandbox:
    """Simulated exchanges, served while the context is open.

    ``venues``: which; ``seed``: the market; ``speed``: how fast market time runs; ``symbols``: coins a venue lists (1 to 1,000);
    ``clock``: instead of a running one; ``start``: market time (ms) to start at instead of now; ``epoch``: day (ms) from which listing
    dates count back, by default that of the start; ``state``: a file that lets market time go on over restarts; ports 0 pick free ones;
    ``stale_ms``: how far a Coinbase candle frame may lag. Raises SandboxError, whose message says what to do.

    ``market`` is the truth (``market.candles``), ``faults`` the switches, ``counters[venue]`` what was asked of each venue.
    """

    def __init__(
        self,
        venues: Sequence[Venue] = DEFAULT,
        *,
        seed: int = 7,
        speed: float = 1.0,
        symbols: int = 24,
        clock: Clock | None = None,
        start: int | None = None,
        epoch: int | None = None,
        state: Path | None = None,
        websocket_port: int = 0,
        rest_port: int = 0,
        stale_ms: int = 19_000,
    ) -> None:
        _check(venues)
        saved = load_state(state, seed) if state else None
        self.seed, self.venues, self._state = seed, {venue.id: venue for venue in venues}, state
        self.clock: Clock = clock or RunningClock(resumed(saved, start or int(time.time() * 1000), speed), speed)
        day = epoch or self.clock.now()
        self.epoch = saved.epoch if saved else day - day % DAY
        self.faults = Faults(seed, tuple(self.venues))
        try:
            coins = universe(symbols, seed)
            rows = [row for venue in venues for row in PROTOCOLS[venue.protocol].listings(venue, coins, seed, self.epoch)]
            self.market = Market(seed, rows)
        except ValueError as error:
            raise SandboxError(f"{error}") from None
        self.exchanges = {venue.id: self._exchange(venue, stale_ms) for venue in venues}
        self.counters = {name: exchange.counters for name, exchange in self.exchanges.items()}
        self._ports = [websocket_port, rest_port]
        self._running = contextlib.AsyncExitStack()

    def _exchange(self, venue: Venue, stale_ms: int) -> Exchange:
        halted = getattr(PROTOCOLS[venue.protocol], "HALTED", "halted")
        return Exchange(venue, self.market, self.clock, self.faults, stale_ms, halted=halted)

    def websocket_url(self, venue: str) -> str:
        """What an ``Exchange`` row of this venue has as its websocket URL."""
        return f"ws://{HOST}:{self._ports[0]}/{self._known(venue)}"

    def rest_url(self, venue: str) -> str:
        """What an ``Exchange`` row of this venue has as its REST URL."""
        return f"http://{HOST}:{self._ports[1]}/{self._known(venue)}"

    def accounts(self, venue: str) -> Accounts:
        """The simulated users of a venue, to open accounts and change what they hold."""
        return self.exchanges[self._known(venue)].accounts

    @property
    def market_cap_url(self) -> str:
        """What MARKET_CAP_URL is to have market caps of the simulated coins."""
        return f"http://{HOST}:{self._ports[1]}/coingecko"

    @property
    def control_url(self) -> str:
        return f"http://{HOST}:{self._ports[1]}/control"

    def _known(self, venue: str) -> str:
        if venue not in self.venues:
            raise LookupError(f"unknown simulated exchange {venue!r}; served here: {', '.join(self.venues)}")
        return venue

    async def __aenter__(self) -> "Sandbox":
        async with contextlib.AsyncExitStack() as stack:
            sockets = [stack.enter_context(_bound(*wanted)) for wanted in zip(self._ports, ("--ws-port", "--rest-port"), strict=True)]
            self._ports = [bound.getsockname()[1] for bound in sockets]
            await stack.enter_async_context(self._websockets(sockets[0]))
            await stack.enter_async_context(self._rest(sockets[1]))
            if self._state is not None:
                await stack.enter_async_context(self._persisted(self._state))
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    def _websockets(self, bound: socket.socket) -> contextlib.AbstractAsyncContextManager[Server]:
        return serve(
            self._connected,
            sock=bound,
            process_request=self._admit,
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
            max_size=_LARGEST_MESSAGE,
            server_header=None,
        )

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a handshake: with a session, or with an HTTP status."""
        parts = urlsplit(request.path)
        await passable(self.faults, parts.path.lstrip("/").partition("/")[0])
        venue, _, rest = parts.path.lstrip("/").partition("/")
        exchange = self.exchanges.get(venue)
        if exchange is None:
            return connection.respond(HTTPStatus.NOT_FOUND, f"served here: {', '.join(self.venues)}\n")
        exchange.counters["connects"] += 1
        protocol = PROTOCOLS[exchange.venue.protocol]
        if fault := self.faults.hit("refuse", venue):
            retry_after = int(fault.number("retry_after"))
            return _refusal(int(fault.number("status")), protocol.refusal_body(int(fault.number("status"))), retry_after)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            session: Session = protocol.Session(exchange, f"/{rest}" if rest else "", query, self.clock.now())
        except LookupError:
            return _refusal(404, protocol.refusal_body(404), 0)
        connection.sandbox = Connection(exchange, session)  # type: ignore[attr-defined]
        return None

    async def _connected(self, socket: ServerConnection) -> None:
        connection: Connection = socket.sandbox  # type: ignore[attr-defined]
        await connection.run(socket)

    @contextlib.asynccontextmanager
    async def _rest(self, bound: socket.socket) -> AsyncIterator[None]:
        desks = {name: PROTOCOLS[exchange.venue.protocol].Desk(exchange) for name, exchange in self.exchanges.items()}
        server = InLoop(Application(desks, self.market, self.clock, self.faults, self.counters))
        task = asyncio.create_task(server.serve([bound]), name="sandbox REST")
        try:
            await server.ready.wait()
            yield
        finally:
            server.end()
            await task

    @contextlib.asynccontextmanager
    async def _persisted(self, path: Path) -> AsyncIterator[None]:
        self._save(path)
        task = asyncio.create_task(self._keep_saving(path), name="sandbox clock")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._save(path)

    async def _keep_saving(self, path: Path) -> None:
        while True:
            await asyncio.sleep(_STATE_EVERY)
            try:
                self._save(path)
            except SandboxError as error:
                log.warning("market time is not kept over a restart: %s", error)

    def _save(self, path: Path) -> None:
        save_state(path, State(self.seed, self.epoch, self.clock.now(), self.clock.speed))


def _check(venues: Sequence[Venue]) -> None:
    if not venues:
        raise SandboxError("name at least one simulated exchange")
    for venue in venues:
        if venue.protocol not in PROTOCOLS:
            raise SandboxError(f"{venue.id} speaks {venue.protocol!r}, which is not simulated; known: {', '.join(sorted(PROTOCOLS))}")
    if len({venue.id for venue in venues}) < len(venues):
        raise SandboxError("name each simulated exchange once")


def _bound(port: int, option: str) -> socket.socket:
    """A listening address on loopback. Raises SandboxError that says what to do about a taken port."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(512)
    except (OSError, OverflowError) as error:
        bound.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise SandboxError(f"port {port} is taken, maybe by another sandbox: stop it, or choose another port with {option}") from None
        raise SandboxError(f"cannot listen on port {port}: {error}; choose another with {option}") from None
    bound.setblocking(False)
    return bound


def _refusal(status: int, body: bytes, retry_after: int) -> Response:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Refused"
    headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")])
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    return Response(status, phrase, headers, body)
