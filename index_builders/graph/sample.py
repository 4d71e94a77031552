"""What some of the rows tell: their mean, how near they lie to each other, what codes would blur."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.base_rows import BLOCK_ROWS, BaseRows
from nearfield.index_builders.encodings.lvq import LvqCodes
from nearfield.index_builders.graph.codes import LINE_BYTES, code_lines, dimensions_in
from nearfield.index_builders.transforms.leanvec import Projection, ProjectionLearner

_ROWS: Final = 20_000
_PROBES: Final = 256
_NEAREST: Final = 10
_BLOCK_PAIRS: Final = 320
_NEAR_MOST: Final = 16.0
"""Times the median of the squared distances to the nearest rows: further ones lie in another cluster."""
_LOST_MOST: Final = 0.25
"""Of the squared distance to the nearest rows, by projecting (measured: decision 0026)."""


@dataclass(frozen=True)
class RowSample:
    """Some of the rows, centred.

    Args:
        mean: float32 [D] of them.
        rows: float32 [m, D], the mean subtracted.
        seed: of the probes.
        threads: of the search for the nearest rows.
    """

    mean: NDArray[np.float32]
    rows: NDArray[np.float32]
    seed: int
    threads: int

    @classmethod
    def draw(cls, base: BaseRows, source: NDArray[np.int64], seed: int, threads: int) -> Self:
        """At most 20,000 of the rows `source`, int64 [n]; beyond 10,000 at most a quarter, to save memory."""
        picked = source
        most = min(_ROWS, max(len(source) // 4, _ROWS // 2))
        if len(source) > most:
            picked = np.sort(np.random.default_rng(seed).choice(source, most, replace=False))
        rows = np.empty((len(picked), base.dimensions), dtype=np.float32)
        for start in range(0, len(picked), BLOCK_ROWS):
            rows[start : start + BLOCK_ROWS] = base.block(picked[start : start + BLOCK_ROWS])
        mean = rows.mean(axis=0)
        rows -= mean
        return cls(mean, rows, seed, threads)

    def width(self, learner: ProjectionLearner, bits: int) -> int:
        """The narrowest width that fills whole cache lines and keeps apart what is near.

        The variance of all rows would be the wrong measure: where it lies between clusters, a projection may
        keep nearly all of it and lose what tells the rows of a cluster apart.
        """
        dimensions = learner.dimensions
        if code_lines(dimensions, 8) <= 2:
            return dimensions
        lost = learner.lost_of(self._differences())
        for lines in range(1, dimensions):
            reduced = dimensions_in(lines, bits)
            if reduced >= dimensions:
                break
            if lost[reduced] <= _LOST_MOST:
                return reduced
        return dimensions

    def blur(self, projection: Projection, bits: int) -> float:
        """Squared error of codes of the projected rows, of their squared distance to the nearest rows.

        The steps of a code follow the length of its row, which says little where rows lie in clusters far
        from the mean.
        """
        probes = projection.rows_of(self.rows[self._probes] * np.float32(projection.scale))
        codes = LvqCodes.empty(len(probes), projection.dimensions, bits, LINE_BYTES)
        codes.encode(0, np.ascontiguousarray(probes))
        error = np.square(codes.decode() - probes).sum() / len(probes)
        near = sum(float(np.square(block).sum()) for block in self._differences())
        near *= projection.scale**2 / max(self._pairs.shape[1], 1)
        return float(error / near) if near > 0 else 0.0

    @cached_property
    def _probes(self) -> NDArray[np.int64]:
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(len(self.rows), min(_PROBES, len(self.rows)), replace=False))

    @cached_property
    def _neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """int64 [p, k], the rows nearest to each probe, and float32 [p, k], their squared distances."""
        k = min(_NEAREST + 1, len(self.rows))
        found, distances = _native.flat_search(
            self.rows[self._probes], self.rows, "l2", k, threads=self.threads
        )
        return found[:, 1:], distances[:, 1:]

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        """int64 [2, m]: probes and their nearest rows, without those of other clusters."""
        nearest, squares = self._neighbours
        near = squares <= _NEAR_MOST * np.median(squares)
        return np.stack([np.repeat(self._probes, nearest.shape[1])[near.ravel()], nearest[near]])

    def _differences(self) -> Iterator[NDArray[np.float32]]:
        """float32 [m, D] in blocks: of the probes and the rows nearest to each."""
        for start in range(0, self._pairs.shape[1], _BLOCK_PAIRS):
            probes, nearest = self._pairs[:, start : start + _BLOCK_PAIRS]
            yield self.rows[nearest] - self.rows[probes]
