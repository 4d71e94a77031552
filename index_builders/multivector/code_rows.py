"""Encodings as 4-bit codes with a second code for the first dimensions, and the scan that ranks by them.

The dimensions of a projection shrink from first to last, so each is divided by its spread in a sample, and
the rounding of the first ones, which are multiplied by it again, is kept in a second four bits. The row's
step and its bias, -7.5 steps, serve both codes: x ~ spread * step * ((code - 7.5) + (second - 7.5) / 16).
Those first dimensions are turned among themselves before: a query's largest coordinate, which sets how finely
the scan rounds all of them, is then half as large.

A row lies in two planes: the codes of the first dimensions with the row's step and bias, and all others. A
scan reads the first plane of all rows, and the other only of those that it favours.
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
FORMAT_VERSION: Final = 2

_BLOCK: Final = 64
_FIRST_BLOCKS: Final = 2
_CONSTANTS: Final = 8
_DIMENSIONS_PER_SECOND_CODE: Final = 20
# Codes reach so many times a row's root mean square: the least squared error of 16 levels for a Gaussian.
# Dimensions with second codes have levels to spare and reach further.
_REACH: Final = 2.51
_FURTHER: Final = 1.8
_MIDDLE: Final = 7.5
_LEVELS: Final = 15
_FINER: Final = 16
# Rows scored completely: nothing is lost at 100 candidates, and hardly anything at 20.
_KEPT_PER_CANDIDATE: Final = 6
_KEPT_MORE: Final = 200


def strides_of(width: int) -> tuple[int, int]:
    """Bytes of a row of `width` dimensions in either plane; the second may be 0."""
    values = width + width // _DIMENSIONS_PER_SECOND_CODE
    blocks = -(-(-(-values // 2) + _CONSTANTS) // _BLOCK)
    first = min(blocks, _FIRST_BLOCKS)
    return first * _BLOCK, (blocks - first) * _BLOCK


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
    def strides(self) -> tuple[int, int]:
        """Bytes of a row in each plane."""
        return strides_of(len(self.spread))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is saved, by name."""
        return {"spread": self.spread}

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.uint8], ...]:
        """uint8 [n, stride] of each plane; values out of reach are brought to its ends."""
        values = self._turned(rows / self.spread)
        size = np.sqrt(np.mean(np.square(values), axis=1, keepdims=True))
        step = (size * np.float32(2 * _REACH / _LEVELS)).astype(np.float16).astype(np.float32)
        units = values / np.where(step > 0, step, 1)
        codes = _rounded(units)
        second = _rounded((units - codes + np.float32(_MIDDLE))[:, : self._seconds] * np.float32(_FINER))
        values = np.concatenate([codes, second], axis=1)
        nibbles = np.zeros((len(rows), self._places), np.uint8)
        for places, part in self._parts():
            nibbles[:, places] = values[:, part]
        blocks = nibbles.reshape(len(rows), -1, 2, _BLOCK)
        packed = (blocks[:, :, 0] | blocks[:, :, 1] << 4).reshape(len(rows), -1)
        first, rest = np.split(packed, [self.strides[0]], axis=1)
        constants = np.concatenate([step, np.float32(-_MIDDLE) * step], axis=1).astype(np.float16)
        first[:, -_CONSTANTS : -_CONSTANTS // 2] = constants.view(np.uint8)
        return np.ascontiguousarray(first), np.ascontiguousarray(rest)

    def queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries [nq, width] in the order of a row's codes, float32 [nq, 2 * stride of both planes]."""
        scaled = self._turned(queries * self.spread)
        values = np.concatenate([scaled, scaled[:, : self._seconds] / np.float32(_FINER)], axis=1)
        out = np.zeros((len(queries), self._places), np.float32)
        for places, part in self._parts():
            out[:, places] = values[:, part]
        return out

    def _turned(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[:, : self._seconds] = values[:, : self._seconds] @ _turn(self._seconds)
        return values

    @property
    def _seconds(self) -> int:
        return len(self.spread) // _DIMENSIONS_PER_SECOND_CODE

    @property
    def _places(self) -> int:
        """Codes of a row, those of the constants included."""
        return 2 * sum(self.strides)

    def _parts(self) -> list[tuple[slice, slice]]:
        """Where codes, then second codes lie: block after block, low four bits before high ones. The end of
        both halves of the first plane's last block is left to the constants.
        """
        values = len(self.spread) + self._seconds
        end = 2 * self.strides[0]
        low, high = end - 2 * _BLOCK, end - _BLOCK
        free = [(0, low), (low, high - _CONSTANTS), (high, end - _CONSTANTS), (end, self._places)]
        parts, done = [], 0
        for at, until in free:
            count = min(until - at, values - done)
            parts.append((slice(at, at + count), slice(done, done + count)))
            done += count
        return parts


class CodeScan:
    """An index of rows by inner product: of all the first plane is read, for many queries at once.

    Args:
        first, rest: uint8 [n, stride] each, as CodeScale encodes.
    """

    kind = KIND
    metric = "ip"

    def __init__(self, first: NDArray[np.uint8], rest: NDArray[np.uint8]) -> None:
        self._first, self._rest = first, rest
        self.count = len(first)
        self.dimensions = 2 * (first.shape[1] + rest.shape[1])

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; queries as CodeScale makes them, the only knob is `threads`."""
        threads = knob(params, "threads") or 1
        pool, kept = shared_pool(threads), _kept(k)
        return Hits(*_native.code_search(queries, self._first, self._rest, k, kept, allow, threads, pool))

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """In whole rows."""
        share: float = self._first.shape[1] / (self._first.shape[1] + self._rest.shape[1])
        return share * allowed + (1 - share) * min(_kept(k), allowed)

    def save(self, directory: Path) -> list[Path]:
        """Write the header: there is nothing beside the rows."""
        return [save_header(directory, KIND, FORMAT_VERSION, {}, [])]

    def resident_bytes(self) -> int:
        """Nothing beside the rows."""
        return 0


def _kept(k: int) -> int:
    return _KEPT_PER_CANDIDATE * k + _KEPT_MORE


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
