"""The query side of learned cells, fitted to what documents really answer.

MaxSim adds up responses: the largest product of a token of the query with any token of the document. For
some tokens they are computed exactly. Each cell's matrix, so far derived from the means that documents keep,
is moved by as little as makes its products with the documents' encodings equal these responses: ridge
regression towards the matrix there was, cell by cell. Measured in decision record 0024.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.multivector.encoding import cancel_flag, parts

ASKING_PER_CELL: Final = 8
_RIDGE: Final = 0.3  # of the tokens' mean squared length
_SHRINK: Final = 1 / 1.1


def fit_query_side(
    matrices: NDArray[np.float32],
    asking: NDArray[np.float32],
    cells: NDArray[np.int32],
    own: NDArray[np.int64] | None,
    documents: TokenRows,
    axes: NDArray[np.float32],
    lengths: NDArray[np.float32],
    context: BuildContext,
) -> None:
    """Moves matrices towards the responses of documents.

    Args:
        matrices: float32 [cells, width, d], changed in place; the encoding of a query's token.
        asking: float32 [m, d], tokens like those of queries.
        cells: int32 [m], theirs.
        own: int64 [m], the document each was taken from, whose response to it says nothing about queries;
            None where they are of queries.
        documents: of which the encodings were learned; none without tokens.
        axes: float32 [n, width], orthonormal columns; the documents' encodings are axes * lengths.
        lengths: float32 [width].

    Raises:
        Cancelled: `context.cancel` was set.
    """
    found = np.empty((documents.count, len(asking)), np.float32)
    pool = shared_pool(context.threads)
    for first, sets in parts(documents):
        found[first : first + len(sets[1]) - 1] = _native.responses(asking, *sets, pool, cancel_flag(context))
    order = np.argsort(cells, kind="stable")
    ends = np.cumsum(np.bincount(cells, minlength=len(matrices)))
    groups = np.split(order, ends[:-1])
    now = np.empty((len(asking), len(lengths)), np.float32)
    for matrix, members in zip(matrices, groups, strict=True):
        now[members] = asking[members] @ matrix.T
    found -= found.mean(axis=0)
    if own is not None:  # as predicted: nothing to be moved by
        found[own, np.arange(len(asking))] = np.einsum("mw,mw->m", now, axes[own] * lengths)
    missing = ((axes.T @ found).T / lengths - now) * np.float32(_SHRINK)
    ridge = np.float32(_RIDGE * np.mean(np.square(asking)) * asking.shape[1])
    for matrix, members in zip(matrices, groups, strict=True):
        if not len(members):
            continue
        tokens = asking[members]
        products = tokens @ tokens.T
        products[np.diag_indices_from(products)] += ridge
        matrix += missing[members].T @ np.linalg.solve(products, tokens)
