"""Small collections for tests: batches of points, schemas, and an engine configuration that seals early."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import (
    CollectionSchema,
    Datatype,
    Distance,
    EngineConfig,
    PointBatch,
    PointId,
    PointSelector,
    VectorColumn,
    VectorSpec,
)
from nearfield.engine.payload import encode

DIMENSIONS = 8

EAGER = EngineConfig(
    threads=1,
    growing_bytes_seal=16_000,
    index_rows_min=200,
    sealed_segments_target=2,
    settle_pause_s=0.05,
    wal_checkpoint_bytes=256 * 1024,
)
"""Seals every 166 rows of one 8-dimensional float32 vector, and merges and indexes at once."""

PATIENT = EngineConfig(threads=1, background=False)
"""Nothing happens in the background."""


def schema(
    distance: Distance = Distance.EUCLID,
    datatype: Datatype = Datatype.FLOAT32,
    index: str = "flat",
    size: int = DIMENSIONS,
) -> CollectionSchema:
    """One unnamed vector."""
    return CollectionSchema({"": VectorSpec(size, distance, datatype, {"kind": index, "params": {}})})


def vectors(count: int, seed: int = 0, size: int = DIMENSIONS) -> NDArray[np.float32]:
    """Random normal float32 [count, size]."""
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def batch(
    ids: Sequence[PointId],
    values: NDArray[np.float32] | None = None,
    payloads: Sequence[dict[str, Any]] | None = None,
    seed: int = 0,
) -> PointBatch:
    """Points of the unnamed vector; random ones unless given."""
    column = VectorColumn(vectors(len(ids), seed) if values is None else np.asarray(values, dtype=np.float32))
    return PointBatch(
        ids, {"": column}, None if payloads is None else [encode(payload) for payload in payloads]
    )


def by_ids(*ids: PointId) -> PointSelector:
    """A selector of these ids."""
    return PointSelector(ids=ids)
