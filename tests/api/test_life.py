"""Starting, stopping, and what happens in between."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearfield.engine import Database
from nearfield.engine.errors import DirectoryLocked
from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings


def test_points_survive_a_restart(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "new" / "data", port=0)
    point = {"id": 7, "vector": [0.5, 1.0], "payload": {"n": 1}}
    with serve_in_thread(settings) as url:
        httpx.put(f"{url}/collections/c", json={"vectors": {"size": 2, "distance": "Dot"}})
        httpx.put(f"{url}/collections/c/points", json={"points": [point]}, params={"wait": "true"})
    with serve_in_thread(settings) as url:
        assert httpx.get(f"{url}/collections/c/points/7").json()["result"] == point


@pytest.mark.parametrize("more", [{}, {"filter": {"must": [{"key": "n", "match": {"value": 1}}]}}])
def test_a_search_of_a_damaged_collection_is_answered(tmp_path: Path, more: dict[str, Any]) -> None:
    settings = Settings(data=tmp_path, port=0)
    with serve_in_thread(settings) as url:
        httpx.put(f"{url}/collections/c", json={"vectors": {"size": 2, "distance": "Dot"}})
    (points,) = tmp_path.glob("collections/*/points.db")
    points.write_bytes(b"nothing of a database" * 100)
    with serve_in_thread(settings) as url:
        search = {"query": [1.0, 0.0], "limit": 1, **more}
        answer = httpx.post(f"{url}/collections/c/points/query", json=search, timeout=10)
        assert answer.status_code == 500
        assert "is damaged" in answer.json()["status"]["error"]


def test_a_directory_in_use_is_an_error(tmp_path: Path) -> None:
    with (
        Database.open(tmp_path),
        pytest.raises(DirectoryLocked),
        serve_in_thread(Settings(data=tmp_path, port=0)),
    ):
        pytest.fail("it started")


def test_an_address_in_use_is_an_error(tmp_path: Path, url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(OSError), serve_in_thread(Settings(data=tmp_path, port=port)):
        pytest.fail("it started")


def test_it_listens_before_the_collections_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    waiting: list[httpx.Response] = []
    really_open = Database.open

    def slow_open(*args: Any, **kwargs: Any) -> Database:
        opened.wait(10)
        return really_open(*args, **kwargs)

    monkeypatch.setattr(Database, "open", slow_open)
    monkeypatch.setattr("nearfield.server.run._POLL_S", 0.0)
    found: list[str] = []
    real_url = "nearfield.server.run.listen"
    listen = __import__("nearfield.server.run", fromlist=["listen"]).listen

    def remember(settings: Settings) -> Any:
        listener = listen(settings)
        found.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
        return listener

    monkeypatch.setattr(real_url, remember)

    def probe() -> None:
        while not found:
            time.sleep(0.01)
        with httpx.Client(base_url=found[0], timeout=10) as client:
            assert client.get("/healthz").status_code == 200
            waiting.append(client.get("/readyz"))
            threading.Timer(0.2, opened.set).start()
            waiting.append(client.get("/collections"))
            waiting.append(client.get("/readyz"))

    thread = threading.Thread(target=probe)
    thread.start()
    with serve_in_thread(Settings(data=tmp_path, port=0)):
        thread.join()
    assert [answer.status_code for answer in waiting] == [503, 200, 200], (
        "other requests wait until it is open"
    )
    assert waiting[0].headers["retry-after"] == "1"


def _start(data: Path, port: int) -> subprocess.Popen[bytes]:
    program = (
        "from nearfield.server.run import serve; from nearfield.server.settings import Settings; "
        f"serve(Settings(data={str(data)!r}, port={port}))"
    )
    return subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONWARNINGS": "error"})


def _wait_until_ready(base_url: str, timeout_s: float = 30) -> float:
    started = time.monotonic()
    while time.monotonic() < started + timeout_s:
        try:
            if httpx.get(f"{base_url}/readyz").status_code == 200:
                return time.monotonic() - started
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError("it is not ready")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals(tmp_path: Path, signal_number: signal.Signals) -> None:
    with __import__("socket").create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    server = _start(tmp_path, port)
    try:
        _wait_until_ready(base_url)
        httpx.put(f"{base_url}/collections/c", json={"vectors": {"size": 1, "distance": "Dot"}})
        body = {"points": [{"id": 1, "vector": [1]}]}
        answer = httpx.put(f"{base_url}/collections/c/points", json=body, params={"wait": "true"})
        assert answer.status_code == 200
        server.send_signal(signal_number)
        server.wait(10)
    finally:
        server.kill()
        server.wait()
    with Database.open(tmp_path) as database:
        assert database.collection("c").count() == 1
