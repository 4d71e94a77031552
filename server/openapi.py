"""The OpenAPI document: the framework's list of routes, joined with the schemas the bodies are decoded by."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from nearfield.server.errors import status_line
from nearfield.server.schemas.collections import VectorParams
from nearfield.server.schemas.filter import FILTER_SCHEMAS

_REF: Final = "#/components/schemas/{name}"
_documented: dict[Any, None] = {VectorParams: None}
"""Every class that some route names, in order of first mention."""

_TIME: Final = {"type": "number", "description": "Seconds the server spent."}
_ERROR: Final = {
    "type": "object",
    "properties": {
        "status": {
            "type": "object",
            "properties": {
                "error": {"type": "string", "description": "What was expected, what came, and where."}
            },
            "required": ["error"],
        },
        "time": _TIME,
    },
    "required": ["status", "time"],
}
_ALWAYS: Final = (401, 408, 429, 500, 503)


def _schema(kind: Any) -> dict[str, Any]:
    _documented[kind] = None
    (schema,), _ = msgspec.json.schema_components((kind,), ref_template=_REF)
    return schema


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def operation(
    result: Any,
    *,
    body: Any = None,
    errors: Sequence[int] = (),
    example: Any = None,
    media: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of a route's decorator that document it.

    Args:
        result: class of the answer's `result`.
        body: class of the request's body, if it has one.
        errors: statuses it may answer beside those that every route may.
        example: a body to show.
        media: request content by media type, for bodies that are not JSON.
    """
    envelope = {
        "type": "object",
        "properties": {"result": _schema(result), "status": {"const": "ok"}, "time": _TIME},
        "required": ["result", "status", "time"],
    }
    statuses = sorted({*errors, *_ALWAYS, *((400, 413, 422) if body or media else ())})
    responses: dict[int | str, Any] = {200: _json(envelope, "Done")}
    responses |= {
        status: _json({"$ref": _REF.format(name="Error")}, status_line(status)) for status in statuses
    }
    if 422 not in responses:
        responses["default"] = _json({"$ref": _REF.format(name="Error")}, "Any other error")
    extra: dict[str, Any] = {}
    if body is not None:
        content: dict[str, Any] = {"schema": _schema(body)}
        if example is not None:
            content["example"] = example
        extra["requestBody"] = {"required": True, "content": {"application/json": content}}
    if media is not None:
        extra["requestBody"] = {"required": True, "content": media}
    return {"responses": responses, "openapi_extra": extra or None}


def install(app: FastAPI) -> None:
    """Let the application's document include the schemas of every documented class."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            built = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, schemas = msgspec.json.schema_components(tuple(_documented), ref_template=_REF)
            components = built.setdefault("components", {}).setdefault("schemas", {})
            components |= schemas | FILTER_SCHEMAS | {"Error": _ERROR}
            components.pop("HTTPValidationError", None)
            components.pop("ValidationError", None)
            app.openapi_schema = built
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
