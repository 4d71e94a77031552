"""Wrong arguments of the native functions are a ValueError that says what was expected and what came."""

from typing import Any

import numpy as np
import pytest

from nearfield.engine import _native

ROWS = np.ones((100, 8), np.float32)
QUERIES = np.ones((2, 8), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": QUERIES.astype(np.float64)}, "queries: expected float32 [nq, 8], got float64 [2, 8]"),
        ({"queries": QUERIES[0]}, "queries: expected float32 [nq, 8], got float32 [8]"),
        ({"queries": np.ones((2, 9), np.float32)}, "queries: expected float32 [nq, 8], got float32 [2, 9]"),
        ({"queries": [[1.0] * 8]}, "queries: expected a C-contiguous array, got list"),
        ({"rows": ROWS.astype(np.int64)}, "rows: expected float32, float16 or uint8 [n, d]"),
        ({"rows": ROWS[:, ::2]}, "rows: expected a C-contiguous array, got ndarray"),
        ({"rows": np.ones((3, 0), np.float32)}, "with d of at least 1, got float32 [3, 0]"),
        ({"rows": ROWS.astype(">f4")}, "got items of buffer format '>f' [100, 8]"),
        ({"metric": "cosine"}, "metric: expected 'l2', 'ip' or 'l1', got 'cosine'"),
        ({"k": 0}, "k: expected at least 1, got 0"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"allow": np.zeros(1, np.uint64)}, "allow: expected uint64 [2], got uint64 [1]"),
        ({"allow": np.zeros(2, np.int64)}, "allow: expected uint64 [2], got int64 [2]"),
        ({"row_scale": np.ones(99, np.float32)}, "row_scale: expected float32 [100], got float32 [99]"),
    ],
)
def test_flat_search(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"queries": QUERIES, "rows": ROWS, "metric": "l2", "k": 3}
    with pytest.raises(ValueError) as caught:
        _native.flat_search(**(arguments | changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("offset", [-1, 100, 2**62])
def test_gather_offsets_are_checked(offset: int) -> None:
    with pytest.raises(ValueError, match=rf"offsets\[1\]: expected 0 <= offset < 100, got {offset}"):
        _native.gather_distances(QUERIES, ROWS, np.array([99, offset], np.int64), "l2")


def test_gather_offsets_are_int64() -> None:
    with pytest.raises(ValueError, match=r"offsets: expected int64 \[m\], got int32 \[1\]"):
        _native.gather_distances(QUERIES, ROWS, np.array([1], np.int32), "l2")


@pytest.mark.parametrize("threads", [0, -3, 1025])
def test_pool_size(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads: expected 1 to 1024, got {threads}"):
        _native.ThreadPool(threads)


def test_pool_reports_its_size() -> None:
    assert [_native.ThreadPool(threads).threads for threads in (1, 2, 7)] == [1, 2, 7]
