"""What the harness needs of a competitor: build, save, open, set a search knob, answer queries."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Params = Mapping[str, Any]
"""Build or search parameters, by the names the library itself uses; JSON values."""


class Adapter(Protocol):
    """One index of one library, in the shape of ann-benchmarks: fit, set_query_arguments, query."""

    def prepare(self, rows: NDArray[Any], metric: str) -> NDArray[Any]:
        """Rows [n, d] (float32, float16 or uint8) as the library takes them; no part of a timed build."""
        ...

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        """Build over prepared rows for `l2`, `ip` or `cosine`."""
        ...

    def save(self, path: Path) -> None:
        """Write the index to a path that does not exist yet, as a file or a folder."""
        ...

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        """Open what `save` wrote, instead of `fit`."""
        ...

    def set_query_arguments(self, params: Params, threads: int) -> None:
        """Fix the search parameters and the thread limit of the queries that follow."""
        ...

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        """Row numbers [k] nearest to one float32 [d] vector, on this thread, by the most direct call."""
        ...

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        """Row numbers [nq, k] nearest to float32 [nq, d], on as many threads as were set."""
        ...

    def memory_bytes(self) -> tuple[int | None, int]:
        """Bytes the library says it holds in memory (None: it cannot say), and of rows it maps from disk."""
        ...


class FilteredAdapter(Adapter, Protocol):
    """An index that can be told which rows qualify."""

    def set_filter(self, allowed: NDArray[np.bool_] | None) -> None:
        """Rows [n] that qualify for the queries that follow; None for all. Follows `set_query_arguments`."""
        ...


_TRAINING_ROWS_PER_CELL = 39
"""What faiss asks for."""


@dataclass(frozen=True)
class Shape:
    """What a parameter grid may depend on."""

    count: int
    dimensions: int
    quick: bool = False


@dataclass(frozen=True)
class Competitor:
    """An index kind of one library, with the grid it is swept over.

    Args:
        name: as reports show it, such as `faiss-hnsw`.
        distribution: the library: whose version is recorded, and what it is timed together with.
        make: an adapter for one set of build parameters.
        builds: build parameter sets to try.
        searches: search parameter sets for one build, fastest first.
        ours: whether it is an index of this project.
        metrics: metrics it supports.
    """

    name: str
    distribution: str
    make: Callable[[Params], Adapter]
    builds: Callable[[Shape], list[Params]]
    searches: Callable[[Shape, Params], list[Params]]
    ours: bool = False
    metrics: frozenset[str] = frozenset({"l2", "ip", "cosine"})


def nlist_for(shape: Shape) -> int:
    """Cells of an inverted file: a power of two near 4 sqrt(n), with enough rows for each to train on."""
    wished = np.log2(4 * np.sqrt(max(shape.count, 16)))
    trainable = np.log2(max(shape.count / _TRAINING_ROWS_PER_CELL, 1))
    return int(2 ** min(np.round(wished), np.floor(trainable)))


def doubling(first: int, last: int, quick: bool) -> list[int]:
    """first, 2 first, ... up to last, with the values halfway between unless quick."""
    values = [float(first)]
    while values[-1] < last:
        values.append(min(values[-1] * (2.0 if quick else np.sqrt(2.0)), float(last)))
    return sorted({round(value) for value in values})


def sweep_of(name: str, last: int = 640) -> Callable[[Shape, Params], list[Params]]:
    """A grid of one search parameter, from 10 on."""
    return lambda shape, build: [{name: value} for value in doubling(10, last, shape.quick)]


def fixed(builds: Iterable[Params], quick: int = 1) -> Callable[[Shape], list[Params]]:
    """Build parameter sets that depend on nothing; only the first `quick` of them in a quick run."""
    listed = list(builds)
    return lambda shape: listed[:quick] if shape.quick else listed


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """float32 copy with rows of unit length, for libraries without a cosine metric."""
    floats = np.array(rows, dtype=np.float32)
    norms = np.linalg.norm(floats, axis=-1, keepdims=True)
    norms[norms == 0] = 1
    floats /= norms
    return floats
