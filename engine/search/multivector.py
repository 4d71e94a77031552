"""Exact search of documents of many vectors, for every distance; indexes over them fall back to it too."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Hits
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.schema import Distance
from nearfield.engine.search.maxsim import maxsim_scan
from nearfield.engine.segment import bitmap


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
    metric = "ip" if distance.larger_is_nearer else distance.metric
    return maxsim_scan(queries, query_offsets, documents, k, allow, threads, metric)
