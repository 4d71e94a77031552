"""Ranges and streams of rows by exact scans, for kinds that cannot walk outwards."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import RangeHits
from nearfield.engine.search.scan import exact_distances
from nearfield.engine.segment import bitmap
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.params import knob

_BLOCK_ROWS: Final = 65_536


class ByScan:
    """Gives an index over `_base` the methods of BrowsingIndex."""

    _base: BaseRows

    def range_search(
        self,
        queries: NDArray[np.float32],
        radius: float,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> RangeHits:
        """See BrowsingIndex; exact, the only knob is `threads`."""
        return range_scan(self._base, queries, radius, allow, knob(params, "threads") or 1)

    def iterate(
        self,
        query: NDArray[np.float32],
        batch: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """See BrowsingIndex; exact: computes all distances before the first batch."""
        return stream_scan(self._base, query, allow)


def range_scan(
    base: BaseRows,
    queries: NDArray[np.float32],
    radius: float,
    allow: NDArray[np.uint64] | None,
    threads: int,
) -> RangeHits:
    """All allowed rows within the radius of each query."""
    base.verify(allow)
    candidates = bitmap.positions(allow, base.count)
    blocks = [candidates[start : start + _BLOCK_ROWS] for start in range(0, len(candidates), _BLOCK_ROWS)]

    def within(query: NDArray[np.float32]) -> RangeHits:
        found = RangeHits.joined([_near(base, query, rows, radius) for rows in blocks])
        order = np.lexsort((found.rows, found.distances))
        return RangeHits.of_one(found.rows[order], found.distances[order])

    prepared = base.prepared(queries)
    if threads == 1 or len(queries) < 2:
        return RangeHits.joined([within(query) for query in prepared])
    with ThreadPoolExecutor(threads) as pool:
        return RangeHits.joined(list(pool.map(within, prepared)))


def stream_scan(
    base: BaseRows, query: NDArray[np.float32], allow: NDArray[np.uint64] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """All allowed rows in order, at once."""
    hits = range_scan(base, query[None, :], np.inf, allow, 1)
    if len(hits.rows) > 0:
        yield hits.rows, hits.distances


def _near(base: BaseRows, query: NDArray[np.float32], rows: NDArray[np.int64], radius: float) -> RangeHits:
    distances = exact_distances(query, base.rows, rows, base.metric, base.row_scale)
    near = distances <= np.float32(radius)
    return RangeHits.of_one(rows[near], distances[near])
