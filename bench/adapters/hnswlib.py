"""hnswlib: the reference implementation of HNSW."""

from typing import Any

import hnswlib
import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling


class HnswlibAdapter:
    """One `hnswlib.Index`."""

    def __init__(self, params: Params) -> None:
        self._params = params

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        self._index = hnswlib.Index(space=metric, dim=rows.shape[1])
        self._index.init_index(
            max_elements=len(rows),
            M=self._params["M"],
            ef_construction=self._params["ef_construction"],
            random_seed=1,
        )
        self._index.add_items(np.asarray(rows, np.float32), num_threads=threads)

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._index.set_ef(params["ef"])
        self._threads = threads

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        labels: NDArray[Any] = self._index.knn_query(vector, k=k, num_threads=1)[0][0]
        return labels

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        labels: NDArray[Any] = self._index.knn_query(queries, k=k, num_threads=self._threads)[0]
        return labels

    def memory_bytes(self) -> int | None:
        return int(self._index.index_file_size())


def _builds(shape: Shape) -> list[Params]:
    return [{"M": m, "ef_construction": 200} for m in ((16,) if shape.quick else (16, 32))]


def _searches(shape: Shape, build: Params) -> list[Params]:
    return [{"ef": ef} for ef in doubling(10, 640, shape.quick)]


COMPETITOR = Competitor("hnswlib", "hnswlib", HnswlibAdapter, _builds, _searches)
