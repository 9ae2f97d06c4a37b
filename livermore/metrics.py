"""/metrics, for Prometheus: how each exchange does, read from Redis when asked, and what the sockets of this process are owed."""

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from alerts import feedhub
from alerts.delivery_services import DWELL, deliveries_waiting
from alerts.models import Kind
from exchanges.health import exchange_healths
from exchanges.models import STATES, Exchange
from exchanges.status import now_ms
from livermore import bus, exposition, keys, measures
from livermore.telemetry import FORWARDED, NEEDS_TOKEN, may_read

GAUGES = {
    "messages_per_s": ("messages_per_second", "Frames a second from the exchange, over 10 s.", 1),
    "symbols": ("symbols", "Symbols that are watched.", 1),
    "rest_used": ("rest_weight_used", "Weight spent on the REST host in the last minute.", 1),
    "rest_left": ("rest_weight_left", "Weight that is left of a minute's allowance.", 1),
    "rest_limit": ("rest_weight_limit", "Weight a minute that we allow ourselves.", 1),
    "rest_held_s": ("rest_held_seconds", "For how long nothing is asked, as the exchange demanded.", 1),
    "rest_waiting": ("rest_waiting_requests", "REST requests that wait for their turn.", 1),
    "rest_ms": ("rest_latency_seconds", "How long the last REST answer took.", 1e-3),
    "websocket_ms": ("websocket_latency_seconds", "Between ping and pong, of the slowest connection.", 1e-3),
    "clock_offset_ms": ("clock_offset_seconds", "The exchange's clock minus ours.", 1e-3),
    "warmup": ("warmup_ratio", "How much of the warm-up is done, 0 to 1; only while warming.", 1),
    "last_heartbeat": ("heartbeat_timestamp_seconds", "When its process last spoke.", 1e-3),
    "uptime_24h": ("uptime_24h_ratio", "For how much of the last 24 h it was live, of what is known of them.", 1),
    "uptime_7d": ("uptime_7d_ratio", "For how much of the last 7 days it was live, of what is known of them.", 1),
}
"""Figure of health -> name, meaning, and its unit in that of the metric."""
COUNTERS = {
    "frames": ("frames", "Frames from the exchange."),
    "rejected": ("rejected_frames", "Frames that could not be read."),
    "lost": ("lost_frames", "Frames that are missing in the exchange's numbering."),
    "refused": ("refused_requests", "Requests on the socket that the exchange refused."),
    "revised": ("revised_candles", "Candles that the exchange changed after their close."),
    "reconnects": ("reconnects", "Connections that stand again after they had ended unplanned."),
    "gaps_repaired": ("gaps_repaired", "Times that candles the stream had not brought were fetched."),
}
"""Each starts at 0 when a connector starts."""


@login_not_required
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """For whoever sends METRICS_TOKEN, or, with METRICS_LOOPBACK, for programs of this machine; 403 for everybody else."""
    forwarded = any(f"HTTP_{name.upper().replace('-', '_')}" in request.META for name in FORWARDED)
    if not may_read(request.headers.get("Authorization", ""), request.META.get("REMOTE_ADDR", ""), forwarded=forwarded):
        return JsonResponse({"detail": NEEDS_TOKEN}, status=403)
    return _written(request)


@require_safe
def _written(request: HttpRequest) -> HttpResponse:
    return HttpResponse(exposition.text(_collect), content_type=exposition.CONTENT_TYPE)


def _collect() -> Iterator[Metric]:
    healths = exchange_healths(Exchange.objects.filter(active=True))
    yield from _of_exchanges(healths)
    yield from _of_sockets(feedhub.backlogs())
    yield from _of_the_feed(measures.feed)
    yield _of_requests()
    yield from _of_deliveries(_figures(), deliveries_waiting())


def _of_exchanges(healths: list[dict[str, Any]]) -> Iterator[Metric]:
    state = GaugeMetricFamily("livermore_exchange_state", "1 for the state it is in.", labels=["exchange", "state"])
    for health in healths:
        for name in sorted({*STATES, "unknown", health["state"]}):
            state.add_metric([health["exchange"].pk, name], float(health["state"] == name))
    yield state
    for figure, (name, meaning, unit) in GAUGES.items():
        yield _family(GaugeMetricFamily(f"livermore_exchange_{name}", meaning, labels=["exchange"]), healths, figure, unit)
    for figure, (name, meaning) in COUNTERS.items():
        yield _family(CounterMetricFamily(f"livermore_exchange_{name}", meaning, labels=["exchange"]), healths, figure, 1)
    silence = GaugeMetricFamily(
        "livermore_exchange_oldest_stream_seconds", "Age of the last data of the stream that is worst off.", labels=["exchange"]
    )
    for health in healths:
        if health.get("oldest"):
            silence.add_metric([health["exchange"].pk], health["oldest"][0][2] / 1000)
    yield silence


def _figures() -> dict[Any, Any]:
    """What the delivery processes have counted; nothing where Redis is away."""
    try:
        return dict(bus.sync().hgetall(keys.delivery_figures()))
    except bus.FAILURES:
        return {}


def _of_deliveries(figures: dict[bytes, bytes], waiting: tuple[int, int | None]) -> Iterator[Metric]:
    """Of all delivery processes together: they count in Redis, and a Redis that starts anew counts from 0."""
    counted = {tuple(name.decode().split("|")): float(value) for name, value in figures.items()}
    ends = CounterMetricFamily("livermore_deliveries", "Attempts to send a message, by what became of them.", labels=["kind", "outcome"])
    dwell = HistogramMetricFamily(
        "livermore_delivery_dwell_seconds", "From the close of the candle until the other end has taken the message.", labels=["kind"]
    )
    for kind in Kind.values:
        for outcome in ("sent", "retried", "failed", "lost"):
            ends.add_metric([kind, outcome], counted.get((outcome, kind), 0.0))
        total, buckets = 0.0, []
        for bound in (*(f"{bound:g}" for bound in DWELL), "+Inf"):
            total += counted.get(("dwell", kind, bound), 0.0)
            buckets.append((bound, total))
        dwell.add_metric([kind], buckets, sum_value=counted.get(("dwell_sum", kind), 0.0))
    yield ends
    yield dwell
    rows, oldest = waiting
    yield GaugeMetricFamily("livermore_deliveries_waiting", "Messages that are due and have not been sent.", value=rows)
    age = 0.0 if oldest is None else max(0.0, (now_ms() - oldest) / 1000)
    yield GaugeMetricFamily("livermore_deliveries_oldest_seconds", "For how long the oldest of them has been due.", value=age)


def _family(family: Any, healths: list[dict[str, Any]], figure: str, unit: float) -> Metric:
    """What is not known is left out. A counter of a connector that has not counted yet is 0."""
    for health in healths:
        value = health.get(figure)
        if value is None and figure in COUNTERS and health.get("frames") is not None:
            value = 0
        if value is not None:
            family.add_metric([health["exchange"].pk], value * unit)
    return family


def _of_sockets(backlogs: list[tuple[int, int]]) -> Iterator[Metric]:
    yield GaugeMetricFamily("livermore_feed_sockets", "Pages that are connected to this process.", value=len(backlogs))
    waiting = [depth for depth, _ in backlogs]
    yield GaugeMetricFamily("livermore_feed_queued_messages", "Messages that wait, over all sockets of this process.", value=sum(waiting))
    yield GaugeMetricFamily(
        "livermore_feed_longest_queue_messages", "Messages that wait for the socket that is worst off.", value=max(waiting, default=0)
    )
    out = sum(out for _, out in backlogs)
    yield GaugeMetricFamily("livermore_feed_unacknowledged_frames", "Frames sent and not acknowledged, over all sockets.", value=out)


def _of_the_feed(feed: measures.Feed) -> Iterator[Metric]:
    """Since this process began."""
    for name, meaning, value in (
        ("livermore_feed_connections", "Sockets that were opened.", feed.opened),
        ("livermore_feed_frames_sent", "Frames put on sockets.", feed.frames),
        ("livermore_feed_conflated_messages", "Messages that a newer one replaced before they were sent.", feed.conflated),
        ("livermore_feed_too_slow_closes", "Sockets that were closed since they did not keep up.", feed.too_slow),
        ("livermore_feed_resumes", "Pages that came back and asked for what they had missed.", feed.resumes),
    ):
        yield CounterMetricFamily(name, meaning, value=value)
    yield exposition.histogram("livermore_feed_snapshot_seconds", "How long a page waited for its snapshot.", {(): feed.snapshot})
    yield exposition.histogram(
        "livermore_feed_publish_to_send_seconds",
        "From the publication of the oldest alert or candle in a frame until the frame was put on the socket.",
        {(kind,): timings for kind, timings in feed.sent.items()},
        labels=("kind",),
    )
    yield exposition.histogram(
        "livermore_feed_publish_to_acknowledge_seconds",
        "The same until the browser had acknowledged the frame, which pages do every few seconds only.",
        {(): feed.acknowledged},
    )


def _of_requests() -> Metric:
    return exposition.histogram(
        "livermore_http_request_duration_seconds",
        "How long an answer took, by the name of its view.",
        {(view, method, status): timings for (view, method, status), timings in list(measures.requests.items())},
        labels=("view", "method", "status"),
    )
