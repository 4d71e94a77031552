"""search_batch against sorting all distances: segments, deletions, filters, missing vectors, thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Hits
from nearfield.engine.query import SearchParams
from nearfield.engine.schema import Distance
from nearfield.engine.search import scan as scan_module
from nearfield.engine.search.execute import row_bitmaps, search_batch
from nearfield.engine.search.request import Ranking, VectorQuery
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.growing import inverse_norms
from tests.helpers.memory_segment import MemorySegment

DIMS = 9


def _vectors(count: int, seed: int = 0, dtype: str = "float32") -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype == "uint8":
        return rng.integers(0, 256, size=(count, DIMS), dtype=np.uint8)
    return rng.normal(size=(count, DIMS)).astype(dtype)


def _segments() -> list[MemorySegment]:
    """Interleaved global rows, one empty segment; some rows are deleted, some lack the vector."""
    rows = np.sort(np.random.default_rng(1).choice(1000, 300, replace=False))
    return [
        MemorySegment(rows[::2], _vectors(150, 1), dead=np.arange(0, 150, 7)),
        MemorySegment(np.zeros(0, dtype=np.int64), _vectors(0)),
        MemorySegment(rows[1:100:2], _vectors(50, 2), absent=np.array([0, 5, 49])),
        MemorySegment(np.arange(2000, 2130), _vectors(130, 3), dead=np.array([3]), absent=np.array([4])),
    ]


def _expected(
    segments: Sequence[MemorySegment], query: VectorQuery, distance: Distance
) -> list[tuple[int, float]]:
    """(row, score), best first, ties by row, by the definitions."""
    hits = []
    for at, segment in enumerate(segments):
        for local, row in enumerate(segment.rows.tolist()):
            if local in segment.dead or local in segment.absent or row in query.excluded:
                continue
            if query.allowed is not None and not bitmap.test(query.allowed[at], np.array([local])):
                continue
            hits.append((row, _score(query.vector, segment.values[local], distance)))
    hits.sort(key=lambda hit: ((-hit[1] if distance.larger_is_nearer else hit[1]), hit[0]))
    if query.score_threshold is not None:
        limit = query.score_threshold
        hits = [hit for hit in hits if (hit[1] >= limit if distance.larger_is_nearer else hit[1] <= limit)]
    return hits[: query.k]


def _score(query: NDArray[Any], row: NDArray[Any], distance: Distance) -> float:
    q, x = query.astype(np.float64), row.astype(np.float64)
    if distance is Distance.DOT:
        return float(q @ x)
    if distance is Distance.EUCLID:
        return float(np.linalg.norm(q - x))
    if distance is Distance.MANHATTAN:
        return float(np.abs(q - x).sum())
    lengths = np.linalg.norm(q) * np.linalg.norm(x)
    return float(q @ x / lengths) if lengths else 0.0


def _check(ranking: Ranking, expected: list[tuple[int, float]]) -> None:
    assert ranking.rows.dtype == np.int64 and ranking.scores.dtype == np.float32
    assert ranking.rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(ranking.scores, [score for _, score in expected], rtol=1e-4, atol=1e-5)


def _unit(segments: Sequence[MemorySegment]) -> None:
    for segment in segments:
        segment.values = segment.values * inverse_norms(segment.values)[:, None]


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("filtered", [False, True])
def test_scans_agree_with_sorting_everything(distance: Distance, filtered: bool) -> None:
    segments = _segments()
    if distance is Distance.COSINE:
        _unit(segments)
    allowed = np.array([row for segment in segments for row in segment.rows if row % 3 == 0])
    passing = row_bitmaps(segments, np.sort(np.append(allowed, 10_000))) if filtered else None
    queries = [
        VectorQuery(vector, k, allowed=passing, excluded=excluded, score_threshold=limit)
        for vector in _vectors(3, 9)
        for k in (1, 10, 400)
        for excluded in ((), (2000, 2001), (999_999,))
        for limit in (None, 0.3, 3.0)
    ]  # fmt: skip
    for query, ranking in zip(queries, search_batch(segments, {"": distance}, queries), strict=True):
        _check(ranking, _expected(segments, query, distance))
        _check(search_batch(segments, {"": distance}, [query])[0], _expected(segments, query, distance))


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_other_stored_types(distance: Distance, dtype: str) -> None:
    values = _vectors(200, 4, dtype)
    scale = inverse_norms(values) if distance is Distance.COSINE and dtype == "uint8" else None
    if distance is Distance.COSINE and dtype == "float16":
        values = (values * inverse_norms(values)[:, None]).astype(np.float16)
    segment = MemorySegment(np.arange(200), values, scale=scale)
    query = VectorQuery(_vectors(1, 5)[0] * 50, 12)
    ranking = search_batch([segment], {"": distance}, [query])[0]
    expected = _expected([segment], query, distance)
    np.testing.assert_allclose(ranking.scores, [score for _, score in expected], rtol=1e-3, atol=1e-3)
    assert len(set(ranking.rows.tolist()) & {row for row, _ in expected}) >= 11


def test_equal_distances_go_by_row_across_segments() -> None:
    same = np.ones((3, DIMS), dtype=np.float32)
    segments = [MemorySegment(np.array([5, 9, 11]), same), MemorySegment(np.array([2, 7, 10]), same)]
    ranking = search_batch(segments, {"": Distance.EUCLID}, [VectorQuery(same[0], 5)])[0]
    assert ranking.rows.tolist() == [2, 5, 7, 9, 10]
    assert ranking.scores.tolist() == [0.0] * 5


def test_nothing_to_find() -> None:
    query = VectorQuery(_vectors(1)[0], 5)
    for segments in ([], [MemorySegment(np.zeros(0, dtype=np.int64), _vectors(0))]):
        ranking = search_batch(segments, {"": Distance.DOT}, [query])[0]
        assert len(ranking.rows) == len(ranking.scores) == 0
    segments = _segments()
    nothing = row_bitmaps(segments, np.zeros(0, dtype=np.int64))
    nothing_allowed = VectorQuery(_vectors(1)[0], 5, allowed=nothing)
    assert len(search_batch(segments, {"": Distance.DOT}, [nothing_allowed])[0].rows) == 0
    assert search_batch(_segments(), {"": Distance.DOT}, []) == []


def test_an_orthogonal_hit_scores_plain_zero() -> None:
    segment = MemorySegment(np.arange(1), np.array([[1, 0]], dtype=np.float32))
    query = VectorQuery(np.array([0, 1], dtype=np.float32), 1)
    for distance in (Distance.DOT, Distance.COSINE):
        score = search_batch([segment], {"": distance}, [query])[0].scores[0]
        assert score == 0 and not np.signbit(score)


def test_a_zero_cosine_query_scores_zero_everywhere() -> None:
    segments = _segments()
    _unit(segments)
    ranking = search_batch(
        segments, {"": Distance.COSINE}, [VectorQuery(np.zeros(DIMS, dtype=np.float32), 5)]
    )[0]
    assert ranking.scores.tolist() == [0.0] * 5


def test_queries_of_one_shape_share_a_native_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(scan_module_native, name)

        def flat_search(self, queries: NDArray[np.float32], *rest: Any) -> Any:
            calls.append(len(queries))
            return scan_module_native.flat_search(queries, *rest)

    scan_module_native = scan_module._native
    monkeypatch.setattr(scan_module, "_native", Counting())
    segment = MemorySegment(np.arange(100), _vectors(100))
    shared = row_bitmaps([segment], np.arange(0, 100, 2))
    plain = [VectorQuery(vector, 5) for vector in _vectors(4)]
    filtered = [VectorQuery(vector, 5, allowed=shared) for vector in _vectors(3)]
    wider = [VectorQuery(_vectors(1)[0], 6)]
    search_batch([segment], {"": Distance.DOT}, [*plain[:2], *filtered, *wider, *plain[2:]])
    assert sorted(calls) == [1, 3, 4]


class RecordingIndex:
    """Answers with fixed rows and remembers what it was asked."""

    kind, metric, dimensions = "recording", "l2", DIMS

    def __init__(self, count: int, cost: float) -> None:
        self.count, self.cost = count, cost
        self.asked: list[tuple[int, Mapping[str, Any], bool]] = []

    def search(
        self, queries: NDArray[np.float32], k: int, params: Mapping[str, Any], allow: Any = None
    ) -> Hits:
        self.asked.append((k, dict(params), allow is not None))
        rows = np.tile(np.arange(k), (len(queries), 1))
        return Hits(rows, np.tile(np.arange(k, dtype=np.float32), (len(queries), 1)))

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        return self.cost


@pytest.mark.parametrize(
    "cost, exact, allowed_count, uses_index",
    [
        (10.0, False, None, True),
        (10.0, True, None, False),
        (500.0, False, None, False),
        (10.0, False, 9, False),
    ],
)
def test_an_index_is_used_where_it_pays(
    cost: float, exact: bool, allowed_count: int | None, uses_index: bool
) -> None:
    index = RecordingIndex(100, cost)
    segment = MemorySegment(np.arange(50, 150), _vectors(100), built=index)
    allowed = None if allowed_count is None else row_bitmaps([segment], np.arange(50, 50 + allowed_count))
    query = VectorQuery(_vectors(1)[0], 5, allowed=allowed, params=SearchParams(exact, {"ef": 77}))
    ranking = search_batch([segment], {"": Distance.EUCLID}, [query], threads=2)[0]
    assert len(ranking.rows) == 5
    if uses_index:
        assert index.asked == [(5, {"ef": 77, "threads": 2}, False)]
        assert ranking.rows.tolist() == [50, 51, 52, 53, 54]
    else:
        assert index.asked == []
        _check(ranking, _expected([segment], query, Distance.EUCLID))
