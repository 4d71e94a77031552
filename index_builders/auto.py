"""The `auto` policy: an exact scan where that is fast enough, else a graph."""

from collections.abc import Mapping
from typing import Any, Final

from nearfield.engine import limits
from nearfield.engine.index.registry import Registry
from nearfield.engine.index.spec import IndexConfig

GRAPH_KIND: Final = "hnsw"


class AutoPolicy:
    """Flat below INDEX_ROWS_MIN rows and for metrics the graph does not compute; otherwise the graph.

    Its params are those of the graph, so that they can be set before anyone knows how large segments become.
    """

    def choose(
        self, registry: Registry, count: int | None, dimensions: int, metric: str, params: Mapping[str, Any]
    ) -> IndexConfig:
        """See IndexPolicy.choose."""
        graph = registry.builder(GRAPH_KIND)
        graph.parse_params(params)
        if metric not in graph.metrics or (count is not None and count < limits.INDEX_ROWS_MIN):
            return IndexConfig("flat")
        return IndexConfig(GRAPH_KIND, params)
