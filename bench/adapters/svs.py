"""scalable-vs: the Vamana graph over float32 rows."""

from typing import Any

import numpy as np
import svs
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling

_METRICS = {"l2": "L2", "ip": "MIP", "cosine": "Cosine"}


class SvsAdapter:
    """One `svs.Vamana`."""

    def __init__(self, params: Params) -> None:
        self._params = params

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        parameters = svs.VamanaBuildParameters(
            alpha=1.2 if metric == "l2" else 0.95,
            graph_max_degree=self._params["graph_max_degree"],
            window_size=self._params["window_size"],
        )
        distance = getattr(svs.DistanceType, _METRICS[metric])
        self._index = svs.Vamana.build(parameters, np.asarray(rows, np.float32), distance, threads)

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._index.search_window_size = params["search_window_size"]
        self._index.num_threads = threads

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[Any] = self._index.search(vector, k)[0][0]
        return ids

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[Any] = self._index.search(queries, k)[0]
        return ids

    def memory_bytes(self) -> int | None:
        return None


def _builds(shape: Shape) -> list[Params]:
    return [
        {"graph_max_degree": degree, "window_size": 200} for degree in ((32,) if shape.quick else (32, 64))
    ]


def _searches(shape: Shape, build: Params) -> list[Params]:
    return [{"search_window_size": window} for window in doubling(10, 640, shape.quick)]


COMPETITOR = Competitor("svs", "scalable-vs", SvsAdapter, _builds, _searches)
