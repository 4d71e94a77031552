"""What training queries decide beside the maps: what is exact, and what a row is given of what it lost."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders import Index, build_index, default_registry, open_index
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.graph.builder import leanvec_builder
from nearfield.index_builders.graph.index import GraphIndex
from nearfield.index_builders.transforms.leanvec import LeanVecMethod, Projection, ProjectionLearner
from nearfield.index_builders.transforms.training_queries import TrainingQueries

D, REDUCED, K = 96, 24, 10
REGISTRY = default_registry()


def rows_and_queries(noise: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """3,000 rows whose variance falls slowly, and 900 queries around some of them; a mean that both share."""
    rng = np.random.default_rng(5)
    spread = (np.arange(1, D + 1) ** -0.4).astype(np.float32)
    rows = rng.normal(size=(3_000, D)).astype(np.float32) * spread
    queries = rows[:900] + noise * rng.normal(size=(900, D)).astype(np.float32) * spread
    return rows + 0.3, queries + np.float32(0.3)


def learned(rows: NDArray[np.float32], queries: NDArray[np.float32], metric: str) -> Projection:
    mean = rows.mean(axis=0)
    drawn = TrainingQueries(queries, BaseRows.measure(rows, metric), mean, len(rows), 0)
    pca = ProjectionLearner(rows - mean, mean, drawn.for_learning).learn(REDUCED, 0, LeanVecMethod.PCA)
    return drawn.best([pca], rows - mean, 1)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_rows_get_back_a_share_of_what_they_lost(metric: str) -> None:
    rows, queries = rows_and_queries()
    assert 0.02 < learned(rows, queries, metric).neighbour_share < 0.9


def test_queries_that_find_nothing_of_it_give_nothing_back() -> None:
    rows, queries = rows_and_queries()
    axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:REDUCED]
    within = (queries - queries.mean(axis=0)) @ axes.T @ axes
    assert learned(rows, within.astype(np.float32), "ip").neighbour_share < 0.05


def test_the_share_knows_the_length_of_rows_but_not_of_queries() -> None:
    rows, queries = rows_and_queries()
    plain = learned(rows, queries, "ip")
    scaled = learned(8 * rows, 4 * queries, "ip")
    assert scaled.neighbour_share == pytest.approx(plain.neighbour_share / 8, rel=1e-4)
    assert plain.query_mean is not None and scaled.query_mean is not None
    np.testing.assert_allclose(plain.query_mean, scaled.query_mean, atol=1e-6)


def test_few_queries_are_learned_from_and_measured() -> None:
    rows, queries = rows_and_queries()
    base, mean = BaseRows.measure(rows, "ip"), rows.mean(axis=0)
    few = TrainingQueries(queries[:20], base, mean, 1_000, 0)
    many = TrainingQueries(queries, base, mean, 600, 0)
    assert (sum(map(len, few.for_learning)), few.measured) == (20, 20)
    assert (sum(map(len, many.for_learning)), many.measured) == (400, 200)


def built(
    metric: str, training: NDArray[np.float32] | None, rows: NDArray[np.float32], threads: int = 2
) -> Index:
    params = {"reduced_dimensions": REDUCED, "calibrate": False}
    return build_index(
        rows, metric=metric, kind="leanvec", params=params, threads=threads, training_queries=training,
        registry=REGISTRY,
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_other_queries_find_no_less(metric: str) -> None:
    rows, queries = rows_and_queries()
    training, asked = queries[300:], queries[:300]
    truth = build_index(rows, metric=metric, kind="flat", registry=REGISTRY).search(asked, K)[0]

    def recall(index: Index) -> float:
        found = index.search(asked, K, ef=32)[0]
        return float((found[:, :, None] == truth[:, None, :]).any(axis=2).mean())

    assert recall(built(metric, training, rows)) >= recall(built(metric, None, rows)) - 0.005


def test_the_length_of_a_query_does_not_change_its_answer() -> None:
    rows, queries = rows_and_queries()
    index = built("ip", queries[300:], rows)
    np.testing.assert_array_equal(
        index.search(queries[:50], K, ef=24)[0], index.search(4 * queries[:50], K, ef=24)[0]
    )
    assert (index.search(np.zeros((1, D), dtype=np.float32), K, ef=24)[0] >= 0).all()


def test_zeros_are_no_training_queries() -> None:
    rows, queries = rows_and_queries()
    with_zeros, without = built("ip", np.zeros((9, D), dtype=np.float32), rows), built("ip", None, rows)
    np.testing.assert_array_equal(
        with_zeros.search(queries[:50], K, ef=24)[0], without.search(queries[:50], K, ef=24)[0]
    )


def test_a_saved_index_answers_the_same_whatever_the_threads_of_its_build(tmp_path: Path) -> None:
    rows, queries = rows_and_queries()
    index, other = built("ip", queries[300:], rows), built("ip", queries[300:], rows, threads=1)
    index.save(tmp_path / "index")
    other.save(tmp_path / "other")
    np.testing.assert_array_equal(
        open_index(tmp_path / "index", registry=REGISTRY).search(queries[:50], K, ef=24)[0],
        index.search(queries[:50], K, ef=24)[0],
    )
    files = sorted(path.relative_to(tmp_path / "index") for path in (tmp_path / "index").rglob("*.npy"))
    assert any(file.name == "query_mean.npy" for file in files)
    for file in files:
        assert (tmp_path / "index" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_an_extended_index_keeps_what_was_learned() -> None:
    rows, queries = rows_and_queries()
    builder = leanvec_builder()
    params = builder.parse_params({"reduced_dimensions": REDUCED, "calibrate": False})
    before = builder.build(rows[:2_500], "ip", params, BuildContext(2, 0, queries[300:]))
    origin = np.where(np.arange(3_000) < 2_500, np.arange(3_000), -1)
    after = builder.extend(before, origin, rows, "ip", params, BuildContext(2))
    assert isinstance(before, GraphIndex) and isinstance(after, GraphIndex)
    assert before.arrays is not None and after.arrays is not None
    assert after.arrays.query_mean is before.arrays.query_mean
    assert after.arrays.neighbour_share == before.arrays.neighbour_share
    norms = [
        dict(zip(index.arrays.links.order.tolist(), index.arrays.primary.norms.tolist(), strict=True))
        for index in (before, builder.build(rows, "ip", params, BuildContext(2, 0, queries[300:])), after)
        if isinstance(index, GraphIndex) and index.arrays is not None
    ]
    # Rows that enter are encoded like those that stayed: as a new build does it, up to what it learns anew.
    ours = np.array([norms[2][row] for row in range(2_500, 3_000)])
    new = np.array([norms[1][row] for row in range(2_500, 3_000)])
    assert np.corrcoef(ours, new)[0, 1] > 0.95
