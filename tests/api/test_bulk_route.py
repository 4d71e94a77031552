"""The binary routes: what the container and Arrow streams carry, and what is refused."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.point import PointBatch, VectorColumn
from nearfield.engine.schema import CollectionSchema, Distance, VectorSpec
from nearfield.server import bulk, bulk_arrow

Make = Callable[..., str]
F32 = NDArray[np.float32]

SCHEMA = CollectionSchema({"": VectorSpec(3, Distance.DOT)})
NAMED = {"vectors": {"a": {"size": 3, "distance": "Dot"}, "b": {"size": 2, "distance": "Dot"}}}
V3 = np.arange(12, dtype=np.float32).reshape(4, 3)


def _post(api: httpx.Client, name: str, body: bytes, kind: str = bulk.CONTENT_TYPE) -> httpx.Response:
    params = {"wait": "true"}
    return api.post(
        f"/v1/collections/{name}/bulk", content=body, headers={"content-type": kind}, params=params
    )


def _all(api: httpx.Client, name: str) -> dict[Any, Any]:
    body = {"limit": 100, "with_vector": True}
    points = api.post(f"/collections/{name}/points/scroll", json=body).json()["result"]["points"]
    return {point["id"]: (point["vector"], point["payload"]) for point in points}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_integers_and_types(api: httpx.Client, make: Make, dtype: Any) -> None:
    name = make({"vectors": {"size": 3, "distance": "Dot"}})
    body = bulk.encode(
        np.array([5, 6, 7, 2**64 - 1], np.uint64), V3.astype(dtype), [{"n": 1}, None, b'{"m":2}', b""]
    )
    answer = _post(api, name, body)
    assert answer.json()["result"]["status"] == "completed"
    found = _all(api, name)
    assert found[5] == ([0, 1, 2], {"n": 1}) and found[7][1] == {"m": 2}
    assert found[2**64 - 1] == ([9, 10, 11], {})


def test_uuids_and_named_vectors(api: httpx.Client, make: Make) -> None:
    name = make(NAMED)
    ids = [uuid4() for _ in range(4)]
    some = VectorColumn(np.ones((2, 2), np.float32), np.array([1, 3]))
    assert _post(api, name, bulk.encode(ids, {"a": V3, "b": some})).status_code == 200
    found = _all(api, name)
    assert found[str(ids[0])] == ({"a": [0, 1, 2]}, {})
    assert found[str(ids[3])] == ({"a": [9, 10, 11], "b": [1, 1]}, {})


def test_put_does_the_same(api: httpx.Client, make: Make) -> None:
    name = make({"vectors": {"size": 3, "distance": "Dot"}})
    assert api.put(f"/v1/collections/{name}/bulk", content=bulk.encode([1, 2, 3, 4], V3)).status_code == 200
    assert len(_all(api, name)) == 4


def test_everything_the_encoder_writes_is_read_back() -> None:
    ids = [UUID(int=i) for i in range(4)]
    column = VectorColumn(V3[:2], np.array([0, 2]))
    batch = bulk.decode_bulk(bulk.encode(ids, {"": column}, [None, {"x": "é\n"}, None, None]), SCHEMA)
    assert list(batch.ids) == ids
    np.testing.assert_array_equal(batch.vectors[""].values, V3[:2])
    np.testing.assert_array_equal(batch.vectors[""].points, [0, 2])
    assert batch.payloads == [None, '{"x":"é\\n"}'.encode(), None, None]
    assert bulk.decode_bulk(bulk.encode([1], V3[:1].copy(order="F")), SCHEMA).vectors[""].values.tolist() == [
        [0, 1, 2]
    ]


MANY = {"vectors": {"size": 3, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}}


def _ragged(tokens: int = 4, offsets: Any = (0, 1, 4), points: Any = None) -> VectorColumn:
    values = np.arange(3 * tokens, dtype=np.float32).reshape(tokens, 3)
    return VectorColumn(values, points, np.array(offsets, np.int64))


def test_ragged_arrays(api: httpx.Client, make: Make) -> None:
    name = make(MANY)
    assert _post(api, name, bulk.encode([1, 2], {"": _ragged()})).status_code == 200
    some = _ragged(points=np.array([0, 2]))
    assert _post(api, name, bulk.encode([3, 4, 5], {"": some})).status_code == 200
    found = {point: vector for point, (vector, _) in _all(api, name).items()}
    rest = [[3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert found == {1: [[0, 1, 2]], 2: rest, 3: [[0, 1, 2]], 4: {}, 5: rest}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (_ragged(offsets=(0, 4)), "expected int64 [3]"),
        (_ragged(offsets=(0, 4, 4)), "at least one vector"),
        (_ragged(offsets=(0, 1, 3)), "from 0 to 4"),
        (_ragged(offsets=(0, 5, 4)), "ascend"),
        (VectorColumn(V3[:2]), "expected a matrix"),
    ],
)
def test_bad_ragged_arrays(api: httpx.Client, make: Make, column: VectorColumn, message: str) -> None:
    name = make(MANY)
    answer = _post(api, name, bulk.encode([1, 2], {"": column}))
    assert answer.status_code == 400 and message in answer.json()["status"]["error"], answer.text
    assert _all(api, name) == {}


def test_ragged_arrow_columns(api: httpx.Client, make: Make) -> None:
    rows = [[[1, 2, 3], [4, 5, 6]], None, [[7, 8, 9]]]
    for kind in (pa.list_(pa.list_(pa.float32(), 3)), pa.list_(pa.list_(pa.float16()))):
        name = make(MANY)
        values = [None if row is None else [[np.float16(v) for v in token] for token in row] for row in rows]
        table = pa.table({"id": pa.array([1, 2, 3], pa.uint64()), "vector": pa.array(values, kind)})
        answer = _post(api, name, _stream(table), bulk_arrow.CONTENT_TYPE)
        assert answer.status_code == 200, answer.text
        assert [vector for vector, _ in _all(api, name).values()] == [rows[0], {}, rows[2]]


def test_mixed_ids_cannot_be_encoded() -> None:
    with pytest.raises(InvalidRequest, match="one kind"):
        bulk.encode([1, uuid4()], V3[:2])


GOOD = bulk.encode([1, 2, 3, 4], V3, [{"n": 1}] * 4)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "begins with"),
        (b"PK" + GOOD[2:], "begins with"),
        (GOOD[:-1], "ends at byte"),
        (GOOD[:20], "header"),
        (GOOD.replace(b'"points":4', b'"points":5'), "got uint64"),
        (GOOD.replace(b'"points":4', b'"points":0'), "at least one"),
        (GOOD.replace(b'"kind":"ids"', b'"kind":"idx"'), "idx"),
        (GOOD.replace(b"<u8", b"<f8"), "expected uint64"),
        (GOOD.replace(b"<f4", b"|O8"), ".npy"),
        (GOOD.replace(b"(4, 3)", b"(3, 4)"), "expected float32"),
        (GOOD.replace(b"(4, 3)", b"(9, 3)"), ".npy"),
        (GOOD.replace(b'{"n":1}', b'["n",1]', 1), "payloads[0]"),
        (GOOD.replace(b'{"n":1}', b'{"n":1 ', 1), "payloads[0]"),
        (bulk.encode([1, 2, 3, 4], {"x": V3}), "Not existing vector name error: x"),
        (bulk.encode([1, 2, 3, 4], V3[:, :2]), "expected dim: 3, got 2"),
        (bulk.encode([1, 2, 3, 4], V3.astype(np.float64)), "float64"),
        (bulk.encode([1, 2, 3, 4], np.full_like(V3, np.nan)), "finite"),
        (bulk.encode([1, 2, 3, 4], V3, [None] * 3), "4 lines"),
        (bulk.encode([1, 2], {"": VectorColumn(V3[:2], np.array([1, 0]))}), "ascending"),
        (bulk.encode([1, 2], {"": VectorColumn(V3[:1], np.array([2]))}), "ascending"),
    ],
)
def test_what_is_refused(api: httpx.Client, make: Make, body: bytes, message: str) -> None:
    name = make({"vectors": {"size": 3, "distance": "Dot"}})
    answer = _post(api, name, body)
    assert answer.status_code in (400, 422), answer.text
    assert message in answer.json()["status"]["error"]
    assert _all(api, name) == {}


def test_other_media_types(api: httpx.Client, ten: str) -> None:
    answer = _post(api, ten, b"{}", "application/json")
    assert answer.status_code == 415 and bulk.CONTENT_TYPE in answer.json()["status"]["error"]
    assert _post(api, "nowhere", GOOD).status_code == 404


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return bytes(sink.getvalue())


def _vectors(rows: list[Any], value_type: Any = None, size: int = 3) -> pa.Array:
    return pa.array(rows, pa.list_(value_type or pa.float32(), size))


def test_arrow(api: httpx.Client, make: Make) -> None:
    name = make(NAMED)
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.uint64()),
            "vector.a": _vectors([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
            "b": pa.array([[1, 1], None, [3, 3]], pa.list_(pa.float32())),
            "payload": ['{"x": {"y": 1}}', None, "{}"],
            "year": [2001, 2002, None],
        }
    )
    answer = _post(api, name, _stream(table), bulk_arrow.CONTENT_TYPE)
    assert answer.json()["result"]["status"] == "completed", answer.text
    found = _all(api, name)
    assert found[1] == ({"a": [1, 2, 3], "b": [1, 1]}, {"x": {"y": 1}, "year": 2001})
    assert found[2] == ({"a": [4, 5, 6]}, {"year": 2002})
    assert found[3][1] == {}


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_arrow_uuids(kind: str) -> None:
    ids = [uuid4(), uuid4()]
    column = [str(i) for i in ids] if kind == "text" else pa.array([i.bytes for i in ids], pa.binary(16))
    table = pa.table({"id": column, "vector": _vectors([[1, 2, 3], [4, 5, 6]], pa.float16())})
    batch: PointBatch = bulk_arrow.decode_arrow(_stream(table), SCHEMA)
    assert list(batch.ids) == ids and batch.vectors[""].values.dtype == np.float32


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vector": _vectors([[1, 2, 3]])}, "a column `id`"),
        ({"id": [1], "vector": _vectors([[1, 2]], size=2)}, "expected dim: 3, got 2"),
        ({"id": [1], "vector": [1.0]}, "a list of numbers"),
        ({"id": [1], "vector": _vectors([[1, 2, None]])}, "nulls"),
        ({"id": [1, 2], "vector": pa.array([[1, 2], [1, 2, 3, 4]], pa.list_(pa.float32()))}, "one length"),
        ({"id": [-1], "vector": _vectors([[1, 2, 3]])}, "id[0]"),
        ({"id": [1], "vector": _vectors([[1, 2, 3]]), "payload": ["[]"]}, "payload[0]"),
        ({"id": [1], "vector": _vectors([[1, 2, 3]]), "blob": [b"\xff"]}, "JSON"),
        ({"id": [None], "vector": _vectors([[1, 2, 3]])}, "id[0]"),
    ],
)
def test_arrow_that_is_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message.replace("[", r"\[").replace("`", "`")):
        bulk_arrow.decode_arrow(_stream(pa.table(columns)), SCHEMA)


def test_not_an_arrow_stream(api: httpx.Client, ten: str) -> None:
    answer = _post(api, ten, b"not arrow", bulk_arrow.CONTENT_TYPE)
    assert answer.status_code == 400 and "Arrow IPC stream" in answer.json()["status"]["error"]
