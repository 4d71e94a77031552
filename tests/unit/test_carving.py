"""Carved queries score no higher than whole ones, and a threshold beyond any product changes nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.multivector.carving import carve_queries
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scores


def unit_tokens(count: int, seed: int) -> NDArray[np.float32]:
    """Tokens [count, 24] around ten directions, as the words of one text are."""
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(0).standard_normal((10, 24))
    values = directions[random.integers(0, 10, count)] + 0.5 * random.standard_normal((count, 24))
    return _native.unit_rows(values.astype(np.float32))


def by_hand(query: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """The groups of one query, one after the other."""
    left, sums = list(range(len(query))), []
    while left:
        group = [left[0], *(i for i in left[1:] if query[left[0]] @ query[i] >= threshold)]
        sums.append(query[group].sum(axis=0))
        left = [i for i in left if i not in group]
    return np.array(sums, np.float32).reshape(-1, query.shape[1])


OFFSETS = np.array([0, 0, 1, 33, 60], np.int64)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_groups_are_the_papers(threshold: float) -> None:
    queries = unit_tokens(60, 1)
    carved, offsets = carve_queries(queries, OFFSETS, threshold)
    for i in range(len(OFFSETS) - 1):
        expected = by_hand(queries[OFFSETS[i] : OFFSETS[i + 1]], threshold)
        found = carved[offsets[i] : offsets[i + 1]]
        assert found.shape == expected.shape
        assert np.allclose(found, expected, atol=1e-5)


def test_carved_scores_are_at_most_the_true_ones() -> None:
    queries = unit_tokens(60, 2)
    documents = TokenRows.encode(unit_tokens(800, 3), None, TokenEncoding.FLOAT32, tokens_per_document=20)
    every = np.tile(np.arange(40, dtype=np.int64), (4, 1))
    carved, offsets = carve_queries(queries, OFFSETS, 0.7)
    assert len(carved) < 0.7 * len(queries)
    true = maxsim_scores(queries, OFFSETS, documents, every)
    less = maxsim_scores(carved, offsets, documents, every)
    assert (less <= true + 1e-4).all()
    assert (less[2:] < true[2:] - 1e-3).any()
    found = maxsim_rerank(queries, OFFSETS, documents, every, 3, carve=0.7)
    assert (found.distances == np.sort(-less, axis=1)[:, :3]).all()


def test_nothing_is_carved_beyond_one() -> None:
    queries = unit_tokens(60, 4)
    carved, offsets = carve_queries(queries, OFFSETS, 1.01)
    assert (carved == queries).all() and (offsets == OFFSETS).all()
