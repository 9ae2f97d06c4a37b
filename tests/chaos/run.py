"""One run: real processes over a simulated market, what befalls them, and everything they left, for invariants.py to judge."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio
from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error as DatabaseError
from django.test import Client
from redis.exceptions import RedisError

from alerts.models import Alert
from exchanges.models import UserExchange
from exchanges.sandbox.clock import ManualClock
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import BINANCE, COINBASE
from exchanges.shards import WHOLE, Shard
from livermore import cluster, keys
from livermore.db import db
from market_data.models import Checkpoint
from tests import oracle
from tests.chaos.pages import KINDS, Page
from tests.chaos.plan import SPEED, Blow, Plan
from tests.chaos.programs import Connector, Figures, Postgres, Program, Redis, RedisNodes, Web, open_files
from tests.chaos.proxy import Proxy
from tests.oracle import STEPS
from tests.people import person
from tests.simulated import RULE, START, Rows, prepare, spelled, truth

TICK = 0.05
VENUES = (COINBASE, BINANCE)
EXCHANGE_IDS = tuple(venue.id for venue in VENUES)
COINS = ("BTC", "ETH", "TAO", "BAND", "SOL", "FET", "RLC", "DOGE")
"""Busy ones, two young listings (TAO, FET), and two that trade in some intervals only (BAND, RLC); a run takes the first of them."""
HISTORY = 400
"""Candles that a warm-up fetches, as the contract says."""
SETTLED = 10_000
"""Market time (ms) after which a candle counts as closed at a start."""
PATIENCE = float(os.environ.get("CHAOS_PATIENCE", "150"))
"""Seconds: a bound for a busy machine, not a goal."""
FLAWS = ("Traceback (most recent call last)", " ERROR ", " CRITICAL ", "never retrieved", "was never awaited")
"""What no program may write to its log, whatever befalls it."""

Key = tuple[str, str, str]
"""(exchange, symbol, timeframe)"""


class Due(NamedTuple):
    """An alert that the oracle demands, or that was found: who, which, and what it says."""

    key: Key
    label: str
    candle_time: int
    direction: str
    price: float
    value: float
    histogram: float | None
    stage: str
    bias: str

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        return (*self.key, self.label, self.candle_time)


class Down(NamedTuple):
    """From when to when no connector ran for a shard, in market time."""

    since: int
    until: int
    shard: Shard = WHOLE


class Blind(NamedTuple):
    """A market that a page showed as live although its last closed candle was ``seconds`` of real time too old.

    ``lasting``: for how long it has been shown so without a break.
    """

    at: str
    kind: str
    market: tuple[str, str]
    seconds: float
    lasting: float


@dataclass
class Run:
    """What there is to judge."""

    plan: Plan
    again: str
    redis_nodes: int = 1
    """To each of which a process has connections."""
    due: list[Due] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    """All of the database, by exchange and number."""
    streams: dict[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)
    true_candles: dict[Key, Rows] = field(default_factory=dict)
    true_values: dict[Key, oracle.Value] = field(default_factory=dict)
    candles: dict[Key, Rows] = field(default_factory=dict)
    indicators: dict[Key, dict[str, Any] | None] = field(default_factory=dict)
    baselines: dict[Key, int] = field(default_factory=dict)
    """The first checkpoint of each series."""
    checkpoints: dict[Key, int] = field(default_factory=dict)
    downs: list[Down] = field(default_factory=list)
    moments: list[tuple[int, int]] = field(default_factory=list)
    """(real ms UTC, market ms)"""
    blind: list[Blind] = field(default_factory=list)
    green_after: float | None = None
    """Seconds from the end of the last blow until everything was green on every page."""
    back: list[float] = field(default_factory=list)
    """Seconds from a Redis that answers again until everything was green, where that was waited for."""
    taken: list[float] = field(default_factory=list)
    """Seconds from the kill -9 of a shard's connector until its standby was connected, where that was waited for."""
    lists_after: float | None = None
    """Seconds from the market's standstill until every page had every alert."""
    figures: dict[str, list[tuple[float, int, Figures]]] = field(default_factory=dict)
    """By program: (monotonic seconds, how often it had been started, figures)."""
    asked: dict[str, list[tuple[float, Counter[str]]]] = field(default_factory=dict)
    """By exchange: (monotonic seconds, the sandbox's counters)."""
    connections: list[tuple[float, int]] = field(default_factory=list)
    """(monotonic seconds, connections to the database), where that can be counted."""
    deaths: list[str] = field(default_factory=list)
    exits: dict[str, int] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    leaks: set[str] = field(default_factory=set)
    starts: dict[str, int] = field(default_factory=dict)
    open_files: dict[str, Counter[str]] = field(default_factory=dict)
    ends: int = 0
    """Market time up to which alerts count."""
    failure: str = ""
    """Why the run did not come to rest."""

    def market_at(self, real: int) -> int:
        """The latest that the market can have been at a real moment."""
        return next((market for at, market in self.moments if at >= real), self.moments[-1][1])

    @property
    def counted(self) -> list[Alert]:
        """The alerts on candles that close by ``ends``."""
        return [alert for alert in self.alerts if alert.candle_time + STEPS[alert.timeframe] <= self.ends]

    @property
    def outcome(self) -> dict[str, Any]:
        """What one seed decides, and nothing else (I14)."""
        return {
            "plan": [str(blow) for blow in self.plan.blows],
            "due": sorted(one.identity for one in self.due),
            "stored": sorted(identity(alert) for alert in self.counted),
            "shown": [sorted(shown(page, self.ends)) for page in self.pages],
        }


def identity(alert: Alert) -> tuple[str, str, str, str, int]:
    return (alert.exchange_id, alert.symbol, alert.timeframe, alert.trigger_label, alert.candle_time)


def shown(page: Page, ends: int) -> list[tuple[str, str, str, str, int]]:
    """What a page lists in the end, of candles that close by ``ends``."""
    return [
        (alert["source_exchange_id"], alert["symbol"], alert["timeframe"], alert["trigger_label"], alert["candle_time"])
        for exchange_id in EXCHANGE_IDS
        for alert in page.shown.alerts.get(exchange_id, {}).values()
        if alert["candle_time"] + STEPS[alert["timeframe"]] <= ends
    ]


class Surroundings(NamedTuple):
    """Where a run happens: a directory for logs, the database, and the cluster where the run has one of its own.

    ``wide``: over a Redis Cluster of three nodes, two web processes, and two connectors with a shard of each exchange, the first of which
    has a standby.
    """

    directory: Path
    database_url: str
    postgres: Postgres | None = None
    wide: bool = False


class World:
    """The processes of a run and the market they watch."""

    def __init__(self, plan: Plan, surroundings: Surroundings, *, coins: int, again: str) -> None:
        self.plan, self.surroundings = plan, surroundings
        self.coins = COINS[:coins]
        self.run = Run(plan, again, redis_nodes=3 if surroundings.wide else 1)
        self.clock = ManualClock(START)
        self.sandbox = Sandbox([replace(venue, rest_limit=0) for venue in VENUES], seed=plan.seed, clock=self.clock, symbols=24)
        self.programs: dict[str, Program] = {}
        self.proxies: dict[str, Proxy] = {}
        self.redis: Redis | RedisNodes
        self.webs: list[Web] = []
        self.connectors: list[Connector] = []
        self.canaries: dict[str, str] = {}
        self._blind_since: dict[tuple[str, tuple[str, str]], float] = {}

    @property
    def series(self) -> list[Key]:
        return [(venue.id, spelled(venue, coin), timeframe) for venue in VENUES for coin in self.coins for timeframe in STEPS]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything started and warm, with pages open and the market standing; everything ended afterwards."""
        directory = self.surroundings.directory
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.sandbox)
            cookies = await db(self._prepare)()
            password = self.canaries["the Redis password"]
            self.redis = RedisNodes(directory, password) if self.surroundings.wide else Redis(directory, password)
            redis_url = await self._lead_to(self.redis, stack)
            database_url = self.surroundings.database_url
            if postgres := self.surroundings.postgres:
                self.proxies["postgres"] = await stack.enter_async_context(Proxy("127.0.0.1", postgres.port, seed=self.plan.seed))
                self.programs["postgres"] = postgres
                database_url = postgres.url(self.proxies["postgres"].port)
            self._arrange(directory, self._environment(database_url, redis_url))
            stack.push_async_callback(self._end_all)
            await self._start_redis()
            for program in (*self.webs, *(one for one in self.connectors if one.name != "standby")):
                program.start()
            for web in self.webs:
                await web.ready()
            await self._first_checkpoints()
            for program in self.connectors:
                if not program.running:
                    program.start()  # now that the others hold their leases
            self.run.pages = [self._page(self.webs[at % len(self.webs)], *one) for at, one in enumerate(cookies)]
            yield

    async def _lead_to(self, redis: Redis | RedisNodes, stack: AsyncExitStack) -> str:
        """The REDIS_URL of our programs: one Redis is behind a proxy; the nodes of a cluster name themselves, and are asked straight."""
        if isinstance(redis, RedisNodes):
            self.programs.update({node.name: node for node in redis.nodes})
            return redis.url()
        self.programs["redis"] = redis
        self.proxies["redis"] = await stack.enter_async_context(Proxy("127.0.0.1", redis.port, seed=self.plan.seed))
        return redis.url(self.proxies["redis"].port)

    async def _start_redis(self) -> None:
        if isinstance(self.redis, RedisNodes):
            await self.redis.start()
        else:
            self.redis.start()
            await self.redis.ready()

    def _arrange(self, directory: Path, environment: dict[str, str]) -> None:
        """Our programs: one of each, or two web processes, and two shards with a standby for the first."""
        if self.surroundings.wide:
            one, two = Shard(1, 2).all
            self.webs = [Web(directory, environment, name) for name in ("web", "web-2")]
            roles = (("connector", one), ("connector-2", two), ("standby", one))
            self.connectors = [Connector(EXCHANGE_IDS, directory, environment, name, shard) for name, shard in roles]
        else:
            self.webs = [Web(directory, environment)]
            self.connectors = [Connector(EXCHANGE_IDS, directory, environment)]
        self.programs.update({program.name: program for program in (*self.webs, *self.connectors)})

    @property
    def ours(self) -> list[str]:
        """The names of our own programs."""
        return [program.name for program in (*self.connectors, *self.webs)]

    def _page(self, web: Web, kind: str, cookie: str) -> Page:
        url, origin = f"ws://127.0.0.1:{web.port}/ws/feed/", f"http://127.0.0.1:{web.port}"
        return Page(url, origin, cookie, kind, self.plan.seed, list(self.canaries.values()))

    def _prepare(self) -> list[tuple[str, str]]:
        """Rows of the run; returns (kind of page, its session cookie)."""
        prepare(self.sandbox, top_n=1, pinned=self.coins, limits={"rest_weight_per_minute": 60_000, "rest_burst": 2_000})
        self.canaries = {
            "SECRET_KEY": settings.SECRET_KEY,
            "FIELD_KEYS": settings.FIELD_KEYS[0],
            "the Redis password": f"canary-redis-{self.plan.seed}-pw",
            "the database password": "canary-database-pw",
        }
        cookies = []
        for kind in KINDS:
            user = person(f"{kind}-{self.plan.seed}", group="trader", staff=False)
            client = Client()
            client.force_login(user)
            session = client.cookies["sessionid"].value
            self.canaries[f"the session of {kind}"] = session
            cookies.append((kind, f"sessionid={session}"))
        self._store_key(User.objects.get(username=f"away-{self.plan.seed}"))
        return cookies

    def _store_key(self, user: User) -> None:
        """A key of the user's own, with which positions are read: what must never be seen anywhere."""
        for venue in VENUES:
            credentials = self.sandbox.accounts(venue.id).open("canary", {"BTC": 1.0})
            UserExchange.objects.create(user=user, exchange_id=venue.id, api_key=credentials.key, api_secret=credentials.secret)
            self.canaries[f"the secret of a key at {venue.id}"] = credentials.secret

    def _environment(self, database_url: str, redis_url: str) -> dict[str, str]:
        """As in production, but for the TLS proxy that stands before it there."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "LIVERMORE_"))},
            "DJANGO_SETTINGS_MODULE": "livermore.settings",
            "LIVERMORE_DEMO": "false",
            "DEBUG": "false",
            "SECRET_KEY": settings.SECRET_KEY,
            "FIELD_KEYS": ",".join(settings.FIELD_KEYS),
            "ALLOWED_HOSTS": "127.0.0.1",
            "LIVERMORE_DATA_DIR": str(self.surroundings.directory),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
        }

    async def _first_checkpoints(self) -> None:
        """The market stands still until every series has its first checkpoint: nothing before those is evaluated."""
        wanted = set(self.series)
        async with asyncio.timeout(PATIENCE):
            while not wanted <= (found := await self.checkpoints()).keys():
                await asyncio.sleep(0.1)
        self.run.baselines = {key: found[key] for key in wanted}

    async def _end_all(self) -> None:
        servers = [program for name, program in self.programs.items() if name.startswith("redis")]
        for program in (*self.connectors, *self.webs, *servers):
            try:
                self.run.exits[program.name] = await program.end()
            except TimeoutError as error:
                self.run.flaws.append(str(error))
        for program in self.programs.values():
            self.run.deaths += program.deaths
            self.run.starts[program.name] = program.starts
        self.run.flaws += list(flaws(self.surroundings.directory, self.ours))
        self.run.leaks |= leaks_in_logs(self.surroundings.directory, self.canaries)

    # While it runs

    async def play(self) -> None:
        """Let the market run and everything befall that is planned; then let it come to rest, and collect what there is."""
        run, watchers = self.run, [self._watch(), self._sample(), *(page.run() for page in self.run.pages)]
        tasks = [asyncio.create_task(work) for work in watchers]
        try:
            await self._pages_live()
            began = self.clock.now()
            run.ends = began + self._market_ms(self.plan.ends)
            market = asyncio.create_task(self._run_on())
            tasks.append(market)
            for blow in self.plan.blows:
                await self._until(began + self._market_ms(blow.at))
                if blow.what == "wait":
                    before = self.clock.now()
                    await self._until_green()
                    began += self.clock.now() - before
                    run.ends = began + self._market_ms(self.plan.ends)
                else:
                    await self._strike(blow)
            await self._heal()
            await self._all_green()
            await self._until(run.ends)
            while self.clock.now() % STEPS["5m"] < 60_000:
                await asyncio.sleep(TICK)
            market.cancel()
            await self._at_rest()
            await self._collect()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _market_ms(self, seconds: float) -> int:
        return int(seconds * SPEED * 1000)

    async def _until(self, moment: int) -> None:
        while self.clock.now() < moment:
            await asyncio.sleep(TICK / 2)

    async def _run_on(self) -> None:
        """The market never catches up what the machine could not do: candles then come later, not all at once."""
        while True:
            self._tick(int(TICK * SPEED * 1000))
            await asyncio.sleep(TICK)

    def _tick(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        self.run.moments.append((time.time_ns() // 1_000_000, self.clock.now()))

    async def _strike(self, blow: Blow) -> None:
        match blow.what:
            case "kill":
                await self._kill(blow)
            case "stop":
                await self._freeze(blow)
            case "fault":
                self.sandbox.faults.set(blow.target, duration=blow.seconds, **blow.arguments)  # type: ignore[arg-type]
            case "line":
                arguments = dict(blow.arguments)
                proxy, fault = self.proxies[blow.target], str(arguments.pop("fault"))
                proxy.set(fault, **arguments)
                await asyncio.sleep(blow.seconds)
                proxy.clear(fault)

    async def _kill(self, blow: Blow) -> None:
        """One blow, and the repair that an operator's machine would make by itself."""
        program = self.programs[blow.target]
        watched = program.shard if isinstance(program, Connector) and not self._has_standby(program) else None
        since = self.clock.now()
        holder = await self._holders() if blow.arguments.get("until") == "taken" else {}
        await program.kill()
        if holder:
            self.run.taken.append(await self._until_taken(holder))
        await asyncio.sleep(blow.seconds)
        program.start()
        if blow.arguments.get("until") == "green":
            await program.ready()
            self.run.back.append(await self._until_green())
        if watched is not None:
            self.run.downs.append(Down(since, self.clock.now(), watched))

    def _has_standby(self, connector: Connector) -> bool:
        return any(other.shard == connector.shard and other is not connector for other in self.connectors)

    async def _holders(self) -> dict[str, bytes | None]:
        """Who holds the first shard of each exchange."""
        async with aclosing(self._connect()) as client:
            return {exchange_id: await client.get(keys.shard_lease(exchange_id, "1/2")) for exchange_id in EXCHANGE_IDS}

    async def _until_taken(self, before: Mapping[str, bytes | None]) -> float:
        """Seconds until somebody else holds what a killed process held, and is connected."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            now = await self._holders()
            async with aclosing(self._connect()) as client:
                states = [await client.hget(keys.shard_status(exchange_id, "1/2"), "connection_state") for exchange_id in EXCHANGE_IDS]
            if all(now[one] not in (None, before[one]) for one in EXCHANGE_IDS) and set(states) == {b"connected"}:
                break
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _freeze(self, blow: Blow) -> None:
        program = self.programs[blow.target]
        program.signal(signal.SIGSTOP)
        await asyncio.sleep(blow.seconds)
        program.signal(signal.SIGCONT)

    async def _heal(self) -> None:
        """After the last blow: whatever was still to end by itself ends now."""
        self.sandbox.faults.clear()
        for proxy in self.proxies.values():
            proxy.clear()

    async def _pages_live(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not all(page.live for page in self.run.pages if page.kind != "mute"):
                await asyncio.sleep(0.1)

    async def _all_green(self) -> None:
        """Note how long it takes until every page that reads shows every market as live, with candles of now."""
        if (seconds := await self._until_green()) < PATIENCE:
            self.run.green_after = seconds

    async def _until_green(self) -> float:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and not all(self._green(page) for page in self.run.pages if page.kind == "fast"):
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    def _green(self, page: Page) -> bool:
        cards = page.shown.cards
        if not page.live or any(cards.get(exchange_id, {}).get("state") != "live" for exchange_id in EXCHANGE_IDS):
            return False
        wanted = {key[:2] for key in self.series}
        rows = [row for market, row in page.shown.rows.items() if market in wanted]
        return len(rows) == len(wanted) and all(row["state"] == "live" and self._overdue(row) < 2.0 for row in rows)

    def _overdue(self, row: Mapping[str, Any]) -> float:
        """Real seconds by which a row's last closed candle is older than one that may still be shown as live."""
        reading = row["readings"].get("5m")
        if reading is None:
            return 0.0
        return (self.clock.now() - (reading["t"] + 2 * STEPS["5m"]) - 35_000) / (SPEED * 1000)

    # Watching

    async def _watch(self) -> None:
        """Start again what ended by itself, and note every market that is shown as live and is not."""
        while True:
            await asyncio.sleep(0.25)
            for program in self.programs.values():
                program.look()
            for page in self.run.pages:
                if page.kind in {"fast", "away"}:
                    self._note_blind(page)

    def _note_blind(self, page: Page) -> None:
        for market, row in page.shown.rows.items():
            card = page.shown.cards.get(market[0], {})
            green = page.live and market[0] in EXCHANGE_IDS and card.get("state") == row["state"] == "live"
            if green and (seconds := self._overdue(row)) > 0:
                lasting = time.monotonic() - self._blind_since.setdefault((page.kind, market), time.monotonic())
                at = time.strftime("%H:%M:%S", time.gmtime())
                self.run.blind.append(Blind(at, page.kind, market, round(seconds, 2), round(lasting, 2)))
            else:
                self._blind_since.pop((page.kind, market), None)

    async def _sample(self) -> None:
        while True:
            now = time.monotonic()
            for name in self.ours:
                program = self.programs[name]
                try:
                    self.run.figures.setdefault(name, []).append((now, program.starts, program.figures()))
                except OSError:
                    continue
            for exchange_id in EXCHANGE_IDS:
                self.run.asked.setdefault(exchange_id, []).append((now, Counter(self.sandbox.counters[exchange_id])))
            if "postgres" in self.proxies:
                self.run.connections.append((now, self.proxies["postgres"].open))
            await asyncio.sleep(1.0)

    # Coming to rest

    async def _at_rest(self) -> None:
        """The market stands: wait until what it closed is evaluated, stored, published, shown, and in Redis."""
        began = time.monotonic()
        for page in self.run.pages:
            page.read_on()
        await self._wait("every series to be evaluated", self._all_evaluated)
        async with aclosing(self._connect()) as client:
            await self._wait("every alert to be published", lambda: self._all_published(client))
            await self._wait("every page to have every alert", self._all_shown)
            self.run.lists_after = time.monotonic() - began
            await self._wait("every candle to be in Redis", lambda: self._all_filled(client))

    async def _wait(self, what: str, condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """A market that stands still sends nothing: whoever subscribed after its last step would never hear of it."""
        began = time.monotonic()
        while True:
            try:
                if await condition():
                    return
            except (DatabaseError, RedisError, OSError):
                pass
            if time.monotonic() - began > PATIENCE:
                self.run.failure = self.run.failure or f"waited {PATIENCE:.0f} s for {what}"
                return
            self._tick(500)
            await asyncio.sleep(0.25)

    def _connect(self) -> "redis.asyncio.Redis":
        if isinstance(self.redis, RedisNodes):
            return cluster.connect(self.redis.url())
        return redis.asyncio.Redis.from_url(self.redis.url(), socket_timeout=5.0)

    async def checkpoints(self) -> dict[Key, int]:
        rows = await db(lambda: list(Checkpoint.objects.values_list("exchange_id", "symbol", "timeframe", "open_time")))()
        return {(exchange_id, symbol, timeframe): at for exchange_id, symbol, timeframe, at in rows}

    async def _all_evaluated(self) -> bool:
        reached = await self.checkpoints()
        return all(reached[key] + STEPS[key[2]] >= self._closed(key[2]) for key in self.series)

    def _closed(self, timeframe: str) -> int:
        """When the last candle that counts as closed has ended. The market stands more than a grace after the last close."""
        return self.clock.now() // STEPS[timeframe] * STEPS[timeframe]

    async def _all_published(self, client: "redis.asyncio.Redis") -> bool:
        if await db(Alert.objects.filter(published_at=None).count)():
            return False
        for exchange_id, numbers in (await db(_numbers)()).items():
            if len(await client.xrange(keys.alert_stream(exchange_id))) < len(numbers):
                return False
        return True

    async def _all_shown(self) -> bool:
        numbers = await db(_numbers)()
        return all(
            page.shown.numbers(exchange_id) == [one for one in numbers.get(exchange_id, []) if one >= page.shown.since.get(exchange_id, 1)]
            for page in self.run.pages
            for exchange_id in EXCHANGE_IDS
        )

    async def _all_filled(self, client: "redis.asyncio.Redis") -> bool:
        for key in self.series:
            if await client.zcard(keys.candles(*key)) < min(HISTORY, len(self._true(key))) or not await client.exists(keys.indicator(*key)):
                return False
        return True

    def _true(self, key: Key) -> Rows:
        """The market's candles of a series, from the first that a warm-up fetched at the very start."""
        if key not in self.run.true_candles or self.run.true_candles[key][-1][0] + STEPS[key[2]] < self._closed(key[2]):
            exchange_id, symbol, timeframe = key
            self.run.true_candles[key] = truth(self.sandbox, exchange_id, symbol, timeframe, self._first(key), self._closed(timeframe))
        return self.run.true_candles[key]

    def _first(self, key: Key) -> int:
        """The open time of the first candle that a start at the beginning of the run knows."""
        step = STEPS[key[2]]
        listed = self.sandbox.market.listing(*key[:2]).listed
        return max(-(-listed // step) * step, (START - SETTLED) // step * step - HISTORY * step)

    async def _collect(self) -> None:
        run = self.run
        run.open_files = {name: open_files(self.programs[name].pid) for name in self.ours}
        run.alerts = await db(lambda: list(Alert.objects.order_by("exchange_id", "number")))()
        run.checkpoints = await self.checkpoints()
        async with aclosing(self._connect()) as client:
            for exchange_id in EXCHANGE_IDS:
                entries = await client.xrange(keys.alert_stream(exchange_id))
                run.streams[exchange_id] = [(int(name.split(b"-")[0]), json.loads(fields[b"alert"])) for name, fields in entries]
            for key in self.series:
                run.candles[key] = [json.loads(row) for row in await client.zrange(keys.candles(*key), 0, -1)]
                value = await client.get(keys.indicator(*key))
                run.indicators[key] = None if value is None else json.loads(value)
            run.leaks |= await leaks_in_redis(client, self.canaries)
        await asyncio.to_thread(self._work_out)
        for page in run.pages:
            run.leaks |= {f"{name}, to a page" for name, canary in self.canaries.items() if canary in page.leaks}

    def _work_out(self) -> None:
        """The oracle's part."""
        histories: dict[tuple[str, str], dict[str, Rows]] = {}
        for exchange_id, symbol, timeframe in self.series:
            histories.setdefault((exchange_id, symbol), {})[timeframe] = self._true((exchange_id, symbol, timeframe))
        for (exchange_id, symbol), history in histories.items():
            listed = self.sandbox.market.listing(exchange_id, symbol).listed
            young = [timeframe for timeframe, rows in history.items() if rows[0][0] <= listed + STEPS[timeframe]]
            for one in oracle.alerts(history, START, RULE, young):
                if one.candle_time + STEPS[one.timeframe] <= self.run.ends:
                    self.run.due.append(_due((exchange_id, symbol, one.timeframe), one))
            for timeframe, rows in history.items():
                self.run.true_values[exchange_id, symbol, timeframe] = oracle.macdv(rows)[-1]


def _due(key: Key, one: oracle.Alert) -> Due:
    return Due(key, one.label, one.candle_time, one.direction, one.price, one.value, one.histogram, one.stage, one.bias)


def _numbers() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for exchange_id, number in Alert.objects.order_by("number").values_list("exchange_id", "number"):
        found.setdefault(exchange_id, []).append(number)
    return found


def flaws(directory: Path, names: Iterable[str]) -> Iterable[str]:
    """Lines of the logs of our own programs that no program may write, each with what follows it."""
    for name in names:
        lines = (directory / f"{name}.log").read_text(errors="replace").splitlines()
        for at, line in enumerate(lines):
            if any(flaw in line for flaw in FLAWS):
                yield f"{name}: {line.strip()}" + "".join(f"\n    {more}" for more in lines[at + 1 : at + 40] if "Traceback" in line)


def leaks_in_logs(directory: Path, canaries: Mapping[str, str]) -> set[str]:
    found = set()
    for log in directory.glob("*.log"):
        text = log.read_text(errors="replace")
        found |= {f"{name}, in {log.name}" for name, canary in canaries.items() if canary in text}
    return found


async def leaks_in_redis(client: "redis.asyncio.Redis", canaries: Mapping[str, str]) -> set[str]:
    """Canaries in any name or value that Redis holds."""
    found = set()
    async for name in client.scan_iter(count=1000):
        held = name + (await client.dump(name) or b"")
        found |= {f"{what}, in Redis under {name!r}" for what, canary in canaries.items() if canary.encode() in held}
    return found


async def play(plan: Plan, surroundings: Surroundings, *, coins: int, again: str) -> Run:
    """Carry a plan out. The database is migrated, and holds nothing of an earlier run."""
    world = World(plan, surroundings, coins=coins, again=again)
    async with world.running():
        await world.play()
    return world.run
