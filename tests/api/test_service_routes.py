"""What the server says about itself."""

import json
import logging
from pathlib import Path

import httpx
import pytest

from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings


def test_version(api: httpx.Client) -> None:
    answer = api.get("/")
    assert answer.status_code == 200
    version = answer.json()
    assert version["version"] == "1.20.0"
    assert "Nearfield" in version["title"] and "compatible" in version["title"]
    assert version["engine"]["name"] == "nearfield"


def test_health(api: httpx.Client) -> None:
    assert api.get("/healthz").text == "healthz check passed"
    assert api.get("/livez").text == "healthz check passed"
    assert api.get("/readyz").text == "all shards are ready"


def test_metrics_count_requests_and_points(api: httpx.Client, ten: str) -> None:
    body = {"query": [1, 0, 0, 0]}
    before = _samples(api)
    for _ in range(3):
        assert api.post(f"/collections/{ten}/points/query", json=body).status_code == 200
    after = _samples(api)
    route = 'method="POST",route="/collections/{collection}/points/query",status="200"'
    counter = f"nearfield_http_requests_total{{{route}}}"
    assert after[counter] - before.get(counter, 0) == 3
    assert after["nearfield_search_batch_queries_sum"] - before["nearfield_search_batch_queries_sum"] == 3
    assert after[f'nearfield_points{{collection="{ten}"}}'] == 10
    assert after[f'nearfield_collection_status{{collection="{ten}",status="red"}}'] == 0


def _samples(api: httpx.Client) -> dict[str, float]:
    lines = api.get("/metrics").text.splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def test_telemetry(api: httpx.Client) -> None:
    result = api.get("/telemetry").json()["result"]
    assert result["app"]["name"] == "nearfield"
    assert result["collections"]["number_of_collections"] >= 0


def test_unknown_routes_and_methods_have_the_envelope(api: httpx.Client) -> None:
    missing = api.get("/nothing")
    assert missing.status_code == 404 and "/nothing" in missing.json()["status"]["error"]
    wrong = api.delete("/collections")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET"
    assert isinstance(wrong.json()["time"], float)


def test_docs_need_no_network(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text and "https://" not in page.text


def test_api_key(tmp_path: Path) -> None:
    with serve_in_thread(Settings(data=tmp_path, port=0, api_key="secret")) as url:
        for path in ("/", "/healthz", "/readyz", "/livez"):
            assert httpx.get(url + path).status_code == 200
        refused = httpx.get(f"{url}/collections")
        assert refused.status_code == 401 and "API key" in refused.json()["status"]["error"]
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/collections", headers={"api-key": "wrong"}).status_code == 401
        for headers in ({"api-key": "secret"}, {"Authorization": "Bearer secret"}):
            assert httpx.get(f"{url}/collections", headers=headers).status_code == 200


def test_access_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nearfield.access")
    with serve_in_thread(Settings(data=tmp_path, port=0, access_log=True)) as url:
        httpx.get(f"{url}/collections/nowhere")
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "nearfield.access"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/collections/nowhere", 404)
    assert line["client"] == "127.0.0.1" and 0 < line["seconds"] < 60
