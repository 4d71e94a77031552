"""The demo's requests: plain HTTP and JSON, as any program would send them."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from nearfield.engine.errors import NearfieldError
from nearfield.server.cli.demo.corpus import Document

COLLECTION: Final = "python-docs"
UPLOAD_POINTS: Final = 500
SHOWN: Final = 5
REPEATS: Final = 5
"""Times a search is sent; the first one also warms up."""
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Hit:
    """One found document."""

    score: float
    title: str
    summary: str


class DemoClient:
    """A connection to the demo's collection."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url
        self._has_key = bool(api_key)
        headers = {"content-type": "application/json"} | ({"api-key": api_key} if api_key else {})
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def create(self, size: int) -> None:
        """Makes an empty collection; one from an earlier demo is replaced."""
        self._ask("DELETE", f"/collections/{COLLECTION}")
        self._ask("PUT", f"/collections/{COLLECTION}", {"vectors": {"size": size, "distance": "Cosine"}})
        for field in ("kind", "module"):
            body = {"field_name": field, "field_schema": "keyword"}
            self._ask("PUT", f"/collections/{COLLECTION}/index?wait=true", body)

    def upload(
        self, documents: Sequence[Document], vectors: NDArray[np.float32], on_points: Callable[[int], None]
    ) -> None:
        """Upserts every document with its vector; a document's id is its position."""
        for first in range(0, len(documents), UPLOAD_POINTS):
            points = [
                {"id": first + i, "vector": vectors[first + i], "payload": payload(document)}
                for i, document in enumerate(documents[first : first + UPLOAD_POINTS])
            ]
            self._ask("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": points})
            on_points(len(points))

    def search(self, query: NDArray[np.float32] | int, **options: Any) -> tuple[list[Hit], float]:
        """The nearest documents to a vector, or to the document of an id; and its median seconds."""
        body = {"query": query, "limit": SHOWN, "with_payload": ["title", "summary"], **options}
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            answer = self._ask("POST", f"/collections/{COLLECTION}/points/query", body)
            times.append(time.perf_counter() - began)
        hits = [
            Hit(hit["score"], hit["payload"]["title"], hit["payload"]["summary"]) for hit in answer["points"]
        ]
        return hits, sorted(times)[REPEATS // 2]

    def curl(self, body: dict[str, Any]) -> str:
        """A shell command that sends a search."""
        url = f"{self._url}/collections/{COLLECTION}/points/query"
        key = ' -H "api-key: $NEARFIELD_API_KEY"' if self._has_key else ""
        content = shlex.quote(orjson.dumps(body).decode())
        header = f"-H 'content-type: application/json'{key}"
        return f"curl -s {url} \\\n  {header} \\\n  -d {content} \\\n  | python3 -m json.tool"

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._client.request(method, path, content=content)
        if not answer.is_success:
            raise NearfieldError(f"{method} {path}: HTTP {answer.status_code} {answer.text[:300]}")
        return orjson.loads(answer.content)["result"]


def payload(document: Document) -> dict[str, str]:
    """What is stored with a document's vector."""
    return {
        "title": document.title,
        "module": document.module,
        "kind": document.kind,
        "summary": document.summary,
        "text": document.text,
    }
