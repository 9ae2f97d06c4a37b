"""What a connector process tells Prometheus of the exchanges it hosts, read when it is asked; and what a delivery process tells."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from alerts.services import now_ms
from livermore import exposition

if TYPE_CHECKING:
    from alerts.delivery import Worker
    from livermore.hosting import Host
    from livermore.runtime import Connector, Inside

COUNTED = {
    "rejected": ("rejected_frames", "Frames that could not be read."),
    "lost": ("lost_frames", "Times that frames were missing in the exchange's numbering."),
    "refused": ("refused_requests", "Requests on the socket that the exchange refused."),
    "revised": ("revised_candles", "Candles that the exchange changed after their close."),
    "reconnects": ("reconnects", "Connections that stand again after they had ended unplanned."),
    "gaps_repaired": ("gaps_repaired", "Times that candles the stream had not brought were fetched."),
    "read_back": ("candles_read_back", "Closes that REST confirmed or brought."),
    "read_backs_failed": ("failed_read_backs", "Times that REST did not say how a candle closed."),
    "mute_streams": ("mute_streams", "Streams that showed less than what traded, and were subscribed to anew."),
    "clock_steps": ("clock_steps", "Times that the exchange's clock stepped."),
}
"""Count of a connector -> name and meaning. Each starts at 0 when a connector starts, as ``rate()`` expects."""
BUDGET = {
    "rest_used": ("rest_weight_used", "Weight spent on the REST host in the last minute.", 1),
    "rest_left": ("rest_weight_left", "Weight that is left of a minute's allowance.", 1),
    "rest_limit": ("rest_weight_limit", "Weight a minute that we allow ourselves.", 1),
    "rest_held_s": ("rest_held_seconds", "For how long nothing is asked, as the exchange demanded.", 1),
    "rest_waiting": ("rest_waiting_requests", "REST requests that wait for their turn.", 1),
}
"""Figure of the status -> name, meaning, unit."""
QUEUES: dict[str, Callable[["Inside"], int]] = {
    "events": lambda inside: sum(link.waiting for link in inside.engine.links),
    "closes": lambda inside: len(inside.committer.batch.closes),
    "alerts": lambda inside: len(inside.committer.publisher._pending),
    "tickers": lambda inside: len(inside.prices.waiting),
}
"""Frames that are here and not read; closes of the batch that is open; alerts committed and not published; prices not put out yet."""
STEPS = (
    "Database: until it has taken a batch. Redis: its candles and readings, and the closes announced "
    "where no alert goes out before them. Alerts: put out, and marked. Closes: announced after alerts."
)


def collect(hosts: Collection["Host"]) -> Iterator[Metric]:
    """Of a connector process."""
    yield from _of_hosts(hosts)
    running = [(host.id, host.connector) for host in hosts if host.connector is not None]
    yield from _of_feeds(running)
    yield from _of_commits(running)
    yield from _of_budgets(hosts)


def _of_hosts(hosts: Collection["Host"]) -> Iterator[Metric]:
    held = _gauge("lease_held", "1: this process holds the lease. 0: it stands by.")
    running = _gauge("running", "Whether it is started.")
    connected = _gauge("connected", "Whether every connection stands.")
    symbols = _gauge("symbols", "Symbols that are watched.")
    warmup = _gauge("warmup_ratio", "How much of the warm-up is done, 0 to 1; 1 when it is over.")
    journal = GaugeMetricFamily("livermore_connector_journal_notes", "Events that wait to be written down.", labels=["exchange"])
    dropped = _counter("journal_dropped_notes", "Events that were lost since the database was away too long.")
    for host in hosts:
        labels, started = [host.id], host.connector is not None
        held.add_metric(labels, float(host.role == "holds"))
        running.add_metric(labels, float(started))
        connected.add_metric(labels, float(host.status.connection_state == "connected"))
        symbols.add_metric(labels, host.status.symbols)
        if started and host.status.symbols:
            warmup.add_metric(labels, 1.0 if host.status.warmup is None else host.status.warmup)
        journal.add_metric(labels, host.journal.waiting)
        dropped.add_metric(labels, host.journal.dropped)
    yield from (held, running, connected, symbols, warmup, journal, dropped)


def _of_feeds(running: list[tuple[str, "Connector"]]) -> Iterator[Metric]:
    frames = _counter("frames", "Frames from the exchange.")
    connects = _counter("connects", "Sockets that were opened, or tried.")
    asked = _counter("rest_requests", "Requests over REST.")
    refused = _counter("rest_refusals", "Those that the exchange did not answer with 200.")
    warm_ups = _counter("failed_warm_ups", "Warm-ups of a symbol that failed, and were tried again.")
    queue = GaugeMetricFamily(
        "livermore_connector_queue_length", "What waits: see docs/metrics.md for each queue.", labels=["exchange", "queue"]
    )
    counted = {name: _counter(*said) for name, said in COUNTED.items()}
    for name, connector in running:
        inside = connector.inside
        frames.add_metric([name], inside.engine.frames)
        connects.add_metric([name], inside.engine.connects)
        asked.add_metric([name], inside.rest.requests)
        refused.add_metric([name], inside.rest.refusals)
        warm_ups.add_metric([name], inside.pool.failures)
        for which, length in QUEUES.items():
            queue.add_metric([name, which], length(inside))
        for count, family in counted.items():
            family.add_metric([name], connector.counters[count])
    yield from (frames, connects, asked, refused, warm_ups, queue, *counted.values())


def _of_commits(running: list[tuple[str, "Connector"]]) -> Iterator[Metric]:
    committers = {name: connector.inside.committer for name, connector in running}
    closes = _counter("closes", "Closed candles that were announced, over all timeframes.")
    evaluated = _counter("evaluated_series", "Times that a series moved on by what closed, and its checkpoint with it.")
    alerts = _counter("alerts", "Alerts that were committed.")
    behind = _gauge("commit_behind_seconds", "For how long the batch that is under way has waited.")
    for name, committer in committers.items():
        closes.add_metric([name], committer.measured.closes)
        evaluated.add_metric([name], committer.measured.evaluated)
        alerts.add_metric([name], committer.measured.alerts)
        behind.add_metric([name], committer.behind)
    yield from (closes, evaluated, alerts, behind)
    yield exposition.histogram(
        "livermore_connector_commit_step_seconds",
        f"How long each step of a batch takes. {STEPS}",
        {(name, step): timings for name, committer in committers.items() for step, timings in committer.measured.steps.items()},
        labels=("exchange", "step"),
    )
    yield exposition.histogram(
        "livermore_connector_commit_batch_closes",
        "Closed candles in a batch.",
        {(name,): committer.measured.sizes for name, committer in committers.items()},
        labels=("exchange",),
    )


def _of_budgets(hosts: Collection["Host"]) -> Iterator[Metric]:
    for figure, (name, meaning, unit) in BUDGET.items():
        family = _gauge(name, meaning)
        for host in hosts:
            value = host.status.figures.get(figure)
            if value is not None:
                family.add_metric([host.id], value * unit)
        yield family


def _gauge(name: str, meaning: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"livermore_connector_{name}", meaning, labels=["exchange"])


def _counter(name: str, meaning: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"livermore_connector_{name}", meaning, labels=["exchange"])


# A delivery process


def of_delivery(workers: Collection["Worker"]) -> Iterator[Metric]:
    """Of this process; what all of them did together is told by each web process."""
    sending = sum(worker.sending for worker in workers)
    yield GaugeMetricFamily("livermore_delivery_sending", "Messages on their way now.", value=sending)
    age = GaugeMetricFamily("livermore_delivery_beat_age_seconds", "Since it last reached Redis.")
    for worker in workers:
        if worker.beat_at:
            age.add_metric([], (now_ms() - worker.beat_at) / 1000)
    yield age
