"""A built compressed graph: traversal on primary codes, re-ranking with secondary codes, then full rows."""

import math
from collections.abc import Iterator, Mapping
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.protocol import Hits, RangeHits
from nearfield.engine.search.scan import cosine_hits
from nearfield.engine.segment import bitmap
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.files import save_header
from nearfield.index_builders.graph.arrays import GraphArrays
from nearfield.index_builders.graph.browse import GraphBrowser
from nearfield.index_builders.graph.costs import SCAN_CODES, SCAN_ROWS, Plan, SearchCosts
from nearfield.index_builders.params import knob, not_calibrated, target_recall
from nearfield.index_builders.scans import range_scan, stream_scan

FORMAT_VERSION: Final = 2
POINTS_NAME: Final = "points.npy"

CALIBRATED_ROWS_MIN: Final = 1_000
"""A scan of fewer rows answers fast enough whatever recall is asked for."""

_IN_FLIGHT: Final = 3
_EF: Final = 48
"""Search window of an index that was not calibrated; of ranges and streams, whose recall never is."""
_RERANK_LEAST: Final = 10
"""Re-ranking treats a smaller k like this one."""
_FEW_DIMENSIONS: Final = 64
"""Full rows of so few cost hardly more than codes, and more of them are read (measured: decision 0026)."""
_EXACT_ROWS_MOST: Final = 8_192
_FAR_WINDOWS: Final = 8


class GraphIndex:
    """Any number of threads may search; nothing changes once built.

    Args:
        points: where equal rows share a node; None: every row has its own.
        params: of the build; `ef` or else `target_recall` are the defaults of a search.
        calibration: recall by `ef`, where it was measured.
    """

    def __init__(
        self,
        kind: str,
        base: BaseRows,
        arrays: GraphArrays | None,
        points: GraphPoints | None,
        params: Mapping[str, Any],
        calibration: Calibration | None = None,
    ) -> None:
        self.kind = kind
        self.metric = base.metric
        self.count = base.count
        self.dimensions = base.dimensions
        self.arrays = arrays
        self._base = base
        self._points = points
        self._know(calibration)
        self._params = params
        self._graph = None if arrays is None else _native_graph(base, arrays, points)
        self._last_codes_are_fine = arrays is not None and _last_codes_are_fine(arrays)
        self._costs = SearchCosts(base.count, base.dimensions * base.rows.itemsize)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; knobs: `ef` or `target_recall` (see `calibration`), `threads`.

        With a filter the window grows in inverse proportion to the share of allowed rows. Where scoring the
        allowed code rows one after another costs less they are; a query that leads to a place with too
        few of them is answered by a scan as well.
        """
        threads = knob(params, "threads") or 1
        target = target_recall(params)
        if self._graph is None or 2 * k > self.count or (target is not None and self._scans_for(target)):
            return self._base.scan(queries, k, allow, threads)
        ef = self._ef(k, params, target)
        if allow is None:
            return self._search_graph(queries, k, ef, ef, False, None, threads)[0]
        allowed = _native.count_bits(allow)
        plan, window = self._costs.plan(ef, k, allowed)
        if plan is SCAN_ROWS:
            return self._base.scan(queries, k, allow, threads)
        hits, short = self._search_graph(queries, k, ef, window, plan is SCAN_CODES, allow, threads)
        if short:
            unanswered = hits.rows[:, -1] < 0
            scanned = self._scanned(queries[unanswered], k, ef, allow, allowed, threads)
            hits.rows[unanswered], hits.distances[unanswered] = scanned.rows, scanned.distances
        return hits

    def search_as(
        self,
        plan: Plan,
        queries: NDArray[np.float32],
        k: int,
        window: int,
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """What `search` does by one plan, on one thread, whatever it costs: for measuring that."""
        if plan is Plan.SCAN_ROWS:
            return self._base.scan(queries, k, allow, 1)
        return self._search_graph(queries, k, window, window, plan is Plan.SCAN_CODES, allow, 1)[0]

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
        ef = knob(params, "ef") or self._params["ef"] or _EF
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
        ef = knob(params, "ef") or self._params["ef"] or _EF
        return GraphBrowser(self._graph, self._base, self._points).stream(query, batch, ef, allow)

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """See VectorIndex: the cheapest plan, a scan of full-precision rows being one of them."""
        target = target_recall(params)
        if target is not None and self._scans_for(target):
            return float(allowed)
        return self._costs.equivalent_scan_rows(self._ef(k, params, target), k, allowed)

    def default_ef(self, k: int) -> int:
        """The window of a search that asks for none."""
        return self._ef(k, {}, None)

    def search_points(
        self, queries: NDArray[np.float32], k: int, ef: int, threads: int, *, by_codes: bool = False
    ) -> Hits:
        """The search without a filter, but of equal rows that share a node only the first is told.

        Args:
            by_codes: nothing is re-ranked; distances are those of the codes, up to a constant of each query.
        """
        assert self._graph is not None and self.arrays is not None
        window = max(ef, k)
        secondary = exact = 0
        if not by_codes:
            secondary, exact = _rerank_counts(k, window, self._last_codes_are_fine, self.arrays.residue)
        rows, distances, _ = self._graph.search(
            self._base.prepared(queries), k, window, secondary, exact, _IN_FLIGHT, pool=shared_pool(threads)
        )
        return cosine_hits(rows, distances) if self.metric == "cosine" else Hits(rows, distances)

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
        return [*files, save_header(directory, self.kind, FORMAT_VERSION, facts, files)]

    def calibrated(self, calibration: Calibration | None) -> Self:
        """The same index that knows its recall."""
        index = copy(self)
        index._know(calibration)
        return index

    def _know(self, calibration: Calibration | None) -> None:
        self.calibration = calibration
        if calibration is not None:  # the same few are asked for by every search
            self._calibrated_width = lru_cache(maxsize=256)(calibration.width_for)

    def _scans_for(self, target: float) -> bool:
        """Whether only a scan is sure to find what is asked for, or costs too little to do less."""
        return target == 1.0 or self.count < CALIBRATED_ROWS_MIN or self._graph is None

    def _scanned(
        self,
        queries: NDArray[np.float32],
        k: int,
        ef: int,
        allow: NDArray[np.uint64],
        allowed: int,
        threads: int,
    ) -> Hits:
        """For queries whose answers are far away, where codes tell little: more of them are re-ranked."""
        if allowed <= _EXACT_ROWS_MOST:
            return self._base.scan(queries, k, allow, threads)
        wide = min(_FAR_WINDOWS * ef, allowed)
        return self._search_graph(queries, k, wide, wide, True, allow, threads)[0]

    def _ef(self, k: int, params: Mapping[str, Any], target: float | None) -> int:
        """Raises InvalidRequest where a recall is asked for that was never measured."""
        ef = knob(params, "ef")
        if ef is not None:
            return max(ef, k)
        if target is None:
            default: int | None = self._params["ef"]
            if default is not None or self.calibration is None:
                return max(default or _EF, 2 * k)
            target = self._params["target_recall"]
        if self.calibration is None:
            raise not_calibrated(self.kind)
        return self._calibrated_width(target, k)

    def _search_graph(
        self,
        queries: NDArray[np.float32],
        k: int,
        ef: int,
        window: int,
        by_scan: bool,
        allow: NDArray[np.uint64] | None,
        threads: int,
    ) -> tuple[Hits, int]:
        """Also returns how many answers have fewer than k rows."""
        assert self._graph is not None and self.arrays is not None
        prepared = self._base.prepared(queries)
        row_allow = allow
        if self._points is not None and allow is not None:
            allow = self._points.first_row_bitmap(allow)
        pool = shared_pool(threads) if len(queries) > 1 else None
        secondary, exact = _rerank_counts(k, ef, self._last_codes_are_fine, self.arrays.residue, by_scan)
        least = 0 if allow is None else ef // 2
        rows, distances, (_, _, short) = self._graph.search(
            prepared, k, window, secondary, exact, _IN_FLIGHT, least, by_scan, allow, pool
        )
        if self._base.unverified:
            if allow is None and short:
                # Every node can be reached, unless links are damaged.
                return self._base.scan(queries, k, row_allow, threads), 0
            self._base.confirm(rows)
        hits = cosine_hits(rows, distances) if self.metric == "cosine" else Hits(rows, distances)
        if self._points is None:
            return hits, short
        hits = self._expanded(hits, row_allow)
        return hits, int((hits.rows[:, -1] < 0).sum())

    def _expanded(self, hits: Hits, allow: NDArray[np.uint64] | None) -> Hits:
        """Hits [nq, k] of graph points, told by their first rows, as hits of all rows they stand for."""
        assert self._points is not None
        rows, distances = hits.rows, hits.distances
        allowed = None if allow is None else bitmap.to_bools(allow, self.count)
        k = rows.shape[1]
        found = Hits(np.full_like(rows, -1), np.full_like(distances, np.inf))
        for query in range(len(rows)):
            first_rows = rows[query][rows[query] >= 0]
            points = self._points.point_of_row[first_rows].astype(np.int64)
            members, owners = self._points.rows_of(points, k if allowed is None else None)
            if allowed is not None:
                members, owners = members[allowed[members]], owners[allowed[members]]
            of_members = distances[query][owners]
            order = np.lexsort((members, of_members))[:k]
            found.rows[query, : len(order)] = members[order]
            found.distances[query, : len(order)] = of_members[order]
        return found


@lru_cache(maxsize=256)
def _rerank_counts(
    k: int, ef: int, last_codes_are_fine: bool, residue: float, by_scan: bool = False
) -> tuple[int, int]:
    """How many candidates are re-ranked with the secondary codes, and how many of those with full rows.

    A larger `ef` promises more recall, which the errors of the codes must not spoil. Coarse codes leave
    to the full rows what finer ones would have settled, the more the projection lost; less of it after a scan
    of few rows, whose nearest lie further apart, and which misses none (measured: decision 0023).
    """
    wanted = max(k, _RERANK_LEAST)
    secondary = (4 if ef <= 6 * wanted else 6) * wanted
    if not last_codes_are_fine:
        share = (0.1 if by_scan else 0.25) + residue
        return min(ef, secondary), min(ef, math.ceil(1.5 * wanted + share * ef))
    exact = 1.0 if ef <= 2.5 * wanted else 1.2 if ef <= 6 * wanted else 1.6
    return min(ef, secondary), math.ceil(exact * wanted)


def _last_codes_are_fine(arrays: GraphArrays) -> bool:
    """Whether what is read before the full rows has 8 bits of every dimension, or two levels.

    Never for few dimensions: the nearest rows then lie so near each other that 8 bits confuse them.
    """
    if len(arrays.mean) <= _FEW_DIMENSIONS:
        return False
    if arrays.secondary_is_residual:
        return True
    last = arrays.primary if arrays.secondary is None else arrays.secondary
    return last.bits == 8 and last.dimensions == len(arrays.mean)


def _native_graph(base: BaseRows, arrays: GraphArrays, points: GraphPoints | None) -> _native.Graph:
    links, primary, secondary, projection = arrays.links, arrays.primary, arrays.secondary, arrays.projection
    row_of = links.order if points is None else points.first_rows()[links.order]
    return _native.Graph(
        links.neighbours,
        links.entries,
        row_of.astype(np.uint32),
        primary.data,
        primary.bits,
        primary.dimensions,
        primary.stride,
        None if secondary is None else secondary.data,
        8 if secondary is None else secondary.bits,
        0 if secondary is None else secondary.stride,
        arrays.secondary_is_residual,
        base.rows,
        base.row_scale,
        "l2" if base.metric == "l2" else "ip",
        arrays.mean,
        arrays.scale,
        None if projection is None else projection.codes,
        None if projection is None else projection.sums(),
        None if projection is None else projection.scales,
    )
