"""The default index on data of other shapes than the shared sets, made from these to be real all the same."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders import build_index
from nearfield.index_builders.graph.builder import leanvec_builder
from nearfield.index_builders.graph.index import GraphIndex
from tests.helpers import shared_data

ROWS, QUERIES, K = 12_000, 200, 10
Made = tuple[NDArray[np.float32], NDArray[np.float32], str]


def abstracts() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit rows, and queries of another distribution: titles."""
    data = shared_data.load("arxiv-minilm-384-ip")
    return data.base[:ROWS].astype(np.float32), data.queries[:QUERIES]


def digits_along_principal_axes(dimensions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    data = shared_data.load("mnist-784-l2")
    rows, queries = data.base[:ROWS].astype(np.float32), data.queries[:QUERIES]
    mean = rows.mean(axis=0)
    axes = np.linalg.eigh(np.cov((rows - mean).T))[1][:, ::-1][:, :dimensions].astype(np.float32)
    return (rows - mean) @ axes, (queries - mean) @ axes


def rows_of_any_length(spread: float) -> Made:
    """Lengths vary by a factor of e^spread (one standard deviation): the answers are mostly long rows."""
    rows, queries = abstracts()
    lengths = np.exp(spread * np.random.default_rng(3).standard_normal(len(rows)))
    return (rows * lengths[:, None]).astype(np.float32), queries, "ip"


def clusters_apart(times: float) -> Made:
    """Categories so many times as far from each other as papers of one category are."""
    data = shared_data.load("arxiv-minilm-384-ip")
    category = np.load(data.path / "base_payload.npz")["primary_cat"][: ROWS + QUERIES]
    rng = np.random.default_rng(5)
    centres = times * rng.standard_normal((category.max() + 1, 384)) / np.sqrt(384)
    moved = (data.base[: ROWS + QUERIES] + centres[category]).astype(np.float32)
    return moved[:ROWS], moved[ROWS:], "l2"


def blobs_apart() -> Made:
    """60 clusters of any size in 20 of 128 directions, thirty times as far apart as neighbours."""
    rng = np.random.default_rng(8)
    sizes = np.exp(rng.standard_normal(60))
    cluster = rng.choice(60, ROWS + QUERIES, p=sizes / sizes.sum())
    rows = rng.standard_normal((ROWS + QUERIES, 20)) @ rng.standard_normal((20, 128))
    rows += rng.standard_normal(rows.shape)
    rows += (80 * rng.standard_normal((60, 128)))[cluster]
    rows = rows.astype(np.float32)
    return rows[:ROWS], rows[ROWS:], "l2"


def blobs_very_far_apart() -> Made:
    """Of 96 dimensions: whole rows in 8 bits, that cannot tell which of a cluster are nearest."""
    rows, queries, metric = blobs_apart()
    away = np.random.default_rng(9).standard_normal((1, 96)).astype(np.float32)
    moved = [np.rint(part[:, 96:97] / 40) * (120 * away) + part[:, :96] for part in (rows, queries)]
    return moved[0], moved[1], metric


def one_direction_for_all() -> Made:
    """A vector added to all that is twice as long as they are."""
    rows, queries = abstracts()
    common = np.random.default_rng(6).standard_normal(384).astype(np.float32)
    common *= 2 / np.linalg.norm(common)
    return rows + common, queries + common, "cosine"


def half_of_them_twice() -> Made:
    rows, queries = abstracts()
    return np.concatenate([rows[: ROWS // 2], rows[: ROWS // 2]]), queries, "ip"


SHAPES: dict[str, tuple[Callable[[], Made], float]] = {
    "lengths that vary by a fifth": (lambda: rows_of_any_length(0.2), 0.97),
    "lengths that vary by e": (lambda: rows_of_any_length(1.0), 0.97),
    "clusters apart": (lambda: clusters_apart(3), 0.97),
    "clusters far apart": (lambda: clusters_apart(30), 0.97),
    "blobs far apart": (blobs_apart, 0.97),
    "blobs very far apart": (blobs_very_far_apart, 0.9),
    "one direction for all": (one_direction_for_all, 0.97),
    "every row twice": (half_of_them_twice, 0.97),
    "2 dimensions": (lambda: (*digits_along_principal_axes(2), "l2"), 0.97),
    "3 dimensions": (lambda: (*digits_along_principal_axes(3), "cosine"), 0.97),
    "17 dimensions": (lambda: (*digits_along_principal_axes(17), "ip"), 0.97),
}
"""By name, how it is made, and the recall of 48 candidates."""


@pytest.mark.parametrize("name", SHAPES)
def test_the_default_index_serves_data_of_any_shape(name: str) -> None:
    make, least = SHAPES[name]
    rows, queries, metric = make()
    exact = build_index(rows, metric=metric, kind="flat").search(queries, K, threads=2)[1]
    index = build_index(rows, metric=metric, threads=2)

    def recall(**knobs: float) -> float:
        """Share of hits no further away than the tenth: equal rows count alike."""
        found = index.search(queries, K, threads=2, **knobs)[1]
        return float((found <= exact[:, -1:] + 1e-6 * np.abs(exact[:, -1:])).mean())

    assert recall(ef=48) >= least
    assert recall() >= 0.95
    assert recall(ef=400) >= 0.995


def test_near_copies_do_not_make_a_promise_easy() -> None:
    """Ten of each row hardly differ: a query is as near to those of one row as to those of the next."""
    rows, _ = abstracts()
    rng = np.random.default_rng(10)
    copies = np.repeat(rows[: ROWS // 10], 10, axis=0)
    copies += (1e-3 * rng.standard_normal(copies.shape)).astype(np.float32)
    index = build_index(copies, metric="ip", threads=2)
    assert index.calibration is not None and index.calibration.width_for(0.97) > 10
    exact = build_index(copies, metric="ip", kind="flat").search(rows[-QUERIES:], K, threads=2)[1]
    assert float((index.search(rows[-QUERIES:], K)[1] <= exact[:, -1:]).mean()) >= 0.82


def test_what_codes_cannot_tell_is_scanned() -> None:
    """One column of few values, ten thousand times as large as the others."""
    rows, queries = abstracts()
    rng = np.random.default_rng(11)
    for part in (rows, queries):
        part[:, 5] = 500 * rng.integers(0, 20, len(part))
    exact = build_index(rows, metric="l2", kind="flat").search(queries, K, threads=2)[0]
    index = build_index(rows, metric="l2", threads=2)
    assert index.calibration is not None and not index.calibration.reaches(0.97)
    np.testing.assert_array_equal(index.search(queries, K, threads=2)[0], exact)
    assert (index.search(queries, K, ef=32)[0] != exact).any(), "who gives a width gets that width"


def test_an_index_that_changes_still_reaches_every_cluster() -> None:
    """Rows of clusters that were not there enter, then whole generations of the rows leave."""
    rows, queries, metric = blobs_apart()
    builder, context = leanvec_builder(), BuildContext(threads=2)
    params = builder.parse_params({"calibrate": False})
    far = np.square(rows - rows[0]).sum(axis=1).argsort(kind="stable")
    part = np.arange(ROWS) // 400 % 3
    before, entering = far[part < 2], far[part == 2]
    index: GraphIndex | None = builder.build(rows[before], metric, params, context)

    def recall(kept: NDArray[np.int64]) -> float:
        assert index is not None
        exact = build_index(rows[kept], metric=metric, kind="flat").search(queries, K, threads=2)[1]
        found = index.search(queries, K, {"ef": 32, "threads": 2}).distances
        return float((found <= exact[:, -1:] * (1 + 1e-6)).mean())

    live = np.concatenate([before, entering])
    origin = np.concatenate([np.arange(len(before)), np.full(len(entering), -1)])
    assert index is not None
    index = builder.extend(index, origin, rows[live], metric, params, context)
    assert recall(live) >= 0.985
    rng = np.random.default_rng(4)
    for _ in range(4):
        staying = np.sort(rng.permutation(len(live))[: len(live) * 7 // 10])
        assert index is not None
        index = builder.extend(index, staying, rows[live[staying]], metric, params, context)
        live = live[staying]
    assert recall(live) >= 0.985
