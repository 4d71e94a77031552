"""Exact distances: the one place that maps our metrics onto the native scan. Indexes fall back to it too."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import Hits, Rows
from nearfield.engine.thread_pools import shared_pool


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
        _native.unit_rows(queries), rows, "ip", k, allow, row_scale, threads, shared_pool(threads)
    )
    _native.cosine_hits(found, distances)
    return Hits(found, distances)


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
