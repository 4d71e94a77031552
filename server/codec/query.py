"""Bodies that search or read, turned into the engine's requests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import UNSET

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter.expression import Filter
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.point import parse_id
from nearfield.engine.query import OrderBy, PayloadSelector, ScrollRequest, SearchParams, SearchRequest
from nearfield.engine.schema import UNNAMED
from nearfield.server.codec.decode import not_served
from nearfield.server.codec.vectors import pack_query
from nearfield.server.schemas import points as point_schemas
from nearfield.server.schemas import query as schemas
from nearfield.server.schemas.common import PayloadChoice

_LIMIT = 10
_EVERYTHING = PayloadSelector(enabled=True)
_NOTHING = PayloadSelector(enabled=False)
_DEFAULT_PARAMS = SearchParams()


@dataclass(frozen=True)
class Sample:
    """Random points."""

    limit: int
    filter: Filter | None
    with_payload: PayloadSelector
    with_vectors: bool | list[str]


@dataclass(frozen=True)
class Listing:
    """Points in the order of a scroll, given as hits."""

    scroll: ScrollRequest
    skip: int


@dataclass(frozen=True)
class Lookup:
    """A search whose query vector is that of a point of another collection."""

    request: SearchRequest
    collection: str
    vector: str


Question = SearchRequest | Listing | Sample | Lookup


def payload_selector(
    value: bool | list[str] | PayloadChoice | None, *, default: bool, path: str = "with_payload"
) -> PayloadSelector:
    """What `with_payload` means; `default` where it is missing."""
    if value is None:
        value = default
    if isinstance(value, bool):
        return _EVERYTHING if value else _NOTHING
    if isinstance(value, list):
        return PayloadSelector(enabled=True, include=value)
    if (value.include is None) == (value.exclude is None):
        raise InvalidRequest("expected exactly one of `include` and `exclude`", path)
    return PayloadSelector(enabled=True, include=value.include, exclude=value.exclude or ())


def _filter(value: dict[str, Any] | None, path: str = "") -> Filter | None:
    return None if value is None else parse_filter(value, f"{path}filter")


def _params(params: schemas.SearchParams | None) -> SearchParams:
    if params is None:
        return _DEFAULT_PARAMS
    knobs = {"ef": params.hnsw_ef, "nprobe": params.nprobe}
    return SearchParams(
        exact=bool(params.exact), search={name: value for name, value in knobs.items() if value is not None}
    )


def order_by(value: str | point_schemas.OrderByKey) -> OrderBy:
    """The order a body asks for; the short form is a key alone."""
    if isinstance(value, str):
        return OrderBy(key=value)
    return OrderBy(key=value.key, descending=value.direction == "desc", start_from=value.start_from)


def question(body: schemas.QueryPoints, path: str = "") -> Question:
    """What one query body asks.

    Args:
        path: prefix of the paths in errors, such as `searches[2].`.

    Raises:
        InvalidRequest: a kind of query that is not served, or a malformed part.
    """
    if body.prefetch:
        raise not_served(
            "prefetches and fusion", "one query per request, or several to `query/batch`", f"{path}prefetch"
        )
    query = body.query
    if isinstance(query, schemas.QueryObject):
        if query.mmr is not None:
            raise not_served("queries by `mmr`", "`nearest` alone", f"{path}query")
        given = [part for part in (query.nearest, query.order_by, query.sample) if part is not UNSET]
        if len(given) != 1:
            raise InvalidRequest("expected exactly one of `nearest`, `order_by` and `sample`", f"{path}query")
        if query.order_by is not UNSET:
            return _listing(body, order_by(query.order_by), path)
        if query.sample is not UNSET:
            return _sample(body, path)
        return _search(body, given[0], f"{path}query.nearest", path)
    if query is None:
        return _listing(body, None, path)
    return _search(body, query, f"{path}query", path)


def _search(body: schemas.QueryPoints, near: Any, at: str, path: str) -> SearchRequest | Lookup:
    if isinstance(near, list):
        query: Any = pack_query(near, at)
    elif isinstance(near, dict):
        raise not_served("sparse vectors and inference inputs", "a vector or a point id", at)
    else:
        query = parse_id(near, at)
    request = SearchRequest(
        query=query,
        using=body.using or UNNAMED,
        limit=_LIMIT if body.limit is None else body.limit,
        offset=body.offset or 0,
        filter=_filter(body.filter, path),
        score_threshold=body.score_threshold,
        params=_params(body.params),
        with_payload=payload_selector(body.with_payload, default=False, path=f"{path}with_payload"),
        with_vectors=_with_vectors(body.with_vector),
    )
    if body.lookup_from is not None and not isinstance(query, np.ndarray):
        return Lookup(request, body.lookup_from.collection, body.lookup_from.vector or request.using)
    return request


def _with_vectors(value: bool | list[str] | None) -> bool | list[str]:
    return False if value is None else value


def _listing(body: schemas.QueryPoints, order: OrderBy | None, path: str) -> Listing:
    skip = body.offset or 0
    scroll = ScrollRequest(
        limit=skip + (_LIMIT if body.limit is None else body.limit),
        filter=_filter(body.filter, path),
        order_by=order,
        with_payload=payload_selector(body.with_payload, default=False, path=f"{path}with_payload"),
        with_vectors=_with_vectors(body.with_vector),
    )
    return Listing(scroll, skip)


def _sample(body: schemas.QueryPoints, path: str) -> Sample:
    return Sample(
        limit=_LIMIT if body.limit is None else body.limit,
        filter=_filter(body.filter, path),
        with_payload=payload_selector(body.with_payload, default=False, path=f"{path}with_payload"),
        with_vectors=_with_vectors(body.with_vector),
    )


def modern(body: schemas.SearchPoints) -> schemas.QueryPoints:
    """The older search body as a query body."""
    named = body.vector if isinstance(body.vector, schemas.NamedVector) else None
    return schemas.QueryPoints(
        query=body.vector if isinstance(body.vector, list) else body.vector.vector,
        using=None if named is None else named.name,
        filter=body.filter,
        limit=body.limit,
        offset=body.offset,
        score_threshold=body.score_threshold,
        params=body.params,
        with_payload=body.with_payload,
        with_vector=body.with_vector,
    )


def scroll_request(body: point_schemas.ScrollPoints) -> ScrollRequest:
    """The engine's form of a scroll.

    Raises:
        InvalidRequest: both `offset` and `order_by`.
    """
    if body.offset is not None and body.order_by is not None:
        raise InvalidRequest("`offset` and `order_by` exclude each other: go on with `start_from`", "offset")
    return ScrollRequest(
        limit=_LIMIT if body.limit is None else body.limit,
        offset=None if body.offset is None else parse_id(body.offset, "offset"),
        filter=_filter(body.filter),
        order_by=None if body.order_by is None else order_by(body.order_by),
        with_payload=payload_selector(body.with_payload, default=True),
        with_vectors=_with_vectors(body.with_vector),
    )


def filter_of(body: point_schemas.CountPoints) -> Filter | None:
    """The filter of a count."""
    return _filter(body.filter)
