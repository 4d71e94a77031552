"""What encodings cost in recall: against full rows on the same graph, and what training queries gain."""

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.graph.index import GraphIndex
from tests.helpers import shared_data
from tests.recall import measure

K = 10
SETS = ("arxiv-minilm-384-ip", "mnist-784-l2")


@functools.cache
def built(name: str, encoding: str) -> GraphIndex:
    given, builder = measure.data(name), measure.REGISTRY.builder("lvq")
    params = builder.parse_params({"encoding": encoding})
    index = builder.build(given.rows, given.metric, params, BuildContext(threads=2))
    assert isinstance(index, GraphIndex)
    return index


@functools.cache
def by_full_rows(name: str, ef: int) -> float:
    """Recall of a traversal that reads full rows, on the graph the encodings have."""
    given, arrays = measure.data(name), built(name, "lvq8").arrays
    assert arrays is not None
    graph = _native.Graph(
        arrays.links.neighbours, arrays.links.entries, arrays.links.order.astype(np.uint32),
        None, 8, given.rows.shape[1], 0, None, 8, 0, False, given.rows, None,
        given.metric, arrays.mean, arrays.scale, None, None, None,
    )  # fmt: skip
    return recall(name, graph.search(given.queries, K, ef, 0, 0)[0])


def recall(name: str, found: NDArray[np.int64]) -> float:
    return shared_data.recall(found, measure.data(name).truth, K)


@pytest.mark.parametrize("ef", [16, 32, 64])
@pytest.mark.parametrize(
    "encoding, lost", [("lvq8", 0.005), ("lvq4x8", 0.01), ("lvq8x8", 0.005), ("lvq4x4", 0.015)]
)
@pytest.mark.parametrize("name", SETS)
def test_codes_lose_little_against_full_rows(name: str, encoding: str, lost: float, ef: int) -> None:
    index = built(name, encoding)
    found = index.search(measure.data(name).queries, K, {"ef": ef}).rows
    assert recall(name, found) >= by_full_rows(name, ef) - lost


@pytest.mark.parametrize("name", SETS)
def test_all_encodings_have_the_same_graph(name: str) -> None:
    first, second = built(name, "lvq8").arrays, built(name, "lvq4x8").arrays
    assert first is not None and second is not None
    # But for the last links of a build, to the few rows that a search by these codes did not find.
    differing = np.count_nonzero(first.links.neighbours != second.links.neighbours)
    assert differing <= first.links.neighbours.size * 1e-4


@pytest.mark.parametrize("name", SETS)
def test_leanvec_reaches_nearly_all(name: str) -> None:
    index = measure.built(name, "leanvec")
    assert recall(name, index.search(measure.data(name).queries, K, ef=200)[0]) >= 0.99
