"""Writing and reading points, through the public interface of an embedded database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest

from nearfield.engine import (
    Collection,
    CollectionSchema,
    Database,
    Datatype,
    Distance,
    PayloadSelector,
    PointBatch,
    PointSelector,
    Record,
    VectorColumn,
    VectorSpec,
    limits,
)
from nearfield.engine.errors import InvalidRequest, NotFound, Unavailable
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.operation import (
    ClearPayload,
    DeletePayload,
    DeletePoints,
    DeleteVectors,
    OverwritePayload,
    SetPayload,
    UpdateVectors,
    Upsert,
)
from tests.helpers.points import PATIENT, batch, by_ids, schema, vectors

TWO = CollectionSchema({"a": VectorSpec(2, Distance.DOT), "b": VectorSpec(3, Distance.EUCLID)})
UUIDS = [UUID(int=number << 64) for number in (7, 2, 2**63)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "data", config=PATIENT) as database:
        yield database


@pytest.fixture
def points(database: Database) -> Collection:
    return database.create_collection("points", schema())


@pytest.fixture
def pairs(database: Database) -> Collection:
    return database.create_collection("pairs", TWO)


def reopened(collection: Collection, database: Database) -> tuple[Database, Collection]:
    database.close()
    opened = Database.open(database.path, config=PATIENT)
    return opened, opened.collection(collection.name)


def payload_of(collection: Collection, point: Any) -> Any:
    [record] = collection.retrieve([point])
    assert record.payload is not None
    return orjson.loads(record.payload)


def vectors_of(collection: Collection, point: Any) -> dict[str, list[float]]:
    [record] = collection.retrieve([point], with_vectors=True)
    assert record.vectors is not None
    return {name: values.tolist() for name, values in record.vectors.items()}


def test_points_come_back_in_the_order_asked_and_survive_reopening(
    database: Database, points: Collection
) -> None:
    ids = [5, *UUIDS, 0, limits.POINT_ID_MAX]
    values = vectors(len(ids))
    points.upsert(batch(ids, values, [{"n": number} for number in range(len(ids))]))
    asked = [UUIDS[1], 5, 99, limits.POINT_ID_MAX, 5]

    def check(collection: Collection) -> None:
        records = collection.retrieve(asked, with_vectors=True)
        assert [record.id for record in records] == [UUIDS[1], 5, limits.POINT_ID_MAX]
        for record in records:
            at = ids.index(record.id)
            assert record.payload == orjson.dumps({"n": at})
            assert record.vectors is not None
            assert np.array_equal(record.vectors[""], values[at])
        assert collection.count() == len(ids)

    check(points)
    again, collection = reopened(points, database)
    with again:
        check(collection)


def test_payload_and_vectors_only_on_request(points: Collection) -> None:
    points.upsert(batch([1], payloads=[{"a": 1, "b": {"c": 2}}]))
    assert points.retrieve([1], PayloadSelector())[0].payload is None
    assert points.retrieve([1])[0].vectors is None
    [record] = points.retrieve([1], PayloadSelector(True, include=["b.c"]))
    assert record.payload == b'{"b":{"c":2}}'


def test_upsert_replaces_the_whole_point_and_raises_its_version(points: Collection) -> None:
    first = points.upsert(batch([1, 2], payloads=[{"old": 1}, {"old": 2}]))
    second = points.upsert(batch([2], vectors(1, seed=9)))
    assert second > first
    assert [record.version for record in points.retrieve([1, 2])] == [first, second]
    assert payload_of(points, 2) == {}
    assert points.count() == 2


def test_the_last_of_repeated_ids_wins(points: Collection) -> None:
    values = vectors(4)
    points.upsert(batch([1, 2, 1, 3], values, [{"n": n} for n in range(4)]))
    assert points.count() == 3
    assert payload_of(points, 1) == {"n": 2}
    assert vectors_of(points, 1) == {"": values[2].tolist()}


def test_delete_by_ids_ignores_unknown_ones(points: Collection) -> None:
    points.upsert(batch([1, 2, 3]))
    points.delete(by_ids(2, 77))
    assert points.count() == 2
    assert [record.id for record in points.retrieve([1, 2, 3])] == [1, 3]


def test_delete_by_filter(points: Collection) -> None:
    points.upsert(batch(range(10), payloads=[{"n": n} for n in range(10)]))
    points.delete(PointSelector(filter=parse_filter({"must": [{"key": "n", "range": {"gte": 4}}]})))
    assert points.count() == 4


def test_named_vectors_may_be_missing(pairs: Collection, database: Database) -> None:
    columns = {
        "a": VectorColumn(np.array([[1, 2], [3, 4]], dtype=np.float32), np.array([0, 2])),
        "b": VectorColumn(np.array([[5, 6, 7]], dtype=np.float32), np.array([1])),
    }
    pairs.upsert(PointBatch([10, 11, 12, 13], {"a": columns["a"], "b": replace(columns["b"])}))

    def check(collection: Collection) -> None:
        assert vectors_of(collection, 10) == {"a": [1, 2]}
        assert vectors_of(collection, 11) == {"b": [5, 6, 7]}
        assert vectors_of(collection, 12) == {"a": [3, 4]}
        assert vectors_of(collection, 13) == {}
        has_b = parse_filter({"must": [{"has_vector": "b"}]})
        assert collection.count(has_b) == 1

    check(pairs)
    again, collection = reopened(pairs, database)
    with again:
        check(collection)


def test_updating_and_deleting_vectors_keeps_the_rest(pairs: Collection) -> None:
    both = {
        "a": VectorColumn(np.array([[1, 2], [3, 4]], dtype=np.float32)),
        "b": VectorColumn(np.array([[1, 1, 1], [2, 2, 2]], dtype=np.float32)),
    }
    pairs.upsert(PointBatch([1, 2], both, [b'{"k":1}', None]))
    new = VectorColumn(np.array([[9, 9]], dtype=np.float32))
    pairs.update_vectors(PointBatch([1], {"a": new}))
    assert vectors_of(pairs, 1) == {"a": [9, 9], "b": [1, 1, 1]}
    assert payload_of(pairs, 1) == {"k": 1}
    pairs.delete_vectors(by_ids(1, 2), ["b"])
    assert vectors_of(pairs, 1) == {"a": [9, 9]}
    assert vectors_of(pairs, 2) == {"a": [3, 4]}
    pairs.delete_vectors(by_ids(1), ["a"])
    assert vectors_of(pairs, 1) == {}
    assert pairs.count() == 2


def test_repeated_ids_of_a_vector_update_apply_one_after_the_other(pairs: Collection) -> None:
    pairs.upsert(PointBatch([1], {}))
    columns = {
        "a": VectorColumn(np.array([[1, 1], [2, 2]], dtype=np.float32), np.array([0, 2])),
        "b": VectorColumn(np.array([[3, 3, 3]], dtype=np.float32), np.array([1])),
    }
    pairs.update_vectors(PointBatch([1, 1, 1], columns))
    assert vectors_of(pairs, 1) == {"a": [2, 2], "b": [3, 3, 3]}


def test_payload_operations(points: Collection) -> None:
    points.upsert(batch([1, 2], payloads=[{"a": 1, "deep": {"x": 1}}, {}]))
    points.set_payload(by_ids(1, 2), {"b": 2})
    assert payload_of(points, 1) == {"a": 1, "deep": {"x": 1}, "b": 2}
    points.set_payload(by_ids(1), {"y": 2}, key="deep")
    assert payload_of(points, 1)["deep"] == {"x": 1, "y": 2}
    points.delete_payload(by_ids(1), ["deep.x", "a"])
    assert payload_of(points, 1) == {"deep": {"y": 2}, "b": 2}
    points.overwrite_payload(by_ids(1), {"only": True})
    assert payload_of(points, 1) == {"only": True}
    points.clear_payload(by_ids(1, 2))
    assert payload_of(points, 1) == payload_of(points, 2) == {}


def test_field_indexes_follow_every_kind_of_write(points: Collection) -> None:
    is_red = parse_filter({"must": [{"key": "colour", "match": {"value": "red"}}]})
    points.upsert(batch(range(6), payloads=[{"colour": "red"}] * 3 + [{"colour": "blue"}] * 3))
    assert points.count(is_red) == 3
    points.set_payload(by_ids(3), {"colour": "red"})
    points.delete(by_ids(0))
    points.update_vectors(batch([1, 4]))
    points.upsert(batch([2, 9], payloads=[{}, {"colour": "red"}]))
    assert points.count(is_red) == 3  # 1, 3 and 9
    points.clear_payload(by_ids(1, 3))
    assert points.count(is_red) == 1


def test_operations_of_one_request_see_each_other(points: Collection) -> None:
    even = parse_filter({"must": [{"key": "even", "match": {"value": True}}]})
    points.upsert(batch([100, 101], payloads=[{"even": True}, {"even": False}]))
    points.batch(
        [
            Upsert(batch([1, 2], payloads=[{"even": False}, {"even": True}])),
            SetPayload(by_ids(101), {"even": True}),
            OverwritePayload(by_ids(100), {"even": False}),
            UpdateVectors(batch([2], vectors(1, seed=4))),
            DeletePayload(by_ids(1), ["even"]),
            ClearPayload(by_ids(1)),
            DeleteVectors(by_ids(1), [""]),
            DeletePoints(PointSelector(filter=even)),
        ]
    )
    assert {record.id for record in points.retrieve([1, 2, 100, 101])} == {1, 100}
    assert vectors_of(points, 1) == {}


def test_a_request_applies_whole_or_not_at_all(points: Collection) -> None:
    points.upsert(batch([1], payloads=[{"a": 1}]))
    with pytest.raises(NotFound, match="No point with id 8 found"):
        points.batch([Upsert(batch([2])), SetPayload(by_ids(1, 8), {"a": 2})])
    with pytest.raises(InvalidRequest):
        points.batch([Upsert(batch([2])), Upsert(batch([3], np.zeros((1, 5))))])
    assert points.count() == 1
    assert payload_of(points, 1) == {"a": 1}
    points.upsert(batch([2]))
    assert points.count() == 2


@pytest.mark.parametrize("change", ["update_vectors", "set_payload", "delete_vectors", "clear_payload"])
def test_changing_an_unknown_point_is_an_error(points: Collection, change: str) -> None:
    points.upsert(batch([1]))
    calls = {
        "update_vectors": lambda: points.update_vectors(batch([1, 2])),
        "set_payload": lambda: points.set_payload(by_ids(1, 2), {}),
        "delete_vectors": lambda: points.delete_vectors(by_ids(2), [""]),
        "clear_payload": lambda: points.clear_payload(by_ids(2)),
    }
    with pytest.raises(NotFound, match="No point with id 2 found"):
        calls[change]()
    assert vectors_of(points, 1)[""]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda: batch([1], np.zeros((1, 7))), "Vector dimension error: expected dim: 8, got 7"),
        (lambda: PointBatch([1], {"x": VectorColumn(vectors(1))}), "Not existing vector name error: x"),
        (lambda: batch([1, 2], np.full((2, 8), np.nan)), r"must be finite, got nan \(at vectors\[0\]\[0\]\)"),
        (
            lambda: batch([1], [[0, 0, np.inf, 0, 0, 0, 0, 0]]),
            r"must be finite, got inf \(at vectors\[0\]\[2\]\)",
        ),
        (lambda: batch([1, 2], vectors(3)), "expected 2 vectors, one per point, got 3"),
        (lambda: PointBatch([1], {"": VectorColumn(vectors(1), np.array([1]))}), "positions must ascend"),
        (lambda: PointBatch([1], payloads=[b"{]"]), "payload is not valid JSON"),
        (lambda: PointBatch([1], payloads=[b"[1]"]), "payload must be a JSON object, got an array"),
        (lambda: PointBatch([1, 2], payloads=[None]), "expected 2 payloads"),
        (lambda: PointBatch(range(limits.BATCH_POINTS_MAX + 1)), "at most 100000 points, got 100001"),
    ],
)
def test_bad_batches_are_refused_whole(points: Collection, write: Any, message: str) -> None:
    points.upsert(batch([1], payloads=[{"kept": True}]))
    with pytest.raises(InvalidRequest, match=message):
        points.upsert(write())
    assert points.count() == 1
    assert payload_of(points, 1) == {"kept": True}


def test_bad_selectors_are_refused(points: Collection) -> None:
    with pytest.raises(InvalidRequest, match="Empty update request"):
        points.delete(by_ids())
    with pytest.raises(InvalidRequest, match="either point ids or a filter"):
        points.delete(PointSelector())
    with pytest.raises(InvalidRequest, match="Empty update request"):
        points.batch([])
    with pytest.raises(InvalidRequest, match="Not existing vector name error: x"):
        points.delete_vectors(by_ids(1), ["x"])


def test_an_empty_batch_changes_nothing(points: Collection) -> None:
    points.upsert(batch([]))
    assert points.count() == 0


def test_large_finite_values_are_not_mistaken_for_infinite_ones(points: Collection) -> None:
    values = np.full((3, 8), np.finfo(np.float32).max, dtype=np.float32)
    points.upsert(batch([1, 2, 3], values))
    assert vectors_of(points, 2) == {"": values[0].tolist()}


def test_cosine_vectors_are_stored_with_unit_length(database: Database) -> None:
    cosine = database.create_collection("cosine", schema(Distance.COSINE, size=2))
    given = np.array([[3, 4], [0, 0]], dtype=np.float32)
    cosine.upsert(batch([1, 2], given))
    assert vectors_of(cosine, 1)[""] == pytest.approx([0.6, 0.8])
    assert vectors_of(cosine, 2)[""] == [0, 0]
    assert given.tolist() == [[3, 4], [0, 0]]


def test_datatypes_keep_what_fits_and_refuse_the_rest(database: Database) -> None:
    half = database.create_collection("half", schema(datatype=Datatype.FLOAT16, size=2))
    half.upsert(batch([1], [[0.1, -2.5]]))
    assert vectors_of(half, 1)[""] == np.float16([0.1, -2.5]).astype(np.float32).tolist()
    with pytest.raises(InvalidRequest, match=r"within 65504, got 70000.0 \(at vectors\[0\]\[1\]\)"):
        half.upsert(batch([1], [[0, 70_000]]))
    octets = database.create_collection("octets", schema(datatype=Datatype.UINT8, size=2))
    octets.upsert(batch([1], [[0, 255]]))
    assert vectors_of(octets, 1)[""] == [0, 255]
    for bad in (-1, 256, 0.5):
        with pytest.raises(InvalidRequest, match=r"integers within 0..255"):
            octets.upsert(batch([2], [[0, bad]]))


def test_large_batches_are_stored_in_several_chunks(
    database: Database, pairs: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VECTOR_CHUNK_BYTES", 40)
    at = np.array([0, 1, 4, 5, 12, 19])
    columns = {
        "a": VectorColumn(vectors(20, size=2)),
        "b": VectorColumn(vectors(6, size=3), at),
    }
    pairs.upsert(PointBatch(range(20), columns))
    again, collection = reopened(pairs, database)
    with again:
        for point in range(20):
            expected = {"a": columns["a"].values[point].tolist()}
            if point in at:
                expected["b"] = columns["b"].values[at.tolist().index(point)].tolist()
            assert vectors_of(collection, point) == expected


def test_points_without_any_vector(database: Database) -> None:
    bare = database.create_collection("bare", CollectionSchema({}))
    bare.upsert(PointBatch([3, 4], payloads=[b'{"x":1}', None]))
    again, collection = reopened(bare, database)
    with again:
        assert collection.count() == 2
        assert payload_of(collection, 3) == {"x": 1}


def test_a_batch_may_change_after_submitting(points: Collection) -> None:
    values = vectors(2)
    kept = values.copy()
    future = points.submit_upsert(batch([1, 2], values))
    values[:] = 0
    future.result()
    assert vectors_of(points, 1) == {"": kept[0].tolist()}


def test_schema_changes_survive_reopening(database: Database, points: Collection) -> None:
    points.create_field_index("city", {"type": "keyword"})
    points.create_field_index("age", {"type": "integer"})
    points.delete_field_index("city")
    points.update_schema(settings={"metadata": {"x": 1}}, vector_extras={"": {"on_disk": True}})
    with pytest.raises(InvalidRequest, match="index kind must be one of"):
        points.update_schema(vector_index={"": {"kind": "magic", "params": {}}})
    with pytest.raises(InvalidRequest, match="Not existing vector name error: x"):
        points.update_schema(vector_extras={"x": {}})
    again, collection = reopened(points, database)
    with again:
        assert collection.schema.payload_fields == {"age": {"type": "integer"}}
        assert collection.schema.settings == {"metadata": {"x": 1}}
        assert collection.schema.vectors[""].extras == {"on_disk": True}
        assert collection.info().payload_schema == {"age": {"type": "integer"}}


def test_a_closed_collection_says_so(database: Database, points: Collection) -> None:
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        points.upsert(batch([1]))
    with pytest.raises(Unavailable, match="closed"):
        points.retrieve([1])


def test_records_are_plain_values(points: Collection) -> None:
    version = points.upsert(batch([1]))
    assert points.retrieve([1]) == [Record(1, version, b"{}")]
