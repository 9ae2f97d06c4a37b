"""The tables of docs/scaling.md, out of the unit costs and the model of benchmarks.scaling. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.scaling import DAY, Costs, Model, Need, Scenario, exchange_limits, simulate
from exchanges.events import TIMEFRAMES

EXCHANGES, VIEWERS = (1, 10, 100), (100, 10_000, 1_000_000)


def tables(costs: Costs) -> dict[str, str]:
    """Each table of docs/scaling.md by its name, as Markdown."""
    model = Model(costs)
    cells = [Scenario(exchanges, viewers) for exchanges in EXCHANGES for viewers in VIEWERS]
    needs = [(one, model.need(one)) for one in cells]
    return {
        "machine": f"Measured on {costs['machine'].unit}, {costs['machine'].date}.\n",
        "costs": _costs(costs),
        "core": _core(model),
        "limits": _limits(),
        "load": _load(model),
        "sizing": _sizing(needs),
        "latency": _latency(model, needs),
        "full": _full(model),
        "levers": _levers(model),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def _costs(costs: Costs) -> str:
    rows = []
    for name, one in costs.items():
        if name == "machine":
            continue
        value = " to ".join(f"{item:,g}" for item in one.value) if isinstance(one.value, list) else f"{one.value:,g}"
        rows.append([f"`{name}`", f"{value} {one.unit}", f"{one.kind}, {one.date}", f"{one.how}{'; ' * bool(one.note)}{one.note}"])
    return _table(["input", "value", "kind", "by what"], rows)


def _core(model: Model) -> str:
    c, one = model.cost, Scenario(1, 100)
    connector, pages, redis = model.connector(one), model.room(one, 1.0), c.price_server
    socket = model.socket(one, pages)
    store, exchanges = c.checkpoint_server, 1 / model.relaying(one)
    return _table(
        ["one core of", "carries", "which is"],
        [
            ["a connector", f"{_count(one.symbols / connector)} symbols", "all timeframes, with a price and half a candle a second each"],
            [
                "a connector, at midnight",
                f"{_count(one.symbols / model.burst(one))} symbols in a second",
                "five closes of each, and the alerts of the worst close",
            ],
            [
                "a web process",
                f"{_count(pages)} pages",
                f"of one exchange of {one.symbols} symbols: {socket.messages:.0f} messages in {socket.frames:.0f} frames a second each",
            ],
            ["a web process", f"{_count(exchanges)} exchanges", "heard, for no page at all"],
            ["Redis", f"{_count(1 / redis)} prices a second", "set, and published to nobody"],
            ["Redis", f"{_count(1 / c.publish_subscriber)} deliveries a second", "a message to a web process"],
            ["PostgreSQL", f"{_count(1 / store)} closes a second", "their checkpoints"],
            [
                "PostgreSQL",
                f"{_count(one.check_every / c.check_server)} open sockets",
                f"whose sessions are looked at every {one.check_every:.0f} s",
            ],
        ],
    )


def _limits() -> str:
    rows = []
    for symbols in (50, 500):
        for one in exchange_limits(symbols):
            back = "flags closes" if not one.most_symbols else _time(one.read_back)
            rows.append(
                [
                    one.id,
                    f"{symbols}",
                    f"{one.connections}",
                    f"{one.connects_a_minute:g}",
                    _time(one.reconnecting),
                    f"{one.warm_up_weight:,}",
                    _time(one.warm_up),
                    back,
                    f"{one.most_symbols:,}" if one.most_symbols else "-",
                    f"{one.addresses}",
                ]
            )
    head = [
        "exchange",
        "symbols",
        "connections",
        "connects a minute",
        "all again after",
        "warm-up: weight",
        "warm-up",
        "a close read back",
        "most within 35 s",
        "addresses",
    ]
    return _table(head, rows)


def _load(model: Model) -> str:
    rows = []
    for exchanges in EXCHANGES:
        one = Scenario(exchanges, 100)
        alerts = model.alerts_a_second(one) * DAY * exchanges
        rows.append(
            [
                f"{exchanges}",
                f"{exchanges * one.symbols:,}",
                f"{exchanges * one.closes_a_second:.3g}",
                f"{exchanges * one.symbols:,}",
                f"{exchanges * one.symbols * len(TIMEFRAMES):,}",
                f"{_count(alerts)}",
                _count(exchanges * one.symbols * model.cost.worst_close_alerts),
                f"{model.published(one):,.0f}",
                _bytes(alerts * 365 * model.cost.alert_row),
            ]
        )
    head = [
        "exchanges",
        "symbols",
        "closes a second",
        "at a 5m close",
        "at midnight UTC",
        "alerts a day",
        "alerts of the worst close",
        "messages a second",
        "alerts of a year",
    ]
    return _table(head, rows)


def _sizing(needs: Sequence[tuple[Scenario, Need]]) -> str:
    rows = []
    for one, need in needs:
        redis = f"{need.redis_nodes}" if need.redis_nodes else f"1 + {need.relays:,} relays ¹"
        cores = need.connector_cores + need.web + (need.redis_nodes or 1 + need.relays) + need.database_cores
        rows.append(
            [
                f"{one.exchanges}",
                f"{one.viewers:,}",
                f"{need.connectors} on {need.connector_cores}",
                f"{need.web:,} of {need.sockets:,}",
                redis,
                f"{need.database_cores:,}",
                f"{cores:,}",
                _bytes(need.memory),
                _bytes(need.redis_memory),
                _bits(need.to_browsers),
                _bits(need.redis_to_web),
                _bits(need.from_exchanges),
                " to ".join(str(count) for count in need.addresses),
            ]
        )
    head = [
        "exchanges",
        "viewers",
        "connectors on cores",
        "web processes of sockets each",
        "Redis nodes",
        "PostgreSQL cores",
        "cores in all",
        "memory",
        "of Redis, each copy",
    ]
    return _table([*head, "to browsers", "Redis to web", "from exchanges", "addresses"], rows)


def _latency(model: Model, needs: Sequence[tuple[Scenario, Need]]) -> str:
    rows = []
    for one, need in needs:
        found = simulate(model, one, need)
        rows.append(
            [
                f"{one.exchanges}",
                f"{one.viewers:,}",
                f"{found.alerts:,}",
                _time(found.p50),
                _time(found.p99),
                f"{need.busiest[0]}, {need.busiest[1]:.0%}",
            ]
        )
    return _table(["exchanges", "viewers", "alerts simulated", "p50", "p99", "busiest as sized"], rows)


def _full(model: Model) -> str:
    rows = []
    for exchanges in EXCHANGES:
        limits = model.limits(Scenario(exchanges, 100))
        rows.append([f"{exchanges}", *(_count(viewers) for viewers in limits.values()), min(limits, key=lambda name: limits[name])])
    return _table(["exchanges", *(f"{name} is full at" for name in model.limits(Scenario(1, 100))), "first"], rows)


def _levers(model: Model) -> str:
    whole = Scenario(10, 1_000_000)
    ways = {
        "as it is": whole,
        "a quarter of the frames of prices": replace(whole, price_frames=1_000.0),
        "and its session looked at every 5 min": replace(whole, price_frames=1_000.0, check_every=300.0),
        "and a viewer watches one exchange": replace(whole, price_frames=1_000.0, check_every=300.0, watched=1),
        "no prices at all: candles and alerts": replace(whole, prices=0.001, check_every=300.0),
    }
    rows = []
    for what, one in ways.items():
        need = model.need(one)
        redis = f"{need.redis_nodes}" if need.redis_nodes else f"1 + {need.relays:,} relays"
        rows.append([what, f"{need.sockets:,}", f"{need.web:,}", redis, f"{need.database_cores:,}", _bits(need.to_browsers)])
    return _table(
        ["1,000,000 viewers of 10 exchanges", "sockets a process", "web processes", "Redis nodes", "PostgreSQL cores", "to browsers"], rows
    )


def _count(value: float) -> str:
    """Two digits: these are estimates."""
    if value < 1:
        return f"{value:.1g}"
    digits = max(0, math.floor(math.log10(value)) - 1)
    return f"{round(value / 10**digits) * 10**digits:,}"


def _time(seconds: float) -> str:
    if seconds == 0:
        return "at once"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _scaled(value: float, units: Sequence[str]) -> str:
    place = 0
    while value >= 999.5 and place < len(units) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.3g} {units[place]}"


def _bytes(value: float) -> str:
    return _scaled(value / 1e6, ("MB", "GB", "TB"))


def _bits(value: float) -> str:
    return _scaled(value / 1e6, ("Mbit/s", "Gbit/s", "Tbit/s"))
