"""What the search layer takes and gives: vectors and rows; ids, payloads and filters are resolved outside."""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import Rows, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.query import SearchParams
from nearfield.engine.schema import UNNAMED


class SearchableSegment(Protocol):
    """The part of a pinned segment that a search reads. Local row i is `rows[i]` collection-wide."""

    @property
    def count(self) -> int: ...

    @property
    def rows(self) -> NDArray[np.int64]:
        """Ascending collection-wide row numbers, int64 [count]."""
        ...

    @property
    def live(self) -> NDArray[np.uint64] | None:
        """Bitmap of rows that are not deleted; None: all."""
        ...

    def vectors(self, name: str) -> Rows:
        """Stored vectors [count, d] (zeros where a row lacks this vector); not of a multi-vector."""
        ...

    def tokens(self, name: str) -> TokenRows:
        """Stored documents of a multi-vector, one per row (without tokens where a row lacks it)."""
        ...

    def present(self, name: str) -> NDArray[np.uint64] | None:
        """Bitmap of rows that have this vector; None: all."""
        ...

    def row_scale(self, name: str) -> NDArray[np.float32] | None:
        """Inverse norms, float32 [count], where cosine rows are not stored normalised; else None."""
        ...

    def index(self, name: str) -> VectorIndex | None:
        """The built index over `vectors(name)`; None: scan."""
        ...

    def multivector_index(self, name: str) -> MultiVectorIndex | None:
        """The built index over `tokens(name)`; None: scan."""
        ...


RowBitmaps = tuple[NDArray[np.uint64], ...]
"""Rows of the segments that are searched: of each segment, in their order, the bitmap of its local rows."""

DEFAULT_PARAMS: Final = SearchParams()


@dataclass(slots=True, eq=False)  # not frozen: that takes a microsecond longer to make
class VectorQuery:
    """One question with nothing left to look up.

    Args:
        vector: float32 [d], finite; of a multi-vector float32 [t, d], the query's tokens.
        k: rows wanted (limit + offset), 1..SEARCH_LIMIT_MAX.
        using: name of the vector searched.
        allowed: rows that pass the filter; None: no filter. Queries that share a filter should share the
            object: they are then answered together.
        excluded: rows left out of the answer (the point a query by id asks about); k others come back.
        score_threshold: hits with a worse score are dropped.
        params: exact, and the knobs of the index kinds.
    """

    vector: NDArray[np.float32]
    k: int
    using: str = UNNAMED
    allowed: RowBitmaps | None = None
    excluded: tuple[int, ...] = ()
    score_threshold: float | None = None
    params: SearchParams = DEFAULT_PARAMS


class Ranking(NamedTuple):
    """Answer to one query, best first, ties by row; shorter than k when fewer rows qualify.

    Args:
        rows: int64 [h], collection-wide.
        scores: float32 [h], user-facing (Cosine 1 - distance, Dot -distance, Euclid sqrt(distance), Manhattan
            distance).
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
