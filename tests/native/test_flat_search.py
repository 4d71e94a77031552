"""The flat scan finds what sorting all distances finds, with any bitmap, k, type and number of threads."""

import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import Cancelled, NearfieldError

DTYPES = (np.float32, np.float16, np.uint8)
METRICS = ("l2", "ip", "l1")
DIMS = 37

Answer = tuple[NDArray[np.int64], NDArray[np.float32]]


def make_rows(count: int, dtype: type, seed: int = 0) -> NDArray[np.generic]:
    random = np.random.default_rng(seed)
    if dtype is np.uint8:
        return random.integers(0, 256, (count, DIMS), dtype=np.uint8)
    return random.standard_normal((count, DIMS), dtype=np.float32).astype(dtype)


def make_queries(count: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, DIMS), dtype=np.float32)


def bitmap(allowed: NDArray[np.bool_]) -> NDArray[np.uint64]:
    padded = np.zeros(-(-len(allowed) // 64) * 64, np.bool_)
    padded[: len(allowed)] = allowed
    return np.packbits(padded, bitorder="little").view(np.uint64)


def by_sorting(
    queries: NDArray[np.float32], rows: NDArray[np.generic], metric: str, k: int,
    allowed: NDArray[np.bool_] | None = None, scale: NDArray[np.float32] | None = None,
) -> Answer:  # fmt: skip
    """The expected answer from the distances the module itself gives."""
    offsets = np.full((len(queries), k), -1, np.int64)
    distances = np.full((len(queries), k), np.inf, np.float32)
    every = np.arange(len(rows), dtype=np.int64)
    all_distances = _native.gather_distances(queries, rows, every, metric, scale)
    for q, found in enumerate(all_distances):
        usable = ~np.isnan(found) & (allowed if allowed is not None else True)
        order = [row for row in np.lexsort((every, found)) if usable[row]][:k]
        offsets[q, : len(order)] = order
        distances[q, : len(order)] = found[order]
    return offsets, distances


def assert_same(found: Answer, expected: Answer) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 4_000])
def test_equals_sorting(dtype: type, metric: str, count: int) -> None:
    rows, queries = make_rows(count, dtype), make_queries(7)
    for k in (1, 10, count + 5):
        found = _native.flat_search(queries, rows, metric, k)
        assert_same(found, by_sorting(queries, rows, metric, k))


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.02, 0.3, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("threads", [1, 3])
def test_bitmaps(share: float, threads: int) -> None:
    rows, queries = make_rows(9_001, np.float32), make_queries(5)
    allowed = np.random.default_rng(3).random(len(rows)) < share
    words = bitmap(allowed)
    words[-1] |= np.uint64(1) << np.uint64(63)  # bits beyond the rows mean nothing
    for k in (1, 20):
        found = _native.flat_search(queries, rows, "l2", k, words, threads=threads)
        assert_same(found, by_sorting(queries, rows, "l2", k, allowed))


def test_clustered_bitmap() -> None:
    rows, queries = make_rows(20_000, np.float32), make_queries(4)
    allowed = np.zeros(len(rows), np.bool_)
    allowed[3_001:7_777] = True
    allowed[19_998] = True
    found = _native.flat_search(queries, rows, "ip", 50, bitmap(allowed))
    assert_same(found, by_sorting(queries, rows, "ip", 50, allowed))


def test_row_scale() -> None:
    rows, queries = make_rows(3_000, np.uint8), make_queries(3)
    scale = (1.0 / np.linalg.norm(rows.astype(np.float32), axis=1)).astype(np.float32)
    allowed = np.random.default_rng(5).random(len(rows)) < 0.2
    for bits, mask in ((None, None), (bitmap(allowed), allowed)):
        found = _native.flat_search(queries, rows, "ip", 12, bits, scale)
        assert_same(found, by_sorting(queries, rows, "ip", 12, mask, scale))
    cosine = (queries @ rows.astype(np.float32).T * scale)[0].max()
    _, distances = _native.flat_search(queries, rows, "ip", 1, None, scale)
    assert distances[0, 0] == pytest.approx(-cosine, rel=1e-5)


@pytest.mark.parametrize("pool_threads", [None, 1, 2, 5])
def test_threads_do_not_change_the_answer(pool_threads: int | None) -> None:
    rows = np.repeat(make_rows(6_000, np.float32), 5, axis=0)  # ties everywhere, also across threads
    queries = make_queries(9)
    pool = _native.ThreadPool(pool_threads) if pool_threads else None
    expected = _native.flat_search(queries, rows, "l2", 17)
    for _ in range(20):
        assert_same(_native.flat_search(queries, rows, "l2", 17, threads=4, pool=pool), expected)


def test_batch_size_does_not_change_the_answer() -> None:
    rows, queries = make_rows(2_000, np.float32), make_queries(301)
    offsets, distances = _native.flat_search(queries, rows, "l2", 5)
    for q in range(0, len(queries), 13):
        alone = _native.flat_search(queries[q : q + 1], rows, "l2", 5)
        assert_same(alone, (offsets[q : q + 1], distances[q : q + 1]))


def test_nan_never_wins_and_infinity_loses_to_all_else() -> None:
    rows = make_rows(200, np.float32)
    rows[:50, 3] = np.nan
    rows[50:100, 3] = np.inf
    offsets, distances = _native.flat_search(make_queries(1), rows, "l2", 150)
    assert set(offsets[0, :100]) == set(range(100, 200))
    assert list(offsets[0, 100:]) == list(range(50, 100))
    assert np.isinf(distances[0, 100:]).all()
    offsets, _ = _native.flat_search(np.full((1, DIMS), np.nan, np.float32), rows, "l2", 3)
    assert (offsets == -1).all()


def test_read_only_memory_map(tmp_path: object) -> None:
    rows = make_rows(500, np.float32)
    path = f"{tmp_path}/rows.f32"
    rows.tofile(path)
    mapped = np.memmap(path, np.float32, "r", shape=rows.shape)
    queries = make_queries(2)
    assert_same(_native.flat_search(queries, mapped, "l1", 4), _native.flat_search(queries, rows, "l1", 4))


def test_no_queries() -> None:
    offsets, distances = _native.flat_search(make_queries(0), make_rows(10, np.float32), "l2", 4)
    assert offsets.shape == distances.shape == (0, 4)


def test_gather_agrees_with_numpy() -> None:
    rows, queries = make_rows(100, np.float32).astype(np.float32), make_queries(3)
    offsets = np.array([5, 5, 99, 0, 17], np.int64)
    found = _native.gather_distances(queries, rows, offsets, "l2")
    expected = ((queries[:, None] - rows[offsets][None]) ** 2).sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(_native.gather_distances(queries[1], rows, offsets, "l2"), found[1])


def test_cancel_stops_a_long_search() -> None:
    rows, queries = make_rows(60_000, np.float32), make_queries(2_000)
    cancel = _native.CancelFlag()
    timer = threading.Timer(0.05, cancel.set)
    start = time.monotonic()
    timer.start()
    with pytest.raises(Cancelled) as caught:
        _native.flat_search(queries, rows, "l2", 10, threads=2, cancel=cancel)
    assert time.monotonic() - start < 1.0
    assert isinstance(caught.value, NearfieldError | _native.Cancelled)
    assert cancel.is_set()


def test_one_pool_serves_many_threads() -> None:
    rows, queries = make_rows(40_000, np.float32), make_queries(16)
    pool = _native.ThreadPool(3)
    expected = _native.flat_search(queries, rows, "ip", 10)
    wrong: list[int] = []

    def search(number: int) -> None:
        for _ in range(10):
            found = _native.flat_search(queries, rows, "ip", 10, threads=3, pool=pool)
            if not (np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])):
                wrong.append(number)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
