"""The index of one payload key: its values, counts and nulls, as slots."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import (
    count_holds,
    is_datetime_range,
    is_null,
    range_bounds,
    value_count,
)
from nearfield.engine.filter.field_index.bounds import (
    INT64_MAX,
    INT64_MIN,
    Bounds,
    float_bounds,
    integer_bounds,
)
from nearfield.engine.filter.field_index.slots import SlotList
from nearfield.engine.filter.field_index.sorted_values import SlotArray, SortedValues, Values
from nearfield.engine.filter.field_index.strings import CodedValues, Strings
from nearfield.engine.payload_path import Path, values_at
from nearfield.engine.segment import bitmap


class KeyIndex:
    """What payloads have at one path; values of any JSON type are taken in.

    Answers are bitmaps of `size` slots, all there are. They may contain dead ones.

    Args:
        path: steps to the values.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.multiple = SlotList()
        """Slots with several values that are not null, arrays being unpacked."""
        # Slots whose only value is neither null nor an array; others that have such values; counts of others.
        self._single = SlotList()
        self._unpacked = SlotList()
        self._counts = SortedValues("q")
        self._nulls = SlotList()
        self._unmatchable = SlotList()
        self._integers = SortedValues("q")
        self._large_integers = CodedValues[int]()
        self._floats = SortedValues("d")
        self._booleans = SortedValues("q")
        self._strings = Strings()

    def add(self, slots: Sequence[int], payloads: Sequence[Mapping[str, Any]]) -> None:
        """Take in the payloads of new slots; slots come in ascending order."""
        pairs = zip(slots, payloads, strict=True)
        if len(self.path) > 1:
            for slot, payload in pairs:
                self._add_values(slot, values_at(payload, self.path))
            return
        name = self.path[0]
        assert isinstance(name, str), "a path begins with a key"
        found = [(slot, payload[name]) for slot, payload in pairs if name in payload]
        if not self._add_column([slot for slot, _ in found], [value for _, value in found]):
            for slot, value in found:
                self._add_values(slot, (value,))

    def _add_column(self, slots: list[int], values: list[Any]) -> bool:
        """The quick way for many strings, integers, or arrays of these; False if it is not open."""
        if set(map(type, values)) != {list}:
            if not self._add_alike(np.array(slots), values):
                return False
            self._single.extend(slots)
            return True
        lengths = np.array([len(value) for value in values])
        own = np.array(slots)
        if not self._add_alike(np.repeat(own, lengths), [element for value in values for element in value]):
            return False
        self._counts.extend(lengths, own)
        self._unpacked.extend(own[lengths > 0].tolist())
        self.multiple.extend(own[lengths > 1].tolist())
        return True

    def _add_alike(self, slots: NDArray[np.int64], values: list[Any]) -> bool:
        """Add values if they are all strings or all int64 integers."""
        kinds = set(map(type, values))
        if kinds == {str}:
            self._strings.extend(values, slots)
        elif kinds == {int} and min(values) >= INT64_MIN and max(values) <= INT64_MAX:
            self._integers.extend(np.array(values, np.int64), slots)
        else:
            return False
        return True

    def _add_values(self, slot: int, values: Sequence[Any]) -> None:
        if len(values) == 1 and values[0] is not None and not isinstance(values[0], list):
            self._single.append(slot)
            self._add_scalar(slot, values[0])
            return
        unpacked = 0
        for value in values:
            self._counts.append(value_count(value), slot)
            if is_null(value):
                self._nulls.append(slot)
            for scalar in value if isinstance(value, list) else (value,):
                if scalar is not None:
                    self._add_scalar(slot, scalar)
                    unpacked += 1
        if unpacked:
            self._unpacked.append(slot)
        if unpacked > 1:
            self.multiple.append(slot)

    def _add_scalar(self, slot: int, value: Any) -> None:
        if isinstance(value, str):
            self._strings.append(value, slot)
        elif isinstance(value, bool):
            self._booleans.append(value, slot)
        elif isinstance(value, int):
            if INT64_MIN <= value <= INT64_MAX:
                self._integers.append(value, slot)
            else:
                self._large_integers.append(value, slot)
                self._floats.append(float(value), slot)
        else:
            self._unmatchable.append(slot)
            if isinstance(value, float):
                self._floats.append(value, slot)

    def equal(self, wanted: Iterable[expr.Scalar], size: int) -> bitmap.Words:
        """Slots with a value equal to one of these."""
        found = bitmap.empty(size)
        for column, values in self._columns(wanted):
            if values:
                column.mark_among(values, found)
        return found

    def differing(self, unwanted: Iterable[expr.Scalar], size: int) -> bitmap.Words:
        """Slots with a value, not null, that equals none of these."""
        columns = self._columns(unwanted)
        hit = bitmap.empty(size)
        for column, values in columns:
            column.mark_among(values, hit)
        differing = (self._single.words(size) | self._unpacked.words(size)) & ~hit
        doubtful = hit & self.multiple.words(size)
        if doubtful.any():
            others = self._unmatchable.words(size).copy()
            for column, values in columns:
                column.mark_outside(values, others)
            differing |= doubtful & others
        return differing

    def in_range(self, condition: expr.Range, size: int) -> bitmap.Words:
        """Slots with a number, or datetime, in the range."""
        bounds = range_bounds(condition)
        found = bitmap.empty(size)
        if is_datetime_range(condition):
            self._strings.datetimes().mark_between(integer_bounds(*bounds), found)
        else:
            self._integers.mark_between(integer_bounds(*bounds), found)
            self._floats.mark_between(float_bounds(*bounds), found)
        return found

    def null(self, size: int) -> bitmap.Words:
        """Slots with a null, or an array that has one."""
        return self._nulls.words(size)

    def empty(self, live: bitmap.Words, size: int) -> bitmap.Words:
        """Live slots without a value, or with nulls and empty arrays only."""
        filled = self._single.words(size).copy()
        self._counts.mark_between(Bounds(1, None), filled)
        return live & ~filled

    def value_counts(self, condition: expr.ValuesCount, live: bitmap.Words, size: int) -> bitmap.Words:
        """Slots with a value whose count is in the bounds; a missing key counts 0."""
        found = bitmap.empty(size)
        bounds = integer_bounds(condition.gt, condition.gte, condition.lt, condition.lte)
        self._counts.mark_between(bounds, found)
        if count_holds(condition, 1):
            found |= self._single.words(size)
        if count_holds(condition, 0):
            counted = self._single.words(size).copy()
            self._counts.mark_between(Bounds(None, None), counted)
            found |= live & ~counted
        return found

    def with_string(self, holds: Callable[[str], bool], size: int) -> bitmap.Words:
        """Slots with a string for which a predicate holds; looks at every distinct string."""
        return self._strings.where(holds, size)

    def with_words(self, wanted: Iterable[str], size: int, any_word: bool = False) -> bitmap.Words:
        """Slots with all (or any) of the words, not necessarily in one and the same string."""
        return self._strings.with_words(wanted, any_word, size)

    def ordered_parts(self) -> list[tuple[Values, SlotArray]]:
        """(values, slots) of integers, floats, and datetimes as microseconds, each in no order."""
        return [self._integers.pairs(), self._floats.pairs(), self._strings.datetimes().pairs()]

    def resident_bytes(self) -> int:
        """Bytes of memory held, roughly."""
        columns = (self._counts, self._integers, self._floats, self._booleans)
        return self._strings.resident_bytes() + sum(column.resident_bytes() for column in columns)

    def _columns(self, wanted: Iterable[expr.Scalar]) -> list[tuple[SortedValues, list[int]]]:
        """All columns of matchable values, each with those of the wanted values it may hold."""
        by_kind: dict[type, list[Any]] = {bool: [], int: [], str: []}
        for value in wanted:
            by_kind[type(value)].append(value)
        integers = by_kind[int]
        return [
            (self._integers, [value for value in integers if INT64_MIN <= value <= INT64_MAX]),
            (self._large_integers.pairs, self._large_integers.codes_of(integers)),
            (self._booleans, by_kind[bool]),
            (self._strings.pairs, self._strings.codes_of(by_kind[str])),
        ]
