"""Filters that are not understood are refused, with the place in the body and what would be right."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.parse import parse_filter

UUID_TEXT = "550e8400-e29b-41d4-a716-446655440000"


def test_a_filter_of_everything() -> None:
    json = {
        "must": [
            {"key": "city", "match": {"value": "Ulm"}},
            {"key": "n[].x", "match": {"any": [1, 2]}},
            {"key": "when", "range": {"gte": "2024-01-01T01:00:00+01:00", "lt": None}},
            {"has_id": [7, UUID_TEXT]},
        ],
        "should": {"key": "size", "range": {"gt": 1, "lte": 2.5}},
        "must_not": [{"is_empty": {"key": "a"}}, {"nested": {"key": "b[]", "filter": {"must": []}}}],
        "min_should": {"conditions": [{"has_vector": "image"}, {"should": []}], "min_count": 1},
    }
    assert parse_filter(json) == expr.Filter(
        must=(
            expr.MatchValue("city", "Ulm"),
            expr.MatchAny("n[].x", (1, 2)),
            expr.Range("when", gte=datetime(2024, 1, 1, tzinfo=UTC)),
            expr.HasId((7, UUID(UUID_TEXT))),
        ),
        should=(expr.Range("size", gt=1.0, lte=2.5),),
        must_not=(expr.IsEmpty("a"), expr.Nested("b[]", expr.Filter())),
        min_should=expr.MinShould((expr.HasVector("image"), expr.Filter()), 1),
    )


def test_a_tree_is_hashable() -> None:
    json = {"must": [{"key": "a", "match": {"except": ["x"]}}, {"has_id": [1]}], "should": []}
    assert hash(parse_filter(json)) == hash(parse_filter(json))


def test_false_asks_for_the_opposite() -> None:
    parsed = parse_filter({"must": [{"key": "a", "is_null": False}, {"key": "a", "is_empty": True}]})
    assert parsed.must == (expr.Filter(must_not=(expr.IsNull("a"),)), expr.IsEmpty("a"))


WRONG: list[tuple[Any, str, str]] = [
    ([], "filter", "expected an object"),
    ({"musst": []}, "filter", "unknown field `musst`, expected one of must"),
    ({"must": [3]}, "filter.must[0]", "expected an object, got 3"),
    ({"must": {"key": "a", "match": {"value": 1}, "x": 1}}, "filter.must", "unknown field `x`"),
    ({"must": [{"key": "a"}]}, "filter.must[0]", "exactly one of match, range"),
    (
        {"must": [{"key": "a", "match": {"value": 1}, "is_null": True}]},
        "filter.must[0]",
        "got match and is_null",
    ),
    ({"must": [{"key": "a..b", "is_null": True}]}, "filter.must[0].key", "expected a payload key"),
    ({"must": [{"key": 5, "is_null": True}]}, "filter.must[0].key", "expected a payload key"),
    ({"must": [{"key": "a", "is_null": 1}]}, "filter.must[0].is_null", "true or false"),
    (
        {"should": [{"key": "a", "match": {"value": 1.5}}]},
        "filter.should[0].match.value",
        "use a range for floats",
    ),
    (
        {"should": [{"key": "a", "match": {"value": None}}]},
        "filter.should[0].match.value",
        "expected a string",
    ),
    ({"should": [{"key": "a", "match": {}}]}, "filter.should[0].match", "exactly one of value, any"),
    (
        {"should": [{"key": "a", "match": {"any": ["x", 1]}}]},
        "filter.should[0].match.any",
        "list of strings or",
    ),
    (
        {"should": [{"key": "a", "match": {"any": [True]}}]},
        "filter.should[0].match.any",
        "list of strings or",
    ),
    ({"should": [{"key": "a", "match": {"text": 1}}]}, "filter.should[0].match.text", "expected a string"),
    ({"must": [{"key": "a", "range": {"gte": True}}]}, "filter.must[0].range.gte", "a number or a datetime"),
    ({"must": [{"key": "a", "range": {"gte": "soon"}}]}, "filter.must[0].range.gte", "expected a datetime"),
    (
        {"must": [{"key": "a", "range": {"gte": 1, "lt": "2024-01-01"}}]},
        "filter.must[0].range.gte",
        "do not mix",
    ),
    ({"must": [{"key": "a", "range": {"ge": 1}}]}, "filter.must[0].range", "unknown field `ge`"),
    ({"must": [{"key": "a", "values_count": {"gt": 1.5}}]}, "filter.must[0].values_count.gt", "an integer"),
    (
        {"must": [{"key": "a", "geo_radius": {}}]},
        "filter.must[0]",
        "geo_radius is not supported; supported are",
    ),
    ({"must": [{"slice": {"total": 2, "index": 0}}]}, "filter.must[0]", "slice conditions are not supported"),
    ({"must": [{"has_id": 5}]}, "filter.must[0].has_id", "a list of point ids"),
    ({"must": [{"has_id": [5, "x"]}]}, "filter.must[0].has_id[1]", "not a valid point ID"),
    ({"must": [{"has_id": [], "has_vector": "a"}]}, "filter.must[0]", "unknown field `has_vector`"),
    ({"must": [{"is_null": {"kei": "a"}}]}, "filter.must[0].is_null", "unknown field `kei`"),
    ({"must": [{"is_empty": {}}]}, "filter.must[0].is_empty", "missing field `key`"),
    ({"must": [{"nested": {"key": "a"}}]}, "filter.must[0].nested", "missing field `filter`"),
    (
        {"must": [{"nested": {"key": "a", "filter": {"must": [{"has_id": [-1]}]}}}]},
        "filter.must[0].nested.filter.must[0].has_id[0]",
        "not a valid point ID",
    ),
    ({"min_should": {"conditions": []}}, "filter.min_should", "missing field `min_count`"),
    ({"min_should": {"conditions": [], "min_count": 0}}, "filter.min_should.min_count", "1 or more"),
    (
        {"min_should": {"conditions": {}, "min_count": 1}},
        "filter.min_should.conditions",
        "a list of conditions",
    ),
    ({"must": [{"frobnicate": 1}]}, "filter.must[0]", "got fields 'frobnicate'"),
]


@pytest.mark.parametrize(("json", "path", "message"), WRONG)
def test_refused_with_place_and_reason(json: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(json)
    assert caught.value.path == path
    assert message in caught.value.message


def test_too_many_conditions() -> None:
    many = [{"key": "a", "match": {"value": 1}}] * limits.FILTER_CONDITIONS_MAX
    assert len(parse_filter({"must": many}).must) == limits.FILTER_CONDITIONS_MAX
    with pytest.raises(InvalidRequest, match="at most"):
        parse_filter({"must": many, "should": many[:1]})


def test_too_deep() -> None:
    json: dict[str, Any] = {"must": []}
    for _ in range(limits.FILTER_DEPTH_MAX - 1):
        json = {"must": [json]}
    parse_filter(json)
    with pytest.raises(InvalidRequest, match="levels deep"):
        parse_filter({"must": [json]})
