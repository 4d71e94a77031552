"""Requests in the very form in which popular integrations send them, and what they do with the answers.

Recorded from the integrations' own traffic and written down again: method, path, query string, body. Those
for sparse vectors, fusion and diversity are here too: they have a clear answer until they are served.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

DIM = 16
_random = np.random.default_rng(5)
VECTORS = [[float(x) for x in row] for row in _random.standard_normal((6, DIM))]
QUERY = VECTORS[0]
A, B, C, D = (f"{digit}3340742304e455ba49a54858024324a" for digit in "1abc")
A_ID = "13340742-304e-455b-a49a-54858024324a"
SPARSE = {"indices": [1, 5], "values": [0.5, 0.1]}
COSINE = {"size": DIM, "distance": "Cosine"}
WAIT = {"wait": "true"}
REFUSED = 400


@dataclass(frozen=True)
class Step:
    """One request; the answer's status, and what its result must satisfy."""

    method: str
    path: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    status: int = 200
    holds: Callable[[Any], bool] = lambda result: True


def _ids(*expected: Any) -> Callable[[Any], bool]:
    return lambda result: [point["id"] for point in result["points"]] == list(expected)


def _count(expected: int) -> Callable[[Any], bool]:
    return lambda result: result == {"count": expected}


def _done(result: Any) -> bool:
    return result["status"] == "completed" and isinstance(result["operation_id"], int)


LANGCHAIN = [
    Step("GET", "/collections/lc/exists", holds=lambda result: result == {"exists": False}),
    Step(
        "PUT",
        "/collections/lc",
        {"vectors": {"": COSINE}, "sparse_vectors": {}},
        holds=lambda result: result is True,
    ),
    Step(
        "PUT",
        "/collections/lc/points",
        {
            "points": [
                {
                    "id": A,
                    "vector": {"": VECTORS[0]},
                    "payload": {"page_content": "t0", "metadata": {"a": 0}},
                },
                {
                    "id": B,
                    "vector": {"": VECTORS[1]},
                    "payload": {"page_content": "t1", "metadata": {"a": 1}},
                },
            ]
        },
        WAIT,
        holds=_done,
    ),
    Step(
        "POST",
        "/collections/lc/points/query",
        {
            "query": {"nearest": QUERY},
            "using": "",
            "filter": {"must": [{"key": "metadata.a", "range": {"gte": 1.0}}]},
            "limit": 2,
            "offset": 0,
            "with_vector": False,
            "with_payload": True,
        },
        holds=lambda result: [p["payload"]["page_content"] for p in result["points"]] == ["t1"],
    ),
    Step(
        "GET", "/collections/lc", holds=lambda result: result["config"]["params"]["vectors"] == {"": COSINE}
    ),
    Step(
        "POST",
        "/collections/lc/points/query",
        {
            "query": {"nearest": QUERY, "mmr": {"diversity": 0.5, "candidates_limit": 4}},
            "using": "",
            "limit": 2,
        },
        status=REFUSED,
    ),
    Step(
        "PUT",
        "/collections/lc/points",
        {
            "points": [
                {"id": C, "vector": {"": VECTORS[2]}, "payload": {"page_content": "x", "metadata": None}}
            ]
        },
        WAIT,
        holds=_done,
    ),
    Step(
        "POST",
        "/collections/lc/points",
        {"ids": [A], "with_payload": True, "with_vector": False},
        holds=lambda result: (
            result == [{"id": A_ID, "payload": {"page_content": "t0", "metadata": {"a": 0}}}]
        ),
    ),
    Step("POST", "/collections/lc/points/delete", {"points": [A]}, WAIT, holds=_done),
    Step("PUT", "/collections/lch", {"vectors": {"": COSINE}, "sparse_vectors": {"s": {}}}, status=REFUSED),
]

LLAMA_INDEX = [
    Step("GET", "/collections/li/exists"),
    Step("PUT", "/collections/li", {"vectors": COSINE}),
    Step(
        "PUT", "/collections/li/index", {"field_name": "doc_id", "field_schema": "keyword"}, WAIT, holds=_done
    ),
    Step(
        "GET",
        "/collections/li",
        holds=lambda result: result["payload_schema"]["doc_id"]["data_type"] == "keyword",
    ),
    Step(
        "PUT",
        "/collections/li/points",
        {
            "points": [
                {
                    "id": A_ID,
                    "vector": {"": VECTORS[0]},
                    "payload": {"a": 0, "_node_content": '{"id_": "x", "embedding": null}', "doc_id": "d1"},
                },
                {"id": B, "vector": {"": VECTORS[1]}, "payload": {"a": 2, "doc_id": "d1"}},
                {"id": C, "vector": {"": VECTORS[2]}, "payload": {"a": 2, "doc_id": "d2"}},
            ]
        },
        WAIT,
        holds=_done,
    ),
    Step(
        "POST",
        "/collections/li/points/query",
        {
            "query": {"nearest": QUERY},
            "using": "",
            "filter": {"must": [{"must": [{"key": "a", "match": {"value": 2}}]}]},
            "limit": 2,
            "with_vector": False,
            "with_payload": True,
        },
        holds=lambda result: len(result["points"]) == 2,
    ),
    Step(
        "POST",
        "/collections/li/points/scroll",
        {"limit": 1, "filter": {"should": [{"has_id": [A_ID]}]}, "with_payload": True, "with_vector": True},
        holds=lambda result: result["next_page_offset"] is None and len(result["points"][0]["vector"]) == DIM,
    ),
    Step(
        "POST",
        "/collections/li/points/delete",
        {"filter": {"should": [{"has_id": [A_ID]}]}},
        WAIT,
        holds=_done,
    ),
    Step(
        "POST",
        "/collections/li/points/delete",
        {"filter": {"must": [{"key": "doc_id", "match": {"value": "d1"}}]}},
        WAIT,
        holds=_done,
    ),
    Step("POST", "/collections/li/points/count", {}, holds=_count(1)),
    Step(
        "POST",
        "/collections/li/points/query/batch",
        {"searches": [{"query": {"nearest": QUERY}, "using": "", "limit": 2, "with_payload": True}]},
        holds=lambda result: len(result) == 1 and len(result[0]["points"]) == 1,
    ),
    Step("DELETE", "/collections/li", holds=lambda result: result is True),
]

HAYSTACK = [
    Step("GET", "/collections/hs/exists"),
    Step("PUT", "/collections/hs", {"vectors": {**COSINE, "on_disk": False}}),
    Step("POST", "/collections/hs/points", {"ids": [A, B], "with_payload": True, "with_vector": True}),
    Step(
        "PUT",
        "/collections/hs/points",
        {
            "points": [
                {
                    "id": point_id,
                    "vector": VECTORS[n],
                    "payload": {"id": str(n), "blob": None, "meta": {"n": n, "k": "v"}, "score": None},
                }
                for n, point_id in enumerate((A, B, C, D))
            ]
        },
        WAIT,
        holds=_done,
    ),
    Step("POST", "/collections/hs/points/count", {"exact": True}, holds=_count(4)),
    Step(
        "POST",
        "/collections/hs/points/scroll",
        {
            "limit": 10_000,
            "filter": {
                "must": [
                    {"key": "meta.n", "range": {"gte": 1.0}},
                    {"key": "meta.k", "match": {"value": "v"}},
                ]
            },
            "with_payload": True,
            "with_vector": True,
        },
        holds=lambda result: len(result["points"]) == 3,
    ),
    Step(
        "POST",
        "/collections/hs/points/query",
        {"query": {"nearest": QUERY}, "limit": 2, "with_vector": False, "with_payload": True},
        holds=lambda result: (
            result["points"][0]["id"] == A_ID and result["points"][0]["payload"]["blob"] is None
        ),
    ),
    Step("POST", "/collections/hs/points/delete", {"points": [A]}, WAIT, holds=_done),
    Step(
        "POST",
        "/collections/hs/points/count",
        {"filter": {"must": [{"key": "meta.k", "match": {"value": "v"}}]}, "exact": True},
        holds=_count(3),
    ),
    Step(
        "POST",
        "/collections/hs/points/query",
        {
            "prefetch": [{"query": SPARSE, "using": "text-sparse"}, {"query": QUERY, "using": "text-dense"}],
            "query": {"fusion": "rrf"},
            "limit": 1,
        },
        status=REFUSED,
    ),
    Step(
        "PUT",
        "/collections/hs2",
        {"vectors": {"d": COSINE}, "sparse_vectors": {"s": {"index": {"on_disk": False}, "modifier": "idf"}}},
        status=REFUSED,
    ),
]

MEM0 = [
    Step("GET", "/", holds=lambda result: True),
    Step("GET", "/collections"),
    Step("PUT", "/collections/mem0", {"vectors": {**COSINE, "on_disk": False}}),
    *(
        Step(
            "PUT",
            "/collections/mem0/index",
            {"field_name": key, "field_schema": "keyword"},
            WAIT,
            holds=_done,
        )
        for key in ("user_id", "agent_id", "run_id", "actor_id")
    ),
    Step(
        "PUT",
        "/collections/mem0/points",
        {
            "points": [
                {"id": A_ID, "vector": {"": VECTORS[0]}, "payload": {"user_id": "u", "data": "d"}},
                {"id": B, "vector": {"": VECTORS[1]}, "payload": {"user_id": "v", "data": "e"}},
            ]
        },
        WAIT,
        holds=_done,
    ),
    Step(
        "POST",
        "/collections/mem0/points/query",
        {
            "query": {"nearest": QUERY},
            "filter": {"must": [{"key": "user_id", "match": {"value": "u"}}]},
            "limit": 2,
            "with_vector": False,
            "with_payload": True,
        },
        holds=_ids(A_ID),
    ),
    Step(
        "POST",
        "/collections/mem0/points/scroll",
        {
            "limit": 5,
            "filter": {"must": [{"key": "user_id", "match": {"value": "u"}}]},
            "with_payload": True,
            "with_vector": False,
        },
        holds=_ids(A_ID),
    ),
    Step(
        "POST",
        "/collections/mem0/points/payload",
        {"payload": {"data": "z"}, "points": [A_ID]},
        WAIT,
        holds=_done,
    ),
    Step(
        "PUT",
        "/collections/mem0/points/vectors",
        {"points": [{"id": A_ID, "vector": {"": VECTORS[3]}}]},
        WAIT,
        holds=_done,
    ),
    Step(
        "POST",
        "/collections/mem0/points",
        {"ids": [A_ID], "with_payload": True, "with_vector": False},
        holds=lambda result: result[0]["payload"] == {"user_id": "u", "data": "z"},
    ),
    Step("DELETE", "/collections/mem0", holds=lambda result: result is True),
]

VECTORDBBENCH = [
    Step("GET", "/collections/vdb", status=404),
    Step(
        "PUT",
        "/collections/vdb",
        {
            "vectors": {**COSINE, "on_disk": False},
            "hnsw_config": {"m": 16, "ef_construct": 200, "on_disk": False},
            "optimizers_config": {"default_segment_number": 0},
            "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
        },
    ),
    Step("PUT", "/collections/vdb/index", {"field_name": "pk", "field_schema": "integer"}, WAIT, holds=_done),
    Step(
        "PUT",
        "/collections/vdb/index",
        {"field_name": "label", "field_schema": {"type": "keyword", "is_tenant": True}},
        WAIT,
        holds=_done,
    ),
    Step("PATCH", "/collections/vdb", {"optimizers_config": {"indexing_threshold": 0}}),
    Step(
        "PUT",
        "/collections/vdb/points",
        {
            "batch": {
                "ids": [0, 1, 2, 3, 4],
                "vectors": VECTORS[:5],
                "payloads": [{"pk": n} for n in range(5)],
            }
        },
        WAIT,
        holds=_done,
    ),
    Step("PATCH", "/collections/vdb", {"optimizers_config": {"indexing_threshold": 100}}),
    Step(
        "GET",
        "/collections/vdb",
        holds=lambda result: result["status"] == "green" and result["points_count"] == 5,
    ),
    Step(
        "POST",
        "/collections/vdb/points/query",
        {
            "query": {"nearest": QUERY},
            "filter": {"must": [{"key": "pk", "range": {"gt": 1.0}}]},
            "params": {"hnsw_ef": 128, "exact": False},
            "limit": 3,
            "with_vector": False,
            "with_payload": True,
        },
        {"timeout": "10"},
        holds=lambda result: sorted(point["payload"]["pk"] for point in result["points"]) == [2, 3, 4],
    ),
    Step("DELETE", "/collections/vdb", holds=lambda result: result is True),
]


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[httpx.Client]:
    headers = {"user-agent": "python-client/1.20.0 python/3.11", "x-trace": "any"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "steps",
    [LANGCHAIN, LLAMA_INDEX, HAYSTACK, MEM0, VECTORDBBENCH],
    ids=["langchain", "llama-index", "haystack", "mem0", "vectordbbench"],
)
def test_integration(api: httpx.Client, steps: list[Step]) -> None:
    for number, step in enumerate(steps):
        answer = api.request(step.method, step.path, json=step.body, params=step.query)
        shown = f"step {number}: {step.method} {step.path}: {answer.text}"
        assert answer.status_code == step.status, shown
        if step.status == REFUSED:
            assert "not served" in answer.json()["status"]["error"], shown
        elif step.status == 200:
            assert step.holds(answer.json().get("result")), shown
