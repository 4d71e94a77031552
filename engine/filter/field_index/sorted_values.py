"""Values of one key with the slots that have them, kept sorted by value."""

from array import array
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from nearfield.engine.filter.field_index.bounds import Bounds

Values = NDArray[Any]
SlotArray = NDArray[np.uint32]

_MERGE_ROWS_MIN = 8_192
_MERGE_SHARE = 1 / 8
# Marking slots in an array of all slots beats sorting them while they are not much fewer.
_MARK_SHARE = 32


def to_bitmap(slots: SlotArray) -> BitMap:
    """A bitmap of slots in any order."""
    if len(slots) > 1 and np.any(slots[1:] < slots[:-1]):
        slots = _sorted(slots)
    # Roaring reads an array.array at memory speed, a numpy array element by element.
    return BitMap(array("I", slots.tobytes()))


def _sorted(slots: SlotArray) -> SlotArray:
    """The distinct slots, ascending."""
    size = int(slots.max()) + 1
    if size > _MARK_SHARE * len(slots):
        return np.sort(slots)
    marked = np.zeros(size, bool)
    marked[slots] = True
    return np.flatnonzero(marked).astype(np.uint32)


class SortedValues:
    """(value, slot) pairs: appended in any order of values, sorted when next asked about.

    A small sorted tier takes what is new: an append between two questions does not cost a merge of all.

    Args:
        typecode: `q` for int64 values, `d` for float64.
    """

    def __init__(self, typecode: Literal["q", "d"]) -> None:
        self._typecode = typecode
        self._new_values = array(typecode)
        self._new_slots = array("I")
        self._tiers: list[tuple[Values, SlotArray]] = []

    def append(self, value: float, slot: int) -> None:
        """Add a pair; slots come in ascending order."""
        self._new_values.append(value)  # type: ignore[arg-type]
        self._new_slots.append(slot)

    def extend(self, values: Values, slots: NDArray[Any]) -> None:
        """Add many pairs."""
        self._new_values.frombytes(values.astype(self._typecode, copy=False).tobytes())
        self._new_slots.frombytes(slots.astype(np.uint32, copy=False).tobytes())

    def between(self, bounds: Bounds) -> SlotArray:
        """Slots of the values inside bounds, uint32, in no order."""
        low, high, low_open, high_open = bounds
        found = [np.empty(0, np.uint32)]
        for values, slots in self._settled():
            start = 0 if low is None else int(np.searchsorted(values, low, "right" if low_open else "left"))
            stop = len(values)
            if high is not None:
                stop = int(np.searchsorted(values, high, "left" if high_open else "right"))
            found.append(slots[start:stop])
        return found[1] if len(found) == 2 else np.concatenate(found)

    def among(self, values: Values) -> SlotArray:
        """Slots of the given values, uint32, in no order."""
        found = [np.empty(0, np.uint32)]
        for tier_values, slots in self._settled():
            starts = np.searchsorted(tier_values, values, "left")
            stops = np.searchsorted(tier_values, values, "right")
            found += [slots[start:stop] for start, stop in zip(starts, stops, strict=True) if start < stop]
        return found[1] if len(found) == 2 else np.concatenate(found)

    def outside(self, values: Values) -> SlotArray:
        """Slots of all values but the given ones, uint32, in no order."""
        found = [np.empty(0, np.uint32)]
        for tier_values, slots in self._settled():
            kept = np.ones(len(slots), bool)
            starts = np.searchsorted(tier_values, values, "left")
            stops = np.searchsorted(tier_values, values, "right")
            for start, stop in zip(starts, stops, strict=True):
                kept[start:stop] = False
            found.append(slots[kept])
        return np.concatenate(found)

    def pairs(self) -> tuple[Values, SlotArray]:
        """All values and their slots, in no order."""
        tiers = self._settled()
        values = [values for values, _ in tiers] + [np.empty(0, self._typecode)]
        return np.concatenate(values), np.concatenate(
            [slots for _, slots in tiers] + [np.empty(0, np.uint32)]
        )

    def __len__(self) -> int:
        return len(self._new_slots) + sum(len(slots) for _, slots in self._tiers)

    def resident_bytes(self) -> int:
        """Bytes of memory held."""
        return len(self) * 12

    def _settled(self) -> list[tuple[Values, SlotArray]]:
        if self._new_slots:
            values = np.frombuffer(self._new_values, self._typecode)
            slots = np.frombuffer(self._new_slots, np.uint32)
            order = np.argsort(values, kind="stable")
            newest = (values[order], slots[order])
            if len(self._tiers) == 2:
                newest = _merged(self._tiers.pop(), newest)
            base_size = len(self._tiers[0][1]) if self._tiers else 0
            if base_size and len(newest[1]) > max(_MERGE_ROWS_MIN, base_size * _MERGE_SHARE):
                newest = _merged(self._tiers.pop(), newest)
            self._tiers.append(newest)
            self._new_values, self._new_slots = array(self._typecode), array("I")
        return self._tiers


def _merged(older: tuple[Values, SlotArray], newer: tuple[Values, SlotArray]) -> tuple[Values, SlotArray]:
    """Both tiers as one; equal values keep the order of their slots."""
    values = np.concatenate([older[0], newer[0]])
    order = np.argsort(values, kind="stable")
    return values[order], np.concatenate([older[1], newer[1]])[order]
