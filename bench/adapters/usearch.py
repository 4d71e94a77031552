"""usearch: HNSW with kernels chosen at run time, over bfloat16 rows (its default) or float32."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from nearfield.bench.adapters.base import Competitor, Params, fixed, sweep_of
from nearfield.bench.adapters.peer import PeerAdapter

_METRICS = {"l2": "l2sq", "ip": "ip", "cosine": "cos"}


class UsearchAdapter(PeerAdapter):
    """One `usearch.index.Index`."""

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        self._index = self._empty(metric, rows.shape[1])
        self._index.add(np.arange(len(rows)), rows, threads=threads)

    def save(self, path: Path) -> None:
        self._index.save(str(path))

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        self._index = self._empty(metric, dimensions)
        self._index.load(str(path))

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        keys: NDArray[Any] = self._index.search(vector, k, threads=1).keys
        return keys

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        keys: NDArray[Any] = self._index.search(queries, k, threads=self._threads).keys
        return keys

    def memory_bytes(self) -> tuple[int | None, int]:
        return int(self._index.memory_usage), 0

    def _set(self, params: Params) -> None:
        self._index.expansion_search = params["expansion_search"]

    def _empty(self, metric: str, dimensions: int) -> Index:
        return Index(
            ndim=dimensions,
            metric=_METRICS[metric],
            dtype=self._params["dtype"],
            connectivity=self._params["connectivity"],
            expansion_add=self._params["expansion_add"],
            enable_key_lookups=False,
        )


COMPETITORS = [
    Competitor(
        "usearch",
        "usearch",
        UsearchAdapter,
        fixed([{"connectivity": m, "expansion_add": 200, "dtype": "bf16"} for m in (16, 32)]),
        sweep_of("expansion_search"),
    )
]
