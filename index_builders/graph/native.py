"""The native graph over what an index holds."""

import numpy as np

from nearfield.engine import _native
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.graph.arrays import GraphArrays


def native_graph(base: BaseRows, arrays: GraphArrays, points: GraphPoints | None) -> _native.Graph:
    """It keeps these arrays alive; where equal rows share a node its first row stands for all."""
    links, primary, secondary, projection = arrays.links, arrays.primary, arrays.secondary, arrays.projection
    row_of = links.order if points is None else points.first_rows()[links.order]
    return _native.Graph(
        links.neighbours,
        links.entries,
        row_of.astype(np.uint32),
        primary.data,
        primary.bits,
        primary.dimensions,
        primary.stride,
        None if secondary is None else secondary.data,
        8 if secondary is None else secondary.bits,
        0 if secondary is None else secondary.stride,
        arrays.secondary_is_residual,
        base.rows,
        base.row_scale,
        "l2" if base.metric == "l2" else "ip",
        arrays.mean,
        arrays.scale,
        None if projection is None else projection.codes,
        None if projection is None else projection.sums(),
        None if projection is None else projection.scales,
        arrays.query_mean,
    )
