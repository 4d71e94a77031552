"""MUVERA as published: random cells, random projections, nothing learned (arXiv 2405.19504)."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.multivector.encoding import Sets, cancel_flag

PROFILES: Final = {"small": (20, 4, 8), "default": (20, 5, 8), "high": (20, 5, 16)}
"""Repetitions, bits of a cell and projected dimensions: 2,560, 5,120 and 10,240 dimensions in all."""


class SimHashEncoding:
    """Random matrices, made once from a seed and then stored: no version of a generator is relied on.

    Args:
        planes: float32 [repetitions * bits, d], Gaussian.
        projections: float32 [repetitions * p, d], +-1 / sqrt(p).
        repetitions: independent divisions into cells.
        buckets: int32 [repetitions * 2**bits * p] with `signs` int8 of the same length, a count sketch to
            fewer dimensions; both empty for none.
        final_dimensions: of the count sketch, 0 for none.
    """

    cells = "simhash"

    def __init__(
        self,
        planes: NDArray[np.float32],
        projections: NDArray[np.float32],
        repetitions: int,
        buckets: NDArray[np.int32],
        signs: NDArray[np.int8],
        final_dimensions: int,
    ) -> None:
        self._planes, self._projections, self._repetitions = planes, projections, repetitions
        self._buckets, self._signs = buckets, signs
        self._encoder = _native.SimHashEncoder(planes, projections, repetitions)
        self.dimensions = planes.shape[1]
        self.width = final_dimensions or self._encoder.width

    @classmethod
    def generate(
        cls, dimensions: int, repetitions: int, bits: int, projected: int, final_dimensions: int, seed: int
    ) -> "SimHashEncoding":
        """Fresh matrices; `projected` of at most `dimensions`."""
        rng = np.random.default_rng(seed)
        projected = min(projected, dimensions)
        planes = rng.standard_normal((repetitions * bits, dimensions)).astype(np.float32)
        signs = rng.integers(0, 2, (repetitions * projected, dimensions)) * 2 - 1
        width = repetitions * 2**bits * projected if final_dimensions else 0
        return cls(
            planes,
            (signs / np.sqrt(projected)).astype(np.float32),
            repetitions,
            rng.integers(0, max(final_dimensions, 1), width).astype(np.int32),
            (rng.integers(0, 2, width) * 2 - 1).astype(np.int8),
            final_dimensions,
        )

    @classmethod
    def open(cls, load: Callable[[str], Any], facts: dict[str, Any]) -> "SimHashEncoding":
        """The encoding of an index's files."""
        return cls(
            load("planes"), load("projections"), facts["repetitions"], load("buckets"), load("signs"),
            facts["final_dimensions"],
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """What `open` needs beside the arrays."""
        final = self.width if len(self._buckets) else 0
        return {"repetitions": self._repetitions, "final_dimensions": final}

    def documents(self, sets: Sets, context: BuildContext) -> NDArray[np.float32]:
        """See Encoding; empty cells are filled."""
        pool = shared_pool(context.threads)
        return self._sketched(self._encoder.encode_documents(*sets, True, pool, cancel_flag(context)))

    def queries(self, sets: Sets, threads: int) -> NDArray[np.float32]:
        """See Encoding."""
        return self._sketched(self._encoder.encode_queries(*sets, shared_pool(threads)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See Encoding."""
        return {
            "planes": self._planes,
            "projections": self._projections,
            "buckets": self._buckets,
            "signs": self._signs,
        }

    def resident_bytes(self) -> int:
        """The matrices, once as stored and once packed."""
        packed = self._planes.nbytes + self._projections.nbytes
        return packed + sum(array.nbytes for array in self.arrays().values())

    def _sketched(self, encoded: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(self._buckets):
            return encoded
        out = np.empty((len(encoded), self.width), np.float32)
        for row, values in zip(out, encoded, strict=True):
            row[:] = np.bincount(self._buckets, values * self._signs, self.width)
        return out
