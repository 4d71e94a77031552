"""The filter expression tree, with the semantics of the wire format's documentation: a key may be a dotted
path, `a[]` steps into every element of an array, a condition on an array holds if it holds for any element.

A tree is immutable and, built with tuples as `parse_filter` does, hashable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Union

from nearfield.engine.point import PointId

Scalar = str | int | bool


def _same(values: Sequence[Scalar], others: Sequence[Scalar]) -> bool:
    """Equality of operands: Python's 1 and True are equal, those of JSON are not."""
    return values == others and list(map(type, values)) == list(map(type, others))


@dataclass(frozen=True)
class MatchValue:
    """The field equals one value; booleans, integers and floats differ: 1 is neither 1.0 nor true."""

    key: str
    value: Scalar

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MatchValue) and self.key == other.key and _same((self.value,), (other.value,))
        )

    def __hash__(self) -> int:
        return hash((self.key, type(self.value), self.value))


@dataclass(frozen=True)
class MatchAny:
    """The field equals any of the values."""

    key: str
    values: Sequence[Scalar]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MatchAny) and self.key == other.key and _same(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.key, self.values))


@dataclass(frozen=True)
class MatchExcept:
    """The field has a value, not null, that is none of these."""

    key: str
    values: Sequence[Scalar]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MatchExcept) and self.key == other.key and _same(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.key, self.values))


@dataclass(frozen=True)
class MatchText:
    """The field's text has all words of the given text, in any order (`any_word`: at least one of them).

    Words are runs of letters and digits, compared without case. A text without words matches nothing.
    """

    key: str
    text: str
    any_word: bool = False


@dataclass(frozen=True)
class MatchPhrase:
    """The field's text has the words of the phrase one after the other."""

    key: str
    phrase: str


@dataclass(frozen=True)
class MatchPrefix:
    """The field is a string that starts with the prefix, case and all."""

    key: str
    prefix: str


@dataclass(frozen=True)
class MatchSubstring:
    """The field is a string that contains the given one, case and all."""

    key: str
    substring: str


@dataclass(frozen=True)
class Range:
    """The field is a number inside the bounds; when these are datetimes, a datetime string inside them.

    A None bound is open. Datetimes without a time zone are UTC, in bounds and in payloads.
    """

    key: str
    gt: float | datetime | None = None
    gte: float | datetime | None = None
    lt: float | datetime | None = None
    lte: float | datetime | None = None


@dataclass(frozen=True)
class ValuesCount:
    """The field's number of values is inside the bounds: an array's length, 0 for null or none, else 1."""

    key: str
    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


@dataclass(frozen=True)
class IsEmpty:
    """The field is missing, null or an empty array."""

    key: str


@dataclass(frozen=True)
class IsNull:
    """The field is there and null (or an array with a null element)."""

    key: str


@dataclass(frozen=True)
class HasId:
    """The point's id is one of these."""

    ids: Sequence[PointId]


@dataclass(frozen=True)
class HasVector:
    """The point has a vector of this name."""

    name: str


@dataclass(frozen=True)
class Nested:
    """One and the same object of the array at `key` satisfies the filter, whose keys begin at that object.

    Inside, `HasId` and `HasVector` hold for nothing.
    """

    key: str
    filter: "Filter"


Match = MatchValue | MatchAny | MatchExcept | MatchText | MatchPhrase | MatchPrefix | MatchSubstring
FieldCondition = Match | Range | ValuesCount | IsEmpty | IsNull
Condition = Union[FieldCondition, HasId, HasVector, Nested, "Filter"]


@dataclass(frozen=True)
class MinShould:
    """At least `min_count` of the conditions hold."""

    conditions: Sequence[Condition]
    min_count: int


@dataclass(frozen=True)
class Filter:
    """All of `must`, any of `should` (when there are any), none of `must_not`, and `min_should`."""

    must: Sequence[Condition] = ()
    should: Sequence[Condition] = ()
    must_not: Sequence[Condition] = ()
    min_should: MinShould | None = None
