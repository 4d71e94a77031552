"""The library entry: what goes in, what comes out, and what it says about bad input."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import Cancelled, Corrupted, InvalidRequest
from nearfield.index_builders import build_index, open_index

ROWS = np.random.default_rng(0).normal(size=(3_000, 12)).astype(np.float32)


def _with_nan_in_row(row: int) -> NDArray[np.float32]:
    rows = ROWS.copy()
    rows[row, 3] = np.nan
    return rows


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf", "auto"])
def test_build_search_save_open(kind: str, tmp_path: Path) -> None:
    done: list[float] = []
    index = build_index(ROWS, metric="l2", kind=kind, threads=2, seed=1, progress=done.append)
    assert done[-1] == 1.0
    assert index.kind == ("flat" if kind == "auto" else kind)
    assert (index.metric, index.count, index.dimensions) == ("l2", 3_000, 12)
    ids, distances = index.search(ROWS[:20], k=5, ef=64, threads=1)
    assert ids.shape == distances.shape == (20, 5)
    assert (ids.dtype, distances.dtype) == (np.int64, np.float32)
    assert ids[:, 0].tolist() == list(range(20)) and (distances[:, 0] == 0).all()
    index.save(tmp_path / "saved")
    opened = open_index(tmp_path / "saved")
    assert opened.spec == index.spec and opened.resident_bytes() == index.resident_bytes()
    np.testing.assert_array_equal(opened.search(ROWS[:20], 5, ef=64)[0], ids)
    with pytest.raises(InvalidRequest, match="new or empty directory"):
        index.save(tmp_path / "saved")


def test_damaged_rows_are_noticed(tmp_path: Path) -> None:
    build_index(ROWS, metric="l2", kind="flat").save(tmp_path / "saved")
    path = tmp_path / "saved" / "rows.nfs"
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    opened = open_index(tmp_path / "saved")
    with pytest.raises(Corrupted, match=r"rows\.nfs: section 'rows', bytes 0 and up fail their checksum"):
        opened.search(ROWS[0])
    with pytest.raises(Corrupted, match=r"rows\.nfs is damaged"):
        open_index(tmp_path / "saved", verify=True)
    with pytest.raises(Corrupted, match="is not the header of an index"):
        open_index(tmp_path)


def test_one_query_a_list_of_numbers_and_a_filter() -> None:
    index = build_index(ROWS.tolist(), metric="cosine", kind="flat")
    ids, _ = index.search(ROWS[7].tolist(), 3)
    assert ids.shape == (1, 3) and ids[0, 0] == 7
    allow = np.arange(3_000) > 2_997
    ids, distances = index.search(ROWS[7], 3, allow=allow)
    assert sorted(ids[0].tolist()) == [-1, 2_998, 2_999] and np.isposinf(distances[0, 2])


@pytest.mark.parametrize("kind", ["flat", "graph", "lvq", "hnsw", "ivf"])
def test_equal_cosine_distances_go_by_row(kind: str) -> None:
    # All rows are nearly orthogonal to the query: 1 minus their products rounds to a few values.
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((1_200, 8), dtype=np.float32)
    rows[:, 0] = rng.uniform(-1e-6, 1e-6, len(rows))
    index = build_index(rows, metric="cosine", kind=kind, params={}, threads=1)
    ids, distances = index.search([1, 0, 0, 0, 0, 0, 0, 0], k=400)
    assert len(np.unique(distances[0])) < 100
    np.testing.assert_array_equal(np.lexsort((ids[0], distances[0])), np.arange(400))


def test_rows_are_kept_as_they_are() -> None:
    for dtype in (np.float32, np.float16, np.uint8):
        rows = np.abs(ROWS * 10).astype(dtype)
        ids, _ = build_index(rows, metric="l1", kind="flat").search(rows[:3], 1)
        assert ids[:, 0].tolist() == [0, 1, 2]
    strided = ROWS[::2, ::2]
    assert build_index(strided, metric="l2").search(strided[5], 1)[0].tolist() == [[5]]


@pytest.mark.parametrize(
    "vectors, options, message",
    [
        (ROWS[0], {}, r"vectors must be an array \[n, d\] .* got shape \(12,\)"),
        (ROWS[:0], {}, r"got shape \(0, 12\)"),
        (ROWS[:, :0], {}, r"got shape \(3000, 0\)"),
        (ROWS.astype(np.int64), {}, "vectors must be float32, float16, uint8 or float64, got int64"),
        (np.array([["a"]]), {}, "got <U1"),
        (_with_nan_in_row(17), {}, r"got NaN or infinity \(at vectors\[17\]\)"),
        (np.full((3, 2), np.inf, dtype=np.float16), {}, r"at vectors\[0\]"),
        (np.full((3, 2), 1e300), {}, "must be finite"),
        (ROWS, {"metric": "euclid"}, "metric must be one of l2, ip, cosine, l1, got 'euclid'"),
        (ROWS, {"metric": "l1", "kind": "hnsw"}, "`hnsw` computes cosine, ip, l2, not l1"),
        (ROWS, {"threads": 0}, "threads must be at least 1"),
        (ROWS, {"training_queries": ROWS[:, :5]}, r"training_queries must be an array \[nq, 12\]"),
    ],
)  # fmt: skip
def test_unusable_input(vectors: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        build_index(vectors, **{"metric": "l2", **options})


@pytest.mark.parametrize(
    "queries, options, message",
    [
        (ROWS[:2, :5], {}, r"queries must be an array \[nq, 12\], got shape \(2, 5\)"),
        (np.full(12, np.nan), {}, r"must be finite, got NaN or infinity \(at queries\[0\]\)"),
        ([["a"] * 12], {}, "queries must be numbers"),
        (ROWS[:1], {"k": 0}, "k must be from 1 to 100000, got 0"),
        (ROWS[:1], {"threads": 0}, "threads must be an integer of at least 1"),
        (ROWS[:1], {"allow": np.ones(5, dtype=bool)}, r"bool \[3000\] or uint64 \[47\], got bool \[5\]"),
    ],
)  # fmt: skip
def test_unusable_queries(queries: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        build_index(ROWS, metric="l2").search(queries, **options)


def test_cancel() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        build_index(ROWS, metric="l2", kind="hnsw", cancel=cancel)
