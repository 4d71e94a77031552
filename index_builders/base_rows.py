"""The rows an index was built over: float32 blocks for its library, exact distances for its answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import Cancelled, Corrupted
from nearfield.engine.index.protocol import BuildContext, Hits, RowChecks, Rows
from nearfield.engine.search.scan import exact_distances, scan
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.growing import inverse_norms

BLOCK_ROWS: Final = 1024
_SCALE_NAME: Final = "row_scale.npy"
_FINGERPRINT_ROWS: Final = 256
# Squared length of a unit vector after its coordinates were rounded to the stored type.
_UNIT_TOLERANCE: Final = {"float32": 1e-4, "float16": 2e-3, "uint8": 0.0}


class BaseRows:
    """Rows [n, d] in their stored type with the metric they are compared by.

    Args:
        row_scale: float32 [n], inverse norms of cosine rows; None where their length is 1 (up to rounding) or
            0, and for other metrics.
        checks: of the rows, where not all were verified.
    """

    def __init__(
        self,
        rows: Rows,
        metric: str,
        row_scale: NDArray[np.float32] | None,
        checks: RowChecks | None = None,
    ) -> None:
        self.checks = None if checks is None or checks.verified else checks
        self.rows = rows
        self.metric = metric
        self.row_scale = row_scale
        self.count: int = rows.shape[0]
        self.dimensions: int = rows.shape[1]

    @classmethod
    def measure(cls, rows: Rows, metric: str) -> "BaseRows":
        """Rows for a build: reads them once for cosine, to learn their lengths."""
        return cls(rows, metric, _inverse_norms_unless_unit(rows) if metric == "cosine" else None)

    def block(self, where: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """A float32 copy of some rows; cosine rows have unit length."""
        block = self.rows[where].astype(np.float32)
        if self.row_scale is not None:
            block *= self.row_scale[where, None]
        return block

    def blocks(
        self,
        context: BuildContext,
        done: float = 0.0,
        share: float = 1.0,
        of: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(position of its first row, block) over all rows, or those of `of`.

        Reports progress from `done` to `done + share` and stops when cancelled.

        Raises:
            Cancelled: `context.cancel` was set.
        """
        count = self.count if of is None else len(of)
        for start in range(0, count, BLOCK_ROWS):
            report(context, done + share * start / count)
            where = slice(start, start + BLOCK_ROWS)
            yield start, self.block(where if of is None else of[where])
        report(context, done + share)

    def prepared(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries as the index compares them: of unit length for cosine."""
        return _native.unit_rows(queries) if self.metric == "cosine" else queries

    def scan(
        self, queries: NDArray[np.float32], k: int, allow: NDArray[np.uint64] | None, threads: int
    ) -> Hits:
        """The exact answer."""
        self.verify(allow)
        return scan(queries, self.rows, self.metric, k, allow, self.row_scale, threads)

    def verify(self, allow: NDArray[np.uint64] | None) -> None:
        """Verify the allowed rows, before a scan of them.

        Raises:
            Corrupted: one is damaged.
        """
        checks = self.checks
        if checks is None:
            return
        if allow is None:
            checks.verify()
        else:
            checks.verify_rows(bitmap.positions(allow, self.count))
        self._drop_done()

    def confirm(self, rows: NDArray[np.int64]) -> None:
        """Verify rows that were found, of any shape; negative ones are none.

        Raises:
            Corrupted: one is damaged.
        """
        checks = self.checks
        if checks is not None:
            checks.verify_rows(rows[rows >= 0])
            self._drop_done()

    def _drop_done(self) -> None:
        if self.checks is not None and self.checks.verified:
            self.checks = None

    def rank(self, prepared: NDArray[np.float32], candidates: NDArray[np.int64], k: int) -> Hits:
        """The k nearest of each query's candidates by exact distance, ties by row.

        Args:
            prepared: float32 [nq, d], see `prepared`.
            candidates: int64 [nq, m], rows, each at most once per query; -1 pads at the end.
        """
        distances = np.full(candidates.shape, np.inf, dtype=np.float32)
        lengths = (candidates >= 0).sum(axis=1).tolist()
        for query, rows, out, length in zip(prepared, candidates, distances, lengths, strict=True):
            found = rows if length == len(rows) else rows[:length]
            out[:length] = exact_distances(query, self.rows, found, self.metric, self.row_scale)
        order = np.lexsort((candidates, distances), axis=-1)[:, :k]
        rows = np.take_along_axis(candidates, order, axis=1)
        return padded(Hits(rows, np.take_along_axis(distances, order, axis=1)), k)

    def resident_bytes(self) -> int:
        """Bytes beside the rows themselves."""
        return 0 if self.row_scale is None else self.row_scale.nbytes

    def facts(self) -> dict[str, Any]:
        """What a saved index says about the rows it belongs to."""
        return {**self._shape_facts(), "rows_crc32c": _fingerprint(self.rows)}

    def _shape_facts(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "count": self.count,
            "dimensions": self.dimensions,
            "dtype": str(self.rows.dtype),
            "has_row_scale": self.row_scale is not None,
        }

    def save(self, directory: Path) -> list[Path]:
        """Write the inverse norms, if there are any."""
        if self.row_scale is None:
            return []
        np.save(directory / _SCALE_NAME, self.row_scale)
        return [directory / _SCALE_NAME]

    @classmethod
    def open(
        cls,
        directory: Path,
        rows: Rows,
        metric: str,
        facts: dict[str, Any],
        checks: RowChecks | None = None,
    ) -> "BaseRows":
        """Rows for an index that was saved; none of them is read where they have `checks`.

        Raises:
            Corrupted: the index belongs to other rows.
        """
        scale = np.load(directory / _SCALE_NAME) if facts["has_row_scale"] else None
        opened = cls(rows, metric, scale, checks)
        for name, found in opened._shape_facts().items() if checks is not None else opened.facts().items():
            if facts[name] != found:
                raise Corrupted(
                    f"the index in {directory} is of rows with {name} {facts[name]}, got rows with {found}"
                )
        return opened


def padded(hits: Hits, k: int) -> Hits:
    """Hits [nq, k]: widened by -1 and +inf where they are narrower."""
    missing = k - hits.rows.shape[1]
    if missing <= 0:
        return hits
    rows = np.pad(hits.rows, ((0, 0), (0, missing)), constant_values=-1)
    return Hits(rows, np.pad(hits.distances, ((0, 0), (0, missing)), constant_values=np.inf))


def report(context: BuildContext, done: float) -> None:
    """Tell the progress, and stop if the caller gave up.

    Raises:
        Cancelled: `context.cancel` was set.
    """
    if context.cancel is not None and context.cancel.is_set():
        raise Cancelled("the index build was cancelled")
    if context.progress is not None:
        context.progress(min(done, 1.0))


def _inverse_norms_unless_unit(rows: Rows) -> NDArray[np.float32] | None:
    scale = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        scale[start : start + BLOCK_ROWS] = inverse_norms(rows[start : start + BLOCK_ROWS])
    off_unit = np.abs(scale.astype(np.float64) ** 2 - 1.0)[scale > 0]
    return None if len(off_unit) == 0 or off_unit.max() <= _UNIT_TOLERANCE[str(rows.dtype)] else scale


def _fingerprint(rows: Rows) -> int:
    """CRC-32C of some rows spread over all, cheap on a memory map."""
    at = np.unique(np.linspace(0, max(len(rows) - 1, 0), num=_FINGERPRINT_ROWS, dtype=np.int64))[: len(rows)]
    return _native.crc32c(np.ascontiguousarray(rows[at]).view(np.uint8))
