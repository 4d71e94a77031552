"""What building and extending a graph share: its rows, and the search for the neighbours of each."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.encodings.lvq import LvqCodes
from nearfield.index_builders.graph.signed_rows import SignedRows

SLICE_ROWS: Final = 4_096
NAMED_LEAST: Final = 0.4
"""Lists that are to name a node, as a share of the degree: repairs and insertions push outliers out."""

_FAR_CANDIDATES: Final = 8
_PROBES: Final = 256
_NEAREST: Final = 4
BLURRED_MOST: Final = 0.15
"""Squared error of 4-bit codes, of the squared distance to the nearest rows (measured: decision 0026)."""


class Linking:
    """Rows as int8 codes of their projection, and the resources of one build.

    Args:
        rows: one per node.
        dimensions: of the projection.
        alpha: of the pruning, on squared distances.
    """

    def __init__(self, rows: SignedRows, dimensions: int, alpha: float, context: BuildContext) -> None:
        self.rows = rows
        self.dimensions = dimensions
        self.alpha = alpha
        self.context = context
        self.pool = _native.ThreadPool(context.threads)
        self.count = len(rows.codes)
        self._telling = Lock()
        self._told = 0.0

    def codes(self, neighbours: NDArray[np.uint32]) -> LvqCodes:
        """Codes of the rows for a search by squared Euclidean distance.

        Of 8 bits where 4 would err by too much of the distance to the nearest rows (decision 0026).

        Args:
            neighbours: uint32 [m, degree], lists of the first m <= n rows, nearest first.
        """
        codes = LvqCodes.empty(self.count, self.dimensions, 8 if self._blurred(neighbours) else 4, 64)
        for start in range(0, self.count, SLICE_ROWS):
            codes.encode(
                start, self.rows.decode(slice(start, start + SLICE_ROWS), self.dimensions), None, self.pool
            )
        return codes

    def _blurred(self, neighbours: NDArray[np.uint32]) -> bool:
        rng = np.random.default_rng(self.context.seed)
        picked = np.sort(rng.choice(len(neighbours), min(len(neighbours), _PROBES), replace=False))
        rows = self.rows.decode(picked, self.dimensions)
        codes = LvqCodes.empty(len(rows), self.dimensions, 4, 64)
        codes.encode(0, rows)
        lists = neighbours[picked, :_NEAREST]
        linked = lists != _native.NO_NEIGHBOUR
        near = self.rows.decode(lists[linked].astype(np.int64), self.dimensions)
        distances = np.square(near - rows[np.nonzero(linked)[0]]).sum(axis=1)
        error = np.square(codes.decode() - rows).sum(axis=1).mean()
        return bool(len(distances) and error > BLURRED_MOST * np.median(distances) > 0)

    def searched(
        self,
        neighbours: NDArray[np.uint32],
        entries: NDArray[np.uint32],
        codes: LvqCodes,
        first: int,
        degree: int,
        candidates: int,
        progress: Callable[[float], Any],
        more: NDArray[np.int64] | None = None,
    ) -> NDArray[np.uint32]:
        """Pruned lists of the rows from `first` on, from the nearest that a search of a graph finds for each.

        Args:
            neighbours: uint32 [m, any degree], the graph of the first m <= n rows.
            degree: most links of a list.
            candidates: nearest rows found for each.
            more: int64 [n - first, c], further candidates; -1 pads.

        Returns:
            uint32 [n - first, degree].

        Raises:
            Cancelled: the context was cancelled.
        """
        graph = self._graph(neighbours, entries, codes)
        lists = np.empty((self.count - first, degree), dtype=np.uint32)
        for start in range(first, self.count, SLICE_ROWS):
            progress((start - first) / len(lists))
            queries = self.rows.decode(slice(start, start + SLICE_ROWS), self.dimensions)
            at = slice(start - first, start - first + len(queries))
            found, _, _ = graph.search(
                queries, candidates, candidates, 0, 0, pool=self.pool, cancel=self.cancel
            )
            near = [found] if more is None else [found, more[at]]
            lists[at] = _native.link_candidates(
                self.rows.codes,
                self.rows.scales,
                start,
                np.concatenate([*near, self._far(start, len(queries))], axis=1),
                degree,
                self.alpha,
                self.pool,
                self.cancel,
            )
        return lists

    def unmet(
        self,
        neighbours: NDArray[np.uint32],
        entries: NDArray[np.uint32],
        codes: LvqCodes,
        rows: NDArray[np.int64],
        window: int,
    ) -> NDArray[np.int64]:
        """Those of some rows that a search of a graph for themselves does not find."""
        graph = self._graph(neighbours, entries, codes)
        queries = self.rows.decode(rows, self.dimensions)
        found, _, _ = graph.search(queries, window, window, 0, 0, pool=self.pool, cancel=self.cancel)
        unmet: NDArray[np.int64] = rows[(found != rows[:, None]).all(axis=1)]
        return unmet

    def _graph(
        self, neighbours: NDArray[np.uint32], entries: NDArray[np.uint32], codes: LvqCodes
    ) -> _native.Graph:
        return _native.Graph(
            neighbours, entries, np.arange(len(neighbours), dtype=np.uint32),
            codes.data, codes.bits, codes.dimensions, codes.stride, None, 8, 0, False, None, None,
            "l2", np.zeros(self.dimensions, dtype=np.float32), 1.0, None, None, None,
        )  # fmt: skip

    @property
    def cancel(self) -> _native.CancelFlag | None:
        """What native loops poll; other kinds of cancellation are seen when progress is told."""
        return self.context.cancel if isinstance(self.context.cancel, _native.CancelFlag) else None

    def progress(self, done: float, share: float) -> Callable[[float], Any]:
        """Reports a part of the build; worker threads may call it, late ones are passed over."""

        def tell(part: float) -> None:
            with self._telling:
                if done + share * part >= self._told:
                    self._told = done + share * part
                    report(self.context, self._told)

        return tell

    def _far(self, first: int, count: int) -> NDArray[np.int64]:
        """Rows from all over the data, int64 [count, f]; pruning keeps those that lead to other parts."""
        rng = np.random.default_rng((self.context.seed, first))
        return rng.integers(self.count, size=(count, _FAR_CANDIDATES))
