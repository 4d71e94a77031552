"""Changing a part of points: vectors, payloads, and several operations at once."""

from fastapi import APIRouter, Request, Response

from nearfield.engine.operation import (
    ClearPayload,
    DeletePayload,
    DeleteVectors,
    Operation,
    OverwritePayload,
    SetPayload,
)
from nearfield.server.codec import points as codec
from nearfield.server.exchange import decoded, reply, service_of
from nearfield.server.openapi import documented
from nearfield.server.routes.parameters import CollectionName, Write
from nearfield.server.routes.writes import apply, update_result
from nearfield.server.schemas import points as schemas
from nearfield.server.service import committed

router = APIRouter(prefix="/collections/{collection}/points", tags=["points"])


@router.put("/vectors")
@documented(
    schemas.UpdateResult,
    body=schemas.UpdateVectors,
    errors=(404, 507),
    example={"points": [{"id": 1, "vector": [0.1, 0.2, 0.3, 0.4]}]},
)
async def update_vectors(request: Request, collection: CollectionName, options: Write) -> Response:
    """Replace vectors of existing points; other vectors and the payload stay."""
    return await apply(
        request,
        collection,
        options,
        lambda schema: codec.update_vectors_operation(decoded(schemas.UpdateVectors, request), schema),
    )


@router.post("/vectors/delete")
@documented(
    schemas.UpdateResult,
    body=schemas.DeleteVectors,
    errors=(404, 507),
    example={"points": [1], "vector": [""]},
)
async def delete_vectors(request: Request, collection: CollectionName, options: Write) -> Response:
    """Remove named vectors of points."""
    body = decoded(schemas.DeleteVectors, request)
    return await apply(
        request, collection, options, lambda _: DeleteVectors(codec.selector(body), body.vector)
    )


_SET = documented(
    schemas.UpdateResult,
    body=schemas.SetPayload,
    errors=(404, 507),
    example={"payload": {"city": "Berlin"}, "points": [1]},
)


@router.post("/payload")
@_SET
async def set_payload(request: Request, collection: CollectionName, options: Write) -> Response:
    """Merge keys into the payload of points."""
    body = decoded(schemas.SetPayload, request)
    return await apply(
        request, collection, options, lambda _: SetPayload(codec.selector(body), body.payload, body.key)
    )


@router.put("/payload")
@_SET
async def overwrite_payload(request: Request, collection: CollectionName, options: Write) -> Response:
    """Replace the payload of points."""
    body = decoded(schemas.SetPayload, request)
    return await apply(
        request, collection, options, lambda _: OverwritePayload(codec.selector(body), body.payload, body.key)
    )


@router.post("/payload/delete")
@documented(
    schemas.UpdateResult,
    body=schemas.DeletePayload,
    errors=(404, 507),
    example={"keys": ["city"], "points": [1]},
)
async def delete_payload(request: Request, collection: CollectionName, options: Write) -> Response:
    """Remove payload keys of points."""
    body = decoded(schemas.DeletePayload, request)
    return await apply(request, collection, options, lambda _: DeletePayload(codec.selector(body), body.keys))


@router.post("/payload/clear")
@documented(schemas.UpdateResult, body=schemas.Selector, errors=(404, 507), example={"points": [1]})
async def clear_payload(request: Request, collection: CollectionName, options: Write) -> Response:
    """Remove the whole payload of points."""
    body = decoded(schemas.Selector, request)
    return await apply(request, collection, options, lambda _: ClearPayload(codec.selector(body)))


@router.post("/batch")
@documented(
    list[schemas.UpdateResult],
    body=schemas.UpdateBatch,
    errors=(404, 507),
    example={"operations": [{"delete": {"points": [1]}}, {"clear_payload": {"points": [2]}}]},
)
async def batch_update(request: Request, collection: CollectionName, options: Write) -> Response:
    """Several operations in order and in one transaction: all are done, or none."""
    service = service_of(request)
    found = await service.collection(collection)

    def make() -> list[Operation]:
        body = decoded(schemas.UpdateBatch, request)
        return [
            codec.update_operation(part, found.schema, f"operations[{i}]")
            for i, part in enumerate(body.operations)
        ]

    operations = await service.in_write_thread(make)
    if not operations:
        return reply(request, [])
    ticket = await service.in_write_thread(found.submit_all, operations)
    operation_id = await committed(ticket, options.timeout_s)
    return reply(request, [update_result(operation_id, options)] * len(operations))
