"""A built compressed graph: traversal on primary codes, re-ranking with secondary codes, then full rows."""

import math
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
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
from nearfield.index_builders.graph.costs import Plan, SearchCosts
from nearfield.index_builders.graph.native import native_graph
from nearfield.index_builders.params import knob, not_calibrated, target_recall
from nearfield.index_builders.scans import range_scan, stream_scan

FORMAT_VERSION: Final = 3
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
_BLUR_MOST: Final = 0.003
"""Blur of codes beyond which they are not trusted to rank what is near (decision 0026)."""
_AFTER_WALK: Final = 0.25
"""Share of `ef` that full rows re-rank after coarse codes, beside what the projection lost."""
_AFTER_SCAN: Final = 0.1
"""The same after a scan of few rows: their nearest lie further apart, and none is missed (decision 0023)."""
_AGREEMENT_LEAST: Final = 0.5
"""Correlation of the distances by codes with the exact ones, over what is re-ranked (decision 0030)."""
_HOPELESS: Final = 0.5
"""Share of the recall asked for that the widest search must reach, else codes tell nothing."""
_WAYS_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class _Way:
    """How searches of one k and one recall are answered.

    Args:
        ef: window of a search without a filter.
        adaptive: what becomes of it for each query; None: nothing.
        reranked: candidates that it re-ranks with the secondary codes, and with full rows.
        scanned_rows: a scan of so many rows would cost as much.
        codes_most: with a filter, up to so many allowed rows the graph is not walked.
        plan: with a filter; `scan_plan` for what a walk gives up.
    """

    ef: int
    adaptive: _native.GraphAdaptiveWindow | None
    reranked: tuple[int, int]
    scanned_rows: float
    codes_most: int
    plan: _native.GraphFilterPlan
    scan_plan: _native.GraphFilterPlan


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
        self._know(calibration, adaptive)
        self._params = params
        self._graph = None if arrays is None else native_graph(base, arrays, points)
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

        Where training queries told how, hard queries are walked wider than `ef` and easy ones narrower, so
        that all together take as long.

        With a filter the graph is walked, through rows that are not allowed as well, until the nearest
        allowed ones are known as well as without it; where scoring the code rows of all that are allowed
        costs less they are. A query that codes or links lead astray is answered by a scan.
        """
        threads = knob(params, "threads") or 1
        asked = k, knob(params, "ef"), target_recall(params)
        way = self._ways.get(asked) or self._way(*asked)
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
            hits, _ = self._filtered(queries, self._filter_plan(k, ef, 0, codes_most), allow, 1)
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
        asked = k, knob(params, "ef"), target_recall(params)
        way = self._ways.get(asked) or self._way(*asked)
        if way is None:
            return float(allowed)
        if allowed == self.count:
            return way.scanned_rows
        return self._costs.equivalent_scan_rows(way.ef, k, allowed)

    def default_ef(self, k: int) -> int:
        """The window of a search that asks for none."""
        return self._ef(k, None, None)

    def search_points(
        self, queries: NDArray[np.float32], k: int, ef: int, threads: int, *, by_codes: bool = False
    ) -> Hits:
        """The search without a filter, but of equal rows that share a node only the first is told.

        Args:
            by_codes: nothing is re-ranked, and every window is `ef`; distances are those of the codes, up to
                a constant of each query.
        """
        assert self._graph is not None and self.arrays is not None
        window = max(ef, k)
        secondary, exact = (0, 0) if by_codes else self._reranked(k, window, _AFTER_WALK)
        adaptive = None if by_codes else self._adaptive(k, window)
        rows, distances, _ = self._graph.search(
            self._base.prepared(queries), k, window, secondary, exact, _IN_FLIGHT,
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
        self._ways: dict[tuple[int, int | None, float | None], _Way] = {}

    def _way(self, k: int, ef: int | None, target: float | None) -> _Way | None:
        """How such searches are answered, None: by a scan; kept, since most ask for the same few."""
        if self._graph is None or 2 * k > self.count:
            return None
        wanted = target
        if ef is None and target is None and self._params["ef"] is None and self.calibration is not None:
            wanted = self._params["target_recall"]
        if wanted is not None and self._scans_for(wanted):
            return None
        way = self._searched(k, self._ef(k, ef, target))
        if len(self._ways) >= _WAYS_KEPT:
            self._ways = {}
        self._ways[k, ef, target] = way
        return way

    def _searched(self, k: int, ef: int) -> _Way:
        rows_most, codes_most = self._costs.scanned_most(ef, k)
        return _Way(
            ef=ef,
            adaptive=self._adaptive(k, ef),
            reranked=self._reranked(k, ef, _AFTER_WALK),
            scanned_rows=self._costs.equivalent_scan_rows(ef, k, self.count),
            codes_most=codes_most,
            plan=self._filter_plan(k, ef, rows_most, codes_most),
            scan_plan=self._filter_plan(k, ef, 0, self.count),
        )

    def _filter_plan(self, k: int, ef: int, rows_most: int, codes_most: int) -> _native.GraphFilterPlan:
        after_scan, after_walk = (self._reranked(k, ef, share) for share in (_AFTER_SCAN, _AFTER_WALK))
        return _native.GraphFilterPlan(
            k, ef, rows_most, codes_most, after_scan, after_walk,
            SearchCosts.EXPANSIONS_LEAST, SearchCosts.EXPANSIONS_PER_ROW, _AGREEMENT_LEAST, _IN_FLIGHT,
            self._adaptive(k, ef),
        )  # fmt: skip

    def _adaptive(self, k: int, ef: int) -> _native.GraphAdaptiveWindow | None:
        return None if self.adaptive is None else self.adaptive.native(k, ef)

    def _reranked(self, k: int, ef: int, share: float) -> tuple[int, int]:
        """At most how many candidates are re-ranked with the secondary codes, and with full rows.

        A larger `ef` promises more recall, which the errors of the codes must not spoil. Coarse codes leave
        to the full rows what finer ones would have settled, the more the projection lost.

        Args:
            share: of `ef` that is re-ranked after coarse codes, beside what the projection lost.
        """
        assert self.arrays is not None
        wanted = max(k, _RERANK_LEAST)
        secondary = (4 if ef <= 6 * wanted else 6) * wanted
        if not self._last_codes_are_fine:
            exact = math.ceil(1.5 * wanted + (share + self.arrays.residue) * ef)
            return min(self.count, secondary), min(self.count, exact)
        factor = 1.0 if ef <= 2.5 * wanted else 1.2 if ef <= 6 * wanted else 1.6
        return min(self.count, secondary), math.ceil(factor * wanted)

    def _scans_for(self, target: float) -> bool:
        """Whether only a scan is sure to find what is asked for, or costs too little to do less."""
        if target == 1.0 or self.count < CALIBRATED_ROWS_MIN:
            return True
        return self.calibration is not None and not self.calibration.reaches(_HOPELESS * target)

    def _ef(self, k: int, ef: int | None, target: float | None) -> int:
        """Raises InvalidRequest where a recall is asked for that was never measured."""
        if ef is not None:
            return max(ef, k)
        if target is None:
            default: int | None = self._params["ef"]
            if default is not None or self.calibration is None:
                return max(default or _EF, 2 * k)
            target = self._params["target_recall"]
        if self.calibration is None:
            raise not_calibrated(self.kind)
        return self.calibration.width_for(target, k)

    def _search_all(self, queries: NDArray[np.float32], k: int, way: _Way, threads: int) -> Hits:
        assert self._graph is not None
        prepared = self._base.prepared(queries)
        pool = shared_pool(threads) if len(queries) > 1 else None
        secondary, exact = way.reranked
        rows, distances, (_, _, short) = self._graph.search(
            prepared, k, way.ef, secondary, exact, _IN_FLIGHT, adaptive=way.adaptive, pool=pool
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
        way: _Way,
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


def _last_codes_are_fine(arrays: GraphArrays) -> bool:
    """Whether what is read before the full rows has 8 bits of every dimension, or two levels.

    Never for few dimensions, nor in clusters far apart: there 8 bits confuse what lies near each other.
    """
    if len(arrays.mean) <= _FEW_DIMENSIONS:
        return False
    if arrays.secondary_is_residual:
        return True
    last = arrays.primary if arrays.secondary is None else arrays.secondary
    if last is arrays.primary and arrays.blur > _BLUR_MOST:
        return False
    return last.bits == 8 and last.dimensions == len(arrays.mean)
