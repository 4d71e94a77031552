"""A fifth of the points replaced, ten times over: what is found is what an index built anew would find."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import (
    Collection,
    CollectionSchema,
    Database,
    Datatype,
    Distance,
    EngineConfig,
    PointBatch,
    PointSelector,
    SearchParams,
    SearchRequest,
    VectorColumn,
    VectorSpec,
)
from nearfield.engine.search.scan import scan
from nearfield.index_builders import build_index
from nearfield.index_builders.graph.builder import GraphBuilder
from tests.helpers import shared_data

POINTS, ROUNDS, K, EF = 4_000, 10, 10, 32
CONFIG = EngineConfig(
    threads=2, growing_bytes_seal=1_500 * 384 * 2, index_rows_min=1_500, settle_pause_s=0.05
)


def insert(points: Collection, ids: NDArray[np.int64], base: NDArray[Any]) -> None:
    points.upsert(PointBatch(ids.tolist(), {"": VectorColumn(base[ids].astype(np.float32))}))


def found_ids(points: Collection, queries: NDArray[np.float32], k: int, ef: int) -> NDArray[np.int64]:
    params = SearchParams(search={"ef": ef})
    requests = [SearchRequest(query, limit=k, params=params) for query in queries]
    answers = [
        answer
        for start in range(0, len(requests), 500)
        for answer in points.search(requests[start : start + 500])
    ]
    return np.array([[hit.record.id for hit in hits] for hits in answers])


def test_ten_rounds_of_churn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = shared_data.load("arxiv-minilm-384-ip")
    base, queries = data.base, data.queries[:400]
    extended: list[bool] = []
    real = GraphBuilder.extend

    def counted(self: GraphBuilder, *args: Any) -> Any:
        index = real(self, *args)
        extended.append(index is not None)
        return index

    monkeypatch.setattr(GraphBuilder, "extend", counted)
    rng = np.random.default_rng(0)
    live = np.arange(POINTS)
    schema = CollectionSchema(
        {"": VectorSpec(384, Distance.DOT, Datatype.FLOAT16, {"kind": "graph", "params": {}})}
    )
    with Database.open(tmp_path / "data", config=CONFIG) as database:
        points = database.create_collection("points", schema)
        insert(points, live, base)
        points.wait_settled(60)
        for number in range(ROUNDS):
            leave = rng.permutation(live)[: POINTS // 5]
            enter = POINTS + number * len(leave) + np.arange(len(leave))
            points.delete(PointSelector(ids=leave.tolist()))
            insert(points, enter, base)
            points.wait_settled(60)
            live = np.concatenate([np.setdiff1d(live, leave), enter])
        assert points.count() == POINTS
        assert points.info().indexed_vectors >= POINTS // 2
        found = found_ids(points, queries, K, EF)
        own = found_ids(points, base[live].astype(np.float32), 1, EF)[:, 0]
    assert sum(extended) >= ROUNDS // 2, extended
    rows = np.ascontiguousarray(base[live])
    truth = live[scan(queries, rows, "ip", K, None, None, 2).rows]
    fresh = live[build_index(rows, metric="ip", kind="graph", threads=2).search(queries, k=K, ef=EF)[0]]
    assert shared_data.recall(found, truth, K) >= shared_data.recall(fresh, truth, K) - 0.01
    lost = live[own != live]
    assert all((base[one] == base[other]).all() for one, other in zip(lost, own[own != live], strict=True)), (
        lost
    )
