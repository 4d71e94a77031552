"""How the rows of a graph are encoded for its search, and the encoding itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.encodings.lvq import RESIDUAL_ALIGNMENT, LvqCodes, LvqEncoding, TwoLevelCodes
from nearfield.index_builders.transforms.leanvec import Projection

LINE_BYTES: Final = 64
TAIL_BYTES: Final = 8
"""Constants of a code row: step, bias and norm."""


def code_lines(dimensions: int, bits: int) -> int:
    """Cache lines of a code row."""
    return _native.lvq_stride(dimensions, bits, LINE_BYTES) // LINE_BYTES


def dimensions_in(lines: int, bits: int) -> int:
    """Dimensions that a code row of so many cache lines holds."""
    return (lines * LINE_BYTES - TAIL_BYTES) * 8 // bits


@dataclass(frozen=True)
class StagePlan:
    """What a traversal reads, and what its candidates are re-ranked with before the full rows.

    Args:
        primary_bits: per dimension of the projected rows.
        secondary_bits: None: nothing comes between.
        residual: the secondary codes are the second level of the primary ones; else codes of whole rows.
        clip: of the primary codes; None: at 4 bits.
    """

    primary_bits: int
    secondary_bits: int | None
    residual: bool
    clip: bool | None

    @classmethod
    def of(cls, dimensions: int, params: Mapping[str, Any]) -> Self:
        """From parsed parameters: `encoding`, or `primary_encoding` and `secondary_encoding`."""
        if "encoding" in params:
            encoding = LvqEncoding(params["encoding"])
            return cls(
                encoding.bits, encoding.residual_bits, encoding.residual_bits is not None, params["clip"]
            )
        secondary = params["secondary_encoding"]
        return cls(
            _primary(dimensions, params["primary_encoding"]).bits,
            None if secondary == "none" else LvqEncoding(secondary).bits,
            False,
            None,
        )

    def row_bytes(self, reduced: int, dimensions: int) -> int:
        """Bytes of a row at both stages."""
        primary = _native.lvq_stride(reduced, self.primary_bits, LINE_BYTES)
        if self.secondary_bits is None:
            return primary
        return primary + _native.lvq_stride(dimensions, self.secondary_bits, RESIDUAL_ALIGNMENT)

    def encode(
        self, base: BaseRows, order: NDArray[np.int64], projection: Projection, context: BuildContext
    ) -> tuple[LvqCodes, LvqCodes | None]:
        """Primary and secondary codes of the rows in the order of their nodes.

        Norms make <v, x> a distance, see `query_batch.h`. For l2 they are the squared length of what the
        codes stand for: errors of the codes then weigh like the distance to the query, not like its length.
        For ip they are minus the product with the mean of the rows or of training queries. Either is made
        less by the share of what a projection lost that queries nearby find in a row.
        """
        pool = _native.ThreadPool(context.threads)
        primary = LvqCodes.empty(len(order), projection.dimensions, self.primary_bits, LINE_BYTES)
        secondary = None
        if self.secondary_bits is not None:
            secondary = LvqCodes.empty(len(order), base.dimensions, self.secondary_bits, RESIDUAL_ALIGNMENT)
        for start, rows in base.blocks(context, 0.9, 0.1, order):
            block = projection.centred(rows)
            projected = projection.rows_of(block)
            norms = None if base.metric == "l2" else projection.pivots_of(block)
            if secondary is not None and self.residual:
                TwoLevelCodes(primary, secondary).encode(start, projected, norms, pool, clip=self.clip)
                continue
            primary.encode(start, projected, norms, pool, clip=self.clip)
            if secondary is not None:
                secondary.encode(start, block, norms, pool)
            if projected is not block and (norms is None or projection.query_mean is not None):
                own = primary.norms[start : start + len(block)]
                own[:] = _less_what_is_found(own, block, projected, projection, base.metric)
        return primary, secondary


def _less_what_is_found(
    norms: NDArray[np.float32],
    rows: NDArray[np.float32],
    projected: NDArray[np.float32],
    projection: Projection,
    metric: str,
) -> NDArray[np.float32]:
    """Norms [m] of projected rows made norms of whole rows, less what queries find of what these lost."""
    missing = projection.missing_in(rows, projected)
    share = projection.neighbour_share
    if metric != "l2":
        return norms - np.float32(share) * missing
    if projection.symmetric:
        return norms + np.float32(1 - 2 * share) * missing
    lengths: NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
    return lengths - np.float32(2 * share) * missing


def _primary(dimensions: int, wanted: str | None) -> LvqEncoding:
    """8 bits where the whole row fits two cache lines: there 4 would save little and cost recall."""
    if wanted is not None:
        return LvqEncoding(wanted)
    return LvqEncoding.LVQ8 if code_lines(dimensions, 8) <= 2 else LvqEncoding.LVQ4
