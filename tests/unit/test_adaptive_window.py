"""Windows by query: what is learned from training queries, and what searches make of it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.segment import bitmap
from nearfield.index_builders.graph.adaptive_window import PROBE, AdaptiveWindow
from nearfield.index_builders.graph.builder import leanvec_builder
from nearfield.index_builders.graph.costs import Plan
from nearfield.index_builders.graph.index import GraphIndex

D, K, ROWS = 64, 10, 6_000
QUERIES = 1_000
PARAMS = {"degree": 12, "candidates": 32, "reduced_dimensions": 48}


def told(count: int = QUERIES, slope: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances at the ranks, and what was missed: more, the further the nearest is."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=count)
    distances = -20 + np.stack([first, first + 2 + rng.random(count), first + 4 + rng.random(count)], axis=1)
    return distances, rng.poisson(0.5 * np.exp(slope * first)).astype(np.float64)


def windows(adaptive: AdaptiveWindow, distances: NDArray[np.float64], k: int, ef: int) -> NDArray[np.int64]:
    native = adaptive.native(k, ef)
    assert native is not None
    return np.array([native.width((a, b, c)) for a, b, c in distances.tolist()])


def learned(distances: NDArray[np.float64], missed: NDArray[np.float64]) -> AdaptiveWindow:
    adaptive = AdaptiveWindow.learn(distances, missed)
    assert adaptive is not None
    return adaptive


@pytest.mark.parametrize("ef", [16, 32, 100, 400])
def test_hard_queries_get_more_and_all_together_cost_the_same(ef: int) -> None:
    distances, missed = told()
    found = windows(learned(distances, missed), distances, K, ef)
    assert found.min() >= max(PROBE, ef // 2) and found.max() <= 2 * ef
    assert np.corrcoef(found, distances[:, 0])[0, 1] > 0.8
    assert np.mean(found.astype(np.float64) ** 3) ** (1 / 3) == pytest.approx(ef, rel=0.03)
    assert found.mean() < ef


def test_what_is_hard_is_learned_and_not_assumed() -> None:
    distances, missed = told(slope=-1.0)
    found = windows(learned(distances, missed), distances, K, 64)
    assert np.corrcoef(found, distances[:, 0])[0, 1] < -0.8


def test_windows_depend_on_the_direction_of_a_query_alone() -> None:
    native = learned(*told()).native(K, 64)
    assert native is not None
    assert native.width((-60.0, -54.0, -48.0), 3.0) == native.width((-20.0, -18.0, -16.0))
    # A query of no length has no direction.
    assert native.width((0.0, 0.0, 0.0), 0.0) == 32


def test_windows_hold_what_is_asked_for() -> None:
    adaptive = learned(*told())
    assert windows(adaptive, told()[0], 40, 64).min() >= 48
    assert adaptive.native(60, 64) is None
    assert adaptive.native(10, PROBE) is None


@pytest.mark.parametrize("missed", [np.zeros(QUERIES), np.r_[np.ones(40), np.zeros(QUERIES - 40)]])
def test_too_few_misses_tell_nothing(missed: NDArray[np.float64]) -> None:
    assert AdaptiveWindow.learn(told()[0], missed) is None


def test_distances_that_are_all_equal_or_no_numbers_tell_nothing() -> None:
    distances, missed = told()
    assert AdaptiveWindow.learn(np.zeros_like(distances), missed) is None
    distances[0, 1] = np.inf
    assert AdaptiveWindow.learn(distances, missed) is None


def test_stored_windows_are_the_same() -> None:
    adaptive = learned(*told())
    again = AdaptiveWindow.from_json(adaptive.to_json())
    assert again.weights == adaptive.weights
    np.testing.assert_array_equal(again.quantiles, adaptive.quantiles)


def rows_and_queries() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows around 40 centres, and queries more or less far from some of them."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(40, D))
    rows = centres[rng.integers(40, size=ROWS)] + rng.normal(size=(ROWS, D))
    noise = rng.uniform(0.2, 3.0, size=(QUERIES, 1)) * rng.normal(size=(QUERIES, D))
    return rows.astype(np.float32), (rows[rng.integers(ROWS, size=QUERIES)] + noise).astype(np.float32)


def built(metric: str, threads: int = 1, scale: float = 1.0) -> tuple[GraphIndex, NDArray[np.float32]]:
    rows, queries = rows_and_queries()
    builder = leanvec_builder()
    params = builder.parse_params(PARAMS)
    context = BuildContext(threads=threads, training_queries=scale * queries[:700])
    return builder.build(rows, metric, params, context), queries[700:]


def asked(index: GraphIndex, queries: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
    return index.search(queries, K, {"ef": ef}).rows


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_an_index_adapts_to_its_training_queries(metric: str, tmp_path: Path) -> None:
    index, queries = built(metric)
    assert index.adaptive is not None
    every = bitmap.full(ROWS)
    for ef in (10, 16, 40):
        found = asked(index, queries, ef)
        np.testing.assert_array_equal(index.search_as(Plan.WALK, queries, K, ef, every).rows, found)
        one = np.concatenate([asked(index, queries[i : i + 1], ef) for i in range(50)])
        np.testing.assert_array_equal(one, found[:50])
    assert (asked(index.adapted(None), queries, 10) == asked(index, queries, 10)).all()
    assert (asked(index.adapted(None), queries, 16) != asked(index, queries, 16)).any()
    # With rows left out the windows of all are wider instead, and find as much.
    half = bitmap.from_bools(np.arange(ROWS) % 2 == 0)
    wider, fixed = (each.search_as(Plan.WALK, queries, K, 16, half) for each in (index, index.adapted(None)))
    answered = np.isfinite(wider.distances + fixed.distances).all(axis=1)
    assert answered.mean() > 0.8
    assert wider.distances[answered].mean() < fixed.distances[answered].mean()
    index.save(tmp_path)
    builder = leanvec_builder()
    again = builder.open(tmp_path, rows_and_queries()[0], metric, builder.parse_params(PARAMS))
    np.testing.assert_array_equal(asked(again, queries, 16), asked(index, queries, 16))


def test_windows_do_not_depend_on_threads_nor_on_the_length_of_queries() -> None:
    plain, on_two, longer = built("ip")[0], built("ip", 2)[0], built("ip", scale=5.0)[0]
    assert plain.adaptive is not None and on_two.adaptive is not None and longer.adaptive is not None
    assert plain.adaptive.to_json() == on_two.adaptive.to_json()
    np.testing.assert_allclose(longer.adaptive.weights, plain.adaptive.weights, rtol=0.02)
