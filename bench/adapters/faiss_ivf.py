"""faiss IndexIVFFlat."""

from typing import Any

import faiss

from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling, nlist_for
from nearfield.bench.adapters.faiss_common import FaissAdapter


class FaissIvfAdapter(FaissAdapter):
    """One `IndexIVFFlat` over a flat coarse quantizer."""

    def _make(self, dimensions: int, metric: int) -> Any:
        self._quantizer = faiss.IndexFlat(dimensions, metric)
        index = faiss.IndexIVFFlat(self._quantizer, dimensions, self._params["nlist"], metric)
        index.cp.seed = 1
        return index

    def _set(self, params: Params) -> None:
        self._index.nprobe = params["nprobe"]


def _builds(shape: Shape) -> list[Params]:
    return [{"nlist": nlist_for(shape)}]


def _searches(shape: Shape, build: Params) -> list[Params]:
    return [{"nprobe": nprobe} for nprobe in doubling(1, max(build["nlist"] // 2, 1), shape.quick)]


COMPETITOR = Competitor("faiss-ivf", "faiss-cpu", FaissIvfAdapter, _builds, _searches)
