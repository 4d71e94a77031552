"""Damaged files: noticed and said, or rebuilt; never a wrong answer, a crash, or an outage of the others."""

import random
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine import Collection, Database, ScrollRequest, SearchParams, SearchRequest
from nearfield.engine.errors import Corrupted, StorageError
from nearfield.engine.maintenance import policy, rebuild
from tests.helpers.points import EAGER, batch, by_ids, schema, vectors

COUNT = 450
VALUES = vectors(COUNT)
CONFIG = replace(EAGER, growing_bytes_seal=30_000, background=False)
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two collections: one with a sealed, indexed segment, dead rows and growing rows; and one beside it."""
    path = tmp_path_factory.mktemp("pristine") / "data"
    with Database.open(path, config=CONFIG) as database:
        points = database.create_collection("points", schema(index="hnsw"))
        payloads = [{"at": at} for at in range(COUNT)]
        points.upsert(batch(range(400), VALUES[:400], payloads[:400]))
        points.wait_settled(20)
        points.upsert(batch(range(400, COUNT), VALUES[400:], payloads[400:]))
        points.delete(by_ids(7, 420))
        assert points.info().indexed_vectors == 400
        database.create_collection("healthy", schema()).upsert(batch(range(5)))
    return path


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "data")
    return tmp_path / "data"


def find(data: Path, pattern: str) -> Path:
    [found] = [path for path in data.rglob(pattern) if "healthy" not in str(path)]
    return found


def points_db(data: Path) -> Path:
    """The database of the damaged collection: the one that has segments."""
    [found] = [path for path in data.rglob("points.db") if any((path.parent / "segments").iterdir())]
    return found


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def answers(points: Collection) -> Any:
    """All there is to know about the points."""
    page = points.scroll(ScrollRequest(limit=1000, with_vectors=True))
    rows = [(r.id, r.version, r.payload, (r.vectors or {})[""].tobytes()) for r in page.records]
    exact = [SearchRequest(value, limit=9, params=SearchParams(exact=True)) for value in VALUES[::90]]
    hits = [[(hit.record.id, round(hit.score, 4)) for hit in found] for found in points.search(exact)]
    return rows, hits, points.count()


@pytest.fixture(scope="module")
def truth(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    copy = tmp_path_factory.mktemp("truth") / "data"
    shutil.copytree(pristine, copy)
    with Database.open(copy, config=CONFIG) as database:
        return answers(database.collection("points"))


def require_only_points_is_red(database: Database) -> None:
    info = database.collection("points").info()
    assert info.status == "red"
    assert info.error
    healthy = database.collection("healthy")
    assert healthy.count() == 5
    healthy.upsert(batch([9]))
    assert len(healthy.search([SearchRequest(VALUES[0], limit=9)])[0]) == 6


@pytest.mark.parametrize(
    "damage", [truncate, Path.unlink, lambda path: flip(path, 70), lambda path: flip(path, 3)]
)
def test_damaged_vectors_are_an_error_of_that_collection(data: Path, damage: Damage) -> None:
    damage(find(data, "vectors.nfs"))
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        with pytest.raises(Corrupted, match=r"vectors\.nfs"):
            answers(points)
        require_only_points_is_red(database)


def test_damaged_vectors_that_are_not_read_do_no_harm(data: Path) -> None:
    path = find(data, "vectors.nfs")
    flip(path, 64 + 8 * 400 + 5000)
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        assert points.count() == COUNT - 2
        assert points.retrieve([3])[0].payload == b'{"at":3}'
        with pytest.raises(Corrupted, match="restore this collection from a backup"):
            points.retrieve([3], with_vectors=True)
        assert points.info().status == "red"


@pytest.mark.parametrize("damage", [truncate, Path.unlink, lambda path: flip(path, 100)])
def test_a_damaged_index_is_quarantined_and_rebuilt(data: Path, truth: Any, damage: Damage) -> None:
    directory = find(data, "index-0-0")
    damage(max(directory.iterdir(), key=lambda path: path.stat().st_size))
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        assert points.info().indexed_vectors == 0
        assert points.info().status == "yellow"
        assert directory.with_name("index-0-0.damaged").is_dir()
        found = points.search([SearchRequest(value, limit=1) for value in VALUES[10:20]])
        assert [hits[0].record.id for hits in found] == list(range(10, 20))
        assert answers(points) == truth
        points.wait_settled(20)
        assert points.info().status == "green"
        assert points.info().indexed_vectors == 400
    with Database.open(data, config=CONFIG) as database:
        assert database.collection("points").info().indexed_vectors == 400
        assert answers(database.collection("points")) == truth


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with a graph over 400 rows, which is opened without reading its large files."""
    path = tmp_path_factory.mktemp("graph") / "data"
    with Database.open(path, config=CONFIG) as database:
        points = database.create_collection("points", schema(index="lvq"))
        points.upsert(batch(range(400), VALUES[:400]))
        points.wait_settled(20)
        assert points.info().indexed_vectors == 400
    return path


def test_an_index_that_was_opened_unread_is_verified_later(graph: Path, tmp_path: Path) -> None:
    data = shutil.copytree(graph, tmp_path / "data")
    directory = find(data, "index-0-0")
    flip(directory / "neighbours.npy", 5000)
    requests = [SearchRequest(value, limit=9) for value in VALUES[:40]]
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        assert (points.info().indexed_vectors, points.info().status) == (400, "yellow")
        for value, hits in zip(VALUES, points.search(requests), strict=False):
            true = [((VALUES[int(hit.record.id)] - value) ** 2).sum() ** 0.5 for hit in hits]
            assert len({hit.record.id for hit in hits}) == 9
            np.testing.assert_allclose([hit.score for hit in hits], true, rtol=1e-3, atol=1e-5)
        points.wait_settled(20)
        assert directory.with_name("index-0-0.damaged").is_dir()
        assert (points.info().indexed_vectors, points.info().status) == (400, "green")
    with Database.open(data, config=replace(CONFIG, background=True)) as database:
        points = database.collection("points")
        points.wait_settled(20)
        assert points.info().status == "green"
        assert find(data, "index-0-*[0-9]").is_dir()


def test_rows_of_an_index_that_was_opened_unread_are_verified_later(graph: Path, tmp_path: Path) -> None:
    data = shutil.copytree(graph, tmp_path / "data")
    flip(find(data, "vectors.nfs"), 64 + 8 * 400 + 5000)
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        with pytest.raises(Corrupted, match="fail their checksum"):
            points.search([SearchRequest(VALUES[0], limit=3)])
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        assert points.info().status == "yellow"
        with pytest.raises(Corrupted, match="fail their checksum"):
            points.wait_settled(20)
        assert points.info().status == "red"
        assert find(data, "index-0-0").is_dir()


def test_a_damaged_index_is_not_extended(
    graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = shutil.copytree(graph, tmp_path / "data")
    flip(find(data, "index-0-0") / "primary.npy", 3000)
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        points.upsert(batch(range(400, COUNT), VALUES[400:]))
        parts = points._parts
        rebuild.run_job(policy.Freeze(), parts, threading.Event())
        rebuild.run_job(policy.Seal(400), parts, threading.Event())
        ids = tuple(segment.id for segment in parts.publisher.sealed)
        rebuild.run_job(policy.Merge(ids), parts, threading.Event())
        assert "could not be extended" in caplog.text
        [merged] = parts.publisher.sealed
        assert not merged.unverified
        assert points.info().indexed_vectors == COUNT
        found = points.search([SearchRequest(value, limit=1) for value in VALUES])
        assert sum(hits[0].record.id == at for at, hits in enumerate(found)) >= COUNT - 1


def test_a_missing_segment_directory(data: Path) -> None:
    shutil.rmtree(find(data, "vectors.nfs").parent)
    with Database.open(data, config=CONFIG) as database:
        with pytest.raises(Corrupted, match="missing"):
            database.collection("points").count()
        require_only_points_is_red(database)
        assert database.delete_collection("points")


@pytest.mark.parametrize("damage", [truncate, lambda path: flip(path, 3), lambda path: path.write_bytes(b"")])
def test_a_damaged_points_database(data: Path, damage: Damage) -> None:
    damage(points_db(data))
    with Database.open(data, config=CONFIG) as database:
        with pytest.raises(StorageError, match=r"points\.db"):
            answers(database.collection("points"))
        require_only_points_is_red(database)


def test_a_damaged_growing_vector(data: Path) -> None:
    path = points_db(data)
    needle = VALUES[430].tobytes()
    flip(path, path.read_bytes().index(needle) + 5)
    with Database.open(data, config=CONFIG) as database:
        with pytest.raises(Corrupted, match="fail their checksum"):
            database.collection("points").count()
        require_only_points_is_red(database)


def test_a_damaged_payload(data: Path) -> None:
    path = points_db(data)
    # Every copy: pages that were split keep stale ones.
    path.write_bytes(path.read_bytes().replace(b'{"at":33}', b'{"at":#3}'))
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        assert points.retrieve([34])[0].payload == b'{"at":34}'
        with pytest.raises(Corrupted, match="fails its checksum"):
            points.retrieve([33])
        require_only_points_is_red(database)


def test_a_damaged_catalogue_is_an_error(data: Path) -> None:
    truncate(data / "catalog.db")
    with pytest.raises(StorageError, match=r"catalog\.db"):
        Database.open(data, config=CONFIG)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_is_never_a_wrong_answer(data: Path, truth: Any, seed: int) -> None:
    """One flipped bit anywhere in a primary file: the answers are the right ones, or there is an error."""
    rng = random.Random(seed)
    path = points_db(data) if seed % 2 else find(data, "vectors.nfs")
    content = bytearray(path.read_bytes())
    position = rng.randrange(len(content))
    content[position] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    try:
        with Database.open(data, config=CONFIG) as database:
            found = answers(database.collection("points"))
    except StorageError:
        return
    assert found == truth


def test_vectors_damaged_while_merging(data: Path) -> None:
    """A job that meets the damage changes nothing and turns the collection red."""
    path = find(data, "vectors.nfs")
    flip(path, 64 + 8 * 400 + 5000)
    before = path.read_bytes()
    with Database.open(data, config=CONFIG) as database:
        points = database.collection("points")
        points.delete(by_ids(*range(200)))
        with pytest.raises(Corrupted):
            points.wait_settled(20)
        require_only_points_is_red(database)
        assert points.count() == COUNT - 202 + 1
        assert path.read_bytes() == before
    assert np.count_nonzero([entry.is_dir() for entry in path.parent.parent.iterdir()]) == 1
