"""Training queries: what maps are learned from, and what is measured to choose between them. Decision 0031.

A projection leaves something out of every row, and a query near to a row points that way more often than not:
products with near rows are larger than their codes say, by a share of the squared length that is missing.
Rows that lost much would come too late in every search. How large that share is only queries can tell.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.base_rows import BLOCK_ROWS, BaseRows
from nearfield.index_builders.transforms.leanvec import Projection

_MEASURED_MOST: Final = 600
_MEASURED_LEAST: Final = 64
"""Where a third of the queries is fewer, maps are learned and measured with all of them."""
_NEAREST: Final = 10
_CANDIDATES: Final = 400
_WIDTHS: Final = (10, 16, 32)
"""Places, by codes, in which the nearest rows should be found: those of small windows."""
_SHARES: Final = np.linspace(0.0, 1.0, 11)
_LIKELY: Final = 4
"""Of `_SHARES`, the one whose candidates are looked at."""


class TrainingQueries:
    """Training queries in an order drawn at random, centred as a search does it; read in blocks, not copied.

    Args:
        queries: float32 [t, D], not all zero.
        base: the rows, for the metric.
        row_mean: float32 [D], of the rows.
        most: how many are looked at.

    Attributes:
        mean: float32 [D], of queries of unit length; None for l2.
        measured: how many, the first, are measured with.
    """

    def __init__(
        self,
        queries: NDArray[np.float32],
        base: BaseRows,
        row_mean: NDArray[np.float32],
        most: int,
        seed: int,
    ) -> None:
        self._given, self._base, self._row_mean = queries, base, row_mean
        self._picked = np.random.default_rng(seed).permutation(len(queries))[:most]
        count = len(self._picked)
        self.measured = min(_MEASURED_MOST, count // 3)
        self._learned_from = self.measured
        if self.measured < _MEASURED_LEAST:
            self.measured, self._learned_from = min(_MEASURED_MOST, count), 0
        self.mean: NDArray[np.float32] | None = None
        if base.metric != "l2":
            self.mean = self._unit_mean()

    @property
    def for_learning(self) -> Iterator[NDArray[np.float32]]:
        """Those that maps are learned from, in blocks float32 [f, D], centred."""
        for start in range(self._learned_from, len(self._picked), BLOCK_ROWS):
            yield self._centred(slice(start, start + BLOCK_ROWS))[0]

    def _unit_mean(self) -> NDArray[np.float32]:
        total, count = np.zeros(self._given.shape[1]), 0
        for start in range(0, len(self._picked), BLOCK_ROWS):
            block = self._base.prepared(self._given[self._picked[start : start + BLOCK_ROWS]])
            lengths = _lengths(block)
            whole = lengths > 0
            total += (1 / lengths[whole]) @ block[whole]
            count += int(whole.sum())
        return (total / max(count, 1)).astype(np.float32)

    def _centred(self, where: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Some queries [m, D] as they are projected, and the weights [m] of norms: see `query_batch.h`."""
        block = self._base.prepared(self._given[self._picked[where]])
        if self.mean is None:
            return block - self._row_mean, np.ones(len(block), dtype=np.float32)
        lengths = _lengths(block)
        return block - np.outer(lengths, self.mean), lengths

    def best(self, candidates: Sequence[Projection], rows: NDArray[np.float32], threads: int) -> Projection:
        """The projection by which most of the nearest rows come first, with the share that is best for it.

        Only queries are asked that none was learned from, if there are enough.

        Args:
            candidates: at least one; of equals the first is taken.
            rows: float32 [m, D], a sample of them, centred.
        """
        queries, weights = self._centred(slice(0, self.measured))
        k = min(_NEAREST, len(rows))
        if self.mean is None:
            nearest, _ = _native.flat_search(queries, rows, "l2", k, threads=threads)
        else:
            whole = queries + np.outer(weights, self.mean)
            nearest, _ = _native.flat_search(whole, rows, "ip", k, threads=threads)
        # What a share of 1 would stand for: how much of a row's length lies along the queries near to it.
        along = sum(
            float((query / max(weight, 1e-30)) @ rows[places].sum(axis=0))
            for query, weight, places in zip(queries, weights, nearest, strict=True)
        )
        unit = max(along / nearest.size / max(float(np.vdot(rows, rows)) / len(rows), 1e-30), 0.0)
        shares = unit * _SHARES
        asked = queries, weights
        measured = [self._early(each, asked, rows, nearest, shares, threads) for each in candidates]
        best = max(range(len(candidates)), key=lambda number: measured[number].mean(axis=1).max())
        share = float(shares[_largest_as_good(measured[best])])
        return replace(candidates[best], query_mean=self.mean, neighbour_share=share)

    def _early(
        self,
        projection: Projection,
        queries: tuple[NDArray[np.float32], NDArray[np.float32]],
        rows: NDArray[np.float32],
        nearest: NDArray[np.int64],
        shares: NDArray[np.float64],
        threads: int,
    ) -> NDArray[np.float64]:
        """How many of the nearest rows come early by the products of projected rows, by share and query.

        float64 [shares, measured].
        """
        asked_side = projection.query_side
        assert asked_side is not None
        projection = replace(projection, query_mean=self.mean)
        table = np.empty((len(rows), projection.dimensions + 1), dtype=np.float32)
        found = np.empty(len(rows), dtype=np.float32)  # by a query of length 1, at a share of 1
        for start in range(0, len(rows), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            scaled = rows[block] * np.float32(projection.scale)
            projected = projection.rows_of(scaled)
            found[block] = projection.missing_in(scaled, projected)
            if self.mean is None:
                found[block] *= 2
                table[block, -1] = np.einsum("ij,ij->i", scaled, scaled)
            else:
                table[block, -1] = projection.pivots_of(scaled)
            table[block, :-1] = projected
            table[block, -1] -= np.float32(shares[_LIKELY]) * found[block]
        factor = np.float32(projection.scale * (2 if self.mean is None else 1))
        weights = queries[1][:, None]
        asked = np.concatenate([factor * (queries[0] @ asked_side.T), -weights], axis=1)
        k = min(_CANDIDATES, len(rows))
        candidates, keys = _native.flat_search(asked, table, "ip", k, threads=threads)
        true = (candidates[:, :, None] == nearest[:, None, :]).any(axis=2)
        step = weights * found[candidates]
        early = np.empty((len(shares), len(asked)))
        for number, share in enumerate(shares):
            order = np.argsort(keys - np.float32(share - shares[_LIKELY]) * step, axis=1, kind="stable")
            found_by_place = np.take_along_axis(true, order, axis=1)
            early[number] = np.mean([found_by_place[:, :width].sum(axis=1) for width in _WIDTHS], axis=0)
        return early


def _lengths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths


def _largest_as_good(early: NDArray[np.float64]) -> int:
    """Of float64 [shares, queries], the last share that is no worse than the best beyond chance.

    Walks gain from more than these places show: in a graph of arxiv 0.3 is best where the places say 0.2.
    """
    best = int(early.mean(axis=1).argmax())
    less = early[best] - early
    error = less.std(axis=1) / math.sqrt(early.shape[1])
    return int(np.flatnonzero(less.mean(axis=1) <= error).max())
