"""What one running server has: the database, opened in the background, worker threads and counters."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from nearfield.engine.errors import NotFound
from nearfield.engine.query import CollectionInfo
from nearfield.server.errors import NotReady
from nearfield.server.metrics import Metrics
from nearfield.server.search_queue import SearchQueue
from nearfield.server.settings import Settings
from nearfield.server.timers import Timers

if TYPE_CHECKING:
    from nearfield.engine.collection import Collection
    from nearfield.engine.database import Database

T = TypeVar("T")
P = ParamSpec("P")

_READ_THREADS = 4
"""Threads beside the searching ones, for reads and administration."""
_WRITE_THREADS = 4
"""Threads that decode and submit writes; they may wait for the disk, so reads have their own."""

_log = logging.getLogger("nearfield")


class Service:
    """The state all routes share.

    Args:
        settings: the server's configuration.
        on_failure: called in the event loop when the database cannot be opened.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[], None] | None = None) -> None:
        self.settings = settings
        self.failure: Exception | None = None
        self.on_failure = on_failure
        self.metrics = Metrics(self._infos)
        self.deadlines: Timers
        """Of requests; there once started."""
        self._threads = ThreadPoolExecutor(settings.threads + _READ_THREADS, "nearfield-read")
        self._write_threads = ThreadPoolExecutor(_WRITE_THREADS, "nearfield-write")
        self._database: Database | None = None
        self._decided = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._queues: WeakKeyDictionary[Collection, SearchQueue] = WeakKeyDictionary()

    # ---- life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to open the database; returns at once. To be called in the event loop."""
        self.deadlines = Timers(asyncio.get_running_loop(), self.settings.request_timeout_s)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        try:
            self._database = await self.in_thread(_open_database, self.settings)
        except Exception as error:
            self.failure = error
            _log.error("cannot open %s: %s", self.settings.data, error)
            if self.on_failure is not None:
                self.on_failure()
        finally:
            self._decided.set()

    async def stop(self) -> None:
        """Wait for what is running, then close the database."""
        if self._opening is not None:
            await self._opening
        database, self._database = self._database, None
        if database is not None:
            await asyncio.get_running_loop().run_in_executor(None, database.close)
        for threads in (self._threads, self._write_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether the database is open."""
        return self._database is not None

    # ---- what routes use -----------------------------------------------------------------------------

    async def database(self) -> "Database":
        """The open database; waits while it is being opened.

        Raises:
            NotReady: it could not be opened, or is closed again.
        """
        if self._database is None:
            await self._decided.wait()
        if self._database is None:
            raise NotReady(f"the database is not open: {self.failure or 'the server is shutting down'}")
        return self._database

    async def collection(self, name: str) -> "Collection":
        """The collection of a name or alias.

        Raises:
            NotFound: there is none.
            NotReady: as `database`.
        """
        return (self._database or await self.database()).collection(name)

    def search_queue(self, collection: "Collection") -> SearchQueue:
        """The queue that gathers concurrent searches of a collection."""
        queue = self._queues.get(collection)
        if queue is None:
            queue = SearchQueue(collection, self._threads, self.settings.threads, self.metrics)
            self._queues[collection] = queue
        return queue

    async def in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a blocking call, made in a worker thread."""
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def in_write_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a call that prepares a write."""
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._write_threads, call)

    def _infos(self) -> Iterator[tuple[str, CollectionInfo]]:
        database = self._database
        if database is None:
            return
        for name in database.collections():
            try:
                yield name, database.collection(name).info()
            except NotFound:
                continue


def _open_database(settings: Settings) -> "Database":
    # Imported here, in the worker thread: the server listens and answers health checks meanwhile.
    from nearfield.engine.config import EngineConfig
    from nearfield.engine.database import Database

    return Database.open(settings.data, config=EngineConfig(threads=settings.threads))


async def committed(ticket: Future[T], timeout_s: float | None) -> T | None:
    """What a write resolves to after its commit; None when that took longer than the caller wants to wait."""
    done = asyncio.shield(asyncio.wrap_future(ticket))
    try:
        return await asyncio.wait_for(done, timeout_s)
    except TimeoutError:
        return None
