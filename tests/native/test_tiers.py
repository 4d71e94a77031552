"""Every instruction-set tier gives the baseline's distances, and the baseline gives numpy's."""

import os
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from tests.helpers.checkout import ROOT
from tests.native import tier_answers

Answers = Mapping[str, NDArray[np.float32]]


def run_python(isa: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "NEARFIELD_ISA": isa}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """What each available tier answers, computed in a process of its own."""
    found: dict[str, Answers] = {}
    for isa in _native.available_isas():
        out = tmp_path_factory.mktemp(isa) / "answers.npz"
        finished = run_python(isa, "-m", tier_answers.__name__, str(out))
        assert finished.returncode == 0, finished.stderr
        with np.load(out) as file:
            found[isa] = dict(file)
        assert found[isa]["isa"] == isa
    return found


def exact(queries: NDArray[np.float32], rows: NDArray[np.generic], metric: str) -> NDArray[np.float64]:
    wide_queries, wide_rows = queries.astype(np.float64)[:, None], rows.astype(np.float64)[None]
    if metric == "ip":
        return -(wide_queries * wide_rows).sum(axis=-1)
    difference = wide_queries - wide_rows
    return (difference**2 if metric == "l2" else np.abs(difference)).sum(axis=-1)


def terms(queries: NDArray[np.float32], rows: NDArray[np.generic], metric: str) -> NDArray[np.float64]:
    """Sum of the terms' sizes: rounding errors are proportional to it, not to the result."""
    return exact(np.abs(queries), -np.abs(rows.astype(np.float64)), metric)


def assert_close(
    found: NDArray[np.float32], expected: NDArray[np.float32],
    scale: NDArray[np.float64], dims: int, what: str,
) -> None:  # fmt: skip
    """Within the rounding error of summing `dims` terms of that scale in any order."""
    finite = np.isfinite(expected) & (np.abs(scale) < 3e38)
    allowed = (dims + 8) * 2.0**-24 * np.abs(scale) + 1e-37
    assert (np.abs(found - expected.astype(np.float64))[finite] <= allowed[finite]).all(), what


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_baseline_agrees_with_numpy(answers: dict[str, Answers]) -> None:
    baseline = answers["baseline"]
    for name, queries, rows in tier_answers.cases():
        for metric in tier_answers.METRICS:
            expected = exact(queries, rows[::-1], metric)
            found = baseline[f"{name}-{metric}"]
            with np.errstate(all="ignore"):
                single = expected.astype(np.float32)
            assert (np.isnan(found) == np.isnan(single)).all(), (name, metric)
            assert np.allclose(found, single, rtol=3e-7, atol=1e-44, equal_nan=True), (name, metric)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
@pytest.mark.parametrize("isa", [isa for isa in _native.available_isas() if isa != "baseline"])
def test_tier_agrees_with_baseline(answers: dict[str, Answers], isa: str) -> None:
    for name, queries, rows in tier_answers.cases():
        for metric in tier_answers.METRICS:
            key = f"{name}-{metric}"
            found, expected = answers[isa][key], answers["baseline"][key]
            dims = rows.shape[1]
            scale = terms(queries, rows[::-1], metric)
            assert_close(found, expected, scale, dims, f"{isa} {key}")
            hostile = ~np.isfinite(expected)
            if "largest" not in name and "huge" not in name:
                assert np.array_equal(found[hostile], expected[hostile], equal_nan=True), f"{isa} {key}"


@pytest.mark.parametrize("isa", [isa for isa in _native.available_isas() if isa != "baseline"])
def test_codes_are_the_baselines(answers: dict[str, Answers], isa: str) -> None:
    for name, _, _ in tier_answers.cases():
        key = f"{name}-codes"
        assert np.array_equal(answers[isa][key], answers["baseline"][key]), f"{isa} {key}"


@pytest.mark.parametrize("isa", _native.available_isas())
def test_isa_can_be_forced(isa: str) -> None:
    finished = run_python(isa, "-c", "from nearfield.engine import _native; print(_native.isa())")
    assert finished.stdout.strip() == isa


def test_unknown_isa_is_refused() -> None:
    finished = run_python("mmx", "-c", "from nearfield.engine import _native")
    assert finished.returncode == 1
    assert "ImportError" in finished.stderr
    available = ", ".join(_native.available_isas())
    assert f"expected one of {available} on this machine, got 'mmx'" in finished.stderr
