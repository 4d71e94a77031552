"""The segment that takes new rows: arrays in memory that double as they fill; scanned, never indexed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Rows, VectorIndex
from nearfield.engine.schema import Datatype, Distance, VectorSpec
from nearfield.engine.segment import bitmap

ROW_BYTES = 64
"""Memory a row costs beside its vectors; keeps segments of tiny or absent vectors bounded too."""
_CAPACITY_MIN = 64
_T = TypeVar("_T", bound=NDArray[Any])


@dataclass(frozen=True)
class StoredColumn:
    """One named vector of consecutive new rows, in the stored dtype.

    Args:
        values: [m, d] stored values of the rows that have this vector.
        present: int64 [m], ascending positions of those rows among the new ones; None when all have it.
    """

    values: Rows
    present: NDArray[np.int64] | None = None

    def part(self, start: int, stop: int) -> "StoredColumn":
        """The column of the new rows start..stop."""
        if self.present is None:
            return StoredColumn(self.values[start:stop])
        low, high = np.searchsorted(self.present, [start, stop]).tolist()
        return StoredColumn(self.values[low:high], self.present[low:high] - start)


@dataclass(frozen=True)
class GrowingView:
    """What a query sees of a growing segment; see `Segment`. Local row i is global row `first_row + i`."""

    first_row: int
    count: int
    columns: Mapping[str, Rows]
    presence: Mapping[str, bitmap.Words | None]
    scales: Mapping[str, NDArray[np.float32]]
    live: bitmap.Words | None = None
    live_count: int = 0

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(self.first_row, self.first_row + self.count, dtype=np.int64)

    def vectors(self, name: str) -> Rows:
        return self.columns[name]

    def gather(self, name: str, local: NDArray[np.int64]) -> Rows:
        return self.columns[name][local]

    def present(self, name: str) -> bitmap.Words | None:
        return self.presence[name]

    def row_scale(self, name: str) -> NDArray[np.float32] | None:
        return self.scales.get(name)

    def index(self, name: str) -> VectorIndex | None:
        return None

    def without(self, local: NDArray[np.int64]) -> Self:
        live = bitmap.without(self.live, self.count, local)
        return replace(self, live=live, live_count=bitmap.count(live))


def inverse_norms(rows: Rows) -> NDArray[np.float32]:
    """float32 [n]: 1 / length of each row, 0 for a zero row."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    scales: NDArray[np.float32] = np.zeros(len(rows), dtype=np.float32)
    np.divide(1.0, norms, out=scales, where=norms > 0, casting="same_kind")
    return scales


def needs_scale(spec: VectorSpec) -> bool:
    """Whether rows of this vector carry inverse norms: they cannot be stored normalised."""
    return spec.datatype is Datatype.UINT8 and spec.distance is Distance.COSINE


class _Column:
    """One named vector: rows [capacity, d], who has it, and inverse norms where needed."""

    def __init__(self, spec: VectorSpec) -> None:
        self._rows: Rows = np.zeros((0, spec.size), dtype=spec.datatype.dtype)
        self._scales = np.zeros(0, dtype=np.float32) if needs_scale(spec) else None
        self._present: NDArray[np.bool_] | None = None

    def append(self, at: int, count: int, column: StoredColumn | None) -> None:
        """Write rows at..at+count; memory that an older view shows is never written again."""
        self._reserve(at + count, at)
        if (column is None or column.present is not None) and self._present is None:
            self._present = np.zeros(len(self._rows), dtype=np.bool_)
            self._present[:at] = True
        if column is None:
            return
        where = slice(at, at + count) if column.present is None else at + column.present
        self._rows[where] = column.values
        if self._scales is not None:
            self._scales[where] = inverse_norms(column.values)
        if self._present is not None:
            self._present[where] = True

    def view(self, count: int) -> tuple[Rows, bitmap.Words | None, NDArray[np.float32] | None]:
        present = None if self._present is None else bitmap.from_bools(self._present[:count])
        return self._rows[:count], present, None if self._scales is None else self._scales[:count]

    def _reserve(self, needed: int, used: int) -> None:
        if needed <= len(self._rows):
            return
        capacity = max(needed, 2 * len(self._rows), _CAPACITY_MIN)
        self._rows = _grown(self._rows, capacity, used)
        if self._scales is not None:
            self._scales = _grown(self._scales, capacity, used)
        if self._present is not None:
            self._present = _grown(self._present, capacity, used)


class GrowingSegment:
    """Appends rows numbered from `first_row`. Only the writer thread touches it; queries hold its views."""

    def __init__(self, specs: Mapping[str, VectorSpec], first_row: int) -> None:
        self._columns = {name: _Column(spec) for name, spec in specs.items()}
        self.row_bytes = ROW_BYTES + sum(spec.size * spec.datatype.dtype.itemsize for spec in specs.values())
        self.first_row = first_row
        self.count = 0

    @property
    def bytes(self) -> int:
        """Bytes of the rows so far."""
        return self.count * self.row_bytes

    def append(self, count: int, columns: Mapping[str, StoredColumn]) -> None:
        """Add `count` rows; a name that is missing is a vector none of them has."""
        for name, column in self._columns.items():
            column.append(self.count, count, columns.get(name))
        self.count += count

    def view(self, live: bitmap.Words | None) -> GrowingView:
        """The rows so far, of which those of `live` live (None: all)."""
        parts = {name: column.view(self.count) for name, column in self._columns.items()}
        return GrowingView(
            first_row=self.first_row,
            count=self.count,
            columns={name: rows for name, (rows, _, _) in parts.items()},
            presence={name: present for name, (_, present, _) in parts.items()},
            scales={name: scale for name, (_, _, scale) in parts.items() if scale is not None},
            live=live,
            live_count=self.count if live is None else bitmap.count(live),
        )


def _grown(array: _T, capacity: int, used: int) -> _T:
    grown = np.zeros((capacity, *array.shape[1:]), dtype=array.dtype)
    grown[:used] = array[:used]
    return cast(_T, grown)
