"""A collection: the operations an embedding program or the server calls. All methods are thread-safe."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from typing import Any

from nearfield.engine import operation as op
from nearfield.engine.collection_search import CollectionSearcher
from nearfield.engine.errors import InvalidRequest, StorageError
from nearfield.engine.filter.expression import Filter
from nearfield.engine.index.protocol import CalibratedIndex
from nearfield.engine.index.wanted import resolve_index
from nearfield.engine.maintenance.worker import MaintenanceWorker
from nearfield.engine.point import PointBatch, PointId
from nearfield.engine.query import (
    CollectionInfo,
    PayloadSelector,
    PointSelector,
    Record,
    ScoredPoint,
    ScrollPage,
    ScrollRequest,
    SearchRequest,
    SegmentRecall,
)
from nearfield.engine.schema import CollectionSchema
from nearfield.engine.search.stages import filters
from nearfield.engine.segment.sealed import SealedSegment
from nearfield.engine.segment.segment_set import Segment
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.engine.storage.durable import tree_bytes
from nearfield.engine.storage.reader import PointReader
from nearfield.engine.storage.validate import vector_spec

SchemaChange = Callable[[CollectionSchema], CollectionSchema]
_EVERYTHING = PayloadSelector(enabled=True)


class Collection:
    """One collection of a database; made by `Database`, never directly.

    Writes return once they are durable and visible; `submit` returns a future instead. All writes may raise
    InvalidRequest and NotFound (a point to change is missing), with nothing applied; TooManyRequests,
    OutOfSpace, Unavailable. A damaged collection raises its `Corrupted` from every method but `info`.
    """

    def __init__(self, name: str, opened: CollectionStore | StorageError, worker: MaintenanceWorker) -> None:
        self.name = name
        self._opened = opened
        self._worker = worker

    @property
    def schema(self) -> CollectionSchema:
        """The current schema; an empty one if the collection could not be opened."""
        return CollectionSchema({}) if isinstance(self._opened, StorageError) else self._opened.schema

    @cached_property
    def _parts(self) -> CollectionStore:
        if isinstance(self._opened, StorageError):
            raise type(self._opened)(str(self._opened))
        return self._opened

    @cached_property
    def _reader(self) -> PointReader:
        return PointReader(self._parts)

    @cached_property
    def _searcher(self) -> CollectionSearcher:
        return CollectionSearcher(self._parts, self._reader)

    # ---- writes -------------------------------------------------------------------------------------------

    def submit(self, operation: op.Operation) -> "Future[int]":
        """Check an operation and queue it; its future gives the operation id once durable and visible."""
        return self._parts.submit([operation])

    def submit_all(self, operations: Sequence[op.Operation]) -> "Future[int]":
        """Queue operations that apply in order, all or none."""
        if not operations:
            raise InvalidRequest("Empty update request: at least one operation is needed", "operations")
        return self._parts.submit(operations)

    def submit_upsert(self, batch: PointBatch) -> "Future[int]":
        """`submit` of an Upsert."""
        return self.submit(op.Upsert(batch))

    def batch(self, operations: Sequence[op.Operation]) -> int:
        """Apply operations in order, all or none; returns the operation id."""
        return self.submit_all(operations).result()

    def upsert(self, batch: PointBatch) -> int:
        """Insert or replace points; returns the operation id."""
        return self.submit(op.Upsert(batch)).result()

    def delete(self, selector: PointSelector) -> int:
        """Delete points; ids that are not there are ignored."""
        return self.submit(op.DeletePoints(selector)).result()

    def update_vectors(self, batch: PointBatch) -> int:
        """Replace the given vectors of existing points."""
        return self.submit(op.UpdateVectors(batch)).result()

    def delete_vectors(self, selector: PointSelector, names: Sequence[str]) -> int:
        """Remove named vectors of points."""
        return self.submit(op.DeleteVectors(selector, names)).result()

    def set_payload(self, selector: PointSelector, payload: Mapping[str, Any], key: str | None = None) -> int:
        """Merge keys into payloads."""
        return self.submit(op.SetPayload(selector, payload, key)).result()

    def overwrite_payload(
        self, selector: PointSelector, payload: Mapping[str, Any], key: str | None = None
    ) -> int:
        """Replace payloads."""
        return self.submit(op.OverwritePayload(selector, payload, key)).result()

    def delete_payload(self, selector: PointSelector, keys: Sequence[str]) -> int:
        """Remove payload keys."""
        return self.submit(op.DeletePayload(selector, keys)).result()

    def clear_payload(self, selector: PointSelector) -> int:
        """Remove payloads."""
        return self.submit(op.ClearPayload(selector)).result()

    # ---- schema -------------------------------------------------------------------------------------------

    def create_field_index(self, key: str, params: Mapping[str, Any]) -> int:
        """Declare a payload index; returns the operation id."""
        return self._change_schema(
            lambda schema: replace(schema, payload_fields={**schema.payload_fields, key: dict(params)})
        )

    def delete_field_index(self, key: str) -> int:
        """Forget a declared payload index; one that is not there is ignored."""
        return self._change_schema(
            lambda schema: replace(
                schema,
                payload_fields={name: old for name, old in schema.payload_fields.items() if name != key},
            )
        )

    def update_schema(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        vector_index: Mapping[str, Mapping[str, Any]] | None = None,
        vector_extras: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> int:
        """Change what may change after creation; returns the operation id.

        Args:
            settings: replaces the whole settings.
            vector_index: new index config by vector name; sealed segments are re-indexed in the background.
            vector_extras: new extras by vector name.

        Raises:
            InvalidRequest: an unknown vector name, or an index config that is not understood.
        """
        new_indexes, new_extras = vector_index or {}, vector_extras or {}
        for name in {**new_indexes, **new_extras}:
            spec = vector_spec(self.schema, name)
            if name in new_indexes:
                resolve_index(self._parts.registry, replace(spec, index=new_indexes[name]), None)

        def change(schema: CollectionSchema) -> CollectionSchema:
            specs = {
                name: replace(
                    spec, index=new_indexes.get(name, spec.index), extras=new_extras.get(name, spec.extras)
                )
                for name, spec in schema.vectors.items()
            }
            return replace(
                schema, vectors=specs, settings=schema.settings if settings is None else dict(settings)
            )

        return self._change_schema(change)

    # ---- reads --------------------------------------------------------------------------------------------

    def retrieve(
        self,
        ids: Sequence[PointId],
        with_payload: PayloadSelector = _EVERYTHING,
        with_vectors: bool | Sequence[str] = False,
    ) -> list[Record]:
        """The points there are of these ids, in the order asked, each once.

        Raises:
            InvalidRequest: an unknown vector name.
        """
        with self._parts.guarded():
            return self._reader.retrieve(ids, with_payload, with_vectors)

    def scroll(self, request: ScrollRequest) -> ScrollPage:
        """One page of points by ascending id, or by a payload key.

        Raises:
            InvalidRequest: a bad filter key, order or vector name.
            Unprocessable: limit outside 1..SCROLL_LIMIT_MAX.
        """
        with self._parts.guarded():
            return self._reader.scroll(request)

    def count(self, filter: Filter | None = None) -> int:
        """Number of points, or of those that satisfy a filter; without one it costs nothing."""
        with self._parts.guarded():
            return self._reader.count(filter)

    def search(self, requests: Sequence[SearchRequest]) -> list[list[ScoredPoint]]:
        """The hits of each request, best first.

        Raises:
            InvalidRequest: an unknown vector name, wrong dimensions, a value not finite, a bad filter key.
            Unprocessable: limit, offset or batch size outside their limits.
            NotFound: a query names a point that does not exist or lacks the vector.
        """
        with self._parts.guarded():
            return self._searcher.search(requests)

    def search_cost_hint(self, requests: Sequence[SearchRequest]) -> int:
        """Bytes these searches will read, roughly."""
        return self._searcher.cost_hint(requests)

    def keeps_filter_answers(self, requests: Sequence[SearchRequest]) -> bool:
        """Whether it is known what the filters of these searches find, as long as nothing is published.

        Otherwise they are evaluated first, which may take long: a payload key's first use reads all payloads.
        """
        return all(self._parts.keeps_answer(own) for request in requests for own in filters(request))

    # ---- state --------------------------------------------------------------------------------------------

    def info(self) -> CollectionInfo:
        """Counts, state and bytes."""
        if isinstance(self._opened, StorageError):
            return CollectionInfo("red", points=0, segments=0, indexed_vectors=0, error=str(self._opened))
        parts, pinned = self._parts, self._parts.pinned
        error = parts.damage or parts.writer.failure
        trouble = error or self._worker.trouble(parts)
        sealed = [segment for segment in pinned if isinstance(segment, SealedSegment)]
        status = "red" if error else "green" if self._worker.is_settled(parts) else "yellow"
        return CollectionInfo(
            status=status,
            points=pinned.live_count,
            segments=len(pinned),
            indexed_vectors=sum(index.count for segment in sealed for index in segment.indexes.values()),
            error=None if trouble is None else str(trouble),
            bytes={
                "growing": parts.publisher.unsealed_bytes,
                "vectors": sum(segment.vector_bytes for segment in sealed),
                "indexes": sum(i.resident_bytes() for segment in sealed for i in segment.indexes.values()),
                "field_indexes": parts.field_indexes.resident_bytes() + parts.filter_answers.resident_bytes(),
                "sqlite": sum(file.stat().st_size for file in parts.directory.glob("points.db*")),
                "disk": tree_bytes(parts.directory),
            },
            payload_schema=parts.schema.payload_fields,
        )

    def recall(self) -> dict[str, list[SegmentRecall]]:
        """By vector name, what recall was measured when the indexes of the segments were built."""
        parts = self._parts

        def of(segment: Segment, name: str) -> SegmentRecall:
            index = segment.index(name) or segment.multivector_index(name)
            manifest = parts.manifests.get(segment.id) if isinstance(segment, SealedSegment) else None
            if index is None or manifest is None or name not in manifest.indexes:
                return SegmentRecall(segment.count, None, None)
            calibration = index.calibration if isinstance(index, CalibratedIndex) else None
            return SegmentRecall(segment.count, manifest.indexes[name].spec, calibration)

        return {name: [of(segment, name) for segment in parts.pinned] for name in parts.schema.vectors}

    def wait_settled(self, timeout_s: float | None = None) -> None:
        """Wait until everything sealed is merged and indexed, without waiting for a pause in writes first.

        Raises:
            Unavailable: not within the timeout.
            NearfieldError: a background job failed for good; its error.
        """
        self._worker.wait_settled(self._parts, timeout_s)

    def _change_schema(self, change: SchemaChange) -> int:
        return self._parts.change_schema(change).result()
