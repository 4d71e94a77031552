"""Encodings as 4-bit rows in two planes, and the scan over them, against numpy on the decoded rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.segment import bitmap
from nearfield.index_builders.multivector.code_rows import CodeScale, CodeScan, strides_of


def shrinking(count: int, width: int, seed: int) -> NDArray[np.float32]:
    """Rows as a projection gives them: large dimensions first."""
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows * (np.arange(1, width + 1, dtype=np.float32) ** -0.5)


Planes = tuple[NDArray[np.uint8], ...]


def placed(planes: Planes) -> NDArray[np.float32]:
    """What each code of a row stands for, in the order of queries."""
    blocks = np.concatenate(planes, axis=1).reshape(len(planes[0]), -1, 64)
    nibbles = np.stack([blocks & 15, blocks >> 4], axis=2).reshape(len(blocks), -1).astype(np.float32)
    step, bias = np.ascontiguousarray(planes[0][:, -8:-4]).view(np.float16).astype(np.float32).T
    values: NDArray[np.float32] = nibbles * step[:, None] + bias[:, None]
    return values


def decoded(scale: CodeScale, codes: Planes) -> NDArray[np.float32]:
    """What rows stand for, by their products with the unit queries."""
    product: NDArray[np.float32] = (
        placed(codes) @ scale.queries(np.eye(len(scale.spread), dtype=np.float32)).T
    )
    return product


@pytest.mark.parametrize("width", [1, 7, 19, 20, 113, 117, 128, 229, 230, 240, 320, 960])
def test_error_of_the_codes(width: int) -> None:
    rows = shrinking(400, width, 1)
    scale = CodeScale.measured(rows)
    codes = scale.encode(rows)
    assert tuple(plane.shape for plane in codes) == tuple((400, stride) for stride in strides_of(width))
    assert all(stride % 64 == 0 for stride in strides_of(width)) and strides_of(width)[0] > 0
    error = np.square(decoded(scale, codes) - rows).sum(axis=0) / np.square(rows).sum(axis=0)
    assert error.max() < 0.03
    if width >= 100:
        assert error.mean() < 0.0135  # 16 levels for a Gaussian: 0.0115 at best
        assert error[: width // 20].max() < 0.002


def test_512_bytes_hold_960_dimensions() -> None:
    assert strides_of(960) == (128, 384)
    assert sum(strides_of(961)) > 512


def test_zero_rows_and_rows_out_of_reach() -> None:
    rows = shrinking(50, 40, 2)
    scale = CodeScale.measured(rows)
    odd = np.stack([np.zeros(40), rows[0] * 1e4, rows[0] * 1e-3]).astype(np.float32)
    found = decoded(scale, scale.encode(odd))
    np.testing.assert_array_equal(found[0], 0)
    for row, back in zip(odd[1:], found[1:], strict=True):
        assert np.square(back - row).sum() < 0.05 * np.square(row).sum()


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """As the scan rounds what of queries meets one plane."""
    steps = np.abs(values).max(axis=1, keepdims=True) / 127
    whole: NDArray[np.float32] = np.rint(values / np.where(steps > 0, steps, 1)) * steps
    return whole


def products(
    scale: CodeScale, codes: Planes, queries: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of queries with the first plane, and with both."""
    asked, values = scale.queries(queries), placed(codes)
    end = 2 * scale.strides[0]
    first = rounded(asked[:, :end]) @ values[:, :end].T
    return first, first + rounded(asked[:, end:]) @ values[:, end:].T if scale.strides[1] else first


@pytest.mark.parametrize("allowed", [None, 1.0, 0.9, 0.3, 0.01])
@pytest.mark.parametrize("width", [40, 960])
def test_scan_equals_products_with_the_decoded_rows(width: int, allowed: float | None) -> None:
    count = 1_500
    rows = shrinking(count, width, 3)
    scale = CodeScale.measured(rows)
    codes = scale.encode(rows)
    queries = np.random.default_rng(4).standard_normal((70, width)).astype(np.float32)
    bools = np.ones(count, np.bool_)
    if allowed is not None:
        bools = np.random.default_rng(5).random(count) < allowed
    words = None if allowed is None else bitmap.from_bools(bools)
    index = CodeScan(*codes)
    asked = scale.queries(queries)
    hits = index.search(asked, 100, {}, words)
    exact = np.where(bools, products(scale, codes, queries)[1], -np.inf)
    kept = min(100, int(bools.sum()))
    assert (hits.rows[:, kept:] == -1).all() and np.isinf(hits.distances[:, kept:]).all()
    best = -np.sort(-exact, axis=1)[:, :kept]
    np.testing.assert_allclose(-hits.distances[:, :kept], best, rtol=2e-3, atol=2e-3 * best.max())
    named = np.take_along_axis(exact, hits.rows[:, :kept], axis=1)
    np.testing.assert_allclose(named, best, rtol=2e-3, atol=2e-3 * best.max())
    for threads in (2, 3):
        again = index.search(asked, 100, {"threads": threads}, words)
        np.testing.assert_array_equal(again.rows, hits.rows)
        np.testing.assert_array_equal(again.distances, hits.distances)
    for query in (3, 69):
        alone = index.search(asked[query : query + 1], 100, {}, words)
        np.testing.assert_array_equal(alone.rows[0], hits.rows[query])
        np.testing.assert_array_equal(alone.distances[0], hits.distances[query])


@pytest.mark.parametrize("share", [None, 0.9, 0.3])
def test_what_is_kept_is_the_best_by_the_first_plane(share: float | None) -> None:
    count, kept, k = 60_000, 500, 50
    rows = shrinking(count, 320, 8)
    scale = CodeScale.measured(rows[:1_000])
    codes = scale.encode(rows)
    queries = np.random.default_rng(9).standard_normal((9, 320)).astype(np.float32)
    bools = np.random.default_rng(10).random(count) < (share or 1.0)
    words = None if share is None else bitmap.from_bools(bools)
    first, both = (np.where(bools, found, -np.inf) for found in products(scale, codes, queries))
    asked = scale.queries(queries)
    found, distances = _native.code_search(asked, *codes, k, kept, words)
    assert bools[found].all() and (np.diff(distances, axis=1) >= 0).all()
    np.testing.assert_allclose(-distances, np.take_along_axis(both, found, axis=1), rtol=2e-3, atol=0.01)
    order = np.argsort(-first, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(count)[None].repeat(len(order), axis=0), axis=1)
    assert np.take_along_axis(ranks, found, axis=1).max() < 2 * kept
    # What the best half of those kept hold for sure, nothing else may displace.
    for query in range(len(queries)):
        sure = order[query, : kept // 2]
        better = both[query, sure] > -distances[query, -1] + 0.01
        assert np.isin(sure[better], found[query]).all()
    for threads in (2, 3):
        again = _native.code_search(asked, *codes, k, kept, words, threads)
        np.testing.assert_array_equal(again[0], found)
        np.testing.assert_array_equal(again[1], distances)
    for query in range(len(queries)):
        alone = _native.code_search(asked[query : query + 1], *codes, k, kept, words)
        np.testing.assert_array_equal(alone[0][0], found[query])
        np.testing.assert_array_equal(alone[1][0], distances[query])


def sampled(count: int, kept: int) -> NDArray[np.int64]:
    """The rows that a search of `count` looks at first, one of each stretch."""
    state, stretch, rows = 0x9E3779B97F4A7C15, kept // 32, []
    for first in range(0, count - stretch + 1, stretch):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        rows.append(first + (state >> 33) % stretch)
    return np.array(rows)


@pytest.mark.parametrize("asked", [1, 5])
def test_rows_that_a_sample_cannot_foresee(asked: int) -> None:
    """The few rows looked at first are the best of all, or all rows are equal."""
    count, kept, k = 20_000, 320, 100
    rows = shrinking(400, 320, 11)
    scale = CodeScale.measured(rows)
    codes = scale.encode(rows)
    queries = np.random.default_rng(12).standard_normal((1, 320)).astype(np.float32)
    by_first, by_both = (found[0] for found in products(scale, codes, queries))
    order = np.argsort(by_first)
    better, worse = order[-100:], order[:100]
    worse = worse[by_both[worse] < by_both[better].min()]
    assert len(worse) > 10
    looked_at = sampled(count, kept)
    shape = np.full(count, worse[0])
    shape[looked_at[:50]] = better[:50]
    query = scale.queries(queries).repeat(asked, axis=0)
    found, distances = _native.code_search(query, *(plane[shape] for plane in codes), k, kept)
    assert set(looked_at[:50]) == set(found[0, :50])  # 36 of them would fill the limit
    rest = np.setdiff1d(np.arange(count), looked_at[:50])
    np.testing.assert_array_equal(found[0, 50:], rest[: k - 50])
    assert (np.diff(distances, axis=1) >= 0).all() and (found == found[0]).all()


def test_more_rows_than_one_task_takes() -> None:
    rows = shrinking(70_000, 16, 6)
    scale = CodeScale.measured(rows)
    codes = scale.encode(rows)
    queries = scale.queries(np.random.default_rng(7).standard_normal((3, 16)).astype(np.float32))
    hits = CodeScan(*codes).search(queries, 70_000, {"threads": 2})
    assert (np.sort(hits.rows, axis=1) == np.arange(70_000)).all()
    assert (np.diff(hits.distances, axis=1) >= 0).all()
    tied = np.diff(hits.distances, axis=1) == 0
    assert tied.any() and (np.diff(hits.rows, axis=1)[tied] > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": np.zeros((4, 60), np.uint8)}, "stride a multiple of 64"),
        ({"first": np.zeros((4, 64), np.int8)}, "uint8"),
        ({"rest": np.zeros((4, 32), np.uint8)}, "multiple of 64 or 0"),
        ({"rest": np.zeros((3, 64), np.uint8)}, r"uint8 \[4, stride\]"),
        ({"rest": np.zeros((4, 64), np.uint8)}, r"float32 \[nq, 256\]"),
        ({"queries": np.zeros((2, 64), np.float32)}, r"float32 \[nq, 128\]"),
        ({"kept": 0}, "kept: expected at least 1"),
        ({"k": 0}, "k: expected at least 1"),
        ({"threads": 0}, "threads: expected at least 1"),
        ({"allow": np.zeros(2, np.uint64)}, "allow"),
    ],
)
def test_arguments(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "queries": np.zeros((2, 128), np.float32), "first": np.zeros((4, 64), np.uint8),
        "rest": np.zeros((4, 0), np.uint8), "k": 3, "kept": 3
    }  # fmt: skip
    assert _native.code_search(**arguments)[0].tolist() == [[0, 1, 2]] * 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        _native.code_search(**(arguments | changes))  # type: ignore[arg-type]


def test_cancelled() -> None:
    flag = _native.CancelFlag()
    flag.set()
    with pytest.raises(_native.Cancelled):
        _native.code_search(
            np.zeros((1, 128), np.float32), np.zeros((4, 64), np.uint8), np.zeros((4, 0), np.uint8), 1, 1,
            cancel=flag,
        )  # fmt: skip
