"""Our own index kinds: whatever the registry offers, without any storage around it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling, nlist_for
from nearfield.index_builders import build_index, default_registry

PREFIX = "nearfield-"


class NearfieldAdapter:
    """One index made by `build_index`."""

    def __init__(self, kind: str, params: Params) -> None:
        self._kind = kind
        self._params = params

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        self._rows_bytes = rows.nbytes
        self._index = build_index(
            rows,
            metric=metric,
            kind=self._kind,
            params=dict(self._params),
            threads=threads,
            seed=1,
            training_queries=training_queries,
        )

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._search: dict[str, Any] = dict(params)
        self._threads = threads

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids, _ = self._index.search(vector[None, :], k=k, threads=1, **self._search)
        row: NDArray[Any] = ids[0]
        return row

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids, _ = self._index.search(queries, k=k, threads=self._threads, **self._search)
        return ids

    def memory_bytes(self) -> int | None:
        return self._index.resident_bytes() + self._rows_bytes


def our_competitors(kinds: Sequence[str] | None = None) -> list[Competitor]:
    """A competitor for every registered index kind.

    Args:
        kinds: keep only these; None for all.

    Raises:
        ValueError: a kind that is not registered.
    """
    registered = sorted(default_registry().kinds())
    if unknown := sorted(set(kinds or ()) - set(registered)):
        raise ValueError(f"no index kind {', '.join(unknown)}; registered: {', '.join(registered)}")
    return [_competitor(kind) for kind in registered if kinds is None or kind in kinds]


def _competitor(kind: str) -> Competitor:
    builds, searches = _GRIDS.get(kind, (_defaults, _ef_sweep))
    return Competitor(
        PREFIX + kind, "nearfield", lambda params: NearfieldAdapter(kind, params), builds, searches, ours=True
    )


def _defaults(shape: Shape) -> list[Params]:
    return [{}]


def _no_search_parameters(shape: Shape, build: Params) -> list[Params]:
    return [{}]


def _hnsw_builds(shape: Shape) -> list[Params]:
    return [{"m": m, "ef_construction": 200} for m in ((16,) if shape.quick else (16, 32))]


def _ef_sweep(shape: Shape, build: Params) -> list[Params]:
    return [{"ef": ef} for ef in doubling(10, 640, shape.quick)]


def _ivf_builds(shape: Shape) -> list[Params]:
    return [{"nlist": nlist_for(shape)}]


def _nprobe_sweep(shape: Shape, build: Params) -> list[Params]:
    return [{"nprobe": nprobe} for nprobe in doubling(1, max(build["nlist"] // 2, 1), shape.quick)]


_Grid = tuple[Callable[[Shape], list[Params]], Callable[[Shape, Params], list[Params]]]

_GRIDS: dict[str, _Grid] = {
    "flat": (_defaults, _no_search_parameters),
    "hnsw": (_hnsw_builds, _ef_sweep),
    "ivf": (_ivf_builds, _nprobe_sweep),
}
"""Grids of the kinds known here; one registered later is swept over `ef` with its default build."""
