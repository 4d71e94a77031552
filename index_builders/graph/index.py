"""A built compressed graph: traversal on primary codes, re-ranking with secondary codes, then full rows."""

from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.protocol import Hits, RangeHits
from nearfield.engine.segment import bitmap
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.files import save_header
from nearfield.index_builders.graph.adaptive_window import AdaptiveWindow
from nearfield.index_builders.graph.arrays import GraphArrays
from nearfield.index_builders.graph.browse import GraphBrowser
from nearfield.index_builders.graph.costs import Plan
from nearfield.index_builders.graph.native import native_graph
from nearfield.index_builders.graph.ways import EF, IN_FLIGHT, SearchWay, SearchWays
from nearfield.index_builders.params import knob, target_recall
from nearfield.index_builders.scans import range_scan, stream_scan

FORMAT_VERSION: Final = 3
POINTS_NAME: Final = "points.npy"


class GraphIndex:
    """Any number of threads may search; nothing changes once built.

    Args:
        points: where equal rows share a node; None: every row has its own.
        params: of the build; `ef` or else `target_recall` are the defaults of a search.
        calibration: recall by `ef`, where it was measured.
        adaptive: where training queries told how windows should differ between queries.
    """

    def __init__(
        self,
        kind: str,
        base: BaseRows,
        arrays: GraphArrays | None,
        points: GraphPoints | None,
        params: Mapping[str, Any],
        calibration: Calibration | None = None,
        adaptive: AdaptiveWindow | None = None,
    ) -> None:
        self.kind = kind
        self.metric = base.metric
        self.count = base.count
        self.dimensions = base.dimensions
        self.arrays = arrays
        self._base = base
        self._points = points
        self._params = params
        self._know(calibration, adaptive)
        self._graph = None if arrays is None else native_graph(base, arrays, points)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; knobs: `ef` or `target_recall` (see `calibration`), `threads`.

        Where training queries told how, hard queries are walked wider than `ef` and easy ones narrower, so
        that all together take as long.

        With a filter the graph is walked, through rows that are not allowed as well, until the nearest
        allowed ones are known as well as without it; where scoring the code rows of all that are allowed
        costs less they are. A query that codes or links lead astray is answered by a scan.
        """
        threads = knob(params, "threads") or 1
        way = self._ways.of(k, knob(params, "ef"), target_recall(params))
        if way is None:
            return self._base.scan(queries, k, allow, threads)
        if allow is None:
            return self._search_all(queries, k, way, threads)
        hits, short = self._filtered(queries, way.plan, allow, threads)
        if hits is None:
            return self._base.scan(queries, k, allow, threads)
        return hits if short == 0 else self._completed(hits, queries, k, way, allow, threads)

    def search_as(
        self, plan: Plan, queries: NDArray[np.float32], k: int, ef: int, allow: NDArray[np.uint64]
    ) -> Hits:
        """What `search` does by one plan, on one thread, whatever it costs: for measuring that."""
        codes_most = self.count if plan is Plan.SCAN_CODES else 0
        hits = None
        if plan is not Plan.SCAN_ROWS:
            hits, _ = self._filtered(queries, self._ways.filter_plan(k, ef, 0, codes_most), allow, 1)
        return self._base.scan(queries, k, allow, 1) if hits is None else hits

    def range_search(
        self,
        queries: NDArray[np.float32],
        radius: float,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> RangeHits:
        """See BrowsingIndex; knobs: `ef`, `threads`."""
        threads = knob(params, "threads") or 1
        if self._graph is None:
            return range_scan(self._base, queries, radius, allow, threads)
        ef = knob(params, "ef") or self._params["ef"] or EF
        return GraphBrowser(self._graph, self._base, self._points).within(queries, radius, ef, allow, threads)

    def iterate(
        self,
        query: NDArray[np.float32],
        batch: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """See BrowsingIndex; the knob is `ef`. Goes on from where the last batch ended."""
        if self._graph is None:
            return stream_scan(self._base, query, allow)
        ef = knob(params, "ef") or self._params["ef"] or EF
        return GraphBrowser(self._graph, self._base, self._points).stream(query, batch, ef, allow)

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """See VectorIndex: the cheapest plan, a scan of full-precision rows being one of them."""
        way = self._ways.of(k, knob(params, "ef"), target_recall(params))
        if way is None:
            return float(allowed)
        if allowed == self.count:
            return way.scanned_rows
        return self._ways.costs.equivalent_scan_rows(way.ef, k, allowed)

    def default_ef(self, k: int) -> int:
        """The window of a search that asks for none."""
        return self._ways.width(k)

    def search_points(
        self, queries: NDArray[np.float32], k: int, ef: int, threads: int, *, by_codes: bool = False
    ) -> Hits:
        """The search without a filter, but of equal rows that share a node only the first is told.

        Args:
            by_codes: nothing is re-ranked, and every window is `ef`; distances are those of the codes, up to
                a constant of each query.
        """
        assert self._graph is not None
        window = max(ef, k)
        (secondary, exact), adaptive = ((0, 0), None) if by_codes else self._ways.walk(k, window)
        rows, distances, _ = self._graph.search(
            self._base.prepared(queries), k, window, secondary, exact, IN_FLIGHT,
            adaptive=adaptive, pool=shared_pool(threads),
        )  # fmt: skip
        return Hits(rows, distances) if by_codes else self._hits(rows, distances)

    @property
    def weighs_by_length(self) -> bool:
        """Whether distances by codes over the weight of norms are those of a query of unit length."""
        return self.metric == "l2" or (self.arrays is not None and self.arrays.query_mean is not None)

    @property
    def points(self) -> GraphPoints | None:
        """See the class."""
        return self._points

    def resident_bytes(self) -> int:
        """Graph, codes and tables; the full rows belong to the caller."""
        own = 0
        if self.arrays is not None:  # the search also has the row of each node and the node of each row
            own = self.arrays.resident_bytes() + 4 * (len(self.arrays.links.order) + self.count)
        return (
            own + self._base.resident_bytes() + (0 if self._points is None else self._points.resident_bytes())
        )

    def save(self, directory: Path) -> list[Path]:
        """Write every array and the header; the full rows are the caller's to keep."""
        files = self._base.save(directory)
        facts = {**self._base.facts(), "has_points": self._points is not None, "arrays": None}
        if self._points is not None:
            self._points.save(directory / POINTS_NAME)
            files.append(directory / POINTS_NAME)
        if self.arrays is not None:
            facts["arrays"] = self.arrays.facts()
            files += self.arrays.save(directory)
        if self.calibration is not None:
            facts["calibration"] = self.calibration.to_json()
        if self.adaptive is not None:
            facts["adaptive"] = self.adaptive.to_json()
        return [*files, save_header(directory, self.kind, FORMAT_VERSION, facts, files)]

    def calibrated(self, calibration: Calibration | None) -> Self:
        """The same index that knows its recall."""
        index = copy(self)
        index._know(calibration, self.adaptive)
        return index

    def adapted(self, adaptive: AdaptiveWindow | None) -> Self:
        """The same index with other windows."""
        index = copy(self)
        index._know(self.calibration, adaptive)
        return index

    def _know(self, calibration: Calibration | None, adaptive: AdaptiveWindow | None) -> None:
        self.calibration = calibration
        self.adaptive = adaptive
        self._ways = SearchWays(self.kind, self._base, self.arrays, self._params, calibration, adaptive)

    def _search_all(self, queries: NDArray[np.float32], k: int, way: SearchWay, threads: int) -> Hits:
        assert self._graph is not None
        prepared = self._base.prepared(queries)
        pool = shared_pool(threads) if len(queries) > 1 else None
        secondary, exact = way.reranked
        rows, distances, (_, _, short) = self._graph.search(
            prepared, k, way.ef, secondary, exact, IN_FLIGHT, adaptive=way.adaptive, pool=pool
        )
        if self._base.checks is not None:
            if short:  # every node can be reached, unless links are damaged
                return self._base.scan(queries, k, None, threads)
            self._base.confirm(rows)
        hits = self._hits(rows, distances)
        return hits if self._points is None else self._points.expanded(hits, None)

    def _completed(
        self,
        hits: Hits,
        queries: NDArray[np.float32],
        k: int,
        way: SearchWay,
        allow: NDArray[np.uint64],
        threads: int,
    ) -> Hits:
        """Queries that a walk gave up are answered by their codes, those that codes mislead by full rows."""
        left = np.flatnonzero(hits.rows[:, -1] < 0)
        if bitmap.count(allow) > way.codes_most:
            scanned, _ = self._filtered(queries[left], way.scan_plan, allow, threads)
            assert scanned is not None
            hits.rows[left], hits.distances[left] = scanned.rows, scanned.distances
            left = left[scanned.rows[:, -1] < 0]
        if len(left):
            exact = self._base.scan(queries[left], k, allow, threads)
            hits.rows[left], hits.distances[left] = exact.rows, exact.distances
        return hits

    def _filtered(
        self,
        queries: NDArray[np.float32],
        plan: _native.GraphFilterPlan,
        allow: NDArray[np.uint64],
        threads: int,
    ) -> tuple[Hits | None, int]:
        """Also returns how many answers have fewer than k rows; no hits where full rows are to be scanned."""
        assert self._graph is not None
        words = allow if self._points is None else self._points.first_row_bitmap(allow)
        pool = shared_pool(threads) if len(queries) > 1 else None
        found = self._graph.search_filtered(self._base.prepared(queries), plan, words, pool)
        if found is None:
            return None, 0
        rows, distances, short = found
        if self._base.checks is not None:
            self._base.confirm(rows)
        hits = self._hits(rows, distances)
        if self._points is None:
            return hits, short
        hits = self._points.expanded(hits, allow)
        return hits, int((hits.rows[:, -1] < 0).sum())

    def _hits(self, rows: NDArray[np.int64], distances: NDArray[np.float32]) -> Hits:
        if self.metric == "cosine":
            _native.cosine_hits(rows, distances)
        return Hits(rows, distances)
