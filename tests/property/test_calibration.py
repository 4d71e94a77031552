"""Laws of a calibration: searches widen with target and limit; no more is promised than was measured."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfield.engine.index.calibration import Calibration, K, standard_error

LADDER = (10, 16, 24, 48, 96, 200, 384)
TARGETS = st.floats(0.01, 0.999)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """Recalls that mostly grow, with sampling noise, over part of the ladder."""
    count = draw(st.integers(1, len(LADDER)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries = draw(st.integers(2, 300))
    ease = draw(st.floats(0.5, 20))
    found = {
        ef: rng.binomial(K, 1 - np.exp(-ease * ef / 100) * rng.random(), size=queries) / K
        for ef in LADDER[:count]
    }
    return Calibration.of("training_queries", found)


@given(calibrations(), TARGETS, TARGETS, st.integers(1, 1_000), st.integers(1, 1_000))
def test_more_is_never_narrower(
    measured: Calibration, target: float, other: float, k: int, limit: int
) -> None:
    low, high = sorted((target, other))
    few, many = sorted((k, limit))
    assert measured.width_for(low, k) <= measured.width_for(high, k)
    assert measured.width_for(target, few) <= measured.width_for(target, many)
    assert measured.width_for(target, k) >= k or k < K


@given(calibrations(), TARGETS)
def test_a_width_lies_between_those_that_bracket_the_target(measured: Calibration, target: float) -> None:
    ef = measured.width_for(target)
    assert isinstance(ef, int) and measured.widths[0] <= ef <= measured.widths[-1]
    if not measured.reaches(target):
        assert ef == measured.widths[-1]
        return
    at = next(at for at, each in enumerate(measured.assured) if each >= target)
    assert ef <= measured.widths[at]
    assert at == 0 or ef > measured.widths[at - 1]


@given(calibrations())
def test_what_is_assured_is_less_than_measured_and_asked_for_takes_no_wider_search(
    measured: Calibration,
) -> None:
    assert list(measured.assured) == sorted(measured.assured)
    best = np.maximum.accumulate(measured.recall)
    assert all(assured < mean for assured, mean in zip(measured.assured, best, strict=True) if mean > 0)
    for ef, assured in zip(measured.widths, measured.assured, strict=True):
        if assured > 0:
            assert measured.width_for(assured) <= ef


@given(calibrations())
def test_its_stored_form_is_all_of_it(measured: Calibration) -> None:
    assert Calibration.from_json(measured.to_json()) == measured


def test_between_two_widths_recall_follows_the_logarithm() -> None:
    measured = Calibration("mirrored_rows", 300, (10, 40, 160), (0.8, 0.9, 1.0), (0.0, 0.0, 0.0))
    assert [measured.width_for(target) for target in (0.5, 0.8, 0.85, 0.9, 0.95, 1.0)] == [
        10,
        10,
        20,
        40,
        80,
        160,
    ]
    assert measured.width_for(0.9, 80) == 80 + 2 * 30
    assert measured.width_for(0.9, 5) == 40


@pytest.mark.parametrize("missed", [0, 1, 30])
def test_the_error_covers_what_a_larger_sample_shows(missed: int) -> None:
    """A sample without a miss does not promise that there is none."""
    recalls = np.ones(300)
    recalls[:missed] = 0.9
    assert 0.2e-3 < standard_error(recalls) < 4e-3
    assert standard_error(np.tile(recalls, 4)) < standard_error(recalls)


def test_means_of_samples_fall_within_two_errors() -> None:
    rng = np.random.default_rng(3)
    ability = rng.beta(20, 1, size=20_000)
    population = rng.binomial(K, ability) / K
    means, errors = zip(
        *(
            (sample.mean(), standard_error(sample))
            for sample in (rng.choice(population, 300) for _ in range(400))
        ),
        strict=True,
    )
    inside = np.abs(np.array(means) - population.mean()) < 2 * np.array(errors)
    assert 0.93 < inside.mean() < 0.98


def test_errors_shrink_along_the_ladder_of_a_good_index() -> None:
    rng = np.random.default_rng(5)
    found = {ef: rng.binomial(K, 1 - 2.0 / ef, size=300) / K for ef in LADDER}
    measured = Calibration.of("training_queries", found)
    assert all(wide < narrow for narrow, wide in pairwise(measured.error))
