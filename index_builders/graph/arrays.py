"""Everything a graph is searched with beside the rows, and its files: one mapped npy per array."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders.encodings.lvq import LvqCodes
from nearfield.index_builders.files import mapped_at_random
from nearfield.index_builders.graph.links import Links
from nearfield.index_builders.graph.signed_rows import SignedRows
from nearfield.index_builders.transforms.leanvec import NEIGHBOUR_SHARE

STEERING_FILES: Final = frozenset({"neighbours.npy", "primary.npy", "secondary.npy"})
"""The large ones: they decide where a search goes, not what its answers are."""


@dataclass(frozen=True)
class GraphArrays:
    """Everything a graph is searched with, beside the rows; read-only.

    Args:
        links: the graph; `links.order` gives the point of a node.
        primary: codes of the projected rows, by node.
        secondary: codes of the centred rows, by node; None: re-rank with full rows only.
        secondary_is_residual: they are the second level of the primary ones instead.
        mean: float32 [D], subtracted from rows before encoding.
        scale: by which they are then multiplied, so that the constants of codes fit half precision.
        projection: the query side of the projection; None where primary codes are of the centred rows.
        row_side, graph_side: the projections of rows that codes and links were made with; None where they
            are the query side. Only `extend` needs them.
        residue: share of the rows' squared length that the projection lost when it was learned.
        query_mean, neighbour_share: see `Projection`; the norms of the primary codes were made with them.
        blur: squared error of the primary codes, as a share of the squared distance between nearest rows.
    """

    links: Links
    primary: LvqCodes
    secondary: LvqCodes | None
    mean: NDArray[np.float32]
    scale: float
    projection: SignedRows | None
    row_side: SignedRows | None
    graph_side: SignedRows | None
    residue: float
    secondary_is_residual: bool = False
    query_mean: NDArray[np.float32] | None = None
    neighbour_share: float = NEIGHBOUR_SHARE
    blur: float = 0.0

    def resident_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._named().values())

    def facts(self) -> dict[str, Any]:
        """The layout of the codes, as JSON values; `open` needs it."""
        return {
            name: None if codes is None else [codes.bits, codes.dimensions, codes.stride]
            for name, codes in (("primary", self.primary), ("secondary", self.secondary))
        } | {
            "maps": [name for name, rows in self._maps().items() if rows is not None],
            "scale": self.scale,
            "residue": self.residue,
            "secondary_is_residual": self.secondary_is_residual,
            "has_query_mean": self.query_mean is not None,
            "neighbour_share": self.neighbour_share,
            "blur": self.blur,
        }

    def save(self, directory: Path) -> list[Path]:
        """Write one file per array; returns them."""
        named = self._named()
        for name, array in named.items():
            np.save(directory / f"{name}.npy", array)
        return [directory / f"{name}.npy" for name in named]

    @classmethod
    def open(cls, directory: Path, facts: dict[str, Any]) -> Self:
        """Map what `save` wrote; raises ValueError where that is no array."""

        def mapped(name: str) -> Any:
            path = directory / f"{name}.npy"
            return mapped_at_random(path) if path.name in STEERING_FILES else np.load(path, mmap_mode="r")

        def codes(name: str) -> LvqCodes | None:
            return None if facts[name] is None else _codes(facts[name], mapped(name))

        primary = codes("primary")
        assert primary is not None

        def side(name: str) -> SignedRows | None:
            named = name in facts["maps"]
            return SignedRows(mapped(name), mapped(f"{name}_scales")) if named else None

        links = Links(mapped("neighbours"), mapped("order"), mapped("entries"))
        return cls(
            links=links,
            primary=primary,
            secondary=codes("secondary"),
            mean=mapped("mean"),
            scale=facts["scale"],
            projection=side("projection"),
            row_side=side("row_side"),
            graph_side=side("graph_side"),
            residue=facts["residue"],
            secondary_is_residual=facts["secondary_is_residual"],
            query_mean=mapped("query_mean") if facts["has_query_mean"] else None,
            neighbour_share=facts["neighbour_share"],
            blur=facts.get("blur", 0.0),
        )

    def _maps(self) -> dict[str, SignedRows | None]:
        return {
            "projection": self.projection, "row_side": self.row_side, "graph_side": self.graph_side
        }  # fmt: skip

    def _named(self) -> dict[str, NDArray[Any]]:
        named: dict[str, NDArray[Any]] = {
            "neighbours": self.links.neighbours,
            "order": self.links.order,
            "entries": self.links.entries,
            "mean": self.mean,
            "primary": self.primary.data,
        }
        if self.secondary is not None:
            named["secondary"] = self.secondary.data
        if self.query_mean is not None:
            named["query_mean"] = self.query_mean
        for name, rows in self._maps().items():
            if rows is not None:
                named[name], named[f"{name}_scales"] = rows.codes, rows.scales
        return named


def _codes(layout: list[int], data: NDArray[np.uint8]) -> LvqCodes:
    bits, dimensions, stride = layout
    return LvqCodes(bits, dimensions, stride, data)
