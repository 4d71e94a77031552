"""Filtered searches of graphs: which plan is taken, and that every plan answers fully and well."""

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine._native import GraphFilterPlan
from nearfield.index_builders import Index, build_index
from nearfield.index_builders.graph.costs import Plan, SearchCosts
from tests.conformance import cases

ROWS, DIMENSIONS, K = 6_000, 48, 10
SHARES = (0.0, 0.0001, 0.001, 0.0016, 0.005, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 1.0)


@functools.cache
def points(copies: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(50, DIMENSIONS))
    drawn = centres[rng.integers(50, size=ROWS + 20)] + 0.7 * rng.normal(size=(ROWS + 20, DIMENSIONS))
    rows = np.repeat(drawn[: ROWS // copies], copies, axis=0)
    return rows.astype(np.float32), drawn[-20:].astype(np.float32)


@functools.cache
def built(kind: str, metric: str, copies: int) -> Index:
    return build_index(points(copies)[0], metric=metric, kind=kind, params={"degree": 16, "calibrate": False})


@pytest.mark.parametrize("copies", [1, 12])
@pytest.mark.parametrize(("kind", "metric"), [("leanvec", "ip"), ("lvq", "l2"), ("graph", "cosine")])
def test_every_selectivity_against_brute_force(kind: str, metric: str, copies: int) -> None:
    rows, queries = points(copies)
    index, distances = built(kind, metric, copies), cases.true_distances(queries, rows, metric)
    rng = np.random.default_rng(6)
    for share in SHARES:
        scattered = rng.random(ROWS) < share
        farthest = np.zeros(ROWS, np.bool_)  # none of the rows the first query leads to
        farthest[np.argsort(-distances[0])[: int(share * ROWS)]] = True
        for mask in (scattered, farthest):
            recalls = []
            for query, of_query in zip(queries, distances, strict=True):
                found, got = index.search(query, K, allow=mask)
                here = found[0][found[0] >= 0]
                assert len(here) == min(K, mask.sum()), "a short answer"
                assert mask[here].all() and len(set(here.tolist())) == len(here)
                assert (np.diff(got[0][: len(here)]) >= 0).all()
                worst = np.sort(of_query[mask])[: len(here)]
                if len(here):
                    recalls.append((of_query[here] <= worst[-1] + 1e-4).mean())
            assert np.mean(recalls or [1.0]) >= 0.95, f"{share} allowed"


def test_a_batch_answers_what_single_calls_do() -> None:
    queries = points()[1]
    index = built("leanvec", "ip", 1)
    for share in SHARES:
        mask = np.random.default_rng(7).random(ROWS) < share
        together = index.search(queries, K, allow=mask)[0]
        alone = np.concatenate([index.search(query, K, allow=mask)[0] for query in queries])
        np.testing.assert_array_equal(together, alone)


def test_plans_follow_what_they_cost() -> None:
    costs = SearchCosts(100_000, 768)
    plans = [costs.plan(48, K, allowed) for allowed in (0, K, 20, 1_000, 2_000, 50_000, 100_000)]
    assert plans == [Plan.SCAN_ROWS] * 3 + [Plan.SCAN_CODES] * 2 + [Plan.WALK] * 2
    order = [costs.plan(48, K, allowed).value for allowed in range(1, 100_001, 37)]
    assert order == sorted(order), "more allowed rows never lead back to an earlier plan"


@pytest.mark.parametrize("row_bytes", [16, 768, 6_144])
@pytest.mark.parametrize("ef", [K, 48, 400])
def test_the_plan_is_the_cheapest(row_bytes: int, ef: int) -> None:
    costs = SearchCosts(100_000, row_bytes)
    rows_most, codes_most = costs.scanned_most(ef, K)
    assert K <= rows_most <= codes_most <= 100_000
    # Where two ways cross they cost alike: what is next on either side differs by little.
    for most in (rows_most, codes_most):
        if K < most < 100_000:
            before, after = (costs.equivalent_scan_rows(ef, K, at) for at in (most, most + 1))
            assert after == pytest.approx(before, rel=0.03)


def test_a_walk_ends_at_as_many_nodes_beyond_the_nearest_as_without_a_filter() -> None:
    window = GraphFilterPlan.window
    assert window(K, 48, 100_000, 100_000) == 48
    assert window(K, 48, 50_000, 100_000) == K + 19
    assert window(K, 48, 1_000, 100_000) == K + 1
    assert window(K, K, 50_000, 100_000) == window(K, 5, 50_000, 100_000) == K


def test_filters_that_leave_only_far_rows_are_answered_as_well() -> None:
    """Codes cannot order rows that are all about as far: what they mislead is scanned."""
    rng = np.random.default_rng(8)
    centres = rng.normal(size=(40, 256)).astype(np.float32)
    rows = centres[rng.integers(40, size=8_000)] + 0.5 * rng.normal(size=(8_000, 256)).astype(np.float32)
    queries = rows[rng.integers(8_000, size=30)] + 0.3 * rng.normal(size=(30, 256)).astype(np.float32)
    index = build_index(rows, metric="l2", kind="leanvec", params={"reduced_dimensions": 64}, threads=2)
    distances = cases.true_distances(queries, rows, "l2")
    recalls: dict[float, list[float]] = {0.1: [], 0.5: []}
    for query, of_query in zip(queries, distances, strict=True):
        farthest_first = np.argsort(-of_query)
        for share, found in recalls.items():
            mask = np.zeros(8_000, np.bool_)
            mask[farthest_first[: int(share * 8_000)]] = True
            ids = index.search(query, K, allow=mask)[0][0]
            assert (ids >= 0).all() and mask[ids].all()
            found.append(float((of_query[ids] <= np.sort(of_query[mask])[K - 1] + 1e-3).mean()))
    for share, found in recalls.items():
        assert np.mean(found) >= 0.85, f"the farthest {share}"


@pytest.mark.parametrize("row_bytes", [16, 768, 6_144])
def test_the_planner_of_segments_is_told_the_cheapest_plan(row_bytes: int) -> None:
    costs = SearchCosts(100_000, row_bytes)
    for allowed in range(1, 100_001, 37):
        rows = costs.equivalent_scan_rows(48, K, allowed)
        scans = costs.plan(48, K, allowed) is Plan.SCAN_ROWS
        assert rows <= allowed and (rows == allowed) == scans
