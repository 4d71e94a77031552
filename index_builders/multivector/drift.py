"""Whether documents are still like those that an encoding was learned from."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.search.maxsim import maxsim_scores
from nearfield.engine.segment import bitmap
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.multivector.encoded import EncodedDocuments
from nearfield.index_builders.multivector.queries import mixed_queries

_DOCUMENTS: Final = 1_024
_QUERIES: Final = 128
_QUERIES_AT_ONCE: Final = 16
_WORSE_MOST: Final = 1.25
_WORSE_LEAST: Final = 0.01


@dataclass(frozen=True)
class Learned:
    """What an encoding was learned from, and how well it fitted.

    Args:
        documents: how many there were.
        misfit: of them; see `misfit`.
    """

    documents: int
    misfit: float

    def has_drifted(self, now: float) -> bool:
        """Whether documents with this misfit are others than those learned from."""
        return now > max(_WORSE_MOST * self.misfit, self.misfit + _WORSE_LEAST)


def misfit(
    encoded: EncodedDocuments, inner: VectorIndex, documents: TokenRows, context: BuildContext
) -> float:
    """The share of the variance of MaxSim that encodings do not tell, 0..1.

    Of 128 queries mixed from the documents with 1,024 of them: one minus the squared correlation of MaxSim
    and what stands for it, a mean over queries. It depends on the documents' kind, hardly on their number.

    Args:
        inner: the index of the encodings.

    Raises:
        Cancelled: the context was cancelled.
    """
    rng = np.random.default_rng(context.seed)
    with_tokens = np.flatnonzero(np.diff(documents.bounds()))
    picked = np.sort(rng.choice(with_tokens, min(_DOCUMENTS, len(with_tokens)), replace=False))
    sample = documents.take(picked)
    queries, offsets = mixed_queries(sample, _QUERIES, context.seed)
    everything = np.arange(sample.count)[None].repeat(_QUERIES_AT_ONCE, axis=0)
    allow = bitmap.from_positions(picked, documents.count)
    shares = []
    for start in range(0, _QUERIES, _QUERIES_AT_ONCE):
        report(context, 1.0)
        bounds = offsets[start : start + _QUERIES_AT_ONCE + 1]
        block, bounds = queries[bounds[0] : bounds[-1]], bounds - bounds[0]
        exact = maxsim_scores(block, bounds, sample, everything, context.threads)
        asked = encoded.queries((block, bounds), context.threads)
        found = inner.search(asked, len(picked), {"threads": context.threads}, allow)
        estimated = np.take_along_axis(-found.distances, np.argsort(found.rows, axis=1), axis=1)
        shares.append(_unexplained(exact, estimated))
    return round(float(np.concatenate(shares).mean()), 5)


def _unexplained(exact: NDArray[np.float32], estimated: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64 [q], of rows [q, n]; where nothing varies nothing is unexplained."""
    x = exact - exact.mean(axis=1, keepdims=True, dtype=np.float64)
    y = estimated - estimated.mean(axis=1, keepdims=True, dtype=np.float64)
    total = np.einsum("qn,qn->q", x, x) * np.einsum("qn,qn->q", y, y)
    told = np.einsum("qn,qn->q", x, y) ** 2
    shares: NDArray[np.float64] = 1 - np.divide(told, total, out=np.ones_like(total), where=total > 0)
    return shares
