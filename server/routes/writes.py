"""How every write runs: decoded and submitted in a worker thread, answered after its commit."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from nearfield.engine.operation import Operation, Upsert
from nearfield.engine.schema import CollectionSchema
from nearfield.server.exchange import reply, service_of
from nearfield.server.routes.parameters import WriteOptions
from nearfield.server.service import committed

if TYPE_CHECKING:
    from nearfield.engine.collection import Collection


async def apply(
    request: Request, collection: str, options: WriteOptions, make: Callable[[CollectionSchema], Operation]
) -> Response:
    """Do one operation and answer what became of it.

    Args:
        make: the operation the body asks for; runs in a worker thread, because a body may be large.
    """
    service = service_of(request)
    found = await service.collection(collection)

    def start() -> tuple[Operation, Future[int]]:
        operation = make(found.schema)
        return operation, found.submit(operation)

    operation, ticket = await service.in_write_thread(start)
    operation_id = await committed(ticket, options.timeout_s)
    if operation_id is not None and isinstance(operation, Upsert):
        service.metrics.written_points.inc(len(operation.batch))
    return reply(request, update_result(operation_id, options))


async def administer(
    request: Request, collection: str, options: WriteOptions, change: "Callable[[Collection], int]"
) -> Response:
    """Do one blocking change of a collection, which returns its operation id."""
    service = service_of(request)
    found = await service.collection(collection)
    return reply(request, update_result(await service.in_write_thread(change, found), options))


def update_result(operation_id: int | None, options: WriteOptions) -> dict[str, Any]:
    """The wire form of a write's outcome.

    Args:
        operation_id: None when the write was not committed before the client's deadline.
    """
    if operation_id is None:
        return {"operation_id": None, "status": "wait_timeout"}
    return {"operation_id": operation_id, "status": "completed" if options.wait else "acknowledged"}
