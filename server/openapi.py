"""The OpenAPI document: the framework's list of routes, joined with the classes that decode their bodies."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from nearfield.server.errors import status_line
from nearfield.server.schemas.collections import VectorParams
from nearfield.server.schemas.filter import FILTER_SCHEMAS

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_REF: Final = "#/components/schemas/{name}"
_ERROR_REF: Final = {"$ref": _REF.format(name="Error")}
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
_WITH_BODY: Final = (400, 413, 422)


@dataclass(frozen=True)
class _Documentation:
    """What a route's signature does not tell. The schemas are made when the document is first asked for."""

    result: Any
    body: Any
    errors: Sequence[int]
    example: Any
    media: dict[str, Any] | None

    def kinds(self) -> tuple[Any, ...]:
        """Classes whose schemas the document needs."""
        return (self.result,) if self.body is None else (self.result, self.body)

    def add_to(self, operation: dict[str, Any]) -> None:
        """Complete an operation of the framework's document."""
        envelope = {
            "type": "object",
            "properties": {"result": _schema(self.result), "status": {"const": "ok"}, "time": _TIME},
            "required": ["result", "status", "time"],
        }
        operation["responses"] = {"200": _json(envelope, "Done")}
        with_body = _WITH_BODY if self.body is not None or self.media is not None else ()
        has_parameters = (400,) if operation.get("parameters") else ()
        for status in sorted({*self.errors, *with_body, *has_parameters, *_ALWAYS}):
            operation["responses"][str(status)] = _json(_ERROR_REF, status_line(status))
        if self.media is not None:
            operation["requestBody"] = {"required": True, "content": self.media}
        elif self.body is not None:
            content = {"schema": _schema(self.body), "example": self.example}
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}


_documented: dict[Callable[..., Any], _Documentation] = {}


def documented(
    result: Any,
    *,
    body: Any = None,
    errors: Sequence[int] = (),
    example: Any = None,
    media: dict[str, Any] | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """Decorator that documents a route's endpoint.

    Args:
        result: class of the answer's `result`.
        body: class of the request's body, if it has one.
        errors: statuses it may answer beside those that every route may.
        example: a body to show.
        media: request content by media type, for bodies that are not JSON.
    """

    def remember(endpoint: Endpoint) -> Endpoint:
        _documented[endpoint] = _Documentation(result, body, errors, example, media)
        return endpoint

    return remember


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components((kind,), ref_template=_REF)
    return schema


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def install(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Let the application's document tell what `documented` was told about the endpoints of these routers."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, routers)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, routers: Iterable[APIRouter]) -> dict[str, Any]:
    built = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    kinds: list[Any] = [VectorParams]
    for route in (route for router in routers for route in router.routes if isinstance(route, APIRoute)):
        documentation = _documented.get(route.endpoint)
        if documentation is None:
            continue
        kinds.extend(documentation.kinds())
        for method in route.methods or ():
            documentation.add_to(built["paths"][route.path_format][method.lower()])
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    built["components"] = {"schemas": schemas | FILTER_SCHEMAS | {"Error": _ERROR}}
    return built
