"""MaxSim over documents of any encoding and shape is what numpy gives, and the best of it in order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan, maxsim_scores

SIZES = (3, 0, 1, 17, 1000, 0, 8, 9, 33, 2, 64, 5)
DIMENSIONS = 48


def ragged(sizes: tuple[int, ...], dims: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    values = np.random.default_rng(seed).standard_normal((sum(sizes), dims), dtype=np.float32)
    return values, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def by_numpy(
    queries: NDArray[np.float32], query_offsets: NDArray[np.int64], documents: TokenRows
) -> NDArray[np.float64]:
    """MaxSim of all pairs in double precision; -inf for empty documents."""
    tokens, bounds = documents.decode().astype(np.float64), documents.bounds()
    scored = as_scored(queries, documents)
    scores = np.full((len(query_offsets) - 1, documents.count), -np.inf)
    for i in range(len(scores)):
        query = scored[query_offsets[i] : query_offsets[i + 1]]
        for j in np.flatnonzero(np.diff(bounds)):
            scores[i, j] = (query @ tokens[bounds[j] : bounds[j + 1]].T).max(axis=1).sum()
    return scores


def bitmap(allowed: NDArray[np.bool_]) -> NDArray[np.uint64]:
    padded = np.zeros(-(-len(allowed) // 64) * 64, np.bool_)
    padded[: len(allowed)] = allowed
    return np.packbits(padded, bitorder="little").view(np.uint64)


@pytest.fixture(params=list(TokenEncoding))
def documents(request: pytest.FixtureRequest) -> TokenRows:
    return TokenRows.encode(*ragged(SIZES, DIMENSIONS, 1), request.param)


@pytest.fixture
def queries() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return ragged((32, 1, 7, 20), DIMENSIONS, 2)


def as_scored(queries: NDArray[np.float32], documents: TokenRows) -> NDArray[np.float64]:
    """Queries as the kernels meet them: codes are multiplied by steps of an 8-bit query token."""
    wide = queries.astype(np.float64)
    if not documents.encoding.is_codes:
        return wide
    step = np.abs(wide).max(axis=1, keepdims=True) / 127
    return np.rint(wide / step) * step


def test_scores_are_numpys(
    queries: tuple[NDArray[np.float32], NDArray[np.int64]], documents: TokenRows
) -> None:
    every = np.tile(np.arange(documents.count, dtype=np.int64), (4, 1))
    every[1, 3] = -1
    expected = by_numpy(*queries, documents)
    expected[1, 3] = -np.inf
    found = maxsim_scores(*queries, documents, every)
    assert (np.isneginf(found) == np.isneginf(expected)).all()
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_scan_finds_the_best_allowed(
    queries: tuple[NDArray[np.float32], NDArray[np.int64]], documents: TokenRows
) -> None:
    allowed = np.arange(documents.count) % 3 != 0
    every = np.tile(np.arange(documents.count, dtype=np.int64), (4, 1))
    scores = np.where(allowed, maxsim_scores(*queries, documents, every), -np.inf)
    found = maxsim_scan(*queries, documents, 20, bitmap(allowed))
    order = np.argsort(-scores, axis=1, kind="stable")
    present = int(np.isfinite(scores[0]).sum())
    assert (found.rows[:, :present] == order[:, :present]).all()
    assert (found.rows[:, present:] == -1).all() and np.isposinf(found.distances[:, present:]).all()
    assert (found.distances[:, :present] == -np.take_along_axis(scores, order[:, :present], axis=1)).all()


def test_rerank_is_the_scan_of_its_candidates(
    queries: tuple[NDArray[np.float32], NDArray[np.int64]], documents: TokenRows
) -> None:
    candidates = np.array([[4, 2, 2, -1, 0]] * 4, np.int64)
    allowed = np.isin(np.arange(documents.count), [0, 2, 4])
    expected = maxsim_scan(*queries, documents, 4, bitmap(allowed))
    found = maxsim_rerank(*queries, documents, candidates, 4)
    assert (found.rows == expected.rows).all()
    assert (found.distances == expected.distances).all()
