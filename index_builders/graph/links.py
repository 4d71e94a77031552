"""The graph's links, as batch computations on compressed rows.

Rows are clustered; each row's nearest within the clusters around it, pruned, make a first graph; searching
that graph for every row finds better neighbours, from which the final lists are pruned. See decision 0009.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.aligned import aligned_zeros
from nearfield.index_builders.graph.clusters import Clusters
from nearfield.index_builders.graph.entries import reaching
from nearfield.index_builders.graph.linking import SLICE_ROWS, Linking
from nearfield.index_builders.graph.signed_rows import SignedRows

ENTRIES: Final = 128
_FIRST_DEGREE: Final = 24
_LOST_MOST: Final = (0.03, 0.005)
"""Of the graph that each of the refining rounds searches, see `reaching`: the first one is rough anyway."""


@dataclass(frozen=True)
class Links:
    """A connected graph, in the order its nodes are stored in.

    Args:
        neighbours: uint32 [n, degree], nearest first, padded with 2**32 - 1.
        order: int64 [n], the row each node stands for.
        entries: uint32 [e], nodes spread over the data; the first is node 0, in their middle.
    """

    neighbours: NDArray[np.uint32]
    order: NDArray[np.int64]
    entries: NDArray[np.uint32]

    @classmethod
    def stored(
        cls, neighbours: NDArray[np.uint32], entries: NDArray[np.uint32], rows: NDArray[np.int64]
    ) -> "Links":
        """A graph made reachable and renumbered breadth first, so that what is near in it is near in memory.

        Args:
            neighbours: uint32 [n, degree]; changed.
            entries: where searches start; node 0 will be the first of them.
            rows: int64 [n], the row each node stands for.
        """
        order, _ = _native.connect_and_order(neighbours, int(entries[0]))
        count = len(order)
        place = np.empty(count + 1, dtype=np.uint32)
        place[order] = np.arange(count, dtype=np.uint32)
        place[count] = _native.NO_NEIGHBOUR
        lists = aligned_zeros(neighbours.shape, np.uint32)
        for start in range(0, count, SLICE_ROWS):
            part = neighbours[order[start : start + SLICE_ROWS]]
            np.take(place, np.minimum(part, count), out=lists[start : start + SLICE_ROWS])
        return cls(lists, rows[order], np.sort(place[entries]))


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
        self._degree = degree
        self._candidates = candidates
        self._clusters = Clusters(rows, dimensions, context)
        self._linking = Linking(rows.reordered(self._clusters.order), dimensions, alpha, context)

    def build(self) -> Links:
        """Runs the whole build.

        Raises:
            Cancelled: the context was cancelled.
        """
        linking = self._linking
        entries = self._entries()
        degree = self._degree if linking.count <= self._candidates else min(self._degree, _FIRST_DEGREE)
        neighbours = self._clusters.neighbours(linking, 0, degree, linking.progress(0.0, 0.3))
        self._add_reverse(neighbours)
        if linking.count > self._candidates:
            codes = linking.codes(neighbours)
            for round_number, lost_most in enumerate(_LOST_MOST):
                _native.connect_and_order(neighbours, int(entries[0]))
                entries = reaching(linking, neighbours, entries, codes, self._candidates, lost_most)
                progress = linking.progress(0.3 + 0.3 * round_number, 0.3)
                neighbours = linking.searched(
                    neighbours, entries, codes, 0, self._degree, self._candidates, progress
                )
                self._add_reverse(neighbours)
            del codes
        return Links.stored(neighbours, entries, self._clusters.order)

    def _entries(self) -> NDArray[np.uint32]:
        """The node nearest to the mean of all, those nearest to some of the centres, and random ones."""
        rows, context = self._linking.rows, self._linking.context
        places = [self._clusters.middle_place(rows), *self._clusters.central_places(rows, ENTRIES)]
        rng = np.random.default_rng(context.seed)
        wanted = max(ENTRIES - len(places) + 1, 0)
        places += rng.choice(self._linking.count, min(self._linking.count, wanted), replace=False).tolist()
        return np.array(list(dict.fromkeys(places)), dtype=np.uint32)

    def _add_reverse(self, neighbours: NDArray[np.uint32]) -> None:
        linking = self._linking
        _native.add_reverse(
            linking.rows.codes, linking.rows.scales, neighbours, linking.alpha, linking.pool, linking.cancel
        )
