"""What was learned from the rows of a graph: kept beside its codes, and tested against the rows of today."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders.base_rows import BLOCK_ROWS, BaseRows
from nearfield.index_builders.graph.arrays import GraphArrays
from nearfield.index_builders.graph.signed_rows import SignedRows
from nearfield.index_builders.transforms.leanvec import Projection

_SAMPLE_ROWS: Final = 4_096
_RESIDUE_GROWTH: Final = 1.25
_RESIDUE_SLACK: Final = 0.01
_SHIFT_MOST: Final = 0.2
"""Share of the rows' squared length that lies in how far their mean has moved."""


def signed(side: NDArray[np.float32]) -> SignedRows:
    """A matrix as it is stored."""
    rows = SignedRows.empty(*side.shape)
    rows.encode(0, side)
    return rows


def stored(projection: Projection) -> tuple[SignedRows | None, SignedRows | None, SignedRows | None]:
    """The query side of a projection, and the other two where they differ from it."""
    query, row, graph = projection.query_side, projection.row_side, projection.graph_side
    if query is None or row is None or graph is None:
        return None, None, None
    return (
        signed(query),
        None if np.array_equal(row, query) else signed(row),
        None if np.array_equal(graph, query) else signed(graph),
    )


def restored(arrays: GraphArrays) -> Projection:
    """The projection an index was built with, up to the rounding of its int8 matrices."""
    query = arrays.projection
    mean = np.asarray(arrays.mean)
    if query is None:
        return Projection(mean, arrays.scale)

    def side(rows: SignedRows | None) -> NDArray[np.float32]:
        return (query if rows is None else rows).decode(slice(None), len(mean))

    return Projection(
        mean,
        arrays.scale,
        side(None),
        side(arrays.row_side),
        side(arrays.graph_side),
        arrays.residue,
        symmetric=arrays.row_side is None,
        query_mean=None if arrays.query_mean is None else np.asarray(arrays.query_mean),
        neighbour_share=arrays.neighbour_share,
    )


def measured(
    projection: Projection, base: BaseRows, source: NDArray[np.int64], seed: int
) -> tuple[float, float]:
    """Share of the rows' squared length that a projection loses, and the share that is a shift of their mean.

    Args:
        source: int64 [n], the rows to look at; some thousand of them are.
    """
    rng = np.random.default_rng(seed)
    picked = source
    if len(source) > _SAMPLE_ROWS:
        picked = np.sort(rng.choice(source, _SAMPLE_ROWS, replace=False))
    total = lost = 0.0
    mean = np.zeros(base.dimensions, dtype=np.float64)
    for start in range(0, len(picked), BLOCK_ROWS):
        rows = projection.centred(base.block(picked[start : start + BLOCK_ROWS]))
        error = rows - projection.restored(projection.rows_of(rows))
        total += float(np.einsum("ij,ij->", rows, rows, dtype=np.float64))
        lost += float(np.einsum("ij,ij->", error, error, dtype=np.float64))
        mean += rows.sum(axis=0, dtype=np.float64)
    if total == 0:
        return 0.0, 0.0
    return lost / total, float(mean @ mean) / len(picked) / total


def have_drifted(
    projection: Projection, residue: float, base: BaseRows, source: NDArray[np.int64], seed: int
) -> bool:
    """Whether maps learned from other rows are worse for these than for those.

    Args:
        residue: what the projection lost of the rows it was learned from.
    """
    lost, shift = measured(projection, base, source, seed)
    return lost > _RESIDUE_GROWTH * residue + _RESIDUE_SLACK or shift > _SHIFT_MOST
