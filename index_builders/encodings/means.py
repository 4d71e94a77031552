"""Several means instead of one: rows are centred by the nearest of M before encoding (arXiv 2402.02044).

x ~ mean[c] + bias + step * code, with c one byte per row. A search needs <q, mean[c]> of all means once per
query, or q - mean[c] for Euclidean distances.
"""

from dataclasses import dataclass
from typing import Final, Self

import faiss
import numpy as np
from numpy.typing import NDArray

MEANS_MOST: Final = 256
"""The number of a row's mean is one byte."""
_ROUNDS: Final = 25
_TRAINING_ROWS_PER_MEAN: Final = 1_024


@dataclass(frozen=True)
class Means:
    """Centres that rows are encoded around.

    Args:
        centres: float32 [M, D], M from 1 to 256.
    """

    centres: NDArray[np.float32]

    @classmethod
    def learn(cls, sample: NDArray[np.float32], count: int, seed: int = 0) -> Self:
        """Centres of `sample` [m, D] by k-means; as many as there are rows if these are fewer.

        Raises:
            ValueError: a count outside 1 to 256, or no rows.
        """
        if not 1 <= count <= MEANS_MOST or not len(sample):
            raise ValueError(
                f"means: expected 1 to {MEANS_MOST} of at least one row, got {count} of {len(sample)}"
            )
        if count == 1:
            return cls(sample.mean(axis=0, dtype=np.float64).astype(np.float32)[None])
        trained = faiss.Kmeans(
            sample.shape[1], min(count, len(sample)), niter=_ROUNDS, seed=seed + 1,
            min_points_per_centroid=1, max_points_per_centroid=_TRAINING_ROWS_PER_MEAN,
        )  # fmt: skip
        trained.train(np.ascontiguousarray(sample))
        return cls(np.asarray(trained.centroids, dtype=np.float32))

    def assign(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The nearest mean of each row [m, D], uint8 [m]."""
        lengths = np.einsum("ij,ij->i", self.centres, self.centres)
        nearest: NDArray[np.uint8] = (lengths - 2 * (rows @ self.centres.T)).argmin(axis=1).astype(np.uint8)
        return nearest

    def centred(self, rows: NDArray[np.float32], of: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows [m, D] without their means: what is encoded."""
        return rows - self.centres[of]

    def restored(self, decoded: NDArray[np.float32], of: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Decoded rows [m, D] with their means."""
        return decoded + self.centres[of]
