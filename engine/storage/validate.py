"""All that can be the client's fault in a write, checked before it is queued; the stored form of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits, payload
from nearfield.engine._native import unit_rows
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.protocol import Rows
from nearfield.engine.point import PointBatch, StoredId, VectorColumn, to_stored
from nearfield.engine.query import PointSelector
from nearfield.engine.schema import CollectionSchema, Datatype, Distance, VectorSpec
from nearfield.engine.segment.column import StoredColumn
from nearfield.engine.storage.documents import stored_documents
from nearfield.engine.storage.values import require_finite, require_range

_EMPTY_PAYLOAD = b"{}"


@dataclass(frozen=True)
class StoredPoints:
    """A checked batch in its stored form: no id twice.

    Args:
        ids: n stored ids.
        columns: by vector name, in the stored dtype, Cosine ones normalised.
        payloads: n payloads (None: empty), or None when no point has one.
    """

    ids: list[StoredId]
    columns: Mapping[str, StoredColumn]
    payloads: list[bytes | None] | None

    @property
    def bytes(self) -> int:
        """Bytes of vectors and payloads."""
        vectors = sum(column.values.nbytes for column in self.columns.values())
        return vectors + sum(len(data) for data in self.payloads or () if data)


def stored_points(batch: PointBatch, schema: CollectionSchema) -> StoredPoints:
    """Check a batch and convert it; of points with the same id the last stays.

    Raises:
        InvalidRequest: too many points, a wrong or unknown vector, a value that is not finite or not of the
            datatype, or a payload that is not a JSON object within its limits; names the place.
    """
    count = len(batch)
    if count > limits.BATCH_POINTS_MAX:
        raise InvalidRequest(
            f"a batch must have at most {limits.BATCH_POINTS_MAX} points, got {count}", "points"
        )
    columns = {
        name: stored_column(column, count, name, vector_spec(schema, name))
        for name, column in batch.vectors.items()
    }
    points = StoredPoints([to_stored(point) for point in batch.ids], columns, _payloads(batch))
    return _without_repeats(points) if len(set(points.ids)) < count else points


def vector_spec(schema: CollectionSchema, name: str) -> VectorSpec:
    """The spec of a vector name.

    Raises:
        InvalidRequest: the collection has no such vector.
    """
    spec = schema.vectors.get(name)
    if spec is None:
        raise InvalidRequest(f"Not existing vector name error: {name}")
    return spec


def require_kind(is_matrix: bool, spec: VectorSpec, where: str) -> None:
    """Check that a multi-vector gets matrices, and any other vector single ones.

    Raises:
        InvalidRequest: it is the other way round.
    """
    if is_matrix and spec.multivector is None:
        raise InvalidRequest(
            f"expected one vector of {spec.size} numbers, got a matrix: "
            "only vectors with a multivector_config take those",
            where,
        )
    if not is_matrix and spec.multivector is not None:
        raise InvalidRequest(
            f"expected a matrix, that is a list of vectors of {spec.size} numbers each, for a multi-vector; "
            "got one vector",
            where,
        )


def require_dimensions(found: int, spec: VectorSpec) -> None:
    """Check a vector's number of dimensions.

    Raises:
        InvalidRequest: it is not the collection's.
    """
    if found != spec.size:
        raise InvalidRequest(f"Vector dimension error: expected dim: {spec.size}, got {found}")


def stored_column(column: VectorColumn, count: int, name: str, spec: VectorSpec) -> StoredColumn:
    """Check one vector of a batch and convert it to its stored form.

    Args:
        count: points of the batch.

    Raises:
        InvalidRequest: wrong shape, positions or values.
        Unprocessable: a document beyond its limits.
    """
    where = f"vectors[{name!r}]" if name else "vectors"
    require_kind(column.offsets is not None, spec, where)
    values, points = np.asarray(column.values, dtype=np.float32), column.points
    if values.ndim != 2:
        raise InvalidRequest(
            f"vectors must be an array of points x dimensions, got {values.ndim} axes", where
        )
    require_dimensions(values.shape[1], spec)
    expected = count if points is None else len(points)
    found = len(values) if column.offsets is None else len(column.offsets) - 1
    if found != expected:
        raise InvalidRequest(f"expected {expected} vectors, one per point, got {found}", where)
    if points is not None:
        points = np.asarray(points, dtype=np.int64)
        if len(points) and (points[0] < 0 or points[-1] >= count or (np.diff(points) <= 0).any()):
            raise InvalidRequest(f"positions must ascend within 0..{count - 1}", where)
        points = None if len(points) == count else points
    if spec.multivector is not None and column.offsets is not None:
        documents = stored_documents(values, column.offsets, spec, spec.multivector, where)
        return StoredColumn(documents.values, points, documents.bounds())
    require_finite(values, where)
    return StoredColumn(_converted(values, spec, where), points)


def stored_ids(selector: PointSelector) -> list[StoredId] | None:
    """The distinct stored ids of a selector; None when it selects by filter.

    Raises:
        InvalidRequest: neither or both of ids and filter, or no id at all.
    """
    if (selector.ids is None) == (selector.filter is None):
        raise InvalidRequest("a selector needs either point ids or a filter")
    if selector.ids is None:
        return None
    if not len(selector.ids):
        raise InvalidRequest("Empty update request: a selector needs at least one point id", "points")
    return list(dict.fromkeys(to_stored(point) for point in selector.ids))


def _converted(values: NDArray[np.float32], spec: VectorSpec, where: str) -> Rows:
    if spec.datatype is Datatype.UINT8:
        return _as_uint8(values, where)
    if spec.distance is Distance.COSINE:
        values = unit_rows(np.ascontiguousarray(values, np.float32))
    if spec.datatype is Datatype.FLOAT16:
        require_range(
            values, np.abs(values) <= np.finfo(np.float16).max, "float16 values must be within 65504", where
        )
        return values.astype(np.float16)
    # A copy: the caller may go on to use its array while the write waits.
    return np.array(values, order="C")


def _as_uint8(values: NDArray[np.float32], where: str) -> NDArray[np.uint8]:
    fits = (values >= 0) & (values <= 255) & (values == np.floor(values))
    require_range(values, fits, "uint8 values must be integers within 0..255", where)
    return values.astype(np.uint8)


def _payloads(batch: PointBatch) -> list[bytes | None] | None:
    if batch.payloads is None:
        return None
    if len(batch.payloads) != len(batch):
        raise InvalidRequest(
            f"expected {len(batch)} payloads, one per point, got {len(batch.payloads)}", "payloads"
        )
    for position, data in enumerate(batch.payloads):
        if data is not None:
            payload.check_encoded(data, f"points[{position}].payload")
    return [None if data == _EMPTY_PAYLOAD else data for data in batch.payloads]


def _without_repeats(points: StoredPoints) -> StoredPoints:
    last = {stored: position for position, stored in enumerate(points.ids)}
    return select_points(points, np.sort(np.fromiter(last.values(), dtype=np.int64, count=len(last))))


def select_points(points: StoredPoints, kept: NDArray[np.int64]) -> StoredPoints:
    """Some points of a batch, by ascending position."""
    columns = {}
    for name, column in points.columns.items():
        if column.present is None:
            columns[name] = column.taken(kept, None)
            continue
        mine = np.flatnonzero(np.isin(column.present, kept))
        columns[name] = column.taken(mine, np.searchsorted(kept, column.present[mine]))
    payloads = None if points.payloads is None else [points.payloads[position] for position in kept.tolist()]
    return StoredPoints([points.ids[position] for position in kept.tolist()], columns, payloads)


def occurrences(ids: Sequence[StoredId]) -> list[NDArray[np.int64]]:
    """Positions of the first occurrence of each id, of the second, and so on."""
    seen: dict[StoredId, int] = {}
    rounds: list[list[int]] = []
    for position, stored in enumerate(ids):
        number = seen.get(stored, 0)
        seen[stored] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(position)
    return [np.array(members, dtype=np.int64) for members in rounds]
