"""The table `points`: SQL and checksums of ids, versions and payloads by row."""

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from nearfield.engine.errors import Corrupted
from nearfield.engine.point import StoredId
from nearfield.engine.storage.checksum import crc32c

StoredPoint = tuple[int, StoredId, int, bytes | None]
"""row, id, version, payload (None as well where it was not asked for)"""

_LOOKUP_CHUNK: Final = 500
_HEAD: Final = struct.Struct("<qq")
_HEAD_AND_ID: Final = struct.Struct("<qqq")


def checksum(row: int, stored: StoredId, version: int, payload: bytes | None) -> int:
    """The column `crc`: CRC-32C of row, version and id above that of the payload, as signed 64 bits."""
    if isinstance(stored, bytes):
        identity = _HEAD.pack(row, version) + stored
    else:
        identity = _HEAD_AND_ID.pack(row, version, stored)
    return (crc32c(identity) << 32 | (crc32c(payload) if payload else 0)) - 2**63


def insert(
    connection: sqlite3.Connection,
    first_row: int,
    ids: Sequence[StoredId],
    version: int,
    payloads: Sequence[bytes | None],
) -> None:
    """Add points with consecutive rows."""
    connection.executemany(
        "INSERT INTO points VALUES (?, ?, ?, ?, ?)",
        [
            (row, stored, version, payload, checksum(row, stored, version, payload))
            for row, (stored, payload) in enumerate(zip(ids, payloads, strict=True), first_row)
        ],
    )


def move(connection: sqlite3.Connection, first_row: int, points: Sequence[StoredPoint], version: int) -> None:
    """Give points (with payload) consecutive new rows and a new version."""
    connection.executemany(
        "UPDATE points SET row = ?, version = ?, crc = ? WHERE row = ?",
        [
            (row, version, checksum(row, stored, version, payload), old)
            for row, (old, stored, _, payload) in enumerate(points, first_row)
        ],
    )


def repaint(
    connection: sqlite3.Connection, points: Iterable[tuple[int, StoredId, bytes | None]], version: int
) -> None:
    """Give points, by row and id, a new payload and version."""
    connection.executemany(
        "UPDATE points SET payload = ?, version = ?, crc = ? WHERE row = ?",
        [(payload, version, checksum(row, stored, version, payload), row) for row, stored, payload in points],
    )


def remove(connection: sqlite3.Connection, rows: Iterable[int]) -> None:
    """Delete points by row."""
    connection.executemany("DELETE FROM points WHERE row = ?", [(row,) for row in rows])


def lookup(
    connection: sqlite3.Connection,
    column: str,
    keys: Sequence[int] | Sequence[StoredId],
    with_payload: bool,
) -> list[StoredPoint]:
    """Points whose `row` or `id` is one of the keys, in no order.

    Raises:
        Corrupted: one of them fails its checksum.
    """
    found: list[Any] = []
    for start in range(0, len(keys), _LOOKUP_CHUNK):
        part = keys[start : start + _LOOKUP_CHUNK]
        # Few distinct statements, so that each stays prepared: the list is padded to a power of two.
        width = 1 << (len(part) - 1).bit_length() if len(part) < _LOOKUP_CHUNK else _LOOKUP_CHUNK
        sql = f"{_select(with_payload)} WHERE {column} IN ({','.join('?' * width)})"
        found += connection.execute(sql, [*part, *[part[-1]] * (width - len(part))]).fetchall()
    return list(verified(found, with_payload))


def page(
    connection: sqlite3.Connection, first: StoredId | None, limit: int, with_payload: bool
) -> list[StoredPoint]:
    """Up to `limit` points by ascending id, from an id on.

    Raises:
        Corrupted: one of them fails its checksum.
    """
    where, values = ("", ()) if first is None else ("WHERE id >= ?", (first,))
    found = connection.execute(f"{_select(with_payload)} {where} ORDER BY id LIMIT ?", (*values, limit))
    return list(verified(found.fetchall(), with_payload))


def stream(connection: sqlite3.Connection) -> Iterator[StoredPoint]:
    """All points with their payloads, ascending by row.

    Raises:
        Corrupted: one of them fails its checksum.
    """
    cursor = connection.execute(f"{_select(True)} ORDER BY row")
    try:
        yield from verified(cursor, True)
    finally:
        cursor.close()


def verified(points: Iterable[Any], with_payload: bool) -> Iterator[StoredPoint]:
    """Rows of the table without their checksum, which was found to hold."""
    for row, stored, version, payload, crc in points:
        try:
            difference = checksum(row, stored, version, payload) ^ crc
        except (TypeError, struct.error, BufferError):
            difference = -1
        # Without the payload only the upper half, that of row, version and id, can be checked.
        if difference if with_payload else difference >> 32:
            raise Corrupted(
                f"the point in row {row} of points.db fails its checksum; "
                "restore this collection from a backup or delete it"
            )
        yield row, stored, version, payload


def _select(with_payload: bool) -> str:
    return f"SELECT row, id, version, {'payload' if with_payload else 'NULL'}, crc FROM points"
