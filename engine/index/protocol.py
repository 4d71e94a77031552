"""What an index builder and a built index promise. `tests/conformance` holds every kind to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.calibration import Calibration

Rows = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.uint8]
"""Stored vectors [n, d], C-contiguous, possibly a read-only memory map."""

Progress = Callable[[float], None]
"""Called now and then with the share done, 0..1, from any thread."""


class Cancel(Protocol):
    """Polled during long work; the work raises `Cancelled` soon after it turns true."""

    def is_set(self) -> bool: ...


class Hits(NamedTuple):
    """Nearest rows of a batch of queries, nearest first, ties by row.

    Args:
        rows: int64 [nq, k], positions in the indexed array; -1 pads.
        distances: float32 [nq, k], smaller is nearer (l2: squared Euclidean; ip: negative inner product;
            cosine: 1 - cosine; l1: sum of absolute differences); +inf pads.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True)
class RangeHits:
    """The rows within a distance of each of a batch of queries, nearest first, ties by row.

    Args:
        offsets: int64 [nq + 1], ascending from 0; query i has the rows from offsets[i] to offsets[i + 1].
        rows: int64 [offsets[nq]], positions in the indexed array.
        distances: float32 [offsets[nq]], as in Hits.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]
    distances: NDArray[np.float32]

    @classmethod
    def of_one(cls, rows: NDArray[np.int64], distances: NDArray[np.float32]) -> Self:
        """Of a single query."""
        return cls(np.array([0, len(rows)]), rows, distances)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Of the queries of all parts, in their order."""
        lengths = [np.zeros(1, dtype=np.int64), *(np.diff(part.offsets) for part in parts)]
        return cls(
            np.cumsum(np.concatenate(lengths)),
            np.concatenate([np.empty(0, dtype=np.int64), *(part.rows for part in parts)]),
            np.concatenate([np.empty(0, dtype=np.float32), *(part.distances for part in parts)]),
        )


@dataclass(frozen=True)
class BuildContext:
    """Resources of one build.

    Args:
        threads: worker threads to use.
        seed: same seed and input, same bytes.
        training_queries: float32 [m, d] sample of real queries, or None.
        training_offsets: int64 [q + 1] where these are the tokens of q queries for multi-vectors: query i is
            training_queries[training_offsets[i]:training_offsets[i + 1]]. None where that is not known.
    """

    threads: int = 1
    seed: int = 0
    training_queries: NDArray[np.float32] | None = None
    progress: Progress | None = None
    cancel: Cancel | None = None
    training_offsets: NDArray[np.int64] | None = None


class VectorIndex(Protocol):
    """An immutable built index; any number of threads may search it at once."""

    kind: str
    metric: str
    count: int
    dimensions: int

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """The k nearest allowed rows of each query.

        Args:
            queries: float32 [nq, d]; for cosine of any length (zero vectors score 0, that is distance 1).
            params: search knobs of this kind (`ef`, `nprobe`); others are ignored. `threads` is understood
                by all, and so is `target_recall` (above 0, at most 1), if only by refusing it.
            allow: uint64 [ceil(count / 64)] bitmap, bit i of word i // 64 allows row i; None allows all.
                Whenever k or more rows are allowed, k come back; otherwise all allowed rows do.
        """
        ...

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """How many rows a scan reads in the time that this search takes when `allowed` rows are.

        The planner scans when fewer rows than that are allowed.
        """
        ...

    def save(self, directory: Path) -> list[Path]:
        """Write its own files (not the rows it was built on) into a directory that exists; return them."""
        ...

    def resident_bytes(self) -> int:
        """Bytes of memory the index holds beside the rows it was given."""
        ...


@runtime_checkable
class CalibratedIndex(Protocol):
    """An index whose recall may have been measured when it was built."""

    @property
    def calibration(self) -> Calibration | None:
        """Recall by search width; None where it was not measured."""
        ...


@runtime_checkable
class BrowsingIndex(Protocol):
    """An index that also finds what lies within a distance, and rows one batch after another."""

    def range_search(
        self,
        queries: NDArray[np.float32],
        radius: float,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> RangeHits:
        """The allowed rows whose distance is at most `radius`, as float32 numbers; see VectorIndex.search."""
        ...

    def iterate(
        self,
        query: NDArray[np.float32],
        batch: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Every allowed row once, nearly in ascending distance, in pieces of rows and distances.

        Args:
            query: float32 [d], not changed by anyone meanwhile.
            batch: rows wanted at a time; pieces may be larger or smaller, but not empty.
        """
        ...


class IndexBuilder(Protocol):
    """One kind of index: parses its parameters, builds and opens."""

    kind: str
    format_version: int
    metrics: frozenset[str]

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Defaults filled in, types and ranges checked.

        Raises:
            InvalidRequest: an unknown name or a value out of range; says what is allowed.
        """
        ...

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Expected `resident_bytes` of the built index; within 25 % for 10,000 rows and more."""
        ...

    def build(self, rows: Rows, metric: str, params: Mapping[str, Any], context: BuildContext) -> VectorIndex:
        """Build over rows [n, d]; the index may keep a reference to them."""
        ...

    def open(self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any]) -> VectorIndex:
        """Open what `save` wrote, over the same rows.

        Raises:
            Corrupted: the files do not belong to these rows or are damaged.
        """
        ...


class RowChecks(Protocol):
    """The checksums of mapped rows of which not all were verified yet; `Corrupted` is raised by both."""

    @property
    def verified(self) -> bool:
        """Whether all rows were."""
        ...

    def verify(self) -> None:
        """Verify all rows."""
        ...

    def verify_rows(self, positions: NDArray[np.int64]) -> None:
        """Verify the rows int64 [m]."""
        ...


@runtime_checkable
class MappingBuilder(Protocol):
    """An index builder that can open large files without reading them."""

    def open_mapped(
        self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any], checks: RowChecks
    ) -> VectorIndex:
        """As `IndexBuilder.open`, but no checksum of rows is verified, nor of files that only steer a search.

        Whatever is in these files, a search reads nothing outside its arrays, finds as many rows as it
        should, and gives their true distances: `checks` verify the rows that come back, and those of a scan
        before it. It may miss nearer rows.

        Raises:
            Corrupted: a file is missing or of another size, or what was verified is damaged.
        """
        ...


@runtime_checkable
class ExtendingBuilder(Protocol):
    """An index builder that can also make an index from one of nearly the same rows."""

    def extend(
        self,
        previous: VectorIndex,
        origin: NDArray[np.int64],
        rows: Rows,
        metric: str,
        params: Mapping[str, Any],
        context: BuildContext,
    ) -> VectorIndex | None:
        """An index over rows [n, d] of which many are in `previous`; None where a new build is better.

        Args:
            previous: this builder's, of the same metric and params; stays as it is.
            origin: int64 [n], the row of `previous` that each row is, -1 for those it does not have; no row
                of it comes twice. Those that do not come are left out.
        """
        ...
