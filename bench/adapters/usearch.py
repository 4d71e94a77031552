"""usearch: HNSW with run-time chosen kernels; float32 storage, as the others here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling

_METRICS = {"l2": "l2sq", "ip": "ip", "cosine": "cos"}


class UsearchAdapter:
    """One `usearch.index.Index`."""

    def __init__(self, params: Params) -> None:
        self._params = params

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        self._index = Index(
            ndim=rows.shape[1],
            metric=_METRICS[metric],
            dtype="f32",
            connectivity=self._params["connectivity"],
            expansion_add=self._params["expansion_add"],
            enable_key_lookups=False,
        )
        self._index.add(np.arange(len(rows)), np.asarray(rows, np.float32), threads=threads)

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._index.expansion_search = params["expansion_search"]
        self._threads = threads

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        keys: NDArray[Any] = self._index.search(vector, k, threads=1).keys
        return keys

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        keys: NDArray[Any] = self._index.search(queries, k, threads=self._threads).keys
        return keys

    def memory_bytes(self) -> int | None:
        return int(self._index.memory_usage)


def _builds(shape: Shape) -> list[Params]:
    return [{"connectivity": m, "expansion_add": 200} for m in ((16,) if shape.quick else (16, 32))]


def _searches(shape: Shape, build: Params) -> list[Params]:
    return [{"expansion_search": ef} for ef in doubling(10, 640, shape.quick)]


COMPETITOR = Competitor("usearch", "usearch", UsearchAdapter, _builds, _searches)
