"""Body sizes, deadlines, admission, and connections that stall."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from nearfield.engine import Database
from nearfield.engine.collection import Collection
from nearfield.engine.errors import OutOfSpace, TooManyRequests
from nearfield.engine.point import PointBatch, VectorColumn
from nearfield.engine.schema import CollectionSchema, Distance, VectorSpec
from nearfield.server.body import BodyBudget, BodyReader
from nearfield.server.errors import BodyTooLarge
from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings

CREATE = {"vectors": {"size": 2, "distance": "Dot"}}


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[httpx.Client]:
    """A server with tight limits, and a collection `c` of one point."""
    with Database.open(tmp_path) as database:
        collection = database.create_collection("c", CollectionSchema({"": VectorSpec(2, Distance.DOT)}))
        collection.upsert(PointBatch([1], {"": VectorColumn(np.ones((1, 2), np.float32))}))
    settings = Settings(
        data=tmp_path, port=0, body_bytes_max=1000, bulk_body_bytes_max=2000, request_timeout_s=0.5,
        header_timeout_s=0.3,
    )  # fmt: skip
    with serve_in_thread(settings) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client


def test_bodies_over_the_limit(strict: httpx.Client) -> None:
    path = "/collections/c/points/scroll"
    announced = strict.post(path, content=b" " * 1001)
    assert announced.status_code == 413
    assert "at most 1000 bytes" in announced.json()["status"]["error"]
    chunked = strict.post(path, content=(b" " * 100 for _ in range(11)))
    assert chunked.status_code == 413
    assert strict.post(path, content=b"{}" + b" " * 998).status_code == 200, "the limit itself is allowed"
    assert strict.post(path, content=(b for b in [b"{", b"}", b" " * 998])).status_code == 200
    bulk = strict.post("/v1/collections/c/bulk", content=b" " * 1500)
    assert bulk.status_code == 400, "the bulk route has a limit of its own"
    assert strict.post("/v1/collections/c/bulk", content=b" " * 2001).status_code == 413


def test_the_connection_goes_on_after_a_body_that_was_too_large(strict: httpx.Client) -> None:
    url = strict.base_url
    with socket.create_connection((url.host, url.port or 80)) as connection:
        head = "POST /collections/c/points/scroll HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
        connection.sendall(head.encode() + b" " * 100_000)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 413") and received.endswith(b"healthz check passed")


def test_slow_bodies_time_out(strict: httpx.Client) -> None:
    url = strict.base_url
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(
            b"POST /collections/c/points/scroll HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-a"])
def test_slow_heads_are_hung_up_on(strict: httpx.Client, sent: bytes) -> None:
    url = strict.base_url
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.settimeout(5)
        started = time.monotonic()
        connection.sendall(sent)
        assert connection.recv(100) == b""
        assert 0.2 < time.monotonic() - started < 3


def test_head_deadlines_do_not_touch_others(strict: httpx.Client) -> None:
    for _ in range(3):
        assert strict.get("/healthz").status_code == 200
        time.sleep(0.15)


class Slow:
    """Counts and searches that wait until they are let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()

    def wait(self) -> None:
        self.entered.release()
        self.go.wait(20)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    state = Slow()
    count, search, cost = Collection.count, Collection.search, Collection.search_cost_hint

    def slow_count(self: Collection, *args: Any) -> int:
        state.wait()
        return count(self, *args)

    def slow_search(self: Collection, *args: Any) -> Any:
        state.wait()
        return search(self, *args)

    monkeypatch.setattr(Collection, "count", slow_count)
    monkeypatch.setattr(Collection, "search", slow_search)
    monkeypatch.setattr(Collection, "search_cost_hint", lambda self, requests: cost(self, requests) + 2**40)
    yield state
    state.go.set()


def test_deadlines(strict: httpx.Client, slow: Slow) -> None:
    for path, body in (
        ("count", {}),
        ("query", {"query": [1, 1]}),
        ("query/batch", {"searches": [{"query": 1}]}),
    ):
        answer = strict.post(f"/collections/c/points/{path}", json=body)
        assert answer.status_code == 408, path
        assert "0.5 s" in answer.json()["status"]["error"]
    slow.go.set()
    assert strict.post("/collections/c/points/query", json={"query": [1, 1]}).status_code == 200


def test_the_clients_own_deadline(url: str, kept: str, slow: Slow) -> None:
    started = time.monotonic()
    with httpx.Client(base_url=url) as client:
        for path, body in (("count", {}), ("query", {"query": [1, 1, 1, 1]})):
            answer = client.post(f"/collections/{kept}/points/{path}", json=body, params={"timeout": 1})
            assert answer.status_code == 408 and "1 s" in answer.json()["status"]["error"]
    assert time.monotonic() - started < 4


def test_a_write_that_takes_longer_than_the_client_waits(
    api: httpx.Client, ten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Collection, "submit", lambda self, operation: Future())
    monkeypatch.setattr(Collection, "submit_all", lambda self, operations: Future())
    params = {"timeout": "1", "wait": "true"}
    unknown = {"operation_id": None, "status": "wait_timeout"}
    delete = {"points": [1]}
    answer = api.post(f"/collections/{ten}/points/delete", json=delete, params=params)
    assert answer.status_code == 200 and answer.json()["result"] == unknown
    batch = {"operations": [{"delete": delete}]}
    answer = api.post(f"/collections/{ten}/points/batch", json=batch, params=params)
    assert answer.status_code == 200 and answer.json()["result"] == [unknown]


def test_admission(tmp_path: Path, slow: Slow) -> None:
    with serve_in_thread(Settings(data=tmp_path, port=0, max_concurrent=2)) as url:
        httpx.put(f"{url}/collections/c", json=CREATE)
        path = f"{url}/collections/c/points/count"
        waiting = [threading.Thread(target=httpx.post, args=(path,), kwargs={"json": {}}) for _ in range(2)]
        for thread in waiting:
            thread.start()
        for _ in waiting:
            assert slow.entered.acquire(timeout=10)
        refused = httpx.post(path, json={})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(f"{url}/healthz").status_code == 200, "health checks are always let in"
        slow.go.set()
        for thread in waiting:
            thread.join()
        assert httpx.post(path, json={}).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (TooManyRequests("full", retry_after_s=7), 429, "7"),
        (OutOfSpace("no room"), 507, None),
        (OSError(), 500, None),
    ],
)
def test_what_a_failing_write_answers(
    api: httpx.Client,
    ten: str,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    retry_after: str,
) -> None:
    def fail(self: Collection, operation: object) -> None:
        raise error

    monkeypatch.setattr(Collection, "submit", fail)
    answer = api.put(f"/collections/{ten}/points", json={"points": [{"id": 1, "vector": [1, 1, 1, 1]}]})
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    if status == 500:
        assert answer.json()["status"]["error"] == "Service internal error: see the server's log"


def test_bodies_share_a_budget() -> None:
    budget = BodyBudget(100)

    async def read(size: int, limit: int = 1000) -> BodyReader:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        reader = BodyReader(budget, limit)
        try:
            await reader.read([], receive)
        except Exception:
            reader.release()
            raise
        return reader

    first = asyncio.run(read(60))
    with pytest.raises(TooManyRequests):
        asyncio.run(read(50))
    with pytest.raises(BodyTooLarge):
        asyncio.run(read(30, limit=10))
    first.release()
    assert budget.held == 0
    asyncio.run(read(100)).release()
