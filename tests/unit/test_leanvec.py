"""LeanVec projections: the laws any learned pair of maps keeps."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.index_builders.transforms.leanvec import LeanVecMethod, Projection, ProjectionLearner
from nearfield.index_builders.transforms.query_aware import (
    Moments,
    balanced,
    eigenvector_search,
    frank_wolfe,
    principal,
    sphering,
)
from tests.helpers import shared_data

ROWS, QUERIES, DIMENSIONS = 3_000, 5_000, 48


def anisotropic(count: int, seed: int) -> NDArray[np.float32]:
    """Gaussian rows of falling variance along directions that depend on the seed."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    spread = 1 / np.sqrt(1 + np.arange(DIMENSIONS))
    return ((rng.standard_normal((count, DIMENSIONS)) * spread) @ axes).astype(np.float32)


SAMPLE, OTHER_QUERIES = anisotropic(ROWS, 1), anisotropic(QUERIES, 2)


def learned(dimensions: int, queries: NDArray[np.float32] | None, seed: int = 0) -> Projection:
    return ProjectionLearner(
        SAMPLE - SAMPLE.mean(axis=0), SAMPLE.mean(axis=0), None if queries is None else [queries]
    ).learn(dimensions, seed)


def lost(projection: Projection, queries: NDArray[np.float32]) -> float:
    """Share of the squared inner products that projecting loses, measured on the rows."""
    rows = SAMPLE - projection.mean
    exact = queries @ rows.T
    estimated = (queries @ projection.query_side.T) @ (rows @ projection.row_side.T).T
    return float(((exact - estimated) ** 2).sum() / (exact**2).sum())


@pytest.mark.parametrize("dimensions", [8, 16, 32])
def test_learning_from_the_queries_loses_less(dimensions: int) -> None:
    from_rows, from_queries = learned(dimensions, None), learned(dimensions, OTHER_QUERIES)
    assert lost(from_queries, OTHER_QUERIES) < lost(from_rows, OTHER_QUERIES)


@pytest.mark.parametrize("queries", [None, OTHER_QUERIES], ids=["rows", "queries"])
def test_the_loss_told_is_the_loss_measured(queries: NDArray[np.float32] | None) -> None:
    projection = learned(16, queries)
    measured = lost(projection, SAMPLE - projection.mean if queries is None else queries)
    # The queries' moment is mixed with a little of that of the rows.
    assert projection.loss == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("queries", [None, OTHER_QUERIES], ids=["rows", "queries"])
def test_all_dimensions_lose_nothing(queries: NDArray[np.float32] | None) -> None:
    projection = learned(DIMENSIONS, queries)
    assert abs(projection.loss) < 1e-4
    assert lost(projection, OTHER_QUERIES) < 1e-6


def test_more_dimensions_lose_less() -> None:
    losses = [learned(dimensions, OTHER_QUERIES).loss for dimensions in (4, 8, 16, 32, 48)]
    assert losses == sorted(losses, reverse=True)


def test_the_rotation_changes_no_product() -> None:
    rows = SAMPLE[:100] - SAMPLE.mean(axis=0)
    estimates = []
    for seed in (1, 2):
        projection = learned(16, OTHER_QUERIES, seed)
        estimates.append((OTHER_QUERIES @ projection.query_side.T) @ (rows @ projection.row_side.T).T)
    np.testing.assert_allclose(*estimates, atol=1e-4)


def test_no_dimension_dominates_the_projected_rows() -> None:
    projection = learned(16, OTHER_QUERIES)
    spread = ((SAMPLE - projection.mean) @ projection.row_side.T).std(axis=0)
    assert spread.max() < 3 * spread.min()


def test_constant_rows_project_to_nothing() -> None:
    rows = np.ones((10, 5), dtype=np.float32)
    projection = ProjectionLearner(rows - rows.mean(axis=0), rows.mean(axis=0), None).learn(3, 0)
    assert projection.loss == 0.0 and projection.scale == 1.0
    assert not projection.centred(rows).any()


def test_what_is_lost_of_differences_is_what_the_projection_drops() -> None:
    mean = SAMPLE.mean(axis=0)
    learner = ProjectionLearner(SAMPLE - mean, mean, None)
    differences = SAMPLE[:200] - SAMPLE[200:400]
    lost_of = learner.lost_of([differences[:50], differences[50:]])
    assert lost_of[0] == 1.0 and lost_of[-1] == pytest.approx(0.0, abs=1e-6)
    for dimensions in (1, 8, 40):
        side = learner.learn(dimensions, 0).row_side
        expected = 1 - np.square(differences @ side.T).sum() / np.square(differences).sum()
        assert lost_of[dimensions] == pytest.approx(expected, abs=1e-5)
    assert not learner.lost_of([np.zeros((3, len(mean)), np.float32)]).any()


def ordinary_moments() -> Moments:
    return Moments.of(SAMPLE - SAMPLE.mean(axis=0), [OTHER_QUERIES])


def arxiv_moments() -> Moments:
    """Abstracts, queried by titles, half of the dimensions."""
    data = shared_data.load("arxiv-minilm-384-ip")
    rows = data.base[::20, :192].astype(np.float32)
    queries = np.load(data.path / "train_queries.npy")[:5_000, :192].astype(np.float32)
    return Moments.of(rows - rows.mean(axis=0), [queries])


@pytest.mark.parametrize("of, dimensions", [(ordinary_moments, 12), (arxiv_moments, 56)])
def test_methods_lose_less_in_their_order(of: Callable[[], Moments], dimensions: int) -> None:
    moments = of()
    axes = principal(moments.rows, dimensions)
    losses = [moments.loss(axes, axes)]
    for method in (eigenvector_search, frank_wolfe, sphering):
        losses.append(moments.loss(*method(moments, dimensions)))
    assert losses == sorted(losses, reverse=True)
    assert losses[1] < 0.97 * losses[0]
    product = moments.queries @ moments.rows
    least = np.sort(np.linalg.eigvals(product).real)[: len(product) - dimensions].sum() / np.trace(product)
    assert losses[3] == pytest.approx(least, rel=1e-6)


def test_no_change_of_the_sphered_maps_loses_less() -> None:
    moments, rng = ordinary_moments(), np.random.default_rng(3)
    query_side, row_side = sphering(moments, 12)
    least = moments.loss(query_side, row_side)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            moved = [
                side + size * rng.standard_normal(side.shape) * np.abs(side).mean()
                for side in (query_side, row_side)
            ]
            assert moments.loss(*moved) >= least * (1 - 1e-9)


def test_sides_of_eigenvector_search_are_orthonormal_and_of_frank_wolfe_in_the_unit_ball() -> None:
    moments = ordinary_moments()
    side, same = eigenvector_search(moments, 12)
    assert side is same
    np.testing.assert_allclose(side @ side.T, np.eye(12), atol=1e-9)
    for found in frank_wolfe(moments, 12):
        assert np.linalg.norm(found, 2) <= 1 + 1e-9


def test_balancing_changes_no_product() -> None:
    moments = ordinary_moments()
    for method in (sphering, frank_wolfe):
        query_side, row_side = method(moments, 12)
        balanced_query, balanced_row = balanced(moments, query_side, row_side)
        np.testing.assert_allclose(balanced_query.T @ balanced_row, query_side.T @ row_side, atol=1e-9)


def test_few_queries_do_not_lose_more_than_none() -> None:
    few = anisotropic(20, 2)
    unlike_few = anisotropic(2_000, 5)
    for queries in (OTHER_QUERIES, unlike_few):
        from_few, from_none = lost(learned(16, few), queries), lost(learned(16, None), queries)
        assert from_few <= 1.15 * from_none


@pytest.mark.parametrize("method", LeanVecMethod)
def test_every_method_without_queries_is_pca(method: LeanVecMethod) -> None:
    learner = ProjectionLearner(SAMPLE - SAMPLE.mean(axis=0), SAMPLE.mean(axis=0), None)
    np.testing.assert_array_equal(learner.learn(16, 0, method).row_side, learner.learn(16, 0).row_side)


def test_the_method_asked_for_is_used() -> None:
    learner = ProjectionLearner(SAMPLE - SAMPLE.mean(axis=0), SAMPLE.mean(axis=0), [OTHER_QUERIES])
    losses = {method: learner.learn(16, 0, method).loss for method in LeanVecMethod}
    assert len(set(losses.values())) == 4
    assert losses[LeanVecMethod.SPHERING] == learner.learn(16, 0).loss == min(losses.values())
    assert losses[LeanVecMethod.PCA] == max(losses.values())
