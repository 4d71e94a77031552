"""Builders of the compressed graph: `graph` with every choice open, `lvq` and `leanvec` as presets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.protocol import BuildContext, Rows, VectorIndex
from nearfield.index_builders.base_rows import BLOCK_ROWS, BaseRows, report
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.encodings.lvq import LvqCodes
from nearfield.index_builders.files import open_header
from nearfield.index_builders.graph import maps
from nearfield.index_builders.graph.arrays import GraphArrays
from nearfield.index_builders.graph.change import Change
from nearfield.index_builders.graph.extend import LinkExtender
from nearfield.index_builders.graph.index import FORMAT_VERSION, POINTS_NAME, GraphIndex
from nearfield.index_builders.graph.links import LinkBuilder
from nearfield.index_builders.graph.signed_rows import SignedRows
from nearfield.index_builders.params import FloatParam, IntParam, parse
from nearfield.index_builders.transforms.leanvec import Projection, ProjectionLearner

PARAMS: Final = (
    IntParam("degree", 32, 4, 256),
    FloatParam("alpha", 1.2, 1.0, 4.0),
    IntParam("candidates", 100, 16, 1_000),
    IntParam("primary_bits", None, 4, 8),
    IntParam("secondary_bits", 8, 0, 8),
    IntParam("reduced_dimensions", None, 1, 65_536),
    IntParam("ef", 48, 1, 100_000),
)

_SAMPLE_ROWS: Final = 30_000
# Widths at which a row of 4-bit codes with its constants fills one, two, ... cache lines.
_LINE_BYTES: Final = 64
_TAIL_BYTES: Final = 8
_SPECTRUM_LOST_MOST: Final = 0.1
"""The narrowest width that loses no more is taken (measured: decision 0009)."""


class GraphBuilder:
    """Builds the links on int8 codes of the projected rows, then encodes the rows for the search.

    Args:
        kind: name of the preset.
        preset: defaults that differ from PARAMS.
        projects: whether the rows may be projected to fewer dimensions.
    """

    format_version = FORMAT_VERSION
    metrics = frozenset({"l2", "ip", "cosine"})

    def __init__(self, kind: str, preset: Mapping[str, Any], projects: bool) -> None:
        self.kind = kind
        self._preset = preset
        self._projects = projects

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """`degree`, `alpha`, `candidates`, `primary_bits` 4 or 8 (null: chosen), `secondary_bits` 0 (none), 4
        or 8, `reduced_dimensions` (null: chosen), default `ef`.
        """
        parsed = parse(self.kind, PARAMS, {**self._preset, **params})
        for name, allowed in (("primary_bits", (None, 4, 8)), ("secondary_bits", (0, 4, 8))):
            if parsed[name] not in allowed:
                raise InvalidRequest(f"{name} must be one of {allowed}, got {parsed[name]}", f"params.{name}")
        return parsed

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Links, codes at both stages, the order, and the projection."""
        bits = _primary_bits(dimensions, params)
        whole = bits == 8 or not self._projects
        reduced = min(params["reduced_dimensions"] or (dimensions if whole else dimensions // 2), dimensions)
        primary = _native.lvq_stride(reduced, bits, _LINE_BYTES)
        secondary = 0
        if params["secondary_bits"]:
            secondary = _native.lvq_stride(dimensions, params["secondary_bits"], 8)
        return int(count * (4 * params["degree"] + 8 + primary + secondary) + reduced * dimensions)

    def build(self, rows: Rows, metric: str, params: Mapping[str, Any], context: BuildContext) -> GraphIndex:
        """See IndexBuilder.build; learns from `training_queries` where they are given."""
        base = BaseRows.measure(rows, metric)
        if base.count < 2:
            return GraphIndex(self.kind, base, None, None, params["ef"])
        points = GraphPoints.collapse(rows)
        source = np.arange(base.count) if points is None else points.first_rows()
        if len(source) < 2:
            return GraphIndex(self.kind, base, None, None, params["ef"])
        params = {**params, "primary_bits": _primary_bits(base.dimensions, params)}
        projection = self._projection(base, source, params, context)
        links = LinkBuilder(
            *self._graph_rows(base, source, projection, context),
            params["degree"], params["alpha"], params["candidates"], context,
        ).build()  # fmt: skip
        arrays = GraphArrays(
            links,
            *_encoded(base, source[links.order], projection, params, context),
            projection.mean,
            projection.scale,
            *maps.stored(projection),
            maps.measured(projection, base, source, context.seed)[0],
        )
        report(context, 1.0)
        return GraphIndex(self.kind, base, arrays, points, params["ef"])

    def extend(
        self,
        previous: VectorIndex,
        origin: NDArray[np.int64],
        rows: Rows,
        metric: str,
        params: Mapping[str, Any],
        context: BuildContext,
    ) -> GraphIndex | None:
        """See ExtendingBuilder.extend: what stays keeps its codes and links, under the maps learned once."""
        assert isinstance(previous, GraphIndex)
        arrays, base = previous.arrays, BaseRows.measure(rows, metric)
        if arrays is None:
            return None
        points = GraphPoints.collapse(rows)
        source = np.arange(base.count) if points is None else points.first_rows()
        change = Change.of(arrays.links, previous.points, origin, points)
        projection = maps.restored(arrays)
        if not change.is_small or maps.have_drifted(projection, arrays.residue, base, source, context.seed):
            return None
        links = LinkExtender(
            *self._graph_rows(base, source[change.order], projection, context),
            change.staying, params["alpha"], params["candidates"], context,
        ).extend(arrays.links, change.place)  # fmt: skip
        entering = source[change.order[links.order[links.order >= change.staying]]]
        params = {**params, "primary_bits": arrays.primary.bits}
        primary, secondary = _encoded(base, entering, projection, params, context)
        if arrays.secondary is not None and secondary is not None:
            secondary = change.spliced(arrays.secondary, secondary, links.order)
        changed = replace(
            arrays,
            links=replace(links, order=change.order[links.order]),
            primary=change.spliced(arrays.primary, primary, links.order),
            secondary=secondary,
        )
        report(context, 1.0)
        return GraphIndex(self.kind, base, changed, points, params["ef"])

    def open(self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any]) -> GraphIndex:
        """See IndexBuilder.open."""
        facts = open_header(directory, self.kind, FORMAT_VERSION)
        base = BaseRows.open(directory, rows, metric, facts)
        points = GraphPoints.open(directory / POINTS_NAME) if facts["has_points"] else None
        arrays = None if facts["arrays"] is None else GraphArrays.open(directory, facts["arrays"])
        return GraphIndex(self.kind, base, arrays, points, params["ef"])

    def _projection(
        self, base: BaseRows, source: NDArray[np.int64], params: Mapping[str, Any], context: BuildContext
    ) -> Projection:
        rng = np.random.default_rng(context.seed)
        picked = source
        if len(source) > _SAMPLE_ROWS:
            picked = np.sort(rng.choice(source, _SAMPLE_ROWS, replace=False))
        sample = np.concatenate(
            [base.block(picked[start : start + BLOCK_ROWS]) for start in range(0, len(picked), BLOCK_ROWS)]
        )
        mean = sample.mean(axis=0)
        queries = context.training_queries
        if queries is not None:
            queries = _without_mean(base.prepared(queries), mean, base.metric)
        learner = ProjectionLearner(sample, mean, queries)
        return learner.learn(self._reduced(learner, params), context.seed)

    def _reduced(self, learner: ProjectionLearner, params: Mapping[str, Any]) -> int:
        dimensions = learner.dimensions
        if params["reduced_dimensions"] is not None:
            return min(int(params["reduced_dimensions"]), dimensions)
        if not self._projects or dimensions + _TAIL_BYTES <= 2 * _LINE_BYTES:
            return dimensions
        per_byte = 8 // int(params["primary_bits"])
        for lines in range(1, dimensions):
            reduced = (lines * _LINE_BYTES - _TAIL_BYTES) * per_byte
            if reduced >= dimensions:
                break
            if learner.spectrum_lost(reduced) <= _SPECTRUM_LOST_MOST:
                return reduced
        return dimensions

    def _graph_rows(
        self, base: BaseRows, source: NDArray[np.int64], projection: Projection, context: BuildContext
    ) -> tuple[SignedRows, int]:
        """The rows the graph is built on, and their dimensions: projected, and for inner products lifted.

        One more coordinate, sqrt(longest^2 - |x|^2), makes the Euclidean order around a query that of the
        inner product (arXiv 1410.5518, section 3): without it long rows, the answers of many queries, are
        hard to reach.
        """
        graph_side = projection.graph_side
        dimensions = len(graph_side)
        lift = None
        if base.metric == "ip":
            lift = _Lift.learn(base, source, projection, context)
            dimensions += 1
        rows = SignedRows.empty(len(source), dimensions)
        for start, block in base.blocks(context, 0.0, 0.0, source):
            projected = projection.centred(block) @ graph_side.T
            rows.encode(start, projected if lift is None else lift.apply(projected, block))
        return rows, dimensions


@dataclass(frozen=True)
class _Lift:
    """One more coordinate: sqrt(longest^2 - |x|^2), less its mean, spread over all by a rotation."""

    longest: float
    mean: float
    scale: float
    rotation: NDArray[np.float32]

    @classmethod
    def learn(
        cls, base: BaseRows, source: NDArray[np.int64], projection: Projection, context: BuildContext
    ) -> Self:
        squares = np.concatenate(
            [np.einsum("ij,ij->i", block, block) for _, block in base.blocks(context, 0.0, 0.0, source)]
        )
        longest = float(squares.max())
        size = len(projection.graph_side) + 1
        rotation = np.linalg.qr(np.random.default_rng(context.seed).standard_normal((size, size)))[0]
        mean = float(np.sqrt(longest - squares).mean())
        return cls(longest, mean, projection.scale, rotation.astype(np.float32))

    def apply(self, projected: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lifted rows [m, d + 1] from projected and scaled rows [m, d] and the rows themselves."""
        squares = np.einsum("ij,ij->i", rows, rows)
        height = (np.sqrt(np.maximum(self.longest - squares, 0.0)) - self.mean) * np.float32(self.scale)
        return np.concatenate([projected, height[:, None]], axis=1) @ self.rotation


def _encoded(
    base: BaseRows,
    order: NDArray[np.int64],
    projection: Projection,
    params: Mapping[str, Any],
    context: BuildContext,
) -> tuple[LvqCodes, LvqCodes | None]:
    """Primary and secondary codes of the rows in the order of their nodes.

    Norms are the squared length for l2, and minus the product with the mean for ip: see `query_forms.h`.
    """
    pool = _native.ThreadPool(context.threads)
    primary = LvqCodes.empty(len(order), len(projection.row_side), params["primary_bits"], _LINE_BYTES)
    secondary = None
    if params["secondary_bits"]:
        secondary = LvqCodes.empty(len(order), base.dimensions, params["secondary_bits"], 8)
    for start, block in base.blocks(context, 0.9, 0.1, order):
        block = projection.centred(block)
        if base.metric == "l2":
            norms = np.einsum("ij,ij->i", block, block)
        else:
            norms = -(block @ projection.mean) * np.float32(projection.scale)
        primary.encode(start, block @ projection.row_side.T, norms, pool)
        if secondary is not None:
            secondary.encode(start, block, None if base.metric == "l2" else norms, pool)
    return primary, secondary


def _primary_bits(dimensions: int, params: Mapping[str, Any]) -> int:
    """8 bits where the whole row fits two cache lines: there 4 would save little and cost recall."""
    if params["primary_bits"] is not None:
        return int(params["primary_bits"])
    return 8 if dimensions + _TAIL_BYTES <= 2 * _LINE_BYTES else 4


def _without_mean(
    queries: NDArray[np.float32], mean: NDArray[np.float32], metric: str
) -> NDArray[np.float32]:
    """What a search projects of queries [t, d]: for inner products, their part along the mean is exact."""
    if metric == "l2":
        return queries - mean
    square = float(mean @ mean)
    return queries - np.outer(queries @ mean / np.float32(square), mean) if square > 0 else queries


def graph_builder() -> GraphBuilder:
    """Kind `graph`."""
    return GraphBuilder("graph", {}, projects=True)


def lvq_builder() -> GraphBuilder:
    """Kind `lvq`: codes of all dimensions, 8 bits, nothing projected away."""
    return GraphBuilder("lvq", {"primary_bits": 8, "secondary_bits": 0}, projects=False)


def leanvec_builder() -> GraphBuilder:
    """Kind `leanvec`: 4-bit codes in the projected space, 8-bit codes of all dimensions for re-ranking."""
    return GraphBuilder("leanvec", {"secondary_bits": 8}, projects=True)
