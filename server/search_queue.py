"""Searches that wait at the same moment are answered together; none ever waits for another to arrive."""

import asyncio
import weakref
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Final

from nearfield.engine import limits
from nearfield.engine.query import ScoredPoint, SearchRequest
from nearfield.server.metrics import Metrics

if TYPE_CHECKING:
    from nearfield.engine.collection import Collection

Hits = list[ScoredPoint]
Outcome = Hits | Exception

INLINE_BYTES_MAX: Final = 16 * 2**20
"""Estimated bytes scanned up to which a batch runs on the event loop's thread: a few milliseconds at most.

Of searches through an index that is 64: handing such a batch over costs more than it takes, while a hundred
would keep the requests of others waiting.
"""


class _Asked:
    """Searches that came together: one future for the outcomes of all, in their order."""

    __slots__ = ("_missing", "_outcomes", "future")

    def __init__(self, count: int, future: asyncio.Future[list[Outcome]]) -> None:
        self.future = future
        self._missing = count
        self._outcomes: list[Outcome] = [[]] * count

    def put(self, at: int, outcome: Outcome) -> None:
        """The outcome of one of them; the last one completes the future, if somebody still waits for it."""
        self._outcomes[at] = outcome
        self._missing -= 1
        if not self._missing and not self.future.done():
            self.future.set_result(self._outcomes)


Waiting = tuple[SearchRequest, _Asked, int]


class SearchQueue:
    """Gathers the searches of one collection. Everything here runs in the event loop's thread.

    All requests that the event loop reads in one turn are flushed together. A batch that is cheap is answered
    right there; dear ones go to worker threads, and while those are busy the next batch gathers.

    Args:
        workers: dear batches that run at once.
    """

    def __init__(self, collection: "Collection", threads: Executor, workers: int, metrics: Metrics) -> None:
        # Weak, because queues are kept in a dictionary that forgets a collection when nobody else holds it.
        self._collection = weakref.ref(collection)
        self._threads = threads
        self._free_workers = workers
        self._metrics = metrics
        self._waiting: list[Waiting] = []
        self._flush_planned = False

    async def submit(self, request: SearchRequest) -> Hits:
        """The hits of one search; raises the engine's error."""
        (outcome,) = await self.submit_all([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit_all(self, requests: Sequence[SearchRequest]) -> asyncio.Future[list[Outcome]]:
        """For each search its hits or the engine's error."""
        loop = asyncio.get_running_loop()
        asked = _Asked(len(requests), loop.create_future())
        if not requests:
            asked.future.set_result([])
            return asked.future
        self._waiting += [(request, asked, at) for at, request in enumerate(requests)]
        if not self._flush_planned:
            self._flush_planned = True
            loop.call_soon(self._flush)
        return asked.future

    def _flush(self) -> None:
        self._flush_planned = False
        collection = self._collection()
        self._waiting = [entry for entry in self._waiting if not entry[1].future.done()]
        while self._waiting and collection is not None:
            batch = self._waiting[: limits.SEARCH_BATCH_MAX]
            requests = [request for request, _, _ in batch]
            cheap = _is_cheap(collection, requests)
            if not cheap and not self._free_workers:
                return
            if not cheap:
                share = -(-len(batch) // self._free_workers)
                batch, requests = batch[:share], requests[:share]
            del self._waiting[: len(batch)]
            self._metrics.search_batch.observe(len(batch))
            if cheap:
                _resolve(batch, _search(collection, requests))
            else:
                self._free_workers -= 1
                running = asyncio.get_running_loop().run_in_executor(
                    self._threads, _search, collection, requests
                )
                running.add_done_callback(partial(self._finished, batch))

    def _finished(self, batch: Sequence[Waiting], running: asyncio.Future[list[Outcome]]) -> None:
        self._free_workers += 1
        _resolve(batch, running.result())
        self._flush()


def _is_cheap(collection: "Collection", requests: Sequence[SearchRequest]) -> bool:
    """Whether the event loop may wait: few bytes, no prefetch, no filter that was not evaluated before.

    So it may where that cannot be told, say of a damaged collection: the search will only raise.
    """
    if any([request.prefetch for request in requests]):
        return False
    filtered = [request for request in requests if request.filter is not None]
    try:
        if filtered and not collection.keeps_filter_answers(filtered):
            return False
        return collection.search_cost_hint(requests) <= INLINE_BYTES_MAX
    except Exception:
        return True


def _search(collection: "Collection", requests: Sequence[SearchRequest]) -> list[Outcome]:
    """One outcome per request; where a batch fails, each is tried alone, so that only the guilty fail."""
    try:
        return list(collection.search(requests))
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [outcome for request in requests for outcome in _search(collection, [request])]


def _resolve(batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
    for (_, asked, at), outcome in zip(batch, outcomes, strict=True):
        asked.put(at, outcome)
