"""Aliases: second names of collections."""

from fastapi import APIRouter, Request, Response
from msgspec import UNSET

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.storage.catalog import AliasAction, CreateAlias, DeleteAlias, RenameAlias
from nearfield.server.exchange import decoded, reply, service_of
from nearfield.server.openapi import documented
from nearfield.server.routes.collections import AdminTimeout
from nearfield.server.routes.parameters import CollectionName
from nearfield.server.schemas import collections as schemas

router = APIRouter(tags=["aliases"])


@router.post("/collections/aliases")
@documented(
    bool,
    body=schemas.ChangeAliases,
    errors=(404, 409, 507),
    example={"actions": [{"create_alias": {"collection_name": "articles-2", "alias_name": "articles"}}]},
)
async def update_aliases(request: Request, timeout: AdminTimeout = None) -> Response:
    """Create, delete and rename aliases: all of the actions in order, or none."""
    body = decoded(schemas.ChangeAliases, request)
    actions = [_action(action, f"actions[{i}]") for i, action in enumerate(body.actions)]
    service = service_of(request)
    database = await service.database()
    await service.in_thread(database.update_aliases, actions)
    return reply(request, True)


def _action(action: schemas.AliasAction, path: str) -> AliasAction:
    given = [
        part for part in (action.create_alias, action.delete_alias, action.rename_alias) if part is not UNSET
    ]
    if len(given) != 1:
        raise InvalidRequest(
            "expected exactly one of `create_alias`, `delete_alias` and `rename_alias`", path
        )
    match given[0]:
        case schemas.CreateAlias():
            return CreateAlias(given[0].collection_name, given[0].alias_name)
        case schemas.DeleteAlias():
            return DeleteAlias(given[0].alias_name)
        case part:
            return RenameAlias(part.old_alias_name, part.new_alias_name)


@router.get("/aliases")
@documented(schemas.AliasList)
async def list_aliases(request: Request) -> Response:
    """All aliases."""
    database = await service_of(request).database()
    return reply(request, _listed(database.aliases()))


@router.get("/collections/{collection}/aliases")
@documented(schemas.AliasList, errors=(404,))
async def list_collection_aliases(request: Request, collection: CollectionName) -> Response:
    """Aliases of one collection."""
    service = service_of(request)
    found = await service.collection(collection)
    aliases = (await service.database()).aliases()
    return reply(request, _listed({alias: name for alias, name in aliases.items() if name == found.name}))


def _listed(aliases: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    return {"aliases": [{"alias_name": alias, "collection_name": name} for alias, name in aliases.items()]}
