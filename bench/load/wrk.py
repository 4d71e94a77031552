"""What the HTTP layer costs: wrk against small searches; points per second by JSON and by the bulk route.

Run as `python -m nearfield.bench.load.wrk`; it starts a server of its own unless `--url` names one. It prints
one JSON line per measurement. Rates only mean something while the machine does nothing else; the CPU time per
request beside them is steadier.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from nearfield.server import bulk
from nearfield.server.cli.demo.server_process import ServerProcess, free_port

COLLECTION: Final = "load"
QUERIES: Final = 64
INGEST_DIMENSIONS: Final = 384
BATCH_POINTS: Final = {"json": 256, "bulk": 10_000}

Floats = NDArray[np.float32]


class Target:
    """A server under load.

    Args:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=120)

    def create(self, dimensions: int) -> None:
        """An empty flat collection in place of the last one."""
        self.client.delete(f"/collections/{COLLECTION}").raise_for_status()
        body = {"vectors": {"size": dimensions, "distance": "Cosine"}, "index": {"kind": "flat"}}
        self.client.put(f"/collections/{COLLECTION}", json=body).raise_for_status()

    def write(self, body: bytes, route: str) -> None:
        """One batch, durable when this returns."""
        method, path, kind = {
            "json": ("PUT", f"/collections/{COLLECTION}/points", "application/json"),
            "bulk": ("POST", f"/v1/collections/{COLLECTION}/bulk", bulk.CONTENT_TYPE),
        }[route]
        headers = {"content-type": kind}
        self.client.request(
            method, path, content=body, headers=headers, params={"wait": "true"}
        ).raise_for_status()

    def cpu_seconds(self) -> float:
        """CPU time the server has used, from its own metrics."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith("process_cpu_seconds_total "):
                return float(line.split()[1])
        raise LookupError("the server's metrics have no process_cpu_seconds_total")


def random_vectors(count: int, dimensions: int, seed: int) -> Floats:
    """float32 [count, dimensions], rounded so that their text is as long as that of real embeddings."""
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


def batches(vectors: Floats, route: str) -> Iterator[bytes]:
    """Bodies that write these vectors with a small payload."""
    size = BATCH_POINTS[route]
    for first in range(0, len(vectors), size):
        rows = vectors[first : first + size]
        ids = range(first, first + len(rows))
        payloads = [{"title": f"document {i}", "year": 1990 + i % 30} for i in ids]
        if route == "bulk":
            yield bulk.encode(np.array(ids, np.uint64), rows, payloads)
        else:
            points = [
                {"id": i, "vector": row, "payload": p} for i, row, p in zip(ids, rows, payloads, strict=True)
            ]
            yield orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)


def measure_ingest(target: Target, route: str, points: int) -> dict[str, Any]:
    """Points per second through one connection, encoding included; every request waits for its commit."""
    vectors = random_vectors(points, INGEST_DIMENSIONS, seed=1)
    target.create(INGEST_DIMENSIONS)
    cpu, started = target.cpu_seconds(), time.perf_counter()
    for body in batches(vectors, route):
        target.write(body, route)
    seconds = time.perf_counter() - started
    return {
        "measurement": f"ingest {route}",
        "dimensions": INGEST_DIMENSIONS,
        "points": points,
        "points_per_second": round(points / seconds),
        "server_cpu_us_per_point": round((target.cpu_seconds() - cpu) / points * 1e6, 1),
    }


def measure_queries(
    target: Target, points: int, dimensions: int, clients: int, seconds: int
) -> dict[str, Any]:
    """Requests per second and latency that wrk sees."""
    target.create(dimensions)
    for body in batches(random_vectors(points, dimensions, seed=2), "bulk"):
        target.write(body, "bulk")
    queries = random_vectors(QUERIES, dimensions, seed=3)
    with tempfile.NamedTemporaryFile("wb", suffix=".jsonl") as file:
        for query in queries:
            file.write(orjson.dumps({"query": query, "limit": 10}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        file.flush()
        cpu = target.cpu_seconds()
        seen = run_wrk(target.url, query_path(COLLECTION), file.name, clients, seconds)
    return {
        "measurement": "query",
        "points": points,
        "dimensions": dimensions,
        "clients": clients,
        **seen,
        "server_cpu_us_per_request": round((target.cpu_seconds() - cpu) / seen["requests"] * 1e6, 1),
    }


def query_path(collection: str) -> str:
    """Where a collection is searched."""
    return f"/collections/{collection}/points/query"


def run_wrk(url: str, path: str, bodies: str, clients: int, seconds: int) -> dict[str, Any]:
    """What wrk's script reports at the end.

    Args:
        path: every request is posted to.
        bodies: name of a file with one body a line.

    Raises:
        FileNotFoundError: wrk is not installed.
        CalledProcessError: it failed.
    """
    with resources.as_file(resources.files("nearfield.bench.load") / "query.lua") as script:
        options = ["-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", str(script)]
        command = ["wrk", *options, url, "--", path, bodies]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def main(arguments: Sequence[str]) -> None:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(description="Measure the HTTP layer.")
    parser.add_argument("--url", help="a running server; without, one is started")
    parser.add_argument(
        "--what", nargs="+", choices=("query", "json", "bulk"), default=["query", "json", "bulk"]
    )
    parser.add_argument("--points", type=int, default=1_000, help="points searched")
    parser.add_argument("--dimensions", type=int, default=768, help="dimensions of the points searched")
    parser.add_argument("--clients", type=int, default=8, help="keep-alive connections of wrk")
    parser.add_argument("--seconds", type=int, default=10, help="seconds wrk runs")
    parser.add_argument("--ingest-points", type=int, default=50_000, help="points written")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        if options.url is None:
            data = stack.enter_context(tempfile.TemporaryDirectory())
            server = ServerProcess(Path(data), "127.0.0.1", free_port("127.0.0.1", 0))
            stack.callback(server.stop)
            options.url = server.url
        target = Target(options.url)
        for what in options.what:
            if what == "query":
                found = measure_queries(
                    target, options.points, options.dimensions, options.clients, options.seconds
                )
            else:
                found = measure_ingest(target, what, options.ingest_points)
            sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
