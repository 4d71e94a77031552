"""The unmodified client, from creating a collection to deleting it."""

import warnings
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

DIM = 8


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[QdrantClient]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the client warns when it finds the server's version unsuitable
        connected = QdrantClient(url=url, timeout=30)
        connected.info()
    yield connected
    connected.close()


@pytest.fixture
def name(client: QdrantClient) -> Iterator[str]:
    chosen = f"c{uuid4().hex[:8]}"
    client.create_collection(chosen, models.VectorParams(size=DIM, distance=models.Distance.COSINE))
    yield chosen
    client.delete_collection(chosen)


@pytest.fixture
def vectors() -> Any:
    return np.random.default_rng(0).standard_normal((200, DIM)).astype(np.float32)


@pytest.fixture
def filled(client: QdrantClient, name: str, vectors: Any) -> str:
    payload = [
        {"n": i, "kind": "odd" if i % 2 else "even", "tags": [f"t{i % 5}"]} for i in range(len(vectors))
    ]
    client.upload_collection(
        name, vectors, payload=payload, ids=range(len(vectors)), wait=True, batch_size=64
    )
    return name


def test_version_and_collections(client: QdrantClient, name: str) -> None:
    assert client.info().version == "1.20.0"
    assert client.collection_exists(name) and not client.collection_exists("nowhere")
    assert name in [collection.name for collection in client.get_collections().collections]
    info = client.get_collection(name)
    assert info.status == models.CollectionStatus.GREEN
    assert info.config.params.vectors == models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    assert client.update_collection(name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0))
    assert client.get_collection(name).config.optimizer_config.indexing_threshold == 0
    with pytest.raises(UnexpectedResponse, match="already exists") as error:
        client.create_collection(name, models.VectorParams(size=DIM, distance=models.Distance.COSINE))
    assert error.value.status_code == 409


def test_uploads(client: QdrantClient, filled: str, vectors: Any) -> None:
    assert client.count(filled).count == len(vectors)
    points = (
        models.PointStruct(id=uuid4().hex, vector=row.tolist(), payload={"late": True})
        for row in vectors[:70]
    )
    client.upload_points(filled, points, batch_size=32, wait=True)
    late = models.Filter(must=[models.FieldCondition(key="late", match=models.MatchValue(value=True))])
    assert client.count(filled, count_filter=late, exact=True).count == 70


def test_queries(client: QdrantClient, filled: str, vectors: Any) -> None:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.argsort(-(unit @ unit[3]), kind="stable")[:5].tolist()
    found = client.query_points(
        filled, query=vectors[3], limit=5, with_payload=True, with_vectors=True
    ).points
    assert [point.id for point in found] == expected
    assert found[0].score == pytest.approx(1, abs=1e-5) and found[0].payload["n"] == 3
    assert found[0].vector == pytest.approx(unit[3].tolist(), abs=1e-6)
    by_id = client.query_points(filled, query=3, limit=4).points
    assert [point.id for point in by_id] == expected[1:]
    odd = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value="odd"))])
    params = models.SearchParams(hnsw_ef=128, exact=True)
    some = client.query_points(
        filled, query=vectors[3], query_filter=odd, search_params=params, limit=6, timeout=10
    )
    assert len(some.points) == 6 and all(point.id % 2 for point in some.points)
    requests = [models.QueryRequest(query=vectors[i].tolist(), limit=1) for i in (1, 2)]
    answers = client.query_batch_points(filled, requests)
    assert [answer.points[0].id for answer in answers] == [1, 2]
    ordered = client.query_points(filled, query=models.OrderByQuery(order_by="n"), limit=2)
    assert [point.id for point in ordered.points] == [0, 1]
    sampled = client.query_points(filled, query=models.SampleQuery(sample=models.Sample.RANDOM), limit=3)
    assert len(sampled.points) == 3


def test_scroll_and_retrieve(client: QdrantClient, filled: str) -> None:
    seen: list[int] = []
    offset: Any = None
    while True:
        page, offset = client.scroll(filled, limit=64, offset=offset, with_payload=["n"])
        seen += [record.id for record in page]
        if offset is None:
            break
    assert seen == list(range(200))
    order = models.OrderBy(key="n", direction=models.Direction.DESC, start_from=100)
    page, _ = client.scroll(filled, limit=2, order_by=order)
    assert [(record.id, record.order_value) for record in page] == [(100, 100), (99, 99)]
    records = client.retrieve(filled, [5, 1000, 4], with_vectors=True)
    assert [record.id for record in records] == [5, 4] and len(records[0].vector) == DIM


def test_changes(client: QdrantClient, filled: str) -> None:
    client.create_payload_index(filled, "kind", models.PayloadSchemaType.KEYWORD)
    client.create_payload_index(
        filled, "n", models.IntegerIndexParams(type="integer", lookup=True, range=True)
    )
    assert set(client.get_collection(filled).payload_schema) == {"kind", "n"}
    client.delete_payload_index(filled, "kind")
    client.set_payload(filled, {"new": 1}, points=[1], key="nested")
    client.overwrite_payload(filled, {"only": 1}, points=[2])
    client.delete_payload(filled, ["tags"], points=[1])
    client.clear_payload(filled, points_selector=[3])
    client.update_vectors(filled, [models.PointVectors(id=4, vector=[1.0] + [0.0] * (DIM - 1))])
    one, two, three, four = client.retrieve(filled, [1, 2, 3, 4], with_vectors=True)
    assert one.payload == {"n": 1, "kind": "odd", "nested": {"new": 1}}
    assert two.payload == {"only": 1} and three.payload == {}
    assert four.vector == [1.0] + [0.0] * (DIM - 1)
    client.delete_vectors(filled, vectors=[""], points=[5])
    assert client.retrieve(filled, [5], with_vectors=True)[0].vector == {}
    client.delete(filled, points_selector=[1, 2])
    odd = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value="odd"))])
    client.delete(filled, points_selector=models.FilterSelector(filter=odd))
    assert client.count(filled, count_filter=odd).count == 0


def test_batch_update(client: QdrantClient, filled: str) -> None:
    point = models.PointStruct(id=500, vector=[1.0] * DIM, payload={"a": 1})
    operations = [
        models.UpsertOperation(upsert=models.PointsList(points=[point])),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"b": 2}, points=[500])),
        models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["a"], points=[500])),
        models.DeleteOperation(delete=models.PointIdsList(points=[0])),
    ]
    results = client.batch_update_points(filled, operations)
    assert [result.status for result in results] == [models.UpdateStatus.COMPLETED] * 4
    assert client.retrieve(filled, [500])[0].payload == {"b": 2}
    assert client.retrieve(filled, [0]) == []


def test_aliases(client: QdrantClient, filled: str) -> None:
    create = models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name=filled, alias_name="an-alias")
    )
    assert client.update_collection_aliases([create])
    assert client.count("an-alias").count == 200
    assert [alias.alias_name for alias in client.get_collection_aliases(filled).aliases] == ["an-alias"]
    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="an-alias"))
    assert client.update_collection_aliases([delete])
    assert client.get_aliases().aliases == []


def test_named_vectors(client: QdrantClient) -> None:
    config = {
        "text": models.VectorParams(size=2, distance=models.Distance.DOT),
        "image": models.VectorParams(
            size=3, distance=models.Distance.EUCLID, datatype=models.Datatype.FLOAT16
        ),
    }
    client.create_collection("named", config)
    client.upsert("named", models.Batch(ids=[1, 2], vectors={"text": [[1.0, 0.0], [0.0, 1.0]]}))
    client.upsert("named", [models.PointStruct(id=3, vector={"image": [1.0, 2.0, 3.0]})])
    assert client.get_collection("named").config.params.vectors == config
    assert client.query_points("named", query=[1.0, 0.0], using="text", limit=1).points[0].id == 1
    assert client.query_points("named", query=[1.0, 2.0, 3.0], using="image").points[0].score == 0
    assert client.retrieve("named", [3], with_vectors=["image"])[0].vector == {"image": [1.0, 2.0, 3.0]}
    has_image = models.Filter(must=[models.HasVectorCondition(has_vector="image")])
    assert client.count("named", count_filter=has_image).count == 1
    assert client.delete_collection("named")


def test_errors_reach_the_caller(client: QdrantClient, name: str) -> None:
    with pytest.raises(UnexpectedResponse, match=f"expected dim: {DIM}, got 2"):
        client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0])])
    with pytest.raises(UnexpectedResponse, match="Collection `nowhere` doesn") as error:
        client.count("nowhere")
    assert error.value.status_code == 404
    with pytest.raises(UnexpectedResponse, match="not served"):
        examples = models.RecommendInput(positive=[[1.0] * DIM])
        client.query_points(name, query=models.RecommendQuery(recommend=examples))
    with pytest.raises(UnexpectedResponse, match="Not existing vector name error: other"):
        client.query_points(name, query=[1.0] * DIM, using="other")
