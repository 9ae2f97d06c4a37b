"""What one operation costs each process, in seconds of its processor: the measured part of docs/scaling.json (benchmarks.scaling).

Seconds of the processor and not of the clock: what else the machine does then counts less. Linux only, which tells them of other processes.
"""

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import psycopg
from redis.asyncio import Redis

from alerts.evaluation import Evaluator
from benchmarks import footprint, growth, parsing, pipeline, tls
from benchmarks.committing import LEVELS, TREND
from benchmarks.fanout import _MESSAGE, Server
from benchmarks.frames import MIDNIGHT, binance_kline, binance_tickers, names
from benchmarks.frames import row as candle
from benchmarks.market import RULE, market
from benchmarks.peer import Peers
from benchmarks.redis_closes import Maker, _fill
from benchmarks.rows import Row
from benchmarks.scaling import Costs, Input
from benchmarks.surroundings import EXCHANGE_ID, UVICORN, child, free_port, listening, resident_mb, session_cookie
from benchmarks.timing import DEFAULT
from exchanges.adapters import binance
from exchanges.events import TIMEFRAMES, Ticker
from exchanges.sandbox import binance as venue
from exchanges.sandbox.coins import universe
from exchanges.sandbox.market import Market as Simulated
from exchanges.sandbox.paths import DAY
from exchanges.sandbox.venues import BINANCE
from livermore import bus, keys
from livermore.db import db
from market_data import store
from market_data.candles import filled
from market_data.series import HISTORY_BARS, Series

EFFORT = DEFAULT._replace(slices=3, growth=(50, 1000), starts=1)
_SYMBOLS, _SOCKETS, _BURST, _TIMES = 200, 100, 50, 20
_DAYS, _COINS, _EPOCH = 7, 20, 1_771_977_600_000
_RATED = ("5m", "15m", "1h", "4h")
"""Timeframes whose rate of alerts is measured: 400 days of 5m candles for the daily ones would take minutes."""
_CHECKS, _BATCHES, _MANY_SOCKETS = 2, 5, 250
_QUIET = 0.3
"""Seconds in which a process has used next to nothing, after which what it was given counts as done."""
_SELF = "python -m benchmarks.scaling --measure"


class Spent(NamedTuple):
    """Seconds of the processor: ours, Redis', the database server's; and ``clock``, what passed on the wall."""

    own: float
    redis: float
    database: float
    clock: float

    def per(self, count: int) -> "Spent":
        return Spent(*(seconds / count for seconds in self))


async def measure(today: str) -> Costs:
    """Everything that takes no more than some seconds. Raises what the benchmarks raise; nothing is left out."""
    found: Costs = {}

    def put(name: str, value: float | list[float], unit: str, how: str = _SELF, note: str = "") -> None:
        found[name] = Input(value, unit, "measured", today, how, note)

    async with Peers(None) as peers:
        await _rows(put, peers)
    alert_rates(put)
    redis = bus.connect()
    async with aclosing(redis):
        await _redis(put, redis)
        await _publishing(put, redis)
        await _closes(put, redis)
        await _web(put, redis)
    return found


Put = Callable[..., None]


async def _rows(put: Put, peers: Peers) -> None:
    """What the subjects of ``make bench`` measure already."""
    rows: dict[str, Row] = {}
    for subject in (growth, tls, parsing, pipeline, footprint):  # growth first: what others leave would be room for it
        for row in await subject.measure(EFFORT, peers):
            rows.setdefault(row.what, row)  # the first compares with a limit, the others with peers that are not here

    def take(name: str, what: str, unit: str, subject: str, *, theirs: bool = False) -> None:
        spread = rows[what].theirs if theirs else rows[what].ours
        assert spread
        put(name, _rounded(spread.middle), unit, f'make bench B={subject}, row "{what}"' + (", against" if theirs else ""))

    take("socket_frame", "kline on a TLS socket → event", "µs", "socket", theirs=True)
    take("ticker_frame", "Binance ticker → event", "µs", "parsing")
    take("forming_frame", "frame → forming candle", "µs", "pipeline")
    take("closing_frame", "frame → close, over a day", "µs", "pipeline")
    five = rows[what := "frame → five closes at midnight, a close"].ours
    assert five
    put("midnight_frame", _rounded(five.middle * len(TIMEFRAMES)), "µs", f'make bench B=pipeline, row "{what}"', "all five")
    take("symbol_memory", f"{EFFORT.growth[-1]:,} symbols: memory, each, with all timeframes", "kB", "growth")
    take("connector_memory", "runexchange, idle: memory", "MB", "footprint")
    take("web_memory", "web process: memory", "MB", "footprint")
    frame = binance_kline(candle("BTCUSDT", MIDNIGHT, 0), MIDNIGHT, closed=False)
    put("frame_bytes", (len(frame) + len(binance_tickers(1)[0])) / 2, "bytes", note="mean of a kline and a ticker of Binance")


def alert_rates(put: Put) -> None:
    """The seeded rule over the simulated market: alerts a close, by timeframe, and a symbol at the worst close."""
    simulated = Simulated(7, venue.listings(BINANCE, universe(_COINS, 7), 7, _EPOCH))
    listings = [one for one in simulated.listings.values() if not one.alias_of][:_COINS]
    end = _EPOCH + 100 * DAY
    begin = end - _DAYS * DAY
    moments: Counter[int] = Counter()
    for timeframe in _RATED:
        step = TIMEFRAMES[timeframe]
        times = [at for one in listings for at in _fired(simulated, one, timeframe, step, begin, end)]
        closes = len(listings) * (end - begin) // step
        put(
            f"alerts_per_close_{timeframe}",
            _rounded(len(times) / closes),
            "alerts",
            note=f"the seeded rule over {closes:,} simulated closes",
        )
        moments.update(times)
    worst = max(moments.values(), default=0) / len(listings)
    put(
        "worst_close_alerts",
        _rounded(worst),
        "alerts a symbol",
        note=f"the worst of {(end - begin) // TIMEFRAMES['5m']:,} simulated closes",
    )


def _fired(simulated: Any, listing: Any, timeframe: str, step: int, begin: int, end: int) -> list[int]:
    """When the rule fires on one series: close times in [begin, end], ms UTC."""
    series, evaluator = Series(listing.symbol, timeframe), Evaluator([RULE])
    candles = simulated.candles(listing.venue, listing.symbol, timeframe, begin - HISTORY_BARS * step, end)
    times = []
    for bar in filled(candles, step, end, to_end=True):
        advance = series.advance(bar)
        drafts = evaluator.evaluate(advance, {timeframe: advance.current}, bar.open_time + step, recovered=False)
        if bar.open_time >= begin:
            times += [bar.open_time + step] * len(drafts)
    return times


async def _redis(put: Put, redis: Redis) -> None:
    """Prices and closes: what the connector and the server spend on each, and what a series weighs."""
    made = Maker(_SYMBOLS)
    await _fill(redis, made)
    moments = made.moments(_TIMES // 4)
    spent = await _spend(redis, [lambda moment=moment: store.put_closes(redis, "bench", moment) for moment in moments])
    closes = len(moments) * _SYMBOLS
    put("redis_close_client", _micro(spent.own / closes), "µs")
    put("redis_close_server", _micro(spent.redis / closes), "µs")
    tickers = [(cast(Ticker, binance.parse(frame)[0]), MIDNIGHT) for frame in binance_tickers(_BURST)]
    spent = await _spend(redis, [lambda: store.write_tickers(redis, EXCHANGE_ID, tickers)] * _TIMES)
    put("price_client", _micro(spent.own / (_TIMES * _BURST)), "µs")
    put("price_server", _micro(spent.redis / (_TIMES * _BURST)), "µs")
    one = made.symbols[0]
    kept = [keys.candles("bench", one, "5m"), keys.readings("bench", one, "5m"), keys.indicator("bench", one, "5m")]
    put("series_redis_memory", sum([int(await redis.memory_usage(key) or 0) for key in kept]) / 1e3, "kB")


async def _publishing(put: Put, redis: Redis) -> None:
    """What a published message costs the server by itself, and for each subscription that it is written to."""
    channel, message = keys.channel_ticker(EXCHANGE_ID, "BTCUSDT"), b"x" * 250
    found = []
    subscribers = (0, 40)
    for count in subscribers:
        readers = [asyncio.create_task(_read(channel)) for _ in range(count)]
        while (await redis.execute_command("PUBLISH", channel, message)) < count:  # noqa: ASYNC110  (Redis tells, not an event)
            await asyncio.sleep(0.01)

        async def publish() -> None:
            async with redis.pipeline(transaction=False) as pipe:
                for _ in range(_BURST):
                    pipe.publish(channel, message)
                await pipe.execute()

        spent = await _spend(redis, [publish] * _TIMES)
        found.append(spent.redis / (_TIMES * _BURST))
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    put("publish_server", _micro(found[0]), "µs", note="written to nobody; the same is taken for what a cluster's node hands to another")
    put("publish_subscriber", _micro((found[1] - found[0]) / subscribers[1]), "µs")


async def _read(channel: str) -> None:
    """A subscription as a web process has one; what comes is read and thrown away."""
    async with aclosing(bus.listening()) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe(keys.channel_ticker(EXCHANGE_ID, "*"))
        while True:
            await pubsub.connection.read_response()


async def _closes(put: Put, redis: Redis) -> None:
    """A batch of closes in the committer: with no alert, with one for nearly every symbol, and of a single symbol."""
    small = await _commits(redis, 1, loud=False)
    quiet = await _commits(redis, _SYMBOLS, loud=False)
    loud = await _commits(redis, _SYMBOLS, loud=True)
    alone = small.store.per(small.batches)
    put("commit_clock", _micro(alone.clock), "µs", note="a transaction with one checkpoint and no alert, by the clock")
    put("commit_client", _micro(alone.own), "µs")
    put("commit_server", _micro(alone.database), "µs")
    put("checkpoint_client", _micro(_more(quiet.store.own, alone.own, quiet) / quiet.checkpoints), "µs")
    put("checkpoint_server", _micro(_more(quiet.store.database, alone.database, quiet) / quiet.checkpoints), "µs")
    a_checkpoint = quiet.store.per(quiet.checkpoints)
    mine = loud.store.own - loud.checkpoints * a_checkpoint.own + loud.alerts.own
    theirs = loud.store.database - loud.checkpoints * a_checkpoint.database + loud.alerts.database
    note = f"{loud.fired:,} alerts of {loud.batches} batches: stored, put out and marked"
    put("alert_client", _micro(mine / loud.fired), "µs", note=note)
    put("alert_server", _micro(theirs / loud.fired), "µs", note="of the database; " + note)
    put("alert_redis", _micro(loud.alerts.redis / loud.fired), "µs")
    put("alert_bytes", len(bus.encode(_MESSAGE)), "bytes")


class Committed(NamedTuple):
    """What so many batches took: ``store`` until the database had them, ``alerts`` until these were out and marked."""

    batches: int
    checkpoints: int
    fired: int
    store: Spent
    alerts: Spent


def _more(whole: float, alone: float, one: Committed) -> float:
    """What a batch costs beyond what any batch does."""
    return max(0.0, whole - alone * one.batches)


async def _commits(redis: Redis, symbols: int, *, loud: bool) -> Committed:
    from alerts import services
    from alerts.models import AlertRule
    from alerts.services import Naming
    from exchanges.models import Exchange

    if loud:
        await db(AlertRule.objects.update)(levels=LEVELS, cooldown=0)
    exchange = await db(Exchange.objects.get)(pk=EXCHANGE_ID)
    fence, epoch = await db(services.sequence_take_over)(exchange_id=EXCHANGE_ID)
    rules = await db(services.rules_load)() if loud else []
    store_spent, alerts_spent, checkpoints, fired = [], [], 0, 0
    async with market(names(symbols), redis, exchange, fence=fence, epoch=epoch, rules=rules or [RULE]) as one:
        committer = one.connector._committer
        committer.naming.update({symbol: Naming(symbol.removesuffix("USDT"), "USDT") for symbol in one.symbols})
        committer.keepers.update(dict.fromkeys(one.symbols))
        await committer.publisher.ensure_stream()
        for number in range(_BATCHES + 1):
            await one.play(one.closing(rise=TREND ** (number + 1) if loud else 1.0))
            batch = one.take_batch()
            drafts = [committer._checkpoint(series) for series in batch.touched.values()]
            alerts: list[Any] = []

            async def keep(drafts: Any = drafts, batch: Any = batch, alerts: list[Any] = alerts) -> None:
                alerts += await committer._store(drafts, batch)

            store_spent.append(await _spend(redis, [keep]))
            committer.publisher.add(alerts)
            alerts_spent.append(await _spend(redis, [committer.publisher.flush]))
            if number == 0:  # plans and caches are made
                store_spent.clear()
                alerts_spent.clear()
                continue
            checkpoints, fired = checkpoints + len(drafts), fired + len(alerts)
    return Committed(_BATCHES, checkpoints, fired, _sum(store_spent), _sum(alerts_spent))


async def _web(put: Put, redis: Redis) -> None:
    """What a web process spends on a message for each socket, on a frame, on a socket that opens, and on one that is looked at again."""
    from django.contrib.auth.models import User

    from exchanges.models import Exchange
    from exchanges.services import SESSION_DOUBTED
    from symbols.models import Symbol, Tier

    tickers = [(cast(Ticker, binance.parse(frame)[0]), MIDNIGHT) for frame in binance_tickers(_BURST)]
    await db(Exchange.objects.exclude(pk=EXCHANGE_ID).update)(active=False)
    rows = [
        Symbol(exchange_id=EXCHANGE_ID, symbol=one.symbol, base=one.symbol[:-4], quote="USDT", tier=Tier.SHARED, tradable=True)
        for one, _ in tickers
    ]
    await db(Symbol.objects.bulk_create)(rows)
    async with _served(1) as server:
        started = cpu(server.pid)
        alone = await _deliver(redis, server, tickers)
    async with _served(_SOCKETS) as server:
        few = server.socket_kb
        put("socket_opening", _micro((cpu(server.pid) - started) / (_SOCKETS - 1)), "µs", note=f"up to its snapshot of {_BURST} symbols")
        one = await _deliver(redis, server, tickers[:1])
        many = await _deliver(redis, server, tickers)
        page = server.pages[0]
        payload = page.frames[-1][1] if page.frames else b""
        put("price_bytes", _rounded(len(payload) / max(1, payload.count(b'"ticker"'))), "bytes")
        user = await db(User.objects.get)(username="bench")
        before = cpu(server.pid), _database_seconds()
        for _ in range(_CHECKS):
            await redis.publish(keys.channel_user_account(user.pk), SESSION_DOUBTED)
            await _quiet(server.pid)
        put(
            "check_web",
            _micro((cpu(server.pid) - before[0]) / (_CHECKS * _SOCKETS)),
            "µs",
            note="a socket's session and rights, looked at again",
        )
        put("check_server", _micro((_database_seconds() - before[1]) / (_CHECKS * _SOCKETS)), "µs", note="the database's part of it")
        before_idle, began = cpu(server.pid), time.monotonic()
        await asyncio.sleep(5)
        put(
            "socket_idle",
            _micro((cpu(server.pid) - before_idle) / (time.monotonic() - began) / _SOCKETS),
            "µs/s",
            note="while nothing happens",
        )
    async with _served(_MANY_SOCKETS) as server:
        grown = server.socket_kb * (_MANY_SOCKETS - 1) - few * (_SOCKETS - 1)  # what a process grows by anyway is in both
    put(
        "socket_memory",
        _rounded(max(0.0, grown) / (_MANY_SOCKETS - _SOCKETS)),
        "kB",
        note=f"of the {_SOCKETS + 1}st to the {_MANY_SOCKETS}th socket",
    )
    # A turn of m messages to k sockets costs m·relay + k·(m·message + frames a socket·frame).
    message = (many.seconds - one.seconds * many.frames / one.frames) / (_SOCKETS * (_BURST - many.frames / one.frames))
    frame = one.seconds / one.frames / _SOCKETS - message
    relay = max(0.0, alone.seconds - alone.frames * frame - _BURST * message) / _BURST
    put("web_relay", _micro(relay), "µs", note="a message, once for the process")
    put("web_message", _micro(message), "µs", note="a message, for each socket that wants it")
    put(
        "web_frame",
        _micro(frame),
        "µs",
        note=f"a frame, for each socket; {many.frames:.1f} frames a socket carried {_BURST} prices of one moment",
    )


@asynccontextmanager
async def _served(sockets: int) -> AsyncIterator[Server]:
    """A web process with so many pages of one user."""

    async def nothing(messages: int) -> None:
        """The prices come from elsewhere."""

    cookie, port = await db(session_cookie)(), free_port()
    async with child(*UVICORN, "livermore.asgi:application", "--port", str(port)) as process:
        server = Server(process.pid, nothing, port, "/ws/feed/", cookie)
        await listening(port)
        try:
            await server.grow(1)
            server.base_mb = resident_mb(server.pid)
            await server.grow(sockets)
            yield server
        finally:
            server.close()


class Delivered(NamedTuple):
    """What one turn of prices took: seconds of the web process, and frames to each socket."""

    seconds: float
    frames: float


async def _deliver(redis: Redis, server: Server, tickers: list[tuple[Ticker, int]]) -> Delivered:
    for page in server.pages:
        page.forget()
    await _quiet(server.pid)
    before, frames = cpu(server.pid), 0
    for number in range(_TIMES):
        await store.write_tickers(redis, EXCHANGE_ID, tickers)
        await asyncio.sleep(0.05)
        if number % 10 == 9 and number < _TIMES - 1:
            frames += _prices(server)
            for page in server.pages:
                page.forget()
    await _quiet(server.pid)
    frames += _prices(server)
    return Delivered((cpu(server.pid) - before) / _TIMES, frames / len(server.pages) / _TIMES)


def _prices(server: Server) -> int:
    return sum(b'"ticker"' in payload for page in server.pages for _, payload in page.frames)


async def _quiet(pid: int) -> None:
    """Wait until a process has done what it was given."""
    while True:
        before = cpu(pid)
        await asyncio.sleep(_QUIET)
        if cpu(pid) - before < _QUIET / 20:
            return


async def _spend(redis: Redis, works: Iterable[Callable[[], Awaitable[object]]]) -> Spent:
    """Do these, one after the other."""
    gc.collect()
    served, stored = await _redis_seconds(redis), _database_seconds()
    own, began = time.process_time(), time.monotonic()
    for work in works:
        await work()
    took = time.process_time() - own, time.monotonic() - began
    return Spent(took[0], await _redis_seconds(redis) - served, _database_seconds() - stored, took[1])


def _sum(spent: Iterable[Spent]) -> Spent:
    return Spent(*(sum(column) for column in zip(*spent, strict=True)))


async def _redis_seconds(redis: Redis) -> float:
    info = await redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def cpu(pid: int) -> float:
    """Seconds of the processor that a process of this machine has used: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def _database_seconds() -> float:
    """Of all processes of the database server, as far as they live: its connections are kept."""
    postmaster = _postmaster()
    children = (_parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return cpu(postmaster) + sum(_cpu_while_it_lives(pid) for pid, parent in children if parent == postmaster)


def _cpu_while_it_lives(pid: int) -> float:
    """0 for one that has ended: a worker of the server comes and goes."""
    try:
        return cpu(pid)
    except OSError:
        return 0.0


@cache
def _postmaster() -> int:
    """The PostgreSQL of this machine that this process works on."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return _parent(Path("/proc") / str(connection.info.backend_pid))[1]


def _parent(entry: Path) -> tuple[int, int]:
    try:
        return int(entry.name), int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return int(entry.name), 0


def _micro(seconds: float) -> float:
    return _rounded(seconds * 1e6)


def _rounded(value: float) -> float:
    """Three digits: no figure here is better than that."""
    return float(f"{value:.3g}")
