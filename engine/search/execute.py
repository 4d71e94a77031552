"""Answer a batch of vector queries over pinned segments."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import Hits, VectorIndex
from nearfield.engine.schema import Distance
from nearfield.engine.search.merge import NO_HITS, merge_segments, to_rankings
from nearfield.engine.search.multivector import scan_documents
from nearfield.engine.search.plan import SegmentPlan, Step, plan_segment
from nearfield.engine.search.request import Ranking, RowBitmaps, SearchableSegment, VectorQuery
from nearfield.engine.search.scan import scan
from nearfield.engine.segment import bitmap


@dataclass(slots=True)
class _Group:
    """Queries of one shape: one native call answers them all; those of multi-vectors have offsets."""

    vectors: NDArray[np.float32]
    offsets: NDArray[np.int64] | None
    using: str
    distance: Distance
    k: int
    allowed: RowBitmaps | None
    exact: bool
    knobs: Mapping[str, Any]
    threads: int


def search_batch(
    segments: Iterable[SearchableSegment],
    distances: Mapping[str, Distance],
    queries: Sequence[VectorQuery],
    threads: int = 1,
) -> list[Ranking]:
    """The nearest live rows of every query, in the order of the queries.

    Args:
        segments: what the caller pinned; a row lives in at most one of them. Row bitmaps are of these.
        distances: how each vector name compares (`schema.vectors[name].distance`).
        queries: resolved questions; those with equal `using`, k and params and the same `allowed` go to
            native code together.
        threads: native threads per call.

    Returns:
        One Ranking per query: rows int64 [h], scores float32 [h], h <= k.
    """
    pinned = tuple(segments)
    rankings = [NO_HITS] * len(queries)
    for members in _group_alike(queries):
        first = queries[members[0]]
        vectors, offsets = _stack([queries[member].vector for member in members])
        distance = distances[first.using]
        if offsets is not None and distance is Distance.COSINE:
            # Over tokens of unit length, MaxSim of cosines is MaxSim of inner products.
            vectors, distance = _native.unit_rows(vectors), Distance.DOT
        group = _Group(
            vectors=vectors,
            offsets=offsets,
            using=first.using,
            distance=distance,
            k=first.k + len(first.excluded),
            allowed=first.allowed,
            exact=first.params.exact,
            knobs={**first.params.search, "threads": threads},
            threads=threads,
        )
        hits = _search_group(pinned, group)
        if hits is not None:
            alike = [queries[member] for member in members]
            for member, ranking in zip(members, to_rankings(alike, hits, group.distance), strict=True):
                rankings[member] = ranking
    return rankings


def row_bitmaps(segments: Iterable[SearchableSegment], rows: NDArray[np.int64]) -> RowBitmaps:
    """Ascending collection-wide rows as bitmaps of the segments; those that are in none are ignored."""
    return tuple([bitmap.from_positions(_local_rows(each.rows, rows), each.count) for each in segments])


def qualifying(
    segment: SearchableSegment, using: str, allowed: bitmap.Words | None
) -> tuple[bitmap.Words | None, int]:
    """Local rows that live, have the vector and pass the filter: their bitmap (None: all) and number."""
    words = allowed
    for restriction in (segment.live, segment.present(using)):
        if restriction is not None:
            words = restriction if words is None else words & restriction
    return words, segment.count if words is None else bitmap.count(words)


def plan_for(
    segment: SearchableSegment, using: str, k: int, exact: bool, knobs: Mapping[str, Any], allowed: int
) -> SegmentPlan:
    """The plan for one segment of which `allowed` rows qualify."""
    index: VectorIndex | MultiVectorIndex | None = None
    if not exact:
        index = segment.index(using)
        index = segment.multivector_index(using) if index is None else index
    cost = None if index is None else index.equivalent_scan_rows(k, knobs, allowed)
    return plan_segment(count=segment.count, allowed=allowed, exact=exact, index_rows_read=cost)


def _group_alike(queries: Sequence[VectorQuery]) -> Iterable[list[int]]:
    """Positions of queries that differ in nothing but vector, threshold and which rows are excluded."""
    if len(queries) == 1:
        return ([0],)
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, query in enumerate(queries):
        knobs = tuple(sorted(query.params.search.items())) if query.params.search else ()
        key = (query.using, query.k, len(query.excluded), id(query.allowed), query.params.exact, knobs)
        groups.setdefault(key, []).append(position)
    return groups.values()


def _stack(
    vectors: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """float32 [nq, d], C-contiguous; or all tokens [t, d] of matrices, and where each matrix begins."""
    if vectors[0].ndim == 2:
        offsets = np.zeros(len(vectors) + 1, dtype=np.int64)
        np.cumsum([len(tokens) for tokens in vectors], out=offsets[1:])
        return np.concatenate(vectors, dtype=np.float32), offsets
    if len(vectors) == 1:
        return np.ascontiguousarray(vectors[0], dtype=np.float32).reshape(1, -1), None
    return np.concatenate(vectors, dtype=np.float32).reshape(len(vectors), -1), None


def _search_group(segments: Sequence[SearchableSegment], group: _Group) -> Hits | None:
    """Merged hits in collection-wide rows; None when no row qualifies anywhere."""
    parts = []
    for at, segment in enumerate(segments):
        passing = None if group.allowed is None else group.allowed[at]
        allow, allowed = qualifying(segment, group.using, passing)
        plan = plan_for(segment, group.using, group.k, group.exact, group.knobs, allowed)
        if plan.step is not Step.SKIP:
            local = _search_segment(segment, group, plan, allow, min(group.k, allowed))
            parts.append(Hits(_global_rows(segment.rows, local.rows), local.distances))
    return merge_segments(parts, group.k) if parts else None


def _search_segment(
    segment: SearchableSegment, group: _Group, plan: SegmentPlan, allow: bitmap.Words | None, k: int
) -> Hits:
    """Hits in local rows."""
    if group.offsets is not None:
        return _search_documents(segment, group, group.offsets, plan, allow, k)
    if plan.step is Step.INDEX and (index := segment.index(group.using)) is not None:
        return index.search(group.vectors, k, group.knobs, allow)
    rows, scale = segment.vectors(group.using), segment.row_scale(group.using)
    return scan(group.vectors, rows, group.distance.metric, k, allow, scale, group.threads)


def _search_documents(
    segment: SearchableSegment,
    group: _Group,
    offsets: NDArray[np.int64],
    plan: SegmentPlan,
    allow: bitmap.Words | None,
    k: int,
) -> Hits:
    """As `_search_segment`, of a multi-vector."""
    if plan.step is Step.INDEX and (index := segment.multivector_index(group.using)) is not None:
        return index.search(group.vectors, offsets, k, group.knobs, allow)
    documents = segment.tokens(group.using)
    return scan_documents(group.vectors, offsets, documents, group.distance, k, allow, group.threads)


def _local_rows(rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions in `rows` of those of `wanted` that are there; both ascending."""
    if not len(rows):
        return rows
    first, last = int(rows[0]), int(rows[-1])
    inside = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, last, side="right")]
    if last - first + 1 == len(rows):
        local: NDArray[np.int64] = inside - first
        return local
    at = np.searchsorted(rows, inside)
    found: NDArray[np.int64] = at[rows[at] == inside]
    return found


def _global_rows(rows: NDArray[np.int64], local: NDArray[np.int64]) -> NDArray[np.int64]:
    """Collection-wide rows of local ones; -1 stays -1."""
    found = rows[local]
    if -1 in local[:, -1].tolist():
        found[local < 0] = -1
    return found
