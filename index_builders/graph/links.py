"""The graph's links, as batch computations on compressed rows.

Rows are clustered; each row's nearest within the clusters around it, pruned, make a first graph; searching
that graph for every row finds better neighbours, from which the final lists are pruned. See decision 0009.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.encodings.lvq import LvqCodes
from nearfield.index_builders.graph.signed_rows import SignedRows

_ROWS_PER_CLUSTER: Final = 400
_PROBES: Final = 8
_TRAINING_ROWS_PER_CLUSTER: Final = 64
_TRAINING_ROUNDS: Final = 8
_FIRST_DEGREE: Final = 24
_FIRST_CANDIDATES: Final = 32
_REFINING_ROUNDS: Final = 2
_FAR_CANDIDATES: Final = 8
_SLICE_ROWS: Final = 8_192
_ENTRIES: Final = 128


@dataclass(frozen=True)
class Links:
    """A connected graph, in the order its nodes are stored in.

    Args:
        neighbours: uint32 [n, degree], nearest first, padded with 2**32 - 1.
        order: int64 [n], the row each node stands for.
        entries: uint32 [e], nodes spread over the data.
    """

    neighbours: NDArray[np.uint32]
    order: NDArray[np.int64]
    entries: NDArray[np.uint32]


class LinkBuilder:
    """Builds the links of rows given as int8 codes of their projection.

    Args:
        rows: in row order; not needed afterwards.
        dimensions: of the projection.
        degree: most links of a node.
        alpha: of the pruning, on squared distances.
        candidates: neighbours found for each row before pruning.
    """

    def __init__(
        self,
        rows: SignedRows,
        dimensions: int,
        degree: int,
        alpha: float,
        candidates: int,
        context: BuildContext,
    ) -> None:
        self._dimensions = dimensions
        self._degree = degree
        self._alpha = alpha
        self._candidates = candidates
        self._context = context
        self._pool = _native.ThreadPool(context.threads)
        self._count = len(rows.codes)
        self._telling = Lock()
        self._told = 0.0
        assignment, self._centres = self._cluster(rows)
        self._row_of = np.argsort(assignment, kind="stable")
        sizes = np.bincount(assignment, minlength=len(self._centres))
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._rows = rows.reordered(self._row_of)

    def build(self) -> Links:
        """Runs the whole build.

        Raises:
            Cancelled: the context was cancelled.
        """
        entries = self._entries()
        neighbours = self._first_graph()
        centre = int(entries[0])
        if self._count > self._candidates:
            codes = self._codes()
            for round_number in range(_REFINING_ROUNDS):
                _native.connect_and_order(neighbours, centre)
                neighbours = self._refined(neighbours, entries, codes, round_number)
        order, _ = _native.connect_and_order(neighbours, centre)
        return self._stored(neighbours, order, entries)

    def _cluster(self, rows: SignedRows) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Cluster of each row, int64 [n], and the centres, float32 [c, d]."""
        clusters = max(1, self._count // _ROWS_PER_CLUSTER)
        if clusters == 1:
            mean = rows.decode(slice(None), self._dimensions).mean(axis=0, keepdims=True)
            return np.zeros(self._count, dtype=np.int64), mean
        faiss.omp_set_num_threads(self._context.threads)
        rng = np.random.default_rng(self._context.seed)
        sample = rng.choice(
            self._count, min(self._count, clusters * _TRAINING_ROWS_PER_CLUSTER), replace=False
        )
        trained = faiss.Kmeans(
            self._dimensions, clusters, niter=_TRAINING_ROUNDS, seed=self._context.seed + 1,
            min_points_per_centroid=1, max_points_per_centroid=_TRAINING_ROWS_PER_CLUSTER,
        )  # fmt: skip
        trained.train(rows.decode(np.sort(sample), self._dimensions))
        assignment = np.empty(self._count, dtype=np.int64)
        for start in range(0, self._count, _SLICE_ROWS):
            where = slice(start, start + _SLICE_ROWS)
            assignment[where] = trained.index.search(rows.decode(where, self._dimensions), 1)[1][:, 0]
        return assignment, np.asarray(trained.centroids, dtype=np.float32)

    def _entries(self) -> NDArray[np.uint32]:
        """The node nearest to the mean of all, those nearest to some of the centres, and random ones."""
        occupied = np.flatnonzero(np.diff(self._starts))
        picked = occupied[np.linspace(0, len(occupied) - 1, min(_ENTRIES, len(occupied))).astype(np.int64)]
        weights = np.diff(self._starts)[:, None] / self._count
        mean = (self._centres * weights).sum(axis=0)
        central = int(occupied[((self._centres[occupied] - mean) ** 2).sum(axis=1).argmin()])
        entries = [self._nearest_of_cluster(central, mean)]
        entries += [self._nearest_of_cluster(int(c), self._centres[c]) for c in picked]
        rng = np.random.default_rng(self._context.seed)
        entries += rng.choice(
            self._count, min(self._count, max(_ENTRIES - len(picked), 0)), replace=False
        ).tolist()
        return np.array(list(dict.fromkeys(entries)), dtype=np.uint32)

    def _nearest_of_cluster(self, cluster: int, point: NDArray[np.float32]) -> int:
        first, last = int(self._starts[cluster]), int(self._starts[cluster + 1])
        members = self._rows.decode(slice(first, last), self._dimensions)
        return first + int(((members - point) ** 2).sum(axis=1).argmin())

    def _first_graph(self) -> NDArray[np.uint32]:
        centres = faiss.IndexFlatL2(self._dimensions)
        centres.add(self._centres)
        probes = centres.search(self._centres, min(_PROBES, len(self._centres)))[1].astype(np.int32)
        cancel, progress = self._cancel(), self._progress(0.0, 0.3)
        forward = _native.link_clusters(
            self._rows.codes, self._rows.scales, self._starts, probes, _FIRST_CANDIDATES,
            self._first_degree(), self._alpha, self._pool, cancel, progress,
        )  # fmt: skip
        return self._with_reverse(forward)

    def _first_degree(self) -> int:
        return self._degree if self._count <= self._candidates else min(self._degree, _FIRST_DEGREE)

    def _codes(self) -> LvqCodes:
        """4-bit codes of the rows whose norms make the distances of the search squared Euclidean."""
        codes = LvqCodes.empty(self._count, self._dimensions, 4, 64)
        for start in range(0, self._count, _SLICE_ROWS):
            rows = self._rows.decode(slice(start, start + _SLICE_ROWS), self._dimensions)
            codes.encode(start, rows, np.einsum("ij,ij->i", rows, rows), self._pool)
        return codes

    def _refined(
        self, neighbours: NDArray[np.uint32], entries: NDArray[np.uint32], codes: LvqCodes, round_number: int
    ) -> NDArray[np.uint32]:
        """New lists from the nearest rows that a search of the given graph finds for every row."""
        graph = _native.Graph(
            neighbours, entries, np.arange(self._count, dtype=np.uint32),
            codes.data, codes.bits, codes.dimensions, codes.stride, None, 8, 0, None, None,
            "l2", np.zeros(self._dimensions, dtype=np.float32), 1.0, None, None, None,
        )  # fmt: skip
        forward = np.empty((self._count, self._degree), dtype=np.uint32)
        cancel, progress = self._cancel(), self._progress(0.3 + 0.3 * round_number, 0.3)
        for start in range(0, self._count, _SLICE_ROWS):
            progress(start / self._count)
            queries = self._rows.decode(slice(start, start + _SLICE_ROWS), self._dimensions)
            found, _, _ = graph.search(
                queries, self._candidates, self._candidates, 0, 0, pool=self._pool, cancel=cancel
            )
            candidates = np.concatenate([found, self._far(start, len(queries))], axis=1)
            forward[start : start + len(queries)] = _native.link_candidates(
                self._rows.codes,
                self._rows.scales,
                start,
                candidates,
                self._degree,
                self._alpha,
                self._pool,
                cancel,
            )
        return self._with_reverse(forward)

    def _far(self, first: int, count: int) -> NDArray[np.int64]:
        """Rows from all over the data, int64 [count, f]; pruning keeps those that lead to other parts."""
        rng = np.random.default_rng((self._context.seed, first))
        return rng.integers(self._count, size=(count, _FAR_CANDIDATES))

    def _with_reverse(self, forward: NDArray[np.uint32]) -> NDArray[np.uint32]:
        return _native.add_reverse(
            self._rows.codes, self._rows.scales, forward, self._alpha, self._pool, self._cancel()
        )

    def _stored(
        self, neighbours: NDArray[np.uint32], order: NDArray[np.uint32], entries: NDArray[np.uint32]
    ) -> Links:
        """The graph renumbered breadth first, so that what is near in the graph is near in memory."""
        place = np.empty(self._count + 1, dtype=np.uint32)
        place[order] = np.arange(self._count, dtype=np.uint32)
        place[self._count] = _native.NO_NEIGHBOUR
        lists = np.minimum(neighbours[order], self._count)
        return Links(place[lists], self._row_of[order], np.sort(place[entries]))

    def _cancel(self) -> _native.CancelFlag | None:
        return self._context.cancel if isinstance(self._context.cancel, _native.CancelFlag) else None

    def _progress(self, done: float, share: float) -> Callable[[float], Any]:
        """Reports a part of the build; worker threads may call it, late ones are passed over."""

        def tell(part: float) -> None:
            with self._telling:
                if done + share * part >= self._told:
                    self._told = done + share * part
                    report(self._context, self._told)

        return tell
