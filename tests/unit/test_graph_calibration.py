"""Graphs know the recall they give: measured when they are built, kept when saved, used when asked for."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders import Index, build_index, open_index
from tests.conformance import cases

ROWS, DIMENSIONS = 3_000, 32


@functools.cache
def points(dtype: str = "float32") -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Rows and queries of one mixture, hard enough that narrow searches miss some."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(60, DIMENSIONS))
    drawn = centres[rng.integers(60, size=ROWS + 600)] + 0.9 * rng.normal(size=(ROWS + 600, DIMENSIONS))
    rows = drawn[:ROWS] * 20 + 128 if dtype == "uint8" else drawn[:ROWS]
    return np.clip(rows, -500, 255).astype(dtype), drawn[ROWS:].astype(np.float32)


@functools.cache
def built(kind: str, metric: str, trained: bool = False) -> Index:
    rows, queries = points()
    return build_index(
        rows,
        metric=metric,
        kind=kind,
        params={"degree": 12},
        training_queries=queries[:300] if trained else None,
    )


def recall(index: Index, k: int, **knobs: float) -> float:
    rows, queries = points()
    truth, _ = build_index(rows, metric=index.metric, kind="flat").search(queries[300:], k, threads=2)
    found, _ = index.search(queries[300:], k, **knobs)
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found, truth, strict=True)]))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("kind", ["graph", "lvq", "leanvec"])
def test_every_graph_gives_what_is_asked_for(kind: str, metric: str, trained: bool) -> None:
    index = built(kind, metric, trained)
    measured = index.calibration
    assert measured is not None and measured.queries == 300
    assert measured.sample == ("training_queries" if trained else "mirrored_rows")
    assert 0.3 < measured.recall[0] < 0.97, "the narrowest search misses some"
    for target in (0.9, 0.98):
        assert measured.reaches(target)
        assert target - 0.02 <= recall(index, 10, target_recall=target)
    assert measured.width_for(0.9) < measured.width_for(0.98)
    assert recall(index, 50, target_recall=0.9) >= 0.88


def test_a_search_that_says_nothing_gets_the_target_of_the_build() -> None:
    rows, queries = points()
    index = built("leanvec", "l2")
    assert index.calibration is not None
    for params, same in (
        ({}, {"target_recall": 0.97}),
        ({"target_recall": 0.9}, {"target_recall": 0.9}),
        ({"ef": 77}, {"ef": 77}),
    ):
        one = build_index(rows, metric="l2", kind="leanvec", params={"degree": 12, **params})
        np.testing.assert_array_equal(one.search(queries)[0], index.search(queries, **same)[0])


def test_it_does_not_depend_on_threads_and_survives_saving(tmp_path: Path) -> None:
    rows, queries = points()
    one, two = (
        build_index(rows, metric="ip", kind="leanvec", threads=threads, seed=9, params={"degree": 12})
        for threads in (1, 2)
    )
    assert one.calibration == two.calibration is not None
    one.save(tmp_path / "index")
    opened = open_index(tmp_path / "index")
    assert opened.calibration == one.calibration
    for target in (0.9, 0.99):
        np.testing.assert_array_equal(
            opened.search(queries, target_recall=target)[0], one.search(queries, target_recall=target)[0]
        )


def test_an_extended_graph_is_measured_again() -> None:
    rows, _ = points()
    builder = cases.REGISTRY.builder("leanvec")
    params = builder.parse_params({"degree": 12})
    before = builder.build(rows[:2_500], "l2", params, BuildContext(threads=2))
    origin = np.where(np.arange(ROWS) < 2_500, np.arange(ROWS), -1)
    after = builder.extend(before, origin, rows, "l2", params, BuildContext(threads=2))
    assert after.calibration is not None and after.calibration != before.calibration


@pytest.mark.parametrize("kind, params", [("leanvec", {"calibrate": False}), ("hnsw", {}), ("ivf", {})])
def test_what_was_not_measured_is_not_promised(kind: str, params: dict[str, Any]) -> None:
    rows, queries = points()
    index = build_index(rows, metric="l2", kind=kind, params=params)
    assert index.calibration is None
    with pytest.raises(InvalidRequest, match=f"this one of kind `{kind}` was not") as caught:
        index.search(queries, target_recall=0.9)
    assert caught.value.path == "params.target_recall"
    assert index.search(queries)[0].shape == (600, 10)


def test_everything_is_found_where_everything_is_asked_for() -> None:
    rows, queries = points()
    exact = build_index(rows, metric="l2", kind="flat")
    truth = exact.search(queries, target_recall=1)[0]
    np.testing.assert_array_equal(truth, built("leanvec", "l2").search(queries, target_recall=1.0)[0])
    few = build_index(rows[:900], metric="l2", kind="leanvec")
    assert few.calibration is None, "a scan of so few is fast enough"
    np.testing.assert_array_equal(
        few.search(queries, target_recall=0.5)[0],
        build_index(rows[:900], metric="l2", kind="flat").search(queries)[0],
    )
    same = build_index(np.ones((1_500, 8), dtype=np.float32), metric="l2", kind="leanvec")
    assert same.search(np.ones(8), target_recall=0.9)[0].tolist() == [list(range(10))]


@pytest.mark.parametrize("kind", ["flat", "graph", "hnsw", "ivf", "leanvec", "lvq"])
@pytest.mark.parametrize("wrong", [0, -0.5, 1.01, "0.9", True, float("nan")])
def test_targets_are_shares(kind: str, wrong: Any) -> None:
    _, queries = points()
    index = _plain(kind)
    with pytest.raises(InvalidRequest, match="target_recall must be a number above 0 and at most 1"):
        index.search(queries[:2], target_recall=wrong)


@functools.cache
def _plain(kind: str) -> Index:
    return build_index(points()[0][:1_200], metric="l2", kind=kind)


@pytest.mark.parametrize("other", ["ef", "nprobe"])
def test_a_target_and_a_width_exclude_each_other(other: str) -> None:
    with pytest.raises(InvalidRequest, match=f"one of target_recall and {other}, got both"):
        built("leanvec", "l2").search(points()[1], target_recall=0.9, **{other: 30})


def test_bytes_are_calibrated_like_floats() -> None:
    rows, _ = points("uint8")
    measured = build_index(rows, metric="l2", kind="leanvec", params={"degree": 12}).calibration
    assert measured is not None and measured.reaches(0.95)
