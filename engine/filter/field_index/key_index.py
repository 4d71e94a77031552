"""The index of one payload key: its values, counts and nulls, as slots."""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.datetime_value import parse_microseconds
from nearfield.engine.filter.evaluate import is_datetime_range, is_null, range_bounds, value_count
from nearfield.engine.filter.field_index.sorted_values import SlotArray, SortedValues, Values, to_bitmap
from nearfield.engine.filter.text import words
from nearfield.engine.payload_path import Path, values_at

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_NOTHING = (1, 0)
"""Inclusive bounds that no value satisfies."""

Bounds = tuple[float | None, float | None, bool, bool]
"""low, high (None: open end), and whether each is exclusive."""


class _SlotList:
    """Slots in ascending order, with a bitmap of them made on demand."""

    def __init__(self) -> None:
        self._new = array("I")
        self._bitmap = BitMap()

    def append(self, slot: int) -> None:
        self._new.append(slot)

    def bitmap(self) -> BitMap:
        """Do not modify."""
        if self._new:
            self._bitmap |= BitMap(self._new)
            self._new = array("I")
        return self._bitmap


class KeyIndex:
    """What payloads have at one path. Answers may contain dead slots; values of any JSON type are taken in.

    Args:
        path: steps to the values.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.multiple = _SlotList()
        """Slots with several values."""
        self.valued = _SlotList()
        """Slots with a value that is not null, arrays being unpacked."""
        self._nulls = _SlotList()
        self._unmatchable = _SlotList()
        self._counts = SortedValues("q")
        self._integers = SortedValues("q")
        self._floats = SortedValues("d")
        self._booleans = SortedValues("q")
        # Strings, and integers beyond int64, by code: the order in which they first came.
        self._codes: dict[str | int, int] = {}
        self._coded = SortedValues("q")
        self._datetimes: SortedValues | None = None
        self._word_codes: dict[str, int] | None = None
        self._words = SortedValues("q")

    def add(self, slot: int, payload: Mapping[str, Any]) -> None:
        """Take in the payload of a new slot; slots come in ascending order."""
        values = values_at(payload, self.path)
        flat = 0
        for value in values:
            self._counts.append(value_count(value), slot)
            if is_null(value):
                self._nulls.append(slot)
            for scalar in value if isinstance(value, list) else (value,):
                if scalar is not None:
                    self._add_scalar(slot, scalar)
                    flat += 1
        if flat:
            self.valued.append(slot)
        if flat > 1:
            self.multiple.append(slot)

    def _add_scalar(self, slot: int, value: Any) -> None:
        if isinstance(value, str):
            self._add_coded(slot, value)
            if self._datetimes is not None:
                microseconds = parse_microseconds(value)
                if microseconds is not None:
                    self._datetimes.append(microseconds, slot)
            if self._word_codes is not None:
                self._add_words(value, (slot,))
        elif isinstance(value, bool):
            self._booleans.append(value, slot)
        elif isinstance(value, int):
            if _INT64_MIN <= value <= _INT64_MAX:
                self._integers.append(value, slot)
            else:
                self._add_coded(slot, value)
                self._floats.append(float(value), slot)
        else:
            self._unmatchable.append(slot)
            if isinstance(value, float):
                self._floats.append(value, slot)

    def _add_coded(self, slot: int, value: str | int) -> None:
        self._coded.append(self._codes.setdefault(value, len(self._codes)), slot)

    # -- conditions ------------------------------------------------------------------------------

    def equal(self, wanted: Iterable[expr.Scalar]) -> BitMap:
        """Slots with a value equal to one of these."""
        found = [column.among(values) for column, values in self._columns(wanted)]
        return to_bitmap(np.concatenate(found)) if len(found) != 1 else to_bitmap(found[0])

    def count_equal(self, wanted: Iterable[expr.Scalar]) -> int:
        """Number of values equal to one of these; dead slots counted."""
        return sum(column.count_among(values) for column, values in self._columns(wanted))

    def differing(self, unwanted: Iterable[expr.Scalar]) -> BitMap:
        """Slots with a value, not null, that equals none of these."""
        columns = self._columns(unwanted)
        hit = BitMap.union(BitMap(), *(to_bitmap(column.among(values)) for column, values in columns))
        differing = self.valued.bitmap() - hit
        doubtful = hit & self.multiple.bitmap()
        if doubtful:
            others = [to_bitmap(column.outside(values)) for column, values in columns]
            differing |= doubtful & BitMap.union(self._unmatchable.bitmap(), *others)
        return differing

    def in_range(self, condition: expr.Range) -> BitMap:
        """Slots with a number, or datetime, in the range."""
        found = [column.between(*bounds) for column, bounds in self._range_columns(condition)]
        return to_bitmap(np.concatenate(found))

    def count_in_range(self, condition: expr.Range) -> int:
        """Number of values in the range; dead slots counted."""
        return sum(column.count_between(*bounds) for column, bounds in self._range_columns(condition))

    def null(self) -> BitMap:
        """Slots with a null, or an array that has one. Do not modify."""
        return self._nulls.bitmap()

    def empty(self, live: BitMap) -> BitMap:
        """Live slots without a value, or with nulls and empty arrays only."""
        return live - to_bitmap(self._counts.between(1, None, False, False))

    def value_counts(self, condition: expr.ValuesCount, zero_holds: bool, live: BitMap) -> BitMap:
        """Slots with a value whose count is in the bounds; `zero_holds`: whether a missing key qualifies."""
        bounds = _integer_bounds((condition.gt, condition.gte, condition.lt, condition.lte))
        found = to_bitmap(self._counts.between(*bounds))
        if zero_holds:
            found |= live - to_bitmap(self._counts.pairs()[1])
        return found

    def starting_with(self, prefix: str) -> BitMap:
        """Slots with a string that starts with the prefix."""
        return self._strings_where(lambda string: string.startswith(prefix))

    def containing(self, substring: str) -> BitMap:
        """Slots with a string that contains the substring."""
        return self._strings_where(lambda string: substring in string)

    def with_words(self, wanted: Iterable[str], any_word: bool = False) -> BitMap:
        """Slots with all (or any) of the words, not necessarily in one and the same string."""
        columns = [self._word_slots(word) for word in wanted]
        if not columns:
            return BitMap()
        bitmaps = [to_bitmap(slots) for slots in columns]
        return BitMap.union(*bitmaps) if any_word else BitMap.intersection(*bitmaps)

    # -- orders ----------------------------------------------------------------------------------

    def ordered_parts(self) -> list[tuple[Values, SlotArray]]:
        """(values, slots) of integers, floats, and datetimes as microseconds, each in no order."""
        return [self._integers.pairs(), self._floats.pairs(), self._datetime_column().pairs()]

    def resident_bytes(self) -> int:
        """Bytes of memory held, roughly."""
        columns = [self._counts, self._integers, self._floats, self._booleans, self._coded, self._words]
        strings = (
            sum(60 + len(value) for value in self._codes if isinstance(value, str)) + len(self._codes) * 90
        )
        return sum(column.resident_bytes() for column in columns) + strings

    # -- columns ---------------------------------------------------------------------------------

    def _columns(self, wanted: Iterable[expr.Scalar]) -> list[tuple[SortedValues, NDArray[np.int64]]]:
        """All columns of matchable values, each with those of the wanted values it may hold."""
        integers: set[int] = set()
        booleans: set[int] = set()
        codes: set[int] = set()
        for value in wanted:
            if isinstance(value, bool):
                booleans.add(int(value))
            elif isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX:
                integers.add(value)
            elif value in self._codes:
                codes.add(self._codes[value])
        return [
            (self._integers, np.fromiter(integers, np.int64)),
            (self._booleans, np.fromiter(booleans, np.int64)),
            (self._coded, np.fromiter(codes, np.int64)),
        ]

    def _range_columns(self, condition: expr.Range) -> list[tuple[SortedValues, Bounds]]:
        bounds = range_bounds(condition)
        if is_datetime_range(condition):
            return [(self._datetime_column(), _integer_bounds(bounds))]
        return [(self._integers, _integer_bounds(bounds)), (self._floats, _float_bounds(bounds))]

    def _strings_where(self, holds: Callable[[str], bool]) -> BitMap:
        codes = [code for string, code in self._codes.items() if isinstance(string, str) and holds(string)]
        return to_bitmap(self._coded.among(np.array(codes, np.int64)))

    def _datetime_column(self) -> SortedValues:
        """Made at first use: most strings are never asked about as datetimes."""
        if self._datetimes is None:
            parsed = [parse_microseconds(value) if isinstance(value, str) else None for value in self._codes]
            codes, slots = self._coded.pairs()
            order = np.argsort(slots, kind="stable")
            self._datetimes = SortedValues("q")
            for code, slot in zip(codes[order].tolist(), slots[order].tolist(), strict=True):
                microseconds = parsed[code]
                if microseconds is not None:
                    self._datetimes.append(microseconds, slot)
        return self._datetimes

    def _word_slots(self, word: str) -> SlotArray:
        """Made at first use, as the datetimes are."""
        if self._word_codes is None:
            self._word_codes = {}
            slots_of: list[list[int]] = [[] for _ in self._codes]
            codes, slots = self._coded.pairs()
            for code, slot in zip(codes.tolist(), slots.tolist(), strict=True):
                slots_of[code].append(slot)
            for string, code in self._codes.items():
                if isinstance(string, str):
                    self._add_words(string, slots_of[code])
        code_of_word = self._word_codes.get(word)
        return self._words.among(np.array([] if code_of_word is None else [code_of_word], np.int64))

    def _add_words(self, string: str, slots: Iterable[int]) -> None:
        assert self._word_codes is not None
        for word in set(words(string)):
            code = self._word_codes.setdefault(word, len(self._word_codes))
            for slot in slots:
                self._words.append(code, slot)


def _float_bounds(bounds: tuple[float | None, float | None, float | None, float | None]) -> Bounds:
    """One bound each side from gt, gte, lt, lte."""
    gt, gte, lt, lte = bounds
    low, low_open = (gt, True) if gte is None or (gt is not None and gt >= gte) else (gte, False)
    high, high_open = (lt, True) if lte is None or (lt is not None and lt <= lte) else (lte, False)
    return low, high, low_open, high_open


def _integer_bounds(bounds: tuple[float | None, float | None, float | None, float | None]) -> Bounds:
    """The same for integer values, exactly: inclusive int64 bounds."""
    low, high, low_open, high_open = _float_bounds(bounds)
    least = greatest = None
    if low is not None and low >= _INT64_MIN:
        if low > _INT64_MAX - low_open:
            return (*_NOTHING, False, False)
        least = math.floor(low) + 1 if low_open else math.ceil(low)
    if high is not None and high <= _INT64_MAX:
        if high < _INT64_MIN + high_open:
            return (*_NOTHING, False, False)
        greatest = math.ceil(high) - 1 if high_open else math.floor(high)
    return least, greatest, False, False
