"""The `auto` policy: which index it takes, and that a memory budget is kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.index.registry import discover
from nearfield.engine.index.wanted import resolve_index
from nearfield.engine.schema import Distance, VectorSpec
from nearfield.index_builders import build_index, open_index

REGISTRY = discover()
ROWS = limits.INDEX_ROWS_MIN
GIB = 2**30


def chosen(params: dict[str, Any], count: int | None = 100_000, dimensions: int = 768) -> dict[str, Any]:
    spec = REGISTRY.resolve({"kind": "auto", "params": params}, count, dimensions, "l2")
    assert spec.kind == "leanvec"
    return dict(spec.params)


def test_profiles() -> None:
    plain = chosen({})
    assert chosen({"profile": "default"}) == plain and plain["degree"] == 32
    fast = chosen({"profile": "speed"})
    assert fast == {**plain, "degree": 64, "candidates": 128}
    small = chosen({"profile": "compact"})
    assert (small["degree"], small["reduced_dimensions_max"]) == (16, 240)
    assert chosen({"profile": "compact", "degree": 20})["degree"] == 20
    assert chosen({"profile": "compact"}, dimensions=100)["reduced_dimensions_max"] == 112


def test_a_budget_takes_the_largest_that_fits() -> None:
    assert chosen({"memory_budget_bytes": GIB}) == chosen({})
    assert chosen({"memory_budget_bytes": GIB, "target_recall": 0.99})["degree"] == 64
    assert chosen({"memory_budget_bytes": GIB, "target_recall": 0.99, "profile": "default"})["degree"] == 32
    assert chosen({"memory_budget_bytes": GIB, "target_recall": 0.99, "degree": 40})["degree"] == 40
    taken = [chosen({"memory_budget_bytes": budget}) for budget in range(62_000_000, 15_000_000, -1_000_000)]
    sizes = [(params["degree"], params["reduced_dimensions_max"] or 768) for params in taken]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == (32, 768) and sizes[-1] == (16, 112)
    assert {degree for degree, _ in sizes} == {32, 24, 16} and len(set(sizes)) >= 8


def test_budgets_that_hold_nothing() -> None:
    with pytest.raises(
        Unprocessable, match="for an index of 100000 rows of 768 dimensions, got 1000"
    ) as found:
        chosen({"memory_budget_bytes": 1_000})
    assert found.value.path == "params.memory_budget_bytes"
    least = int(str(found.value).split("at least ")[1].split()[0])
    assert chosen({"memory_budget_bytes": least})["degree"] == 16
    with pytest.raises(Unprocessable, match=f"at least {least} "):
        chosen({"memory_budget_bytes": least - 1})
    with pytest.raises(Unprocessable, match=r"at least .* got"):
        chosen({"memory_budget_bytes": least, "profile": "default"})
    with pytest.raises(Unprocessable, match=f"index of {ROWS} rows"):
        chosen({"memory_budget_bytes": 1_000}, None)
    with pytest.raises(InvalidRequest, match="profile must be one of compact, default, speed, null"):
        chosen({"profile": "fast"})
    with pytest.raises(InvalidRequest, match="memory_budget_bytes must be an integer"):
        chosen({"memory_budget_bytes": 0})
    flat = REGISTRY.resolve({"kind": "auto", "params": {"memory_budget_bytes": 1}}, ROWS - 1, 768, "l2")
    assert flat.kind == "flat"


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    """No direction is less important than another, so every width that is allowed is taken."""
    return np.random.default_rng(0).normal(size=(ROWS, 200)).astype(np.float32)


@pytest.mark.parametrize(
    "row_bytes, metric", [(160, "l2"), (215, "l2"), (250, "cosine"), (290, "ip"), (420, "l2")]
)
def test_the_index_keeps_to_its_budget(
    row_bytes: int, metric: str, rows: NDArray[np.float32], tmp_path: Path
) -> None:
    budget = row_bytes * ROWS + 3 * 200 * 200
    options: dict[str, Any] = {"target_recall": 0.99} if row_bytes == 420 else {}
    params = {"memory_budget_bytes": budget, "candidates": 32, "calibrate": False, **options}
    index = build_index(rows, metric=metric, params=params)
    assert 0.7 * budget <= index.resident_bytes() <= budget
    ids, _ = index.search(rows[:50], k=1, ef=400)
    assert (ids[:, 0] == np.arange(50)).mean() >= 0.9
    index.save(tmp_path / "saved")
    opened = open_index(tmp_path / "saved")
    assert opened.spec == index.spec and opened.resident_bytes() == index.resident_bytes()
    np.testing.assert_array_equal(
        opened.search(rows[:50], k=10, ef=100)[0], index.search(rows[:50], k=10, ef=100)[0]
    )


def test_a_segment_that_outgrows_its_budget_is_scanned() -> None:
    vector = VectorSpec(
        size=768, distance=Distance.EUCLID, index={"params": {"memory_budget_bytes": 4_000_000}}
    )
    assert resolve_index(REGISTRY, vector, None) == resolve_index(REGISTRY, vector, ROWS)
    assert resolve_index(REGISTRY, vector, 10 * ROWS) is None
    with pytest.raises(Unprocessable, match="memory_budget_bytes must be at least"):
        resolve_index(REGISTRY, replace(vector, index={"params": {"memory_budget_bytes": 1_000}}), None)
