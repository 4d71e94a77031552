"""Multi-vectors over HTTP: what the wire format's clients cannot send, and every bad input's error."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

Make = Callable[..., str]
MAX_SIM = {"comparator": "max_sim"}
TOKENS: dict[str, Any] = {"size": 4, "distance": "Cosine", "multivector_config": MAX_SIM}
BOTH = {"vectors": {"tokens": TOKENS, "dense": {"size": 4, "distance": "Dot"}}}


def _error(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    return str(answer.json()["status"]["error"])


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ({"tokens": [[1, 2]]}, "expected dim: 4, got 2 (at points[0].vector.tokens[0])"),
        ({"tokens": [[1] * 4, [1] * 3]}, "expected dim: 4, got 3 (at points[0].vector.tokens[1])"),
        ({"tokens": []}, "at least one vector, got an empty list (at points[0].vector.tokens)"),
        ({"tokens": [[]]}, "expected dim: 4, got 0"),
        ({"tokens": [1, 2, 3, 4]}, "expected a matrix, that is a list of vectors"),
        ({"tokens": [[1] * 4, 3]}, "got a number (at points[0].vector.tokens[1])"),
        ({"tokens": [[[1] * 4]]}, "lists nested deeper"),
        ({"tokens": [["a"] * 4]}, "got `str`"),
        ({"tokens": [[1e39] * 4]}, "range of float32 (at points[0].vector.tokens)"),
        ({"dense": [[1, 2, 3, 4]]}, "got a matrix"),
        ({"dense": [[1, 2, 3, 4]] * 4}, "got a matrix"),
        ([[1, 2, 3, 4]], "Not existing vector name"),
    ],
)
def test_bad_matrices_name_their_place(api: httpx.Client, make: Make, vector: Any, expected: str) -> None:
    name = make(BOTH)
    answer = api.put(f"/collections/{name}/points", json={"points": [{"id": 1, "vector": vector}]})
    assert expected in _error(answer)
    assert api.post(f"/collections/{name}/points/count", json={}).json()["result"]["count"] == 0


@pytest.mark.parametrize(
    ("query", "using", "expected"),
    [
        ([1, 2, 3, 4], "tokens", "expected a matrix"),
        ([], "tokens", "expected a matrix"),
        ([[1] * 4, [1] * 3], "tokens", "expected dim: 4, got 3 (at query[1])"),
        ([[1] * 5], "tokens", "expected dim: 4, got 5"),
        ([[1] * 4, 1], "tokens", "got a number (at query[1])"),
        ([[1] * 4], "dense", "got a matrix"),
    ],
)
def test_bad_queries(api: httpx.Client, make: Make, query: Any, using: str, expected: str) -> None:
    answer = api.post(f"/collections/{make(BOTH)}/points/query", json={"query": query, "using": using})
    assert expected in _error(answer)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"multivector_config": {"comparator": "min"}}, "vectors.multivector_config.comparator"),
        ({"multivector_config": {}}, "comparator"),
        ({"datatype": "uint8"}, "got uint8"),
        ({"tokens": {"encoding": "lvq2"}}, "vectors.tokens.encoding"),
        ({"distance": "Euclid", "tokens": {"encoding": "lvq4"}}, "tokens of distance Euclid"),
        ({"multivector_config": None, "tokens": {"encoding": "lvq4"}}, "expected a `multivector_config`"),
    ],
)
def test_bad_configs(api: httpx.Client, change: dict[str, Any], expected: str) -> None:
    config = {key: value for key, value in (TOKENS | change).items() if value is not None}
    assert expected in _error(api.put("/collections/bad", json={"vectors": config}))


@pytest.mark.parametrize("encoding", ["float16", "lvq8", "lvq4"])
def test_token_encodings(api: httpx.Client, make: Make, encoding: str) -> None:
    """Asked for by our own field, and through metadata by clients that cannot send it."""
    tokens = np.random.default_rng(0).standard_normal((20, 3, 4)).round(3).tolist()
    points = [{"id": i, "vector": {"tokens": matrix}} for i, matrix in enumerate(tokens)]
    for body in (
        {"vectors": {"tokens": TOKENS | {"tokens": {"encoding": encoding}}}},
        {"vectors": {"tokens": TOKENS}, "metadata": {"tokens": {"encoding": encoding}}},
    ):
        name = make(body, points)
        shown = api.get(f"/collections/{name}").json()["result"]
        assert shown["tokens"] == {"tokens": {"encoding": encoding}}
        assert shown["config"]["params"]["vectors"]["tokens"] == TOKENS
        question = {"query": tokens[7], "using": "tokens", "limit": 1, "with_vector": True}
        [hit] = api.post(f"/collections/{name}/points/query", json=question).json()["result"]["points"]
        assert hit["id"] == 7 and hit["score"] == pytest.approx(3, abs=0.2)
        unit = np.array(tokens[7]) / np.linalg.norm(tokens[7], axis=1, keepdims=True)
        np.testing.assert_allclose(hit["vector"]["tokens"], unit, atol=0.15)


def test_vectors_per_document(api: httpx.Client, make: Make) -> None:
    name = make({"vectors": TOKENS | {"tokens": {"vectors_per_document": 2}}})
    good = {"points": [{"id": 1, "vector": [[1, 2, 3, 4]] * 2}]}
    assert api.put(f"/collections/{name}/points", json=good).status_code == 200
    bad = {"batch": {"ids": [1, 2], "vectors": [[[1, 2, 3, 4]] * 2, [[1, 2, 3, 4]] * 3]}}
    assert "expected 2 vectors" in _error(api.put(f"/collections/{name}/points", json=bad))


@pytest.mark.parametrize(
    ("body", "dense", "tokens"),
    [
        ({}, "auto", "auto"),
        ({"index": {"kind": "muvera"}}, "auto", "muvera"),
        ({"metadata": {"index": {"kind": "muvera", "params": {"cells": "simhash"}}}}, "auto", "muvera"),
        ({"index": {"kind": "hnsw"}}, "hnsw", "auto"),
        ({"index": {"kind": "flat"}}, "flat", "flat"),
        ({"hnsw_config": {"m": 0}}, "flat", "flat"),
        ({"hnsw_config": {"m": 24}}, "auto", "auto"),
    ],
)
def test_an_index_goes_to_the_vectors_its_kind_is_for(
    api: httpx.Client, make: Make, body: dict[str, Any], dense: str, tokens: str
) -> None:
    name = make(BOTH | body)
    shown = api.get(f"/collections/{name}").json()["result"]["index"]
    assert {vector: index["kind"] for vector, index in shown.items()} == {"dense": dense, "tokens": tokens}
    assert shown["tokens"]["params"] == body.get("metadata", {}).get("index", {}).get("params", {})
    change = {"vectors": {"tokens": {"index": {"kind": "muvera", "params": {"candidates": 50}}}}}
    assert api.patch(f"/collections/{name}", json=change).status_code == 200
    shown = api.get(f"/collections/{name}").json()["result"]["index"]
    assert shown["tokens"]["params"] == {"candidates": 50} and shown["dense"]["kind"] == dense


@pytest.mark.parametrize(
    ("params", "status", "expected"),
    [
        ({"candidates": 5, "oversampling": 2.5, "exact": True}, 200, ""),
        ({"quantization": {"oversampling": 3.0, "rescore": True}}, 200, ""),
        ({"candidates": 5}, 400, "candidates must be at least limit and offset together, which is 10, got 5"),
        ({"candidates": 50, "target_recall": 0.9}, 400, "expected either `target_recall` or"),
        ({"candidates": 50}, 200, ""),
        ({"candidates": 0}, 422, "params.candidates"),
        ({"oversampling": 0.5}, 422, "params.oversampling"),
        ({"quantization": {"oversampling": "x"}}, 400, "params.quantization"),
    ],
)
def test_search_params(
    api: httpx.Client, make: Make, params: dict[str, Any], status: int, expected: str
) -> None:
    name = make(BOTH, [{"id": 1, "vector": {"tokens": [[1, 2, 3, 4]]}}])
    question = {"query": [[1, 2, 3, 4]], "using": "tokens", "params": params}
    answer = api.post(f"/collections/{name}/points/query", json=question)
    assert answer.status_code == status and expected in answer.text, answer.text
    if status == 200:
        assert [hit["id"] for hit in answer.json()["result"]["points"]] == [1]
