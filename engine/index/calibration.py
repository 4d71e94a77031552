"""Recall of a built index by the width of its search, as it was measured; and which width a target needs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

K: Final = 10
"""Hits of each query whose recall is measured."""

_GROWTH: Final = {"ef": 1 / 3, "candidates": 1 / 2}


@dataclass(frozen=True)
class Calibration:
    """Recall at K for each width of a search, a mean over sampled queries.

    Args:
        sample: `training_queries`, real ones; or made of what is indexed: `mirrored_rows` or
            `mixed_documents`.
        queries: how many were asked.
        widths: ascending.
        recall: of each width, 0..1.
        error: standard error of each recall.
        knob: what the width is of a search: `ef`, or `candidates`.
    """

    sample: str
    queries: int
    widths: tuple[int, ...]
    recall: tuple[float, ...]
    error: tuple[float, ...]
    knob: str = "ef"

    @classmethod
    def of(cls, sample: str, found: Mapping[int, NDArray[np.float64]], knob: str = "ef") -> Self:
        """From the recall of each query, float64 [queries], by ascending width; see `standard_error`."""
        recall = tuple(round(float(each.mean()), 5) for each in found.values())
        error = tuple(round(standard_error(each), 5) for each in found.values())
        return cls(sample, len(next(iter(found.values()))), tuple(found), recall, error, knob)

    @cached_property
    def assured(self) -> tuple[float, ...]:
        """Of each width the recall less its standard error: a larger sample shows more with 84 % confidence.

        It never falls from one width to the next.
        """
        least = (max(mean - error, 0.0) for mean, error in zip(self.recall, self.error, strict=True))
        return tuple(np.maximum.accumulate(list(least)).tolist())

    def reaches(self, target: float) -> bool:
        """Whether a calibrated width is assured of this recall."""
        return target <= self.assured[-1]

    def width_for(self, target: float, k: int = K) -> int:
        """The smallest width that is assured of a recall; the largest calibrated one where none is.

        Between two calibrated widths recall is taken to grow with the logarithm of the width. For more than
        K hits, what the width is beyond K grows with the cube root of k / K, that of candidates for MaxSim
        with its square root (measured: decisions 0015 and 0019).
        """
        assured = self.assured
        at = next((at for at, each in enumerate(assured) if each >= target), len(assured) - 1)
        width = float(self.widths[at])
        if at and assured[at] >= target:
            below, share = self.widths[at - 1], (target - assured[at - 1]) / (assured[at] - assured[at - 1])
            width = below * (width / below) ** share
        if k > K:
            width = k + (width - K) * (k / K) ** _GROWTH[self.knob]
        return math.ceil(width - 1e-9)  # a rounding error does not widen what is calibrated exactly

    def to_json(self) -> dict[str, Any]:
        """As stored and published."""
        return {
            "k": K,
            "sample": self.sample,
            "queries": self.queries,
            self.knob: list(self.widths),
            "recall": list(self.recall),
            "standard_error": list(self.error),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], knob: str = "ef") -> Self:
        """What `to_json` made of a calibration with this knob."""
        return cls(
            stored["sample"],
            stored["queries"],
            tuple(stored[knob]),
            tuple(stored["recall"]),
            tuple(stored["standard_error"]),
            knob,
        )


def standard_error(recalls: NDArray[np.float64]) -> float:
    """Of the mean of recalls [queries], each a share of K hits.

    The hits of one query fall together, so queries are what varies; but where (nearly) none was missed the
    sample shows no variance, and that of a binomial with one more hit found and one more missed is larger.
    """
    hits = K * len(recalls)
    share = (float(recalls.sum()) * K + 1) / (hits + 2)
    binomial = math.sqrt(share * (1 - share) / hits)
    return max(float(recalls.std()) / math.sqrt(len(recalls)), binomial)
