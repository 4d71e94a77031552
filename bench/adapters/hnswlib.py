"""hnswlib: the reference implementation of HNSW."""

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor, Params, fixed, sweep_of
from nearfield.bench.adapters.peer import PeerAdapter


class HnswlibAdapter(PeerAdapter):
    """One `hnswlib.Index`.

    Filters are deletion marks on the rows that do not qualify, so that hnswlib filters in C++; its own
    `filter` argument calls Python for every candidate. Marking is not timed, which flatters it.
    """

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
        self._index.add_items(rows, num_threads=threads)

    def save(self, path: Path) -> None:
        self._index.save_index(str(path))

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        self._index = hnswlib.Index(space=metric, dim=dimensions)
        self._index.load_index(str(path))

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        try:
            labels: NDArray[Any] = self._index.knn_query(vector, k=k, num_threads=1)[0][0]
        except RuntimeError:  # it found fewer than k, and gives none of them
            return np.full(k, -1, np.int64)
        return labels

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        try:
            labels: NDArray[Any] = self._index.knn_query(queries, k=k, num_threads=self._threads)[0]
        except RuntimeError:  # so for one query of the batch
            return np.array([self.query(query, k) for query in queries])
        return labels

    def memory_bytes(self) -> tuple[int | None, int]:
        return int(self._index.index_file_size()), 0

    def set_filter(self, allowed: NDArray[np.bool_] | None) -> None:
        count = self._index.get_current_count()
        marked = np.zeros(count, np.bool_) if allowed is None else ~allowed
        before = getattr(self, "_marked", np.zeros(count, np.bool_))
        for row in np.flatnonzero(marked & ~before).tolist():
            self._index.mark_deleted(row)
        for row in np.flatnonzero(before & ~marked).tolist():
            self._index.unmark_deleted(row)
        self._marked = marked

    def _set(self, params: Params) -> None:
        self._index.set_num_threads(self._threads)
        self._index.set_ef(params["ef"])


COMPETITORS = [
    Competitor(
        "hnswlib",
        "hnswlib",
        HnswlibAdapter,
        fixed([{"M": m, "ef_construction": 200} for m in (16, 32)]),
        sweep_of("ef"),
    )
]
