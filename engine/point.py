"""Points in columnar form: what a write carries through the engine, and the ids they go by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest

PointId = int | UUID
"""A 64-bit unsigned integer or a UUID. Integers order before UUIDs."""

StoredId = int | bytes
"""How SQLite holds a PointId: integers as `id - 2**63`, UUIDs as 16 bytes, big-endian; both sort like ids."""


def parse_id(value: object, path: str = "id") -> PointId:
    """The PointId a JSON value means: an unsigned integer, or a UUID string in any usual form.

    Raises:
        InvalidRequest: neither of the two.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limits.POINT_ID_MAX:
        return value
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    shown = repr(value)[:80]
    raise InvalidRequest(
        f"value {shown} is not a valid point ID, valid values are either an unsigned integer or a UUID", path
    )


def to_stored(point_id: PointId) -> StoredId:
    """The SQLite form of an id."""
    return point_id.bytes if isinstance(point_id, UUID) else point_id - 2**63


def from_stored(stored: StoredId) -> PointId:
    """The id behind its SQLite form."""
    return UUID(bytes=stored) if isinstance(stored, bytes) else stored + 2**63


def id_to_json(point_id: PointId) -> int | str:
    """The id as answers show it: an integer, or the canonical hyphenated lower-case UUID."""
    return str(point_id) if isinstance(point_id, UUID) else point_id


@dataclass(frozen=True)
class VectorColumn:
    """One named vector of a batch of points.

    Args:
        values: float32 [m, d], C-contiguous, finite, as the client sent them (not yet normalised); of a
            multi-vector float32 [t, d], the tokens of all documents, back to back.
        points: int64 [m], ascending positions in the batch that have this vector; None when all have it
            (m = number of points).
        offsets: int64 [m + 1], of a multi-vector only: document i has the tokens
            values[offsets[i] : offsets[i + 1]], at least one.
    """

    values: NDArray[np.float32]
    points: NDArray[np.int64] | None = None
    offsets: NDArray[np.int64] | None = None

    @classmethod
    def of_points(
        cls, vectors: Sequence[NDArray[np.float32]], points: NDArray[np.int64] | None = None
    ) -> "VectorColumn":
        """The column of at least one point's vectors, each [d], or each [t_i, d] of a multi-vector."""
        if vectors[0].ndim == 2:
            return cls.of_documents(vectors, points)
        return cls(np.stack(vectors), points)

    @classmethod
    def of_documents(
        cls, documents: Sequence[NDArray[np.float32]], points: NDArray[np.int64] | None = None
    ) -> "VectorColumn":
        """The column of a multi-vector, from one float32 [t_i, d] per document; at least one document."""
        lengths = [len(document) for document in documents]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(np.concatenate(documents, dtype=np.float32), points, offsets)

    def document(self, position: int) -> NDArray[np.float32]:
        """The vector [d], or the tokens [t, d], of the position-th point that has one."""
        if self.offsets is None:
            vector: NDArray[np.float32] = self.values[position]
            return vector
        return self.values[self.offsets[position] : self.offsets[position + 1]]

    def taken(self, positions: NDArray[np.int64], points: NDArray[np.int64] | None) -> "VectorColumn":
        """Some of the vectors, in the order of `positions`, as a column of the points `points`."""
        if self.offsets is None:
            return VectorColumn(self.values[positions], points)
        starts = self.offsets[positions]
        tokens, offsets = token_positions(starts, self.offsets[positions + 1] - starts)
        return VectorColumn(self.values[tokens], points, offsets)


def token_positions(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the tokens of m documents lie: their positions, back to back, and the documents' new offsets.

    Args:
        starts, lengths: int64 [m], the first token of each document and how many it has.
    """
    offsets = np.zeros(len(starts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], lengths), offsets


@dataclass(frozen=True)
class PointBatch:
    """Points to upsert; a batch applies whole or not at all.

    Args:
        ids: n ids; a repeated id means that the last of them wins.
        vectors: by vector name; a name that is missing is a vector no point of the batch has.
        payloads: n JSON objects as UTF-8 bytes (None: empty), or None when no point has a payload.
    """

    ids: Sequence[PointId]
    vectors: dict[str, VectorColumn] = field(default_factory=dict)
    payloads: Sequence[bytes | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)
