"""Searching a collection: from requests in terms of ids and payloads to rows and vectors, and back."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, NotFound, Unprocessable
from nearfield.engine.filter.expression import Filter
from nearfield.engine.point import id_to_json, to_stored
from nearfield.engine.query import Fusion, ScoredPoint, SearchRequest
from nearfield.engine.search.execute import row_bitmaps, search_batch
from nearfield.engine.search.request import Ranking, RowBitmaps, VectorQuery
from nearfield.engine.search.stages import Stage, StagedSearch, check_stages, filters, stages
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
_TYPICAL_CANDIDATES: Final = 100


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
                index = segment.index(request.using) or segment.multivector_index(request.using)
                if index is not None and not request.params.exact:
                    total += INDEXED_QUERY_BYTES
                    if spec.multivector is not None:
                        ranked = request.params.search.get("candidates", _TYPICAL_CANDIDATES)
                        share = min(1.0, ranked / max(segment.count, 1))
                        total += int(share * self._document_bytes(segment, request))
                elif spec.multivector is not None:
                    total += self._document_bytes(segment, request)
                else:
                    total += segment.count * row_bytes
            if request.filter is not None:
                total += pinned.live_count * _FILTERED_ROW_BYTES
        return total

    def _document_bytes(self, segment: Segment, request: SearchRequest) -> int:
        """A scan of documents computes more than it reads: bytes count once per eight tokens of the query."""
        tokens = len(request.query) if isinstance(request.query, np.ndarray) else _TYPICAL_QUERY_TOKENS
        return segment.token_bytes(request.using) * -(-tokens // 8)

    def _check(self, request: SearchRequest) -> None:
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
        if not request.prefetch:
            self._check_query(request, "query")
            return
        check_stages(request)
        for stage, path in stages(request):
            self._check_query(stage, f"{path}query")

    def _check_query(self, stage: Stage, path: str) -> None:
        if isinstance(stage.query, Fusion):
            if not stage.prefetch:
                raise InvalidRequest("a fusion needs prefetches whose rankings it fuses", path)
            return
        spec = vector_spec(self._parts.schema, stage.using)
        query = stage.query
        if not isinstance(query, np.ndarray):
            return
        if query.ndim == 2 or spec.multivector is not None:
            require_kind(query.ndim == 2, spec, path)
            if not len(query):
                raise InvalidRequest("expected at least one vector in the query's matrix, got none", path)
            require_document_limits(len(query), spec, path)
            _require_candidates(stage)
        require_dimensions(query.shape[-1] if query.ndim else 0, spec)
        require_finite(query, path)

    def _attempt(self, requests: Sequence[SearchRequest]) -> list[list[ScoredPoint]] | None:
        """One attempt; None when rows it met are gone by the time their points are looked up."""
        pinned, allowed = self._pin(
            {
                id(each): each
                for request in requests
                if request.filter is not None or request.prefetch
                for each in filters(request)
            }
        )
        distances = {name: spec.distance for name, spec in self._parts.schema.vectors.items()}
        threads = self._parts.config.search_threads

        def search(queries: Sequence[VectorQuery]) -> list[Ranking]:
            return search_batch(pinned.segments, distances, queries, threads)

        queries, staged = [], {}
        for at, request in enumerate(requests):
            if request.prefetch:
                run = StagedSearch(
                    lambda stage: self._resolve(stage, pinned),
                    search,
                    allowed,
                    lambda rows: row_bitmaps(pinned.segments, rows),
                ).run(request)
                if run is None:
                    return None
                staged[at] = run
                continue
            own = None if request.filter is None else allowed[id(request.filter)]
            query = self._resolve(request, pinned, own)
            if query is None:
                return None
            queries.append(query)
        found = iter(search(queries))
        rankings = [staged[at] if at in staged else next(found) for at in range(len(requests))]
        return self._assemble(requests, rankings, pinned)

    def _pin(self, conditions: dict[int, Filter]) -> tuple[SegmentSet, dict[int, RowBitmaps]]:
        if not conditions:
            return self._parts.pinned, {}
        pinned, found = self._parts.matching(list(conditions.values()))
        return pinned, dict(zip(conditions, found, strict=True))

    def _resolve(
        self, stage: Stage, pinned: SegmentSet, allowed: RowBitmaps | None = None
    ) -> VectorQuery | None:
        """The stage with its vector looked up; None when the point it names is just changing."""
        excluded: tuple[int, ...] = ()
        query = stage.query
        assert not isinstance(query, Fusion)
        if isinstance(query, np.ndarray):
            vector = np.ascontiguousarray(query, dtype=np.float32)
        else:
            shown = id_to_json(query)
            found = self._parts.store.points_of_ids([to_stored(query)], with_payload=False)
            if not found:
                raise NotFound(f"No point with id {shown} found")
            vectors = self._reader.vectors_of(pinned, np.array([found[0][0]], dtype=np.int64), [stage.using])
            if vectors is None:
                return None
            if stage.using not in vectors[0]:
                raise NotFound(f"Point {shown} has no vector named `{stage.using}`")
            vector, excluded = vectors[0][stage.using], (found[0][0],)
        return VectorQuery(
            vector=vector,
            k=stage.limit + (stage.offset if isinstance(stage, SearchRequest) else 0),
            using=stage.using,
            allowed=allowed,
            excluded=excluded,
            score_threshold=stage.score_threshold,
            params=stage.params,
        )

    def _assemble(
        self, requests: Sequence[SearchRequest], rankings: Sequence[Ranking], pinned: SegmentSet
    ) -> list[list[ScoredPoint]] | None:
        pages = [
            (ranking.rows[request.offset :].tolist(), ranking.scores[request.offset :].tolist())
            for request, ranking in zip(requests, rankings, strict=True)
        ]
        bare: list[list[int]] = []
        full: list[list[int]] = []
        for request, (page, _) in zip(requests, pages, strict=True):
            (full if request.with_payload.enabled else bare).append(page)
        found = self._reader.records_of_rows(bare)
        if found is None:
            return None
        rows = list(dict.fromkeys(row for page in full for row in page))
        points = {point[0]: point for point in self._parts.store.points_of_rows(rows)} if rows else {}
        if len(points) < len(rows):
            return None
        bare_records = iter(found)
        answers = []
        for request, (page, scores) in zip(requests, pages, strict=True):
            if request.with_payload.enabled:
                records = [record(points[row], request.with_payload) for row in page]
            else:
                records = next(bare_records)
            if request.with_vectors:
                vectors = self._reader.vectors_of(
                    pinned, np.array(page, dtype=np.int64), request.with_vectors
                )
                assert vectors is not None, "the pinned set has the rows that were found in it"
                records = [each._replace(vectors=own) for each, own in zip(records, vectors, strict=True)]
            answers.append(list(map(ScoredPoint, records, scores)))
        return answers


def _require_candidates(stage: Stage) -> None:
    """MaxSim cannot find more documents than it ranks.

    Raises:
        InvalidRequest: fewer candidates than hits are asked for.
    """
    hits = stage.limit + (stage.offset if isinstance(stage, SearchRequest) else 0)
    candidates = stage.params.search.get("candidates")
    if candidates is not None and 0 < candidates < hits and not stage.params.exact:
        raise InvalidRequest(
            f"candidates must be at least limit and offset together, which is {hits}, got {candidates}",
            "params.candidates",
        )
