"""Walks over small graphs made by hand: what no link leads to, lifetimes, and refused arguments."""

import gc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native

NONE = _native.NO_NEIGHBOUR


def line(count: int, *, linked: int, metric: str = "l2", with_rows: bool = True) -> _native.Graph:
    """Nodes 0, 1, ... at those places of one axis, the first `linked` each linked to the next and the last.

    Without primary codes, walks read the full rows.
    """
    rows = np.zeros((count, 2), dtype=np.float32)
    rows[:, 0] = np.arange(count)
    neighbours = np.full((count, 2), NONE, dtype=np.uint32)
    neighbours[1:linked, 0] = np.arange(linked - 1)
    neighbours[0, 0] = 1
    neighbours[1 : linked - 1, 1] = np.arange(2, linked)
    codes = None if with_rows else np.zeros(count * 64 + 64, dtype=np.uint8)
    return _native.Graph(
        neighbours, np.zeros(1, dtype=np.uint32), np.arange(count, dtype=np.uint32),
        codes, 8, 2, 0 if with_rows else 64, None, 8, 0, False, rows if with_rows else None, None,
        metric, np.zeros(2, dtype=np.float32), 1.0, None, None, None,
    )  # fmt: skip


def at(place: float) -> NDArray[np.float32]:
    return np.array([place, 0], dtype=np.float32)


def drained(stream: _native.GraphRowStream, count: int) -> list[int]:
    """All its rows, `count` at a time."""
    found: list[int] = []
    while len(rows := stream.next(count)[0]) > 0:
        found += rows.tolist()
    return found


def test_what_no_link_leads_to_comes_too() -> None:
    stream = _native.GraphRowStream(line(600, linked=400), at(399.0), 1)
    rows = drained(stream, 50)
    assert sorted(rows) == list(range(600))
    reached = [row for row in rows if row < 400]
    assert reached == sorted(reached, reverse=True), "nearest first among those the links lead to"


def test_a_range_ends_where_rows_lie_beyond_or_scans() -> None:
    graph = line(600, linked=600)
    offsets, rows, distances = _native.graph_range_search(graph, np.array([at(0), at(300)]), 4.0, 8)
    assert offsets.tolist() == [0, 3, 8]
    assert rows.tolist() == [0, 1, 2, 300, 299, 301, 298, 302]
    assert distances.tolist() == [0, 1, 4, 0, 1, 1, 4, 4]
    everything = _native.graph_range_search(line(600, linked=2), at(0)[None], float("inf"), 1_000)[1]
    assert everything.tolist() == list(range(600))


def test_allowed_rows_only() -> None:
    allow = np.zeros(10, dtype=np.uint64)
    allow[0], allow[9] = 0b1010, 1 << 23  # rows 1, 3 and 599
    graph = line(600, linked=600)
    rows = _native.graph_range_search(graph, at(0)[None], 1e9, 2, allow)[1]
    assert rows.tolist() == [1, 3, 599]
    stream = _native.GraphRowStream(graph, at(500), 1, allow)
    allow[:] = 0  # the stream has its own copy
    assert drained(stream, 2) == [599, 3, 1]


def test_negative_distances_are_in_order() -> None:
    stream = _native.GraphRowStream(line(200, linked=200, metric="ip"), at(-1.0), 4)
    assert stream.next(3)[0].tolist() == [0, 1, 2]
    stream = _native.GraphRowStream(line(200, linked=200, metric="ip"), at(1.0), 300)
    rows, distances = stream.next(3)
    assert rows.tolist() == [199, 198, 197] and distances.tolist() == [-199, -198, -197]


def test_a_stream_keeps_its_graph() -> None:
    stream = _native.GraphRowStream(line(3_000, linked=3_000), at(17.0), 2)
    gc.collect()
    assert stream.next(1)[0].tolist() == [17]
    assert len(drained(stream, 700)) == 2_999


def test_cancelling() -> None:
    cancel = _native.CancelFlag()
    cancel.set()
    with pytest.raises(_native.Cancelled):
        _native.graph_range_search(line(9, linked=9), at(0)[None], 1.0, 1, cancel=cancel)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"query": np.zeros(3, dtype=np.float32)}, r"query: expected float32 \[2\]"),
        ({"ef": 0}, "ef: expected at least 1"),
        ({"allow": np.zeros(2, dtype=np.uint64)}, r"allow: expected uint64 \[1\]"),
        ({"with_rows": False}, "graph: expected one with full rows"),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"query": at(0), "ef": 1, "allow": None, **change}
    given["graph"] = line(9, linked=9, with_rows=given.pop("with_rows", True))
    with pytest.raises(ValueError, match=message):
        _native.GraphRowStream(**given)
    queries = {"queries": given.pop("query")[None]}
    with pytest.raises(ValueError, match=message.replace("query", "queries").replace(r"\[2\]", r"\[nq, 2\]")):
        _native.graph_range_search(**given, **queries, radius=1.0)


def test_a_batch_of_nothing() -> None:
    with pytest.raises(ValueError, match="count: expected at least 1"):
        _native.GraphRowStream(line(9, linked=9), at(0), 1).next(0)


def test_links_may_be_anything() -> None:
    # A damaged file is not noticed before it is read: no link may lead out of the graph.
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 8), dtype=np.float32)
    everything = np.arange(500, dtype=np.uint32)
    neighbours = rng.integers(0, 2**32, (500, 16), dtype=np.uint32)
    neighbours[::3, ::2] = NONE
    neighbours[::2, :4] = rng.integers(0, 520, (250, 4))
    graph = _native.Graph(
        neighbours, everything[:4], everything, None, 8, 8, 0, None, 8, 0, False, rows, None,
        "l2", np.zeros(8, dtype=np.float32), 1.0, None, None, None,
    )  # fmt: skip
    found, distances, _ = graph.search(rows, 10, 40, 0, 40)
    own = ((rows[:, None] - rows[found]) ** 2).sum(axis=2)
    np.testing.assert_allclose(np.where(found >= 0, distances, 0), np.where(found >= 0, own, 0), atol=1e-4)
    assert found.max() < 500
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found)
    assert sorted(drained(_native.GraphRowStream(graph, rows[0], 8), 100)) == list(range(500))
