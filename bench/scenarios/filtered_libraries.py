"""Filtered search of indexes by themselves, ours and the peers', on data sets with filters and exact answers.

Every library gets the qualifying rows in the form it wants, made before the clock starts: what is timed
is the search alone. Ours take a bitmap; hnswlib filters by deletion marks, which is its own filter
without a call of Python for every candidate; faiss HNSW and IVF by `IDSelectorBitmap`; `faiss-flat`, the
exhaustive scan, by `IDSelectorArray`, so that it reads the qualifying rows alone. Queries are given one
per call, since every query has its own filter, then in one call per distinct filter, on one thread. After
the first round, which finds the settings worth it, the libraries take turns setting by setting.
"""

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters import BASELINE
from nearfield.bench.adapters.base import Competitor, FilteredAdapter, Params, Shape
from nearfield.bench.datasets import Dataset
from nearfield.bench.ground_truth import recall_at_k
from nearfield.bench.harness import Reporter
from nearfield.bench.isolate import isolated
from nearfield.bench.job import Job
from nearfield.bench.libraries import build_missing, cached_indexes, competitor_named
from nearfield.bench.machine import load_average
from nearfield.bench.payloads import Payloads, filter_families, filter_truth
from nearfield.bench.records import RecordWriter

_ENOUGH = 0.99
"""Recall from which larger search parameters are not tried any more."""
_QUERIES = 300
_QUICK_QUERIES = 50
_SLOWEST_S = 3.0
"""A setting that takes longer than this for one pass ends the grid of its index."""
_LOWEST = 0.85
"""Settings of less recall are run once only."""
_COMPETITORS = (
    "nearfield-auto", "nearfield-leanvec", "nearfield-hnsw", BASELINE, "faiss-hnsw", "faiss-ivf",
    "faiss-ivf-pq-fs", "faiss-flat",
)  # fmt: skip
"""Those that take filters and are measured, in order."""


@dataclass(frozen=True)
class _Opened:
    competitor: Competitor
    build: Params
    adapter: FilteredAdapter
    searches: Sequence[Params]


@dataclass(frozen=True)
class _Group:
    """Queries (by number) that share a filter."""

    queries: NDArray[np.int64]
    allowed: NDArray[np.bool_]


@dataclass(frozen=True)
class _Family:
    name: str
    groups: Sequence[_Group]
    truth: NDArray[np.int64]
    selectivity: float


@dataclass(frozen=True)
class _Pass:
    """Answers of all queries of a family with one setting, and what they took.

    Args:
        seconds: by mode, `single` or `batch`.
    """

    found: NDArray[np.int64]
    seconds: Mapping[str, float]


def measure_filtered_libraries(job: Job, competitors: Sequence[Competitor], reporter: Reporter) -> None:
    """Build what takes filters, and run every filter family over all of it in interleaved rounds."""
    dataset = job.source.load(truth=False)
    wanted = {competitor.name: competitor for competitor in competitors}
    chosen = [wanted[name] for name in _COMPETITORS if name in wanted]
    indexes = [
        index
        for competitor in chosen
        for index in build_missing(job, dataset, [competitor], reporter, reuse=True)
    ]
    for family in filter_families(dataset.folder):
        isolated(run_family, job, family, [competitor.name for competitor in chosen], reporter=reporter)
    if not job.resume:
        for index in indexes:
            index.remove()


def run_family(job: Job, name: str, competitors: Sequence[str], reporter: Reporter) -> None:
    """Time one filter family over the built indexes of some competitors."""
    dataset, plan = job.source.load(), job.plan
    family = _family(job, dataset, name)
    shape = Shape(dataset.count, dataset.dimensions, plan.quick)
    opened = [
        _Opened(
            index.competitor,
            index.params,
            cast(FilteredAdapter, index.open(dataset)),
            index.competitor.searches(shape, index.params),
        )
        for competitor in competitors
        for index in cached_indexes(job, dataset, [competitor_named(competitor)])
        if index.facts() is not None
    ]
    reporter.stage(f"filter {name}", len(opened) + plan.repeats - 1)
    tried: dict[int, list[Params]] = {}
    with job.writer(dataset) as writer:
        for number, index in enumerate(opened):
            tried[number] = _try_grid(dataset, family, index, plan.k, writer)
            reporter.step(f"{index.competitor.name}")
        for repeat in range(1, plan.repeats):
            for turn in zip_longest(*tried.values()):
                for index, params in zip(opened, turn, strict=True):
                    if params is not None:
                        passed = _run(dataset, family, index, params, plan.k)
                        _record(writer, family, index, params, plan.k, repeat, passed)
            reporter.step(f"round {repeat + 1}")


def _family(job: Job, dataset: Dataset, name: str) -> _Family:
    assert dataset.folder is not None
    conditions = filter_families(dataset.folder)[name]
    payloads = Payloads(dataset.folder)
    count = min(_QUICK_QUERIES if job.plan.quick else _QUERIES, len(dataset.queries))
    members: dict[str, list[int]] = defaultdict(list)
    for query in range(count):
        members[json.dumps(conditions[query])].append(query)
    groups = [
        _Group(np.array(queries), payloads.qualifying(conditions[queries[0]])) for queries in members.values()
    ]
    selectivity = sum(float(g.allowed.mean()) * len(g.queries) for g in groups) / count
    return _Family(name, groups, filter_truth(dataset.folder, name)[:count], selectivity)


def _try_grid(
    dataset: Dataset, family: _Family, index: _Opened, k: int, writer: RecordWriter
) -> list[Params]:
    """The first round; returns the settings that were worth it.

    A pass before it is not timed: pages that nobody has read and what a library makes once are no search's.
    """
    tried: list[Params] = []
    _run(dataset, family, index, index.searches[0], k)
    for params in index.searches:
        passed = _run(dataset, family, index, params, k)
        recall = _record(writer, family, index, params, k, 0, passed)
        if recall >= _LOWEST:
            tried.append(params)
        if recall >= _ENOUGH or passed.seconds["single"] > _SLOWEST_S:
            break
    return tried


def _run(dataset: Dataset, family: _Family, index: _Opened, params: Params, k: int) -> _Pass:
    adapter = index.adapter
    adapter.set_query_arguments(params, 1)
    found = np.full((len(family.truth), k), -1, np.int64)
    spent = {"single": 0.0, "batch": 0.0}
    for group in family.groups:
        adapter.set_filter(group.allowed)
        queries = np.ascontiguousarray(dataset.queries[group.queries])
        # A batch first would leave the rows of this filter in the cache.
        for number, vector in zip(group.queries, queries, strict=True):
            start = time.perf_counter()
            answer = adapter.query(vector, k)
            spent["single"] += time.perf_counter() - start
            found[number] = answer
        start = time.perf_counter()
        adapter.batch_query(queries, k)
        spent["batch"] += time.perf_counter() - start
    return _Pass(found, spent)


def _record(
    writer: RecordWriter, family: _Family, index: _Opened, params: Params, k: int, repeat: int, passed: _Pass
) -> float:
    recall = recall_at_k(passed.found, family.truth, None, k)
    expected = np.minimum((family.truth >= 0).sum(axis=1), k)
    for mode, seconds in passed.seconds.items():
        writer.write(
            "filtered",
            family=family.name,
            competitor=index.competitor.name,
            ours=index.competitor.ours,
            build=dict(index.build),
            search=dict(params),
            k=k,
            mode=mode,
            threads=1,
            repeat=repeat,
            qps=len(passed.found) / seconds,
            recall=recall,
            queries=len(passed.found),
            filters=len(family.groups),
            selectivity=family.selectivity,
            short_answers=int(((passed.found >= 0).sum(axis=1) < expected).sum()),
            load=load_average(),
        )
    return recall
