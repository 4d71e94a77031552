"""Writing points and reading them back."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from nearfield.server.schemas.common import (
    Answer,
    Body,
    FilterValue,
    Payload,
    PayloadKey,
    PointIdValue,
    ShardKey,
    VectorName,
    VectorsValue,
    VectorValue,
    WithPayload,
    WithVector,
)

PointIds = Annotated[list[PointIdValue], Meta(description="Ids of the points.")]


class PointIn(Body):
    """A point to write; it replaces a point of the same id whole."""

    id: PointIdValue
    vector: VectorsValue
    payload: Payload | None = None


class PointColumns(Body):
    """Points in columns: lists of one length."""

    ids: PointIds
    vectors: Annotated[
        list[VectorValue] | dict[str, list[VectorValue]],
        Meta(description="A list of vectors, or such a list by vector name."),
    ]
    payloads: list[Payload | None] | None = None


class UpsertPoints(Body):
    """Either `points` or `batch`; everything is written, or nothing."""

    points: list[PointIn] | UnsetType = UNSET
    batch: PointColumns | UnsetType = UNSET
    shard_key: ShardKey | None = None
    update_filter: Annotated[dict[str, Any], Meta(description="Not served: answered 400.")] | None = None
    update_mode: Literal["upsert", "insert_only", "update_only"] | None = None


class Selector(Body):
    """Points by id or by filter; where both are given, the ids count."""

    points: PointIds | None = None
    filter: FilterValue | None = None
    shard_key: ShardKey | None = None


class PointVectorsIn(Body):
    """New vectors of an existing point."""

    id: PointIdValue
    vector: VectorsValue


class UpdateVectors(Body):
    """Vectors given are replaced; others stay, and so does the payload."""

    points: list[PointVectorsIn]
    shard_key: ShardKey | None = None
    update_filter: Annotated[dict[str, Any], Meta(description="Not served: answered 400.")] | None = None


class DeleteVectors(Body):
    """Remove named vectors of the selected points."""

    vector: Annotated[list[VectorName], Meta(min_length=1)]
    points: PointIds | None = None
    filter: FilterValue | None = None
    shard_key: ShardKey | None = None


class SetPayload(Body):
    """Merge into, or replace, the payload of the selected points."""

    payload: Payload
    points: PointIds | None = None
    filter: FilterValue | None = None
    key: (
        Annotated[str, Meta(description="Path of the object to write into; the whole payload without.")]
        | None
    ) = None
    shard_key: ShardKey | None = None


class DeletePayload(Body):
    """Remove payload keys of the selected points."""

    keys: list[PayloadKey]
    points: PointIds | None = None
    filter: FilterValue | None = None
    shard_key: ShardKey | None = None


class UpdateOperation(Body):
    """One of the eight."""

    upsert: UpsertPoints | UnsetType = UNSET
    delete: Selector | UnsetType = UNSET
    set_payload: SetPayload | UnsetType = UNSET
    overwrite_payload: SetPayload | UnsetType = UNSET
    delete_payload: DeletePayload | UnsetType = UNSET
    clear_payload: Selector | UnsetType = UNSET
    update_vectors: UpdateVectors | UnsetType = UNSET
    delete_vectors: DeleteVectors | UnsetType = UNSET


class UpdateBatch(Body):
    """Operations done in order."""

    operations: list[UpdateOperation]


class GetPoints(Body):
    """Points by id; ids that are not there are left out of the answer."""

    ids: PointIds
    with_payload: WithPayload | None = None
    with_vector: WithVector | None = None
    shard_key: ShardKey | None = None


class OrderByKey(Body):
    """Order by a number or datetime in the payload."""

    key: PayloadKey
    direction: Literal["asc", "desc"] | None = None
    start_from: int | float | str | None = None


class ScrollPoints(Body):
    """A page of points, by id or by a payload key."""

    offset: PointIdValue | None = None
    limit: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    filter: FilterValue | None = None
    order_by: Annotated[str, Meta(min_length=1)] | OrderByKey | None = None
    with_payload: WithPayload | None = None
    with_vector: WithVector | None = None
    shard_key: ShardKey | None = None


class CountPoints(Body):
    """Points to count; all of them without a filter. Counts are always exact."""

    filter: FilterValue | None = None
    exact: bool | None = None
    shard_key: ShardKey | None = None


class Record(Answer):
    """A stored point."""

    id: PointIdValue
    payload: Payload | None = None
    vector: VectorsValue | None = None
    order_value: int | float | None = None


class ScrollResult(Answer):
    """A page, and the id that the next one starts at (null at the end)."""

    points: list[Record]
    next_page_offset: PointIdValue | None = None


class CountResult(Answer):
    """The exact number."""

    count: int


class UpdateResult(Answer):
    """What became of a write: the first two are on disk, `wait_timeout` may still be applied."""

    status: Literal["completed", "acknowledged", "wait_timeout"]
    operation_id: int | None = None
