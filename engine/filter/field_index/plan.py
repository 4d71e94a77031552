"""A filter as bitmap algebra over key indexes.

Every condition becomes a pair of bitmaps: slots that certainly satisfy it, and slots that possibly do. Most
conditions are decided by the indexes, and both are one. For the others, payloads decide the difference, once
it is known which slots the rest of the filter leaves in doubt.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pyroaring import BitMap

from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import nested_array_path
from nearfield.engine.filter.field_index.key_index import KeyIndex
from nearfield.engine.filter.text import words
from nearfield.engine.payload_path import Path, parse_path

Leaf = expr.FieldCondition | expr.HasId | expr.HasVector | expr.Nested

_FLATTENED = (
    expr.MatchValue, expr.MatchAny, expr.MatchExcept, expr.MatchText, expr.MatchPhrase, expr.MatchPrefix,
    expr.MatchSubstring, expr.Range,
)  # fmt: skip
"""Conditions on one value: they hold for some object of an array if and only if they hold along the path."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Slots that certainly and that possibly satisfy a condition; `certain` is a subset of `possible`."""

    certain: BitMap
    possible: BitMap


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


def paths(filter: expr.Filter) -> set[Path]:
    """The payload paths whose indexes are needed to answer a filter."""
    found: set[Path] = set()
    for leaf in leaves(filter):
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


def field_outcome(condition: Leaf, indexes: Mapping[Path, KeyIndex], live: BitMap) -> Outcome:
    """What the indexes know about a condition on payloads.

    Args:
        indexes: of all `paths` of the filter.
        live: all live slots.
    """
    if isinstance(condition, expr.Nested):
        return _nested_outcome(condition, indexes, live)
    assert not isinstance(condition, expr.HasId | expr.HasVector)
    return _outcome_at(condition, indexes[parse_path(condition.key)], live)


def filter_outcome(filter: expr.Filter, of_leaf: Callable[[Leaf], Outcome], live: BitMap) -> Outcome:
    """The outcome of a filter from those of its leaves, within the live slots."""

    def of(condition: expr.Condition) -> Outcome:
        if isinstance(condition, expr.Filter):
            return filter_outcome(condition, of_leaf, live)
        return of_leaf(condition)

    certain, possible = live, live
    for condition in filter.must:
        outcome = of(condition)
        certain, possible = certain & outcome.certain, possible & outcome.possible
    for condition in filter.must_not:
        outcome = of(condition)
        certain, possible = certain - outcome.possible, possible - outcome.certain
    at_least = [(filter.should, 1)] if filter.should else []
    if filter.min_should is not None:
        at_least.append((filter.min_should.conditions, filter.min_should.min_count))
    for conditions, count in at_least:
        outcomes = [of(condition) for condition in conditions]
        certain = certain & _in_at_least(count, [outcome.certain for outcome in outcomes])
        possible = possible & _in_at_least(count, [outcome.possible for outcome in outcomes])
    return Outcome(certain, possible)


def _in_at_least(count: int, bitmaps: list[BitMap]) -> BitMap:
    """Slots that are in `count` or more of the bitmaps."""
    if count > len(bitmaps):
        return BitMap()
    if count == 1:
        return BitMap.union(*bitmaps)
    # reached[i]: slots in more than i of the bitmaps seen so far.
    reached = [BitMap() for _ in range(count)]
    for bitmap in bitmaps:
        for i in range(count - 1, 0, -1):
            reached[i] |= reached[i - 1] & bitmap
        reached[0] |= bitmap
    return reached[-1]


def _exactly(slots: BitMap) -> Outcome:
    return Outcome(slots, slots)


def _nested_outcome(nested: expr.Nested, indexes: Mapping[Path, KeyIndex], live: BitMap) -> Outcome:
    parts = [_outcome_at(condition, indexes[path], live) for path, condition in flattened(nested)]
    if nested.filter == expr.Filter(must=nested.filter.must) and len(parts) == len(nested.filter.must) == 1:
        return parts[0]
    possible = live
    for part in parts:
        possible = possible & part.possible
    return Outcome(BitMap(), possible)


def _outcome_at(condition: expr.FieldCondition, index: KeyIndex, live: BitMap) -> Outcome:
    match condition:
        case expr.MatchValue(_, value):
            return _exactly(index.equal((value,)))
        case expr.MatchAny(_, values):
            return _exactly(index.equal(values))
        case expr.MatchExcept(_, values):
            return _exactly(index.differing(values))
        case expr.Range():
            return _exactly(index.in_range(condition))
        case expr.ValuesCount():
            return _exactly(index.value_counts(condition, live))
        case expr.IsEmpty():
            return _exactly(index.empty(live))
        case expr.IsNull():
            return _exactly(index.null())
        case expr.MatchPrefix(_, prefix):
            return _exactly(index.with_string(lambda string: string.startswith(prefix)))
        case expr.MatchSubstring(_, substring):
            return _exactly(index.with_string(lambda string: substring in string))
        case expr.MatchText(_, text, any_word):
            wanted = words(text)
            found = index.with_words(wanted, any_word)
            if any_word or len(wanted) == 1:
                return _exactly(found)
            # The words must stand in one string: certain only where there is but one.
            return Outcome(found - index.multiple.bitmap(), found)
        case expr.MatchPhrase(_, phrase):
            wanted = words(phrase)
            found = index.with_words(wanted)
            return _exactly(found) if len(wanted) == 1 else Outcome(BitMap(), found)
