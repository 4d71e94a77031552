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
_QUERIES: Final = 192
_QUERIES_AT_ONCE: Final = 16
_ANSWERS: Final = 10
_BEST_SHARE: Final = 0.25
_WORSE_MOST: Final = 1.75
_WORSE_LEAST: Final = 0.002


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
    """How often encodings prefer another document to an answer, 0..1.

    Of 192 queries mixed from the documents and 1,024 of them: the share of pairs of one of the ten best and
    another of the best quarter that are ordered wrongly. It depends on the documents' kind, hardly on their
    number. Only the best are compared, because documents of two kinds are told apart by any encoding.

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
        shares.append(_misordered(exact, estimated))
    return round(float(np.concatenate(shares).mean()), 5)


def _misordered(exact: NDArray[np.float32], estimated: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64 [q], of scores [q, n]; pairs that are equal by the estimate are in order."""
    count = max(int(exact.shape[1] * _BEST_SHARE), _ANSWERS + 1)
    best = np.argsort(-exact, axis=1, kind="stable")[:, :count]
    scores = np.take_along_axis(estimated, best, axis=1)
    wrong = scores[:, None, _ANSWERS:] > scores[:, :_ANSWERS, None]
    shares: NDArray[np.float64] = wrong.mean(axis=(1, 2)) if wrong.size else np.zeros(len(exact))
    return shares
