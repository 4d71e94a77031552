"""Bulk writes: the binary container, or an Arrow stream."""

from typing import Final

from fastapi import APIRouter, Request, Response

from nearfield.engine.operation import Upsert
from nearfield.engine.schema import CollectionSchema
from nearfield.server import bulk, bulk_arrow
from nearfield.server.errors import UnsupportedMedia
from nearfield.server.exchange import body_of
from nearfield.server.openapi import documented
from nearfield.server.routes.parameters import CollectionName, Write
from nearfield.server.routes.writes import apply
from nearfield.server.schemas.points import UpdateResult

router = APIRouter(tags=["bulk"])

_DECODERS: Final = {bulk.CONTENT_TYPE: bulk.decode_bulk, bulk_arrow.CONTENT_TYPE: bulk_arrow.decode_arrow}
_BINARY: Final = {"type": "string", "format": "binary"}
_documented: Final = documented(
    UpdateResult,
    errors=(404, 415, 507),
    media={
        bulk.CONTENT_TYPE: {"schema": {**_BINARY, "description": bulk.__doc__}},
        bulk_arrow.CONTENT_TYPE: {"schema": {**_BINARY, "description": bulk_arrow.__doc__}},
    },
)


@router.put("/v1/collections/{collection}/bulk")
@router.post("/v1/collections/{collection}/bulk")
@_documented
async def bulk_upsert(request: Request, collection: CollectionName, options: Write) -> Response:
    """Write up to 100,000 points from one binary body; like an upsert, all of them or none."""
    given = request.headers.get("content-type", bulk.CONTENT_TYPE).partition(";")[0].strip().lower()
    decode = _DECODERS.get(given)
    if decode is None:
        raise UnsupportedMedia(f"expected a content-type of {', '.join(_DECODERS)}; got {given[:80]!r}")

    def make(schema: CollectionSchema) -> Upsert:
        return Upsert(decode(body_of(request), schema))

    return await apply(request, collection, options, make)
