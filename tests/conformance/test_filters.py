"""The allow bitmap: only allowed rows come back, with recall, at any selectivity, correlated or not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conformance import cases

FLOOR = 0.95


def _allowed(name: str, distances: NDArray[np.float64]) -> NDArray[np.bool_]:
    count = distances.shape[1]
    rng = np.random.default_rng(3)
    mask = np.zeros(count, dtype=np.bool_)
    if name == "one":
        mask[count // 3] = True
    elif name == "last":
        mask[-1] = True
    elif name == "few":
        mask[rng.choice(count, 7, replace=False)] = True
    elif name == "third":
        mask[rng.choice(count, count // 3, replace=False)] = True
    elif name == "most":
        mask[rng.choice(count, count * 49 // 50, replace=False)] = True
    elif name == "all":
        mask[:] = True
    elif name == "far":  # two thirds of the rows, but none of those near the first query
        mask[np.argsort(distances[0])[count // 3 :]] = True
    return mask


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_every_selectivity(kind: str, metric: str) -> None:
    rows = cases.clustered("float32")
    queries = cases.queries_near(rows)
    distances = cases.true_distances(queries, rows, metric)
    index = cases.build(kind, rows, metric)
    for name in ("none", "one", "last", "few", "third", "most", "all", "far"):
        allowed = _allowed(name, distances)
        for k in (1, 10, 60):
            recall = cases.check_hits(
                index.search(queries, k, {}, cases.words(allowed)), distances, k, allowed
            )
            assert recall >= FLOOR, f"{name}, k = {k}"


@pytest.mark.parametrize("kind", cases.KINDS)
def test_the_nearest_rows_forbidden_for_one_query(kind: str) -> None:
    rows = cases.clustered("float32")
    queries = cases.queries_near(rows)[:1]
    distances = cases.true_distances(queries, rows, "l2")
    allowed = _allowed("far", distances)
    found = cases.build(kind, rows, "l2").search(queries, 10, {}, cases.words(allowed))
    assert cases.check_hits(found, distances, 10, allowed) >= FLOOR


@pytest.mark.parametrize("kind", cases.KINDS)
def test_a_bitmap_of_every_row_changes_nothing(kind: str) -> None:
    rows = cases.clustered("float32")
    queries = cases.queries_near(rows)
    index = cases.build(kind, rows, "l2")
    plain = index.search(queries, 10, {})
    masked = index.search(queries, 10, {}, cases.words(np.ones(len(rows), dtype=np.bool_)))
    np.testing.assert_array_equal(plain.rows, masked.rows)
    np.testing.assert_array_equal(plain.distances, masked.distances)
