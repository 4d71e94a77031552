"""Looking into a data directory without its lock and without changing a byte, also under a running server."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted, NotFound
from nearfield.engine.schema import CollectionSchema
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.storage.schema_json import schema_from_json
from nearfield.engine.storage.sqlite import translated
from nearfield.engine.storage.store import Counters


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent moment of a SQLite file.

    Raises:
        Corrupted: missing, or not a readable database.
        StorageError: SQLite could not read.
    """
    if not path.is_file():
        raise Corrupted(f"{path}: the file is missing")
    # Without a write-ahead log nobody has the file open, and SQLite need not create one to read it.
    mode = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"
    with translated(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?{mode}", uri=True, isolation_level=None
        )
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()


def holder(directory: Path) -> int | None:
    """Process that has a data directory open; None when nobody has."""
    try:
        descriptor = os.open(directory / "LOCK", os.O_RDONLY)
    except OSError:
        return None
    try:
        pid = int(os.read(descriptor, 32).decode("ascii", "replace").strip() or 0)
        if not pid or not _is_free(descriptor):
            return pid or None
        return None
    except ValueError:
        return None
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class CatalogView:
    """What `catalog.db` says.

    Args:
        collections: directory by name.
        aliases: collection by alias.
    """

    format_version: int
    collections: dict[str, str]
    aliases: dict[str, str]


def read_catalog(directory: Path) -> CatalogView:
    """The catalogue of a data directory.

    Raises:
        NotFound: not a data directory.
        Corrupted: the catalogue is damaged.
    """
    path = directory / "catalog.db"
    if not path.is_file():
        raise NotFound(f"{directory} is not a data directory: it has no catalog.db")
    with open_read_only(path) as connection:
        return CatalogView(
            _format_version(connection, path),
            dict(connection.execute("SELECT name, directory FROM collections ORDER BY name")),
            dict(connection.execute("SELECT alias, collection FROM aliases ORDER BY alias")),
        )


@dataclass(frozen=True)
class PointsView:
    """What `points.db` says, without the points.

    Args:
        manifests: by segment id.
        deleted: dead rows that still sit in a segment, ascending.
    """

    format_version: int
    schema: CollectionSchema
    counters: Counters
    manifests: dict[str, Manifest]
    deleted: NDArray[np.int64]


def read_points_view(connection: sqlite3.Connection, path: Path) -> PointsView:
    """The schema, counters and segments of a collection.

    Raises:
        Corrupted: a part of them is missing or unreadable.
    """
    meta: dict[str, Any] = dict(connection.execute("SELECT key, value FROM meta"))
    if "schema" not in meta:
        raise Corrupted(f"{path} has no schema")
    try:
        manifests = {
            segment: Manifest.from_json(json.loads(text))
            for segment, text in connection.execute("SELECT id, manifest FROM segments ORDER BY id")
        }
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupted(f"{path}: a segment's manifest is not readable: {error}") from error
    deleted = np.array(
        [row for (row,) in connection.execute("SELECT row FROM deleted_rows ORDER BY row")], np.int64
    )
    counters = Counters(
        *(int(meta.get(key, 0)) for key in ("next_row", "operation", "growing_first", "points"))
    )
    return PointsView(
        _format_version(connection, path), schema_from_json(meta["schema"]), counters, manifests, deleted
    )


def _format_version(connection: sqlite3.Connection, path: Path) -> int:
    found = connection.execute("SELECT value FROM meta WHERE key = 'format_version'").fetchone()
    if found is None:
        raise Corrupted(f"{path} has no format version")
    return int(found[0])
