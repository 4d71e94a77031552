"""The composition root: settings to a running application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from nearfield.engine.errors import NearfieldError
from nearfield.server import docs, openapi
from nearfield.server.codec.answers import failure
from nearfield.server.errors import log_failure, status_of
from nearfield.server.exchange import STARTED
from nearfield.server.gateway import Gateway
from nearfield.server.routes import (
    aliases,
    bulk,
    collections,
    health,
    partial_updates,
    payload_indexes,
    points,
    query,
)
from nearfield.server.service import Service
from nearfield.server.settings import Settings

_DESCRIPTION: Final = """\
Vector similarity search over HTTP, on the wire format of `qdrant-client` 1.20 (compatible, not affiliated).

A write that was answered is on disk. A body applies whole or not at all. An error says what was expected,
what came, and where in the body; a field that is not known is an error, never ignored. What this version does
not serve (sparse vectors, recommendations, diversity) is answered 400 and named.

A search may state the recall it wants (`params.target_recall`); what indexes were measured to give is
published under `/v1/collections/{collection}/recall`.
"""
# Literal paths first: `/collections/aliases` is not a collection called `aliases`.
_ROUTERS: Final = (health, aliases, collections, payload_indexes, query, partial_updates, points, bulk, docs)


class _Application(FastAPI):
    """The framework's application behind the gateway, which sees every request first."""

    gateway: Gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.gateway(scope, receive, send)

    async def serve_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What the framework does with a request."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """The application of one server; at start-up it opens its database. `app.state.service` is its state."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = _Application(
        title="Nearfield",
        version=health.ENGINE_VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_exception_handler(NearfieldError, _answered_error)
    app.add_exception_handler(TimeoutError, _answered_error)
    app.add_exception_handler(Exception, _unexpected_error)
    app.add_exception_handler(HTTPException, _framework_error)
    app.add_exception_handler(RequestValidationError, _parameter_error)
    app.gateway = Gateway(app.serve_route, service)
    openapi.install(app, [module.router for module in _ROUTERS])
    return app


def _error(request: Request, status: int, message: str, headers: Any = None) -> Response:
    started = request.scope.get(STARTED) or perf_counter()
    return Response(failure(message, started), status, headers, media_type="application/json")


async def _answered_error(request: Request, error: Exception) -> Response:
    status, message, headers = status_of(error)
    log_failure(error, status, request.method, request.url.path)
    return _error(request, status, message, headers)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    """The framework raises it again after this answer, and the gateway logs it."""
    status, message, headers = status_of(error)
    return _error(request, status, message, headers)


async def _framework_error(request: Request, error: Exception) -> Response:
    """No such route, or a method it does not have."""
    assert isinstance(error, HTTPException)
    message = f"{error.detail}: {request.method} {request.url.path}; see /docs"
    return _error(request, error.status_code, message, error.headers)


async def _parameter_error(request: Request, error: Exception) -> Response:
    """A path or query parameter of a wrong type or outside its limits."""
    assert isinstance(error, RequestValidationError)
    wrong = [f"{part['loc'][0]} parameter `{part['loc'][1]}`: {part['msg']}" for part in error.errors()]
    return _error(request, 400, f"Wrong input: {'; '.join(wrong)}")
