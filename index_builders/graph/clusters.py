"""Rows in the order of their clusters: a first guess at who is near whom, and where searches may start."""

from collections.abc import Callable
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.graph.linking import SLICE_ROWS, Linking
from nearfield.index_builders.graph.signed_rows import SignedRows

_ROWS_PER_CLUSTER: Final = 400
_PROBES: Final = 8
_TRAINING_ROWS_PER_CLUSTER: Final = 64
_TRAINING_ROUNDS: Final = 8
_CANDIDATES: Final = 32


class Clusters:
    """k-means clusters of some hundred rows each.

    Args:
        rows: at least one; `order[i]` is the row that stands at place i of the order by clusters.
        dimensions: of the rows.
    """

    def __init__(self, rows: SignedRows, dimensions: int, context: BuildContext) -> None:
        self._count = len(rows.codes)
        self._dimensions = dimensions
        assignment, self.centres = self._train(rows, context)
        self.order: NDArray[np.int64] = np.argsort(assignment, kind="stable")
        sizes = np.bincount(assignment, minlength=len(self.centres))
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def neighbours(
        self, linking: Linking, first: int, degree: int, progress: Callable[[float], Any]
    ) -> NDArray[np.uint32]:
        """Pruned lists of every row from those in the clusters around it, uint32 [n, degree] of places.

        Args:
            linking: has these rows from `first` on, in the order of their clusters.
        """
        centres = faiss.IndexFlatL2(self._dimensions)
        centres.add(self.centres)
        probes = centres.search(self.centres, min(_PROBES, len(self.centres)))[1].astype(np.int32)
        return _native.link_clusters(
            linking.rows.codes[first:], linking.rows.scales[first:], self._starts, probes, _CANDIDATES,
            degree, linking.alpha, linking.pool, linking.cancel, progress,
        )  # fmt: skip

    def central_places(self, rows: SignedRows, most: int) -> list[int]:
        """Places of the rows nearest to the centres of up to `most` of the clusters.

        Args:
            rows: in the order of their clusters.
        """
        occupied = np.flatnonzero(np.diff(self._starts))
        picked = occupied[np.linspace(0, len(occupied) - 1, min(most, len(occupied))).astype(np.int64)]
        return [self._nearest_of_cluster(rows, int(c), self.centres[c]) for c in picked]

    def middle_place(self, rows: SignedRows) -> int:
        """Place of a row near the mean of all."""
        occupied = np.flatnonzero(np.diff(self._starts))
        weights = np.diff(self._starts)[:, None] / self._count
        mean = (self.centres * weights).sum(axis=0)
        central = int(occupied[((self.centres[occupied] - mean) ** 2).sum(axis=1).argmin()])
        return self._nearest_of_cluster(rows, central, mean)

    def _train(
        self, rows: SignedRows, context: BuildContext
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Cluster of each row, int64 [n], and the centres, float32 [c, d]."""
        clusters = max(1, self._count // _ROWS_PER_CLUSTER)
        if clusters == 1:
            mean = rows.decode(slice(None), self._dimensions).mean(axis=0, keepdims=True)
            return np.zeros(self._count, dtype=np.int64), mean
        faiss.omp_set_num_threads(context.threads)
        rng = np.random.default_rng(context.seed)
        sample = rng.choice(
            self._count, min(self._count, clusters * _TRAINING_ROWS_PER_CLUSTER), replace=False
        )
        trained = faiss.Kmeans(
            self._dimensions, clusters, niter=_TRAINING_ROUNDS, seed=context.seed + 1,
            min_points_per_centroid=1, max_points_per_centroid=_TRAINING_ROWS_PER_CLUSTER,
        )  # fmt: skip
        trained.train(rows.decode(np.sort(sample), self._dimensions))
        assignment = np.empty(self._count, dtype=np.int64)
        for start in range(0, self._count, SLICE_ROWS):
            where = slice(start, start + SLICE_ROWS)
            assignment[where] = trained.index.search(rows.decode(where, self._dimensions), 1)[1][:, 0]
        return assignment, np.asarray(trained.centroids, dtype=np.float32)

    def _nearest_of_cluster(self, rows: SignedRows, cluster: int, point: NDArray[np.float32]) -> int:
        first, last = int(self._starts[cluster]), int(self._starts[cluster + 1])
        members = rows.decode(slice(first, last), self._dimensions)
        return first + int(((members - point) ** 2).sum(axis=1).argmin())
