"""Builders of the compressed graph: `graph` and `leanvec` on projected rows, `lvq` on all dimensions."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.protocol import BuildContext, RowChecks, Rows, VectorIndex
from nearfield.index_builders.base_rows import BaseRows, report
from nearfield.index_builders.copies import GraphPoints
from nearfield.index_builders.encodings.lvq import LvqEncoding
from nearfield.index_builders.files import open_header
from nearfield.index_builders.graph import maps
from nearfield.index_builders.graph.adaptive_window import AdaptiveWindow
from nearfield.index_builders.graph.arrays import STEERING_FILES, GraphArrays
from nearfield.index_builders.graph.calibration import adaptive_window, calibrate
from nearfield.index_builders.graph.change import Change
from nearfield.index_builders.graph.closing import close
from nearfield.index_builders.graph.codes import StagePlan, code_lines, dimensions_in
from nearfield.index_builders.graph.extend import LinkExtender
from nearfield.index_builders.graph.index import FORMAT_VERSION, POINTS_NAME, GraphIndex
from nearfield.index_builders.graph.inversion import Inversion
from nearfield.index_builders.graph.linking import BLURRED_MOST
from nearfield.index_builders.graph.links import LinkBuilder
from nearfield.index_builders.graph.sample import RowSample
from nearfield.index_builders.graph.signed_rows import SignedRows
from nearfield.index_builders.params import BoolParam, ChoiceParam, FloatParam, IntParam, parse
from nearfield.index_builders.transforms.leanvec import (
    LeanVecMethod,
    Projection,
    ProjectionLearner,
    all_dimensions,
)
from nearfield.index_builders.transforms.training_queries import TrainingQueries

_GRAPH: Final = (
    IntParam("degree", 32, 4, 256),
    FloatParam("alpha", 1.2, 1.0, 4.0),
    IntParam("candidates", 100, 16, 1_000),
    IntParam("ef", None, 1, 100_000),
    FloatParam("target_recall", 0.97, 0.5, 0.999),
    BoolParam("calibrate", True),
)
_STAGES: Final = (
    ChoiceParam("primary_encoding", None, ("lvq4", "lvq8")),
    ChoiceParam("secondary_encoding", "none", ("none", "lvq4", "lvq8")),
    ChoiceParam("method", None, tuple(each.value for each in LeanVecMethod)),
    IntParam("reduced_dimensions", None, 1, 65_536),
    IntParam("reduced_dimensions_max", None, 1, 65_536),
)
_LEVELS: Final = (
    ChoiceParam("encoding", "lvq8", tuple(each.value for each in LvqEncoding)),
    BoolParam("rotation", False),
    BoolParam("clip", None),
)


class GraphBuilder:
    """Builds the links on int8 codes of the projected rows, then encodes the rows for the search.

    Args:
        kind: name of the kind.
        params: those beside the graph's own: `_STAGES`, or `_LEVELS`.
    """

    format_version = FORMAT_VERSION
    metrics = frozenset({"l2", "ip", "cosine"})

    def __init__(self, kind: str, params: tuple[IntParam | BoolParam | ChoiceParam, ...]) -> None:
        self.kind = kind
        self._params = (*_GRAPH, *params)

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of the graph `degree`, `alpha` and `candidates`; of all kinds also:

        - `ef`: width of a search that gives none; null: the one that gives `target_recall`.
        - `target_recall`: of a search that gives none, where the recall was measured.
        - `calibrate`: measure the recall when the index is built, at a few percent of the time.

        For `lvq`:

        - `encoding`: `lvq4`, `lvq8`, or with a second level for re-ranking `lvq4x4`, `lvq4x8`, `lvq8x8`.
        - `rotation`: rotate rows and queries before encoding.
        - `clip`: shrink the range of rows at the first level for the least squared error; null: at 4 bits.

        For `graph` and `leanvec`:

        - `primary_encoding` of the projected rows: `lvq4` or `lvq8`; null: chosen.
        - `secondary_encoding` of the whole rows: `none`, or `lvq4` or `lvq8` for re-ranking before the full
          rows, which pays where these are slow to read.
        - `method`: see `LeanVecMethod`; null: with training queries that of `sphering` and `pca` which finds
          more for those kept apart, else `pca`.
        - `reduced_dimensions`; null: chosen by what is lost, and at most `reduced_dimensions_max`.
        """
        return parse(self.kind, self._params, params)

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Links, codes at both stages, the order, and the projection."""
        plan = StagePlan.of(dimensions, params)
        reduced, projected = dimensions, bool(params.get("rotation"))
        if "reduced_dimensions" in params:
            projected = True
            whole = plan.primary_bits == 8
            widest = params["reduced_dimensions_max"] or dimensions
            reduced = params["reduced_dimensions"] or min(dimensions if whole else dimensions // 2, widest)
            reduced = min(reduced, dimensions)
        row_bytes = 4 * params["degree"] + 16 + plan.row_bytes(reduced, dimensions)
        return int(count * row_bytes + projected * reduced * dimensions)

    def build(self, rows: Rows, metric: str, params: Mapping[str, Any], context: BuildContext) -> GraphIndex:
        """See IndexBuilder.build; learns from `training_queries` where they are given."""
        base = BaseRows.measure(rows, metric)
        if base.count < 2:
            return GraphIndex(self.kind, base, None, None, params)
        points = GraphPoints.collapse(rows)
        source = np.arange(base.count) if points is None else points.first_rows()
        if len(source) < 2:
            return GraphIndex(self.kind, base, None, None, params)
        plan = StagePlan.of(base.dimensions, params)
        sample = RowSample.draw(base, source, context.seed, context.threads)
        projection, plan = self._projection(base, sample, plan, params, context)
        blur = sample.blur(projection, plan.primary_bits)
        del sample
        links = LinkBuilder(
            *self._graph_rows(base, source, projection, context),
            params["degree"], params["alpha"], params["candidates"], context,
        ).build()  # fmt: skip
        arrays = GraphArrays(
            links,
            *plan.encode(base, source[links.order], projection, context),
            projection.mean,
            projection.scale,
            *maps.stored(projection),
            maps.measured(projection, base, source, context.seed)[0],
            plan.residual,
            projection.query_mean,
            projection.neighbour_share,
            blur,
        )
        return self._finished(GraphIndex(self.kind, base, arrays, points, params), base, params, context)

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
        plan = replace(StagePlan.of(base.dimensions, params), primary_bits=arrays.primary.bits)
        primary, secondary = plan.encode(base, entering, projection, context)
        if arrays.secondary is not None and secondary is not None:
            secondary = change.spliced(arrays.secondary, secondary, links.order)
        changed = replace(
            arrays,
            links=replace(links, order=change.order[links.order]),
            primary=change.spliced(arrays.primary, primary, links.order),
            secondary=secondary,
        )
        index = GraphIndex(self.kind, base, changed, points, params, adaptive=previous.adaptive)
        return self._finished(index, base, params, context)

    def open(self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any]) -> GraphIndex:
        """See IndexBuilder.open."""
        return self._opened(directory, rows, metric, params, None)

    def open_mapped(
        self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any], checks: RowChecks
    ) -> GraphIndex:
        """See MappingBuilder.open_mapped: links and codes are not read."""
        try:
            return self._opened(directory, rows, metric, params, checks)
        except Corrupted:
            raise
        except Exception as error:
            # Reading the head of a damaged npy file fails in many ways.
            raise Corrupted(f"{directory}: links or codes cannot be opened: {error!r}") from error

    def _opened(
        self,
        directory: Path,
        rows: Rows,
        metric: str,
        params: Mapping[str, Any],
        checks: RowChecks | None,
    ) -> GraphIndex:
        unread = () if checks is None else STEERING_FILES
        facts = open_header(directory, self.kind, FORMAT_VERSION, unread)
        base = BaseRows.open(directory, rows, metric, facts, checks)
        points = GraphPoints.open(directory / POINTS_NAME) if facts["has_points"] else None
        arrays = None if facts["arrays"] is None else GraphArrays.open(directory, facts["arrays"])
        calibration, adaptive = facts.get("calibration"), facts.get("adaptive")
        return GraphIndex(
            self.kind, base, arrays, points, params,
            None if calibration is None else Calibration.from_json(calibration),
            None if adaptive is None else AdaptiveWindow.from_json(adaptive),
        )  # fmt: skip

    def _finished(
        self, index: GraphIndex, base: BaseRows, params: Mapping[str, Any], context: BuildContext
    ) -> GraphIndex:
        index = index.adapted(adaptive_window(index, base, context))
        if params["calibrate"]:
            index = index.calibrated(calibrate(index, base, context))
        close(index, base, context)
        report(context, 1.0)
        return index

    def _projection(
        self,
        base: BaseRows,
        sample: RowSample,
        plan: StagePlan,
        params: Mapping[str, Any],
        context: BuildContext,
    ) -> tuple[Projection, StagePlan]:
        """The maps, and the plan with as many bits as the rows need where none were asked for."""
        if "reduced_dimensions" not in params:
            rotation_seed = context.seed if params["rotation"] else None
            return all_dimensions(sample.rows, sample.mean, rotation_seed), plan
        queries, given = None, context.training_queries
        if given is not None and given.any():
            queries = TrainingQueries(given, base, sample.mean, len(sample.rows), context.seed)
        learner = ProjectionLearner(
            sample.rows, sample.mean, None if queries is None else queries.for_learning
        )
        method = None if params["method"] is None else LeanVecMethod(params["method"])
        widest = min(params["reduced_dimensions_max"] or base.dimensions, base.dimensions)

        def learned(bits: int, widest: int) -> Projection:
            reduced = params["reduced_dimensions"] or min(sample.width(learner, bits), widest)
            reduced = min(reduced, base.dimensions)
            if queries is None:
                return learner.learn(reduced, context.seed, method)
            methods = (LeanVecMethod.SPHERING, LeanVecMethod.PCA) if method is None else (method,)
            found = [learner.learn(reduced, context.seed, each) for each in methods]
            return queries.best(found, sample.rows, context.threads)

        projection = learned(plan.primary_bits, widest)
        free = params["primary_encoding"] is None and params["reduced_dimensions"] is None
        if free and plan.primary_bits == 4 and sample.blur(projection, 4) > BLURRED_MOST:
            plan = replace(plan, primary_bits=8)
            # No more memory than 4 bits of the widest would take: budgets count on it.
            projection = learned(8, dimensions_in(code_lines(widest, 4), 8))
        return projection, plan

    def _graph_rows(
        self, base: BaseRows, source: NDArray[np.int64], projection: Projection, context: BuildContext
    ) -> tuple[SignedRows, int]:
        """The rows the graph is built on, projected (for inner products inverted), and their dimensions."""
        inversion = None
        if base.metric == "ip":
            inversion = Inversion.learn(base, source, projection, context.seed)
        rows = SignedRows.empty(len(source), projection.dimensions)
        for start, block in base.blocks(context, 0.0, 0.0, source):
            if inversion is None:
                rows.encode(start, projection.graph_rows_of(projection.centred(block)))
            else:
                rows.encode(start, inversion.apply(block))
        return rows, projection.dimensions


def graph_builder() -> GraphBuilder:
    """Kind `graph`."""
    return GraphBuilder("graph", _STAGES)


def lvq_builder() -> GraphBuilder:
    """Kind `lvq`: codes of all dimensions, nothing projected away."""
    return GraphBuilder("lvq", _LEVELS)


def leanvec_builder() -> GraphBuilder:
    """Kind `leanvec`: 4-bit codes in the projected space, 8-bit codes of all dimensions for re-ranking."""
    return GraphBuilder("leanvec", _STAGES)
