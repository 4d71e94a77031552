"""Values of one key with the slots that have them, sorted by value; answers are bits of a bitmap of slots."""

from array import array
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.filter.field_index.bounds import Bounds
from nearfield.engine.segment.bitmap import Words

Values = NDArray[Any]
SlotArray = NDArray[np.uint32]
Codes = NDArray[Any]
"""uint8, uint16 or uint32."""

_MERGE_ROWS_MIN: Final = 8_192
_MERGE_SHARE: Final = 1 / 8
_LISTED_BYTES: Final = 32
"""Bytes of codes that are compared in the time in which one slot's bit is set (measured: decision 0032)."""
_FEW_VALUES: Final = 8
_CODE_TYPES: Final = (np.uint8, np.uint16, np.uint32)


class _Tier:
    """Values with slots, sorted; immutable but for the codes, which are made when first needed.

    The code of a slot is the number of its value among the distinct ones: a range of values is a range of
    codes, whatever the values are.

    Args:
        values: ascending, [n].
        slots: uint32 [n]; those of one value in ascending order.
    """

    def __init__(self, values: Values, slots: SlotArray) -> None:
        changes = np.flatnonzero(values[1:] != values[:-1]) + 1
        self.slots = slots
        starts = np.concatenate([[0], changes, [len(slots)]])
        self.starts: NDArray[Any] = starts.astype(np.int32 if len(slots) < 2**31 else np.int64)
        """[d + 1]: where the slots of each distinct value begin."""
        self.values = values[starts[:-1]]
        """The distinct values [d], ascending."""
        # Codes begin at the first slot of a word of a bitmap.
        self._first_word = int(slots.min()) // 64
        self._span = int(slots.max()) + 1 - self._first_word * 64
        self._type = next(kind for kind in _CODE_TYPES if len(self.values) <= np.iinfo(kind).max)
        self._codes_bytes = self._span * np.dtype(self._type).itemsize
        self._codes: Codes | None = None
        self._has_codes = True

    def pairs(self) -> tuple[Values, SlotArray]:
        """All values, ascending, and their slots."""
        return np.repeat(self.values, np.diff(self.starts)), self.slots

    def mark(self, first: int, last: int, words: Words) -> None:
        """Set the bits of the slots of the distinct values from number `first` to before `last`."""
        start, stop = self.starts.item(first), self.starts.item(last)
        if start >= stop:
            return
        if self._has_codes and (stop - start) * _LISTED_BYTES > self._codes_bytes:
            codes = self._slot_codes()
            if codes is not None:
                _native.mark_range(words[self._first_word :], codes, first, last - first)
                return
        _native.set_bits(words, self.slots[start:stop])

    def mark_ranges(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64], words: Words) -> None:
        """`mark` of several ranges."""
        if len(firsts) <= _FEW_VALUES:
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
                self.mark(first, last, words)
            return
        starts = self.starts[firsts]
        lengths = (self.starts[lasts] - starts).astype(np.int64)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        _native.set_bits(words, self.slots[np.repeat(starts, lengths) + within])

    def resident_bytes(self) -> int:
        """Bytes of memory held."""
        codes = 0 if self._codes is None else self._codes.nbytes
        return int(self.slots.nbytes + self.starts.nbytes + self.values.nbytes + codes)

    def _slot_codes(self) -> Codes | None:
        """The code of each slot, the largest number for those without a value; None if one has several."""
        if self._codes is None:
            none = np.iinfo(self._type).max
            codes: Codes = np.full(self._span, none, self._type)
            numbers = np.repeat(np.arange(len(self.values), dtype=self._type), np.diff(self.starts))
            codes[self.slots - self._first_word * 64] = numbers
            self._has_codes = int(np.count_nonzero(codes != none)) == len(self.slots)
            self._codes = codes if self._has_codes else None
        return self._codes


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
        self._tiers: list[_Tier] = []

    def append(self, value: float, slot: int) -> None:
        """Add a pair; slots come in ascending order."""
        self._new_values.append(value)  # type: ignore[arg-type]
        self._new_slots.append(slot)

    def extend(self, values: Values, slots: NDArray[Any]) -> None:
        """Add many pairs."""
        self._new_values.frombytes(values.astype(self._typecode, copy=False).tobytes())
        self._new_slots.frombytes(slots.astype(np.uint32, copy=False).tobytes())

    def mark_between(self, bounds: Bounds, words: Words) -> None:
        """Set the bits of the slots that have a value inside bounds."""
        low, high, low_open, high_open = bounds
        for tier in self._settled():
            values = tier.values
            first = 0 if low is None else int(values.searchsorted(low, "right" if low_open else "left"))
            last = len(values)
            if high is not None:
                last = int(values.searchsorted(high, "left" if high_open else "right"))
            tier.mark(first, max(first, last), words)

    def mark_among(self, wanted: Sequence[int], words: Words) -> None:
        """Set the bits of the slots that have one of the wanted values."""
        for tier in self._settled():
            values = tier.values
            if len(wanted) > _FEW_VALUES:
                asked = np.array(wanted, self._typecode)
                tier.mark_ranges(values.searchsorted(asked), values.searchsorted(asked, "right"), words)
                continue
            for value in wanted:
                number = int(values.searchsorted(value))
                if number < len(values) and values.item(number) == value:
                    tier.mark(number, number + 1, words)

    def mark_outside(self, unwanted: Sequence[int], words: Words) -> None:
        """Set the bits of the slots that have another value than the unwanted ones."""
        ordered = np.array(sorted(unwanted), self._typecode)
        for tier in self._settled():
            values = tier.values
            firsts = np.concatenate([[0], values.searchsorted(ordered, "right")])
            lasts = np.append(values.searchsorted(ordered, "left"), len(values))
            # A value that is unwanted twice would make a range that ends before it begins.
            tier.mark_ranges(firsts, np.maximum(firsts, lasts), words)

    def pairs(self) -> tuple[Values, SlotArray]:
        """All values and their slots, in no order."""
        parts = [tier.pairs() for tier in self._settled()]
        parts.append((np.empty(0, self._typecode), np.empty(0, np.uint32)))
        return np.concatenate([values for values, _ in parts]), np.concatenate([slots for _, slots in parts])

    def __len__(self) -> int:
        return len(self._new_slots) + sum(len(tier.slots) for tier in self._tiers)

    def resident_bytes(self) -> int:
        """Bytes of memory held."""
        return len(self._new_slots) * 12 + sum(tier.resident_bytes() for tier in self._tiers)

    def _settled(self) -> list[_Tier]:
        if self._new_slots:
            pairs = [
                (np.frombuffer(self._new_values, self._typecode), np.frombuffer(self._new_slots, np.uint32))
            ]
            if len(self._tiers) == 2:
                pairs.insert(0, self._tiers.pop().pairs())
            base_size = len(self._tiers[0].slots) if self._tiers else 0
            size = sum(len(slots) for _, slots in pairs)
            if base_size and size > max(_MERGE_ROWS_MIN, base_size * _MERGE_SHARE):
                pairs.insert(0, self._tiers.pop().pairs())
            self._tiers.append(_sorted(pairs))
            self._new_values, self._new_slots = array(self._typecode), array("I")
        return self._tiers


def _sorted(pairs: list[tuple[Values, SlotArray]]) -> _Tier:
    """All pairs, of older parts first, as one tier; equal values keep the order of their slots."""
    values = np.concatenate([values for values, _ in pairs])
    order = np.argsort(values, kind="stable")
    return _Tier(values[order], np.concatenate([slots for _, slots in pairs])[order])
