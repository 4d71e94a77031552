"""The field indexes of a collection: built when first needed, kept current by the writer."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import matches
from nearfield.engine.filter.field_index import plan
from nearfield.engine.filter.field_index.key_index import KeyIndex
from nearfield.engine.filter.field_index.order import Order
from nearfield.engine.filter.field_index.slots import UNKNOWN, SlotMatches, Slots
from nearfield.engine.payload import decode
from nearfield.engine.payload_path import Path, parse_path
from nearfield.engine.point import PointId
from nearfield.engine.segment import bitmap

RowPayload = tuple[int, bytes | None]
"""A row and its payload as stored."""

_SCAN_ROWS = 8_192
_PENDING_ROWS_MAX = 20_000
_DEAD_SLOTS_MIN = 20_000


class FilterContext(Protocol):
    """What a filter needs to know beside payloads. Called without any lock held."""

    def rows_of(self, ids: Sequence[PointId]) -> NDArray[np.int64]:
        """Rows of those ids that exist, int64, in any order."""
        ...

    def rows_with_vector(self, name: str) -> NDArray[np.int64]:
        """Rows that have a vector of this name, int64, in any order."""
        ...

    def payloads(self, rows: NDArray[np.int64]) -> Iterable[RowPayload]:
        """Stored payloads of those rows that still exist, in any order."""
        ...


class FieldIndexes:
    """In-memory indexes over the payload keys that filters and orders have used. Safe to use from any thread.

    Args:
        source: streams (row, payload) of all live rows, ascending; a call sees all commits before it.
    """

    def __init__(self, source: Callable[[], Iterable[RowPayload]]) -> None:
        self._source = source
        # _lock guards the state and is held briefly; _build_lock lets one build run at a time.
        self._lock = threading.Lock()
        self._build_lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._slots = Slots()
        self._indexes: dict[Path, KeyIndex] = {}
        self._orders: dict[Path, Order] = {}
        self._active = False
        self._first_scan = False
        self._pending: list[tuple[Iterable[int], Sequence[RowPayload]]] = []
        self._pending_rows = 0
        # While a build runs: the slots born since it began.
        self._born: list[tuple[int, bytes | None]] | None = None

    # -- writer ----------------------------------------------------------------------------------

    def apply(self, removed: Iterable[int], added: Sequence[RowPayload]) -> None:
        """Take in a committed write; in the order of the commits.

        Args:
            removed: rows that are gone.
            added: rows that are new or whose payload changed.
        """
        with self._lock:
            if not self._active:
                return
            self._pending.append((removed, added))
            self._pending_rows += len(added)
            if self._pending_rows > _PENDING_ROWS_MAX and not self._first_scan:
                self._take_in_pending()

    def _take_in_pending(self) -> None:
        if not self._pending:
            return
        pending, self._pending, self._pending_rows = self._pending, [], 0
        self._orders.clear()
        for removed, added in pending:
            self._slots.kill(removed)
            slots = self._slots.add(np.fromiter((row for row, _ in added), np.int64, len(added)))
            born = [(slot, payload) for slot, (_, payload) in zip(slots.tolist(), added, strict=True)]
            _index(self._indexes.values(), born)
            if self._born is not None:
                self._born += born
        # Dead slots are never forgotten one by one: when most are dead, the next question builds all afresh.
        dead = self._slots.dead_count() if self._born is None else 0
        if dead > _DEAD_SLOTS_MIN and dead * 2 > self._slots.size:
            self._reset()

    # -- readers ---------------------------------------------------------------------------------

    def evaluate(self, filter: expr.Filter, context: FilterContext) -> SlotMatches:
        """The points that satisfy a filter.

        Raises:
            InvalidRequest: a key is not a path.
        """
        leaves = list(plan.leaves(filter))
        rows_of_leaf = _rows_by_leaf(leaves, context)
        outcomes: dict[int, plan.Outcome] = {}
        with self._ready(plan.paths(leaves)):
            slots, live, size, rows = (
                self._slots,
                self._slots.live(),
                self._slots.size,
                self._slots.slot_rows(),
            )
            for leaf in leaves:
                if id(leaf) in rows_of_leaf:
                    outcomes[id(leaf)] = _known_outcome(slots.find(rows_of_leaf[id(leaf)]), size)
                else:
                    outcomes[id(leaf)] = plan.field_outcome(leaf, self._indexes, live, size)

        def of_leaf(leaf: plan.Leaf) -> plan.Outcome:
            return outcomes[id(leaf)]

        certain = plan.satisfying(filter, of_leaf, live, possibly=False)
        if all(outcome.is_exact for outcome in outcomes.values()):
            return SlotMatches(certain, rows)
        doubtful = plan.satisfying(filter, of_leaf, live, possibly=True) & ~certain
        if doubtful.any():
            _decide_leaves(leaves, outcomes, bitmap.positions(doubtful, size), slots, context)
            certain |= doubtful & plan.satisfying(filter, of_leaf, live, possibly=False)
        return SlotMatches(certain, rows)

    def values(self, key: str) -> Order:
        """All live rows in the order of a key's numbers and datetimes; rows without any are left out.

        Raises:
            InvalidRequest: the key is not a path.
        """
        path = parse_path(key)
        with self._ready({path}):
            if path not in self._orders:
                live = self._slots.live()
                parts = []
                for values, slots in self._indexes[path].ordered_parts():
                    alive = bitmap.test(live, slots.astype(np.int64))
                    parts.append((self._slots.rows(slots[alive]), values[alive]))
                self._orders[path] = Order.of(parts)
            return self._orders[path]

    def resident_bytes(self) -> int:
        """Bytes of memory held, roughly."""
        with self._lock:
            return self._slots.resident_bytes() + sum(
                index.resident_bytes() for index in self._indexes.values()
            )

    # -- building --------------------------------------------------------------------------------

    @contextmanager
    def _ready(self, paths: set[Path]) -> Iterator[None]:
        """Hold the lock, with indexes of these paths that know every applied write."""
        while True:
            with self._lock:
                if not self._first_scan:
                    self._take_in_pending()
                    if self._knows(paths):
                        yield
                        return
            self._build(paths)

    def _knows(self, paths: set[Path]) -> bool:
        return self._active and paths <= self._indexes.keys()

    def _build(self, paths: set[Path]) -> None:
        with self._build_lock:
            with self._lock:
                self._take_in_pending()
                if self._knows(paths):
                    return
                missing = paths - self._indexes.keys()
                self._first_scan = not self._active
                self._active = True
                self._born = []
                slots_before = self._slots.size
            fresh = {path: KeyIndex(path) for path in missing}
            try:
                self._scan(fresh.values(), slots_before)
            except BaseException:
                with self._lock:
                    self._reset()
                raise
            with self._lock:
                self._first_scan = False
                self._take_in_pending()
                _index(fresh.values(), self._born or [])
                self._indexes |= fresh
                self._born = None

    def _scan(self, fresh: Collection[KeyIndex], slots_before: int) -> None:
        """Index the payloads of the rows that had a slot when the build began; the first scan gives slots."""
        stream = iter(self._source())
        while chunk := list(islice(stream, _SCAN_ROWS)):
            rows = np.fromiter((row for row, _ in chunk), np.int64, len(chunk))
            with self._lock:
                slots = self._slots.add(rows) if self._first_scan else self._slots.find(rows)
            if not self._first_scan:
                # Later slots are those that `_born` lists.
                slots[slots >= slots_before] = UNKNOWN
            pairs = zip(slots.tolist(), chunk, strict=True)
            _index(fresh, [(slot, payload) for slot, (_, payload) in pairs if slot != UNKNOWN])


def _index(indexes: Collection[KeyIndex], payloads: Iterable[tuple[int, bytes | None]]) -> None:
    if not indexes:
        return
    given = [(slot, decode(data)) for slot, data in payloads if data]
    slots, decoded = [slot for slot, _ in given], [payload for _, payload in given]
    for index in indexes:
        index.add(slots, decoded)


def _rows_by_leaf(leaves: Iterable[plan.Leaf], context: FilterContext) -> dict[int, NDArray[np.int64]]:
    """By identity of the condition, the rows of conditions that the context decides."""
    rows: dict[int, NDArray[np.int64]] = {}
    for leaf in leaves:
        if isinstance(leaf, expr.HasId):
            rows[id(leaf)] = context.rows_of(leaf.ids)
        elif isinstance(leaf, expr.HasVector):
            rows[id(leaf)] = context.rows_with_vector(leaf.name)
    return rows


def _known_outcome(slots: NDArray[np.int64], size: int) -> plan.Outcome:
    known = bitmap.from_positions(slots[slots != UNKNOWN], size)
    return plan.Outcome(known, known)


def _decide_leaves(
    leaves: Iterable[plan.Leaf],
    outcomes: dict[int, plan.Outcome],
    doubtful: NDArray[np.int64],
    slots: Slots,
    context: FilterContext,
) -> None:
    """Replace undecided outcomes, as far as doubtful slots go, by what the payloads say."""
    undecided = {id(leaf): leaf for leaf in leaves if not outcomes[id(leaf)].is_exact}
    matching: dict[int, list[int]] = {key: [] for key in undecided}
    rows = slots.rows(doubtful)
    slot_of_row = dict(zip(rows.tolist(), doubtful.tolist(), strict=True))
    for row, data in context.payloads(np.sort(rows)):
        payload = decode(data)
        for key, leaf in undecided.items():
            if matches(leaf, payload, None, ()):
                matching[key].append(slot_of_row[row])
    for key, found in matching.items():
        words = np.zeros_like(outcomes[key].possible)
        _native.set_bits(words, np.array(found, np.uint32))
        outcomes[key] = plan.Outcome(words, words)
