"""Merges and vacuums change the largest index they find, and build a new one when that fails."""

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import Collection, Database, SearchRequest
from nearfield.engine.maintenance import policy, rebuild
from nearfield.engine.segment.sealed import SealedSegment
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.index_builders.graph.builder import GraphBuilder
from tests.helpers.points import EAGER, batch, by_ids, schema, vectors

BY_HAND = replace(EAGER, background=False, growing_bytes_seal=10**9)
SIZE = 16


class Calls:
    """What maintenance asked of the builder: rows of every build, and the origins of every extension."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.built: list[int] = []
        self.extended: list[NDArray[np.int64]] = []
        build, extend = GraphBuilder.build, GraphBuilder.extend

        def noted_build(builder: GraphBuilder, rows: Any, *others: Any) -> Any:
            self.built.append(len(rows))
            return build(builder, rows, *others)

        def noted_extend(builder: GraphBuilder, previous: Any, origin: Any, *others: Any) -> Any:
            self.extended.append(origin)
            if error is not None:
                raise error
            return extend(builder, previous, origin, *others)

        monkeypatch.setattr(GraphBuilder, "build", noted_build)
        monkeypatch.setattr(GraphBuilder, "extend", noted_extend)


def store_of(collection: Collection) -> CollectionStore:
    assert isinstance(collection._opened, CollectionStore)
    return collection._opened


def sealed_of(collection: Collection) -> list[SealedSegment]:
    return list(store_of(collection).publisher.sealed)


def do(collection: Collection, job: policy.Job) -> None:
    rebuild.run_job(job, store_of(collection), threading.Event())


def sealed(points: Collection, first: int, values: NDArray[np.float32]) -> SealedSegment:
    """A new sealed segment of these points."""
    known = {segment.id for segment in sealed_of(points)}
    points.upsert(batch(range(first, first + len(values)), values))
    do(points, policy.Freeze())
    do(points, policy.Seal(store_of(points).publisher.frozen[0].first_row))
    return next(segment for segment in sealed_of(points) if segment.id not in known)


def all_are_found(points: Collection, values: dict[int, NDArray[np.float32]]) -> bool:
    answers = points.search([SearchRequest(value, limit=1) for value in values.values()])
    return [hits[0].record.id for hits in answers] == list(values)


def large_and_small(points: Collection, values: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
    """An indexed segment of 600 points, 150 of them dead, and one of 100 without an index; the living."""
    large = sealed(points, 0, values[:600])
    do(points, policy.Build(large.id, ""))
    sealed(points, 600, values[600:700])
    points.delete(by_ids(*range(150)))
    return {id: values[id] for id in range(150, 700)}


def test_a_merge_extends_the_index_of_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    values = vectors(700, size=SIZE)
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema(index="graph", size=SIZE))
        living = large_and_small(points, values)
        do(points, policy.Merge(tuple(segment.id for segment in sealed_of(points))))
        [merged] = sealed_of(points)
        assert merged.count == 550 and merged.index("") is not None
        assert calls.built == [600]
        assert calls.extended[0].tolist() == [*range(150, 600), *[-1] * 100]
        assert all_are_found(points, living)
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.collection("points")
        assert points.info().indexed_vectors == 550
        assert all_are_found(points, living)


def test_a_vacuum_extends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    values = vectors(700, size=SIZE)
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema(index="graph", size=SIZE))
        living = large_and_small(points, values)
        do(points, policy.Vacuum(max(sealed_of(points), key=lambda segment: segment.count).id))
        assert sorted(segment.count for segment in sealed_of(points)) == [100, 450]
        assert calls.built == [600] and len(calls.extended) == 1
        assert all_are_found(points, living)


def test_what_cannot_be_extended_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(monkeypatch, RuntimeError("no such luck"))
    values = vectors(700, size=SIZE)
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema(index="graph", size=SIZE))
        living = large_and_small(points, values)
        with caplog.at_level(logging.WARNING):
            do(points, policy.Merge(tuple(segment.id for segment in sealed_of(points))))
        assert calls.built == [600, 550] and len(calls.extended) == 1
        assert "could not be extended" in caplog.text
        assert points.info().indexed_vectors == 550
        assert all_are_found(points, living)


def test_an_index_of_other_parameters_is_not_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    values = vectors(700, size=SIZE)
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema(index="graph", size=SIZE))
        large_and_small(points, values)
        wanted = rebuild.wanted_index(store_of(points), "", 550)
        assert wanted is not None
        other = replace(wanted, params={**wanted.params, "degree": 16})
        monkeypatch.setattr(rebuild, "wanted_index", lambda *_: other)
        do(points, policy.Merge(tuple(segment.id for segment in sealed_of(points))))
        assert calls.built == [600, 550] and calls.extended == []
