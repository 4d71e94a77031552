"""One open collection: its database, segments, writer and field indexes, seen at one and the same moment."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.config import EngineConfig
from nearfield.engine.errors import Corrupted, NearfieldError, Unavailable
from nearfield.engine.filter.expression import Filter
from nearfield.engine.filter.field_index.indexes import FieldIndexes
from nearfield.engine.index.registry import Registry
from nearfield.engine.operation import Operation
from nearfield.engine.schema import CollectionSchema
from nearfield.engine.search.request import RowBitmaps
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.segment.publisher import Publisher
from nearfield.engine.segment.segment_set import Segment, SegmentSet
from nearfield.engine.storage.apply import Prepared, prepare
from nearfield.engine.storage.effects import Effects
from nearfield.engine.storage.filter_answers import FilterAnswers
from nearfield.engine.storage.filter_context import PinnedContext
from nearfield.engine.storage.record_cache import RecordCache
from nearfield.engine.storage.recovery import recover
from nearfield.engine.storage.sqlite import translated
from nearfield.engine.storage.store import PointStore
from nearfield.engine.storage.transaction import Transaction
from nearfield.engine.storage.writer import Writer

T = TypeVar("T")
_READ_ATTEMPTS: Final = 3


class CollectionStore:
    """The parts of one open collection.

    Args:
        directory: the collection's directory, with its `points.db`.
        on_freeze: called on the writer thread when the growing segment was frozen; must be quick.

    Raises:
        Corrupted: primary data is damaged or missing.
    """

    def __init__(
        self,
        directory: Path,
        registry: Registry,
        config: EngineConfig,
        on_freeze: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory
        self.segments_directory = directory / "segments"
        self.registry = registry
        self.config = config
        self._on_freeze = on_freeze
        self.damage: NearfieldError | None = None
        """The first damage of primary data that a read or a job met."""
        path = directory / "points.db"
        try:
            self.store = PointStore(path, self.config.wal_checkpoint_bytes)
            try:
                with translated(path):
                    self._open()
            except BaseException:
                self.store.close()
                raise
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            # What the file says was never written to it.
            raise Corrupted(f"{path} is damaged: {error!r}") from error

    def _open(self) -> None:
        schema = self.store.load_schema()
        if schema is None:
            raise Corrupted(
                f"{self.store.path} has no schema; restore this collection from a backup or delete it"
            )
        self.schema = schema
        self._counters = self.store.load_counters()
        found = recover(
            self.segments_directory, self.store, schema, self.registry, self.config.index_bytes_open_max
        )
        self.manifests: dict[str, Manifest] = found.manifests
        """By segment id; changed on the writer thread by replacing the dictionary."""
        self.records = RecordCache()
        self.field_indexes = FieldIndexes(self.store.payloads)
        self.filter_answers = FilterAnswers(self.config.filter_answers_bytes_max)
        self.publisher = Publisher(
            schema.vectors,
            found.sealed,
            found.growing,
            found.growing_live,
            self.config.growing_bytes_seal,
            self.field_indexes.apply,
        )
        self.last_write = self.last_freeze = time.monotonic()
        """When points changed last, and when rows were frozen last; at first, the time of opening."""
        self.writer = Writer(
            self.directory.name,
            self.store,
            self._begin,
            self._publish,
            lambda: self.config.background and len(self.publisher.frozen) >= self.config.frozen_segments_max,
        )

    @property
    def pinned(self) -> SegmentSet:
        """The current rows; whoever holds the set sees them unchanged."""
        return self.publisher.pinned

    def close(self) -> None:
        """Write what waits, then close the files."""
        self.writer.close()
        self.store.close()

    # ---- writing ------------------------------------------------------------------------------------------

    def submit(self, operations: Sequence[Operation]) -> "Future[int]":
        """Check operations and queue them as one transaction, in order; the future gives the operation id.

        Raises:
            InvalidRequest: one of them is wrong; none is applied.
            Unavailable, TooManyRequests: see `Writer.submit`.
        """
        parts = [prepare(operation, self.schema) for operation in operations]
        if len(parts) == 1:
            return self.writer.submit(parts[0])

        def run(transaction: Transaction, effects: Effects) -> None:
            for part in parts:
                part.run(transaction, effects)

        return self.writer.submit(
            Prepared(run, sum(part.points for part in parts), sum(part.bytes for part in parts))
        )

    def change_schema(self, change: Callable[[CollectionSchema], CollectionSchema]) -> "Future[int]":
        """Queue a change of the schema, in order with the writes; vectors keep name, size and type."""

        def run(transaction: Transaction, effects: Effects) -> None:
            schema = change(transaction.schema)
            self.store.save_schema(schema)
            transaction.schema = schema
            effects.announcements.append(lambda: setattr(self, "schema", schema))

        return self.writer.submit(Prepared(run))

    def _begin(self) -> Transaction:
        return Transaction(
            self.store, self.schema, replace(self._counters), self.pinned, self._committed_rows
        )

    def _publish(self, transaction: Transaction) -> None:
        frozen = len(self.publisher.frozen)
        self._counters = transaction.counters
        for effects in transaction.effects:
            self.records.forget([*effects.dead, *effects.repainted])
        self.publisher.publish(transaction.effects)
        now = time.monotonic()
        if any(effects.births or effects.dead for effects in transaction.effects):
            self.last_write = now
        if len(self.publisher.frozen) > frozen:
            self.last_freeze = now
            self._on_freeze()

    def _committed_rows(self, condition: Filter) -> NDArray[np.int64]:
        """On the writer thread nothing is ever half published."""
        return self.pinned.rows_in(self.live_matches(condition, self.pinned))

    # ---- reading ------------------------------------------------------------------------------------------

    def matching(self, filters: Sequence[Filter]) -> tuple[SegmentSet, list[RowBitmaps]]:
        """A pinned set, and per filter the living rows that satisfy it, as bitmaps; of one moment."""
        moment, pinned = self.publisher.sequence, self.pinned
        known = [self.filter_answers.known(condition, moment) for condition in filters]
        kept = [found for found in known if found is not None]
        if len(kept) == len(filters) and moment == self.publisher.sequence:
            return pinned, kept

        def evaluate(pinned: SegmentSet) -> tuple[int, SegmentSet, list[RowBitmaps]]:
            moment = self.publisher.sequence
            return moment, pinned, [self.live_matches(condition, pinned) for condition in filters]

        moment, pinned, answers = self.read_consistently(evaluate)
        for condition, found in zip(filters, answers, strict=True):
            self.filter_answers.keep(condition, found, moment)
        return pinned, answers

    def keeps_answer(self, condition: Filter) -> bool:
        """Whether it is known what a filter finds now, so that `matching` need not evaluate it."""
        return self.filter_answers.known(condition, self.publisher.sequence) is not None

    def matching_rows(self, condition: Filter) -> NDArray[np.int64]:
        """Ascending living rows that satisfy a filter."""
        pinned, (found,) = self.matching([condition])
        return pinned.rows_in(found)

    def read_consistently(self, read: Callable[[SegmentSet], T]) -> T:
        """Result of a read of pinned set and field indexes that no publication interfered with."""
        for _ in range(_READ_ATTEMPTS):
            before = self.publisher.sequence
            result = read(self.pinned)
            if before % 2 == 0 and before == self.publisher.sequence:
                return result
        with self.writer.publish_lock:
            return read(self.pinned)

    def guarded(self) -> "_Guard":
        """Remember damage of primary data that a read meets, and report a closed collection as such."""
        return _Guard(self)

    def live_matches(self, condition: Filter, pinned: SegmentSet) -> RowBitmaps:
        """Rows that satisfy a filter and live in a set; for use inside `read_consistently`."""
        context = PinnedContext(self.store, pinned, self.schema.vectors)
        found = self.field_indexes.evaluate(condition, context)
        return tuple([_living(found.within(each.row_runs, each.count), each) for each in pinned.segments])


class _Guard:
    """Around one read."""

    def __init__(self, parts: CollectionStore) -> None:
        self._parts = parts

    def __enter__(self) -> None:
        if self._parts.store.closed:
            raise Unavailable("the collection is closed")

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Corrupted):
            self._parts.damage = self._parts.damage or error


def _living(words: bitmap.Words, segment: Segment) -> bitmap.Words:
    return words if segment.live is None else words & segment.live
