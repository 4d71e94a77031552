"""A built graph changed: nodes leave, others enter, the rest keep their links. See decision 0012."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.graph.clusters import Clusters
from nearfield.index_builders.graph.entries import reaching
from nearfield.index_builders.graph.linking import NAMED_LEAST, Linking
from nearfield.index_builders.graph.links import ENTRIES, Links
from nearfield.index_builders.graph.signed_rows import SignedRows

_REPAIR_CANDIDATES: Final = 64
_FIRST_CANDIDATES: Final = 48


class LinkExtender:
    """Changes the links of rows given as int8 codes of their projection.

    Args:
        rows: those that stay, in the order of the old graph, then those that enter.
        dimensions: of the projection.
        staying: how many stay, at least one.
        alpha: of the pruning, on squared distances.
        candidates: neighbours found for each entering row before pruning.
    """

    def __init__(
        self,
        rows: SignedRows,
        dimensions: int,
        staying: int,
        alpha: float,
        candidates: int,
        context: BuildContext,
    ) -> None:
        self._staying = staying
        self._candidates = candidates
        self._entering = len(rows.codes) - staying
        order = np.arange(len(rows.codes))
        if self._entering:
            entering = SignedRows(rows.codes[staying:], rows.scales[staying:])
            self._clusters = Clusters(entering, dimensions, context)
            order[staying:] = staying + self._clusters.order
        self._row_of = order
        self._linking = Linking(rows.reordered(order), dimensions, alpha, context)

    def extend(self, old: Links, place: NDArray[np.uint32]) -> Links:
        """The changed graph.

        Args:
            place: uint32 [old nodes], ascending numbers of the nodes that stay, 2**32 - 1 for the others.

        Raises:
            Cancelled: the context was cancelled.
        """
        linking, degree = self._linking, old.neighbours.shape[1]
        neighbours = np.full((linking.count, degree), _native.NO_NEIGHBOUR, dtype=np.uint32)
        linking.progress(0.0, 0.0)(0.0)
        neighbours[: self._staying] = _native.drop_nodes(
            linking.rows.codes, linking.rows.scales, old.neighbours, place, _REPAIR_CANDIDATES,
            linking.alpha, linking.pool, linking.cancel,
        )  # fmt: skip
        entries = self._kept_entries(old, place)
        if self._entering:
            entries = self._enter(neighbours, entries, degree)
        _native.raise_in_degrees(neighbours, int(NAMED_LEAST * degree))
        return Links.stored(neighbours, entries, self._row_of)

    def _enter(
        self, neighbours: NDArray[np.uint32], entries: NDArray[np.uint32], degree: int
    ) -> NDArray[np.uint32]:
        """Links the entering rows to each other by clusters and to the rest by search, then all by search.

        The second search meets the rows that entered, which the first could not.

        Returns:
            The entries of all rows.
        """
        linking, first = self._linking, self._staying
        near = self._clusters.neighbours(linking, first, degree, linking.progress(0.3, 0.1)).astype(np.int64)
        near = np.where(near == _native.NO_NEIGHBOUR, -1, near + first)
        codes = linking.codes(neighbours[:first])
        searches = (
            (neighbours[:first], _FIRST_CANDIDATES, linking.progress(0.4, 0.2)),
            (neighbours, self._candidates, linking.progress(0.6, 0.2)),
        )
        for graph, candidates, progress in searches:
            _native.connect_and_order(graph, int(entries[0]))
            if graph is neighbours:
                entries = reaching(linking, graph, self._with_entering(entries), codes, candidates)
            forward = linking.searched(graph, entries, codes, first, degree, candidates, progress, near)
            _native.add_nodes(
                linking.rows.codes, linking.rows.scales, first, forward, neighbours, linking.alpha,
                linking.pool, linking.cancel,
            )  # fmt: skip
        return entries

    def _kept_entries(self, old: Links, place: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Old entries, or the nearest of their neighbours that stay, in the middle of the data first.

        Where none does it is any node.
        """
        near = np.concatenate([old.entries[:, None], old.neighbours[old.entries]], axis=1)
        linked = near != _native.NO_NEIGHBOUR
        places = np.where(linked, place[np.where(linked, near, 0)], _native.NO_NEIGHBOUR)
        first = (places != _native.NO_NEIGHBOUR).argmax(axis=1)
        kept: NDArray[np.uint32] = places[np.arange(len(places)), first]
        kept = kept[np.sort(np.unique(kept, return_index=True)[1])]
        kept = kept[kept != _native.NO_NEIGHBOUR]
        if not len(kept):
            kept = np.linspace(0, self._staying - 1, min(self._staying, ENTRIES)).astype(np.uint32)
        if place[old.entries[0]] == _native.NO_NEIGHBOUR:
            points = self._linking.rows.decode(kept.astype(np.int64), self._linking.dimensions)
            middle = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())
            kept = np.concatenate([kept[middle : middle + 1], np.delete(kept, middle)])
        return kept

    def _with_entering(self, entries: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Entries among all rows, in proportion to how many of them enter."""
        linking, first = self._linking, self._staying
        wanted = -(-ENTRIES * self._entering // linking.count)
        rows = SignedRows(linking.rows.codes[first:], linking.rows.scales[first:])
        places = self._clusters.central_places(rows, wanted)
        rng = np.random.default_rng(linking.context.seed)
        missing = min(wanted - len(places), self._entering)
        places += rng.choice(self._entering, missing, replace=False).tolist()
        new = first + np.array(list(dict.fromkeys(places)), dtype=np.int64)
        room = max(ENTRIES, len(entries)) - len(new)
        kept = entries[np.unique(np.linspace(0, len(entries) - 1, min(room, len(entries))).astype(np.int64))]
        return np.concatenate([kept, new.astype(np.uint32)])
