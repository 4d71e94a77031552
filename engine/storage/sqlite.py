"""How Nearfield opens SQLite files, and what SQLite's errors mean to it."""

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nearfield.engine import limits
from nearfield.engine.errors import Corrupted, OutOfSpace, StorageError

PAGE_BYTES: Final = 8192
_BUSY_TIMEOUT_S: Final = 10.0
_WRITER_CACHE_KIB: Final = 32 * 1024
_READER_CACHE_KIB: Final = 4 * 1024
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def storage_error(error: sqlite3.Error, path: Path) -> StorageError:
    """The engine's error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return OutOfSpace(f"no space left for {path}; writes resume when there is room again")
    if code in _DAMAGED:
        return Corrupted(f"{path} is damaged ({error}); restore this collection from a backup or delete it")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{path}: {error} ({name})")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise the engine's errors instead of SQLite's."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, path) from error


def open_writer(path: Path, wal_checkpoint_bytes: int = limits.WAL_CHECKPOINT_BYTES) -> sqlite3.Connection:
    """The one connection that writes a file, and alone checkpoints it: write-ahead log, every commit synced.

    A checkpoint that fails does no harm and is tried again: it leaves the log whole, and starts with writing.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_S)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, wal_checkpoint_bytes // PAGE_BYTES)}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    return connection


class ReaderPool:
    """Read-only connections to one file, lent to any thread for one read at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one read; every cursor must be finished on leaving.

        Raises:
            StorageError: SQLite could not read.
        """
        with translated(self._path):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._open()
            try:
                yield connection
            finally:
                self._idle.append(connection)
                if self._closed:
                    self.close()

    def close(self) -> None:
        """Close what is idle now, and everything else when its read ends."""
        self._closed = True
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_TIMEOUT_S,
            cached_statements=64,
        )
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return connection
