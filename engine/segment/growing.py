"""The segment that takes new rows: arrays in memory that double as they fill; scanned, never indexed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import Rows, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.schema import Datatype, Distance, VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn, no_tokens
from nearfield.engine.segment.row_runs import RowRuns, one_run

ROW_BYTES = 64
"""Memory a row costs beside its vectors; keeps segments of tiny or absent vectors bounded too."""
_CAPACITY_MIN = 64
_T = TypeVar("_T", bound=NDArray[Any])


@dataclass(frozen=True)
class GrowingView:
    """What a query sees of a growing segment; see `Segment`. Local row i is global row `first_row + i`."""

    first_row: int
    count: int
    bytes: int
    columns: Mapping[str, Rows]
    documents: Mapping[str, TokenRows]
    presence: Mapping[str, bitmap.Words | None]
    scales: Mapping[str, NDArray[np.float32]]
    live: bitmap.Words | None = None
    live_count: int = 0

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(self.first_row, self.first_row + self.count, dtype=np.int64)

    @property
    def row_runs(self) -> RowRuns:
        return one_run(self.first_row)

    def vectors(self, name: str) -> Rows:
        return self.columns[name]

    def tokens(self, name: str) -> TokenRows:
        return self.documents[name]

    def gather(self, name: str, local: NDArray[np.int64]) -> StoredColumn:
        documents = self.documents.get(name)
        if documents is None:
            return StoredColumn(self.columns[name][local])
        return StoredColumn(documents.values, None, documents.offsets).taken(local, None)

    def token_counts(self, name: str, local: NDArray[np.int64]) -> NDArray[np.int64]:
        offsets = self.documents[name].bounds()
        return offsets[local + 1] - offsets[local]

    def token_bytes(self, name: str) -> int:
        return self.documents[name].values.nbytes

    def present(self, name: str) -> bitmap.Words | None:
        return self.presence[name]

    def row_scale(self, name: str) -> NDArray[np.float32] | None:
        return self.scales.get(name)

    def index(self, name: str) -> VectorIndex | None:
        return None

    def multivector_index(self, name: str) -> MultiVectorIndex | None:
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


class _Presence:
    """Which rows of a column have the vector; nothing is kept while all have it."""

    def __init__(self) -> None:
        self._present: NDArray[np.bool_] | None = None

    def append(self, at: int, count: int, column: StoredColumn | None) -> None:
        """Note rows at..at+count; memory that an older view shows is never written again."""
        if self._present is None:
            if column is not None and column.present is None:
                return
            self._present = np.ones(at, dtype=np.bool_)
        if at + count > len(self._present):
            self._present = _grown(self._present, max(at + count, 2 * len(self._present)), at)
        if column is not None:
            self._present[slice(at, at + count) if column.present is None else at + column.present] = True

    def view(self, count: int) -> bitmap.Words | None:
        return None if self._present is None else bitmap.from_bools(self._present[:count])


class _Column:
    """One named vector: rows [capacity, d], and inverse norms where needed."""

    def __init__(self, spec: VectorSpec) -> None:
        self._rows: Rows = np.zeros((0, spec.size), dtype=spec.datatype.dtype)
        self._row_bytes = spec.size * spec.datatype.dtype.itemsize
        self._scales = np.zeros(0, dtype=np.float32) if needs_scale(spec) else None

    def append(self, at: int, count: int, column: StoredColumn | None) -> int:
        """Write rows at..at+count and return their bytes; what an older view shows is never written again."""
        if at + count > len(self._rows):
            capacity = max(at + count, 2 * len(self._rows), _CAPACITY_MIN)
            self._rows = _grown(self._rows, capacity, at)
            if self._scales is not None:
                self._scales = _grown(self._scales, capacity, at)
        if column is not None:
            where = slice(at, at + count) if column.present is None else at + column.present
            self._rows[where] = column.values
            if self._scales is not None:
                self._scales[where] = inverse_norms(column.values)
        return count * self._row_bytes

    def view(self, count: int) -> tuple[Rows, NDArray[np.float32] | None]:
        return self._rows[:count], None if self._scales is None else self._scales[:count]


class _TokenColumn:
    """One multi-vector: encoded tokens [capacity, s], and where each row's begin."""

    def __init__(self, spec: VectorSpec) -> None:
        self._spec = spec
        self._values: NDArray[Any] = no_tokens(spec)
        self._offsets = np.zeros(1, dtype=np.int64)

    def append(self, at: int, count: int, column: StoredColumn | None) -> int:
        """As that of `_Column`; rows without the vector have no tokens."""
        if at + count >= len(self._offsets):
            capacity = max(at + count + 1, 2 * len(self._offsets), _CAPACITY_MIN)
            self._offsets = _grown(self._offsets, capacity, at + 1)
        lengths = np.zeros(count, dtype=np.int64)
        first = int(self._offsets[at])
        if column is not None and column.offsets is not None:
            lengths[slice(None) if column.present is None else column.present] = np.diff(column.offsets)
            last = first + len(column.values)
            if last > len(self._values):
                capacity = max(last, 2 * len(self._values), _CAPACITY_MIN)
                self._values = _grown(self._values, capacity, first)
            self._values[first:last] = column.values
        self._offsets[at + 1 : at + count + 1] = first + np.cumsum(lengths)
        added = int(lengths.sum())
        return added * self._spec.token_encoding.row_bytes(self._spec.size) + count * self._offsets.itemsize

    def view(self, count: int) -> TokenRows:
        offsets = self._offsets[: count + 1]
        return TokenRows(self._values[: offsets[-1]], offsets, self._spec.token_encoding, self._spec.size)


class GrowingSegment:
    """Appends rows numbered from `first_row`. Only the writer thread touches it; queries hold its views."""

    def __init__(self, specs: Mapping[str, VectorSpec], first_row: int) -> None:
        self._dense = {name: _Column(spec) for name, spec in specs.items() if spec.multivector is None}
        self._tokens = {
            name: _TokenColumn(spec) for name, spec in specs.items() if spec.multivector is not None
        }
        self._presence = {name: _Presence() for name in specs}
        self.first_row = first_row
        self.count = 0
        self.bytes = 0
        """Bytes of the rows so far."""

    def append(self, count: int, columns: Mapping[str, StoredColumn]) -> None:
        """Add `count` rows; a name that is missing is a vector none of them has."""
        self.bytes += count * ROW_BYTES
        for name, presence in self._presence.items():
            presence.append(self.count, count, columns.get(name))
        for name, column in (self._dense | self._tokens).items():
            self.bytes += column.append(self.count, count, columns.get(name))
        self.count += count

    def view(self, live: bitmap.Words | None) -> GrowingView:
        """The rows so far, of which those of `live` live (None: all)."""
        parts = {name: column.view(self.count) for name, column in self._dense.items()}
        return GrowingView(
            first_row=self.first_row,
            count=self.count,
            bytes=self.bytes,
            columns={name: rows for name, (rows, _) in parts.items()},
            documents={name: column.view(self.count) for name, column in self._tokens.items()},
            presence={name: presence.view(self.count) for name, presence in self._presence.items()},
            scales={name: scale for name, (_, scale) in parts.items() if scale is not None},
            live=live,
            live_count=self.count if live is None else bitmap.count(live),
        )


def _grown(array: _T, capacity: int, used: int) -> _T:
    grown = np.zeros((capacity, *array.shape[1:]), dtype=array.dtype)
    grown[:used] = array[:used]
    return cast(_T, grown)
