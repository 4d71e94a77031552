"""Encodings as LVQ4 rows with second codes, and the scan over them, against numpy on the decoded rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.segment import bitmap
from nearfield.index_builders.multivector.code_rows import CodeScale, CodeScan, stride_of


def shrinking(count: int, width: int, seed: int) -> NDArray[np.float32]:
    """Rows as a projection gives them: large dimensions first."""
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows * (np.arange(1, width + 1, dtype=np.float32) ** -0.5)


def placed(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What each code of a row stands for, in the order of queries."""
    blocks = codes.reshape(len(codes), -1, 64)
    nibbles = np.stack([blocks & 15, blocks >> 4], axis=2).reshape(len(codes), -1).astype(np.float32)
    step, bias = np.ascontiguousarray(codes[:, -8:-4]).view(np.float16).astype(np.float32).T
    values: NDArray[np.float32] = nibbles * step[:, None] + bias[:, None]
    return values


def decoded(scale: CodeScale, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What rows stand for, by their products with the unit queries."""
    product: NDArray[np.float32] = (
        placed(codes) @ scale.queries(np.eye(len(scale.spread), dtype=np.float32)).T
    )
    return product


@pytest.mark.parametrize("width", [1, 7, 19, 20, 113, 117, 128, 320, 960])
def test_error_of_the_codes(width: int) -> None:
    rows = shrinking(400, width, 1)
    scale = CodeScale.measured(rows)
    codes = scale.encode(rows)
    assert codes.shape == (400, stride_of(width)) and stride_of(width) % 64 == 0
    error = np.square(decoded(scale, codes) - rows).sum(axis=0) / np.square(rows).sum(axis=0)
    assert error.max() < 0.03
    if width >= 100:
        assert error.mean() < 0.0135  # 16 levels for a Gaussian: 0.0115 at best
        assert error[: width // 20].max() < 0.002


def test_512_bytes_hold_960_dimensions() -> None:
    assert stride_of(960) == 512
    assert stride_of(961) > 512


def test_zero_rows_and_rows_out_of_reach() -> None:
    rows = shrinking(50, 40, 2)
    scale = CodeScale.measured(rows)
    odd = np.stack([np.zeros(40), rows[0] * 1e4, rows[0] * 1e-3]).astype(np.float32)
    found = decoded(scale, scale.encode(odd))
    np.testing.assert_array_equal(found[0], 0)
    for row, back in zip(odd[1:], found[1:], strict=True):
        assert np.square(back - row).sum() < 0.05 * np.square(row).sum()


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
    index = CodeScan(codes)
    hits = index.search(scale.queries(queries), 20, {}, words)
    rounded = scale.queries(queries)
    steps = np.abs(rounded).max(axis=1, keepdims=True) / 127  # as the scan rounds queries
    products = (np.rint(rounded / steps) * steps) @ placed(codes).T
    products = np.where(bools, products, -np.inf)
    kept = min(20, int(bools.sum()))
    assert (hits.rows[:, kept:] == -1).all() and np.isinf(hits.distances[:, kept:]).all()
    best = -np.sort(-products, axis=1)[:, :kept]
    np.testing.assert_allclose(-hits.distances[:, :kept], best, rtol=2e-3, atol=2e-3 * best.max())
    named = np.take_along_axis(products, hits.rows[:, :kept], axis=1)
    np.testing.assert_allclose(named, best, rtol=2e-3, atol=2e-3 * best.max())
    for threads in (2, 3):
        again = index.search(scale.queries(queries), 20, {"threads": threads}, words)
        np.testing.assert_array_equal(again.rows, hits.rows)
        np.testing.assert_array_equal(again.distances, hits.distances)
    alone = index.search(scale.queries(queries[3:4]), 20, {}, words)
    np.testing.assert_array_equal(alone.rows[0], hits.rows[3])


def test_more_rows_than_one_task_takes() -> None:
    rows = shrinking(70_000, 16, 6)
    scale = CodeScale.measured(rows)
    codes = scale.encode(rows)
    queries = scale.queries(np.random.default_rng(7).standard_normal((3, 16)).astype(np.float32))
    hits = CodeScan(codes).search(queries, 70_000, {"threads": 2})
    assert (np.sort(hits.rows, axis=1) == np.arange(70_000)).all()
    assert (np.diff(hits.distances, axis=1) >= 0).all()
    tied = np.diff(hits.distances, axis=1) == 0
    assert tied.any() and (np.diff(hits.rows, axis=1)[tied] > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": np.zeros((4, 60), np.uint8)}, "stride a multiple of 64"),
        ({"rows": np.zeros((4, 64), np.int8)}, "uint8"),
        ({"queries": np.zeros((2, 64), np.float32)}, r"float32 \[nq, 128\]"),
        ({"k": 0}, "k: expected at least 1"),
        ({"threads": 0}, "threads: expected at least 1"),
        ({"allow": np.zeros(2, np.uint64)}, "allow"),
    ],
)
def test_arguments(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "queries": np.zeros((2, 128), np.float32), "rows": np.zeros((4, 64), np.uint8), "k": 3
    }  # fmt: skip
    assert _native.code_search(**arguments)[0].tolist() == [[0, 1, 2]] * 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        _native.code_search(**(arguments | changes))  # type: ignore[arg-type]


def test_cancelled() -> None:
    flag = _native.CancelFlag()
    flag.set()
    with pytest.raises(_native.Cancelled):
        _native.code_search(np.zeros((1, 128), np.float32), np.zeros((4, 64), np.uint8), 1, cancel=flag)
