"""Slots: dense numbers for states of payloads, so that indexes may only ever be appended to.

A point's payload gets a slot when its row is first seen and another one each time it changes; the old slot is
then dead. Indexes map values to slots and never forget one; what is dead is subtracted from their answers.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.row_runs import RowRuns, runs_of

UNKNOWN = -1


class SlotList:
    """Slots, with a bitmap of them made on demand."""

    def __init__(self) -> None:
        self._new = array("I")
        self._words = bitmap.empty(0)

    def append(self, slot: int) -> None:
        """Add a slot."""
        self._new.append(slot)

    def extend(self, slots: Iterable[int]) -> None:
        """Add many."""
        self._new.extend(slots)

    def words(self, size: int) -> bitmap.Words:
        """All slots so far as a bitmap of `size` slots, not less than before; not to be modified."""
        if self._new or len(self._words) < bitmap.word_count(size):
            words = bitmap.empty(size)
            words[: len(self._words)] = self._words
            _native.set_bits(words, np.frombuffer(self._new, np.uint32))
            self._words, self._new = words, array("I")
        return self._words


class SlotRows(NamedTuple):
    """Which rows slots stand for; see `lift_bits`.

    Args:
        runs: int64 [3, a], of runs of consecutive rows the first slot, the one after the last, the first row.
        singles: int64 [2, b], the slots that came out of the order of rows, and their rows.
    """

    runs: NDArray[np.int64]
    singles: NDArray[np.int64]


class SlotMatches(NamedTuple):
    """What a filter found: live slots, and which rows they stand for; of one moment, immutable."""

    words: bitmap.Words
    rows: SlotRows

    def within(self, rows: RowRuns, count: int) -> bitmap.Words:
        """The bitmap of those of a segment's `count` rows that were found."""
        return _native.lift_bits(self.words, *self.rows, rows, count)


class Slots:
    """The rows behind slots, and the current slot of each row."""

    def __init__(self) -> None:
        self._rows = np.empty(1024, np.int64)
        # Never descending: the slot's row where rows came in ascending order, else the largest row before it.
        # A binary search in it finds a row's first slot without a dictionary over all rows.
        self._search_keys = np.empty(1024, np.int64)
        self._largest = -1
        self._moved: dict[int, int] = {}
        # As in SlotRows.
        self._runs = (array("q"), array("q"), array("q"))
        self._singles = (array("q"), array("q"))
        self._slot_rows: SlotRows | None = None
        self._dead = SlotList()
        self._live: bitmap.Words | None = None
        self.size = 0

    def live(self) -> bitmap.Words:
        """All slots that are the current state of a row; not to be modified."""
        if self._live is None:
            self._live = bitmap.full(self.size) & ~self._dead.words(self.size)
        return self._live

    def slot_rows(self) -> SlotRows:
        """The rows of all slots so far."""
        if self._slot_rows is None:
            self._slot_rows = SlotRows(np.array(self._runs, np.int64), np.array(self._singles, np.int64))
        return self._slot_rows

    def dead_count(self) -> int:
        """How many slots are dead."""
        return bitmap.count(self._dead.words(self.size))

    def add(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """New slots for rows, int64 [n]; the slots they had until now, if any, die."""
        start, stop = self.size, self.size + len(rows)
        while stop > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._search_keys = np.concatenate([self._search_keys, np.empty_like(self._search_keys)])
        if len(rows) and rows[0] > self._largest and np.all(rows[1:] > rows[:-1]):
            self._rows[start:stop] = self._search_keys[start:stop] = rows
            self._largest = int(rows[-1])
            self.size = stop
            self._add_runs(start, rows)
        else:
            for row in rows.tolist():
                self._add_out_of_order(row)
        self._slot_rows = self._live = None
        return np.arange(start, stop)

    def _add_runs(self, slot: int, rows: NDArray[np.int64]) -> None:
        """Note slots from `slot` on of ascending rows, larger than all before."""
        starts, stops, first_rows = self._runs
        begins, own = runs_of(rows)
        ends = np.append(begins[1:], len(rows))
        if stops and stops[-1] == slot and first_rows[-1] + slot - starts[-1] == own[0]:
            stops[-1] = slot + int(ends[0])
            begins, ends, own = begins[1:], ends[1:], own[1:]
        starts.frombytes((begins + slot).tobytes())
        stops.frombytes((ends + slot).tobytes())
        first_rows.frombytes(own.tobytes())

    def _add_out_of_order(self, row: int) -> None:
        if row <= self._largest:
            self.kill([row])
            self._moved[row] = self.size
            self._singles[0].append(self.size)
            self._singles[1].append(row)
        else:
            self._add_runs(self.size, np.array([row]))
        self._largest = max(self._largest, row)
        self._rows[self.size] = row
        self._search_keys[self.size] = self._largest
        self.size += 1

    def kill(self, rows: Iterable[int]) -> None:
        """The rows are gone; unknown ones are ignored."""
        slots = self.find(np.fromiter(rows, np.int64))
        self._dead.extend(slots[slots != UNKNOWN].tolist())
        self._live = None

    def find(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Current slot of each row, int64 [n]; UNKNOWN for rows never seen, dead ones for rows now gone."""
        firsts = np.searchsorted(self._search_keys[: self.size], rows)
        known = firsts < self.size
        known[known] = self._rows[firsts[known]] == rows[known]
        slots = np.where(known, firsts, UNKNOWN)
        if self._moved:
            moved = np.isin(rows, np.fromiter(self._moved, np.int64, len(self._moved)))
            for i in np.flatnonzero(moved):
                slots[i] = self._moved[int(rows[i])]
        return slots

    def rows(self, slots: NDArray[np.uint32] | NDArray[np.int64]) -> NDArray[np.int64]:
        """The row behind each slot, int64 [n], in the order of the slots."""
        return self._rows[slots]

    def resident_bytes(self) -> int:
        """Bytes of memory held."""
        lists = sum(len(part) * 8 for part in (*self._runs, *self._singles))
        return self._rows.nbytes * 2 + lists + len(self._moved) * 100 + self.size // 4
