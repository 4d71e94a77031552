"""Reading points: by id, page by page, counted, and the records of a search's winners."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, Unavailable, Unprocessable
from nearfield.engine.filter.expression import Filter
from nearfield.engine.filter.field_index.order import Order, order_start
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.payload import select
from nearfield.engine.point import PointId, StoredId, from_stored, to_stored
from nearfield.engine.query import OrderBy, PayloadSelector, Record, ScrollPage, ScrollRequest
from nearfield.engine.schema import VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn
from nearfield.engine.segment.segment_set import SegmentSet
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.engine.storage.point_table import StoredPoint
from nearfield.engine.storage.validate import vector_spec

Vectors = dict[str, NDArray[np.float32]]
T = TypeVar("T")
_ATTEMPTS: Final = 4
_STREAM_ROWS: Final = 2048
_SORTED_ROWS_MAX: Final = 20_000
"""Matches up to this many are looked up and sorted by id; more are found by walking the ids."""


class PointReader:
    """Reads of one collection; any thread may use it."""

    def __init__(self, parts: CollectionStore) -> None:
        self._parts = parts
        self._store = parts.store

    def retrieve(
        self, ids: Sequence[PointId], with_payload: PayloadSelector, with_vectors: bool | Sequence[str]
    ) -> list[Record]:
        """The points there are of these ids, in the order asked, each once.

        Raises:
            InvalidRequest: an unknown vector name.
        """
        wanted = list(dict.fromkeys(to_stored(point) for point in ids))

        def read() -> list[StoredPoint]:
            found = {point[1]: point for point in self._store.points_of_ids(wanted, with_payload.enabled)}
            return [found[stored] for stored in wanted if stored in found]

        return self._records(read, with_payload, with_vectors)

    def scroll(self, request: ScrollRequest) -> ScrollPage:
        """One page of points.

        Raises:
            InvalidRequest: a bad filter key, order or vector name.
            Unprocessable: limit outside 1..SCROLL_LIMIT_MAX.
        """
        if not 1 <= request.limit <= limits.SCROLL_LIMIT_MAX:
            raise Unprocessable(
                f"limit must be between 1 and {limits.SCROLL_LIMIT_MAX}, got {request.limit}", "limit"
            )
        if request.order_by is not None:
            return self._scroll_ordered(request, request.order_by)
        first = None if request.offset is None else to_stored(request.offset)
        more: list[StoredId] = []

        def read() -> list[StoredPoint]:
            count, with_payload, condition = request.limit + 1, request.with_payload.enabled, request.filter
            if condition is None:
                found = self._store.points_from(first, count, with_payload)
            else:
                found = self.retried(lambda: self._filtered_page(condition, first, count, with_payload))
            more[:] = [point[1] for point in found[request.limit :]]
            return found[: request.limit]

        records = self._records(read, request.with_payload, request.with_vectors)
        return ScrollPage(records, from_stored(more[0]) if more else None)

    def count(self, condition: Filter | None) -> int:
        """Number of points, or of those that satisfy a filter."""
        if condition is None:
            return self._parts.pinned.live_count
        _, (found,) = self._parts.matching([condition])
        return sum(map(bitmap.count, found))

    def vectors_of(
        self, pinned: SegmentSet, rows: NDArray[np.int64], with_vectors: bool | Sequence[str]
    ) -> list[Vectors] | None:
        """float32 [d] or [t, d] by name of each row (those it has); None when a row is not in the set.

        Raises:
            InvalidRequest: an unknown vector name.
            Corrupted: the stored vectors are damaged.
        """
        specs = self._parts.schema.vectors
        names = list(specs) if with_vectors is True else list(with_vectors or ())
        for name in names:
            vector_spec(self._parts.schema, name)
        found: list[Vectors] = [{} for _ in range(len(rows))]
        located = 0
        for segment, at, local in pinned.locate(rows):
            located += len(at)
            for name in names:
                column = segment.gather(name, local)
                has = bitmap.test(segment.present(name), local)
                values = shown_vectors(column, specs[name])
                for position, value, there in zip(at.tolist(), values, has.tolist(), strict=True):
                    if there:
                        found[position][name] = value
        return found if located == len(rows) else None

    # ---- pages --------------------------------------------------------------------------------------------

    def _filtered_page(
        self, condition: Filter, first: StoredId | None, count: int, with_payload: bool
    ) -> list[StoredPoint] | None:
        """The first points by id that satisfy a filter; None when one of them is just changing."""
        writer = self._parts.writer
        commits, published = writer.commits, writer.publications
        matching = self._parts.matching_rows(condition)
        if len(matching) > _SORTED_ROWS_MAX:
            rows = self._walk(matching, first, count)
            # A point that got another row meanwhile was passed over.
            if not commits == published == writer.commits:
                return None
        else:
            keyed = [
                (_id_order(point[1]), point[0])
                for point in self._store.points_of_rows(matching.tolist(), False)
            ]
            if len(keyed) < len(matching):
                return None
            rows = [row for key, row in sorted(keyed) if first is None or key >= _id_order(first)][:count]
        found = {point[0]: point for point in self._store.points_of_rows(rows, with_payload)}
        return [found[row] for row in rows] if len(found) == len(rows) else None

    def _walk(self, matching: NDArray[np.int64], first: StoredId | None, count: int) -> list[int]:
        """The first rows in order of id that are among `matching` (ascending)."""
        rows: list[int] = []
        for block in self._store.row_blocks_by_id(first, _STREAM_ROWS):
            at = np.minimum(np.searchsorted(matching, block), len(matching) - 1)
            rows += block[matching[at] == block].tolist()
            if len(rows) >= count:
                break
        return rows[:count]

    def _scroll_ordered(self, request: ScrollRequest, order_by: OrderBy) -> ScrollPage:
        if request.offset is not None:
            raise InvalidRequest(
                "an offset cannot be combined with order_by; use order_by.start_from", "offset"
            )
        start = None if order_by.start_from is None else order_start(order_by.start_from)
        page = Order.of([])

        def ordered(pinned: SegmentSet) -> Order:
            allowed = None
            if request.filter is not None:
                allowed = pinned.rows_in(self._parts.live_matches(request.filter, pinned))
            order = self._parts.field_indexes.values(order_by.key)
            return order.page(request.limit, order_by.descending, start, allowed)

        def attempt() -> list[StoredPoint] | None:
            nonlocal page
            page = self._parts.read_consistently(ordered)
            rows = page.rows.tolist()
            found = {p[0]: p for p in self._store.points_of_rows(rows, request.with_payload.enabled)}
            return [found[row] for row in rows] if len(found) == len(set(rows)) else None

        def read() -> list[StoredPoint]:
            return self.retried(attempt)

        records = self._records(read, request.with_payload, request.with_vectors)
        values = page.values.tolist()
        return ScrollPage(
            [_ordered(record, value) for record, value in zip(records, values, strict=True)], next_offset=None
        )

    # ---- records ------------------------------------------------------------------------------------------

    def records_of_rows(self, pages: Sequence[Sequence[int]]) -> list[list[Record]] | None:
        """Records without payload and vectors of pages of rows; None when one of them is gone.

        Rows that the cache knows are not asked for: those of a pinned set lived when it was pinned.
        """
        cache = self._parts.records
        generation = cache.generation
        known = [cache.known(page) for page in pages]
        lacking = [page for page, records in zip(pages, known, strict=True) if records is None]
        if lacking:
            rows = dict.fromkeys(row for page in lacking for row in page)
            found = cache.among(rows)
            unknown = [row for row in rows if row not in found]
            found |= cache.remember(self._store.points_of_rows(unknown, with_payload=False), generation)
            if len(found) < len(rows):
                return None
            return [
                [found[row] for row in page] if records is None else records
                for page, records in zip(pages, known, strict=True)
            ]
        return [records for records in known if records is not None]

    def _records(
        self,
        read: Callable[[], list[StoredPoint]],
        with_payload: PayloadSelector,
        with_vectors: bool | Sequence[str],
    ) -> list[Record]:
        """Records of what `read` gives; read again when a point's vectors are not where they were."""
        if not with_vectors:
            return [record(point, with_payload) for point in read()]

        def attempt() -> list[Record] | None:
            points = read()
            rows = np.array([point[0] for point in points], dtype=np.int64)
            vectors = self.vectors_of(self._parts.pinned, rows, with_vectors)
            if vectors is None:
                return None
            return [record(point, with_payload, own) for point, own in zip(points, vectors, strict=True)]

        return self.retried(attempt)

    def retried(self, attempt: Callable[[], T | None]) -> T:
        """What an attempt gives; the last one runs while nothing is published.

        Raises:
            Unavailable: even that one failed.
        """
        for _ in range(_ATTEMPTS):
            answer = attempt()
            if answer is not None:
                return answer
        with self._parts.writer.publish_lock:
            answer = attempt()
        if answer is None:
            raise Unavailable("the points asked for changed while they were read; try again")
        return answer


def shown_vectors(column: StoredColumn, spec: VectorSpec) -> Sequence[NDArray[np.float32]]:
    """A column's vectors as answers show them: float32 [d], or [t, d] of a multi-vector, per row."""
    if column.offsets is None:
        vectors: NDArray[np.float32] = np.asarray(column.values, dtype=np.float32)
        return list(vectors)
    documents = TokenRows(column.values, column.offsets, spec.token_encoding, spec.size)
    return np.split(documents.decode(), column.offsets[1:-1])


def record(
    point: StoredPoint,
    with_payload: PayloadSelector,
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
) -> Record:
    """The record of a stored point."""
    _, stored, version, data = point
    return Record(
        from_stored(stored), version, select(data, with_payload), None if vectors is None else dict(vectors)
    )


def _ordered(found: Record, value: float | int) -> Record:
    return Record(found.id, found.version, found.payload, found.vectors, value)


def _id_order(stored: StoredId) -> tuple[bool, StoredId]:
    """Integers before UUIDs, as SQLite orders them."""
    return isinstance(stored, bytes), stored
