"""A segment made of arrays, for searches without storage."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import Rows, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.segment import bitmap


@dataclass
class MemorySegment:
    """What a search reads of a segment; one vector name.

    Args:
        dead, absent: local rows that are deleted, or lack the vector.
    """

    rows: NDArray[np.int64]
    values: Rows
    dead: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    absent: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    scale: NDArray[np.float32] | None = None
    built: VectorIndex | None = None

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def live(self) -> bitmap.Words | None:
        return bitmap.without(None, self.count, self.dead) if len(self.dead) else None

    def vectors(self, name: str) -> Rows:
        return self.values

    def present(self, name: str) -> bitmap.Words | None:
        return bitmap.without(None, self.count, self.absent) if len(self.absent) else None

    def row_scale(self, name: str) -> NDArray[np.float32] | None:
        return self.scale

    def index(self, name: str) -> VectorIndex | None:
        return self.built

    def tokens(self, name: str) -> TokenRows:
        raise AssertionError(f"{name} is no multi-vector")

    def multivector_index(self, name: str) -> MultiVectorIndex | None:
        return None
