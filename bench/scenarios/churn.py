"""A fifth of the points replaced, ten times over: what a collection finds then, beside an index built anew.

A third of the rows go in; each round a fifth of what lives leaves, drawn at random, and as many rows enter
that were never there. Meanwhile the collection merges segments and extends indexes as it always does.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor
from nearfield.bench.datasets import Dataset
from nearfield.bench.ground_truth import exact_neighbours, recall_at_k
from nearfield.bench.harness import Reporter
from nearfield.bench.job import Job
from nearfield.bench.machine import load_average
from nearfield.bench.scenarios.embedded import BATCH, SETTLE_LIMIT_S, new_collection
from nearfield.engine import (
    Collection,
    Database,
    PointBatch,
    PointSelector,
    SearchParams,
    SearchRequest,
    VectorColumn,
)
from nearfield.engine.limits import SEARCH_BATCH_MAX
from nearfield.engine.schema import UNNAMED
from nearfield.index_builders import build_index

_ROUNDS: Final = 10
_REPLACED: Final = 0.2
_POINTS_MOST: Final = 40_000
_QUICK_POINTS: Final = 20_000
_QUERIES: Final = 1_000
_EFS: Final = (16, 32, 48, 96)
_OWN_EF: Final = 48
"""At which every point is searched for by its own vector."""

Search = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""The rows [nq, k] that queries find, by `ef`."""


def measure_churn(job: Job, competitors: Sequence[Competitor], reporter: Reporter) -> None:
    """Churn a collection in a temporary directory, then search it and an index over the rows that are left.

    Nothing but our own collection is measured: `competitors` is not looked at.
    """
    dataset, plan = job.source.load(truth=False), job.plan
    most = _QUICK_POINTS if plan.quick else _POINTS_MOST
    count = min(int(dataset.count / (1 + _ROUNDS * _REPLACED)), most)
    queries = dataset.queries[:_QUERIES]
    reporter.stage("churn", _ROUNDS + 4)
    with (
        tempfile.TemporaryDirectory(prefix="nearfield-bench-") as directory,
        Database.open(Path(directory)) as database,
        job.writer(dataset) as writer,
    ):
        collection = new_collection(database, dataset)
        live = _churned(collection, dataset, count, reporter)
        rows = np.ascontiguousarray(dataset.base[live])
        fresh = build_index(rows, metric=dataset.metric, threads=plan.threads, seed=1)
        reporter.step("built anew")
        own = rows.astype(np.float32)
        truth, nearest = (exact_neighbours(rows, each, dataset.metric, plan.k)[0] for each in (queries, own))

        def of_collection(queries: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
            return _places(live, _ids(collection, queries, plan.k, ef))

        def of_fresh(queries: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
            return fresh.search(queries, plan.k, ef=ef, threads=plan.threads)[0]

        for index, search in (("churned", of_collection), ("built anew", of_fresh)):
            unfound = _unfound(search(own, _OWN_EF), nearest)
            for ef in _EFS:
                recall = recall_at_k(search(queries, ef), truth, None, plan.k)
                writer.write(
                    "churn", index=index, points=count, rounds=_ROUNDS, replaced=_REPLACED, ef=ef, k=plan.k,
                    recall=recall, unfound=unfound, own_ef=_OWN_EF, load=load_average(),
                )  # fmt: skip
            reporter.step(f"searched, {index}")


def _churned(collection: Collection, dataset: Dataset, count: int, reporter: Reporter) -> NDArray[np.int64]:
    """Fill the collection and churn it; the rows that live in the end, each the id of its point."""
    rng = np.random.default_rng(0)
    order = rng.permutation(dataset.count)
    live, waiting = order[:count], order[count:]
    _insert(collection, dataset, live)
    reporter.step(f"{count:,} points")
    for number in range(_ROUNDS):
        replaced = int(_REPLACED * count)
        live = rng.permutation(live)
        collection.delete(PointSelector(ids=live[:replaced].tolist()))
        enter, waiting = waiting[:replaced], waiting[replaced:]
        _insert(collection, dataset, enter)
        live = np.concatenate([live[replaced:], enter])
        reporter.step(f"round {number + 1}")
    return np.sort(live)


def _insert(collection: Collection, dataset: Dataset, rows: NDArray[np.int64]) -> None:
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        values = np.ascontiguousarray(dataset.base[part], np.float32)
        collection.upsert(PointBatch(part.tolist(), {UNNAMED: VectorColumn(values)}))
    collection.wait_settled(SETTLE_LIMIT_S)


def _ids(collection: Collection, queries: NDArray[np.float32], k: int, ef: int) -> NDArray[np.int64]:
    params = SearchParams(search={"ef": ef})
    ids = np.full((len(queries), k), -1, np.int64)
    requests = [SearchRequest(query, limit=k, params=params) for query in queries]
    for start in range(0, len(requests), SEARCH_BATCH_MAX):
        answers = collection.search(requests[start : start + SEARCH_BATCH_MAX])
        for query, hits in enumerate(answers, start):
            ids[query, : len(hits)] = [hit.record.id for hit in hits]
    return ids


def _places(live: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where ids lie in the ascending `live`, -1 for none."""
    return np.where(ids < 0, -1, np.searchsorted(live, ids))


def _unfound(found: NDArray[np.int64], nearest: NDArray[np.int64]) -> int:
    """Rows that are among their own k nearest, but were not found there."""
    own = np.arange(len(found))[:, None]
    return int(((nearest == own).any(axis=1) & (found != own).all(axis=1)).sum())
