"""LeanVec: linear maps to fewer dimensions that keep inner products (arXiv 2312.16335; sphering: 2410.22347).

<q, x - mean> is estimated by <A q, B (x - mean)>. A random rotation follows the maps, so that every dimension
carries the same variance and scalar codes fit, and each dimension is balanced between the two sides.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders.transforms import query_aware
from nearfield.index_builders.transforms.query_aware import Moments


class LeanVecMethod(StrEnum):
    """How the maps are learned; without training queries all give what `pca` does."""

    PCA = "pca"
    SPHERING = "sphering"
    EIGENVECTOR_SEARCH = "eigenvector_search"
    FRANK_WOLFE = "frank_wolfe"


_QUERY_AWARE: Final = {
    LeanVecMethod.SPHERING: query_aware.sphering,
    LeanVecMethod.EIGENVECTOR_SEARCH: query_aware.eigenvector_search,
    LeanVecMethod.FRANK_WOLFE: query_aware.frank_wolfe,
}


@dataclass(frozen=True)
class Projection:
    """The learned maps, of centred and scaled rows.

    Args:
        mean: float32 [D], subtracted from rows.
        scale: brings the centred coordinates to unit variance on average.
        query_side: float32 [d, D], A.
        row_side: float32 [d, D], B.
        graph_side: float32 [d, D], orthonormal: keeps distances between rows as well as d dimensions can.
        loss: share of the squared inner products of queries and rows that is lost.
    """

    mean: NDArray[np.float32]
    scale: float
    query_side: NDArray[np.float32]
    row_side: NDArray[np.float32]
    graph_side: NDArray[np.float32]
    loss: float

    def centred(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows [m, D] as the codes see them: the mean subtracted, scaled."""
        return (rows - self.mean) * np.float32(self.scale)


class ProjectionLearner:
    """Learns projections of one sample of rows to any number of dimensions.

    Args:
        sample: float32 [m, D] rows.
        mean: float32 [D] of all rows.
        queries: float32 [t, D] training queries, centred like the metric wants; None: queries like the rows.
    """

    def __init__(
        self, sample: NDArray[np.float32], mean: NDArray[np.float32], queries: NDArray[np.float32] | None
    ) -> None:
        self._mean = mean
        self._has_queries = queries is not None and len(queries) > 0
        self._moments = Moments.of(sample - mean, queries)
        values, vectors = np.linalg.eigh(self._moments.rows)
        self._row_variances = np.maximum(values[::-1], 0.0)
        self._row_axes = vectors[:, ::-1].T
        self._spectrum = self._moments.spectrum() if self._has_queries else self._row_variances

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self._mean)

    def spectrum_lost(self, dimensions: int) -> float:
        """Share of the singular values of K_Q^1/2 K_X^1/2 that no maps to so few dimensions can keep.

        Their squares are the least loss of inner products. Without training queries it is the share of the
        rows' variance beyond their first principal directions.
        """
        total = self._spectrum.sum()
        return float(self._spectrum[dimensions:].sum() / total) if total > 0 else 0.0

    def learn(self, dimensions: int, seed: int, method: LeanVecMethod | None = None) -> Projection:
        """The maps to `dimensions` of at most D.

        Args:
            method: None: sphering with training queries, else PCA.
        """
        rng = np.random.default_rng(seed)
        rotation = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0]
        query_side = row_side = self._row_axes[:dimensions]
        graph_side = rotation @ row_side
        chosen = LeanVecMethod.SPHERING if method is None else method
        if self._has_queries and chosen in _QUERY_AWARE:
            query_side, row_side = _QUERY_AWARE[chosen](self._moments, dimensions)
            query_side, row_side = query_aware.balanced(self._moments, query_side, row_side)
        return Projection(
            self._mean,
            self._scale(),
            (rotation @ query_side).astype(np.float32),
            (rotation @ row_side).astype(np.float32),
            graph_side.astype(np.float32),
            self._moments.loss(query_side, row_side),
        )

    def _scale(self) -> float:
        variance = float(self._row_variances.mean())
        return float(np.float32(1 / math.sqrt(variance))) if variance > 0 else 1.0
