"""Searching."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from nearfield.server.schemas.common import (
    Answer,
    Body,
    FilterValue,
    Payload,
    PointIdValue,
    ShardKey,
    VectorName,
    VectorsValue,
    VectorValue,
    WithPayload,
    WithVector,
)
from nearfield.server.schemas.points import OrderByKey

QUERIES_NOT_SERVED = frozenset(
    {
        *("recommend", "discover", "context", "formula", "relevance_feedback"),
        *("text", "image", "object", "model", "indices", "values"),
    }
)
"""Fields of a `query` object that the wire format has and this version answers with a 400 naming them."""
Near = Annotated[
    VectorValue | int | str | dict[str, Any],
    Meta(description="A vector, or the id of a stored point (which is left out of the answer)."),
]


class RrfParams(Body):
    """Reciprocal rank fusion: rank r, from 0, gives 1 / ((r + 1) / weight + k - 1)."""

    k: Annotated[int, Meta(ge=1)] | None = None
    weights: Annotated[list[float], Meta(description="One per prefetch; 1 if left out.")] | None = None


class QueryObject(Body):
    """Exactly one of the first five; the fusions need `prefetch`."""

    nearest: Near | UnsetType = UNSET
    fusion: (
        Annotated[
            Literal["rrf", "dbsf"],
            Meta(
                description="Fuse the prefetches' rankings: by reciprocal ranks, or by scores scaled alike."
            ),
        ]
        | UnsetType
    ) = UNSET
    rrf: RrfParams | UnsetType = UNSET
    order_by: Annotated[str, Meta(min_length=1)] | OrderByKey | UnsetType = UNSET
    sample: Literal["random"] | UnsetType = UNSET
    mmr: Annotated[Any, Meta(description="Not served: answered 400.")] | None = None


class SearchParams(Body):
    """How to search."""

    hnsw_ef: (
        Annotated[int, Meta(description="Breadth of a graph search; larger finds more.", ge=1, le=1_000_000)]
        | None
    ) = None
    nprobe: Annotated[int, Meta(description="Lists visited by the `ivf` index.", ge=1)] | None = None
    target_recall: (
        Annotated[
            float,
            Meta(
                description="Share of the true neighbours to find, in place of `hnsw_ef`, or of a "
                "multi-vector's `candidates` and `oversampling`: the index takes the breadth that was "
                "measured to give it when it was built (1: a scan). Indexes that were not calibrated answer "
                "400. See `GET /v1/collections/{collection}/recall`.",
                gt=0,
                le=1,
            ),
        ]
        | None
    ) = None
    candidates: (
        Annotated[
            int,
            Meta(
                description="Documents of a multi-vector that MaxSim ranks: at least limit and offset. Left "
                "out: as many as the index's `target_recall` (0.98) took when it was built.",
                ge=1,
                le=100_000,
            ),
        ]
        | None
    ) = None
    oversampling: (
        Annotated[float, Meta(description="The same, as a multiple of limit and offset.", ge=1)] | None
    ) = None
    exact: Annotated[bool, Meta(description="Scan every point.")] | None = None
    indexed_only: Annotated[bool, Meta(description="Accepted and ignored.")] | None = None
    quantization: (
        Annotated[
            dict[str, Any],
            Meta(description="`oversampling` in it is taken as the one above; the rest is ignored."),
        ]
        | None
    ) = None
    acorn: Annotated[dict[str, Any], Meta(description="Accepted and ignored.")] | None = None
    idf: Annotated[Any, Meta(description="Accepted and ignored.")] | None = None


class LookupLocation(Body):
    """Where the query's point id is looked up, if not in the collection searched."""

    collection: str
    vector: VectorName | None = None
    shard_key: ShardKey | None = None


class Prefetch(Body):
    """A stage before another: finds the candidates that the query above ranks again, or fuses."""

    query: (
        Annotated[
            VectorValue | int | str | QueryObject,
            Meta(description="A vector, a stored point's id, or an object: `nearest`, `fusion` or `rrf`."),
        ]
        | None
    ) = None
    prefetch: Annotated["Prefetch | list[Prefetch]", Meta(description="Stages before this one.")] | None = (
        None
    )
    using: VectorName | None = None
    filter: (
        Annotated[
            FilterValue, Meta(description="Beside the filters of the stages above, which hold here too.")
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    score_threshold: float | None = None
    params: SearchParams | None = None
    lookup_from: Annotated[LookupLocation, Meta(description="Not served: answered 400.")] | None = None


class QueryPoints(Body):
    """One question."""

    query: (
        Annotated[
            VectorValue | int | str | QueryObject,
            Meta(
                description="A vector, a stored point's id, or an object; without, points by ascending id.",
                examples=[[0.1, 0.2, 0.3, 0.4], {"nearest": 42}, {"order_by": "year"}],
            ),
        ]
        | None
    ) = None
    using: VectorName | None = None
    filter: FilterValue | None = None
    limit: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    offset: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    score_threshold: Annotated[float, Meta(description="Hits with a worse score are dropped.")] | None = None
    params: SearchParams | None = None
    with_payload: WithPayload | None = None
    with_vector: WithVector | None = None
    lookup_from: LookupLocation | None = None
    prefetch: (
        Annotated[
            Prefetch | list[Prefetch],
            Meta(
                description="Searches that find the candidates; the query then ranks only these, or "
                "fuses their rankings.",
                examples=[{"query": [0.1, 0.2, 0.3, 0.4], "using": "dense", "limit": 100}],
            ),
        ]
        | None
    ) = None
    shard_key: ShardKey | None = None


class QueryBatch(Body):
    """Several questions; answers come in their order."""

    searches: list[QueryPoints]


class TakenNearest(Body):
    """A `query` object that has `nearest` alone, whose vector was taken out."""

    nearest: None


class UnreadQuery(QueryPoints):
    """A question without the vector of its `query`, which is read straight into an array."""

    query: TakenNearest | UnsetType | None = UNSET  # type: ignore[assignment]


class UnreadBatch(Body):
    """Several of them."""

    searches: list[UnreadQuery]


class NamedVector(Body):
    """A vector and the name of the vector it is compared with."""

    name: VectorName
    vector: VectorValue


class SearchPoints(Body):
    """The older form of a search."""

    vector: VectorValue | NamedVector
    limit: Annotated[int, Meta(ge=1, le=100_000)]
    filter: FilterValue | None = None
    offset: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    score_threshold: float | None = None
    params: SearchParams | None = None
    with_payload: WithPayload | None = None
    with_vector: WithVector | None = None
    shard_key: ShardKey | None = None


class SearchBatch(Body):
    """Several searches of the older form."""

    searches: list[SearchPoints]


class ScoredPoint(Answer):
    """A hit; nearest first."""

    id: PointIdValue
    version: int
    score: float
    payload: Payload | None = None
    vector: VectorsValue | None = None
    order_value: int | float | None = None


class QueryResult(Answer):
    """The hits of one question."""

    points: list[ScoredPoint]
