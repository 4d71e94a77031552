"""Laws of a changed graph: every node can be reached, no list names a node that left, none is too long."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.graph.extend import LinkExtender
from nearfield.index_builders.graph.links import LinkBuilder, Links
from nearfield.index_builders.graph.signed_rows import SignedRows

DIMENSIONS, DEGREE = 12, 8


def _rows(vectors: NDArray[np.float32]) -> SignedRows:
    rows = SignedRows.empty(*vectors.shape)
    rows.encode(0, vectors)
    return rows


def _vectors(rng: np.random.Generator, count: int, shape: str) -> NDArray[np.float32]:
    if shape == "equal":
        return np.ones((count, DIMENSIONS), dtype=np.float32)
    vectors = rng.normal(size=(count, DIMENSIONS)).astype(np.float32)
    if shape == "islands":
        vectors += 50 * rng.integers(3, size=(count, 1))
    return vectors


def _reached(links: Links) -> int:
    seen = np.zeros(len(links.order), dtype=np.bool_)
    seen[links.entries[0]] = True
    front = links.entries[:1].astype(np.int64)
    while len(front):
        named = np.unique(links.neighbours[front])
        front = named[named != _native.NO_NEIGHBOUR].astype(np.int64)
        front = front[~seen[front]]
        seen[front] = True
    return int(seen.sum())


@st.composite
def _changes(draw: st.DrawFn) -> tuple[int, NDArray[np.bool_], int, str, int]:
    before = draw(st.integers(2, 400))
    seed = draw(st.integers(0, 2**16))
    share = draw(st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0]))
    leaves = np.random.default_rng(seed).random(before) < share
    if leaves.all():
        leaves[draw(st.integers(0, before - 1))] = False
    entering = draw(st.sampled_from([0, 1, 2, 50, 400]))
    return before, leaves, entering, draw(st.sampled_from(["spread", "islands", "equal"])), seed


@settings(max_examples=25, deadline=None)
@given(_changes())
def test_a_changed_graph_is_whole(change: tuple[int, NDArray[np.bool_], int, str, int]) -> None:
    before, leaves, entering, shape, seed = change
    rng = np.random.default_rng(seed)
    vectors = _vectors(rng, before, shape)
    old = LinkBuilder(_rows(vectors), DIMENSIONS, DEGREE, 1.2, 40, BuildContext(seed=seed)).build()
    stays = ~leaves[old.order]
    place = np.where(stays, np.cumsum(stays) - 1, _native.NO_NEIGHBOUR).astype(np.uint32)
    now = np.concatenate([vectors[old.order[stays]], _vectors(rng, entering, shape)])
    results = []
    for threads in (1, 3):
        context = BuildContext(threads=threads, seed=seed)
        extender = LinkExtender(_rows(now), DIMENSIONS, int(stays.sum()), 1.2, 40, context)
        results.append(extender.extend(old, place))
    first, second = results
    np.testing.assert_array_equal(first.neighbours, second.neighbours)
    np.testing.assert_array_equal(first.order, second.order)
    np.testing.assert_array_equal(first.entries, second.entries)
    count = len(now)
    lists = first.neighbours
    assert lists.shape == (count, DEGREE)
    assert sorted(first.order.tolist()) == list(range(count))
    filled = lists != _native.NO_NEIGHBOUR
    assert (lists[filled] < count).all()
    assert (filled[:, 1:] <= filled[:, :-1]).all(), "a list has a gap"
    assert not (lists == np.arange(count)[:, None]).any(), "a node names itself"
    assert all(
        len(set(row[row != _native.NO_NEIGHBOUR].tolist())) == n
        for row, n in zip(lists, filled.sum(1), strict=True)
    )
    assert first.entries[0] == 0 and len(np.unique(first.entries)) == len(first.entries)
    assert (first.entries < count).all()
    assert _reached(first) == count
