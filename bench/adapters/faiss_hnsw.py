"""faiss IndexHNSWFlat."""

from typing import Any

import faiss

from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling
from nearfield.bench.adapters.faiss_common import FaissAdapter


class FaissHnswAdapter(FaissAdapter):
    """One `IndexHNSWFlat`."""

    def _make(self, dimensions: int, metric: int) -> Any:
        index = faiss.IndexHNSWFlat(dimensions, self._params["M"], metric)
        index.hnsw.efConstruction = self._params["efConstruction"]
        return index

    def _set(self, params: Params) -> None:
        self._index.hnsw.efSearch = params["efSearch"]


def _builds(shape: Shape) -> list[Params]:
    return [{"M": m, "efConstruction": 200} for m in ((16,) if shape.quick else (16, 32))]


def _searches(shape: Shape, build: Params) -> list[Params]:
    return [{"efSearch": ef} for ef in doubling(10, 640, shape.quick)]


COMPETITOR = Competitor("faiss-hnsw", "faiss-cpu", FaissHnswAdapter, _builds, _searches)
