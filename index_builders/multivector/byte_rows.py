"""Encodings as one byte per dimension: x[j] ~ lowest[j] + step[j] * code[j]."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEVELS = 255


@dataclass(frozen=True)
class ByteScale:
    """Range of each dimension. Inner products with a query keep their order when the query is scaled alone.

    Args:
        lowest: float32 [width].
        step: float32 [width], positive.
    """

    lowest: NDArray[np.float32]
    step: NDArray[np.float32]

    @classmethod
    def spanning(cls, least: NDArray[np.float32], most: NDArray[np.float32]) -> "ByteScale":
        """The scale that covers values from `least` to `most`, float32 [width] each."""
        step = (most - least) / _LEVELS
        return cls(least, np.where(step > 0, step, 1).astype(np.float32))

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes of a row, in a single plane."""
        return (len(self.step),)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is saved, by name."""
        return {"lowest": self.lowest, "step": self.step}

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.uint8], ...]:
        """uint8 [n, width] of the only plane; values outside the range are brought to its ends."""
        codes: NDArray[np.uint8] = np.clip(np.rint((rows - self.lowest) / self.step), 0, _LEVELS).astype(
            np.uint8
        )
        return (codes,)

    def queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries whose products with the codes rank as theirs with the encodings."""
        return queries * self.step
