import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nearfield.bench.datasets import load_dataset
from nearfield.bench.load.closed_loop import LoadError, closed_loop, http_request
from nearfield.bench.load.kinds import BATCH, Search, batch_bodies, single_bodies


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hangup":
            self.close_connection = True
            return
        self.send_response(404 if body == b"missing" else 200)
        answer = self.path.encode() + b" " + body + b" " + self.headers.get("api-key", "").encode()
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        # In two pieces: the client must put answers together.
        self.wfile.write(answer[:3])
        self.wfile.flush()
        self.wfile.write(answer[3:])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_request_is_answered_and_timed(url: str) -> None:
    bodies = [f"number {index}".encode() for index in range(23)]
    requests = [http_request(url, "POST", "/echo", body, {"api-key": "k"}) for body in bodies]
    result = closed_loop(url, requests, clients=5, seconds=0.05, processes=2)
    assert result.bodies == {index: b"/echo " + body + b" k" for index, body in enumerate(bodies)}
    assert result.statuses.total() == len(result.latencies_ns) >= 23
    assert result.statuses[200] == result.statuses.total()
    assert (result.latencies_ns > 0).all() and result.rate > 0


def test_more_clients_than_requests_and_other_statuses(url: str) -> None:
    requests = [http_request(url, "POST", "/echo", body) for body in (b"there", b"missing")]
    result = closed_loop(url, requests, clients=4, seconds=0.05)
    assert set(result.bodies) == {0, 1} and result.statuses[404] > 0 and result.statuses[200] > 0


def test_failures_are_reported(url: str) -> None:
    with pytest.raises(LoadError, match="closed a keep-alive connection"):
        closed_loop(url, [http_request(url, "POST", "/hangup", b"")], clients=1, seconds=0.05)
    with pytest.raises(LoadError, match="Connection refused"):
        closed_loop("http://127.0.0.1:9", [b""], clients=1, seconds=0.05)
    with pytest.raises(LoadError, match="expected an http:// address"):
        closed_loop("https://127.0.0.1", [b""], clients=1, seconds=0.05)


def test_bodies_of_searches() -> None:
    """Batches ask what single requests ask, all of it."""
    dataset = load_dataset("generated", rows=50, queries=BATCH + 3, truth=False)
    searches = [Search.parse("auto"), Search.parse("hnsw:36")]
    assert searches == [("auto", None), ("hnsw", 36)]
    for search, params in zip(searches, ({}, {"hnsw_ef": 36}), strict=True):
        single = [json.loads(body) for body in single_bodies(search, dataset)]
        batches = [json.loads(body)["searches"] for body in batch_bodies(search, dataset)]
        assert batches == [single[:BATCH], single[BATCH:]] and len(single) == BATCH + 3
        assert all(body["params"] == params for body in single)
        assert single[7]["query"] == dataset.queries[7].tolist()
