"""The filter expression tree.

Semantics are those of the wire format's documentation: a key may be a dotted path, `a[]` steps into every
element of an array, a scalar condition on an array holds if it holds for any element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Union

from nearfield.engine.point import PointId

Scalar = str | int | bool


@dataclass(frozen=True)
class MatchValue:
    """The field equals one value."""

    key: str
    value: Scalar


@dataclass(frozen=True)
class MatchAny:
    """The field equals any of the values."""

    key: str
    values: Sequence[Scalar]


@dataclass(frozen=True)
class MatchExcept:
    """The field has a value that is none of these."""

    key: str
    values: Sequence[Scalar]


@dataclass(frozen=True)
class MatchText:
    """The field's text contains the given text (`any_word`: any of its words)."""

    key: str
    text: str
    any_word: bool = False


@dataclass(frozen=True)
class Range:
    """The field is a number (with datetime bounds: a datetime) inside the bounds; a None bound is open."""

    key: str
    gt: float | datetime | None = None
    gte: float | datetime | None = None
    lt: float | datetime | None = None
    lte: float | datetime | None = None


@dataclass(frozen=True)
class ValuesCount:
    """The number of values of the field is inside the bounds."""

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
    """One and the same element of the object array at `key` satisfies the filter."""

    key: str
    filter: "Filter"


Condition = Union[
    MatchValue,
    MatchAny,
    MatchExcept,
    MatchText,
    Range,
    ValuesCount,
    IsEmpty,
    IsNull,
    HasId,
    HasVector,
    Nested,
    "Filter",
]


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
