"""The writer thread of a collection: every change goes through it, several waiting ones in one commit."""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from nearfield.engine import limits
from nearfield.engine.errors import NearfieldError, OutOfSpace, TooManyRequests, Unavailable
from nearfield.engine.storage.apply import Prepared, Run
from nearfield.engine.storage.sqlite import storage_error
from nearfield.engine.storage.store import PointStore
from nearfield.engine.storage.transaction import Transaction

_log = logging.getLogger(__name__)


@dataclass
class _Waiting:
    prepared: Prepared
    internal: bool = False
    future: Future[int] = field(default_factory=Future)


class Writer:
    """Queue, thread and group commit.

    A failed write, sync or commit makes the collection refuse writes until it is opened again; a full disk
    only fails the writes at hand.

    Args:
        begin: a fresh Transaction, made right after BEGIN.
        publish: makes a committed transaction's effects visible; runs before its futures resolve.
        backlogged: whether client writes must wait for maintenance.
    """

    def __init__(
        self,
        name: str,
        store: PointStore,
        begin: Callable[[], Transaction],
        publish: Callable[[Transaction], None],
        backlogged: Callable[[], bool],
    ) -> None:
        self.failure: NearfieldError | None = None
        self.publish_lock = threading.RLock()
        """Held from commit to the end of publication: who holds it sees memory and disk agree."""
        self.commits = 0
        self.publications = 0
        """Commits begun, and commits whose effects are visible; equal whenever memory and disk agree."""
        self._store = store
        self._begin = begin
        self._publish = publish
        self._backlogged = backlogged
        self._hindrance: Exception | None = None
        self._clients: deque[_Waiting] = deque()
        self._internal: deque[_Waiting] = deque()
        self._client_bytes = 0
        self._closing = False
        self._busy = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"nearfield-writer-{name}", daemon=True)
        self._thread.start()

    def submit(self, prepared: Prepared) -> "Future[int]":
        """Queue a client's operation; the future gives its operation id once it is durable and visible.

        Raises:
            Unavailable: the collection is closed or has failed.
            TooManyRequests: too many operations or bytes wait already.
        """
        waiting = _Waiting(prepared)
        with self._wake:
            self._require_open()
            full = len(self._clients) >= limits.WAITING_WRITES_MAX
            heavy = self._clients and self._client_bytes + prepared.bytes > limits.WAITING_WRITES_BYTES_MAX
            if full or heavy:
                raise TooManyRequests(
                    f"{len(self._clients)} writes ({self._client_bytes} bytes) wait already; try again later"
                )
            self._clients.append(waiting)
            self._client_bytes += prepared.bytes
            self._wake.notify()
        return waiting.future

    def submit_internal(self, run: Run) -> "Future[int]":
        """Queue a step of maintenance: it runs before waiting clients, alone in its transaction.

        Raises:
            Unavailable: the collection is closed or has failed.
        """
        waiting = _Waiting(Prepared(run), internal=True)
        with self._wake:
            self._require_open()
            self._internal.append(waiting)
            self._wake.notify()
        return waiting.future

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        with self._wake:
            return not (self._clients or self._internal or self._busy)

    def hinder(self, reason: Exception | None) -> None:
        """Say why no room can be made (None: it can): writes that would wait for room fail with that."""
        with self._wake:
            self._hindrance = reason
            self._wake.notify()

    def close(self) -> None:
        """Write what waits, then stop the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _require_open(self) -> None:
        if self._closing:
            raise Unavailable("the collection is closed")
        if self.failure is not None:
            raise Unavailable(f"writes are refused until the collection is opened again: {self.failure}")

    # ---- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while group := self._take():
            self._write(group)

    def _take(self) -> list[_Waiting]:
        """The next group: one internal step, or client operations for one commit; empty at the end."""
        with self._wake:
            while True:
                if self._internal:
                    self._busy = True
                    return [self._internal.popleft()]
                if self._clients and self._may_write():
                    self._busy = True
                    if group := self._take_clients():
                        return group
                    continue
                if self._closing and not self._clients:
                    return []
                self._wake.wait()

    def _may_write(self) -> bool:
        return (
            self._closing or self.failure is not None or self._hindrance is not None or not self._backlogged()
        )

    def _take_clients(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        points = 0
        while self._clients and (
            not group or points + self._clients[0].prepared.points <= limits.GROUP_COMMIT_POINTS_MAX
        ):
            waiting = self._clients.popleft()
            self._client_bytes -= waiting.prepared.bytes
            points += waiting.prepared.points
            if waiting.future.set_running_or_notify_cancel():
                group.append(waiting)
        return group

    def _write(self, group: list[_Waiting]) -> None:
        blocked: Exception | None = self.failure
        if blocked is None and not group[0].internal and self._backlogged():
            blocked = self._hindrance
        outcomes = self._transact(group) if blocked is None else [blocked] * len(group)
        with self._wake:
            self._busy = False
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)

    def _transact(self, group: list[_Waiting]) -> list[int | BaseException]:
        """Run a group in one transaction; per operation its id, or why it was not done."""
        committing = False
        try:
            self._store.writer.execute("BEGIN IMMEDIATE")
            transaction = self._begin()
            outcomes = [self._operate(transaction, waiting.prepared.run) for waiting in group]
            self._store.save_counters(transaction.counters)
            with self.publish_lock:
                committing = True
                self.commits += 1
                try:
                    self._store.writer.execute("COMMIT")
                    self._publish(transaction)
                finally:
                    self.publications += 1
        except BaseException as error:
            failure = self._undo(error, committing)
            return [failure] * len(group)
        return outcomes

    def _operate(self, transaction: Transaction, run: Run) -> int | BaseException:
        try:
            with transaction.operation() as effects:
                run(transaction, effects)
        except (sqlite3.Error, OutOfSpace, MemoryError):
            raise
        except Exception as error:
            return error
        return transaction.counters.operation

    def _undo(self, error: BaseException, committing: bool) -> BaseException:
        """Roll back; refuse further writes unless the disk was full or the error came before the commit."""
        failure = storage_error(error, self._store.path) if isinstance(error, sqlite3.Error) else error
        harmless = isinstance(failure, OutOfSpace) or not (committing or isinstance(error, sqlite3.Error))
        try:
            # A COMMIT that found the disk full leaves the transaction open; one that was done does not.
            published = committing and not self._store.writer.in_transaction
            if self._store.writer.in_transaction:
                self._store.writer.execute("ROLLBACK")
        except sqlite3.Error as rollback_error:
            failure, harmless = storage_error(rollback_error, self._store.path), False
        if harmless and not published:
            return failure
        _log.error(
            "%s: a write failed; the collection refuses writes from now on", self._store.path, exc_info=error
        )
        self.failure = (
            failure if isinstance(failure, NearfieldError) else Unavailable(f"writing failed: {failure!r}")
        )
        return self.failure
