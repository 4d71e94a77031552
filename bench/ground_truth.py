"""Exact answers, and how much of them an index found."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.machine import available_cores
from nearfield.index_builders import build_index

_TIE = 1e-6
"""Relative difference of two scores below which they count as equal."""


def exact_neighbours(
    base: NDArray[Any], queries: NDArray[np.float32], metric: str, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest rows of every query by an exhaustive scan: ids int64, distances float32, both [nq, k]."""
    index = build_index(base, metric=metric, kind="flat", threads=available_cores())
    ids, distances = index.search(queries, k=k, threads=available_cores())
    return ids, distances


def recall_at_k(
    found: NDArray[Any], truth_ids: NDArray[np.int64], truth_scores: NDArray[np.float32] | None, k: int
) -> float:
    """Mean share of the k true neighbours among the k found, over all queries.

    A found row counts when it is as near as the true k-th (ties at rank k are all right answers). Where fewer
    than k rows qualify (padded ground truth), the share is of those; queries with no answer are left out.

    Args:
        found: [nq, >=k] row numbers, -1 pads.
        truth_ids: [nq, w >= k] exact row numbers, nearest first, -1 pads.
        truth_scores: [nq, w], or None to ignore ties.

    Raises:
        ValueError: the ground truth is narrower than k.
    """
    if truth_ids.shape[1] < k:
        raise ValueError(f"recall@{k} needs ground truth of {k} columns, got {truth_ids.shape[1]}")
    right = truth_ids >= 0
    if truth_scores is None:
        right[:, k:] = False
    else:
        kth = truth_scores[:, k - 1 : k]
        tied = np.abs(truth_scores - kth) <= _TIE * np.abs(kth)
        tied[:, :k] = True
        right &= tied
    width = int(np.flatnonzero(right.any(axis=0))[-1]) + 1 if right.any() else 0
    right, ids = right[:, :width], truth_ids[:, :width]
    possible = np.minimum(right.sum(axis=1), k)
    present = (ids[:, :, None] == found[:, None, :k]).any(axis=2)
    hits = np.minimum((present & right).sum(axis=1), k)
    answered = possible > 0
    return float(np.mean(hits[answered] / possible[answered])) if answered.any() else 1.0
