"""Collapsing equal rows before a graph is built over them.

Many copies of one row fill each other's link lists and cut themselves, and what lies behind them, off the
graph. Rows that lack the vector are stored as zeros, so this is an everyday case. Small groups are harmless
and stay as they are.
"""

from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Hits, Rows
from nearfield.engine.segment import bitmap
from nearfield.index_builders.base_rows import BLOCK_ROWS

COPIES_MAX: Final = 8
"""Groups of more equal rows than this become one graph point."""


class GraphPoints:
    """Graph points and the rows each stands for.

    Args:
        point_of_row: int32 [n], numbered so that every point occurs.
    """

    def __init__(self, point_of_row: NDArray[np.int32]) -> None:
        self.point_of_row = point_of_row
        self._members = np.argsort(point_of_row, kind="stable").astype(np.int32)
        self._ends = np.cumsum(np.bincount(point_of_row))
        self._starts = np.concatenate([[0], self._ends[:-1]])

    @classmethod
    def collapse(cls, rows: Rows) -> Self | None:
        """Points for rows [n, d]; None when no group is large, so that row numbers serve as points."""
        leaders = np.arange(len(rows))
        for group in _large_groups(rows):
            leaders[group] = group[0]
        if (leaders == np.arange(len(rows))).all():
            return None
        return cls(np.unique(leaders, return_inverse=True)[1].astype(np.int32))

    @property
    def count(self) -> int:
        """Number of points."""
        return len(self._ends)

    def first_rows(self) -> NDArray[np.int64]:
        """One row per point, int64 [count], ascending."""
        rows: NDArray[np.int64] = self._members[self._starts].astype(np.int64)
        return rows

    def rows_of(
        self, points: NDArray[np.int64], limit: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows the points stand for, in their order, and for each row the position of its point.

        Args:
            points: int64 [m].
            limit: rows per point that suffice (the lowest are taken); None for all.
        """
        sizes = self._ends[points] - self._starts[points]
        if limit is not None:
            sizes = np.minimum(sizes, limit)
        owners = np.repeat(np.arange(len(points)), sizes)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._members[self._starts[points][owners] + within].astype(np.int64), owners

    def expanded(self, hits: Hits, allow: NDArray[np.uint64] | None) -> Hits:
        """Hits [nq, k] of points, told by their first rows, as hits of all allowed rows they stand for."""
        k = hits.rows.shape[1]
        found = Hits(np.full_like(hits.rows, -1), np.full_like(hits.distances, np.inf))
        for query, (rows, distances) in enumerate(zip(*hits, strict=True)):
            points = self.point_of_row[rows[rows >= 0]].astype(np.int64)
            members, owners = self.rows_of(points, k if allow is None else None)
            kept = bitmap.test(allow, members)
            members, owners = members[kept], owners[kept]
            order = np.lexsort((members, distances[owners]))[:k]
            found.rows[query, : len(order)] = members[order]
            found.distances[query, : len(order)] = distances[owners][order]
        return found

    def first_row_bitmap(self, allow: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The bitmap of the points' first rows, for points of which any row is set in a bitmap of rows."""
        count = len(self.point_of_row)
        kept = np.bitwise_or.reduceat(bitmap.to_bools(allow, count)[self._members], self._starts)
        return bitmap.from_positions(self._members[self._starts[kept]].astype(np.int64), count)

    def resident_bytes(self) -> int:
        """Bytes of the tables."""
        return self.point_of_row.nbytes + self._members.nbytes + self._starts.nbytes + self._ends.nbytes

    def save(self, path: Path) -> None:
        """Write `point_of_row`."""
        np.save(path, self.point_of_row)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(np.load(path))


def _large_groups(rows: Rows) -> list[NDArray[np.int64]]:
    """Groups of more than COPIES_MAX bytewise equal rows, each ascending."""
    hashes = _hashes(rows)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(rows)])
    sizes = np.diff(np.append(starts, len(rows)))
    groups = []
    for start, size in zip(starts[sizes > COPIES_MAX], sizes[sizes > COPIES_MAX], strict=True):
        members = order[start : start + size]
        equal = members[_equal_to_first(rows, members)]
        if len(equal) > COPIES_MAX:
            groups.append(equal)
    return groups


def _equal_to_first(rows: Rows, members: NDArray[np.int64]) -> NDArray[np.bool_]:
    first = rows[members[0]]
    parts = [members[start : start + BLOCK_ROWS] for start in range(0, len(members), BLOCK_ROWS)]
    return np.concatenate([(rows[part] == first).all(axis=1) for part in parts])


def _hashes(rows: Rows) -> NDArray[np.uint64]:
    """A 64-bit hash of each row's bytes; equal hashes are checked afterwards, so it only has to be quick."""
    row_bytes = rows.shape[1] * rows.itemsize
    words_per_row = -(-row_bytes // 8)
    factors = np.random.default_rng(0).integers(2**64, size=words_per_row, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(rows), dtype=np.uint64)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        padded = np.zeros((len(block), 8 * words_per_row), dtype=np.uint8)
        padded[:, :row_bytes] = block.view(np.uint8).reshape(len(block), row_bytes)
        words = padded.view(np.uint64)
        words ^= words >> np.uint64(31)
        words *= factors
        words ^= words >> np.uint64(29)
        hashes[start : start + len(block)] = words.sum(axis=1)
    return hashes
