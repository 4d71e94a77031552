"""Our evaluator and the reference client's local mode give the same answer for any payload and filter."""

from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qdrant_client.http import models
from qdrant_client.local import datetime_utils, order_by, payload_filters
from qdrant_client.local.json_path_parser import parse_json_path
from qdrant_client.local.payload_value_extractor import value_by_key

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter.datetime_value import parse_microseconds
from nearfield.engine.filter.evaluate import matches
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.payload_path import flat_values_at, parse_path, values_at
from tests.helpers.random_filters import RandomFilters, random_key, random_payload

UUID_TEXT = "550e8400-e29b-41d4-a716-446655440000"
IDS = [1, 2, UUID_TEXT, UUID_TEXT.replace("-", "").upper()]
NAMES = ["", "image", "text"]


@pytest.mark.parametrize("seed", range(20))
def test_matches_agrees(seed: int) -> None:
    rng = Random(seed)
    generator = RandomFilters(rng, IDS, NAMES)
    payloads = [random_payload(rng) for _ in range(60)]
    agreed = {True: 0, False: 0}
    for _ in range(60):
        json = generator.filter()
        ours, theirs = parse_filter(json), models.Filter.model_validate(json)
        for payload in payloads:
            point_id = rng.choice([1, 3, UUID_TEXT])
            names = rng.sample(NAMES, rng.randrange(3))
            parsed_id = UUID(point_id) if isinstance(point_id, str) else point_id
            answer = matches(ours, payload, parsed_id, names)
            expected = payload_filters.check_filter(theirs, payload, point_id, dict.fromkeys(names, True))
            assert answer == expected, (json, payload, point_id, names)
            agreed[answer] += 1
    assert min(agreed.values()) > 300, "the filters hardly tell payloads apart"


def test_values_agree() -> None:
    rng = Random(0)
    for _ in range(5000):
        payload, key = random_payload(rng), random_key(rng)
        assert values_at(payload, parse_path(key)) == (value_by_key(payload, key, flat=False) or [])
        assert flat_values_at(payload, parse_path(key)) == (value_by_key(payload, key) or [])


@settings(max_examples=300)
@given(st.text(st.sampled_from('ab_-.[]0"é '), max_size=8))
@example("a..b")
@example('"a.b"[].c[3]')
@example("a[x]")
def test_the_same_keys_are_paths(key: str) -> None:
    try:
        expected = [item.key if item.key is not None else item.index for item in parse_json_path(key)]
    except ValueError:
        with pytest.raises(InvalidRequest):
            parse_path(key)
    else:
        assert list(parse_path(key)) == expected


FORMS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]
TAILS = ["", "", "789", "."]
OFFSETS = ["", "", "Z", "z", " UTC", "UTC", "+02:00", " -0330", "+05", "+25:00", "+5"]


@settings(max_examples=500)
@given(
    st.sampled_from(["", "", " "]),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.sampled_from(FORMS),
    st.sampled_from(TAILS),
    st.sampled_from(OFFSETS),
)
def test_the_same_texts_are_datetimes(lead: str, moment: datetime, form: str, tail: str, offset: str) -> None:
    _assert_same_datetime(lead + moment.strftime(form) + tail + offset)


@pytest.mark.parametrize(
    "text",
    [
        "2024-06-15T12",
        "0000-01-01",
        "2024-02-30T00:00:00Z",
        "2024-06-15T12:30:60Z",
        "2024-6-5 1:2",
        "x",
        "1e5",
        "",
    ],
)
def test_odd_texts_are_datetimes_or_not(text: str) -> None:
    _assert_same_datetime(text)


def _assert_same_datetime(text: str) -> None:
    expected = datetime_utils.parse(text)
    assert parse_microseconds(text) == (
        None if expected is None else order_by.datetime_to_microseconds(expected.astimezone(UTC))
    )
