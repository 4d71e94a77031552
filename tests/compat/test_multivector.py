"""Documents of many vectors: the unmodified client gets the answers of its own local mode."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tests.helpers.documents import documents

SIZE, DENSE, COUNT = 8, 4, 120
MAX_SIM = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
KIND_1 = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=1))])

Pair = tuple[QdrantClient, QdrantClient, str]


@pytest.fixture(params=list(models.Distance), ids=str)
def pair(url: str, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server and local mode, with the same points."""
    server, local, name = QdrantClient(url=url, timeout=30), QdrantClient(":memory:"), f"c{uuid4().hex[:8]}"
    tokens = documents(COUNT)
    dense = np.random.default_rng(1).standard_normal((COUNT, DENSE)).astype(np.float32)
    config = {
        "tokens": models.VectorParams(size=SIZE, distance=request.param, multivector_config=MAX_SIM),
        "dense": models.VectorParams(size=DENSE, distance=models.Distance.COSINE),
    }
    points = [
        models.PointStruct(
            id=i, vector={"tokens": tokens[i].tolist(), "dense": dense[i].tolist()}, payload={"kind": i % 3}
        )
        for i in range(COUNT)
    ]
    for client in (server, local):
        client.create_collection(name, config)
        client.upload_points(name, points, wait=True)
    yield server, local, name
    server.delete_collection(name)
    server.close()


def _same(pair: Pair, params: models.SearchParams | None = None, **question: Any) -> None:
    server, local, name = pair
    expected = local.query_points(name, **question).points
    found = server.query_points(name, **question, search_params=params).points
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    np.testing.assert_allclose(
        [hit.score for hit in found], [hit.score for hit in expected], rtol=1e-4, atol=1e-5
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.payload == theirs.payload
        for vector in theirs.vector or {}:
            np.testing.assert_allclose(ours.vector[vector], theirs.vector[vector], atol=1e-5)


def test_the_config_is_shown_again(pair: Pair) -> None:
    server, local, name = pair
    ours, theirs = (client.get_collection(name).config.params.vectors for client in (server, local))
    assert ours == theirs


def test_queries_by_matrix_and_by_id(pair: Pair) -> None:
    for seed in range(3):
        [query] = documents(1, seed=10 + seed)
        matrix = query.tolist()
        _same(pair, query=matrix, using="tokens", limit=7, with_payload=True, with_vectors=True)
        _same(pair, query=matrix, using="tokens", limit=5, offset=4, query_filter=KIND_1)
        _same(pair, models.SearchParams(exact=True), query=matrix, using="tokens", limit=200)
    _same(pair, query=17, using="tokens", limit=5)


def test_batches_and_thresholds(pair: Pair) -> None:
    server, local, name = pair
    matrices = [query.tolist() for query in documents(4, seed=20)]
    answers = [
        client.query_batch_points(
            name, [models.QueryRequest(query=matrix, using="tokens", limit=4) for matrix in matrices]
        )
        for client in (server, local)
    ]
    for ours, theirs in zip(*answers, strict=True):
        assert [hit.id for hit in ours.points] == [hit.id for hit in theirs.points]
    middle = answers[0][0].points
    between = (middle[1].score + middle[2].score) / 2
    _same(pair, query=matrices[0], using="tokens", limit=9, score_threshold=between)


def test_updates(pair: Pair) -> None:
    server, local, name = pair
    new = [tokens.tolist() for tokens in documents(2, seed=30)]
    for client in (server, local):
        client.update_vectors(name, [models.PointVectors(id=i, vector={"tokens": new[i]}) for i in (0, 1)])
        client.delete_vectors(name, ["tokens"], [5])
        client.delete(name, [6])
    for query in new:
        _same(pair, query=query, using="tokens", limit=150, with_vectors=True)
    records = [client.retrieve(name, [0, 5, 6, 7], with_vectors=True) for client in (server, local)]
    for ours, theirs in zip(*records, strict=True):
        assert ours.id == theirs.id and set(ours.vector) == set(theirs.vector)
    has = models.Filter(must=[models.HasVectorCondition(has_vector="tokens")])
    assert server.count(name, has).count == local.count(name, has).count == COUNT - 2


def test_one_unnamed_multivector(url: str) -> None:
    server, local, name = QdrantClient(url=url, timeout=30), QdrantClient(":memory:"), f"c{uuid4().hex[:8]}"
    config = models.VectorParams(size=SIZE, distance=models.Distance.COSINE, multivector_config=MAX_SIM)
    vectors = [tokens.tolist() for tokens in documents(70)]
    for client in (server, local):
        client.create_collection(name, config)
        client.upload_collection(name, vectors, ids=range(70), wait=True)
    _same((server, local, name), query=vectors[3], limit=5)
    [ours], [theirs] = (client.retrieve(name, [3], with_vectors=True) for client in (server, local))
    np.testing.assert_allclose(ours.vector, theirs.vector, atol=1e-6)
    server.delete_collection(name)
    server.close()


def _near(query: Any, using: str, limit: int = 20, **more: Any) -> models.Prefetch:
    return models.Prefetch(query=query, using=using, limit=limit, **more)


def test_prefetches_are_ranked_again(pair: Pair) -> None:
    """A dense first stage, then MaxSim; the other way round; nested; filtered on any level; by id."""
    dense = np.random.default_rng(2).standard_normal(DENSE).tolist()
    tokens, others = (query.tolist() for query in documents(2, seed=40))
    first = _near(dense, "dense")
    _same(pair, prefetch=first, query=tokens, using="tokens", limit=7, with_payload=True)
    _same(pair, prefetch=[first], query=tokens, using="tokens", limit=7, offset=3)
    _same(pair, prefetch=[first], query=tokens, using="tokens", limit=50)
    _same(pair, prefetch=[first], query=tokens, using="tokens", limit=7, query_filter=KIND_1)
    _same(pair, prefetch=[_near(dense, "dense", filter=KIND_1)], query=tokens, using="tokens")
    _same(pair, prefetch=[_near(tokens, "tokens", 15)], query=dense, using="dense", with_vectors=True)
    _same(pair, prefetch=[first, _near(others, "tokens", 9)], query=tokens, using="tokens", limit=25)
    nested = _near(others, "tokens", 12, prefetch=[_near(dense, "dense", 40, filter=KIND_1)])
    _same(pair, prefetch=[nested], query=tokens, using="tokens", limit=8)
    _same(pair, prefetch=[_near(3, "tokens", 9)], query=tokens, using="tokens", limit=12)
    _same(pair, prefetch=[_near(dense, "dense", 9)], query=4, using="tokens", limit=12)
    nothing = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=9))])
    _same(pair, prefetch=[_near(dense, "dense", filter=nothing)], query=tokens, using="tokens")
    _same(pair, prefetch=[_near(dense, "dense", score_threshold=0.4)], query=tokens, using="tokens")


@pytest.mark.parametrize(
    "fusion",
    [
        models.FusionQuery(fusion=models.Fusion.RRF),
        models.FusionQuery(fusion=models.Fusion.DBSF),
        models.RrfQuery(rrf=models.Rrf()),
        models.RrfQuery(rrf=models.Rrf(k=60)),
        models.RrfQuery(rrf=models.Rrf(k=3, weights=[3.0, 0.5])),
    ],
    ids=["rrf", "dbsf", "rrf-object", "rrf-60", "rrf-weights"],
)
def test_prefetches_are_fused(pair: Pair, fusion: models.Query) -> None:
    dense = np.random.default_rng(3).standard_normal(DENSE).tolist()
    tokens = documents(1, seed=50)[0].tolist()
    prefetch = [_near(dense, "dense", 17), _near(tokens, "tokens", 11)]
    _same(pair, prefetch=prefetch, query=fusion, limit=30)
    _same(pair, prefetch=prefetch, query=fusion, limit=4, offset=3, with_payload=True, query_filter=KIND_1)
    _same(pair, prefetch=prefetch, query=fusion, limit=30, score_threshold=0.3)
    inner = models.Prefetch(prefetch=prefetch, query=fusion, limit=9)
    _same(pair, prefetch=[inner], query=tokens, using="tokens", limit=5)
