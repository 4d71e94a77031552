"""One named vector of consecutive new rows, in its stored form: dense rows, or encoded tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Rows
from nearfield.engine.point import token_positions
from nearfield.engine.schema import VectorSpec


@dataclass(frozen=True)
class StoredColumn:
    """One named vector of consecutive new rows, in its stored form.

    Args:
        values: [m, d] stored values of the rows that have this vector; of a multi-vector [t, s], the encoded
            tokens of those rows, back to back.
        present: int64 [m], ascending positions of those rows among the new ones; None when all have it.
        offsets: int64 [m + 1], of a multi-vector only: where each row's tokens begin, from 0.
    """

    values: Rows
    present: NDArray[np.int64] | None = None
    offsets: NDArray[np.int64] | None = None

    @property
    def count(self) -> int:
        """Rows that have the vector."""
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def bytes_per_row(self, count: int) -> NDArray[np.int64]:
        """int64 [count]: bytes of each of the new rows."""
        width = self.values.shape[1] * self.values.itemsize
        own = np.full(self.count, width) if self.offsets is None else np.diff(self.offsets) * width
        if self.present is None:
            return own
        spread = np.zeros(count, dtype=np.int64)
        spread[self.present] = own
        return spread

    def part(self, start: int, stop: int) -> Self:
        """The column of the new rows start..stop."""
        low, high, present = start, stop, self.present
        if present is not None:
            low, high = np.searchsorted(present, [start, stop]).tolist()
            present = present[low:high] - start
        if self.offsets is None:
            return type(self)(self.values[low:high], present)
        offsets = self.offsets[low : high + 1]
        return type(self)(self.values[offsets[0] : offsets[-1]], present, offsets - offsets[0])

    def taken(self, positions: NDArray[np.int64], present: NDArray[np.int64] | None) -> Self:
        """The vectors at some positions, as the column of the rows `present`."""
        if self.offsets is None:
            return type(self)(self.values[positions], present)
        starts = self.offsets[positions]
        tokens, offsets = token_positions(starts, self.offsets[positions + 1] - starts)
        return type(self)(self.values[tokens], present, offsets)

    def packed(self, count: int) -> Self:
        """The same column, its positions left out when all of `count` rows have the vector."""
        return type(self)(self.values, None, self.offsets) if self.count == count else self


def no_tokens(spec: VectorSpec) -> NDArray[Any]:
    """[0, s]: no token of a multi-vector, in its stored form."""
    encoding = spec.token_encoding
    if encoding.is_codes:
        return np.zeros((0, encoding.row_bytes(spec.size)), dtype=np.uint8)
    return np.zeros((0, spec.size), dtype=encoding.value)


def gathered(spec: VectorSpec, parts: Sequence[tuple[NDArray[np.int64], StoredColumn]]) -> StoredColumn:
    """One column put together from parts.

    Args:
        parts: positions int64 [m] of rows, and as many vectors; no position is in two parts.
    """
    multivector = spec.multivector is not None
    empty: Rows = no_tokens(spec) if multivector else np.zeros((0, spec.size), dtype=spec.datatype.dtype)
    at = np.concatenate([np.zeros(0, dtype=np.int64), *(positions for positions, _ in parts)])
    order = np.argsort(at, kind="stable")
    values: Any = np.concatenate([empty, *(column.values for _, column in parts)])
    offsets = None
    if multivector:
        lengths = [np.diff(column.offsets) for _, column in parts if column.offsets is not None]
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), *lengths]).cumsum()
    return StoredColumn(values, None, offsets).taken(order, at[order])
