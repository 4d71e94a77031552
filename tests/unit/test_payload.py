"""Payloads survive storage as they are, change as the reference says, and bad ones are refused."""

from copy import deepcopy
from random import Random
from typing import Any

import orjson
import pytest
from qdrant_client.local.json_path_parser import parse_json_path
from qdrant_client.local.payload_value_extractor import exclude_payload, include_payload
from qdrant_client.local.payload_value_setter import delete_value_by_key, merge_payload, set_value_by_key

from nearfield.engine import limits, payload
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.query import PayloadSelector
from tests.helpers.random_filters import random_key, random_payload


def test_round_trip() -> None:
    whole = {
        "big": [2**63 - 1, -(2**63), 2**64 - 1],
        "float": [0.1, 1.0, 1e-300, -0.0],
        "text": 'naïve 文字 🙂 \u0000 "quoted"',
        "nested": {"": None, "a.b": [True, False, [], {}]},
    }
    again = payload.decode(payload.encode(whole))
    assert again == whole
    assert [type(value) for value in again["float"]] == [float] * 4
    payload.check_encoded(payload.encode(whole))
    assert payload.decode(None) == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "must be a JSON object, got an array"),
        (None, "got null"),
        ("x", "got a string"),
        (5, "got a number"),
        ({"a": float("nan")}, "must be finite, got nan"),
        ({"a": [{"b": float("-inf")}]}, "must be finite, got -inf"),
        ({"a": 2**64}, "64-bit"),
        ({1: 2}, "key must be str"),
        ({"a": "\ud800"}, "surrogates"),
        ({"a": object()}, "not JSON serializable"),
    ],
)
def test_refused(value: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        payload.encode(value, "points[3].payload")
    assert caught.value.path == "points[3].payload"


@pytest.mark.parametrize("text", [b"[1]", b'{"a": NaN}', b'{"a": 1', b"", b'{"a": "\xff"}', b'{"a": 1e999}'])
def test_refused_text(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        payload.check_encoded(text)


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_limits() -> None:
    payload.check_encoded(payload.encode(_nested(limits.PAYLOAD_DEPTH_MAX)))
    payload.encode({"shallow": [{}] * 1000})
    with pytest.raises(InvalidRequest, match="levels deep"):
        payload.encode(_nested(limits.PAYLOAD_DEPTH_MAX + 1))
    with pytest.raises(InvalidRequest, match="levels deep"):
        payload.check_encoded(orjson.dumps(_nested(limits.PAYLOAD_DEPTH_MAX + 1)))
    with pytest.raises(InvalidRequest, match="cannot be written"):
        payload.encode(_nested(5000))
    with pytest.raises(InvalidRequest, match="at most"):
        payload.encode({"a": "x" * limits.PAYLOAD_BYTES_MAX})


def test_merge_and_delete_agree_with_the_reference() -> None:
    rng = Random(3)
    for _ in range(5000):
        before, patch, key = random_payload(rng), random_payload(rng, depth=1), random_key(rng)
        ours, theirs = deepcopy(before), deepcopy(before)
        payload.merge(ours, deepcopy(patch), key)
        set_value_by_key(theirs, parse_json_path(key), deepcopy(patch))
        assert ours == theirs, (before, patch, key)

        ours, theirs = deepcopy(before), deepcopy(before)
        payload.merge(ours, patch)
        assert ours == merge_payload(theirs, patch)

        ours, theirs = deepcopy(before), deepcopy(before)
        payload.delete_keys(ours, [key, "a"])
        for one in (key, "a"):
            delete_value_by_key(theirs, parse_json_path(one))
        assert ours == theirs, (before, key)


def test_select_agrees_with_the_reference() -> None:
    rng = Random(4)
    for _ in range(5000):
        whole, keys = random_payload(rng), [random_key(rng) for _ in range(rng.randrange(3))]
        data = payload.encode(whole)
        included = payload.select(data, PayloadSelector(enabled=True, include=keys))
        assert payload.decode(included) == include_payload(whole, keys), (whole, keys)
        excluded = payload.select(data, PayloadSelector(enabled=True, exclude=keys))
        assert payload.decode(excluded) == exclude_payload(whole, keys), (whole, keys)


def test_select_all_and_none() -> None:
    assert payload.select(b'{"a":1}', PayloadSelector(enabled=False)) is None
    assert payload.select(b'{"a":1}', PayloadSelector(enabled=True)) == b'{"a":1}'
    assert payload.select(None, PayloadSelector(enabled=True)) == b"{}"
    assert payload.select(b'{"a":1}', PayloadSelector(enabled=True, include=[])) == b"{}"


def test_keys_that_are_no_paths_are_refused() -> None:
    for key in ("", "a.", "a[x]", '"a'):
        with pytest.raises(InvalidRequest, match="payload key"):
            payload.merge({}, {}, key)
        with pytest.raises(InvalidRequest, match="payload key"):
            payload.delete_keys({}, [key])
        with pytest.raises(InvalidRequest, match="payload key"):
            payload.select(b"{}", PayloadSelector(enabled=True, include=[key]))
