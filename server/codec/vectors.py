"""Vectors of a decoded body, packed into arrays: far faster than asking numpy to look at every number."""

import functools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.point import VectorColumn
from nearfield.engine.schema import UNNAMED, CollectionSchema, VectorSpec
from nearfield.server.codec.decode import not_served

_FLOAT32_BYTES = 4
Value = list[Any]
"""A vector, that is a list of numbers; of a multi-vector a list of such lists."""


@functools.lru_cache(maxsize=64)
def _row_format(size: int) -> struct.Struct:
    return struct.Struct(f"={size}f")


def pack_query(values: Value, path: str) -> NDArray[np.float32]:
    """float32 [d] of a vector, or float32 [t, d] of a matrix.

    Raises:
        InvalidRequest: a number that float32 cannot hold, or rows of different lengths.
    """
    if values and isinstance(values[0], list):
        size = len(values[0])
        packed = _pack_matrix(values, size, path)
        return np.frombuffer(packed, dtype=np.float32).reshape(len(values), size)
    try:
        return np.frombuffer(_row_format(len(values)).pack(*values), dtype=np.float32)
    except (OverflowError, struct.error):
        raise _not_numbers(values, path) from None


def vector_columns(
    schema: CollectionSchema, vectors: Iterable[Value | Mapping[str, Value]], count: int, path: str
) -> dict[str, VectorColumn]:
    """One column per vector name that some point has.

    Args:
        vectors: of `count` points, each one unnamed vector or vectors by name.
        path: of the list of points, for errors.

    Raises:
        InvalidRequest: an unknown name, a wrong dimension, or a matrix where a vector is expected, or the
            other way round.
    """
    columns: dict[str, _Column | _Documents] = {}
    for i, value in enumerate(vectors):
        named = value if isinstance(value, Mapping) else {UNNAMED: value}
        for name, values in named.items():
            column = columns.get(name)
            if column is None:
                spec = _spec(schema, name, f"{path}[{i}].vector")
                kind = _Column if spec.multivector is None else _Documents
                column = columns[name] = kind(spec.size, f".{name}" if name else "")
            column.add(values, i, path)
    return {name: column.column(count, path) for name, column in columns.items()}


class _Column:
    """Vectors of one name while a batch is read."""

    def __init__(self, size: int, suffix: str) -> None:
        self._size = size
        self._suffix = suffix
        self._rows: list[list[float]] = []
        self._points: list[int] = []

    def add(self, values: Value, point: int, path: str) -> None:
        """The vector of the next point that has one."""
        if len(values) != self._size:
            where = f"{path}[{point}].vector{self._suffix}"
            if values and isinstance(values[0], list):
                raise _not_numbers(values, where)
            raise _wrong_size(self._size, len(values), where)
        self._rows.append(values)
        self._points.append(point)

    def column(self, count: int, path: str) -> VectorColumn:
        """All of them; packed here, because one buffer is filled faster than many."""
        packed = bytearray(len(self._rows) * self._size * _FLOAT32_BYTES)
        row_format, step = _row_format(self._size), self._size * _FLOAT32_BYTES
        for i, values in enumerate(self._rows):
            try:
                row_format.pack_into(packed, i * step, *values)
            except (OverflowError, struct.error):
                where = f"{path}[{self._points[i]}].vector{self._suffix}"
                raise _not_numbers(values, where) from None
        values_2d = np.frombuffer(packed, dtype=np.float32).reshape(len(self._rows), self._size)
        return VectorColumn(values_2d, _positions(self._points, count))


class _Documents:
    """Multi-vectors of one name while a batch is read."""

    def __init__(self, size: int, suffix: str) -> None:
        self._size = size
        self._suffix = suffix
        self._packed: list[bytes] = []
        self._offsets = [0]
        self._points: list[int] = []

    def add(self, values: Value, point: int, path: str) -> None:
        """The matrix of the next point that has one."""
        where = f"{path}[{point}].vector{self._suffix}"
        if not values:
            raise InvalidRequest("a multi-vector must have at least one vector, got an empty list", where)
        self._packed.append(_pack_matrix(values, self._size, where))
        self._offsets.append(self._offsets[-1] + len(values))
        self._points.append(point)

    def column(self, count: int, path: str) -> VectorColumn:
        """All of them."""
        tokens = np.frombuffer(b"".join(self._packed), dtype=np.float32).reshape(-1, self._size)
        return VectorColumn(tokens, _positions(self._points, count), np.array(self._offsets, dtype=np.int64))


def _pack_matrix(values: Value, size: int, path: str) -> bytes:
    """float32 rows of one size, back to back."""
    row_format = _row_format(size)
    try:
        return b"".join([row_format.pack(*row) for row in values])
    except (OverflowError, struct.error, TypeError):
        raise _bad_row(values, size, path) from None


def _bad_row(values: Value, size: int, path: str) -> InvalidRequest:
    """What is wrong with the first bad row of a matrix."""
    for i, row in enumerate(values):
        if not isinstance(row, list):
            return InvalidRequest(
                "expected a matrix, that is a list of vectors, for a multi-vector; got a number",
                f"{path}[{i}]",
            )
        if len(row) != size:
            return _wrong_size(size, len(row), f"{path}[{i}]")
    return InvalidRequest("expected numbers within the range of float32", path)


def _not_numbers(values: Sequence[Any], path: str) -> InvalidRequest:
    if any(isinstance(value, list) for value in values):
        return InvalidRequest(
            "expected one vector, that is a list of numbers, got a matrix: only vectors with a "
            "multivector_config take those",
            path,
        )
    return InvalidRequest("expected numbers within the range of float32", path)


def _positions(points: list[int], count: int) -> NDArray[np.int64] | None:
    return None if len(points) == count else np.array(points, dtype=np.int64)


def _wrong_size(expected: int, got: int, path: str) -> InvalidRequest:
    return InvalidRequest(f"Vector dimension error: expected dim: {expected}, got {got}", path)


def _spec(schema: CollectionSchema, name: str, path: str) -> VectorSpec:
    spec = schema.vectors.get(name)
    if spec is not None:
        return spec
    if name in ("indices", "values"):
        raise not_served("sparse vectors", "lists of numbers", path)
    if name == UNNAMED:
        expected = (
            ", ".join(f"`{known}`" for known in schema.vectors) or "none: the collection has no vectors"
        )
        raise InvalidRequest(f"Not existing vector name error: expected one of {expected}; got no name", path)
    raise InvalidRequest(f"Not existing vector name error: {name}", path)
