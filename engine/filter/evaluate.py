"""Whether one point satisfies a filter, straight from its payload: what every index has to agree with."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.datetime_value import parse_microseconds, to_microseconds
from nearfield.engine.filter.text import has_phrase, words
from nearfield.engine.payload_path import flat_values_at, parse_path, values_at
from nearfield.engine.point import PointId


def matches(
    condition: expr.Condition,
    payload: Mapping[str, Any],
    point_id: PointId | None,
    vector_names: Collection[str],
) -> bool:
    """Whether a point satisfies a condition; a `Filter` is one.

    Args:
        payload: the point's payload, decoded.
        point_id: its id; None inside a nested object.
        vector_names: names of the vectors it has.

    Raises:
        InvalidRequest: a key is not a path.
    """
    match condition:
        case expr.Filter():
            return _filter_holds(condition, lambda inner: matches(inner, payload, point_id, vector_names))
        case expr.HasId(ids):
            return point_id in ids
        case expr.HasVector(name):
            return name in vector_names
        case expr.Nested(key, inner):
            return any(matches(inner, element, None, ()) for element in nested_objects(payload, key))
        case expr.ValuesCount(key):
            values = values_at(payload, parse_path(key))
            return any(count_holds(condition, value_count(value)) for value in values or [None])
        case expr.IsEmpty(key):
            return all(value is None or value == [] for value in values_at(payload, parse_path(key)))
        case expr.IsNull(key):
            return any(is_null(value) for value in values_at(payload, parse_path(key)))
    predicate = _value_predicate(condition)
    return any(predicate(value) for value in flat_values_at(payload, parse_path(condition.key)))


def nested_objects(payload: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects a nested filter looks at one by one; `a` and `a[]` mean the same array."""
    arrays = [value for value in values_at(payload, nested_array_path(key)) if isinstance(value, list)]
    return [element for array in arrays for element in array if isinstance(element, dict)]


def nested_array_path(key: str) -> tuple[str | int | None, ...]:
    """Path of the array that a nested condition's key names."""
    path = parse_path(key)
    return path[:-1] if path[-1] is None else path


def value_count(value: object) -> int:
    """How many values a value counts for: an array's length, 0 for null, else 1."""
    return len(value) if isinstance(value, list) else int(value is not None)


def count_holds(condition: expr.ValuesCount, count: int) -> bool:
    """Whether a count lies inside the bounds."""
    return (
        (condition.gt is None or count > condition.gt)
        and (condition.gte is None or count >= condition.gte)
        and (condition.lt is None or count < condition.lt)
        and (condition.lte is None or count <= condition.lte)
    )


def is_null(value: object) -> bool:
    """Whether a value is null or an array with a null element."""
    return value is None or (isinstance(value, list) and any(element is None for element in value))


def equals(value: object, wanted: expr.Scalar) -> bool:
    """Equality of JSON values; booleans, integers, floats and strings are all different things."""
    return type(value) is type(wanted) and value == wanted


def comparable(value: object) -> int | float | None:
    """The number that ranges and orders compare; None when a value is not one.

    Integers compare exactly inside signed 64 bits, and as floats beyond.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or -(2**63) <= value < 2**63 else float(value)


def is_datetime_range(condition: expr.Range) -> bool:
    """Whether a range compares datetimes instead of numbers."""
    return (
        isinstance(condition.gt, datetime)
        or isinstance(condition.gte, datetime)
        or isinstance(condition.lt, datetime)
        or isinstance(condition.lte, datetime)
    )


def range_bounds(condition: expr.Range) -> tuple[float | None, float | None, float | None, float | None]:
    """The bounds gt, gte, lt, lte as numbers; of a datetime range, in microseconds."""
    gt, gte, lt, lte = (
        to_microseconds(bound) if isinstance(bound, datetime) else bound
        for bound in (condition.gt, condition.gte, condition.lt, condition.lte)
    )
    return gt, gte, lt, lte


def _filter_holds(filter: expr.Filter, holds: Callable[[expr.Condition], bool]) -> bool:
    return (
        all(holds(condition) for condition in filter.must)
        and not any(holds(condition) for condition in filter.must_not)
        and (not filter.should or any(holds(condition) for condition in filter.should))
        and (
            filter.min_should is None
            or sum(map(holds, filter.min_should.conditions)) >= filter.min_should.min_count
        )
    )


def _value_predicate(condition: expr.Match | expr.Range) -> Callable[[Any], bool]:
    match condition:
        case expr.MatchValue(_, wanted):
            return lambda value: equals(value, wanted)
        case expr.MatchAny(_, accepted):
            return lambda value: any(equals(value, one) for one in accepted)
        case expr.MatchExcept(_, unwanted):
            return lambda value: value is not None and not any(equals(value, one) for one in unwanted)
        case expr.MatchPrefix(_, prefix):
            return lambda value: isinstance(value, str) and value.startswith(prefix)
        case expr.MatchSubstring(_, substring):
            return lambda value: isinstance(value, str) and substring in value
        case expr.MatchPhrase(_, phrase):
            phrase_words = words(phrase)
            return lambda value: isinstance(value, str) and has_phrase(words(value), phrase_words)
        case expr.MatchText(_, text, any_word):
            text_words = set(words(text))
            if any_word:
                return lambda value: isinstance(value, str) and not text_words.isdisjoint(words(value))
            return lambda value: (
                isinstance(value, str) and bool(text_words) and text_words.issubset(words(value))
            )
        case expr.Range():
            return _range_predicate(condition)


def _range_predicate(condition: expr.Range) -> Callable[[Any], bool]:
    gt, gte, lt, lte = range_bounds(condition)
    datetimes = is_datetime_range(condition)

    def holds(value: Any) -> bool:
        number: float | None
        if datetimes:
            number = parse_microseconds(value) if isinstance(value, str) else None
        else:
            number = comparable(value)
        return (
            number is not None
            and (gt is None or number > gt)
            and (gte is None or number >= gte)
            and (lt is None or number < lt)
            and (lte is None or number <= lte)
        )

    return holds
