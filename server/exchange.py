"""How routes see a request that passed the gateway, and how they answer it."""

from time import perf_counter
from typing import Any, Final, TypeVar, cast

from fastapi import Request, Response

from nearfield.server.codec.answers import success
from nearfield.server.codec.decode import RequestBody, decode
from nearfield.server.service import Service

BODY: Final = "nearfield.body"
"""Key of the scope under which the gateway leaves the whole body."""
STARTED: Final = "nearfield.started"
"""Key of the scope under which the gateway leaves `perf_counter()` at the request's head."""

T = TypeVar("T")


def service_of(request: Request) -> Service:
    """The state of the server this request came to."""
    return cast(Service, request.app.state.service)


def body_of(request: Request) -> RequestBody:
    """The request's whole body."""
    return cast(RequestBody, request.scope.get(BODY, b""))


def decoded(kind: type[T], request: Request) -> T:
    """The body as an instance of `kind`; raises like `codec.decode.decode`."""
    return decode(kind, body_of(request))


def reply(request: Request, result: Any) -> Response:
    """The answer 200 with a result in the envelope."""
    started = request.scope.get(STARTED) or perf_counter()
    return Response(success(result, started), media_type="application/json")
