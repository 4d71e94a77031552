"""A filter as bitmap algebra over key indexes: bitmaps of slots, all of one length, never modified once made.

Every condition becomes a pair of bitmaps: slots that certainly satisfy it, and slots that possibly do. Most
conditions are decided by the indexes, and both are one. For the others, payloads decide the difference, once
it is known which slots the rest of the filter leaves in doubt.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import nested_array_path
from nearfield.engine.filter.field_index.key_index import KeyIndex
from nearfield.engine.filter.text import words
from nearfield.engine.payload_path import Path, parse_path
from nearfield.engine.segment import bitmap

Leaf = expr.FieldCondition | expr.HasId | expr.HasVector | expr.Nested

_FLATTENED = (
    expr.MatchValue, expr.MatchAny, expr.MatchExcept, expr.MatchText, expr.MatchPhrase, expr.MatchPrefix,
    expr.MatchSubstring, expr.Range,
)  # fmt: skip
"""Conditions on one value: they hold for some object of an array if and only if they hold along the path."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Slots that certainly and that possibly satisfy a condition; `certain` is a subset of `possible`.

    Both are one and the same object where the indexes decide the condition.
    """

    certain: bitmap.Words
    possible: bitmap.Words

    @property
    def is_exact(self) -> bool:
        """Whether nothing is in doubt."""
        return self.certain is self.possible


def leaves(filter: expr.Filter) -> Iterator[Leaf]:
    """All conditions of a filter that are not filters themselves; not those inside nested ones."""
    groups = (
        filter.must,
        filter.should,
        filter.must_not,
        filter.min_should.conditions if filter.min_should else (),
    )
    for group in groups:
        for condition in group:
            if isinstance(condition, expr.Filter):
                yield from leaves(condition)
            else:
                yield condition


def paths(leaves: Iterable[Leaf]) -> set[Path]:
    """The payload paths whose indexes are needed to answer a filter of these leaves."""
    found: set[Path] = set()
    for leaf in leaves:
        if isinstance(leaf, expr.Nested):
            found |= {path for path, _ in flattened(leaf)}
        elif not isinstance(leaf, expr.HasId | expr.HasVector):
            found.add(parse_path(leaf.key))
    return found


def flattened(nested: expr.Nested) -> list[tuple[Path, expr.Match | expr.Range]]:
    """Conditions, by their path from the top, that every match of a nested condition satisfies."""
    array = (*nested_array_path(nested.key), None)
    return [
        ((*array, *parse_path(condition.key)), condition)
        for condition in nested.filter.must
        if isinstance(condition, _FLATTENED)
    ]


def field_outcome(
    condition: Leaf, indexes: Mapping[Path, KeyIndex], live: bitmap.Words, size: int
) -> Outcome:
    """What the indexes know about a condition on payloads.

    Args:
        indexes: of all `paths` of the filter.
        live: all live slots.
        size: number of slots.
    """
    if isinstance(condition, expr.Nested):
        return _nested_outcome(condition, indexes, live, size)
    assert not isinstance(condition, expr.HasId | expr.HasVector)
    return _outcome_at(condition, indexes[parse_path(condition.key)], live, size)


def satisfying(
    filter: expr.Filter, of_leaf: Callable[[Leaf], Outcome], live: bitmap.Words, possibly: bool
) -> bitmap.Words:
    """The live slots that certainly, or possibly, satisfy a filter, from the outcomes of its leaves."""

    def of(condition: expr.Condition, possibly: bool) -> bitmap.Words:
        if isinstance(condition, expr.Filter):
            return satisfying(condition, of_leaf, live, possibly)
        outcome = of_leaf(condition)
        return outcome.possible if possibly else outcome.certain

    found = live.copy()
    for condition in filter.must:
        found &= of(condition, possibly)
    for condition in filter.must_not:
        found &= ~of(condition, not possibly)
    if filter.should:
        found &= bitmap.union([of(condition, possibly) for condition in filter.should])
    if filter.min_should is not None:
        parts = [of(condition, possibly) for condition in filter.min_should.conditions]
        found &= _in_at_least(filter.min_should.min_count, parts, len(live))
    return found


def _in_at_least(count: int, bitmaps: list[bitmap.Words], word_count: int) -> bitmap.Words:
    """Slots that are in `count` or more of the bitmaps."""
    # reached[i]: slots in more than i of the bitmaps seen so far.
    reached = [np.zeros(word_count, dtype=np.uint64) for _ in range(min(count, len(bitmaps) + 1))]
    for slots in bitmaps:
        for i in range(len(reached) - 1, 0, -1):
            reached[i] |= reached[i - 1] & slots
        reached[0] |= slots
    return reached[-1]


def _exactly(slots: bitmap.Words) -> Outcome:
    return Outcome(slots, slots)


def _nested_outcome(
    nested: expr.Nested, indexes: Mapping[Path, KeyIndex], live: bitmap.Words, size: int
) -> Outcome:
    parts = [_outcome_at(condition, indexes[path], live, size) for path, condition in flattened(nested)]
    if nested.filter == expr.Filter(must=nested.filter.must) and len(parts) == len(nested.filter.must) == 1:
        return parts[0]
    return Outcome(bitmap.empty(size), bitmap.intersection([live, *(part.possible for part in parts)]))


def _outcome_at(condition: expr.FieldCondition, index: KeyIndex, live: bitmap.Words, size: int) -> Outcome:
    match condition:
        case expr.MatchValue(_, value):
            return _exactly(index.equal((value,), size))
        case expr.MatchAny(_, values):
            return _exactly(index.equal(values, size))
        case expr.MatchExcept(_, values):
            return _exactly(index.differing(values, size))
        case expr.Range():
            return _exactly(index.in_range(condition, size))
        case expr.ValuesCount():
            return _exactly(index.value_counts(condition, live, size))
        case expr.IsEmpty():
            return _exactly(index.empty(live, size))
        case expr.IsNull():
            return _exactly(index.null(size))
        case expr.MatchPrefix(_, prefix):
            return _exactly(index.with_string(lambda string: string.startswith(prefix), size))
        case expr.MatchSubstring(_, substring):
            return _exactly(index.with_string(lambda string: substring in string, size))
        case expr.MatchText(_, text, any_word):
            wanted = words(text)
            found = index.with_words(wanted, size, any_word)
            if any_word or len(wanted) == 1:
                return _exactly(found)
            # The words must stand in one string: certain only where there is but one.
            return Outcome(found & ~index.multiple.words(size), found)
        case expr.MatchPhrase(_, phrase):
            wanted = words(phrase)
            found = index.with_words(wanted, size)
            return _exactly(found) if len(wanted) == 1 else Outcome(bitmap.empty(size), found)
