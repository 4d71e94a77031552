"""LeanVec: linear maps to fewer dimensions that keep inner products (arXiv 2312.16335; sphering: 2410.22347).

<q, x - mean> is estimated by <A q, B (x - mean)>. A random rotation follows the maps, so that every dimension
carries the same variance and scalar codes fit, and each dimension is balanced between the two sides.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders.transforms import query_aware
from nearfield.index_builders.transforms.query_aware import Moments

NEIGHBOUR_SHARE: Final = 0.25
"""Where no queries tell: two neighbours have about half of what they lose in common, and half of that belongs
to a query between them (mnist-784 at 112 dimensions of 4 bits, the first 20 of 20,000 hold 0.997 of the
nearest 10; 0.995 with nothing of it, 0.993 with twice as much)."""


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
    """The learned maps, of centred and scaled rows; without maps, centring and scaling alone.

    Args:
        mean: float32 [D], subtracted from rows.
        scale: brings the centred coordinates to unit variance on average.
        query_side: float32 [d, D], A; None: the identity, and so are the others.
        row_side: float32 [d, D], B.
        graph_side: float32 [d, D], orthonormal: keeps distances between rows as well as d dimensions can.
        loss: share of the squared inner products of queries and rows that is lost.
        symmetric: A = B, orthonormal.
        query_mean: float32 [D], of training queries of unit length: products with it are exact in a search
            for inner products; None: those with the mean of the rows are.
        neighbour_share: of the squared length that a row loses, what its products with near queries of
            length 1 hold all the same (l2: queries less the mean, of any length); see `TrainingQueries`. For
            inner products it counts only beside `query_mean`.
    """

    mean: NDArray[np.float32]
    scale: float
    query_side: NDArray[np.float32] | None = None
    row_side: NDArray[np.float32] | None = None
    graph_side: NDArray[np.float32] | None = None
    loss: float = 0.0
    symmetric: bool = True
    query_mean: NDArray[np.float32] | None = None
    neighbour_share: float = NEIGHBOUR_SHARE

    @property
    def dimensions(self) -> int:
        """d, of what is projected."""
        return len(self.mean) if self.row_side is None else len(self.row_side)

    def centred(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows [m, D] as the codes see them: the mean subtracted, scaled."""
        return (rows - self.mean) * np.float32(self.scale)

    def rows_of(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred rows [m, D] as queries are compared with: [m, d]; the same array without maps."""
        return centred if self.row_side is None else np.ascontiguousarray(centred @ self.row_side.T)

    def restored(self, projected: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred rows [m, D] whose products with queries are those of projected rows [m, d]."""
        return projected if self.query_side is None else projected @ self.query_side

    def pivots_of(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a search for inner products weighs and adds to <v, x> of centred rows [m, D]: float32 [m].

        See `query_batch.h` for v and the weight.
        """
        pivot = self.mean if self.query_mean is None else self.query_mean
        weighed: NDArray[np.float32] = -(centred @ pivot) * np.float32(self.scale)
        return weighed

    def missing_in(self, centred: NDArray[np.float32], projected: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the squared lengths of centred rows [m, D], what their projections [m, d] do not hold: [m]."""
        lengths: NDArray[np.float32] = np.einsum("ij,ij->i", centred, centred)
        kept = projected if self.symmetric or self.query_side is None else centred @ self.query_side.T
        held: NDArray[np.float32] = np.einsum("ij,ij->i", kept, projected)
        return lengths - held

    def graph_rows_of(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred rows [m, D] as they are compared with each other: [m, d]."""
        return centred if self.graph_side is None else np.ascontiguousarray(centred @ self.graph_side.T)


def all_dimensions(
    sample: NDArray[np.float32], mean: NDArray[np.float32], rotation_seed: int | None
) -> Projection:
    """Nothing projected away: centring and scaling, and with a seed a random rotation.

    Args:
        sample: float32 [m, D] centred rows.
        mean: float32 [D] of all rows.
    """
    scale = _scale(float(np.vdot(sample, sample)) / sample.size)
    if rotation_seed is None:
        return Projection(mean, scale)
    side = _rotation(len(mean), rotation_seed).astype(np.float32)
    return Projection(mean, scale, side, side, side)


class ProjectionLearner:
    """Learns projections of one sample of rows to any number of dimensions.

    Args:
        sample: float32 [m, D] centred rows.
        mean: float32 [D] of all rows.
        queries: blocks of training queries, float32 [t, D], centred like the metric wants; None: queries like
            the rows.
    """

    def __init__(
        self,
        sample: NDArray[np.float32],
        mean: NDArray[np.float32],
        queries: Iterable[NDArray[np.float32]] | None,
    ) -> None:
        self._mean = mean
        self._moments = Moments.of(sample, queries)
        self._has_queries = self._moments.queries is not self._moments.rows
        values, vectors = np.linalg.eigh(self._moments.rows)
        self._row_variances = np.maximum(values[::-1], 0.0)
        self._row_axes = vectors[:, ::-1].T

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self._mean)

    def lost_of(self, differences: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Share of the squared lengths of differences of rows that a projection to d dimensions loses.

        Args:
            differences: blocks, float32 [m, D].

        Returns:
            float64 [D + 1], for d = 0 to D; the projection is that onto the rows' principal directions.
        """
        axes = self._row_axes.T.astype(np.float32)
        along = np.zeros(len(self._mean))
        for block in differences:
            along += np.square(block @ axes).sum(axis=0, dtype=np.float64)
        kept = np.concatenate([[0.0], np.cumsum(along)])
        lost: NDArray[np.float64] = 1.0 - kept / kept[-1] if kept[-1] > 0 else np.zeros(len(kept))
        return lost

    def learn(self, dimensions: int, seed: int, method: LeanVecMethod | None = None) -> Projection:
        """The maps to `dimensions` of at most D.

        Args:
            method: None: sphering with training queries, else PCA.
        """
        rotation = _rotation(dimensions, seed)
        query_side = row_side = self._row_axes[:dimensions]
        graph_side = rotation @ row_side
        chosen = LeanVecMethod.SPHERING if method is None else method
        query_aware_maps = self._has_queries and chosen in _QUERY_AWARE
        if query_aware_maps:
            query_side, row_side = _QUERY_AWARE[chosen](self._moments, dimensions)
            query_side, row_side = query_aware.balanced(self._moments, query_side, row_side)
        return Projection(
            self._mean,
            _scale(float(self._row_variances.mean())),
            (rotation @ query_side).astype(np.float32),
            (rotation @ row_side).astype(np.float32),
            graph_side.astype(np.float32),
            self._moments.loss(query_side, row_side),
            symmetric=not query_aware_maps,
        )


def _rotation(dimensions: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    rotation: NDArray[np.float64] = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0]
    return rotation


def _scale(variance: float) -> float:
    return float(np.float32(1 / math.sqrt(variance))) if variance > 0 else 1.0
