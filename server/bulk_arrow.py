"""Arrow IPC streams as bulk bodies: a column `id`, vector columns, and payload columns.

Columns are told apart by name and type:

    id             uint64 or int64, fixed-size binary(16) or text (UUIDs)
    vector         the unnamed vector: a fixed-size list, or a list, of float32, float16 or uint8; of a
                   multi-vector a list of those; null where a point has none
    vector.<name>  the vector of that name; so is a column called like a vector of the collection
    payload        text or binary: JSON objects
    anything else  one payload key each, beside those in `payload`; null leaves the key out
"""

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.point import PointBatch, PointId, VectorColumn, parse_id
from nearfield.engine.schema import UNNAMED, CollectionSchema
from nearfield.server.bulk import checked_column, checked_payload
from nearfield.server.codec.decode import RequestBody
from nearfield.server.errors import UnsupportedMedia

CONTENT_TYPE: Final = "application/vnd.apache.arrow.stream"


def decode_arrow(body: RequestBody, schema: CollectionSchema) -> PointBatch:
    """The points of an Arrow stream.

    Raises:
        UnsupportedMedia: pyarrow is not installed.
        InvalidRequest: not a stream, no column `id`, or a column of a wrong type.
        Unprocessable: no point at all.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise UnsupportedMedia("Arrow bodies need pyarrow: install nearfield[io] at the server") from None
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            table = reader.read_all().combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequest(f"expected an Arrow IPC stream: {error}") from None
    if table.num_rows == 0:
        raise Unprocessable("Empty update request: expected at least one row")
    columns = {name: table.column(i).combine_chunks() for i, name in enumerate(table.column_names)}
    if "id" not in columns:
        raise InvalidRequest(f"expected a column `id`, got {', '.join(table.column_names)}")
    ids = _ids(columns.pop("id"))
    vectors = {}
    for column in list(columns):
        name = _vector_name(column, schema)
        if name is not None:
            vectors[name] = _vector_column(columns.pop(column), schema, name, column)
    return PointBatch(ids, vectors, _payloads(columns, table.num_rows))


def _vector_name(column: str, schema: CollectionSchema) -> str | None:
    if column == "vector":
        return UNNAMED
    if column.startswith("vector."):
        return column.removeprefix("vector.")
    return column if column in schema.vectors else None


def _ids(column: Any) -> list[PointId]:
    values = column.to_pylist()
    return [
        UUID(bytes=value) if isinstance(value, bytes) and len(value) == 16 else parse_id(value, f"id[{i}]")
        for i, value in enumerate(values)
    ]


def _vector_column(column: Any, schema: CollectionSchema, name: str, where: str) -> VectorColumn:
    points: NDArray[np.int64] | None = None
    if column.null_count:
        points = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
        column = column.drop_null()
    _require_list(column, where)
    offsets: NDArray[np.int64] | None = None
    if hasattr(column.type.value_type, "value_type"):
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), lengths]).cumsum(dtype=np.int64)
        column = column.flatten()
        _require_list(column, where)
    values = _numbers(column, where)
    return replace(checked_column(values, len(values), schema, name, where, points), offsets=offsets)


def _require_list(column: Any, where: str) -> None:
    if column.null_count or not hasattr(column, "flatten") or not hasattr(column.type, "value_type"):
        raise InvalidRequest(f"expected a list of numbers without nulls, got {column.type}", where)


def _numbers(column: Any, where: str) -> NDArray[Any]:
    """[m, d] of lists of numbers of one length."""
    flat = column.flatten()
    if flat.null_count or str(flat.type) not in ("float", "halffloat", "uint8"):
        raise InvalidRequest(
            f"expected float32, float16 or uint8 values without nulls, got {flat.type}", where
        )
    rows = len(column)
    values = flat.to_numpy(zero_copy_only=False)
    if rows and len(values) % rows:
        raise InvalidRequest("expected vectors of one length", where)
    if (
        rows
        and hasattr(column, "value_lengths")
        and len(set(np.unique(column.value_lengths().to_numpy()))) > 1
    ):
        raise InvalidRequest("expected vectors of one length", where)
    shaped: NDArray[Any] = values.reshape(rows, len(values) // rows if rows else 0)
    return shaped


def _payloads(columns: dict[str, Any], count: int) -> list[bytes | None] | None:
    if not columns:
        return None
    whole = columns.pop("payload", None)
    texts = [None] * count if whole is None else whole.to_pylist()
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    bodies = [
        None if text is None else checked_payload(text, f"payload[{i}]") for i, text in enumerate(encoded)
    ]
    if not columns:
        return bodies
    rows = zip(*(column.to_pylist() for column in columns.values()), strict=True)
    merged: list[bytes | None] = []
    for i, (body, values) in enumerate(zip(bodies, rows, strict=True)):
        payload = {} if body is None else orjson.loads(body)
        payload |= {key: value for key, value in zip(columns, values, strict=True) if value is not None}
        try:
            merged.append(orjson.dumps(payload) if payload else None)
        except TypeError as error:
            raise InvalidRequest(f"expected values that JSON can hold: {error}", f"row {i}") from None
    return merged
