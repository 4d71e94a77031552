"""Rows turned inside out: the Euclidean order that suits a graph for inner products.

The answers to inner products are mostly long rows, and far from all others in Euclidean distance: a graph of
Euclidean neighbours hardly leads to them. Divided by the square of its length, a long row lies near the
middle, where every direction is near, and short rows, which are rarely an answer, lie outside (Zhou et al.,
Mobius Transformation for Fast Inner Product Search on Graph, NeurIPS 2019). Rows of equal length stay put.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.transforms.leanvec import Projection

_SHORTEST: Final = 1e-3
"""Rows shorter than this share of the typical length lie no further out than one of this length."""
_SAMPLE_ROWS: Final = 4_096


@dataclass(frozen=True)
class Inversion:
    """x / |x|^2, projected, centred and scaled.

    Args:
        side: float32 [d, D], see Projection.graph_side; None: all dimensions.
        length: a typical one, that stays as it is.
        mean: float32 [d], of what is projected.
        scale: brings the centred coordinates to unit variance on average.
    """

    side: NDArray[np.float32] | None
    length: float
    mean: NDArray[np.float32]
    scale: float

    @classmethod
    def learn(cls, base: BaseRows, source: NDArray[np.int64], projection: Projection, seed: int) -> Self:
        """From some thousand of the rows `source`, int64 [n]."""
        picked = source
        if len(source) > _SAMPLE_ROWS:
            picked = np.sort(np.random.default_rng(seed).choice(source, _SAMPLE_ROWS, replace=False))
        rows = base.block(picked)
        length = float(np.sqrt(np.einsum("ij,ij->i", rows, rows).mean())) or 1.0
        plain = cls(projection.graph_side, length, np.zeros(projection.dimensions, np.float32), 1.0)
        turned = plain.apply(rows)
        mean = turned.mean(axis=0)
        spread = float(np.square(turned - mean).mean())
        return cls(plain.side, length, mean, spread**-0.5 if spread > 0 else 1.0)

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of rows [m, D] as they are stored: float32 [m, d]."""
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows)) / np.float32(self.length)
        turned = rows * (np.maximum(lengths, _SHORTEST) ** -2)[:, None]
        projected = turned if self.side is None else turned @ self.side.T
        result: NDArray[np.float32] = (projected - self.mean) * np.float32(self.scale)
        return result
