"""Exact MaxSim: sum over the query's tokens of the largest inner product with any token of the document."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import Hits
from nearfield.engine.multivector.carving import carve_queries
from nearfield.engine.multivector.token_rows import TokenRows


def maxsim_scan(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    k: int,
    allow: NDArray[np.uint64] | None = None,
    threads: int = 1,
    metric: str = "ip",
) -> Hits:
    """The exact k best allowed documents of each query.

    Args:
        queries: float32 [Q, d], the tokens of all queries back to back.
        query_offsets: int64 [nq + 1]: query i is queries[query_offsets[i]:query_offsets[i + 1]].
        documents: any encoding; codes are scored as what they stand for.
        k: at least 1.
        allow: uint64 [ceil(n / 64)] bitmap of documents; None allows all.
        threads: native threads; the result does not depend on them.
        metric: `ip`; or, for tokens that are numbers, `l2` or `l1`: a similarity is then the negative
            squared Euclidean distance or the negative sum of absolute differences.

    Returns:
        Hits [nq, k], distances = -MaxSim, padded with -1 and +inf. Empty documents are never returned.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """
    found = _native.maxsim_search(queries, query_offsets, *_arguments(documents), k, allow, metric, threads)
    return Hits(*found)


def maxsim_rerank(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    candidates: NDArray[np.int64],
    k: int,
    threads: int = 1,
    carve: float | None = None,
) -> Hits:
    """The k best of each query's candidates, as `maxsim_scan` over those alone.

    Args:
        queries, query_offsets, documents, k, threads: as in `maxsim_scan`.
        candidates: int64 [nq, c] documents, padded with -1; one named twice counts once.
        carve: threshold of `carve_queries`, which makes distances upper bounds of -MaxSim; None ranks by
            MaxSim itself.

    Returns:
        Hits [nq, k].
    """
    if carve is not None:
        queries, query_offsets = carve_queries(queries, query_offsets, carve)
    return Hits(
        *_native.maxsim_rerank(queries, query_offsets, *_arguments(documents), candidates, k, threads)
    )


def maxsim_scores(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    candidates: NDArray[np.int64],
    threads: int = 1,
) -> NDArray[np.float32]:
    """MaxSim of each query with its candidates.

    Args:
        queries, query_offsets, documents, threads: as in `maxsim_scan`.
        candidates: int64 [nq, c] documents, padded with -1.

    Returns:
        float32 [nq, c]; -inf for pads and empty documents.
    """
    return _native.maxsim_scores(queries, query_offsets, *_arguments(documents), candidates, threads)


def _arguments(documents: TokenRows) -> tuple[Any, str, NDArray[np.int64] | None, int]:
    """Documents as the native functions take them."""
    return documents.values, documents.encoding.value, documents.offsets, documents.tokens_per_document
