"""What a process has counted, in the text format of Prometheus: what every process of ours tells, and the helpers for what each adds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from platform import python_version

from django.conf import settings
from prometheus_client import GC_COLLECTOR, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from livermore import measures
from livermore.measures import Timings

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
Collect = Callable[[], Iterable[Metric]]


def text(*collects: Collect) -> bytes:
    """All that these tell, and what every process tells, as /metrics answers it."""
    registry = CollectorRegistry()
    registry.register(_Collector(collects))
    return generate_latest(registry)


class _Collector:
    """Of one answer: everything is read when it is asked for."""

    def __init__(self, collects: Iterable[Collect]) -> None:
        self._collects = collects

    def collect(self) -> Iterator[Metric]:
        for collect in (*self._collects, of_the_process):
            yield from collect()

    def describe(self) -> Iterable[Metric]:
        return []


def histogram(name: str, meaning: str, found: Mapping[tuple[str, ...], Timings], labels: tuple[str, ...] = ()) -> Metric:
    """A histogram of each combination of label values."""
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for values, timings in found.items():
        total, buckets = 0, []
        for bound, count in zip((*(f"{bound:g}" for bound in timings.bounds), "+Inf"), list(timings.counts), strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(list(values), buckets, sum_value=timings.sum)
    return family


@cache
def _process() -> ProcessCollector:
    return ProcessCollector(registry=None)


def of_the_process() -> Iterator[Metric]:
    """Memory, processor time and descriptors (on Linux), garbage collection, the event loop, and the database's answers."""
    yield from _process().collect()
    yield from GC_COLLECTOR.collect()
    yield InfoMetricFamily(
        "livermore_build", "What runs.", value={"version": settings.SPECTACULAR_SETTINGS["VERSION"], "python": python_version()}
    )
    yield histogram(
        "livermore_event_loop_lag_seconds", "How late the event loop was, looked at twice a second.", {(): measures.lag.timings}
    )
    yield histogram("livermore_database_query_seconds", "How long the database took for one statement.", {(): measures.queries})
