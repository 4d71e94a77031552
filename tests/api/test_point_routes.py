"""Writing points, reading them back, and changing parts of them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

Make = Callable[..., str]
WAIT = {"wait": "true"}


def _get(api: httpx.Client, name: str, point_id: Any) -> dict[str, Any]:
    answer = api.get(f"/collections/{name}/points/{point_id}")
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


def _count(api: httpx.Client, name: str) -> int:
    return int(api.post(f"/collections/{name}/points/count", json={"exact": True}).json()["result"]["count"])


def test_upsert_as_a_list(api: httpx.Client, make: Make) -> None:
    name = make()
    hex_id = "5c56c79369f34fbf87e6c4bf54c28c26"
    points = [
        {"id": 1, "vector": [1, 2, 3, 4.5], "payload": {"a": {"b": [1, None, "ü"]}}},
        {"id": hex_id, "vector": {"": [0, 0, 0, 1]}},
        {"id": 2**64 - 1, "vector": [1, 1, 1, 1], "payload": None},
    ]
    params = {"wait": "true", "ordering": "strong", "timeout": 10}
    answer = api.put(f"/collections/{name}/points", json={"points": points, "shard_key": "x"}, params=params)
    assert answer.json()["result"]["status"] == "completed"
    assert answer.json()["result"]["operation_id"] > 0
    one = {"id": 1, "vector": [1.0, 2.0, 3.0, 4.5], "payload": {"a": {"b": [1, None, "ü"]}}}
    assert _get(api, name, 1) == one
    assert _get(api, name, hex_id) == {"id": str(UUID(hex_id)), "vector": [0, 0, 0, 1], "payload": {}}
    assert _get(api, name, 2**64 - 1)["payload"] == {}


def test_upsert_as_columns(api: httpx.Client, make: Make) -> None:
    name = make({"vectors": {"a": {"size": 2, "distance": "Dot"}, "b": {"size": 1, "distance": "Dot"}}})
    batch = {
        "ids": [1, 2],
        "vectors": {"a": [[1, 2], [3, 4]], "b": [[5], [6]]},
        "payloads": [{"n": 1}, None],
    }
    answer = api.put(f"/collections/{name}/points", json={"batch": batch})
    assert answer.json()["result"]["status"] == "acknowledged"
    assert _get(api, name, 2) == {"id": 2, "vector": {"a": [3, 4], "b": [6]}, "payload": {}}
    unnamed = make()
    columns = {"ids": [7, 8], "vectors": [[1, 0, 0, 0], [0, 1, 0, 0]]}
    assert api.put(f"/collections/{unnamed}/points", json={"batch": columns}, params=WAIT).status_code == 200
    assert _get(api, unnamed, 8)["vector"] == [0, 1, 0, 0]


def test_points_may_lack_vectors(api: httpx.Client, make: Make) -> None:
    name = make({"vectors": {"a": {"size": 2, "distance": "Dot"}, "b": {"size": 1, "distance": "Dot"}}})
    points = [{"id": 1, "vector": {"a": [1, 2]}}, {"id": 2, "vector": {"b": [5]}}, {"id": 3, "vector": {}}]
    assert api.put(f"/collections/{name}/points", json={"points": points}, params=WAIT).status_code == 200
    assert [_get(api, name, i)["vector"] for i in (1, 2, 3)] == [{"a": [1, 2]}, {"b": [5]}, {}]


def test_a_body_applies_whole_or_not_at_all(api: httpx.Client, ten: str) -> None:
    points = [{"id": 100, "vector": [1, 1, 1, 1]}, {"id": 101, "vector": [1, 1]}]
    answer = api.put(f"/collections/{ten}/points", json={"points": points}, params=WAIT)
    assert answer.status_code == 400
    expected = "Wrong input: Vector dimension error: expected dim: 4, got 2 (at points[1].vector)"
    assert answer.json()["status"]["error"] == expected
    assert _count(api, ten) == 10


def test_cosine_vectors_come_back_normalised(api: httpx.Client, make: Make) -> None:
    name = make({"vectors": {"size": 2, "distance": "Cosine"}}, [{"id": 1, "vector": [3, 4]}])
    assert _get(api, name, 1)["vector"] == pytest.approx([0.6, 0.8])


def test_retrieve(api: httpx.Client, ten: str) -> None:
    def retrieve(**body: Any) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = api.post(f"/collections/{ten}/points", json=body).json()["result"]
        return result

    assert retrieve(ids=[3, 99, 1]) == [
        {"id": 3, "payload": {"n": 3, "kind": "odd"}},
        {"id": 1, "payload": {"n": 1, "kind": "odd"}},
    ]
    assert retrieve(ids=[3], with_payload=False, with_vector=True) == [{"id": 3, "vector": [3, 1, 0, 0]}]
    assert retrieve(ids=[3], with_payload=["n"]) == [{"id": 3, "payload": {"n": 3}}]
    assert retrieve(ids=[3], with_payload={"exclude": ["n"]}) == [{"id": 3, "payload": {"kind": "odd"}}]
    missing = api.get(f"/collections/{ten}/points/99")
    assert missing.status_code == 404 and "99" in missing.json()["status"]["error"]


def test_delete(api: httpx.Client, ten: str) -> None:
    path = f"/collections/{ten}/points/delete"
    assert api.post(path, json={"points": [0, 1, 99]}, params=WAIT).json()["result"]["status"] == "completed"
    assert _count(api, ten) == 8
    odd = {"filter": {"must": [{"key": "kind", "match": {"value": "odd"}}]}}
    assert api.post(path, json=odd, params=WAIT).status_code == 200
    assert _count(api, ten) == 4


def test_scroll_pages(api: httpx.Client, ten: str) -> None:
    path = f"/collections/{ten}/points/scroll"
    seen: list[int] = []
    offset = None
    while True:
        page = api.post(path, json={"limit": 4, "offset": offset, "with_payload": False}).json()["result"]
        seen += [point["id"] for point in page["points"]]
        offset = page["next_page_offset"]
        if offset is None:
            break
    assert seen == list(range(10))
    body = {"filter": {"must_not": {"key": "n", "range": {"lt": 7}}}, "with_vector": True}
    points = api.post(path, json=body).json()["result"]["points"]
    assert points[0] == {"id": 7, "payload": {"n": 7, "kind": "odd"}, "vector": [7, 1, 0, 0]}
    assert len(points) == 3


def test_scroll_in_an_order(api: httpx.Client, ten: str) -> None:
    path = f"/collections/{ten}/points/scroll"
    order = {"key": "n", "direction": "desc", "start_from": 6}
    page = api.post(path, json={"limit": 2, "order_by": order, "with_payload": False}).json()["result"]
    assert page == {
        "points": [{"id": 6, "order_value": 6}, {"id": 5, "order_value": 5}],
        "next_page_offset": None,
    }
    first = api.post(path, json={"limit": 1, "order_by": "n"}).json()["result"]["points"]
    assert first[0]["id"] == 0
    both = api.post(path, json={"offset": 1, "order_by": "n"})
    assert both.status_code == 400 and "start_from" in both.json()["status"]["error"]


def test_count_with_a_filter(api: httpx.Client, ten: str) -> None:
    body = {"filter": {"should": [{"key": "n", "match": {"any": [1, 2]}}, {"has_id": [9]}]}, "exact": False}
    assert api.post(f"/collections/{ten}/points/count", json=body).json()["result"] == {"count": 3}


def test_vectors(api: httpx.Client, make: Make) -> None:
    config = {"vectors": {"a": {"size": 2, "distance": "Dot"}, "b": {"size": 1, "distance": "Dot"}}}
    name = make(config, [{"id": 1, "vector": {"a": [1, 2], "b": [3]}, "payload": {"n": 1}}])
    path = f"/collections/{name}/points/vectors"
    update = {"points": [{"id": 1, "vector": {"a": [9, 9]}}]}
    assert api.put(path, json=update, params=WAIT).json()["result"]["status"] == "completed"
    assert _get(api, name, 1) == {"id": 1, "vector": {"a": [9, 9], "b": [3]}, "payload": {"n": 1}}
    missing = api.put(path, json={"points": [{"id": 5, "vector": {"a": [1, 1]}}]}, params=WAIT)
    assert missing.status_code == 404
    assert api.post(f"{path}/delete", json={"points": [1], "vector": ["b"]}, params=WAIT).status_code == 200
    assert _get(api, name, 1)["vector"] == {"a": [9, 9]}


def test_payloads(api: httpx.Client, ten: str) -> None:
    path = f"/collections/{ten}/points/payload"

    def payload(point_id: int) -> Any:
        return _get(api, ten, point_id)["payload"]

    def done(answer: httpx.Response) -> None:
        assert answer.json()["result"]["status"] == "completed", answer.text

    done(api.post(path, json={"payload": {"x": {"y": 1}}, "points": [1]}, params=WAIT))
    assert payload(1) == {"n": 1, "kind": "odd", "x": {"y": 1}}
    done(api.post(path, json={"payload": {"z": 2}, "points": [1], "key": "x"}, params=WAIT))
    assert payload(1)["x"] == {"y": 1, "z": 2}
    done(api.put(path, json={"payload": {"only": True}, "points": [2]}, params=WAIT))
    assert payload(2) == {"only": True}
    done(api.post(f"{path}/delete", json={"keys": ["x.y", "kind"], "points": [1]}, params=WAIT))
    assert payload(1) == {"n": 1, "x": {"z": 2}}
    selected = {"filter": {"must": [{"key": "n", "range": {"gte": 8}}]}}
    done(api.post(f"{path}/clear", json=selected, params=WAIT))
    assert payload(8) == {} and payload(9) == {}


def test_batch_is_done_in_order(api: httpx.Client, ten: str) -> None:
    operations = [
        {"upsert": {"points": [{"id": 50, "vector": [1, 1, 1, 1], "payload": {"a": 1}}]}},
        {"upsert": {"batch": {"ids": [51], "vectors": [[2, 2, 2, 2]]}}},
        {"set_payload": {"payload": {"b": 2}, "points": [50]}},
        {"delete_payload": {"keys": ["a"], "points": [50]}},
        {"update_vectors": {"points": [{"id": 50, "vector": [5, 5, 5, 5]}]}},
        {"overwrite_payload": {"payload": {"c": 3}, "points": [51]}},
        {"clear_payload": {"points": [1]}},
        {"delete_vectors": {"points": [2], "vector": [""]}},
        {"delete": {"points": [0]}},
    ]
    answer = api.post(f"/collections/{ten}/points/batch", json={"operations": operations}, params=WAIT)
    assert [part["status"] for part in answer.json()["result"]] == ["completed"] * len(operations)
    assert _get(api, ten, 50) == {"id": 50, "vector": [5, 5, 5, 5], "payload": {"b": 2}}
    assert _get(api, ten, 51)["payload"] == {"c": 3}
    assert _get(api, ten, 1)["payload"] == {}
    assert _get(api, ten, 2)["vector"] == {}
    assert _count(api, ten) == 11


def test_batch_applies_whole_or_not_at_all(api: httpx.Client, ten: str) -> None:
    operations: list[dict[str, Any]] = [
        {"delete": {"points": [0]}},
        {"upsert": {"points": [{"id": 1, "vector": [1]}]}},
    ]
    answer = api.post(f"/collections/{ten}/points/batch", json={"operations": operations}, params=WAIT)
    assert answer.status_code == 400
    assert "operations[1].upsert.points[0].vector" in answer.json()["status"]["error"]
    assert _count(api, ten) == 10
    both = api.post(
        f"/collections/{ten}/points/batch",
        json={"operations": [{**operations[0], "clear_payload": {"points": [1]}}]},
    )
    assert both.status_code == 400 and "operations[0]" in both.json()["status"]["error"]
    assert api.post(f"/collections/{ten}/points/batch", json={"operations": []}).json()["result"] == []


def test_payload_numbers_survive(api: httpx.Client, make: Make) -> None:
    payload = {"i": 2**63 - 1, "f": 0.1, "n": None, "deep": [[{"x": []}]], "": "empty key", "u": "\U0001f642"}
    name = make(points=[{"id": 1, "vector": [1, 0, 0, 0], "payload": payload}])
    assert _get(api, name, 1)["payload"] == payload
