"""Degenerate inputs: no rows, one row, equal rows, zero rows, k beyond the count, awkward dimensions."""

import numpy as np
import pytest

from tests.conformance import cases


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_no_rows(kind: str, metric: str) -> None:
    index = cases.build(kind, np.zeros((0, 5), dtype=np.float32), metric)
    hits = index.search(np.ones((2, 5), dtype=np.float32), 3, {})
    assert (hits.rows == -1).all() and np.isposinf(hits.distances).all() and hits.rows.shape == (2, 3)
    assert (
        index.search(np.ones((2, 5), dtype=np.float32), 3, {}, np.zeros(0, dtype=np.uint64)).rows.max() == -1
    )


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_no_queries(kind: str, metric: str) -> None:
    index = cases.build(kind, cases.clustered("float32"), metric)
    assert index.search(np.zeros((0, cases.DIMENSIONS), dtype=np.float32), 3, {}).rows.shape == (0, 3)


@pytest.mark.parametrize("count", [1, 2, 5, 65])
@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_fewer_rows_than_k(kind: str, metric: str, count: int) -> None:
    rows = cases.clustered("float32", count, 6)
    queries = cases.queries_near(rows, 3)
    hits = cases.build(kind, rows, metric).search(queries, 100, {})
    assert cases.check_hits(hits, cases.true_distances(queries, rows, metric), 100) == 1.0


@pytest.mark.parametrize("kind", cases.KINDS)
def test_k_near_the_count_of_a_large_index(kind: str) -> None:
    rows = cases.clustered("float32")
    queries = cases.queries_near(rows, 2)
    index = cases.build(kind, rows, "l2")
    distances = cases.true_distances(queries, rows, "l2")
    for k in (len(rows) - 1, len(rows), len(rows) + 10):
        assert cases.check_hits(index.search(queries, k, {}), distances, k) >= 0.95


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 130])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_dimensions_off_every_alignment(kind: str, dimensions: int, dtype: str) -> None:
    rows = cases.clustered(dtype, 300, dimensions)
    queries = cases.queries_near(rows, 4)
    for metric in sorted(cases.REGISTRY.builder(kind).metrics):
        hits = cases.build(kind, rows, metric).search(queries, 10, {"ef": 11, "nprobe": 30})
        assert cases.check_hits(hits, cases.true_distances(queries, rows, metric), 10) >= 0.85


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_all_rows_equal(kind: str, metric: str) -> None:
    rows = np.full((3_000, 8), 0.5, dtype=np.float32)
    queries = cases.queries_near(cases.clustered("float32", 50, 8), 3)
    hits = cases.build(kind, rows, metric).search(queries, 10, {})
    cases.check_hits(hits, cases.true_distances(queries, rows, metric), 10)


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_half_of_the_rows_are_copies_of_one(kind: str, metric: str) -> None:
    rows = cases.clustered("float32").copy()
    rows[::2] = rows[0]
    queries = cases.queries_near(cases.clustered("float32"))
    hits = cases.build(kind, rows, metric).search(queries, 10, {})
    assert cases.check_hits(hits, cases.true_distances(queries, rows, metric), 10) >= 0.95


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_zero_rows_and_a_zero_query(kind: str, metric: str) -> None:
    rows = cases.clustered("float32").copy()
    rows[1::3] = 0
    queries = cases.queries_near(cases.clustered("float32"))
    queries[0] = 0
    distances = cases.true_distances(queries, rows, metric)
    if metric == "cosine":
        np.testing.assert_allclose(distances[0], 1)
    hits = cases.build(kind, rows, metric).search(queries, 10, {})
    assert cases.check_hits(hits, distances, 10) >= 0.95
