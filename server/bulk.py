"""The bulk container: many points in one body. Client code may use this module too.

    offset  bytes  content
    0       8      magic "NFBULK" 0x00 0x01
    8       4      h, length of the header, unsigned little-endian
    12      4      zero
    16      h      header, JSON in UTF-8
    ...            sections, each at an offset that is a multiple of 64; zero bytes between them

The header is `{"points": n, "sections": [{"kind": ..., "name": ..., "offset": ..., "bytes": ...}, ...]}`,
offsets counted from the start of the body. Kinds of sections:

    ids        one: a .npy file, uint64 [n], or uint8 [n, 16] for UUIDs (big-endian bytes)
    vector     one per vector name ("" is the unnamed one): a .npy file, float32, float16 or uint8 [m, d];
               of a multi-vector [t, d], the vectors of all points, back to back
    offsets    for a multi-vector: a .npy file, int64 [m + 1], from 0 to t: the i-th point that has one has
               the vectors offsets[i] to offsets[i + 1] - 1, at least one
    positions  for a vector that not all points have: a .npy file, int64 [m], ascending positions of those
               that do
    payloads   at most one: n lines, each a JSON object or nothing; every line ends with a newline
"""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, cast
from uuid import UUID

import msgspec
import numpy as np
import orjson
from msgspec import Meta, Struct
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.point import PointBatch, PointId, VectorColumn
from nearfield.engine.schema import UNNAMED, CollectionSchema
from nearfield.server.codec.decode import RequestBody, decode

CONTENT_TYPE: Final = "application/x-nearfield-bulk"
MAGIC: Final = b"NFBULK\x00\x01"

_PREFIX: Final = struct.Struct("<8sII")
_ALIGNMENT: Final = 64
_HEADER_BYTES_MAX: Final = 64 * 2**10
_NPY_HEADER_BYTES_MAX: Final = 4096
_VECTOR_TYPES: Final = ("<f4", "<f2", "|u1")
_Size = Annotated[int, Meta(ge=0)]


class Section(Struct, forbid_unknown_fields=True):
    """Where one part of the body lies."""

    kind: Literal["ids", "vector", "offsets", "positions", "payloads"]
    offset: _Size
    bytes: _Size
    name: str = UNNAMED


class Header(Struct, forbid_unknown_fields=True):
    """What the body holds."""

    points: _Size
    sections: list[Section]


# ---- writing ----------------------------------------------------------------------------------------


def encode(
    ids: NDArray[np.uint64] | Sequence[PointId],
    vectors: Mapping[str, NDArray[Any] | VectorColumn] | NDArray[Any],
    payloads: Sequence[bytes | Mapping[str, Any] | None] | None = None,
) -> bytes:
    """A body for `POST /v1/collections/{collection}/bulk`.

    Args:
        ids: n unsigned integers, or n UUIDs.
        vectors: float32, float16 or uint8 [n, d], alone (the unnamed vector) or by name; a VectorColumn
            where not all points have one, and for multi-vectors.
        payloads: n JSON objects, already encoded or not; None for an empty one.

    Raises:
        InvalidRequest: ids of both kinds in one body.
    """
    named = vectors if isinstance(vectors, Mapping) else {UNNAMED: vectors}
    parts: list[tuple[Section, Sequence[Any]]] = [(Section("ids", 0, 0), _npy(_ids_array(ids)))]
    for name, column in named.items():
        if not isinstance(column, VectorColumn):
            parts.append((Section("vector", 0, 0, name), _npy(column)))
            continue
        parts.append((Section("vector", 0, 0, name), _npy(column.values)))
        if column.offsets is not None:
            parts.append((Section("offsets", 0, 0, name), _npy(column.offsets)))
        if column.points is not None:
            parts.append((Section("positions", 0, 0, name), _npy(column.points)))
    if payloads is not None:
        lines = [p if isinstance(p, bytes) else orjson.dumps(p) if p else b"" for p in payloads]
        parts.append((Section("payloads", 0, 0), [b"".join(line + b"\n" for line in lines)]))
    for section, buffers in parts:
        section.bytes = sum(len(buffer) for buffer in buffers)
    return _joined(Header(len(ids), [section for section, _ in parts]), [buffers for _, buffers in parts])


def _joined(header: Header, contents: Sequence[Sequence[Any]]) -> bytes:
    room = len(msgspec.json.encode(header)) + 16 * len(header.sections)
    offset = _aligned(_PREFIX.size + room)
    for section in header.sections:
        section.offset = offset
        offset = _aligned(offset + section.bytes)
    encoded = msgspec.json.encode(header)
    body: list[Any] = [_PREFIX.pack(MAGIC, len(encoded), 0), encoded]
    end = _PREFIX.size + len(encoded)
    for section, buffers in zip(header.sections, contents, strict=True):
        body.append(bytes(section.offset - end))
        body.extend(buffers)
        end = section.offset + section.bytes
    return b"".join(body)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _ids_array(ids: NDArray[np.uint64] | Sequence[PointId]) -> NDArray[Any]:
    if isinstance(ids, np.ndarray):
        return ids
    if all(isinstance(point_id, UUID) for point_id in ids):
        joined = b"".join(cast(UUID, point_id).bytes for point_id in ids)
        return np.frombuffer(joined, dtype=np.uint8).reshape(len(ids), 16)
    if any(isinstance(point_id, UUID) for point_id in ids):
        raise InvalidRequest("expected ids of one kind in a bulk body, integers or UUIDs; got both")
    return np.array(ids, dtype=np.uint64)


def _npy(array: NDArray[Any]) -> list[Any]:
    """The buffers of a .npy file, without a copy of the data."""
    contiguous = np.ascontiguousarray(array)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(contiguous))
    return [head.getvalue(), contiguous.view(np.uint8).data.cast("B") if contiguous.size else b""]


# ---- reading ----------------------------------------------------------------------------------------


def decode_bulk(body: RequestBody, schema: CollectionSchema) -> PointBatch:
    """The points of a body.

    Raises:
        InvalidRequest: not the container, a section outside the body, or one of a wrong type or shape.
        Unprocessable: no point at all.
    """
    header = _read_header(body)
    count = header.points
    if count == 0:
        raise Unprocessable("Empty update request: expected at least one point", "points")
    by_kind: dict[tuple[str, str], memoryview] = {}
    for section in header.sections:
        if section.offset + section.bytes > len(body):
            raise InvalidRequest(
                f"section {section.kind} `{section.name}` ends at byte {section.offset + section.bytes}, "
                f"the body has {len(body)}"
            )
        if (section.kind, section.name) in by_kind:
            raise InvalidRequest(f"section {section.kind} `{section.name}` is given twice")
        content = memoryview(body)[section.offset : section.offset + section.bytes]
        by_kind[section.kind, section.name] = content
    if ("ids", UNNAMED) not in by_kind:
        raise InvalidRequest("expected a section `ids`, got none")
    ids = _read_ids(by_kind["ids", UNNAMED], count)
    vectors = {name: _read_column(by_kind, count, schema, name) for kind, name in by_kind if kind == "vector"}
    lines = by_kind.get(("payloads", UNNAMED))
    return PointBatch(ids, vectors, None if lines is None else read_payloads(bytes(lines), count))


def _read_header(body: RequestBody) -> Header:
    if len(body) < _PREFIX.size or bytes(body[: len(MAGIC)]) != MAGIC:
        raise InvalidRequest(f"expected a body that begins with {MAGIC!r}, got {bytes(body[:8])!r}")
    _, length, _ = _PREFIX.unpack_from(body)
    if length > _HEADER_BYTES_MAX or _PREFIX.size + length > len(body):
        raise InvalidRequest(
            f"expected a header of at most {_HEADER_BYTES_MAX} bytes inside the body, got {length}"
        )
    return decode(Header, bytes(body[_PREFIX.size : _PREFIX.size + length]))


def _read_npy(content: memoryview, where: str) -> NDArray[Any]:
    """A view of the array in a .npy file."""
    head = io.BytesIO(content[:_NPY_HEADER_BYTES_MAX])
    try:
        version = np.lib.format.read_magic(head)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(head)
        if dtype.hasobject:
            raise ValueError("it holds objects")
        count = int(np.prod(shape, dtype=object))
        values = np.frombuffer(content, dtype=dtype, count=count, offset=head.tell())
    except (ValueError, SyntaxError, TypeError, MemoryError) as error:
        raise InvalidRequest(f"expected a .npy file: {error}", where) from None
    return values.reshape(shape, order="F" if fortran else "C")


def _read_ids(content: memoryview, count: int) -> list[PointId]:
    array = _read_npy(content, "ids")
    if array.dtype == np.uint64 and array.shape == (count,):
        return cast(list[PointId], array.tolist())
    if array.dtype == np.uint8 and array.shape == (count, 16):
        joined = array.tobytes()
        return [UUID(bytes=joined[i : i + 16]) for i in range(0, len(joined), 16)]
    raise InvalidRequest(
        f"expected uint64 [{count}] or uint8 [{count}, 16], got {array.dtype} {list(array.shape)}", "ids"
    )


def _read_column(
    by_kind: Mapping[tuple[str, str], memoryview], count: int, schema: CollectionSchema, name: str
) -> VectorColumn:
    where = f"vector.{name}" if name else "vector"
    array = _read_npy(by_kind["vector", name], where)
    positions, bounds = by_kind.get(("positions", name)), by_kind.get(("offsets", name))
    points = None if positions is None else _read_npy(positions, f"positions.{name}")
    if points is not None and (points.dtype != np.int64 or points.ndim != 1):
        raise InvalidRequest(
            f"expected int64 [m], got {points.dtype} {list(points.shape)}", f"positions.{name}"
        )
    if (
        points is not None
        and points.size
        and (points[0] < 0 or points[-1] >= count or (np.diff(points) <= 0).any())
    ):
        raise InvalidRequest(f"expected ascending positions within 0..{count - 1}", f"positions.{name}")
    rows = count if points is None else len(points)
    if bounds is None:
        return checked_column(array, rows, schema, name, where, points)
    offsets = _read_npy(bounds, f"offsets.{name}")
    if offsets.dtype != np.int64 or offsets.shape != (rows + 1,):
        raise InvalidRequest(
            f"expected int64 [{rows + 1}], got {offsets.dtype} {list(offsets.shape)}", f"offsets.{name}"
        )
    return replace(checked_column(array, len(array), schema, name, where, points), offsets=offsets)


def checked_column(
    array: NDArray[Any],
    rows: int,
    schema: CollectionSchema,
    name: str,
    where: str,
    points: NDArray[np.int64] | None = None,
) -> VectorColumn:
    """A column of float32 after its name, type and shape were found right.

    Raises:
        InvalidRequest: an unknown vector name, a type that is not served, or a wrong shape.
    """
    spec = schema.vectors.get(name)
    if spec is None:
        raise InvalidRequest(f"Not existing vector name error: {name}", where)
    if array.dtype.str not in _VECTOR_TYPES or array.ndim != 2 or len(array) != rows:
        raise InvalidRequest(
            f"expected float32, float16 or uint8 of shape [{rows}, {spec.size}], "
            f"got {array.dtype} {list(array.shape)}",
            where,
        )
    if array.shape[1] != spec.size:
        raise InvalidRequest(
            f"Vector dimension error: expected dim: {spec.size}, got {array.shape[1]}", where
        )
    return VectorColumn(np.ascontiguousarray(array, dtype=np.float32), points)


def read_payloads(lines: bytes, count: int) -> list[bytes | None]:
    """Payloads of a JSON-lines section, each checked to be an object; None for an empty line.

    Raises:
        InvalidRequest: a line that is not a JSON object, or not as many lines as points.
    """
    payloads: list[bytes | None] = []
    for number, line in enumerate(lines.removesuffix(b"\n").split(b"\n")):
        payloads.append(checked_payload(line, f"payloads[{number}]") if line else None)
    if len(payloads) != count:
        raise InvalidRequest(f"expected {count} lines, one per point, got {len(payloads)}", "payloads")
    return payloads


def checked_payload(line: bytes, where: str) -> bytes:
    """The same bytes after they were found to be a JSON object.

    Raises:
        InvalidRequest: they are not.
    """
    try:
        payload = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"expected a JSON object: {error}", where) from None
    if not isinstance(payload, dict):
        raise InvalidRequest(f"expected a JSON object, got {line[:80]!r}", where)
    return line
