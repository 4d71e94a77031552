"""Several rankings of the same rows into one."""

from collections.abc import Sequence

import numpy as np

from nearfield.engine.query import Fusion, FusionMethod
from nearfield.engine.search.merge import NO_HITS
from nearfield.engine.search.request import Ranking

_DEVIATIONS = 3.0
_ALL_ALIKE = 0.5
"""Score of rows whose ranking does not tell them apart."""


def fuse(rankings: Sequence[Ranking], fusion: Fusion, k: int) -> Ranking:
    """The k rows of the largest sum of what each ranking gives them; ties in the order of first appearance.

    Reciprocal rank fusion (Cormack et al., SIGIR 2009), as the wire format has it: rank r, from 0, of a
    ranking of weight w gives 1 / ((r + 1) / w + k - 1). Distribution-based score fusion: scores are scaled so
    that the mean plus and minus three standard deviations become 1 and 0.
    """
    totals: dict[int, float] = {}
    for at, ranking in enumerate(rankings):
        if fusion.method is FusionMethod.RRF:
            gains = _reciprocal_ranks(
                len(ranking.rows), fusion.k, fusion.weights[at] if fusion.weights else 1.0
            )
        else:
            gains = _scaled([float(score) for score in ranking.scores])
        for row, gain in zip(ranking.rows.tolist(), gains, strict=True):
            totals[row] = totals.get(row, 0.0) + gain
    if not totals:
        return NO_HITS
    best = sorted(totals.items(), key=lambda item: -item[1])[:k]
    rows, scores = zip(*best, strict=True)
    return Ranking(np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32))


def _reciprocal_ranks(count: int, k: int, weight: float) -> list[float]:
    if weight <= 0:
        return [0.0] * count
    return [1.0 / ((rank + 1.0) / weight + k - 1.0) for rank in range(count)]


def _scaled(scores: list[float]) -> list[float]:
    if len(scores) < 2:
        return [_ALL_ALIKE] * len(scores)
    mean = sum(scores) / len(scores)
    variance = sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
    if variance == 0:
        return [_ALL_ALIKE] * len(scores)
    reach = _DEVIATIONS * variance**0.5
    return [(score - (mean - reach)) / (2 * reach) for score in scores]
