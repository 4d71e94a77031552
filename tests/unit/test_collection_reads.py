"""Scrolling, counting and searching, checked against brute force over the same points."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import (
    Collection,
    CollectionSchema,
    Database,
    Datatype,
    Distance,
    EngineConfig,
    OrderBy,
    PayloadSelector,
    PointBatch,
    PointId,
    ScrollRequest,
    SearchRequest,
    VectorColumn,
    VectorSpec,
    limits,
)
from nearfield.engine.errors import InvalidRequest, NotFound, Unprocessable
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.storage import reader
from tests.helpers.points import EAGER, batch, by_ids, schema, vectors

COUNT = 400
EVEN = parse_filter({"must": [{"key": "even", "match": {"value": True}}]})
IDS: list[PointId] = [*range(0, 2 * (COUNT - 3), 2), UUID(int=5), UUID(int=2**127), UUID(int=3)]
IN_ORDER = sorted(IDS, key=lambda point: (isinstance(point, UUID), point))
VALUES = vectors(COUNT)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with Database.open(tmp_path_factory.mktemp("reads") / "data", config=EAGER) as database:
        yield database


@pytest.fixture(scope="module")
def points(database: Database) -> Collection:
    """Sealed and growing rows, some replaced and some deleted: what is left are IDS with VALUES."""
    points = database.create_collection("points", schema(Distance.EUCLID))
    fill(points)
    return points


def fill(points: Collection) -> None:
    payloads = [{"even": at % 2 == 0, "n": COUNT - at, "at": at} for at in range(COUNT)]
    for start in range(0, COUNT, 100):
        part = slice(start, start + 100)
        points.upsert(batch([*IDS[part], 10**6 + start], vectors(len(IDS[part]) + 1, seed=9)))
        points.upsert(batch(IDS[part], VALUES[part], payloads[part]))
    points.delete(by_ids(*range(10**6, 10**6 + COUNT, 100)))
    points.wait_settled(20)
    points.upsert(batch(IDS[::7], VALUES[::7], payloads[::7]))


def brute_force(distance: Distance, stored: NDArray[Any], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores in float64."""
    rows, query = stored.astype(np.float64), query.astype(np.float64)
    match distance:
        case Distance.EUCLID:
            return np.sqrt(((rows - query) ** 2).sum(axis=1))
        case Distance.MANHATTAN:
            return np.abs(rows - query).sum(axis=1)
        case Distance.DOT:
            return rows @ query
        case Distance.COSINE:
            return rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


def ids_of(hits: Any) -> list[PointId]:
    return [hit.record.id for hit in hits]


# ---- scroll and count ---------------------------------------------------------------------------


def test_scroll_walks_all_points_by_id(points: Collection) -> None:
    found: list[PointId] = []
    offset: PointId | None = None
    while True:
        page = points.scroll(ScrollRequest(limit=37, offset=offset))
        found += [record.id for record in page.records]
        offset = page.next_offset
        if offset is None:
            break
        assert len(page.records) == 37
    assert found == IN_ORDER


@pytest.mark.parametrize("sorted_max", [0, 10**6])
def test_filtered_scroll_walks_or_sorts(
    points: Collection, monkeypatch: pytest.MonkeyPatch, sorted_max: int
) -> None:
    monkeypatch.setattr(reader, "_SORTED_ROWS_MAX", sorted_max)
    wanted = [point for point in IN_ORDER if IDS.index(point) % 2 == 0]
    found, offset = [], None
    while True:
        page = points.scroll(ScrollRequest(limit=41, offset=offset, filter=EVEN, with_vectors=True))
        for record in page.records:
            assert record.vectors is not None
            assert np.array_equal(record.vectors[""], VALUES[IDS.index(record.id)])
        found += [record.id for record in page.records]
        offset = page.next_offset
        if offset is None:
            break
    assert found == wanted


def test_scroll_starts_at_an_offset_that_need_not_exist(points: Collection) -> None:
    page = points.scroll(ScrollRequest(limit=2, offset=7))
    assert [record.id for record in page.records] == [8, 10]
    assert page.next_offset == 12


def test_scroll_ordered_by_a_key(points: Collection) -> None:
    page = points.scroll(ScrollRequest(limit=3, order_by=OrderBy("n", descending=True, start_from=100)))
    assert [record.order_value for record in page.records] == [100, 99, 98]
    assert [record.id for record in page.records] == [IDS[COUNT - value] for value in (100, 99, 98)]
    assert page.next_offset is None
    page = points.scroll(ScrollRequest(limit=2, order_by=OrderBy("n"), filter=EVEN, with_vectors=True))
    assert [record.order_value for record in page.records] == [2, 4]
    with pytest.raises(InvalidRequest, match="cannot be combined"):
        points.scroll(ScrollRequest(offset=1, order_by=OrderBy("n")))


def test_count(points: Collection) -> None:
    assert points.count() == COUNT
    assert points.count(EVEN) == COUNT // 2
    assert points.count(parse_filter({"must": [{"has_id": [0, 2, 999_999, str(UUID(int=5))]}]})) == 3


@pytest.mark.parametrize("limit", [0, -1, limits.SCROLL_LIMIT_MAX + 1])
def test_scroll_limits(points: Collection, limit: int) -> None:
    with pytest.raises(Unprocessable, match="limit must be between 1 and 100000"):
        points.scroll(ScrollRequest(limit=limit))


# ---- search -------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("distance", Distance)
def test_scores_are_those_of_brute_force(database: Database, distance: Distance, datatype: Datatype) -> None:
    values = np.random.default_rng(3).integers(0, 256, (COUNT, 8)).astype(np.float32)
    name = f"{distance}-{datatype}"
    collection = database.create_collection(name, schema(distance, datatype))
    for start in range(0, COUNT, 50):
        part = np.arange(start, start + 50)
        collection.upsert(batch(part.tolist(), values[part]))
    collection.delete(by_ids(7))
    query = np.random.default_rng(4).random(8, dtype=np.float32) * 255
    expected = brute_force(distance, values, query)
    order = np.argsort(-expected if distance.larger_is_nearer else expected, kind="stable")
    best = [at for at in order.tolist() if at != 7][:10]
    [hits] = collection.search([SearchRequest(query, limit=10)])
    tolerance = 2e-3 if datatype is Datatype.FLOAT16 else 1e-5
    assert [hit.score for hit in hits] == pytest.approx(expected[best].tolist(), rel=tolerance)
    if datatype is not Datatype.FLOAT16:
        assert ids_of(hits) == best
    assert database.delete_collection(name)


def test_search_with_filter_offset_and_threshold(points: Collection) -> None:
    query = vectors(1, seed=5)[0]
    scores = brute_force(Distance.EUCLID, VALUES, query)
    best = [IDS[at] for at in np.argsort(scores) if at % 2 == 0]
    [hits] = points.search([SearchRequest(query, limit=5, offset=2, filter=EVEN)])
    assert ids_of(hits) == best[2:7]
    limit = float(np.sort(scores[::2])[3]) + 1e-4
    [hits] = points.search([SearchRequest(query, limit=50, filter=EVEN, score_threshold=limit)])
    assert ids_of(hits) == best[:4]


def test_search_by_id_leaves_the_point_out(points: Collection) -> None:
    [hits] = points.search([SearchRequest(IDS[14], limit=COUNT)])
    assert len(hits) == COUNT - 1
    scores = brute_force(Distance.EUCLID, VALUES, VALUES[14])
    assert ids_of(hits)[:5] == [IDS[at] for at in np.argsort(scores)[1:6]]
    with pytest.raises(NotFound, match="No point with id 1 found"):
        points.search([SearchRequest(1)])


def test_search_returns_what_is_asked_for(points: Collection) -> None:
    requests = [
        SearchRequest(
            VALUES[3], limit=1, with_payload=PayloadSelector(True, include=["at"]), with_vectors=True
        ),
        SearchRequest(VALUES[4], limit=1),
    ]
    [[first], [second]] = points.search(requests)
    assert first.record.id == IDS[3]
    assert first.record.payload == b'{"at":3}'
    assert first.record.vectors is not None
    assert np.array_equal(first.record.vectors[""], VALUES[3])
    assert first.score == pytest.approx(0, abs=1e-3)
    assert (second.record.id, second.record.payload, second.record.vectors) == (IDS[4], None, None)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (SearchRequest(np.zeros(5, dtype=np.float32)), InvalidRequest, "expected dim: 8, got 5"),
        (SearchRequest(np.full(8, np.nan, dtype=np.float32)), InvalidRequest, r"got nan \(at query\[0\]\)"),
        (SearchRequest(VALUES[0], using="x"), InvalidRequest, "Not existing vector name error: x"),
        (SearchRequest(VALUES[0], limit=0), Unprocessable, "limit must be at least 1"),
        (SearchRequest(VALUES[0], offset=-1), Unprocessable, "offset at least 0"),
        (SearchRequest(VALUES[0], limit=limits.SEARCH_LIMIT_MAX + 1), Unprocessable, "at most 100000"),
        (SearchRequest(VALUES[0], with_vectors=["x"]), InvalidRequest, "Not existing vector name error: x"),
    ],
)
def test_bad_searches(
    points: Collection, request_: SearchRequest, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        points.search([request_])


def test_search_finds_only_points_that_have_the_vector(database: Database) -> None:
    two = CollectionSchema({"a": VectorSpec(2, Distance.DOT), "b": VectorSpec(2, Distance.DOT)})
    collection = database.create_collection("two", two)
    column = VectorColumn(np.array([[1, 0], [2, 0]], dtype=np.float32), np.array([1, 3]))
    collection.upsert(PointBatch([1, 2, 3, 4], {"a": column}))
    query = np.array([1, 0], dtype=np.float32)
    [found, nothing] = collection.search([SearchRequest(query, using="a"), SearchRequest(query, using="b")])
    assert [(hit.record.id, hit.score) for hit in found] == [(4, 2.0), (2, 1.0)]
    assert nothing == []
    with pytest.raises(NotFound, match="has no vector named `b`"):
        collection.search([SearchRequest(2, using="b")])


def test_an_empty_collection_answers_everything(database: Database) -> None:
    empty = database.create_collection("empty", schema())
    assert empty.search([SearchRequest(VALUES[0]), SearchRequest(VALUES[0], filter=EVEN)]) == [[], []]
    assert empty.scroll(ScrollRequest()).records == []
    assert empty.scroll(ScrollRequest(order_by=OrderBy("n"))).records == []
    assert (empty.count(), empty.count(EVEN)) == (0, 0)
    assert empty.info().status == "green"


def test_cost_hint_grows_with_what_is_scanned(points: Collection) -> None:
    one = points.search_cost_hint([SearchRequest(VALUES[0])])
    assert one >= COUNT * 32
    assert points.search_cost_hint([SearchRequest(VALUES[0])] * 3) == 3 * one
    assert points.search_cost_hint([SearchRequest(VALUES[0], filter=EVEN)]) > one


@pytest.mark.parametrize("sorted_max", [0, 10**6])
def test_reads_are_consistent_while_points_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sorted_max: int
) -> None:
    """Every version of every point satisfies the filter: none may ever be missing."""
    monkeypatch.setattr(reader, "_SORTED_ROWS_MAX", sorted_max)
    config = EngineConfig(growing_bytes_seal=16_000, settle_pause_s=0.05)
    tagged = parse_filter({"must": [{"key": "tag", "match": {"value": "x"}}]})
    with Database.open(tmp_path / "data", config=config) as database:
        collection = database.create_collection("points", schema())
        ids = list(range(60))
        payloads = [{"tag": "x", "n": point} for point in ids]
        collection.upsert(batch(ids, payloads=payloads))
        pending = []
        for round_ in range(60):
            pending.append(collection.submit_upsert(batch(ids, payloads=payloads, seed=round_)))
            assert collection.count(tagged) == 60
            assert collection.count() == 60
            [plain, filtered] = collection.search(
                [SearchRequest(VALUES[0], limit=100), SearchRequest(VALUES[0], limit=100, filter=tagged)]
            )
            assert len(plain) == len(filtered) == 60
            page = collection.scroll(ScrollRequest(limit=100, filter=tagged, with_vectors=True))
            assert [record.id for record in page.records] == ids
            page = collection.scroll(ScrollRequest(limit=100, order_by=OrderBy("n")))
            assert [record.id for record in page.records] == ids
        for future in pending:
            future.result()
