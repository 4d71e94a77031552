"""LeanVec projections: the laws any learned pair of maps keeps."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.index_builders.transforms.leanvec import Projection, ProjectionLearner

ROWS, QUERIES, DIMENSIONS = 3_000, 500, 48


def anisotropic(count: int, seed: int) -> NDArray[np.float32]:
    """Gaussian rows of falling variance along directions that depend on the seed."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    spread = 1 / np.sqrt(1 + np.arange(DIMENSIONS))
    return ((rng.standard_normal((count, DIMENSIONS)) * spread) @ axes).astype(np.float32)


SAMPLE, OTHER_QUERIES = anisotropic(ROWS, 1), anisotropic(QUERIES, 2)


def learned(dimensions: int, queries: NDArray[np.float32] | None, seed: int = 0) -> Projection:
    return ProjectionLearner(SAMPLE, SAMPLE.mean(axis=0), queries).learn(dimensions, seed)


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
    assert projection.loss == pytest.approx(measured, rel=0.02)


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
    projection = ProjectionLearner(rows, rows.mean(axis=0), None).learn(3, 0)
    assert projection.loss == 0.0 and projection.scale == 1.0
    assert not projection.centred(rows).any()
