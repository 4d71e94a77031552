"""Rows batch after batch: each once, nearly in order, all in the end."""

import functools
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest
from nearfield.index_builders import Index, build_index
from tests.conformance import cases, real_rows

EXACT = ("flat", "hnsw", "ivf")


@functools.cache
def built(kind: str, metric: str) -> Index:
    return build_index(cases.clustered("float32"), metric=metric, kind=kind)


def late(distances: NDArray[np.float32]) -> float:
    """Share of rows that come after one that is further away."""
    return float((distances < np.maximum.accumulate(distances)).mean())


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_every_row_once_and_nearly_in_order(kind: str, metric: str) -> None:
    rows = cases.clustered("float32")
    queries = cases.queries_near(rows)[:6]
    distances = cases.true_distances(queries, rows, metric)
    for query, truth in zip(queries, distances, strict=True):
        batches = list(built(kind, metric).iterate(query, batch=64))
        assert {len(found) for found, _ in batches[:-1]} == {64} and 1 <= len(batches[-1][0]) <= 64
        found, far = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        assert (found.dtype, far.dtype) == (np.int64, np.float32)
        np.testing.assert_array_equal(np.sort(found), np.arange(len(rows)))
        np.testing.assert_allclose(far, truth[found], rtol=1e-4, atol=1e-5 * (1 + np.abs(truth).max()))
        assert all((np.diff(batch) >= 0).all() for _, batch in batches)
        assert late(far) <= (0.0 if kind in EXACT else 0.05)
        nearest = np.argsort(truth)
        for count in (64, 256, 1_024):
            shared = len(np.intersect1d(found[:count], nearest[:count]))
            assert shared / count >= (0.999 if kind in EXACT else 0.97), count


@pytest.mark.parametrize("kind", cases.KINDS)
def test_filters(kind: str) -> None:
    rows = cases.clustered("float32")
    query = cases.queries_near(rows)[0]
    truth = cases.true_distances(query[None], rows, "l2")[0]
    rng = np.random.default_rng(2)
    for share in (0.0, 0.002, 0.1, 0.9, 1.0):
        allowed = rng.random(len(rows)) < share
        batches = list(built(kind, "l2").iterate(query, batch=10, allow=allowed))
        assert len(batches) == -(-int(allowed.sum()) // 10)
        found = np.concatenate([np.empty(0, dtype=np.int64), *(rows for rows, _ in batches)])
        np.testing.assert_array_equal(np.sort(found), np.flatnonzero(allowed))
        nearest = np.flatnonzero(allowed)[np.argsort(truth[allowed])][:50]
        assert len(np.intersect1d(found[:50], nearest)) >= 0.96 * len(nearest)


@pytest.mark.parametrize("kind", cases.KINDS)
def test_copies_come_one_by_one(kind: str) -> None:
    few = cases.clustered("float32")[:100]
    rows = np.repeat(few, 30, axis=0)
    index = build_index(rows, metric="l2", kind=kind)
    batches = list(index.iterate(few[7], batch=7))
    assert {len(found) for found, _ in batches[:-1]} == {7}
    found = np.concatenate([found for found, _ in batches])
    assert sorted(found[:30].tolist()) == list(range(7 * 30, 8 * 30))
    np.testing.assert_array_equal(np.sort(found), np.arange(len(rows)))


@pytest.mark.parametrize("kind", cases.KINDS)
def test_several_at_once_and_closing(kind: str) -> None:
    queries = cases.queries_near(cases.clustered("float32"))[:3]
    index = built(kind, "l2")
    alone = [np.concatenate([found for found, _ in index.iterate(query, batch=500)]) for query in queries]
    iterators = [index.iterate(query, batch=500) for query in queries]
    pieces: list[list[NDArray[np.int64]]] = [[] for _ in queries]
    for _ in range(8):
        for iterator, parts in zip(iterators, pieces, strict=True):
            parts.append(next(iterator)[0])
    for parts, expected in zip(pieces, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    with index.iterate(queries[0]) as iterator:
        assert len(next(iterator)[0]) == 100
    assert list(iterator) == []
    iterator.close()
    assert all(next(each, None) is None for each in iterators)


@pytest.mark.parametrize("kind", ["flat", "graph"])
def test_threads_share_an_iterator(kind: str) -> None:
    iterator = built(kind, "l2").iterate(cases.queries_near(cases.clustered("float32"))[0], batch=16)
    taken: list[list[int]] = [[] for _ in range(4)]

    def take(mine: list[int]) -> None:
        for found, _ in iterator:
            mine += found.tolist()

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row for mine in taken for row in mine) == list(range(cases.ROWS))


@pytest.mark.parametrize("kind", [kind for kind in cases.KINDS if kind not in EXACT])
def test_outlives_its_index(kind: str) -> None:
    rows = cases.clustered("float32")[:1_000].copy()
    iterator = build_index(rows, metric="l2", kind=kind).iterate(rows[3], batch=10)
    assert next(iterator)[0][0] == 3
    assert sum(len(found) for found, _ in iterator) == len(rows) - 10


@pytest.mark.parametrize("kind", ["graph", "lvq"])
@pytest.mark.parametrize("name", real_rows.NAMES)
def test_real_data(name: str, kind: str) -> None:
    shares, out_of_order = [], []
    for query, truth in zip(*real_rows.queries_and_distances(name), strict=True):
        nearest = np.argsort(truth)
        iterator = real_rows.index(name, kind).iterate(query, batch=50)
        found, far = zip(*(next(iterator) for _ in range(6)), strict=True)
        shares.append(
            [len(np.intersect1d(np.concatenate(found[:n]), nearest[: 50 * n])) / (50 * n) for n in (1, 2, 6)]
        )
        out_of_order.append(late(np.concatenate(far)))
    assert np.mean(shares, axis=0).min() >= 0.97
    assert np.mean(out_of_order) <= 0.05


@pytest.mark.parametrize("batch", [0, -1, 2.5, True, 1_000_000])
def test_no_batch(batch: int) -> None:
    with pytest.raises(InvalidRequest, match="batch must be from 1 to"):
        built("flat", "l2").iterate(np.zeros(cases.DIMENSIONS), batch=batch)


def test_more_than_one_query() -> None:
    with pytest.raises(InvalidRequest, match=r"query must be an array \[24\], got shape \[1, 24\]"):
        built("flat", "l2").iterate(np.zeros((1, cases.DIMENSIONS)))
