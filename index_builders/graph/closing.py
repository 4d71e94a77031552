"""The last step of building or extending: every row is found by its own vector. See decision 0012."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.base_rows import BaseRows, report
from nearfield.index_builders.graph.index import GraphIndex
from nearfield.index_builders.graph.linking import NAMED_LEAST, SLICE_ROWS

_NARROW_EF: Final = 8
_SHOWN: Final = 10
_NAMED_BY: Final = 4
_ROUNDS: Final = 3


def close(index: GraphIndex, base: BaseRows, context: BuildContext) -> None:
    """Changes the links of an index that nobody searches yet, until its default search finds every row.

    All rows are searched for in a window so narrow that it costs less than a twentieth of the build, and what
    is missed there in the default one. What that misses as well goes into the lists of the nearest nodes
    found: every search for it expands them. The outcome does not depend on the number of threads.

    Raises:
        Cancelled: the context was cancelled.
    """
    if index.arrays is None:
        return
    links = index.arrays.links
    rows = links.order if index.points is None else index.points.first_rows()[links.order]
    search = _OwnSearch(index, base, rows, context)
    nodes = search.outside_window(np.arange(len(rows)))
    if index.metric == "ip":  # there many are rightly outside: longer rows are nearer
        nodes, _ = search.missed(nodes, _NARROW_EF)
    node_of = np.full(index.count + 1, -1, dtype=np.int64)  # the last one for the rows -1 that pad
    node_of[rows] = np.arange(len(rows))
    for times in range(1, _ROUNDS + 1):
        nodes, found = search.missed(nodes, index.default_ef(1))
        if not len(nodes):
            return
        least = int(NAMED_LEAST * links.neighbours.shape[1])
        _native.name_nodes(
            links.neighbours,
            least,
            nodes.astype(np.uint32),
            np.ascontiguousarray(node_of[found[:, : times * _NAMED_BY]]),
        )
        # A node that had to give way may have been the only way to another.
        _native.connect_and_order(links.neighbours, int(links.entries[0]))


class _OwnSearch:
    """Searches for the own rows of nodes.

    Args:
        row_of: int64 [nodes].
    """

    def __init__(
        self, index: GraphIndex, base: BaseRows, row_of: NDArray[np.int64], context: BuildContext
    ) -> None:
        self._index = index
        self._base = base
        self._row_of = row_of
        self._context = context

    def outside_window(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some nodes that the window of a narrow search does not hold in the end."""
        outside = []
        for part, own, queries in self._blocks(nodes):
            found = self._index.search_points(
                queries, _NARROW_EF, _NARROW_EF, self._context.threads, by_codes=True
            )
            outside.append(part[(found.rows != own[:, None]).all(axis=1)])
        return np.concatenate(outside)

    def missed(self, nodes: NDArray[np.int64], ef: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those that a search does not find though nearer than what it finds.

        Returns:
            int64 [m], and the rows found int64 [m, k], -1 pads.
        """
        missed, instead = [nodes[:0]], [np.zeros((0, _SHOWN), dtype=np.int64)]
        for part, own, queries in self._blocks(nodes):
            found = self._index.search_points(queries, _SHOWN, ef, self._context.threads)
            absent = (found.rows != own[:, None]).all(axis=1)
            absent &= _own_distances(self._base.metric, queries) < found.distances[:, -1]
            missed.append(part[absent])
            instead.append(found.rows[absent])
        return np.concatenate(missed), np.concatenate(instead)

    def _blocks(
        self, nodes: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
        """(nodes, their rows, these as vectors), some thousand at a time."""
        for start in range(0, len(nodes), SLICE_ROWS):
            report(self._context, 1.0)
            part = nodes[start : start + SLICE_ROWS]
            own = self._row_of[part]
            yield part, own, self._base.block(own)


def _own_distances(metric: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances of rows [m, d] to themselves, float32 [m]."""
    squares: NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
    if metric == "l2":
        return np.zeros_like(squares)
    return -squares if metric == "ip" else 1 - squares
