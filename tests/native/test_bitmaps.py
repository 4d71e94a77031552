"""Bitmaps on this tier: counting, the rows they name, and the filtered scan that walks them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.row_runs import runs_of

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


@pytest.mark.parametrize("count", [1, 64, 65, 40_001])
def test_bits_are_set_beside_others(count: int) -> None:
    for mask in masks(count):
        words = bitmap.from_bools(np.roll(mask, 7))
        _native.set_bits(words, np.flatnonzero(mask).astype(np.uint32)[::-1].copy())
        np.testing.assert_array_equal(words, bitmap.from_bools(mask | np.roll(mask, 7)))
    with pytest.raises(ValueError, match=r"positions\[1\]: expected 0 <= position < 64, got 64"):
        _native.set_bits(np.zeros(1, np.uint64), np.array([3, 64], np.uint32))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 127, 129, 5_000])
def test_codes_in_a_range_are_marked(dtype: type[np.unsignedinteger], count: int) -> None:
    random = np.random.default_rng(count)
    most = int(np.iinfo(dtype).max)
    codes = random.integers(0, most, count, dtype=dtype, endpoint=True)
    codes[: count // 3] = random.integers(0, 9, count // 3)
    before = random.random(count) < 0.1
    for first, width in [(0, 0), (0, 1), (3, 5), (0, most), (most, 1), (most // 2, most // 4), (5, 0)]:
        words = bitmap.from_bools(before)
        _native.mark_range(words, codes, first, width)
        inside = (codes >= first) & (codes.astype(np.int64) < first + width)
        np.testing.assert_array_equal(words, bitmap.from_bools(before | inside))


def test_codes_that_do_not_fit_are_refused() -> None:
    words = np.zeros(1, np.uint64)
    with pytest.raises(
        ValueError, match=r"codes: expected uint8, uint16 or uint32 \[m <= 64\], got uint8 \[65\]"
    ):
        _native.mark_range(words, np.zeros(65, np.uint8), 0, 1)
    with pytest.raises(ValueError, match=r"codes: expected uint8, .*, got int64 \[3\]"):
        _native.mark_range(words, np.zeros(3, np.int64), 0, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected first and width up to 255, got 0 and 256"):
        _native.mark_range(words, np.zeros(3, np.uint8), 0, 256)


@pytest.mark.parametrize("gaps", [0.0, 0.01, 0.5, 0.98])
def test_slots_become_rows_of_segments(gaps: float) -> None:
    """Against a dictionary: rows without slots, slots without rows, and rows that moved to later slots."""
    random = np.random.default_rng(5)
    rows = 50 + np.flatnonzero(random.random(3_000) >= gaps)
    known = rows[random.random(len(rows)) >= gaps / 2]
    moved = random.choice(known, len(known) // 5, replace=False)
    slot_of = {row: slot for slot, row in enumerate(known.tolist())}
    slot_of |= {row: len(known) + number for number, row in enumerate(moved.tolist())}
    size = len(known) + len(moved)
    begins, firsts = runs_of(known)
    runs = np.stack([begins, np.append(begins[1:], len(known)), firsts])
    singles = np.stack([np.arange(len(known), size), moved])
    alive = np.zeros(size, np.bool_)
    alive[list(slot_of.values())] = True
    for share in (0.0, 0.02, 0.5, 1.0):
        found = (random.random(size) < share) & alive
        for part in (rows, rows[::2], rows[7:-9], rows[:1], rows[:0], rows + 100_000, rows - 100_000):
            words = _native.lift_bits(bitmap.from_bools(found), runs, singles, runs_of(part), len(part))
            expected = [row in slot_of and bool(found[slot_of[row]]) for row in part.tolist()]
            np.testing.assert_array_equal(words, bitmap.from_bools(np.array(expected, np.bool_)))


@pytest.mark.parametrize("segment", [[[1], [5]], [[0, 0], [5, 7]], [[0, 9], [5, 20]], [[], []]])
def test_positions_outside_a_segment_are_refused(segment: list[list[int]]) -> None:
    runs, none = np.array([[0], [3], [5]]), np.zeros((2, 0), np.int64)
    with pytest.raises(ValueError, match="segment: expected positions that ascend from 0 and are below 9"):
        _native.lift_bits(np.zeros(1, np.uint64), runs, none, np.array(segment, np.int64), 9)


@pytest.mark.parametrize("outside", [-1, 65, 2**62])
def test_a_bit_outside_is_refused(outside: int) -> None:
    with pytest.raises(ValueError, match=rf"positions\[1\]: expected 0 <= position < 65, got {outside}"):
        _native.bits_at(np.array([3, outside]), 65)


def test_only_words_are_counted() -> None:
    with pytest.raises(ValueError, match=r"words: expected uint64 \[n\], got float32 \[2\]"):
        _native.count_bits(np.zeros(2, np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (7, 3), (50, 100)])
def test_what_is_not_finite_is_found_anywhere(shape: tuple[int, int]) -> None:
    values = np.full(shape, np.finfo(np.float32).max, np.float32)
    assert _native.is_finite_matrix(values, shape[1])
    for at in {0, values.size // 2, values.size - 1} if values.size else ():
        for bad in (np.nan, np.inf, -np.inf):
            changed = values.copy()
            changed.reshape(-1)[at] = bad
            assert not _native.is_finite_matrix(changed, shape[1])


def test_only_a_contiguous_float32_matrix_is_one() -> None:
    matrix = np.zeros((4, 6), np.float32)
    assert _native.is_finite_matrix(matrix, 6)
    others = [
        matrix.astype(np.float64),
        matrix.T,
        matrix[:, :3],
        matrix[0],
        matrix[None],
        matrix.tolist(),
        None,
    ]
    for other in others:
        assert not any(_native.is_finite_matrix(other, columns) for columns in (3, 4, 6))
    assert not _native.is_finite_matrix(matrix, 4)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128])
def test_only_a_bitmap_of_the_length_is_one(length: int) -> None:
    words = bitmap.full(length)
    assert _native.is_bitmap(words, length)
    assert not _native.is_bitmap(words, length - 1)  # bit `length - 1` is set, or there is a word too many
    assert not _native.is_bitmap(words, length + 64)
    strided = np.repeat(words, 2)[::2] if len(words) > 1 else words[:0]
    for other in (words.astype(np.int64), words[None], strided, words.tolist(), None):
        assert not _native.is_bitmap(other, length)


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
