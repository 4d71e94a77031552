"""Filling a collection of a running server, and how fast that went."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson

from nearfield.bench.datasets import Dataset
from nearfield.bench.harness import Reporter
from nearfield.bench.load.closed_loop import LoadError
from nearfield.bench.machine import load_average
from nearfield.bench.payloads import Payloads
from nearfield.bench.records import RecordWriter
from nearfield.server import bulk

DISTANCES = {"l2": "Euclid", "ip": "Dot", "cosine": "Cosine"}
_BULK_POINTS = 10_000
_JSON_POINTS = 500
_JSON_ROWS_MAX = 20_000
"""Rows of the JSON import measurement, which goes to a collection of its own."""
_SETTLED_S = 3.0
"""A collection counts as settled when it has been green for this long."""
_SETTLE_LIMIT_S = 1800.0


def import_points(
    client: httpx.Client,
    name: str,
    dataset: Dataset,
    payloads: Payloads | None,
    writer: RecordWriter,
    reporter: Reporter,
) -> None:
    """Fill the collection `name` unless it holds as many points already; wait until its indexes are built.

    Part of it goes as JSON to a collection of its own first, then all by the bulk route; both are timed.

    Raises:
        LoadError: the server refuses something, or does not settle.
    """
    if _count(client, name) == dataset.count:
        reporter.note(f"collection {name} already holds {dataset.count:,} points: not imported again")
        _wait_settled(client, name)
        return
    rows = min(dataset.count, _JSON_ROWS_MAX)
    reporter.stage("import", -(-rows // _JSON_POINTS) + -(-dataset.count // _BULK_POINTS) + 1)
    scratch = f"{name}-json"
    json_bodies = _json_bodies(dataset, payloads, rows)
    _create(client, scratch, dataset)
    seconds = _timed(
        client, "PUT", f"/collections/{scratch}/points", json_bodies, "application/json", reporter
    )
    _checked(client.delete(f"/collections/{scratch}"))
    writer.write(
        "import",
        method="json",
        points=rows,
        seconds=seconds,
        points_per_s=rows / seconds,
        load=load_average(),
    )
    _create(client, name, dataset)
    bulk_bodies = _bulk_bodies(dataset, payloads)
    seconds = _timed(client, "POST", f"/v1/collections/{name}/bulk", bulk_bodies, bulk.CONTENT_TYPE, reporter)
    start = time.perf_counter()
    _wait_settled(client, name)
    settled = max(time.perf_counter() - start - _SETTLED_S, 0.0)
    reporter.step("indexed")
    writer.write(
        "import",
        method="bulk",
        points=dataset.count,
        seconds=seconds,
        points_per_s=dataset.count / seconds,
        settle_seconds=settled,
        load=load_average(),
    )


def _timed(
    client: httpx.Client,
    method: str,
    path: str,
    bodies: Iterator[bytes],
    content_type: str,
    reporter: Reporter,
) -> float:
    """Seconds the server took for all bodies one after the other, durable; encoding is not counted."""
    seconds = 0.0
    for body in bodies:
        start = time.perf_counter()
        _checked(
            client.request(
                method, path, params={"wait": "true"}, content=body, headers={"Content-Type": content_type}
            )
        )
        seconds += time.perf_counter() - start
        reporter.step("points")
    return seconds


def _json_bodies(dataset: Dataset, payloads: Payloads | None, rows: int) -> Iterator[bytes]:
    for start in range(0, rows, _JSON_POINTS):
        stop = min(start + _JSON_POINTS, rows)
        vectors = np.ascontiguousarray(dataset.base[start:stop], np.float32)
        batch: dict[str, Any] = {"ids": list(range(start, stop)), "vectors": vectors}
        if payloads is not None:
            batch["payloads"] = list(payloads.rows(start, stop))
        yield orjson.dumps({"batch": batch}, option=orjson.OPT_SERIALIZE_NUMPY)


def _bulk_bodies(dataset: Dataset, payloads: Payloads | None) -> Iterator[bytes]:
    for start in range(0, dataset.count, _BULK_POINTS):
        stop = min(start + _BULK_POINTS, dataset.count)
        rows = None if payloads is None else list(payloads.rows(start, stop))
        yield bulk.encode(np.arange(start, stop, dtype=np.uint64), np.asarray(dataset.base[start:stop]), rows)


def _create(client: httpx.Client, name: str, dataset: Dataset) -> None:
    client.delete(f"/collections/{name}")
    vectors = {
        "size": dataset.dimensions,
        "distance": DISTANCES[dataset.metric],
        "datatype": str(dataset.base.dtype),
    }
    _checked(client.put(f"/collections/{name}", json={"vectors": vectors}))


def _count(client: httpx.Client, name: str) -> int | None:
    response = client.post(f"/collections/{name}/points/count", json={"exact": True})
    return int(response.json()["result"]["count"]) if response.status_code == 200 else None


def _wait_settled(client: httpx.Client, name: str) -> None:
    """Until the collection has been green for a few seconds."""
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    green_since: float | None = None
    while time.monotonic() < deadline:
        status = _checked(client.get(f"/collections/{name}")).json()["result"]["status"]
        now = time.monotonic()
        green_since = (green_since or now) if status == "green" else None
        if green_since is not None and now - green_since >= _SETTLED_S:
            return
        time.sleep(0.25)
    raise LoadError(f"collection {name} did not settle within {_SETTLE_LIMIT_S:.0f} s")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code >= 300:
        raise LoadError(
            f"{response.request.method} {response.url.path}: {response.status_code} {response.text[:300]}"
        )
    return response
