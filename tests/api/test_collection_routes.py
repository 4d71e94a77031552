"""Collections, aliases and payload indexes."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Make = Callable[..., str]


def _info(api: httpx.Client, name: str) -> dict[str, Any]:
    answer = api.get(f"/collections/{name}")
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


def test_life_of_a_collection(api: httpx.Client) -> None:
    path = "/collections/life"
    assert api.get(f"{path}/exists").json()["result"] == {"exists": False}
    created = api.put(path, json={"vectors": {"size": 3, "distance": "Cosine"}}, params={"timeout": 10})
    assert created.json()["result"] is True and created.json()["status"] == "ok"
    assert api.get(f"{path}/exists").json()["result"] == {"exists": True}
    assert {"name": "life"} in api.get("/collections").json()["result"]["collections"]
    twice = api.put(path, json={"vectors": {"size": 3, "distance": "Cosine"}})
    assert twice.status_code == 409
    assert twice.json()["status"]["error"] == "Wrong input: Collection `life` already exists!"
    assert api.delete(path).json()["result"] is True
    assert api.delete(path).json()["result"] is False
    gone = api.get(path)
    assert gone.status_code == 404
    assert gone.json()["status"]["error"] == "Not found: Collection `life` doesn't exist!"


def test_info_has_every_part(api: httpx.Client, ten: str) -> None:
    info = _info(api, ten)
    assert info["status"] == "green" and info["optimizer_status"] == "ok"
    assert info["points_count"] == 10 and info["indexed_vectors_count"] == 0
    assert info["config"]["params"]["vectors"] == {"size": 4, "distance": "Dot"}
    for section, field in (("hnsw_config", "m"), ("optimizer_config", "flush_interval_sec")):
        assert isinstance(info["config"][section][field], int)


@pytest.mark.parametrize(
    "vectors",
    [
        {"size": 4, "distance": "Euclid"},
        {"": {"size": 4, "distance": "Cosine"}},
        {
            "a": {"size": 2, "distance": "Dot", "datatype": "float16"},
            "b": {"size": 3, "distance": "Manhattan"},
        },
        {"size": 4, "distance": "Cosine", "on_disk": False, "hnsw_config": {"m": 8}},
        {},
    ],
)
def test_vectors_are_shown_as_created(api: httpx.Client, make: Make, vectors: dict[str, Any]) -> None:
    name = make({"vectors": vectors})
    assert _info(api, name)["config"]["params"]["vectors"] == vectors


def test_settings_are_kept(api: httpx.Client, make: Make) -> None:
    quantization = {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}
    name = make(
        {
            "vectors": {"size": 4, "distance": "Cosine"},
            "sparse_vectors": {},
            "hnsw_config": {"m": 24, "ef_construct": 200},
            "optimizers_config": {"default_segment_number": 2},
            "quantization_config": quantization,
            "metadata": {"owner": "tests", "n": 1},
            "shard_number": 1,
            "replication_factor": 1,
            "on_disk_payload": False,
        }
    )
    info = _info(api, name)
    config = info["config"]
    assert config["hnsw_config"]["m"] == 24 and config["hnsw_config"]["ef_construct"] == 200
    assert config["optimizer_config"]["default_segment_number"] == 2
    assert config["quantization_config"] == quantization
    assert config["metadata"] == {"owner": "tests", "n": 1}
    assert config["params"]["on_disk_payload"] is False
    assert info["index"][""] == {"kind": "auto", "params": {"m": 24, "ef_construction": 200}}


def test_index_is_chosen_by_name_or_by_metadata(api: httpx.Client, make: Make) -> None:
    vectors = {"size": 4, "distance": "Cosine"}
    ours = make({"vectors": vectors, "index": {"kind": "hnsw", "params": {"m": 12}}})
    assert _info(api, ours)["index"][""] == {"kind": "hnsw", "params": {"m": 12}}
    theirs = make({"vectors": vectors, "metadata": {"index": {"kind": "flat"}}})
    assert _info(api, theirs)["index"][""]["kind"] == "flat"
    unknown = api.put("/collections/bad-index", json={"vectors": vectors, "index": {"kind": "nothing"}})
    assert unknown.status_code == 400 and "nothing" in unknown.json()["status"]["error"]


def test_update_merges(api: httpx.Client, make: Make) -> None:
    name = make({"vectors": {"size": 4, "distance": "Dot"}, "metadata": {"a": 1, "b": 2}})
    body = {
        "metadata": {"b": None, "c": 3},
        "optimizers_config": {"indexing_threshold": 0},
        "params": {"replication_factor": 2},
        "hnsw_config": {"m": 32},
        "vectors": {"": {"on_disk": True}},
    }
    assert api.patch(f"/collections/{name}", json=body).json()["result"] is True
    info = _info(api, name)
    assert info["config"]["metadata"] == {"a": 1, "c": 3}
    assert info["config"]["optimizer_config"]["indexing_threshold"] == 0
    assert info["config"]["params"]["replication_factor"] == 2
    assert info["config"]["params"]["vectors"]["on_disk"] is True
    assert info["index"][""]["params"] == {"m": 32}
    assert api.patch(f"/collections/{name}", json={"quantization_config": "Disabled"}).status_code == 200
    assert _info(api, name)["config"]["quantization_config"] is None
    wrong = api.patch(f"/collections/{name}", json={"vectors": {"other": {}}})
    assert wrong.status_code == 400 and "Not existing vector name error: other" in wrong.text


def test_aliases(api: httpx.Client, ten: str) -> None:
    def change(*actions: dict[str, Any]) -> httpx.Response:
        return api.post("/collections/aliases", json={"actions": list(actions)})

    create = {"create_alias": {"collection_name": ten, "alias_name": "other"}}
    assert change(create).json()["result"] is True
    assert api.post("/collections/other/points/count", json={}).json()["result"]["count"] == 10
    entry = {"alias_name": "other", "collection_name": ten}
    assert api.get(f"/collections/{ten}/aliases").json()["result"] == {"aliases": [entry]}
    assert change({"rename_alias": {"old_alias_name": "other", "new_alias_name": "third"}}).status_code == 200
    assert {**entry, "alias_name": "third"} in api.get("/aliases").json()["result"]["aliases"]

    missing = {"create_alias": {"collection_name": "missing", "alias_name": "x"}}
    refused = change({"delete_alias": {"alias_name": "third"}}, missing)
    assert refused.status_code == 404
    assert api.get("/collections/third/exists").json()["result"]["exists"], "nothing of it was applied"
    assert change({**create, "delete_alias": {"alias_name": "third"}}).status_code == 400
    assert change({"delete_alias": {"alias_name": "third"}}).status_code == 200
    assert not api.get("/collections/third/exists").json()["result"]["exists"]


def test_payload_indexes(api: httpx.Client, ten: str) -> None:
    path = f"/collections/{ten}/index"
    integer = {"field_name": "n", "field_schema": "integer"}
    assert api.put(path, json=integer, params={"wait": "true"}).json()["result"]["status"] == "completed"
    tenant = {"field_name": "a.kind", "field_schema": {"type": "keyword", "is_tenant": True}}
    assert api.put(path, json=tenant).json()["result"]["status"] == "acknowledged"
    schema = _info(api, ten)["payload_schema"]
    assert schema["n"]["data_type"] == "integer"
    assert schema["a.kind"] == {
        "data_type": "keyword",
        "params": {"type": "keyword", "is_tenant": True},
        "points": 10,
    }
    assert api.delete(f"{path}/a.kind").status_code == 200
    assert set(_info(api, ten)["payload_schema"]) == {"n"}
    wrong = api.put(path, json={"field_name": "n", "field_schema": "colour"})
    assert wrong.status_code == 400 and "keyword" in wrong.json()["status"]["error"]
