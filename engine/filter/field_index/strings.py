"""The strings of one key with the slots that have them, also as datetimes and by word."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.filter.datetime_value import parse_microseconds
from nearfield.engine.filter.field_index.sorted_values import SlotArray, SortedValues
from nearfield.engine.filter.text import words
from nearfield.engine.segment import bitmap

T = TypeVar("T", str, int)


class CodedValues(Generic[T]):
    """(value, slot) pairs of values without an order: each is a code, counted as values first come."""

    def __init__(self) -> None:
        self.codes: dict[T, int] = {}
        self.pairs = SortedValues("q")

    def append(self, value: T, slot: int) -> None:
        """Add a pair; slots come in ascending order."""
        self.pairs.append(self.codes.setdefault(value, len(self.codes)), slot)

    def extend(self, values: Sequence[T], slots: NDArray[np.int64]) -> None:
        """Add many pairs."""
        codes = self.codes
        self.pairs.extend(
            np.array([codes.setdefault(value, len(codes)) for value in values], np.int64), slots
        )

    def codes_of(self, values: Iterable[T]) -> list[int]:
        """Codes of those values that there are."""
        return [self.codes[value] for value in values if value in self.codes]

    def resident_bytes(self) -> int:
        """Bytes of memory held, roughly."""
        return self.pairs.resident_bytes() + sum(150 + len(str(value)) for value in self.codes)


class Strings(CodedValues[str]):
    """Strings; datetimes and words are looked for in them from the first time they are asked about."""

    def __init__(self) -> None:
        super().__init__()
        self._datetimes: SortedValues | None = None
        self._words: CodedValues[str] | None = None

    def append(self, value: str, slot: int) -> None:
        """Add a pair; slots come in ascending order."""
        super().append(value, slot)
        if self._datetimes is not None:
            microseconds = parse_microseconds(value)
            if microseconds is not None:
                self._datetimes.append(microseconds, slot)
        if self._words is not None:
            for word in set(words(value)):
                self._words.append(word, slot)

    def extend(self, values: Sequence[str], slots: NDArray[np.int64]) -> None:
        """Add many pairs."""
        if self._datetimes is None and self._words is None:
            super().extend(values, slots)
        else:
            for value, slot in zip(values, slots.tolist(), strict=True):
                self.append(value, slot)

    def where(self, holds: Callable[[str], bool], size: int) -> bitmap.Words:
        """Slots with a string for which a predicate holds, of `size` slots."""
        found = bitmap.empty(size)
        self.pairs.mark_among(self.codes_of(filter(holds, self.codes)), found)
        return found

    def with_words(self, wanted: Iterable[str], any_word: bool, size: int) -> bitmap.Words:
        """Slots with all (or any) of the words, not necessarily in one and the same string."""
        column = self._word_column()
        if any_word:
            found = bitmap.empty(size)
            column.pairs.mark_among(column.codes_of(wanted), found)
            return found
        each = []
        for word in wanted:
            each.append(bitmap.empty(size))
            column.pairs.mark_among(column.codes_of((word,)), each[-1])
        return bitmap.intersection(each) if each else bitmap.empty(size)

    def datetimes(self) -> SortedValues:
        """Microseconds since 1970 UTC of the strings that are datetimes."""
        if self._datetimes is None:
            self._datetimes = SortedValues("q")
            parsed = [(code, parse_microseconds(value)) for value, code in self.codes.items()]
            moments = {code: moment for code, moment in parsed if moment is not None}
            repeats, slots = self._slots_of(np.array(list(moments), np.int64))
            self._datetimes.extend(np.repeat(np.array(list(moments.values()), np.int64), repeats), slots)
        return self._datetimes

    def resident_bytes(self) -> int:
        """Bytes of memory held, roughly."""
        parts = [part for part in (self._datetimes, self._words) if part is not None]
        return super().resident_bytes() + sum(part.resident_bytes() for part in parts)

    def _word_column(self) -> CodedValues[str]:
        if self._words is None:
            self._words = CodedValues()
            numbers = self._words.codes
            found: list[int] = []
            counts = []
            for string in self.codes:
                own = [numbers.setdefault(word, len(numbers)) for word in set(words(string))]
                found += own
                counts.append(len(own))
            repeats, slots = self._slots_of(np.repeat(np.arange(len(counts)), counts))
            self._words.pairs.extend(np.repeat(np.array(found, np.int64), repeats), slots)
        return self._words

    def _slots_of(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], SlotArray]:
        """How many slots each code has, int64 [n], and these slots, one code after the other."""
        coded, slots = self.pairs.pairs()
        slots = slots[np.argsort(coded, kind="stable")]
        counts = np.bincount(coded, minlength=len(self.codes))
        starts = (np.cumsum(counts) - counts)[codes]
        repeats = counts[codes]
        within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        return repeats, slots[np.repeat(starts, repeats) + within]
