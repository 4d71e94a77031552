"""Measures what recall an index gives by how many candidates MaxSim ranks, on queries answered exactly."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.calibration import Calibration, K
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.search.maxsim import maxsim_scan
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.multivector.encoding import Sets
from nearfield.index_builders.multivector.index import CALIBRATED_DOCUMENTS_MIN, CALIBRATED_KNOB, MuveraIndex
from nearfield.index_builders.multivector.queries import mixed_queries

_LADDER: Final = (10, 14, 20, 28, 40, 56, 80, 100, 140, 200, 280, 400, 560, 800, 1_100, 1_600, 2_200)
_ASSURED_ENOUGH: Final = 0.996
_QUERIES: Final = 300
_TRAINING_QUERIES_MIN: Final = 100
_TRUTH_BLOCK: Final = 50


def calibrate(index: MuveraIndex, documents: TokenRows, context: BuildContext) -> Calibration | None:
    """The recall of an index by the number of candidates; None where there are too few documents to need it.

    Asks 300 of the training queries, if it is known where each begins and there are 100 of them; otherwise
    300 mixed from the documents (`mixed_queries`). The outcome depends on the seed, not on the number of
    threads.

    Raises:
        Cancelled: the context was cancelled.
    """
    if np.count_nonzero(np.diff(documents.bounds())) < CALIBRATED_DOCUMENTS_MIN:
        return None
    sample, (queries, offsets) = _sample(documents, context)
    truth = _truth(documents, queries, offsets, context)
    found: dict[int, NDArray[np.float64]] = {}
    for width in _LADDER:
        ranked = _ranked(index, queries, offsets, width, context)
        pairs = zip(truth, ranked, strict=True)
        found[width] = np.array([np.isin(true, candidates).mean() for true, candidates in pairs])
        calibration = Calibration.of(sample, found, CALIBRATED_KNOB)
        if calibration.reaches(_ASSURED_ENOUGH):
            break
    return calibration


def _sample(documents: TokenRows, context: BuildContext) -> tuple[str, Sets]:
    """What is asked, and its name; see Calibration."""
    tokens, offsets = context.training_queries, context.training_offsets
    if tokens is None or offsets is None or len(offsets) <= _TRAINING_QUERIES_MIN:
        return "mixed_documents", mixed_queries(documents, _QUERIES, context.seed)
    rng = np.random.default_rng(context.seed)
    count = len(offsets) - 1
    picked = np.sort(rng.choice(count, min(_QUERIES, count), replace=False))
    parts = [tokens[offsets[query] : offsets[query + 1]] for query in picked]
    ends = np.cumsum([len(part) for part in parts])
    return "training_queries", (np.concatenate(parts), np.concatenate([[0], ends]).astype(np.int64))


def _truth(
    documents: TokenRows, queries: NDArray[np.float32], offsets: NDArray[np.int64], context: BuildContext
) -> NDArray[np.int64]:
    """int64 [q, K], the documents of largest MaxSim, block by block so that a cancelled build stops."""
    found = []
    for start in range(0, len(offsets) - 1, _TRUTH_BLOCK):
        report(context, 1.0)
        bounds = offsets[start : start + _TRUTH_BLOCK + 1]
        block = queries[bounds[0] : bounds[-1]]
        found.append(maxsim_scan(block, bounds - bounds[0], documents, K, None, context.threads).rows)
    return np.concatenate(found)


def _ranked(
    index: MuveraIndex,
    queries: NDArray[np.float32],
    offsets: NDArray[np.int64],
    width: int,
    context: BuildContext,
) -> NDArray[np.int64]:
    """int64 [q, width], the candidates."""
    report(context, 1.0)
    width = min(width, index.count)
    return index.candidates(queries, offsets, width, {"threads": context.threads})
