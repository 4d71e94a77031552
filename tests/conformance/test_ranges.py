"""Everything within a distance: exact distances, in order, nothing beyond, and nearly nothing missing."""

import functools
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest
from nearfield.index_builders import Index, build_index
from tests.conformance import cases, real_rows

FLOOR = 0.98
EXACT = ("flat", "hnsw", "ivf")
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@functools.cache
def built(kind: str, metric: str, dtype: str = "float32") -> Index:
    return build_index(cases.clustered(dtype), metric=metric, kind=kind)


def check(
    found: Found,
    distances: NDArray[np.float64],
    radius: float,
    allowed: NDArray[np.bool_] | None = None,
) -> float:
    """Assert everything a correct answer has, completeness apart; returns the share that was found."""
    offsets, rows, got = found
    allowed = np.ones(distances.shape[1], dtype=np.bool_) if allowed is None else allowed
    assert (offsets.dtype, rows.dtype, got.dtype) == (np.int64, np.int64, np.float32)
    assert len(offsets) == len(distances) + 1 and offsets[0] == 0 and offsets[-1] == len(rows) == len(got)
    slack = 1e-5 * (1 + np.abs(distances).max())  # of single precision, at the very edge
    wanted = hits = 0
    for query, (start, end) in enumerate(pairwise(offsets)):
        mine, far, truth = rows[start:end], got[start:end], distances[query]
        assert len(set(mine.tolist())) == len(mine) and allowed[mine].all()
        assert (far <= np.float32(radius)).all()
        in_order = (far[:-1] < far[1:]) | ((far[:-1] == far[1:]) & (mine[:-1] < mine[1:]))
        assert in_order.all(), "not sorted by distance, then row"
        np.testing.assert_allclose(far, truth[mine], rtol=1e-4, atol=slack)
        within = allowed & (truth <= radius - slack)
        wanted += int(within.sum())
        hits += int(within[mine].sum())
    return hits / wanted if wanted else 1.0


def radii(distances: NDArray[np.float64]) -> Mapping[str, float]:
    """By how many rows of all lie within, on average."""
    count = distances.shape[1]
    shares = {"few": 5 / count, "some": 60 / count, "many": 0.1, "most": 0.9}
    named = {name: float(np.quantile(distances, share)) for name, share in shares.items()}
    return {"none": float(distances.min() - 1), **named, "all": np.inf}


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_any_radius(kind: str, metric: str, dtype: str) -> None:
    queries = cases.queries_near(cases.clustered(dtype))
    distances = cases.true_distances(queries, cases.clustered(dtype), metric)
    for name, radius in radii(distances).items():
        share = check(built(kind, metric, dtype).range_search(queries, radius), distances, radius)
        assert share >= (1.0 if kind in EXACT or name == "all" else FLOOR), name


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_filters(kind: str, metric: str) -> None:
    rows = cases.clustered("float32")
    queries = cases.queries_near(rows)
    distances = cases.true_distances(queries, rows, metric)
    rng = np.random.default_rng(5)
    for share in (0.0, 0.002, 0.3, 0.98, 1.0):
        allowed = rng.random(len(rows)) < share
        for name, radius in radii(distances).items():
            found = built(kind, metric).range_search(queries, radius, allow=allowed)
            assert check(found, distances, radius, allowed) >= FLOOR, f"{share}, {name}"


@pytest.mark.parametrize("kind", cases.KINDS)
def test_copies_come_all(kind: str) -> None:
    few = cases.clustered("float32")[:150]
    rows = np.repeat(few, 20, axis=0)[np.random.default_rng(0).permutation(3_000)]
    queries = few[:30]
    distances = cases.true_distances(queries, rows, "l2")
    index = build_index(rows, metric="l2", kind=kind)
    assert check(index.range_search(queries, 0.0), distances, 0.0) == 1.0
    assert (np.diff(index.range_search(queries, 0.0)[0]) == 20).all()
    half = np.random.default_rng(1).random(len(rows)) < 0.5
    for radius in (0.0, float(np.quantile(distances, 0.05))):
        assert check(index.range_search(queries, radius, allow=half), distances, radius, half) >= FLOOR


@pytest.mark.parametrize("kind", cases.KINDS)
def test_threads_change_nothing(kind: str) -> None:
    queries = cases.queries_near(cases.clustered("float32"))
    radius = float(np.quantile(cases.true_distances(queries, cases.clustered("float32"), "l2"), 0.02))
    one, two = (built(kind, "l2").range_search(queries, radius, threads=threads) for threads in (1, 2))
    for mine, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", cases.KINDS)
def test_one_row_one_query_none(kind: str) -> None:
    index = build_index(np.ones((1, 3), dtype=np.float32), metric="l2", kind=kind)
    for radius, rows in ((3.0, [0]), (2.5, []), (-1.0, [])):
        offsets, found, _ = index.range_search(np.zeros(3), radius)
        assert offsets.tolist() == [0, len(rows)] and found.tolist() == rows
    assert index.range_search(np.zeros((0, 3)), 1.0)[0].tolist() == [0]


@pytest.mark.parametrize("kind", ["graph", "lvq"])
@pytest.mark.parametrize("name", real_rows.NAMES)
def test_real_data(name: str, kind: str) -> None:
    queries, distances = real_rows.queries_and_distances(name)
    for rows in (3, 30, 120, 400, 3_000):
        radius = float(np.quantile(distances, rows / real_rows.ROWS))
        found = real_rows.index(name, kind).range_search(queries, radius)
        assert check(found, distances, radius) >= FLOOR, f"{rows} rows on average"


@pytest.mark.parametrize("radius", [float("nan"), "1", None, True])
def test_no_radius(radius: float) -> None:
    with pytest.raises(InvalidRequest, match="radius must be a number"):
        built("flat", "l2").range_search(np.zeros(cases.DIMENSIONS), radius)


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RANGE_ROWS_MAX", 3 * cases.ROWS)
    queries = np.zeros((4, cases.DIMENSIONS))
    assert len(built("flat", "l2").range_search(queries[:3], np.inf)[1]) == 3 * cases.ROWS
    with pytest.raises(InvalidRequest, match="may find 12000 rows"):
        built("flat", "l2").range_search(queries, np.inf)
