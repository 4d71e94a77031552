"""Exact MaxSim: sum over the query's tokens of the largest inner product with any token of the document."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Hits
from nearfield.engine.multivector.token_rows import TokenRows


def maxsim_scan(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    k: int,
    allow: NDArray[np.uint64] | None = None,
    threads: int = 1,
) -> Hits:
    """The exact k best allowed documents of each query.

    Args:
        queries: float32 [Q, d], the tokens of all queries back to back.
        query_offsets: int64 [nq + 1]: query i is queries[query_offsets[i]:query_offsets[i + 1]].
        documents: any encoding; codes are scored as what they stand for.
        k: at least 1.
        allow: uint64 [ceil(n / 64)] bitmap of documents; None allows all.
        threads: native threads; the result does not depend on them.

    Returns:
        Hits [nq, k], distances = -MaxSim, padded with -1 and +inf. Empty documents are never returned.
    """
    every = np.arange(documents.count, dtype=np.int64)
    if allow is not None:
        bits = np.unpackbits(allow.view(np.uint8), bitorder="little")[: documents.count]
        every = every[bits.astype(np.bool_)]
    candidates = np.broadcast_to(every, (len(query_offsets) - 1, len(every)))
    return maxsim_rerank(queries, query_offsets, documents, candidates, k, threads)


def maxsim_rerank(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    candidates: NDArray[np.int64],
    k: int,
    threads: int = 1,
) -> Hits:
    """The k best of each query's candidates, as `maxsim_scan` over those alone.

    Args:
        queries, query_offsets, documents, k, threads: as in `maxsim_scan`.
        candidates: int64 [nq, c] documents, padded with -1; one named twice counts once.

    Returns:
        Hits [nq, k].
    """
    scores = maxsim_scores(queries, query_offsets, documents, candidates)
    hits = Hits(np.full((len(scores), k), -1, np.int64), np.full((len(scores), k), np.inf, np.float32))
    for i, (row, score) in enumerate(zip(candidates, scores, strict=True)):
        found, first = np.unique(row[score > -np.inf], return_index=True)
        distances = -score[score > -np.inf][first]
        order = np.lexsort((found, distances))[:k]
        hits.rows[i, : len(order)] = found[order]
        hits.distances[i, : len(order)] = distances[order]
    return hits


def maxsim_scores(
    queries: NDArray[np.float32],
    query_offsets: NDArray[np.int64],
    documents: TokenRows,
    candidates: NDArray[np.int64],
) -> NDArray[np.float32]:
    """MaxSim of each query with its candidates.

    Args:
        queries, query_offsets, documents: as in `maxsim_scan`.
        candidates: int64 [nq, c] documents, padded with -1.

    Returns:
        float32 [nq, c]; -inf for pads and empty documents.
    """
    bounds = documents.bounds()
    scores = np.full(candidates.shape, -np.inf, np.float32)
    tokens = documents.decode()
    for i, row in enumerate(candidates):
        query = queries[query_offsets[i] : query_offsets[i + 1]]
        for j, document in enumerate(row):
            if document >= 0 and bounds[document] < bounds[document + 1]:
                matrix = query @ tokens[bounds[document] : bounds[document + 1]].T
                scores[i, j] = matrix.max(axis=1).sum()
    return scores
