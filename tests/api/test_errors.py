"""Each kind of mistake has its status and a message that says what was expected, what came, and where."""

from typing import Any

import httpx
import pytest

QUERY = ("POST", "/points/query")
UPSERT = ("PUT", "/points")
V = [1, 0, 0, 0]


def _point(**changes: Any) -> dict[str, Any]:
    return {"points": [{"id": 1, "vector": V}, {"id": 2, "vector": V, **changes}]}


@pytest.mark.parametrize(
    ("route", "body", "status", "parts"),
    [
        (UPSERT, _point(vector=[1, 2]), 400, ["expected dim: 4, got 2", "points[1].vector"]),
        (UPSERT, _point(vector=[1, 2, 3, None]), 400, ["float", "null", "points[1].vector[3]"]),
        (UPSERT, _point(vector=[1, 2, 3, "4"]), 400, ["float", "str", "points[1].vector[3]"]),
        (UPSERT, _point(vector=[1, 2, 3, True]), 400, ["float", "bool", "points[1].vector[3]"]),
        (UPSERT, _point(vector=[1, 2, 3, 1e39]), 400, ["float32", "points[1].vector"]),
        (UPSERT, _point(vector=[[1, 2, 3, 4]]), 400, ["got a matrix", "points[1].vector"]),
        (UPSERT, _point(vector={"indices": [1], "values": [0.5]}), 400, ["sparse", "points[1].vector"]),
        (UPSERT, _point(vector={"": {"indices": [1], "values": [1.0]}}), 400, ["sparse", "points[1].vector"]),
        (UPSERT, _point(vector={"other": V}), 400, ["Not existing vector name error: other"]),
        (UPSERT, _point(id=-1), 400, ["-1", "unsigned integer or a UUID", "points[1].id"]),
        (UPSERT, _point(id=2**64), 400, ["points[1].id"]),
        (UPSERT, _point(id="abc"), 400, ["abc", "points[1].id"]),
        (UPSERT, _point(id=1.5), 400, ["points[1].id"]),
        (UPSERT, _point(payload=[1]), 400, ["object", "points[1].payload"]),
        (UPSERT, _point(extra=1), 400, ["unknown field `extra`", "points[1]"]),
        (UPSERT, {"points": []}, 422, ["at least one point"]),
        (UPSERT, {}, 400, ["points", "batch"]),
        (UPSERT, {"points": [{"vector": V}]}, 400, ["`id`", "points[0]"]),
        (UPSERT, {"batch": {"ids": [1, 2], "vectors": [V]}}, 400, ["2 vectors", "got 1", "batch.vectors"]),
        (UPSERT, {"batch": {"ids": [1], "vectors": [V], "payloads": []}}, 400, ["1 payloads", "got 0"]),
        (UPSERT, {**_point(), "update_mode": "insert_only"}, 400, ["insert_only", "not served"]),
        (UPSERT, {**_point(), "update_filter": {"must": []}}, 400, ["not served", "update_filter"]),
        (QUERY, {"query": [1, 2]}, 400, ["expected dim: 4, got 2"]),
        (QUERY, {"query": [[1, 2, 3, 4]]}, 400, ["got a matrix", "query"]),
        (QUERY, {"query": {"nearest": {"indices": [1], "values": [1]}}}, 400, ["sparse", "query.nearest"]),
        (QUERY, {"query": {"indices": [1], "values": [1]}}, 400, ["not served", "query"]),
        (QUERY, {"query": {"fusion": "rrf"}}, 400, ["a fusion needs prefetches", "query"]),
        (QUERY, {"query": {"fusion": "best"}, "prefetch": {"query": V}}, 400, ["best", "query.fusion"]),
        (
            QUERY,
            {"query": {"fusion": "rrf", "nearest": V}, "prefetch": {"query": V}},
            400,
            ["exactly one of"],
        ),
        (
            QUERY,
            {"query": {"rrf": {"weights": [1, 2]}}, "prefetch": {"query": V}},
            400,
            ["1 weights", "got 2"],
        ),
        (QUERY, {"query": {"rrf": {"k": 0}}, "prefetch": {"query": V}}, 422, ["query.rrf.k"]),
        (QUERY, {"query": {"order_by": "n"}, "prefetch": {"query": V}}, 400, ["orders", "not served"]),
        (QUERY, {"query": {"nearest": V, "mmr": {"diversity": 0.5}}}, 400, ["`mmr`", "not served"]),
        (QUERY, {"query": {"recommend": {"positive": [1]}}}, 400, ["`recommend`", "not served"]),
        (QUERY, {"prefetch": {"query": V}}, 400, ["ranks or fuses", "query"]),
        (QUERY, {"prefetch": [{"query": V}, {"query": [1]}], "query": V}, 400, ["expected dim: 4, got 1"]),
        (QUERY, {"prefetch": {"query": [[1] * 4]}, "query": V}, 400, ["got a matrix", "prefetch[0].query"]),
        (QUERY, {"prefetch": {}, "query": V}, 400, ["not served", "prefetch[0].query"]),
        (QUERY, {"prefetch": {"query": {"sample": "random"}}, "query": V}, 400, ["not served", "sample"]),
        (QUERY, {"prefetch": {"query": V, "limit": 0}, "query": V}, 422, ["limit"]),
        (QUERY, {"prefetch": [{"query": V}] * 65, "query": V}, 422, ["at most 64 prefetches"]),
        (QUERY, {"prefetch": {"query": V, "filter": {"musst": []}}, "query": V}, 400, ["prefetch[0].filter"]),
        (QUERY, {"prefetch": {"query": V, "offset": 1}, "query": V}, 400, ["unknown field `offset`"]),
        (QUERY, {"query": {}}, 400, ["exactly one of"]),
        (QUERY, {"query": {"sample": "first"}}, 400, ["first", "query.sample"]),
        (QUERY, {"query": V, "using": "other"}, 400, ["Not existing vector name error: other"]),
        (QUERY, {"query": 99}, 404, ["No point with id 99"]),
        (QUERY, {"query": V, "limit": 0}, 422, [">= 1", "limit"]),
        (QUERY, {"query": V, "limit": -3}, 422, ["limit"]),
        (QUERY, {"query": V, "limit": 10**6}, 422, ["limit"]),
        (QUERY, {"query": V, "limit": "3"}, 400, ["int", "str", "limit"]),
        (QUERY, {"query": V, "params": {"ef": 3}}, 400, ["unknown field `ef`", "params"]),
        (QUERY, {"query": V, "params": {"hnsw_ef": 0}}, 422, ["params.hnsw_ef"]),
        (QUERY, {"query": V, "filter": {"must": [{"key": "n"}]}}, 400, ["filter.must[0]", "match"]),
        (QUERY, {"query": V, "filter": {"musst": []}}, 400, ["musst", "filter"]),
        (QUERY, {"query": V, "with_payload": {"include": ["a"], "exclude": ["b"]}}, 400, ["with_payload"]),
        (QUERY, {"query": V, "with_vector": ["other"]}, 400, ["other"]),
        (QUERY, {"query": V, "lookup": 1}, 400, ["unknown field `lookup`, expected one of query, "]),
        (("POST", "/points"), {}, 400, ["`ids`"]),
        (("POST", "/points"), {"ids": ["x"]}, 400, ["ids[0]"]),
        (("POST", "/points/delete"), {}, 400, ["`points` or `filter`"]),
        (("POST", "/points/payload"), {"points": [1]}, 400, ["`payload`"]),
        (("POST", "/points/payload"), {"points": [99], "payload": {"a": 1}}, 404, ["99"]),
        (("POST", "/points/payload/delete"), {"points": [1]}, 400, ["`keys`"]),
        (("POST", "/points/vectors/delete"), {"points": [1], "vector": []}, 422, ["vector"]),
        (("PUT", "/points/vectors"), {"points": []}, 422, ["points"]),
        (("POST", "/points/scroll"), {"limit": 0}, 422, ["limit"]),
        (("POST", "/points/scroll"), {"offset": "x"}, 400, ["offset"]),
        (("POST", "/points/count"), {"filter": []}, 400, ["filter"]),
        (("PUT", "/index"), {"field_name": "n"}, 400, ["keyword", "field_schema"]),
    ],
)
def test_wrong_bodies(
    api: httpx.Client, kept: str, route: tuple[str, str], body: Any, status: int, parts: list[str]
) -> None:
    answer = api.request(route[0], f"/collections/{kept}{route[1]}", json=body)
    message = answer.json()["status"]["error"]
    assert answer.status_code == status, message
    assert all(part in message for part in parts), message
    assert isinstance(answer.json()["time"], float)
    count = api.post(f"/collections/{kept}/points/count", json={}).json()["result"]["count"]
    assert count == 10, "nothing was applied"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"filter": NaN}', b"\xff\xfe", b"[1]", b"{}x", b'{"filter":{"a":']
)
@pytest.mark.parametrize("route", [QUERY, ("POST", "/points/scroll"), ("POST", "/points/delete")])
def test_broken_json(api: httpx.Client, kept: str, route: tuple[str, str], body: bytes) -> None:
    answer = api.request(route[0], f"/collections/{kept}{route[1]}", content=body)
    assert answer.status_code == 400
    message = answer.json()["status"]["error"]
    assert "Format error in JSON body" in message or "Expected `object`" in message


def test_deep_json(api: httpx.Client, kept: str) -> None:
    deep = b'{"filter":' + b'{"must":' * 5000 + b"[]" + b"}" * 5001
    answer = api.post(f"/collections/{kept}/points/scroll", content=deep)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({"vectors": {"size": 4}}, ["`distance`", "vectors"]),
        ({"vectors": {"size": 4, "distance": "Hamming"}}, ["Hamming", "vectors.distance"]),
        ({"vectors": {"a": {"size": 0, "distance": "Dot"}}}, ["vectors.a.size"]),
        ({"vectors": {"size": 10**6, "distance": "Dot"}}, ["vectors.size"]),
        ({"vectors": {"size": 4, "distance": "Dot", "colour": 1}}, ["unknown field `colour`", "vectors"]),
        (
            {"vectors": {"size": 4, "distance": "Dot", "multivector_config": {"comparator": "min_sim"}}},
            ["min_sim", "vectors.multivector_config.comparator"],
        ),
        ({"sparse_vectors": {"s": {}}}, ["sparse"]),
        ({"vektors": {}}, ["unknown field `vektors`"]),
        ({"quantization_config": {"magic": {}}}, ["scalar", "quantization_config"]),
        ({"vectors": {"size": 4, "distance": "Dot"}, "index": {"kind": "hnsw", "params": {"q": 1}}}, ["q"]),
    ],
)
def test_wrong_collections(api: httpx.Client, body: Any, parts: list[str]) -> None:
    answer = api.put("/collections/wrong", json=body)
    message = answer.json()["status"]["error"]
    assert answer.status_code in (400, 422), message
    assert all(part in message for part in parts), message
    assert not api.get("/collections/wrong/exists").json()["result"]["exists"]


@pytest.mark.parametrize("name", ["a b|c", "x" * 256, "a<b"])
def test_wrong_collection_names(api: httpx.Client, name: str) -> None:
    answer = api.put(f"/collections/{name}", json={"vectors": {"size": 4, "distance": "Dot"}})
    assert answer.status_code in (400, 422), answer.text


def test_wrong_parameters(api: httpx.Client, kept: str) -> None:
    path = f"/collections/{kept}/points/count"
    for params, name in (
        ({"timeout": "x"}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"consistency": "?"}, "consis"),
    ):
        answer = api.post(path, json={}, params=params)
        assert answer.status_code == 400 and name in answer.json()["status"]["error"]
    assert api.put(f"/collections/{kept}/points", json=_point(), params={"wait": "maybe"}).status_code == 400
    assert api.get(f"/collections/{kept}/points/not-an-id").status_code == 400


def test_missing_collections(api: httpx.Client) -> None:
    for route, body in ((UPSERT, _point()), (QUERY, {"query": V}), (("POST", "/points/scroll"), {})):
        answer = api.request(route[0], f"/collections/nowhere{route[1]}", json=body)
        assert answer.status_code == 404
        assert answer.json()["status"]["error"] == "Not found: Collection `nowhere` doesn't exist!"
