"""Answers as JSON bytes: one encoder call, payloads passed through as the bytes they are stored in."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import orjson
from numpy.typing import NDArray

from nearfield.engine.point import id_to_json
from nearfield.engine.query import Record, ScoredPoint
from nearfield.engine.schema import UNNAMED

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_EMPTY_PAYLOAD: dict[str, Any] = {}


def success(result: Any, started: float) -> bytes:
    """The envelope of a successful answer.

    Args:
        result: JSON-serialisable; numpy arrays and `orjson.Fragment` included.
        started: `perf_counter()` when the request came.
    """
    return orjson.dumps({"result": result, "status": "ok", "time": perf_counter() - started}, option=_OPTIONS)


def failure(message: str, started: float) -> bytes:
    """The envelope of an error."""
    return orjson.dumps({"status": {"error": message}, "time": perf_counter() - started})


def _vectors(vectors: Mapping[str, NDArray[Any]]) -> Any:
    """One unnamed vector as a bare list, others by name."""
    if len(vectors) == 1 and UNNAMED in vectors:
        return vectors[UNNAMED]
    return vectors


def _add_parts(shown: dict[str, Any], record: Record, with_payload: bool) -> None:
    if with_payload:
        shown["payload"] = orjson.Fragment(record.payload) if record.payload is not None else _EMPTY_PAYLOAD
    if record.vectors is not None:
        shown["vector"] = _vectors(record.vectors)
    if record.order_value is not None:
        shown["order_value"] = record.order_value


def record_json(record: Record, with_payload: bool) -> dict[str, Any]:
    """A stored point as `retrieve` and `scroll` show it."""
    shown: dict[str, Any] = {"id": id_to_json(record.id)}
    _add_parts(shown, record, with_payload)
    return shown


def hits_json(hits: Sequence[ScoredPoint], with_payload: bool) -> list[dict[str, Any]]:
    """Hits of one search, nearest first."""
    answer: list[dict[str, Any]] = []
    for record, score in hits:
        # The encoder writes UUIDs in their canonical form.
        shown = {"id": record.id, "version": record.version, "score": score}
        if with_payload or record.vectors is not None or record.order_value is not None:
            _add_parts(shown, record, with_payload)
        answer.append(shown)
    return answer


def listed_json(records: Sequence[Record], with_payload: bool, score: float) -> list[dict[str, Any]]:
    """Points that were not compared with anything, in the form of hits of one and the same score."""
    return hits_json([ScoredPoint(record, score) for record in records], with_payload)
