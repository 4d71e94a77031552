"""Ids and versions of rows that searches found, kept in memory by row."""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

from nearfield.engine import limits
from nearfield.engine.point import from_stored
from nearfield.engine.query import Record
from nearfield.engine.storage.point_table import StoredPoint


class RecordCache:
    """Records without payload and vectors; any thread may use it, and reads take no lock.

    A row is one written version of a point, so its id never changes; its version number does when its payload
    is written, and such rows are forgotten with that write's publication, before it is acknowledged. Whether
    a row lives is not known here: the pinned segments say that.

    Args:
        rows_max: rows held at most; the half that was looked up least recently makes room.
    """

    def __init__(self, rows_max: int = limits.CACHED_ROWS_MAX) -> None:
        self._half = max(1, rows_max // 2)
        self._young: dict[int, Record] = {}
        self._old: dict[int, Record] = {}
        self._lock = threading.Lock()
        self.generation = 0
        """Changes whenever rows are forgotten; to be read before the rows to `remember` are."""

    def known(self, rows: Sequence[int]) -> list[Record] | None:
        """The records of the rows, in their order; None unless all are known."""
        young = self._young
        try:
            return [young[row] for row in rows]
        except KeyError:
            found = self.among(rows)
            return [found[row] for row in rows] if len(found) == len(set(rows)) else None

    def among(self, rows: Iterable[int]) -> dict[int, Record]:
        """The records that are known, by row; those of the older half become young again."""
        generation = self.generation
        young, old = self._young, self._old
        found: dict[int, Record] = {}
        kept: dict[int, Record] = {}
        for row in rows:
            record = young.get(row)
            if record is None and (record := old.get(row)) is not None:
                kept[row] = record
            if record is not None:
                found[row] = record
        if kept:
            self._keep(kept, generation)
        return found

    def remember(self, points: Iterable[StoredPoint], generation: int) -> dict[int, Record]:
        """Records of points that were read when the cache had this generation; kept if it still has."""
        records = {row: Record(from_stored(stored), version) for row, stored, version, _ in points}
        self._keep(records, generation)
        return records

    def _keep(self, records: dict[int, Record], generation: int) -> None:
        with self._lock:
            if generation != self.generation:
                return
            if len(self._young) + len(records) > self._half:
                self._old, self._young = self._young, {}
            self._young.update(islice(records.items(), self._half))

    def forget(self, rows: Sequence[int]) -> None:
        """Rows that died or got another version."""
        if not rows:
            return
        with self._lock:
            self.generation += 1
            for row in rows:
                self._young.pop(row, None)
                self._old.pop(row, None)
