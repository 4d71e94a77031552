"""Our own index kinds: whatever the registry offers, without any storage around it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
)
from nearfield.engine.segment import bitmap
from nearfield.index_builders import build_index, default_registry, open_index

PREFIX = "nearfield-"
AUTO = "auto"

_BUILDS: dict[str, list[Params]] = {
    "hnsw": [{"m": 16, "ef_construction": 200}],
}
"""Build parameters to sweep, by kind; a kind that is not listed is built with its defaults."""


class NearfieldAdapter:
    """One index made by `build_index`.

    Args:
        kind: registered kind, or `auto`.
        params: build parameters.
    """

    def __init__(self, kind: str, params: Params) -> None:
        self._kind = kind
        self._params = params
        self._allow: NDArray[np.uint64] | None = None

    def prepare(self, rows: NDArray[Any], metric: str) -> NDArray[Any]:
        """As they are stored: any of the three types is taken."""
        return np.ascontiguousarray(rows)

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        self._index = build_index(
            rows,
            metric=metric,
            kind=self._kind,
            params=dict(self._params),
            threads=threads,
            seed=1,
            training_queries=training_queries,
        )

    def save(self, path: Path) -> None:
        self._index.save(path)

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        self._index = open_index(path, verify=True)
        self._rows_bytes = (path / "rows.nfs").stat().st_size

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._search: dict[str, Any] = dict(params)
        self._threads = threads

    def set_filter(self, allowed: NDArray[np.bool_] | None) -> None:
        """A bitmap, as the engine's filters produce it."""
        self._allow = None if allowed is None else bitmap.from_bools(allowed)

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids, _ = self._index.search(vector, k, threads=1, allow=self._allow, **self._search)
        row: NDArray[Any] = ids[0]
        return row

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        ids, _ = self._index.search(queries, k, threads=self._threads, allow=self._allow, **self._search)
        return ids

    def memory_bytes(self) -> tuple[int | None, int]:
        return self._index.resident_bytes(), self._rows_bytes


def our_competitors(kinds: Sequence[str] | None = None) -> list[Competitor]:
    """A competitor for `auto` and every registered index kind.

    Args:
        kinds: keep only these; None for all.

    Raises:
        ValueError: a kind that is not registered.
    """
    registered = [*sorted(default_registry().kinds()), AUTO]
    if unknown := sorted(set(kinds or ()) - set(registered)):
        raise ValueError(f"no index kind {', '.join(unknown)}; registered: {', '.join(registered)}")
    return [_competitor(kind) for kind in registered if kinds is None or kind in kinds]


def _competitor(kind: str) -> Competitor:
    return Competitor(
        PREFIX + kind,
        "nearfield",
        lambda params: NearfieldAdapter(kind, params),
        _ivf_builds if kind == "ivf" else fixed(_BUILDS.get(kind, [{}])),
        _SEARCHES.get(kind, sweep_of("ef")),
        ours=True,
    )


def _ivf_builds(shape: Shape) -> list[Params]:
    return [{"nlist": nlist_for(shape)}]


def _nprobe_sweep(shape: Shape, build: Params) -> list[Params]:
    return [{"nprobe": nprobe} for nprobe in doubling(1, max(build["nlist"] // 2, 1), shape.quick)]


def _no_search_parameters(shape: Shape, build: Params) -> list[Params]:
    return [{}]


_SEARCHES = {"flat": _no_search_parameters, "ivf": _nprobe_sweep}
"""Search grids of the kinds that have no `ef`."""
