"""LeanVec: linear maps to fewer dimensions that keep inner products (arXiv 2312.16335; sphering: 2410.22347).

<q, x - mean> is estimated by <A q, B (x - mean)>. Without training queries A = B is PCA; with them, the
rank-d product that is best for those queries. A random rotation follows, so that every dimension carries the
same variance and scalar codes fit, and each dimension is balanced between the two sides.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_EIGENVALUE_LEAST: Final = 1e-6
"""Of the largest: smaller query variances are lifted to this when their root is inverted."""


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
        centred = sample - mean
        self._row_covariance = (centred.T @ centred).astype(np.float64) / max(len(centred), 1)
        values, vectors = np.linalg.eigh(self._row_covariance)
        self._row_variances = np.maximum(values[::-1], 0.0)
        self._row_axes = vectors[:, ::-1].T
        self._query_covariance = None
        if queries is not None:
            self._query_covariance = (queries.T @ queries).astype(np.float64) / max(len(queries), 1)

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self._mean)

    def variance_kept(self, dimensions: int) -> float:
        """Share of the rows' variance in their first principal directions."""
        total = self._row_variances.sum()
        return float(self._row_variances[:dimensions].sum() / total) if total > 0 else 1.0

    def learn(self, dimensions: int, seed: int) -> Projection:
        """The maps to `dimensions` of at most D."""
        rng = np.random.default_rng(seed)
        rotation = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0]
        graph_side = rotation @ self._row_axes[:dimensions]
        if self._query_covariance is None:
            query_side = row_side = graph_side
            loss = self._loss(query_side, row_side, self._row_covariance)
        else:
            query_side, row_side = self._sphered(dimensions, self._query_covariance)
            loss = self._loss(query_side, row_side, self._query_covariance)
            query_side, row_side = self._balanced(query_side, row_side, self._query_covariance)
            query_side, row_side = rotation @ query_side, rotation @ row_side
        return Projection(
            self._mean,
            self._scale(),
            query_side.astype(np.float32),
            row_side.astype(np.float32),
            graph_side.astype(np.float32),
            loss,
        )

    def _scale(self) -> float:
        variance = float(self._row_variances.mean())
        return float(np.float32(1 / math.sqrt(variance))) if variance > 0 else 1.0

    def _sphered(
        self, dimensions: int, query_covariance: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """LeanVec-Sphering: the least loss over all products of that rank."""
        values, vectors = np.linalg.eigh(query_covariance)
        roots = np.sqrt(np.maximum(values, _EIGENVALUE_LEAST * max(values[-1], 1e-30)))
        whiten = (vectors * roots) @ vectors.T
        unwhiten = (vectors / roots) @ vectors.T
        _, axes = np.linalg.eigh(whiten @ self._row_covariance @ whiten)
        top = axes[:, ::-1][:, :dimensions].T
        return top @ unwhiten, top @ whiten

    def _balanced(
        self,
        query_side: NDArray[np.float64],
        row_side: NDArray[np.float64],
        query_covariance: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Spread over both sides alike, which is best for codes after a rotation; products do not change."""
        query_spread = np.sqrt(np.einsum("ij,jk,ik->i", query_side, query_covariance, query_side))
        row_spread = np.sqrt(np.einsum("ij,jk,ik->i", row_side, self._row_covariance, row_side))
        balance = np.sqrt(np.maximum(query_spread, 1e-30) / np.maximum(row_spread, 1e-30))[:, None]
        return query_side / balance, row_side * balance

    def _loss(
        self,
        query_side: NDArray[np.float64],
        row_side: NDArray[np.float64],
        query_covariance: NDArray[np.float64],
    ) -> float:
        error = query_side.T @ row_side - np.eye(self.dimensions)
        lost = np.einsum("ij,ij->", query_covariance @ error, error @ self._row_covariance)
        total = np.einsum("ij,ij->", query_covariance, self._row_covariance)
        return float(lost / total) if total > 0 else 0.0
