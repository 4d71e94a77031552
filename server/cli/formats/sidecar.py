"""Ids and payloads of matrix files, in files beside them.

- `X.points.jsonl`: one `{"id": ..., "payload": {...}}` a line; what `export` writes.
- `X.payload.jsonl`, or any other `.jsonl` named by `--payload`: one payload object a line.
- `X_payload.npz`, or any `.npz` named by `--payload`: one array per payload key; a list-valued key is stored
  as `<key>_offsets` [n + 1] and `<key>_flat`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import orjson

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.point import PointBatch, PointId, id_to_json, parse_id
from nearfield.server.cli.formats.base import FileError
from nearfield.server.cli.formats.part_file import PartFile

Slice = tuple[Sequence[PointId] | None, Sequence[bytes | None] | None]
"""Ids (None: positions) and payloads (None: none has any) of one slice of points."""

T = TypeVar("T")


class Sidecar(Protocol):
    """Ids and payloads by position."""

    has_ids: bool

    def slices(self, start: int, size: int) -> Iterator[Slice]:
        """Slices from position `start`, `size` points each; ends after the last point."""


def find_sidecars(path: Path) -> tuple[Path, ...]:
    """Files beside a matrix that carry its ids and payloads by the usual names."""
    beside = (path.with_suffix(".points.jsonl"), path.with_suffix(".payload.jsonl"))
    packed = path.with_name(f"{path.stem}_payload.npz")
    return tuple(found for found in (*beside, packed) if found.is_file())[:1]


def open_sidecars(paths: Sequence[Path], count: int, id_column: str | None) -> Sidecar:
    """All sidecars of a matrix with `count` rows as one; later files win a key both have.

    Raises:
        FileError: unknown extension, or another number of rows.
    """
    parts: list[Sidecar] = []
    for path in paths:
        if not path.is_file():
            raise FileError(path, "no such file")
        if path.suffix == ".npz":
            parts.append(NpzSidecar(path, count, id_column))
        elif path.suffix == ".jsonl":
            parts.append(JsonlSidecar(path, count, id_column, points=path.name.endswith(".points.jsonl")))
        else:
            raise FileError(path, "payload files are .jsonl or .npz")
    return parts[0] if len(parts) == 1 else MergedSidecar(parts)


class MergedSidecar:
    """Several sidecars (or none) as one."""

    def __init__(self, parts: Sequence[Sidecar]) -> None:
        self._parts = parts
        self.has_ids = any(part.has_ids for part in parts)

    def slices(self, start: int, size: int) -> Iterator[Slice]:
        """See Sidecar."""
        if not self._parts:
            while True:
                yield None, None
        for together in zip(*(part.slices(start, size) for part in self._parts), strict=True):
            ids = next((ids for ids, _ in together if ids is not None), None)
            columns = [payloads for _, payloads in together if payloads is not None]
            merged = [_merge(payloads) for payloads in zip(*columns, strict=True)] if columns else None
            yield ids, merged


class JsonlSidecar:
    """One JSON object a line, in the order of the matrix."""

    def __init__(self, path: Path, count: int, id_column: str | None, *, points: bool) -> None:
        self._path = path
        self._points = points
        self._id_column = "id" if points else id_column
        lines = count_lines(path)
        if lines != count:
            raise FileError(path, f"has {lines:,} lines for {count:,} vectors")
        with path.open("rb") as stream:
            first = stream.readline()
        self.has_ids = points or (
            id_column is not None and bool(first) and id_column in parse_line(self._path, first, 0)
        )

    def slices(self, start: int, size: int) -> Iterator[Slice]:
        """See Sidecar."""
        with self._path.open("rb") as stream:
            for number, lines in enumerate(chunks(islice(stream, start, None), size)):
                row = start + number * size
                objects = [parse_line(self._path, line, row + i) for i, line in enumerate(lines)]
                ids = [self._id(item, row + i) for i, item in enumerate(objects)]
                payloads = [item.get("payload") if self._points else item for item in objects]
                yield ids if self.has_ids else None, [to_payload(payload) for payload in payloads]

    def _id(self, item: dict[str, Any], row: int) -> PointId:
        if not self.has_ids:
            return row
        return read_id(item.get(self._id_column or "id"), self._path, f"line {row + 1}")


class NpzSidecar:
    """One array per payload key, in the order of the matrix."""

    def __init__(self, path: Path, count: int, id_column: str | None) -> None:
        self._path = path
        self._count = count
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                columns = {key: archive[key] for key in archive.files}
        except (ValueError, EOFError, OSError) as error:
            raise FileError(path, f"not a readable npz archive ({error})") from error
        self._lists: dict[str, tuple[Any, Any]] = {}
        for key in [key.removesuffix("_offsets") for key in columns if key.endswith("_offsets")]:
            if f"{key}_flat" in columns and len(columns[f"{key}_offsets"]) == count + 1:
                self._lists[key] = (columns.pop(f"{key}_offsets"), columns.pop(f"{key}_flat"))
        for key, column in columns.items():
            if column.ndim == 0 or len(column) != count:
                raise FileError(path, f"array {key!r} has shape {column.shape} for {count:,} vectors")
        self._ids = columns.pop(id_column, None) if id_column else None
        self._columns = columns
        self.has_ids = self._ids is not None

    def slices(self, start: int, size: int) -> Iterator[Slice]:
        """See Sidecar."""
        for first in range(start, self._count, size):
            last = min(first + size, self._count)
            values = {key: column[first:last].tolist() for key, column in self._columns.items()}
            for key, (offsets, flat) in self._lists.items():
                values[key] = [flat[offsets[i] : offsets[i + 1]].tolist() for i in range(first, last)]
            payloads = [
                orjson.dumps({key: column[i] for key, column in values.items()}) for i in range(last - first)
            ]
            ids: list[PointId] | None = None
            if self._ids is not None:
                read = enumerate(self._ids[first:last].tolist(), first)
                ids = [read_id(value, self._path, f"row {row:,}") for row, value in read]
            yield ids, payloads


class SidecarSink:
    """Writes `X.points.jsonl` beside a matrix `X.*`."""

    def __init__(self, path: Path, resume: dict[str, int] | None) -> None:
        self._file = PartFile(path.with_suffix(".points.jsonl"), resume)

    def append(self, batch: PointBatch) -> None:
        """One line per point."""
        for i, point_id in enumerate(batch.ids):
            payload = batch.payloads[i] if batch.payloads is not None else None
            line = {"id": id_to_json(point_id), "payload": orjson.Fragment(payload) if payload else None}
            self._file.stream.write(orjson.dumps(line) + b"\n")

    def mark(self) -> dict[str, int]:
        """See Sink."""
        return self._file.mark()

    def close(self) -> Path:
        """See Sink."""
        return self._file.close()

    def abandon(self) -> None:
        """See Sink."""
        self._file.abandon()


def to_payload(payload: object) -> bytes | None:
    """A payload as the engine takes it; None for an empty one."""
    return orjson.dumps(payload) if payload else None


def read_id(value: object, path: Path, where: str) -> PointId:
    """A file's id; digits in a string count as an integer.

    Raises:
        FileError: neither an unsigned integer nor a UUID.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    try:
        return parse_id(value)
    except InvalidRequest as error:
        raise FileError(path, f"{where}: {error.message}") from error


def parse_line(path: Path, line: bytes, row: int) -> dict[str, Any]:
    """The JSON object of one line; `row` counts from 0.

    Raises:
        FileError: it is something else.
    """
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise FileError(path, f"line {row + 1}: not JSON ({error})") from error
    if not isinstance(item, dict):
        raise FileError(path, f"line {row + 1}: expected a JSON object, found {line[:40]!r}")
    return item


def count_lines(path: Path) -> int:
    """Lines of a file, a last one without a line break included."""
    lines, last = 0, b"\n"
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    while chunk := list(islice(items, size)):
        yield chunk


def _merge(payloads: Sequence[bytes | None]) -> bytes | None:
    merged: dict[str, Any] = {}
    for payload in payloads:
        merged |= orjson.loads(payload) if payload else {}
    return to_payload(merged)
