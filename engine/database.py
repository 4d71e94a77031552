"""A data directory: its lock, its catalogue and its collections."""

import logging
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from nearfield.engine import limits
from nearfield.engine.collection import Collection
from nearfield.engine.config import EngineConfig
from nearfield.engine.errors import NotFound, StorageError, Unavailable, Unprocessable
from nearfield.engine.index.registry import Registry, discover
from nearfield.engine.index.wanted import resolve_index
from nearfield.engine.maintenance.worker import MaintenanceWorker
from nearfield.engine.schema import CollectionSchema
from nearfield.engine.storage.catalog import AliasAction, Catalog, CreateAlias, RenameAlias
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.engine.storage.directory_lock import DirectoryLock
from nearfield.engine.storage.durable import make_directory, remove_tree, sync_directory
from nearfield.engine.storage.store import PointStore

_log = logging.getLogger(__name__)
_NAME_FORBIDDEN: Final = frozenset('<>:"/\\|?*\0\x1f')


class Database:
    """Everything under one data directory, opened by this process alone. All methods are thread-safe.

    Use `Database.open`, as a context manager or with `close`.
    """

    def __init__(self, path: Path, lock: DirectoryLock, registry: Registry, config: EngineConfig) -> None:
        self.path = path
        self._lock = lock
        self._registry = registry
        self._config = config
        self._closed = False
        self._changing = threading.Lock()
        self._catalog = Catalog(path / "catalog.db")
        self._worker = MaintenanceWorker(config)
        self._stores: dict[str, CollectionStore] = {}
        try:
            self._remove_garbage()
            self._collections = {name: self._open(name) for name in self._catalog.collections}
        except BaseException:
            self._close_files()
            raise

    @classmethod
    def open(
        cls, path: Path | str, *, registry: Registry | None = None, config: EngineConfig | None = None
    ) -> Self:
        """Open a data directory, creating it if need be.

        A damaged collection does not keep the others from opening: see `Collection.info`.

        Args:
            registry: index kinds; by default every kind the installed packages offer.

        Raises:
            DirectoryLocked: another process has it open.
            StorageError: the directory or its catalogue cannot be read.
        """
        directory = Path(path)
        try:
            make_directory(directory / "collections")
        except OSError as error:
            raise StorageError(f"cannot use {directory} as a data directory: {error}") from error
        lock = DirectoryLock(directory)
        try:
            return cls(directory, lock, registry or discover(), config or EngineConfig())
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the writes that wait, stop background work, close all files. Twice is fine."""
        with self._changing:
            if self._closed:
                return
            self._closed = True
            self._close_files()
            self._lock.release()

    def _close_files(self) -> None:
        self._worker.close()
        for store in self._stores.values():
            store.close()
        self._catalog.close()

    # ---- collections --------------------------------------------------------------------------------------

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""
        return sorted(self._collections)

    def collection(self, name: str) -> Collection:
        """A collection by name or alias.

        Raises:
            NotFound: there is none.
        """
        found = self._collections.get(self._catalog.aliases.get(name, name))
        if found is None:
            raise NotFound(f"Collection `{name}` doesn't exist!")
        return found

    def create_collection(self, name: str, schema: CollectionSchema) -> Collection:
        """Create an empty collection.

        Raises:
            Conflict: the name is taken by a collection or an alias.
            InvalidRequest: a bad name, vector name or index config.
        """
        _require_name(name)
        self._require_valid(schema)
        with self._changing:
            self._require_open()
            self._catalog.require_free(name)
            directory = self.path / "collections" / uuid.uuid4().hex
            make_directory(directory)
            PointStore.create(directory / "points.db", schema)
            sync_directory(directory)
            self._catalog.add(name, directory.name)
            collection = self._open(name)
            self._collections = {**self._collections, name: collection}
            return collection

    def delete_collection(self, name: str) -> bool:
        """Delete a collection, its data and its aliases; False if there was none."""
        with self._changing:
            self._require_open()
            if name not in self._collections:
                return False
            directory = self._catalog.collections[name]
            self._catalog.remove(name)
            self._collections = {key: value for key, value in self._collections.items() if key != name}
            store = self._stores.pop(name, None)
            if store is not None:
                self._worker.forget(store)
                store.close()
            remove_tree(self.path / "collections" / directory)
            return True

    # ---- aliases ------------------------------------------------------------------------------------------

    def aliases(self) -> dict[str, str]:
        """Collection by alias."""
        return dict(self._catalog.aliases)

    def update_aliases(self, actions: Sequence[AliasAction]) -> None:
        """Apply alias actions in order, all or none.

        Raises:
            NotFound: an action names a collection or alias that is not there.
            Conflict: a new alias is a collection's name.
        """
        for action in actions:
            if isinstance(action, CreateAlias | RenameAlias):
                _require_name(action.alias if isinstance(action, CreateAlias) else action.new)
        with self._changing:
            self._require_open()
            self._catalog.update_aliases(actions)

    # ---- parts --------------------------------------------------------------------------------------------

    def _open(self, name: str) -> Collection:
        directory = self.path / "collections" / self._catalog.collections[name]
        try:
            store = CollectionStore(directory, self._registry, self._config, self._worker.wake)
        except StorageError as error:
            _log.error("collection %r cannot be opened; the others can", name, exc_info=error)
            return Collection(name, error, self._worker)
        self._stores[name] = store
        self._worker.care_for(store)
        return Collection(name, store, self._worker)

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the database is closed")

    def _require_valid(self, schema: CollectionSchema) -> None:
        if len(schema.vectors) > limits.VECTORS_PER_POINT_MAX:
            raise Unprocessable(
                f"a point has at most {limits.VECTORS_PER_POINT_MAX} vectors, got {len(schema.vectors)}",
                "vectors",
            )
        for name, spec in schema.vectors.items():
            if len(name) > limits.VECTOR_NAME_CHARS_MAX:
                raise Unprocessable(
                    f"a vector name has at most {limits.VECTOR_NAME_CHARS_MAX} characters", "vectors"
                )
            resolve_index(self._registry, spec, None)

    def _remove_garbage(self) -> None:
        """Remove directories of collections that were being created or deleted when the process ended."""
        known = set(self._catalog.collections.values())
        for entry in (self.path / "collections").iterdir():
            if entry.name not in known:
                remove_tree(entry)


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= limits.COLLECTION_NAME_CHARS_MAX:
        raise Unprocessable(
            f"a collection name has 1 to {limits.COLLECTION_NAME_CHARS_MAX} characters, got {len(name)}",
            "collection_name",
        )
    forbidden = sorted(set(name) & _NAME_FORBIDDEN)
    if forbidden:
        raise Unprocessable(f"a collection name cannot contain {forbidden[0]!r}", "collection_name")
