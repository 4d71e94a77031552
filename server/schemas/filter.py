"""The filter language as JSON schema, for documentation only: `nearfield.engine.filter.parse` decides."""

from typing import Any, Final


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_KEY: Final = {
    "type": "string",
    "pattern": "^[A-Za-z_]+$",
    "examples": ["city", "address.street", "tags[].name"],
}
_TEXT: Final = {"type": "string"}
_INTEGER: Final = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_SCALARS: Final = {
    "anyOf": [{"type": "array", "items": _TEXT}, {"type": "array", "items": _INTEGER}],
}
_ONE_OR_MORE: Final = {"anyOf": [_ref("Condition"), {"type": "array", "items": _ref("Condition")}]}


def _bounds(kind: dict[str, Any]) -> dict[str, Any]:
    return _object([], **dict.fromkeys(("gt", "gte", "lt", "lte"), kind))


FILTER_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Filter": {
        "description": "All of `must`, any of `should`, none of `must_not`, and `min_count` of `min_should`.",
        **_object(
            [],
            must=_ONE_OR_MORE,
            should=_ONE_OR_MORE,
            must_not=_ONE_OR_MORE,
            min_should=_object(
                ["conditions", "min_count"],
                conditions={"type": "array", "items": _ref("Condition")},
                min_count={"type": "integer", "minimum": 1, "maximum": 1000},
            ),
        ),
        "examples": [{"must": [{"key": "city", "match": {"value": "Berlin"}}]}],
    },
    "Condition": {
        "anyOf": [
            _object(["key", "match"], key=_KEY, match=_ref("Match")),
            _object(["key", "range"], key=_KEY, range=_ref("Range")),
            _object(["key", "values_count"], key=_KEY, values_count=_bounds(_INTEGER)),
            _object(["is_empty"], is_empty=_object(["key"], key=_KEY)),
            _object(["is_null"], is_null=_object(["key"], key=_KEY)),
            _object(["has_id"], has_id={"type": "array", "items": _ref("PointId")}),
            _object(["has_vector"], has_vector=_TEXT),
            _object(["nested"], nested=_object(["key", "filter"], key=_KEY, filter=_ref("Filter"))),
            _ref("Filter"),
        ]
    },
    "Match": {
        "anyOf": [
            _object(["value"], value={"anyOf": [_TEXT, _INTEGER, {"type": "boolean"}]}),
            _object(["any"], any=_SCALARS),
            _object(["except"], **{"except": _SCALARS}),
            _object(["text"], text=_TEXT),
            _object(["text_any"], text_any=_TEXT),
            _object(["phrase"], phrase=_TEXT),
            _object(["prefix"], prefix=_TEXT),
            _object(["substring"], substring=_TEXT),
        ]
    },
    "Range": {
        "description": "Bounds on a number, or on a datetime (RFC 3339).",
        "anyOf": [_bounds({"type": "number"}), _bounds({"type": "string", "format": "date-time"})],
    },
    "PointId": {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
            {"type": "string", "format": "uuid"},
        ]
    },
}
