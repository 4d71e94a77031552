"""What `/metrics` tells. One registry per application, so that several may live in one process."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from nearfield.engine.query import CollectionInfo

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_STATUSES: Final = ("green", "yellow", "red")


class Metrics:
    """Counters of one running server.

    Args:
        collections: called at each scrape; every open collection's name and state.
    """

    def __init__(self, collections: Callable[[], Iterable[tuple[str, CollectionInfo]]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "nearfield_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "nearfield_http_request_seconds",
            "Time from the head of a request to the end of its answer",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_progress = Gauge(
            "nearfield_http_requests_in_progress", "Requests being answered", registry=self._registry
        )
        self.body_bytes = Counter(
            "nearfield_http_request_body_bytes", "Bytes of request bodies read", registry=self._registry
        )
        self.search_batch = Histogram(
            "nearfield_search_batch_queries",
            "Queries answered by one search call",
            buckets=_BATCH_SIZES,
            registry=self._registry,
        )
        self.written_points = Counter(
            "nearfield_written_points", "Points of acknowledged upserts", registry=self._registry
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_Collections(collections))
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            children = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def text(self) -> bytes:
        """The scrape, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Collections:
    """Counts of every collection, taken when they are scraped."""

    def __init__(self, collections: Callable[[], Iterable[tuple[str, CollectionInfo]]]) -> None:
        self._collections = collections

    def collect(self) -> Iterable[Metric]:
        points = GaugeMetricFamily("nearfield_points", "Points", labels=["collection"])
        segments = GaugeMetricFamily("nearfield_segments", "Segments", labels=["collection"])
        indexed = GaugeMetricFamily(
            "nearfield_indexed_vectors", "Vectors covered by an index", labels=["collection"]
        )
        size = GaugeMetricFamily(
            "nearfield_bytes", "Bytes in memory and on disk", labels=["collection", "component"]
        )
        state = GaugeMetricFamily(
            "nearfield_collection_status", "1 for the state it is in", labels=["collection", "status"]
        )
        for name, info in self._collections():
            points.add_metric([name], info.points)
            segments.add_metric([name], info.segments)
            indexed.add_metric([name], info.indexed_vectors)
            for component, count in info.bytes.items():
                size.add_metric([name, component], count)
            for status in _STATUSES:
                state.add_metric([name, status], float(info.status == status))
        return points, segments, indexed, size, state

    def describe(self) -> Iterable[Metric]:
        return ()
