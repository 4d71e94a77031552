"""What a query sees: an immutable set of segments, pinned by holding a reference to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.search.request import SearchableSegment
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn
from nearfield.engine.segment.row_runs import RowRuns


class Segment(SearchableSegment, Protocol):
    """A run of rows as one query sees it; nothing reachable from it ever changes.

    `vectors`, `tokens` and `gather` raise `Corrupted` when a checksum of the stored vectors does not hold.
    """

    @property
    def live_count(self) -> int:
        """Number of living rows."""
        ...

    @property
    def row_runs(self) -> RowRuns:
        """Where runs of consecutive rows begin; one at most where no row is missing."""
        ...

    def gather(self, name: str, local: NDArray[np.int64]) -> StoredColumn:
        """A vector of some rows, zeros or no token where a row lacks it; verifies only what it reads."""
        ...

    def token_counts(self, name: str, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [m]: how many tokens some rows have of a multi-vector."""
        ...

    def token_bytes(self, name: str) -> int:
        """Bytes of all tokens of a multi-vector."""
        ...

    def without(self, local: NDArray[np.int64]) -> Self:
        """The same segment with some living rows dead."""
        ...


@dataclass(frozen=True)
class SegmentSet:
    """The segments of one moment, in no order; a row is in at most one of them.

    Args:
        epoch: number of the publication that made this set; equal epochs mean equal content.
    """

    segments: tuple[Segment, ...] = ()
    epoch: int = 0
    live_count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live_count", sum(segment.live_count for segment in self.segments))

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def locate(
        self, rows: NDArray[np.int64]
    ) -> Iterator[tuple[Segment, NDArray[np.int64], NDArray[np.int64]]]:
        """Where global rows are, dead ones included: (segment, positions in `rows`, local positions)."""
        for segment in self.segments:
            local, inside = local_positions(segment, rows)
            if inside.any():
                yield segment, np.flatnonzero(inside), local[inside]

    def live_rows(self) -> NDArray[np.int64]:
        """Ascending global rows that live."""
        return self.rows_in([segment.live for segment in self.segments])

    def rows_in(self, bitmaps: Sequence[bitmap.Words | None]) -> NDArray[np.int64]:
        """Ascending global rows of a bitmap of local rows per segment (None: all)."""
        parts = [
            segment.rows[bitmap.positions(words, segment.count)]
            for segment, words in zip(self.segments, bitmaps, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)

    def rows_with_vector(self, name: str) -> NDArray[np.int64]:
        """Ascending global rows that live and have the named vector."""
        parts = []
        for segment in self.segments:
            local = bitmap.positions(segment.live, segment.count)
            parts.append(segment.rows[local[bitmap.test(segment.present(name), local)]])
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)

    def are_live(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each global row lives in this set."""
        alive = np.zeros(len(rows), dtype=np.bool_)
        for segment in self.segments:
            local, inside = local_positions(segment, rows)
            if segment.live is not None and inside.any():
                inside &= bitmap.test(segment.live, local)
            alive |= inside
        return alive


def local_positions(segment: Segment, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Local positions of global rows in a segment, and which of them are really there.

    Those of rows that are not there are positions of others.
    """
    own = segment.rows
    if not len(own) or not len(rows):
        return np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.bool_)
    first, last = int(own[0]), int(own[-1])
    if last - first + 1 == len(own):  # no gaps: nothing to search for
        return np.clip(rows, first, last) - first, (rows >= first) & (rows <= last)
    local = np.minimum(np.searchsorted(own, rows), len(own) - 1)
    return local, own[local] == rows
