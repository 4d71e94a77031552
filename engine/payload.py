"""Payloads: JSON objects, kept as UTF-8 bytes; checked when they enter, changed and reduced as objects."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.payload_path import Path, Step, parse_path
from nearfield.engine.query import PayloadSelector

_Tree = dict[Step, Any]
"""Selector keys as a prefix tree; True as a subtree selects everything below."""


def encode(payload: object, path: str = "payload") -> bytes:
    """A payload as the UTF-8 JSON bytes that are stored.

    Raises:
        InvalidRequest: not an object, not JSON (NaN, infinities, non-string keys, integers beyond 64 bits),
            deeper than PAYLOAD_DEPTH_MAX or larger than PAYLOAD_BYTES_MAX.
    """
    if not isinstance(payload, dict):
        raise InvalidRequest(f"payload must be a JSON object, got {_kind(payload)}", path)
    try:
        data = orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(f"payload cannot be written as JSON: {error}", path) from None
    # orjson writes NaN and infinities as null, so only a null in the text makes the walk for them necessary.
    _check(payload, data, path, look_for_nan=b"null" in data)
    return data


def check_encoded(data: bytes, path: str = "payload") -> None:
    """Check a payload that came as JSON text.

    Raises:
        InvalidRequest: as `encode`; broken JSON included.
    """
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"payload is not valid JSON: {error}", path) from None
    if not isinstance(payload, dict):
        raise InvalidRequest(f"payload must be a JSON object, got {_kind(payload)}", path)
    _check(payload, data, path, look_for_nan=False)


def decode(data: bytes | None) -> dict[str, Any]:
    """The object behind stored bytes; empty for None."""
    payload: dict[str, Any] = orjson.loads(data) if data else {}
    return payload


def merge(payload: dict[str, Any], patch: Mapping[str, Any], key: str | None = None) -> None:
    """Set the patch's keys in the payload, in place, or in the objects at `key`; a null removes its key.

    What stands in the way of `key` and is no object is replaced by one; an index past the end does nothing.
    Nested values may afterwards be shared between payload and patch.

    Raises:
        InvalidRequest: `key` is not a path.
    """
    _merge_at(payload, parse_path(key) if key is not None else (), patch)


def delete_keys(payload: dict[str, Any], keys: Iterable[str]) -> None:
    """Delete what the keys lead to, in place; `a[]` empties an array, an index at the end does nothing.

    Raises:
        InvalidRequest: a key is not a path.
    """
    for path in [parse_path(key) for key in keys]:
        _delete_at(payload, path)


def select(data: bytes | None, selector: PayloadSelector) -> bytes | None:
    """The part of stored payload bytes that a selector asks for; None when it asks for none.

    Raises:
        InvalidRequest: a key of the selector is not a path.
    """
    if not selector.enabled:
        return None
    if selector.include is not None:
        return orjson.dumps(_include(decode(data), _selector_tree(tuple(selector.include))))
    if selector.exclude:
        return orjson.dumps(_exclude(decode(data), _selector_tree(tuple(selector.exclude))))
    return data or b"{}"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def _check(payload: dict[str, Any], data: bytes, path: str, *, look_for_nan: bool) -> None:
    if len(data) > limits.PAYLOAD_BYTES_MAX:
        raise InvalidRequest(
            f"payload must be at most {limits.PAYLOAD_BYTES_MAX} bytes of JSON, got {len(data)}", path
        )
    # The brackets of the text bound the depth, so most payloads need no walk.
    if look_for_nan or data.count(b"{") + data.count(b"[") > limits.PAYLOAD_DEPTH_MAX:
        _walk(payload, path)


def _walk(payload: dict[str, Any], path: str) -> None:
    level: list[Any] = [payload]
    depth = 0
    while level:
        depth += 1
        if depth > limits.PAYLOAD_DEPTH_MAX:
            raise InvalidRequest(f"payload must nest at most {limits.PAYLOAD_DEPTH_MAX} levels deep", path)
        below: list[Any] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, dict | list | tuple):
                    below.append(value)
                elif isinstance(value, float) and not math.isfinite(value):
                    raise InvalidRequest(f"payload numbers must be finite, got {value}", path)
        level = below


def _merge_at(value: Any, path: Path, patch: Mapping[str, Any]) -> Any:
    """What `value` becomes; objects and arrays are changed in place."""
    if not path:
        target = value if isinstance(value, dict) else {}
        for key, new in patch.items():
            if new is None:
                target.pop(key, None)
            else:
                target[key] = new
        return target
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        target = value if isinstance(value, dict) else {}
        target[step] = _merge_at(target.get(step, {}), rest, patch)
        return target
    if not isinstance(value, list):
        return []
    for index in range(len(value)) if step is None else (step,):
        if index < len(value):
            value[index] = _merge_at(value[index], rest, patch)
    return value


def _delete_at(value: Any, path: Path) -> None:
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if isinstance(value, dict) and step in value:
            if rest:
                _delete_at(value[step], rest)
            else:
                del value[step]
    elif isinstance(value, list):
        if rest:
            for element in value if step is None else value[step : step + 1]:
                _delete_at(element, rest)
        elif step is None:
            value.clear()


@lru_cache(maxsize=128)
def _selector_tree(keys: Sequence[str]) -> _Tree:
    tree: _Tree = {}
    for key in keys:
        *parents, last = parse_path(key)
        node: Any = tree
        for step in parents:
            node = node.setdefault(step, {})
            if node is True:
                break
        else:
            node[last] = True
    return tree


def _include(value: Any, tree: _Tree) -> Any:
    if isinstance(value, dict):
        return {
            key: item if tree[key] is True else _include(item, tree[key])
            for key, item in value.items()
            if key in tree
        }
    if isinstance(value, list):
        # As the wire format has it: only `[]` reaches elements, an index selects nothing.
        if None not in tree:
            return []
        return value if tree[None] is True else [_include(item, tree[None]) for item in value]
    return value


def _exclude(value: Any, tree: _Tree) -> Any:
    if isinstance(value, dict):
        return {
            key: _exclude(item, tree[key]) if key in tree else item
            for key, item in value.items()
            if tree.get(key) is not True
        }
    if isinstance(value, list) and None in tree:
        return [] if tree[None] is True else [_exclude(item, tree[None]) for item in value]
    return value
