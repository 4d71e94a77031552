"""What the server says about itself."""

import importlib.metadata
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from nearfield.server import metrics
from nearfield.server.errors import NotReady
from nearfield.server.exchange import reply, service_of
from nearfield.server.openapi import documented

WIRE_VERSION: Final = "1.20.0"
"""The version of the wire format that is served; clients compare it with their own."""
ENGINE_VERSION: Final = importlib.metadata.version("nearfield")
VERSION: Final = {
    "title": "Nearfield - vector similarity search, compatible with qdrant-client",
    "version": WIRE_VERSION,
    "commit": None,
    "engine": {"name": "nearfield", "version": ENGINE_VERSION},
}
_PLAIN: Final[dict[str, Any]] = {"response_class": PlainTextResponse}

router = APIRouter(tags=["service"])


@router.get("/", response_class=JSONResponse)
async def version() -> Response:
    """Name of this engine and version of the wire format; needs no API key."""
    return JSONResponse(VERSION)


@router.get("/healthz", **_PLAIN)
async def healthz() -> Response:
    """200 while the process serves requests."""
    return PlainTextResponse("healthz check passed")


@router.get("/livez", **_PLAIN)
async def livez() -> Response:
    """200 while the process serves requests."""
    return PlainTextResponse("healthz check passed")


@router.get("/readyz", responses={503: {"description": "The database is still being opened"}}, **_PLAIN)
async def readyz(request: Request) -> Response:
    """200 once the collections are open, 503 before."""
    if not service_of(request).ready:
        raise NotReady("the database is still being opened")
    return PlainTextResponse("all shards are ready")


@router.get("/metrics", **_PLAIN)
async def prometheus_metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format."""
    service = service_of(request)
    return Response(await service.in_thread(service.metrics.text), media_type=metrics.CONTENT_TYPE)


@router.get("/telemetry")
@documented(dict[str, Any])
async def telemetry(request: Request) -> Response:
    """Versions and the number of collections."""
    database = await service_of(request).database()
    about = {"name": "nearfield", "version": ENGINE_VERSION, "wire_version": WIRE_VERSION}
    return reply(
        request, {"app": about, "collections": {"number_of_collections": len(database.collections())}}
    )
