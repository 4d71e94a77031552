"""Bodies that write points, turned into the engine's operations: columns of ids, vectors and payloads."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

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
from nearfield.server.codec.vectors import vector_columns
from nearfield.server.schemas import points as schemas

_encode_payload = msgspec.json.Encoder().encode


def parse_ids(values: Sequence[int | str], path: str) -> list[PointId]:
    """Ids of a body; a wrong one is named with its position."""
    return [parse_id(value, f"{path}[{i}]") for i, value in enumerate(values)]


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
            vectors=vector_columns(schema, (point.vector for point in points), len(points), "points"),
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
        vectors |= vector_columns(schema, ({name: row} for row in rows), count, path)
    return PointBatch(ids, vectors, None if batch.payloads is None else _payload_bytes(batch.payloads))


def update_vectors_operation(body: schemas.UpdateVectors, schema: CollectionSchema) -> UpdateVectors:
    """New vectors of existing points."""
    if body.update_filter is not None:
        raise not_served("conditional updates", "unconditional ones", "update_filter")
    if not body.points:
        raise Unprocessable("must specify points to update", "points")
    ids = [parse_id(point.id, f"points[{i}].id") for i, point in enumerate(body.points)]
    vectors = vector_columns(schema, (point.vector for point in body.points), len(ids), "points")
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
