"""faiss IndexFlat: the exhaustive scan (BLAS matrix products for batches)."""

from typing import Any

import faiss

from nearfield.bench.adapters.base import Competitor, Params, Shape
from nearfield.bench.adapters.faiss_common import FaissAdapter


class FaissFlatAdapter(FaissAdapter):
    """One `IndexFlat`."""

    def _make(self, dimensions: int, metric: int) -> Any:
        return faiss.IndexFlat(dimensions, metric)


def _builds(shape: Shape) -> list[Params]:
    return [{}]


def _searches(shape: Shape, build: Params) -> list[Params]:
    return [{}]


COMPETITOR = Competitor("faiss-flat", "faiss-cpu", FaissFlatAdapter, _builds, _searches)
