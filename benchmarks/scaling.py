"""``python -m benchmarks.scaling [--measure] [--write]``: what a deployment needs, and how soon an alert is in a browser.

Arithmetic and a simulation over the unit costs of docs/scaling.json. Pure but for its command line: nothing here opens a socket, and the
same file and seed give the same tables. Seconds and bytes throughout; a table says where it shows others.
"""

import argparse
import asyncio
import json
import math
import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.queues import Simulation, Station, percentile
from exchanges.adapters import adapter_for
from exchanges.events import TIMEFRAMES, Limits
from exchanges.pacing import CONNECTS_A_MINUTE
from exchanges.seeds import ROWS

DOCS = Path(__file__).resolve().parents[1] / "docs"
COSTS, DOCUMENT = DOCS / "scaling.json", DOCS / "scaling.md"
DAY = 86_400
HISTORY_BARS, READ_BACK_BARS, STALE_AFTER = 400, 3, 35.0
"""As in market_data.series, market_data.candles and livermore.watched, which tests compare: those load Django's settings."""
MOST_PRICES, MOST_FRAMES, MOST_PRICE_FRAMES = 4.0, 50.0, 4_000.0
"""Prices of a symbol, frames of prices to a page, and such frames of a web process to all its pages, each a second: as in livermore.prices
and alerts.audience.
"""
REST_SHARE = 0.9
A_CALL = 50
"""Closes in one call of Redis."""
LEAST_NODES, MOST_NODES, BURST_WITHIN = 3, 64, 1.0
"""Nodes of a cluster, as few as there can be and as many as are considered; seconds in which the connectors are to be done with the worst
close.
"""
_UNITS = {"µs": 1e-6, "µs/s": 1e-6, "kB": 1e3, "MB": 1e6, "ms": 1e-3}
_MARKED = re.compile(r"<!-- scaling: (\w+) -->\n.*?<!-- /scaling -->\n", re.DOTALL)


class Input(NamedTuple):
    """A figure of docs/scaling.json. ``kind``: measured, published or assumed; ``how``: the command, or the source."""

    value: float | list[float]
    unit: str
    kind: str
    date: str
    how: str
    note: str = ""


Costs = dict[str, Input]


def load(path: Path = COSTS) -> Costs:
    return {name: Input(**one) for name, one in json.loads(path.read_text(encoding="utf-8")).items()}


def save(costs: Costs, path: Path = COSTS) -> None:
    text = json.dumps(
        {name: {key: item for key, item in one._asdict().items() if item != ""} for name, one in costs.items()},
        indent=2,
        ensure_ascii=False,
    )
    path.write_text(text + "\n", encoding="utf-8")


class Unit:
    """The costs as attributes, in seconds and bytes."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    def __getattr__(self, name: str) -> float:
        one = self._costs[name]
        assert not isinstance(one.value, list)
        return one.value * _UNITS.get(one.unit, 1.0)

    def both(self, name: str) -> tuple[float, float]:
        """A range, in seconds."""
        value = self._costs[name].value
        assert isinstance(value, list)
        return value[0] * _UNITS.get(self._costs[name].unit, 1.0), value[1] * _UNITS.get(self._costs[name].unit, 1.0)


@dataclass(frozen=True)
class Scenario:
    """``watched``: exchanges that a viewer watches, at most. ``prices``: updates of a symbol's price a second, as published to pages.

    ``price_frames``: frames with nothing but prices that a web process sends to all its pages, a second, at most. ``check_every``: seconds
    between two looks at a socket's session.
    """

    exchanges: int
    viewers: int
    symbols: int = 50
    watched: int = 10
    prices: float = 1.0
    price_frames: float = MOST_PRICE_FRAMES
    check_every: float = 30.0

    @property
    def of_a_viewer(self) -> int:
        return min(self.exchanges, self.watched)

    @property
    def prices_a_second(self) -> float:
        """Published by one exchange."""
        return self.symbols * min(self.prices, MOST_PRICES)

    @property
    def closes_a_second(self) -> float:
        """Of one exchange, over a day: 288 + 96 + 24 + 6 + 1 of each symbol."""
        return self.symbols * sum(DAY / (step / 1000) for step in TIMEFRAMES.values()) / DAY


class Socket(NamedTuple):
    """What a page's socket gets, a second, and what that costs its web process."""

    messages: float
    frames: float
    seconds: float
    bytes: float


class Need(NamedTuple):
    """What a scenario needs. ``redis_nodes``: 0 where no cluster of classic pub/sub carries it, and ``relays`` are needed instead."""

    connectors: int
    connector_cores: int
    web: int
    sockets: int
    """Of a web process."""
    redis_nodes: int
    relays: int
    database_cores: int
    memory: float
    redis_memory: float
    to_browsers: float
    from_exchanges: float
    redis_to_web: float
    addresses: tuple[int, int]
    """Of an exchange, at least and at most."""
    busiest: tuple[str, float]
    """What is nearest to its limit as sized, and its share."""


class Model:
    """The arithmetic. Every share is of one core."""

    def __init__(self, costs: Costs) -> None:
        self.cost = Unit(costs)

    def alerts_a_second(self, one: Scenario) -> float:
        """Of one exchange, over a day."""
        rates = (getattr(self.cost, f"alerts_per_close_{name}") * 1000 / step for name, step in TIMEFRAMES.items())
        return one.symbols * sum(rates)

    def connector(self, one: Scenario) -> float:
        """The share of a core that one exchange's connector takes."""
        c = self.cost
        frames = one.symbols * (c.kline_frames * (c.socket_frame + c.forming_frame) + one.prices * (c.socket_frame + c.ticker_frame))
        closes = (
            one.closes_a_second * (c.redis_close_client + c.checkpoint_client) + one.symbols / 300 * c.closing_frame + c.commit_client / 300
        )
        return frames + one.prices_a_second * c.price_client + closes + self.alerts_a_second(one) * c.alert_client

    def burst(self, one: Scenario) -> float:
        """Seconds of a core that one exchange's connector works after midnight UTC, when all timeframes close at once."""
        c = self.cost
        closes = one.symbols * len(TIMEFRAMES)
        work = one.symbols * (c.socket_frame + c.midnight_frame) + closes * (c.redis_close_client + c.checkpoint_client)
        return work + c.commit_client + one.symbols * c.worst_close_alerts * c.alert_client

    def pace(self, one: Scenario, sockets: float) -> float:
        """Frames of prices a second to each of so many pages of one web process; those of all exchanges go out together."""
        return min(MOST_FRAMES, one.of_a_viewer * one.prices_a_second, one.price_frames / max(1, sockets))

    def socket(self, one: Scenario, sockets: float) -> Socket:
        """A page's, of so many on its web process."""
        c = self.cost
        messages = one.of_a_viewer * one.prices_a_second + one.of_a_viewer * (one.closes_a_second + self.alerts_a_second(one))
        frames = self.pace(one, sockets)
        seconds = messages * c.web_message + frames * c.web_frame + c.socket_idle + c.check_web / one.check_every
        return Socket(messages, frames, seconds, messages * c.price_bytes + frames * c.frame_overhead)

    def published(self, one: Scenario) -> float:
        """Messages a second through Redis, of all exchanges."""
        return one.exchanges * (one.prices_a_second + one.closes_a_second + self.alerts_a_second(one))

    def relaying(self, one: Scenario) -> float:
        """What each web process spends on hearing every exchange, whoever of its pages watches it."""
        return self.published(one) * self.cost.web_relay

    def sockets(self, one: Scenario) -> int:
        """Of one web process, at the share that it may take; 0: hearing the exchanges alone takes more than that."""
        return math.floor(self.room(one, self.cost.target))

    def room(self, one: Scenario, share: float) -> float:
        """The sockets with which a web process takes this share of a core: few that get prices as fast as there is, or many that share."""
        left, frame = share - self.relaying(one), self.cost.web_frame
        few = left / self.socket(one, 1).seconds
        many = (left - one.price_frames * frame) / self.socket(one, math.inf).seconds
        return max(0.0, few, many)

    def redis(self, one: Scenario, web: int, nodes: int = 1) -> float:
        """The share of a core of the busiest node: the one through which everything is published."""
        c = self.cost
        keys = one.exchanges * (one.prices_a_second * (c.price_server - c.publish_server) + one.closes_a_second * c.redis_close_server)
        alerts = one.exchanges * self.alerts_a_second(one) * c.alert_redis
        heard = self.published(one) * (c.publish_server * nodes + math.ceil(web / nodes) * c.publish_subscriber)
        return (keys + alerts) / nodes + heard

    def database(self, one: Scenario) -> float:
        c = self.cost
        writes = one.closes_a_second * c.checkpoint_server + c.commit_server / 300 + self.alerts_a_second(one) * c.alert_server
        return one.exchanges * writes + one.viewers * c.check_server / one.check_every

    def need(self, one: Scenario) -> Need:
        c = self.cost
        room = self.sockets(one)
        if room == 0:
            raise ValueError(f"a web process cannot even hear {one.exchanges} exchanges: {self.relaying(one):.0%} of a core")
        web = math.ceil(one.viewers / room)
        socket = self.socket(one, one.viewers / web)
        nodes = next((nodes for nodes in (1, *range(LEAST_NODES, MOST_NODES + 1)) if self.redis(one, web, nodes) <= c.target), 0)
        relays = 0 if nodes else self.relays(one, web)
        shares = {
            "connectors": self.connector(one),
            "web processes": self.relaying(one) + one.viewers / web * socket.seconds,
            "Redis": self.redis(one, web, nodes) if nodes else c.target,
            "PostgreSQL": self.database(one) / max(1, math.ceil(self.database(one) / c.target)),
        }
        frames = one.exchanges * one.symbols * (c.kline_frames + one.prices)
        return Need(
            connectors=one.exchanges,
            connector_cores=self.connector_cores(one),
            web=web,
            sockets=math.ceil(one.viewers / web),
            redis_nodes=nodes,
            relays=relays,
            database_cores=max(1, math.ceil(self.database(one) / c.target)),
            memory=one.exchanges * (c.connector_memory + one.symbols * c.symbol_memory)
            + web * c.web_memory
            + one.viewers * c.socket_memory,
            redis_memory=one.exchanges * one.symbols * len(TIMEFRAMES) * c.series_redis_memory,
            to_browsers=one.viewers * socket.bytes * 8,
            from_exchanges=frames * c.frame_bytes * 8,
            redis_to_web=self.published(one) * web * c.price_bytes * 8,
            addresses=(min(found := [exchange.addresses for exchange in exchange_limits(one.symbols)]), max(found)),
            busiest=max(shares.items(), key=lambda item: item[1]),
        )

    def connector_cores(self, one: Scenario) -> int:
        """Enough for the steady load, and to be done with the worst close in a second, however the processes are spread over them."""
        return max(
            1, math.ceil(one.exchanges * self.connector(one) / self.cost.target), math.ceil(one.exchanges * self.burst(one) / BURST_WITHIN)
        )

    def heard_by(self, one: Scenario) -> int:
        """How many subscriptions one Redis that does nothing else can serve of what all exchanges publish."""
        return math.floor((self.cost.target / self.published(one) - self.cost.publish_server) / self.cost.publish_subscriber)

    def relays(self, one: Scenario, web: int) -> int:
        """Replicas in a tree, each of which hands on to as many as one can serve; 0 where not even one can be served."""
        room, level, count = self.heard_by(one), web, 0
        while level > 1 and room > 1:
            level = math.ceil(level / room)
            count += level
        return count

    def limits(self, one: Scenario) -> dict[str, float]:
        """Viewers at which each is full, at 100 %: one web process, one core of PostgreSQL, one Redis with web processes enough."""
        c = self.cost
        served = max(0.0, 1 - self.redis(one, 0)) / (self.published(one) * c.publish_subscriber)
        writes = self.database(replace(one, viewers=0))
        return {
            "one web process": self.room(one, 1.0),
            "one core of PostgreSQL": max(0.0, 1 - writes) / (c.check_server / one.check_every),
            "one Redis": math.floor(served) * self.sockets(one),
        }


class ExchangeLimits(NamedTuple):
    """What an exchange's published limits come to for so many symbols at one address. Seconds."""

    id: str
    connections: int
    connects_a_minute: float
    reconnecting: float
    """Until every connection stands again, at the pace that the limits and we ourselves allow."""
    warm_up_weight: int
    warm_up: float
    read_back: float
    """Until the last close is read back; 0 where the exchange flags closes."""
    most_symbols: int
    """Read back within STALE_AFTER; 0 where that is no limit."""
    addresses: int


def exchange_limits(symbols: int) -> list[ExchangeLimits]:
    """Of each exchange that is no sandbox, out of its adapter and its seeded row."""
    return [_exchange_limits(name, row, symbols) for name, row in ROWS.items() if not row.get("is_sandbox")]


def _exchange_limits(name: str, row: Mapping[str, Any], symbols: int) -> ExchangeLimits:
    adapter = adapter_for(row["adapter"])
    limits = Limits(**{**{field: getattr(adapter.limits, field) for field in Limits.__struct_fields__}, **row["limits"]})
    connections = math.ceil(2 * symbols / limits.streams_per_connection)
    per_minute = min(CONNECTS_A_MINUTE, limits.connects_per_5min / 5)
    rate = limits.rest_weight_per_minute * REST_SHARE / 60
    warm_up = sum(_weight(adapter, timeframe, HISTORY_BARS) for timeframe in TIMEFRAMES) * symbols
    a_close = _weight(adapter, "5m", READ_BACK_BARS)
    return ExchangeLimits(
        id=name,
        connections=connections,
        connects_a_minute=per_minute,
        reconnecting=max(0.0, (connections - per_minute) / per_minute * 60),
        warm_up_weight=warm_up,
        warm_up=max(0.0, warm_up - limits.rest_burst) / rate,
        read_back=0.0 if adapter.flags_closes else max(0.0, symbols * a_close - limits.rest_burst) / rate,
        most_symbols=0 if adapter.flags_closes else math.floor((STALE_AFTER * rate + limits.rest_burst) / a_close),
        addresses=1 if adapter.flags_closes else math.ceil(symbols / math.floor((STALE_AFTER * rate + limits.rest_burst) / a_close)),
    )


def _weight(adapter: Any, timeframe: str, bars: int) -> int:
    """Of fetching so many candles of a symbol, in the exchange's own units."""
    end = 1_786_320_000_000
    return sum(request.weight for request in adapter.candles_requests("BTC-USD", timeframe, end - bars * TIMEFRAMES[timeframe], end))


# The simulation


class Latency(NamedTuple):
    """Seconds from the closing frame at the connector to the browser, over all alerts and the sockets that were looked at."""

    p50: float
    p99: float
    alerts: int


class _Close(NamedTuple):
    symbol: int
    arrived: float
    alerts: int


def simulate(model: Model, one: Scenario, need: Need, *, seed: int = 1, runs: int = 0, looked_at: int = 3) -> Latency:
    """Midnight UTC, with as many alerts as the worst close of docs/scaling.json: connector → database → Redis → web processes → sockets.

    ``runs``: so many midnights; 0 for as many as it takes for some hundred alerts. ``looked_at`` of the web processes are simulated, since
    all are alike; of each delivery one socket, at a random place in its turn.
    """
    found: list[float] = []
    alerts = 0
    for run in range(runs or max(3, math.ceil(30 / one.exchanges))):
        burst = _Burst(model, one, need, random.Random(seed * 1000 + run), min(looked_at, need.web))
        burst.run()
        found += burst.delays
        alerts += burst.alerts
    return Latency(percentile(found, 50), percentile(found, 99), alerts)


class _Burst:
    def __init__(self, model: Model, one: Scenario, need: Need, rng: random.Random, processes: int) -> None:
        self.c, self.one, self.need, self.rng = model.cost, one, need, rng
        self.model = model
        self.simulation = Simulation()
        self.cores = [Station(self.simulation, 1) for _ in range(need.connector_cores)]
        self.database = Station(self.simulation, need.database_cores)
        self.redis = Station(self.simulation, 1)
        self.pages = [Station(self.simulation, 1) for _ in range(processes)]
        self.waiting: list[list[_Close]] = [[] for _ in range(one.exchanges)]
        self.busy = [False] * one.exchanges
        self.delays: list[float] = []
        self.alerts = 0
        self.watching = need.sockets * one.of_a_viewer / one.exchanges
        """Of a process' sockets, those that watch a given exchange."""

    def run(self) -> None:
        low, high = self.c.both("closing_frame_after")
        a_close = self.c.socket_frame + self.c.midnight_frame
        expected = self.c.worst_close_alerts
        for exchange in range(self.one.exchanges):
            for symbol in range(self.one.symbols):
                at = self.rng.uniform(low, high)
                fires = math.floor(expected) + (self.rng.random() < expected % 1)
                self.alerts += fires
                close = _Close(symbol, at, fires)
                self.simulation.at(
                    at, lambda exchange=exchange, close=close: self._core(exchange).serve(a_close, lambda: self._closed(exchange, close))
                )  # type: ignore[misc]
        self._prices(high + 2.0)
        self.simulation.run()

    def _core(self, exchange: int) -> Station:
        return self.cores[exchange % len(self.cores)]

    def _prices(self, until: float) -> None:
        """What pages get all the time: the burst has to find its place in it."""
        c, one, sockets = self.c, self.one, self.need.sockets
        pace = self.model.pace(one, sockets)
        if not pace:
            return
        heard = one.exchanges * one.prices_a_second / pace * c.web_relay
        work = heard + sockets * (one.of_a_viewer * one.prices_a_second / pace * c.web_message + c.web_frame)
        for page in self.pages:
            at = self.rng.uniform(0, 1 / pace)
            while at < until:
                self.simulation.at(at, lambda page=page: page.serve(work, None))  # type: ignore[misc]
                at += 1 / pace

    def _turn(self, messages: float) -> float:
        """Seconds that a web process needs for messages that come at once, of one exchange."""
        return messages * self.c.web_relay + self.watching * (messages * self.c.web_message + self.c.web_frame)

    def _closed(self, exchange: int, close: _Close) -> None:
        self.waiting[exchange].append(close)
        if not self.busy[exchange]:
            self._commit(exchange)

    def _commit(self, exchange: int) -> None:
        """A batch: whatever has closed. Ours, the database's, ours, Redis'; the next one when it is done."""
        batch, self.waiting[exchange] = self.waiting[exchange], []
        self.busy[exchange] = bool(batch)
        if not batch:
            return
        c, core = self.c, self._core(exchange)
        closes, alerts = len(batch) * len(TIMEFRAMES), sum(close.alerts for close in batch)
        disk = max(0.0, c.commit_clock - c.commit_client - c.commit_server)

        def stored() -> None:
            self.simulation.after(
                disk, lambda: core.serve(closes * c.redis_close_client, lambda: self.redis.serve(closes * c.redis_close_server, written))
            )

        def written() -> None:
            self.redis.serve(alerts * (c.alert_redis + self._heard()), published)

        def published() -> None:
            for page in self.pages:
                self._show(page, batch, alerts)
            self.redis.serve(closes * self._heard(), told)

        def told() -> None:
            for page in self.pages:
                for at in range(0, closes, A_CALL):
                    page.serve(self._turn(min(A_CALL, closes - at)), None)
            self._commit(exchange)

        ours = c.commit_client + closes * c.checkpoint_client + alerts * c.alert_client
        theirs = c.commit_server + closes * c.checkpoint_server + alerts * c.alert_server
        core.serve(ours, lambda: self.database.serve(theirs, stored))

    def _heard(self) -> float:
        """Seconds of a message in Redis until the last web process of its node has it; relays hand it on, level by level."""
        nodes = self.need.redis_nodes
        if nodes:
            return self.c.publish_server * nodes + math.ceil(self.need.web / nodes) * self.c.publish_subscriber
        return self.c.publish_server + self.model.heard_by(self.one) * self.c.publish_subscriber

    def _show(self, page: Station, batch: Sequence[_Close], alerts: int) -> None:
        if not alerts:
            return
        work = self._turn(alerts)
        low, high = self.c.both("last_mile")

        def shown() -> None:
            for close in batch:
                for _ in range(close.alerts):
                    before_the_last = work * (1 - self.rng.random())
                    self.delays.append(self.simulation.now - before_the_last + self.rng.uniform(low, high) - close.arrived)

        page.serve(work, shown)


# The command line


def written(text: str, found: Mapping[str, str]) -> str:
    """The document with these tables between their marks. Raises KeyError for a mark without a table."""
    return _MARKED.sub(lambda match: f"<!-- scaling: {match[1]} -->\n\n{found[match[1]]}\n<!-- /scaling -->\n", text)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="What a deployment needs, and where its limits are.")
    parser.add_argument(
        "--measure", action="store_true", help="measure the unit costs anew, into docs/scaling.json; DATABASE_URL names a PostgreSQL here"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    options = parser.parse_args(words)
    costs = load()
    if options.measure:
        costs = {**costs, **_measured(parser)}
        save(costs)
    from benchmarks.sizing import tables  # which takes its arithmetic from here

    found = tables(costs)
    print("\n".join(f"{name}\n\n{table}" for name, table in found.items()))
    if options.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 0


def _measured(parser: argparse.ArgumentParser) -> Costs:
    from benchmarks.machine import load as load_of_the_machine
    from benchmarks.machine import machine, today
    from benchmarks.surroundings import own_database, postgres_url, surroundings

    if not (url := postgres_url()):
        parser.error("--measure takes a PostgreSQL on this machine: DATABASE_URL=postgres://user@127.0.0.1:5432/postgres")
    where = f"{machine()}, {load_of_the_machine()}"
    with own_database(url) as own, surroundings(own) as server:
        from benchmarks import unit_costs

        found = asyncio.run(unit_costs.measure(today()))
    return {"machine": Input([], f"{where}; {server}", "measured", today(), "benchmarks/machine.py"), **found}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
