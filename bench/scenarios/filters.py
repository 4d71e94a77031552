"""Filtered search through the embedded database, for data sets that come with filters and exact answers."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor
from nearfield.bench.datasets import Dataset, DatasetError
from nearfield.bench.harness import Reporter
from nearfield.bench.job import Job
from nearfield.bench.machine import load_average
from nearfield.bench.measure import percentiles_ms
from nearfield.bench.payloads import FILTERS, Payloads, filter_families, filter_quality
from nearfield.bench.scenarios.embedded import BATCH, SETTLE_LIMIT_S, new_collection
from nearfield.engine import Database
from nearfield.engine.collection import Collection
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.point import PointBatch, VectorColumn
from nearfield.engine.query import SearchRequest
from nearfield.engine.schema import UNNAMED

_QUERIES = 500
_QUICK_QUERIES = 100


def measure_filters(job: Job, competitors: Sequence[Competitor], reporter: Reporter) -> None:
    """Index the data set with its payloads in a temporary directory and run every filter family.

    Nothing but our own collection is measured: `competitors` is not looked at.

    Raises:
        DatasetError: the data set has no filters, or only some of its rows were loaded.
    """
    dataset, plan = job.source.load(), job.plan
    families = filter_families(dataset.folder)
    if not families or dataset.folder is None:
        raise DatasetError(
            f"{dataset.name} has no {FILTERS}; filtered search needs filters with exact answers"
        )
    payloads = Payloads(dataset.folder)
    with (
        tempfile.TemporaryDirectory(prefix="nearfield-bench-") as directory,
        Database.open(Path(directory)) as database,
        job.writer(dataset) as writer,
    ):
        collection = filled(database, dataset, payloads, reporter)
        queries = min(_QUICK_QUERIES if plan.quick else _QUERIES, len(dataset.queries))
        reporter.stage("filters", len(families) * plan.repeats)
        for repeat in range(plan.repeats):
            for family, conditions in families.items():
                filters = [payloads.wire_filter(of_query) for of_query in conditions[:queries]]
                found, latencies = _search(collection, dataset.queries, filters, plan.k)
                writer.write(
                    "filter",
                    via="embedded",
                    repeat=repeat,
                    qps=len(latencies) / (sum(latencies) / 1e9),
                    latency_ms=percentiles_ms(latencies),
                    load=load_average(),
                    **filter_quality(dataset.folder, payloads, family, conditions, found, plan.k),
                )
                reporter.step(family)


def filled(database: Database, dataset: Dataset, payloads: Payloads, reporter: Reporter) -> Collection:
    """A new collection with the data set's vectors and payloads, indexed."""
    collection = new_collection(database, dataset)
    reporter.stage("import", -(-dataset.count // BATCH) + 1)
    for start in range(0, dataset.count, BATCH):
        stop = min(start + BATCH, dataset.count)
        values = np.ascontiguousarray(dataset.base[start:stop], np.float32)
        rows = [orjson.dumps(payload) for payload in payloads.rows(start, stop)]
        collection.upsert(PointBatch(range(start, stop), {UNNAMED: VectorColumn(values)}, rows))
        reporter.step(f"{stop:,} points")
    collection.wait_settled(SETTLE_LIMIT_S)
    reporter.step("indexed")
    return collection


def _search(
    collection: Collection, queries: NDArray[np.float32], filters: Sequence[dict[str, Any]], k: int
) -> tuple[NDArray[np.int64], list[int]]:
    """One query per call: ids [nq, k] padded with -1, and nanoseconds per call, filter parsing included."""
    found = np.full((len(filters), k), -1, np.int64)
    latencies: list[int] = []
    collection.search(
        [SearchRequest(queries[0], limit=k, filter=parse_filter(filters[0]))]
    )  # builds field indexes
    for index, wire in enumerate(filters):
        start = time.perf_counter_ns()
        hits = collection.search([SearchRequest(queries[index], limit=k, filter=parse_filter(wire))])[0]
        latencies.append(time.perf_counter_ns() - start)
        found[index, : len(hits)] = [hit.record.id for hit in hits]
    return found, latencies
