"""`points.db`: ids, versions, payloads, unsealed vectors, dead rows and the segments of a collection."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import Corrupted
from nearfield.engine.point import StoredId
from nearfield.engine.schema import CollectionSchema, VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn, no_tokens
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.storage import point_table
from nearfield.engine.storage.checksum import crc32c
from nearfield.engine.storage.point_table import StoredPoint
from nearfield.engine.storage.schema_json import schema_from_json, schema_to_json
from nearfield.engine.storage.sqlite import ReaderPool, open_writer, translated

FORMAT_VERSION: Final = 2
"""The newest this program reads; a collection without multi-vectors is written as version 1."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS points(
    row INTEGER PRIMARY KEY, id NOT NULL UNIQUE,
    version INTEGER NOT NULL, payload BLOB, crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS vector_chunks(
    first_row INTEGER NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL,
    present BLOB, data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(first_row, name));
CREATE TABLE IF NOT EXISTS deleted_rows(row INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS segments(id TEXT PRIMARY KEY, manifest TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass
class Counters:
    """Numbers that only grow, saved with every commit.

    Args:
        next_row: the row the next new point version gets.
        operation: id of the last operation.
        growing_first: the first row that no sealed segment holds.
        points: number of points.
    """

    next_row: int = 0
    operation: int = 0
    growing_first: int = 0
    points: int = 0


class PointStore:
    """Connections to `points.db`, its tables and its reads. Writing goes through `Transaction`.

    Raises:
        Corrupted: not a readable points database of this format.
    """

    def __init__(self, path: Path, wal_checkpoint_bytes: int = limits.WAL_CHECKPOINT_BYTES) -> None:
        self.path = path
        self.closed = False
        self.readers = ReaderPool(path)
        with translated(path):
            self.writer = open_writer(path, wal_checkpoint_bytes)
            try:
                self.writer.executescript(_TABLES)
                self._check_version()
            except BaseException:
                self.writer.close()
                raise

    @classmethod
    def create(cls, path: Path, schema: CollectionSchema) -> None:
        """Make the database of a new collection."""
        store = cls(path)
        try:
            with translated(path):
                store.save_schema(schema)
                if any(spec.multivector is not None for spec in schema.vectors.values()):
                    store.writer.execute("UPDATE meta SET value = 2 WHERE key = 'format_version'")
        finally:
            store.close()

    def _check_version(self) -> None:
        found = self.meta("format_version")
        if found is None:
            self.writer.execute("INSERT INTO meta VALUES ('format_version', 1)")
        elif found not in (1, FORMAT_VERSION):
            raise Corrupted(
                f"{self.path}: format version {found}; this program reads versions 1 and {FORMAT_VERSION}"
            )

    def close(self) -> None:
        """Close every connection; the writer last, so that it alone ever checkpoints."""
        self.closed = True
        self.readers.close()
        self.writer.close()

    # ---- meta ---------------------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """One value of the meta table, None when it is not there."""
        found = self.writer.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def load_schema(self) -> CollectionSchema | None:
        """The stored schema; None in a new file."""
        text = self.meta("schema")
        return None if text is None else schema_from_json(text)

    def save_schema(self, schema: CollectionSchema) -> None:
        """Store the schema within the current transaction, or at once outside one."""
        self.writer.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (schema_to_json(schema),))

    def load_counters(self) -> Counters:
        """The counters as of the last commit."""
        return Counters(
            *(self.meta(key) or 0 for key in ("next_row", "operation", "growing_first", "points"))
        )

    def save_counters(self, counters: Counters) -> None:
        """Store the counters within the current transaction."""
        self.writer.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(counters.__dict__.items()))

    # ---- what is read at open -----------------------------------------------------------------------------

    def load_segments(self) -> dict[str, Manifest]:
        """Registered segments and their manifests.

        Raises:
            Corrupted: a manifest is not readable.
        """
        try:
            return {
                id: Manifest.from_json(json.loads(text))
                for id, text in self.writer.execute("SELECT id, manifest FROM segments")
            }
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupted(f"{self.path}: a segment's manifest is not readable: {error!r}") from error

    def load_deleted_rows(self) -> NDArray[np.int64]:
        """Dead rows that still sit in a segment, ascending."""
        rows = [row for (row,) in self.writer.execute("SELECT row FROM deleted_rows ORDER BY row")]
        return np.array(rows, dtype=np.int64)

    def load_chunks(self, schema: CollectionSchema) -> Iterator[tuple[int, int, str, StoredColumn]]:
        """Unsealed vectors in row order: (first row, count, vector name, column).

        Raises:
            Corrupted: a chunk fails its checksum or has the wrong size.
        """
        sql = "SELECT first_row, name, count, present, data, crc FROM vector_chunks ORDER BY first_row"
        for first_row, name, count, present, data, crc in self.writer.execute(sql):
            if chunk_checksum(first_row, name, count, present, data) != crc:
                raise Corrupted(f"{self.path}: vectors of rows {first_row} and up fail their checksum")
            where = None
            if present is not None:
                where = np.flatnonzero(
                    np.unpackbits(np.frombuffer(present, np.uint8), count=count, bitorder="little")
                )
            having = count if where is None else len(where)
            column = _unpacked(data, schema.vectors[name], having, where)
            if column.count != having or (
                column.offsets is not None and column.offsets[-1] != len(column.values)
            ):
                raise Corrupted(f"{self.path}: vectors of rows {first_row} and up have the wrong size")
            yield first_row, count, name, column

    # ---- reads --------------------------------------------------------------------------------------------

    def points_of_rows(self, rows: Sequence[int], with_payload: bool = True) -> list[StoredPoint]:
        """The points that have these rows, in no order; rows that are gone are left out."""
        with self.readers.connection() as connection:
            return point_table.lookup(connection, "row", rows, with_payload)

    def points_of_ids(self, ids: Sequence[StoredId], with_payload: bool = True) -> list[StoredPoint]:
        """The points of these ids, in no order; unknown ids are left out."""
        with self.readers.connection() as connection:
            return point_table.lookup(connection, "id", ids, with_payload)

    def points_from(self, first: StoredId | None, limit: int, with_payload: bool) -> list[StoredPoint]:
        """Up to `limit` points by ascending id, from an id on."""
        with self.readers.connection() as connection:
            return point_table.page(connection, first, limit, with_payload)

    def row_blocks_by_id(self, first: StoredId | None, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows in ascending order of id, from an id on, some at a time."""
        where, values = ("", ()) if first is None else ("WHERE id >= ?", (first,))
        with self.readers.connection() as connection:
            cursor = connection.execute(f"SELECT row FROM points {where} ORDER BY id", values)
            try:
                while block := cursor.fetchmany(size):
                    yield np.array(block, dtype=np.int64)[:, 0]
            finally:
                cursor.close()

    def payloads(self) -> Iterator[tuple[int, bytes | None]]:
        """Row and payload of every point, ascending by row."""
        with self.readers.connection() as connection:
            for row, _, _, payload in point_table.stream(connection):
                yield row, payload


def chunk_checksum(
    first_row: int, name: str, count: int, present: bytes | None, data: bytes | memoryview
) -> int:
    """CRC-32C of everything in a row of `vector_chunks`."""
    head = crc32c(f"{first_row}:{count}:{name}".encode())
    return crc32c(data, crc32c(present or b"", head))


def insert_chunk(
    connection: sqlite3.Connection, first_row: int, name: str, count: int, column: StoredColumn
) -> None:
    """Store one named vector of consecutive new rows."""
    present = None
    if column.present is not None:
        words = bitmap.from_positions(column.present, count)
        present = words.view(np.uint8)[: (count + 7) // 8].tobytes()
    data = _packed(column)
    crc = chunk_checksum(first_row, name, count, present, data)
    connection.execute(
        "INSERT INTO vector_chunks VALUES (?, ?, ?, ?, ?, ?)", (first_row, name, count, present, data, crc)
    )


def _packed(column: StoredColumn) -> bytes | memoryview:
    """What `data` holds: the vectors; before those of a multi-vector, how many each row has, as uint32."""
    values = np.ascontiguousarray(column.values).reshape(-1).view(np.uint8).data
    if column.offsets is None:
        return values
    return b"".join([np.diff(column.offsets).astype("<u4").tobytes(), values])


def _unpacked(data: bytes, spec: VectorSpec, having: int, present: NDArray[np.int64] | None) -> StoredColumn:
    """The column of `having` vectors that `_packed` packed."""
    if spec.multivector is None:
        values = np.frombuffer(data, dtype=spec.datatype.dtype).reshape(-1, spec.size)
        return StoredColumn(values, present)
    lengths = np.frombuffer(data, dtype="<u4", count=having)
    empty = no_tokens(spec)
    tokens = np.frombuffer(data, dtype=empty.dtype, offset=lengths.nbytes).reshape(-1, empty.shape[1])
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), lengths]).cumsum(dtype=np.int64)
    return StoredColumn(tokens, present, offsets)
