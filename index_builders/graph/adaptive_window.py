"""Windows by query: what training queries tell about how wide a walk has to be. Decision 0034.

At one `ef` easy queries are searched longer than they need and hard ones not long enough. How far the nearest
nodes are tells early which is which: what a narrow walk misses of training queries is regressed on these
distances, and each query is given a window by what it is expected to miss. All together take as long as if
every window were `ef`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native

PROBE: Final = 12
"""Width of the walk that tells: as `AdaptiveWindow::kProbe`."""
RANKS: Final = (0, 4, PROBE - 1)
"""Of the nodes whose distances tell, from 0: as `AdaptiveWindow::kRanks`."""
_MISSED_LEAST: Final = 50
"""Of all training queries together; fewer tell nothing of what is hard."""
_EXPONENT: Final = 0.4
"""What a walk misses falls about as its width to the power -1.5. Windows that together miss least go as what
is missed at one width to the power 1 / 2.5."""
_LEAST: Final = 0.5
_MOST: Final = 2.0
_ABOVE_K: Final = 1.2
"""Windows in shares of `ef`, and of k."""
_COST_POWER: Final = 3
"""The power mean of the windows is `ef`: a hard query meets more new nodes at each step (a quarter to a third
between the easiest and the hardest quarter of queries), and keeping more of them in order costs more, too."""
_QUANTILES: Final = 64
_ROUNDS: Final = 30
_RIDGE: Final = 1e-4
_STEP_MOST: Final = 1.0


@dataclass(frozen=True)
class AdaptiveWindow:
    """The logarithm of a window, up to a constant that depends on `ef`, is linear in distances by codes.

    Args:
        weights: of the distances of the nodes at `RANKS`.
        quantiles: float64 [q], of the weighted sums of training queries.
    """

    weights: tuple[float, float, float]
    quantiles: NDArray[np.float64]

    @classmethod
    def learn(cls, distances: NDArray[np.float64], missed: NDArray[np.float64]) -> Self | None:
        """From training queries; None where these tell nothing.

        Args:
            distances: [q, 3] by codes, of the nodes at `RANKS` of a walk of width `PROBE`, over the weight of
                the query's norms.
            missed: [q], how many of the nearest rows the same walk missed.
        """
        if missed.sum() < _MISSED_LEAST or not np.isfinite(distances).all():
            return None
        spread = distances.std(axis=0)
        if not spread.all():
            return None
        centre = distances.mean(axis=0)
        features = np.hstack([np.ones((len(distances), 1)), (distances - centre) / spread])
        slopes = _EXPONENT * _poisson(features, missed)[1:] / spread
        weights = slopes.astype(np.float32).astype(np.float64)
        if not np.isfinite(weights).all():
            return None
        sums = np.einsum("ij,j->i", distances, weights)
        places = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        return cls((weights[0].item(), weights[1].item(), weights[2].item()), np.quantile(sums, places))

    def native(self, k: int, ef: int) -> "_native.GraphAdaptiveWindow | None":
        """The windows of searches of one k and `ef`; None: all are `ef`."""
        least, most = max(PROBE, math.ceil(_ABOVE_K * k), math.ceil(_LEAST * ef)), int(_MOST * ef)
        if least >= ef:
            return None
        # Windows grow with the bias: halve the range that it must lie in.
        low = math.log(least) - self.quantiles[-1]
        high = math.log(most) - self.quantiles[0]
        for _ in range(_ROUNDS):
            bias = (low + high) / 2
            windows = np.exp(np.clip(bias + self.quantiles, math.log(least), math.log(most)))
            low, high = (bias, high) if (windows**_COST_POWER).mean() < ef**_COST_POWER else (low, bias)
        return _native.GraphAdaptiveWindow(self.weights, float(high), least, most)

    def to_json(self) -> dict[str, Any]:
        """See `from_json`."""
        return {"weights": list(self.weights), "quantiles": self.quantiles.tolist()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        first, second, third = stored["weights"]
        return cls((first, second, third), np.array(stored["quantiles"], dtype=np.float64))


def _poisson(features: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of a Poisson regression, the first of the constant, by Newton's method.

    Sums in a fixed order: the outcome may not depend on how many threads a library has.
    """
    coefficients = np.zeros(features.shape[1])
    coefficients[0] = math.log(counts.mean())
    ridge = _RIDGE * len(counts) * np.eye(features.shape[1])
    for _ in range(_ROUNDS):
        means = np.exp(np.clip(np.einsum("ij,j->i", features, coefficients), -20.0, 20.0))
        gradient = np.einsum("ij,i->j", features, counts - means)
        curvature = np.einsum("ij,i,ik->jk", features, means, features) + ridge
        coefficients += np.clip(np.linalg.solve(curvature, gradient), -_STEP_MOST, _STEP_MOST)
    return coefficients
