"""Searching: forms of a query, options, batches, and the older routes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from nearfield.server.codec.decode import decode
from nearfield.server.codec.query import read_queries, read_query
from nearfield.server.schemas import query as schemas

Make = Callable[..., str]
Points = list[dict[str, Any]]


@pytest.fixture
def query(api: httpx.Client, kept: str) -> Callable[..., Points]:
    def ask(**body: Any) -> Points:
        answer = api.post(f"/collections/{kept}/points/query", json=body)
        assert answer.status_code == 200, answer.text
        points: Points = answer.json()["result"]["points"]
        return points

    return ask


def _ids(points: Points) -> list[int]:
    return [point["id"] for point in points]


@pytest.mark.parametrize(
    "form", [[1, 0, 0, 0], {"nearest": [1, 0, 0, 0]}, {"nearest": [1, 0, 0, 0], "mmr": None}]
)
def test_by_vector(query: Callable[..., Points], form: Any) -> None:
    points = query(query=form, limit=2)
    assert points == [{"id": 9, "version": 1, "score": 9.0}, {"id": 8, "version": 1, "score": 8.0}]


@pytest.mark.parametrize("text", ["[1, 2.5]", ' {"nearest" : [1, 2.5] }', '{ "nearest":[1,2.5]}'])
def test_a_vector_is_read_straight_into_an_array(text: str) -> None:
    one = read_query(f'{{"query": {text}, "limit": 3}}'.encode())
    (same,) = read_queries(f'{{"searches": [{{"query": {text}, "limit": 3}}]}}'.encode())
    for body in (one, same):
        wanted: Any = body.query
        assert isinstance(wanted, np.ndarray) and wanted.dtype == np.float32
        assert wanted.tolist() == [1, 2.5] and body.limit == 3


@pytest.mark.parametrize(
    "text",
    [
        '{"prefetch": {"query": [1, 2]}, "limit": 3}',
        '{"prefetch": {"query": [1, 2]}, "query": [3, 4]}',
        '{"query": [1, 2], "query": [3, 4]}',
        '{"query": [1, 2], "filter": {"must": {"query": [3, 4]}}}',
        r'{"qu\u0065ry": null, "prefetch": {"query": [1, 2]}}',
        '{"query": {"nearest": [1, 2], "sample": "random"}}',
        '{"limit": 3}',
    ],
)
def test_a_vector_is_nobody_elses(text: str) -> None:
    """Wherever members called `query` are, bodies mean what they mean to a JSON reader."""

    def plain(body: schemas.QueryPoints) -> dict[str, Any]:
        parts = {name: getattr(body, name) for name in body.__struct_fields__}
        query = parts["query"]
        return {**parts, "query": query.tolist() if isinstance(query, np.ndarray) else query}

    expected = plain(decode(schemas.QueryPoints, text.encode()))
    (one,) = read_queries(f'{{"searches": [{text}]}}'.encode())
    assert plain(read_query(text.encode())) == plain(one) == expected


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        ({"nearest": [1, 0, 0]}, 400, "Vector dimension error: expected dim: 4, got 3"),
        ({"nearest": [1, 0, 0, 1e39]}, 400, "float32"),
        ({"nearest": [1, 0, 0, "1"]}, 400, "query.nearest[3]"),
        ({"nearest": []}, 400, "Vector dimension error: expected dim: 4, got 0"),
        ({"nearest": [1, 0, 0, 0], "fusion": "rrf"}, 400, "exactly one of"),
        ({"nearest": [1, 0, 0, 0], "closest": 1}, 400, "unknown field `closest`"),
        ({"nearest": [[1, 0, 0, 0]]}, 400, "multivector_config"),
    ],
)
def test_a_wrong_nearest_is_explained(
    api: httpx.Client, kept: str, form: dict[str, Any], status: int, says: str
) -> None:
    answer = api.post(f"/collections/{kept}/points/query", json={"query": form})
    assert answer.status_code == status and says in answer.text


@pytest.mark.parametrize("form", [9, {"nearest": 9}])
def test_by_id_leaves_the_point_out(query: Callable[..., Points], form: Any) -> None:
    assert _ids(query(query=form, limit=3)) == [8, 7, 6]


def test_options(query: Callable[..., Points]) -> None:
    east = [1, 0, 0, 0]
    assert len(query(query=east)) == 10
    assert _ids(query(query=east, limit=2, offset=3)) == [6, 5]
    assert _ids(query(query=east, score_threshold=7.5)) == [9, 8]
    assert _ids(query(query=east, limit=2, using="")) == [9, 8]
    params = {"hnsw_ef": 64, "exact": True, "indexed_only": False, "quantization": {"rescore": True}}
    assert _ids(query(query=east, limit=1, params=params)) == [9]
    odd = {"must": [{"key": "kind", "match": {"value": "odd"}}]}
    assert _ids(query(query=east, filter=odd, limit=3)) == [9, 7, 5]
    full = query(query=east, limit=1, with_payload=True, with_vector=True)[0]
    assert full["payload"] == {"n": 9, "kind": "odd"} and full["vector"] == [9, 1, 0, 0]
    assert query(query=east, limit=1, with_payload={"include": ["n"]})[0]["payload"] == {"n": 9}
    assert query(query=east, limit=1, with_payload={"exclude": ["n"]})[0]["payload"] == {"kind": "odd"}


def test_without_a_query_points_come_by_id(query: Callable[..., Points]) -> None:
    assert _ids(query(limit=3, offset=2)) == [2, 3, 4]


def test_by_order(query: Callable[..., Points]) -> None:
    order = {"order_by": {"key": "n", "direction": "desc"}}
    points = query(query=order, limit=2, offset=1, with_payload=True)
    assert _ids(points) == [8, 7] and points[0]["order_value"] == 8 and points[0]["payload"]["n"] == 8


def test_sample(query: Callable[..., Points]) -> None:
    seen = {i for _ in range(30) for i in _ids(query(query={"sample": "random"}, limit=3))}
    assert len(seen) > 5
    even = {"must": [{"key": "kind", "match": {"value": "even"}}]}
    assert sorted(_ids(query(query={"sample": "random"}, filter=even, limit=10))) == [0, 2, 4, 6, 8]


def test_lookup_in_another_collection(api: httpx.Client, make: Make, kept: str) -> None:
    config = {"vectors": {"v": {"size": 4, "distance": "Dot"}}}
    other = make(config, [{"id": 3, "vector": {"v": [-1, 0, 0, 0]}}])
    lookup = {"collection": other, "vector": "v"}
    body = {"query": 3, "lookup_from": lookup, "limit": 1}
    points = api.post(f"/collections/{kept}/points/query", json=body).json()["result"]["points"]
    assert _ids(points) == [0]
    missing = api.post(f"/collections/{kept}/points/query", json={**body, "query": 4})
    assert missing.status_code == 404


@pytest.mark.parametrize(("distance", "scores"), [("Euclid", [1.0, 2.0]), ("Manhattan", [1.0, 2.0])])
def test_distances_ascend(api: httpx.Client, make: Make, distance: str, scores: list[float]) -> None:
    points = [{"id": i, "vector": [i, 0]} for i in range(3)]
    name = make({"vectors": {"size": 2, "distance": distance}}, points)
    body = {"query": [-1, 0], "score_threshold": 2.5}
    hits = api.post(f"/collections/{name}/points/query", json=body).json()["result"]["points"]
    assert _ids(hits) == [0, 1] and [hit["score"] for hit in hits] == pytest.approx(scores)


def test_batch(api: httpx.Client, kept: str) -> None:
    searches: list[dict[str, Any]] = [
        {"query": [1, 0, 0, 0], "limit": 1},
        {"query": {"nearest": [-1, 0, 0, 0]}, "limit": 2, "with_payload": ["n"]},
        {"query": 5, "limit": 1},
        {"query": {"order_by": "n"}, "limit": 1},
    ]
    answer = api.post(f"/collections/{kept}/points/query/batch", json={"searches": searches})
    results = answer.json()["result"]
    assert [_ids(result["points"]) for result in results] == [[9], [0, 1], [9], [0]]
    assert results[1]["points"][1]["payload"] == {"n": 1}
    searches[2] = {"query": [1, 2], "limit": 1}
    wrong = api.post(f"/collections/{kept}/points/query/batch", json={"searches": searches})
    assert wrong.status_code == 400
    assert "expected dim: 4, got 2 (at searches[2]" in wrong.json()["status"]["error"]


def test_older_routes(api: httpx.Client, kept: str) -> None:
    search = {"vector": [1, 0, 0, 0], "limit": 2, "with_payload": True}
    hits = api.post(f"/collections/{kept}/points/search", json=search).json()["result"]
    assert _ids(hits) == [9, 8] and hits[0]["payload"]["n"] == 9
    named = {"vector": {"name": "", "vector": [1, 0, 0, 0]}, "limit": 1, "offset": 1}
    both = api.post(f"/collections/{kept}/points/search/batch", json={"searches": [search, named]})
    assert [_ids(part) for part in both.json()["result"]] == [[9, 8], [8]]


def test_the_short_way_answers_like_the_route(api: httpx.Client, kept: str) -> None:
    """A query string sends a request through the framework; without one the gateway answers it itself."""
    for body in ({"query": [1, 0, 0, 0], "with_payload": True}, {"query": [1]}, {"quary": 1}, {"query": 77}):
        short = api.post(f"/collections/{kept}/points/query", json=body)
        for params in ({"consistency": "majority"}, {"timeout": "5"}):
            long = api.post(f"/collections/{kept}/points/query", json=body, params=params)
            assert (long.status_code, {**long.json(), "time": 0}) == (
                short.status_code,
                {**short.json(), "time": 0},
            )


def test_one_bad_query_among_concurrent_ones_fails_alone(url: str, kept: str) -> None:
    """Searches of one moment are done in one batch; the wrong one must not spoil the others."""
    start = threading.Barrier(8)

    def ask(number: int) -> int:
        body = {"query": [1, 0, 0, 0] if number % 4 else 4711}
        with httpx.Client(base_url=url) as client:
            client.get("/")
            start.wait()
            answers = [client.post(f"/collections/{kept}/points/query", json=body) for _ in range(25)]
        statuses = {answer.status_code for answer in answers}
        assert len(statuses) == 1
        return statuses.pop()

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(8)))
    assert statuses == [404 if number % 4 == 0 else 200 for number in range(8)]
