"""Bodies that search or read, turned into the engine's requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter.expression import Filter
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.point import PointId, parse_id
from nearfield.engine.query import (
    Fusion,
    FusionMethod,
    OrderBy,
    PayloadSelector,
    Prefetch,
    ScrollRequest,
    SearchParams,
    SearchRequest,
)
from nearfield.engine.schema import UNNAMED
from nearfield.server.codec.decode import RequestBody, decode, not_served
from nearfield.server.codec.vectors import pack_query
from nearfield.server.schemas import points as point_schemas
from nearfield.server.schemas import query as schemas
from nearfield.server.schemas.common import PayloadChoice

_LIMIT = 10
_RRF_K = 2
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


def _params(params: schemas.SearchParams | None, path: str) -> SearchParams:
    if params is None:
        return _DEFAULT_PARAMS
    oversampling: object = params.oversampling
    if oversampling is None and params.quantization is not None:
        oversampling = params.quantization.get("oversampling")
    if oversampling is not None and (not isinstance(oversampling, int | float) or oversampling < 1):
        raise InvalidRequest(
            f"oversampling must be a number of at least 1, got {oversampling!r:.80}", "params.quantization"
        )
    knobs = {
        "ef": params.hnsw_ef,
        "nprobe": params.nprobe,
        "candidates": params.candidates,
        "oversampling": oversampling,
        "target_recall": params.target_recall,
    }
    widths = (params.hnsw_ef, params.nprobe, params.candidates)
    if params.target_recall is not None and widths != (None, None, None):
        raise InvalidRequest(
            "expected either `target_recall` or `hnsw_ef`, `nprobe` and `candidates`", f"{path}params"
        )
    return SearchParams(
        exact=bool(params.exact), search={name: value for name, value in knobs.items() if value is not None}
    )


def order_by(value: str | point_schemas.OrderByKey) -> OrderBy:
    """The order a body asks for; the short form is a key alone."""
    if isinstance(value, str):
        return OrderBy(key=value)
    return OrderBy(key=value.key, descending=value.direction == "desc", start_from=value.start_from)


def read_query(body: RequestBody) -> schemas.QueryPoints:
    """The body of one question; `query` is float32 [d] where it is a vector, or `nearest` alone is.

    Raises like `decode`.
    """
    taken = _native.take_query_vectors(body)
    if taken is not None:
        rest, vectors = taken
        try:
            if _put_back([unread := decode(schemas.UnreadQuery, rest)], vectors):
                return unread
        except InvalidRequest:
            pass  # what is wrong is said of the body as it came
    return decode(schemas.QueryPoints, body)


def read_queries(body: RequestBody) -> Sequence[schemas.QueryPoints]:
    """The questions of a batch, each as of `read_query`."""
    taken = _native.take_query_vectors(body)
    if taken is not None:
        rest, vectors = taken
        try:
            if _put_back(unread := decode(schemas.UnreadBatch, rest).searches, vectors):
                return unread
        except InvalidRequest:
            pass
    return decode(schemas.QueryBatch, body).searches


def _put_back(unread: Sequence[Any], vectors: Sequence[NDArray[np.float32]]) -> bool:
    """Give each question the vector that was taken out of it; False where they are not theirs alone."""
    if len(unread) != len(vectors) or any([each.query is UNSET for each in unread]):
        return False
    for each, vector in zip(unread, vectors, strict=True):
        each.query = vector
    return True


def question(body: schemas.QueryPoints, path: str = "") -> Question:
    """What one query body asks.

    Args:
        path: prefix of the paths in errors, such as `searches[2].`.

    Raises:
        InvalidRequest: a kind of query that is not served, or a malformed part.
    """
    query = body.query
    if isinstance(query, schemas.QueryObject):
        if query.mmr is not None:
            raise not_served("queries by `mmr`", "`nearest` alone", f"{path}query")
        if body.prefetch and (query.order_by is not UNSET or query.sample is not UNSET):
            raise not_served("orders and samples of prefetches", "a vector or a fusion", f"{path}query")
        if query.order_by is not UNSET and _is_alone(query, f"{path}query"):
            return _listing(body, order_by(query.order_by), path)
        if query.sample is not UNSET and _is_alone(query, f"{path}query"):
            return _sample(body, path)
    if query is None:
        if body.prefetch:
            raise InvalidRequest(
                "expected a query that ranks or fuses what the prefetches find", f"{path}query"
            )
        return _listing(body, None, path)
    return _search(body, query, path)


def _is_alone(query: schemas.QueryObject, path: str) -> bool:
    """True; an error where several kinds of query are in one object, or none."""
    kinds = (query.nearest, query.order_by, query.sample, query.fusion, query.rrf)
    if sum(kind is not UNSET for kind in kinds) != 1:
        raise InvalidRequest(
            "expected exactly one of `nearest`, `order_by`, `sample`, `fusion` and `rrf`", path
        )
    return True


def _search(body: schemas.QueryPoints, query: Any, path: str) -> SearchRequest | Lookup:
    wanted = _wanted(query, f"{path}query")
    request = SearchRequest(
        query=wanted,
        using=body.using or UNNAMED,
        limit=_LIMIT if body.limit is None else body.limit,
        offset=body.offset or 0,
        filter=_filter(body.filter, path),
        score_threshold=body.score_threshold,
        params=_params(body.params, path),
        with_payload=payload_selector(body.with_payload, default=False, path=f"{path}with_payload"),
        with_vectors=_with_vectors(body.with_vector),
        prefetch=_prefetches(body.prefetch, path),
    )
    if body.lookup_from is not None and isinstance(wanted, int | UUID):
        return Lookup(request, body.lookup_from.collection, body.lookup_from.vector or request.using)
    return request


def _wanted(query: Any, at: str) -> NDArray[np.float32] | PointId | Fusion:
    """The vector, id or fusion that a `query` means."""
    if isinstance(query, schemas.QueryObject):
        _is_alone(query, at)
        if query.fusion is not UNSET:
            return Fusion(FusionMethod(query.fusion))
        if query.rrf is not UNSET:
            return Fusion(FusionMethod.RRF, _RRF_K if query.rrf.k is None else query.rrf.k, query.rrf.weights)
        query, at = query.nearest, f"{at}.nearest"
    if isinstance(query, np.ndarray):
        return query
    if isinstance(query, list):
        return pack_query(query, at)
    if isinstance(query, dict):
        raise not_served("sparse vectors and inference inputs", "a vector or a point id", at)
    return parse_id(query, at)


def _prefetches(value: schemas.Prefetch | list[schemas.Prefetch] | None, path: str) -> Sequence[Prefetch]:
    if value is None:
        return ()
    bodies = value if isinstance(value, list) else [value]
    return [_prefetch(body, f"{path}prefetch[{at}].") for at, body in enumerate(bodies)]


def _prefetch(body: schemas.Prefetch, path: str) -> Prefetch:
    query = body.query
    listed = isinstance(query, schemas.QueryObject) and (
        query.order_by is not UNSET or query.sample is not UNSET or query.mmr is not None
    )
    if query is None or listed:
        raise not_served("prefetches by order, sample or mmr", "by vector, id or fusion", f"{path}query")
    if body.lookup_from is not None:
        raise not_served("prefetches that look up other collections", "vectors", f"{path}lookup_from")
    return Prefetch(
        query=_wanted(query, f"{path}query"),
        using=body.using or UNNAMED,
        limit=_LIMIT if body.limit is None else body.limit,
        filter=_filter(body.filter, path),
        score_threshold=body.score_threshold,
        params=_params(body.params, path),
        prefetch=_prefetches(body.prefetch, path),
    )


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
