"""Collections: list, create, describe, change, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from nearfield.engine import limits
from nearfield.engine.errors import NotFound
from nearfield.engine.index.calibration import K as CALIBRATED_K
from nearfield.server.codec.collections import (
    collection_json,
    create_schema,
    recall_json,
    schema_change,
)
from nearfield.server.exchange import decoded, reply, service_of
from nearfield.server.openapi import documented
from nearfield.server.routes.parameters import CollectionName
from nearfield.server.schemas import collections as schemas

router = APIRouter(tags=["collections"])

TargetRecall = Annotated[
    float | None,
    Query(description="Also tell what a search for this recall does in each segment.", gt=0, le=1),
]
RecallLimit = Annotated[
    int, Query(description="The `limit` of that search.", ge=1, le=limits.SEARCH_LIMIT_MAX)
]
AdminTimeout = Annotated[int | None, Query(ge=1, description="Accepted and ignored: there is one node.")]


@router.get("/collections")
@documented(schemas.CollectionList)
async def list_collections(request: Request) -> Response:
    """Names of all collections."""
    database = await service_of(request).database()
    return reply(request, {"collections": [{"name": name} for name in database.collections()]})


@router.get("/collections/{collection}")
@documented(schemas.CollectionState, errors=(404,))
async def get_collection(request: Request, collection: CollectionName) -> Response:
    """State, counts and configuration of a collection."""
    service = service_of(request)
    found = await service.collection(collection)
    info = await service.in_thread(found.info)
    return reply(request, collection_json(found.schema, info))


@router.get("/v1/collections/{collection}/recall")
@documented(schemas.CollectionRecall, errors=(404,))
async def get_recall(
    request: Request,
    collection: CollectionName,
    target_recall: TargetRecall = None,
    limit: RecallLimit = CALIBRATED_K,
) -> Response:
    """The recall that indexes were measured to give when they were built, and what a target would do."""
    service = service_of(request)
    found = await service.collection(collection)
    measured = await service.in_thread(found.recall)
    return reply(request, recall_json(measured, target_recall, limit))


@router.get("/collections/{collection}/exists")
@documented(schemas.Existence)
async def collection_exists(request: Request, collection: CollectionName) -> Response:
    """Whether there is a collection (or an alias) of this name."""
    try:
        await service_of(request).collection(collection)
    except NotFound:
        return reply(request, {"exists": False})
    return reply(request, {"exists": True})


@router.put("/collections/{collection}")
@documented(
    bool,
    body=schemas.CreateCollection,
    errors=(409, 507),
    example={"vectors": {"size": 4, "distance": "Cosine"}},
)
async def create_collection(
    request: Request, collection: CollectionName, timeout: AdminTimeout = None
) -> Response:
    """Create a collection. Sparse vectors and multi-vectors are answered 400."""
    schema = create_schema(decoded(schemas.CreateCollection, request))
    service = service_of(request)
    database = await service.database()
    await service.in_thread(database.create_collection, collection, schema)
    return reply(request, True)


@router.patch("/collections/{collection}")
@documented(
    bool, body=schemas.UpdateCollection, errors=(404, 507), example={"metadata": {"owner": "search team"}}
)
async def update_collection(
    request: Request, collection: CollectionName, timeout: AdminTimeout = None
) -> Response:
    """Change a collection's settings; sections are merged field by field."""
    body = decoded(schemas.UpdateCollection, request)
    service = service_of(request)
    found = await service.collection(collection)
    change = schema_change(found.schema, body)
    await service.in_thread(
        found.update_schema,
        settings=change.settings,
        vector_index=change.vector_index,
        vector_extras=change.vector_extras,
    )
    return reply(request, True)


@router.delete("/collections/{collection}")
@documented(bool)
async def delete_collection(
    request: Request, collection: CollectionName, timeout: AdminTimeout = None
) -> Response:
    """Delete a collection with everything in it; false when there was none."""
    service = service_of(request)
    database = await service.database()
    return reply(request, await service.in_thread(database.delete_collection, collection))
