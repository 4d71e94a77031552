"""Parquet: one row per point.

Columns: `id`, `vector` or `vector.<name>` (lists of numbers; of a multi-vector lists of those), and `payload`
(JSON text). Any other column becomes a payload key of its name. `export` notes each vector's datatype and
distance in the file's metadata.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from nearfield.engine.point import PointBatch, PointId, VectorColumn, id_to_json
from nearfield.engine.schema import UNNAMED, Datatype, Distance
from nearfield.server.cli.formats.base import FileError, ReadOptions, VectorShape, optional_module
from nearfield.server.cli.formats.sidecar import read_id

METADATA = b"nearfield"
VECTOR = "vector"


class ParquetSource:
    """See the module; `vector_column` picks one list column when none is called `vector`.

    Raises:
        FileError: no parquet file, or no vector column.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: ReadOptions) -> None:
        arrow, parquet = optional_module("pyarrow", path), optional_module("pyarrow.parquet", path)
        self._arrow = arrow
        self._path = path
        try:
            self._file = parquet.ParquetFile(path, memory_map=True)
        except (arrow.ArrowInvalid, OSError) as error:
            raise FileError(path, f"not a readable parquet file ({error})") from error
        self.count = self._file.metadata.num_rows
        names = self._file.schema_arrow.names
        self._id_column = options.id_column or ("id" if "id" in names else None)
        if options.id_column and options.id_column not in names:
            raise FileError(path, f"no column {options.id_column!r} for the id; it has: {', '.join(names)}")
        self._vector_columns = self._find_vectors(options.vector_column, names)
        notes = orjson.loads((self._file.schema_arrow.metadata or {}).get(METADATA, b"{}"))
        self.vectors: Mapping[str, VectorShape] = self._shapes(notes) if self.count else {}

    def _find_vectors(self, wanted: str | None, names: list[str]) -> dict[str, str]:
        """Column by vector name."""
        if wanted is not None:
            found = {UNNAMED: wanted} if wanted in names else {}
        else:
            found = {UNNAMED: VECTOR} if VECTOR in names else {}
            found |= {name[len(VECTOR) + 1 :]: name for name in names if name.startswith(f"{VECTOR}.")}
        if not found:
            what = f"no column {wanted!r}" if wanted else "no column 'vector' (name one with --vector-column)"
            raise FileError(self._path, f"{what}; it has: {', '.join(names)}")
        return found

    def _shapes(self, notes: dict[str, dict[str, str]]) -> dict[str, VectorShape]:
        shapes = {}
        for name, column in self._vector_columns.items():
            kind = self._file.schema_arrow.field(column).type
            multivector = hasattr(kind, "value_type") and hasattr(kind.value_type, "value_type")
            kind = kind.value_type if multivector else kind
            fixed = self._arrow.types.is_fixed_size_list(kind)
            size = kind.list_size if fixed else self._first_length(column, multivector)
            note = notes.get(name, {})
            distance = Distance(note["distance"]) if "distance" in note else None
            datatype = Datatype(note.get("datatype", "float32"))
            shapes[name] = VectorShape(size, datatype, distance, multivector)
        return shapes

    def _first_length(self, column: str, multivector: bool) -> int:
        for batch in self._file.iter_batches(1024, columns=[column]):
            for item in batch.column(0):
                if item.is_valid and (not multivector or len(item)):
                    return len(item[0]) if multivector else len(item)
        raise FileError(self._path, f"column {column!r} holds no vector at all")

    def batches(self, start: int, size: int) -> Iterator[PointBatch]:
        """See Source."""
        groups: list[int] = []
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if groups or first + rows > start:
                groups.append(group)
            else:
                first += rows
        row = first
        try:
            for batch in self._file.iter_batches(size, row_groups=groups) if groups else ():
                kept = batch.slice(max(0, start - row))
                if kept.num_rows:
                    yield self._batch(kept, row + batch.num_rows - kept.num_rows)
                row += batch.num_rows
        except (self._arrow.ArrowInvalid, OSError) as error:
            raise FileError(self._path, f"from row {row:,} on: {error}") from error

    def _batch(self, batch: Any, first: int) -> PointBatch:
        vectors = {}
        for name, column in self._vector_columns.items():
            vector = self._vector(batch.column(column), name, first)
            if len(vector.values):
                vectors[name] = vector
        ids: list[PointId] | range = range(first, first + batch.num_rows)
        if self._id_column is not None:
            values = batch.column(self._id_column).to_pylist()
            ids = [read_id(value, self._path, f"row {first + i}") for i, value in enumerate(values)]
        return PointBatch(ids, vectors, self._payloads(batch, first))

    def _vector(self, column: Any, name: str, first: int) -> VectorColumn:
        size = self.vectors[name].size
        points = None
        if column.null_count:
            points = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
            column = column.drop_null()
        owners = np.arange(len(column), dtype=np.int64) if points is None else points
        offsets = None
        if self.vectors[name].multivector:
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            offsets = np.concatenate([np.zeros(1, np.int64), lengths]).cumsum(dtype=np.int64)
            owners = np.repeat(owners, lengths)
            column = column.flatten()
        if not self._arrow.types.is_fixed_size_list(column.type):
            lengths = np.diff(column.offsets.to_numpy())
            wrong = np.flatnonzero(lengths != size)
            if len(wrong):
                row = first + int(owners[wrong[0]])
                found = f"vector {name!r} has {int(lengths[wrong[0]])} dimensions"
                raise FileError(self._path, f"row {row:,}: {found} instead of {size}")
        values: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        return VectorColumn(np.ascontiguousarray(values.reshape(len(column), size)), points, offsets)

    def _payloads(self, batch: Any, first: int) -> list[bytes | None] | None:
        taken = {*self._vector_columns.values(), self._id_column, "payload"}
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name not in taken}
        whole = batch.column("payload").to_pylist() if "payload" in batch.schema.names else None
        if not columns:
            return None if whole is None else [text.encode() if text else None for text in whole]
        payloads: list[bytes | None] = []
        for i in range(batch.num_rows):
            item = orjson.loads(whole[i]) if whole and whole[i] else {}
            item |= {name: values[i] for name, values in columns.items() if values[i] is not None}
            try:
                payloads.append(orjson.dumps(item, default=_plain) if item else None)
            except TypeError as error:
                raise FileError(self._path, f"row {first + i:,}: {error}") from error
        return payloads


class ParquetSink:
    """Writes `id`, a column per vector and `payload`; every batch is one row group. Cannot be resumed."""

    def __init__(self, path: Path, vectors: Mapping[str, VectorShape]) -> None:
        self._arrow, parquet = optional_module("pyarrow", path), optional_module("pyarrow.parquet", path)
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._vectors = vectors
        path.parent.mkdir(parents=True, exist_ok=True)
        arrow = self._arrow
        fields = [arrow.field("id", arrow.string(), nullable=False)]
        for name, shape in vectors.items():
            values = arrow.from_numpy_dtype(shape.datatype.dtype)
            vector = arrow.list_(values, shape.size)
            kind = arrow.list_(vector) if shape.multivector else vector
            fields.append(arrow.field(_column_name(name), kind))
        fields.append(arrow.field("payload", arrow.string()))
        notes = {
            name: {"datatype": shape.datatype} | ({"distance": shape.distance} if shape.distance else {})
            for name, shape in vectors.items()
        }
        self._schema = arrow.schema(fields, {METADATA: orjson.dumps(notes)})
        self._writer = parquet.ParquetWriter(self._part, self._schema, compression="zstd")

    def append(self, batch: PointBatch) -> None:
        """See Sink."""
        arrow = self._arrow
        columns = [arrow.array([str(id_to_json(point_id)) for point_id in batch.ids], arrow.string())]
        for name, shape in self._vectors.items():
            columns.append(self._list_array(batch.vectors.get(name), len(batch), shape))
        payloads = batch.payloads if batch.payloads is not None else [None] * len(batch)
        columns.append(arrow.array([text.decode() if text else None for text in payloads], arrow.string()))
        table = arrow.Table.from_arrays(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=len(batch))

    def _documents(self, column: VectorColumn | None, count: int, shape: VectorShape) -> Any:
        """A list of vectors for each point; null where a point has none."""
        lengths = np.zeros(count, np.int32)
        tokens = np.zeros((0, shape.size), shape.datatype.dtype)
        if column is not None and column.offsets is not None:
            lengths[slice(None) if column.points is None else column.points] = np.diff(column.offsets)
            tokens = column.values.astype(shape.datatype.dtype)
        vectors = self._arrow.FixedSizeListArray.from_arrays(
            self._arrow.array(tokens.reshape(-1)), shape.size
        )
        offsets = np.concatenate([np.zeros(1, np.int32), lengths]).cumsum(dtype=np.int32)
        missing = self._arrow.array(lengths == 0)
        return self._arrow.ListArray.from_arrays(self._arrow.array(offsets), vectors, mask=missing)

    def _list_array(self, column: VectorColumn | None, count: int, shape: VectorShape) -> Any:
        if shape.multivector:
            return self._documents(column, count, shape)
        values = np.zeros((count, shape.size), shape.datatype.dtype)
        have = np.zeros(count, bool)
        if column is not None:
            points = slice(None) if column.points is None else column.points
            values[points] = column.values
            have[points] = True
        flat = self._arrow.array(values.reshape(-1))
        mask = None if have.all() else self._arrow.array(~have)
        return self._arrow.FixedSizeListArray.from_arrays(flat, shape.size, mask=mask)

    def mark(self) -> None:
        """Nothing to resume from: a parquet file is only readable once closed."""

    def close(self) -> list[Path]:
        """See Sink."""
        self._writer.close()
        self._part.replace(self._path)
        return [self._path]

    def abandon(self) -> None:
        """See Sink."""
        self._writer.close()
        self._part.unlink()


def _column_name(vector: str) -> str:
    return f"{VECTOR}.{vector}" if vector else VECTOR


def _plain(value: object) -> object:
    """JSON form of what parquet holds beyond JSON (orjson writes dates itself)."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
