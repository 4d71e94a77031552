"""Indexes over part of the real data, large enough that graphs are walked, shared between tests."""

import functools

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders import Index, build_index
from tests.helpers import shared_data

NAMES = ("mnist-784-l2", "arxiv-minilm-384-ip")
ROWS, QUERIES = 12_000, 40


@functools.cache
def index(name: str, kind: str) -> Index:
    """Over the first rows of a data set; skips the test where it is not installed."""
    data = shared_data.load(name)
    return build_index(np.ascontiguousarray(data.base[:ROWS]), metric=data.metric, kind=kind)


@functools.cache
def queries_and_distances(name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Queries and all their distances, [QUERIES, ROWS]."""
    data = shared_data.load(name)
    rows, queries = data.base[:ROWS].astype(np.float64), data.queries[:QUERIES]
    products = queries.astype(np.float64) @ rows.T
    if data.metric == "ip":
        return queries, -products
    lengths = (queries.astype(np.float64) ** 2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)
    return queries, lengths - 2 * products  # whole numbers: exact
