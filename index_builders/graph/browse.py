"""What lies around a query in a graph: everything within a distance, and one batch of rows after another."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import RangeHits
from nearfield.engine.segment import bitmap
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.copies import GraphPoints

_COSINE_ROUNDING: Final = 1e-6
"""More than what adding 1 to the negated product of unit vectors rounds away."""


class GraphBrowser:
    """A native graph with what its rows stand for."""

    def __init__(self, graph: _native.Graph, base: BaseRows, points: GraphPoints | None) -> None:
        self._graph = graph
        self._base = base
        self._points = points

    def within(
        self,
        queries: NDArray[np.float32],
        radius: float,
        ef: int,
        allow: NDArray[np.uint64] | None,
        threads: int,
    ) -> RangeHits:
        """See BrowsingIndex.range_search."""
        cosine = self._base.metric == "cosine"
        reach = radius - 1.0 + _COSINE_ROUNDING if cosine else radius
        pool = shared_pool(threads) if len(queries) > 1 else None
        offsets, rows, distances = _native.graph_range_search(
            self._graph, self._base.prepared(queries), reach, ef, self._first_rows(allow), pool
        )
        self._base.confirm(rows)
        if not cosine and self._points is None:
            return RangeHits(offsets, rows, distances)
        found = []
        for start, end in pairwise(offsets):
            members, of_members = self._completed(rows[start:end], distances[start:end], allow)
            near = of_members <= np.float32(radius)
            found.append(RangeHits.of_one(members[near], of_members[near]))
        return RangeHits.joined(found)

    def stream(
        self, query: NDArray[np.float32], batch: int, ef: int, allow: NDArray[np.uint64] | None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """See BrowsingIndex.iterate."""
        prepared = self._base.prepared(query[None, :])[0]
        rows = _native.GraphRowStream(self._graph, prepared, ef, self._first_rows(allow))
        while len((piece := rows.next(batch))[0]) > 0:
            self._base.confirm(piece[0])
            yield self._completed(*piece, allow)

    def _first_rows(self, allow: NDArray[np.uint64] | None) -> NDArray[np.uint64] | None:
        if self._points is None or allow is None:
            return allow
        return self._points.first_row_bitmap(allow)

    def _completed(
        self,
        rows: NDArray[np.int64],
        distances: NDArray[np.float32],
        allow: NDArray[np.uint64] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows [m] as all the allowed rows they stand for, the graph's distances as the metric's."""
        if self._base.metric == "cosine":
            distances = distances + np.float32(1.0)  # rounds, which makes ties
        elif self._points is None:
            return rows, distances
        if self._points is not None:
            rows, owners = self._points.rows_of(self._points.point_of_row[rows].astype(np.int64), None)
            kept = bitmap.test(allow, rows)
            rows, distances = rows[kept], distances[owners[kept]]
        order = np.lexsort((rows, distances))
        return rows[order], distances[order]
