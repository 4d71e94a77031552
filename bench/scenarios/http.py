"""A running server under a closed loop of clients: import rate, then speed, latency and recall of queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from nearfield.bench.datasets import Dataset
from nearfield.bench.ground_truth import recall_at_k
from nearfield.bench.harness import Plan, Reporter
from nearfield.bench.load.closed_loop import LoadError, LoadResult, closed_loop, http_request
from nearfield.bench.machine import available_cores, load_average
from nearfield.bench.measure import percentiles_ms
from nearfield.bench.payloads import Payloads, filter_families, filter_quality
from nearfield.bench.records import RecordWriter
from nearfield.bench.scenarios.http_import import import_points

_FILTER_QUERIES = 500

_SEARCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("default parameters", {}),
    ("ef 32", {"hnsw_ef": 32}),
    ("ef 64", {"hnsw_ef": 64}),
    ("ef 128", {"hnsw_ef": 128}),
    ("ef 256", {"hnsw_ef": 256}),
    ("exact", {"exact": True}),
)
_QUICK_SEARCHES = (_SEARCHES[0], _SEARCHES[-1])


@dataclass(frozen=True)
class HttpTarget:
    """A running server, and how hard to drive it.

    Args:
        url: `http://host:port`.
        clients: keep-alive connections.
        seconds: wall seconds of one closed loop.
    """

    url: str
    clients: int = 8
    api_key: str | None = None
    seconds: float = 5.0

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"api-key": self.api_key} if self.api_key else {}


def measure_http(
    dataset: Dataset,
    target: HttpTarget,
    plan: Plan,
    writer: RecordWriter,
    reporter: Reporter,
    *,
    filters: bool = False,
) -> None:
    """Import the data set (unless the collection holds it already), query it, and write records.

    Raises:
        LoadError: the server cannot be reached or refuses a request.
    """
    payloads = (
        Payloads(dataset.folder) if filters and dataset.folder and filter_families(dataset.folder) else None
    )
    name = f"bench-{dataset.name}" + ("" if payloads is None else "-payload")
    with httpx.Client(base_url=target.url, headers=target.headers, timeout=300) as client:
        try:
            import_points(client, name, dataset, payloads, writer, reporter)
            _search(dataset, target, name, plan, writer, reporter)
            if payloads is not None:
                _filtered(dataset, target, name, payloads, plan, writer, reporter)
        except httpx.HTTPError as error:
            raise LoadError(f"{target.url}: {type(error).__name__} {error}") from error


def _search(
    dataset: Dataset, target: HttpTarget, name: str, plan: Plan, writer: RecordWriter, reporter: Reporter
) -> None:
    searches = _QUICK_SEARCHES if plan.quick else _SEARCHES
    reporter.stage("queries", len(searches) * plan.repeats)
    for repeat in range(plan.repeats):
        for label, params in searches:
            result, count = _query_loop(dataset, target, name, plan.k, [params] * len(dataset.queries), None)
            scores = None if dataset.truth_scores is None else dataset.truth_scores[:count]
            writer.write(
                "http",
                label=label,
                params=params,
                repeat=repeat,
                k=plan.k,
                clients=target.clients,
                recall=recall_at_k(_hits(result, count, plan.k), dataset.truth_ids[:count], scores, plan.k),
                qps=result.rate,
                latency_ms=percentiles_ms(result.latencies_ns),
                load=load_average(),
            )
            reporter.step(label)


def _filtered(
    dataset: Dataset,
    target: HttpTarget,
    name: str,
    payloads: Payloads,
    plan: Plan,
    writer: RecordWriter,
    reporter: Reporter,
) -> None:
    if dataset.folder is None:
        return
    families = filter_families(dataset.folder)
    reporter.stage("filters", len(families))
    for family, conditions in families.items():
        wanted = conditions[: min(len(dataset.queries), _FILTER_QUERIES)]
        filters = [payloads.wire_filter(of_query) for of_query in wanted]
        result, count = _query_loop(dataset, target, name, plan.k, [{}] * len(filters), filters)
        writer.write(
            "filter",
            via="http",
            repeat=0,
            clients=target.clients,
            qps=result.rate,
            latency_ms=percentiles_ms(result.latencies_ns),
            load=load_average(),
            **filter_quality(
                dataset.folder, payloads, family, conditions, _hits(result, count, plan.k), plan.k
            ),
        )
        reporter.step(family)


def _query_loop(
    dataset: Dataset,
    target: HttpTarget,
    name: str,
    k: int,
    params: Sequence[Mapping[str, Any]],
    filters: Sequence[Mapping[str, Any]] | None,
) -> tuple[LoadResult, int]:
    """One closed loop of queries; returns what it saw and how many of the first queries were answered."""
    path = f"/collections/{name}/points/query"
    requests = []
    for index, knobs in enumerate(params):
        body: dict[str, Any] = {"query": dataset.queries[index], "limit": k}
        if knobs:
            body["params"] = knobs
        if filters is not None:
            body["filter"] = filters[index]
        encoded = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        requests.append(http_request(target.url, "POST", path, encoded, target.headers))
    processes = max(1, available_cores() // 4)
    result = closed_loop(
        target.url, requests, target.clients, target.seconds, processes=processes, at_least_once=False
    )
    if set(result.statuses) != {200}:
        refused = next(body for body in result.bodies.values() if b'"ok"' not in body)
        raise LoadError(f"{path}: statuses {dict(result.statuses)}, such as {refused[:300]!r}")
    answered = next((i for i in range(len(requests)) if i not in result.bodies), len(requests))
    return result, answered


def _hits(result: LoadResult, count: int, k: int) -> NDArray[np.int64]:
    """Row numbers int64 [count, k] of the first queries' answers, -1 pads."""
    found = np.full((count, k), -1, np.int64)
    for index in range(count):
        ids = [point["id"] for point in orjson.loads(result.bodies[index])["result"]["points"]]
        found[index, : len(ids)] = ids
    return found
