"""Slots: dense numbers for states of payloads, so that indexes may only ever be appended to.

A point's payload gets a slot when its row is first seen and another one each time it changes; the old slot is
then dead. Indexes map values to slots and never forget one; what is dead is subtracted from their answers.
"""

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

UNKNOWN = -1


class SlotList:
    """Slots in ascending order, with a bitmap of them made on demand."""

    def __init__(self) -> None:
        self._new = array("I")
        self._bitmap = BitMap()

    def append(self, slot: int) -> None:
        """Add a slot larger than all before."""
        self._new.append(slot)

    def extend(self, slots: Iterable[int]) -> None:
        """Add many."""
        self._new.extend(slots)

    def bitmap(self) -> BitMap:
        """All slots so far; not to be modified, and not modified later."""
        if self._new:
            self._bitmap = self._bitmap | BitMap(self._new)
            self._new = array("I")
        return self._bitmap


class Slots:
    """The rows behind slots, and the current slot of each row."""

    def __init__(self) -> None:
        self._rows = np.empty(1024, np.int64)
        # Never descending: the slot's row where rows came in ascending order, else the largest row before it.
        # A binary search in it finds a row's first slot without a dictionary over all rows.
        self._search_keys = np.empty(1024, np.int64)
        self._largest = -1
        self._moved: dict[int, int] = {}
        self.size = 0
        self.dead = BitMap()

    def live(self) -> BitMap:
        """All slots that are the current state of a row."""
        return BitMap(range(self.size)) - self.dead

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
        else:
            for row in rows.tolist():
                self._add_out_of_order(row)
        return np.arange(start, stop)

    def _add_out_of_order(self, row: int) -> None:
        if row <= self._largest:
            self.kill([row])
            self._moved[row] = self.size
        self._largest = max(self._largest, row)
        self._rows[self.size] = row
        self._search_keys[self.size] = self._largest
        self.size += 1

    def kill(self, rows: Iterable[int]) -> None:
        """The rows are gone; unknown ones are ignored."""
        slots = self.find(np.fromiter(rows, np.int64))
        self.dead.update(slots[slots != UNKNOWN].tolist())

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

    def rows(self, slots: NDArray[np.uint32]) -> NDArray[np.int64]:
        """The row behind each slot, int64 [n], in the order of the slots."""
        return self._rows[slots]

    def rows_in(self, slots: BitMap) -> NDArray[np.int64]:
        """The rows behind slots, int64 [n], ascending."""
        rows = self._rows[np.array(slots.to_array(), np.uint32)]
        return np.sort(rows) if self._moved else rows

    def resident_bytes(self) -> int:
        """Bytes of memory held."""
        return (
            self._rows.nbytes * 2 + len(self._moved) * 100 + self.dead.get_statistics()["n_containers"] * 8192
        )
