"""Every row is found by its own vector at default parameters, in a new index and in one that was extended."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext, Rows, VectorIndex
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.graph.builder import leanvec_builder, lvq_builder
from nearfield.index_builders.graph.closing import close
from nearfield.index_builders.graph.index import GraphIndex
from tests.conformance import cases
from tests.helpers import shared_data

ROWS = 20_000
CONTEXT = BuildContext(2, 0, None, None, None)


def lost(index: VectorIndex, rows: Rows, k: int) -> list[int]:
    """Rows for whose own vector a search finds neither them nor equal ones."""
    found = index.search(rows.astype(np.float32), k, {"threads": 2}).rows
    missed = np.flatnonzero((found != np.arange(len(rows))[:, None]).all(axis=1))
    return [int(row) for row in missed if not np.array_equal(rows[found[row, 0]], rows[row])]


@pytest.mark.parametrize("name", ["arxiv-minilm-384-ip", "mnist-784-l2"])
def test_every_row_of_a_real_set(name: str) -> None:
    data = shared_data.load(name)
    pool = np.ascontiguousarray(data.base[: ROWS + ROWS // 5])
    builder = leanvec_builder()
    params = builder.parse_params({})
    rows = pool[:ROWS]
    index = builder.build(rows, data.metric, params, CONTEXT)
    assert lost(index, rows, 1) == [] and lost(index, rows, 10) == []
    stay = np.flatnonzero(np.random.default_rng(1).random(ROWS) >= 0.2)
    entering = pool[ROWS : ROWS + ROWS - len(stay)]
    rows = np.concatenate([rows[stay], entering])
    origin = np.concatenate([stay, np.full(len(entering), -1)])
    extended = builder.extend(index, origin, rows, data.metric, params, CONTEXT)
    assert extended is not None
    assert lost(extended, rows, 1) == [] and lost(extended, rows, 10) == []


def hide(index: GraphIndex, rows: NDArray[np.int64]) -> None:
    """Takes rows out of every list and out of the entries, so that no search arrives at them."""
    assert index.arrays is not None and index.points is not None
    links = index.arrays.links
    nodes = np.flatnonzero(np.isin(index.points.first_rows()[links.order], rows)).astype(np.uint32)
    other = next(node for node in range(len(links.order)) if node not in nodes)
    links.neighbours[np.isin(links.neighbours, nodes)] = other
    links.entries[np.isin(links.entries, nodes)] = other


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("params", [{"calibrate": False}, {"encoding": "lvq4x4"}])
def test_what_no_link_leads_to_is_linked(metric: str, params: Mapping[str, Any]) -> None:
    builder = lvq_builder()
    parsed = builder.parse_params(params)
    pool = cases.clustered("float32", 3_000)
    pool[100:120] = pool[7]  # share a node
    if metric == "ip":
        pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    index = builder.build(pool, metric, parsed, CONTEXT)
    assert lost(index, pool, 1) == []
    hidden = np.array([3, 1_500, 2_999])
    hide(index, hidden)
    assert set(hidden.tolist()) <= set(lost(index, pool, 1))
    close(index, BaseRows.measure(pool, metric), CONTEXT)
    assert lost(index, pool, 1) == []
