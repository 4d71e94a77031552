"""Sealing, merging, vacuuming and indexing, and that nothing is lost or resurrected by them."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine import (
    Collection,
    Database,
    Datatype,
    Distance,
    EngineConfig,
    PayloadSelector,
    PointBatch,
    ScrollRequest,
    SearchParams,
    SearchRequest,
    VectorColumn,
)
from nearfield.engine.errors import Unavailable
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.maintenance import policy, rebuild
from nearfield.engine.segment.sealed import SealedSegment
from nearfield.engine.storage.collection_store import CollectionStore
from tests.helpers.points import EAGER, PATIENT, batch, by_ids, schema, vectors

BY_HAND = replace(EAGER, background=False)


def store_of(collection: Collection) -> CollectionStore:
    assert isinstance(collection._opened, CollectionStore)
    return collection._opened


def sealed_of(collection: Collection) -> list[SealedSegment]:
    return list(store_of(collection).publisher.sealed)


def do(collection: Collection, job: policy.Job) -> None:
    rebuild.run_job(job, store_of(collection), threading.Event())


def everything(collection: Collection) -> dict[Any, tuple[bytes | None, list[float]]]:
    """Payload and vector by id of all points."""
    page = collection.scroll(ScrollRequest(limit=100_000, with_vectors=True))
    return {record.id: (record.payload, (record.vectors or {})[""].tolist()) for record in page.records}


def test_an_import_ends_in_one_indexed_segment(tmp_path: Path) -> None:
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.create_collection("points", schema(index="hnsw"))
        values = vectors(1080)
        for start in range(0, 1080, 90):
            points.upsert(batch(range(start, start + 90), values[start : start + 90]))
        points.wait_settled(30)
        info = points.info()
        assert (info.status, info.points, info.segments, info.indexed_vectors) == ("green", 1080, 1, 1080)
        assert info.bytes["vectors"] == 1080 * 32
        assert info.bytes["indexes"] > 0
        assert info.bytes["growing"] == 0
        answers = [points.search([SearchRequest(value, limit=5)])[0] for value in values[:50]]
        assert [hits[0].record.id for hits in answers] == list(range(50))
        before = everything(points)
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.collection("points")
        assert points.info().indexed_vectors == 1080
        assert [points.search([SearchRequest(value, limit=5)])[0] for value in values[:50]] == answers
        assert everything(points) == before
        directories = list((store_of(points).segments_directory).iterdir())
        assert len(directories) == 1


def test_a_rest_of_growing_rows_joins_the_index_when_writing_pauses(tmp_path: Path) -> None:
    config = replace(EAGER, settle_rows_min=20)
    values = vectors(1240)
    with Database.open(tmp_path / "data", config=config) as database:
        points = database.create_collection("points", schema(index="lvq"))

        def write(start: int, stop: int) -> None:
            points.upsert(batch(range(start, stop), values[start:stop]))

        def indexed(rows: int) -> None:
            deadline = time.monotonic() + 20
            while (info := points.info()).indexed_vectors != rows and time.monotonic() < deadline:
                time.sleep(0.02)
            assert (info.indexed_vectors, info.segments) == (rows, 1 + (info.points > rows))

        for start in range(0, 1000, 90):
            write(start, min(start + 90, 1000))
        indexed(1000)  # the last 100 were fewer than an index of their own needs
        write(1000, 1200)
        indexed(1200)  # a sixth more: after a pause
        write(1200, 1240)
        time.sleep(4 * EAGER.settle_pause_s)
        assert points.info().indexed_vectors == 1200
        assert points.info().status == "green"
        indexed(1240)  # less than that: after a long one
        write(1240 - 10, 1240)
        points.wait_settled(20)
        assert points.info().bytes["growing"] > 0  # too few to be worth anything
        hits = points.search([SearchRequest(value, limit=1) for value in values[::10]])
        assert [found[0].record.id for found in hits] == list(range(0, 1240, 10))


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("distance", Distance)
def test_sealed_rows_answer_like_growing_ones(tmp_path: Path, distance: Distance, datatype: Datatype) -> None:
    values = np.random.default_rng(0).integers(0, 9, (120, 8)).astype(np.float32)
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema(distance, datatype))
        points.upsert(batch(range(120), values))
        points.delete(by_ids(3, 50))
        request = SearchRequest(values[5], limit=20, with_vectors=True)
        [before] = points.search([request])
        do(points, policy.Freeze())
        do(points, policy.Seal(0))
        [segment] = sealed_of(points)
        assert (segment.count, segment.live_count) == (118, 118)
        [after] = points.search([request])
        assert [(hit.record.id, hit.score) for hit in after] == [(hit.record.id, hit.score) for hit in before]
        for one, other in zip(before, after, strict=True):
            assert np.array_equal((one.record.vectors or {})[""], (other.record.vectors or {})[""])


def during(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Run an action after a job has read its sources and before it registers what it wrote."""
    real = rebuild.write_segment

    def slow(*values: Any) -> int:
        written = real(*values)
        action()
        return written

    monkeypatch.setattr(rebuild, "write_segment", slow)


@pytest.mark.parametrize("reopen", [False, True])
def test_changes_during_a_seal_or_merge_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reopen: bool
) -> None:
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema())
        points.upsert(batch(range(100)))
        points.delete(by_ids(0, 1))
        do(points, policy.Freeze())
        new = vectors(1, seed=77)[0]

        def change(first: int) -> None:
            points.delete(by_ids(first))
            points.upsert(batch([first + 1, 1000 + first], np.stack([new, new]), [{"new": first}] * 2))
            points.set_payload(by_ids(first + 2), {"painted": first})

        during(monkeypatch, lambda: change(10))
        do(points, policy.Seal(0))
        during(monkeypatch, lambda: None)
        do(points, policy.Freeze())
        do(points, policy.Seal(100))
        during(monkeypatch, lambda: change(20))
        do(points, policy.Merge(tuple(segment.id for segment in sealed_of(points))))
        [segment] = sealed_of(points)
        assert segment.count - segment.live_count == 2  # 20 and the old row of 21
        expected = everything(points)

        def check(collection: Collection) -> None:
            found = everything(collection)
            assert found == expected
            assert set(found) == set(range(2, 100)) - {10, 20} | {1010, 1020}
            assert found[11] == found[1010] == (b'{"new":10}', new.tolist())
            assert found[21] == found[1020] == (b'{"new":20}', new.tolist())
            assert found[12][0] == b'{"painted":10}'
            assert collection.count() == 98
            [hits] = collection.search([SearchRequest(new, limit=5)])
            assert {hit.record.id for hit in hits[:4]} == {11, 21, 1010, 1020}

        check(points)
        database.close()
    if reopen:
        with Database.open(tmp_path / "data", config=BY_HAND) as database:
            points = database.collection("points")
            check(points)
            do(points, policy.Vacuum(sealed_of(points)[0].id))
            check(points)
            assert sealed_of(points)[0].live is None
        with Database.open(tmp_path / "data", config=BY_HAND) as database:
            check(database.collection("points"))


def test_segments_whose_rows_all_died_vanish(tmp_path: Path) -> None:
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema())
        for start in (0, 50):
            points.upsert(batch(range(start, start + 50)))
            do(points, policy.Freeze())
        points.delete(by_ids(*range(50)))
        do(points, policy.Seal(0))
        assert sealed_of(points) == []
        do(points, policy.Seal(50))
        points.delete(by_ids(*range(50, 100)))
        do(points, policy.Vacuum(sealed_of(points)[0].id))
        assert (points.count(), points.info().segments) == (0, 0)
        assert store_of(points).store.load_deleted_rows().tolist() == []
        assert list(store_of(points).segments_directory.iterdir()) == []
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        assert database.collection("points").count() == 0


def test_a_query_that_pins_a_merged_segment_goes_on_reading(tmp_path: Path) -> None:
    with Database.open(tmp_path / "data", config=BY_HAND) as database:
        points = database.create_collection("points", schema())
        values = vectors(60)
        points.upsert(batch(range(60), values))
        do(points, policy.Freeze())
        do(points, policy.Seal(0))
        pinned = store_of(points).pinned
        points.delete(by_ids(5))
        [old] = sealed_of(points)
        do(points, policy.Vacuum(old.id))
        assert not old.directory.exists()
        assert np.array_equal(pinned.segments[0].vectors(""), values)
        assert pinned.live_count == 60
        assert points.count() == 59


def test_many_changes_with_everything_going_on(tmp_path: Path) -> None:
    """Random operations against a dict, with all maintenance and reopening in between."""
    rng, numbers = random.Random(1), np.random.default_rng(1)
    model: dict[int, tuple[bytes | None, list[float]]] = {}
    config = replace(EAGER, growing_bytes_seal=6_000, index_rows_min=60)
    red = parse_filter({"must": [{"key": "red", "match": {"value": True}}]})
    database = Database.open(tmp_path / "data", config=config)
    points = database.create_collection("points", schema(Distance.EUCLID, index="hnsw"))
    for step in range(240):
        ids = rng.sample(range(300), rng.randint(1, 20))
        known = [point for point in ids if point in model]
        kind = rng.random()
        if kind < 0.6:
            values = numbers.standard_normal((len(ids), 8)).astype(np.float32)
            payloads = [{"red": rng.random() < 0.3, "step": step} for _ in ids]
            points.upsert(batch(ids, values, payloads))
            for point, value, data in zip(
                ids, values, batch(ids, values, payloads).payloads or [], strict=True
            ):
                model[point] = (data, value.tolist())
        elif kind < 0.75:
            points.delete(by_ids(*ids))
            for point in ids:
                model.pop(point, None)
        elif known and kind < 0.85:
            points.overwrite_payload(by_ids(*known), {"red": True})
            for point in known:
                model[point] = (b'{"red":true}', model[point][1])
        elif known and kind < 0.95:
            values = numbers.standard_normal((len(known), 8)).astype(np.float32)
            points.update_vectors(PointBatch(known, {"": VectorColumn(values)}))
            for point, value in zip(known, values, strict=True):
                model[point] = (model[point][0], value.tolist())
        elif kind < 0.97:
            database.close()
            database = Database.open(tmp_path / "data", config=config)
            points = database.collection("points")
        assert points.count() == len(model)
        if step % 20 == 0:
            assert everything(points) == model
            wanted = [p for p, (data, _) in model.items() if data and b'"red":true' in data]
            assert points.count(red) == len(wanted)
            query = numbers.standard_normal(8).astype(np.float32)
            order = sorted(model, key=lambda p: float(((np.array(model[p][1]) - query) ** 2).sum()))
            exact = SearchRequest(query, limit=10, params=SearchParams(exact=True))
            [hits] = points.search([exact])
            assert [hit.record.id for hit in hits] == order[:10]
            [hits] = points.search([replace(exact, filter=red, with_payload=PayloadSelector(True))])
            assert [hit.record.id for hit in hits] == [p for p in order if p in wanted][:10]
    points.wait_settled(30)
    assert everything(points) == model
    database.close()


def test_a_new_index_config_rebuilds_in_the_background(tmp_path: Path) -> None:
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.create_collection("points", schema(index="flat"))
        points.upsert(batch(range(500)))
        points.wait_settled(20)
        assert points.info().indexed_vectors == 0
        points.update_schema(vector_index={"": {"kind": "hnsw", "params": {"m": 8}}})
        assert points.info().status == "yellow"
        points.wait_settled(20)
        assert points.info().indexed_vectors == 500
        points.update_schema(vector_index={"": {"kind": "hnsw", "params": {"m": 12}}})
        points.wait_settled(20)
        [segment] = sealed_of(points)
        assert [path.name for path in sorted(segment.directory.iterdir()) if path.is_dir()] == ["index-0-1"]
        points.update_schema(vector_index={"": {"kind": "flat", "params": {}}})
        points.wait_settled(20)
        assert points.info().indexed_vectors == 0


def test_large_indexes_are_opened_in_the_background(tmp_path: Path) -> None:
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.create_collection("points", schema(index="hnsw"))
        points.upsert(batch(range(500)))
        points.wait_settled(20)
    with Database.open(
        tmp_path / "data", config=replace(EAGER, index_bytes_open_max=0, background=False)
    ) as database:
        points = database.collection("points")
        assert points.info().indexed_vectors == 0
        assert points.info().status == "yellow"
        points.wait_settled(20)
        assert points.info().indexed_vectors == 500


def test_a_job_that_keeps_failing_is_reported_and_searches_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearfield.engine.maintenance.worker._RETRY_S", 0.01)

    def fail(*_: Any) -> None:
        raise RuntimeError("no index today")

    monkeypatch.setattr(rebuild, "save_index", fail)
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.create_collection("points", schema(index="hnsw"))
        values = vectors(500)
        points.upsert(batch(range(500), values))
        with pytest.raises(RuntimeError, match="no index today"):
            points.wait_settled(20)
        info = points.info()
        assert (info.status, info.error) == ("yellow", "no index today")
        assert points.search([SearchRequest(values[9], limit=1)])[0][0].record.id == 9
        points.upsert(batch([1000]))


def test_wait_settled_says_what_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    during(monkeypatch, lambda: may_go_on.wait(10))
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.create_collection("points", schema())
        points.upsert(batch(range(500)))
        with pytest.raises(Unavailable, match=r"still at work after 0.1 s: \[Seal"):
            points.wait_settled(0.1)
        may_go_on.set()
        points.wait_settled(20)


def test_closing_cancels_a_long_build(tmp_path: Path) -> None:
    config = EngineConfig(threads=1, growing_bytes_seal=10**9, settle_pause_s=0.01)
    with Database.open(tmp_path / "data", config=config) as database:
        points = database.create_collection("points", schema(index="hnsw", size=64))
        points.upsert(batch(range(30_000), vectors(30_000, size=64)))
        with pytest.raises(Unavailable):
            points.wait_settled(0.5)
    with Database.open(tmp_path / "data", config=PATIENT) as database:
        points = database.collection("points")
        assert points.count() == 30_000
        assert points.info().indexed_vectors == 0
