"""Bitmaps on this tier: counting, the rows they name, and the filtered scan that walks them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.segment import bitmap

SHARES = (0.0, 0.0005, 0.004, 0.03, 0.2, 0.5, 0.74, 0.76, 0.97, 1.0)


def masks(count: int) -> list[NDArray[np.bool_]]:
    random = np.random.default_rng(count)
    ends = np.zeros(count, np.bool_)
    ends[[0, -1]] = True
    cluster = np.zeros(count, np.bool_)
    cluster[count // 3 : count // 2] = True
    return [random.random(count) < share for share in SHARES] + [ends, cluster]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 127, 512, 4_095, 32_768, 40_001])
def test_bits_are_counted(count: int) -> None:
    for mask in masks(count):
        assert _native.count_bits(bitmap.from_bools(mask)) == mask.sum()


@pytest.mark.parametrize("count", [1, 64, 65, 40_001])
def test_bits_are_set_in_any_order(count: int) -> None:
    for mask in masks(count):
        at = np.random.default_rng(0).permutation(np.flatnonzero(mask))
        np.testing.assert_array_equal(bitmap.from_positions(at, count), bitmap.from_bools(mask))


@pytest.mark.parametrize("outside", [-1, 65, 2**62])
def test_a_bit_outside_is_refused(outside: int) -> None:
    with pytest.raises(ValueError, match=rf"positions\[1\]: expected 0 <= position < 65, got {outside}"):
        _native.bits_at(np.array([3, outside]), 65)


def test_only_words_are_counted() -> None:
    with pytest.raises(ValueError, match=r"words: expected uint64 \[n\], got float32 \[2\]"):
        _native.count_bits(np.zeros(2, np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0,), (1,), (7, 3), (5_000,)])
def test_what_is_not_finite_is_found_anywhere(shape: tuple[int, ...]) -> None:
    values = np.full(shape, np.finfo(np.float32).max, np.float32)
    assert _native.all_finite(values)
    for at in {0, values.size // 2, values.size - 1} if values.size else ():
        for bad in (np.nan, np.inf, -np.inf):
            changed = values.copy()
            changed.reshape(-1)[at] = bad
            assert not _native.all_finite(changed)


@pytest.mark.parametrize("count", [1, 64, 1_000, 8_192, 20_011])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_filtered_scan_reads_exactly_the_allowed_rows(count: int, threads: int) -> None:
    random = np.random.default_rng(1)
    rows = random.integers(0, 256, (count, 3), dtype=np.uint8)
    queries = random.random((2, 3), dtype=np.float32)
    distances = -(queries.astype(np.float64) @ rows.T.astype(np.float64))
    for mask in masks(count):
        words = bitmap.from_bools(mask)
        if count % 64:
            words[-1] |= np.uint64(1) << np.uint64(63)  # bits behind the rows mean nothing
        found, got = _native.flat_search(queries, rows, "ip", 20, words, threads=threads)
        allowed = np.flatnonzero(mask)
        for query in range(2):
            expected = np.sort(distances[query, allowed])[:20]
            here = found[query][found[query] >= 0]
            assert len(here) == len(expected) and mask[here].all() and len(set(here.tolist())) == len(here)
            np.testing.assert_allclose(got[query, : len(here)], expected, rtol=1e-5)
