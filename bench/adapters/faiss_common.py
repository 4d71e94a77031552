"""What the three faiss adapters share: metrics, thread limits, sizes."""

from abc import ABC, abstractmethod
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Params, unit_rows


class FaissAdapter(ABC):
    """A faiss index behind the adapter shape; subclasses make the index and set its search parameters."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._unit = False
        self._threads = 1
        self._index: Any = None

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        self._unit = metric == "cosine"
        floats = unit_rows(rows) if self._unit else np.ascontiguousarray(rows, np.float32)
        faiss.omp_set_num_threads(threads)
        self._index = self._make(
            rows.shape[1], faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        )
        self._index.train(floats)
        self._index.add(floats)

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._threads = threads
        faiss.omp_set_num_threads(threads)
        self._set(params)

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        row: NDArray[Any] = self.batch_query(vector[None, :], k)[0]
        return row

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        faiss.omp_set_num_threads(self._threads)
        labels: NDArray[Any] = self._index.search(unit_rows(queries) if self._unit else queries, k)[1]
        return labels

    def memory_bytes(self) -> int | None:
        return int(faiss.serialize_index(self._index).nbytes)

    @abstractmethod
    def _make(self, dimensions: int, metric: int) -> Any:
        """An empty index of this kind."""

    def _set(self, params: Params) -> None:  # noqa: B027 - a flat index has nothing to set
        """Apply search parameters; the exhaustive scan has none."""
