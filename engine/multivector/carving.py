"""Query ball carving: fewer query tokens before a re-rank (MUVERA, arXiv 2405.19504, appendix C.3)."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native


def carve_queries(
    queries: NDArray[np.float32], query_offsets: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Each query with groups of its tokens replaced by their sums.

    A group is the first token not yet in one, with all such tokens whose inner product with it is at least
    `threshold`. A document's MaxSim with a carved query is at most its true one, and equal to it where the
    tokens of a group agree on the document's best token; the paper finds no loss of recall from 0.7 on.

    Args:
        queries: float32 [Q, d], unit tokens of all queries back to back.
        query_offsets: int64 [nq + 1].
        threshold: a cosine; beyond 1 nothing changes.

    Returns:
        queries float32 [Q', d] and offsets int64 [nq + 1].

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """
    return _native.carve_queries(queries, query_offsets, threshold)
