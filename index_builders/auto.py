"""The `auto` policy: an exact scan where that is fast enough, else the compressed graph (decision 0017)."""

from collections.abc import Mapping
from typing import Any, Final

from nearfield.engine import limits
from nearfield.engine.index.registry import Registry
from nearfield.engine.index.spec import IndexConfig
from nearfield.index_builders.params import IntParam

GRAPH_KIND: Final = "leanvec"
_M: Final = IntParam("m", None, 2, 512)
_EF_CONSTRUCTION: Final = IntParam("ef_construction", None, 4, 100_000)
_DEGREE_MAX: Final = 256
_CANDIDATES_MIN: Final = 16
_CANDIDATES_MAX: Final = 1_000


class AutoPolicy:
    """Flat below INDEX_ROWS_MIN rows and for metrics the graph does not compute; otherwise the graph.

    Its params are those of the graph, so that they can be set before anyone knows how large segments become.
    `m` and `ef_construction`, which clients set for HNSW, are read as what they mean for the graph: at most
    2 m links of a node, and ef_construction candidates for them.
    """

    def choose(
        self, registry: Registry, count: int | None, dimensions: int, metric: str, params: Mapping[str, Any]
    ) -> IndexConfig:
        """See IndexPolicy.choose."""
        graph = registry.builder(GRAPH_KIND)
        translated = _translated(params)
        graph.parse_params(translated)
        if metric not in graph.metrics or (count is not None and count < limits.INDEX_ROWS_MIN):
            return IndexConfig("flat")
        return IndexConfig(GRAPH_KIND, translated)


def _translated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params with those of HNSW as those of the graph, unless these are given too."""
    rest = {name: value for name, value in params.items() if name not in (_M.name, _EF_CONSTRUCTION.name)}
    m = _M.check(params.get(_M.name))
    if m is not None:
        rest.setdefault("degree", min(2 * m, _DEGREE_MAX))
    candidates = _EF_CONSTRUCTION.check(params.get(_EF_CONSTRUCTION.name))
    if candidates is not None:
        rest.setdefault("candidates", min(max(candidates, _CANDIDATES_MIN), _CANDIDATES_MAX))
    return rest
