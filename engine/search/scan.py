"""Exact distances: the one place that maps our metrics onto the native scan. Indexes fall back to it too."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import Hits, Rows
from nearfield.engine.thread_pools import shared_pool


def normalized(queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy of queries [nq, d] with unit rows; zero rows stay zero."""
    copy = queries.copy()
    _native.normalize_rows(copy)
    return copy


def scan(
    queries: NDArray[np.float32],
    rows: Rows,
    metric: str,
    k: int,
    allow: NDArray[np.uint64] | None = None,
    row_scale: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> Hits:
    """The exact k nearest allowed rows of each query.

    Args:
        queries: float32 [nq, d]; for cosine of any length.
        rows: [n, d], stored dtype; for cosine of unit length, unless `row_scale` makes them so.
        metric: `l2`, `ip`, `cosine` or `l1`.
        allow: uint64 [ceil(n / 64)] bitmap; None allows all.
        row_scale: float32 [n], inverse norms; cosine only.
        threads: native threads.

    Returns:
        Hits [nq, k], padded with -1 and +inf.
    """
    if metric != "cosine":
        return Hits(
            *_native.flat_search(queries, rows, metric, k, allow, None, threads, shared_pool(threads))
        )
    found, distances = _native.flat_search(
        normalized(queries), rows, "ip", k, allow, row_scale, threads, shared_pool(threads)
    )
    return cosine_hits(found, distances)


def cosine_hits(rows: NDArray[np.int64], products: NDArray[np.float32]) -> Hits:
    """Hits by cosine distance from hits by negated product: adding 1 rounds, and ties go by row.

    Args:
        rows: int64 [nq, k], -1 pads.
        products: float32 [nq, k], ascending, +inf pads; becomes the distances.
    """
    products += 1.0
    tied = (products[:, 1:] == products[:, :-1]) & (rows[:, 1:] < rows[:, :-1])
    for query in np.flatnonzero(tied.any(axis=1)):
        order = np.lexsort((rows[query], products[query]))
        rows[query], products[query] = rows[query, order], products[query, order]
    return Hits(rows, products)


def exact_distances(
    query: NDArray[np.float32],
    rows: Rows,
    offsets: NDArray[np.int64],
    metric: str,
    row_scale: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Distances of one query [d] to rows[offsets], float32 [m], bit-identical to those of `scan`.

    For cosine the query must be normalised.
    """
    if metric != "cosine":
        return _native.gather_distances(query, rows, offsets, metric)
    distances = _native.gather_distances(query, rows, offsets, "ip", row_scale)
    distances += 1.0
    return distances
