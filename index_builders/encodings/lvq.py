"""Locally-adaptive vector quantisation of one or two levels (arXiv 2304.04759, definitions 1 and 2)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.aligned import aligned_zeros

SLACK_BYTES: Final = 64
"""Kernels read whole blocks of 64 bytes: this much follows the last row."""
RESIDUAL_ALIGNMENT: Final = 8
"""Second levels are read for a few candidates only: their rows need not begin at a cache line."""


class LvqEncoding(StrEnum):
    """Bits per dimension of the first level, and after the x those of the second (`TwoLevelCodes`)."""

    LVQ4 = "lvq4"
    LVQ8 = "lvq8"
    LVQ4X4 = "lvq4x4"
    LVQ4X8 = "lvq4x8"
    LVQ8X8 = "lvq8x8"

    @property
    def bits(self) -> int:
        """Of the first level."""
        return int(self.value[3])

    @property
    def residual_bits(self) -> int | None:
        """Of the second level; None where there is one level only."""
        return int(self.value[5]) if len(self.value) > 4 else None


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
    def empty(cls, count: int, dimensions: int, bits: int, alignment: int) -> Self:
        """Room for `count` rows, each beginning at a multiple of `alignment` bytes.

        Raises:
            ValueError: bits other than 4 and 8, or a dimension or alignment below 1.
        """
        stride = _native.lvq_stride(dimensions, bits, alignment)
        return cls(bits, dimensions, stride, aligned_zeros((count * stride + SLACK_BYTES,), np.uint8))

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
        *,
        clip: bool | None = None,
    ) -> None:
        """Encode centred rows [m, d] as the rows from `first` on.

        Args:
            rows: float32, C-contiguous. Values beyond float16 (65504) are cut off there.
            norms: float32 [m] to store; None stores the squared length of the reconstruction.
            pool: whose threads share the work.
            clip: shrink the range of a row for the least squared error; None: at 4 bits, where it pays.

        Raises:
            ValueError: a wrong dtype or shape.
        """
        clips = self.bits == 4 if clip is None else clip
        _native.lvq_encode(rows, self.bits, clips, norms, self._part(first, len(rows)), self.stride, pool)

    def encode_residual(
        self,
        of: "LvqCodes",
        first: int,
        rows: NDArray[np.float32],
        norms: NDArray[np.float32] | None = None,
        pool: _native.ThreadPool | None = None,
    ) -> None:
        """Encode what the rows from `first` on of the codes `of` leave of rows [m, d], as the same rows here.

        Args:
            norms: float32 [m] to store; None stores by how much this level changes the squared lengths of
                reconstructions, so that the estimates of both levels add up.

        Raises:
            ValueError: a wrong dtype or shape.
        """
        base, out = of._part(first, len(rows)), self._part(first, len(rows))
        _native.lvq_encode_residual(rows, base, of.bits, of.stride, self.bits, norms, out, self.stride, pool)

    def decode(self) -> NDArray[np.float32]:
        """The rows that the codes stand for, float32 [count, d]."""
        return _native.lvq_decode(self.data, self.count, self.dimensions, self.bits, self.stride)

    def reordered(self, order: NDArray[np.uint32]) -> Self:
        """A copy whose row i is row order[i]."""
        copy = type(self)(self.bits, self.dimensions, self.stride, aligned_zeros(self.data.shape, np.uint8))
        np.take(self.rows, order, axis=0, out=copy.rows)
        return copy

    def _part(self, first: int, count: int) -> NDArray[np.uint8]:
        return self.rows[first : first + count].reshape(-1)


@dataclass(frozen=True)
class TwoLevelCodes:
    """Codes of rows, and codes of what these leave: x ~ first + residual.

    The levels lie apart: a traversal reads the first only. Both have the layout of `LvqCodes`, so that the
    estimates of one kernel add up. The residual's range is read off the row; it is half a step of the first
    level to either side (definition 2), or more where that level was clipped.

    Args:
        first: the first level.
        residual: the second level, of the same rows.
    """

    first: LvqCodes
    residual: LvqCodes

    @classmethod
    def empty(cls, count: int, dimensions: int, encoding: LvqEncoding, alignment: int) -> Self:
        """Room for `count` rows; `alignment` is that of the first level.

        Raises:
            ValueError: an encoding of one level.
        """
        if encoding.residual_bits is None:
            two = ", ".join(each for each in LvqEncoding if each.residual_bits is not None)
            raise ValueError(f"encoding: expected one of {two}, got {encoding}")
        return cls(
            LvqCodes.empty(count, dimensions, encoding.bits, alignment),
            LvqCodes.empty(count, dimensions, encoding.residual_bits, RESIDUAL_ALIGNMENT),
        )

    def encode(
        self,
        first: int,
        rows: NDArray[np.float32],
        norms: NDArray[np.float32] | None = None,
        pool: _native.ThreadPool | None = None,
        *,
        clip: bool | None = None,
    ) -> None:
        """Encode centred rows [m, d] at both levels as the rows from `first` on.

        Args:
            norms: float32 [m] to store with the first level, and 0 with the second; None stores squared
                lengths: those of the first level's reconstruction, and what the second adds to them.
            clip: as for `LvqCodes.encode`, at the first level. It widens the residual.

        Raises:
            ValueError: a wrong dtype or shape.
        """
        self.first.encode(first, rows, norms, pool, clip=clip)
        none = None if norms is None else np.zeros(len(rows), dtype=np.float32)
        self.residual.encode_residual(self.first, first, rows, none, pool)

    def decode(self) -> NDArray[np.float32]:
        """The rows that both levels together stand for, float32 [count, d]."""
        return self.first.decode() + self.residual.decode()
