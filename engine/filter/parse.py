"""Filters as JSON on the wire, checked and turned into the expression tree."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.datetime_value import parse_microseconds
from nearfield.engine.payload_path import parse_path
from nearfield.engine.point import parse_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLAUSES = ("must", "should", "must_not", "min_should")
_BOUNDS = ("gt", "gte", "lt", "lte")
_FIELD_TESTS = ("match", "range", "values_count", "is_empty", "is_null")
_MATCHES = ("value", "any", "except", "text", "text_any", "phrase", "prefix", "substring")
_UNSERVED_FIELD_TESTS = ("geo_bounding_box", "geo_radius", "geo_polygon")
_FIELD_CONDITION = ("key", *_FIELD_TESTS, *_UNSERVED_FIELD_TESTS)
_UNSERVED_CONDITIONS = ("slice",)


def parse_filter(json: object, path: str = "filter") -> expr.Filter:
    """The expression tree of a wire-format filter.

    Args:
        json: the decoded JSON value.
        path: where it stood in the request body, for error messages.

    Raises:
        InvalidRequest: an unknown field, a wrong type, a condition that is not served, more than
            FILTER_CONDITIONS_MAX conditions or nesting deeper than FILTER_DEPTH_MAX.
    """
    return _Parser().filter(json, path, depth=1)


def parse_key(json: object, path: str = "key") -> str:
    """A payload key that is known to be a path.

    Raises:
        InvalidRequest: not a string, or not a path.
    """
    if not isinstance(json, str):
        _reject("a payload key (a string)", json, path)
    try:
        parse_path(json)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, path) from None
    return json


class _Parser:
    """One filter being parsed; counts its conditions."""

    def __init__(self) -> None:
        self._conditions = 0

    def filter(self, json: object, path: str, depth: int) -> expr.Filter:
        if depth > limits.FILTER_DEPTH_MAX:
            raise InvalidRequest(f"a filter may nest at most {limits.FILTER_DEPTH_MAX} levels deep", path)
        fields = _object(json, path, allowed=_CLAUSES)
        clause: dict[str, Any] = {
            name: self._conditions_of(fields[name], f"{path}.{name}", depth)
            for name in ("must", "should", "must_not")
            if name in fields
        }
        min_should = fields.get("min_should")
        if min_should is not None:
            clause["min_should"] = self._min_should(min_should, f"{path}.min_should", depth)
        return expr.Filter(**clause)

    def _conditions_of(self, json: object, path: str, depth: int) -> tuple[expr.Condition, ...]:
        if json is None:
            return ()
        if not isinstance(json, list):
            return (self._condition(json, path, depth),)
        return tuple(self._condition(item, f"{path}[{i}]", depth) for i, item in enumerate(json))

    def _min_should(self, json: object, path: str, depth: int) -> expr.MinShould:
        fields = _object(
            json, path, allowed=("conditions", "min_count"), required=("conditions", "min_count")
        )
        if not isinstance(fields["conditions"], list):
            _reject("a list of conditions", fields["conditions"], f"{path}.conditions")
        min_count = _integer(fields["min_count"], f"{path}.min_count")
        if min_count < 1:
            raise InvalidRequest(f"expected 1 or more, got {min_count}", f"{path}.min_count")
        conditions = self._conditions_of(fields["conditions"], f"{path}.conditions", depth)
        return expr.MinShould(conditions, min_count)

    def _condition(self, json: object, path: str, depth: int) -> expr.Condition:
        self._conditions += 1
        if self._conditions > limits.FILTER_CONDITIONS_MAX:
            raise InvalidRequest(f"a filter may have at most {limits.FILTER_CONDITIONS_MAX} conditions", path)
        fields = _object(json, path)
        if "key" in fields:
            return _field_condition(fields, path)
        if "nested" in fields:
            return self._nested(_only(fields, "nested", path), f"{path}.nested", depth)
        if "has_id" in fields:
            return _has_id(_only(fields, "has_id", path), f"{path}.has_id")
        if "has_vector" in fields:
            return expr.HasVector(_string(_only(fields, "has_vector", path), f"{path}.has_vector"))
        if "is_empty" in fields:
            return expr.IsEmpty(_payload_field(_only(fields, "is_empty", path), f"{path}.is_empty"))
        if "is_null" in fields:
            return expr.IsNull(_payload_field(_only(fields, "is_null", path), f"{path}.is_null"))
        if not fields.keys() - set(_CLAUSES):
            return self.filter(fields, path, depth + 1)
        _reject_condition(fields, path)

    def _nested(self, json: object, path: str, depth: int) -> expr.Nested:
        fields = _object(json, path, allowed=("key", "filter"), required=("key", "filter"))
        key = parse_key(fields["key"], f"{path}.key")
        return expr.Nested(key, self.filter(fields["filter"], f"{path}.filter", depth + 1))


def _field_condition(fields: Mapping[str, Any], path: str) -> expr.Condition:
    for name in _UNSERVED_FIELD_TESTS:
        if fields.get(name) is not None:
            raise InvalidRequest(f"{name} is not supported; supported are {', '.join(_FIELD_TESTS)}", path)
    _object(fields, path, allowed=_FIELD_CONDITION)
    key = parse_key(fields["key"], f"{path}.key")
    given = [name for name, test in fields.items() if test is not None and name in _FIELD_TESTS]
    if len(given) != 1:
        shown = " and ".join(given) or "none"
        raise InvalidRequest(
            f"expected exactly one of {', '.join(_FIELD_TESTS)} beside the key, got {shown}", path
        )
    name = given[0]
    test, test_path = fields[name], f"{path}.{name}"
    if name == "match":
        return _match(key, test, test_path)
    if name == "range":
        return _range(key, test, test_path)
    if name == "values_count":
        counts = _object(test, test_path, allowed=_BOUNDS)
        bounds = {k: _integer(v, f"{test_path}.{k}") for k, v in counts.items() if v is not None}
        return expr.ValuesCount(key, **bounds)
    if not isinstance(test, bool):
        _reject("true or false", test, test_path)
    condition = expr.IsEmpty(key) if name == "is_empty" else expr.IsNull(key)
    return condition if test else expr.Filter(must_not=(condition,))


def _match(key: str, json: object, path: str) -> expr.Match:
    fields = _object(json, path, allowed=_MATCHES)
    if len(fields) != 1:
        raise InvalidRequest(f"expected exactly one of {', '.join(_MATCHES)}", path)
    ((name, operand),) = fields.items()
    path = f"{path}.{name}"
    if name == "value":
        if not isinstance(operand, str | int):
            _reject("a string, an integer or a boolean (use a range for floats)", operand, path)
        return expr.MatchValue(key, operand)
    if name == "any":
        return expr.MatchAny(key, _scalars(operand, path))
    if name == "except":
        return expr.MatchExcept(key, _scalars(operand, path))
    of_text: Mapping[str, Callable[[str], expr.Match]] = {
        "text": lambda text: expr.MatchText(key, text),
        "text_any": lambda text: expr.MatchText(key, text, any_word=True),
        "phrase": lambda text: expr.MatchPhrase(key, text),
        "prefix": lambda text: expr.MatchPrefix(key, text),
        "substring": lambda text: expr.MatchSubstring(key, text),
    }
    return of_text[name](_string(operand, path))


def _range(key: str, json: object, path: str) -> expr.Range:
    fields = _object(json, path, allowed=_BOUNDS)
    given = {name: bound for name, bound in fields.items() if bound is not None}
    if any(isinstance(bound, str) for bound in given.values()):
        return expr.Range(key, **{name: _datetime(bound, f"{path}.{name}") for name, bound in given.items()})
    return expr.Range(key, **{name: _number(bound, f"{path}.{name}") for name, bound in given.items()})


def _has_id(json: object, path: str) -> expr.HasId:
    if not isinstance(json, list):
        _reject("a list of point ids", json, path)
    return expr.HasId(tuple(parse_id(value, f"{path}[{i}]") for i, value in enumerate(json)))


def _payload_field(json: object, path: str) -> str:
    fields = _object(json, path, allowed=("key",), required=("key",))
    return parse_key(fields["key"], f"{path}.key")


def _scalars(json: object, path: str) -> tuple[str, ...] | tuple[int, ...]:
    if isinstance(json, list):
        if all(isinstance(value, str) for value in json):
            return tuple(json)
        if all(isinstance(value, int) and not isinstance(value, bool) for value in json):
            return tuple(json)
    _reject("a list of strings or a list of integers", json, path)


def _datetime(json: object, path: str) -> datetime:
    microseconds = parse_microseconds(json) if isinstance(json, str) else None
    if microseconds is None:
        _reject("a datetime such as 2024-06-15T12:30:00Z (numbers and datetimes do not mix)", json, path)
    return _EPOCH + timedelta(microseconds=microseconds)


def _number(json: object, path: str) -> float:
    if isinstance(json, bool) or not isinstance(json, int | float):
        _reject("a number or a datetime string", json, path)
    return float(json)


def _integer(json: object, path: str) -> int:
    if isinstance(json, bool) or not isinstance(json, int):
        _reject("an integer", json, path)
    return json


def _string(json: object, path: str) -> str:
    if not isinstance(json, str):
        _reject("a string", json, path)
    return json


def _object(
    json: object, path: str, allowed: tuple[str, ...] | None = None, required: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    if not isinstance(json, dict):
        _reject("an object", json, path)
    if allowed is not None:
        for name in json:
            if name not in allowed:
                raise InvalidRequest(f"unknown field `{name}`, expected one of {', '.join(allowed)}", path)
    for name in required:
        if name not in json:
            raise InvalidRequest(f"missing field `{name}`", path)
    return json


def _only(fields: Mapping[str, Any], name: str, path: str) -> Any:
    """The value of the one field a condition has."""
    return _object(fields, path, allowed=(name,))[name]


def _reject_condition(fields: Mapping[str, Any], path: str) -> NoReturn:
    supported = (
        "a field condition (`key` with match, range, ...), is_empty, is_null, has_id, has_vector, nested"
    )
    for name in _UNSERVED_CONDITIONS:
        if name in fields:
            raise InvalidRequest(f"{name} conditions are not supported; supported are {supported}", path)
    raise InvalidRequest(
        f"expected {supported}, or a filter; got fields {', '.join(map(repr, fields))}", path
    )


def _reject(expected: str, got: object, path: str) -> NoReturn:
    raise InvalidRequest(f"expected {expected}, got {repr(got)[:80]}", path)
