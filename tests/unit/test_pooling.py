"""Token pooling: Ward's clusters against a plain agglomeration, and what it does to answers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.multivector.pooling import pool_to_constant, pool_tokens


def unit(count: int, dimensions: int, seed: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def offsets_of(*sizes: int) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def ward_by_definition(tokens: NDArray[np.float32], clusters: int) -> list[list[int]]:
    """Merges, again and again, the two clusters whose union adds least to the sum of squares."""
    groups = [[t] for t in range(len(tokens))]
    points = tokens.astype(np.float64)
    while len(groups) > clusters:
        costs = {
            (a, b): len(groups[a]) * len(groups[b]) / (len(groups[a]) + len(groups[b]))
            * float(((points[groups[a]].mean(axis=0) - points[groups[b]].mean(axis=0)) ** 2).sum())
            for a in range(len(groups)) for b in range(a + 1, len(groups))
        }  # fmt: skip
        a, b = min(costs, key=costs.__getitem__)
        groups[a] += groups.pop(b)
    return sorted(groups, key=min)


@pytest.mark.parametrize("clusters", [1, 3, 9, 20])
def test_clusters_are_wards(clusters: int) -> None:
    tokens = unit(21, 6, 1)
    pooled = pool_to_constant(tokens, offsets_of(21), clusters, protected=0, normalize=False)
    groups = ward_by_definition(tokens, clusters)
    expected = np.stack([tokens[group].mean(axis=0) for group in groups])
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_factor_one_changes_nothing() -> None:
    tokens, offsets = unit(9, 8, 2), offsets_of(4, 0, 5)
    pooled, pooled_offsets = pool_tokens(tokens, offsets, 1)
    assert pooled is tokens and pooled_offsets is offsets


def test_counts_and_protected_tokens() -> None:
    offsets = offsets_of(0, 1, 2, 3, 10, 33)
    tokens = unit(int(offsets[-1]), 8, 3)
    pooled, pooled_offsets = pool_tokens(tokens, offsets, 4, protected=2)
    assert np.diff(pooled_offsets).tolist() == [0, 1, 2, 3, 4, 9]
    for before, after, size in zip(offsets[:-1], pooled_offsets[:-1], np.diff(offsets), strict=True):
        kept = min(size, 2)
        assert np.array_equal(pooled[after : after + kept], tokens[before : before + kept])
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-6)


def test_constant_repeats_short_documents() -> None:
    tokens = unit(7, 8, 4).astype(np.float16)
    pooled = pool_to_constant(tokens, offsets_of(2, 5), 4)
    assert pooled.dtype == np.float16 and pooled.shape == (8, 8)
    assert np.array_equal(pooled[:4], tokens[[0, 1, 0, 1]])
    assert np.array_equal(pooled[4], tokens[2])


def test_long_documents_and_threads() -> None:
    offsets = offsets_of(2500, 40)
    tokens = unit(2540, 4, 5)
    pooled, pooled_offsets = pool_tokens(tokens, offsets, 3)
    assert np.diff(pooled_offsets).tolist() == [1 + 2499 // 3, 1 + 39 // 3]
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-6)
    assert np.array_equal(pooled, pool_tokens(tokens, offsets, 3, threads=3)[0])


def test_equal_tokens() -> None:
    tokens = np.tile(unit(1, 8, 6), (12, 1))
    pooled, _ = pool_tokens(tokens, offsets_of(12), 2)
    np.testing.assert_allclose(pooled, tokens[: len(pooled)], atol=1e-6)


def test_refused() -> None:
    tokens = unit(4, 8, 7)
    with pytest.raises(ValueError, match="factor and protected: expected at least 1 and 0"):
        pool_tokens(tokens, offsets_of(4), 0)
    with pytest.raises(ValueError, match="document 1 has no tokens"):
        pool_to_constant(tokens, offsets_of(4, 0), 3)
    with pytest.raises(ValueError, match="offsets"):
        pool_tokens(tokens, offsets_of(3), 2)
