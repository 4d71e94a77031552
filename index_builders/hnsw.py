"""HNSW through hnswlib: a layered proximity graph over its own float32 copy of the rows."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import hnswlib
import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.protocol import BuildContext, Hits, Rows
from nearfield.engine.segment import bitmap
from nearfield.index_builders.base_rows import BaseRows, padded
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.files import open_header, save_header
from nearfield.index_builders.params import BoolParam, IntParam, knob, not_calibrated, parse, target_recall
from nearfield.index_builders.scans import ByScan

KIND: Final = "hnsw"
FORMAT_VERSION: Final = 1
GRAPH_NAME: Final = "hnsw.bin"
POINTS_NAME: Final = "points.npy"

PARAMS: Final = (
    IntParam("m", 16, 2, 512),
    IntParam("ef_construction", 200, 4, 10_000),
    IntParam("ef", 80, 1, 100_000),
    BoolParam("deterministic", False),
)

# One candidate of the search list costs as much as scanning this many rows (384 and 784 dimensions).
_SCAN_ROWS_PER_CANDIDATE: Final = 25
# Beside vector, links and label hnswlib keeps: link pointer, level, lock, label table, visited marks.
_OVERHEAD_BYTES_PER_ROW: Final = 8 + 4 + 40 + 44 + 2
_LABEL_LOCKS_BYTES: Final = 65_536 * 40


class HnswIndex(ByScan):
    """A built graph.

    hnswlib's `ef` is a field of the graph that concurrent searches would share, and it searches with the
    larger of `ef` and k. So `ef` stays 1 and the wanted list length goes in as k: a search writes nothing.
    Answers carry exact distances to the rows.
    """

    kind = KIND

    def __init__(
        self,
        base: BaseRows,
        graph: hnswlib.Index | None,
        points: GraphPoints | None,
        params: Mapping[str, Any],
    ) -> None:
        self._base = base
        self._graph = graph
        self._points = points
        self._point_count = base.count if points is None else points.count
        self._default_ef: int = params["ef"]
        self.metric = base.metric
        self.count = base.count
        self.dimensions = base.dimensions
        if graph is not None:
            graph.set_ef(1)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; knobs: `ef`, `threads`.

        A filter makes the list longer in inverse proportion to the share of allowed rows; where a scan of
        these costs less, or the list of a query holds too few of them to be trusted, that query is answered
        by the scan.
        """
        threads = knob(params, "threads") or 1
        allowed = self.count if allow is None else bitmap.count(allow)
        if self._graph is None or allowed == 0 or self.equivalent_scan_rows(k, params, allowed) >= allowed:
            return self._base.scan(queries, k, allow, threads)
        ef = self._ef(k, params)
        prepared = self._base.prepared(queries)
        try:
            labels, _ = self._graph.knn_query(prepared, self._list_length(ef, allowed), num_threads=threads)
        except RuntimeError:  # the list could not be filled: that many points are not reachable
            return self._base.scan(queries, k, allow, threads)
        candidates, trusted = self._nearest_rows(labels.view(np.int64), min(k, allowed), ef // 2, allow)
        hits = padded(self._base.rank(prepared, candidates, k), k)
        if not trusted.all():
            scanned = self._base.scan(queries[~trusted], k, allow, threads)
            hits.rows[~trusted], hits.distances[~trusted] = scanned.rows, scanned.distances
        return hits

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """See VectorIndex: proportional to the length of the search list."""
        return _SCAN_ROWS_PER_CANDIDATE * float(self._list_length(self._ef(k, params), allowed))

    def save(self, directory: Path) -> list[Path]:
        """Write hnswlib's file, the rows of its points and inverse norms where needed, and the header."""
        files = self._base.save(directory)
        if self._graph is not None:
            self._graph.save_index(str(directory / GRAPH_NAME))
            files.append(directory / GRAPH_NAME)
        if self._points is not None:
            self._points.save(directory / POINTS_NAME)
            files.append(directory / POINTS_NAME)
        facts = {**self._base.facts(), "has_points": self._points is not None}
        return [*files, save_header(directory, KIND, FORMAT_VERSION, facts, files)]

    def resident_bytes(self) -> int:
        """hnswlib's vectors, links and tables. Every concurrent search but one adds 2 bytes a row."""
        stored = self._base.resident_bytes()
        if self._points is not None:
            stored += self._points.resident_bytes()
        if self._graph is not None:
            stored += (
                self._graph.index_file_size()
                + self._point_count * _OVERHEAD_BYTES_PER_ROW
                + _LABEL_LOCKS_BYTES
            )
        return stored

    def _ef(self, k: int, params: Mapping[str, Any]) -> int:
        if target_recall(params) is not None:
            raise not_calibrated(KIND)
        given = knob(params, "ef")
        return max(self._default_ef, 2 * k) if given is None else max(given, k)

    def _list_length(self, ef: int, allowed: int) -> int:
        return min(self._point_count, math.ceil(ef * self.count / max(allowed, 1)))

    def _nearest_rows(
        self, points: NDArray[np.int64], k: int, points_least: int, allow: NDArray[np.uint64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Each list's k nearest allowed rows, int64 [nq, k], and whether they can be trusted, bool [nq].

        A list is trusted when it holds k allowed rows, of at least `points_least` points; the rows of others
        are -1.
        """
        if self._points is not None:
            found = [self._rows_of_list(self._points, listed, k, points_least, allow) for listed in points]
            rows = np.array(found, dtype=np.int64).reshape(len(points), k)
            return rows, rows[:, -1] >= 0
        if allow is None:
            return points[:, :k], np.ones(len(points), dtype=np.bool_)
        kept = bitmap.test(allow, points.ravel()).reshape(points.shape)
        trusted = kept.sum(axis=1) >= max(k, min(points_least, bitmap.count(allow)))
        first = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        return np.where(trusted[:, None], np.take_along_axis(points, first, axis=1), -1), trusted

    def _rows_of_list(
        self,
        points: GraphPoints,
        listed: NDArray[np.int64],
        k: int,
        points_least: int,
        allow: NDArray[np.uint64] | None,
    ) -> NDArray[np.int64]:
        """One list's k nearest allowed rows, int64 [k]; all -1 when it cannot be trusted."""
        rows, owners = points.rows_of(listed, k if allow is None else None)
        if allow is not None:
            kept = bitmap.test(allow, rows)
            rows, owners = rows[kept], owners[kept]
        trusted = len(rows) >= k and (allow is None or len(np.unique(owners)) >= points_least)
        return rows[:k] if trusted else np.full(k, -1, dtype=np.int64)


class HnswBuilder:
    """Builds by inserting rows in order.

    With more than one thread hnswlib's insertions race, and the graph, though as good, differs from build to
    build; `deterministic` builds on one thread, which makes same seed same bytes true (and the build slower).
    """

    kind = KIND
    format_version = FORMAT_VERSION
    metrics = frozenset({"l2", "ip", "cosine"})

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """`m` links per row (lowest layer: twice that), `ef_construction`, default `ef`, `deterministic`."""
        return parse(KIND, PARAMS, params)

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Float32 rows, 2 m links of 4 bytes in the lowest layer, the layers above, and hnswlib's tables."""
        m = params["m"]
        lowest = 4 * dimensions + 4 * (2 * m + 1) + 8
        above = (4 * m + 4) / (m - 1) + 4
        return int(count * (lowest + above + _OVERHEAD_BYTES_PER_ROW)) + _LABEL_LOCKS_BYTES

    def build(self, rows: Rows, metric: str, params: Mapping[str, Any], context: BuildContext) -> HnswIndex:
        """Inserts block by block, so float32 copies of half-precision or byte rows stay small."""
        base = BaseRows.measure(rows, metric)
        if base.count == 0:
            return HnswIndex(base, None, None, params)
        points = GraphPoints.collapse(rows)
        source = None if points is None else points.first_rows()
        graph = _new_graph(base)
        graph.init_index(
            base.count if points is None else points.count,
            params["m"],
            params["ef_construction"],
            context.seed,
        )
        threads = 1 if params["deterministic"] else max(context.threads, 1)
        for _, block in base.blocks(context, of=source):
            graph.add_items(block, num_threads=threads)
        return HnswIndex(base, graph, points, params)

    def open(self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any]) -> HnswIndex:
        """See IndexBuilder.open."""
        facts = open_header(directory, KIND, FORMAT_VERSION)
        base = BaseRows.open(directory, rows, metric, facts)
        if base.count == 0:
            return HnswIndex(base, None, None, params)
        points = GraphPoints.open(directory / POINTS_NAME) if facts["has_points"] else None
        graph = _new_graph(base)
        try:
            graph.load_index(str(directory / GRAPH_NAME))
        except RuntimeError as error:
            raise Corrupted(f"hnswlib cannot read {directory / GRAPH_NAME}: {error}") from error
        expected = base.count if points is None else points.count
        if graph.get_current_count() != expected:
            found = graph.get_current_count()
            raise Corrupted(f"{directory / GRAPH_NAME} holds {found} points, expected {expected}")
        return HnswIndex(base, graph, points, params)


def _new_graph(base: BaseRows) -> hnswlib.Index:
    return hnswlib.Index("l2" if base.metric == "l2" else "ip", base.dimensions)
