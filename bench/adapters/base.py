"""What the harness needs of a competitor: build, set a search knob, answer one query or a batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Params = Mapping[str, int]
"""Build or search parameters, by the names the library itself uses."""


class Adapter(Protocol):
    """One index of one library. The shape is that of ann-benchmarks: fit, set_query_arguments, query."""

    def fit(
        self,
        rows: NDArray[Any],
        metric: str,
        threads: int,
        training_queries: NDArray[np.float32] | None = None,
    ) -> None:
        """Build over rows [n, d] (float32, float16 or uint8) for `l2`, `ip` or `cosine`."""
        ...

    def set_query_arguments(self, params: Params, threads: int) -> None:
        """Fix the search parameters and the thread limit of the queries that follow."""
        ...

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        """Row numbers [k] nearest to one float32 [d] vector, on the calling thread."""
        ...

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        """Row numbers [nq, k] nearest to float32 [nq, d], on as many threads as were set."""
        ...

    def memory_bytes(self) -> int | None:
        """Bytes the library says answering takes, vectors included; None when it cannot say."""
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
        distribution: whose version is recorded.
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


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """float32 copy with rows of unit length, for libraries without a cosine metric."""
    floats = np.array(rows, dtype=np.float32)
    norms = np.linalg.norm(floats, axis=-1, keepdims=True)
    norms[norms == 0] = 1
    floats /= norms
    return floats
