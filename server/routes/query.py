"""Searching: the query routes, and the older search routes as forms of them."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import APIRouter, Request, Response

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, NotFound, Unprocessable
from nearfield.engine.point import PointId, id_to_json
from nearfield.engine.query import PayloadSelector, ScrollRequest, SearchRequest
from nearfield.server.codec.answers import hits_json, listed_json, success
from nearfield.server.codec.decode import RequestBody
from nearfield.server.codec.query import (
    Listing,
    Lookup,
    Question,
    Sample,
    modern,
    question,
    read_queries,
    read_query,
)
from nearfield.server.exchange import STARTED, body_of, decoded, reply, service_of
from nearfield.server.openapi import documented
from nearfield.server.routes.parameters import CollectionName, ReadTimeout, within
from nearfield.server.schemas import query as schemas
from nearfield.server.search_queue import Hits, Outcome
from nearfield.server.service import Service

if TYPE_CHECKING:
    from nearfield.engine.collection import Collection

QUERY_PATH: Final = "/collections/{collection}/points/query"
_LISTED_SCORE: Final = 1.0
"""Score of points that were not compared with anything: the wire format's."""
_NO_PAYLOAD: Final = PayloadSelector(enabled=False)
_SAMPLE_PAGE: Final = 10_000
_VECTOR_EXAMPLE: Final = [0.1, 0.2, 0.3, 0.4]

router = APIRouter(tags=["search"])


async def answer_query(
    service: Service, collection: str, body: RequestBody, started: float, timeout_s: int | None
) -> bytes:
    """The whole answer to one query body; called by the gateway, with no framework between, and by the route.

    Raises:
        NearfieldError: what the body, the collection's name or the search has wrong.
        TimeoutError: no answer within `timeout_s`.
    """
    wanted = question(read_query(body))
    found = await service.collection(collection)
    if timeout_s is None:
        points = await _answer(service, found, wanted)
    else:
        async with within(timeout_s):
            points = await _answer(service, found, wanted)
    return success({"points": points}, started)


async def _answer(service: Service, collection: "Collection", wanted: Question) -> list[dict[str, Any]]:
    match wanted:
        case SearchRequest():
            hits = await service.search_queue(collection).submit(wanted)
            return hits_json(hits, wanted.with_payload.enabled)
        case Listing(scroll, skip):
            page = await service.in_thread(collection.scroll, scroll)
            return listed_json(page.records[skip:], scroll.with_payload.enabled, _LISTED_SCORE)
        case Sample():
            return await service.in_thread(_sample, collection, wanted)
        case Lookup():
            return await _answer(service, collection, await _looked_up(service, wanted))


async def _looked_up(service: Service, wanted: Lookup) -> SearchRequest:
    """The search with the vector of the other collection's point."""
    other = await service.collection(wanted.collection)
    point_id = cast(PointId, wanted.request.query)
    records = await service.in_thread(other.retrieve, [point_id], _NO_PAYLOAD, [wanted.vector])
    vectors = records[0].vectors if records else None
    if not vectors or wanted.vector not in vectors:
        raise NotFound(f"No point with id {id_to_json(point_id)} and a vector `{wanted.vector}` found")
    return replace(wanted.request, query=vectors[wanted.vector])


def _sample(collection: "Collection", wanted: Sample) -> list[dict[str, Any]]:
    """A uniform sample without replacement: one pass over the ids, so time grows with the collection."""
    chosen: list[PointId] = []
    seen = 0
    page = ScrollRequest(limit=_SAMPLE_PAGE, filter=wanted.filter, with_payload=_NO_PAYLOAD)
    while True:
        found = collection.scroll(page)
        for record in found.records:
            seen += 1
            if len(chosen) < wanted.limit:
                chosen.append(record.id)
            elif (at := random.randrange(seen)) < wanted.limit:
                chosen[at] = record.id
        if found.next_offset is None:
            break
        page = replace(page, offset=found.next_offset)
    random.shuffle(chosen)
    records = collection.retrieve(chosen, wanted.with_payload, wanted.with_vectors)
    return listed_json(records, wanted.with_payload.enabled, _LISTED_SCORE)


async def _answer_all(
    request: Request, collection: str, timeout_s: int | None, bodies: Sequence[schemas.QueryPoints]
) -> list[list[dict[str, Any]]]:
    """Answers to several questions, in order; the searches among them are done together."""
    if len(bodies) > limits.SEARCH_BATCH_MAX:
        raise Unprocessable(
            f"expected at most {limits.SEARCH_BATCH_MAX} searches, got {len(bodies)}", "searches"
        )
    service = service_of(request)
    questions = [question(body, f"searches[{i}].") for i, body in enumerate(bodies)]
    found = await service.collection(collection)
    queue = service.search_queue(found)
    searches = [wanted for wanted in questions if isinstance(wanted, SearchRequest)]
    async with within(timeout_s):
        # The searches have one future: one for each would cost as much as its search.
        found_all, *others = await asyncio.gather(
            queue.submit_all(searches),
            *(_answer(service, found, each) for each in questions if not isinstance(each, SearchRequest)),
            return_exceptions=True,
        )
    hits, rest = iter(cast(list[Outcome], found_all)), iter(others)
    answers: list[list[dict[str, Any]]] = []
    for i, wanted in enumerate(questions):
        outcome = next(hits) if isinstance(wanted, SearchRequest) else next(rest)
        if isinstance(outcome, BaseException):
            raise _at(f"searches[{i}]", outcome)
        if isinstance(wanted, SearchRequest):
            answers.append(hits_json(cast(Hits, outcome), wanted.with_payload.enabled))
        else:
            answers.append(cast(list[dict[str, Any]], outcome))
    return answers


def _at(path: str, error: BaseException) -> BaseException:
    """The error of one of several questions, saying which one it was."""
    if not isinstance(error, InvalidRequest):
        return error
    return type(error)(error.message, f"{path}.{error.path}" if error.path else path)


@router.post(QUERY_PATH)
@documented(
    schemas.QueryResult,
    body=schemas.QueryPoints,
    errors=(404,),
    example={"query": _VECTOR_EXAMPLE, "limit": 3, "with_payload": True},
)
async def query_points(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """The points nearest to a vector or to a stored point, or points in an order."""
    started = request.scope[STARTED]
    answer = await answer_query(service_of(request), collection, body_of(request), started, timeout)
    return Response(answer, media_type="application/json")


@router.post("/collections/{collection}/points/query/batch")
@documented(
    list[schemas.QueryResult],
    body=schemas.QueryBatch,
    errors=(404,),
    example={"searches": [{"query": _VECTOR_EXAMPLE, "limit": 3}]},
)
async def query_batch(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """Several questions at once."""
    bodies = read_queries(body_of(request))
    answers = await _answer_all(request, collection, timeout, bodies)
    return reply(request, [{"points": points} for points in answers])


@router.post("/collections/{collection}/points/search", deprecated=True)
@documented(
    list[schemas.ScoredPoint],
    body=schemas.SearchPoints,
    errors=(404,),
    example={"vector": _VECTOR_EXAMPLE, "limit": 3},
)
async def search_points(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """The older form of a query by vector."""
    body = decoded(schemas.SearchPoints, request)
    service = service_of(request)
    found = await service.collection(collection)
    async with within(timeout):
        points = await _answer(service, found, question(modern(body)))
    return reply(request, points)


@router.post("/collections/{collection}/points/search/batch", deprecated=True)
@documented(
    list[list[schemas.ScoredPoint]],
    body=schemas.SearchBatch,
    errors=(404,),
    example={"searches": [{"vector": _VECTOR_EXAMPLE, "limit": 3}]},
)
async def search_batch(request: Request, collection: CollectionName, timeout: ReadTimeout) -> Response:
    """Several searches of the older form."""
    body = decoded(schemas.SearchBatch, request)
    return reply(
        request, await _answer_all(request, collection, timeout, [modern(part) for part in body.searches])
    )
