"""JSON lines, one point each: `{"id": ..., "vector": [...] or {"name": [...]}, "payload": {...}}`.

A multi-vector's matrix is a list of lists.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from nearfield.engine.point import PointBatch, PointId, VectorColumn, id_to_json
from nearfield.engine.schema import UNNAMED
from nearfield.server.cli.formats.base import FileError, ReadOptions, VectorShape
from nearfield.server.cli.formats.part_file import PartFile
from nearfield.server.cli.formats.sidecar import chunks, count_lines, parse_line, read_id, to_payload

LINES_LOOKED_AT = 1_000
"""First lines whose vectors tell the names and sizes, when a collection has to be created."""


class JsonlSource:
    """See the module; `id_column` names another key for the id, `vector_column` another for the vector.

    Raises:
        FileError: no line, or the first lines hold no vector.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path = path
        self._id_key = options.id_column or "id"
        self._vector_key = options.vector_column or "vector"
        self.count = count_lines(path)
        shapes: dict[str, VectorShape] = {}
        with path.open("rb") as stream:
            looked_at = enumerate(islice(stream, LINES_LOOKED_AT))
            first = [parse_line(path, line, row) for row, line in looked_at]
        if not first:
            raise FileError(path, "no point in it (the file is empty)")
        self._has_ids = self._id_key in first[0]
        if options.id_column and not self._has_ids:
            raise FileError(path, f"line 1: no key {options.id_column!r} for the id")
        for row, item in enumerate(first):
            for name, values in self._vectors(item, row).items():
                shapes.setdefault(name, _shape(values))
        if not shapes:
            raise FileError(path, f"the first {len(first):,} lines have no {self._vector_key!r}")
        self.vectors: Mapping[str, VectorShape] = shapes

    def batches(self, start: int, size: int) -> Iterator[PointBatch]:
        """See Source."""
        with self._path.open("rb") as stream:
            row = start
            for lines in chunks(islice(stream, start, None), size):
                items = [parse_line(self._path, line, row + i) for i, line in enumerate(lines)]
                yield self._batch(items, row)
                row += len(items)

    def _batch(self, items: list[dict[str, Any]], row: int) -> PointBatch:
        gathered: dict[str, tuple[list[int], list[list[Any]]]] = {}
        for i, item in enumerate(items):
            for name, values in self._vectors(item, row + i).items():
                points, rows = gathered.setdefault(name, ([], []))
                points.append(i)
                rows.append(values)
        columns = {}
        for name, (points, rows) in gathered.items():
            positions = None if len(points) == len(items) else np.array(points, np.int64)
            shape = self.vectors.get(name) or _shape(rows[0])
            if not shape.multivector:
                columns[name] = VectorColumn(self._array(name, shape, points, rows, row), positions)
                continue
            documents = [
                self._array(name, shape, [point] * len(tokens), tokens, row)
                for point, tokens in zip(points, rows, strict=True)
            ]
            columns[name] = VectorColumn.of_documents(documents, positions)
        ids = [self._id(item, row + i) for i, item in enumerate(items)]
        return PointBatch(ids, columns, [self._payload(item, row + i) for i, item in enumerate(items)])

    def _array(self, name: str, shape: VectorShape, points: list[int], rows: list[Any], first: int) -> Any:
        size = shape.size
        for point, values in zip(points, rows, strict=True):
            if not isinstance(values, list):
                found = f"vector {name!r} is not a list of lists of numbers, as those before"
                raise FileError(self._path, f"line {first + point + 1}: {found}")
            if len(values) != size:
                where = f"line {first + point + 1}"
                found = f"vector {name!r} has {len(values)} dimensions"
                raise FileError(self._path, f"{where}: {found} instead of {size}")
        try:
            return np.array(rows, np.float32)
        except (ValueError, TypeError) as error:
            for point, values in zip(points, rows, strict=True):
                if not all(isinstance(value, int | float) for value in values):
                    where = f"line {first + point + 1}"
                    raise FileError(self._path, f"{where}: vector {name!r} is not all numbers") from error
            raise

    def _vectors(self, item: dict[str, Any], row: int) -> dict[str, list[Any]]:
        found = item.get(self._vector_key)
        named = found if isinstance(found, dict) else {} if found is None else {UNNAMED: found}
        for name, values in named.items():
            if not isinstance(values, list) or not values:
                raise FileError(self._path, f"line {row + 1}: vector {name!r} must be a list of numbers")
        return named

    def _id(self, item: dict[str, Any], row: int) -> PointId:
        if not self._has_ids:
            return row
        return read_id(item.get(self._id_key), self._path, f"line {row + 1}")

    def _payload(self, item: dict[str, Any], row: int) -> bytes | None:
        payload = item.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise FileError(self._path, f"line {row + 1}: payload must be a JSON object")
        return to_payload(payload)


class JsonlSink:
    """Writes one point a line; keeps every vector name, point without vectors and payload."""

    def __init__(self, path: Path, resume: dict[str, int] | None) -> None:
        self._file = PartFile(path, resume)

    def append(self, batch: PointBatch) -> None:
        """See Sink."""
        for i, line in enumerate(_lines(batch)):
            payload = batch.payloads[i] if batch.payloads is not None else None
            if payload:
                line["payload"] = orjson.Fragment(payload)
            self._file.stream.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def mark(self) -> dict[str, int]:
        """See Sink."""
        return self._file.mark()

    def close(self) -> list[Path]:
        """See Sink."""
        return [self._file.close()]

    def abandon(self) -> None:
        """See Sink."""
        self._file.abandon()


def _shape(values: list[Any]) -> VectorShape:
    """The shape of a vector that is a list with something in it."""
    matrix = isinstance(values[0], list)
    return VectorShape(len(values[0]) if matrix else len(values), multivector=matrix)


def _lines(batch: PointBatch) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"id": id_to_json(point_id), "vector": {}} for point_id in batch.ids]
    for name, column in batch.vectors.items():
        points = range(len(batch)) if column.points is None else column.points
        for at, point in enumerate(points):
            values = column.document(at)
            if name == UNNAMED:
                lines[point]["vector"] = values
            else:
                lines[point]["vector"][name] = values
    return lines
