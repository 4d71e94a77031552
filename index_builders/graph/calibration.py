"""What searches of a built graph tell: how wide to walk for hard queries, and the recall at each `ef`."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.calibration import Calibration, K
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.base_rows import BaseRows, report
from nearfield.index_builders.graph.adaptive_window import PROBE, RANKS, AdaptiveWindow
from nearfield.index_builders.graph.index import GraphIndex
from nearfield.index_builders.graph.ways import CALIBRATED_ROWS_MIN

_LADDER: Final = (10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)
_ASSURED_ENOUGH: Final = 0.996
_QUERIES: Final = 300
_TRAINING_QUERIES_MIN: Final = 100
_TRUTH_BLOCK: Final = 100
_MIRROR_EF: Final = 96
_AROUND: Final = (*range(1, K + 1), 16, 24, 32, 48, 64)
"""Which of the nearest rows tell what lies around a row."""
_COPY_MOST: Final = 1 / 16
"""Of the squared distance to the last of those: what is nearer is a copy that hardly differs."""
_ADAPTING_QUERIES: Final = 2_000
_ADAPTING_QUERIES_MIN: Final = 200
_ADAPTING_BLOCK: Final = 500
_WIDE_EF: Final = 200
"""A walk so wide that hardly anything is missed."""


def adaptive_window(index: GraphIndex, base: BaseRows, context: BuildContext) -> AdaptiveWindow | None:
    """How windows should differ between queries; what the index knows already without training queries.

    Asks at most 2,000 of them. The outcome depends on the seed, not on the number of threads.

    Raises:
        Cancelled: the context was cancelled.
    """
    training = context.training_queries
    if training is None or len(training) < _ADAPTING_QUERIES_MIN or base.count < CALIBRATED_ROWS_MIN:
        return index.adaptive
    if not index.weighs_by_length:
        return None
    rng = np.random.default_rng(context.seed)
    picked = np.sort(rng.permutation(len(training))[:_ADAPTING_QUERIES])
    distances, missed = [], []
    for start in range(0, len(picked), _ADAPTING_BLOCK):
        report(context, 1.0)
        queries = training[picked[start : start + _ADAPTING_BLOCK]]
        weights = np.ones(len(queries))
        if base.metric != "l2":
            weights = np.linalg.norm(base.prepared(queries), axis=1).astype(np.float64)
            queries, weights = queries[weights > 0], weights[weights > 0]
        narrow = index.search_points(queries, PROBE, PROBE, context.threads, by_codes=True)
        wide = index.search_points(queries, K, _WIDE_EF, context.threads)
        distances.append(narrow.distances[:, RANKS] / weights[:, None])
        missed.append((wide.rows[:, :, None] != narrow.rows[:, None, :]).all(axis=2).sum(axis=1))
    return AdaptiveWindow.learn(np.concatenate(distances), np.concatenate(missed).astype(np.float64))


def calibrate(index: GraphIndex, base: BaseRows, context: BuildContext) -> Calibration | None:
    """The recall of an index by `ef`; None where there are too few rows to need it.

    Asks 300 of the training queries, if there are at least 100. Otherwise 300 rows, each mirrored at one of
    its ten nearest neighbours: a row itself is much easier than a real query, because the search meets its
    own node, whose links lead to the answer; twice the row less its neighbour is as near to the data as
    queries are, and harder than most. Decision 0015 has all three compared. See `_mirrored` for near copies.

    Widths grow until a recall of 0.996 is assured. Equal distances count as found. The outcome depends on
    the seed, not on the number of threads.

    Raises:
        Cancelled: the context was cancelled.
    """
    if base.count < CALIBRATED_ROWS_MIN:
        return None
    sample, queries = _sample(index, base, context)
    worst = _worst_true_distances(base, queries, context)
    found: dict[int, NDArray[np.float64]] = {}
    for ef in _LADDER:
        report(context, 1.0)
        hits = index.search(queries, K, {"ef": ef, "threads": context.threads})
        found[ef] = (hits.distances <= worst).mean(axis=1)
        calibration = Calibration.of(sample, found)
        if calibration.reaches(_ASSURED_ENOUGH):
            break
    return calibration


def _sample(index: GraphIndex, base: BaseRows, context: BuildContext) -> tuple[str, NDArray[np.float32]]:
    """What is asked, float32 [q, d], and its name; see Calibration."""
    rng = np.random.default_rng(context.seed)
    training = context.training_queries
    if training is not None and len(training) >= _TRAINING_QUERIES_MIN:
        picked = rng.choice(len(training), min(_QUERIES, len(training)), replace=False)
        return "training_queries", np.ascontiguousarray(training[np.sort(picked)])
    picked = np.sort(rng.choice(base.count, min(_QUERIES, base.count), replace=False))
    most = min(_AROUND[-1] + 1, base.count)
    near = index.search(base.block(picked), most, {"ef": _MIRROR_EF, "threads": context.threads}).rows
    # The row itself is mostly the first: it is left out by taking the places after it.
    columns = [column for column in _AROUND if column < most]
    around = zip(picked, near[:, columns], strict=True)
    return "mirrored_rows", np.stack([_mirrored(base.block(np.append(*each)), rng) for each in around])


def _mirrored(vectors: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A row, vectors[0], mirrored at one of the ten nearest that follow, float32 [d], but not at a near copy.

    Where most of these are copies they would be all the answer, near beside what else there is. Then a third
    row is mirrored at the middle of the row and another, none of them copies of each other.
    """
    squares = np.square(vectors[1:] - vectors[0]).sum(axis=1)
    copy = _COPY_MOST * squares[-1]
    mirrors = np.flatnonzero(squares[:K] >= copy)
    if 2 * len(mirrors) >= min(K, len(squares)):
        at = vectors[1 + mirrors[int(rng.integers(len(mirrors)))]]
        return np.asarray(2 * vectors[0] - at, dtype=np.float32)
    others: list[NDArray[np.float32]] = []
    for vector in vectors[1:]:
        if all(np.square(vector - other).sum() >= copy for other in (vectors[0], *others)):
            others.append(vector)
    if len(others) < 2:
        return np.asarray(2 * vectors[0] - vectors[-1], dtype=np.float32)
    second, third = rng.choice(len(others), 2, replace=False)
    return np.asarray(vectors[0] + others[second] - others[third], dtype=np.float32)


def _worst_true_distances(
    base: BaseRows, queries: NDArray[np.float32], context: BuildContext
) -> NDArray[np.float32]:
    """float32 [q, 1], distances of the K-th nearest rows, block by block so that a cancelled build stops."""
    worst = []
    for start in range(0, len(queries), _TRUTH_BLOCK):
        report(context, 1.0)
        worst.append(base.scan(queries[start : start + _TRUTH_BLOCK], K, None, context.threads).distances)
    return np.concatenate(worst)[:, -1:]
