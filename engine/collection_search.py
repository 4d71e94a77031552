"""Searching a collection: from requests in terms of ids and payloads to rows and vectors, and back."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, NotFound, Unprocessable
from nearfield.engine.filter.expression import Filter
from nearfield.engine.point import id_to_json, to_stored
from nearfield.engine.query import ScoredPoint, SearchRequest
from nearfield.engine.schema import VectorSpec
from nearfield.engine.search.execute import search_batch
from nearfield.engine.search.request import Ranking, VectorQuery
from nearfield.engine.segment.segment_set import Segment, SegmentSet
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.engine.storage.documents import require_document_limits
from nearfield.engine.storage.reader import PointReader, record
from nearfield.engine.storage.validate import require_dimensions, require_kind, vector_spec
from nearfield.engine.storage.values import require_finite

INDEXED_QUERY_BYTES: Final = 256 * 1024
"""What a search through an index is taken to read, for the cost estimate."""
_FILTERED_ROW_BYTES: Final = 16
_TYPICAL_QUERY_TOKENS: Final = 32


class CollectionSearcher:
    """Searches of one collection; any thread may use it."""

    def __init__(self, parts: CollectionStore, reader: PointReader) -> None:
        self._parts = parts
        self._reader = reader

    def search(self, requests: Sequence[SearchRequest]) -> list[list[ScoredPoint]]:
        """The hits of each request, best first.

        Raises:
            InvalidRequest, Unprocessable, NotFound: see `Collection.search`.
        """
        if len(requests) > limits.SEARCH_BATCH_MAX:
            raise Unprocessable(
                f"a batch must have at most {limits.SEARCH_BATCH_MAX} searches, got {len(requests)}"
            )
        for request in requests:
            self._check(request)
        return self._reader.retried(lambda: self._attempt(requests))

    def cost_hint(self, requests: Sequence[SearchRequest]) -> int:
        """Bytes the searches will read, roughly."""
        pinned, total = self._parts.pinned, 0
        for request in requests:
            spec = self._parts.schema.vectors.get(request.using)
            if spec is None:
                continue
            row_bytes = spec.size * spec.datatype.dtype.itemsize
            for segment in pinned:
                if spec.multivector is not None:
                    total += self._document_bytes(segment, request)
                    continue
                scanned = request.params.exact or segment.index(request.using) is None
                total += segment.count * row_bytes if scanned else INDEXED_QUERY_BYTES
            if request.filter is not None:
                total += pinned.live_count * _FILTERED_ROW_BYTES
        return total

    def _document_bytes(self, segment: Segment, request: SearchRequest) -> int:
        """A scan of documents computes more than it reads: bytes count once per eight tokens of the query."""
        tokens = len(request.query) if isinstance(request.query, np.ndarray) else _TYPICAL_QUERY_TOKENS
        return segment.token_bytes(request.using) * -(-tokens // 8)

    def _check(self, request: SearchRequest) -> None:
        spec = vector_spec(self._parts.schema, request.using)
        if (
            request.limit < 1
            or request.offset < 0
            or request.limit + request.offset > limits.SEARCH_LIMIT_MAX
        ):
            raise Unprocessable(
                "limit must be at least 1, offset at least 0, "
                f"and both together at most {limits.SEARCH_LIMIT_MAX}, "
                f"got limit {request.limit} and offset {request.offset}",
                "limit",
            )
        if isinstance(request.query, np.ndarray):
            self._check_vector(request.query, spec)

    def _check_vector(self, query: NDArray[np.float32], spec: VectorSpec) -> None:
        if query.ndim == 2 or spec.multivector is not None:
            require_kind(query.ndim == 2, spec, "query")
            if not len(query):
                raise InvalidRequest("expected at least one vector in the query's matrix, got none", "query")
            require_document_limits(len(query), spec, "query")
        require_dimensions(query.shape[-1] if query.ndim else 0, spec)
        require_finite(query, "query")

    def _attempt(self, requests: Sequence[SearchRequest]) -> list[list[ScoredPoint]] | None:
        """One attempt; None when rows it met are gone by the time their points are looked up."""
        filters = {id(request.filter): request.filter for request in requests if request.filter is not None}
        pinned, allowed = self._pin(filters)
        queries = [self._resolve(request, pinned, allowed) for request in requests]
        if any(query is None for query in queries):
            return None
        distances = {name: spec.distance for name, spec in self._parts.schema.vectors.items()}
        resolved = [query for query in queries if query is not None]
        rankings = search_batch(pinned.segments, distances, resolved, self._parts.config.search_threads)
        return self._assemble(requests, rankings, pinned)

    def _pin(self, filters: dict[int, Filter]) -> tuple[SegmentSet, dict[int, NDArray[np.int64]]]:
        if not filters:
            return self._parts.pinned, {}
        pinned, rows = self._parts.matching_rows(list(filters.values()))
        return pinned, dict(zip(filters, rows, strict=True))

    def _resolve(
        self, request: SearchRequest, pinned: SegmentSet, allowed: dict[int, NDArray[np.int64]]
    ) -> VectorQuery | None:
        """The request with vector and rows looked up; None when the point it names is just changing."""
        excluded: tuple[int, ...] = ()
        if isinstance(request.query, np.ndarray):
            vector = np.ascontiguousarray(request.query, dtype=np.float32)
        else:
            shown = id_to_json(request.query)
            found = self._parts.store.points_of_ids([to_stored(request.query)], with_payload=False)
            if not found:
                raise NotFound(f"No point with id {shown} found")
            vectors = self._reader.vectors_of(
                pinned, np.array([found[0][0]], dtype=np.int64), [request.using]
            )
            if vectors is None:
                return None
            if request.using not in vectors[0]:
                raise NotFound(f"Point {shown} has no vector named `{request.using}`")
            vector, excluded = vectors[0][request.using], (found[0][0],)
        return VectorQuery(
            vector=vector,
            k=request.limit + request.offset,
            using=request.using,
            allowed=None if request.filter is None else allowed[id(request.filter)],
            excluded=excluded,
            score_threshold=request.score_threshold,
            params=request.params,
        )

    def _assemble(
        self, requests: Sequence[SearchRequest], rankings: Sequence[Ranking], pinned: SegmentSet
    ) -> list[list[ScoredPoint]] | None:
        pages = [
            (ranking.rows[request.offset :].tolist(), ranking.scores[request.offset :].tolist())
            for request, ranking in zip(requests, rankings, strict=True)
        ]
        rows = list(dict.fromkeys(row for page, _ in pages for row in page))
        with_payload = any(request.with_payload.enabled for request in requests)
        points = {point[0]: point for point in self._parts.store.points_of_rows(rows, with_payload)}
        if len(points) < len(rows):
            return None
        answers = []
        for request, (page, scores) in zip(requests, pages, strict=True):
            vectors = None
            if request.with_vectors:
                vectors = self._reader.vectors_of(
                    pinned, np.array(page, dtype=np.int64), request.with_vectors
                )
            answers.append(
                [
                    ScoredPoint(
                        record(points[row], request.with_payload, vectors[at] if vectors else None), score
                    )
                    for at, (row, score) in enumerate(zip(page, scores, strict=True))
                ]
            )
        return answers
