"""Points: write, read, delete, scroll, count."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from nearfield.engine.errors import NotFound
from nearfield.engine.operation import DeletePoints, Upsert
from nearfield.engine.point import PointId, id_to_json, parse_id
from nearfield.engine.query import PayloadSelector
from nearfield.engine.schema import CollectionSchema
from nearfield.server.codec import points as codec
from nearfield.server.codec.answers import record_json
from nearfield.server.codec.query import filter_of, payload_selector, scroll_request
from nearfield.server.exchange import decoded, reply, service_of
from nearfield.server.openapi import documented
from nearfield.server.routes.parameters import CollectionName, ReadTimeout, Write, within
from nearfield.server.routes.writes import apply
from nearfield.server.schemas import points as schemas

router = APIRouter(prefix="/collections/{collection}/points", tags=["points"])


@router.put("")
@documented(
    schemas.UpdateResult,
    body=schemas.UpsertPoints,
    errors=(404, 507),
    example={"points": [{"id": 1, "vector": [0.1, 0.2, 0.3, 0.4], "payload": {"city": "Berlin"}}]},
)
async def upsert_points(request: Request, collection: CollectionName, options: Write) -> Response:
    """Write points; one of the same id is replaced whole. A body applies whole or not at all."""

    def make(schema: CollectionSchema) -> Upsert:
        return codec.upsert_operation(decoded(schemas.UpsertPoints, request), schema)

    return await apply(request, collection, options, make)


@router.post("")
@documented(list[schemas.Record], body=schemas.GetPoints, errors=(404,), example={"ids": [1, 2]})
async def get_points(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """Points by id, in the order asked for; ids that are not there are left out."""
    body = decoded(schemas.GetPoints, request)
    ids = codec.parse_ids(body.ids, "ids")
    selector = payload_selector(body.with_payload, default=True)
    service = service_of(request)
    found = await service.collection(collection)
    async with within(timeout):
        records = await service.in_thread(found.retrieve, ids, selector, body.with_vector or False)
    return reply(request, [record_json(record, selector.enabled) for record in records])


@router.get("/{point_id}")
@documented(schemas.Record, errors=(400, 404))
async def get_point(
    request: Request,
    collection: CollectionName,
    point_id: Annotated[str, Path(description="Integer or UUID.", examples=["1"])],
    timeout: ReadTimeout,
) -> Response:
    """One point with its payload and vectors."""
    wanted = _path_id(point_id)
    service = service_of(request)
    found = await service.collection(collection)
    async with within(timeout):
        records = await service.in_thread(found.retrieve, [wanted], PayloadSelector(enabled=True), True)
    if not records:
        raise NotFound(f"Point with id {id_to_json(wanted)} does not exists!")
    return reply(request, record_json(records[0], True))


def _path_id(text: str) -> PointId:
    return parse_id(int(text) if text.isascii() and text.isdigit() else text, "point_id")


@router.post("/delete")
@documented(schemas.UpdateResult, body=schemas.Selector, errors=(404, 507), example={"points": [1, 2]})
async def delete_points(request: Request, collection: CollectionName, options: Write) -> Response:
    """Delete points by id or by filter; ids that are not there are ignored."""
    body = decoded(schemas.Selector, request)
    return await apply(request, collection, options, lambda _: DeletePoints(codec.selector(body)))


@router.post("/scroll")
@documented(
    schemas.ScrollResult,
    body=schemas.ScrollPoints,
    errors=(404,),
    example={"limit": 10, "filter": {"must": [{"key": "city", "match": {"value": "Berlin"}}]}},
)
async def scroll_points(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """A page of points by ascending id, or ordered by a payload key."""
    wanted = scroll_request(decoded(schemas.ScrollPoints, request))
    service = service_of(request)
    found = await service.collection(collection)
    async with within(timeout):
        page = await service.in_thread(found.scroll, wanted)
    shown = [record_json(record, wanted.with_payload.enabled) for record in page.records]
    offset = None if page.next_offset is None else id_to_json(page.next_offset)
    return reply(request, {"points": shown, "next_page_offset": offset})


@router.post("/count")
@documented(schemas.CountResult, body=schemas.CountPoints, errors=(404,), example={})
async def count_points(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """The exact number of points, all or those that pass a filter."""
    wanted = filter_of(decoded(schemas.CountPoints, request))
    service = service_of(request)
    found = await service.collection(collection)
    async with within(timeout):
        count = await service.in_thread(found.count, wanted)
    return reply(request, {"count": count})
