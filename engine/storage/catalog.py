"""`catalog.db`: which collections exist, where they live, and their aliases."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nearfield.engine.errors import Conflict, Corrupted, NotFound
from nearfield.engine.storage.sqlite import open_writer, translated

FORMAT_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS collections(name TEXT PRIMARY KEY, directory TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aliases(alias TEXT PRIMARY KEY, collection TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class CreateAlias:
    """Make `alias` another name of a collection; an alias that exists is moved."""

    collection: str
    alias: str


@dataclass(frozen=True)
class DeleteAlias:
    """Forget an alias; one that is not there is ignored."""

    alias: str


@dataclass(frozen=True)
class RenameAlias:
    """Give an alias another name."""

    old: str
    new: str


AliasAction = CreateAlias | DeleteAlias | RenameAlias


class Catalog:
    """The catalogue file and its content in memory. Thread-safe; changes are durable when made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with translated(path):
            self._connection = open_writer(path)
            self._connection.executescript(_TABLES)
            self._check_version()
            self.collections = dict(self._connection.execute("SELECT name, directory FROM collections"))
            self.aliases = dict(self._connection.execute("SELECT alias, collection FROM aliases"))

    def _check_version(self) -> None:
        self._connection.execute("INSERT OR IGNORE INTO meta VALUES ('format_version', ?)", (FORMAT_VERSION,))
        (found,) = self._connection.execute("SELECT value FROM meta WHERE key = 'format_version'").fetchone()
        if found != FORMAT_VERSION:
            raise Corrupted(
                f"{self._path}: format version {found}; this program reads version {FORMAT_VERSION}"
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def require_free(self, name: str) -> None:
        """Check that a name can be given to a new collection.

        Raises:
            Conflict: it is taken by a collection or an alias.
        """
        if name in self.collections:
            raise Conflict(f"Collection `{name}` already exists!")
        if name in self.aliases:
            raise Conflict(f"Collection `{name}` can't be created: an alias of that name already exists!")

    def add(self, name: str, directory: str) -> None:
        """Enter a new collection, whose name was found free."""
        with self._lock, translated(self._path):
            self._connection.execute("INSERT INTO collections VALUES (?, ?)", (name, directory))
            self.collections = {**self.collections, name: directory}

    def remove(self, name: str) -> None:
        """Forget a collection and its aliases."""
        with self._lock, translated(self._path), self._transaction():
            self._connection.execute("DELETE FROM collections WHERE name = ?", (name,))
            self._connection.execute("DELETE FROM aliases WHERE collection = ?", (name,))
        self.collections = {key: value for key, value in self.collections.items() if key != name}
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}

    def update_aliases(self, actions: Sequence[AliasAction]) -> None:
        """Apply the actions in order; all or none.

        Raises:
            NotFound: an action names a collection or alias that is not there.
            Conflict: a new alias is a collection's name.
        """
        with self._lock, translated(self._path):
            aliases = dict(self.aliases)
            for action in actions:
                self._apply(aliases, action)
            with self._transaction():
                self._connection.execute("DELETE FROM aliases")
                self._connection.executemany("INSERT INTO aliases VALUES (?, ?)", list(aliases.items()))
            self.aliases = aliases

    def _apply(self, aliases: dict[str, str], action: AliasAction) -> None:
        match action:
            case CreateAlias(collection, alias):
                if collection not in self.collections:
                    raise NotFound(f"Collection `{collection}` doesn't exist!")
                self._require_free(alias)
                aliases[alias] = collection
            case DeleteAlias(alias):
                aliases.pop(alias, None)
            case RenameAlias(old, new):
                if old not in aliases:
                    raise NotFound(f"Alias `{old}` does not exist!")
                self._require_free(new)
                aliases[new] = aliases.pop(old)

    def _require_free(self, alias: str) -> None:
        if alias in self.collections:
            raise Conflict(f"Alias `{alias}` can't be created: a collection of that name already exists!")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
