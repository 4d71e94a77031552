"""Index kinds behind the server: one data set in a collection of each, searched by wrk in turns.

Run as `python -m nearfield.bench.load.kinds DATA_SET --data-dir DIR`; it starts a server of its own. A search
is a kind and, if not the default, an `ef`: `auto:24`. It prints one JSON line for each search and way to ask:
recall over HTTP, and medians over the rounds of rate, latency and the server's CPU time.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import httpx
import numpy as np
import orjson

from nearfield.bench.datasets import Dataset, load_dataset
from nearfield.bench.ground_truth import recall_at_k
from nearfield.bench.load.wrk import Target, query_path, run_wrk
from nearfield.bench.scenarios.http_import import DISTANCES
from nearfield.server import bulk
from nearfield.server.cli.demo.server_process import ServerProcess, free_port

K: Final = 10
BATCH: Final = 100
IMPORTED_POINTS: Final = 10_000
INDEXED_TIMEOUT_S: Final = 1_200
POLL_S: Final = 0.5


class Search(NamedTuple):
    """Searches of one kind; with the default breadth where `ef` is None."""

    kind: str
    ef: int | None

    @classmethod
    def parse(cls, text: str) -> "Search":
        """`KIND` or `KIND:EF`."""
        kind, _, ef = text.partition(":")
        return cls(kind, int(ef) if ef else None)

    @property
    def params(self) -> dict[str, int]:
        """Of a query body."""
        return {} if self.ef is None else {"hnsw_ef": self.ef}


def fill(client: httpx.Client, kind: str, dataset: Dataset) -> None:
    """A collection of the kind's name that holds the data set; returns when all of it is indexed.

    Raises:
        TimeoutError: it never was; small sets are not.
    """
    vectors = {"size": dataset.dimensions, "distance": DISTANCES[dataset.metric]}
    client.put(f"/collections/{kind}", json={"vectors": vectors, "index": {"kind": kind}}).raise_for_status()
    for first in range(0, dataset.count, IMPORTED_POINTS):
        rows = dataset.base[first : first + IMPORTED_POINTS].astype(np.float32)
        ids = np.arange(first, first + len(rows), dtype=np.uint64)
        client.post(
            f"/v1/collections/{kind}/bulk",
            content=bulk.encode(ids, rows, None),
            headers={"content-type": bulk.CONTENT_TYPE},
        ).raise_for_status()
    deadline = time.monotonic() + INDEXED_TIMEOUT_S
    while time.monotonic() < deadline:
        info = client.get(f"/collections/{kind}").raise_for_status().json()["result"]
        if info["status"] == "green" and info["indexed_vectors_count"] == dataset.count:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"`{kind}` indexed {info['indexed_vectors_count']} of {dataset.count} points")


def recall(client: httpx.Client, search: Search, dataset: Dataset) -> float:
    """Share of the true nearest that one query a request finds."""
    found = np.full((len(dataset.queries), K), -1, dtype=np.int64)
    for row, body in zip(found, single_bodies(search, dataset), strict=True):
        answer = client.post(query_path(search.kind), content=body).raise_for_status()
        ids = [point["id"] for point in answer.json()["result"]["points"]]
        row[: len(ids)] = ids
    return recall_at_k(found, dataset.truth_ids, dataset.truth_scores, K)


def single_bodies(search: Search, dataset: Dataset) -> list[bytes]:
    """One query a body, numbers as Python's clients write them."""
    return [orjson.dumps(_query(search, query)) for query in dataset.queries]


def batch_bodies(search: Search, dataset: Dataset) -> list[bytes]:
    """As many queries a body."""
    queries = [_query(search, query) for query in dataset.queries]
    return [
        orjson.dumps({"searches": queries[first : first + BATCH]}) for first in range(0, len(queries), BATCH)
    ]


def _query(search: Search, query: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, Any]:
    return {"query": query.tolist(), "limit": K, "params": search.params}


def measure(
    target: Target, search: Search, dataset: Dataset, batches: bool, clients: int, seconds: int
) -> dict[str, float]:
    """One run of wrk; rate and CPU time are of queries, latency is of requests.

    Raises:
        ValueError: requests failed.
    """
    bodies = (batch_bodies if batches else single_bodies)(search, dataset)
    path = query_path(search.kind) + ("/batch" if batches else "")
    each = BATCH if batches else 1
    with tempfile.NamedTemporaryFile("wb", suffix=".jsonl") as file:
        file.write(b"\n".join(bodies) + b"\n")
        file.flush()
        before = target.cpu_seconds()
        seen = run_wrk(target.url, path, file.name, clients, seconds)
        used = target.cpu_seconds() - before
    if seen["failed"] or not seen["requests"]:
        raise ValueError(f"{seen['failed']} of {seen['requests']} requests to {path} failed")
    return {
        "queries_per_second": seen["rate"] * each,
        "p50_ms": seen["p50_ms"],
        "p99_ms": seen["p99_ms"],
        "server_cpu_us_per_query": used / (seen["requests"] * each) * 1e6,
    }


def main(arguments: Sequence[str]) -> None:
    """Fill the collections, then measure in turns."""
    parser = argparse.ArgumentParser(description="Compare index kinds behind the server.")
    parser.add_argument("dataset", help="name or path")
    parser.add_argument("--data-dir", type=Path, help="folder of data sets")
    parser.add_argument("--searches", nargs="+", default=["auto", "hnsw", "auto:24", "hnsw:36"])
    parser.add_argument("--queries", type=int, default=1_000, help="keep only the first queries")
    parser.add_argument("--clients", type=int, default=8, help="keep-alive connections of wrk")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of one run of wrk")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    options = parser.parse_args(arguments)
    dataset = load_dataset(options.dataset, data_dir=options.data_dir, queries=options.queries)
    searches = [Search.parse(text) for text in options.searches]
    ways = [(False, options.clients), (True, options.clients), (False, 1)]
    with tempfile.TemporaryDirectory() as data:
        server = ServerProcess(Path(data), "127.0.0.1", free_port("127.0.0.1", 0))
        try:
            target = Target(server.url)
            for kind in dict.fromkeys(search.kind for search in searches):
                fill(target.client, kind, dataset)
            found = {search: recall(target.client, search, dataset) for search in searches}
            runs: dict[tuple[Search, bool, int], list[dict[str, float]]] = {}
            for _ in range(options.rounds):
                for batches, clients in ways:
                    for search in searches:
                        run = measure(target, search, dataset, batches, clients, options.seconds)
                        runs.setdefault((search, batches, clients), []).append(run)
        finally:
            server.stop()
    for (search, batches, clients), measured in runs.items():
        line = {
            **search._asdict(),
            "recall": round(found[search], 4),
            "batch": BATCH if batches else 1,
            "clients": clients,
            **{name: round(median(run[name] for run in measured), 3) for name in measured[0]},
        }
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
