"""Searches for a recall, and the route that tells what was measured."""

import time
from typing import Any

import httpx
import numpy as np
import pytest

from nearfield.server import bulk

POINTS, DIMENSIONS = 12_000, 16
RNG = np.random.default_rng(4)
VECTORS = RNG.normal(size=(POINTS, DIMENSIONS)).astype(np.float32)
QUERIES = RNG.normal(size=(40, DIMENSIONS)).tolist()


def _indexed(api: httpx.Client, kind: str, **params: Any) -> str:
    name = f"recall-{kind}-{len(params)}"
    index = {"kind": kind, "params": params}
    created = {"vectors": {"size": DIMENSIONS, "distance": "Euclid"}, "index": index}
    assert api.put(f"/collections/{name}", json=created).status_code == 200
    body = bulk.encode(np.arange(POINTS, dtype=np.uint64), VECTORS)
    assert api.put(f"/v1/collections/{name}/bulk", content=body).status_code == 200
    until = time.monotonic() + 90
    while api.get(f"/collections/{name}").json()["result"]["indexed_vectors_count"] < POINTS:
        assert time.monotonic() < until, "no index after a minute and a half"
        time.sleep(0.1)
    return name


@pytest.fixture(scope="module")
def graph(api: httpx.Client) -> str:
    return _indexed(api, "leanvec", degree=8)


def _found(api: httpx.Client, name: str, params: dict[str, Any]) -> list[list[int]]:
    bodies = [{"query": query, "params": params} for query in QUERIES]
    answer = api.post(f"/collections/{name}/points/query/batch", json={"searches": bodies})
    assert answer.status_code == 200, answer.text
    return [[hit["id"] for hit in each["points"]] for each in answer.json()["result"]]


def _recall(api: httpx.Client, name: str, params: dict[str, Any]) -> float:
    pairs = zip(_found(api, name, params), _found(api, name, {"exact": True}), strict=True)
    return float(np.mean([len(set(found) & set(truth)) / 10 for found, truth in pairs]))


def _described(api: httpx.Client, name: str, **asked: float) -> dict[str, Any]:
    answer = api.get(f"/v1/collections/{name}/recall", params=asked)
    assert answer.status_code == 200, answer.text
    (segment,) = answer.json()["result"]["vectors"][""]
    found: dict[str, Any] = segment
    return found


def test_a_search_gets_the_recall_it_asks_for(api: httpx.Client, graph: str) -> None:
    recalls = [_recall(api, graph, {"target_recall": target}) for target in (0.5, 0.9, 0.98, 1)]
    assert recalls[1] >= 0.86 and recalls[2] >= 0.95 and recalls[3] == 1
    assert recalls[0] < recalls[2]


def test_what_was_measured_is_published(api: httpx.Client, graph: str) -> None:
    segment = _described(api, graph)
    assert (segment["points"], segment["kind"], segment["target"]) == (POINTS, "leanvec", None)
    assert segment["params"]["degree"] == 8 and segment["params"]["calibrate"] is True
    measured = segment["measured"]
    assert (measured["k"], measured["queries"], measured["sample"]) == (10, 300, "mirrored_rows")
    assert len(measured["ef"]) == len(measured["recall"]) == len(measured["standard_error"]) > 3
    assert measured["recall"][0] < 0.95 < measured["recall"][-1] <= 1


def test_what_a_target_does_is_told(api: httpx.Client, graph: str) -> None:
    easy, hard = (_described(api, graph, target_recall=target)["target"] for target in (0.8, 0.97))
    assert easy["reached"] and hard["reached"] and 10 <= easy["ef"] < hard["ef"]
    assert _found(api, graph, {"hnsw_ef": hard["ef"]}) == _found(api, graph, {"target_recall": 0.97})
    assert _described(api, graph, target_recall=0.97, limit=100)["target"]["ef"] > max(100, hard["ef"])
    assert _described(api, graph, target_recall=1)["target"] == {"ef": None, "reached": True}
    beyond = _described(api, graph, target_recall=0.99999)
    assert beyond["target"] == {"ef": beyond["measured"]["ef"][-1], "reached": False}


def test_points_that_are_scanned_are_all_found(api: httpx.Client, kept: str) -> None:
    segment = _described(api, kept, target_recall=0.9)
    assert (segment["points"], segment["kind"], segment["measured"]) == (10, None, None)
    assert segment["target"] == {"ef": None, "reached": True}


def test_an_index_that_was_not_measured_refuses(api: httpx.Client) -> None:
    name = _indexed(api, "leanvec", degree=8, calibrate=False)
    assert _described(api, name, target_recall=0.9)["target"] is None
    answer = api.post(
        f"/collections/{name}/points/query", json={"query": QUERIES[0], "params": {"target_recall": 0.9}}
    )
    assert answer.status_code == 400
    assert "was not" in answer.text and "params.target_recall" in answer.text


@pytest.mark.parametrize(
    "params, status, says",
    [
        ({"target_recall": 0}, 422, "params.target_recall"),
        ({"target_recall": 1.5}, 422, "params.target_recall"),
        ({"target_recall": "0.9"}, 400, "params.target_recall"),
        ({"target_recall": 0.9, "hnsw_ef": 64}, 400, "either `target_recall` or `hnsw_ef`"),
        ({"target_recall": 0.9, "nprobe": 4}, 400, "params"),
    ],
)
def test_bad_targets(api: httpx.Client, kept: str, params: dict[str, Any], status: int, says: str) -> None:
    answer = api.post(f"/collections/{kept}/points/query", json={"query": [1, 0, 0, 0], "params": params})
    assert answer.status_code == status and says in answer.text, answer.text
    nested = {"prefetch": {"query": [1, 0, 0, 0], "params": params}, "query": [1, 0, 0, 0]}
    answer = api.post(f"/collections/{kept}/points/query", json=nested)
    assert answer.status_code == status and "prefetch" in answer.text, answer.text


def test_bad_questions_about_recall(api: httpx.Client, kept: str) -> None:
    assert api.get("/v1/collections/nowhere/recall").status_code == 404
    for asked in ({"target_recall": 2}, {"target_recall": "much"}, {"limit": 0}):
        assert api.get(f"/v1/collections/{kept}/recall", params=asked).status_code in (400, 422)
