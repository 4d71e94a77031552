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
        values: float32 [m, d], C-contiguous, finite, as the client sent them (not yet normalised).
        points: int64 [m], ascending positions in the batch that have this vector; None when all have it
            (m = number of points).
    """

    values: NDArray[np.float32]
    points: NDArray[np.int64] | None = None


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
