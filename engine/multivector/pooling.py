"""Fewer vectors per document: token pooling by a factor, and to a fixed number (arXiv 2409.14683)."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.multivector.token_rows import Tokens, check_offsets
from nearfield.engine.thread_pools import shared_pool


def pool_tokens(
    values: Tokens,
    offsets: NDArray[np.int64],
    factor: int,
    protected: int = 1,
    *,
    normalize: bool = True,
    threads: int = 1,
) -> tuple[Tokens, NDArray[np.int64]]:
    """Each document's tokens clustered to about one in `factor`, each cluster replaced by its mean.

    Clusters are Ward's on 1 - cosine. A document of T tokens keeps its first `protected` as they are (where a
    model puts its markers) and gets max((T - protected) // factor, 1) clusters of the others.

    Args:
        values: float32 or float16 [T, d], the documents' tokens back to back.
        offsets: int64 [n + 1], document i is values[offsets[i]:offsets[i + 1]].
        factor: at least 1; 1 changes nothing.
        normalize: bring the means to unit length, as the tokens of late-interaction models are.
        threads: native threads; the result does not depend on them.

    Returns:
        The pooled tokens, in the dtype of `values`, and their offsets.

    Raises:
        ValueError: a factor below 1 or arrays that do not fit each other.
    """
    if factor < 1 or protected < 0:
        raise ValueError(f"factor and protected: expected at least 1 and 0, got {factor} and {protected}")
    check_offsets(offsets, len(values))
    if factor == 1:
        return values, offsets
    sizes = np.diff(offsets)
    pooled = np.where(
        sizes > protected, protected + np.maximum((sizes - protected) // factor, 1), sizes
    ).astype(np.int64)
    return _pooled(values, offsets, pooled, protected, normalize, threads)


def pool_to_constant(
    values: Tokens,
    offsets: NDArray[np.int64],
    count: int,
    protected: int = 1,
    *,
    normalize: bool = True,
    threads: int = 1,
) -> Tokens:
    """Exactly `count` vectors for each document, so that it needs no offsets.

    Longer documents are clustered as in `pool_tokens`; shorter ones repeat tokens, which changes no MaxSim.

    Args:
        values, offsets, normalize, threads: as in `pool_tokens`.
        count: vectors per document, at least 1.
        protected: first tokens that stay as they are where that leaves a cluster for the others.

    Returns:
        [n * count, d], in the dtype of `values`.

    Raises:
        ValueError: a count below 1, a document without tokens, or arrays that do not fit each other.
    """
    if count < 1 or protected < 0:
        raise ValueError(f"count and protected: expected at least 1 and 0, got {count} and {protected}")
    check_offsets(offsets, len(values))
    sizes = np.diff(offsets)
    if (sizes == 0).any():
        raise ValueError(f"offsets: document {int(sizes.argmin())} has no tokens to make {count} vectors of")
    wanted = np.full(len(sizes), count, np.int64)
    return _pooled(values, offsets, wanted, protected, normalize, threads)[0]


def _pooled(
    values: Tokens,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    protected: int,
    normalize: bool,
    threads: int,
) -> tuple[Tokens, NDArray[np.int64]]:
    out_offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=out_offsets[1:])
    pool = shared_pool(threads)
    tokens = np.ascontiguousarray(values, dtype=np.float32)
    pooled: Tokens = _native.pool_sets(tokens, offsets, out_offsets, protected, normalize, pool)
    if values.dtype == np.float16:
        pooled = pooled.astype(np.float16)
    return pooled, out_offsets
