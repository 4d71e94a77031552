"""A collection behind a server's URL: points go in through the bulk route and come out by scrolling."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import httpx
import numpy as np
import orjson

from nearfield.engine.errors import InvalidRequest, NearfieldError, Unavailable
from nearfield.engine.point import PointBatch, PointId, VectorColumn, id_to_json, parse_id
from nearfield.engine.schema import UNNAMED, Datatype, Distance
from nearfield.server import bulk
from nearfield.server.cli.formats.base import VectorShape
from nearfield.server.cli.transfer.target import Page

IN_FLIGHT: Final = 2
"""Requests under way at once: one is written by the server while the next is encoded and sent."""
TIMEOUT_S: Final = 120.0
TRIES: Final = 6
PAUSE_S: Final = 0.5
"""Wait before the second try; doubled for each further one. An upsert repeated is the same upsert."""
SETTLED_POLL_S: Final = 0.25


class RemoteCollection:
    """See Target.

    Args:
        url: of the server, such as `http://127.0.0.1:6333`.
        api_key: sent with every request, if the server wants one.
    """

    def __init__(self, url: str, collection: str, api_key: str | None = None) -> None:
        self.place = url.rstrip("/")
        self._path = f"/collections/{quote(collection, safe='')}"
        self._bulk = f"/v1{self._path}/bulk"
        headers = {"api-key": api_key} if api_key else {}
        self._client = httpx.Client(base_url=self.place, timeout=TIMEOUT_S, headers=headers, trust_env=False)
        self._senders = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="import")

    def vectors(self) -> dict[str, VectorShape] | None:
        """See Target."""
        if not self._ask("GET", f"{self._path}/exists")["exists"]:
            return None
        stored = self._ask("GET", self._path)["config"]["params"].get("vectors") or {}
        named = {UNNAMED: stored} if "size" in stored else stored
        return {
            name: VectorShape(
                int(item["size"]),
                Datatype(item.get("datatype") or "float32"),
                Distance(item["distance"]),
                item.get("multivector_config") is not None,
            )
            for name, item in named.items()
        }

    def create(self, vectors: Mapping[str, VectorShape]) -> None:
        """See Target."""
        named = {
            name: {"size": shape.size, "distance": shape.distance, "datatype": shape.datatype}
            | ({"multivector_config": {"comparator": "max_sim"}} if shape.multivector else {})
            for name, shape in vectors.items()
        }
        self._ask("PUT", self._path, {"vectors": named[UNNAMED] if set(named) == {UNNAMED} else named})

    def count(self) -> int:
        """See Target."""
        return int(self._ask("POST", f"{self._path}/points/count", {"exact": True})["count"])

    def submit(self, batch: PointBatch) -> Future[Any]:
        """See Target."""
        return self._senders.submit(self._send, batch)

    def pages(self, names: list[str], first: PointId | None, size: int) -> Iterator[Page]:
        """See Target."""
        wanted: bool | list[str] = True if names == [UNNAMED] else names
        while True:
            body: dict[str, object] = {"limit": size, "with_payload": True, "with_vector": wanted}
            if first is not None:
                body["offset"] = id_to_json(first)
            answer = self._ask("POST", f"{self._path}/points/scroll", body)
            after = answer["next_page_offset"]
            first = None if after is None else parse_id(after)
            yield Page(_to_batch(answer["points"], names), first)
            if first is None:
                return

    def wait_settled(self) -> None:
        """See Target."""
        while self._ask("GET", self._path)["status"] == "yellow":
            time.sleep(SETTLED_POLL_S)

    def close(self) -> None:
        """See Target."""
        self._senders.shutdown(cancel_futures=True)
        self._client.close()

    def _send(self, batch: PointBatch) -> None:
        for part in _by_kind_of_id(batch):
            body = bulk.encode(part.ids, part.vectors, part.payloads)
            self._request("POST", self._bulk, body, bulk.CONTENT_TYPE, params={"wait": "true"})

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        return orjson.loads(self._request(method, path, content, "application/json"))["result"]

    def _request(
        self, method: str, path: str, content: bytes | None, kind: str, params: dict[str, str] | None = None
    ) -> bytes:
        """Body of a successful answer; waits and tries again while the server is busy or unreachable."""
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._client.request(
                    method,
                    path,
                    content=content,
                    params=params,
                    headers={"content-type": kind} if content else {},
                )
            except httpx.TransportError as error:
                if isinstance(error, httpx.ConnectError) and not attempt:
                    raise Unavailable(f"no server answers at {self.place} ({error})") from error
                problem = str(error) or type(error).__name__
                continue
            if answer.is_success:
                return answer.content
            problem = _message(answer)
            if answer.status_code not in (429, 503):
                raise InvalidRequest(f"{self.place} refused: {problem}")
        raise Unavailable(f"{self.place} did not accept a request after {TRIES} tries: {problem}")


def _message(answer: httpx.Response) -> str:
    try:
        return str(orjson.loads(answer.content)["status"]["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {answer.status_code} {answer.reason_phrase}: {answer.text[:200]}"


def _by_kind_of_id(batch: PointBatch) -> Iterator[PointBatch]:
    """The batch as one, or as two where integers and UUIDs are mixed: a bulk body has ids of one kind."""
    uuids = np.fromiter((isinstance(point_id, UUID) for point_id in batch.ids), bool, len(batch))
    if uuids.all() or not uuids.any():
        yield batch
        return
    for kept in (np.flatnonzero(~uuids), np.flatnonzero(uuids)):
        vectors = {name: _taken(column, kept) for name, column in batch.vectors.items()}
        payloads = None if batch.payloads is None else [batch.payloads[i] for i in kept.tolist()]
        yield PointBatch([batch.ids[i] for i in kept.tolist()], vectors, payloads)


def _taken(column: VectorColumn, kept: np.ndarray[Any, np.dtype[np.intp]]) -> VectorColumn:
    if column.points is None:
        return column.taken(kept, None)
    present = np.flatnonzero(np.isin(column.points, kept))
    return column.taken(present, np.searchsorted(kept, column.points[present]).astype(np.int64))


def _to_batch(points: list[dict[str, Any]], names: list[str]) -> PointBatch:
    if not isinstance(points, list):
        raise NearfieldError("the server's answer to a scroll has no points")
    vectors = {}
    for name in names:
        rows = [_vector(point, name) for point in points]
        present = [i for i, row in enumerate(rows) if row is not None]
        if present:
            values = [np.array(rows[i], np.float32) for i in present]
            positions = None if len(present) == len(points) else np.array(present, np.int64)
            vectors[name] = VectorColumn.of_points(values, positions)
    payloads = [orjson.dumps(point["payload"]) if point.get("payload") else None for point in points]
    return PointBatch([parse_id(point["id"]) for point in points], vectors, payloads)


def _vector(point: dict[str, Any], name: str) -> list[Any] | None:
    stored = point.get("vector")
    if isinstance(stored, dict):
        return stored.get(name)
    return stored if name == UNNAMED and stored else None
