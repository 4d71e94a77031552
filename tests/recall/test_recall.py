"""Recall stays what was pinned: a fall is a regression, a rise has to be understood and pinned again."""

import json

import pytest

from tests.recall import measure

PINNED = json.loads(measure.PINNED.read_text())
DEFAULT_FLOOR = 0.96


@pytest.mark.parametrize("name, kind, knobs", measure.CASES)
def test_recall_is_as_pinned(name: str, kind: str, knobs: dict[str, int]) -> None:
    measured = measure.measure(name, kind, knobs)
    assert measured == pytest.approx(PINNED[measure.key(name, kind, knobs)], abs=measure.TOLERANCE)
    if not knobs:
        assert measured >= DEFAULT_FLOOR


@pytest.mark.parametrize("family, kind", measure.FILTER_CASES)
def test_filtered_recall_is_as_pinned(family: str, kind: str) -> None:
    measured = measure.measure_filtered(family, kind)
    pinned = PINNED[measure.key("arxiv-minilm-384-ip", kind, family)]
    assert measured == pytest.approx(pinned, abs=measure.TOLERANCE)
    assert measured >= DEFAULT_FLOOR


def test_every_kind_and_no_other_is_pinned() -> None:
    keys = {measure.key(*case) for case in measure.CASES}
    keys |= {measure.key("arxiv-minilm-384-ip", kind, family) for family, kind in measure.FILTER_CASES}
    assert set(PINNED) == keys
    assert set(measure.KNOBS) == set(measure.REGISTRY.kinds())
