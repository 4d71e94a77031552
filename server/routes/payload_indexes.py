"""Payload indexes: declared types of payload keys."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from nearfield.server.codec.collections import field_params
from nearfield.server.exchange import decoded
from nearfield.server.openapi import documented
from nearfield.server.routes.parameters import CollectionName, Write
from nearfield.server.routes.writes import administer
from nearfield.server.schemas import collections as schemas
from nearfield.server.schemas.points import UpdateResult

router = APIRouter(prefix="/collections/{collection}/index", tags=["payload indexes"])


@router.put("")
@documented(
    UpdateResult,
    body=schemas.FieldIndex,
    errors=(404, 507),
    example={"field_name": "city", "field_schema": "keyword"},
)
async def create_payload_index(request: Request, collection: CollectionName, options: Write) -> Response:
    """Declare the type of a payload key. Filters are exact and fast with or without it."""
    body = decoded(schemas.FieldIndex, request)
    params = field_params(body)
    return await administer(
        request, collection, options, lambda found: found.create_field_index(body.field_name, params)
    )


@router.delete("/{field_name:path}")
@documented(UpdateResult, errors=(404, 507))
async def delete_payload_index(
    request: Request,
    collection: CollectionName,
    field_name: Annotated[str, Path(description="The payload key.", min_length=1, examples=["city"])],
    options: Write,
) -> Response:
    """Forget a declaration; one that is not there is ignored."""
    return await administer(request, collection, options, lambda found: found.delete_field_index(field_name))
