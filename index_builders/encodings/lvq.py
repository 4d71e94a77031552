"""Locally-adaptive vector quantisation, one level (arXiv 2304.04759, definition 1)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native

SLACK_BYTES: Final = 64
"""Kernels read whole blocks of 64 bytes: this much follows the last row."""
_TAIL_BYTES: Final = 8


@dataclass(frozen=True)
class LvqCodes:
    """Code rows: x ~ bias + step * code, with step and bias (float16) and a norm (float32) in every row.

    Args:
        bits: 4 or 8 per dimension.
        dimensions: of the encoded rows.
        stride: bytes from row to row.
        data: uint8 [count * stride + SLACK_BYTES], possibly a memory map.
    """

    bits: int
    dimensions: int
    stride: int
    data: NDArray[np.uint8]

    @classmethod
    def empty(cls, count: int, dimensions: int, bits: int, alignment: int) -> "LvqCodes":
        """Room for `count` rows, each beginning at a multiple of `alignment` bytes."""
        stride = _native.lvq_stride(dimensions, bits, alignment)
        return cls(bits, dimensions, stride, np.zeros(count * stride + SLACK_BYTES, dtype=np.uint8))

    @property
    def count(self) -> int:
        """Number of rows."""
        return (len(self.data) - SLACK_BYTES) // self.stride

    @property
    def rows(self) -> NDArray[np.uint8]:
        """The code rows, uint8 [count, stride]; a view."""
        return self.data[: self.count * self.stride].reshape(-1, self.stride)

    @property
    def norms(self) -> NDArray[np.float32]:
        """The rows' norms, float32 [count]; a view that can be assigned to."""
        return np.ndarray(self.count, np.float32, self.data, offset=self.stride - 4, strides=(self.stride,))

    def encode(
        self,
        first: int,
        rows: NDArray[np.float32],
        norms: NDArray[np.float32] | None = None,
        pool: _native.ThreadPool | None = None,
    ) -> None:
        """Encode centred rows [m, d] as the rows from `first` on.

        4-bit rows have their range clipped for the least squared error (ALGORITHMS: optimised intervals).

        Args:
            norms: float32 [m] to store; None stores the squared length of the reconstruction.
        """
        out = self.data[first * self.stride : (first + len(rows)) * self.stride]
        _native.lvq_encode(rows, self.bits, self.bits == 4, norms, out, self.stride, pool)

    def decode(self) -> NDArray[np.float32]:
        """The rows that the codes stand for, float32 [count, d]."""
        return _native.lvq_decode(self.data, self.count, self.dimensions, self.bits, self.stride)

    def reordered(self, order: NDArray[np.uint32]) -> "LvqCodes":
        """A copy whose row i is row order[i]."""
        copy = LvqCodes(self.bits, self.dimensions, self.stride, np.zeros_like(self.data))
        np.take(self.rows, order, axis=0, out=copy.rows)
        return copy
