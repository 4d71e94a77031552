"""What filter evaluation asks beside payload indexes, answered for one pinned set."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.point import PointId, to_stored
from nearfield.engine.segment.segment_set import SegmentSet
from nearfield.engine.storage.store import PointStore


class PinnedContext:
    """The `FilterContext` of one collection at one moment."""

    def __init__(self, store: PointStore, pinned: SegmentSet, vector_names: Collection[str]) -> None:
        self._store = store
        self._pinned = pinned
        self._vector_names = vector_names

    def rows_of(self, ids: Sequence[PointId]) -> NDArray[np.int64]:
        """Rows of those ids that exist, int64."""
        found = self._store.points_of_ids([to_stored(point) for point in ids], with_payload=False)
        return np.array([row for row, *_ in found], dtype=np.int64)

    def rows_with_vector(self, name: str) -> NDArray[np.int64]:
        """Rows that have a vector of this name, int64; none if the collection has no such name."""
        if name not in self._vector_names:
            return np.empty(0, dtype=np.int64)
        return self._pinned.rows_with_vector(name)

    def payloads(self, rows: NDArray[np.int64]) -> Iterable[tuple[int, bytes | None]]:
        """Stored payloads of those rows that still exist."""
        for row, _, _, data in self._store.points_of_rows(rows.tolist()):
            yield row, data
