"""Encodings as LVQ4 rows with a second code for the first dimensions, and the scan that ranks by them.

The dimensions of a projection shrink from first to last, so each is divided by its spread in a sample, and
the rounding of the first ones, which are multiplied by it again, is kept in a second four bits. The row's
step and its bias, -7.5 steps, serve both codes: x ~ spread * step * ((code - 7.5) + (second - 7.5) / 16).
Those first dimensions are turned among themselves before: a query's largest coordinate, which sets how finely
the scan rounds all of them, is then half as large.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import Hits
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.files import save_header
from nearfield.index_builders.params import knob

KIND: Final = "codes"
FORMAT_VERSION: Final = 1

_BLOCK: Final = 64
_CONSTANTS: Final = 8
_DIMENSIONS_PER_SECOND_CODE: Final = 20
# Codes reach so many times a row's root mean square: the least squared error of 16 levels for a Gaussian.
# Dimensions with second codes have levels to spare and reach further.
_REACH: Final = 2.51
_FURTHER: Final = 1.8
_MIDDLE: Final = 7.5
_LEVELS: Final = 15
_FINER: Final = 16


def stride_of(width: int) -> int:
    """Bytes of a row of `width` dimensions."""
    values = width + width // _DIMENSIONS_PER_SECOND_CODE
    return -(-(-(-values // 2) + _CONSTANTS) // _BLOCK) * _BLOCK


@dataclass(frozen=True)
class CodeScale:
    """Maps encodings to rows and queries to what is multiplied with rows.

    Args:
        spread: float32 [width], positive; what each dimension is divided by.
    """

    spread: NDArray[np.float32]

    @classmethod
    def measured(cls, sample: NDArray[np.float32]) -> "CodeScale":
        """The scale for encodings like these, float32 [m, width]."""
        spread = np.sqrt(np.mean(np.square(sample, dtype=np.float32), axis=0))
        spread[: len(spread) // _DIMENSIONS_PER_SECOND_CODE] *= _FURTHER
        return cls(np.where(spread > 0, spread, 1).astype(np.float32))

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return stride_of(len(self.spread))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is saved, by name."""
        return {"spread": self.spread}

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """uint8 [n, stride]; values out of reach are brought to its ends."""
        values = self._turned(rows / self.spread)
        size = np.sqrt(np.mean(np.square(values), axis=1, keepdims=True))
        step = (size * np.float32(2 * _REACH / _LEVELS)).astype(np.float16).astype(np.float32)
        units = values / np.where(step > 0, step, 1)
        codes = _rounded(units)
        second = _rounded((units - codes + np.float32(_MIDDLE))[:, : self._seconds] * np.float32(_FINER))
        out = np.zeros((len(rows), self.stride), np.uint8)
        nibbles = np.zeros((len(rows), 2 * self.stride), np.uint8)
        nibbles[:, self._places()] = np.concatenate([codes, second], axis=1)
        blocks = nibbles.reshape(len(rows), -1, 2, _BLOCK)
        out[:] = (blocks[:, :, 0] | blocks[:, :, 1] << 4).reshape(len(rows), -1)
        constants = np.concatenate([step, np.float32(-_MIDDLE) * step], axis=1).astype(np.float16)
        out[:, -_CONSTANTS : -_CONSTANTS // 2] = constants.view(np.uint8)
        return out

    def queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries [nq, width] in the order of a row's codes, float32 [nq, 2 * stride]."""
        scaled = self._turned(queries * self.spread)
        out = np.zeros((len(queries), 2 * self.stride), np.float32)
        out[:, self._places()] = np.concatenate([scaled, scaled[:, : self._seconds] / _FINER], axis=1)
        return out

    def _turned(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[:, : self._seconds] = values[:, : self._seconds] @ _turn(self._seconds)
        return values

    @property
    def _seconds(self) -> int:
        return len(self.spread) // _DIMENSIONS_PER_SECOND_CODE

    def _places(self) -> NDArray[np.intp]:
        """Where codes, then second codes lie: block after block, low four bits before high ones."""
        values = len(self.spread) + self._seconds
        free = np.arange(2 * self.stride).reshape(-1, 2, _BLOCK)
        last = free[-1, :, : _BLOCK - _CONSTANTS]
        return np.concatenate([free[:-1].ravel(), last.ravel()])[:values]


class CodeScan:
    """An index of rows by inner product: all of them are read, a batch of queries at a time.

    Args:
        rows: uint8 [n, stride], as CodeScale encodes.
    """

    kind = KIND
    metric = "ip"

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        self._rows = rows
        self.count = len(rows)
        self.dimensions = 2 * rows.shape[1]

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; queries as CodeScale makes them, the only knob is `threads`."""
        threads = knob(params, "threads") or 1
        return Hits(*_native.code_search(queries, self._rows, k, allow, threads, shared_pool(threads)))

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """A scan costs what it costs."""
        return float(allowed)

    def save(self, directory: Path) -> list[Path]:
        """Write the header: there is nothing beside the rows."""
        return [save_header(directory, KIND, FORMAT_VERSION, {}, [])]

    def resident_bytes(self) -> int:
        """Nothing beside the rows."""
        return 0


@cache
def _turn(count: int) -> NDArray[np.float32]:
    """An orthogonal matrix without large entries: the discrete cosine transform."""
    angles = np.pi / max(count, 1) * np.outer(np.arange(count), np.arange(count) + 0.5)
    matrix = np.cos(angles) * np.sqrt(2 / max(count, 1))
    matrix[:1] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


def _rounded(units: NDArray[np.floating]) -> NDArray[np.uint8]:
    levels = np.rint(units + np.float32(_MIDDLE))
    return np.asarray(np.clip(levels, 0, _LEVELS), np.uint8)
