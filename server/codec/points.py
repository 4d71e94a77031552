"""Bodies that write points, turned into the engine's operations: columns of ids, vectors and payloads."""

import functools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.operation import (
    ClearPayload,
    DeletePayload,
    DeletePoints,
    DeleteVectors,
    Operation,
    OverwritePayload,
    SetPayload,
    UpdateVectors,
    Upsert,
)
from nearfield.engine.point import PointBatch, PointId, VectorColumn, parse_id
from nearfield.engine.query import PointSelector
from nearfield.engine.schema import UNNAMED, CollectionSchema
from nearfield.server.codec.decode import not_served
from nearfield.server.schemas import points as schemas

_FLOAT32_BYTES = 4
_encode_payload = msgspec.json.Encoder().encode


def parse_ids(values: Sequence[int | str], path: str) -> list[PointId]:
    """Ids of a body; a wrong one is named with its position."""
    return [parse_id(value, f"{path}[{i}]") for i, value in enumerate(values)]


@functools.lru_cache(maxsize=64)
def _row_format(size: int) -> struct.Struct:
    return struct.Struct(f"={size}f")


def pack_vector(values: Sequence[float], path: str) -> NDArray[np.float32]:
    """float32 [d] of a decoded list; several times faster than asking numpy to look at every element.

    Raises:
        InvalidRequest: a number that float32 cannot hold.
    """
    try:
        return np.frombuffer(_row_format(len(values)).pack(*values), dtype=np.float32)
    except (OverflowError, struct.error):
        raise InvalidRequest("expected numbers within the range of float32", path) from None


class _Column:
    """Rows of one vector name while a batch is read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: list[list[float]] = []
        self.points: list[int] = []

    def column(self, count: int, path: str) -> VectorColumn:
        packed = bytearray(len(self.rows) * self.size * _FLOAT32_BYTES)
        row_format, step = _row_format(self.size), self.size * _FLOAT32_BYTES
        for i, values in enumerate(self.rows):
            try:
                row_format.pack_into(packed, i * step, *values)
            except (OverflowError, struct.error):
                raise InvalidRequest(
                    "expected numbers within the range of float32", f"{path}[{self.points[i]}].vector"
                ) from None
        values_2d = np.frombuffer(packed, dtype=np.float32).reshape(len(self.rows), self.size)
        everywhere = len(self.points) == count
        return VectorColumn(values_2d, None if everywhere else np.array(self.points, dtype=np.int64))


def _wrong_size(expected: int, got: int, path: str) -> InvalidRequest:
    return InvalidRequest(f"Vector dimension error: expected dim: {expected}, got {got}", path)


def _columns(
    schema: CollectionSchema,
    vectors: Iterable[list[float] | Mapping[str, list[float]]],
    count: int,
    path: str,
) -> dict[str, VectorColumn]:
    columns: dict[str, _Column] = {}
    for i, value in enumerate(vectors):
        named = value if isinstance(value, Mapping) else {UNNAMED: value}
        for name, values in named.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = _Column(_size_of(schema, name, f"{path}[{i}].vector"))
            if len(values) != column.size:
                raise _wrong_size(
                    column.size, len(values), f"{path}[{i}].vector" + (f".{name}" if name else "")
                )
            column.rows.append(values)
            column.points.append(i)
    return {name: column.column(count, path) for name, column in columns.items()}


def _size_of(schema: CollectionSchema, name: str, path: str) -> int:
    spec = schema.vectors.get(name)
    if spec is not None:
        return spec.size
    if name in ("indices", "values"):
        raise not_served("sparse vectors", "lists of numbers", path)
    if name == UNNAMED:
        expected = (
            ", ".join(f"`{known}`" for known in schema.vectors) or "none: the collection has no vectors"
        )
        raise InvalidRequest(f"Not existing vector name error: expected one of {expected}; got no name", path)
    raise InvalidRequest(f"Not existing vector name error: {name}", path)


def _payload_bytes(payloads: Iterable[dict[str, Any] | None]) -> list[bytes | None] | None:
    encoded = [_encode_payload(payload) if payload else None for payload in payloads]
    return encoded if any(payload is not None for payload in encoded) else None


def upsert_operation(body: schemas.UpsertPoints, schema: CollectionSchema) -> Upsert:
    """The operation of either body shape.

    Raises:
        InvalidRequest: a wrong id, an unknown vector name, a wrong dimension, lists of different lengths.
        Unprocessable: no point at all.
    """
    if body.update_filter is not None:
        raise not_served("conditional updates", "unconditional ones", "update_filter")
    if body.update_mode not in (None, "upsert"):
        raise not_served(f"updates of mode `{body.update_mode}`", "`upsert`", "update_mode")
    if (body.points is UNSET) == (body.batch is UNSET):
        raise InvalidRequest("expected exactly one of `points` and `batch`")
    if body.batch is not UNSET:
        return Upsert(_columnar_batch(body.batch, schema))
    points = body.points
    if not points:
        raise Unprocessable("Empty update request: expected at least one point", "points")
    return Upsert(
        PointBatch(
            ids=[parse_id(point.id, f"points[{i}].id") for i, point in enumerate(points)],
            vectors=_columns(schema, (point.vector for point in points), len(points), "points"),
            payloads=_payload_bytes(point.payload for point in points),
        )
    )


def _columnar_batch(batch: schemas.PointColumns, schema: CollectionSchema) -> PointBatch:
    ids = parse_ids(batch.ids, "batch.ids")
    count = len(ids)
    if not count:
        raise Unprocessable("Empty update request: expected at least one point", "batch.ids")
    if batch.payloads is not None and len(batch.payloads) != count:
        raise InvalidRequest(
            f"expected {count} payloads, one per id, got {len(batch.payloads)}", "batch.payloads"
        )
    lists = batch.vectors if isinstance(batch.vectors, dict) else {UNNAMED: batch.vectors}
    vectors: dict[str, VectorColumn] = {}
    for name, rows in lists.items():
        path = "batch.vectors" + (f".{name}" if name else "")
        if len(rows) != count:
            raise InvalidRequest(f"expected {count} vectors, one per id, got {len(rows)}", path)
        vectors |= _columns(schema, ({name: row} for row in rows), count, path)
    return PointBatch(ids, vectors, None if batch.payloads is None else _payload_bytes(batch.payloads))


def update_vectors_operation(body: schemas.UpdateVectors, schema: CollectionSchema) -> UpdateVectors:
    """New vectors of existing points."""
    if body.update_filter is not None:
        raise not_served("conditional updates", "unconditional ones", "update_filter")
    if not body.points:
        raise Unprocessable("must specify points to update", "points")
    ids = [parse_id(point.id, f"points[{i}].id") for i, point in enumerate(body.points)]
    vectors = _columns(schema, (point.vector for point in body.points), len(ids), "points")
    return UpdateVectors(PointBatch(ids, vectors))


def selector(
    body: schemas.Selector | schemas.SetPayload | schemas.DeletePayload | schemas.DeleteVectors,
) -> PointSelector:
    """Which points are meant; ids win over a filter.

    Raises:
        InvalidRequest: neither was given.
    """
    if body.points is not None:
        return PointSelector(ids=parse_ids(body.points, "points"))
    if body.filter is not None:
        return PointSelector(filter=parse_filter(body.filter))
    raise InvalidRequest("expected `points` or `filter`: no points are selected")


def update_operation(body: schemas.UpdateOperation, schema: CollectionSchema, path: str) -> Operation:
    """One entry of a batch of updates."""
    kinds: dict[str, Callable[[Any], Operation]] = {
        "upsert": lambda part: upsert_operation(part, schema),
        "delete": lambda part: DeletePoints(selector(part)),
        "set_payload": lambda part: SetPayload(selector(part), part.payload, part.key),
        "overwrite_payload": lambda part: OverwritePayload(selector(part), part.payload, part.key),
        "delete_payload": lambda part: DeletePayload(selector(part), part.keys),
        "clear_payload": lambda part: ClearPayload(selector(part)),
        "update_vectors": lambda part: update_vectors_operation(part, schema),
        "delete_vectors": lambda part: DeleteVectors(selector(part), part.vector),
    }
    given = [name for name in kinds if getattr(body, name) is not UNSET]
    if len(given) != 1:
        raise InvalidRequest(f"expected exactly one of {', '.join(kinds)}, got {given or 'none'}", path)
    try:
        return kinds[given[0]](getattr(body, given[0]))
    except InvalidRequest as error:
        inner = f"{path}.{given[0]}" + (f".{error.path}" if error.path else "")
        raise type(error)(error.message, inner) from None
