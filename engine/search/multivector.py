"""Exact search of documents of many vectors, for every distance; indexes over them fall back to it too."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Hits
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.schema import Distance
from nearfield.engine.search.maxsim import maxsim_scan
from nearfield.engine.search.scan import exact_distances
from nearfield.engine.segment import bitmap

_SCAN_TOKENS: Final = 2**16
"""Tokens compared at a time where there is no kernel of their own."""


def scan_documents(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    distance: Distance,
    k: int,
    allow: bitmap.Words | None = None,
    threads: int = 1,
) -> Hits:
    """The exact k best allowed documents of each query.

    Args:
        queries: float32 [t, d], the tokens of all queries, back to back; of unit length for Cosine.
        query_offsets: int64 [nq + 1].
        documents: stored documents; those without tokens are never found.
        allow: bitmap of documents; None allows all.

    Returns:
        Hits [nq, k], padded with -1 and +inf. A distance is, summed over the query's tokens: the negative
        of the largest inner product with a token of the document (Dot, Cosine), the smallest squared
        Euclidean distance (Euclid), or the smallest sum of absolute differences (Manhattan).
    """
    if distance.larger_is_nearer:
        return maxsim_scan(queries, query_offsets, documents, k, allow, threads)
    bounds = documents.bounds()
    wanted = bitmap.positions(allow, documents.count)
    wanted = wanted[bounds[wanted + 1] > bounds[wanted]]
    sums = np.zeros((len(query_offsets) - 1, len(wanted)), dtype=np.float32)
    step = max(1, _SCAN_TOKENS * documents.count // max(documents.token_count, 1))
    for start in range(0, len(wanted), step):
        part = documents.take(wanted[start : start + step])
        sums[:, start : start + step] = _nearest_token_sums(queries, query_offsets, part, distance.metric)
    order = np.argsort(sums, axis=1, kind="stable")[:, :k]
    rows = np.full((len(sums), k), -1, dtype=np.int64)
    distances = np.full((len(sums), k), np.inf, dtype=np.float32)
    rows[:, : order.shape[1]] = wanted[order]
    distances[:, : order.shape[1]] = np.take_along_axis(sums, order, axis=1)
    return Hits(rows, distances)


def _nearest_token_sums(
    queries: NDArray[np.float32], query_offsets: NDArray[np.int64], documents: TokenRows, metric: str
) -> NDArray[np.float32]:
    """float32 [nq, n]: distances of queries to documents that all have tokens."""
    every, starts = np.arange(documents.token_count), documents.bounds()[:-1]
    sums = np.zeros((len(query_offsets) - 1, documents.count), dtype=np.float32)
    for query, first in enumerate(query_offsets[:-1].tolist()):
        for token in queries[first : query_offsets[query + 1]]:
            sums[query] += np.minimum.reduceat(
                exact_distances(token, documents.values, every, metric), starts
            )
    return sums
