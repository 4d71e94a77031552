"""From the rows of an old index to those of a new one: which nodes stay, which leave, which rows enter."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.encodings.lvq import SLACK_BYTES, LvqCodes
from nearfield.index_builders.graph.links import Links


@dataclass(frozen=True)
class Change:
    """What happens to the nodes of a graph.

    Args:
        place: uint32 [old nodes], ascending numbers 0, 1, ... of those that stay, 2**32 - 1 for the others.
        nodes: int64 [staying], the old nodes that stay, ascending.
        order: int64 [new points], the points of those, then the points that enter, ascending.
    """

    place: NDArray[np.uint32]
    nodes: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(
        cls, links: Links, before: GraphPoints | None, origin: NDArray[np.int64], after: GraphPoints | None
    ) -> Self:
        """The change of a graph.

        Args:
            links: of the old graph.
            before, after: where equal old and new rows share a point; None: none do.
            origin: int64 [new rows], the old row each was, -1 for rows that enter.
        """
        rows = np.flatnonzero(origin >= 0)
        node_of_point = np.empty(len(links.order), dtype=np.int64)
        node_of_point[links.order] = np.arange(len(links.order))
        nodes = node_of_point[origin[rows] if before is None else before.point_of_row[origin[rows]]]
        points = rows if after is None else after.point_of_row[rows].astype(np.int64)
        # Equal rows may share a node on one side only: a node stays for one point, a point takes one node.
        first = np.unique(points, return_index=True)[1]
        nodes, first_of_node = np.unique(nodes[first], return_index=True)
        points = points[first][first_of_node]
        place = np.full(len(links.order), _native.NO_NEIGHBOUR, dtype=np.uint32)
        place[nodes] = np.arange(len(nodes), dtype=np.uint32)
        enters = np.ones(len(origin) if after is None else after.count, dtype=np.bool_)
        enters[points] = False
        return cls(place, nodes, np.concatenate([points, np.flatnonzero(enters)]))

    @property
    def staying(self) -> int:
        """How many nodes stay."""
        return len(self.nodes)

    @property
    def entering(self) -> int:
        """How many points enter."""
        return len(self.order) - len(self.nodes)

    @property
    def leaving(self) -> int:
        """How many nodes leave."""
        return len(self.place) - len(self.nodes)

    @property
    def is_small(self) -> bool:
        """Whether changing the graph pays: at least half stay, and at least half have been there."""
        return self.staying >= max(self.entering, self.leaving, 2)

    def spliced(self, old: LvqCodes, entered: LvqCodes, order: NDArray[np.int64]) -> LvqCodes:
        """Codes of the new nodes.

        Args:
            old: by old node.
            entered: of the nodes that enter, in the order in which they come in `order`.
            order: int64 [new nodes], positions in `self.order`.
        """
        codes = LvqCodes(
            old.bits, old.dimensions, old.stride,
            np.zeros(len(order) * old.stride + SLACK_BYTES, dtype=np.uint8),
        )  # fmt: skip
        stays = order < self.staying
        codes.rows[stays] = old.rows[self.nodes[order[stays]]]
        codes.rows[~stays] = entered.rows
        return codes
