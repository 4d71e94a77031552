"""One SQLite transaction of the writer: savepoints, row numbers, and reads that see what it did so far."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits, payload
from nearfield.engine.errors import NotFound
from nearfield.engine.filter.evaluate import matches
from nearfield.engine.filter.expression import Filter
from nearfield.engine.point import StoredId, from_stored, id_to_json
from nearfield.engine.schema import CollectionSchema
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn, gathered
from nearfield.engine.segment.segment_set import SegmentSet
from nearfield.engine.storage.effects import Birth, Effects
from nearfield.engine.storage.point_table import lookup
from nearfield.engine.storage.store import Counters, PointStore, insert_chunk

CommittedRows = Callable[[Filter], NDArray[np.int64]]
"""Live rows that satisfy a filter, as of the last commit."""


class Transaction:
    """Used only by the writer thread, between BEGIN and COMMIT.

    Args:
        pinned: the rows as of the last commit.
        committed_rows: evaluates a filter as of the last commit.
    """

    def __init__(
        self,
        store: PointStore,
        schema: CollectionSchema,
        counters: Counters,
        pinned: SegmentSet,
        committed_rows: CommittedRows,
    ) -> None:
        self.store = store
        self.connection = store.writer
        self.schema = schema
        self.counters = counters
        self.effects: list[Effects] = []
        self._pinned = pinned
        self._committed_rows = committed_rows

    @contextmanager
    def operation(self) -> Iterator[Effects]:
        """A savepoint around one operation, which gets the next id; an error undoes it and nothing else."""
        before = replace(self.counters)
        self.connection.execute("SAVEPOINT operation")
        self.counters.operation += 1
        self.effects.append(Effects())
        try:
            yield self.effects[-1]
        except BaseException:
            self.effects.pop()
            self.counters.__dict__.update(before.__dict__)
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO operation")
                self.connection.execute("RELEASE operation")
            raise
        self.connection.execute("RELEASE operation")

    # ---- reads --------------------------------------------------------------------------------------------

    def rows_of(self, ids: Sequence[StoredId], require_all: bool) -> list[tuple[int, StoredId]]:
        """Row and id of the points there are.

        Raises:
            NotFound: one is missing and all are required; names it.
        """
        found = [(row, stored) for row, stored, _, _ in lookup(self.connection, "id", ids, False)]
        if require_all and len(found) < len(ids):
            there = {stored for _, stored in found}
            missing = next(stored for stored in ids if stored not in there)
            raise NotFound(f"No point with id {id_to_json(from_stored(missing))} found")
        return found

    def rows_matching(self, filter: Filter) -> list[tuple[int, StoredId]]:
        """Row and id of the points that satisfy a filter now, this transaction's own changes included."""
        touched = self._touched_rows()
        committed = [row for row in self._committed_rows(filter).tolist() if row not in touched]
        found = [(row, stored) for row, stored, _, _ in lookup(self.connection, "row", committed, False)]
        points = lookup(self.connection, "row", sorted(touched), True)
        names = self._vector_names([row for row, *_ in points])
        for (row, stored, _, data), own in zip(points, names, strict=True):
            if matches(filter, payload.decode(data), from_stored(stored), own):
                found.append((row, stored))
        return found

    def gather(self, name: str, rows: NDArray[np.int64]) -> StoredColumn:
        """The stored vectors of rows, of this transaction's births too; only those that have one."""
        spec = self.schema.vectors[name]
        parts: list[tuple[NDArray[np.int64], StoredColumn]] = []
        for segment, at, local in self._pinned.locate(rows):
            has = bitmap.test(segment.present(name), local)
            parts.append((at[has], segment.gather(name, local[has])))
        for birth in self._births():
            column = birth.columns.get(name)
            inside = np.flatnonzero((rows >= birth.first_row) & (rows < birth.first_row + birth.count))
            if column is None or not column.count or not len(inside):
                continue
            offsets = rows[inside] - birth.first_row
            if column.present is not None:
                at = np.searchsorted(column.present, offsets)
                has = (at < len(column.present)) & (
                    column.present[np.minimum(at, len(column.present) - 1)] == offsets
                )
                inside, offsets = inside[has], at[has]
            parts.append((inside, column.taken(offsets, None)))
        return gathered(spec, parts)

    # ---- writes -------------------------------------------------------------------------------------------

    def claim_rows(self, count: int) -> int:
        """The first of `count` consecutive new row numbers."""
        first = self.counters.next_row
        self.counters.next_row += count
        self.counters.points += count
        return first

    def kill(self, rows: Sequence[int], effects: Effects) -> None:
        """Record rows as dead; their entries in `points` are the caller's to delete or to move."""
        self.connection.executemany("INSERT INTO deleted_rows VALUES (?)", ((row,) for row in rows))
        effects.dead += rows
        self.counters.points -= len(rows)

    def add_vectors(
        self, first_row: int, count: int, columns: Mapping[str, StoredColumn], effects: Effects
    ) -> None:
        """Store the vectors of new rows, in chunks of the same rows for all names."""
        for start, stop in _chunks(columns.values(), count):
            for name, column in columns.items():
                part = column.part(start, stop)
                if part.count:
                    insert_chunk(self.connection, first_row + start, name, stop - start, part)
        effects.births.append(Birth(first_row, count, columns))

    # ---- own changes --------------------------------------------------------------------------------------

    def _births(self) -> Iterator[Birth]:
        for effects in self.effects:
            yield from effects.births

    def _touched_rows(self) -> set[int]:
        touched: set[int] = set()
        for effects in self.effects:
            touched.update(effects.dead, effects.repainted)
            for birth in effects.births:
                touched.update(range(birth.first_row, birth.first_row + birth.count))
        return touched

    def _vector_names(self, rows: Sequence[int]) -> list[list[str]]:
        """Names of the vectors that each row has."""
        names: list[list[str]] = [[] for _ in rows]
        for name in self.schema.vectors:
            present = self.gather(name, np.array(rows, dtype=np.int64)).present
            for at in () if present is None else present.tolist():
                names[at].append(name)
        return names


def _chunks(columns: Collection[StoredColumn], count: int) -> Iterator[tuple[int, int]]:
    """Runs of rows of which no column has more bytes than a chunk may have; at least one row each."""
    if not columns or sum(column.values.nbytes for column in columns) <= limits.VECTOR_CHUNK_BYTES:
        yield 0, count
        return
    widest = np.max([column.bytes_per_row(count) for column in columns], axis=0)
    ends, start = np.cumsum(widest), 0
    while start < count:
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + limits.VECTOR_CHUNK_BYTES, side="right"))
        stop = min(max(stop, start + 1), count)
        yield start, stop
        start = stop
