"""scalable-vs: the Vamana graph over float16 or float32 rows.

Its LVQ and LeanVec end the process on CPUs of other makers than Intel, so they are not run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import svs
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor, Params, Shape, sweep_of
from nearfield.bench.adapters.peer import PeerAdapter

_METRICS = {"l2": "L2", "ip": "MIP", "cosine": "Cosine"}
_TYPES = {"float16": (np.float16, svs.DataType.float16), "float32": (np.float32, svs.DataType.float32)}
_PARTS = ("config", "graph", "data")


class SvsAdapter(PeerAdapter):
    """One `svs.Vamana`."""

    def prepare(self, rows: NDArray[Any], metric: str) -> NDArray[Any]:
        return np.ascontiguousarray(rows, _TYPES[self._params["dtype"]][0])

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
        self._index = svs.Vamana.build(parameters, rows, _distance(metric), threads)

    def save(self, path: Path) -> None:
        for part in _PARTS:
            (path / part).mkdir(parents=True)
        self._index.save(*(str(path / part) for part in _PARTS))

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        self._bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        data = svs.VectorDataLoader(str(path / "data"), _TYPES[self._params["dtype"]][1], dims=dimensions)
        graph = svs.GraphLoader(str(path / "graph"))
        self._index = svs.Vamana(str(path / "config"), graph, data, _distance(metric), num_threads=1)

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[Any] = self._index.search(vector, k)[0][0]
        return ids

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids: NDArray[Any] = self._index.search(queries, k)[0]
        return ids

    def memory_bytes(self) -> tuple[int | None, int]:
        """The size of its files: it does not say."""
        return self._bytes, 0

    def _set(self, params: Params) -> None:
        self._index.search_window_size = params["search_window_size"]
        self._index.num_threads = self._threads


def _distance(metric: str) -> Any:
    return getattr(svs.DistanceType, _METRICS[metric])


def _builds(dtype: str, degrees: tuple[int, ...]) -> list[Params]:
    return [{"graph_max_degree": degree, "window_size": 200, "dtype": dtype} for degree in degrees]


def _competitor(dtype: str, degrees: tuple[int, ...]) -> Competitor:
    def builds(shape: Shape) -> list[Params]:
        return _builds(dtype, degrees[:1] if shape.quick else degrees)

    name = f"svs-{dtype.replace('float', 'f')}"
    return Competitor(name, "scalable-vs", SvsAdapter, builds, sweep_of("search_window_size"))


COMPETITORS = [_competitor("float16", (32, 64)), _competitor("float32", (64,))]
