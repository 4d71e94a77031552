"""Rows as int8 with a scale each: what the graph is built on, and the matrix that projects queries."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 64


@dataclass(frozen=True)
class SignedRows:
    """x ~ scale * code, code in -127..127.

    Args:
        codes: int8 [n, dimensions rounded up to 64], padded with zeros.
        scales: float32 [n].
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int, dimensions: int) -> "SignedRows":
        """Room for `count` rows."""
        width = -(-dimensions // _BLOCK) * _BLOCK
        return cls(np.zeros((count, width), dtype=np.int8), np.zeros(count, dtype=np.float32))

    def encode(self, first: int, rows: NDArray[np.float32]) -> None:
        """Encode rows [m, d] as the rows from `first` on."""
        largest = np.abs(rows).max(axis=1)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        self.scales[first : first + len(rows)] = scales
        self.codes[first : first + len(rows), : rows.shape[1]] = np.rint(rows / scales[:, None])

    def decode(self, where: slice | NDArray[np.int64], dimensions: int) -> NDArray[np.float32]:
        """Some of the rows, float32 [m, dimensions]."""
        return self.codes[where, :dimensions] * self.scales[where, None]

    def reordered(self, order: NDArray[np.int64]) -> "SignedRows":
        """A copy whose row i is row order[i]."""
        return SignedRows(self.codes[order], self.scales[order])

    def sums(self) -> NDArray[np.int32]:
        """Sum of each row's codes, int32 [n]."""
        sums: NDArray[np.int32] = self.codes.sum(axis=1, dtype=np.int32)
        return sums
