"""The `auto` policy: an exact scan where that is fast enough, else the compressed graph (decision 0022)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from nearfield.engine import limits
from nearfield.engine.errors import Unprocessable
from nearfield.engine.index.protocol import IndexBuilder
from nearfield.engine.index.registry import Registry
from nearfield.engine.index.spec import IndexConfig
from nearfield.index_builders.graph.codes import code_lines, dimensions_in
from nearfield.index_builders.params import ChoiceParam, IntParam

GRAPH_KIND: Final = "leanvec"
_M: Final = IntParam("m", None, 2, 512)
_EF_CONSTRUCTION: Final = IntParam("ef_construction", None, 4, 100_000)
_PROFILE: Final = ChoiceParam("profile", None, ("compact", "default", "speed"))
_BUDGET: Final = IntParam("memory_budget_bytes", None, 1, 2**50)
_OWN: Final = frozenset(param.name for param in (_M, _EF_CONSTRUCTION, _PROFILE, _BUDGET))
_DEGREE_MAX: Final = 256
_CANDIDATES_MIN: Final = 16
_CANDIDATES_MAX: Final = 1_000
_SPEED: Final = {"degree": 64, "candidates": 128}
_SPEED_RECALL_MIN: Final = 0.99
"""Below, more links cost as much time as they save (decision 0022)."""
_SMALL_BITS: Final = 4


class AutoPolicy:
    """Flat below INDEX_ROWS_MIN rows and for metrics the graph does not compute; otherwise the graph.

    Its params are those of the graph, so that they can be set before anyone knows how large segments become,
    and:

    - `m` and `ef_construction`, which clients set for HNSW, are read as what they mean for the graph: at most
      2 m links of a node, and ef_construction candidates for them.
    - `profile`: `speed` spends memory on links, which pays from a recall of 0.99 on; `compact` has half as
      many links as `default`, which is taken where neither this nor a budget is given.
    - `memory_budget_bytes`: of one index, as its `resident_bytes` tells them (rows may stay on disk). The
      largest that fits whatever the rows are is taken, `speed` only where `target_recall` asks for what it
      is good at. Where rows equal others, the table of copies comes on top: up to 28 bytes a row.
    """

    def choose(
        self, registry: Registry, count: int | None, dimensions: int, metric: str, params: Mapping[str, Any]
    ) -> IndexConfig:
        """See IndexPolicy.choose.

        Raises:
            InvalidRequest: the params are not understood.
            Unprocessable: nothing that is asked for fits the budget; says what the least takes.
        """
        graph = registry.builder(GRAPH_KIND)
        translated = _translated(params)
        graph.parse_params(translated)
        profile = _PROFILE.check(params.get(_PROFILE.name))
        budget = _BUDGET.check(params.get(_BUDGET.name))
        if metric not in graph.metrics or (count is not None and count < limits.INDEX_ROWS_MIN):
            return IndexConfig("flat")
        steps = list(_steps(profile, budget is not None, dimensions, translated))
        if budget is None:
            return IndexConfig(GRAPH_KIND, steps[0])
        rows = limits.INDEX_ROWS_MIN if count is None else count
        bounds = [_most_bytes(graph, rows, dimensions, metric, step) for step in steps]
        for step, most in zip(steps, bounds, strict=True):
            if most <= budget:
                return IndexConfig(GRAPH_KIND, step)
        raise Unprocessable(
            f"memory_budget_bytes must be at least {min(bounds)} for an index of {rows} rows of {dimensions} "
            f"dimensions, got {budget}",
            "params.memory_budget_bytes",
        )


def _steps(
    profile: str | None, budgeted: bool, dimensions: int, given: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Params to try, from the most memory to the least; what was given stays as it is."""
    asks_for_speed = budgeted and given.get("target_recall", 0.0) >= _SPEED_RECALL_MIN
    if profile == "speed" or (profile is None and asks_for_speed):
        yield {**_SPEED, **given}
    if profile in (None, "default"):
        yield dict(given)
    for degree, lines in _smaller(profile, budgeted, code_lines(dimensions, _SMALL_BITS)):
        width = dimensions_in(lines, _SMALL_BITS)
        yield {"degree": degree, "primary_encoding": "lvq4", "reduced_dimensions_max": width, **given}


def _smaller(profile: str | None, budgeted: bool, whole: int) -> list[tuple[int, int]]:
    """Degrees and cache lines of a code row below the default's; `whole` rows take as many lines.

    Links go before the second line: half of the links cost less recall than half of the dimensions.
    """
    two = min(2, whole)
    if profile == "compact":
        return [(16, two)]
    if profile is not None or not budgeted:
        return []
    return [*((32, lines) for lines in range(whole - 1, 2, -1)), (32, two), (24, two), (16, two), (16, 1)]


def _most_bytes(
    graph: IndexBuilder, count: int, dimensions: int, metric: str, params: Mapping[str, Any]
) -> int:
    """What the index takes at the widest that may be chosen, with maps learned from training queries."""
    widest = params.get("reduced_dimensions") or params.get("reduced_dimensions_max") or dimensions
    width = min(widest, dimensions)
    parsed = graph.parse_params({**params, "reduced_dimensions": width})
    scales = 4 * count if metric == "cosine" else 0
    return graph.estimate_bytes(count, dimensions, parsed) + 2 * width * dimensions + scales


def _translated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params with those of HNSW as those of the graph, unless these are given too; without our own."""
    rest = {name: value for name, value in params.items() if name not in _OWN}
    m = _M.check(params.get(_M.name))
    if m is not None:
        rest.setdefault("degree", min(2 * m, _DEGREE_MAX))
    candidates = _EF_CONSTRUCTION.check(params.get(_EF_CONSTRUCTION.name))
    if candidates is not None:
        rest.setdefault("candidates", min(max(candidates, _CANDIDATES_MIN), _CANDIDATES_MAX))
    return rest
