"""faiss: HNSW over float32 and 8-bit codes, inverted files (plain, 4-bit PQ, RaBitQ), the exhaustive scan."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import (
    Competitor,
    Params,
    Shape,
    doubling,
    fixed,
    nlist_for,
    sweep_of,
    unit_rows,
)
from nearfield.bench.adapters.peer import PeerAdapter

faiss: Any = typed_faiss
"""Its own type information knows neither search parameters nor keyword arguments."""

_SEED = 1
_RABITQ_QUERY_BITS = 8


class FaissAdapter(PeerAdapter):
    """An index made by faiss's own `index_factory`, with full-precision re-ranking where `refine` is set.

    Args:
        factory: the factory string for build parameters and a number of dimensions.
        params: build parameters.
    """

    def __init__(self, factory: Callable[[Params, int], str], params: Params) -> None:
        super().__init__(params)
        self._factory = factory
        self._unit = False
        self._chosen: Params = {}
        self._filter: Any = None
        self._search_params: Any = None

    def prepare(self, rows: NDArray[Any], metric: str) -> NDArray[Any]:
        return unit_rows(rows) if metric == "cosine" else super().prepare(rows, metric)

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        faiss.omp_set_num_threads(threads)
        measure = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(rows.shape[1], self._factory(self._params, rows.shape[1]), measure)
        self._adopt(index, metric)
        if self._inverted is not None:
            self._inverted.cp.seed = _SEED
        elif hasattr(self._inner, "hnsw"):
            self._inner.hnsw.efConstruction = self._params["efConstruction"]
        self._index.train(rows)
        self._index.add(rows)

    def save(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        self._adopt(faiss.read_index(str(path)), metric)
        self._bytes = path.stat().st_size

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        """The C++ `search` itself, without the checks that its Python wrapper adds."""
        vector = unit_rows(vector) if self._unit else vector
        labels, distances = np.empty(k, np.int64), np.empty(k, np.float32)
        pointer = faiss.swig_ptr
        self._index.search_c(1, pointer(vector), k, pointer(distances), pointer(labels), self._search_params)
        return labels

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        queries = unit_rows(queries) if self._unit else queries
        labels: NDArray[Any] = self._index.search(queries, k, params=self._search_params)[1]
        return labels

    def memory_bytes(self) -> tuple[int | None, int]:
        """The size of its file."""
        return self._bytes, 0

    def set_filter(self, allowed: NDArray[np.bool_] | None) -> None:
        """An `IDSelectorBitmap`; a list of ids for the scan, which faiss then reads nothing else for."""
        self._filter = self._search_params = None
        if allowed is None:
            return
        if self._inverted is None and not hasattr(self._inner, "hnsw"):
            self._filter = faiss.IDSelectorArray(np.flatnonzero(allowed).astype(np.int64))
            self._search_params = faiss.SearchParameters(sel=self._filter)
            return
        self._filter = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self._inverted is None:
            ef = self._chosen["efSearch"]
            self._search_params = faiss.SearchParametersHNSW(sel=self._filter, efSearch=ef)
            return
        params = faiss.SearchParametersIVF(sel=self._filter, nprobe=self._chosen["nprobe"])
        if hasattr(self._inverted, "qb"):
            params = faiss.IVFRaBitQSearchParameters(
                sel=self._filter, nprobe=self._chosen["nprobe"], qb=_RABITQ_QUERY_BITS
            )
        if hasattr(self._inner, "chain"):
            params = faiss.SearchParametersPreTransform(index_params=params)
        if self._inner is not self._index:
            factor = self._chosen["k_factor"]
            params = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=params)
        self._search_params = params

    def _adopt(self, index: Any, metric: str) -> None:
        self._unit = metric == "cosine"
        self._owner = index  # the views below do not keep it alive
        self._index = faiss.downcast_index(index)
        self._inner = self._index
        if hasattr(self._index, "base_index"):
            self._inner = faiss.downcast_index(self._index.base_index)
        inverted = faiss.try_extract_index_ivf(self._inner)
        self._inverted: Any = inverted
        if inverted is not None:
            self._inverted = faiss.downcast_index(inverted)
            if hasattr(self._inverted, "qb"):
                self._inverted.qb = _RABITQ_QUERY_BITS

    def _set(self, params: Params) -> None:
        faiss.omp_set_num_threads(self._threads)
        self._chosen = params
        if "efSearch" in params:
            self._inner.hnsw.efSearch = params["efSearch"]
        if "nprobe" in params:
            self._inverted.nprobe = params["nprobe"]
        if "k_factor" in params:
            self._index.k_factor = params["k_factor"]


def _competitor(
    name: str,
    factory: Callable[[Params, int], str],
    builds: Callable[[Shape], list[Params]],
    searches: Callable[[Shape, Params], list[Params]],
) -> Competitor:
    return Competitor(name, "faiss-cpu", lambda params: FaissAdapter(factory, params), builds, searches)


def _hnsw(params: Params, dimensions: int) -> str:
    return f"HNSW{params['M']},Flat"


def _hnsw_sq8(params: Params, dimensions: int) -> str:
    return f"HNSW{params['M']},SQ8"


def _ivf(params: Params, dimensions: int) -> str:
    return f"IVF{params['nlist']},Flat"


def _ivf_pq(params: Params, dimensions: int) -> str:
    """4-bit codes of `split` dimensions each, in the layout of the fast scan, then full-precision rows."""
    parts = -(-dimensions // params["split"])
    rotation = f"OPQ{parts}_{parts * params['split']}," if params["opq"] else ""
    if not params["opq"] and dimensions % params["split"]:
        rotation = f"Pad{parts * params['split']},"
    return f"{rotation}IVF{params['nlist']},PQ{parts}x4fs,RFlat"


def _ivf_rabitq(params: Params, dimensions: int) -> str:
    """One bit a dimension after a random rotation, plain or fast scan, then full-precision rows."""
    scan = "RaBitQfs" if params["fast_scan"] else "RaBitQ"
    return f"RR{dimensions},IVF{params['nlist']},{scan},RFlat"


def _cells(shape: Shape) -> list[int]:
    """The usual number of inverted lists, and a quarter of it, which suits compressed lists better."""
    usual = nlist_for(shape)
    return [max(usual // 4, 1), usual]


def _ivf_pq_builds(shape: Shape) -> list[Params]:
    few, many = _cells(shape)
    builds: list[Params] = [{"nlist": few, "split": 4, "opq": False}]
    if not shape.quick:
        builds.append({"nlist": many, "split": 4, "opq": False})
        builds.append({"nlist": few, "split": 4, "opq": True})
    return builds


def _ivf_rabitq_builds(shape: Shape) -> list[Params]:
    nlist = _cells(shape)[0]
    return [{"nlist": nlist, "fast_scan": fast} for fast in ((False,) if shape.quick else (False, True))]


def _refined(shape: Shape, build: Params) -> list[Params]:
    """Lists probed, and how many times k rows are re-ranked."""
    factors = (4, 16) if shape.quick else (2, 4, 8, 16, 32)
    probes = doubling(2, max(build["nlist"] // 2, 2), shape.quick)
    return [{"nprobe": nprobe, "k_factor": factor} for nprobe in probes for factor in factors]


def _probes(shape: Shape, build: Params) -> list[Params]:
    return [{"nprobe": nprobe} for nprobe in doubling(1, max(build["nlist"] // 2, 1), shape.quick)]


_HNSW_BUILDS = [{"M": m, "efConstruction": 200} for m in (32, 16)]

COMPETITORS = [
    _competitor("faiss-hnsw", _hnsw, fixed(_HNSW_BUILDS[:1]), sweep_of("efSearch")),
    _competitor("faiss-hnsw-sq8", _hnsw_sq8, fixed(_HNSW_BUILDS), sweep_of("efSearch")),
    _competitor("faiss-ivf-pq-fs", _ivf_pq, _ivf_pq_builds, _refined),
    _competitor("faiss-ivf-rabitq", _ivf_rabitq, _ivf_rabitq_builds, _refined),
    _competitor("faiss-ivf", _ivf, lambda shape: [{"nlist": nlist_for(shape)}], _probes),
    _competitor("faiss-flat", lambda params, dimensions: "Flat", fixed([{}]), lambda shape, build: [{}]),
]
