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
